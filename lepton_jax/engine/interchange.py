"""The worlds of a run as Gymnasium environments. Importing this imports gymnasium."""

from __future__ import annotations

from lepton_jax.config import MAZE, Config, ConfigError
from lepton_jax.engine.program import make_hypers, program_shape
from lepton_jax.engine.setup import make_rules
from lepton_jax.envs.gymnasium import LeptonEnv, LeptonVectorEnv, World
from lepton_jax.envs.maze import suites, world
from lepton_jax.validate import maze_spec, validate

_ENDLESS = 1024  # levels drawn where a run would never run out


def make(config: Config, num_envs: int | None, render_mode: str | None) -> LeptonEnv | LeptonVectorEnv:
    """The training mazes of ``config`` as one environment, or as ``num_envs`` of them.

    There are ``env.levels`` levels, or as many as a pool's start where these are endless; ``options["level"]`` of
    ``reset`` names them.

    Raises:
      ConfigError: the configuration cannot be used, or is not of mazes.
    """
    config = validate(config)
    if config.env.id != MAZE:
        raise ConfigError(f"env.id = {config.env.id!r}: make_gymnasium() makes mazes; gymnasium itself has others")
    count = num_envs or 1
    levels = suites.suite(
        "train", maze_spec(config.env), config.env.level_seed, config.env.levels or _ENDLESS, config.env.held_out
    )
    rules = make_rules(config)
    pool = world.make_pool(levels, rules, count)
    made = World(world.make_env(rules, count), pool, make_hypers(config, program_shape(config)), len(levels.start))
    return LeptonEnv(made, render_mode) if num_envs is None else LeptonVectorEnv(made, count, render_mode)
