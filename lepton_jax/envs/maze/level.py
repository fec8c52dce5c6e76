"""Levels: a maze as data.

A level is a closed rectangle of wall and free cells with a start and a goal. Cells are numbered row by row: cell
``row * width + column``. The border is always wall, so a move can never leave the map.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.envs.maze.spec import MAX_SIDE


class Level(NamedTuple):
    """One maze, or a batch of mazes of one size (leading axes)."""

    walls: Any  # bool (..., height, width), of jax or NumPy; True is wall
    start: Any  # int32 (...,) cell the agent starts in
    goal: Any  # int32 (...,) cell to reach
    # What only some worlds have; () in the others, so that it costs them nothing. All lie on cells that are no wall.
    lava: Any = ()  # bool (..., height, width): cells that end the episode
    key: Any = ()  # int32 (...,) cell of the key
    door: Any = ()  # int32 (...,) cell that only lets those pass who have fetched the key
    others: Any = ()  # int32 (..., G): cells of further goals, each worth less than the one before


class LevelError(ValueError):
    """Levels that cannot be played, or not together; of a text the message names source, level, row and column."""


def stack(levels: Iterable[Level]) -> Level:
    """Stacks levels of one size into a batch with one leading axis. Beside levels with lava the others have none.

    Raises:
      LevelError: the levels differ in size, which ``pad`` mends; or in having a key, a door or further goals.
    """
    levels = list(levels)
    if any(_has(level.lava) for level in levels):
        dry = lambda level: np.zeros(np.shape(level.walls), bool)
        levels = [level if _has(level.lava) else level._replace(lava=dry(level)) for level in levels]
    for number, level in enumerate(levels, start=1):
        shape, first = np.shape(level.walls), np.shape(levels[0].walls)
        if shape != first:
            raise LevelError(
                f"level {number} has {shape[0]} x {shape[1]} cells where level 1 has {first[0]} x {first[1]}; "
                "pad them to one size first"
            )
        for what, count in _counts(level).items():
            if count != _counts(levels[0])[what]:
                raise LevelError(
                    f"level {number} has {count} {what} where level 1 has {_counts(levels[0])[what]}; "
                    "only levels with equally many go together"
                )
    return jax.tree.map(lambda *leaves: np.stack(leaves), *levels)


def pad(level: Level, height: int, width: int) -> Level:
    """Adds wall rows below and wall columns to the right, up to (height, width).

    Args:
      level: one level or a batch, of jax or NumPy; the result is of the same kind.
    """
    h, w = level.walls.shape[-2:]
    if height < h or width < w:
        raise LevelError(f"a level of {h} x {w} cells does not fit into {height} x {width}")
    spread = [(0, 0)] * (level.walls.ndim - 2) + [(0, height - h), (0, width - w)]
    numpy = np if isinstance(level.walls, np.ndarray) else jnp
    fill = lambda field, value: numpy.pad(field, spread, constant_values=value)
    moved = jax.tree.map(lambda cell: cell // w * width + cell % w, level._replace(walls=(), lava=()))
    lava = fill(level.lava, False) if _has(level.lava) else ()
    return moved._replace(walls=fill(level.walls, True), lava=lava)


def crop(level: Level, height: int, width: int) -> Level:
    """The upper left (height, width) of one level of NumPy arrays: takes away what ``pad`` has added."""
    walls = level.walls[:height, :width]
    if walls.sum() + level.walls.size - walls.size != level.walls.sum():
        raise LevelError(f"a level cropped to {height} x {width} cells would lose free ones")
    w = level.walls.shape[1]
    moved = jax.tree.map(lambda cell: cell // w * width + cell % w, level._replace(walls=(), lava=()))
    return moved._replace(walls=walls, lava=level.lava[:height, :width] if _has(level.lava) else ())


def symmetries(level: Level) -> list[Level]:
    """The eight images of one square level under rotation and reflection (four of an oblong one); first itself."""
    height, width = level.walls.shape[-2:]
    cells = np.arange(height * width).reshape(height, width)
    images = []
    for turns in range(4) if height == width else (0, 2):
        for flip in (False, True):
            image = lambda a, turns=turns, flip=flip: np.rot90(a[:, ::-1] if flip else a, turns).copy()
            place = np.argsort(image(cells).reshape(-1)).astype(np.int32)
            moved = jax.tree.map(lambda cell, place=place: place[np.asarray(cell)], level._replace(walls=(), lava=()))
            lava = image(np.asarray(level.lava)) if _has(level.lava) else ()
            images.append(moved._replace(walls=image(np.asarray(level.walls)), lava=lava))
    return images


def reachable(blocked: np.ndarray, cell: int) -> np.ndarray:
    """The cells that a walk from ``cell``, itself included, can come to.

    Args:
      blocked: bool (height, width), of NumPy; the border must be blocked.
      cell: where the walk begins, whatever is there.

    Returns:
      bool (height, width).
    """
    width, free = blocked.shape[1], (~blocked).reshape(-1).tolist()
    free[cell] = False
    seen, todo = [cell], [cell]
    while todo:
        here = todo.pop()
        for neighbour in (here - width, here + 1, here + width, here - 1):
            if free[neighbour]:
                free[neighbour] = False
                seen.append(neighbour)
                todo.append(neighbour)
    reached = np.zeros(blocked.size, bool)
    reached[seen] = True
    return reached.reshape(blocked.shape)


def _has(field: Any) -> bool:
    return not isinstance(field, tuple)


def _counts(level: Level) -> dict[str, int]:
    """How many there are of what a batch must have equally many of."""
    return {"keys": int(_has(level.key)), "doors": int(_has(level.door)), "further goals": np.size(level.others)}


def digest(walls: Any) -> Any:
    """A 64-bit name of a layout, the same for all eight of its symmetric images.

    Args:
      walls: bool (..., height, width), of jax or NumPy; the result is of the same kind.

    Returns:
      uint32 (..., 2). Each image's hash is a sum of fixed random numbers, one a wall place; the smallest of the eight
      sums names the class. Start and goal do not count. Two classes share a digest with probability 2^-64.
    """
    height, width = walls.shape[-2:]
    # One integer matrix product gives all sixteen sums (eight images, two words each).
    sums = walls.reshape(*walls.shape[:-2], -1).astype(np.uint32) @ _hash_table(height, width)
    return _mix(sums).reshape(*walls.shape[:-2], 2, 8).min(axis=-1)


def split_of(digest: Any) -> Any:
    """Which set a layout belongs to: 0 train (5/8 of all classes), 1 validation (1/8), 2 test (1/4).

    Args:
      digest: uint32 (..., 2) from ``digest``.

    Returns:
      int32 (...,). The same layout, however turned, is always in the same set, for every generator and seed.
    """
    # The axis stays until the end: NumPy warns where a product of scalars, not of arrays, overflows.
    eighth = (_mix(digest[..., :1] ^ np.uint32(SPLIT_SALT)) & np.uint32(7))[..., 0]
    return (eighth == 0) + 2 * ((eighth == 1) | (eighth == 2)).astype(np.int32)


SPLITS = ("train", "validation", "test")
# Any salt would do for large mazes. This one gives the few classes of the smallest (28 at 7x7) the shares named above.
SPLIT_SALT = 63


def _hash_table(height: int, width: int) -> np.ndarray:
    """uint32 (height * width, 16): the weight of each cell in each of the eight images, for two hash words."""
    rows, columns = np.indices((height, width)).reshape(2, -1)
    up, left, down, right = rows, columns, height - 1 - rows, width - 1 - columns
    places = [(up, left), (up, right), (down, left), (down, right)]
    places += [(second, first) for first, second in places]
    weight = np.random.default_rng(20_26).integers(0, 2**32, (2, MAX_SIDE, MAX_SIDE), np.uint32)
    return np.stack([weight[word][place] for word in range(2) for place in places], axis=-1)


def _mix(x: Any) -> Any:
    """Spreads every input bit over the word (the finaliser of MurmurHash3, public domain)."""
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
