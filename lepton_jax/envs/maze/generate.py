"""Maze generators: pure functions ``(key, spec) -> Level``, solvable by construction.

Rooms sit at the odd coordinates of a ``size`` x ``size`` map; a generator decides which walls between neighbouring
rooms open. ``perfect`` draws a minimum spanning tree over random edge weights, found by parallel Boruvka rounds
(Boruvka 1926; each round merges every component with its cheapest neighbour, so ceil(log2 rooms) rounds suffice).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.envs.maze.level import Level, digest, split_of


KINDS = ("perfect", "backtracker", "wilson", "blocks", "rooms", "crossings", "caves")
WEIGHTS = ("uniform", "anisotropic", "smooth")
ENDS = ("uniform", "corners")


class MazeSpec(NamedTuple):
    """What a generator needs to know; hashable, so that it can be static under jit."""

    size: int  # tiles a side, odd, at least 5
    braid: float = 0.0  # share of the remaining inner walls between rooms that is opened, making loops
    kind: str = "perfect"  # one of KINDS
    weights: str = "uniform"  # perfect: the weight field, one of WEIGHTS
    density: float = -1.0  # blocks, caves, crossings: share of wall; -1 = what suits the kind
    chambers: int = 0  # rooms: chambers a side; 0 = what suits the size
    min_size: int = 0  # mixed sizes: the smallest, odd; each level is as likely of any odd size up to ``size``; 0 = one
    ends: str = "uniform"  # one of ENDS: where start and goal lie
    min_distance: int = 0  # fewest steps from start to goal, where a level has such a pair
    max_distance: int = 0  # most steps from start to goal; 0 = any
    goals: int = 1  # goals a level
    lava: float = 0.0  # share of the cells off every shortest path that is lava
    door: bool = False  # whether a door, with its key, bars the way to the goal

    @property
    def rooms(self) -> int:
        """Rooms a side."""
        return (self.size - 1) // 2


def perfect(key: jax.Array, spec: MazeSpec) -> Level:
    """One maze: a random spanning tree over the rooms, start and goal distinct and uniform over rooms.

    Weights are independent and uniform, so the tree has the distribution of Kruskal's algorithm.

    Returns:
      Level with walls bool (size, size), start and goal int32 ().
    """
    return from_words(jax.random.bits(key, (words_a_level(spec),), jnp.uint32), spec)


def words_a_level(spec: MazeSpec) -> int:
    """Random words that ``from_words`` needs."""
    return len(grid_edges(spec.rooms)) * (2 if spec.braid else 1) + 2


def from_words(words: jax.Array, spec: MazeSpec) -> Level:
    """``perfect`` on given chance: uint32 (words_a_level,). A batch draws all its words at once, which is much cheaper
    to compile, and to run, than a key a level.
    """
    edges = len(grid_edges(spec.rooms))
    opened = spanning_tree(words[2 : 2 + edges], spec.rooms)
    if spec.braid:
        opened |= (words[2 + edges :] >> 8).astype(jnp.float32) * 2.0**-24 < spec.braid
    start, goal = _two_rooms(words[:2], spec)
    return Level(carve(opened, spec), start, goal)


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


def carve(opened: jax.Array, spec: MazeSpec) -> jax.Array:
    """The map, bool (size, size), whose rooms are joined where ``opened``, bool (edges,), says so."""
    n, horizontal = spec.rooms, spec.rooms * (spec.rooms - 1)
    east = jnp.pad(~opened[:horizontal].reshape(n, n - 1), ((0, 0), (0, 1)), constant_values=True)
    south = jnp.pad(~opened[horizontal:].reshape(n - 1, n), ((0, 1), (0, 0)), constant_values=True)
    room, corner = jnp.zeros_like(east), jnp.ones_like(east)
    # Each room brings a 2x2 tile: itself, the place to its east, to its south, and the corner.
    tiles = jnp.stack([jnp.stack([room, east], -1), jnp.stack([south, corner], -1)], -2)
    inner = tiles.transpose(0, 2, 1, 3).reshape(2 * n, 2 * n)
    return jnp.pad(inner, ((1, 0), (1, 0)), constant_values=True)


def batch(key: jax.Array, spec: MazeSpec, count: int) -> Level:
    """``count`` independent ``perfect`` mazes from one key."""
    words = jax.random.bits(key, (count, words_a_level(spec)), jnp.uint32)
    return jax.vmap(from_words, (0, None))(words, spec)


def candidates(count: int, split: int) -> int:
    """Mazes among which ``count`` of a set are found, but for a chance below 1e-9."""
    return count * (2, 16, 6)[split] + (96, 192, 192)[split]


def split_levels(key: jax.Array, spec: MazeSpec, count: int, split: int | None) -> Level:
    """``count`` levels of one set, by rejection above the generator, so that its distribution within the set is kept.

    Args:
      key: typed key.
      spec: static.
      count: static.
      split: index into ``level.SPLITS``, or None for no restriction.

    Returns:
      A batch of levels. Candidates are drawn in one bounded batch, enough for a shortfall to be rarer than 1e-9 for
      sets with the usual share of layouts; a shortfall repeats accepted levels and never lets in another set's layout.
    """
    if split is None:
        return batch(key, spec, count)
    levels = batch(key, spec, candidates(count, split))
    accepted = split_of(digest(levels.walls)) == split
    rank = jnp.cumsum(accepted)  # of the accepted ones; the candidate ranked r comes first in it with value r
    pick = jnp.searchsorted(rank, jnp.arange(count) % jnp.maximum(rank[-1], 1) + 1)
    return jax.tree.map(lambda leaf: leaf[pick], levels)


def _two_rooms(words: jax.Array, spec: MazeSpec) -> tuple[jax.Array, jax.Array]:
    """Two distinct rooms' cells from two random words; uniform but for a bias below rooms / 2**32."""
    rooms = spec.rooms * spec.rooms
    first, second = (words % jnp.array([rooms, rooms - 1], jnp.uint32)).astype(jnp.int32)
    second = second + (second >= first)
    cell = lambda room: (2 * (room // spec.rooms) + 1) * spec.size + 2 * (room % spec.rooms) + 1
    return cell(first), cell(second)


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


def _number_mask(count: int) -> int:
    return (1 << max(1, (count - 1).bit_length())) - 1
