"""Spanning trees over the grid of rooms, by weights: which walls between neighbouring rooms open.

``spanning_tree`` is the tree of least weight, by parallel Boruvka rounds (Boruvka 1926; each round merges every
component with its cheapest neighbour, so ceil(log2 rooms) rounds suffice). Edges are numbered as in ``grid_edges``.
"""

from __future__ import annotations

import math
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np


def spanning_tree(weights: jax.Array, rooms: int) -> jax.Array:
    """Minimum spanning tree of the ``rooms`` x ``rooms`` grid.

    Args:
      weights: uint32 (edges,): the horizontal edges row by row, then the vertical ones. The lowest bits (as many as
        number an edge) give way to the edge's number, so that no two weights are equal and the tree is unique; see
        ``edge_keys``.
      rooms: rooms a side.

    Returns:
      bool (edges,): True where the edge belongs to the tree.
    """
    ends = jnp.asarray(grid_edges(rooms))
    nodes, count = rooms * rooms, ends.shape[0]
    if rooms == 1:  # no edge to gather from
        return jnp.zeros(0, bool)
    keys = edge_keys(weights, rooms)
    number = jnp.uint32(_number_mask(count))
    none = jnp.uint32(0xFFFFFFFF)
    ids = jnp.arange(nodes, dtype=jnp.int32)
    # incident[v, d] is the edge of room v towards side d, or a fifth, absent one.
    incident = jnp.asarray(_incident(rooms))

    def round_(carry):
        label, tree, _ = carry
        # An edge inside a component is out of the running.
        crossing = label[ends[:, 0]] != label[ends[:, 1]]
        offered = jnp.append(jnp.where(crossing, keys, none), none)
        cheapest = jnp.min(offered[incident], axis=1)
        # The cheapest edge leaving each component. In small mazes all pairs are compared, since scatters are slow.
        if nodes <= _SMALL:
            best = jnp.min(jnp.where(label[None, :] == ids[:, None], cheapest[None, :], none), axis=1)
        else:
            best = jnp.full(nodes, none).at[label].min(cheapest)
        alive = best != none
        chosen = jnp.where(alive, best & number, 0).astype(jnp.int32)
        if nodes <= _SMALL:
            tree = tree | jnp.any((chosen[:, None] == jnp.arange(count)) & alive[:, None], axis=0)
        else:
            tree = tree.at[chosen].max(alive)
        # Hook each component to the one its edge leads to. Two that chose the same edge form the only possible cycle:
        # the smaller becomes the root.
        other = label[ends[chosen, 0]] + label[ends[chosen, 1]] - ids
        parent = jnp.where(alive, other, ids)
        parent = jnp.where((parent[parent] == ids) & (ids < parent), ids, parent)
        for _ in range(max(1, math.ceil(math.log2(nodes)))):
            parent = parent[parent]
        label = parent[label]
        return label, tree, jnp.any(label != label[0])

    start = (ids, jnp.zeros(count, bool), jnp.bool_(nodes > 1))
    return jax.lax.while_loop(lambda carry: carry[2], round_, start)[1]


_SMALL = 256  # rooms up to which quadratic work is cheaper than a scatter


def edge_keys(weights: jax.Array, rooms: int) -> jax.Array:
    """The distinct uint32 (edges,) weights that ``spanning_tree`` compares: edge numbers below the weights."""
    count = len(grid_edges(rooms))
    mask = jnp.uint32(_number_mask(count))
    return (weights & ~mask) | jnp.arange(count, dtype=jnp.uint32)


def anisotropic(words: jax.Array, bias: jax.Array, rooms: int) -> jax.Array:
    """Weights that make the corridors of a maze run along one axis, more in some mazes than in others.

    Args:
      words: uint32 (N, edges): independent noise.
      bias: uint32 (N,) of random bits: the lowest names the axis, the others how far its opposite falls behind, from
        nothing to all of the noise.

    Returns:
      uint32 (N, edges): half of the noise and, for one axis, half of the bias.
    """
    across = jnp.arange(words.shape[-1]) < rooms * (rooms - 1)
    return (words >> 1) + jnp.where(across == (bias & 1 == 1)[:, None], (bias >> 1)[:, None], jnp.uint32(0))


def smooth(words: jax.Array, controls: jax.Array, rooms: int) -> jax.Array:
    """Weights with a texture: regions whose corridors run across, others where they run down, others without order.

    Each axis has a field of its own, bilinear between control points four rooms apart.

    Args:
      words: uint32 (N, edges): independent noise, a quarter of the weight.
      controls: uint32 (N, num_controls(rooms)) of random bits.
      rooms: rooms a side.

    Returns:
      uint32 (N, edges). All in integers, so that every device gets the same.
    """
    # 15 bits of value times 16 bits of share add up to less than 2^31; the noise stays below 2^29.
    field = (controls >> 17) @ jnp.asarray(_interpolation(rooms))
    return field + (words >> 3)


def num_controls(rooms: int) -> int:
    """Control points of ``smooth``, of both axes."""
    return 2 * _points(rooms) ** 2


def confine(weights: jax.Array, sides: jax.Array, rooms: int) -> jax.Array:
    """Weights uint32 (N, edges) whose tree, within the upper left ``sides``, int32 (N,), rooms a side, is one of these
    rooms: any edge that leaves them weighs more than all within.
    """
    row, column = np.divmod(grid_edges(rooms), rooms)
    inside = np.maximum(row, column).max(axis=1) < sides[:, None]
    return jnp.where(inside, weights >> 1, weights >> 1 | jnp.uint32(1 << 31))


def carve(opened: jax.Array, rooms: int) -> jax.Array:
    """The map, bool (size, size), whose rooms are joined where ``opened``, bool (edges,), says so."""
    n, horizontal = rooms, rooms * (rooms - 1)
    east = jnp.pad(~opened[:horizontal].reshape(n, n - 1), ((0, 0), (0, 1)), constant_values=True)
    south = jnp.pad(~opened[horizontal:].reshape(n - 1, n), ((0, 1), (0, 0)), constant_values=True)
    room, corner = jnp.zeros_like(east), jnp.ones_like(east)
    # Each room brings a 2x2 tile: itself, the place to its east, to its south, and the corner.
    tiles = jnp.stack([jnp.stack([room, east], -1), jnp.stack([south, corner], -1)], -2)
    inner = tiles.transpose(0, 2, 1, 3).reshape(2 * n, 2 * n)
    return jnp.pad(inner, ((1, 0), (1, 0)), constant_values=True)


@lru_cache
def grid_edges(rooms: int) -> np.ndarray:
    """int32 (edges, 2): the rooms each edge joins; horizontal edges row by row, then vertical ones."""
    ids = np.arange(rooms * rooms, dtype=np.int32).reshape(rooms, rooms)
    horizontal = np.stack([ids[:, :-1], ids[:, 1:]], -1).reshape(-1, 2)
    vertical = np.stack([ids[:-1], ids[1:]], -1).reshape(-1, 2)
    return np.concatenate([horizontal, vertical])


@lru_cache
def _incident(rooms: int) -> np.ndarray:
    """int32 (rooms squared, 4): the edges at each room, padded with the first number that is no edge."""
    edges = grid_edges(rooms)
    table = np.full((rooms * rooms, 4), len(edges), np.int32)
    fill = np.zeros(rooms * rooms, int)
    for number, pair in enumerate(edges):
        for room in pair:
            table[room, fill[room]] = number
            fill[room] += 1
    return table


def _points(rooms: int) -> int:
    return (rooms - 1) // 4 + 2


@lru_cache
def _interpolation(rooms: int) -> np.ndarray:
    """uint32 (num_controls, edges): the share, of 2^16, that each control point has in each edge's weight."""
    points = _points(rooms)
    row, column = np.divmod(grid_edges(rooms), rooms)
    middle = np.stack([row.mean(1), column.mean(1)]) / 4  # of each edge, in steps between control points
    hat = np.maximum(0, 1 - np.abs(middle[:, None, :] - np.arange(points)[None, :, None]))  # (axis, points, edges)
    share = (hat[0, :, None] * hat[1, None, :] * 2**16).astype(np.uint32).reshape(points * points, -1)
    across = np.arange(share.shape[-1]) < rooms * (rooms - 1)
    return np.concatenate([share * across, share * ~across]).astype(np.uint32)


def _number_mask(count: int) -> int:
    return (1 << max(1, (count - 1).bit_length())) - 1
