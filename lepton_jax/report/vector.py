"""Mazes as SVG: one unit a cell, in the colours of ``envs.maze.render``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lepton_jax.envs.maze.render import PALETTE


def colour(name: str) -> str:
    """A colour of the palette as CSS."""
    return "#{:02x}{:02x}{:02x}".format(*PALETTE[name])


# Plain rules, which every program that reads SVG understands. ``held`` is on what shows an agent that has the key.
MAZE_STYLE = f"""\
.maze .free{{fill:{colour("free")}}}.maze .wall{{fill:{colour("wall")}}}
.maze .lava{{fill:{colour("lava")}}}.maze .wave{{fill:none;stroke:{colour("door")};stroke-width:.08}}
.maze .start{{fill:none;stroke:{colour("start")};stroke-width:.12}}
.maze .goal{{fill:{colour("goal")}}}.maze .others{{fill:{colour("others")}}}.maze .light{{fill:#fff}}
.maze .door{{fill:{colour("door")};stroke:#262a34;stroke-width:.08}}.maze .dark{{fill:#262a34}}
.maze .key{{fill:none;stroke:{colour("key")};stroke-width:.12}}
.maze .rim{{fill:none;stroke:#262a34;stroke-width:.24;stroke-linecap:round}}
.maze .held .fetched{{display:none}}.maze .held .door{{fill:none;stroke:{colour("door")}}}
.maze .held .door+.dark{{display:none}}
.maze .number{{font:bold .5px sans-serif;text-anchor:middle;fill:#14171b}}
.maze .trail{{fill:none;stroke:{colour("path")};stroke-width:.18;stroke-linejoin:round;stroke-linecap:round}}
.maze .agent{{fill:{colour("agent")};stroke:#fff;stroke-width:.09;stroke-linejoin:round}}
"""

_KEY = "M.5 .5h.36m-.1 0v.2m-.16-.2v.16M.5 .5a.15 .15 0 1 1-.3 0a.15 .15 0 1 1 .3 0"
_KEYHOLE = "M.5 .3a.12 .12 0 0 1 .06 .22V.74h-.12V.52A.12 .12 0 0 1 .5 .3"


def bounds(walls: np.ndarray) -> tuple[int, int, int, int]:
    """The part of bool (height, width) that is more than wall, with one ring of wall: left, top, width, height."""
    rows, columns = (np.flatnonzero((~walls).any(axis)) for axis in (1, 0))
    top, left = int(rows[0]) - 1, int(columns[0]) - 1
    return left, top, int(columns[-1]) + 2 - left, int(rows[-1]) + 2 - top


def maze(level: Any) -> str:
    """What lies in one level of NumPy, as SVG elements; a cell of -1 is nowhere."""
    walls = np.asarray(level.walls)
    width = walls.shape[1]
    left, top, across, down = bounds(walls)
    parts = [f'<path class="free" d="M{left} {top}h{across}v{down}h-{across}z"/>']
    # Crisp, for where two pieces of wall meet no light shall shine through.
    inside = np.zeros_like(walls)
    inside[top : top + down, left : left + across] = True
    parts.append(f'<path class="wall" shape-rendering="crispEdges" d="{_runs(walls & inside)}"/>')
    if _has(level.lava) and np.any(level.lava):
        lava = np.asarray(level.lava)
        parts.append(f'<path class="lava" shape-rendering="crispEdges" d="{_runs(lava)}"/>')
        waves = (f"M{c} {r + y}q.25 -.2 .5 0t.5 0" for r, c in np.argwhere(lava).tolist() for y in (0.3, 0.7))
        parts.append(f'<path class="wave" d="{"".join(waves)}"/>')

    def put(cell: Any, shapes: str) -> None:
        if int(cell) >= 0:
            row, column = divmod(int(cell), width)
            parts.append(f'<g transform="translate({column} {row})">{shapes}</g>')

    put(level.start, '<path class="start" d="M.14 .14h.72v.72h-.72z"/>')
    for number, cell in enumerate(np.asarray(level.others).astype(int).tolist(), start=2):
        shapes = f'<path class="others" d="M.5 .06L.94 .5L.5 .94L.06 .5z"/><text class="number" x=".5" y=".68">{number}'
        put(cell, f"{shapes}</text>")
    put(level.goal, '<path class="goal" d="M.1 .1h.8v.8h-.8z"/><path class="light" d="M.5 .26L.74 .5L.5 .74L.26 .5z"/>')
    if _has(level.door):
        put(level.door, f'<path class="door" d="M.08 .08h.84v.84h-.84z"/><path class="dark" d="{_KEYHOLE}"/>')
    if _has(level.key):
        put(level.key, f'<g class="fetched"><path class="rim" d="{_KEY}"/><path class="key" d="{_KEY}"/></g>')
    return "".join(parts)


def agent(headed: bool) -> str:
    """An agent around the origin: a disc, or a triangle that points north."""
    shape = '<path d="M0 -.42L.36 .38H-.36z"/>' if headed else '<circle r=".34"/>'
    return f'<g class="agent">{shape}</g>'


def trail(cells: Sequence[int], width: int) -> str:
    """The way through the middles of ``cells``, as the points of a path; cells that repeat at once are left away."""
    kept = [cell for number, cell in enumerate(cells) if number == 0 or cell != cells[number - 1]]
    points = (f"{cell % width}.5 {cell // width}.5" for cell in kept)
    return "M" + "L".join(points) + ("h0" if len(kept) == 1 else "")


def _runs(cells: np.ndarray) -> str:
    """A path around each run of cells in a row."""
    parts = []
    for row, line in enumerate(cells):
        ends = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]]).astype(np.int8)))
        parts += [f"M{a} {row}h{b - a}v1h{a - b}z" for a, b in ends.reshape(-1, 2).tolist()]
    return "".join(parts)


def _has(field: Any) -> bool:
    return not isinstance(field, tuple)
