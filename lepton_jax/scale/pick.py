"""One lane of a sweep, wherever a run is accepted. Imports no jax."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from lepton_jax.config import Config, ConfigError
from lepton_jax.engine import integrity
from lepton_jax.engine.folder import RunFolder
from lepton_jax.engine.integrity import CheckpointError
from lepton_jax.engine.policies import Place
from lepton_jax.scale.groups import split
from lepton_jax.scale.ledger import OVER, Ledger
from lepton_jax.scale.sweep_folder import DEFINITION, finished, group_folder, read_definition, resume_command
from lepton_jax.transfer.asking import Plan


class Picked(NamedTuple):
    """A lane, and where it is kept."""

    config: Config  # with which it can be run alone
    sweep: Path  # the sweep's folder
    group: Path  # its group's folder
    row: int  # of the group's stacked policies
    graft: Plan | None = None  # what it begins from; None: random numbers


def is_sweep(path: Path) -> bool:
    """Whether this is the folder of a sweep."""
    return (path / DEFINITION).is_file()


def ended(path: Path) -> bool:
    """Whether nothing is left to run of what is in ``path``, if that is a sweep."""
    if not is_sweep(path):
        return True
    groups = range(len(split(read_definition(path).lanes)))
    return all(finished(group_folder(path, number)) is not None for number in groups)


def pick(path: Path, lane: int | None) -> Picked:
    """Lane number ``lane`` of the sweep in ``path``.

    Raises:
      ConfigError: there is no sweep, no such lane, or none was named.
    """
    sweep = read_definition(path)
    last = len(sweep.lanes) - 1
    if lane is None:
        raise ConfigError(f"{path} is a sweep; choose one of its lanes: --lane 0 to {last}")
    if not 0 <= lane <= last:
        raise ConfigError(f"--lane {lane}: {path} has lanes 0 to {last}; lanes.csv there says which is which")
    for number, group in enumerate(split(sweep.lanes)):
        for row, each in enumerate(group):
            if each.number == lane:
                return Picked(each.config, path, group_folder(path, number), row, sweep.graft)
    raise AssertionError("every lane is in a group")


def find_lane_policy(picked: Picked, policy: str, whole: bool = True) -> Place:
    """Where a lane's policy ``best``, ``final`` or ``latest`` lies. ``whole`` is that of ``find_policy``.

    Raises:
      ConfigError: the lane has no such policy yet.
      CheckpointError: it is damaged.
    """
    folder = RunFolder(picked.group)
    if finished(picked.group) is not None:
        name = "best" if policy == "best" else "final"
        if whole:
            integrity.verify(folder.policy(name))
        steps = integrity.describe(folder.policy(name))["env_steps_of_lanes"][picked.row]
        return Place(folder.policy(name), "", picked.row, steps)
    saved = folder.saved()
    point, problems = integrity.newest_intact(saved, whole)
    way_on = f"go on with it: {resume_command(picked.sweep)}"
    if problems and point is None:
        raise CheckpointError("; ".join(problems))
    ledger = Ledger.from_json(integrity.describe(point)["ledger"]) if point else None
    if point is None or ledger is None or ledger.seats[picked.row].status == "waiting":
        raise ConfigError(f"{picked.sweep}: this lane has not begun, or nothing of it has been saved yet; {way_on}")
    seat = ledger.seats[picked.row]
    about = integrity.describe(point)
    each = about["env_steps_each_point"]
    if policy == "best":
        if seat.best_score is None:
            raise ConfigError(
                f"{picked.sweep}: this lane has not been judged yet; look at --policy latest, or {way_on}"
            )
        return Place(point, "best", picked.row, seat.best_points * each)
    if seat.status in OVER:
        return Place(point, "final", picked.row, seat.points * each)
    if policy == "final":
        raise ConfigError(f"{picked.sweep}: this lane has not ended; look at --policy latest or best, or {way_on}")
    row = list(ledger.running.values()).index(picked.row)
    return Place(point, "mine/agent_state", row, seat.points * each + about["env_steps_within"])
