"""The exact solution of a maze: distances to the goal, a shortest path, and Q*."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.envs.maze import bits
from lepton_jax.envs.maze.level import Level

# Actions are north, east, south, west, in this order everywhere.
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
NUM_ACTIONS = len(MOVES)


class Solution(NamedTuple):
    """What is known of a level, or of a batch of levels (leading axes)."""

    distance: jax.Array  # int16 (..., height, width): steps to the goal; -1 for walls and unreachable cells
    q: jax.Array  # float32 (..., height, width, 4): Q* of each action; 0 at the goal, in walls and where unreachable


def distances(walls: jax.Array, goal: jax.Array, diagonal: bool = False) -> jax.Array:
    """Steps from every cell to the goal.

    Args:
      walls: bool (..., height, width) with a closed border.
      goal: int32 (...,) cell.
      diagonal: whether a step may be diagonal, where one of the two cells beside it is free.

    Returns:
      int16 (..., height, width); -1 for walls and cells without a path. The whole batch is flooded at once, a bit a
      cell; the rounds a cell stays dry are counted in bit planes, so the cost is that of the longest path in the batch.
    """
    height, width = walls.shape[-2:]
    cells = height * width
    free = bits.pack(~walls.reshape(*walls.shape[:-2], cells))
    reached = bits.single(jnp.asarray(goal).reshape(-1), free.shape[0]).reshape(free.shape)
    planes = tuple(jnp.zeros_like(free) for _ in range(cells.bit_length()))
    slants = [(over, across) for over in (width, -width) for across in (1, -1)] if diagonal else []
    # Whoever comes by (over, across) had the cells at -over and -across beside: where one of them is free, he may.
    corners = [(over, across, _shift(free, over) | _shift(free, across)) for over, across in slants]

    def flood(carry):
        reached, planes, _ = carry
        sides = bits.shift_up(reached, 1) | bits.shift_down(reached, 1)
        sides |= bits.shift_up(reached, width) | bits.shift_down(reached, width)
        for over, across, corner in corners:
            sides |= _shift(reached, over + across) & corner
        grown = reached | (sides & free)
        one_more, counted = free & ~reached, []  # ripple-carry addition of one to every dry cell's counter
        for plane in planes:
            counted.append(plane ^ one_more)
            one_more = plane & one_more
        return grown, tuple(counted), jnp.any(grown != reached)

    reached, planes, _ = jax.lax.while_loop(lambda carry: carry[2], flood, (reached, planes, jnp.bool_(True)))
    spread = lambda words: bits.unpack(jnp.moveaxis(words, 0, -1), cells).astype(jnp.int16)
    steps = sum(spread(plane) << power for power, plane in enumerate(planes))
    return jnp.where(spread(reached) == 1, steps, -1).astype(jnp.int16).reshape(walls.shape)


def _shift(words: jax.Array, by: int) -> jax.Array:
    """Moves every member by ``by`` places."""
    return bits.shift_up(words, by) if by >= 0 else bits.shift_down(words, -by)


def solve(
    level: Level,
    gamma: jax.Array | float,
    slip: jax.Array | float,
    step_cost: jax.Array | float,
    goal_reward: jax.Array | float,
) -> Solution:
    """Distances and Q*, by value iteration on the four-neighbour stencil.

    Entering the goal pays ``goal_reward - step_cost`` and ends the episode; any other step pays ``-step_cost``. With
    probability ``slip`` the action is replaced by one of the four, uniformly. The time limit is not part of Q*.

    Args:
      level: one level or a batch (leading axes).
      gamma: discount in [0, 1]. slip: in [0, 1]. step_cost, goal_reward: any float. All scalars, traced or not.

    Returns:
      Solution. Iteration stops when no value moves by more than 1e-7 of the largest possible step, so that
      without slip Q* is exact to rounding after as many sweeps as the longest path has steps.
    """
    height, width = level.walls.shape[-2:]
    walls = jnp.asarray(level.walls)
    batch = walls.shape[:-2]
    distance = distances(walls, level.goal)
    cells = jnp.arange(height * width).reshape(height, width)
    at_goal = cells == jnp.asarray(level.goal)[..., None, None]
    open_ = (distance >= 0) & ~at_goal  # the cells that have a value

    def neighbour(field: jax.Array, move: tuple[int, int], fill: float | bool) -> jax.Array:
        spread = [(0, 0)] * len(batch) + [(1, 1), (1, 1)]
        padded = jnp.pad(field, spread, constant_values=fill)
        row, column = move[0] + 1, move[1] + 1
        return padded[..., row : row + height, column : column + width]

    blocked = [neighbour(walls, move, True) for move in MOVES]
    arriving = [neighbour(at_goal, move, False) for move in MOVES]
    scale = jnp.maximum(jnp.abs(goal_reward), jnp.abs(step_cost))

    def backup(value: jax.Array) -> jax.Array:
        reached = [
            jnp.where(wall, value, neighbour(value, move, 0.0)) for wall, move in zip(blocked, MOVES, strict=True)
        ]
        sure = jnp.stack(
            [
                jnp.where(goal, goal_reward, gamma * after) - step_cost
                for goal, after in zip(arriving, reached, strict=True)
            ],
            axis=-1,
        )
        q = (1.0 - slip) * sure + slip * jnp.mean(sure, axis=-1, keepdims=True)
        return jnp.where(open_[..., None], q, 0.0)

    def sweep(carry):
        value, _, count = carry
        updated = jnp.max(backup(value), axis=-1)
        return updated, jnp.max(jnp.abs(updated - value)), count + 1

    # Without slip height * width sweeps suffice; with it the last digits take a multiple of that.
    unfinished = lambda carry: (carry[1] > 1e-7 * scale) & (carry[2] < 50 * height * width)
    start = (jnp.zeros((*batch, height, width), jnp.float32), jnp.float32(jnp.inf), jnp.int32(0))
    value, _, _ = jax.lax.while_loop(unfinished, sweep, start)
    return Solution(distance, backup(value))


def shortest_path(level: Level) -> list[int]:
    """The cells of a shortest path of one level, start and goal included; among equals, north, east, south, west."""
    width = np.shape(level.walls)[1]
    distance = np.asarray(jax.jit(distances)(jnp.asarray(level.walls), jnp.asarray(level.goal))).reshape(-1)
    cell, path = int(level.start), [int(level.start)]
    while distance[cell] > 0:
        cell = next(
            cell + row * width + column
            for row, column in MOVES
            if distance[cell + row * width + column] == distance[cell] - 1
        )
        path.append(cell)
    return path
