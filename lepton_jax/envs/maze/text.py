"""Levels as text: one character a cell, one line a row, blank lines between levels.

========  ==================================================================
``#``     wall; the border of a level is all wall
(space)   free
``S``     start
``G``     goal
``2-9``   further goals, numbered without gaps; ``G`` is goal number 1
``~``     lava
``K``     key
``D``     door, which opens to who has fetched the key
========  ==================================================================
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import NoReturn

import numpy as np

from lepton_jax.envs.maze.level import Level, LevelError, reachable
from lepton_jax.envs.maze.spec import MAX_SIDE

_NAMES = {"S": "start", "G": "goal", "K": "key", "D": "door"}
_FURTHER = "23456789"
_GLYPHS = {"#", " ", "~", *_NAMES, *_FURTHER}
_ALL_GLYPHS = "'#' (wall), ' ' (free), 'S', 'G', '~' (lava), 'K', 'D' and '2' to '9' (further goals)"


def from_str(text: str, source: str = "level") -> Level:
    """Reads one level, see ``from_text``.

    Returns:
      A level of NumPy arrays: walls bool (height, width), start and goal int32 (); the optional fields are ``()``
      where the text has none of that.

    Raises:
      LevelError: the text is not exactly one playable level.
    """
    levels = from_text(text, source)
    if len(levels) != 1:
        raise LevelError(f"{source}: expected one level, found {len(levels)}; use from_text for several")
    return levels[0]


def from_text(text: str, source: str = "level") -> list[Level]:
    """Reads any number of levels separated by blank lines, which may differ in size and in what they have.

    Args:
      text: with any line ends.
      source: what messages call it, such as the name of the file.

    Raises:
      LevelError: the text has no level, or one that is malformed or has no solution: a way from start to goal that
        meets no lava and, where there is a door, a way to the key that does not lead through it.
    """
    if text.startswith("\ufeff"):
        raise LevelError(f"{source}: line 1, column 1: a byte order mark; save the file as UTF-8 without one")
    blocks: list[tuple[int, list[str]]] = []
    previous_blank = True
    # Not splitlines, which also breaks at form feeds and other characters that belong in no level.
    for number, line in enumerate(re.split("\r\n|\r|\n", text), start=1):
        blank = not line.strip()
        if not blank and previous_blank:
            blocks.append((number, []))
        if not blank:
            blocks[-1][1].append(line)
        previous_blank = blank
    if not blocks:
        raise LevelError(f"{source}: holds no level; expected rows of {_ALL_GLYPHS}")
    return [_Block(rows, source, index, line).read() for index, (line, rows) in enumerate(blocks, start=1)]


def to_str(level: Level) -> str:
    """Writes one level as text that ``from_str`` reads back to an equal level.

    Raises:
      LevelError: text cannot say it: more than eight further goals, or two things on one cell.
    """
    walls = np.asarray(level.walls)
    glyphs = np.where(walls, "#", " ").reshape(-1)
    if not isinstance(level.lava, tuple):
        glyphs[np.asarray(level.lava).reshape(-1)] = "~"
    others = np.asarray(level.others, np.int32).tolist()
    if len(others) > len(_FURTHER):
        raise LevelError(f"{len(others)} further goals; a level text numbers them '2' to '9'")
    places = {"S": level.start, "G": level.goal, "K": level.key, "D": level.door}
    places |= dict(zip(_FURTHER, others, strict=False))
    for glyph, cell in places.items():
        if isinstance(cell, tuple):
            continue
        if glyphs[int(cell)] != " ":
            row, column = divmod(int(cell), walls.shape[1])
            raise LevelError(
                f"{glyph!r} and {str(glyphs[int(cell)])!r} both lie on row {row + 1}, column {column + 1}; "
                "a level text holds one a cell"
            )
        glyphs[int(cell)] = glyph
    return "\n".join("".join(row) for row in glyphs.reshape(walls.shape))


def to_text(levels: Iterable[Level]) -> str:
    """Writes levels separated by blank lines, as ``from_text`` reads them."""
    return "\n\n".join(to_str(level) for level in levels) + "\n"


class _Block:
    """The rows of one level, and where they stand in the source."""

    def __init__(self, rows: list[str], source: str, index: int, first_line: int):
        self.rows, self.source, self.index, self.first_line = rows, source, index, first_line
        self.height, self.width = len(rows), len(rows[0])

    def fail(self, what: str, row: int | None = None, column: int | None = None) -> NoReturn:
        place = f"{self.source}: level {self.index}"
        if row is not None:
            place += f", row {row + 1}" + ("" if column is None else f", column {column + 1}")
        raise LevelError(f"{place} (line {self.first_line + (row or 0)}): {what}")

    def read(self) -> Level:
        found = self.find()
        self.check_shape()
        for glyph in "SG":
            if glyph not in found:
                self.fail(f"has no {_NAMES[glyph]} {glyph!r}; add one")
        self.check_partners(found)
        grid = np.array([list(row) for row in self.rows])
        walls, lava = grid == "#", grid == "~"
        self.check_solvable(walls, lava, found)
        cell = lambda glyph: np.int32(found[glyph][0] * self.width + found[glyph][1])
        return Level(
            walls,
            cell("S"),
            cell("G"),
            lava if lava.any() else (),
            cell("K") if "K" in found else (),
            cell("D") if "D" in found else (),
            np.array([cell(glyph) for glyph in _FURTHER if glyph in found]) if "2" in found else (),
        )

    def find(self) -> dict[str, tuple[int, int]]:
        """Row and column of everything there is one of; faults of single rows and characters."""
        found: dict[str, tuple[int, int]] = {}
        for r, line in enumerate(self.rows):
            for c, glyph in enumerate(line):
                self.check_glyph(glyph, r, c)
                if glyph in _NAMES or glyph in _FURTHER:
                    if glyph in found:
                        name = _NAMES.get(glyph, "goal number")
                        at = f"row {found[glyph][0] + 1}, column {found[glyph][1] + 1}"
                        self.fail(f"a second {name} {glyph!r}, the first is in {at}; keep one", r, c)
                    found[glyph] = (r, c)
            if len(line) > self.width and not line[self.width :].strip():
                self.fail("spaces after the last column; delete them", r, self.width)
            if len(line) != self.width:
                self.fail(f"{len(line)} columns where the first row has {self.width}; make all rows equally long", r)
        return found

    def check_glyph(self, glyph: str, r: int, c: int) -> None:
        if glyph in _GLYPHS:
            return
        if glyph == "\t":
            self.fail("a tab; write one space for each free cell", r, c)
        if glyph in "01":
            self.fail(f"no goal has the number {glyph!r}; the first is written 'G', the next ones '2' to '9'", r, c)
        hint = f"write {glyph.upper()!r}" if glyph.upper() in _NAMES else f"use {_ALL_GLYPHS}"
        self.fail(f"unknown character {glyph!r}; {hint}", r, c)

    def check_shape(self) -> None:
        sides = f"{self.height} x {self.width} cells"
        if min(self.height, self.width) < 3:
            self.fail(f"{sides}, which is too small; each side must have 3 to {MAX_SIDE}")
        if max(self.height, self.width) > MAX_SIDE:
            self.fail(f"{sides}, which is too large; each side must have 3 to {MAX_SIDE}")
        for r, line in enumerate(self.rows):
            for c in range(self.width) if r in (0, self.height - 1) else (0, self.width - 1):
                if line[c] == " ":
                    self.fail("the border is open here (' '); close it with '#'", r, c)
                if line[c] != "#":
                    self.fail(f"{line[c]!r} lies on the border; move it inside and close the border with '#'", r, c)

    def check_partners(self, found: dict[str, tuple[int, int]]) -> None:
        """A key needs a door, a door a key, and a goal number the one before it."""
        if "K" in found and "D" not in found:
            self.fail("a key 'K' without a door; add a door 'D' or delete the key", *found["K"])
        if "D" in found and "K" not in found:
            self.fail("a door 'D' without a key; add a key 'K' or delete the door", *found["D"])
        for before, glyph in itertools.pairwise(_FURTHER):
            if glyph in found and before not in found:
                self.fail(f"goal {glyph!r} without a goal {before!r}; number goals without gaps", *found[glyph])

    def check_solvable(self, walls: np.ndarray, lava: np.ndarray, found: dict[str, tuple[int, int]]) -> None:
        start, goal = found["S"], found["G"]
        first = start[0] * self.width + start[1]
        open_, dry = (reachable(blocked, first) for blocked in (walls, walls | lava))
        if "K" in found:
            key, shut = found["K"], walls | lava
            shut[found["D"]] = True
            if not open_[key]:
                self.fail("no path leads from 'S' to this key; open a wall between them", *key)
            if not dry[key]:
                self.fail("every path from 'S' to this key leads through lava; clear one of '~'", *key)
            if not reachable(shut, first)[key]:
                self.fail("this key lies behind the door it opens; move one of them", *key)
        if not open_[goal]:
            self.fail("no path leads from 'S' to 'G'; open a wall between them", *start)
        if not dry[goal]:
            self.fail("every path from 'S' to 'G' leads through lava; clear one of '~'", *start)
