"""What a run takes of a device's memory, and whether there is so much."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from lepton_jax.config import ConfigError
from lepton_jax.engine import replay
from lepton_jax.engine.installation import usable_memory
from lepton_jax.engine.manifest import device_name
from lepton_jax.engine.program import DIVIDED, Shape, State

# Of the memory found, what lanes may fill, and runs where it is the host's: the rest is for what a step computes with.
SHARE = 0.8
# Where states lie in the host's memory, copies of each while it is saved: that which is written, and Orbax's own.
SAVED = 2


class Size(NamedTuple):
    """The size of a state, each part of which counts once, on however many devices it lies."""

    state_bytes: int
    bytes_per_transition: float  # of the ring
    ring_bytes: int
    own_bytes: int  # of what the shards share out, the ring among it; 0: each has all of it
    shards: int


def size_of(state: State, shards: int = 1) -> Size:
    """The size of a state over ``shards`` devices, given its arrays or their shapes."""
    divided = state.first.ndim == 2  # (shards, N), or (N,) where the environments are one part
    own = sum(tree_bytes(getattr(state, name)) for name in DIVIDED) if divided else 0
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

    A GPU holds what is of one shard. A CPU holds what is of all, and the copies that are made to save it.
    """
    found, divided = memory_bytes(), size.own_bytes > 0
    if found is None:
        return
    where = f"the {found / 2**30:.2f} GiB of {device_name()}"
    if jax.default_backend() == "cpu":
        copies = SAVED + (size.shards > 1)  # jax keeps what it joins, of several devices, beside what it hands out
        own, whole = 1.0 + copies, size.shards + copies
        available = SHARE * found
        where = f"the {available / 2**30:.2f} GiB that a run may take of {where}"
        told = f", {own if divided else whole:.0f} times there while it is saved"
    else:
        own, whole, available = 1 / size.shards, 1.0, found
        told = f" over {size.shards} devices" * (divided and size.shards > 1)
    times = own if divided else whole
    ring = times * size.ring_bytes
    rest = whole * (size.state_bytes - size.own_bytes) + own * size.own_bytes - ring
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
    room = int((available - rest) / times / size.bytes_per_transition)
    raise ConfigError(
        f"replay.capacity: {shape.blocks * shape.steps:,} transitions x {size.bytes_per_transition:.1f} bytes = "
        f"{size.ring_bytes / 2**30:.2f} GiB{told}, and {rest / 2**30:.2f} GiB for everything else, do not fit {where}; "
        f"choose at most --replay.capacity {room}"
    )
