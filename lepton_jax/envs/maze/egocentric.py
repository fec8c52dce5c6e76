"""A small window that turns with the agent, and what walls leave of it. Batch-native: every array is (N,)."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lepton_jax.envs.maze import bits
from lepton_jax.envs.maze.rules import Rules, State, row_column
from lepton_jax.envs.maze.things import sites_of, things
from lepton_jax.envs.maze.window import window

Grid = list[list[jax.Array]]  # rows of bool (N,), the first row furthest ahead


def observe(state: State, rules: Rules) -> jax.Array:
    """The observation ``egocentric`` of ``observe.observe``: uint8 (N, planes, view, view)."""
    wall = [[~free for free in row] for row in _seen(state.free, state, rules)]
    marks = [_mark(site, state, rules) for site in sites_of(state, rules)]
    if rules.lava:
        marks.insert(rules.goals, _seen(state.lava, state, rules))
    planes = [wall, *marks]
    if rules.occlusion:
        opaque = wall
        if rules.door:
            door = marks[things(rules).index("door")]
            opaque = _both(lambda w, d: w | (d & ~state.held), wall, door)
        visible = _visible(opaque, rules)
        planes = [*(_both(lambda place, seen: place & seen, plane, visible) for plane in planes), visible]
    flat = [place for plane in planes for row in plane for place in row]
    words = [
        sum(place.astype(jnp.uint32) << k for k, place in enumerate(flat[first : first + 32]))
        for first in range(0, len(flat), 32)
    ]
    seen = bits.unpack(bits.settle(jnp.stack(words, axis=-1)), len(flat))
    return seen.astype(jnp.uint8).reshape(-1, len(planes), rules.view, rules.view)


def _seen(places: jax.Array, state: State, rules: Rules) -> Grid:
    """A set of sites as the agent sees it."""
    k, half = rules.view, rules.view // 2
    row, column = row_column(state.site, rules)
    if not rules.oriented:
        rows = window(places, (half - row, half - column), (k, k), half, rules)
        return _unpacked(rows, k)
    heading = state.heading
    # The square ahead: its corner depends on where the agent looks.
    above = jnp.where(heading == 0, k - 1, jnp.where(heading == 2, 0, half))
    left = jnp.where(heading == 3, k - 1, jnp.where(heading == 1, 0, half))
    square = _unpacked(window(places, (above - row, left - column), (k, k), k - 1, rules), k)
    last = k - 1
    return [
        [
            _by_heading(heading, square[i][j], square[j][last - i], square[last - i][last - j], square[last - j][i])
            for j in range(k)
        ]
        for i in range(k)
    ]


def _unpacked(rows: list[list[jax.Array]], columns: int) -> Grid:
    return [[(row[j // 32] >> (j % 32)) & 1 == 1 for j in range(columns)] for row in rows]


def _mark(site: jax.Array, state: State, rules: Rules) -> Grid:
    """One site as the agent sees it."""
    k, half = rules.view, rules.view // 2
    here, there = row_column(state.site, rules), row_column(site, rules)
    down, right = there[0] - here[0], there[1] - here[1]
    if rules.oriented:
        ahead = _by_heading(state.heading, -down, right, down, -right)
        down, right = -ahead, _by_heading(state.heading, right, down, -right, -down)
    i, j = down + (k - 1 if rules.oriented else half), right + half
    inside = (i >= 0) & (i < k) & (j >= 0) & (j < k)
    place = jnp.where(inside, i * k + j, -1)
    return [[place == row * k + column for column in range(k)] for row in range(k)]


def _by_heading(heading: jax.Array, north: jax.Array, east: jax.Array, south: jax.Array, west: jax.Array) -> jax.Array:
    return jnp.where(heading == 0, north, jnp.where(heading == 1, east, jnp.where(heading == 2, south, west)))


def _visible(opaque: Grid, rules: Rules) -> Grid:
    """Where the agent can see: light spreads row by row away from it, as MiniGrid's ``process_vis`` has it.

    In its own row it goes sideways until something opaque; from each lit place that is not opaque it goes to the three
    nearest of the next row. An agent in the middle of its window looks up and down.
    """
    k = rules.view
    base = k - 1 if rules.oriented else k // 2
    dark, light = jnp.zeros_like(opaque[0][0]), jnp.ones_like(opaque[0][0])
    ahead = _spread([opaque[base - i] for i in range(base + 1)], dark, light)
    behind = [] if rules.oriented else _spread([opaque[base + i] for i in range(base + 1)], dark, light)
    return [*ahead[::-1], *behind[1:]]


def _spread(opaque: Grid, dark: jax.Array, light: jax.Array) -> Grid:
    """The lit places of rows that lead away from the agent, who stands in the middle of the first."""
    columns = len(opaque[0])
    lit = [[dark] * columns for _ in opaque]
    lit[0][columns // 2] = light
    for number, row in enumerate(opaque):
        for order, aside in ((range(columns - 1), 1), (range(columns - 1, 0, -1), -1)):
            for column in order:
                passes = lit[number][column] & ~row[column]
                lit[number][column + aside] |= passes
                if number + 1 < len(opaque):
                    lit[number + 1][column + aside] |= passes
                    lit[number + 1][column] |= passes
    return lit


def _both(function: Callable[[jax.Array, jax.Array], jax.Array], one: Grid, other: Grid) -> Grid:
    return [[function(a, b) for a, b in zip(*rows, strict=True)] for rows in zip(one, other, strict=True)]
