"""A graft as a user makes it: a run, a sweep and its lanes begin from another run; what they are then."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from bench.flip import tiny
from lepton_jax import evaluate, graft, inspect, measure, sweep, train
from lepton_jax.config import ConfigError
from lepton_jax.engine import checkpoint
from lepton_jax.engine.folder import RunFolder
from lepton_jax.engine.integrity import describe
from lepton_jax.engine.launch import begin, go_on
from lepton_jax.engine.program import make_hypers, make_program
from lepton_jax.engine.run import go
from lepton_jax.engine.setup import make_setup
from lepton_jax.settings import to_toml
from lepton_jax.transfer import asking
from lepton_jax.transfer.graft import make_graft
from lepton_jax.transfer.pairs import PAIRS


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graft") / "source"
    go(begin(tiny(path)))
    return path


def leaves(path: Path) -> dict[str, str]:
    return {name: leaf["sha256"] for name, leaf in describe(path)["leaves"].items()}


def settings(path: Path, seed: int = 5) -> list[str]:
    config = dataclasses.replace(tiny(path), seed=seed, run_dir="", display="quiet", shards=1)
    file = path.parent / f"{path.name}.toml"
    file.write_text(to_toml(config))
    return ["--config", str(file)]


def test_values_are_bitwise_the_source_s_right_after_the_graft(source: Path):
    config = dataclasses.replace(tiny(source), seed=5)
    plan, name = asking.asked_for(str(source))
    setup = make_setup(config)
    program = make_program(config, setup.env, setup.agent, setup.shards)
    hypers = make_hypers(config, program.shape)
    given, read = make_graft(plan, config, name).apply()
    state = program.init(jax.random.key(5), jax.random.key(0), hypers, given)
    policy, _ = checkpoint.read(source / "policy" / "final", setup.agent.policy(state.agent_state))
    probe = jax.random.bernoulli(jax.random.key(1), 0.5, (64, *setup.env.observation.shape))
    probe = probe.astype(setup.env.observation.dtype)
    values = lambda state: setup.agent.q_values(state, (), probe, np.ones(64, bool))[0]
    theirs = values(setup.agent.with_policy(state.agent_state, policy))
    assert np.array_equal(values(state.agent_state), theirs)
    fresh = program.init(jax.random.key(5), jax.random.key(0), hypers)
    assert not np.array_equal(values(fresh.agent_state), theirs)
    same = jax.tree.map(np.array_equal, state.agent_state.target, state.agent_state.params)
    assert all(jax.tree.leaves(same))
    assert read["bytes"] == sum(leaf["bytes"] for leaf in describe(source / "policy" / "final")["leaves"].values())


def test_a_graft_of_nothing_is_the_run_that_begins_at_random(source: Path, tmp_path: Path):
    (tmp_path / "none.toml").write_text(f'source = "{source}"\nignore = [".*"]\n[rest]\n')
    flags = settings(tmp_path / "run")
    train.main([*flags, "--run-dir", str(tmp_path / "plain")])
    train.main([*flags, "--run-dir", str(tmp_path / "grafted"), "--graft", str(tmp_path / "none.toml")])
    assert leaves(tmp_path / "plain/policy/final") == leaves(tmp_path / "grafted/policy/final")
    lines = [(tmp_path / run / "metrics.jsonl").read_text().splitlines() for run in ("plain", "grafted")]
    assert lines[1][1:] == lines[0]
    first = json.loads(lines[1][0])
    assert first["env_steps"] == 0
    assert "validation/success_rate" in first


def test_lanes_are_grafted_as_runs_are_and_a_chain_is_told(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    flags = settings(tmp_path / "run", seed=5)
    swept = tmp_path / "swept"
    sweep.main([*flags, "--graft", str(source), "--seeds", "2", "--run-dir", str(swept)])
    train.main(["--config", str(swept), "--lane", "0", "--run-dir", str(tmp_path / "alone")])
    lane = {name: digests[0] for name, digests in leaves(swept / "g0/policy/final").items()}
    assert lane == leaves(tmp_path / "alone/policy/final")
    # One lane out of it, below a new head that is trained alone.
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'source = "swept"\nlane = 1\nignore = ["params/head/.*"]\n'
        '[[rules]]\ntarget = "params/torso/(.*)"\nsource = "params/torso/\\\\1"\nfrozen = true\n'
        '[[rules]]\ntarget = "params/head/.*"\n'
    )
    last = tmp_path / "last"
    train.main([*flags, "--graft", str(plan), "--run-dir", str(last)])
    before, after = leaves(swept / "g0/policy/final"), leaves(last / "policy/final")
    assert all(after[name] == before[name][1] for name in after if "torso" in name)
    assert all(after[name] != before[name][1] for name in after if "head" in name)
    capsys.readouterr()
    graft.main(["lineage", str(last)])
    told = capsys.readouterr().out
    assert [str(swept) in line for line in told.splitlines()] == [True, False]
    assert str(source) in told
    inspect.main([str(last)])
    assert told.splitlines()[0] in capsys.readouterr().out


def test_adapters_go_on_from_a_checkpoint_and_are_judged_from_it(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    plan = tmp_path / "plan.toml"
    rule = '[[rules]]\ntarget = "params/{0}/(.*)"\nsource = "params/{0}/\\\\1"\n'
    plan.write_text(f'source = "{source}"\n{rule.format("torso")}rank = 2\n{rule.format("head")}')
    flags, run = settings(tmp_path / "run"), tmp_path / "low"
    train.main([*flags, "--graft", str(plan), "--run-dir", str(run)])
    folder = RunFolder(run)
    final = leaves(run / "policy/final")
    assert not any("low_rank" in name for name in final)
    capsys.readouterr()
    evaluate.main([str(run), "--policy", "latest", "--json"])
    latest = json.loads(capsys.readouterr().out)
    evaluate.main([str(run), "--json"])
    assert latest == json.loads(capsys.readouterr().out)
    # As if it had been killed after the last checkpoint, whose source has gone since.
    source_gone = describe(folder.saved()[0])["graft"]
    assert source_gone["source"]["path"] == str(source)
    folder.summary.unlink()
    launch = go_on(run)
    assert launch.origin is not None
    go(launch)
    assert leaves(run / "policy/final") == final


def test_what_does_not_fit_is_refused_and_nothing_written(source: Path, tmp_path: Path):
    flags = settings(tmp_path / "run")
    for extra, words in (
        (["--graft", str(source), "--net.width", "24"], "params/torso/Dense_0"),
        (["--graft", str(tmp_path / "nowhere")], "no such file or folder"),
        (["--graft-lane", "1"], "go with --graft"),
        (["--graft", str(source), "--graft-lane", "1"], "is no sweep"),
    ):
        with pytest.raises(ConfigError, match=words):
            train.main([*flags, *extra, "--run-dir", str(tmp_path / "new")])
        assert not (tmp_path / "new").exists()


def test_every_pair_can_be_planned_and_says_what_it_takes(capsys: pytest.CaptureFixture[str]):
    for name in PAIRS:
        measure.main([name, "--dry-run"])
        assert "M env-steps" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="did you mean 'T1'"):
        measure.main(["T11"])
