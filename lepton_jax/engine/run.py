"""The host's side of a run: compile, then chunk after chunk with metrics and validation between, then the report."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.agents.agent import Agent
from lepton_jax.config import Config, ConfigError, Hypers, to_toml
from lepton_jax.config import validate as validate_config
from lepton_jax.engine import checkpoint, evaluation, manifest, replay
from lepton_jax.engine.metrics import Event, Files, Observer, refuse_used, to_json
from lepton_jax.engine.program import Program, State, make_hypers, make_program, strong
from lepton_jax.engine.setup import LevelSet, Setup, level_set, make_setup, prepare_jax
from lepton_jax.engine.shard import on_one
from lepton_jax.envs.vector import Exact, VectorEnv

FIGURES = ("success_rate", "spl", "mean_return", "mean_length", "regret", "q_error")


class Result(NamedTuple):
    """What a run leaves behind."""

    folder: Path
    summary: dict[str, Any]  # as in summary.json
    final: Any  # parameters of the last policy
    best: Any  # parameters of the policy that did best in validation


def run(config: Config, observers: Sequence[Observer] = (), about: dict[str, Any] | None = None) -> Result:
    """Trains from start to end and leaves a run folder.

    Args:
      config: what to do. An empty ``run_dir`` is filled in: runs/SEED-TIME.
      observers: told of the beginning, of every chunk and of the end.
      about: JSON to be kept in the manifest, such as the flags the run was called with.

    Raises:
      ConfigError: the configuration cannot be used, the folder is not empty, or the state does not fit the memory.
    """
    began = time.perf_counter()
    config = validate_config(config)
    folder = Path(config.run_dir or f"runs/s{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}")
    refuse_used(folder)
    prepare_jax(config)
    setup = make_setup(config)
    program = make_program(config, setup.env, setup.agent, setup.shards)
    hypers = make_hypers(config, program.shape)
    compiled = _compile(config, program, hypers)
    evaluator = Evaluator(setup.env, setup.agent, hypers)
    validation = level_set(config, "validation", config.eval.validation_levels)
    test = level_set(config, "test", config.eval.test_levels)

    folder.mkdir(parents=True, exist_ok=True)
    facts = manifest.describe(config, setup, program.shape, compiled.bytes_per_transition, compiled.state_bytes)
    facts["levels"] |= {s.name: {"count": s.size, "sha256": s.fingerprint} for s in (validation, test)}
    facts |= about or {}
    (folder / "config.toml").write_text(to_toml(dataclasses.replace(config, run_dir="")))  # so that it can run again
    (folder / "manifest.json").write_text(to_json(facts, indent=2) + "\n")
    observers = (Files(folder), *observers)
    for observer in observers:
        observer.begin(config, facts)

    trained = _train(compiled, program, hypers, setup, lambda state: evaluator.validate(state, validation), observers)
    agent_state = on_one(trained.state.agent_state)
    final, best = setup.agent.policy(agent_state), trained.best
    summary = evaluator.report(agent_state, test) | {
        "best": evaluator.report(setup.agent.with_policy(agent_state, best), test) | {"env_steps": trained.best_steps},
        "env_steps": trained.env_steps,
        "gradient_steps": program.shape.chunks * program.shape.per_chunk * config.replay.updates,
        "env_steps_per_second": trained.env_steps / trained.seconds,
        "compile_seconds": compiled.seconds + evaluator.compile_seconds,
        "bytes_per_transition": compiled.bytes_per_transition,
        "device": manifest.device_name(),
    }
    for name, policy, steps in (("final", final, trained.env_steps), ("best", best, trained.best_steps)):
        checkpoint.save_policy(folder / "policy" / name, policy, {"env_steps": steps})
    summary["wall_seconds"] = time.perf_counter() - began
    (folder / "summary.json").write_text(to_json(summary, indent=2) + "\n")
    for observer in observers:
        observer.end(summary)
    return Result(folder, summary, final, best)


class Evaluator:
    """Judges policies on sets of levels; sets of one size share what is compiled."""

    def __init__(self, env: VectorEnv, agent: Agent, hypers: Hypers):
        self._env, self._agent, self._hypers = env, agent, hypers
        self._key = jax.random.key(20_26)  # the same episodes for every policy, run and seed
        self._exact: dict[str, Exact | None] = {}
        self._compiled: dict[str, Any] = {}
        self.compile_seconds = 0.0

    def validate(self, agent_state: Any, levels: LevelSet) -> dict[str, float]:
        """The figures on ``levels`` but for ``q_error``."""

        def measure(state: Any, worlds: Any, hypers: Hypers, exact: Exact | None) -> dict[str, jax.Array]:
            key, size = self._key, levels.size
            return evaluation.evaluate(self._env, self._agent, state, worlds, key, strong(hypers), size, exact)

        exact = self._solve(levels)
        figures = self._call("evaluate", measure, levels.size, agent_state, levels.worlds, self._hypers, exact)
        return {name: float(value) for name, value in jax.device_get(figures).items()}

    def report(self, agent_state: Any, levels: LevelSet) -> dict[str, float | None]:
        """All figures on ``levels``; None for those that the world cannot give."""
        figures = self.validate(agent_state, levels)
        if (exact := self._solve(levels)) is not None:
            measure = lambda state, worlds, exact: evaluation.q_error(self._env, self._agent, state, worlds, exact)
            figures["q_error"] = float(self._call("q_error", measure, levels.size, agent_state, levels.worlds, exact))
        return {name: figures.get(name) for name in FIGURES}

    def _solve(self, levels: LevelSet) -> Exact | None:
        if (solve := self._env.solve) is None:
            return None
        if levels.name not in self._exact:
            exactly = lambda worlds, hypers: solve(worlds, strong(hypers))
            self._exact[levels.name] = self._call("solve", exactly, levels.size, levels.worlds, self._hypers)
        return self._exact[levels.name]

    def _call(self, name: str, function: Callable[..., Any], size: int, *args: Any) -> Any:
        name = f"{name} {size}"
        if name not in self._compiled:
            began = time.perf_counter()
            self._compiled[name] = jax.jit(function).lower(*args).compile()
            self.compile_seconds += time.perf_counter() - began
        return self._compiled[name](*args)


class _Compiled(NamedTuple):
    state: State
    chunk: Callable[[State, Hypers], tuple[State, dict[str, jax.Array]]]
    seconds: float
    bytes_per_transition: float
    state_bytes: int


def _compile(config: Config, program: Program, hypers: Hypers) -> _Compiled:
    """Compiles both functions, refuses a state that does not fit, and runs ``init``."""
    began = time.perf_counter()
    key = jax.random.key(config.seed)
    init = program.init.trace(key, jax.random.key(config.env.level_seed), hypers)
    like = init.out_info
    state_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(like))
    per_transition = replay.bytes_per_transition(like.ring)
    _refuse_oversized(program, per_transition, state_bytes)
    init = init.lower().compile()
    chunk = program.chunk.trace(like, hypers).lower().compile()
    seconds = time.perf_counter() - began
    state = init(key, jax.random.key(config.env.level_seed), hypers)
    return _Compiled(state, chunk, seconds, per_transition, state_bytes)


def _refuse_oversized(program: Program, per_transition: float, state_bytes: int) -> None:
    available = manifest.memory_bytes()
    if available is None or state_bytes <= available:
        return
    transitions = program.shape.blocks * program.shape.steps
    ring, rest = per_transition * transitions, state_bytes - per_transition * transitions
    room = int(max(0.0, available - rest) / per_transition)
    raise ConfigError(
        f"replay.capacity: {transitions:,} transitions x {per_transition:.1f} bytes = {ring / 2**30:.2f} GiB, and "
        f"{rest / 2**30:.2f} GiB for everything else, do not fit the {available / 2**30:.2f} GiB of "
        f"{manifest.device_name()}; "
        f"choose at most --replay.capacity {room}"
    )


class _Trained(NamedTuple):
    state: State
    best: Any
    best_steps: int
    env_steps: int
    seconds: float


def _train(
    compiled: _Compiled,
    program: Program,
    hypers: Hypers,
    setup: Setup,
    validate: Callable[[Any], dict[str, float]],
    observers: Sequence[Observer],
) -> _Trained:
    shape, state = program.shape, compiled.state
    seconds, env_steps = 0.0, 0
    best_score, best, best_steps = (-np.inf,), None, 0
    jax.block_until_ready(state)
    for number in range(1, shape.chunks + 1):
        began = time.perf_counter()
        state, metrics = compiled.chunk(state, hypers)
        metrics = {name: float(value) for name, value in jax.device_get(metrics).items()}
        seconds += time.perf_counter() - began
        env_steps += shape.per_chunk * shape.steps
        agent_state = on_one(state.agent_state)
        validation = validate(agent_state)
        score = _score(validation)
        if best is None or score > best_score:
            # A copy: the next chunk takes the state's own buffers.
            best = jax.tree.map(jnp.copy, setup.agent.policy(agent_state))
            best_score, best_steps = score, env_steps
        latest = lambda state=state, number=number: _latest(
            state, setup, (shape.warmup + number * shape.per_chunk) % shape.blocks
        )
        event = Event(
            number,
            shape.chunks,
            env_steps,
            shape.chunks * shape.per_chunk * shape.steps,
            seconds,
            metrics,
            validation,
            latest,
        )
        for observer in observers:
            observer.update(event)
    return _Trained(state, best, best_steps, env_steps, seconds)


def _score(figures: dict[str, float]) -> tuple[float, ...]:
    """What "best" means: success, then path length, where the world knows success; else mean return. NaN loses."""
    names = ("success_rate", "spl") if "success_rate" in figures else ("mean_return",)
    return tuple(figures[name] if np.isfinite(figures[name]) else -np.inf for name in names)


def _latest(state: State, setup: Setup, blocks_written: int) -> tuple[np.ndarray, int, float]:
    """Observation, action and reward of environment 0 at the last step taken."""
    ring, worlds = state.ring, state.worlds
    if setup.shards > 1:
        ring = jax.tree.map(lambda leaf: leaf.addressable_data(0)[0], ring)
        worlds = on_one(worlds)
    length = ring.action.shape[0] // jax.tree.leaves(ring.truncated)[0].shape[0]
    row = (blocks_written * length - 1) % ring.action.shape[0]
    pick = lambda tree: jax.tree.map(lambda leaf: leaf[row, :1], tree)
    observation = setup.env.observe(pick(ring.episode), pick(ring.step), worlds)
    return np.asarray(observation)[0], int(ring.action[row, 0]), float(ring.reward[row, 0])
