"""What a policy thinks of every cell, against Q* itself and against loops over cells."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest

from lepton_jax.agents.agent import Agent
from lepton_jax.config import Hypers
from lepton_jax.engine import insight
from lepton_jax.engine.playback import play_back
from lepton_jax.engine.setup import LevelSet
from lepton_jax.envs.maze import oracle, world
from lepton_jax.envs.maze.level import Level, stack
from lepton_jax.envs.maze.rules import Rules
from lepton_jax.envs.maze.text import from_text

GAMMA, COST, SIDE = 0.9, 0.05, 7
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
LEVELS = """
#######
#S    #
# ### #
# #   #
# # # #
#   #G#
#######

#######
#  #  #
#     #
## # ##
# S # #
# # G #
#######

#######
#S#  G#
# # ###
# #   #
# ### #
#     #
#######
"""


HYPERS = Hypers(**dict.fromkeys(Hypers._fields, 0.0) | {"gamma": GAMMA, "goal_reward": 1.0, "step_cost": COST})


def make_agent(values: Any) -> Agent:
    """An agent that does not learn, with action values ``values(observation)``."""
    q = lambda state, carry, seen, first: (values(seen), carry)
    none = lambda *args: None
    return Agent(none, lambda batch: (), q, none, none, "transitions", (), True, none, none)


def true_values(seen: jax.Array) -> jax.Array:
    """Q* of what is seen: the level is read off the planes and solved."""
    flat = seen.reshape(seen.shape[0], 3, -1)
    agent, goal = jnp.argmax(flat[:, 1], axis=1), jnp.argmax(flat[:, 2], axis=1)
    solution = oracle.solve(Level(seen[:, 0] == 1, agent, goal), GAMMA, 0.0, COST, 1.0)
    return solution.q.reshape(seen.shape[0], -1, 4)[jnp.arange(seen.shape[0]), agent]


def by_cell(seen: jax.Array) -> jax.Array:
    """Values that know nothing but the cell: the best action at cell c is (7 c + 3) % 4, worth c / 100."""
    cell = jnp.argmax(seen[:, 1].reshape(seen.shape[0], -1), axis=1)
    return jax.nn.one_hot((7 * cell + 3) % 4, 4) * (cell[:, None] / 100) - (1 - jax.nn.one_hot((7 * cell + 3) % 4, 4))


@pytest.fixture(scope="module")
def levels() -> Level:
    return stack(from_text(LEVELS, "test"))


def solved(levels: Level, **rules: Any) -> Any:
    """A world, the levels for it, and their exact solution."""
    given = Rules(SIDE, SIDE, **{"time_limit": 10, "observation": "full", **rules})
    env, chosen = world.make_env(given, 3), LevelSet("test", world.make_pool(levels, given), 3, None)
    return env, chosen, insight.solve(env, chosen, HYPERS)


def look(values: Any, levels: Level, which: Any = 3, **rules: Any) -> insight.Insight:
    env, chosen, exact = solved(levels, **rules)
    return insight.look(env, make_agent(values), (), chosen, exact, which)


def distances(walls: np.ndarray, goal: int) -> dict[int, int]:
    """Steps to the goal from every cell that can reach it, by breadth-first search."""
    steps, ring = {goal: 0}, [goal]
    while ring:
        near = [cell + d * SIDE + r for cell in ring for d, r in MOVES]
        ring = [cell for cell in dict.fromkeys(near) if not walls[cell] and cell not in steps]
        steps |= dict.fromkeys(ring, max(steps.values()) + 1)
    return steps


def test_who_knows_the_truth_is_never_wrong(levels):
    found = look(true_values, levels)
    assert found.counts.sum() > 40
    assert not insight.wrong(found).any()
    np.testing.assert_allclose(found.q[found.counts], found.exact[found.counts], atol=1e-6)
    shown = insight.maps(found)
    np.testing.assert_allclose(shown.value, shown.exact, atol=1e-6)
    assert np.take_along_axis(shown.best, np.maximum(shown.way, 0)[..., None].astype(int), -1)[shown.way >= 0].all()


def test_every_cell_as_a_loop_sees_it(levels):
    """Chosen and out of order: levels 2 and 0."""
    found = look(by_cell, levels, [2, 0])
    shown, lost, wrong = insight.maps(found), insight.given_away(found), insight.wrong(found)
    np.testing.assert_array_equal(found.numbers, [2, 0])
    value = lambda d: GAMMA ** (d - 1) - COST * sum(GAMMA**k for k in range(d)) if d else 0.0
    mistakes, give = 0, []
    for row, number in enumerate((2, 0)):
        walls, goal = np.asarray(levels.walls[number]).reshape(-1), int(levels.goal[number])
        steps = distances(walls, goal)
        for cell in range(SIDE * SIDE):
            place = (row, cell // SIDE, cell % SIDE)
            assert found.distance[place] == steps.get(cell, -1)
            if steps.get(cell, 0) == 0:
                assert np.isnan(shown.value[place])
                assert np.isnan(shown.exact[place])
                assert shown.way[place] == -1
                assert not shown.best[place].any()
                assert not shown.wrong[place]
                continue
            after = [cell + d * SIDE + r for d, r in MOVES]
            after = [cell if walls[there] else there for there in after]
            best = [action for action, there in enumerate(after) if steps[there] == steps[cell] - 1]
            chosen = (7 * cell + 3) % 4
            assert shown.value[place] == pytest.approx(cell / 100)
            assert shown.exact[place] == pytest.approx(value(steps[cell]), abs=1e-6)
            assert shown.way[place] == chosen
            assert np.flatnonzero(shown.best[place]).tolist() == best
            assert shown.wrong[place] == (chosen not in best)
            mistakes += chosen not in best
            give.append(value(steps[cell]) - (GAMMA * value(steps[after[chosen]]) + (steps[after[chosen]] == 0) - COST))
    assert wrong.sum() == mistakes > 5
    assert lost.sum() == pytest.approx(sum(give), abs=1e-5)


def test_who_turns_is_shown_with_the_best_heading(levels):
    """Where an oriented agent looks the right way, the best action is forward: its way leads one step nearer."""
    found = look(lambda seen: jnp.zeros((seen.shape[0], 3)).at[:, 2].set(1.0), levels,
                 observation="egocentric", view=3, actions="oriented")  # fmt: skip
    shown = insight.maps(found)
    assert found.heading is not None
    assert found.counts.shape[1] == 4 * 5 * 6
    # In a tree: elsewhere a longer way with fewer turns may be the better one.
    steps = distances(np.asarray(levels.walls[2]).reshape(-1), int(levels.goal[2]))
    for cell, d in steps.items():
        place = (2, cell // SIDE, cell % SIDE)
        if d:
            assert shown.way[place] in np.flatnonzero(shown.best[place])
            down, right = MOVES[shown.way[place]]
            assert steps[cell + down * SIDE + right] == d - 1
            assert not shown.wrong[place]
    assert insight.wrong(found).any()  # in other headings it should have turned
    turned = look(lambda seen: jnp.zeros((seen.shape[0], 3)).at[:, 0].set(1.0), levels,
                  observation="egocentric", view=3, actions="oriented")  # fmt: skip
    left = insight.maps(turned)
    known = shown.way >= 0
    np.testing.assert_array_equal(left.way[known], np.array([3, 0, 1, 2])[shown.way[known]])  # west of north, and so on
    assert left.wrong[known].all()


def test_rounding_is_no_mistake():
    """Two states of one level: actions that differ in their last digits are as good, those that lose 0.1% are not."""
    exact = np.array([[[0.5, 0.5 - 2e-5, 0.5 - 5e-4], [0.01, 0.01 - 1e-6, 0.01 - 1e-5]]], np.float32)
    one = np.ones((1, 2))
    told = [
        insight.wrong(insight.Insight(one[0], np.eye(3)[[[action] * 2]], exact, one > 0, one, None, one))[0].tolist()
        for action in range(3)
    ]
    assert told == [[False, False], [False, False], [True, True]]


def test_regret_is_that_of_the_episodes(levels):
    """Of two levels by hand: who always goes east never arrives; the exact agent loses nothing."""
    env, chosen, exact = solved(levels)
    east = make_agent(lambda seen: jax.nn.one_hot(jnp.ones(seen.shape[0], int), 4))
    played = play_back(env, east, (), chosen, HYPERS, 3)
    found = insight.regrets(played, np.array([0.5, 0.25, 1.0], np.float32), GAMMA)
    paid = COST * sum(GAMMA**k for k in range(10))
    np.testing.assert_allclose(found, np.array([0.5, 0.25, 1.0]) + paid, atol=1e-5)
    played = play_back(env, make_agent(true_values), (), chosen, HYPERS, 3)
    start = np.asarray(exact.start_value)
    reached = played.success
    assert reached is not None
    np.testing.assert_allclose(insight.regrets(played, start, GAMMA)[reached], 0.0, atol=1e-5)


def test_a_world_without_a_solution_is_refused():
    env = probes.make_env(probes.truncation(5))
    with pytest.raises(ValueError, match="has no exact solution"):
        insight.solve(env, LevelSet("test", (), 3, None), HYPERS)
