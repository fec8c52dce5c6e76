"""From a configuration to the parts of a run: world, agent, and the levels they are judged on."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lepton_jax.agents.agent import Agent
from lepton_jax.agents.dqn import make_dqn
from lepton_jax.agents.networks import make_q
from lepton_jax.agents.pqn import make_pqn
from lepton_jax.agents.training import AS_USUAL, Training
from lepton_jax.config import MAZE, Config, ConfigError
from lepton_jax.engine.shard import count_parts, count_shards, prepare_devices, wanted_devices
from lepton_jax.envs.maze import named, rules, suites, world
from lepton_jax.envs.maze.level import Level, pad, stack
from lepton_jax.envs.maze.observe import observation_spec
from lepton_jax.envs.maze.spec import TREES, MazeSpec
from lepton_jax.envs.maze.text import from_text
from lepton_jax.envs.vector import VectorEnv
from lepton_jax.validate import LONGEST_EPISODE, maze_spec


class LevelSet(NamedTuple):
    """What a policy is judged on: one episode a level."""

    name: str
    worlds: Any
    size: int  # episodes
    fingerprint: str | None  # of the levels; None where a level is a key


class Setup(NamedTuple):
    """The parts of a run."""

    shards: int  # devices the run is spread over
    env: VectorEnv  # of one shard
    agent: Agent
    note: str  # one line on the levels, for people


def cache_dir() -> Path:
    """Where compiled programs are kept between runs: ``$XDG_CACHE_HOME/lepton_jax/xla``, by default in ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lepton_jax" / "xla"


def prepare_jax(config: Config, devices: int = 0) -> None:
    """Settings of jax that a run depends on; the compilation cache unless the user has set one.

    ``devices``: CPU devices to ask for, instead of as many as one run wants.
    """
    prepare_devices(devices or wanted_devices(config))
    jax.config.update(
        "jax_default_matmul_precision", config.matmul_precision if config.matmul_precision != "default" else None
    )
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_dir()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def make_setup(config: Config, training: Training = AS_USUAL) -> Setup:
    """Builds the parts that ``config``, already validated, describes; its network is trained as ``training`` says.

    Raises:
      ConfigError: the world cannot be built: unknown, or with actions that are not discrete.
    """
    if config.env.id != MAZE:
        return _generic(config, training)
    env_, spec = config.env, maze_spec(config.env)
    levels = world.Endless(env_.pool, env_.refresh_levels) if env_.levels == 0 else env_.levels
    maze_rules = make_rules(config)
    shards = count_shards(config)
    env = world.make_env(maze_rules, env_.num_envs // count_parts(config, shards), spec, levels, env_.held_out)
    agent = make_agent(config, env, training)
    return Setup(shards, env, agent, suites.describe(spec, env_.held_out))


def make_agent(config: Config, env: VectorEnv, training: Training = AS_USUAL) -> Agent:
    """The agent of ``config`` for a world like ``env``.

    Raises:
      ConfigError: the network or the way of learning asks for what the world does not offer.
    """
    if config.agent.symmetry and not env.symmetries:
        raise ConfigError(f"agent.symmetry: {env.name} offers no symmetries as it is observed; leave it away")
    name, columns = ("env.num_envs", config.env.num_envs) if config.agent.kind == "pqn" else (
        "replay.batch_size", config.replay.batch_size
    )  # fmt: skip
    if config.agent.symmetry and columns < len(env.symmetries):
        raise ConfigError(f"{name} = {columns}: expected at least one for each of {len(env.symmetries)} symmetries")
    try:
        q = make_q(config.net, env.num_actions, env.marker)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if config.agent.kind == "pqn":
        return make_pqn(q, config.agent, training)
    return make_dqn(q, config.agent, config.replay.burn_in, training)


def takes(config: Config, given: jax.ShapeDtypeStruct, trained: jax.ShapeDtypeStruct) -> bool:
    """Whether a network trained on observations like ``trained`` takes others, such as ``given``."""
    return given.shape == trained.shape or (config.net.kind == "think" and given.shape[0] == trained.shape[0])


def level_set(config: Config, name: str, size: int) -> LevelSet:
    """``size`` levels of the suite ``name``, train, validation or test; elsewhere ``eval.episodes`` fixed keys."""
    if config.env.id != MAZE:
        return LevelSet(name, (), config.eval.episodes, None)
    levels = suites.suite(name, maze_spec(config.env), config.env.level_seed, size, config.env.held_out)
    return _packed(name, levels, make_rules(config))


def file_set(config: Config, setup: Setup, text: str, source: str) -> tuple[VectorEnv, LevelSet]:
    """The levels of a level file, padded with wall to one size, and the world they are played in.

    Raises:
      LevelError: the text holds a level that cannot be played.
      ConfigError: the levels are not of the size, or not of the kind, that the network takes.
    """
    levels = from_text(text, source)
    height, width = (max(np.shape(level.walls)[axis] for level in levels) for axis in (0, 1))
    whole_map = config.env.observation in ("full", "rgb") or (
        config.env.observation == "centred" and not config.env.view
    )
    if whole_map and config.net.kind != "think" and max(height, width) <= config.env.size:
        height = width = config.env.size  # a smaller maze is one with more wall
    return _given_set(config, setup, stack(pad(level, height, width) for level in levels), source)


class NamedSet(NamedTuple):
    """The named mazes, one after another."""

    env: VectorEnv
    levels: LevelSet
    names: tuple[str, ...]
    which: np.ndarray  # int32 (levels,): the maze of each level


NAMED_LIMIT = 250  # steps an episode may take on the named mazes, as published


def named_set(config: Config, setup: Setup, episodes: int) -> NamedSet:
    """``episodes`` levels of each named maze that is at most 19 cells wide; fixed levels, the same for every policy.

    Raises:
      ConfigError: the mazes are not of the size, or not of the kind, that the network takes.
    """
    names, levels, which = named.suite(episodes, jax.random.key(config.env.level_seed))
    if config.env.time_limit == 0:
        config = dataclasses.replace(config, env=dataclasses.replace(config.env, time_limit=NAMED_LIMIT))
    return NamedSet(*_given_set(config, setup, levels, "named mazes"), names, which)


def _given_set(config: Config, setup: Setup, levels: Level, source: str) -> tuple[VectorEnv, LevelSet]:
    levels = _as_trained(config, levels, source)
    level_rules = make_rules(config, levels)
    spec, wanted = observation_spec(level_rules), setup.env.observation
    height, width = levels.walls.shape[-2:]
    if not takes(config, spec, wanted):
        raise ConfigError(
            f"{source}: levels of {height} x {width} cells give observations of shape {spec.shape}, but the network "
            f"takes {wanted.shape}: it was trained on {config.env.size} x {config.env.size}; use levels of at most "
            "that size, or train with --env.observation centred --env.view K, which sees a window of fixed size"
        )
    env = world.make_env(level_rules, levels.walls.shape[0])
    return env, _packed(source, levels, level_rules)


def _as_trained(config: Config, levels: Level, source: str) -> Level:
    """``levels`` with what the policy knows from training, and nothing else.

    Raises:
      ConfigError: they have something that the policy has never met, or lack what it cannot do without.
    """
    env = config.env
    has = lambda field: not isinstance(field, tuple)
    goals = 1 + (levels.others.shape[-1] if has(levels.others) else 0)
    if has(levels.lava) and not env.lava:
        raise ConfigError(f"{source}: has lava, which the policy has never met; train with --env.lava above 0")
    if has(levels.door) != env.door:
        raise ConfigError(
            f"{source}: has a door, which the policy has never met; train with --env.door"
            if has(levels.door)
            else f"{source}: has no door, but the policy was trained on levels with one; mark 'K' and 'D' in the levels"
        )
    if goals != env.goals:
        raise ConfigError(f"{source}: levels with {goals} goals, where the policy was trained with {env.goals}")
    return levels if has(levels.lava) or not env.lava else levels._replace(lava=np.zeros_like(levels.walls))


def _generic(config: Config, training: Training) -> Setup:
    from lepton_jax.envs.gymnax import make_env  # imports gymnax: seconds

    try:
        env = make_env(config.env.id)
    except ValueError as error:
        raise ConfigError(f"env.id: {error}; or {MAZE} for mazes") from None
    if config.net.kind == "conv" and len(env.observation.shape) != 3:
        raise ConfigError(
            f"net.kind = 'conv' needs observations with three axes; {env.name} has {env.observation.shape}"
        )
    agent = make_agent(config, env, training)
    note = f"{env.name}: judged on {config.eval.episodes} episodes with fixed keys"
    return Setup(count_shards(config), env, agent, note)


def make_rules(config: Config, levels: Level | None = None) -> rules.Rules:
    """The rules of a maze run; for ``levels`` of any size and shape, if given, else for the run's own."""
    env = config.env
    if levels is None:
        height = width = env.size
        free = 2 * MazeSpec(env.size).rooms ** 2 - 1 if env.generator in TREES else (env.size - 2) ** 2
    else:
        height, width = levels.walls.shape[-2:]
        free = int((~levels.walls).sum(axis=(-2, -1)).max())
    # Large open maps would have more steps than the clock of an episode can count.
    usual = min(4 * free * (2 if env.actions == "oriented" else 1), LONGEST_EPISODE)
    return rules.Rules(
        height,
        width,
        env.time_limit or usual,
        env.observation,
        env.view,
        actions=env.actions,
        occlusion=env.occlusion,
        goals=env.goals,
        door=env.door,
        moving_goal=env.moving_goal,
        # The magnitude of each of these is a hyper; whether it is there at all is not.
        **{name: getattr(env, name) != 0.0 for name in _MAGNITUDES},
    )


_MAGNITUDES = ("slip", "sticky", "wall_penalty", "shaping", "time_decay", "lava")


def _packed(name: str, levels: Level, maze_rules: rules.Rules) -> LevelSet:
    return LevelSet(name, world.make_pool(levels, maze_rules), levels.walls.shape[0], suites.fingerprint(levels))
