"""Starting a run, going on with one, and what the loop on the host costs beside the compiled program."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bench.measure import row, tell
from lepton_jax.config import CheckpointConfig, Config
from lepton_jax.engine import checkpoint
from lepton_jax.engine.audience import Audience
from lepton_jax.engine.folder import RunFolder
from lepton_jax.engine.keeper import Keeper
from lepton_jax.engine.loop import Moment, Parts, Progress, train
from lepton_jax.engine.metrics import Record
from lepton_jax.engine.program import State, make_hypers, make_program
from lepton_jax.engine.setup import make_setup
from lepton_jax.engine.shard import on_one

_ROOT = Path(__file__).parents[1]
_MODULES = ("lepton_jax", "lepton_jax.engine.run")  # the first needs no jax; the second imports all that a run needs


def importing(repetitions: int) -> list[dict[str, Any]]:
    """Seconds to import the package, each time in a process of its own."""
    table = []
    for module in _MODULES:
        code = f"import time; began = time.perf_counter(); import {module}; print(time.perf_counter() - began)"
        take = lambda code=code: float(subprocess.run([sys.executable, "-c", code], **_ways(), check=True).stdout)
        take()  # reads the files from the disk
        tell(f"import of {module}")
        table.append(row(f"import {module}", "s", [take() for _ in range(repetitions)]))
    return table


def starting(name: str, flags: Sequence[str], repetitions: int) -> list[dict[str, Any]]:
    """Seconds from the start of a process to the end of its first chunk, repeated in turn: with nothing compiled
    before, with all compiled before, and from a checkpoint.

    Args:
      name: of the run, in the rows.
      flags: of ``python -m lepton_jax.train``.
      repetitions: of each.
    """
    kinds: dict[str, list[float]] = {"nothing compiled": [], "all compiled": [], "from a checkpoint": []}
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        again, compiled = ["--resume", str(place / "saved")], place / "compiled"
        tell(f"start of {name}: compiling")
        first_chunk([*flags, "--run-dir", str(place / "saved")], compiled, signal.SIGINT)
        first_chunk(again, compiled, signal.SIGINT)  # what only resuming compiles
        for turn in range(repetitions):
            new = lambda kind, turn=turn: [*flags, "--run-dir", str(place / f"{kind}{turn}")]
            asked = ((new("first"), place / f"empty{turn}"), (new("second"), compiled), (again, compiled))
            for number, (seconds, (arguments, cache)) in enumerate(zip(kinds.values(), asked, strict=True)):
                tell(f"start of {name}", turn * len(kinds) + number, repetitions * len(kinds))
                seconds.append(first_chunk(arguments, cache, signal.SIGKILL))
    return [row(f"{name} start to first chunk, {kind}", "s", kinds[kind]) for kind in kinds]


def first_chunk(arguments: Sequence[str], cache: Path, then: signal.Signals) -> float:
    """Seconds that ``python -m lepton_jax.train`` takes, from the start of the process, to have trained a chunk.

    Args:
      arguments: of the command.
      cache: the folder in which compiled programs are kept.
      then: what it is stopped with; SIGINT has it make a checkpoint.

    Raises:
      RuntimeError: it ended before; with the last of what it said.
    """
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", "bench.first_chunk", *arguments], **_ways(cache)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = process.stdout.readline()
        seconds = time.perf_counter() - began
        process.send_signal(then)
        process.stdout.read()
        problem = process.stderr.read()
    if "trained" not in said:
        raise RuntimeError(f"the run that was to be timed has failed: {problem.strip()[-500:]}")
    return seconds


def _ways(cache: Path | None = None) -> dict[str, Any]:
    """How processes are started: in the project, with their words as text, and with a cache that is their own."""
    own = {} if cache is None else {"XDG_CACHE_HOME": str(cache)}
    kept = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    out = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return {"cwd": _ROOT, "env": kept | own, "text": True} | out


class _Nothing(Keeper):
    """Makes no checkpoints: they have rows of their own."""

    def save(self, iteration: int, tree: Any, about: Mapping[str, Any], texts: Mapping[str, str]) -> None:
        pass


class _Watched:
    """A compiled chunk, and how long each of its calls ran, as a thread that waits for nothing else sees it."""

    def __init__(self, chunk: Callable[..., State]):
        self._chunk, self._thread = chunk, ThreadPoolExecutor(1)
        self._running: list[Future[float]] = []
        self.counts: list[Any] = []  # segments of each call

    def __call__(self, state: State, hypers: Any, segments: Any) -> State:
        self.seconds()  # nobody may wait for arrays that are given away
        began = time.perf_counter()
        state = self._chunk(state, hypers, segments)
        self._running.append(self._thread.submit(self._until_ready, state.clock, began))
        self.counts.append(segments)
        return state

    def seconds(self) -> float:
        """Of all calls together."""
        return sum(each.result() for each in self._running)

    def clear(self) -> None:
        self._running.clear()
        self.counts.clear()

    @staticmethod
    def _until_ready(array: jax.Array, began: float) -> float:
        array.block_until_ready()
        return time.perf_counter() - began


def overhead(name: str, config: Config, points: int, repetitions: int) -> list[dict[str, Any]]:
    """What the engine's loop takes beside its chunks; checkpoints and validation off.

    Counted in two ways: the time of the loop in which no chunk runs, and the loop against the same chunks called one
    after another, in turn. The second sees also what slows the chunks down, and all noise of the machine.

    Args:
      name: of the run, in the rows.
      config: its settings.
      points: log points of each repetition; at every one the policy counts as the best so far, the dearest case.
      repetitions: of both.
    """
    tell(f"loop of {name}: compiling")
    setup = make_setup(config)
    program = make_program(config, setup.env, setup.agent, setup.shards)
    hypers = make_hypers(config, program.shape)
    key, scores = jax.random.key(0), itertools.count()
    state = program.init(key, key, hypers)
    best = checkpoint.to_host(setup.agent.policy(on_one(state.agent_state)))
    compiled = program.chunk.lower(state, hypers, np.int32(1)).compile()
    chunk = _Watched(compiled)

    def looped(state: State, folder: RunFolder) -> State:
        parts = Parts(
            shape=program.shape._replace(points=points),
            chunk=chunk,
            hypers=hypers,
            policy=setup.agent.policy,
            validate=lambda _: {"mean_return": float(next(scores))},
            latest=lambda _: (None, 0, 0.0),
            episode=None,
            folder=folder,
            record=Record(folder, {}),
            keeper=_Nothing(folder, CheckpointConfig(), 0),
            about={},
            audience=Audience(()),
        )
        return jax.block_until_ready(train(Moment(state, best, Progress()), parts).state)

    between, against = [], []
    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder(Path(scratch))
        state = looped(state, folder)  # compiles what the loop itself needs
        for repetition in range(repetitions):
            tell(f"loop of {name}", repetition, repetitions)
            chunk.clear()
            began = time.perf_counter()
            state = looped(state, folder)
            whole = time.perf_counter() - began
            began = time.perf_counter()
            for segments in chunk.counts:
                state = jax.block_until_ready(compiled(state, hypers, segments))
            alone = time.perf_counter() - began
            between.append(100 * (whole - chunk.seconds()) / whole)
            against.append(100 * (whole / alone - 1))
    return [
        row(f"loop of {name}: time without a chunk", "%", between, 1.0),
        row(f"loop of {name}: against its chunks alone", "%", against, 1.0),
    ]
