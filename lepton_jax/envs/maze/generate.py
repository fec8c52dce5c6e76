"""Maze generators: pure functions ``(key, spec) -> Level``, solvable by construction.

First the walls. Mazes of corridors have rooms at the odd coordinates of a ``size`` x ``size`` map, joined along a
spanning tree (``trees.py``); ``braid`` opens more walls between them. The other kinds are in ``terrain.py``. Then what
lies on the map (``place.py``).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.envs.maze import place, terrain, trees, walks
from lepton_jax.envs.maze.level import Level, LevelError, digest, split_of
from lepton_jax.envs.maze.oracle import distances
from lepton_jax.envs.maze.spanning import spanning_tree
from lepton_jax.envs.maze.spec import DENSITY, TREES, MazeSpec, fault

# Purposes of a level key, beyond the counters of the words that a batch takes from the key itself.
_SIDE, _LAYOUT, _START, _THINGS = range(2**31, 2**31 + 4)


def batch(key: jax.Array, spec: MazeSpec, count: int) -> Level:
    """``count`` independent levels.

    Start and goal are distinct: by default uniform over the rooms of a maze of corridors, over the cells of one
    connected part of other maps. Where sizes are mixed a level lies in the upper left corner, and the rest is wall.

    Args:
      key: typed key.
      spec, count: static.

    Returns:
      Level with walls bool (count, size, size), start and goal int32 (count,), and those of the optional fields that
      ``spec`` asks for; others has int32 (count, goals - 1).

    Raises:
      LevelError: there are no such levels; see ``check``.
    """
    check(spec)
    size, mixed = spec.size, len(spec.sizes) > 1
    sides = jnp.full(count, size, jnp.int32)
    if mixed:
        word = jax.random.bits(jax.random.fold_in(key, _SIDE), (count,), jnp.uint32)
        sides = spec.sizes[0] + 2 * (word % len(spec.sizes)).astype(jnp.int32)
    preferred = jnp.ones((size, size), bool)
    if spec.kind in TREES:
        rooms = (sides - 1) // 2
        words, opened = _tree(key, spec, rooms)
        walls = jax.vmap(trees.carve, (0, None))(opened, spec.rooms)
        if mixed:
            walls |= place.beyond(sides, size)
        plain = spec._replace(ends="uniform", min_distance=0, max_distance=0, goals=1, lava=0.0, door=False)
        if spec == plain:  # any two rooms are joined, so nothing need be flooded
            return Level(walls, *place.two_rooms(words, rooms if mixed else spec.rooms, size))
        odd = jnp.arange(size) % 2 == 1
        preferred = odd[:, None] & odd
        candidates = preferred & ~walls
    else:
        layout = jax.random.fold_in(key, _LAYOUT)
        maps = [_terrain(jax.random.fold_in(layout, side), spec, side, count) for side in spec.sizes]
        walls = maps[-1]
        for side, smaller in zip(spec.sizes, maps[:-1], strict=False):
            spread = [(0, 0)] + [(0, size - side)] * 2
            padded = jnp.pad(smaller, spread, constant_values=True)
            walls = jnp.where((sides == side)[:, None, None], padded, walls)
        candidates = ~walls
        if spec.kind == "crossings":  # the chambers off the way from corner to corner are shut
            candidates = distances(walls, jnp.full(count, size + 1)) >= 0
    walls, start, distance = place.settle(jax.random.fold_in(key, _START), walls, candidates, sides, spec)
    if spec.kind == "caves":
        walls = distance < 0
    return place.furnish(jax.random.fold_in(key, _THINGS), walls, start, distance, preferred, sides, spec)


def level(key: jax.Array, spec: MazeSpec) -> Level:
    """One level: ``batch`` of one, without the leading axis. To be had many at a time by ``batch`` rather than vmap."""
    return jax.tree.map(lambda leaf: leaf[0], batch(key, spec, 1))


def _tree(key: jax.Array, spec: MazeSpec, rooms: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Two words a level for its ends, uint32 (N, 2), and the edges that are opened, bool (N, edges)."""
    count, edges = len(rooms), len(trees.grid_edges(spec.rooms))
    layout = jax.random.fold_in(key, _LAYOUT)
    # A batch draws all its words at once, which is much cheaper to compile, and to run, than a key a level.
    fields = 1 if spec.kind == "perfect" else 0
    words = jax.random.bits(key, (count, 2 + edges * (fields + (spec.braid > 0))), jnp.uint32)
    if spec.kind == "perfect":
        weights = words[:, 2 : 2 + edges]
        if spec.weights == "anisotropic":
            weights = trees.anisotropic(weights, jax.random.bits(layout, (count,), jnp.uint32), spec.rooms)
        elif spec.weights == "smooth":
            controls = jax.random.bits(layout, (count, trees.num_controls(spec.rooms)), jnp.uint32)
            weights = trees.smooth(weights, controls, spec.rooms)
        if len(spec.sizes) > 1:
            weights = trees.confine(weights, rooms, spec.rooms)
        opened = spanning_tree(weights, spec.rooms)
    elif spec.kind == "wilson":
        opened = walks.wilson(layout, rooms, spec.rooms)
    else:
        steps = jax.random.bits(layout, (2 * spec.rooms**2 - 1, count), jnp.uint32)
        opened = walks.backtracker(steps, rooms, spec.rooms)
    if spec.braid:
        opened |= terrain.below(words[:, 2 + fields * edges :], spec.braid)
    return words[:, :2], opened


def _terrain(key: jax.Array, spec: MazeSpec, side: int, count: int) -> jax.Array:
    """The maps of one size, bool (count, side, side)."""
    draw = lambda *shape: jax.random.bits(key, (count, *shape), jnp.uint32)
    density = DENSITY.get(spec.kind, 0.0) if spec.density < 0 else spec.density
    if spec.kind == "blocks":
        return terrain.blocks(draw((side - 2) ** 2), side, density)
    if spec.kind == "caves":
        return terrain.caves(draw((side - 2) ** 2), side, density)
    if spec.kind == "crossings":
        return terrain.crossings(draw(2, side - 3), side, density)
    chambers = spec.chambers or max(2, round((side - 1) / 6))
    return terrain.rooms(draw(3, 2 * chambers * (chambers - 1)), side, chambers, spec.braid)


def check(spec: MazeSpec) -> None:
    """Whether there are levels as ``spec`` asks for.

    Raises:
      LevelError: names the field and what was expected.
    """
    if (found := fault(spec)) is not None:
        field, expected = found
        raise LevelError(f"maze {field} {getattr(spec, field)!r}: expected {expected}")


def names(levels: Level, spec: MazeSpec) -> Any:
    """The digest of each layout, uint32 (..., 2): of the part that a level takes, so that it is the same for every
    ``spec`` that gives the layout. Of a mixed batch that is the smallest odd side that holds all free cells.

    Args:
      levels: of ``spec``, one or a batch, of jax or NumPy; the result is of the same kind.
    """
    walls = levels.walls
    if len(spec.sizes) == 1:
        return digest(walls)
    row, column = np.indices(walls.shape[-2:])
    last = ((np.maximum(row, column) + 2) * ~walls).max(axis=(-2, -1))
    name = np.uint32(0)
    for side in spec.sizes:
        mine = (last <= side) & ((last > side - 2) | (side == spec.sizes[0]))
        name = name + digest(walls[..., :side, :side]) * mine[..., None].astype(np.uint32)
    return name


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
    accepted = split_of(names(levels, spec)) == split
    rank = jnp.cumsum(accepted)  # of the accepted ones; the candidate ranked r comes first in it with value r
    pick = jnp.searchsorted(rank, jnp.arange(count) % jnp.maximum(rank[-1], 1) + 1)
    return jax.tree.map(lambda leaf: leaf[pick], levels)
