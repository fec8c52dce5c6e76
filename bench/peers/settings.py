"""Settings of ours for CartPole-v1: those of a peer, as near as ours can be, or our own."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from lepton_jax.config import Config
from lepton_jax.presets import from_preset
from lepton_jax.settings import overlay


class Like(NamedTuple):
    """A peer's settings as ours."""

    kind: str  # of the agent
    falls: int  # env-steps, from the first on, over which epsilon falls to its end, linearly
    changes: dict[str, Any]  # to preset cartpole
    note: str  # what differs from the peer


# What all of them have: one-step targets, a constant learning rate, and Adam with the epsilon of optax and torch.
_ALL: dict[str, Any] = {
    "net": {"width": 64, "depth": 2, "dueling": False},
    "agent": {"n_step": 1, "lr_schedule": "constant", "adam_eps": 1e-8, "gamma": 0.99, "eps_end": 0.05},
}
_REJAX = "relu for swish; an episode cut short is bootstrapped, where rejax takes it for ended"
_CLIPS = "gradients clipped to a norm of 10, which rejax does to each element"
_NO_CLIP = 1e9
LIKE = {
    "as rejax DQN": Like(
        "dqn",
        13_107,
        {
            "env": {"num_envs": 1},
            "agent": {"lr": 3e-4, "double": True, "loss": "squared", "tau": 0.01, "max_grad_norm": _NO_CLIP},
            "replay": {"capacity": 131_072, "warmup": 2048, "batch_size": 256, "collect": 1, "updates": 1},
        },
        _REJAX,
    ),
    "as rejax DQN, cartpole.yaml": Like(
        "dqn",
        50_000,
        {
            "env": {"num_envs": 10},
            "net": {"dueling": True},
            # Its target follows once in five gradient steps, by a fiftieth.
            "agent": {"lr": 1e-3, "double": True, "loss": "squared", "tau": 1 - 0.98 ** (1 / 5), "max_grad_norm": 10.0},
            "replay": {"capacity": 50_000, "warmup": 5000, "batch_size": 100, "collect": 1, "updates": 5},
        },
        f"{_REJAX}; {_CLIPS}; the target follows at every gradient step, at a fifth of the rate",
    ),
    "as rejax PQN": Like(
        "pqn",
        13_107,
        {
            "env": {"num_envs": 64},
            "net": {"layer_norm": True},
            "agent": {
                **{"lr": 3e-4, "optimizer": "adam", "loss": "squared", "lam": 0.9, "epochs": 1, "minibatches": 16},
                **{"max_grad_norm": _NO_CLIP},
            },
            "replay": {"collect": 64},
        },
        "an episode cut short is bootstrapped, where rejax takes it for ended",
    ),
    "as rejax PQN, cartpole.yaml": Like(
        "pqn",
        262_144,
        {
            "env": {"num_envs": 16},
            "net": {"layer_norm": True},
            "agent": {
                **{"lr": 3e-4, "optimizer": "adam", "loss": "squared", "lam": 0.9, "epochs": 5, "minibatches": 16},
                **{"max_grad_norm": 10.0},
            },
            "replay": {"collect": 128},
        },
        f"an episode cut short is bootstrapped, where rejax takes it for ended; {_CLIPS}",
    ),
    "as stable-baselines3 DQN": Like(
        "dqn",
        5000,
        {
            "env": {"num_envs": 1},
            "agent": {
                **{"lr": 1e-4, "double": False, "loss": "huber", "max_grad_norm": 10.0},
                **{"target": "periodic", "target_period": 2500},  # 10,000 env-steps
            },
            "replay": {"capacity": 1_000_000, "warmup": 100, "batch_size": 32, "collect": 4, "updates": 1},
        },
        "nothing differs",
    ),
    "as stable-baselines3 DQN, rl-zoo": Like(
        "dqn",
        8000,
        {
            "env": {"num_envs": 1},
            "net": {"width": 256},
            "agent": {
                **{"lr": 2.3e-3, "double": False, "loss": "huber", "max_grad_norm": 10.0, "eps_end": 0.04},
                # It is copied every 10 env-steps, of which 256 come at once, before the 128 gradient steps.
                **{"target": "periodic", "target_period": 128},
            },
            "replay": {"capacity": 100_000, "warmup": 1000, "batch_size": 64, "collect": 256, "updates": 128},
        },
        "nothing differs",
    ),
    "as cleanrl": Like(
        "dqn",
        250_000,
        {
            "env": {"num_envs": 1},
            "net": {"width": 104},  # 11,650 parameters; layers of 120 and 84 units have 10,934
            "agent": {
                **{"lr": 2.5e-4, "double": False, "loss": "squared", "max_grad_norm": _NO_CLIP},
                **{"target": "periodic", "target_period": 50},  # 500 env-steps
            },
            "replay": {"capacity": 10_000, "warmup": 10_000, "batch_size": 128, "collect": 10, "updates": 1},
        },
        "two layers of 104 units for 120 and 84; half the squared error, which Adam does not notice",
    ),
}
OWN = {"preset cartpole": "dqn", "preset cartpole, pqn": "pqn"}


def settings(name: str, cadence: int) -> Config:
    """The configuration of a name of ``LIKE`` or ``OWN``.

    Args:
      name: of the row.
      cadence: env-steps from one log point to the next, rounded up to whole iterations.
    """
    like = LIKE.get(name)
    config = from_preset("cartpole", like.kind if like else OWN[name])
    if like is not None:
        config = overlay(overlay(config, _ALL, name), like.changes, name)
    once = config.env.num_envs * config.replay.collect
    iterations = math.ceil(cadence / once)
    points = math.ceil(config.total_steps / (iterations * once))
    changes: dict[str, Any] = {
        "total_steps": points * iterations * once,
        "log_points": points,
        "env": {"refresh_every": iterations},
    }
    if like is not None:
        # Theirs falls from the first step on, ours from the end of the warm-up.
        warmup = config.replay.warmup if like.kind == "dqn" else 0
        changes["agent"] = {
            "eps_start": 1.0 - (1.0 - config.agent.eps_end) * warmup / like.falls,
            "eps_fraction": (like.falls - warmup) / changes["total_steps"],
        }
    return overlay(config, changes, name)
