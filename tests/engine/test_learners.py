"""Whole runs of every kind of learner: they end, they go on where they were cut, and their policies are judged."""

import json
from typing import Any

import jax
import numpy as np
import pytest

import lepton_jax
from lepton_jax import evaluate
from lepton_jax.config import Config, ConfigError
from lepton_jax.engine import policies
from lepton_jax.engine.run import Result
from lepton_jax.engine.setup import make_setup
from lepton_jax.presets import from_preset
from lepton_jax.settings import overlay
from lepton_jax.validate import validate

TINY = {
    "total_steps": 4096, "log_points": 4, "display": "quiet",
    "env": {"num_envs": 16, "levels": 32},
    "net": {"width": 8, "depth": 1, "channels": 4, "iterations": 3},
    "agent": {"lr_schedule": "constant", "epochs": 2, "minibatches": 4},
    "replay": {
        "capacity": 2048, "batch_size": 32, "collect": 4, "updates": 2, "warmup": 256, "sequence": 8, "burn_in": 4,
    },
    "eval": {"validation_levels": 8, "test_levels": 8},
}  # fmt: skip
PARTIAL = {"observation": "egocentric", "view": 5, "occlusion": True}


def tiny(kind: str = "dqn", **changes: Any) -> Config:
    config = overlay(from_preset("quick", kind), TINY, "tiny")
    return validate(overlay(config, changes, "test"))


@pytest.mark.parametrize(
    ("kind", "memory", "shards", "envs"),
    [("pqn", "gru", 1, 16), ("dqn", "lstm", 2, 1)],
)
def test_a_learner_with_memory_goes_on_where_it_was_cut(tmp_path, kind, memory, shards, envs):
    config: dict[str, Any] = {"env": PARTIAL | {"num_envs": envs}, "net": {"memory": memory}, "schedule_steps": 4096}
    config |= {"shards": shards}
    whole = lepton_jax.run(tiny(kind, run_dir=str(tmp_path / "whole"), **config))
    lepton_jax.run(tiny(kind, run_dir=str(tmp_path / "cut"), **config | {"total_steps": 2048}))
    cut = lepton_jax.resume(tmp_path / "cut", total_steps=4096)
    jax.tree.map(np.testing.assert_array_equal, whole.final, cut.final)
    metrics = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "cut")]
    assert metrics[0] == metrics[1]
    assert whole.summary["q_error"] is None  # values of histories are not compared with those of states
    assert np.isfinite(whole.summary["regret"])
    assert set(whole.final["params"]["torso"]) == {"encoder", "cell"}
    said = evaluate.evaluate(
        config_of(whole), policies.Place(whole.folder / "policy" / "final"), "test", None, "", config_of(whole)
    )
    assert said["success_rate"] == whole.summary["success_rate"]
    assert said["mean_return"] == whole.summary["mean_return"]


def config_of(result: Result) -> Config:
    return policies.read_run(result.folder)


def test_who_thinks_can_think_longer_about_larger_mazes(tmp_path, capsys):
    folder = lepton_jax.run(tiny("pqn", run_dir=str(tmp_path / "run"), net={"kind": "think"})).folder

    def judge(*flags: str) -> dict[str, float]:
        evaluate.main([str(folder), "--json", *flags])
        return json.loads(capsys.readouterr().out)

    trained, same = judge(), judge("--size", "7", "--iterations", "3")
    assert trained == same
    larger = judge("--size", "9", "--iterations", "6")
    assert larger["q_error"] != trained["q_error"]
    with pytest.raises(ConfigError, match=r"net\.iterations = 0"):
        evaluate.main([str(folder), "--iterations", "0"])
    with pytest.raises(ConfigError, match="--size: is for the suites"):
        evaluate.main([str(folder), "--size", "9", "--suite", "named"])


def test_others_play_what_their_network_takes(tmp_path):
    result = lepton_jax.run(tiny("pqn", run_dir=str(tmp_path / "run"), agent={"symmetry": True}))
    with pytest.raises(ConfigError, match=r"--size 9: observations of shape \(3, 9, 9\), but the network takes"):
        evaluate.main([str(result.folder), "--size", "9"])
    with pytest.raises(ConfigError, match=r"--iterations: .* trained with net.kind = 'mlp'"):
        evaluate.main([str(result.folder), "--iterations", "9"])


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("dqn", {"agent": {"symmetry": True}, "env": {"observation": "vector"}}, "offers no symmetries"),
        ("dqn", {"net": {"kind": "think"}, "env": {"observation": "centred"}}, "env.observation = 'centred' .* 'full'"),
        ("dqn", {"net": {"kind": "think"}, "env": {"actions": "oriented"}}, "env.actions = 'oriented'"),
        ("dqn", {"agent": {"munchausen": True}, "net": {"memory": "gru"}}, "agent.lam = 0.65 .* 0 with"),
        ("pqn", {"agent": {"symmetry": True}, "env": {"num_envs": 4}}, "env.num_envs = 4: .* 8 symmetries"),
        ("dqn", {"agent": {"symmetry": True}, "net": {"memory": "gru"}}, "agent.symmetry = True"),
        ("dqn", {"agent": {"munchausen": True, "n_step": 2}}, "agent.n_step = 2 .* 1 with agent.munchausen"),
        ("dqn", {"net": {"memory": "gru"}, "replay": {"sequence": 6}}, "multiple of replay.collect = 4"),
        ("dqn", {"net": {"memory": "gru"}, "replay": {"batch_size": 36}}, "multiple of 8, replay.sequence"),
        ("dqn", {"net": {"memory": "gru"}, "replay": {"capacity": 200}}, "replay.capacity = 200"),
        ("pqn", {"agent": {"minibatches": 3}}, "divides env.num_envs x replay.collect = 64"),
        ("pqn", {"agent": {"minibatches": 32}, "net": {"memory": "gru"}}, "divides env.num_envs"),
        ("pqn", {"agent": {"munchausen": True}}, "agent.munchausen = True .* for dqn"),
    ],
)
def test_what_does_not_fit_together_is_refused(kind, changes, words):
    with pytest.raises(ConfigError, match=words):
        make_setup(tiny(kind, **changes))


@pytest.mark.parametrize("name", ["cartpole", "acrobot", "breakout"])
def test_every_kind_has_its_settings_in_every_preset(name):
    dqn, pqn = from_preset(name), from_preset(name, "pqn")
    assert (dqn.agent.kind, pqn.agent.kind) == ("dqn", "pqn")
    assert pqn.net.layer_norm
    assert dqn.env.id == pqn.env.id
    assert dqn.replay.collect < pqn.replay.collect
