"""Every knob a user can turn. Imports no jax, so that ``--help`` and mistakes are answered at once.

A value comes from the preset, then from a TOML file, then from the command line; the later one wins. What changes
shapes or code is static and stays here; scalars that do not are gathered in ``Hypers`` and traced.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

MAZE = "LeptonMaze-v0"


class ConfigError(ValueError):
    """A setting that cannot be used. The message names it, says what was expected and how to fix it."""


@dataclass(frozen=True)
class EnvConfig:
    """The world."""

    id: str = MAZE  # LeptonMaze-v0, or any gymnax environment with discrete actions
    num_envs: int = 512  # environments stepped together
    size: int = 7  # maze: tiles a side, odd
    observation: Literal["full", "centred", "vector"] = "centred"  # maze: what the agent sees
    view: int = 0  # maze: side of the centred window, odd; 0 = the whole map
    levels: int = 0  # maze: number of training levels; 0 = endless
    pool: int = 16384  # maze: levels held at a time when endless
    refresh_levels: int = 1024  # maze: levels replaced at each refresh when endless
    refresh_every: int = 64  # maze: iterations between refreshes when endless, at most
    held_out: bool = True  # maze: keep validation and test layouts out of training
    level_seed: int = 0  # maze: seed of the levels, apart from the run's seed
    braid: float = 0.0  # maze: share of inner walls opened to make loops, 0 to 1
    time_limit: int = 0  # maze: steps an episode may take; 0 = 4 x free cells
    goal_reward: float = 1.0  # maze: reward on entering the goal
    step_cost: float = 0.0  # maze: subtracted from the reward of every step
    slip: float = 0.0  # maze: probability that a random move replaces the chosen one


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
class Config:
    """One run."""

    seed: int = 0  # of everything but the levels
    total_steps: int = 8_000_000  # environment steps, all environments together; rounded up to whole chunks
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
    step_cost: Scalar
    slip: Scalar


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
        raise ConfigError(f"agent.kind = {kind!r} is unknown{_nearest(str(kind), KINDS)}; there are {', '.join(KINDS)}")
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}{_nearest(name, PRESETS)}; there are {', '.join(PRESETS)}")
    changes = PRESETS[name]
    config = overlay(Config(), {key: value for key, value in changes.items() if key not in KINDS}, f"preset {name}")
    config = overlay(config, changes.get(kind, {}), f"preset {name}")
    return dataclasses.replace(config, agent=dataclasses.replace(config.agent, kind=kind))


def overlay(config: Any, changes: Mapping[str, Any], source: str, prefix: str = "") -> Any:
    """``config`` with nested ``changes`` applied; types are checked strictly.

    Raises:
      ConfigError: an unknown key (with the nearest one) or a value of the wrong type.
    """
    types = get_type_hints(type(config))
    updates = {}
    for key, value in changes.items():
        name = prefix + key
        if key not in types:
            raise ConfigError(f"{source}: unknown key '{name}'{_nearest(key, types, prefix)}")
        current = getattr(config, key)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{source}: '{name}' is a section; write its keys below [{name}]")
            updates[key] = overlay(current, value, source, f"{name}.")
        else:
            updates[key] = _typed(value, types[key], name, source)
    return dataclasses.replace(config, **updates)


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Reads TOML text for ``overlay``.

    Raises:
      ConfigError: the text is no TOML; says where.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not valid TOML: {error}") from None


def to_toml(config: Config) -> str:
    """The whole configuration as TOML, which ``--config`` reads back to an equal one."""
    lines: list[str] = []
    fields = [(f.name, getattr(config, f.name)) for f in dataclasses.fields(config)]
    sections = [("", config), *((name, value) for name, value in fields if dataclasses.is_dataclass(value))]
    for name, section in sections:
        lines += [f"\n[{name}]"] if name else []
        for f in dataclasses.fields(section):
            value = getattr(section, f.name)
            if not dataclasses.is_dataclass(value):
                lines.append(f"{f.name} = {_toml_value(value)}")
    return "\n".join(lines) + "\n"


def validate(config: Config) -> Config:
    """Returns ``config`` if every value is usable.

    Raises:
      ConfigError: the first value that is not, by name.
    """
    c, env = config, config.env

    def check(good: bool, name: str, expected: str) -> None:
        if not good:
            raise ConfigError(f"{name} = {_look_up(c, name)!r} is out of range: expected {expected}")

    for name in _AT_LEAST_ONE:
        check(_look_up(c, name) >= 1, name, "at least 1")
    for name in _SHARES:
        check(0.0 <= _look_up(c, name) <= 1.0, name, "0 to 1")
    for name in _SEEDS:
        check(0 <= _look_up(c, name) < 2**32, name, "0 to 4294967295")
    for name in _FINITE:
        check(math.isfinite(_look_up(c, name)), name, "a finite number")
    check(c.net.depth >= 0, "net.depth", "0 or more")
    check(0.0 < c.agent.lr < math.inf, "agent.lr", "a positive number")
    check(0.0 <= c.agent.lr_end < math.inf, "agent.lr_end", "0 or more")
    for name in ("agent.adam_eps", "agent.max_grad_norm", "agent.huber_delta"):
        check(0.0 < _look_up(c, name) < math.inf, name, "a positive number")
    check(0.0 <= c.agent.weight_decay < math.inf, "agent.weight_decay", "0 or more")
    check(0.0 <= c.agent.eps_ladder_power < math.inf, "agent.eps_ladder_power", "0 or more")
    check(c.replay.warmup >= 0, "replay.warmup", "0 or more")
    check(c.shards >= 0, "shards", "0 (as many as pay) or more")
    for name in ("env.num_envs", "replay.batch_size"):
        check(_look_up(c, name) % max(c.shards, 1) == 0, name, f"a multiple of shards = {c.shards}")
    check(c.replay.capacity < 2**31, "replay.capacity", "less than 2147483648: transitions are numbered in 32 bits")
    rows = (c.agent.n_step + 1) * env.num_envs
    check(
        c.replay.capacity >= rows + env.num_envs * c.replay.collect,
        "replay.capacity",
        f"more than {rows} (agent.n_step + 1 rows of env.num_envs) and an iteration",
    )
    if env.id == MAZE:
        check(env.size % 2 == 1 and 5 <= env.size <= 101, "env.size", "an odd number from 5 to 101")
        check(
            not env.held_out or env.size >= 7,
            "env.size",
            "at least 7 with env.held_out: the layouts of a 5x5 maze are one up to symmetry, so that none can be "
            "held out; use --env.no-held-out",
        )
        check(
            env.view == 0 or (env.view % 2 == 1 and env.view >= 3),
            "env.view",
            "0 (whole map) or an odd number from 3 on",
        )
        check(env.view == 0 or env.observation == "centred", "env.view", "0 unless env.observation is 'centred'")
        check(env.levels >= 0, "env.levels", "0 (endless) or a number of levels")
        check(0 <= env.time_limit < 65536, "env.time_limit", "0 (4 x free cells) to 65535")
        if env.levels == 0:
            check(env.pool >= env.num_envs, "env.pool", f"at least env.num_envs = {env.num_envs}")
            check(
                env.pool % env.refresh_levels == 0,
                "env.pool",
                f"a multiple of env.refresh_levels = {env.refresh_levels}",
            )
        check(c.net.kind != "conv" or env.observation != "vector", "net.kind", "'mlp' when env.observation is 'vector'")
    return config


_AT_LEAST_ONE = (
    *("total_steps", "log_points", "env.num_envs", "env.pool", "env.refresh_levels", "env.refresh_every"),
    *("net.width", "net.channels", "net.conv_depth", "agent.n_step", "agent.target_period"),
    *("replay.capacity", "replay.batch_size", "replay.collect", "replay.updates"),
    *("eval.validation_levels", "eval.test_levels", "eval.episodes"),
)
_SEEDS = ("seed", "env.level_seed")
_FINITE = ("env.goal_reward", "env.step_cost")
_SHARES = (
    *("agent.gamma", "agent.tau", "agent.eps_start", "agent.eps_end", "agent.eps_fraction"),
    *("env.slip", "env.braid"),
)


def _look_up(config: Config, name: str) -> Any:
    section, _, key = name.rpartition(".")
    return getattr(getattr(config, section) if section else config, key)


def _typed(value: Any, expected: Any, name: str, source: str) -> Any:
    if get_origin(expected) is Literal:
        choices = get_args(expected)
        if value not in choices:
            hint = _nearest(str(value), choices)
            raise ConfigError(f"{source}: '{name}' = {value!r}{hint}; expected one of {', '.join(map(repr, choices))}")
        return value
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not expected:
        raise ConfigError(
            f"{source}: '{name}' = {value!r} has type {type(value).__name__}; expected {expected.__name__}"
        )
    return value


def _nearest(name: str, known: Any, prefix: str = "") -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{prefix}{close[0]}'?" if close else ""


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON's escapes are TOML's as well
    return repr(value)
