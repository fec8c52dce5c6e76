import dataclasses
from typing import Any

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments import environment
from gymnax.environments import spaces as gymnax_spaces
from jax.core import Tracer

from lepton_jax.envs.maze import gym
from lepton_jax.envs.maze import observe as maze_observe
from lepton_jax.envs.maze import rules as maze_rules
from lepton_jax.envs.maze.gym import EnvState, LeptonMaze
from lepton_jax.envs.maze.level import LevelError, stack
from lepton_jax.envs.maze.spec import MazeSpec
from lepton_jax.envs.maze.text import from_str
from lepton_jax.envs.maze.world import make_env, make_pool

LEVELS = """\
#######
#S    #
# ### #
#   # #
### ###
#G    #
#######

#######
#   #G#
# # # #
# #   #
# #####
#    S#
#######"""


def keys(seed: int, count: int) -> jax.Array:
    return jax.random.split(jax.random.key(seed), count)


def signature(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


def test_make_finds_the_registered_class():
    env, params = gymnax.make("LeptonMaze-v0", size=7, pool=4)
    assert isinstance(env, LeptonMaze)
    assert (env.name, env.num_actions) == ("LeptonMaze-v0", 4)
    assert params.max_steps_in_episode == 4 * 17  # 9 rooms and 8 doors
    assert params.pool.goal.shape == (4,)


def test_registration_is_idempotent():
    before = list(gymnax.registered_envs)
    gym.register()
    gym.register()
    assert gymnax.registered_envs == before
    assert before.count("LeptonMaze-v0") == 1


@pytest.mark.parametrize(
    ("observation", "view", "shape", "dtype"),
    [
        ("full", 0, (3, 7, 7), jnp.uint8),
        ("centred", 0, (2, 9, 9), jnp.uint8),
        ("centred", 5, (2, 5, 5), jnp.uint8),
        ("vector", 0, (10,), jnp.float32),
    ],
)
def test_spaces_hold_what_is_seen(observation, view, shape, dtype):
    env = LeptonMaze(size=7, observation=observation, view=view, pool=4)
    params = env.default_params
    space, states = env.observation_space(params), env.state_space(params)
    assert (space.shape, space.dtype) == (shape, dtype)
    seen, state = jax.vmap(env.reset, (0, None))(keys(0, 4), params)
    step = jax.vmap(env.step, (0, 0, 0, None))
    for number in range(12):
        actions = jax.vmap(env.action_space(params).sample)(keys(number, 4))
        assert actions.dtype == jnp.int32
        after, following, reward, terminated, truncated, info = step(keys(number + 50, 4), state, actions, params)
        assert signature(following) == signature(state)
        assert (reward.dtype, terminated.dtype, truncated.dtype) == (jnp.float32, bool, bool)
        for one in (seen, after, info["final_observation"]):
            assert (one.shape, one.dtype) == ((4, *shape), dtype)
            assert np.all((np.asarray(one) >= space.low) & (np.asarray(one) <= space.high))
        state, seen = following, after
    assert bool(space.contains(seen[0]))
    for name, field in states.spaces.items():
        leaf = getattr(state, name)
        assert (leaf.shape[1:], leaf.dtype) == (field.shape, field.dtype)
    assert bool(states.contains(jax.tree.map(lambda leaf: leaf[0], state)))
    sampled = states.sample(jax.random.key(0))
    assert {name: (leaf.shape, leaf.dtype) for name, leaf in sampled.items()} == {
        field.name: signature(getattr(jax.tree.map(lambda leaf: leaf[0], state), field.name))
        for field in dataclasses.fields(EnvState)
    }


def test_action_space():
    space = LeptonMaze(size=7).action_space()
    assert isinstance(space, gymnax_spaces.Discrete)
    assert (space.n, space.dtype) == (4, jnp.int32)


@pytest.mark.parametrize(
    ("observation", "slip", "size"), [("full", False, 7), ("centred", True, 7), ("vector", True, 7)]
)
def test_the_same_as_the_batch_native_rules(observation, slip, size):
    """Same levels, draws and actions: equal at every step, over many episodes."""
    n, steps, limit = 8, 250, 30
    env = LeptonMaze(size=size, observation=observation, pool=4, slip=slip, time_limit=limit)
    params = dataclasses.replace(env.default_params, goal_reward=2.0, step_cost=0.125, slip=0.3 if slip else 0.0)
    pool = params.pool

    @jax.jit
    def both(key):
        def one(state, key):
            action_key, step_key = jax.random.split(key)
            actions = jax.random.randint(action_key, (n,), 0, 4)
            step_keys = jax.random.split(step_key, n)
            seen, following, *gymnax_says, info = jax.vmap(env.step, (0, 0, 0, None))(step_keys, state, actions, params)
            # gymnax hands one half of a step's key to the step and the other to the reset.
            halves = jax.vmap(jax.random.split)(step_keys)
            draws = jax.vmap(lambda k: jax.random.bits(k, (), jnp.uint32))(halves[:, 0]) if slip else None
            batch = maze_rules.State(state.free.T, state.goal, state.site, state.time)
            reached, *rules_say = maze_rules.transition(batch, actions, draws, params, env.rules)
            slots = jax.vmap(lambda k: jax.random.bits(k, (), jnp.uint32))(halves[:, 1]) % 4
            fresh = maze_rules.State(pool.free[:, slots], pool.goal[slots], pool.start[slots], jnp.zeros(n, jnp.uint16))
            ended = rules_say[1] | rules_say[2]
            expected = jax.tree.map(lambda new, old: jnp.where(ended, new, old), fresh, reached)
            found = maze_rules.State(following.free.T, following.goal, following.site, following.time)
            pairs = (
                (found, expected),
                (gymnax_says, rules_say[:3]),
                (seen, maze_observe.observe(expected, env.rules)),
                (info["final_observation"], maze_observe.observe(reached, env.rules)),
                ([info["terminated"], info["truncated"]], rules_say[1:3]),
            )
            return following, pairs

        _, state = jax.vmap(env.reset, (0, None))(jax.random.split(key, n), params)
        return jax.lax.scan(one, state, jax.random.split(key, steps))[1]

    pairs = both(jax.random.key(3))
    for found, expected in pairs:
        assert signature(jax.tree.leaves(found)) == signature(jax.tree.leaves(expected))
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(one, other)
    _, terminated, truncated = pairs[1][0]
    assert terminated.any()
    assert truncated.any()
    assert not (terminated & truncated).any()


def test_step_is_gymnaxs_own_step():
    """Ours draws fewer observations, and returns the very same."""
    env = LeptonMaze(size=7, pool=4, slip=True, time_limit=6)
    params = env.default_params
    ours = jax.jit(jax.vmap(env.step, (0, 0, 0, None)))
    theirs = jax.jit(jax.vmap(lambda *given: environment.Environment.step(env, *given), (0, 0, 0, None)))
    _, state = jax.vmap(env.reset, (0, None))(keys(0, 16), params)
    ended = 0
    for number in range(14):
        given = keys(number, 16), state, jax.random.randint(jax.random.key(number), (16,), 0, 4), params
        found, expected = ours(*given), theirs(*given)
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
        state, ended = found[1], ended + int(np.sum(found[3] | found[4]))
    assert ended > 16


def test_auto_reset_shows_the_new_level_and_keeps_the_last_observation():
    env = LeptonMaze(size=7, pool=4)
    params = env.with_levels(stack([from_str(part) for part in LEVELS.split("\n\n")]))
    _, state = env.reset(jax.random.key(0), params)
    assert params.pool.goal.shape == (2,)
    starts = set(np.asarray(params.pool.start).tolist())
    assert int(state.site) in starts
    # One step away from the goal of the first level, going west.
    pool = jax.tree.map(np.asarray, params.pool)
    near = EnvState(time=np.uint16(5), free=pool.free[:, 0], goal=pool.goal[0], site=pool.goal[0] + np.uint8(1))
    observe = jax.jit(env.observe)
    landed = set()
    for number in range(12):
        seen, state, reward, terminated, truncated, info = env.step(jax.random.key(number), near, 3, params)
        assert (float(reward), bool(terminated), bool(truncated)) == (1.0, True, False)
        assert int(state.time) == 0
        np.testing.assert_array_equal(seen, observe(jax.random.key(0), state, None, params))
        last = np.asarray(info["final_observation"])
        np.testing.assert_array_equal(last[1], last[2])  # the agent is at the goal
        landed.add(int(state.site))
    assert landed == starts


@pytest.mark.parametrize(("limit", "flags"), [(6, (False, True)), (7, (False, False))])
def test_the_limit_in_the_parameters_counts(limit, flags):
    env = LeptonMaze(size=7, pool=4)
    params = dataclasses.replace(env.default_params, max_steps_in_episode=limit)
    _, state = env.reset(jax.random.key(1), params)
    away = dataclasses.replace(state, time=jnp.uint16(5), goal=jnp.uint8(255))  # nowhere
    *_, terminated, truncated, _ = env.step(jax.random.key(0), away, 0, params)
    assert (bool(terminated), bool(truncated)) == flags


def test_goal_on_the_last_step_only_terminates():
    env = LeptonMaze(size=7, pool=4)
    params = dataclasses.replace(env.default_params, max_steps_in_episode=6)
    goal = params.pool.goal[0]
    near = EnvState(time=jnp.uint16(5), free=jnp.full((1,), 2**32 - 1, jnp.uint32), goal=goal, site=goal - 1)
    *_, terminated, truncated, _ = env.step(jax.random.key(0), near, 1, params)
    assert (bool(terminated), bool(truncated)) == (True, False)


def test_default_levels_are_those_of_the_batch_native_environment():
    env = LeptonMaze(size=9, pool=12, level_seed=5, braid=0.1)
    pool = jax.jit(make_env(env.rules, 1, MazeSpec(9, 0.1), 12).worlds)(jax.random.key(5))
    for one, other in zip(env.default_params.pool, pool, strict=True):
        np.testing.assert_array_equal(one, other)


def test_default_params_are_built_once_even_inside_a_trace():
    make = lambda: LeptonMaze(size=7, pool=4, level_seed=99)
    _, state = jax.jit(make().reset)(jax.random.key(0))  # gymnax asks for them while it traces
    params = make().default_params
    assert params is make().default_params
    assert not any(isinstance(leaf, Tracer) for leaf in params.pool)
    with_them = make().reset(jax.random.key(0), params)[1]
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(with_them), strict=True):
        np.testing.assert_array_equal(one, other)


def test_equal_configurations_share_their_compiled_functions():
    class Counting(LeptonMaze):
        traces = 0

        def observe(self, key, state, action, params):
            type(self).traces += 1
            return super().observe(key, state, action, params)

    first, second, other = Counting(size=7, pool=4), Counting(size=7, pool=4), Counting(size=7, pool=4, slip=True)
    assert first == second
    assert hash(first) == hash(second)
    assert first != other
    assert first != LeptonMaze(size=7, pool=4)  # another class draws in its own way
    assert LeptonMaze(size=7, pool=4, level_seed=1) != LeptonMaze(size=7, pool=4)
    first.reset(jax.random.key(0), first.default_params)
    assert Counting.traces == 1
    second.reset(jax.random.key(1), second.default_params)
    assert Counting.traces == 1
    other.reset(jax.random.key(0), other.default_params)
    assert Counting.traces == 2


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"size": 8}, "size=8; expected an odd number"),
        ({"size": 3}, "size=3"),
        ({"size": 257}, "size=257"),
        ({"observation": "map"}, "observation='map'; expected one of full, centred, vector"),
        ({"view": 3}, "view=3; expected 0"),
        ({"observation": "centred", "view": 4}, "view=4; expected an odd number"),
        ({"pool": 0}, "pool=0"),
        ({"braid": 1.5}, "braid=1.5"),
        ({"time_limit": -1}, "time_limit=-1"),
        ({"size": 201}, "time_limit=79996; expected 1 to 65535"),
    ],
)
def test_bad_arguments_are_named(config: dict[str, Any], message: str):
    with pytest.raises(ValueError, match="LeptonMaze-v0: ") as caught:
        LeptonMaze(**config)
    assert message in str(caught.value)


def test_levels_of_another_size_are_refused():
    env = LeptonMaze(size=9, pool=4)
    levels = stack([from_str(part) for part in LEVELS.split("\n\n")])
    with pytest.raises(LevelError, match=r"levels of shape \(7, 7\); expected a batch of \(9, 9\)"):
        env.with_levels(levels)
    assert len(make_pool(levels, LeptonMaze(size=7).rules).goal) == 2
