"""Learning beside peers: our settings that are theirs, runs that are really made, and what becomes of their figures."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.peers import training
from bench.peers.places import Place
from bench.peers.registry import OURS, PEERS, SIDES
from bench.peers.rows import lines
from bench.peers.settings import LIKE, OWN, settings
from bench.peers.turns import Timed, interleave
from lepton_jax.agents import explore
from lepton_jax.engine.program import make_hypers, program_shape
from lepton_jax.validate import validate

HERE = Place(Path(sys.executable))
WORKER = """
from wire import Work

def prepare():
    calls = []
    return Work(lambda: calls.append(1), 1, lambda: {"calls": len(calls)}, once=True)
"""


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a script of a side by its name."""
    monkeypatch.syspath_prepend(str(SIDES.parent))
    monkeypatch.syspath_prepend(str(SIDES))
    return importlib.import_module


def test_every_learner_has_a_row_of_ours():
    for name, peer in PEERS.items():
        for task in peer.train.values():
            assert (SIDES / peer.script).is_file(), name
            assert task.like in OURS.train
    assert {task.like for peer in PEERS.values() for task in peer.train.values()} == LIKE.keys()
    assert OURS.train.keys() == LIKE.keys() | OWN.keys()


def test_ours_does_as_much_work_as_they_do():
    expected = {  # gradient steps an env-step, and transitions in each
        "as rejax DQN": (1.0, 256),
        "as rejax DQN, cartpole.yaml": (0.5, 100),
        "as rejax PQN": (16 / 4096, 256),
        "as rejax PQN, cartpole.yaml": (80 / 2048, 128),
        "as stable-baselines3 DQN": (0.25, 32),
        "as stable-baselines3 DQN, rl-zoo": (0.5, 64),
        "as cleanrl": (0.1, 128),
    }
    assert expected.keys() == LIKE.keys()
    for name, (work, batch) in expected.items():
        config = validate(settings(name, 4096))
        shape, agent = program_shape(config), config.agent
        assert shape.updates / shape.steps == work
        assert batch == (config.replay.batch_size if agent.kind == "dqn" else shape.steps // agent.minibatches)
        assert agent.n_step == 1
        assert agent.lr_schedule == "constant"


@pytest.mark.parametrize("name", [*LIKE, *OWN])
def test_the_score_is_looked_at_as_often_as_theirs(name: str, sides: Any):
    config = validate(settings(name, 4096))
    shape = program_shape(config)
    steps = shape.per_point * shape.per_segment * shape.steps
    assert 4096 <= steps < 4096 + shape.steps
    assert config.eval.episodes == sides("learning").EPISODES


@pytest.mark.parametrize("name", LIKE)
def test_epsilon_falls_with_theirs(name: str):
    config, like = settings(name, 4096), LIKE[name]
    shape = program_shape(config)
    hypers = make_hypers(config, shape)
    for age in np.linspace(0, 1.2 * like.falls / shape.steps, 7).astype(int):
        step = (shape.warmup + age) * shape.steps
        theirs = max(config.agent.eps_end, 1 - (1 - config.agent.eps_end) * step / like.falls)
        ours = explore.linear(age, hypers.eps_start, hypers.eps_end, hypers.eps_horizon)
        # Of the warm-up whole iterations are made.
        assert float(ours) == pytest.approx(theirs, abs=shape.steps / like.falls)


def test_our_side_learns_and_is_judged(sides: Any):
    learning, ours = sides("learning"), sides("ours_train")
    learner = ours.Learner(settings("as stable-baselines3 DQN", 512))
    assert learner.steps == 512
    work = learning.rate(learner)
    work.call()
    work.call()
    told = work.check()
    assert (told["env_steps"], told["gradient_steps"]) == (1024, 256)
    assert told["peak_bytes"] > 1e8
    assert told["transition_bytes"] >= 4 * 4 + 4
    trials = learning.trials(learner, 5.0, 60.0)  # no policy falls sooner
    trials.call()
    trials.call()
    reached = trials.check()
    assert (reached["seed"], reached["reached"]) == (2, True)
    assert reached["best"] >= 5
    assert reached["env_steps"] == 100 + 512
    never = learning.trials(learner, 501.0, 0.01)
    never.call()
    assert not never.check()["reached"]
    assert never.check()["seconds"] == 0.01


def test_greedy_episodes_are_played_to_their_end(sides: Any):
    pytest.importorskip("gymnasium")
    learning = sides("learning")
    balanced = learning.greedy(lambda seen: (seen[:, 2] + seen[:, 3] + 0.1 * seen[:, 1] > 0).astype(int))
    assert 475 < balanced <= learning.LIMIT
    assert 8 < learning.greedy(lambda seen: np.zeros(len(seen), int)) < 11


def test_a_loop_is_held_up_where_it_waits(sides: Any):
    learning, told = sides("learning"), []

    def loop():
        for number in range(3):
            told.append(number)
            held.wait()

    held = learning.Paused(loop)
    held.resume()
    assert told == [0]
    held.resume()
    assert told == [0, 1]
    held.resume()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="it came to its end"):
            held.resume()
    held = learning.Paused(loop)
    held.resume()
    held.stop()
    assert told == [0, 1, 2, 0]


def test_runs_that_differ_are_not_rehearsed(tmp_path: Path):
    (tmp_path / "worker.py").write_text(WORKER)
    (told,) = interleave({"a": (HERE, tmp_path / "worker.py", {})}, 2, warm=0)
    assert told.checks == ({"calls": 1}, {"calls": 2})


def test_a_learner_that_cannot_be_had_says_why():
    nowhere = Place(None, "cannot be installed")
    told = training.rows({"cleanrl": nowhere}, nowhere, quick=True)
    names = ["lepton_jax, as cleanrl", "cleanrl, dqn", "cleanrl, dqn_jax"]
    names += [f"{name} to 475" for name in (*names, *(f"lepton_jax, {name}" for name in OWN))]
    assert [row["name"] for row in told] == names
    assert {row["reason"] for row in told} == {"cannot be installed"}
    assert all("cannot be installed" in line for line in lines(told)[1:])


def _rates(*rates: float, updates: int) -> Timed:
    return Timed("", rates=rates, preparing=1.0, checks=({"env_steps": 1000, "gradient_steps": updates},))


def test_speeds_are_compared_where_the_work_is_the_same():
    ours, theirs = "lepton_jax, as cleanrl", "cleanrl, dqn"
    answers = {
        ours: ("lepton_jax", "as cleanrl", _rates(30.0, 50.0, updates=100)),
        theirs: ("cleanrl", "dqn", _rates(2.0, 4.0, updates=100)),
    }
    row = training._rate(theirs, answers)
    assert (row["n"], row["unit"], row["asked"], row["against"]) == (1, "env-steps/s", 10.0, "as cleanrl")
    assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == (40 / 3, 12.5, 15.0)
    assert row["check"]["gradient_steps/s"] == pytest.approx(0.3)
    assert "ratio" not in training._rate(ours, answers)
    _, told = lines([row])
    assert told.endswith("13.3 [12.5, 15] (as cleanrl, asked 10); 0.3 gradient steps/s")
    answers[theirs] = ("cleanrl", "dqn", _rates(2.0, 4.0, updates=200))
    row = training._rate(theirs, answers)
    assert row["reason"] == "ours did 0.1 gradient steps an env-step, it 0.2: no ratio"
    assert "ratio" not in row


def _runs(*seconds: float, cap: float = 60.0) -> Timed:
    checks = [{"reached": each < cap, "seconds": each, "best": 475.0 if each < cap else 90.0} for each in seconds]
    return Timed("", rates=tuple(1.0 for _ in seconds), preparing=1.0, checks=tuple(checks))


def test_a_score_that_most_seeds_never_reach_is_no_time():
    ours, own, theirs = "lepton_jax, as cleanrl", "lepton_jax, preset cartpole", "cleanrl, dqn"
    answers = {
        ours: ("lepton_jax", "as cleanrl", _runs(10.0, 20.0, 60.0)),
        theirs: ("cleanrl", "dqn", _runs(40.0, 60.0, 30.0)),
        own: ("lepton_jax", "preset cartpole", _runs(4.0, 5.0, 6.0)),
    }
    row = training._score(theirs, answers, 60.0)
    assert (row["name"], row["unit"], row["median"], row["high"]) == ("cleanrl, dqn to 475", "s", 40.0, 60.0)
    assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == (2.0, 0.5, 4.0)
    assert (row["like"]["against"], row["like"]["ratio"]) == ("preset cartpole", 8.0)
    answers[theirs] = ("cleanrl", "dqn", _runs(60.0, 60.0, 30.0))
    row = training._score(theirs, answers, 60.0)
    assert row["reason"] == "not in 60 s of training: at best 475"
    assert len(row["seeds"]) == 3
    answers[ours] = ("lepton_jax", "as cleanrl", _runs(60.0, 60.0, 60.0))
    answers[theirs] = ("cleanrl", "dqn", _runs(1.0, 1.0, 1.0))
    assert "ratio" not in training._score(theirs, answers, 60.0)
