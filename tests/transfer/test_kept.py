"""What a graft takes beside parameters: the optimiser's moments and the replay memory of its source."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bench.flip import tiny
from lepton_jax import sweep, train
from lepton_jax.agents.training import Reuse
from lepton_jax.config import Config, ConfigError
from lepton_jax.engine import checkpoint, replay
from lepton_jax.engine.folder import RunFolder
from lepton_jax.engine.integrity import describe
from lepton_jax.engine.launch import begin, go_on
from lepton_jax.engine.learning import make_learning
from lepton_jax.engine.program import make_hypers, make_program, program_shape, strong
from lepton_jax.engine.run import go
from lepton_jax.engine.setup import make_setup
from lepton_jax.scale.sweep_folder import read_definition
from lepton_jax.settings import to_toml
from lepton_jax.transfer import asking
from lepton_jax.transfer.graft import make_graft


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kept") / "source"
    config = tiny(path)
    go(begin(dataclasses.replace(config, shards=2, replay=dataclasses.replace(config.replay, batch_size=512))))
    return path


def plan(source: Path, **changes: Any) -> asking.Plan:
    return asking.simple(str(source), "latest")._replace(**changes)


def alone(source: Path) -> Config:
    return dataclasses.replace(tiny(source), seed=1, shards=1)


def test_the_memory_is_the_source_s_and_samples_as_it_did(source: Path):
    config = alone(source)
    graft = make_graft(plan(source, replay=0.25), config, "plan")
    memory = graft.apply()[0].memory
    jax.tree.map(
        lambda leaf, like: np.testing.assert_array_equal(leaf.shape, like.shape), memory, graft.shapes().memory
    )
    point = RunFolder(source).saved()[0]
    names = ("episode/0", "episode/1", "step/0", "truncated/0", "action", "reward", "ended")
    there = checkpoint.read_leaves(point, ["state/clock", *(f"state/ring/{name}" for name in names)])
    shape = program_shape(tiny(source))
    assert memory.head == shape.warmup + there["state/clock"] > memory.written == shape.blocks
    mine = checkpoint.names(memory.ring)
    assert set(mine) == set(names)
    for name in names:
        array = there[f"state/ring/{name}"]
        columns = array.shape[3 if name == "truncated/0" else 2]
        for shard, column in itertools.product(range(2), (0, columns - 1)):
            got = (
                mine[name][:, :, shard * columns + column]
                if name == "truncated/0"
                else mine[name][:, shard * columns + column]
            )
            want = array[shard, :, :, column] if name == "truncated/0" else array[shard, :, column]
            np.testing.assert_array_equal(got, want, err_msg=name)


def test_a_share_of_each_batch_comes_from_it(source: Path):
    config = alone(source)
    setup, hypers = make_setup(config), strong(make_hypers(config, program_shape(config)))
    memory = make_graft(plan(source, replay=0.25), config, "plan").apply()[0].memory
    told = lambda state, batch, *_: (state, None, {"known": jnp.sum(batch.reward > 6.0), "all": batch.reward.size})
    ring = jax.tree.map(jnp.asarray, memory.ring._replace(reward=jnp.zeros_like(memory.ring.reward)))
    marked = memory._replace(ring=memory.ring._replace(reward=jnp.full_like(memory.ring.reward, 7.0)))
    for share, known in ((0.25, 0.25), (1e-6, 1 / config.replay.batch_size)):
        agent = setup.agent._replace(reuse=Reuse(share, 0, 0, 0, 0), learn=told)
        learning = make_learning(config, setup.env, agent, 1)
        keys = jax.random.split(jax.random.key(0), learning.keys)
        _, seen = jax.jit(learning.learn)((), ring, (), (), keys, hypers, memory.head, memory.written, marked)
        assert seen["all"] == config.replay.batch_size
        assert seen["known"] == known * config.replay.batch_size


def test_a_run_with_all_of_it_goes_on_without_its_source_and_is_a_lane(source: Path, tmp_path: Path):
    # Adapters beside the torso, which have nothing to take over; the head with its moments; the memory.
    rules = (asking.TORSO._replace(rank=2), asking.HEAD)
    (tmp_path / "plan.toml").write_text(asking.to_toml(plan(source, rules=rules, replay=0.5, moments=True)))
    (tmp_path / "run.toml").write_text(to_toml(dataclasses.replace(alone(source), run_dir="", display="quiet")))
    flags = ["--config", str(tmp_path / "run.toml"), "--graft", str(tmp_path / "plan.toml")]
    leaves = lambda path: {name: leaf["sha256"] for name, leaf in describe(path)["leaves"].items()}
    run, swept = tmp_path / "run", tmp_path / "swept"
    train.main([*flags, "--run-dir", str(run)])
    final, point = leaves(run / "policy/final"), RunFolder(run).saved()[0]
    old, new = (checkpoint.read_leaves(RunFolder(path).saved()[0], [name])[name] for path, name in (
        (source, "state/agent_state/opt_state/1/count"), (run, _count(point))))  # fmt: skip
    shape = program_shape(alone(source))
    assert new == old + shape.iterations * shape.updates
    assert describe(point)["leaves"]["state/reused/ring/reward"]["shape"] == [*_rows(source)]
    RunFolder(run).summary.unlink()
    source.rename(tmp_path / "gone")
    try:
        go(go_on(run))
    finally:
        (tmp_path / "gone").rename(source)
    assert leaves(run / "policy/final") == final
    sweep.main([*flags, "--seeds", "2", "--run-dir", str(swept)])
    seeds = [lane.seed for lane in read_definition(swept).lanes]
    lane = {name: digests[seeds.index(1)] for name, digests in leaves(swept / "g0/policy/final").items()}
    assert lane == final


def _count(point: Path) -> str:
    return next(name for name in describe(point)["leaves"] if name.endswith("moments/inner_state/0/count"))


def _rows(source: Path) -> tuple[int, int]:
    shards, rows, envs = describe(RunFolder(source).saved()[0])["leaves"]["state/ring/reward"]["shape"]
    return rows, shards * envs


@pytest.mark.parametrize(
    ("changes", "settings", "words"),
    [
        ({"policy": "final", "replay": 0.5}, {}, "keeps no replay memory .policy final.*policy = 'latest'"),
        ({"policy": "final", "moments": True}, {}, "keeps no optimiser .policy final.*policy = 'latest'"),
        ({"replay": 0.5}, {"agent": {"kind": "pqn"}}, "replay transitions"),
        (
            {"replay": 0.5, "rest": asking.Rule(""), "rules": (), "ignore": (".*",)},
            {"env": {"size": 9}},
            "recorded uint32",
        ),
        ({"moments": True, "rest": asking.Rule(""), "rules": (), "ignore": (".*",)}, {}, "no leaf is both taken"),
    ],
)
def test_what_cannot_be_taken_is_refused(source: Path, changes: Any, settings: Any, words: str):
    config = alone(source)
    config = dataclasses.replace(
        config, **{part: dataclasses.replace(getattr(config, part), **values) for part, values in settings.items()}
    )
    with pytest.raises(ConfigError, match=words):
        make_graft(plan(source, **changes), config, "plan")


@pytest.mark.parametrize(
    "text", ["replay = 1.0", "replay = -0.1", 'moments = "yes"', 'moments = true\ncontrol = "permuted"']
)
def test_what_is_asked_for_is_checked(text: str):
    import tomllib

    with pytest.raises(ConfigError, match=r"^P: (replay|moments)"):
        asking.from_table(tomllib.loads(f'source = "x"\n{text}\n[rest]\n'), "P")


def test_a_memory_like_it_is_there_for_a_run_that_goes_on(source: Path):
    config = alone(source)
    graft = make_graft(plan(source, replay=0.5), config, "plan")
    setup = make_setup(config, graft.resolved.training)
    program = make_program(config, setup.env, setup.agent)
    keys, hypers = (jax.random.key(0), jax.random.key(0)), make_hypers(config, program.shape)
    kinds = lambda tree: jax.tree.map(lambda leaf: (leaf.shape, np.dtype(leaf.dtype)), tree)
    state = jax.eval_shape(program.init, *keys, hypers)
    assert isinstance(state.reused, replay.Memory)
    assert kinds(state.reused) == kinds(graft.shapes().memory)
