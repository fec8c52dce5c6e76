"""The named test mazes of the environment-design literature: fixed layouts as level files, random ones as rules.

Source: ``minimax/envs/maze/maze_ood.py`` of the package minimax-lib 0.2.0 (Jiang et al. 2023, arXiv:2311.12716),
Copyright Meta Platforms, Inc. and affiliates, Apache License 2.0. The level files in ``named/`` are its wall
maps, starts and goals, with the closed border around them that it leaves out; the rules below draw from the same
distributions as its code. Not taken over are the agent's first heading, the time limits, and Memory, which turns on a
coloured clue.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.envs.maze import trees, walks
from lepton_jax.envs.maze.level import Level, LevelError, pad, reachable
from lepton_jax.envs.maze.text import from_str


class _Rule(NamedTuple):
    side: int  # published: without the border
    fixed: bool  # whether the layout is, and lies in a file
    draw: Callable[[jax.Array, int], Level]  # (key, count) -> a batch


def names() -> tuple[str, ...]:
    """The names of all mazes, as they are published."""
    return tuple(_MAZES)


def load(name: str) -> Level:
    """One level of NumPy arrays: of a fixed layout that of its file, of a random maze an example.

    Raises:
      LevelError: there is no such maze.
    """
    if _rule(name).fixed:
        return _published(name)
    return jax.tree.map(lambda leaf: leaf[0], draw(name, jax.random.key(0), 1))


def draw(name: str, key: jax.Array, count: int) -> Level:
    """``count`` levels of one maze.

    Of a fixed layout the first has the published start and goal, the others that goal and a start uniform over the
    cells that reach it. The corridors keep their start and draw the goal from the published ones. Random mazes are
    drawn anew.

    Returns:
      A batch of NumPy arrays.

    Raises:
      LevelError: there is no such maze.
    """
    return _rule(name).draw(key, count)


def suite(episodes: int, key: jax.Array, max_side: int = 19) -> tuple[tuple[str, ...], Level, np.ndarray]:
    """Levels of all mazes together.

    Args:
      episodes: levels a maze.
      key: typed key.
      max_side: largest side of a maze, counted as published: without the border.

    Returns:
      The names of the mazes; a batch of their levels, padded to one size, maze by maze; int32 (levels,), the position
      of each level's maze among the names.
    """
    chosen = tuple(name for name in names() if _MAZES[name].side <= max_side)
    if not chosen:
        raise LevelError(f"no named maze has a side of at most {max_side}; the smallest has {min(_sides())}")
    side = max(_MAZES[name].side for name in chosen) + 2
    parts = [pad(draw(name, jax.random.fold_in(key, names().index(name)), episodes), side, side) for name in chosen]
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    return chosen, joined, np.repeat(np.arange(len(chosen), dtype=np.int32), episodes)


def _sides() -> list[int]:
    return [rule.side for rule in _MAZES.values()]


def _rule(name: str) -> _Rule:
    if name not in _MAZES:
        raise LevelError(f"{name!r} is no named maze; there are {', '.join(_MAZES)}")
    return _MAZES[name]


def _published(name: str) -> Level:
    folder = importlib.resources.files("lepton_jax.envs.maze") / "named"
    return from_str((folder / f"{name}.txt").read_text(encoding="utf-8"), f"{name}.txt")


def _fixed(name: str, key: jax.Array, count: int) -> Level:
    level = _published(name)
    starts = reachable(level.walls, int(level.goal)).reshape(-1)
    starts[int(level.goal)] = False
    start = _pick(np.tile(starts, (count, 1)), _words(key, count))
    start[0] = level.start
    return _repeated(level, count)._replace(start=start)


def _corridor(name: str, rows: tuple[int, int], key: jax.Array, count: int) -> Level:
    """The goal lies at the inner end of one of the dead ends, on the published ``rows``."""
    level = _published(name)
    side = level.walls.shape[0]
    goals = np.zeros(level.walls.shape, bool)
    goals[np.add(rows, 1), 3 : side - 3 : 2] = True
    goal = _pick(np.tile(goals.reshape(-1), (count, 1)), _words(key, count))
    return _repeated(level, count)._replace(goal=goal)


def _four_rooms(key: jax.Array, count: int) -> Level:
    """Four rooms of 8 x 8 cells; each half of each of the two walls has one opening; start and goal lie in rooms."""
    words = _words(key, count, 6)
    rooms = np.ones((count, 17, 17), bool)
    rooms[:, 8], rooms[:, :, 8] = False, False
    free, each = rooms.copy(), np.arange(count)
    for number, half in enumerate((0, 9)):
        free[each, 8, words[:, number] % 8 + half] = True
        free[each, words[:, number + 2] % 8 + half, 8] = True
    return _two_cells(_bordered(~free), _bordered(~rooms), words[:, 4:])


def _crossing(key: jax.Array, count: int) -> Level:
    """Walls across 9 x 9 cells and a path from corner to corner that goes east and south and opens them."""
    walls = np.stack([_crossed(words) for words in _words(key, count, 40)])
    walls = _bordered(walls)
    corner = lambda cell: np.full(count, cell, np.int32)
    return Level(walls, corner(11 + 1), corner(9 * 11 + 9))


def _crossed(words: np.ndarray) -> np.ndarray:
    walls = np.zeros((9, 9), bool)
    # Five out of four horizontal and four vertical walls are announced. The published code then shuffles not the four
    # places of each kind but the eight lines, twice as many of which are chosen, so that fewer or more walls may stand.
    lines_across = 2 * int((np.argsort(words[:8])[:5] >= 4).sum())
    for axis, chosen in enumerate((lines_across, 10 - lines_across)):
        line = np.argsort(words[8 * axis + 8 : 8 * axis + 16])[:chosen]
        walls.swapaxes(0, axis)[line[line % 2 == 1]] = True
    place, step = np.array([0, 0]), (0, 1)
    for word in words[24:]:
        if not walls[tuple(place)]:  # else straight on, through the wall
            step = (0, 1) if word >> 31 else (1, 0)
        if (place + step).max() > 8:
            step = step[::-1]
        walls[tuple(place)] = False
        place = place + step
    return walls


def _perfect(side: int, key: jax.Array, count: int) -> Level:
    """A backtracker's maze; start and goal are any two free cells, not only rooms."""
    walk_key, ends_key = jax.random.split(key)
    walls = np.asarray(_backtracked(walk_key, side // 2 + 1, count))
    return _two_cells(walls, walls, _words(ends_key, count, 2))


@partial(jax.jit, static_argnums=(1, 2))
def _backtracked(key: jax.Array, rooms: int, count: int) -> jax.Array:
    words = jax.random.bits(key, (2 * rooms**2 - 1, count), jnp.uint32)
    # The published code draws row and column of the walk's first room with one key: it lies on the diagonal.
    words = words.at[0].set(words[0] % rooms * (rooms + 1))
    opened = walks.backtracker(words, jnp.full(count, rooms), rooms)
    return jax.vmap(trees.carve, (0, None))(opened, rooms)


def _words(key: jax.Array, *shape: int) -> np.ndarray:
    return np.asarray(jax.random.bits(key, shape, np.uint32))


def _pick(allowed: np.ndarray, words: np.ndarray) -> np.ndarray:
    """A uniform cell of those allowed: bool (count, cells), uint32 (count,) -> int32 (count,)."""
    rank = words % allowed.sum(axis=1, dtype=np.uint32)
    return np.argmax(np.cumsum(allowed, axis=1) == rank[:, None] + 1, axis=1).astype(np.int32)


def _two_cells(walls: np.ndarray, closed: np.ndarray, words: np.ndarray) -> Level:
    """Goal and start: two cells of each level that are not ``closed``, from two words a level."""
    allowed = ~closed.reshape(len(closed), -1)
    goal = _pick(allowed, words[:, 0])
    allowed[np.arange(len(closed)), goal] = False
    return Level(walls, _pick(allowed, words[:, 1]), goal)


def _bordered(walls: np.ndarray) -> np.ndarray:
    return np.pad(walls, ((0, 0), (1, 1), (1, 1)), constant_values=True)


def _repeated(level: Level, count: int) -> Any:
    return jax.tree.map(lambda leaf: np.repeat(leaf[None], count, axis=0), level)


_MAZES = {
    name: _Rule(13, True, partial(_fixed, name))
    for name in (
        "SixteenRooms",
        "SixteenRooms2",
        "Labyrinth",
        "LabyrinthFlipped",
        "Labyrinth2",
        "StandardMaze",
        "StandardMaze2",
        "StandardMaze3",
    )
} | {
    "SmallCorridor": _Rule(13, True, partial(_corridor, "SmallCorridor", (5, 7))),
    "LargeCorridor": _Rule(19, True, partial(_corridor, "LargeCorridor", (8, 10))),
    "FourRooms": _Rule(17, False, _four_rooms),
    "Crossing": _Rule(9, False, _crossing),
    "PerfectMaze": _Rule(13, False, partial(_perfect, 13)),
    "PerfectMazeMedium": _Rule(19, False, partial(_perfect, 19)),
    "PerfectMazeXL": _Rule(101, False, partial(_perfect, 101)),
}
