"""Learning: env-steps a second of whole chunks, compile time, bytes a transition, peak memory; limits of the device."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from bench import limits
from bench.measure import Subject, peak_memory, rates, row, tell
from bench.products import products
from lepton_jax.config import Config
from lepton_jax.engine import replay
from lepton_jax.engine.program import Shape, make_hypers, make_program
from lepton_jax.engine.setup import make_setup
from lepton_jax.presets import from_preset
from lepton_jax.settings import overlay, to_toml

# On a GPU the presets made for it are measured as well.
PRESETS = {
    **{"quick": 150e3, "quick pqn": 350e3, "maze9": None, "maze9 pqn": None},
    **{"cartpole as purejaxrl": 45e3, "cartpole pqn": None, "breakout": None, "breakout pqn": None},
}
GPU_PRESETS = {"maze13": None, "maze13 pqn": None}


def rows(quick: bool) -> list[dict[str, Any]]:
    presets = PRESETS | (GPU_PRESETS if jax.default_backend() == "gpu" else {})
    subjects, compiles, configs = {}, [], {}
    for name, asked in presets.items():
        preset, _, kind = name.partition(" ")
        tell(f"{name}: compiling")
        config = peer_cartpole() if kind == "as purejaxrl" else from_preset(preset, kind or "dqn")
        configs[f"train {name}"], training = config, chunk(config)
        subjects[f"train {name}"] = Subject(training.call, training.work, "env-steps/s", asked)
        compiles.append(row(f"compile {name}", "s", [training.seconds], 6.0 if name == "quick" else None))
        size = 32.0 if name in ("maze13", "maze13 pqn") else None
        compiles.append(row(f"replay {name}", "bytes/transition", [training.per_transition], size))
        compiles += peak_memory(name, training.program)
    thirteen = from_preset("maze13")
    program = make_program(thirteen, make_setup(thirteen).env, make_setup(thirteen).agent)
    like = jax.eval_shape(program.init, jax.random.key(0), jax.random.key(0), make_hypers(thirteen, program.shape))
    compiles.append(
        row("replay 13x13, endless levels", "bytes/transition", [replay.bytes_per_transition(like.ring)], 32.0)
    )
    subjects |= limits.subjects()
    tell("products of quick: compiling")
    alone, args, work = products(from_preset("quick"))
    subjects["products of quick alone"] = Subject(lambda: alone(*args), work, "env-steps/s")
    timed = rates(subjects, 3 if quick else 7)
    timed = [each | ({"settings": to_toml(configs[each["name"]])} if each["name"] in configs else {}) for each in timed]
    repetitions = {each["name"]: each["repetitions"] for each in timed}
    pairs = zip(repetitions["train quick"], repetitions["products of quick alone"], strict=True)
    # The most that a faster engine could gain is its inverse.
    share = row("train quick: share of the bound by its products", "of 1", [ours / bound for ours, bound in pairs], 0.7)
    return [*timed, share, *compiles]


def peer_cartpole() -> Config:
    """CartPole as purejaxrl trains it: 10 environments, a gradient step of batch 128 every vector step, plain DQN.

    Its network has layers of 120 and 84 units, 10,934 parameters; two layers of 104 have 11,650.
    """
    changes = {
        "env": {"num_envs": 10},
        "net": {"width": 104, "depth": 2},
        "agent": {"n_step": 1, "double": False},
        "replay": {"batch_size": 128, "collect": 1, "updates": 1},
    }
    return overlay(from_preset("cartpole"), changes, "peer")


class Chunk(NamedTuple):
    """A run's program, compiled and begun."""

    call: Callable[..., Any]  # trains from one log point to the next, or as many segments as it is given
    work: float  # env-steps of a call
    seconds: float  # to compile
    per_transition: float  # bytes of the ring
    shape: Shape
    program: jax.stages.Compiled


def chunk(config: Config) -> Chunk:
    """Compiles the training of ``config`` and makes its first state."""
    setup = make_setup(config)
    program = make_program(config, setup.env, setup.agent, setup.shards)
    hypers = make_hypers(config, program.shape)
    keys = jax.random.key(0), jax.random.key(config.env.level_seed)
    began = time.perf_counter()
    init = program.init.lower(*keys, hypers).compile()
    state = init(*keys, hypers)
    step = program.chunk.lower(state, hypers, np.int32(program.shape.per_point)).compile()
    seconds = time.perf_counter() - began
    box = [state]

    def call(segments: int = program.shape.per_point) -> Any:
        box[0] = step(box[0], hypers, np.int32(segments))
        return box[0].clock

    work = program.shape.per_point * program.shape.per_segment * program.shape.steps
    return Chunk(call, work, seconds, replay.bytes_per_transition(state.ring), program.shape, step)
