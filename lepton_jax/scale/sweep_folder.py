"""The folder of a sweep: what lies where, and whether it is still the sweep it was begun as. Imports no jax."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from lepton_jax.config import ConfigError
from lepton_jax.engine.folder import RunFolder, put, refuse_used
from lepton_jax.scale.design import Lane, Sweep, difference, from_text, to_toml
from lepton_jax.scale.ledger import Ledger

DEFINITION, MANIFEST, DONE = "sweep.toml", "manifest.json", "done.json"


def hold(sweep: Sweep, path: Path) -> RunFolder:
    """Holds the folder of a new sweep, or of this one, begun before; ``refuse_another`` has seen to that.

    Raises:
      ConfigError: something else has come there, or another process writes it.
    """
    if not (path / DEFINITION).is_file():
        folder = RunFolder.new(path)
        put(path / DEFINITION, to_toml(sweep))
        return folder
    folder = RunFolder(path)
    folder.hold()
    return folder


def refuse_another(sweep: Sweep, path: Path) -> None:
    """Raises ConfigError unless ``path`` can take this sweep: it was begun there, or nothing is there."""
    if not (path / DEFINITION).is_file():
        refuse_used(path)
        return
    if (changed := difference(read_definition(path), sweep)) is not None:
        raise ConfigError(
            f"{path} was begun as another sweep: {changed}; choose another --run-dir, or go on with what was begun: "
            f"{resume_command(path)}"
        )


def read_definition(path: Path) -> Sweep:
    """The sweep in a folder.

    Raises:
      ConfigError: there is none, or its file is not the one that the results were begun with.
    """
    file = path / DEFINITION
    if not file.is_file():
        raise ConfigError(f"{path} holds no sweep: it has no {DEFINITION}; expected what lepton_jax.sweep has left")
    sweep = from_text(_text(file), str(file))
    if (begun := read_manifest(path)) is not None:
        changed = difference(from_text(begun["sweep"], str(path / MANIFEST)), sweep)
        if changed is not None:
            raise ConfigError(
                f"{file}: changed since the results were begun: {changed}; put it back, or start another sweep with "
                f"it: python -m lepton_jax.sweep {shlex.quote(str(file))} --run-dir ANOTHER"
            )
    return sweep


def read_manifest(path: Path) -> dict[str, Any] | None:
    """The manifest of the sweep in ``path``; None if nothing was written yet. ConfigError if it is damaged."""
    file = path / MANIFEST
    if not file.is_file():
        return None
    try:
        found = json.loads(_text(file))
        if not (isinstance(found["sweep"], str) and isinstance(found["groups"], list) and found["lineage"]):
            raise ValueError("not what a sweep writes")
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{file}: damaged: {error}; restore it, or start the sweep again elsewhere") from None
    return found


def group_folder(path: Path, number: int) -> Path:
    """Where a group is kept."""
    return path / f"g{number}"


def group_folders(path: Path) -> list[Path]:
    """Those of all groups that have begun, in order."""
    numbers = sorted(int(each.name[1:]) for each in path.glob("g*") if each.name[1:].isdigit())
    return [group_folder(path, number) for number in numbers]


def finished(group: Path) -> Ledger | None:
    """The ledger of a group that has come to its end; None if it has not."""
    path = group / DONE
    if not path.is_file():
        return None
    try:
        return Ledger.from_json(json.loads(_text(path)))
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: damaged: {error}; restore it, or remove {group} and resume") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(
            f"{path}: damaged: is no UTF-8 text; restore it, or start the sweep again elsewhere"
        ) from None


def resume_command(path: Path) -> str:
    """What a person types to go on with a sweep."""
    return f"python -m lepton_jax.sweep --resume {shlex.quote(str(path))}"


def lane_command(path: Path, lane: Lane) -> str:
    """What a person types to run a lane of a sweep alone."""
    return f"python -m lepton_jax.train --config {shlex.quote(str(path))} --lane {lane.number}"
