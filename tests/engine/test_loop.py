"""The loop between the host and the chunks: cut anywhere, the same run; and numbers that go wrong."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest

from bench.flip import tiny
from lepton_jax.config import AgentConfig, Config, EnvConfig, NetConfig, ReplayConfig
from lepton_jax.engine import checkpoint, integrity, loop
from lepton_jax.engine.evaluation import Evaluator
from lepton_jax.engine.folder import RunFolder
from lepton_jax.engine.integrity import describe
from lepton_jax.engine.launch import begin
from lepton_jax.engine.loop import Diverged, Progress
from lepton_jax.engine.program import NEVER, make_hypers, make_program, read_metrics
from lepton_jax.engine.run import go
from lepton_jax.engine.setup import make_agent
from lepton_jax.settings import overlay

SMALL = Config(
    total_steps=4 * 2 * 40,
    log_points=1,
    env=EnvConfig(id="probe", num_envs=4, refresh_every=5),
    net=NetConfig(width=8, depth=1),
    agent=AgentConfig(n_step=2),
    replay=ReplayConfig(capacity=120, batch_size=32, collect=2, updates=3, warmup=20),
)


def program_and_start(config: Config = SMALL, seed: int = 0) -> Any:
    env = probes.make_env(probes.truncation(5))
    program = make_program(config, env, make_agent(config, env))
    hypers = make_hypers(config, program.shape)
    return program, hypers, program.init(jax.random.key(seed), jax.random.key(5), hypers)


def bits(tree: Any) -> list[bytes]:
    return [leaf.tobytes() for leaf in jax.tree.leaves(checkpoint.to_host(tree))]


def test_however_a_run_is_cut_into_chunks_it_is_the_same():
    ends = []
    for cuts in ([8], [1] * 8, [3, 1, 4], [7, 1]):
        program, hypers, state = program_and_start()
        assert (program.shape.per_segment, program.shape.per_point) == (5, 8)
        for cut in cuts:
            state = program.chunk(state, hypers, np.int32(cut))
        ends.append(bits(state))
    assert all(end == ends[0] for end in ends)
    _, _, other = program_and_start(seed=1)
    assert bits(other) != ends[0]


def test_the_first_bad_iteration_is_known_to_the_iteration():
    """A discount so large that values overflow soon; the truth is found by running one iteration at a time."""
    config = dataclasses.replace(SMALL, agent=dataclasses.replace(SMALL.agent, n_step=1, lr_schedule="constant"))
    single = dataclasses.replace(config, env=dataclasses.replace(config.env, refresh_every=1))
    program, hypers, state = program_and_start(single)
    hypers = hypers._replace(gamma=1e37, lr=0.01, tau=1.0)
    first = None
    for iteration in range(program.shape.iterations):
        state = program.chunk(state._replace(sums=jax.tree.map(jnp.zeros_like, state.sums)), hypers, 1)
        if not all(map(np.isfinite, read_metrics(state, 1).values())):
            first = iteration
            break
    assert first is not None
    assert 0 < first < 30
    program, _, state = program_and_start(config)
    state = program.chunk(state, hypers, program.shape.segments)
    assert int(state.bad) == first
    program, hypers, state = program_and_start(config)
    assert int(program.chunk(state, hypers, program.shape.segments).bad) == NEVER


def diverging(folder: Path, **changes: Any) -> Config:
    # Squared errors, weights that grow by a power of ten a step, and nothing to hold them.
    agent = {"loss": "squared", "lr": 1e15, "lr_schedule": "constant", "max_grad_norm": 1e30, "optimizer": "adam"}
    return overlay(tiny(folder), {"log_points": 8, "agent": agent, **changes}, "diverging")


def test_numbers_that_go_wrong_stop_the_run_and_are_kept(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(Diverged) as told:
        go(begin(diverging(folder)))
    text = str(told.value)
    assert "iteration " in text
    assert "not finite: " in text
    assert "loss" in text
    assert "agent_state/params/" in text
    assert "There is no checkpoint yet" in text
    (kept,) = RunFolder(folder).failed.iterdir()
    assert str(kept) in text
    integrity.verify(kept)
    about = describe(kept)
    leaf = text.partition("parameter leaf ")[2].partition(" ")[0]
    assert not np.isfinite(checkpoint.read_leaves(kept, [f"state/{leaf}"])[f"state/{leaf}"]).all()
    assert about["iteration"] > 0
    assert RunFolder(folder).saved() == []
    assert not (folder / "summary.json").exists()


def test_a_nan_in_validation_stops_the_run_and_evicts_nothing(tmp_path, monkeypatch):
    real, calls = Evaluator.validate, []

    def validate(self: Evaluator, agent_state: Any, levels: Any) -> dict[str, float]:
        calls.append(1)
        figures = real(self, agent_state, levels)
        return figures | {"mean_return": float("nan")} if len(calls) == 4 else figures

    monkeypatch.setattr(Evaluator, "validate", validate)
    folder = tmp_path / "run"
    config = overlay(tiny(folder), {"log_points": 8, "checkpoint": {"every_seconds": 0.0, "latest": 1, "best": 2}}, "")
    with pytest.raises(Diverged, match="validation/mean_return") as told:
        go(begin(config))
    saved = RunFolder(folder).saved()
    assert saved
    assert str(saved[0]) in str(told.value)
    for path in saved:
        integrity.verify(path)
        score = describe(path)["score"]
        assert score is None or all(map(np.isfinite, score))
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 3
    assert "NaN" not in "".join(lines)


def test_progress_survives_json():
    import json

    for progress in (Progress(), Progress(3, 1.5, (0.5, 0.25), (0.75, 0.75), 4096), Progress(1, 0.1, None, (2.0,), 7)):
        assert Progress.from_json(json.loads(json.dumps(progress._asdict()))) == progress


def test_best_is_success_then_length_or_return():
    mazes = [{"success_rate": s, "spl": p, "mean_return": 9.0} for s, p in ((0.5, 0.5), (0.5, 0.4), (0.6, 0.1))]
    assert sorted(map(loop.score_of, mazes)) == [(0.5, 0.4), (0.5, 0.5), (0.6, 0.1)]
    assert loop.score_of({"mean_return": -3.0, "mean_length": 1.0}) == (-3.0,)
