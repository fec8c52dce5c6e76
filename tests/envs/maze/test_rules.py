from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest

from lepton_jax.envs.maze import rules as maze_rules
from lepton_jax.envs.maze.level import Level, stack
from lepton_jax.envs.maze.rules import Rules
from lepton_jax.envs.maze.text import from_str

begin = jax.jit(maze_rules.begin, static_argnums=1)
transition = jax.jit(maze_rules.transition, static_argnums=4)
NORTH, EAST, SOUTH, WEST = range(4)


class Hypers(NamedTuple):
    goal_reward: float = 1.0
    step_cost: float = 0.0
    slip: float = 0.0


def maps(seed: int, height: int, width: int, share: float, count: int) -> Level:
    """Random maps whose start lies within five steps of the goal, where any cell does."""
    rng = np.random.default_rng(seed)
    walls = [plain.random_walls(rng, height, width, share) for _ in range(count)]
    cells = []
    for one in walls:
        start, goal = plain.two_cells(rng, one)
        steps = plain.distances(one, goal).reshape(-1)
        near = np.flatnonzero((steps > 0) & (steps <= 5))
        cells.append((rng.choice(near) if len(near) else start, goal))
    start, goal = np.array(cells, np.int32).T
    return Level(np.stack(walls), start, goal)


@pytest.mark.parametrize(("height", "width"), [(3, 4), (11, 4), (17, 18), (21, 21), (6, 40)])
def test_begin_and_back(height, width):
    rules = Rules(height, width, time_limit=10)
    level = maps(0, height, width, 0.0 if height == 3 else 0.3, 6)
    state = begin(level, rules)
    count = len(level.goal)
    assert state.free.dtype == jnp.uint32
    assert state.free.shape == (-(-(height - 2) * (width - 1) // 32), count)
    assert state.site.dtype == state.goal.dtype == (jnp.uint8 if (height - 2) * (width - 1) <= 256 else jnp.uint16)
    assert state.time.dtype == jnp.uint16
    assert not state.time.any()
    back = jax.jit(
        lambda s: (maze_rules.walls_of(s.free, rules), *(maze_rules.cell_of(x, rules) for x in (s.site, s.goal)))
    )
    for found, expected in zip(back(state), (level.walls, level.start, level.goal), strict=True):
        np.testing.assert_array_equal(found, expected)
    for number in range(count):
        np.testing.assert_array_equal(
            plain.unpack(np.asarray(state.free)[:, number], height, width), level.walls[number]
        )
        assert plain.site(int(level.start[number]), width) == state.site[number]


@pytest.mark.parametrize(
    ("height", "width", "share", "slip", "step_cost"),
    [
        (5, 5, 0.0, False, 0.0),
        (13, 13, 0.0, True, 0.0),
        (4, 19, 0.2, True, 0.25),
        (21, 21, 0.3, True, 0.01),
        (6, 36, 0.1, False, 0.5),
    ],
)
def test_transition_against_a_literal_maze(height, width, share, slip, step_cost):
    count, limit = 6, 40
    rules = Rules(height, width, limit, slip=slip)
    hypers = Hypers(goal_reward=2.0, step_cost=step_cost, slip=0.3)
    level = maps(1, height, width, share, count)
    walls, goals = np.asarray(level.walls), np.asarray(level.goal)
    first = jax.tree.map(np.asarray, begin(level, rules))
    state = first
    cells, clocks = [int(cell) for cell in level.start], [0] * count
    rng = np.random.default_rng(2)
    seen = {"goal": 0, "late": 0, "slipped": 0, "blocked": 0}
    for _ in range(400):
        actions = rng.integers(0, 4, count)
        draws = rng.integers(0, 2**32, count, np.uint32) if slip else None
        state, reward, terminated, truncated, success = transition(state, actions, draws, hypers, rules)
        np.testing.assert_array_equal(success, terminated)
        assert reward.dtype == jnp.float32
        assert terminated.dtype == truncated.dtype == bool
        sites, times = np.asarray(state.site), np.asarray(state.time)
        for n in range(count):
            action = int(actions[n])
            taken = action if draws is None else plain.slipped(action, int(draws[n]), hypers.slip)
            following = plain.move(walls[n], cells[n], taken)
            seen["slipped"] += taken != action
            seen["blocked"] += following == cells[n]
            cells[n], clocks[n] = following, clocks[n] + 1
            at_goal = following == goals[n]
            late = clocks[n] >= limit and not at_goal
            assert (sites[n], times[n]) == (plain.site(following, width), clocks[n])
            assert (bool(terminated[n]), bool(truncated[n])) == (at_goal, late)
            assert float(reward[n]) == pytest.approx((2.0 if at_goal else 0.0) - step_cost)
            seen["goal"] += at_goal
            seen["late"] += late
            if at_goal or late:  # back to the start
                cells[n], clocks[n] = int(level.start[n]), 0
        ended = np.asarray(terminated | truncated)
        state = jax.tree.map(lambda old, new, ended=ended: np.where(ended, old, new), first, state)
    np.testing.assert_array_equal(state.free, first.free)
    assert seen["goal"] > 0
    assert seen["late"] > 0
    assert seen["blocked"] > 0
    assert (seen["slipped"] > 0) == slip


def corridor(limit: int, slip: bool = False) -> tuple[maze_rules.State, Rules]:
    rules = Rules(3, 6, limit, slip=slip)
    return begin(stack([from_str("######\n#S  G#\n######")]), rules), rules


@pytest.mark.parametrize("limit", [2, 3, 4])
def test_goal_on_the_last_step_terminates(limit):
    state, rules = corridor(limit)
    flags = []
    for _ in range(3):
        state, reward, terminated, truncated, _ = transition(state, jnp.array([EAST]), None, Hypers(), rules)
        flags.append((bool(terminated[0]), bool(truncated[0]), float(reward[0])))
    before = [(False, False, 0.0), (False, limit <= 2, 0.0)]
    assert flags == [*before, (True, False, 1.0)]


def test_time_runs_out_against_a_wall():
    state, rules = corridor(2)
    flags = []
    for action in (NORTH, WEST):
        state, reward, terminated, truncated, _ = transition(
            state, jnp.array([action]), None, Hypers(step_cost=0.5), rules
        )
        flags.append((bool(terminated[0]), bool(truncated[0]), float(reward[0]), int(state.site[0])))
    assert flags == [(False, False, -0.5, 0), (False, True, -0.5, 0)]


@pytest.mark.parametrize(
    ("slip", "draw", "moved"),
    [(0.0, 1, False), (0.25, (2**22 - 1) << 8 | 1, True), (0.25, 2**30 | 1, False), (1.0, 2**32 - 3, True)],
)
def test_the_draw_decides_at_its_upper_24_bits(slip, draw, moved):
    """2**22 of the 2**24 values of the upper bits slip at 0.25; the lowest two bits then say east."""
    state, rules = corridor(9, slip=True)
    reached, *_ = transition(state, jnp.array([WEST]), jnp.array([draw], jnp.uint32), Hypers(slip=slip), rules)
    assert int(reached.site[0]) == int(moved)


def test_slips_are_as_frequent_as_asked():
    rules = Rules(5, 5, 9, slip=True)
    level = from_str("#####\n#S  #\n#   #\n#  G#\n#####")._replace(start=np.int32(12))
    state = begin(stack([level] * 20_000), rules)
    draws = jax.random.bits(jax.random.key(0), (20_000,), jnp.uint32)
    reached, *_ = transition(state, jnp.zeros(20_000, jnp.int32), draws, Hypers(slip=0.4), rules)
    found = np.bincount(np.asarray(reached.site), minlength=12)
    share = {1: 0.7, 6: 0.1, 9: 0.1, 4: 0.1}  # north, east, south, west of site 5
    assert found.sum() == sum(found[site] for site in share)
    for site, expected in share.items():
        assert abs(found[site] / 20_000 - expected) < 4 * np.sqrt(expected * (1 - expected) / 20_000)
