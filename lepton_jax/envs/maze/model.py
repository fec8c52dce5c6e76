"""The maze as a finite Markov decision process, solved exactly: for all options of the rules.

A state is a site and, where the options make them part of it, the heading, whether the key is held, and the action
taken last. Each state's moves are tabulated by the rules themselves, without chance; chance only decides which move is
made (``rules.transition``), so that an action is a distribution over the rows of that table.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.envs.maze import rules as maze_rules
from lepton_jax.envs.maze.rules import Rules, State

_TOGETHER = 64  # levels solved side by side


class Model(NamedTuple):
    """The exact solution of M levels with S states and A actions."""

    q: jax.Array  # float32 (M, S, A); 0 where an episode has ended
    distance: jax.Array  # int32 (M, S): fewest steps to a goal, by the best moves; -1 where no goal can be reached
    start: jax.Array  # int32 (M,): the state in which an episode begins


def states(rules: Rules) -> dict[str, np.ndarray]:
    """What tells the S states of a level apart, (S,) each: site, and heading, held and last where there are any."""
    ranges = {"site": np.arange(rules.sites, dtype=rules.site_dtype)}
    if rules.oriented:
        ranges["heading"] = np.arange(4, dtype=np.uint8)
    if rules.door:
        ranges["held"] = np.array([False, True])
    if rules.sticky:
        ranges["last"] = np.arange(rules.num_actions + 1, dtype=np.uint8)
    grid = np.meshgrid(*ranges.values(), indexing="ij")
    return {name: axis.reshape(-1) for name, axis in zip(ranges, grid, strict=True)}


def number_of(state: State, rules: Rules) -> jax.Array:
    """The number of each state in ``states``, int32."""
    number = state.site.astype(jnp.int32)
    if rules.oriented:
        number = number * 4 + state.heading
    if rules.door:
        number = number * 2 + state.held
    if rules.sticky:
        number = number * (rules.num_actions + 1) + state.last
    return number


def solve(begin: State, hypers: Any, rules: Rules) -> Model:
    """Q* by value iteration, and fewest steps by the same sweeps.

    Args:
      begin: the states in which episodes on M levels begin.
      hypers: ``gamma`` and what ``rules.move`` and ``rules.transition`` need.
      rules: static.

    Returns:
      Model. Iteration stops when no value moves by more than 1e-7 of the largest reward. The time limit is not part of
      Q*, but for ``rules.time_decay``: rewards then depend on the time, and Q* is that of the first step of an episode
      of ``rules.time_limit`` steps, by backward induction.
    """
    by_level = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), begin)
    count = begin.site.shape[0]
    solve_one = lambda level: _solve(jax.tree.map(lambda leaf: leaf[..., None], level), hypers, rules)
    return jax.lax.map(solve_one, by_level, batch_size=min(count, _TOGETHER))


def _solve(level: State, hypers: Any, rules: Rules) -> Model:
    """One level, given as a batch of one."""
    here = states(rules)
    total, actions = len(here["site"]), rules.num_actions
    wide = {name: jnp.repeat(jnp.asarray(axis), actions) for name, axis in here.items()}
    before = level._replace(**wide, time=jnp.zeros(total * actions, jnp.uint16))
    if rules.shaping:
        goals = jnp.concatenate([level.goal[None], *([level.others] if rules.goals > 1 else [])])
        field = maze_rules.distances(maze_rules.walls_of(level.free, rules), maze_rules.cell_of(goals.T, rules), rules)
        before = before._replace(distance=field[0, before.site.astype(jnp.int32)])
    made = maze_rules.move(before, jnp.tile(jnp.arange(actions), total), hypers, rules)
    shaped = lambda leaf: leaf.reshape(total, actions)
    following, ended, success = (shaped(leaf) for leaf in (number_of(made.state, rules), made.terminated, made.success))
    reward = shaped(made.reward)
    mix = _mixture(here, hypers, rules)
    terminal = _terminal(level, here, rules)

    def backup(value: jax.Array, reward: jax.Array) -> jax.Array:
        sure = reward + hypers.gamma * jnp.where(ended, 0.0, value[following])
        return jnp.where(terminal[:, None], 0.0, mix(sure))

    def sweep(carry: Any) -> Any:
        value, _, count = carry
        updated = jnp.max(backup(value, reward), axis=-1)
        return updated, jnp.max(jnp.abs(updated - value)), count + 1

    zero = jnp.zeros(total, jnp.float32)
    if rules.time_decay:
        # The prize is the one part of a reward that depends on the time, and falls by the same amount every step.
        later = maze_rules.move(
            before._replace(time=before.time + 1), jnp.tile(jnp.arange(actions), total), hypers, rules
        )
        fall = shaped(later.reward) - reward
        back = lambda k, value: jnp.max(backup(value, reward + (rules.time_limit - 1 - k) * fall), axis=-1)
        value = jax.lax.fori_loop(0, rules.time_limit - 1, back, zero)
    else:
        scale = jnp.max(jnp.abs(reward))
        unfinished = lambda carry: (carry[1] > 1e-7 * scale) & (carry[2] < 50 * total)
        value = jax.lax.while_loop(unfinished, sweep, (zero, jnp.float32(jnp.inf), jnp.int32(0)))[0]
    return Model(backup(value, reward), _steps(following, ended, success, terminal), number_of(level, rules)[0])


def _mixture(here: dict[str, np.ndarray], hypers: Any, rules: Rules) -> Any:
    """From the values of moves, (S, A), to those of actions: what chance makes of them (``rules.transition``)."""
    actions = rules.num_actions
    share = jnp.asarray(np.bincount(np.arange(256) % actions) / 256.0, jnp.float32)

    def mix(sure: jax.Array) -> jax.Array:
        mixed = sure
        if rules.slip:
            mixed = (1.0 - hypers.slip) * mixed + hypers.slip * jnp.sum(sure * share, axis=-1, keepdims=True)
        if rules.sticky:
            last = here["last"].astype(int)
            again = sure[np.arange(len(last)), np.minimum(last, actions - 1)]
            sticks = jnp.where(last < actions, hypers.sticky, 0.0)
            mixed = (1.0 - sticks[:, None]) * mixed + (sticks * again)[:, None]
        return mixed

    return mix


def _terminal(level: State, here: dict[str, np.ndarray], rules: Rules) -> jax.Array:
    """bool (S,): the states in which no episode goes on: at goals, in lava and in walls; and those that cannot be."""
    site = jnp.asarray(here["site"])
    ended = ~_member(level.free, site) | (site == level.goal)
    if rules.lava:
        ended |= _member(level.lava, site)
    for k in range(rules.goals - 1):
        ended |= site == level.others[k]
    if rules.door:
        ended |= ~jnp.asarray(here["held"]) & ((site == level.key) | (site == level.door))
    return ended


def _member(places: jax.Array, site: jax.Array) -> jax.Array:
    """Whether sites (S,) belong to a set uint32 (words, 1)."""
    site = site.astype(jnp.int32)
    return (places[:, 0][site >> 5] >> (site & 31).astype(jnp.uint32)) & 1 == 1


def _steps(following: jax.Array, ended: jax.Array, success: jax.Array, terminal: jax.Array) -> jax.Array:
    """Fewest steps to a goal from each state, int32 (S,); -1 where there is no way, and from terminal states."""
    far = jnp.int32(2**30)

    def sweep(carry: Any) -> Any:
        steps, _ = carry
        after = jnp.where(ended, jnp.where(success, 0, far), steps[following])
        updated = jnp.where(terminal, far, jnp.minimum(1 + jnp.min(after, axis=-1), far))
        return updated, jnp.any(updated != steps)

    start = (jnp.full(terminal.shape, far), jnp.bool_(True))
    steps = jax.lax.while_loop(lambda carry: carry[1], sweep, start)[0]
    return jnp.where(steps < far, steps, -1)
