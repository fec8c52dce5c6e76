"""Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): a matrix W stays, and W + A B is used, with A and B learned.

B begins at zero, so that at first nothing is changed. A convolution is taken as the matrix whose columns are
its output channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from lepton_jax.agents.networks import QFunction
from lepton_jax.agents.training import LOW_RANK, Training


def adapted(q: QFunction, training: Training) -> QFunction:
    """``q`` with adapters where ``training`` gives a leaf a rank; ``q`` itself if it gives none.

    Its parameters have one more collection, ``low_rank``, in which every such leaf is a pair of factors, ``a`` and
    ``b``.
    """
    ranks = {name.removeprefix("params/"): each.rank for name, each in training.leaves if each.rank}
    if not ranks:
        return q

    def init(key: jax.Array, observation: jax.ShapeDtypeStruct) -> Any:
        params = q.init(key, observation)
        leaves = _flat(params["params"])
        # By number, apart from the keys that ``q`` has drawn from: what it draws stays the same.
        factors = {
            name: _factors(jax.random.fold_in(key, number), leaves[name], rank)
            for number, (name, rank) in enumerate(sorted(ranks.items()))
        }
        return {**params, LOW_RANK: unflatten_dict(factors, sep="/")}

    unroll = lambda params, carry, observation, first: q.unroll(merged(params), carry, observation, first)
    return QFunction(init, q.carry, unroll)


def merged(params: Mapping[str, Any]) -> Any:
    """Parameters of the network itself, with what adapters add; without adapters as they are."""
    if LOW_RANK not in params:
        return params
    leaves, factors = _flat(params["params"]), _flat(params[LOW_RANK])
    for name in {path.rpartition("/")[0] for path in factors}:
        product = factors[f"{name}/a"] @ factors[f"{name}/b"]
        leaves[name] = leaves[name] + product.reshape(leaves[name].shape)
    return {"params": unflatten_dict(leaves, sep="/")}


def worn(params: Mapping[str, Any], policy: Any) -> Any:
    """Parameters like ``params`` that stand for ``policy``, which has no adapters."""
    if LOW_RANK not in params:
        return policy
    return {**policy, LOW_RANK: jax.tree.map(jnp.zeros_like, params[LOW_RANK])}


def _flat(tree: Any) -> dict[str, Any]:
    return flatten_dict(tree, sep="/")


def _factors(key: jax.Array, leaf: jax.Array, rank: int) -> dict[str, jax.Array]:
    rows, columns = math.prod(leaf.shape[:-1]), leaf.shape[-1]
    a = jax.random.normal(key, (rows, rank), leaf.dtype) / math.sqrt(rows)
    return {"a": a, "b": jnp.zeros((rank, columns), leaf.dtype)}
