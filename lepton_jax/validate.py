"""Whether the settings of a run can be used, and belong together. Imports no jax."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from typing import Any

from lepton_jax.config import MAZE, Config, ConfigError, EnvConfig
from lepton_jax.envs.maze.spec import MazeSpec, fault

LONGEST_EPISODE = 2**16 - 1  # steps that the clock of a maze counts, see envs/maze/rules.py


def validate(config: Config) -> Config:
    """Returns ``config`` if every value is usable.

    Raises:
      ConfigError: the first value that is not, by name.
    """
    c, env = config, config.env

    def check(good: bool, name: str, expected: str) -> None:
        if not good:
            raise ConfigError(f"{name} = {look_up(c, name)!r} is out of range: expected {expected}")

    for name, most in _COUNTS.items():
        check(1 <= look_up(c, name) <= most, name, f"1 to {most}")
    for name in _SHARES:
        check(0.0 <= look_up(c, name) <= 1.0, name, "0 to 1")
    for name in _SEEDS:
        check(0 <= look_up(c, name) < 2**32, name, "0 to 4294967295")
    for name in _FINITE:
        check(math.isfinite(look_up(c, name)), name, "a finite number")
    check(0 <= c.net.depth <= 100, "net.depth", "0 to 100")
    check(0.0 < c.agent.lr < math.inf, "agent.lr", "a positive number")
    check(0.0 <= c.agent.lr_end < math.inf, "agent.lr_end", "0 or more")
    for name in ("agent.adam_eps", "agent.max_grad_norm", "agent.huber_delta"):
        check(0.0 < look_up(c, name) < math.inf, name, "a positive number")
    check(0.0 <= c.agent.weight_decay < math.inf, "agent.weight_decay", "0 or more")
    check(0.0 <= c.agent.eps_ladder_power < math.inf, "agent.eps_ladder_power", "0 or more")
    check(c.replay.warmup >= 0, "replay.warmup", "0 or more")
    check(0 <= c.replay.burn_in <= 2**16, "replay.burn_in", "0 to 65536")
    check(0.0 < c.agent.munchausen_temperature < math.inf, "agent.munchausen_temperature", "a positive number")
    check(-math.inf < c.agent.munchausen_clip <= 0.0, "agent.munchausen_clip", "0 or less")
    longest = c.total_steps * c.log_points  # beyond it not one log point would fall into the run
    check(
        0 <= c.schedule_steps <= longest, "schedule_steps", f"0 (total_steps) to total_steps x log_points = {longest}"
    )
    check(c.checkpoint.every_seconds >= 0.0, "checkpoint.every_seconds", "0 or more")
    check(c.checkpoint.every_iterations >= 0, "checkpoint.every_iterations", "0 (by time) or a number of iterations")
    check(c.checkpoint.best >= 0, "checkpoint.best", "0 or more")
    check(c.shards >= 0, "shards", "0 (as many as pay) or more")
    most = (2**31 - 1) * env.num_envs * c.replay.collect  # iterations are counted in 32 bits
    check(c.total_steps + c.replay.warmup < most, "total_steps", f"less than {most}, replay.warmup included")
    check(not c.agent.symmetry or c.net.memory == "none", "agent.symmetry", "False with net.memory (or net.memory = "
          "'none'): what an agent remembers it has seen from one side")  # fmt: skip
    (_check_pqn if c.agent.kind == "pqn" else _check_dqn)(c, check)
    if env.id == MAZE:
        _check_maze(c, check)
    return config


def check_trackers(config: Config) -> None:
    """Raises ConfigError unless all that ``config.track`` names is installed. A run can be looked at without."""
    for name in config.track:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:  # a mere folder of that name, as such tools leave them, has no origin
            raise ConfigError(
                f"track: {name} is not installed: pip install 'lepton-jax[{name}]', or leave --track {name} away"
            )


def _check_pqn(c: Config, check: Callable[[bool, str, str], None]) -> None:
    check(c.env.num_envs % max(c.shards, 1) == 0, "env.num_envs", f"a multiple of shards = {c.shards}")
    parts = c.agent.minibatches * max(c.shards, 1)
    if c.net.memory == "none":
        rows, what = c.env.num_envs * c.replay.collect, "env.num_envs x replay.collect"
    else:
        rows, what = c.env.num_envs, "env.num_envs (of which a minibatch has whole ones, with net.memory)"
    times = f", also times shards = {c.shards}," if c.shards > 1 else ""
    check(rows % parts == 0, "agent.minibatches", f"a number that{times} divides {what} = {rows}")
    check(not c.agent.munchausen, "agent.munchausen", "False with agent.kind = 'pqn': it is for dqn")


def _check_dqn(c: Config, check: Callable[[bool, str, str], None]) -> None:
    envs, collect, shards = c.env.num_envs, c.replay.collect, max(c.shards, 1)
    if c.net.memory == "none":
        rows, what = c.agent.n_step, "agent.n_step"
        check(c.replay.batch_size % shards == 0, "replay.batch_size", f"a multiple of shards = {c.shards}")
        check(
            not c.agent.munchausen or c.agent.n_step == 1,
            "agent.n_step",
            "1 with agent.munchausen, whose bonus belongs to each step",
        )
    else:
        rows, what = c.replay.burn_in + c.replay.sequence, "replay.burn_in + replay.sequence"
        for name in ("replay.sequence", "replay.burn_in"):
            check(look_up(c, name) % collect == 0, name, f"a multiple of replay.collect = {collect}")
        check(
            not c.agent.munchausen or c.agent.lam == 0.0,
            "agent.lam",
            "0 with agent.munchausen and net.memory: a soft return is no mixture of plain ones",
        )
        each = c.replay.sequence * shards
        check(
            c.replay.batch_size % each == 0,
            "replay.batch_size",
            f"a multiple of {each}, replay.sequence{' x shards' * (shards > 1)}, for it counts transitions",
        )
    check(
        c.replay.capacity >= (rows + 1 + collect) * envs,
        "replay.capacity",
        f"more than {(rows + 1) * envs} ({what} + 1 rows of env.num_envs) and an iteration",
    )


def maze_spec(env: EnvConfig) -> MazeSpec:
    """What the generator of a maze run needs."""
    shared = {name: getattr(env, name) for name in MazeSpec._fields if name != "kind"}
    return MazeSpec(kind=env.generator, **shared)


def _check_maze(c: Config, check: Callable[[bool, str, str], None]) -> None:
    env = c.env
    check(env.size % 2 == 1 and 5 <= env.size <= 101, "env.size", "an odd number from 5 to 101")
    check(
        (env.min_size or env.size) >= 7 or not env.held_out,
        "env.min_size" if env.min_size else "env.size",
        "at least 7 with env.held_out: the layouts of a 5x5 maze are one up to symmetry, so that none can be "
        "held out; use --env.no-held-out",
    )
    if (wrong := fault(maze_spec(env))) is not None:
        check(False, f"env.{'generator' if wrong[0] == 'kind' else wrong[0]}", wrong[1])
    check(env.goals <= 9, "env.goals", "1 to 9")  # level files number them by a digit
    windowed = env.observation in ("centred", "egocentric")
    check(windowed or env.view == 0, "env.view", "0 unless env.observation is 'centred' or 'egocentric'")
    if env.observation == "egocentric":
        check(env.view % 2 == 1 and 3 <= env.view <= 15, "env.view", "an odd number from 3 to 15 (egocentric)")
    check(
        env.view == 0 or (env.view % 2 == 1 and env.view >= 3),
        "env.view",
        "0 (whole map) or an odd number from 3 on",
    )
    check(env.view <= 2 * env.size - 1, "env.view", f"at most 2 x env.size - 1 = {2 * env.size - 1}: that is all")
    check(
        not env.occlusion or env.observation == "egocentric", "env.occlusion", "False unless 'egocentric' is observed"
    )
    check(
        env.actions != "oriented" or env.observation in ("full", "egocentric", "rgb"),
        "env.actions",
        f"'cardinal' or 'diagonal': env.observation = {env.observation!r} does not show where the agent looks",
    )
    check(0 <= env.levels <= _COUNTS["env.pool"], "env.levels", f"0 (endless) to {_COUNTS['env.pool']}")
    check(0 <= env.time_limit <= LONGEST_EPISODE, "env.time_limit", f"0 (4 x free cells) to {LONGEST_EPISODE}")
    bare = not (env.lava or env.door) and env.goals == 1
    check(
        bare or env.observation != "vector",
        "env.observation",
        "another than 'vector', which shows one goal and walls only",
    )
    check(
        not (env.moving_goal and env.shaping),
        "env.shaping",
        "0 with env.moving_goal: distances belong to one goal",
    )
    if env.levels == 0:
        check(env.pool >= env.num_envs, "env.pool", f"at least env.num_envs = {env.num_envs}")
        check(
            env.pool % env.refresh_levels == 0,
            "env.pool",
            f"a multiple of env.refresh_levels = {env.refresh_levels}",
        )
    check(c.net.kind == "mlp" or env.observation != "vector", "net.kind", "'mlp' when env.observation is 'vector'")
    if c.net.kind == "think":  # it reads what it has thought where the agent is
        check(env.observation == "full", "env.observation", "'full' with net.kind = 'think'")
        check(env.actions != "oriented", "env.actions", "'cardinal' or 'diagonal' with net.kind = 'think'")


# Counts start at 1; the largest is what 32 bits number, or far beyond what a run can hold.
_INT32 = 2**31 - 1
_COUNTS = {
    **dict.fromkeys(("total_steps", "log_points", "env.refresh_every", "checkpoint.latest"), 2**62),
    **dict.fromkeys(("agent.target_period", "replay.capacity"), _INT32),
    **dict.fromkeys(("env.pool", "env.refresh_levels"), 2**26),
    **dict.fromkeys(("env.num_envs", "replay.batch_size"), 2**24),
    **dict.fromkeys(("eval.validation_levels", "eval.test_levels", "eval.episodes"), 2**24),
    **dict.fromkeys(("net.width", "net.channels", "net.iterations", "agent.n_step"), 2**16),
    **dict.fromkeys(("agent.epochs", "agent.minibatches"), 2**16),
    **dict.fromkeys(("replay.collect", "replay.updates", "replay.sequence"), 2**16),
    "net.conv_depth": 100,
}
_SEEDS = ("seed", "env.level_seed")
_FINITE = (
    *("env.goal_reward", "env.goal_ratio", "env.step_cost", "env.wall_penalty", "env.lava_penalty", "env.shaping"),
)
_SHARES = (
    *(
        "agent.gamma",
        "agent.lam",
        "agent.munchausen_alpha",
        "agent.tau",
        "agent.eps_start",
        "agent.eps_end",
        "agent.eps_fraction",
    ),
    *("env.slip", "env.sticky", "env.braid", "env.lava", "env.time_decay"),
)


def look_up(config: Config, name: str) -> Any:
    """The value of a setting by its name, such as ``agent.lr``."""
    section, _, key = name.rpartition(".")
    return getattr(getattr(config, section) if section else config, key)
