"""Maps that are no trees of corridors: ``blocks``, ``rooms``, ``crossings``, ``caves``.

Each takes random words for a batch and gives its walls, bool (N, size, size), the border closed. Not every free cell
need be joined to every other; ``place.py`` sees to it that start and goal are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.envs.maze.spanning import spanning_tree
from lepton_jax.envs.maze.trees import grid_edges


def below(words: jax.Array, share: float) -> jax.Array:
    """bool: True with probability ``share``, decided by the upper 24 bits of each word."""
    return (words >> 8).astype(jnp.float32) * 2.0**-24 < share


def blocks(words: jax.Array, size: int, density: float) -> jax.Array:
    """Every inner cell is wall by itself, with probability ``density``. words: uint32 (N, (size - 2)**2)."""
    return _closed(below(words, density).reshape(-1, size - 2, size - 2))


def caves(words: jax.Array, size: int, density: float) -> jax.Array:
    """Caves by a cellular automaton (Johnson, Yannakakis & Togelius 2010), from ``blocks`` of the same words.

    Five times every inner cell becomes what most of the nine cells around it are, itself included; the border is wall.
    """
    walls = blocks(words, size, density)
    for _ in range(5):
        count = walls.astype(jnp.uint8)
        count = count[:, :-2] + count[:, 1:-1] + count[:, 2:]
        count = count[:, :, :-2] + count[:, :, 1:-1] + count[:, :, 2:]
        walls = _closed(count >= 5)
    return walls


def crossings(words: jax.Array, size: int, density: float) -> jax.Array:
    """Full walls, and gaps in them along one random way from the top left to the bottom right.

    The layouts of MiniGrid's SimpleCrossing (minigrid.envs.crossing): walls at even rows and columns, as many as the
    share ``density`` of the candidates, at least one; the way crosses each of them once, always down or to the right,
    in random order and at a random place of the side it comes to. Chambers off the way stay closed.

    Args:
      words: uint32 (N, 2, size - 3): the candidates' order, and where each gap is.
      size, density: static.
    """
    candidates = size - 3  # half of them columns, half rows
    half, end = candidates // 2, size - 1
    number = max(1, round(density * candidates))
    # One shuffle decides which walls are built and in which order the way crosses columns and rows.
    mask = jnp.uint32((1 << candidates.bit_length()) - 1)
    order = (words[:, 0] & ~mask) | jnp.arange(candidates, dtype=jnp.uint32)  # distinct
    built = order <= jnp.sort(order, axis=-1)[:, number - 1 : number]
    none = jnp.uint32(0xFFFFFFFF)
    lines, times = [], []
    for part in (slice(0, half), slice(half, None)):
        position = jnp.where(built[:, part], jnp.arange(2, end, 2), end)
        lines.append(jnp.sort(position, axis=-1))  # int32 (N, half): those built come first, the absent lie at the end
        times.append(jnp.sort(jnp.where(built[:, part], order[:, part], none), axis=-1))  # crossed in this order

    def gaps(axis: int) -> jax.Array:
        """bool (N, line, along): the gap of each wall of one axis, by its position and the place along it."""
        passed = jnp.sum(times[1 - axis][:, None, :] < times[axis][:, :, None], axis=-1)  # walls of the other axis
        limits = jnp.pad(lines[1 - axis], ((0, 0), (1, 1)), constant_values=((0, 0), (0, end)))
        low, high = (jnp.take_along_axis(limits, passed + more, axis=-1) for more in (0, 1))
        word = words[:, 1, axis * half : (axis + 1) * half]
        place = low + 1 + (word % jnp.maximum(high - low - 1, 1).astype(jnp.uint32)).astype(jnp.int32)
        at = lines[axis][:, :, None] == jnp.arange(size)
        by_line = jnp.sum(jnp.where(at & (lines[axis] < end)[:, :, None], place[:, :, None], 0), axis=1)
        return by_line[:, :, None] == jnp.arange(size)

    column, row = (jnp.any(position[:, :, None] == jnp.arange(size), axis=1) for position in lines)
    columns = column[:, None, :] & ~gaps(0).transpose(0, 2, 1)
    rows = row[:, :, None] & ~gaps(1)
    # A gap never lies where two walls cross, so neither wall closes the other's.
    return _closed((columns | rows)[:, 1:-1, 1:-1])


def rooms(words: jax.Array, size: int, chambers: int, braid: float) -> jax.Array:
    """``chambers`` x ``chambers`` chambers, joined by one-cell doorways at random places of the walls they share.

    Args:
      words: uint32 (N, 3, number of shared walls): which walls of a random spanning tree get a doorway, which of the
        others do, with probability ``braid``, and where.
      size, chambers, braid: static; the dividing walls lie evenly.
    """
    plan = _plan(size, chambers)
    if chambers == 1:
        return jnp.broadcast_to(jnp.asarray(plan.walls), (len(words), size, size))
    opened = spanning_tree(words[:, 0], chambers)
    if braid:
        opened |= below(words[:, 1], braid)
    place = jnp.where(opened, (words[:, 2] % plan.length).astype(jnp.int32), -1)
    doorway = place[:, plan.wall] == plan.offset
    return jnp.asarray(plan.walls) & ~doorway


class _Plan(NamedTuple):
    walls: np.ndarray  # bool (size, size): all doorways closed
    length: np.ndarray  # uint32 (edges,): cells of the wall that two chambers share
    wall: np.ndarray  # int32 (size, size): which of these walls a cell belongs to; 0 where to none
    offset: np.ndarray  # int32 (size, size): its number within that wall; -2 where it belongs to none


@lru_cache
def _plan(size: int, chambers: int) -> _Plan:
    lines = [number * (size - 1) // chambers for number in range(chambers + 1)]
    walls = np.zeros((size, size), bool)
    walls[lines] = walls[:, lines] = True
    edges = grid_edges(chambers)
    length = np.zeros(len(edges), np.uint32)
    wall, offset = np.zeros((size, size), np.int32), np.full((size, size), -2, np.int32)
    for number, (first, second) in enumerate(edges.tolist()):
        (row, column), across = divmod(first, chambers), second == first + 1
        along = row if across else column
        cells = np.arange(lines[along] + 1, lines[along + 1])
        length[number] = len(cells)
        here = (cells, lines[column + 1]) if across else (lines[row + 1], cells)
        wall[here], offset[here] = number, np.arange(len(cells))
    return _Plan(walls, length, wall, offset)


def _closed(inner: jax.Array) -> jax.Array:
    return jnp.pad(inner, ((0, 0), (1, 1), (1, 1)), constant_values=True)
