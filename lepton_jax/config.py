"""Every knob a user can turn. Imports no jax, so that ``--help`` and mistakes are answered at once.

What changes shapes or code is static and stays here; scalars that do not are gathered in ``Hypers`` and traced.
"""

from __future__ import annotations

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

    kind: Literal["mlp", "conv", "think"] = "mlp"  # conv, think read (planes, rows, columns); think, maps of any size
    memory: Literal["none", "gru", "lstm"] = "none"  # of the episode so far, behind the hidden layers; of their width
    width: int = 128  # units of each hidden layer
    depth: int = 2  # hidden layers; 0 = one linear layer
    channels: int = 32  # conv, think: channels of each convolution
    conv_depth: int = 2  # conv: 3x3 convolutions before the hidden layers
    iterations: int = 16  # think: passes over the map before the hidden layers
    layer_norm: bool = False  # normalise each hidden layer before its activation
    dueling: bool = True  # value and advantage heads (Wang et al. 2016)
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the torso's arithmetic; parameters stay float32


@dataclass(frozen=True)
class AgentConfig:
    """How the agent learns."""

    kind: Literal["dqn", "pqn"] = "dqn"  # pqn: no replay, no target network (Gallici et al. 2024)
    gamma: float = 0.99  # discount
    n_step: int = 3  # dqn: steps of reward before the bootstrap; with net.memory lam takes its place
    lam: float = 0.65  # pqn, or dqn with net.memory: lambda of Q(lambda); 0 = one step, 1 = all that follow
    epochs: int = 2  # pqn: passes over each rollout
    minibatches: int = 8  # pqn: gradient steps a pass
    double: bool = True  # dqn: the online network picks the bootstrap action (van Hasselt et al. 2016)
    munchausen: bool = (
        False  # dqn, one step: soft values and a log-policy bonus (Vieillard et al. 2020), instead of double
    )
    munchausen_alpha: float = 0.9  # weight of the bonus
    munchausen_temperature: float = 0.03  # of the policy behind it
    munchausen_clip: float = -1.0  # least temperature x log-probability
    symmetry: bool = False  # learn from each sample as seen through one of the world's symmetries
    loss: Literal["huber", "squared"] = "huber"
    huber_delta: float = 1.0  # where the Huber loss turns linear
    target: Literal["polyak", "periodic"] = "polyak"  # dqn: how the target network follows
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
    """One iteration: ``collect`` steps of every environment, then ``updates`` gradient steps on what is remembered.

    PQN remembers the last iteration only, its rollout, and has but ``collect`` of these.
    """

    capacity: int = 262_144  # transitions kept; rounded down to whole iterations
    batch_size: int = 1024  # transitions a gradient step
    collect: int = 2  # steps of every environment an iteration
    updates: int = 2  # gradient steps an iteration
    warmup: int = 16_384  # transitions gathered by random actions before learning; rounded up to whole iterations
    sequence: int = 16  # dqn with net.memory: steps in a row that are learned from, a multiple of collect
    burn_in: int = 8  # dqn with net.memory: steps before them that only refresh it, a multiple of collect


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
    display: Literal["auto", "plain", "epochs", "quiet"] = "auto"  # auto = live on a terminal, else plain lines
    track: tuple[Literal["tensorboard", "wandb"], ...] = ()  # also tell these; each is an extra of the package
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
    lam: Scalar
    huber_delta: Scalar
    munchausen_alpha: Scalar
    munchausen_temperature: Scalar
    munchausen_clip: Scalar
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
