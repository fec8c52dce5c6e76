"""What the bench says of starting, going on, and the loop on the host."""

import signal
from pathlib import Path

import pytest

from bench import resume, start
from bench.measure import peak_memory
from bench.train import chunk
from lepton_jax.config import Config
from lepton_jax.engine.memory import tree_bytes
from lepton_jax.presets import from_preset
from lepton_jax.settings import overlay

TINY = {"total_steps": 40_960, "log_points": 20, "shards": 1, "net": {"width": 8},
        "env": {"num_envs": 16, "pool": 64, "refresh_levels": 64, "refresh_every": 16},
        "replay": {"capacity": 1024, "warmup": 64, "batch_size": 8},
        "eval": {"validation_levels": 16, "test_levels": 16}}  # fmt: skip


@pytest.fixture(scope="module")
def tiny() -> Config:
    return overlay(from_preset("quick"), TINY, "test")


def test_the_loop_is_measured_against_its_own_chunks(tiny: Config):
    without, against = start.overhead("tiny", tiny, 2, 3)
    # Chunks of milliseconds: what the loop does beside them is a part of the time, and can be no more than all.
    assert all(0 < share < 100 for share in without["repetitions"])
    assert len(against["repetitions"]) == 3
    assert against["median"] > 0


def test_a_checkpoint_is_measured(tiny: Config):
    table = {line["name"]: line for line in resume.checkpoints("tiny", tiny, 1)}
    (name,) = (name for name in table if "training lost" in name)
    assert name.startswith("checkpoint tiny, of 0.")
    assert table["checkpoint tiny: on disk"]["median"] > 1000
    assert table["checkpoint tiny: verified read"]["median"] > 0


def test_runs_are_started_and_go_on(tmp_path: Path):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items() if not isinstance(value, dict)]
    flags += [
        f"--{part}.{name.replace('_', '-')}={value}"
        for part, held in TINY.items() if isinstance(held, dict) for name, value in held.items()
    ]  # fmt: skip
    run, cache = tmp_path / "run", tmp_path / "cache"
    assert 0.5 < start.first_chunk([*flags, "--run-dir", str(run)], cache, signal.SIGINT) < 60
    assert list((run / "checkpoints").glob("[0-9]*"))
    assert list(cache.rglob("*chunk*")), "programs are kept where we said"
    assert start.first_chunk(["--resume", str(run)], cache, signal.SIGKILL) < 60
    with pytest.raises(RuntimeError, match=r"the run that was to be timed has failed: error: .*nowhere"):
        start.first_chunk(["--resume", str(tmp_path / "nowhere")], cache, signal.SIGKILL)


def test_a_program_tells_what_it_takes(tiny: Config):
    training = chunk(tiny)
    (told,) = peak_memory("tiny", training.program)
    (state, _, _), _ = training.program.in_avals
    assert told["name"] == "peak memory tiny, each device"
    # The state is changed in place, so that there is one of it, and the rest is what a segment works with.
    assert tree_bytes(state) < told["median"] < 10 * tree_bytes(state)
