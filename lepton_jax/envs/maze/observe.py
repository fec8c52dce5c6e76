"""What the agent sees of a maze. Batch-native: every array has a leading axis N.

Maps are drawn row by row: a row of places is a list of uint32 words, 32 columns a word, each word a vector over N. All
shifting is done on these words. The rows are then joined to one string of bits, which is spread to bytes in a single
flat broadcast: the one form that XLA on CPU vectorises (a loop over rows of 13 bytes is three times slower).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.envs.maze import bits
from lepton_jax.envs.maze.rules import Rules, State, cell_of, row_column

Row = list[jax.Array]  # uint32 words, each (N,); bit c % 32 of word c // 32 is column c


def observation_spec(rules: Rules) -> jax.ShapeDtypeStruct:
    """Shape and dtype of one observation."""
    if rules.observation == "full":
        return jax.ShapeDtypeStruct((3, rules.height, rules.width), jnp.uint8)
    if rules.observation == "centred":
        return jax.ShapeDtypeStruct((2, *_window(rules)), jnp.uint8)
    return jax.ShapeDtypeStruct((10,), jnp.float32)


def observe(state: State, rules: Rules) -> jax.Array:
    """What the agents see.

    full: uint8 (N, 3, height, width), planes wall, agent, goal.
    centred: uint8 (N, 2, rows, columns), planes wall and goal of a window with the agent in its middle; whatever lies
      outside the map is wall. (A plane for the agent would be constant.)
    vector: float32 (N, 10) in [0, 1]: row, column, goal row, goal column, free run to the north, east, south and west,
      Manhattan distance to the goal, time used; each over its largest possible value.
    """
    return {"full": _full, "centred": _centred, "vector": _vector}[rules.observation](state, rules)


def _full(state: State, rules: Rules) -> jax.Array:
    height, width = rules.height, rules.width
    cells = height * width
    blank = [jnp.zeros_like(state.free[0])]
    free = [_slide(row, 1, width) for row in [blank, *_free_rows(state, rules), blank]]
    agent, goal = cell_of(state.site, rules), cell_of(state.goal, rules)
    return _draw(free, [agent + cells, goal + 2 * cells], (3, height, width))


def _centred(state: State, rules: Rules) -> jax.Array:
    rows, columns = _window(rules)
    (row, column), (goal_row, goal_column) = row_column(state.site, rules), row_column(state.goal, rules)
    row, column = goal_row - row + rows // 2, goal_column - column + columns // 2
    seen = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    goal = jnp.where(seen, (rows + row) * columns + column, -1)
    return _draw(_free_around(state, rules, rows, columns), [goal], (2, rows, columns))


def _vector(state: State, rules: Rules) -> jax.Array:
    h, w = rules.height - 2, rules.width - 2
    around = _free_around(state, rules, 2 * h - 1, 2 * w - 1)
    (row, column), (goal_row, goal_column) = row_column(state.site, rules), row_column(state.goal, rules)

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


def _free_rows(state: State, rules: Rules) -> list[Row]:
    """The free inner cells, a row at a time."""
    columns = rules.width - 2
    rows = []
    for row in range(rules.height - 2):
        words = []
        for left in range(0, columns, 32):
            width = min(32, columns - left)
            word, bit = divmod(row * rules.stride + left, 32)
            piece = state.free[word] >> bit
            if bit + width > 32:
                piece |= state.free[word + 1] << (32 - bit)
            words.append(piece & jnp.uint32((1 << width) - 1))
        rows.append(words)
    return rows


def _free_around(state: State, rules: Rules, rows: int, columns: int) -> list[Row]:
    """The free cells in a window of odd sides around each agent."""
    above, left = rows // 2, columns // 2
    agent_row, agent_column = row_column(state.site, rules)
    inner = _free_rows(state, rules)
    blank = [jnp.zeros_like(state.free[0])] * len(inner[0])
    window = [*[blank] * above, *inner, *[blank] * above]
    # Window row i is map row i - above + agent_row: drop agent_row rows in front, by binary stages.
    for stage in range((rules.height - 3).bit_length()):
        drop = (agent_row >> stage) & 1 == 1
        later = [*window[1 << stage :], *[blank] * (1 << stage)][: len(window)]
        window = [
            [jnp.where(drop, new, old) for new, old in zip(below, row, strict=True)]
            for below, row in zip(later, window, strict=True)
        ]
    return [_slide(row, left - agent_column, columns) for row in window[:rows]]


def _slide(row: Row, by: int | jax.Array, columns: int) -> Row:
    """Moves a row's places ``by`` columns to the right (negative: left); keeps ``columns`` of them from column 0 on."""
    moved = []
    for target in range(0, columns, 32):
        word = jnp.zeros_like(row[0])
        for k, source in enumerate(row):
            right = jnp.asarray(32 * k + by - target, jnp.int32)
            # A shift by 32 or more, which a negative number becomes as well, leaves nothing.
            word |= (source << right.astype(jnp.uint32)) | (source >> (-right).astype(jnp.uint32))
        moved.append(word)
    return moved


def _draw(free: list[Row], marks: list[jax.Array], shape: tuple[int, int, int]) -> jax.Array:
    """Draws a plane of walls and, on the planes after it, marks.

    Args:
      free: the rows of the first plane.
      marks: int32 (N,) each, the place to set on the second plane, the third ..., counted over all planes; -1: none.
      shape: planes, rows and columns.

    Returns:
      uint8 0 or 1 (N, planes, rows, columns).
    """
    planes, rows, columns = shape
    total = planes * rows * columns
    words = [jnp.zeros_like(free[0][0])] * bits.num_words(total)
    for r, row in enumerate(free):
        for left, piece in zip(range(0, columns, 32), row, strict=True):
            kept = min(32, columns - left)
            piece = ~piece & jnp.uint32((1 << kept) - 1)
            word, bit = divmod(r * columns + left, 32)
            words[word] |= piece << bit
            if bit + kept > 32:
                words[word + 1] |= piece >> (32 - bit)
    for plane, mark in enumerate(marks, start=1):
        bit = jnp.uint32(1) << (mark & 31).astype(jnp.uint32)
        for k in range(plane * rows * columns // 32, bits.num_words((plane + 1) * rows * columns)):
            words[k] |= jnp.where(mark >> 5 == k, bit, jnp.uint32(0))
    return bits.unpack(bits.settle(jnp.stack(words, axis=-1)), total).astype(jnp.uint8).reshape(-1, *shape)
