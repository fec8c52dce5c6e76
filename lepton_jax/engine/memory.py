"""What a run takes of a device's memory, and whether there is so much."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import jax

from lepton_jax.config import ConfigError
from lepton_jax.engine import replay
from lepton_jax.engine.manifest import device_name
from lepton_jax.engine.program import Shape, State


class Size(NamedTuple):
    """The size of a state."""

    state_bytes: int
    bytes_per_transition: float  # of the ring
    ring_bytes: int


def size_of(state: State) -> Size:
    """The size of a state, given its arrays or their shapes."""
    return Size(tree_bytes(state), replay.bytes_per_transition(state.ring), tree_bytes(state.ring))


def tree_bytes(tree: Any) -> int:
    """The bytes of all arrays of a tree, or of their shapes; typed keys as their data."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def memory_bytes() -> int | None:
    """Bytes that a program can use on a device, on CPUs all of them together; None where nobody tells."""
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, AttributeError, OSError):
        return None


def refuse_oversized(shape: Shape, size: Size) -> None:
    """Raises ConfigError if a state does not fit, with the sum spelled out and the largest replay that would."""
    available = memory_bytes()
    if available is None or size.state_bytes <= available:
        return
    transitions = shape.blocks * shape.steps
    ring, rest = size.ring_bytes, size.state_bytes - size.ring_bytes
    if rest >= available:
        raise ConfigError(
            f"{rest / 2**30:.2f} GiB for levels, environments and network, replay apart, do not fit the "
            f"{available / 2**30:.2f} GiB of {device_name()}; choose a smaller env.pool or env.levels, "
            "env.num_envs or net.width"
        )
    if shape.blocks == 1:
        raise ConfigError(
            f"{size.state_bytes / 2**30:.2f} GiB do not fit the {available / 2**30:.2f} GiB of {device_name()}; "
            "choose a smaller env.num_envs or replay.collect"
        )
    room = int((available - rest) / size.bytes_per_transition)
    raise ConfigError(
        f"replay.capacity: {transitions:,} transitions x {size.bytes_per_transition:.1f} bytes = "
        f"{ring / 2**30:.2f} GiB, and {rest / 2**30:.2f} GiB for everything else, do not fit the "
        f"{available / 2**30:.2f} GiB of {device_name()}; choose at most --replay.capacity {room}"
    )
