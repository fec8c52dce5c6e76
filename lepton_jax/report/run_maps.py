"""What the policy of a run thinks of every cell of some mazes, beside what is true: two maps a level, as SVG."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import numpy as np

from lepton_jax.engine.insight import Insight, Maps, maps, wrong
from lepton_jax.envs.maze.render import HEAT, WAYS
from lepton_jax.report import vector
from lepton_jax.report.document import escape
from lepton_jax.report.run_study import Study, chosen
from lepton_jax.report.sweep_words import count
from lepton_jax.report.ticks import figure

_CELLS = 3000  # drawn in all; of large mazes fewer are shown
_TOLD = 5  # cells of a level that are told one by one
_NAMES = ("north", "east", "south", "west", "northeast", "southeast", "southwest", "northwest")
_ARROW = "M0 .3V-.1M-.2 -.05L0 -.32L.2 -.05Z"

MAPS_STYLE = """\
.pairs{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1.75rem 2rem;margin:1rem 0}
.pair{min-width:0;max-width:34rem}
.pair .two{display:grid;grid-template-columns:1fr 1fr;gap:.75rem}
.pair .maze{display:block;width:100%;height:auto}
.pair figcaption{margin-top:.25rem}
.maze .arrow{stroke:#14171b;fill:#14171b;stroke-width:.09;stroke-linejoin:round}.maze .arrow.pale{stroke:#fff;fill:#fff}
.maze .miss{fill:none;stroke:#fff;stroke-width:.1}.maze .miss.rim{stroke:#14171b;stroke-width:.22}
.ramp{display:flex;align-items:center;gap:.5rem;font-size:.875rem;color:var(--soft);font-variant-numeric:tabular-nums;
max-width:26rem}
.ramp svg{flex:1 1 auto;height:.9rem;border-radius:3px}
"""


def value_maps(told: Study) -> str:
    """Maps of a few levels, some failed and some solved; a sentence where there can be none."""
    title = "<h2>What it thinks of every cell</h2>\n"
    if not told.is_maze:
        return ""
    if told.insight is None:
        return f"{title}<p>{escape(_why_not(told))}</p>"
    shown = maps(told.insight)
    sizes = np.isfinite(shown.exact).sum((1, 2))
    rows = _rows(told, told.insight, sizes)
    drawn = np.concatenate([array[row].ravel() for row in rows for array in (shown.value, shown.exact)])
    low, high = float(np.nanmin(drawn)), float(np.nanmax(drawn))
    pairs = "".join(_pair(told, told.insight, shown, row, low, high) for row in rows)
    sample = told.sample
    assert sample is not None
    every, off = int(sample.counts.sum()), int(wrong(sample).sum())
    states = "cells" if sample.counts.shape[1] == _sites(told) else "states"
    note = (
        "Left the policy's values, max Q, and its greedy action; right V* and all actions that are optimal. Framed: "
        f"the greedy action is not optimal. So it is in {off:,} of {every:,} {states} of the first {len(sample.q):,} "
        "test levels."
    )
    return f'{title}<p>{escape(note)}{escape(_state(told))}</p>\n{_ramp(low, high)}\n<div class="pairs">{pairs}</div>'


def _rows(told: Study, insight: Insight, sizes: np.ndarray) -> list[int]:
    """Which of the levels looked at are drawn: as many of the chosen ones as there is room for, one at least."""
    place = {int(number): row for row, number in enumerate(insight.numbers)}
    rows = [place[int(number)] for number in chosen(told)]
    kinds = [[], []]  # solved, failed
    assert told.playback.success is not None
    for row in rows:
        kinds[not told.playback.success[insight.numbers[row]]].append(row)
    # Where there is not room for all, there are some of either kind.
    turns = [row for pair in itertools.zip_longest(*reversed(kinds)) for row in pair if row is not None]
    room = np.cumsum([2 * sizes[row] for row in turns]) <= _CELLS
    kept = set(itertools.compress(turns, room)) or {turns[0]}
    return [row for row in rows if row in kept]


def _why_not(told: Study) -> str:
    if told.config.net.memory != "none":
        return (
            f"No map: the network has a memory ({told.config.net.memory}), and what it thinks of a cell depends on how "
            "it came there."
        )
    return (
        "No map: Munchausen values are soft, with a bonus for being sure, and are not comparable with V*; how far it "
        "falls short of the best return is shown below."
    )


def _state(told: Study) -> str:
    """Which state stands for a cell, where a cell has several."""
    env, notes = told.config.env, []
    if env.actions == "oriented":
        notes.append("each cell is shown with the heading from which the goal is nearest")
    if env.door:
        notes.append("with the key in hand")
    sees = " The agent sees only a part of the map, so that no network could have all values right."
    partial = sees if env.observation == "egocentric" or env.view else ""
    return (f" {', '.join(notes).capitalize()}." if notes else "") + partial


def _sites(told: Study) -> int:
    height, width = told.playback.levels.walls.shape[-2:]
    return (height - 2) * (width - 1)


def _pair(told: Study, insight: Insight, shown: Maps, row: int, low: float, high: float) -> str:
    number = int(insight.numbers[row])
    level = jax.tree.map(lambda leaf: np.asarray(leaf)[number], told.playback.levels)
    assert told.playback.success is not None
    assert told.shortest is not None
    ended = "solved" if told.playback.success[number] else "failed"
    steps = f"{count(int(told.playback.length[number]), 'step')}, shortest {told.shortest[number]}"
    name = f"Level {number + 1}, {ended}"
    off = np.argwhere(shown.wrong[row])
    cells = int(np.isfinite(shown.exact[row]).sum())
    greedy, best = (_one_hot(shown.way[row]), shown.best[row])
    maps_ = (
        _map(level, shown.value[row], greedy, shown.wrong[row], (low, high), f"{name}: the policy's values", "max Q"),
        _map(level, shown.exact[row], best, np.zeros_like(shown.wrong[row]), (low, high), f"{name}: V*", "V*"),
    )
    told_ = _mistakes(shown, row, off, cells)
    return (
        f'<figure class="pair"><h3>{escape(name)}</h3><div class="two">{maps_[0]}{maps_[1]}</div>'
        f"<figcaption>{escape(steps)}. {escape(told_)}</figcaption></figure>"
    )


def _one_hot(way: np.ndarray) -> np.ndarray:
    """Ways int8 (height, width), -1 for none -> bool (height, width, 8)."""
    return way[..., None] == np.arange(len(WAYS))


def _mistakes(shown: Maps, row: int, off: np.ndarray, cells: int) -> str:
    """Where the greedy action is not optimal, in words."""
    if not len(off):
        return f"Optimal in all {cells} cells."
    listed = []
    for r, c in off[:_TOLD].tolist():
        best = " or ".join(_NAMES[way] for way in np.flatnonzero(shown.best[row, r, c]))
        listed.append(f"row {r}, column {c} goes {_NAMES[shown.way[row, r, c]]} instead of {best}")
    more = f"; and {len(off) - _TOLD} more" if len(off) > _TOLD else ""
    return f"Not optimal in {len(off)} of {cells} cells: {'; '.join(listed)}{more}."


def _map(
    level: Any,
    values: np.ndarray,
    ways: np.ndarray,
    off: np.ndarray,
    scale: tuple[float, float],
    label: str,
    what: str,
) -> str:
    """One map: cells coloured by value, an arrow for each way, a frame where ``off``."""
    left, top, across, down = vector.bounds(np.asarray(level.walls))
    # What lies on the floor comes behind the ground in the text, and so on top of it; the values go between.
    bare = vector.maze(level._replace(start=-1, goal=-1, lava=(), others=(), door=(), key=()))
    things = vector.maze(level).removeprefix(bare)
    known = np.argwhere(np.isfinite(values)).tolist()
    span = scale[1] - scale[0] or 1.0
    rects, arrows, frames = [], [], []
    for r, c in known:
        colour = heat((values[r, c] - scale[0]) / span)
        fill = "#{:02x}{:02x}{:02x}".format(*colour)
        title = f"row {r}, column {c}: {what} {figure(float(values[r, c]))}"
        rects.append(f'<path fill="{fill}" d="M{c} {r}h1v1h-1z"><title>{title}</title></path>')
        pale = " pale" if 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] < 140 else ""
        arrows += [
            f'<use href="#way{way}" class="arrow{pale}" x="{c}.5" y="{r}.5"/>' for way in np.flatnonzero(ways[r, c])
        ]
        if off[r, c]:
            frames.append(f"M{c}.12 {r}.12h.76v.76h-.76z")
    path = "".join(frames)
    miss = f'<path class="miss rim" d="{path}"/><path class="miss" d="{path}"/>' if frames else ""
    told = f"{label}; {len(known)} cells from {figure(float(np.nanmin(values)))} to {figure(float(np.nanmax(values)))}"
    return (
        f'<div><svg class="maze" role="img" aria-label="{escape(told)}" viewBox="{left} {top} {across} {down}">{bare}'
        f'<g shape-rendering="crispEdges">{"".join(rects)}</g>{things}<g pointer-events="none">{"".join(arrows)}{miss}'
        f"</g></svg></div>"
    )


def heat(share: float) -> tuple[int, int, int]:
    """The colour of a share of the range, from 0 to 1, as ``render.HEAT`` has it between its ten."""
    at = share * (len(HEAT) - 1)
    red, green, blue = (round(float(np.interp(at, range(len(HEAT)), part))) for part in zip(*HEAT, strict=True))
    return red, green, blue


def _ramp(low: float, high: float) -> str:
    """What the colours mean, and the arrows for the maps to use."""
    stops = "".join(
        f'<stop offset="{k / (len(HEAT) - 1):.3f}" stop-color="rgb{colour}"/>' for k, colour in enumerate(HEAT)
    )
    turns = [float(np.degrees(np.arctan2(right, -down))) for down, right in WAYS]
    arrows = "".join(
        f'<path id="way{way}" d="{_ARROW}" transform="rotate({turn:g})"/>' for way, turn in enumerate(turns)
    )
    return (
        f'<div class="ramp"><span>{figure(low)}</span><svg viewBox="0 0 100 10" preserveAspectRatio="none" '
        f'aria-hidden="true"><defs><linearGradient id="ramp">{stops}</linearGradient>{arrows}</defs>'
        f'<rect width="100" height="10" fill="url(#ramp)"/></svg><span>{figure(high)}</span></div>'
    )
