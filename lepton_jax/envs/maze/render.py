"""Pictures of mazes, drawn on the device: a pure function from levels, agents and overlays to RGB, for whole batches.

The colours are those of Okabe and Ito ("Color Universal Design", 2008), which people with any kind of colour vision can
tell apart, on a ground that stands out in front of light and dark pages; heat maps use viridis (van der Walt and Smith
2015, CC0), whose lightness rises evenly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.envs.maze.level import Level

# The colour of everything: RGB, 0 to 255. No two are equal, so that one pixel a cell still says what is there.
PALETTE: dict[str, tuple[int, int, int]] = {
    "free": (243, 243, 239),
    "wall": (72, 78, 92),
    "lava": (213, 94, 0),
    "start": (86, 180, 233),
    "goal": (0, 158, 115),
    "others": (133, 204, 177),
    "door": (230, 159, 0),
    "key": (240, 228, 66),
    "path": (204, 121, 167),
    "agent": (0, 114, 178),
}
# Ten evenly spaced colours of viridis, from the smallest value to the largest.
HEAT = (
    *((68, 1, 84), (72, 40, 120), (62, 73, 137), (49, 104, 142), (38, 130, 142)),
    *((31, 158, 137), (53, 183, 121), (110, 206, 88), (181, 222, 43), (253, 231, 37)),
)
# The way each action points: north, east, south, west, and the diagonals NE, SE, SW, NW.
WAYS = ((-1, 0), (0, 1), (1, 0), (0, -1), (-1, 1), (1, 1), (1, -1), (-1, -1))
SMALLEST_ARROW = 5  # pixels a cell below which an arrow cannot be told from a dot, and is left away
_LIGHT, _DARK = (255, 255, 255), (38, 42, 52)


class Scene(NamedTuple):
    """What there is to see of one maze in play, or of a batch (leading axes); ``draw(*scene)`` draws it."""

    level: Level
    agent: Any  # int (...,) cell
    heading: Any = None  # int (...,): 0 north, 1 east, 2 south, 3 west; None where moves need none
    held: Any = None  # bool (...,): whether the key has been fetched; None where there is none


@partial(jax.jit, static_argnames="tile")
def draw(
    level: Level,
    agent: Any = None,
    heading: Any = None,
    held: Any = None,
    *,
    tile: int = 8,
    path: Any = None,
    values: Any = None,
    visits: Any = None,
    actions: Any = None,
) -> jax.Array:
    """Draws levels from above.

    Args:
      level: one level or a batch (leading axes ``...``, shared by all other arguments). A cell of -1 is nowhere, so
        ``level._replace(start=-1)`` hides the start.
      agent: int (...,) cell: a disc, or a triangle where ``heading`` is given.
      heading: int (...,): 0 north, 1 east, 2 south, 3 west.
      held: bool (...,): whether the key has been fetched; it is then not shown, and the door stands open.
      tile: pixels a side of a cell, static. With 1 each cell is the colour of the topmost thing in it, see ``PALETTE``.
      path: bool (..., height, width): cells marked with a dot.
      values: float (..., height, width): heat map of the free cells, from the smallest value of each level to its
        largest; NaN is not shown.
      visits: number (..., height, width): heat map of counts, logarithmic; cells never visited are not shown.
      actions: int (..., height, width): an arrow a free cell, 0 to 7 as ``WAYS``; negative for none. Tiles of fewer
        than ``SMALLEST_ARROW`` pixels show no arrows.

    Returns:
      uint8 (..., height * tile, width * tile, 3).

    Raises:
      ValueError: both ``values`` and ``visits`` are given: they would cover one another.
    """
    if values is not None and visits is not None:
        raise ValueError("draw: both values and visits are given; a cell has one ground, so draw two pictures")
    walls = jnp.asarray(level.walls, bool)
    height, width = walls.shape[-2:]
    cells = jnp.arange(height * width).reshape(height, width)
    at = lambda cell: cells == jnp.asarray(cell)[..., None, None]
    heat = None
    if values is not None:
        heat = _spread(jnp.asarray(values, jnp.float32), walls)
    elif visits is not None:
        counts = jnp.asarray(visits, jnp.float32)
        heat = jnp.where(counts > 0, jnp.log1p(counts) / jnp.log1p(counts.max((-2, -1), keepdims=True)), jnp.nan)
    ground = _ground(walls, heat)
    picture = _enlarge(ground, tile)
    if path is not None:
        picture = _paint(picture, jnp.asarray(path), _sprite("path", tile))
    if actions is not None and tile >= SMALLEST_ARROW:
        dark = ground.astype(jnp.float32) @ jnp.array([0.299, 0.587, 0.114]) < 140
        for way in range(len(WAYS)):
            here = (jnp.asarray(actions) == way) & ~walls
            picture = _paint(picture, here & ~dark, _sprite("arrow", tile, way))
            picture = _paint(picture, here & dark, _sprite("light arrow", tile, way))
    for where, thing in _things(level, at, held):
        picture = _paint(picture, where, _sprite(thing, tile))
    if agent is not None and heading is None:
        picture = _paint(picture, at(agent), _sprite("agent", tile))
    elif agent is not None:
        for way in range(4):
            here = at(agent) & (jnp.asarray(heading) == way)[..., None, None]
            picture = _paint(picture, here, _sprite("headed agent", tile, way))
    return picture.reshape(*picture.shape[:-5], height * tile, width * tile, 3)


def heat_colour(share: jax.Array) -> jax.Array:
    """The colour of a share of the largest value: float (...) in [0, 1] -> uint8 (..., 3); NaN as 0."""
    table = jnp.array(HEAT, jnp.float32)
    place = jnp.nan_to_num(jnp.clip(share, 0.0, 1.0)) * (len(HEAT) - 1)
    below = jnp.minimum(place.astype(jnp.int32), len(HEAT) - 2)
    rest = (place - below)[..., None]
    return jnp.round(table[below] * (1 - rest) + table[below + 1] * rest).astype(jnp.uint8)


def _things(level: Level, at: Callable[[Any], jax.Array], held: Any) -> Iterator[tuple[jax.Array, str]]:
    """Where what lies on the cells is, from below: bool (..., height, width) and the name of its sprite."""
    if not _absent(level.lava):
        yield jnp.asarray(level.lava), "lava"
    yield at(level.start), "start"
    if not _absent(level.others):
        others = jnp.moveaxis(jnp.asarray(level.others), -1, 0)
        yield jnp.any(at(others), axis=0), "others"
    yield at(level.goal), "goal"
    fetched = jnp.asarray(False if held is None else held)[..., None, None]
    if not _absent(level.door):
        yield at(level.door) & ~fetched, "door"
        yield at(level.door) & fetched, "open door"
    if not _absent(level.key):
        yield at(level.key) & ~fetched, "key"


def _absent(field: Any) -> bool:
    return isinstance(field, tuple)


def _spread(values: jax.Array, walls: jax.Array) -> jax.Array:
    """Values as shares of their range over the free cells; all equal ones become 1."""
    free = ~walls & ~jnp.isnan(values)
    least = jnp.min(values, (-2, -1), keepdims=True, initial=jnp.inf, where=free)
    most = jnp.max(values, (-2, -1), keepdims=True, initial=-jnp.inf, where=free)
    return jnp.where(free, jnp.where(most > least, (values - least) / (most - least), 1.0), jnp.nan)


def _ground(walls: jax.Array, heat: jax.Array | None) -> jax.Array:
    """uint8 (..., height, width, 3): walls, free cells and the heat map."""
    colour = lambda name: jnp.array(PALETTE[name], jnp.uint8)
    ground = colour("free")
    if heat is not None:
        ground = jnp.where(jnp.isnan(heat)[..., None], ground, heat_colour(heat))
    return jnp.where(walls[..., None], colour("wall"), ground)


def _enlarge(ground: jax.Array, tile: int) -> jax.Array:
    """uint8 (..., height, width, 3) -> (..., height, tile, width, tile, 3)."""
    *batch, height, width, _ = ground.shape
    return jnp.broadcast_to(ground[..., :, None, :, None, :], (*batch, height, tile, width, tile, 3))


def _paint(picture: jax.Array, where: jax.Array, sprite: tuple[np.ndarray, np.ndarray]) -> jax.Array:
    """Lays a sprite over each cell of bool (..., height, width)."""
    kept, added = sprite[0][:, None, :, None], sprite[1][:, None]
    mixed = jnp.round(picture * kept + added).astype(jnp.uint8)
    return jnp.where(where[..., :, None, :, None, None], mixed, picture)


@lru_cache
def _sprite(kind: str, tile: int, way: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A thing as what it leaves of the ground, float32 (tile, tile), and the colour it adds, (tile, tile, 3).

    What points, points to ``WAYS[way]``.

    Shapes are bitmaps of 8 x 8 samples a pixel, averaged, so that edges are smooth at any size of tile.
    """
    kept, added = np.ones((tile, tile), np.float32), np.zeros((tile, tile, 3), np.float32)
    for colour, cover in _layers(kind, tile, way):
        kept = kept * (1 - cover)
        added = added * (1 - cover)[..., None] + np.array(colour, np.float32) * cover[..., None]
    return kept, added


def _layers(kind: str, tile: int, way: int) -> list[tuple[tuple[int, int, int], np.ndarray]]:
    """Colours, and how much of each pixel they cover, float32 (tile, tile), from below."""
    if tile == 1:
        colour = PALETTE.get({"headed agent": "agent"}.get(kind, kind))  # none for an open door: it is as good as none
        return [(colour, np.ones((1, 1), np.float32))] if colour else []
    samples = (np.arange(tile * 8) + 0.5) / (tile * 4) - 1
    y, x = np.meshgrid(samples, samples, indexing="ij")
    down, right = WAYS[way] / np.hypot(*WAYS[way])
    x, y = y * right - x * down, -x * right - y * down  # turned, so that what is drawn pointing north points that way
    bitmap = lambda shape: shape.reshape(tile, 8, tile, 8).mean((1, 3)).astype(np.float32)
    return [(colour, bitmap(shape)) for colour, shape in _shapes(kind, x, y)]


def _shapes(kind: str, x: np.ndarray, y: np.ndarray) -> list[tuple[tuple[int, int, int], np.ndarray]]:
    """Colours and shapes, bool like ``x`` and ``y``, which run from -1 to 1 over the tile, rightwards and downwards."""
    radius, side, slant = np.hypot(x, y), np.maximum(np.abs(x), np.abs(y)), np.abs(x) + np.abs(y)
    colour = PALETTE.get(kind, _DARK)
    match kind:
        case "lava":
            wave = np.abs((y * 1.5 - 0.25 * np.sin(x * 2 * np.pi) + 0.75) % 1.5 - 0.75) < 0.16
            return [(colour, side < 2), (PALETTE["door"], wave)]
        case "start":
            return [(_LIGHT, (side < 0.98) & (side > 0.6)), (colour, (side < 0.9) & (side > 0.68))]
        case "goal":
            return [(_LIGHT, side < 0.86), (colour, side < 0.74), (_LIGHT, slant < 0.5)]
        case "others":
            return [(_LIGHT, slant < 1.0), (colour, slant < 0.82)]
        case "door":
            keyhole = (np.hypot(x, y + 0.18) < 0.24) | ((np.abs(x) < 0.12) & (y > -0.18) & (y < 0.5))
            return [(_DARK, side < 0.98), (colour, side < 0.76), (_DARK, keyhole)]
        case "open door":
            return [(PALETTE["door"], (side < 0.98) & (side > 0.72))]
        case "key":
            ring = np.abs(np.hypot(x + 0.38, y) - 0.28)
            shaft = (x > -0.15) & (x < 0.72)
            teeth = ((x > 0.55) & (x < 0.72)) | ((x > 0.22) & (x < 0.39))
            inner = (ring < 0.12) | (shaft & (np.abs(y) < 0.11)) | (teeth & (y > 0) & (y < 0.42))
            outer = (ring < 0.3) | ((x > -0.2) & (x < 0.9) & (y > -0.28) & (y < 0.6))
            return [(_DARK, outer), (colour, inner)]
        case "path":
            return [(_LIGHT, radius < 0.42), (colour, radius < 0.32)]
        case "arrow" | "light arrow":
            head = (y > -0.72) & (y < -0.02) & (np.abs(x) < (y + 0.72) * 0.72)
            shaft = (np.abs(x) < 0.15) & (y >= -0.1) & (y < 0.66)
            return [(_LIGHT if kind == "light arrow" else _DARK, head | shaft)]
        case "headed agent":
            wedge = lambda top, bottom, half: (y > top) & (y < bottom) & (np.abs(x) < half * (y - top) / (bottom - top))
            return [(_LIGHT, wedge(-1.0, 0.88, 0.98)), (PALETTE["agent"], wedge(-0.76, 0.74, 0.76))]
        case _:
            return [(_LIGHT, radius < 0.88), (colour, radius < 0.72)]
