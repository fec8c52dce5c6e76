"""The plan of a sweep, for people."""

from __future__ import annotations

from collections.abc import Sequence

import jax

from lepton_jax.engine import manifest
from lepton_jax.engine.memory import memory_bytes
from lepton_jax.scale.design import Sweep
from lepton_jax.scale.plan import GroupPlan


def plan_lines(sweep: Sweep, plan: Sequence[GroupPlan]) -> list[str]:
    """What a sweep will take: groups, lanes at once, bytes, and what fits the memory found."""
    memory = memory_bytes()
    found = f"{memory / 2**30:.1f} GiB" if memory is not None else "unknown memory"
    seeds = len({lane.seed for lane in sweep.lanes})
    points = len(sweep.lanes) // seeds
    total = sum(group.env_steps for group in plan)
    text = [
        f"{len(sweep.lanes)} lanes: {_many(points, 'point')} x {_many(seeds, 'seed')}, {total:,} env-steps; "
        f"{_many(len(plan), 'group')}, each compiled once",
        f"{manifest.device_name()}, {_many(jax.local_device_count(), 'device')}, {found}; levels of each lane: "
        f"{'one pool for all of a group' if sweep.pools == 'shared' else 'a pool of its own'}",
    ]
    if sweep.halving is not None:
        text.append(
            f"successive halving: of the lanes that reach log point {sweep.halving.first}, and then each "
            f"{sweep.halving.eta} times as many, the best 1 in {sweep.halving.eta} go on"
        )
    for group in plan:
        named = ", ".join(f"{name} = {value}" for name, value in group.static.items())
        fit = "" if group.fit is None else f" of {group.fit:,} that fit"
        how = "side by side" if group.lift.abreast else "in turns"
        text.append(
            f"group {group.number}{f' ({named})' if named else ''}: {_many(len(group.lanes), 'lane')}, "
            f"{group.lift.places} at once{fit}, {how} on {_many(group.lift.devices, 'device')}; "
            f"{group.lane_bytes / 2**20:.2f} MiB a lane, checkpoints of at most "
            f"{group.checkpoint_bytes / 2**20:.0f} MiB"
        )
    return text


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
