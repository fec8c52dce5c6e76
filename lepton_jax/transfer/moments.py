"""The optimiser's moments, carried over with the parameters that they belong to."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from lepton_jax.agents.training import Moments
from lepton_jax.config import ConfigError
from lepton_jax.transfer.blocks import place

if TYPE_CHECKING:
    from lepton_jax.transfer.plan import LeafPlan
    from lepton_jax.transfer.sources import Source

_PART = "state/agent_state/opt_state"


class Names(NamedTuple):
    """Where a leaf's moments lie in a training checkpoint."""

    mu: str
    nu: str
    steps: str


def find(source: Source, where: str) -> dict[str, Names]:
    """The moments that ``source`` keeps, by the name of the leaf they belong to.

    Args:
      source: a run's newest checkpoint.
      where: what messages call the plan.

    Raises:
      ConfigError: it keeps none.
    """
    found: dict[str, Names] = {}
    for name in source.kept.leaves if source.kept else ():
        # Wherever it is: a run that was grafted itself has an optimiser for every group of leaves.
        matched = re.fullmatch(rf"({_PART}/.+)/mu/(.+)", name)
        if matched:
            adam, leaf = matched.groups()
            found[leaf] = Names(name, f"{adam}/nu/{leaf}", f"{adam}/count")
    if not found:
        raise ConfigError(
            f"{where}: moments: {source.path} keeps no optimiser (policy {source.about['policy']}); only the newest "
            "checkpoint of a run does: say policy = 'latest'"
        )
    return found


def bytes_of(source: Source, names: Names) -> int:
    """Of the two arrays."""
    assert source.kept is not None
    return source.kept.leaves[names.mu].bytes + source.kept.leaves[names.nu].bytes


def read(
    source: Source, leaves: Mapping[str, LeafPlan], like: Any, check: Callable[[str, np.ndarray], None]
) -> Moments:
    """The moments of the leaves that are to begin with them, moved as the leaves are; zeros for the others.

    Args:
      source: keeps a training checkpoint.
      leaves: by name, of the target.
      like: the tree of the network's parameters, or of their shapes.
      check: (name, array) raises for numbers that cannot be used.

    Returns:
      Moments. ``count`` is the greatest of the leaves': one optimiser has one.
    """
    known = find(source, "moments")
    wanted = {leaf.name: known[leaf.read] for leaf in leaves.values() if leaf.treatment.moments and leaf.read}
    assert source.kept is not None
    arrays = source.kept.read(sorted({name for names in wanted.values() for name in names}))
    for name, array in arrays.items():
        check(name, array)

    def moved(which: int) -> Any:
        def one(path: Any, leaf: Any) -> np.ndarray:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            if name not in wanted:
                return np.zeros(leaf.shape, leaf.dtype)
            values, _ = place(arrays[wanted[name][which]], leaves[name].move, tuple(leaf.shape))
            return values.astype(leaf.dtype)

        return jax.tree_util.tree_map_with_path(one, like)

    count = max(int(arrays[names.steps]) for names in wanted.values())
    return Moments(moved(0), moved(1), np.int32(count))
