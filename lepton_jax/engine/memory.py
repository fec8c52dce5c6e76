"""What a run takes of a device's memory, and whether there is so much."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from lepton_jax.config import ConfigError
from lepton_jax.engine import replay
from lepton_jax.engine.installation import usable_memory
from lepton_jax.engine.manifest import device_name
from lepton_jax.engine.program import Shape, State

# Of the memory found, what lanes may fill, and runs where it is the host's: the rest is for what a step computes with.
SHARE = 0.8
# Where states lie in the host's memory, copies of each while it is saved: that which is written, and Orbax's own.
SAVED = 2
_OWN = ("env_state", "first", "ring", "carry")  # what of a State each shard has a part of; all else it has whole


class Size(NamedTuple):
    """The size of a state, on all devices together."""

    state_bytes: int
    bytes_per_transition: float  # of the ring
    ring_bytes: int
    own_bytes: int  # of what the shards share out, the ring among it
    shards: int


def size_of(state: State) -> Size:
    """The size of a state, given its arrays or their shapes."""
    own = sum(tree_bytes(getattr(state, name)) for name in _OWN)
    shards = state.first.shape[0] if state.first.ndim == 2 else 1  # (shards, N), or (N,) where there is one
    return Size(tree_bytes(state), replay.bytes_per_transition(state.ring), tree_bytes(state.ring), own, shards)


def tree_bytes(tree: Any) -> int:
    """The bytes of all arrays of a tree, or of their shapes; typed keys as their data."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def memory_bytes() -> int | None:
    """Bytes that a program can use on a device, on CPUs all of them together; None where nobody tells."""
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    return usable_memory()


def refuse_oversized(shape: Shape, size: Size) -> None:
    """Raises ConfigError if a state does not fit, with the sum spelled out and the largest replay that would.

    A GPU holds what is of one shard. A CPU holds all shards, and the copies that are made to save them.
    """
    found = memory_bytes()
    if found is None:
        return
    where = f"the {found / 2**30:.2f} GiB of {device_name()}"
    if jax.default_backend() == "cpu":
        times = 1 + SAVED + (size.shards > 1)  # jax keeps what it joins, of several devices, beside what it hands out
        parts, available = 1, SHARE * found / times
        where = (
            f"the {available / 2**30:.2f} GiB that a state, {times} times there while it is saved, may take of {where}"
        )
    else:
        parts, available = size.shards, found
    ring = size.ring_bytes / parts
    rest = size.state_bytes - size.own_bytes + (size.own_bytes - size.ring_bytes) / parts
    if ring + rest <= available:
        return
    if rest >= available:
        raise ConfigError(
            f"{rest / 2**30:.2f} GiB for levels, environments and network, replay apart, do not fit {where}; choose a "
            "smaller env.pool or env.levels, env.num_envs or net.width"
        )
    if shape.blocks == 1:
        raise ConfigError(
            f"{(ring + rest) / 2**30:.2f} GiB do not fit {where}; choose a smaller env.num_envs or replay.collect"
        )
    room = int((available - rest) * parts / size.bytes_per_transition)
    raise ConfigError(
        f"replay.capacity: {shape.blocks * shape.steps:,} transitions x {size.bytes_per_transition:.1f} bytes = "
        f"{size.ring_bytes / 2**30:.2f} GiB{f' over {parts} devices' * (parts > 1)}, and {rest / 2**30:.2f} GiB for "
        f"everything else{' on each' * (parts > 1)}, do not fit {where}; choose at most --replay.capacity {room}"
    )
