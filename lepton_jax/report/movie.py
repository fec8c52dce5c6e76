"""Recorded episodes of mazes as pictures, side by side: an animation, and their paths as a still one, PNG or SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lepton_jax.engine.playback import Playback
from lepton_jax.envs.maze.render import PALETTE, draw
from lepton_jax.report import vector
from lepton_jax.report.document import escape
from lepton_jax.report.picture import save_gif

FPS = 8.0
_REST = 2.0  # seconds for which the end of an animation stays
_ACROSS = 480  # pixels of an animation, about
_STILL = 960  # of a still picture
_MARGIN = 4  # pixels around a maze, in which its end is told
_BATCH = 64  # pictures drawn at once: one compiled program, whatever the number
_PAPER = (255, 255, 255)
_LINE = 0.5  # height of a line of text in an SVG, in cells


class Grid(NamedTuple):
    """Panels of equal size, row by row, for parts of mazes that may be smaller."""

    columns: int
    rows: int
    width: int  # cells of a panel
    height: int

    def tile(self, across: int, largest: int) -> int:
        """Pixels of a cell, for a picture about ``across`` pixels wide."""
        return min(max(across // (self.columns * self.width), 3), largest)


def grid_of(boxes: Sequence[tuple[int, int, int, int]]) -> Grid:
    """About as many columns as rows, for ``vector.bounds`` of each maze."""
    columns = math.ceil(math.sqrt(len(boxes)))
    return Grid(columns, -(-len(boxes) // columns), max(box[2] for box in boxes), max(box[3] for box in boxes))


def save_movie(path: str | Path, playback: Playback) -> None:
    """Writes a GIF of all episodes side by side, each to its end; then the last picture stays for a while.

    A frame around a maze says how the episode ended: green at a goal, vermilion elsewhere.
    """
    boxes, grid = _laid_out(playback)
    tile = grid.tile(_ACROSS, 16)
    shown, number = _drawn(playback, tile)
    canvas, panel = _canvas(grid, tile)
    frames = []
    for time in range(playback.q.shape[1] + 1):
        for episode, box in enumerate(boxes):
            over = time >= playback.length[episode]
            if time <= playback.length[episode]:
                colour = _verdict(playback, episode) if over else _PAPER
                _put(panel(canvas, episode), shown[number[episode, time]], box, tile, colour)
        frames.append(canvas.copy())
    save_gif(path, frames, FPS, _REST)


def still(playback: Playback) -> np.ndarray:
    """All episodes side by side, with their paths, the agents where they ended; uint8 (height, width, 3)."""
    boxes, grid = _laid_out(playback)
    tile = grid.tile(_STILL, 32)
    walls = playback.levels.walls
    on_path = np.zeros((len(boxes), walls[0].size), bool)
    for episode, length in enumerate(playback.length):
        on_path[episode, playback.cell[episode, : length + 1]] = True
    at_end = lambda array: None if array is None else array[np.arange(len(boxes)), playback.length]
    end = [at_end(array) for array in (playback.cell, playback.heading, playback.held)]
    shown = np.asarray(draw(playback.levels, *end, tile=tile, path=on_path.reshape(walls.shape)))
    canvas, panel = _canvas(grid, tile)
    for episode, box in enumerate(boxes):
        _put(panel(canvas, episode), shown[episode], box, tile, _verdict(playback, episode))
    return canvas


def drawing(playback: Playback, names: Sequence[str]) -> str:
    """The same as ``still``, as an SVG document, with the name of each episode below its maze.

    Args:
      names: one an episode, plain text.
    """
    boxes, grid = _laid_out(playback)
    gap = 0.6
    wide, high = grid.width + gap, grid.height + 2 * gap + _LINE
    size = (grid.columns * wide + gap, grid.rows * high + gap)
    scale = 24 if size[0] < 60 else 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="maze" viewBox="0 0 {size[0]:g} {size[1]:g}" '
        f'width="{size[0] * scale:g}" height="{size[1] * scale:g}">',
        f"<title>{escape('; '.join(names))}</title>",
        f"<style>{vector.MAZE_STYLE}.name{{font:{_LINE}px sans-serif;text-anchor:middle;fill:#1b1e23}}"
        f".paper{{fill:#fff}}.frame{{fill:none;stroke-width:.12}}</style>",
        f'<path class="paper" d="M0 0H{size[0]:g}V{size[1]:g}H0z"/>',
    ]
    for episode, (left, top, width, height) in enumerate(boxes):
        row, column = divmod(episode, grid.columns)
        x = gap + column * wide + (grid.width - width) / 2
        y = gap + row * high + (grid.height - height) / 2
        verdict = "#{:02x}{:02x}{:02x}".format(*_verdict(playback, episode))
        middle, below = x + width / 2, y + height + gap + 0.2
        parts.append(
            f'<g transform="translate({x - left:g} {y - top:g})">{_vectors(playback, episode)}</g>'
            f'<path class="frame" stroke="{verdict}" d="M{x:g} {y:g}h{width}v{height}h-{width}z"/>'
            f'<text class="name" x="{middle:g}" y="{below:g}" textLength="{_fit(names[episode], width)}" '
            f'lengthAdjust="spacingAndGlyphs">{escape(names[episode])}</text>'
        )
    return "".join(parts) + "</svg>\n"


def _fit(text: str, cells: float) -> str:
    """The length of a line of text, in cells: never more than there is room."""
    return f"{min(0.52 * _LINE * len(text), cells):g}"


def _vectors(playback: Playback, episode: int) -> str:
    """One maze with the path and the agent at its end."""
    length = int(playback.length[episode])
    level = _level(playback, episode)
    cells = playback.cell[episode, : length + 1].tolist()
    row, column = divmod(cells[-1], level.walls.shape[1])
    headed = playback.heading is not None
    turn = f" rotate({90 * int(playback.heading[episode, length])})" if headed else ""
    held = playback.held is not None and bool(playback.held[episode, length])
    return (
        f"<g{' class=' + chr(34) + 'held' + chr(34) if held else ''}>{vector.maze(level)}</g>"
        f'<path class="trail" d="{vector.trail(cells, level.walls.shape[1])}"/>'
        f'<g transform="translate({column + 0.5} {row + 0.5}){turn}">{vector.agent(headed)}</g>'
    )


def _level(playback: Playback, episode: int) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[episode], playback.levels)


def _laid_out(playback: Playback) -> tuple[list[tuple[int, int, int, int]], Grid]:
    """The part to show of each maze, and the grid of all."""
    boxes = [vector.bounds(walls) for walls in playback.levels.walls]
    return boxes, grid_of(boxes)


def _drawn(playback: Playback, tile: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of all that is to be seen, each once, uint8 (P, ...); and which one is seen when, int (N, T + 1)."""
    count, times = playback.cell.shape
    episode = np.repeat(np.arange(count), times)
    optional = [array for array in (playback.heading, playback.held) if array is not None]
    rows = np.stack([episode, *(array.reshape(-1) for array in (playback.cell, *optional))], axis=1)
    seen, number = np.unique(rows, axis=0, return_inverse=True)
    pictures = []
    for first in range(0, len(seen), _BATCH):
        some = np.resize(seen[first : first + _BATCH], (_BATCH, seen.shape[1]))
        which, cell, *rest = some.T
        heading = rest.pop(0) if playback.heading is not None else None
        held = rest.pop(0).astype(bool) if playback.held is not None else None
        levels = jax.tree.map(lambda leaf, which=which: leaf[which], playback.levels)
        pictures.append(np.asarray(draw(levels, cell, heading, held, tile=tile)))
    return np.concatenate(pictures), number.reshape(count, times)


def _canvas(grid: Grid, tile: int) -> tuple[np.ndarray, Callable[[np.ndarray, int], np.ndarray]]:
    """A white picture, and how to get at the panel of an episode in one like it."""
    width, height = (side * tile + 2 * _MARGIN for side in (grid.width, grid.height))

    def panel(picture: np.ndarray, episode: int) -> np.ndarray:
        row, column = divmod(episode, grid.columns)
        top, left = row * (height + _MARGIN) + _MARGIN, column * (width + _MARGIN) + _MARGIN
        return picture[top : top + height, left : left + width]

    shape = (grid.rows * (height + _MARGIN) + _MARGIN, grid.columns * (width + _MARGIN) + _MARGIN, 3)
    return np.full(shape, _PAPER, np.uint8), panel


def _put(
    panel: np.ndarray, picture: np.ndarray, box: tuple[int, int, int, int], tile: int, frame: tuple[int, int, int]
) -> None:
    """Lays the part ``box`` of a maze into the middle of a panel, with a frame of one colour."""
    left, top, width, height = (side * tile for side in box)
    y, x = (panel.shape[0] - height) // 2, (panel.shape[1] - width) // 2
    panel[y - _MARGIN : y + height + _MARGIN, x - _MARGIN : x + width + _MARGIN] = frame
    panel[y : y + height, x : x + width] = picture[top : top + height, left : left + width]


def _verdict(playback: Playback, episode: int) -> tuple[int, int, int]:
    return PALETTE["goal" if playback.success[episode] else "lava"]
