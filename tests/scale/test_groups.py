"""Lanes share a program exactly if they differ in traced numbers only, as the programs themselves tell."""

import dataclasses
from typing import Literal, get_args, get_origin

import jax
import jax.numpy as jnp
import pytest

from lepton_jax.config import Config, Hypers
from lepton_jax.engine.program import make_hypers, make_program, program_shape
from lepton_jax.engine.setup import _MAGNITUDES, make_setup
from lepton_jax.presets import from_preset
from lepton_jax.scale.axes import SETTINGS, Asked
from lepton_jax.scale.design import design
from lepton_jax.scale.groups import _PRESENCE, TRACED, split, static_part
from lepton_jax.settings import overlay
from lepton_jax.validate import look_up, validate

BASE = from_preset("quick")
PRESENCE = {f"env.{name}" for name in _PRESENCE}
OUTSIDE = {"display", "track", "run_dir", *(name for name in SETTINGS if name.startswith("checkpoint."))}


def changed(config, name, value):
    section, _, key = name.rpartition(".")
    return overlay(config, {section: {key: value}} if section else {key: value}, "test")


def another(config, name):
    """``config`` with another value of the setting ``name``."""
    kind, value = SETTINGS[name], look_up(config, name)
    if get_origin(kind) is Literal:
        value = next(choice for choice in get_args(kind) if choice != value)
    elif kind is bool:
        value = not value
    elif kind is str:
        value += "x"
    elif get_origin(kind) is tuple:
        value += get_args(get_args(kind)[0])[:1]
    else:
        value += 1
    return changed(config, name, value)


def test_traced_are_the_hypers_and_the_seeds():
    names = {name.rpartition(".")[2] for name in TRACED}
    assert len(names) == len(TRACED)
    assert names - {"seed", "level_seed", "eps_fraction"} == set(Hypers._fields) - {"lr_horizon", "eps_horizon"}
    assert set(SETTINGS) >= TRACED


def test_magnitudes_are_those_of_the_rules():
    assert set(_PRESENCE) == set(_MAGNITUDES) & set(Hypers._fields)
    assert set(_MAGNITUDES) - set(_PRESENCE) == {"lava"}, "the share of lava goes into the levels, and is static"


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_splits_or_does_not(name):
    same = static_part(BASE) == static_part(another(BASE, name))
    assert same == (name in (TRACED | OUTSIDE) - PRESENCE)


@pytest.mark.parametrize("name", sorted(PRESENCE))
def test_whether_it_is_there_splits(name):
    none, zero, little, much = (static_part(changed(BASE, name, value)) for value in (0.0, -0.0, 0.1, 0.2))
    assert none == zero
    assert none != little
    assert little == much


def test_groups_in_the_order_of_their_first_lanes():
    asked = Asked(grid={"agent.lr": [1e-3, 1e-2], "net.width": [64, 32], "env.slip": [0.1, 0.0, 0.2]}, seeds=2)
    lanes = design(BASE, asked).lanes
    groups = split(lanes)
    assert sorted(lane.number for group in groups for lane in group) == list(range(24))
    # A point of the first learning rate has lanes 0 to 11: 64 wide 0 to 5, and of these 2 and 3 without slip.
    assert [[lane.number for lane in group] for group in groups] == [
        [0, 1, 4, 5, 12, 13, 16, 17],
        [2, 3, 14, 15],
        [6, 7, 10, 11, 18, 19, 22, 23],
        [8, 9, 20, 21],
    ]
    assert split(()) == ()


def compiled(config: Config) -> str:
    """The programs of a run, as they go to the compiler: numbers that are traced do not stand in them."""
    setup = make_setup(dataclasses.replace(validate(config), shards=1))
    program = make_program(config, setup.env, setup.agent)
    hypers = jax.tree.map(jnp.float32, make_hypers(config, program_shape(config)))
    keys = jax.random.key(config.seed), jax.random.key(config.env.level_seed)
    state = jax.eval_shape(program.init, *keys, hypers)
    chunk = program.chunk.lower(state, hypers, jnp.int32(1)).as_text()
    return program.init.lower(*keys, hypers).as_text() + chunk


EVERYTHING = {
    "total_steps": 4096,
    "log_points": 4,
    "shards": 1,
    "env": {"num_envs": 16, "pool": 32, "refresh_levels": 16, "goals": 2, "lava": 0.1, "held_out": False}
    | {"slip": 0.1, "sticky": 0.1, "wall_penalty": 0.1, "shaping": 0.1, "time_decay": 0.1, "lava_penalty": 0.1},
    "net": {"width": 8},
    "replay": {"batch_size": 16, "capacity": 1024, "warmup": 64, "updates": 1},
}
WAYS = {
    "dqn": {"agent": {"kind": "dqn", "lr_schedule": "cosine", "munchausen": True, "n_step": 1, "eps_ladder": True}},
    "pqn": {"agent": {"kind": "pqn", "minibatches": 2, "epochs": 1, "eps_ladder": True}},
}


@pytest.mark.parametrize("way", WAYS)
def test_one_program_for_all_traced_numbers(way):
    first = overlay(overlay(Config(), EVERYTHING, "test"), WAYS[way], "test")
    other = first
    for name in sorted(TRACED):
        value = look_up(first, name)
        other = changed(other, name, value + 1 if isinstance(value, int) else value * 0.75 + 0.001)
    assert static_part(first) == static_part(other)
    assert compiled(first) == compiled(other)
    without = changed(first, "env.sticky", 0.0)
    assert static_part(first) != static_part(without)
    assert compiled(first) != compiled(without)
