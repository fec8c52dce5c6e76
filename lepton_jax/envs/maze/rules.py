"""The rules of a maze: how a move changes a state and what it pays. Pure, batch-native, no framework.

The inner cells of a map are numbered as *sites*, row by row with one wall place at the end of each row (row stride
``width - 1``). A move then adds a constant to the site, and the extra places and everything outside count as wall, so
that no move needs a division or a case for the border. A set of free sites packed into bits (``bits.py``) is all that
is kept of the walls: 4 bytes at 7x7, 20 at 13x13.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lepton_jax.envs.maze import bits
from lepton_jax.envs.maze.level import Level

OBSERVATIONS = ("full", "centred", "vector")


class Rules(NamedTuple):
    """The static part of the rules; hashable."""

    height: int
    width: int
    time_limit: int  # steps
    observation: str = "full"  # one of OBSERVATIONS
    view: int = 0  # side of the centred window, odd; 0 shows the whole map from wherever the agent stands
    slip: bool = False  # whether hypers.slip is in force

    @property
    def stride(self) -> int:
        return self.width - 1

    @property
    def sites(self) -> int:
        return (self.height - 2) * self.stride

    @property
    def site_dtype(self) -> Any:
        return jnp.uint8 if self.sites <= 256 else jnp.uint16


class State(NamedTuple):
    """N mazes in play."""

    free: jax.Array  # uint32 (words, N): the free sites
    goal: jax.Array  # uint8 or uint16 (N,): site
    site: jax.Array  # uint8 or uint16 (N,): where the agent is
    time: jax.Array  # uint16 (N,): steps taken in this episode


def begin(levels: Level, rules: Rules) -> State:
    """The states in which episodes on ``levels`` (one leading axis N) begin."""
    inner = jnp.asarray(levels.walls)[:, 1:-1, 1:]
    free = bits.pack(~inner.reshape(inner.shape[0], -1))
    site = lambda cell: site_of(jnp.asarray(cell), rules).astype(rules.site_dtype)
    return State(free, site(levels.goal), site(levels.start), jnp.zeros(inner.shape[0], jnp.uint16))


def site_of(cell: jax.Array, rules: Rules) -> jax.Array:
    """Cell number -> site number."""
    return (cell // rules.width - 1) * rules.stride + cell % rules.width - 1


def cell_of(site: jax.Array, rules: Rules) -> jax.Array:
    """Site number -> cell number, int32."""
    row, column = row_column(site, rules)
    return (row + 1) * rules.width + column + 1


def walls_of(free: jax.Array, rules: Rules) -> jax.Array:
    """Free sites uint32 (words, N) -> walls bool (N, height, width)."""
    inner = bits.unpack(free.T, rules.sites) == 0
    inner = inner.reshape(-1, rules.height - 2, rules.stride)
    return jnp.pad(inner, ((0, 0), (1, 1), (1, 0)), constant_values=True)


def transition(
    state: State, action: jax.Array, draw: jax.Array | None, hypers: Any, rules: Rules
) -> tuple[State, jax.Array, jax.Array, jax.Array]:
    """One step of every maze, without reset.

    Args:
      state: N mazes.
      action: integer (N,): 0 north, 1 east, 2 south, 3 west. A move into a wall leaves the agent where it is.
      draw: uint32 (N,) of random bits where ``rules.slip``, else None. The upper 24 bits decide whether the agent
        slips, the lowest two where to.
      hypers: ``goal_reward``, ``step_cost`` and, where ``rules.slip``, ``slip``: float32 scalars.
      rules: static.

    Returns:
      The state reached; reward float32 (N,), ``-step_cost`` and, on entering the goal, ``goal_reward`` more; terminated
      bool (N,): at the goal; truncated bool (N,): not at the goal and out of time.
    """
    action = action.astype(jnp.int32)
    if rules.slip:
        assert draw is not None, "slip needs random bits"
        slips = (draw >> 8).astype(jnp.float32) * 2.0**-24 < hypers.slip
        action = jnp.where(slips, (draw & 3).astype(jnp.int32), action)
    move = jnp.where(action == 0, -rules.stride, jnp.where(action == 1, 1, jnp.where(action == 2, rules.stride, -1)))
    here = state.site.astype(jnp.int32)
    target = here + move
    inside = (target >= 0) & (target < rules.sites)
    # Where the target is outside, the shift inside ``contains`` is still well defined and its result unused.
    site = jnp.where(inside & bits.contains(state.free, target), target, here).astype(rules.site_dtype)
    time = state.time + jnp.uint16(1)
    terminated = site == state.goal
    truncated = ~terminated & (time >= rules.time_limit)
    reward = jnp.where(terminated, hypers.goal_reward, 0.0) - hypers.step_cost
    return State(state.free, state.goal, site, time), reward.astype(jnp.float32), terminated, truncated


def row_column(site: jax.Array, rules: Rules) -> tuple[jax.Array, jax.Array]:
    """int32 row and column among the inner cells, counted from 0."""
    site = site.astype(jnp.int32)
    return site // rules.stride, site % rules.stride
