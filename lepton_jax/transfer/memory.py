"""The source's replay memory, from which a run takes a share of each batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.agents.training import Reuse
from lepton_jax.config import ConfigError
from lepton_jax.engine import checkpoint
from lepton_jax.engine.program import program_shape
from lepton_jax.engine.replay import Memory, Ring
from lepton_jax.transfer.foreign import Leaf

if TYPE_CHECKING:
    from lepton_jax.transfer.sources import Source

_RING, _CLOCK = "state/ring/", "state/clock"


class Records(NamedTuple):
    """What a run replays, if it replays transitions."""

    episode: Any  # shapes of the record of one environment, without leading axes
    step: Any
    num_actions: int
    n_step: int
    batch: int


class Borrowed(NamedTuple):
    """A memory that can be taken."""

    reuse: Reuse
    leaves: Mapping[str, Leaf]  # of the ring, by name within it
    shards: int  # that the source was spread over; each kept a ring of its own

    @property
    def bytes(self) -> int:
        """That are read of it."""
        return sum(leaf.bytes for leaf in self.leaves.values())


def find(source: Source, share: float, records: Records | None, where: str) -> Borrowed:
    """Plans to take the replay memory of ``source``. Reads metadata only.

    Args:
      source: a run's newest checkpoint.
      share: of each batch, above 0.
      records: of the run that takes it; None if it replays no transitions.
      where: what messages call the plan.

    Raises:
      ConfigError: one of the two has no such memory, or they record different things.
    """
    if records is None:
        raise ConfigError(f"{where}: replay: for agents that replay transitions (dqn without memory); leave it away")
    if records.batch < 2:
        raise ConfigError(f"{where}: replay: a batch of 1 cannot be shared; raise replay.batch_size")
    if source.kept is None or source.config is None:
        raise ConfigError(
            f"{where}: replay: {source.path} keeps no replay memory (policy {source.about['policy']}); only the newest "
            "checkpoint in a run's folder does: say policy = 'latest'"
        )
    if source.config.agent.kind != "dqn":
        raise ConfigError(f"{where}: replay: {source.path} was trained by {source.config.agent.kind}, which keeps none")
    ring = {name[len(_RING) :]: leaf for name, leaf in source.kept.leaves.items() if name.startswith(_RING)}
    ring = {name: leaf for name, leaf in ring.items() if not name.startswith("carry")}  # of the source's own memory
    shards = ring["action"].shape[0] if len(ring["action"].shape) == 3 else 1
    split = 1 if shards > 1 else 0
    rows, envs = ring["action"].shape[split:]
    for kind in ("episode", "step"):
        wanted = checkpoint.names({kind: getattr(records, kind)})
        there = {name: leaf for name, leaf in ring.items() if name.split("/")[0] == kind}
        for name in sorted(wanted.keys() | there.keys()):
            theirs = _told(there[name].shape[split + 2 :], there[name].dtype) if name in there else "nothing"
            mine = _told(wanted[name].shape, str(np.dtype(wanted[name].dtype))) if name in wanted else "nothing"
            if theirs != mine:
                raise ConfigError(
                    f"{where}: replay: {source.path} recorded {theirs} as '{name}', where this run records {mine}; "
                    "worlds of the same size and rules share a memory: leave replay away"
                )
    blocks, slots = next(leaf.shape[split : split + 2] for name, leaf in ring.items() if name.startswith("truncated"))
    return Borrowed(Reuse(share, blocks, rows // blocks, slots, shards * envs), ring, shards)


def shapes(borrowed: Borrowed, records: Records) -> Memory:
    """The shapes of what ``read`` gives."""

    def part(name: str) -> jax.ShapeDtypeStruct:
        leaf = borrowed.leaves[name]
        return jax.eval_shape(
            lambda array: _side_by_side(name, array, borrowed.shards),
            jax.ShapeDtypeStruct(leaf.shape, np.dtype(leaf.dtype)),
        )

    scalar = jax.ShapeDtypeStruct((), np.int32)
    return _assembled(records, part, scalar, scalar)


def read(source: Source, borrowed: Borrowed, records: Records, check: Callable[[str, np.ndarray], None]) -> Memory:
    """Reads the memory that was planned; the rings of several shards side by side.

    Args:
      source, borrowed, records: as planned.
      check: (name, array) raises for numbers that cannot be used.

    Raises:
      CheckpointError: it is damaged.
      ConfigError: it holds an action that this run does not know, or too few rows.
    """
    assert source.kept is not None
    assert source.config is not None
    arrays = source.kept.read([_CLOCK, *(_RING + name for name in borrowed.leaves)])
    check(f"{_RING}reward", arrays[f"{_RING}reward"])
    if (most := int(arrays[f"{_RING}action"].max())) >= records.num_actions:
        raise ConfigError(
            f"{source.path}: replay: its memory holds action {most}, and this run has {records.num_actions} actions; "
            "leave replay away"
        )
    head = program_shape(source.config).warmup + int(arrays[_CLOCK])
    written = min(head, borrowed.reuse.blocks)
    if written * borrowed.reuse.length <= records.n_step:
        raise ConfigError(f"{source.path}: replay: its memory has too few rows for n_step = {records.n_step} yet")
    part = lambda name: _side_by_side(name, arrays[_RING + name], borrowed.shards)
    return _assembled(records, part, np.int32(head), np.int32(written))


def _assembled(records: Records, part: Callable[[str], Any], head: Any, written: Any) -> Memory:
    """A memory of parts by their names."""
    tree = lambda like, within: jax.tree.map(part, checkpoint.places(like, within))
    ring = Ring(
        episode=tree(records.episode, "episode"),
        step=tree(records.step, "step"),
        action=part("action"),
        reward=part("reward"),
        ended=part("ended"),
        truncated=tree(records.step, "truncated"),
        carry=(),
    )
    return Memory(ring, head, written)


def _side_by_side(name: str, array: Any, shards: int) -> Any:
    """A part of the rings of all shards, (shards, rows, envs, ...), as that of one: (rows, shards * envs, ...)."""
    if shards == 1:
        return array
    at = 2 if name.startswith("truncated") else 1  # (shards, blocks, slots, envs, ...)
    array = np.moveaxis(array, 0, at) if isinstance(array, np.ndarray) else jnp.moveaxis(array, 0, at)
    return array.reshape(*array.shape[:at], -1, *array.shape[at + 2 :])


def _told(shape: tuple[int, ...], dtype: str) -> str:
    return f"{dtype}[{','.join(map(str, shape))}]"
