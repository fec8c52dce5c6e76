"""Carries a plan out: reads what it names, compares, turns it into what a network begins with."""

from __future__ import annotations

import hashlib
from typing import Any

import jax
import numpy as np

from lepton_jax.agents.training import Given
from lepton_jax.config import ConfigError
from lepton_jax.transfer import memory, moments
from lepton_jax.transfer.blocks import place, scrambled
from lepton_jax.transfer.memory import Records
from lepton_jax.transfer.plan import Resolved
from lepton_jax.transfer.sources import Source


def apply(
    resolved: Resolved, source: Source, like: Any, records: Records | None = None
) -> tuple[Given, dict[str, Any]]:
    """Reads what ``resolved`` names, and no more.

    Args:
      resolved: the plan.
      source: the one that it was resolved with.
      like: the tree of the network's parameters, or of their shapes.
      records: of the run, as it was resolved with.

    Returns:
      What the run begins with; and, as JSON, the bytes read and the sha256 of every parameter as it was read.

    Raises:
      CheckpointError: what is read is not what the source says it is.
      ConfigError: it holds a number that is not finite, or is not so in the leaf's dtype.
    """
    arrays = source.read(sorted({leaf.read for leaf in resolved.leaves if leaf.read is not None}))
    plan, by_name = resolved.plan, {leaf.name: leaf for leaf in resolved.leaves}

    def check(name: str, array: np.ndarray) -> None:
        if not _finite(array):
            raise ConfigError(f"{source.path}: leaf '{name}' holds numbers that are not finite; choose another source")

    for name, array in arrays.items():
        check(name, array)

    def filled(path: Any, leaf: Any) -> tuple[np.ndarray, np.ndarray]:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        mine, dtype = by_name[name], np.dtype(leaf.dtype)
        if mine.read is None:
            return np.zeros(leaf.shape, dtype), np.zeros(leaf.shape, bool)
        block = arrays[mine.read]
        if plan.control is not None:
            block = scrambled(block, plan.control, _generator(plan.control_seed, name))
        values, taken = place(block, mine.move, tuple(leaf.shape))
        with np.errstate(over="ignore"):  # told below
            values = values.astype(dtype)
        if not _finite(values):
            raise ConfigError(
                f"{source.path}: leaf '{mine.read}' holds numbers beyond those of {dtype}, which '{name}' is of; "
                "choose another source"
            )
        return values, taken

    both = jax.tree_util.tree_map_with_path(filled, like)
    given = Given(*(jax.tree.map(lambda pair, part=part: pair[part], both, is_leaf=_is_pair) for part in (0, 1)))
    if any(leaf.treatment.moments for leaf in resolved.leaves):
        given = given._replace(moments=moments.read(source, by_name, like, check))
    if resolved.borrowed is not None:
        assert records is not None
        given = given._replace(memory=memory.read(source, resolved.borrowed, records, check))
    read = {name: f"sha256:{_digest(array)}" for name, array in arrays.items()}
    return given, {"bytes": resolved.bytes, "leaves": read}


def _generator(seed: int, name: str) -> np.random.Generator:
    """Numbers for one leaf, whichever others there are."""
    return np.random.default_rng([seed, *hashlib.sha256(name.encode()).digest()])


def _finite(array: np.ndarray) -> bool:
    with np.errstate(invalid="ignore"):  # a signalling NaN, which damage can make
        return bool(np.isfinite(np.asarray(array, np.float64)).all())


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _is_pair(node: Any) -> bool:
    return isinstance(node, tuple)
