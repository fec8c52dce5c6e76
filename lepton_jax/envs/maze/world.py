"""Mazes as a VectorEnv: a pool of levels, auto-reset from it, and the few bytes of each state that replay keeps."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.envs.maze import bits, model, oracle
from lepton_jax.envs.maze import rules as maze_rules
from lepton_jax.envs.maze.generate import split_levels
from lepton_jax.envs.maze.level import Level
from lepton_jax.envs.maze.observe import observation_spec
from lepton_jax.envs.maze.observe import observe as draw_observation
from lepton_jax.envs.maze.render import Scene
from lepton_jax.envs.maze.rules import Rules, State
from lepton_jax.envs.maze.spec import MazeSpec
from lepton_jax.envs.maze.symmetry import marker, symmetries
from lepton_jax.envs.vector import Exact, Outcome, VectorEnv


class Pool(NamedTuple):
    """Levels ready to be played. For N environments K levels take K + N - 1 slots: the first ones are repeated.

    In one step environment ``i`` resets to slot ``base + i``, ``base`` uniform over the K levels: each gets a uniform
    level, the pool is read as one contiguous block, and a step costs one random number instead of N.
    """

    free: jax.Array  # uint32 (words, slots)
    goal: jax.Array  # uint8 or uint16 (slots,)
    start: jax.Array  # uint8 or uint16 (slots,)
    # Of worlds that have them, as in rules.State; the slots come last.
    lava: Any = ()
    others: Any = ()
    key: Any = ()
    door: Any = ()
    slope: Any = ()
    distance: Any = ()  # of the start
    places: Any = ()  # moving goal: uint32 (words, slots): the sites where the goal may be


# The optional fields that a pool and the states begun from it share.
_KEPT = ("lava", "others", "key", "door", "slope", "distance")


class Endless(NamedTuple):
    """Levels that never run out: ``slots`` of them at a time, ``batch`` replaced at each refresh."""

    slots: int
    batch: int


@partial(jax.jit, static_argnums=(1, 2))
def make_pool(levels: Level, rules: Rules, num_envs: int = 1) -> Pool:
    """Packs levels (one leading axis) for ``num_envs`` environments."""
    state = maze_rules.begin(levels, rules)
    count = state.goal.shape[0]
    kept = {name: getattr(state, name) for name in _KEPT}
    places = _places(levels, rules) if rules.moving_goal else ()
    pool = Pool(state.free, state.goal, state.site, places=places, **kept)
    slots = jnp.arange(count + num_envs - 1) % count
    return jax.tree.map(lambda leaf: leaf[..., slots], pool)


def _places(levels: Level, rules: Rules) -> jax.Array:
    """uint32 (words, N): the sites that the start reaches and on which nothing lies."""
    walls = jnp.asarray(levels.walls)
    closed = walls | jnp.asarray(levels.lava) if rules.lava else walls
    there = oracle.distances(closed, jnp.asarray(levels.start)) > 0
    taken = [levels.key, levels.door] if rules.door else []
    taken += [jnp.asarray(levels.others)[:, k] for k in range(rules.goals - 1)]
    cells = jnp.arange(rules.height * rules.width).reshape(rules.height, rules.width)
    for cell in taken:
        there &= cells != jnp.asarray(cell)[:, None, None]
    return bits.pack(there[:, 1:-1, 1:].reshape(walls.shape[0], -1))


def _fresh(slots: Pool, rules: Rules) -> State:
    """The states in which episodes on these slots begin."""
    n = slots.goal.shape[0]
    full = lambda present, value, dtype: jnp.full(n, value, dtype) if present else ()
    return State(
        free=slots.free,
        goal=slots.goal,
        site=slots.start,
        time=jnp.zeros(n, jnp.uint16),
        heading=full(rules.oriented, maze_rules.EAST, jnp.uint8),
        last=full(rules.sticky, rules.num_actions, jnp.uint8),
        held=full(rules.door, False, bool),
        **{name: getattr(slots, name) for name in _KEPT},
    )


def _move_goals(key: jax.Array, slots: Pool) -> Pool:
    """The same with each goal drawn anew, uniformly from its places."""
    counts = jnp.sum(jax.lax.population_count(slots.places), axis=0)
    # A level whose start reaches but one cell has its goal there.
    rank = jax.random.bits(key, counts.shape, jnp.uint32) % jnp.maximum(counts, 1)
    return slots._replace(goal=bits.select(slots.places, rank).astype(slots.goal.dtype))


def pool_levels(pool: Pool, rules: Rules, count: int) -> Level:
    """The first ``count`` levels of a pool, unpacked."""
    cell = lambda site: maze_rules.cell_of(site[:count], rules)
    return Level(
        walls=maze_rules.walls_of(pool.free[:, :count], rules),
        start=cell(pool.start),
        goal=cell(pool.goal),
        lava=maze_rules.map_of(pool.lava[:, :count], rules) if rules.lava else (),
        key=cell(pool.key) if rules.door else (),
        door=cell(pool.door) if rules.door else (),
        others=maze_rules.cell_of(pool.others[:, :count].T, rules) if rules.goals > 1 else (),
    )


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
        chosen = jax.random.randint(key, (n,), 0, pool.goal.shape[0] - n + 1) if slots is None else slots
        drawn = jax.tree.map(lambda leaf: leaf[..., chosen], pool)
        # Whoever names a level means it as it is.
        if rules.moving_goal and slots is None:
            drawn = _move_goals(jax.random.fold_in(key, 1), drawn)
        return _fresh(drawn, rules)

    def step(key: jax.Array, state: State, action: jax.Array, pool: Pool, hypers: Any) -> tuple[State, Outcome]:
        n = state.site.shape[0]
        base_key, draw, again, goal_key = key, None, None, key
        if rules.slip or rules.sticky or rules.moving_goal:
            base_key, slip_key, sticky_key, goal_key = jax.random.split(key, 4)
            draw = jax.random.bits(slip_key, (n,), jnp.uint32) if rules.slip else None
            again = jax.random.bits(sticky_key, (n,), jnp.uint32) if rules.sticky else None
        moved = maze_rules.transition(state, action, draw, hypers, rules, again)
        # A key is itself two uniform words, and this one serves nothing else.
        number = jax.random.key_data(base_key)[-1]
        base = (number % jnp.uint32(pool.goal.shape[0] - n + 1)).astype(jnp.int32)
        block = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, base, n, leaf.ndim - 1), pool)
        fresh = _fresh(_move_goals(goal_key, block) if rules.moving_goal else block, rules)
        ended = moved.terminated | moved.truncated
        following = jax.tree.map(lambda new, old: jnp.where(ended, new, old), fresh, moved.state)
        outcome = Outcome(moved.reward, moved.terminated, moved.truncated, step_part(moved.state), moved.success)
        return following, outcome

    # What observations are drawn from; the time only where it is shown, for a record is kept of every step.
    fixed = ("free", "goal", *(("lava",) if rules.lava else ()), *(("others",) if rules.goals > 1 else ()))
    fixed += ("key", "door") if rules.door else ()
    moving = ("site", *(("time",) if rules.observation == "vector" else ()))
    moving += (*(("heading",) if rules.oriented else ()), *(("held",) if rules.door else ()))

    def step_part(state: State) -> tuple[jax.Array, ...]:
        return tuple(getattr(state, name) for name in moving)

    def record(state: State) -> tuple[Any, Any]:
        return tuple(jnp.moveaxis(getattr(state, name), -1, 0) for name in fixed), step_part(state)

    def observe(episode: Any, step: Any, pool: Pool) -> jax.Array:
        del pool
        seen = {name: jnp.moveaxis(leaf, 0, -1) for name, leaf in zip(fixed, episode, strict=True)}
        seen |= dict(zip(moving, step, strict=True))
        blank = {"time": jnp.zeros(seen["site"].shape, jnp.uint16)}
        return draw_observation(State(**{**blank, **seen}), rules)

    def scene(episode: Any, step: Any) -> Scene:
        at = dict(zip(fixed, episode, strict=True)) | dict(zip(moving, step, strict=True))
        cell = lambda name: maze_rules.cell_of(at[name], rules) if name in at else ()
        level = Level(
            walls=maze_rules.walls_of(at["free"].T, rules),
            start=jnp.full(len(at["site"]), -1),  # a running episode no longer knows
            goal=cell("goal"),
            lava=maze_rules.map_of(at["lava"].T, rules) if rules.lava else (),
            key=cell("key"),
            door=cell("door"),
            others=cell("others"),
        )
        return Scene(level, cell("site"), at.get("heading"), at.get("held"))

    def solve(pool: Pool, hypers: Any) -> Exact:
        begin = _fresh(pool, rules)
        count = pool.goal.shape[0]
        if rules.plain:
            levels = pool_levels(pool, rules, count)
            slip = hypers.slip if rules.slip else 0.0
            solution = oracle.solve(levels, hypers.gamma, slip, hypers.step_cost, hypers.goal_reward)
            by_site = lambda field: field[:, 1:-1, 1:].reshape(field.shape[0], rules.sites, *field.shape[3:])
            q, distance = by_site(solution.q), by_site(solution.distance).astype(jnp.int32)
            start = pool.start.astype(jnp.int32)
        else:
            q, distance, start = model.solve(begin, hypers, rules)
        at_start = (jnp.arange(count), start)
        every = {"time": np.zeros(distance.shape[1], np.uint16), **model.states(rules)}
        return Exact(
            start_value=jnp.max(q[at_start], axis=-1),
            start_distance=distance[at_start],
            q=q,
            episode=record(begin)[0],
            step=tuple(jnp.broadcast_to(every[name], distance.shape) for name in moving),
            counts=distance > 0,
        )

    return VectorEnv(
        name="LeptonMaze-v0",
        observation=observation_spec(rules),
        num_actions=rules.num_actions,
        time_limit=rules.time_limit,
        worlds=worlds,
        refresh=refresh if batch else None,
        reset=reset,
        step=step,
        observe=observe,
        record=record,
        scene=scene,
        solve=solve,
        symmetries=symmetries(rules),
        marker=marker(rules),
    )
