"""The spanning tree of least weight over the grid of rooms, for many mazes at once.

Since no two weights of a maze are equal there is one such tree, and two ways to it. Small mazes grow it room by room
(Prim 1957): the least of all edges that lead out is a tree of vector minima over the mazes, without a gather or a
scatter. Large ones merge every component with its cheapest neighbour in ceil(log2 rooms) rounds (Boruvka 1926).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.envs.maze import bits
from lepton_jax.envs.maze.trees import grid_edges

_GROWN = 10  # rooms a side up to which growing is faster, and soon compiled: every edge is a part of the program
_SMALL = 256  # rooms up to which quadratic work is cheaper than a scatter
_NONE = 0xFFFFFFFF  # a weight above all others


def spanning_tree(weights: jax.Array, rooms: int) -> jax.Array:
    """Minimum spanning trees of the ``rooms`` x ``rooms`` grid.

    Args:
      weights: uint32 (N, edges): the horizontal edges row by row, then the vertical ones. The lowest bits (as many as
        number an edge) give way to the edge's number, so that no two weights are equal and the tree is unique; see
        ``edge_keys``.
      rooms: rooms a side.

    Returns:
      bool (N, edges): True where the edge belongs to the tree.
    """
    if rooms == 1:
        return jnp.zeros((weights.shape[0], 0), bool)
    keys = edge_keys(weights, rooms)
    return _grown(keys, rooms) if rooms <= _GROWN else jax.vmap(lambda keys: _merged(keys, rooms))(keys)


def edge_keys(weights: jax.Array, rooms: int) -> jax.Array:
    """The distinct uint32 (..., edges) weights that ``spanning_tree`` compares: edge numbers below the weights."""
    count = len(grid_edges(rooms))
    mask = jnp.uint32(_number_mask(count))
    return (weights & ~mask) | jnp.arange(count, dtype=jnp.uint32)


def _grown(keys: jax.Array, rooms: int) -> jax.Array:
    """Prim's algorithm, from the first room. Sets of rooms and of edges are words of 32 bits, each (N,)."""
    ends = grid_edges(rooms).tolist()
    columns = [keys[:, number] for number in range(len(ends))]
    horizontal, number = rooms * (rooms - 1), jnp.uint32(_number_mask(len(ends)))

    def cheapest(inside: Sequence[jax.Array]) -> jax.Array:
        """The least key of an edge that has one end inside."""
        has = lambda room: inside[room // 32] >> (room % 32)
        # 0 where the edge leads out, else all bits.
        barred = lambda a, b: ((has(a) ^ has(b)) & 1) - 1
        return _least([key | barred(a, b) for key, (a, b) in zip(columns, ends, strict=True)])

    def step(_: jax.Array, carry: tuple[Sequence[jax.Array], ...]) -> tuple[Sequence[jax.Array], ...]:
        # The least key is a part of the carry, for XLA would else find it anew for each word that depends on it.
        inside, tree, (best,) = carry
        edge = (best & number).astype(jnp.int32)
        across = edge < horizontal
        one = jnp.where(across, edge + edge // (rooms - 1), edge - horizontal)
        other = one + jnp.where(across, 1, rooms)
        inside = _with(_with(inside, one), other)
        return inside, _with(tree, edge), (cheapest(inside),)

    empty = jnp.zeros(keys.shape[0], jnp.uint32)
    inside, tree = ((empty,) * -(-size // 32) for size in (rooms * rooms, len(ends)))
    inside = _with(inside, jnp.int32(0))
    _, tree, _ = jax.lax.fori_loop(0, rooms * rooms - 1, step, (inside, tree, (cheapest(inside),)))
    return bits.unpack(jnp.stack(tree, axis=-1), len(ends)) == 1


def _with(words: Sequence[jax.Array], place: jax.Array) -> tuple[jax.Array, ...]:
    """Sets of bits, a place added to each."""
    bit = jnp.uint32(1) << (place & 31).astype(jnp.uint32)
    return tuple(word | jnp.where(place >> 5 == k, bit, jnp.uint32(0)) for k, word in enumerate(words))


def _least(values: list[jax.Array]) -> jax.Array:
    """The elementwise minimum, as a balanced tree."""
    while len(values) > 1:
        values = [
            jnp.minimum(*values[i : i + 2]) if i + 1 < len(values) else values[i] for i in range(0, len(values), 2)
        ]
    return values[0]


def _merged(keys: jax.Array, rooms: int) -> jax.Array:
    """Boruvka's algorithm: uint32 (edges,) -> bool (edges,)."""
    ends = jnp.asarray(grid_edges(rooms))
    nodes, count = rooms * rooms, ends.shape[0]
    number = jnp.uint32(_number_mask(count))
    none = jnp.uint32(_NONE)
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
        for _ in range(math.ceil(math.log2(nodes))):
            parent = parent[parent]
        label = parent[label]
        return label, tree, jnp.any(label != label[0])

    start = (ids, jnp.zeros(count, bool), jnp.bool_(True))
    return jax.lax.while_loop(lambda carry: carry[2], round_, start)[1]


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


def _number_mask(count: int) -> int:
    return (1 << max(1, (count - 1).bit_length())) - 1
