"""Measures what a transfer has bought: every arm is a sweep over the same seeds, and what has been run stays."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lepton_jax.config import Config, ConfigError
from lepton_jax.engine.folder import put
from lepton_jax.engine.metrics import to_json
from lepton_jax.presets import from_preset
from lepton_jax.scale.axes import Asked
from lepton_jax.scale.conduct import Watcher, conduct
from lepton_jax.scale.design import design
from lepton_jax.scale.results import read
from lepton_jax.scale.sweep_folder import MANIFEST, group_folders
from lepton_jax.settings import nearest, overlay
from lepton_jax.transfer.asking import SEED_LANE
from lepton_jax.transfer.gains import gains
from lepton_jax.transfer.pairs import NONE, PAIRS, Changes, Pair
from lepton_jax.validate import validate

RECORD = "record.json"
_POINTS = 30  # evaluations along the target's steps


def find_pairs(name: str) -> list[str]:
    """The pairs that ``name`` means: one, or all of a number, such as T4; ConfigError if there is none."""
    found = [each for each in PAIRS if each == name or each.startswith(f"{name}-")]
    if not found:
        raise ConfigError(f"unknown pair {name!r}{nearest(name, PAIRS)}; there are {', '.join(PAIRS)}")
    return found


def budget(pair: Pair, seeds: int) -> int:
    """Environment steps that a pair takes, all in all."""
    total = pair.source_steps + pair.target_steps
    return seeds * (
        len(pair.sources) * pair.source_steps
        + sum(total if arm.long else pair.target_steps for arm in pair.arms.values())
    )


def measure(name: str, seeds: int, path: Path, watch: Callable[[str], Sequence[Watcher]]) -> dict[str, Any]:
    """Runs a pair, or what is left of it, and writes its record.

    Args:
      name: of the pair.
      seeds: how many.
      path: its folder: a sweep for each source and each arm, and record.json.
      watch: from what is being run to who watches it.

    Returns:
      The record, see ``transfer.gains``.

    Raises:
      ConfigError: other runs are in the folder; and as ``conduct``.
    """
    pair = PAIRS[name]
    for source, changes in pair.sources.items():
        config = _config(pair, changes, pair.source_steps)
        conduct(design(config, Asked(seeds=seeds)), _source_folder(path, source), watch(f"source {source}"))
    arms = {}
    for arm_name, arm in pair.arms.items():
        steps = pair.target_steps + (pair.source_steps if arm.long else 0)
        config = _config(pair, pair.target, steps, pair.target_steps)
        source = _source_folder(path, arm.source or next(iter(pair.sources)))
        plan = arm.plan._replace(source=str(source.absolute()), lane=SEED_LANE)
        conduct(design(config, Asked(seeds=seeds), plan), path / arm_name.replace(" ", "-"), watch(arm_name))
        arms[arm_name] = _arm(pair, name, arm_name, path, steps, seeds)
    folder = path / next(iter(pair.arms)).replace(" ", "-")
    record = {
        "pair": name,
        "question": pair.question,
        "figure": pair.figure,
        "threshold": pair.threshold,
        "seeds": list(range(seeds)),
        "source_steps": pair.source_steps,
        "target_steps": arms["scratch"]["steps"],
        "arms": arms,
        "environment": json.loads((folder / MANIFEST).read_text())["environment"],
        "seconds": sum(_seconds(each) for each in sorted(path.iterdir()) if each.is_dir()),
        "commands": [f"python -m lepton_jax.measure {name} --seeds {seeds}"],
    }
    put(path / RECORD, to_json(record | {"gains": gains(record)}, indent=1) + "\n")
    return record


def _config(pair: Pair, changes: Changes, steps: int, per_curve: int = 0) -> Config:
    config = from_preset("quick")
    for layer in (pair.common, changes or NONE):
        config = overlay(config, layer, "pair")
    points = max(1, round(_POINTS * steps / per_curve)) if per_curve else 10
    schedule = {"total_steps": steps, "log_points": points, "display": "quiet"}
    return validate(overlay(config, schedule, "pair"))


def _source_folder(path: Path, source: str) -> Path:
    return path / (source if source == "source" else f"source-{source}")


def _arm(pair: Pair, name: str, arm_name: str, path: Path, steps: int, seeds: int) -> dict[str, Any]:
    """What an arm came to, from the rows of its sweep."""
    arm, rows = pair.arms[arm_name], read(group_folders(path / arm_name.replace(" ", "-"))).rows
    curves: list[dict[int, float]] = [{} for _ in range(seeds)]
    test: list[float | None] = [None] * seeds
    for row in rows:
        value = row.get(pair.figure)
        if row["levels"] == "validation":
            curves[row["lane"]][row["env_steps"]] = value
        elif row["policy"] == "final":
            test[row["lane"]] = value
    points = sorted({step for curve in curves for step in curve})
    uses = arm.source is not None and not (arm.control and arm.plan.control == "random-norm")
    return {
        "title": arm_name,
        "what": arm.what,
        "control": arm.control,
        "source_steps": pair.source_steps if uses else 0,
        "steps": points[-1] if points else steps,
        "env_steps": points,
        "curves": [[curve.get(point) for point in points] for curve in curves],
        "test": test,
    }


def _seconds(sweep: Path) -> float:
    file = sweep / "summary.json"
    return float(json.loads(file.read_text())["seconds"]) if file.is_file() else 0.0
