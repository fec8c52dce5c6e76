"""The engine on gymnax's CartPole, with the settings of a peer or its own."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from learning import CADENCE, measured
from stepping import versions
from wire import Work

from bench.peers.settings import settings
from lepton_jax.config import Config
from lepton_jax.engine import replay
from lepton_jax.engine.evaluation import Evaluator
from lepton_jax.engine.program import make_hypers, make_program
from lepton_jax.engine.setup import level_set, make_setup, prepare_jax


def prepare(tier: str, task: str, measure: str, goal: float, cap: float) -> Work:
    del tier
    config = settings(task, CADENCE)
    prepare_jax(config)
    return measured(Learner(config), measure, goal, cap)


class Learner:
    """A run, from one log point to the next."""

    def __init__(self, config: Config):
        setup = make_setup(config)
        program = make_program(config, setup.env, setup.agent, setup.shards)
        self._shape, self._hypers = program.shape, make_hypers(config, program.shape)
        self._levels, self._level_key = level_set(config, "validation", 0), jax.random.key(config.env.level_seed)
        self._evaluator = Evaluator(setup.env, setup.agent, self._hypers)
        self._init = program.init.lower(jax.random.key(0), self._level_key, self._hypers).compile()
        self._state: Any = self._init(jax.random.key(0), self._level_key, self._hypers)
        self._segments = np.int32(self._shape.per_point)
        self._chunk = program.chunk.lower(self._state, self._hypers, self._segments).compile()
        self.steps = self._shape.per_point * self._shape.per_segment * self._shape.steps
        self.about = versions({"shards": setup.shards})

    def begin(self, seed: int) -> None:
        self._state = jax.block_until_ready(self._init(jax.random.key(seed), self._level_key, self._hypers))

    def learn(self) -> None:
        self._state = jax.block_until_ready(self._chunk(self._state, self._hypers, self._segments))

    def score(self) -> float:
        return self._evaluator.validate(self._state.agent_state, self._levels)["mean_return"]

    def counts(self) -> tuple[int, int]:
        played = (self._shape.warmup + int(self._state.clock)) * self._shape.steps
        return played, int(self._state.agent_state.steps)

    def transition_bytes(self) -> float:
        return replay.bytes_per_transition(self._state.ring)
