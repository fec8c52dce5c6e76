"""Mazes as a VectorEnv: a pool of levels, auto-reset from it, and the few bytes of each state that replay keeps."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lepton_jax.envs.maze import oracle
from lepton_jax.envs.maze import rules as maze_rules
from lepton_jax.envs.maze.generate import MazeSpec, split_levels
from lepton_jax.envs.maze.level import Level
from lepton_jax.envs.maze.observe import observation_spec
from lepton_jax.envs.maze.observe import observe as draw_observation
from lepton_jax.envs.maze.rules import Rules, State
from lepton_jax.envs.vector import Exact, Outcome, VectorEnv


class Pool(NamedTuple):
    """Levels ready to be played. For N environments K levels take K + N - 1 slots: the first ones are repeated.

    In one step environment ``i`` resets to slot ``base + i``, ``base`` uniform over the K levels: each gets a uniform
    level, the pool is read as one contiguous block, and a step costs one random number instead of N.
    """

    free: jax.Array  # uint32 (words, slots)
    goal: jax.Array  # uint8 or uint16 (slots,)
    start: jax.Array  # uint8 or uint16 (slots,)


class Endless(NamedTuple):
    """Levels that never run out: ``slots`` of them at a time, ``batch`` replaced at each refresh."""

    slots: int
    batch: int


@partial(jax.jit, static_argnums=(1, 2))
def make_pool(levels: Level, rules: Rules, num_envs: int = 1) -> Pool:
    """Packs levels (one leading axis) for ``num_envs`` environments."""
    state = maze_rules.begin(levels, rules)
    count = state.goal.shape[0]
    slots = jnp.arange(count + num_envs - 1) % count
    return Pool(state.free[:, slots], state.goal[slots], state.site[slots])


def pool_levels(pool: Pool, rules: Rules, count: int) -> Level:
    """The first ``count`` levels of a pool, unpacked."""
    cell = lambda site: maze_rules.cell_of(site[:count], rules)
    return Level(maze_rules.walls_of(pool.free[:, :count], rules), cell(pool.start), cell(pool.goal))


def make_env(
    rules: Rules,
    num_envs: int,
    spec: MazeSpec | None = None,
    training: Endless | int | None = None,
    held_out: bool = True,
) -> VectorEnv:
    """The mazes that ``rules`` describe.

    Args:
      rules: static.
      num_envs: environments stepped together.
      spec: what to generate; None for an environment whose pools are made elsewhere (``make_pool``).
      training: ``Endless``, or the number of training levels, fixed for good.
      held_out: whether validation and test layouts are kept out of the training pool.
    """
    split = 0 if held_out else None
    count, batch = training if isinstance(training, Endless) else (training or 0, 0)

    def generate(level_key: jax.Array, purpose: jax.Array | int, number: int) -> Level:
        if spec is None:
            raise ValueError("an environment without a MazeSpec has no levels of its own; make pools with make_pool")
        return split_levels(jax.random.fold_in(level_key, purpose), spec, number, split)

    if isinstance(training, Endless) and (count < num_envs or count % batch):
        raise ValueError(f"{count} slots must be at least {num_envs} environments and a multiple of {batch} levels")
    timed = rules.observation == "vector"  # the only one that shows the time

    def worlds(level_key: jax.Array) -> Pool:
        return make_pool(generate(level_key, 0, count), rules, num_envs)

    def refresh(pool: Pool, level_key: jax.Array, epoch: jax.Array) -> Pool:
        """Replaces the ``batch`` oldest slots; ``epoch`` counts refreshes from 0."""
        fresh = make_pool(generate(level_key, epoch + 1, batch), rules)
        first = (epoch % (count // batch)) * batch

        def place(old: jax.Array, new: jax.Array) -> jax.Array:
            axis = old.ndim - 1
            old = jax.lax.dynamic_update_slice_in_dim(old, new, first, axis)
            repeated = jax.lax.slice_in_dim(old, 0, num_envs - 1, axis=axis)
            return jax.lax.dynamic_update_slice_in_dim(old, repeated, count, axis)

        return jax.tree.map(place, pool, fresh)

    def reset(key: jax.Array, pool: Pool, n: int, hypers: Any, slots: jax.Array | None = None) -> State:
        del hypers
        if slots is None:
            slots = jax.random.randint(key, (n,), 0, pool.goal.shape[0] - n + 1)
        return State(pool.free[:, slots], pool.goal[slots], pool.start[slots], jnp.zeros(n, jnp.uint16))

    def step(key: jax.Array, state: State, action: jax.Array, pool: Pool, hypers: Any) -> tuple[State, Outcome]:
        n = state.site.shape[0]
        if rules.slip:
            base_key, slip_key = jax.random.split(key)
            draw = jax.random.bits(slip_key, (n,), jnp.uint32)
        else:
            base_key, draw = key, None
        reached, reward, terminated, truncated = maze_rules.transition(state, action, draw, hypers, rules)
        # A key is itself two uniform words, and this one serves nothing else.
        number = jax.random.key_data(base_key)[-1]
        base = (number % jnp.uint32(pool.goal.shape[0] - n + 1)).astype(jnp.int32)
        block = lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, base, n, leaf.ndim - 1)
        fresh = State(block(pool.free), block(pool.goal), block(pool.start), jnp.zeros(n, jnp.uint16))
        ended = terminated | truncated
        following = jax.tree.map(lambda new, old: jnp.where(ended, new, old), fresh, reached)
        return following, Outcome(reward, terminated, truncated, step_part(reached))

    def step_part(state: State) -> tuple[jax.Array, ...]:
        return (state.site, state.time) if timed else (state.site,)

    def record(state: State) -> tuple[Any, Any]:
        return (state.free.T, state.goal), step_part(state)

    def observe(episode: Any, step: Any, pool: Pool) -> jax.Array:
        del pool
        free, goal = episode
        time = step[1] if timed else jnp.zeros_like(goal, jnp.uint16)
        return draw_observation(State(free.T, goal, step[0], time), rules)

    def solve(pool: Pool, hypers: Any) -> Exact:
        levels = pool_levels(pool, rules, pool.goal.shape[0])
        slip = hypers.slip if rules.slip else 0.0
        solution = oracle.solve(levels, hypers.gamma, slip, hypers.step_cost, hypers.goal_reward)
        by_site = lambda field: field[:, 1:-1, 1:].reshape(field.shape[0], rules.sites, *field.shape[3:])
        q, distance = by_site(solution.q), by_site(solution.distance).astype(jnp.int32)
        start = (jnp.arange(pool.start.shape[0]), pool.start.astype(jnp.int32))
        sites = jnp.broadcast_to(jnp.arange(rules.sites, dtype=rules.site_dtype), distance.shape)
        times = (jnp.zeros(distance.shape, jnp.uint16),) if timed else ()
        return Exact(
            start_value=jnp.max(q[start], axis=-1),
            start_distance=distance[start],
            q=q,
            episode=(pool.free.T, pool.goal),
            step=(sites, *times),
            counts=distance > 0,
        )

    return VectorEnv(
        name="LeptonMaze-v0",
        observation=observation_spec(rules),
        num_actions=oracle.NUM_ACTIONS,
        time_limit=rules.time_limit,
        worlds=worlds,
        refresh=refresh if batch else None,
        reset=reset,
        step=step,
        observe=observe,
        record=record,
        solve=solve,
    )
