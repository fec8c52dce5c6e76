"""Settings that belong together, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from lepton_jax.config import AgentConfig, Config, ConfigError
from lepton_jax.settings import nearest, overlay

# What serves mazes well: a short horizon keeps the values of right and wrong moves apart, and a ladder of epsilons
# keeps the experience broad. Deterministic worlds have nothing for Double to correct.
_MAZE_DQN: dict[str, Any] = {
    "gamma": 0.95,
    "n_step": 2,
    "double": False,
    "lr": 2e-3,
    "tau": 0.01,
    "eps_end": 0.3,
    "eps_ladder": True,
}
_GPU_REPLAY = {"capacity": 4_194_304, "batch_size": 8192, "collect": 2, "updates": 2, "warmup": 262_144}
# Each preset: the changes it makes to the defaults; a table named after a kind of agent holds for that kind alone.
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "total_steps": 6_000_000,
        "env": {"size": 7, "observation": "full"},
        "net": {"width": 128, "layer_norm": True},
        "dqn": {
            # So few are the layouts of 7x7 that a network learns them by heart unless its weights are kept small.
            "agent": _MAZE_DQN | {"gamma": 0.9, "double": True, "weight_decay": 0.1},
            "replay": {"batch_size": 256, "updates": 8},
        },
    },
    "maze9": {
        "total_steps": 15_000_000,
        "env": {"size": 9, "pool": 131_072, "refresh_levels": 4096},
        "net": {"width": 256, "layer_norm": True},
        "dqn": {"agent": _MAZE_DQN, "replay": {"batch_size": 256, "updates": 8}},
    },
    "maze13": {
        "total_steps": 400_000_000,
        "env": {"size": 13, "num_envs": 8192, "pool": 524_288, "refresh_levels": 32_768, "refresh_every": 16},
        "net": {"width": 512, "layer_norm": True},
        "dqn": {"agent": _MAZE_DQN, "replay": _GPU_REPLAY},
    },
    "maze21": {
        "total_steps": 2_000_000_000,
        "env": {"size": 21, "num_envs": 8192, "pool": 524_288, "refresh_levels": 32_768, "refresh_every": 16},
        "net": {"width": 512, "layer_norm": True},
        "dqn": {"agent": _MAZE_DQN | {"gamma": 0.98}, "replay": _GPU_REPLAY},
    },
    "minigrid": {
        # The rules of MiniGrid: turn and go forward, a 5x5 view that walls cut off, 1 - 0.9 t / T at the goal.
        "total_steps": 8_000_000,
        "env": {
            **{"size": 9, "generator": "crossings", "ends": "corners"},
            **{"observation": "egocentric", "view": 5, "occlusion": True, "actions": "oriented", "time_decay": 0.9},
        },
        "net": {"width": 256, "layer_norm": True},
        "dqn": {"agent": _MAZE_DQN | {"gamma": 0.97}, "replay": {"batch_size": 256, "updates": 8}},
    },
    "cartpole": {
        "total_steps": 500_000,
        "env": {"id": "CartPole-v1", "num_envs": 10},
        "net": {"width": 120},
        "replay": {"capacity": 50_000, "batch_size": 128, "collect": 1, "updates": 1, "warmup": 1000},
    },
    "article": {
        "total_steps": 1000,
        "log_points": 20,
        "display": "epochs",
        "env": {"num_envs": 1, "observation": "vector", "goal_reward": 10.0, "pool": 1024},
        "net": {"depth": 0, "dueling": False},
        "agent": {"lr": 1e-3, "lr_schedule": "constant", "n_step": 1, "double": False, "loss": "squared"},
        "replay": {"capacity": 1024, "batch_size": 32, "collect": 1, "updates": 1, "warmup": 64},
        "eval": {"validation_levels": 64, "test_levels": 128},
    },
}
KINDS = get_args(get_type_hints(AgentConfig)["kind"])


def kind_of(changes: Mapping[str, Any]) -> str:
    """The kind of agent that nested ``changes`` ask for, the default if none; ``from_preset`` checks it."""
    section = changes.get("agent")
    return section.get("kind", KINDS[0]) if isinstance(section, Mapping) else KINDS[0]


def from_preset(name: str, kind: str = "dqn") -> Config:
    """The configuration of a preset for a kind of agent.

    Raises:
      ConfigError: there is no such preset or kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"agent.kind = {kind!r} is unknown{nearest(str(kind), KINDS)}; there are {', '.join(KINDS)}")
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}{nearest(name, PRESETS)}; there are {', '.join(PRESETS)}")
    changes = PRESETS[name]
    config = overlay(Config(), {key: value for key, value in changes.items() if key not in KINDS}, f"preset {name}")
    config = overlay(config, changes.get(kind, {}), f"preset {name}")
    return dataclasses.replace(config, agent=dataclasses.replace(config.agent, kind=kind))
