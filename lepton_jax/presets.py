"""Settings that belong together, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from lepton_jax.config import AgentConfig, Config, ConfigError
from lepton_jax.settings import nearest, overlay

# What a kind of agent begins with. PQN needs normalised layers (Gallici et al. 2024).
_KIND: dict[str, dict[str, Any]] = {
    "dqn": {},
    "pqn": {
        "net": {"layer_norm": True},
        "agent": {"optimizer": "radam", "lam": 0.65, "epochs": 2, "minibatches": 32},
        "replay": {"collect": 32},
    },
}
# What serves mazes well: a short horizon keeps the values of right and wrong moves apart, and a ladder of epsilons
# keeps the experience broad. Deterministic worlds have nothing for Double to correct.
_MAZE: dict[str, Any] = {"gamma": 0.95, "lr": 2e-3, "eps_end": 0.3, "eps_ladder": True}
_MAZE_DQN: dict[str, Any] = _MAZE | {"n_step": 2, "double": False, "tau": 0.01}
_MAZE_PQN: dict[str, Any] = _MAZE | {"optimizer": "adam", "epochs": 1, "minibatches": 16}
_GPU_REPLAY = {"capacity": 4_194_304, "batch_size": 8192, "collect": 2, "updates": 2, "warmup": 262_144}
_CLASSIC_DQN: dict[str, Any] = {
    "env": {"num_envs": 16},
    "agent": {"lr": 1e-3, "n_step": 5},
    "replay": {"capacity": 50_000, "batch_size": 128, "collect": 1, "updates": 2, "warmup": 5000},
}
_CLASSIC_PQN: dict[str, Any] = {
    "env": {"num_envs": 32},
    "agent": {"lr": 1e-3, "loss": "squared", "lam": 0.95, "epochs": 4, "minibatches": 16},
    "replay": {"collect": 64},
}
_MINATAR: dict[str, Any] = {
    "total_steps": 5_000_000,
    "net": {"kind": "conv", "channels": 16, "conv_depth": 1, "width": 128, "depth": 1},
    "eval": {"episodes": 128},
    "dqn": {
        "agent": {"lr": 3e-4, "lr_schedule": "constant", "eps_end": 0.02},
        "replay": {"capacity": 131_072, "batch_size": 128, "collect": 1, "updates": 4, "warmup": 5000},
    },
    "pqn": {"agent": {"lr": 5e-4, "loss": "squared"}},
}


def _minatar(world: str) -> dict[str, Any]:
    return _MINATAR | {"env": {"id": f"{world}-MinAtar", "num_envs": 128}}


# Each preset: the changes it makes to the defaults; a table named after a kind of agent holds for that kind alone.
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "total_steps": 6_000_000,
        "env": {"size": 7, "observation": "full"},
        "net": {"width": 128, "layer_norm": True},
        # So few are the layouts of 7x7 that a network learns them by heart unless its weights are kept small.
        "agent": {"gamma": 0.9, "weight_decay": 0.1},
        "dqn": {
            "agent": _MAZE_DQN | {"gamma": 0.9, "double": True},
            "replay": {"batch_size": 256, "updates": 8},
        },
        "pqn": {"agent": _MAZE_PQN | {"gamma": 0.9}, "replay": {"collect": 8}},
    },
    "maze9": {
        "total_steps": 15_000_000,
        "env": {"size": 9, "pool": 131_072, "refresh_levels": 4096},
        "net": {"width": 256, "layer_norm": True},
        "dqn": {"agent": _MAZE_DQN, "replay": {"batch_size": 256, "updates": 8}},
        "pqn": {"agent": _MAZE_PQN, "replay": {"collect": 8}},
    },
    "maze13": {
        "total_steps": 400_000_000,
        "env": {"size": 13, "num_envs": 8192, "pool": 524_288, "refresh_levels": 32_768, "refresh_every": 16},
        "net": {"width": 512, "layer_norm": True},
        "dqn": {"agent": _MAZE_DQN, "replay": _GPU_REPLAY},
        "pqn": {"agent": _MAZE_PQN, "replay": {"collect": 8}},
    },
    "maze21": {
        "total_steps": 2_000_000_000,
        "env": {"size": 21, "num_envs": 8192, "pool": 524_288, "refresh_levels": 32_768, "refresh_every": 16},
        "net": {"width": 512, "layer_norm": True},
        "dqn": {"agent": _MAZE_DQN | {"gamma": 0.98}, "replay": _GPU_REPLAY},
        "pqn": {"agent": _MAZE_PQN | {"gamma": 0.98}, "replay": {"collect": 8}},
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
        "pqn": {"agent": _MAZE_PQN | {"gamma": 0.97}, "replay": {"collect": 8}},
    },
    "cartpole": {
        "total_steps": 500_000,
        "env": {"id": "CartPole-v1"},
        "net": {"width": 120},
        "dqn": {
            "env": {"num_envs": 10},
            "replay": {"capacity": 50_000, "batch_size": 128, "collect": 1, "updates": 1, "warmup": 1000},
        },
        "pqn": _CLASSIC_PQN,
    },
    "acrobot": {
        "total_steps": 500_000,
        "env": {"id": "Acrobot-v1"},
        "net": {"width": 120},
        "dqn": _CLASSIC_DQN,
        "pqn": _CLASSIC_PQN,
    },
    "mountaincar": {
        # The goal is found by chance alone: what is not yet known must look better than what is.
        "total_steps": 1_000_000,
        "env": {"id": "MountainCar-v0"},
        "net": {"width": 120},
        "dqn": _CLASSIC_DQN | {"agent": {"lr": 1e-3, "n_step": 8, "eps_ladder": True, "eps_end": 0.6}},
        "pqn": {
            "env": {"num_envs": 32},
            "net": {"dueling": False},
            "agent": _CLASSIC_PQN["agent"] | {"gamma": 0.999, "eps_start": 0.3},
            "replay": {"collect": 128},
        },
    },
    "breakout": _minatar("Breakout"),
    "asterix": _minatar("Asterix"),
    "freeway": _minatar("Freeway"),
    "spaceinvaders": _minatar("SpaceInvaders"),
    "article": {
        "total_steps": 1000,
        "log_points": 20,
        "display": "epochs",
        "env": {"num_envs": 1, "observation": "vector", "goal_reward": 10.0, "pool": 1024},
        "net": {"depth": 0, "dueling": False},
        "agent": {"lr": 1e-3, "lr_schedule": "constant", "loss": "squared"},
        "dqn": {
            "agent": {"n_step": 1, "double": False},
            "replay": {"capacity": 1024, "batch_size": 32, "collect": 1, "updates": 1, "warmup": 64},
        },
        "pqn": {"agent": {"epochs": 1, "minibatches": 1}, "replay": {"collect": 10}},
        "eval": {"validation_levels": 64, "test_levels": 128},
    },
}
KINDS = get_args(get_type_hints(AgentConfig)["kind"])


def kind_of(changes: Mapping[str, Any], default: str = KINDS[0]) -> str:
    """The kind of agent that nested ``changes`` ask for, ``default`` if none; ``from_preset`` checks it."""
    section = changes.get("agent")
    return section.get("kind", default) if isinstance(section, Mapping) else default


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
    shared = {key: value for key, value in changes.items() if key not in KINDS}
    config = Config()
    for layer in (_KIND[kind], shared, changes.get(kind, {})):
        config = overlay(config, layer, f"preset {name}")
    return dataclasses.replace(config, agent=dataclasses.replace(config.agent, kind=kind))
