"""How a run starts: in which folder, from which checkpoint, with which settings. Imports no jax."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from lepton_jax.config import Config, ConfigError
from lepton_jax.engine import integrity
from lepton_jax.engine.folder import RunFolder, put, resume_command
from lepton_jax.engine.integrity import CheckpointError
from lepton_jax.engine.origin import Origin
from lepton_jax.settings import differences, overlay, parse_toml, to_toml
from lepton_jax.validate import check_trackers, validate

# What does not change the numbers of a run may change when it goes on; its length may where schedules allow.
_FREE = ("display", "track", "total_steps", "schedule_steps")
_FREE_SECTION = "checkpoint."

Replan = Callable[[Path, Config], Origin]  # (file of a plan, settings of the run) -> what it begins from


class Launch(NamedTuple):
    """A run about to start or to go on, its folder held."""

    folder: RunFolder
    config: Config
    point: Path | None = None  # the checkpoint to go on from; None: the beginning
    shards: int = 0  # devices that the state of ``point`` is spread over; 0: as many as the settings say
    notes: Sequence[str] = ()  # what a person should know
    finished: bool = False  # nothing is left to do
    new: bool = False  # the folder was made for it
    origin: Origin | None = None  # what the run begins, or has begun, from; None: random numbers


def begin(config: Config, origin: Origin | None = None) -> Launch:
    """Makes the folder of a new run. An empty ``run_dir`` is filled in: runs/SEED-TIME.

    Args:
      config: its settings.
      origin: what it begins from; None: random numbers.

    Raises:
      ConfigError: a setting cannot be used, or the folder is in use or not empty.
    """
    config = validate(config)
    check_trackers(config)
    folder = RunFolder.new(Path(config.run_dir or f"runs/s{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"))
    if origin is not None:
        put(folder.graft, origin.plan)
    put(folder.config, runnable(config))  # at once, so that a run can be resumed whenever it is killed
    return Launch(folder, config, new=True, origin=origin)


def go_on(path: Path, ask: Callable[[Config], Config] = lambda config: config, replan: Replan | None = None) -> Launch:
    """Finds the newest intact checkpoint of the run in ``path`` and settles the settings; ``commit`` writes them.

    Args:
      path: the run's folder.
      ask: from the settings the run has to those it is to go on with.
      replan: makes the origin of a run that was stopped before its first checkpoint from its graft.toml.

    Raises:
      ConfigError: no run there, another process writes it, or a setting was changed that cannot be.
      CheckpointError: there are checkpoints, but none of them is intact.
    """
    folder = RunFolder.existing(path)
    try:
        return _go_on(folder, ask, replan)
    except BaseException:
        folder.release()
        raise


def commit(launch: Launch) -> None:
    """Writes what the run goes on with, and that it has not ended; once nothing can be refused any more."""
    folder, saved = launch.folder, launch.folder.saved()
    integrity.set_aside(saved[: saved.index(launch.point) if launch.point else 0])
    put(folder.config, runnable(launch.config))
    folder.summary.unlink(missing_ok=True)


def runnable(config: Config) -> str:
    """The text of config.toml: the settings, but for the folder, so that they can run again elsewhere."""
    return to_toml(dataclasses.replace(config, run_dir=""))


def _go_on(folder: RunFolder, ask: Callable[[Config], Config], replan: Replan | None) -> Launch:
    saved = folder.saved()
    point, problems = integrity.newest_intact(saved)
    if saved and point is None:
        raise CheckpointError(
            f"{'; '.join(problems)}; no checkpoint of {folder.path} is intact: to train it again from the beginning, "
            f"remove {folder.checkpoints} and resume"
        )
    notes, shards = [*problems], 0
    if problems and point is not None:
        notes.append(f"{point} is the newest intact checkpoint; going on from it")
    there, broken = _written(folder.config)
    if point is None:
        if there is None:
            raise ConfigError(f"{broken}; without it or a checkpoint the run cannot go on")
        before = there
        if not folder.summary.is_file():
            notes.append("no checkpoint was made yet: starting from the beginning")
    else:
        said = integrity.describe(point)
        if "config" not in said:
            raise CheckpointError(f"{point}: is intact, but no checkpoint of a run; move it away")
        before, shards = _parse(said["config"], str(point)), int(said["lineage"][-1]["environment"]["shards"])
        if there is None:
            notes.append(f"{broken}; it is written anew as the checkpoint has it")
            there = before
    config = _settle(before, validate(ask(there)), folder)
    check_trackers(config)
    ended = folder.summary.is_file()
    finished = ended and config.total_steps == before.total_steps
    if ended and not finished and point is None:
        raise ConfigError(f"{folder.path} has ended and holds no checkpoint any more: it cannot be extended")
    origin = None if finished else _origin(folder, config, point, replan)
    return Launch(folder, config, point, shards, notes, finished, origin=origin)


def _origin(folder: RunFolder, config: Config, point: Path | None, replan: Replan | None) -> Origin | None:
    """What the run began from: as its checkpoint says; before the first one as its plan says."""
    if point is not None:
        about = integrity.describe(point).get("graft")
        return None if about is None else Origin(about["plan"], about)
    if not folder.graft.is_file():
        return None
    if replan is None:
        raise ConfigError(f"{folder.graft}: the run begins from a graft; go on with: {resume_command(folder.path)}")
    return replan(folder.graft, config)


def _settle(before: Config, asked: Config, folder: RunFolder) -> Config:
    """The settings to go on with; refuses what would make another run of it."""
    for name, old, new in differences(before, asked):
        if name not in _FREE and not name.startswith(_FREE_SECTION):
            raise ConfigError(
                f"{name}: {folder.path} was trained with {old!r} and cannot go on with {new!r}; leave it as it is, "
                "or start a new run with it"
            )
    schedule = before.schedule_steps or before.total_steps
    if asked.schedule_steps not in (before.schedule_steps, schedule):
        raise ConfigError(
            f"schedule_steps: {folder.path} was trained with {schedule} and cannot go on with {asked.schedule_steps}; "
            "schedules keep the length they began with"
        )
    if asked.total_steps == before.total_steps:
        return asked
    agent = before.agent
    if asked.total_steps > schedule and agent.lr_schedule != "constant" and agent.lr_end == 0.0:
        raise ConfigError(
            f"total_steps: {folder.path} cannot be extended from {schedule} to {asked.total_steps}: with "
            f"agent.lr_schedule = {agent.lr_schedule!r} and agent.lr_end = 0 the learning rate ends at 0; train with "
            "--agent.lr-schedule constant, or with --agent.lr-end above 0, if a run is to be extended"
        )
    # Schedules and the places of log points stay where they were.
    return dataclasses.replace(asked, schedule_steps=schedule)


def _written(path: Path) -> tuple[Config | None, str]:
    """The settings in a run's config.toml, or None and why not."""
    try:
        return _parse(path.read_text(encoding="utf-8"), str(path)), ""
    except (OSError, UnicodeDecodeError) as error:
        return None, f"{path}: {error.strerror if isinstance(error, OSError) else 'is no UTF-8 text'}"
    except ConfigError as error:
        return None, str(error)


def _parse(text: str, source: str) -> Config:
    return validate(overlay(Config(), parse_toml(text, source), source))
