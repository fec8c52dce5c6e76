"""Levels: a maze as data.

A level is a closed rectangle of wall and free cells with a start and a goal. Cells are numbered row by row: cell
``row * width + column``. The border is always wall, so a move can never leave the map.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

MAX_SIDE = 255
_GLYPHS = {"#": 1, " ": 0, "S": 0, "G": 0}


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
    """A level text that cannot be played; the message names source, level, row and column."""


def from_str(text: str, source: str = "level") -> Level:
    """Reads one level: ``#`` wall, space free, ``S`` start, ``G`` goal; one line a row.

    Returns:
      A level of NumPy arrays: walls bool (height, width), start and goal int32 ().

    Raises:
      LevelError: the text is not exactly one playable level.
    """
    levels = from_text(text, source)
    if len(levels) != 1:
        raise LevelError(f"{source}: expected one level, found {len(levels)}; use from_text for several")
    return levels[0]


def from_text(text: str, source: str = "level") -> list[Level]:
    """Reads any number of levels separated by blank lines. Levels may differ in size. See ``from_str``."""
    blocks: list[tuple[int, list[str]]] = []
    previous_blank = True
    for number, line in enumerate(text.splitlines(), start=1):
        blank = not line.strip()
        if not blank and previous_blank:
            blocks.append((number, []))
        if not blank:
            blocks[-1][1].append(line)
        previous_blank = blank
    if not blocks:
        raise LevelError(f"{source}: holds no level; expected rows of '#', ' ', 'S' and 'G'")
    return [_parse(rows, source, index, line) for index, (line, rows) in enumerate(blocks, start=1)]


def _parse(rows: list[str], source: str, index: int, first_line: int) -> Level:
    def fail(what: str, row: int | None = None, column: int | None = None) -> LevelError:
        place = f"{source}: level {index}"
        if row is not None:
            place += f", row {row + 1}" + ("" if column is None else f", column {column + 1}")
            place += f" (line {first_line + row})"
        return LevelError(f"{place}: {what}")

    width = len(rows[0])
    found: dict[str, tuple[int, int]] = {}
    for r, line in enumerate(rows):
        if len(line) != width:
            raise fail(f"{len(line)} columns where the first row has {width}; make all rows equally long", r)
        for c, glyph in enumerate(line):
            if glyph not in _GLYPHS:
                raise fail(f"unknown character {glyph!r}; use '#', ' ', 'S' and 'G'", r, c)
            if glyph in "SG":
                if glyph in found:
                    name = "start 'S'" if glyph == "S" else "goal 'G'"
                    raise fail(f"a second {name}; keep one", r, c)
                found[glyph] = (r, c)
    height = len(rows)
    if min(height, width) < 3 or max(height, width) > MAX_SIDE:
        raise fail(f"{height} x {width} cells; each side must have 3 to {MAX_SIDE}")
    for r, line in enumerate(rows):
        for c in range(width) if r in (0, height - 1) else (0, width - 1):
            if line[c] != "#":
                raise fail(f"the border is open here ({line[c]!r}); close it with '#'", r, c)
    for glyph, name in (("S", "start 'S'"), ("G", "goal 'G'")):
        if glyph not in found:
            raise fail(f"has no {name}; add one")
    walls = np.array([[_GLYPHS[glyph] for glyph in line] for line in rows], bool)
    start, goal = (np.int32(r * width + c) for r, c in (found["S"], found["G"]))
    if not _connected(walls, int(start), int(goal)):
        raise fail("no path leads from 'S' to 'G'; open a wall between them", *found["S"])
    return Level(walls, start, goal)


def _connected(walls: np.ndarray, start: int, goal: int) -> bool:
    width, flat = walls.shape[1], walls.reshape(-1)
    seen, todo = {start}, [start]
    while todo:
        cell = todo.pop()
        for neighbour in (cell - width, cell + 1, cell + width, cell - 1):
            if not flat[neighbour] and neighbour not in seen:
                seen.add(neighbour)
                todo.append(neighbour)
    return goal in seen


def to_str(level: Level) -> str:
    """Writes one level as text that ``from_str`` reads back to an equal level."""
    walls = np.asarray(level.walls)
    glyphs = np.where(walls, "#", " ").reshape(-1)
    glyphs[int(level.start)] = "S"
    glyphs[int(level.goal)] = "G"
    return "\n".join("".join(row) for row in glyphs.reshape(walls.shape))


def to_text(levels: Iterable[Level]) -> str:
    """Writes levels separated by blank lines, as ``from_text`` reads them."""
    return "\n\n".join(to_str(level) for level in levels) + "\n"


def stack(levels: Iterable[Level]) -> Level:
    """Stacks levels of one size into a batch with one leading axis.

    Raises:
      LevelError: the levels differ in size; ``pad`` brings them to one.
    """
    levels = list(levels)
    shapes = [np.shape(level.walls) for level in levels]
    for index, shape in enumerate(shapes, start=1):
        if shape != shapes[0]:
            raise LevelError(
                f"level {index} has {shape[0]} x {shape[1]} cells where level 1 has {shapes[0][0]} x {shapes[0][1]}; "
                "pad them to one size first"
            )
    return Level(*(np.stack([np.asarray(level[field]) for level in levels]) for field in range(3)))


def pad(level: Level, height: int, width: int) -> Level:
    """Adds wall rows below and wall columns to the right, up to (height, width). One level or a batch."""
    h, w = level.walls.shape[-2:]
    if height < h or width < w:
        raise LevelError(f"a level of {h} x {w} cells does not fit into {height} x {width}")
    spread = [(0, 0)] * (level.walls.ndim - 2) + [(0, height - h), (0, width - w)]
    walls = jnp.pad(level.walls, spread, constant_values=True)
    move = lambda cell: cell // w * width + cell % w
    return Level(walls, move(level.start), move(level.goal))


def symmetries(level: Level) -> list[Level]:
    """The eight images of one square level under rotation and reflection (four of an oblong one); first itself."""
    height, width = level.walls.shape[-2:]
    cells = np.arange(height * width).reshape(height, width)
    images = []
    for turns in range(4) if height == width else (0, 2):
        for flip in (False, True):
            image = lambda a, turns=turns, flip=flip: np.rot90(a[:, ::-1] if flip else a, turns)
            place = np.argsort(image(cells).reshape(-1))
            images.append(
                Level(
                    image(np.asarray(level.walls)).copy(),
                    place[int(level.start)].astype(np.int32),
                    place[int(level.goal)].astype(np.int32),
                )
            )
    return images


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
    eighth = _mix(digest[..., 0] ^ np.uint32(SPLIT_SALT)) & np.uint32(7)
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
