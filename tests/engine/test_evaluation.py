"""One greedy episode on each level, against a slow loop, and figures by hand."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest

from lepton_jax.agents.agent import Agent
from lepton_jax.engine import evaluation
from lepton_jax.engine.evaluation import Episodes
from lepton_jax.envs.maze import oracle, suites, world
from lepton_jax.envs.maze.level import Level
from lepton_jax.envs.maze.rules import Rules
from lepton_jax.envs.maze.spec import MazeSpec
from lepton_jax.envs.vector import Exact, VectorEnv

SIZE, COUNT, GAMMA = 7, 40, 0.9
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))


class Hypers(NamedTuple):
    gamma: jax.Array = jnp.float32(GAMMA)
    goal_reward: jax.Array = jnp.float32(2.0)
    step_cost: jax.Array = jnp.float32(0.05)
    slip: jax.Array = jnp.float32(0.0)


def make_agent(q_values: Any, carry: Any = lambda batch: ()) -> Agent:
    """An agent that does not learn, with action values ``q_values(observation, carry, first)``."""

    def act(state: Any, carry: Any, observation: Any, first: Any, key: Any, epsilon: Any) -> Any:
        del state, key, epsilon
        q, carry = q_values(observation, carry, first)
        return jnp.argmax(q, axis=-1).astype(jnp.int32), carry

    def values(state: Any, carry: Any, observation: Any, first: Any) -> Any:
        return q_values(observation, carry, first)

    none = lambda *args: None
    return Agent(none, carry, values, act, none, "transitions", (), True, none, none)


@pytest.fixture(scope="module")
def levels() -> Level:
    return jax.tree.map(np.asarray, suites.suite("test", MazeSpec(SIZE), 0, COUNT))


@pytest.fixture(scope="module")
def maze(levels) -> tuple[VectorEnv, Any]:
    rules = Rules(SIZE, SIZE, time_limit=30, observation="full")
    return world.make_env(rules, COUNT), world.make_pool(levels, rules)


def play(env: VectorEnv, agent: Agent, worlds: Any, count: int, hypers: Any = Hypers()) -> Episodes:  # noqa: B008
    run = jax.jit(lambda worlds, hypers: evaluation.play(env, agent, (), worlds, jax.random.key(0), hypers, count))
    return jax.tree.map(np.asarray, run(worlds, hypers))


def wander(observation: jax.Array, carry: jax.Array, first: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Walks about as place and time of the episode say; the carry counts the steps of an episode."""
    time = jnp.where(first, 0, carry)
    cell = jnp.argmax(observation[:, 1].reshape(observation.shape[0], -1), axis=1)
    return jax.nn.one_hot((time * time * 7 + cell * 5 + time // 3) % 4, 4), time + 1


def test_play_is_the_slow_loop(levels, maze):
    env, pool = maze
    found = play(env, make_agent(wander, lambda batch: jnp.zeros(batch, jnp.int32)), pool, COUNT)
    for number in range(COUNT):
        walls, cell, goal = levels.walls[number], int(levels.start[number]), int(levels.goal[number])
        total = discounted = 0.0
        length, reached = 0, False
        while length < 30 and not reached:
            down, right = MOVES[(length * length * 7 + cell * 5 + length // 3) % 4]
            there = cell + down * SIZE + right
            cell = cell if walls.reshape(-1)[there] else there
            reached = cell == goal
            reward = (2.0 if reached else 0.0) - 0.05
            total += reward
            discounted += GAMMA**length * reward
            length += 1
        assert found.length[number] == length
        assert found.success[number] == reached
        assert found.total[number] == pytest.approx(total, abs=1e-5)
        assert found.discounted[number] == pytest.approx(discounted, abs=1e-5)
    assert 3 < found.success.sum() < COUNT - 3  # the walk shows both ends
    assert found.length.min() < 10


def test_one_episode_a_level():
    """Level i lasts i + 1 steps and pays 1 at its end. Who counts all that finish counts short ones twice."""
    env = probes.make_env(probes.edges(n_step=5, time_limit=20))
    found = play(env, make_agent(lambda seen, carry, first: (jnp.zeros((seen.shape[0], 1)), carry)), (), 10)
    np.testing.assert_array_equal(found.length, np.arange(1, 11))
    np.testing.assert_array_equal(found.total, np.ones(10))
    np.testing.assert_allclose(found.discounted, GAMMA ** np.arange(10), rtol=1e-5)
    assert found.success.all()
    figures = evaluation.summarise(found, None)
    assert set(figures) == {"mean_return", "mean_length"}
    assert figures["mean_return"] == 1.0
    assert figures["mean_length"] == 5.5


def test_truncated_episodes_end_and_did_not_succeed():
    env = probes.make_env(probes.truncation(5))
    found = play(env, make_agent(lambda seen, carry, first: (jnp.zeros((seen.shape[0], 1)), carry)), (), 3)
    np.testing.assert_array_equal(found.length, [5, 5, 5])
    np.testing.assert_array_equal(found.total, [5.0, 5.0, 5.0])
    assert not found.success.any()


def test_figures_by_hand():
    episodes = Episodes(
        total=jnp.array([1.0, 0.0, 1.0, 4.0]),
        discounted=jnp.array([0.5, 0.0, 0.25, 2.0]),
        length=jnp.array([4, 9, 3, 8]),
        success=jnp.array([True, False, True, True]),
    )
    zero = jnp.zeros((4, 1))
    exact = Exact(
        start_value=jnp.array([0.75, 0.5, 0.25, 2.0]),
        start_distance=jnp.array([3, 5, 3, 2]),
        q=zero, episode=(), step=(), counts=zero,
    )  # fmt: skip
    figures = evaluation.summarise(episodes, exact)
    assert figures["success_rate"] == 0.75
    assert figures["spl"] == pytest.approx((3 / 4 + 0 + 1 + 2 / 8) / 4)
    assert figures["regret"] == pytest.approx((0.25 + 0.5 + 0.0 + 0.0) / 4)
    assert figures["mean_return"] == 1.5
    assert figures["mean_length"] == 6.0


def exact_values(observation: jax.Array, carry: Any, first: jax.Array) -> tuple[jax.Array, Any]:
    """Q* of what is seen: the level is read off the planes and solved."""
    flat = observation.reshape(observation.shape[0], 3, -1)
    agent, goal = jnp.argmax(flat[:, 1], axis=1), jnp.argmax(flat[:, 2], axis=1)
    hypers = Hypers()
    solution = oracle.solve(
        Level(observation[:, 0] == 1, agent, goal), hypers.gamma, 0.0, hypers.step_cost, hypers.goal_reward
    )
    return solution.q.reshape(observation.shape[0], -1, 4)[jnp.arange(observation.shape[0]), agent], carry


def test_the_exact_agent_is_perfect(maze):
    env, pool = maze
    assert env.solve is not None
    exact = jax.jit(env.solve)(pool, Hypers())
    agent = make_agent(exact_values)
    figures = evaluation.summarise(play(env, agent, pool, COUNT), exact)
    assert figures["success_rate"] == 1.0
    assert figures["spl"] == 1.0
    assert abs(figures["regret"]) < 1e-5
    wrong = jax.jit(lambda worlds, exact: evaluation.q_error(env, agent, (), worlds, exact))(pool, exact)
    assert wrong < 1e-6


def test_q_error_by_hand(levels, maze):
    """Of an agent that thinks everything worthless: the mean of |Q*| over free cells but the goal. Q* by distance."""
    env, pool = maze
    assert env.solve is not None
    exact = jax.jit(env.solve)(pool, Hypers())
    zero = make_agent(lambda seen, carry, first: (jnp.zeros((seen.shape[0], 4)), carry))
    found = jax.jit(lambda worlds, exact: evaluation.q_error(env, zero, (), worlds, exact))(pool, exact)
    sizes = []
    for number in range(COUNT):
        walls, goal = levels.walls[number].reshape(-1), int(levels.goal[number])
        steps = distances(walls, goal)
        # d steps to go: 2 at the end of them, less 0.05 for each.
        value = {
            cell: 2.0 * GAMMA ** (d - 1) - 0.05 * sum(GAMMA**i for i in range(d)) for cell, d in steps.items() if d
        }
        value[goal] = 0.0
        for cell in value:
            if cell == goal:
                continue
            for down, right in MOVES:
                there = cell + down * SIZE + right
                there = cell if walls[there] else there
                sizes.append(abs((2.0 if there == goal else GAMMA * value[there]) - 0.05))
    assert len(sizes) == 4 * COUNT * (2 * 9 - 1 - 1)  # a perfect 7x7 maze has 17 free cells
    assert found == pytest.approx(np.mean(sizes), rel=1e-4)


def distances(walls: np.ndarray, goal: int) -> dict[int, int]:
    """Steps to the goal from every cell that can reach it."""
    steps, ring = {goal: 0}, [goal]
    while ring:
        ring = [cell + d * SIZE + r for cell in ring for d, r in MOVES if not walls[cell + d * SIZE + r]]
        ring = [cell for cell in dict.fromkeys(ring) if cell not in steps]
        steps |= dict.fromkeys(ring, max(steps.values()) + 1)
    return steps
