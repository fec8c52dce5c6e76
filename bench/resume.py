"""What is not training: start-up, going on, the loop on the host; and checkpoints: the training time that one costs, as
a share of the default cadence; bytes on disk; a verified read."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bench import start
from bench.measure import row, tell
from lepton_jax.config import CheckpointConfig, Config
from lepton_jax.engine import checkpoint
from lepton_jax.engine.folder import RunFolder
from lepton_jax.engine.keeper import Keeper
from lepton_jax.engine.program import make_hypers, make_program
from lepton_jax.engine.setup import make_setup
from lepton_jax.engine.shard import on_one
from lepton_jax.presets import from_preset

PRESETS = ("quick", "maze9")
GPU_PRESETS = ("maze13",)


def rows(quick: bool) -> list[dict[str, Any]]:
    presets = PRESETS + (GPU_PRESETS if jax.default_backend() == "gpu" else ())
    first = PRESETS[0]
    return [
        *start.importing(3 if quick else 7),
        *start.starting(first, ("--preset", first), 3 if quick else 5),
        *start.overhead(first, from_preset(first), 3, 5 if quick else 15),
        *(line for name in presets for line in checkpoints(name, from_preset(name), 5 if quick else 15)),
    ]


def checkpoints(name: str, config: Config, repetitions: int) -> list[dict[str, Any]]:
    """Chunks of about a second with and without a checkpoint written meanwhile, in turn."""
    tell(f"checkpoints of {name}")
    setup = make_setup(config)
    program = make_program(config, setup.env, setup.agent, setup.shards)
    hypers = make_hypers(config, program.shape)
    key = jax.random.key(0)
    state = program.init(key, key, hypers)
    best = checkpoint.to_host(setup.agent.policy(on_one(state.agent_state)))
    like, size = jax.eval_shape(lambda: {"state": state, "best": best}), sum(x.nbytes for x in jax.tree.leaves(state))
    segments = np.int32(1)
    lost, blocked, disk = [], [], []
    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder(Path(scratch))
        keeper = Keeper(folder, CheckpointConfig(), 0)

        def chunk(state: Any, save: int) -> tuple[Any, float, float]:
            began = time.perf_counter()
            waited = 0.0
            if save:
                keeper.save(save, {"state": state, "best": best}, {"score": None}, {})
                waited = time.perf_counter() - began
            state = jax.block_until_ready(program.chunk(state, hypers, segments))
            assert keeper.problem() is None  # as the next chunk would, the checkpoint's thread takes its share
            return state, time.perf_counter() - began, waited

        state, _, _ = chunk(state, 1)
        state, seconds, _ = chunk(state, 0)
        segments = np.int32(max(1, round(1.0 / seconds)))
        for repetition in range(repetitions):
            state, without, _ = chunk(state, 0)
            state, with_save, waited = chunk(state, 2 + repetition)
            lost.append(with_save - without)
            blocked.append(waited)
            disk.append(sum(path.stat().st_size for path in folder.saved()[0].rglob("*") if path.is_file()))
        shardings = jax.tree.map(
            lambda leaf: getattr(leaf, "sharding", None), {"state": state, "best": jax.device_put(best)}
        )
        began = time.perf_counter()
        jax.block_until_ready(checkpoint.read(folder.saved()[0], like, shardings)[0])
        read = time.perf_counter() - began
    share = [100 * seconds / CheckpointConfig().every_seconds for seconds in lost]
    return [
        row(f"checkpoint {name}, of {size / 2**20:.1f} MiB: training lost", "s", lost),
        row(f"checkpoint {name}: share of the default cadence", "%", share, 2.0),
        row(f"checkpoint {name}: training waits", "s", blocked),
        row(f"checkpoint {name}: on disk", "bytes", disk),
        row(f"checkpoint {name}: verified read", "s", [read]),
    ]
