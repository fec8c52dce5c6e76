"""Deep Q-learning and transfer in JAX: worlds, replay and learner in one compiled program.

import lepton_jax

result = lepton_jax.run(lepton_jax.preset("quick", seed=1, env={"size": 9}))
print(result.summary["success_rate"])
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lepton_jax.config import Config, ConfigError
from lepton_jax.presets import from_preset, kind_of
from lepton_jax.settings import overlay

if TYPE_CHECKING:
    from lepton_jax.engine.run import Result
    from lepton_jax.envs.gymnasium import LeptonEnv, LeptonVectorEnv

__version__ = "0.1.0"
__all__ = ["Config", "ConfigError", "make_gymnasium", "preset", "register_gymnax", "resume", "run"]


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
    from lepton_jax.engine.launch import begin
    from lepton_jax.engine.run import go
    from lepton_jax.report.terminal import make_display

    start = begin(config or preset())
    return go(start, [make_display(start.config.display)])


def resume(path: str | Path, **changes: Any) -> Result:
    """Goes on with the run in ``path`` from its newest intact checkpoint, as if it had never been stopped.

    ``resume("runs/mine", total_steps=20_000_000)`` extends a run.

    Raises:
      ConfigError: no run there, another process writes it, or a setting was changed that cannot be.
      CheckpointError: there are checkpoints, but none of them is intact.
    """
    from lepton_jax.engine.launch import go_on
    from lepton_jax.engine.run import go
    from lepton_jax.report.terminal import make_display

    start = go_on(Path(path), lambda config: overlay(config, changes, "resume()"))
    return go(start, [make_display(start.config.display)])


def register_gymnax() -> None:
    """Makes ``gymnax.make("LeptonMaze-v0")`` work. May be called any number of times. Imports gymnax."""
    from lepton_jax.envs.maze import gym

    gym.register()


def make_gymnasium(
    config: Config | None = None, num_envs: int | None = None, render_mode: str | None = None
) -> LeptonEnv | LeptonVectorEnv:
    """The training mazes of ``config``, by default of the preset ``quick``, for tools that speak Gymnasium.

    ``make_gymnasium()`` is a ``gymnasium.Env``; with ``num_envs`` it is a ``gymnasium.vector.VectorEnv`` of so many.
    ``render_mode`` is None, "rgb_array" or "ansi". Imports gymnasium.

    Raises:
      ConfigError: the configuration cannot be used, or is not of mazes.
    """
    from lepton_jax.engine import interchange

    return interchange.make(config or preset(), num_envs, render_mode)
