"""Deep Q-learning and transfer in JAX: worlds, replay and learner in one compiled program.

import lepton_jax

result = lepton_jax.run(lepton_jax.preset("quick", seed=1, env={"size": 9}))
print(result.summary["success_rate"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lepton_jax.config import Config, ConfigError, from_preset, kind_of, overlay

if TYPE_CHECKING:
    from lepton_jax.engine.run import Result

__version__ = "0.1.0"
__all__ = ["Config", "ConfigError", "preset", "register_gymnax", "run"]


def preset(name: str = "quick", **changes: Any) -> Config:
    """The configuration of a preset with changes: ``preset("quick", seed=1, agent={"lr": 1e-3})``.

    Raises:
      ConfigError: unknown preset or key, or a value of the wrong type.
    """
    return overlay(from_preset(name, kind_of(changes)), changes, "preset()")


def run(config: Config | None = None) -> Result:
    """Trains ``config``, by default the preset ``quick``, shows how it goes, and leaves a run folder.

    Raises:
      ConfigError: the configuration cannot be used; says why.
    """
    from lepton_jax.engine.run import run as run_engine
    from lepton_jax.report.terminal import make_display

    config = config or preset()
    return run_engine(config, [make_display(config.display)])


def register_gymnax() -> None:
    """Makes ``gymnax.make("LeptonMaze-v0")`` work. May be called any number of times. Imports gymnax."""
    from lepton_jax.envs.maze import gym

    gym.register()
