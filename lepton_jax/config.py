"""Every knob a user can turn. Imports no jax, so that ``--help`` and mistakes are answered at once.

What changes shapes or code is static and stays here; scalars that do not are gathered in ``Hypers`` and traced.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

MAZE = "LeptonMaze-v0"


class ConfigError(ValueError):
    """A setting that cannot be used. The message names it, says what was expected and how to fix it."""


@dataclass(frozen=True)
class EnvConfig:
    """The world."""

    id: str = MAZE  # LeptonMaze-v0, or any gymnax environment with discrete actions
    num_envs: int = 512  # environments stepped together
    size: int = 7  # maze: tiles a side, odd
    min_size: int = 0  # maze: mixed sizes, from this to size, padded with wall; 0 = all of one size
    generator: Literal["perfect", "backtracker", "wilson", "blocks", "rooms", "crossings", "caves"] = "perfect"
    weights: Literal["uniform", "anisotropic", "smooth"] = "uniform"  # maze: the field that perfect mazes grow in
    braid: float = 0.0  # maze: share of inner walls opened to make loops, 0 to 1
    density: float = -1.0  # maze: share of wall in blocks, caves and crossings; -1 = what suits the generator
    chambers: int = 0  # maze: chambers a side in rooms; 0 = what suits the size
    ends: Literal["uniform", "corners"] = "uniform"  # maze: where start and goal lie
    min_distance: int = 0  # maze: fewest steps from start to goal, where a level has such cells
    max_distance: int = 0  # maze: most steps from start to goal; 0 = any
    observation: Literal["full", "centred", "vector", "egocentric", "rgb"] = "centred"  # maze: what the agent sees
    view: int = 0  # maze: side of the window, odd; 0 = the whole map (centred only)
    occlusion: bool = False  # maze, egocentric: walls hide what is behind them
    actions: Literal["cardinal", "diagonal", "oriented"] = "cardinal"  # maze: 4 moves, 8 moves, or turn and go forward
    levels: int = 0  # maze: number of training levels; 0 = endless
    pool: int = 16384  # maze: levels held at a time when endless
    refresh_levels: int = 1024  # maze: levels replaced at each refresh when endless
    refresh_every: int = 64  # iterations between refreshes, at most; a run can be stopped as often
    held_out: bool = True  # maze: keep validation and test layouts out of training
    level_seed: int = 0  # maze: seed of the levels, apart from the run's seed
    time_limit: int = 0  # maze: steps an episode may take; 0 = 4 x free cells
    goal_reward: float = 1.0  # maze: reward on entering the goal
    goals: int = 1  # maze: goals a level, each of which ends an episode
    goal_ratio: float = 0.5  # maze: reward of each goal over that of the one before
    moving_goal: bool = False  # maze: each training episode has its goal elsewhere
    step_cost: float = 0.0  # maze: subtracted from the reward of every step
    wall_penalty: float = 0.0  # maze: subtracted when a move goes into a wall
    lava: float = 0.0  # maze: share of the cells off every shortest path that are lava, which ends an episode
    lava_penalty: float = 0.0  # maze: subtracted in lava
    door: bool = False  # maze: a door bars the way, and a key lies before it
    time_decay: float = 0.0  # maze: share of the goal's reward that is lost by the time limit, linearly (MiniGrid: 0.9)
    shaping: float = 0.0  # maze: potential-based reward a step of true distance to the goal
    slip: float = 0.0  # maze: probability that a random move replaces the chosen one
    sticky: float = 0.0  # maze: probability that the last move is made again instead


@dataclass(frozen=True)
class NetConfig:
    """The network."""

    kind: Literal["mlp", "conv"] = "mlp"  # conv reads observations as (channels, rows, columns)
    width: int = 128  # units of each hidden layer
    depth: int = 2  # hidden layers; 0 = one linear layer
    channels: int = 32  # conv: channels of each convolution
    conv_depth: int = 2  # conv: 3x3 convolutions before the hidden layers
    layer_norm: bool = False  # normalise each hidden layer before its activation
    dueling: bool = True  # value and advantage heads (Wang et al. 2016)
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the torso's arithmetic; parameters stay float32


@dataclass(frozen=True)
class AgentConfig:
    """How the agent learns."""

    kind: Literal["dqn"] = "dqn"
    gamma: float = 0.99  # discount
    n_step: int = 3  # steps of reward before the bootstrap
    double: bool = True  # the online network picks the bootstrap action (van Hasselt et al. 2016)
    loss: Literal["huber", "squared"] = "huber"
    huber_delta: float = 1.0  # where the Huber loss turns linear
    target: Literal["polyak", "periodic"] = "polyak"  # how the target network follows
    tau: float = 0.005  # polyak: rate per gradient step
    target_period: int = 500  # periodic: gradient steps between copies
    optimizer: Literal["adam", "radam"] = "adam"
    lr: float = 5e-4  # learning rate at the start
    lr_schedule: Literal["constant", "linear", "cosine"] = "linear"  # over the whole run
    lr_end: float = 0.0  # learning rate at the end, if not constant
    adam_eps: float = 1e-5  # added to Adam's denominator
    weight_decay: float = 0.0  # decoupled from the gradient (Loshchilov & Hutter 2019), times the learning rate
    max_grad_norm: float = 10.0  # gradients are scaled down to this global norm
    eps_start: float = 1.0  # share of random actions at the start
    eps_end: float = 0.05  # share of random actions at the end
    eps_fraction: float = 0.1  # share of the run over which it falls, linearly
    eps_ladder: bool = False  # environment i of N uses epsilon ** (1 + power * i / (N - 1)) (Horgan et al. 2018)
    eps_ladder_power: float = 7.0


@dataclass(frozen=True)
class ReplayConfig:
    """One iteration: ``collect`` steps of every environment, then ``updates`` gradient steps."""

    capacity: int = 262_144  # transitions kept; rounded down to whole iterations
    batch_size: int = 1024  # transitions a gradient step
    collect: int = 2  # steps of every environment an iteration
    updates: int = 2  # gradient steps an iteration
    warmup: int = 16_384  # transitions gathered by random actions before learning; rounded up to whole iterations


@dataclass(frozen=True)
class EvalConfig:
    """Greedy episodes on fixed levels, one each."""

    validation_levels: int = 1024  # maze: levels that choose the best policy
    test_levels: int = 1024  # maze: levels of the final report; as many as above saves a compilation
    episodes: int = 100  # other environments: episodes with fixed keys


@dataclass(frozen=True)
class CheckpointConfig:
    """What is kept of a run, so that it can go on. None of it changes what the run computes."""

    every_seconds: float = 30.0  # of training between checkpoints; one more is made when the run is stopped or ends
    every_iterations: int = 0  # iterations between checkpoints, rounded up to whole segments; 0 = by time
    latest: int = 2  # newest checkpoints kept
    best: int = 1  # checkpoints kept for their validation score, besides


@dataclass(frozen=True)
class Config:
    """One run."""

    seed: int = 0  # of everything but the levels
    total_steps: int = 8_000_000  # environment steps, all environments together; rounded up to whole log points
    schedule_steps: int = 0  # steps that schedules and log_points are spread over; 0 = total_steps
    run_dir: str = ""  # where the run is kept; empty = runs/PRESET-sSEED-TIME
    log_points: int = 40  # how often, over the run, metrics are read and the policy is validated
    display: Literal["auto", "plain", "epochs", "quiet"] = "auto"  # auto = a bar on a terminal, else plain lines
    shards: int = 0  # devices (on a CPU: cores) that share one run; 0 = as many as pay
    matmul_precision: Literal["default", "high", "highest"] = "highest"  # of float32 matrix products on accelerators
    env: EnvConfig = field(default_factory=EnvConfig)
    net: NetConfig = field(default_factory=NetConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)


Scalar = Any  # float or float32 ()


class Hypers(NamedTuple):
    """The traced scalars: floats here, strong float32 behind the engine's door. A sweep gives each a lane axis."""

    gamma: Scalar
    huber_delta: Scalar
    tau: Scalar
    lr: Scalar
    lr_end: Scalar
    lr_horizon: Scalar  # gradient steps over which the learning rate falls
    adam_eps: Scalar
    weight_decay: Scalar
    max_grad_norm: Scalar
    eps_start: Scalar
    eps_end: Scalar
    eps_horizon: Scalar  # iterations over which epsilon falls
    eps_ladder_power: Scalar
    goal_reward: Scalar
    goal_ratio: Scalar
    step_cost: Scalar
    wall_penalty: Scalar
    lava_penalty: Scalar
    time_decay: Scalar
    shaping: Scalar
    slip: Scalar
    sticky: Scalar


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
    longest = c.total_steps * c.log_points  # beyond it not one log point would fall into the run
    check(
        0 <= c.schedule_steps <= longest, "schedule_steps", f"0 (total_steps) to total_steps x log_points = {longest}"
    )
    check(c.checkpoint.every_seconds >= 0.0, "checkpoint.every_seconds", "0 or more")
    check(c.checkpoint.every_iterations >= 0, "checkpoint.every_iterations", "0 (by time) or a number of iterations")
    check(c.checkpoint.best >= 0, "checkpoint.best", "0 or more")
    check(c.shards >= 0, "shards", "0 (as many as pay) or more")
    for name in ("env.num_envs", "replay.batch_size"):
        check(look_up(c, name) % max(c.shards, 1) == 0, name, f"a multiple of shards = {c.shards}")
    most = (2**31 - 1) * env.num_envs * c.replay.collect  # iterations are counted in 32 bits
    check(c.total_steps + c.replay.warmup < most, "total_steps", f"less than {most}, replay.warmup included")
    rows = (c.agent.n_step + 1) * env.num_envs
    check(
        c.replay.capacity >= rows + env.num_envs * c.replay.collect,
        "replay.capacity",
        f"more than {rows} (agent.n_step + 1 rows of env.num_envs) and an iteration",
    )
    if env.id == MAZE:
        _check_maze(c, check)
    return config


def _check_maze(c: Config, check: Callable[[bool, str, str], None]) -> None:
    env = c.env
    check(env.size % 2 == 1 and 5 <= env.size <= 101, "env.size", "an odd number from 5 to 101")
    smallest = 7 if env.held_out else 5
    check(
        env.size >= smallest,
        "env.size",
        "at least 7 with env.held_out: the layouts of a 5x5 maze are one up to symmetry, so that none can be "
        "held out; use --env.no-held-out",
    )
    check(
        env.min_size == 0 or (env.min_size % 2 == 1 and smallest <= env.min_size <= env.size),
        "env.min_size",
        f"0 (one size) or an odd number from {smallest} to env.size = {env.size}",
    )
    check(env.braid == 0.0 or env.generator in _BRAIDED, "env.braid", f"0 unless env.generator is one of {_BRAIDED}")
    check(env.weights == "uniform" or env.generator == "perfect", "env.weights", "'uniform' unless perfect mazes grow")
    check(
        env.density == -1.0 or (0.0 <= env.density <= 1.0 and env.generator in _DENSE),
        "env.density",
        f"-1 (what suits the generator), or 0 to 1 where env.generator is one of {_DENSE}",
    )
    most = (env.min_size or env.size) // 2
    check(0 <= env.chambers <= most, "env.chambers", f"0 (what suits the size) to {most}")
    check(env.chambers == 0 or env.generator == "rooms", "env.chambers", "0 unless env.generator is 'rooms'")
    check(0 <= env.min_distance < 2**15, "env.min_distance", "0 to 32767")
    check(
        env.max_distance == 0 or env.min_distance <= env.max_distance < 2**15,
        "env.max_distance",
        f"0 (any), or env.min_distance = {env.min_distance} to 32767",
    )
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
    check(0 <= env.time_limit < 65536, "env.time_limit", "0 (4 x free cells) to 65535")
    check(1 <= env.goals <= 4, "env.goals", "1 to 4")
    plain = not (env.lava or env.door) and env.goals == 1
    check(
        plain or env.observation != "vector",
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
    check(c.net.kind != "conv" or env.observation != "vector", "net.kind", "'mlp' when env.observation is 'vector'")


_BRAIDED = ("perfect", "backtracker", "wilson", "rooms")
_DENSE = ("blocks", "caves", "crossings")
# Counts start at 1; the largest is what 32 bits number, or far beyond what a run can hold.
_INT32 = 2**31 - 1
_COUNTS = {
    **dict.fromkeys(("total_steps", "log_points", "env.refresh_every", "checkpoint.latest"), 2**62),
    **dict.fromkeys(("agent.target_period", "replay.capacity"), _INT32),
    **dict.fromkeys(("env.pool", "env.refresh_levels"), 2**26),
    **dict.fromkeys(("env.num_envs", "replay.batch_size"), 2**24),
    **dict.fromkeys(("eval.validation_levels", "eval.test_levels", "eval.episodes"), 2**24),
    **dict.fromkeys(("net.width", "net.channels", "agent.n_step", "replay.collect", "replay.updates"), 2**16),
    "net.conv_depth": 100,
}
_SEEDS = ("seed", "env.level_seed")
_FINITE = (
    *("env.goal_reward", "env.goal_ratio", "env.step_cost", "env.wall_penalty", "env.lava_penalty", "env.shaping"),
)
_SHARES = (
    *("agent.gamma", "agent.tau", "agent.eps_start", "agent.eps_end", "agent.eps_fraction"),
    *("env.slip", "env.sticky", "env.braid", "env.lava", "env.time_decay"),
)


def look_up(config: Config, name: str) -> Any:
    """The value of a setting by its name, such as ``agent.lr``."""
    section, _, key = name.rpartition(".")
    return getattr(getattr(config, section) if section else config, key)
