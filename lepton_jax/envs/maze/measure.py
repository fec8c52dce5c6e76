"""Figures of levels: the shortest way with lava and doors, walls, dead ends."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.envs.maze.level import Level, digest, pad, stack
from lepton_jax.envs.maze.oracle import distances, shortest_path


def route(level: Level) -> list[int]:
    """The cells of a shortest way from start to goal of one level, round lava, and by the key if that is shorter.

    Other than in play, further goals are cells like others.
    """
    walls, shut = _barred(level)
    leg = lambda barred, start, goal: shortest_path(Level(barred, start, goal))
    if isinstance(level.door, tuple):
        return leg(walls, level.start, level.goal)
    ways = [
        leg(shut, level.start, level.goal),
        leg(shut, level.start, level.key) + leg(walls, level.key, level.goal)[1:],
    ]
    return min((way for way in ways if way[-1] == level.goal), key=len)


def steps(levels: Level) -> np.ndarray:
    """The length of each level's ``route``, int (levels,): steps, for a batch at once; -1 where there is no way."""
    walls, shut = _barred(levels)
    flood = jax.jit(distances)

    def leg(barred: np.ndarray, start: Any, goal: Any) -> np.ndarray:
        far = np.asarray(flood(jnp.asarray(barred), jnp.asarray(goal))).reshape(len(barred), -1)
        return far[np.arange(len(barred)), np.asarray(start)].astype(int)

    direct = leg(shut, levels.start, levels.goal)
    if isinstance(levels.door, tuple):
        return direct
    there, on = leg(shut, levels.start, levels.key), leg(walls, levels.key, levels.goal)
    by_key = np.where((there >= 0) & (on >= 0), there + on, -1)
    # As unsigned numbers those that are no way are the largest.
    return np.minimum(direct.view(np.uint64), by_key.view(np.uint64)).view(int)


def lengths(levels: list[Level]) -> np.ndarray:
    """The ``steps`` of levels of any sizes, with and without doors: int (levels,)."""
    height, width = (max(level.walls.shape[axis] for level in levels) for axis in (0, 1))
    found = np.zeros(len(levels), int)
    for has_door in {isinstance(level.door, tuple) for level in levels}:
        mine = [n for n, level in enumerate(levels) if isinstance(level.door, tuple) == has_door]
        found[mine] = steps(stack(pad(levels[n]._replace(others=()), height, width) for n in mine))
    return found


def layouts(levels: list[Level]) -> np.ndarray:
    """The digest of each level's walls, of any sizes: uint32 (levels, 2)."""
    names = np.zeros((len(levels), 2), np.uint32)
    for shape in {level.walls.shape for level in levels}:
        mine = [n for n, level in enumerate(levels) if level.walls.shape == shape]
        names[mine] = digest(np.stack([levels[n].walls for n in mine]))
    return names


def dead_ends(walls: np.ndarray) -> int:
    """Free cells of one map, bool (height, width), with one free neighbour or none."""
    sides = (walls[:-2, 1:-1], walls[2:, 1:-1], walls[1:-1, :-2], walls[1:-1, 2:])
    return int((~walls[1:-1, 1:-1] & (sum(side.astype(int) for side in sides) >= 3)).sum())


def _barred(levels: Level) -> tuple[np.ndarray, np.ndarray]:
    """What cannot be passed, with the key and without."""
    walls = np.asarray(levels.walls)
    if not isinstance(levels.lava, tuple):
        walls = walls | np.asarray(levels.lava)
    shut = walls.copy()
    if not isinstance(levels.door, tuple):
        flat = shut.reshape(*shut.shape[:-2], -1)
        np.put_along_axis(flat, np.asarray(levels.door)[..., None], True, axis=-1)
    return walls, shut
