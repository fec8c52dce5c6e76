"""Maze generators: pure functions ``(key, spec) -> Level``, solvable by construction.

First the walls. Mazes of corridors have rooms at the odd coordinates of a ``size`` x ``size`` map, joined along a
spanning tree (``trees.py``); ``braid`` opens more walls between them. The other kinds are in ``terrain.py``. Then what
lies on the map (``place.py``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.envs.maze import place, terrain, trees
from lepton_jax.envs.maze.level import MAX_SIDE, Level, LevelError, digest, split_of
from lepton_jax.envs.maze.oracle import distances

KINDS = ("perfect", "backtracker", "wilson", "blocks", "rooms", "crossings", "caves")
WEIGHTS = ("uniform", "anisotropic", "smooth")
ENDS = ("uniform", "corners")
TREES = ("perfect", "backtracker", "wilson")  # those whose rooms are joined along a tree


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

    @property
    def sizes(self) -> range:
        """Tiles a side that a level may take."""
        return range(self.min_size or self.size, self.size + 1, 2)


_DENSITY = {"blocks": 0.3, "crossings": 0.5, "caves": 0.45}
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
        opened = jax.vmap(trees.spanning_tree, (0, None))(weights, spec.rooms)
    elif spec.kind == "wilson":
        opened = trees.wilson(layout, rooms, spec.rooms)
    else:
        steps = jax.random.bits(layout, (2 * spec.rooms**2 - 1, count), jnp.uint32)
        opened = trees.backtracker(steps, rooms, spec.rooms)
    if spec.braid:
        opened |= terrain.below(words[:, 2 + fields * edges :], spec.braid)
    return words[:, :2], opened


def _terrain(key: jax.Array, spec: MazeSpec, side: int, count: int) -> jax.Array:
    """The maps of one size, bool (count, side, side)."""
    draw = lambda *shape: jax.random.bits(key, (count, *shape), jnp.uint32)
    density = _DENSITY.get(spec.kind, 0.0) if spec.density < 0 else spec.density
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
      LevelError: names the field, what was expected, and the fix.
    """
    least = spec.min_size or spec.size
    cells = 2 * ((least - 1) // 2) ** 2 - 1 if spec.kind in TREES else (least - 2) ** 2
    things = place.needed(spec.goals, spec.door)

    def expect(holds: bool, field: str, what: str) -> None:
        if not holds:
            raise LevelError(f"maze {field} {getattr(spec, field)!r}: {what}")

    expect(spec.kind in KINDS, "kind", f"expected one of {', '.join(KINDS)}")
    expect(spec.size % 2 == 1 and 5 <= spec.size <= MAX_SIDE, "size", f"expected an odd number from 5 to {MAX_SIDE}")
    mixed = spec.min_size == 0 or (spec.min_size % 2 == 1 and 5 <= spec.min_size <= spec.size)
    expect(mixed, "min_size", f"expected 0, for one size, or an odd number from 5 to the size, {spec.size}")
    expect(spec.weights in WEIGHTS, "weights", f"expected one of {', '.join(WEIGHTS)}")
    weighted = spec.weights == "uniform" or spec.kind == "perfect"
    expect(weighted, "weights", f"{spec.kind} has no weights; leave it at 'uniform'")
    expect(0 <= spec.braid <= 1, "braid", "expected a share from 0 to 1")
    braided = spec.braid == 0 or spec.kind in (*TREES, "rooms")
    expect(braided, "braid", f"{spec.kind} has nothing to braid; leave it at 0")
    dense = spec.density == -1 or (0 <= spec.density <= 1 and spec.kind in _DENSITY)
    expect(dense, "density", f"expected a share from 0 to 1 with {', '.join(_DENSITY)}, or -1 for what suits the kind")
    chambers = spec.chambers == 0 or (spec.kind == "rooms" and 1 <= spec.chambers <= (least - 1) // 2)
    expect(chambers, "chambers", f"expected 1 to {(least - 1) // 2} with rooms of this size, or 0 for what suits it")
    expect(spec.ends in ENDS, "ends", f"expected one of {', '.join(ENDS)}")
    expect(spec.min_distance >= 0, "min_distance", "expected at least 0 steps")
    highest = max(spec.min_distance, place.DOOR_DISTANCE if spec.door else 1)
    band = spec.max_distance == 0 or spec.max_distance >= highest
    expect(band, "max_distance", f"expected 0, for any, or at least {highest} steps")
    expect(spec.goals >= 1, "goals", "expected at least 1")
    expect(things <= cells, "goals", f"a {least}x{least} {spec.kind} level may have as few as {cells} free cells")
    expect(0 <= spec.lava <= 1, "lava", "expected a share from 0 to 1")


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
