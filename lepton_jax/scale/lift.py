"""How one function runs for many lanes: one after another on a core, side by side on a GPU; over a mesh of devices.

A tree of lanes has one leading axis, the places; each device holds a block of them. On a CPU a loop takes a device's
lanes one after another, in place, so that each computes what it would alone, bit for bit. On a GPU ``vmap`` runs them
side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from lepton_jax.engine.shard import make_mesh

AXIS = "lane"
LANES, COMMON = PartitionSpec(AXIS), PartitionSpec()


class Lift(NamedTuple):
    """Static: where lanes live and how they run."""

    places: int  # lanes at once, a multiple of devices
    devices: int
    abreast: bool  # side by side, by vmap; else one after another


class Which(NamedTuple):
    """Which places are meant, device by device, each named by its number within the device's block."""

    order: np.ndarray | jax.Array  # int32 (places,): of each device, those meant come first
    number: np.ndarray | jax.Array  # int32 (devices,): how many


def which(lift: Lift, meant: Collection[int]) -> Which:
    """Names the places ``meant``, from 0 on."""
    block = lift.places // lift.devices
    of = [[place % block for place in sorted(meant) if place // block == device] for device in range(lift.devices)]
    order = [places + [0] * (block - len(places)) for places in of]
    return Which(np.array(order, np.int32).reshape(-1), np.array([len(places) for places in of], np.int32))


def one_by_one(function: Callable[[Any, Any], Any], into: Any, given: Any, meant: Which) -> Any:
    """``function(into, given)`` of each lane that is meant, in the place of its ``into``; the others stay."""
    at = lambda tree, place: jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, place, 0, False), tree)

    def body(turn: jax.Array, into: Any) -> Any:
        place = jnp.asarray(meant.order)[turn]
        new = function(at(into, place), at(given, place))
        put = lambda old, new: jax.lax.dynamic_update_index_in_dim(old, new.astype(old.dtype), place, 0)
        return jax.tree.map(put, into, new)

    return jax.lax.fori_loop(0, meant.number[0], body, into)


def each(lift: Lift, function: Callable[[Any, Any], Any], into: Any, given: Any, meant: Which) -> Any:
    """As ``one_by_one``; where lanes run side by side, all of them run, meant or not."""
    if lift.abreast:
        return jax.vmap(function)(into, given)
    return one_by_one(function, into, given, meant)


def over_devices(lift: Lift, function: Callable[..., Any], inputs: Any, outputs: Any) -> Callable[..., Any]:
    """Runs ``function`` on each device with its block of the trees marked ``LANES`` and all of those marked ``COMMON``.

    Args:
      lift: static.
      function: of arrays of one device.
      inputs, outputs: prefix trees of the two marks.
    """
    if lift.devices == 1:
        return function
    mesh = make_mesh(lift.devices, AXIS)
    return jax.shard_map(function, mesh=mesh, in_specs=inputs, out_specs=outputs, check_vma=False)


def shardings(lift: Lift, marks: Any, tree: Any) -> Any:
    """The sharding of every leaf of ``tree``, of which ``marks`` is a prefix."""
    if lift.devices == 1:
        here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        return jax.tree.map(lambda _: here, tree)
    mesh = make_mesh(lift.devices, AXIS)
    is_mark = lambda node: isinstance(node, PartitionSpec)
    fill = lambda mark, part: jax.tree.map(lambda _: NamedSharding(mesh, mark), part)
    return jax.tree.map(fill, marks, tree, is_leaf=is_mark)
