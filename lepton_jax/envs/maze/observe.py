"""What the agent sees of a maze. Batch-native: every array has a leading axis N.

Maps are drawn row by row: a row of places is a list of uint32 words, 32 columns a word, each word a vector over N. All
shifting is done on these words; ``planes.draw`` spreads them to bytes.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.envs.maze import egocentric
from lepton_jax.envs.maze.planes import Mark, draw
from lepton_jax.envs.maze.render import PALETTE
from lepton_jax.envs.maze.rules import Rules, State, cell_of, row_column
from lepton_jax.envs.maze.things import sites_of, things
from lepton_jax.envs.maze.window import Row, rows_of, slide, window


def observation_spec(rules: Rules) -> jax.ShapeDtypeStruct:
    """Shape and dtype of one observation."""
    agents = 4 if rules.oriented else 1
    planes = {
        "full": (1 + agents + len(things(rules)), rules.height, rules.width),
        "centred": (1 + len(things(rules)), *_window(rules)),
        "egocentric": (1 + len(things(rules)) + rules.occlusion, rules.view, rules.view),
    }
    if rules.observation in planes:
        return jax.ShapeDtypeStruct(planes[rules.observation], jnp.uint8)
    return jax.ShapeDtypeStruct((3, rules.height, rules.width) if rules.observation == "rgb" else (10,), jnp.float32)


def observe(state: State, rules: Rules) -> jax.Array:
    """What the agents see. The planes of ``things`` follow those that are named; a key held lies where the agent is.

    full: uint8 (N, planes, height, width), planes wall, agent (oriented: four, one a heading), things.
    centred: uint8 (N, planes, rows, columns), planes wall and things of a window with the agent in its middle; whatever
      lies outside the map is wall. (A plane for the agent would be constant.)
    egocentric: uint8 (N, planes, view, view), planes wall and things of a window with the agent in its middle, or, if
      oriented, at the middle of its lower edge, looking up; with occlusion a last plane is 1 where the agent can see,
      and the others are 0 where it cannot.
    rgb: float32 (N, 3, height, width) in [0, 1], one pixel a cell.
    vector: float32 (N, 10) in [0, 1]: row, column, goal row, goal column, free run to the north, east, south and west,
      Manhattan distance to the goal, time used; each over its largest possible value.
    """
    kinds = {"full": _full, "centred": _centred, "vector": _vector, "rgb": _rgb, "egocentric": egocentric.observe}
    return kinds[rules.observation](state, rules)


def _full(state: State, rules: Rules) -> jax.Array:
    height, width = rules.height, rules.width
    cells = height * width
    blank = [jnp.zeros_like(state.free[0])]
    whole = lambda places: [slide(row, 1, width) for row in [blank, *rows_of(places, rules), blank]]
    agent = cell_of(state.site, rules)
    agents = 4 if rules.oriented else 1
    heading = state.heading.astype(jnp.int32) if rules.oriented else 0
    maps = {0: _inverted(whole(state.free), width)}
    marks = [(agent + (1 + heading) * cells, 1, agents)]
    marks += _things(state, rules, 1 + agents, maps, whole, lambda site, plane: cell_of(site, rules) + plane * cells)
    return draw(maps, marks, observation_spec(rules._replace(observation="full")).shape)


def _centred(state: State, rules: Rules) -> jax.Array:
    rows, columns = _window(rules)
    above, left = rows // 2, columns // 2
    (row, column), cells = row_column(state.site, rules), rows * columns
    around = lambda places: window(places, (above - row, left - column), (rows, columns), above, rules)

    def place(site: jax.Array, plane: int) -> jax.Array:
        there = row_column(site, rules)
        down, right = there[0] - row + above, there[1] - column + left
        seen = (down >= 0) & (down < rows) & (right >= 0) & (right < columns)
        return jnp.where(seen, plane * cells + down * columns + right, -1)

    maps = {0: _inverted(around(state.free), columns)}
    marks = _things(state, rules, 1, maps, around, place)
    return draw(maps, marks, observation_spec(rules).shape)


def _things(
    state: State,
    rules: Rules,
    first: int,
    maps: dict[int, list[Row]],
    rows_for: Callable[..., list[Row]],
    place: Callable[..., jax.Array],
) -> list[Mark]:
    """The marks of all things, on the planes from ``first`` on; the lava's rows are put into ``maps``."""
    planes = range(first, first + len(things(rules)))
    if rules.lava:
        maps[planes[rules.goals]] = rows_for(state.lava)
    there = [plane for plane, thing in zip(planes, things(rules), strict=True) if thing != "lava"]
    return [(place(site, plane), plane, plane) for site, plane in zip(sites_of(state, rules), there, strict=True)]


def _rgb(state: State, rules: Rules) -> jax.Array:
    planes = _full(state, rules._replace(observation="full"))
    agents = 4 if rules.oriented else 1
    colour = lambda name: jnp.asarray(PALETTE[name], jnp.float32)[:, None, None] / 255.0
    seen = jnp.where(planes[:, None, 0] == 1, colour("wall"), colour("free"))
    for plane, thing in enumerate(things(rules), start=1 + agents):
        seen = jnp.where(planes[:, None, plane] == 1, colour(thing if thing in PALETTE else "others"), seen)
    for agent in range(1, 1 + agents):  # four shades tell where it looks
        shade = colour("agent") * (1.0 - 0.15 * (agent - 1))
        seen = jnp.where(planes[:, None, agent] == 1, shade, seen)
    return seen


def _vector(state: State, rules: Rules) -> jax.Array:
    h, w = rules.height - 2, rules.width - 2
    (row, column), (goal_row, goal_column) = row_column(state.site, rules), row_column(state.goal, rules)
    around = window(state.free, (h - 1 - row, w - 1 - column), (2 * h - 1, 2 * w - 1), h - 1, rules)

    def run(down: int, right: int) -> jax.Array:
        open_, length = jnp.ones_like(row, bool), jnp.zeros_like(row)
        for distance in range(1, h if down else w):
            place = w - 1 + distance * right
            open_ &= (around[h - 1 + distance * down][place // 32] >> (place % 32)) & 1 == 1
            length += open_
        return length

    runs = [run(-1, 0), run(0, 1), run(1, 0), run(0, -1)]
    manhattan = jnp.abs(goal_row - row) + jnp.abs(goal_column - column)
    time = jnp.minimum(state.time, rules.time_limit)
    values = [row, column, goal_row, goal_column, *runs, manhattan, time]
    largest = [h - 1, w - 1, h - 1, w - 1, h - 1, w - 1, h - 1, w - 1, h + w - 2, rules.time_limit]
    return jnp.stack(values, axis=-1).astype(jnp.float32) / np.maximum(largest, 1).astype(np.float32)


def _window(rules: Rules) -> tuple[int, int]:
    """Rows and columns of the centred window; view 0 is just large enough to hold the inner map from any cell."""
    return (rules.view, rules.view) if rules.view else (2 * rules.height - 5, 2 * rules.width - 5)


def _inverted(rows: list[Row], columns: int) -> list[Row]:
    mask = lambda left: jnp.uint32((1 << min(32, columns - left)) - 1)
    return [[~word & mask(32 * k) for k, word in enumerate(row)] for row in rows]
