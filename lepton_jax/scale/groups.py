"""Which lanes share one compiled program: those that differ in traced numbers only. Imports no jax."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from lepton_jax.config import AgentConfig, CheckpointConfig, Config, EnvConfig, Hypers
from lepton_jax.scale.design import Lane

_AGENT, _ENV = (tuple(f.name for f in dataclasses.fields(kind) if f.name in Hypers._fields)
                for kind in (AgentConfig, EnvConfig))  # fmt: skip
# Whether one of these is 0 is part of the program, which then does without it; how large it is, is not.
_PRESENCE = ("slip", "sticky", "wall_penalty", "shaping", "time_decay")
# Traced by another name: as a horizon, and as keys.
_AGENT_ALSO, _ENV_ALSO = ("eps_fraction",), ("level_seed",)

TRACED = frozenset(
    {
        "seed",
        *(f"agent.{name}" for name in (*_AGENT, *_AGENT_ALSO)),
        *(f"env.{name}" for name in (*_ENV, *_ENV_ALSO)),
    }
)


def static_part(config: Config) -> Config:
    """What the compiled program is made from: equal for two configurations exactly if they differ in nothing but traced
    numbers, and where they run, show and keep. A key to compare by, not settings to run with."""
    agent = dataclasses.replace(config.agent, **dict.fromkeys((*_AGENT, *_AGENT_ALSO), 0.0))
    env = dataclasses.replace(
        config.env,
        **{name: float(name in _PRESENCE and getattr(config.env, name) != 0.0) for name in _ENV},
        **dict.fromkeys(_ENV_ALSO, 0),
    )
    blank: dict[str, Any] = {"seed": 0, "display": "auto", "track": (), "run_dir": "", "checkpoint": CheckpointConfig()}
    return dataclasses.replace(config, agent=agent, env=env, **blank)


def split(lanes: Iterable[Lane]) -> tuple[tuple[Lane, ...], ...]:
    """Groups of lanes that share a program, in the order of their first lanes."""
    groups: dict[Config, list[Lane]] = {}
    for lane in lanes:
        groups.setdefault(static_part(lane.config), []).append(lane)
    return tuple(map(tuple, groups.values()))
