"""What is recorded of the judged episodes: against evaluation, and one episode against a literal loop."""

from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from lepton_jax.agents.agent import Agent
from lepton_jax.config import Config, Hypers
from lepton_jax.engine import evaluation
from lepton_jax.engine.evaluation import Evaluator
from lepton_jax.engine.playback import Playback, play_back
from lepton_jax.engine.program import make_hypers, program_shape, strong
from lepton_jax.engine.setup import LevelSet, file_set, level_set, make_setup
from lepton_jax.envs.vector import VectorEnv
from lepton_jax.presets import from_preset
from lepton_jax.settings import overlay
from lepton_jax.validate import validate

LEVELS = 12
TINY = {
    "env": {"num_envs": 16, "levels": 32, "generator": "blocks"},
    "net": {"width": 8, "depth": 1},
    "replay": {"batch_size": 32, "sequence": 8, "burn_in": 4},
    "eval": {"episodes": LEVELS},
}  # fmt: skip
# Twelve times the same rooms: chance makes the episodes differ.
OPEN = "\n\n".join(["#######\n#S    #\n#     #\n#     #\n#  G  #\n#     #\n#######"] * LEVELS)
LOCKED = "\n\n".join(["#######\n#SK 2 #\n#     #\n#   ~~#\n###D###\n#  G  #\n#######"] * LEVELS)
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))


class Ready(NamedTuple):
    """A policy that has learned nothing, and what it is judged on."""

    env: VectorEnv
    agent: Agent
    agent_state: Any
    levels: LevelSet
    hypers: Hypers

    def recorded(self, which: Any = LEVELS) -> Playback:
        return play_back(self.env, self.agent, self.agent_state, self.levels, self.hypers, which)


def ready(preset: str = "quick", seed: int = 0, text: str | None = None, **changes: Any) -> Ready:
    config: Config = validate(overlay(overlay(from_preset(preset), TINY, "tiny"), changes, "test"))
    setup, hypers = make_setup(config), make_hypers(config, program_shape(config))
    init = lambda: setup.agent.init(jax.random.key(seed), setup.env.observation, setup.env.num_actions, hypers)
    if text is not None:
        env, levels = file_set(config, setup, text, "text")
    else:
        env, levels = setup.env, level_set(config, "test", LEVELS)
    return Ready(env, setup.agent, jax.jit(init)(), levels, hypers)


def agrees(what: Ready, found: Playback, which: Any = slice(None)) -> None:
    """Length, total and success are those of ``evaluation.play``, to the bit."""
    env, agent, key = what.env, what.agent, evaluation.evaluation_key()
    play = jax.jit(lambda state, worlds, hypers: evaluation.play(env, agent, state, worlds, key, hypers, LEVELS))
    judged = play(what.agent_state, what.levels.worlds, strong(what.hypers))
    np.testing.assert_array_equal(found.length, np.asarray(judged.length)[which])
    np.testing.assert_array_equal(found.total, np.asarray(judged.total)[which])
    if found.success is not None:
        np.testing.assert_array_equal(found.success, np.asarray(judged.success)[which])


def is_tidy(found: Playback) -> None:
    """The action is the greedy one, rewards add up, and after the end there is nothing."""
    after = np.arange(found.q.shape[1]) >= found.length[:, None]
    assert found.length.max() == found.q.shape[1]
    assert not found.q[after].any()
    assert not found.action[after].any()
    assert not found.reward[after].any()
    np.testing.assert_array_equal(found.action[~after], found.q[~after].argmax(-1))
    np.testing.assert_allclose(found.reward.sum(1), found.total, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def plain() -> Ready:
    return ready(seed=3, env={"size": 7, "observation": "full", "view": 0, "time_limit": 25, "step_cost": 0.01})


def test_an_episode_is_that_of_a_literal_loop(plain):
    found = plain.recorded()
    judged = Evaluator(plain.env, plain.agent, plain.hypers).each(plain.agent_state, plain.levels)
    np.testing.assert_array_equal(found.length, judged["mean_length"])
    np.testing.assert_array_equal(found.total, judged["mean_return"])
    np.testing.assert_array_equal(found.success, judged["success_rate"])
    is_tidy(found)
    q_values = jax.jit(lambda seen: plain.agent.q_values(plain.agent_state, (), seen, np.ones(1, bool))[0][0])
    for number in np.argsort(found.length)[[0, -1]]:  # one that arrived, and one that did not
        walls, cell, goal = (np.asarray(part)[number] for part in found.levels[:3])
        assert cell == found.cell[number, 0]
        for t in range(found.length[number]):
            here = np.zeros((3, 7, 7), plain.env.observation.dtype)
            here[0], here[1].flat[cell], here[2].flat[goal] = walls, 1, 1
            q = np.asarray(q_values(here[None]))
            np.testing.assert_allclose(found.q[number, t], q, atol=1e-5)
            assert found.action[number, t] == q.argmax()
            down, right = MOVES[q.argmax()]
            there = cell + down * 7 + right
            cell = cell if walls.flat[there] else there
            assert found.cell[number, t + 1] == cell
            assert found.reward[number, t] == pytest.approx((cell == goal) - 0.01, abs=1e-6)
        assert found.success[number] == (cell == goal)
        assert (found.cell[number, found.length[number] :] == cell).all()
    assert found.success.any()
    assert not found.success.all()
    assert found.heading is None
    assert found.held is None


def test_a_selection_is_what_it_is_among_all(plain):
    every, some = plain.recorded(), plain.recorded([7, 2])
    longest = every.length[[7, 2]].max()
    np.testing.assert_array_equal(some.q, every.q[[7, 2], :longest])
    np.testing.assert_array_equal(some.cell, every.cell[[7, 2], : longest + 1])
    np.testing.assert_array_equal(some.levels.walls, every.levels.walls[[7, 2]])
    agrees(plain, some, [7, 2])
    for wrong in ([LEVELS], [-1], [], 0):
        with pytest.raises(ValueError, match="numbers of test, 0 to 11"):
            plain.recorded(wrong)


def test_headings_keys_and_chance():
    """Turns change the heading and not the cell; the key is held from its cell on, for good."""
    world = {"size": 7, "lava": 0.2, "door": True, "goals": 2, "slip": 0.5, "actions": "oriented", "time_limit": 60}
    what = ready("minigrid", text=LOCKED, env=world)
    found = what.recorded()
    agrees(what, found)
    is_tidy(found)
    assert set(found.heading[:, 0]) == {1}  # east
    assert (np.diff(found.heading, axis=1) != 0).any()
    assert (np.diff(found.cell, axis=1) != 0).any()
    moved = np.diff(found.cell, axis=1) != 0
    ahead = np.array([-7, 1, 7, -1])[found.heading[:, 1:]]
    np.testing.assert_array_equal(np.diff(found.cell, axis=1)[moved], ahead[moved])
    on_key = found.cell == found.levels.key[:, None]
    np.testing.assert_array_equal(found.held, np.maximum.accumulate(on_key, axis=1))
    assert found.held.any()
    assert found.levels.others.shape == (LEVELS, 1)
    np.testing.assert_array_equal(found.levels.start, found.cell[:, 0])


def test_a_net_with_memory():
    view = {"size": 7, "observation": "egocentric", "view": 3, "occlusion": True, "time_limit": 20}
    what = ready(text=OPEN, env=view, net={"memory": "gru"})
    found = what.recorded()
    agrees(what, found)
    is_tidy(found)
    stuck = (np.diff(found.cell, axis=1) == 0) & (found.action == 2)
    assert stuck.any() or (np.diff(found.q, axis=1) != 0).any()


def test_a_world_without_maps():
    what = ready(env={"id": "CartPole-v1"})
    found = what.recorded()
    agrees(what, found)
    is_tidy(found)
    assert (found.levels, found.cell, found.heading, found.held, found.success) == (None,) * 5
    assert found.q.shape == (LEVELS, found.length.max(), 2)
    np.testing.assert_array_equal(found.total, found.length)  # it pays 1 a step
