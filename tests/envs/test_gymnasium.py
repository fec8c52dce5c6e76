from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode

from lepton_jax.envs.gymnasium import LeptonEnv, LeptonVectorEnv, World, episode_key
from lepton_jax.envs.maze.level import stack
from lepton_jax.envs.maze.render import PALETTE
from lepton_jax.envs.maze.rules import Rules
from lepton_jax.envs.maze.text import from_str, to_str
from lepton_jax.envs.maze.world import make_env, make_pool
from lepton_jax.envs.vector import VectorEnv

N, STEPS = 3, 60
LEVELS = [
    from_str("#####\n#S G#\n#   #\n#   #\n#####"),
    from_str("#####\n#G  #\n### #\n#S  #\n#####"),
    from_str("#####\n#  S#\n# ###\n#  G#\n#####"),
]
RULES = Rules(5, 5, 7, "full", slip=True)


class Hypers(NamedTuple):
    gamma: float = 0.95
    goal_reward: float = 1.0
    step_cost: float = 0.125
    slip: float = 0.2


def world(n: int, **changes: Any) -> World:
    pool = make_pool(stack(LEVELS), RULES, n)
    return World(make_env(RULES, n), pool, Hypers(), len(LEVELS), tile=4)._replace(**changes)


@pytest.fixture(scope="module")
def one() -> World:
    return world(1)


@pytest.fixture(scope="module")
def many() -> World:
    return world(N)


@pytest.mark.parametrize("mode", [None, "rgb_array", "ansi"])
def test_gymnasium_finds_no_fault(one, mode):
    check_env(LeptonEnv(one, mode))  # a warning is an error here


@lru_cache
def jitted(env: VectorEnv):
    return jax.jit(env.reset, static_argnums=2), jax.jit(env.step), jax.jit(env.observe)


def reference(given: World, n: int, seed: int, actions: np.ndarray) -> Iterator[tuple[Any, Any, Any]]:
    """The VectorEnv itself on the same keys: of each step what was seen before a reset, and after it."""
    env, key = given.env, episode_key(np_random(seed)[0])
    reset, step, observe = jitted(env)
    state = reset(jax.random.fold_in(key, 0), given.worlds, n, given.hypers)
    yield observe(*env.record(state), given.worlds), None, None
    for count, action in enumerate(actions, start=1):
        following, outcome = step(jax.random.fold_in(key, count), state, action, given.worlds, given.hypers)
        final = observe(env.record(state)[0], outcome.reached, given.worlds)
        state = following
        yield observe(*env.record(state), given.worlds), outcome, final


def test_many_are_the_vector_env_bit_for_bit(many):
    envs = LeptonVectorEnv(many, N)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    actions = np.random.default_rng(0).integers(0, 4, (STEPS, N))
    seen, info = envs.reset(seed=5)
    assert info == {}
    ends, successes = 0, 0
    expected = reference(many, N, 5, actions)
    np.testing.assert_array_equal(seen, next(expected)[0])
    for action, (after, outcome, final) in zip(actions, expected, strict=True):
        seen, reward, terminated, truncated, info = envs.step(action)
        assert seen in envs.observation_space
        assert (seen.dtype, reward.dtype, terminated.dtype) == (np.uint8, np.float32, bool)
        np.testing.assert_array_equal(seen, after)
        np.testing.assert_array_equal(reward, outcome.reward)
        np.testing.assert_array_equal(terminated, outcome.terminated)
        np.testing.assert_array_equal(truncated, outcome.truncated)
        ended = terminated | truncated
        assert ("final_obs" in info) == ended.any()
        if ended.any():
            np.testing.assert_array_equal(info["_final_obs"], ended)
            np.testing.assert_array_equal(info["final_info"]["success"], terminated)
            for number in range(N):
                last = info["final_obs"][number]
                assert (last is None) != ended[number]
                if ended[number]:
                    np.testing.assert_array_equal(last, final[number])
        ends, successes = ends + ended.sum(), successes + terminated.sum()
    assert ends > successes > 0  # both ways to end were seen
    envs.close()
    envs.close()


def test_one_is_the_vector_env_bit_for_bit(one):
    env, ends = LeptonEnv(one), set()
    for episode in range(12):
        actions = np.random.default_rng(episode).integers(0, 4, RULES.time_limit + 1)
        expected = reference(one, 1, episode, actions[:, None])
        np.testing.assert_array_equal(env.reset(seed=episode)[0], next(expected)[0][0])
        for action, (_, outcome, final) in zip(actions, expected, strict=False):
            seen, reward, terminated, truncated, info = env.step(action)
            np.testing.assert_array_equal(seen, final[0])  # an ended episode stays where it is
            told = (np.float32(reward), terminated, truncated, info["success"])
            assert told == tuple(leaf[0] for leaf in (*outcome[:3], outcome.success))
            if terminated or truncated:
                ends.add(terminated)
                break
        else:
            pytest.fail("the episode outlived its time limit")
    assert ends == {False, True}


def test_reset_goes_on_with_the_generator_of_its_seed(many):
    envs = LeptonVectorEnv(many, N)
    drawn = [envs.reset(seed=1)[0], *(envs.reset()[0] for _ in range(8))]
    again = [envs.reset(seed=1)[0], *(envs.reset()[0] for _ in range(8))]
    np.testing.assert_array_equal(drawn, again)
    assert len({seen.tobytes() for seen in drawn}) > 1


def test_a_level_by_its_number(one, many):
    env, envs = LeptonEnv(one, "ansi"), LeptonVectorEnv(many, N, "ansi")
    for number, level in enumerate(LEVELS):
        env.reset(seed=0, options={"level": number})
        text = "\n".join(
            "".join(f"{'@' if sign == 'S' else sign:2}" for sign in row) for row in to_str(level).splitlines()
        )
        assert env.render() == text.replace("# ", "##")
    envs.reset(seed=0, options={"level": [2, 0, 2]})
    shown = envs.render()
    env.reset(options={"level": 2})
    assert shown is not None
    assert shown[0] == shown[2] == env.render() != shown[1]
    envs.reset(options={"level": 2})
    assert envs.render() == (shown[0],) * N


def test_pictures_show_the_state_reached(one):
    calm = one._replace(hypers=Hypers(slip=0.0))
    env = LeptonEnv(calm, "rgb_array")
    env.reset(seed=0, options={"level": 0})
    for action in (1, 1):
        _, reward, terminated, _, info = env.step(action)
    picture = env.render()
    assert (reward, terminated, info) == (0.875, True, {"success": True})
    assert (picture.shape, picture.dtype) == ((20, 20, 3), np.uint8)
    agent = (picture == PALETTE["agent"]).all(-1)  # on the goal, although the pool's next level has begun
    assert agent[4:8, 12:16].any()
    agent[4:8, 12:16] = False
    assert not agent.any()
    assert LeptonEnv(calm).render() is None


def test_steps_need_an_episode(one, many):
    env, envs = LeptonEnv(one._replace(hypers=Hypers(slip=0.0)), "ansi"), LeptonVectorEnv(many, N, "ansi")
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(0)
    with pytest.raises(ResetNeeded, match="call reset"):
        envs.step([0] * N)
    with pytest.raises(ResetNeeded, match="nothing to see yet"):
        env.render()
    env.reset(options={"level": 0})
    assert not env.step(1)[2]
    assert env.step(1)[2]
    with pytest.raises(ResetNeeded, match="no episode is under way"):
        env.step(1)


def test_what_cannot_be_asked_for(one, many):
    env, envs = LeptonEnv(one), LeptonVectorEnv(many, N)
    env.reset(seed=0)
    envs.reset(seed=0)
    for action in (4, -1, 0.5, [0]):
        with pytest.raises(ValueError, match=r"expected integers 0 to 3 of shape \(\)"):
            env.step(action)
    with pytest.raises(ValueError, match=r"of shape \(3,\)"):
        envs.step([0, 1])
    for level in (3, -1, 0.0, [0, 1]):
        with pytest.raises(ValueError, match="expected 0 to 2, one number or 3 of them"):
            envs.reset(options={"level": level})
    with pytest.raises(ValueError, match="unknown options 'reset_mask'; there is 'level'"):
        envs.reset(options={"reset_mask": np.ones(N, bool)})
    with pytest.raises(ValueError, match="have no numbers"):
        LeptonEnv(one._replace(levels=0)).reset(options={"level": 0})
    with pytest.raises(ValueError, match="render_mode='human'; expected None, 'rgb_array' or 'ansi'"):
        LeptonEnv(one, "human")
    with pytest.raises(ValueError, match="has no scene to draw"):
        LeptonVectorEnv(many._replace(env=many.env._replace(scene=None)), N, "ansi")


def test_gymnasium_wraps_them(one, many):
    envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(LeptonVectorEnv(many, N))
    envs.reset(seed=0)
    env = gymnasium.wrappers.RecordEpisodeStatistics(LeptonEnv(one))
    env.reset(seed=0)
    returns, ended, info = 0.0, False, {}
    while not ended:
        _, reward, terminated, truncated, info = env.step(0)
        returns, ended = returns + float(reward), terminated or truncated
    assert info["episode"]["r"] == pytest.approx(returns)
    totals = np.zeros(N)
    for _ in range(RULES.time_limit):  # an episode ends within it
        _, reward, terminated, truncated, info = envs.step(np.zeros(N, int))
        totals += reward
        if (ended := terminated | truncated).any():
            np.testing.assert_allclose(info["episode"]["r"][ended], totals[ended], rtol=1e-6)
            return
    pytest.fail("no episode ended")
