from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest

from lepton_jax.envs.maze import generate, oracle
from lepton_jax.envs.maze.level import Level
from lepton_jax.envs.maze.spec import MazeSpec
from lepton_jax.envs.maze.text import from_str

distances = jax.jit(oracle.distances)
solve = jax.jit(oracle.solve)


def mazes(seed: int, size: int, braid: float, count: int) -> Level:
    keys = jax.random.split(jax.random.key(seed), count)
    return jax.tree.map(
        np.asarray, jax.jit(jax.vmap(generate.level, (0, None)), static_argnums=1)(keys, MazeSpec(size, braid))
    )


def random_maps(seed: int, height: int, width: int, share: float, count: int) -> Level:
    """Maps on which start and goal need not be joined."""
    rng = np.random.default_rng(seed)
    walls = [plain.random_walls(rng, height, width, share) for _ in range(count)]
    cells = np.array([plain.two_cells(rng, one) for one in walls], np.int32)
    return Level(np.stack(walls), cells[:, 0], cells[:, 1])


def check_distances(level: Level) -> np.ndarray:
    found = np.asarray(distances(level.walls, level.goal))
    assert found.dtype == np.int16
    expected = np.stack(
        [plain.distances(walls, int(goal)) for walls, goal in zip(level.walls, level.goal, strict=True)]
    )
    np.testing.assert_array_equal(found, expected)
    return found


@pytest.mark.parametrize(("size", "braid"), [(5, 0.0), (13, 0.4), (35, 0.0)])
def test_distances_in_mazes(size, braid):
    found = check_distances(mazes(0, size, braid, 6))
    assert found.max() > size // 2


@pytest.mark.parametrize(
    ("height", "width", "share"), [(3, 9, 0.0), (12, 7, 0.5), (6, 40, 0.35), (37, 70, 0.4), (3, 66, 0)]
)
def test_distances_on_random_maps(height, width, share):
    found = check_distances(random_maps(1, height, width, share, 8))
    if share:
        walls = random_maps(1, height, width, share, 8).walls
        assert (found[~walls] < 0).any()  # some cells are cut off, and say so


def test_distances_of_one_level_and_of_more_axes():
    level = mazes(2, 9, 0.1, 6)
    batch = distances(level.walls, level.goal)
    for number in range(6):
        np.testing.assert_array_equal(distances(level.walls[number], level.goal[number]), batch[number])
    grid = distances(level.walls.reshape(2, 3, 9, 9), level.goal.reshape(2, 3))
    np.testing.assert_array_equal(grid, np.asarray(batch).reshape(2, 3, 9, 9))


def slow_q(walls: np.ndarray, goal: int, gamma: float, slip: float, step_cost: float, goal_reward: float) -> np.ndarray:
    """Tabular value iteration in float64 over an explicit transition table: float64 (height * width, 4)."""
    reachable = np.flatnonzero((plain.distances(walls, goal).reshape(-1) >= 0) & (np.arange(walls.size) != goal))
    reached = np.array([[plain.move(walls, int(cell), action) for action in range(4)] for cell in reachable])
    chance = np.full((4, 4), slip / 4) + (1 - slip) * np.eye(4)  # chosen action, action taken
    q = np.zeros((walls.size, 4))
    for _ in range(200_000):
        value = q.max(axis=1)
        value[goal] = 0
        taken = np.where(reached == goal, goal_reward, 0.0) - step_cost + gamma * value[reached]
        updated = taken @ chance.T
        moved = np.abs(updated - q[reachable]).max()
        q[reachable] = updated
        if moved < 1e-12:
            return q
    raise AssertionError("no convergence")


@pytest.mark.parametrize(
    ("gamma", "slip", "step_cost", "goal_reward"),
    [
        (0.99, 0.0, 0.0, 1.0),
        (0.99, 0.1, 0.0, 1.0),
        (0.9, 0.5, 0.02, 3.0),
        (0.95, 1.0, 0.1, 1.0),
        (1.0, 0.0, 0.01, 1.0),
        (1.0, 0.3, 0.05, 1.0),
        (0.0, 0.2, 0.1, 1.0),
        (0.97, 0.2, 1.0, 0.0),
    ],
)
def test_q_star(gamma, slip, step_cost, goal_reward):
    for level in (mazes(3, 9, 0.15, 3), random_maps(4, 7, 12, 0.35, 3)):
        found = solve(level, gamma, slip, step_cost, goal_reward)
        assert found.q.dtype == jnp.float32
        np.testing.assert_array_equal(found.distance, distances(level.walls, level.goal))
        for number in range(3):
            expected = slow_q(level.walls[number], int(level.goal[number]), gamma, slip, step_cost, goal_reward)
            bound = 2e-5 * max(1.0, np.abs(expected).max())
            np.testing.assert_allclose(np.asarray(found.q[number]).reshape(-1, 4), expected, rtol=0, atol=bound)


def test_q_star_without_slip_is_a_power_of_the_discount():
    level = mazes(5, 13, 0.0, 4)
    found = solve(level, 0.99, 0.0, 0.0, 1.0)
    distance = np.asarray(found.distance).astype(float)
    value = np.asarray(found.q).max(axis=-1)
    free = distance > 0
    np.testing.assert_allclose(value[free], 0.99 ** (distance[free] - 1), rtol=1e-5)
    assert not value[~free].any()


def test_q_star_of_a_corridor_by_hand():
    level = from_str("#####\n#S G#\n#####")
    q = np.asarray(solve(level, 0.5, 0.0, 0.25, 2.0).q)
    # At the cell beside the goal: in for 2 - 0.25; against a wall: -0.25 + 0.5 * 1.75; back to the start, whose best
    # is -0.25 + 0.5 * 1.75 = 0.625, for -0.25 + 0.5 * 0.625.
    np.testing.assert_allclose(q[1, 2], [0.625, 1.75, 0.625, 0.0625], rtol=1e-6)
    np.testing.assert_allclose(q[1, 1], [0.0625, 0.625, 0.0625, 0.0625], rtol=1e-6)
    assert not q[1, 3].any()


def test_shortest_path():
    for size, braid in ((7, 0.0), (13, 0.3)):
        one = jax.tree.map(lambda leaf: np.asarray(leaf)[0], mazes(6, size, braid, 1))
        path = oracle.shortest_path(one)
        assert (path[0], path[-1]) == (int(one.start), int(one.goal))
        assert len(path) - 1 == plain.distances(np.asarray(one.walls), path[-1]).reshape(-1)[path[0]]
        for before, after in pairwise(path):
            assert after in {plain.move(np.asarray(one.walls), before, action) for action in range(4)} - {before}


def test_shortest_path_prefers_north_then_east():
    assert oracle.shortest_path(from_str("#####\n#  G#\n#S  #\n#####")) == [11, 6, 7, 8]
