"""One policy on all named mazes of at most 19 cells a side, 100 episodes each, in one compiled call."""

from __future__ import annotations

import time
from typing import Any

import jax

from bench.measure import row, tell
from lepton_jax.engine.evaluation import Evaluator
from lepton_jax.engine.program import make_hypers, program_shape
from lepton_jax.engine.setup import make_setup, named_set
from lepton_jax.presets import from_preset
from lepton_jax.settings import overlay

EPISODES = 100
# Untrained policies: nearly all their episodes last to the time limit, which is the dearest case.
POLICIES = {"maze9, view 9": ("maze9", {"env": {"view": 9}}), "minigrid": ("minigrid", {})}


def rows(quick: bool) -> list[dict[str, Any]]:
    return [line for name in POLICIES for line in measure(name, 2 if quick else 7)]


def measure(name: str, repetitions: int) -> list[dict[str, Any]]:
    preset, changes = POLICIES[name]
    tell(f"policies of {name} on the named mazes")
    config = overlay(from_preset(preset), changes, "bench")
    setup = make_setup(config)
    hypers = make_hypers(config, program_shape(config))
    init = lambda: setup.agent.init(jax.random.key(0), setup.env.observation, setup.env.num_actions, hypers)
    agent_state = jax.jit(init)()
    named = named_set(config, setup, EPISODES)
    evaluator = Evaluator(named.env, setup.agent, hypers)
    began = time.perf_counter()
    evaluator.each(agent_state, named.levels)
    first, seconds = time.perf_counter() - began, []
    for _ in range(repetitions):
        began = time.perf_counter()
        evaluator.each(agent_state, named.levels)
        seconds.append(time.perf_counter() - began)
    what = f"{len(named.names)} named mazes x {EPISODES} episodes, {name}"
    return [row(what, "s", seconds, 5.0), row(f"{name}: the first time, with Q* and compilation", "s", [first])]
