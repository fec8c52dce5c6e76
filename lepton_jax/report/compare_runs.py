"""What runs and lanes of sweeps have left so far, read to be compared. Reads no array and imports no jax."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lepton_jax.config import MAZE, Config, ConfigError
from lepton_jax.engine.folder import RunFolder, read_journal
from lepton_jax.engine.integrity import CheckpointError, describe
from lepton_jax.engine.metrics import FIGURES, RECORDED
from lepton_jax.engine.policies import read_run
from lepton_jax.scale.pick import is_sweep, pick
from lepton_jax.scale.sweep_folder import DEFINITION, finished, group_folders, read_definition, read_manifest
from lepton_jax.settings import nearest
from lepton_jax.validate import maze_spec

Figures = Mapping[str, float]  # by their names, see engine.metrics.FIGURES
Line = Mapping[str, float]  # a log point: env_steps, training metrics, and validation/... figures


class Trial(NamedTuple):
    """A run, or a lane of a sweep, as far as it has come."""

    name: str  # as it is asked for: runs/a, runs/lr@17
    config: Config
    status: str  # finished, stopped or failed; unfinished; waiting for a lane that has not begun
    env_steps: int  # trained so far
    curve: tuple[Line, ...]  # by env_steps
    seconds: float | None  # of training; None of a lane, which shares them with others
    wall_seconds: float | None  # of its last session, compiling and judging too; None before the end
    final: Figures | None  # of the final policy on the test levels
    best: Figures | None  # of the policy that was best on the validation levels, on the test levels
    made_by: Mapping[str, Any]  # what must be equal for equal settings to give equal bits; {} before it is known
    levels: tuple[Any, ...]  # the settings that the test levels follow from
    fingerprint: str | None  # sha256 of the test levels, where the manifest has it
    policies: Mapping[str, str]  # a digest of the policies that there are, final and best


def read_trials(words: Iterable[str]) -> tuple[Trial, ...]:
    """What these words name: ``RUN``, ``SWEEP@LANE``, or ``SWEEP`` for all of its lanes; each once.

    Raises:
      ConfigError: there is no such run or lane, or one is named twice.
      CheckpointError: a file of it is damaged.
    """
    trials: list[Trial] = []
    for word in words:
        trials += _named(word)
    names = [trial.name for trial in trials]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{twice}: is named twice; name each run once")
    return tuple(trials)


def _named(word: str) -> list[Trial]:
    path, lane = Path(word), None
    if not path.exists() and "@" in word:
        sweep, _, number = word.rpartition("@")
        if not number.isdecimal():
            raise ConfigError(f"{word}: expected the number of a lane behind @, such as {sweep or 'runs/lr'}@0")
        path, lane = Path(sweep), int(number)
    if not path.is_dir():
        raise ConfigError(f"{path}: is no folder{_beside(path)}; expected that of a run or a sweep")
    if lane is not None or is_sweep(path):
        return _lanes(path, lane)
    return [_run(path)]


def _beside(path: Path) -> str:
    """A hint at the run that lies there and has the name most like that of ``path``."""
    files = (*path.parent.glob("*/config.toml"), *path.parent.glob(f"*/{DEFINITION}"))
    return nearest(
        path.name, sorted({file.parent.name for file in files}), f"{path.parent}/" if path.parent.name else ""
    )


def _run(path: Path) -> Trial:
    folder, config = RunFolder(path), read_run(path)
    manifest, summary = _json(folder.manifest), _json(folder.summary)
    metrics, timing = (read_journal(path / name) for name in RECORDED)
    last = timing[-1] if timing else {}
    figures = lambda held: {name: held[name] for name in FIGURES if held.get(name) is not None}
    graft = manifest.get("graft") or {}
    made_by = _made_by(manifest) | {"graft": str(graft.get("digest") or graft.get("plan") or "none")}
    return Trial(
        name=str(path),
        config=config,
        status="finished" if summary else "unfinished",
        env_steps=int(summary.get("env_steps") or last.get("env_steps") or 0),
        curve=tuple(metrics),
        seconds=last.get("seconds"),
        wall_seconds=summary.get("wall_seconds"),
        final=figures(summary) if summary else None,
        best=figures(summary["best"]) if summary else None,
        made_by=made_by if manifest else {},
        levels=_levels(config),
        fingerprint=((manifest.get("levels") or {}).get("test") or {}).get("sha256"),
        policies={name: _digest(folder.policy(name), None) for name in _kept(folder)} if summary else {},
    )


def _lanes(path: Path, lane: int | None) -> list[Trial]:
    """One lane of a sweep, or all."""
    from lepton_jax.scale.results import read  # scipy from here on
    from lepton_jax.scale.statistics import outcomes

    if lane is not None:
        pick(path, lane)  # says what is wrong with the number
    sweep, manifest = read_definition(path), read_manifest(path) or {}
    results = read(group_folders(path))
    shared = {"level pool": "shared"} if sweep.pools == "shared" else {}
    graft = manifest.get("graft") or {}
    made_by = _made_by(manifest) | shared | {"graft": str(graft.get("digest") or graft.get("plan") or "none")}
    abreast = {n for group in manifest.get("groups", ()) if group["abreast"] for n in group["lanes"]}
    trials = []
    for outcome in outcomes(sweep, results):
        number = outcome.lane.number
        if lane not in (None, number):
            continue
        place = pick(path, number)
        folder = RunFolder(place.group)
        policies = _kept(folder) if place.group.is_dir() and finished(place.group) is not None else ()
        rows = (row for row in results.rows if row["lane"] == number and row["levels"] == "validation")
        trials.append(
            Trial(
                name=f"{path}@{number}",
                config=outcome.lane.config,
                status={"running": "unfinished"}.get(outcome.status, outcome.status),
                env_steps=outcome.env_steps,
                curve=tuple(sorted(map(_as_line, rows), key=lambda line: line["env_steps"])),
                seconds=None,
                wall_seconds=None,
                final=outcome.final,
                best=outcome.best,
                made_by=made_by | ({"lanes": "side by side"} if number in abreast else {}) if manifest else {},
                levels=_levels(outcome.lane.config),
                fingerprint=None,
                policies={name: _digest(folder.policy(name), place.row) for name in policies},
            )
        )
    return trials


def _as_line(row: Mapping[str, Any]) -> dict[str, float]:
    """An evaluation of a lane, with the names that metrics.jsonl of a run has."""
    told = {name: value for name, value in row.items() if name not in ("lane", "levels", "policy")}
    return {f"validation/{name}" if name in FIGURES else name: value for name, value in told.items()}


def _made_by(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Versions, device and revision; ``sessions`` where they were not the same all along."""
    environments = [session["environment"] for session in manifest.get("lineage", ())]
    changed = {"sessions": environments} if any(each != environments[0] for each in environments) else {}
    return dict(manifest.get("environment") or {}) | {"revision": manifest.get("git_revision")} | changed


def _levels(config: Config) -> tuple[Any, ...]:
    if config.env.id != MAZE:
        return config.env.id, config.eval.episodes
    env = config.env
    return env.id, maze_spec(env), env.level_seed, env.held_out, config.eval.test_levels


def _kept(folder: RunFolder) -> list[str]:
    return [name for name in ("final", "best") if folder.policy(name).is_dir()]


def _digest(policy: Path, row: int | None) -> str:
    """One digest of a policy's arrays, from those of its leaves; of one ``row`` where lanes are stacked."""
    leaves = describe(policy)["leaves"]
    digests = {name: leaf["sha256"] if row is None else leaf["sha256"][row] for name, leaf in leaves.items()}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def _json(path: Path) -> dict[str, Any]:
    """What a JSON file holds; {} where there is none."""
    if not path.is_file():
        return {}
    try:
        held = json.loads(path.read_bytes())
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged: {error}; restore it, or leave this run away") from None
    if not isinstance(held, dict):
        raise CheckpointError(f"{path}: damaged: expected a JSON object; restore it, or leave this run away")
    return held
