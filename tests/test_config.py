"""Settings: where they come from, what is refused, and how they are written down. No jax here."""

import dataclasses
import math
import re
import subprocess
import sys
from typing import get_args, get_type_hints

import pytest

from lepton_jax import preset
from lepton_jax.cli import parse_config
from lepton_jax.config import Config, ConfigError, EnvConfig
from lepton_jax.presets import PRESETS, from_preset
from lepton_jax.settings import overlay, parse_toml, to_toml
from lepton_jax.validate import validate


def parse(*argv: str) -> Config:
    return parse_config(list(argv), "prog", "A description.")[0]


def test_preset_then_file_then_flags(tmp_path):
    name = "maze9"
    base = from_preset(name)
    assert parse("--preset", name) == base
    file = tmp_path / "some.toml"
    file.write_text("seed = 7\n[agent]\nlr = 0.125\ntau = 0.5\n[env]\nbraid = 0.25\n")
    from_file = parse("--preset", name, "--config", str(file))
    expected = dataclasses.replace(
        base,
        seed=7,
        agent=dataclasses.replace(base.agent, lr=0.125, tau=0.5),
        env=dataclasses.replace(base.env, braid=0.25),
    )
    assert from_file == expected
    flags = parse("--agent.lr", "0.0625", "--preset", name, "--config", str(file), "--env.num-envs", "32")
    assert flags.agent.lr == 0.0625
    assert flags.agent.tau == 0.5
    assert flags.env.num_envs == 32
    assert flags.env.braid == 0.25
    assert flags.env.size == base.env.size


def test_without_a_word_it_is_quick():
    assert parse() == from_preset("quick")
    assert parse_config([], "prog", "")[1] == {"preset": "quick", "config": None, "lane": None, "flags": []}


def test_flags_of_every_type():
    config = parse(
        "--seed", "3", "--total-steps", "5000", "--run-dir", "here", "--agent.lr", "3e-4", "--agent.gamma", "0.5",
        "--net.width", "256", "--env.size", "9", "--env.num-envs", "64", "--env.no-held-out", "--agent.loss", "squared",
        "--env.step-cost", "-0.5", "--agent.eps-ladder",
    )  # fmt: skip
    assert (config.seed, config.total_steps, config.run_dir) == (3, 5000, "here")
    assert (config.agent.lr, config.agent.gamma, config.agent.loss, config.agent.eps_ladder) == (
        3e-4,
        0.5,
        "squared",
        True,
    )
    assert (config.net.width, config.env.size, config.env.num_envs) == (256, 9, 64)
    assert (config.env.held_out, config.env.step_cost) == (False, -0.5)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_usable_and_survive_toml(name):
    config = dataclasses.replace(from_preset(name), run_dir='a "quoted"\\path\twith\ntricks é \x01', seed=2**32 - 1)
    validate(config)
    assert overlay(Config(), parse_toml(to_toml(config), "text"), "text") == config
    other = next(iter(PRESETS)) if name != next(iter(PRESETS)) else "article"
    # Complete: it does not matter what the file is laid over.
    assert overlay(from_preset(other), parse_toml(to_toml(config), "text"), "text") == config


def test_toml_keeps_every_float():
    agent = dataclasses.replace(
        Config().agent, lr=1e-5, gamma=0.1 + 0.2, adam_eps=1e-300, lr_end=1e22, max_grad_norm=4.0
    )
    config = dataclasses.replace(Config(), agent=agent)
    assert overlay(Config(), parse_toml(to_toml(config), "text"), "text") == config


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"agent": {"lrr": 1.0}}, ["'agent.lrr'", "did you mean 'agent.lr'"]),
        ({"env": {"num_env": 1}}, ["'env.num_env'", "did you mean 'env.num_envs'"]),
        ({"total_step": 1}, ["'total_step'", "did you mean 'total_steps'"]),
        ({"agnet": {"lr": 1.0}}, ["'agnet'", "did you mean 'agent'"]),
        ({"qqqq": 1}, ["'qqqq'"]),
        ({"agent": 3}, ["'agent'", "section"]),
        ({"env": {"size": "9"}}, ["'env.size'", "str", "expected int"]),
        ({"env": {"size": 9.0}}, ["'env.size'", "float", "expected int"]),
        ({"env": {"size": True}}, ["'env.size'", "bool", "expected int"]),
        ({"env": {"held_out": 1}}, ["'env.held_out'", "int", "expected bool"]),
        ({"agent": {"lr": "1e-3"}}, ["'agent.lr'", "str", "expected float"]),
        ({"agent": {"lr": True}}, ["'agent.lr'", "bool", "expected float"]),
        ({"agent": {"lr": [1.0]}}, ["'agent.lr'", "list", "expected float"]),
        ({"agent": {"lr": {"x": 1}}}, ["'agent.lr'", "dict", "expected float"]),
        ({"agent": {"loss": "hubert"}}, ["'agent.loss'", "did you mean 'huber'", "'squared'"]),
        ({"run_dir": 3}, ["'run_dir'", "int", "expected str"]),
    ],
)
def test_unknown_keys_and_wrong_types(changes, words):
    with pytest.raises(ConfigError) as error:
        overlay(Config(), changes, "some.toml")
    for word in ["some.toml", *words]:
        assert word in str(error.value)


def test_a_whole_number_is_a_float():
    assert overlay(Config(), {"agent": {"lr": 1}}, "text").agent.lr == 1.0
    assert type(overlay(Config(), {"agent": {"lr": 1}}, "text").agent.lr) is float


NOT_FINITE = (math.nan, math.inf)
BAD_VALUES = {
    "seed": (-1, 2**32),
    "total_steps": (0, -5, 2**50),
    "log_points": (0,),
    "env.level_seed": (-1, 2**32),
    "env.num_envs": (0,),
    "env.size": (8, 3, 103, 5),
    "env.view": (2, -1, 1, 15),
    "env.levels": (-1, 2**31 - 1),
    "env.pool": (0, 1),
    "env.refresh_levels": (0,),
    "env.refresh_every": (0,),
    "env.braid": (-0.1, 1.1, math.nan),
    "env.slip": (-0.1, 1.1, math.nan),
    "env.sticky": (-0.1, 1.1, math.nan),
    "env.lava": (-0.1, 1.1, math.nan),
    "env.time_decay": (-0.1, 1.1, math.nan),
    "env.min_size": (5, 6, 9, -1),
    "env.density": (0.3, math.nan),
    "env.chambers": (-1, 2),
    "env.min_distance": (-1, 2**15),
    "env.max_distance": (-1, 2**15),
    "env.goals": (0, 10),
    "env.goal_ratio": NOT_FINITE,
    "env.wall_penalty": NOT_FINITE,
    "env.lava_penalty": NOT_FINITE,
    "env.shaping": NOT_FINITE,
    "env.time_limit": (-1, 65536),
    "env.goal_reward": NOT_FINITE,
    "env.step_cost": NOT_FINITE,
    "net.width": (0,),
    "net.depth": (-1, 101),
    "net.channels": (0,),
    "net.conv_depth": (0,),
    "agent.gamma": (-0.1, 1.5, math.nan),
    "agent.n_step": (0,),
    "agent.huber_delta": (0.0, -1.0, math.nan),
    "agent.tau": (-0.1, 2.0, math.nan),
    "agent.target_period": (0, 2**31),
    "agent.lr": (0.0, -1.0, *NOT_FINITE),
    "agent.lr_end": (-1.0, *NOT_FINITE),
    "agent.adam_eps": (0.0, math.nan),
    "agent.max_grad_norm": (0.0, -1.0, math.nan),
    "agent.eps_start": (-0.1, 1.1, math.nan),
    "agent.eps_end": (-0.1, 1.1),
    "agent.eps_fraction": (-0.1, 1.1),
    "agent.eps_ladder_power": (-1.0, *NOT_FINITE),
    "replay.capacity": (0, 100, 2**31, 10**13),
    "replay.batch_size": (0,),
    "replay.collect": (0,),
    "replay.updates": (0, 2**20),
    "replay.warmup": (-1,),
    "eval.validation_levels": (0,),
    "eval.test_levels": (0,),
    "eval.episodes": (0,),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD_VALUES.items() for value in values])
def test_out_of_range(name, value):
    section, _, key = name.rpartition(".")
    changes = {section: {key: value}} if section else {key: value}
    with pytest.raises(ConfigError) as error:
        validate(overlay(Config(), changes, "text"))
    assert name in str(error.value)
    assert "expected" in str(error.value)


def test_what_does_not_go_together():
    for changes, word in (
        ({"env": {"size": 5}}, "env.held_out"),
        ({"env": {"observation": "full", "view": 5}}, "env.observation"),
        ({"env": {"pool": 1000, "refresh_levels": 300}}, "env.refresh_levels"),
        ({"env": {"pool": 16, "refresh_levels": 16, "num_envs": 32}}, "env.num_envs"),
        ({"env": {"observation": "vector"}, "net": {"kind": "conv"}}, "net.kind"),
    ):
        with pytest.raises(ConfigError, match=word):
            validate(overlay(Config(), changes, "text"))


def test_from_python():
    config = preset("quick", seed=4, agent={"lr": 0.5})
    assert (config.seed, config.agent.lr) == (4, 0.5)
    assert config.env == from_preset("quick").env
    with pytest.raises(ConfigError, match="did you mean 'quick'"):
        preset("quik")
    for kind in ([], "total_steps", "dqm"):
        with pytest.raises(ConfigError, match=r"agent\.kind"):
            preset("maze9", agent={"kind": kind})


def test_not_toml():
    with pytest.raises(ConfigError, match=r"file\.toml: not valid TOML"):
        parse_toml("seed = = 3", "file.toml")


def test_settings_do_without_jax():
    code = "import sys, lepton_jax.cli, lepton_jax.config; sys.exit('jax' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_choices_are_those_of_the_mazes():
    """The settings and the modules that obey them name the same things."""
    from lepton_jax.envs.maze import rules, spec

    choices = {name: get_args(hint) for name, hint in get_type_hints(EnvConfig).items()}
    assert choices["generator"] == spec.KINDS
    assert choices["weights"] == spec.WEIGHTS
    assert choices["ends"] == spec.ENDS
    assert choices["observation"] == rules.OBSERVATIONS
    assert choices["actions"] == tuple(rules.ACTIONS)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"occlusion": True}, "env.occlusion"),
        ({"actions": "oriented"}, "does not show where the agent looks"),
        ({"observation": "egocentric"}, "env.view = 0 is out of range"),
        ({"observation": "egocentric", "view": 17, "size": 13}, "3 to 15"),
        ({"observation": "vector", "lava": 0.1}, "shows one goal and walls only"),
        ({"moving_goal": True, "shaping": 0.1}, "env.shaping"),
        (
            {"generator": "caves", "braid": 0.1},
            "expected 0: caves has nothing to braid",
        ),
        ({"generator": "caves", "weights": "smooth"}, "env.weights"),
        ({"generator": "perfect", "density": 0.5}, "env.density"),
        ({"size": 13, "min_size": 5}, "use --env.no-held-out"),
        ({"min_distance": 9, "max_distance": 8}, "env.max_distance"),
        ({"door": True, "max_distance": 2}, "env.max_distance"),
    ],
)
def test_mazes_whose_settings_do_not_belong_together(changes, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        validate(overlay(from_preset("maze9"), {"env": changes}, "test"))
