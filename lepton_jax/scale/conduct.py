"""A sweep from its plan to its tables: group after group in one folder, which can be left and come back to."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from lepton_jax.config import ConfigError
from lepton_jax.engine import manifest
from lepton_jax.engine.folder import RunFolder, put
from lepton_jax.engine.installation import usable_cores
from lepton_jax.engine.interrupts import Interrupted, Interrupts
from lepton_jax.engine.metrics import to_json
from lepton_jax.engine.setup import prepare_jax
from lepton_jax.scale import results
from lepton_jax.scale.design import Sweep, to_toml
from lepton_jax.scale.group import Group, Rules
from lepton_jax.scale.ledger import Ledger, Score
from lepton_jax.scale.plan import GroupPlan, make_plan
from lepton_jax.scale.standing import Standing, standing_of, together
from lepton_jax.scale.sweep_folder import (
    MANIFEST,
    finished,
    group_folder,
    hold,
    lane_command,
    read_manifest,
    refuse_another,
    resume_command,
)


class Watcher(Protocol):
    """Something that is told how a sweep goes."""

    def begin(self, sweep: Sweep, plan: Sequence[GroupPlan]) -> None: ...
    def update(self, standing: Standing) -> None: ...  # of all groups together, after each chunk
    def notice(self, text: str) -> None: ...
    def end(self, summary: Mapping[str, Any] | None) -> None: ...  # as far as it has come; None: not even told


def plan(sweep: Sweep, path: Path) -> tuple[GroupPlan, ...]:
    """Prepares jax for a sweep and sizes it up, one that was begun in ``path`` as it was.

    Raises:
      ConfigError: something else is in ``path``; and as ``make_plan``.
    """
    refuse_another(sweep, path)
    prepare_jax(sweep.lanes[0].config, min(sweep.places or len(sweep.lanes), len(sweep.lanes), usable_cores()))
    before = read_manifest(path)
    return make_plan(sweep, before["groups"] if before else ())


def conduct(sweep: Sweep, path: Path, watchers: Sequence[Watcher]) -> dict[str, Any]:
    """Runs a sweep, or what is left of it.

    Args:
      sweep: what to run.
      path: its folder, new or begun before.
      watchers: told how it goes.

    Returns:
      The summary, as in summary.json.

    Raises:
      ConfigError: as ``plan`` and ``hold``; nothing was changed then.
      Interrupted: a signal came; running lanes were saved, and the message says how to go on.
      CheckpointError: the end of a group could not be saved, or no checkpoint of it is intact.
    """
    parts = plan(sweep, path)
    with hold(sweep, path):
        ledgers: dict[int, Ledger] = {}
        _describe(sweep, parts, path, watchers)
        for watcher in watchers:
            watcher.begin(sweep, parts)
        try:
            _run(sweep, parts, path, watchers, ledgers)
        except BaseException:
            # What stopped it is what a person must hear, whatever becomes of the tables.
            try:
                _end(sweep, parts, path, watchers, ledgers)
            except (OSError, ConfigError) as error:
                for watcher in watchers:
                    watcher.notice(f"the tables could not be written: {error}")
            raise
        return _end(sweep, parts, path, watchers, ledgers)


def _end(
    sweep: Sweep,
    parts: Sequence[GroupPlan],
    path: Path,
    watchers: Sequence[Watcher],
    ledgers: Mapping[int, Ledger],
) -> dict[str, Any]:
    """Writes all tables, as far as the sweep has come, and tells the watchers; they end in any case."""
    try:
        summary = _write(sweep, parts, path, ledgers)
    except BaseException:
        for watcher in watchers:
            watcher.end(None)
        raise
    for watcher in watchers:
        watcher.end(summary)
    return summary


def _run(
    sweep: Sweep,
    parts: Sequence[GroupPlan],
    path: Path,
    watchers: Sequence[Watcher],
    ledgers: dict[int, Ledger],
) -> None:
    """Group after group; ``ledgers`` is filled in as they come along."""

    def said(text: str) -> None:
        for watcher in watchers:
            watcher.notice(text)

    def told() -> None:
        standing = _standing(parts, ledgers)
        for watcher in watchers:
            watcher.update(standing)

    way_on = f"go on with: {resume_command(path)}"
    rules = Rules(sweep.pools, sweep.halving, sweep.base.checkpoint, way_on)
    with Interrupts(way_on) as interrupts:
        scores: Mapping[int, Sequence[Score]] = {}
        for part in parts:
            here = group_folder(path, part.number)
            ledger = finished(here)
            if ledger is None:
                if interrupts.asked:
                    raise Interrupted(f"stopped; {way_on}", interrupts.asked)
                group = Group(part, rules, here, scores, said)
                ledger = ledgers[part.number] = group.ledger
                group.run(interrupts, told)
            else:  # killed in its last instant, a group leaves checkpoints that nobody needs any more
                shutil.rmtree(RunFolder(here).checkpoints, ignore_errors=True)
            ledgers[part.number], scores = ledger, ledger.rungs


def _standing(parts: Sequence[GroupPlan], ledgers: Mapping[int, Ledger]) -> Standing:
    return together(standing_of(part, ledgers.get(part.number)) for part in parts)


def _describe(sweep: Sweep, parts: Sequence[GroupPlan], path: Path, watchers: Sequence[Watcher]) -> None:
    """Writes the manifest, with one more session in its lineage."""
    before = read_manifest(path)
    lineage = [*(before["lineage"] if before else []), {"environment": manifest.environment(1)}]
    groups = [
        {
            "lanes": [lane.number for lane in part.lanes],
            "static": part.static,
            "places": part.lift.places,
            "devices": part.lift.devices,
            "abreast": part.lift.abreast,
            "lane_bytes": part.lane_bytes,
            "checkpoint_bytes": part.checkpoint_bytes,
        }
        for part in parts
    ]
    facts = {
        "sweep": to_toml(sweep),
        "environment": manifest.environment(1),
        "git_revision": manifest.git_revision(),
        "groups": groups,
        "lineage": lineage,
    }
    if parts[0].grafts is not None:
        facts["graft"] = parts[0].grafts.about
    put(path / MANIFEST, to_json(facts, indent=2) + "\n")
    for note in manifest.changes(lineage):
        for watcher in watchers:
            watcher.notice(note)


def _write(sweep: Sweep, parts: Sequence[GroupPlan], path: Path, ledgers: Mapping[int, Ledger]) -> dict[str, Any]:
    """All tables, as far as the sweep has come."""
    standing = _standing(parts, ledgers)
    about = {
        "device": manifest.device_name(),
        "groups": len(parts),
        "env_steps": standing.env_steps,
        "seconds": standing.seconds,
        "env_steps_per_second": standing.env_steps / standing.seconds if standing.seconds else None,
        "compile_seconds": sum(ledger.compile_seconds for ledger in ledgers.values()),
    }
    return results.write(path, sweep, about, lambda lane: lane_command(path, lane))
