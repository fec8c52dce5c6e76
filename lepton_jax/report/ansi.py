"""Mazes in a terminal: the same characters with colour and without."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from lepton_jax.envs.maze.glyphs import glyphs

if TYPE_CHECKING:
    from lepton_jax.envs.maze.level import Level

# Background and foreground among the 256 colours that terminals share, nearest to those of pictures.
_WALL = "48;5;240"
_FREE = "48;5;255;38;5;240"
_AGENT = "48;5;25;38;5;231"
_FURTHER = "48;5;115;38;5;16"
_STYLES = {
    "S ": "48;5;74;38;5;16",
    "G ": "48;5;29;38;5;231",
    "~~": "48;5;166;38;5;220",
    "K ": "48;5;227;38;5;16",
    "D ": "48;5;172;38;5;16",
    "d ": "48;5;255;38;5;172",
    "..": "48;5;182;38;5;90",
}


def lines(
    level: Level,
    agent: int | None = None,
    heading: int | None = None,
    path: Iterable[int] = (),
    colour: bool = True,
    q: Any = None,
    held: bool = False,
    window: tuple[slice, slice] = (slice(None), slice(None)),
) -> list[str]:
    """One level as lines of text, two columns a cell.

    Args:
      level, agent, heading, path, q, held: see ``glyphs``, which says what the characters are.
      colour: whether to colour by ANSI escapes, see ``colour_wanted``. Without, walls are ``##``.
      window: the rows and columns to show.

    Returns:
      A string a row.
    """
    shown = glyphs(level, agent, heading, held, path, q)[window]
    return [_coloured(row.tolist()) if colour else "".join(row) for row in shown]


def colour_wanted(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether to colour what goes to ``stream``: a capable terminal, and no NO_COLOR (https://no-color.org)."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"


def _coloured(row: list[str]) -> str:
    """One row with an escape wherever the style changes."""
    parts, style = [], ""
    for glyph in row:
        wanted = _style(glyph)
        if wanted != style:
            parts.append(f"\x1b[{wanted}m")
        parts.append("  " if wanted == _WALL else glyph)
        style = wanted
    return "".join(parts) + "\x1b[0m"


def _style(glyph: str) -> str:
    if glyph == "##":
        return _WALL
    if "@" in glyph:
        return _AGENT
    return _FURTHER if glyph.strip().isdigit() else _STYLES.get(glyph, _FREE)
