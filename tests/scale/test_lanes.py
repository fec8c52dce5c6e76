"""Lanes are the runs they would be alone: bit for bit in turns, within rounding side by side."""

import functools
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest

import lepton_jax
from lepton_jax.config import Config, Hypers
from lepton_jax.engine.evaluation import Evaluator
from lepton_jax.engine.program import NEVER, State, make_hypers, make_program, program_shape
from lepton_jax.engine.setup import Setup, level_set, make_agent, make_setup
from lepton_jax.scale.lanes import Birth, Lanes, Running, make_lanes
from lepton_jax.scale.lift import LANES, Lift, shardings, which

needs_two = pytest.mark.skipif(jax.local_device_count() < 2, reason="needs two devices; conftest asks for them")
# What lanes differ in: a seed, and scalars of every kind of schedule.
KNOBS: list[dict[str, Any]] = [
    {"seed": 0},
    {"seed": 1, "agent": {"lr": 3e-3, "eps_fraction": 0.7}},
    {"seed": 2, "agent": {"gamma": 0.7, "weight_decay": 0.01, "lr_end": 1e-4}},
    {"seed": 2, "env": {"level_seed": 7, "goal_reward": 2.0}},
]


def small(**changes: Any) -> Config:
    return lepton_jax.preset(
        "quick",
        total_steps=4096,
        log_points=2,
        shards=1,
        **{
            "env": {"num_envs": 16, "pool": 256, "refresh_levels": 64, "refresh_every": 1} | changes.pop("env", {}),
            "net": {"width": 16},
            "agent": {"lr": 1e-3} | changes.pop("agent", {}),
            "replay": {"capacity": 1024, "batch_size": 32, "collect": 2, "updates": 1, "warmup": 256},
            **changes,
        },
    )


CONFIGS = [small(**knobs) for knobs in KNOBS]


@functools.cache
def setup() -> Setup:
    return make_setup(CONFIGS[0])


def birth(config: Config) -> Birth:
    data = lambda seed: np.array(jax.random.key_data(jax.random.key(seed)))
    hypers = make_hypers(config, program_shape(config))
    return Birth(data(config.seed), data(config.env.level_seed), Hypers(*map(np.float32, hypers)))


def place(lift: Lift, tree: Any) -> Any:
    return jax.device_put(tree, shardings(lift, LANES, tree))


def births(lift: Lift, configs: list[Config]) -> Birth:
    return place(lift, jax.tree.map(lambda *leaves: np.stack(leaves), *map(birth, configs)))


@functools.cache
def solo(number: int, segments: int) -> State:
    """A run by itself."""
    config = CONFIGS[number]
    program = solo_program()
    keys = jax.random.key(config.seed), jax.random.key(config.env.level_seed)
    hypers = make_hypers(config, program.shape)
    return program.chunk(program.init(*keys, hypers), hypers, np.int32(segments))


@functools.cache
def solo_program():
    return make_program(CONFIGS[0], setup().env, setup().agent)


def plain(tree: Any) -> list[np.ndarray]:
    data = lambda leaf: jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
    return [np.array(data(leaf)) for leaf in jax.tree.leaves(tree)]


def assert_equal(lane: Any, alone: Any) -> None:
    for a, b in zip(plain(lane), plain(alone), strict=True):
        np.testing.assert_array_equal(a, b)


def lane(running: Running, number: int) -> State:
    """One lane, whole."""
    mine = jax.tree.map(lambda leaf: leaf[number], running.mine)
    return mine._replace(**{name: part for name, part in running.common._asdict().items() if jax.tree.leaves(part)})


def started(lanes: Lanes, configs: list[Config], segments: int = 0) -> tuple[Running, Birth]:
    lift = lanes.lift
    given, everyone = births(lift, configs), place(lift, which(lift, range(len(configs))))
    running = lanes.fill(lanes.blank(), given, everyone)
    if segments:
        running = lanes.advance(running, given.hypers, everyone, np.int32(segments))
    return running, given


@functools.cache
def in_turns(devices: int, shared: bool = False) -> Lanes:
    return make_lanes(CONFIGS[0], setup(), Lift(4, devices, abreast=False), shared)


@functools.cache
def side_by_side() -> Lanes:
    return make_lanes(CONFIGS[0], setup(), Lift(4, 1, abreast=True), shared=False)


@needs_two
def test_lanes_in_turns_are_solo_runs_bit_for_bit():
    running, _ = started(in_turns(2), CONFIGS, segments=48)
    for number in range(4):
        assert_equal(lane(running, number), solo(number, 48))
    assert int(running.mine.clock[0]) == 48 * solo_program().shape.per_segment
    assert not np.array_equal(plain(running.mine.worlds)[0][0], plain(running.mine.worlds)[0][3])  # other levels


@needs_two
def test_a_lane_that_begins_later_is_the_same_run_and_moves_nobody():
    lanes, lift = in_turns(2), in_turns(2).lift
    running, _ = started(lanes, [CONFIGS[0], CONFIGS[1], CONFIGS[1], CONFIGS[3]], segments=1)
    only = lambda *places: place(lift, which(lift, places))
    before = lane(running, 0), lane(running, 3)
    later = births(lift, [CONFIGS[0], CONFIGS[2], CONFIGS[1], CONFIGS[3]])
    running = lanes.fill(running, later, only(1))
    assert_equal(lane(running, 1), solo(2, 0))
    running = lanes.advance(running, later.hypers, only(1, 2), np.int32(40))
    assert_equal(lane(running, 1), solo(2, 40))
    assert_equal(lane(running, 2), solo(1, 41))
    assert_equal((lane(running, 0), lane(running, 3)), before)


@needs_two
def test_judged_as_a_run_alone():
    lanes = in_turns(2)
    running, given = started(lanes, CONFIGS, segments=48)
    everyone = place(lanes.lift, which(lanes.lift, range(4)))
    levels = [level_set(config, "test", 64) for config in CONFIGS]
    hypers = [make_hypers(config, lanes.shape) for config in CONFIGS]
    solve = setup().env.solve
    assert solve is not None
    exact = [jax.jit(solve)(s.worlds, h) for s, h in zip(levels, hypers, strict=True)]
    exact = [each._replace(q=(), episode=(), step=(), counts=()) for each in exact]
    stack = lambda trees: place(
        lanes.lift, jax.tree.map(lambda *leaves: np.stack(list(map(np.asarray, leaves))), *trees)
    )
    worlds = stack([s.worlds for s in levels])
    figures = lanes.judge(64)(running.mine.agent_state, given.hypers, worlds, stack(exact), everyone)
    assert lanes.q_error is not None
    errors = lanes.q_error(running.mine.agent_state, given.hypers, worlds, everyone)
    for number in range(4):
        alone = Evaluator(setup().env, setup().agent, hypers[number])
        said = alone.report(solo(number, 48).agent_state, levels[number])
        assert {name: float(values[number]) for name, values in figures.items()} | {
            "q_error": float(errors[number])
        } == said


@needs_two
def test_one_pool_for_all():
    lanes = make_lanes(CONFIGS[0], setup(), Lift(2, 2, abreast=False), shared=True)
    running, given = started(lanes, CONFIGS[:2], segments=48)
    assert all(leaf == () for leaf in (running.mine.worlds, running.mine.level_key, running.mine.clock))
    assert_equal(running.common.worlds, solo(0, 48).worlds)
    for number in range(2):
        assert_equal(lane(running, number), solo(number, 48))
    check_one_that_comes_later(lanes, running, given)


def check_one_that_comes_later(lanes: Lanes, running: Running, given: Birth) -> None:
    """Where lanes share a clock, who comes later plays the levels of its time, and is as young as it is."""
    only = place(lanes.lift, which(lanes.lift, [1]))
    running = lanes.fill(running, given, only)
    assert int(running.mine.birth[1]) == int(running.common.clock) == 48 * lanes.shape.per_segment
    running = lanes.advance(running, given.hypers, only, np.int32(1))
    alone, per = solo(1, 1), lanes.shape.per_segment
    np.testing.assert_allclose(running.mine.sums["epsilon"][1], alone.sums["epsilon"], rtol=1e-6)
    assert int(running.mine.agent_state.steps[1]) == int(alone.agent_state.steps) == per * lanes.shape.updates
    assert int(running.mine.bad[1]) == NEVER


def test_side_by_side_equal_within_rounding_after_one_update():
    lanes = side_by_side()
    assert lanes.shape.per_segment == lanes.shape.updates == 1
    running, given = started(lanes, CONFIGS, segments=1)
    for number in range(4):
        for a, b in zip(plain(lane(running, number)), plain(solo(number, 1)), strict=True):
            np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol=0, atol=1e-5)
    everyone = place(lanes.lift, which(lanes.lift, range(4)))
    check_one_that_comes_later(lanes, lanes.advance(running, given.hypers, everyone, np.int32(47)), given)


def test_side_by_side_the_ring_is_written_in_place():
    lanes = side_by_side()
    running, given = jax.eval_shape(lanes.blank), births(lanes.lift, CONFIGS)
    meant = which(lanes.lift, range(4))
    compiled: Any = lanes.advance.lower(running, given.hypers, meant, np.int32(1)).compile()
    ring = [f"{leaf.shape[1]},{leaf.shape[2]}" for leaf in jax.tree.leaves(running.mine.ring)]
    scatters = [line for line in compiled.as_text().splitlines() if " scatter(" in line]
    assert not [line for line in scatters if any(shape in line for shape in ring)]
    memory = compiled.memory_analysis()
    assert memory.alias_size_in_bytes > 0.9 * memory.output_size_in_bytes  # the state is donated


PROBE = small(env={"id": "probe", "refresh_every": 1}, net={"width": 8, "depth": 1},
              replay={"capacity": 1024, "batch_size": 32, "collect": 2, "updates": 1, "warmup": 64})  # fmt: skip


def probe(counts: Counter | None = None) -> Setup:
    """A world that compiles in a second, and counts how often it is traced."""
    env = probes.make_env(probes.truncation(5))

    def step(*args: Any) -> Any:
        if counts is not None:
            counts["step"] += 1
        return env.step(*args)

    return Setup(1, env._replace(step=step), make_agent(PROBE, env), "")


def test_traced_once_whatever_the_number_of_lanes():
    counts: Counter = Counter()

    def traces(places: int) -> int:
        lanes = make_lanes(PROBE, probe(counts), Lift(places, 1, abreast=False), shared=False)
        given, meant = births(lanes.lift, [PROBE] * places), which(lanes.lift, range(places))
        blank = jax.eval_shape(lanes.blank)
        before = counts["step"]
        lanes.fill.lower(blank, given, meant)
        lanes.advance.lower(blank, given.hypers, meant, np.int32(1))
        return counts["step"] - before

    assert traces(1) == traces(5) > 0


@needs_two
def test_a_lane_that_goes_wrong_moves_nobody():
    lanes = in_turns(2)
    running, given = started(lanes, CONFIGS, segments=1)
    state = running.mine.agent_state
    poisoned = jax.tree.map(lambda leaf: leaf.at[1].set(jnp.nan), state.params)
    wrong = running._replace(mine=running.mine._replace(agent_state=state._replace(params=poisoned)))
    wrong = jax.device_put(wrong, jax.tree.map(lambda leaf: leaf.sharding, running))
    everyone = place(lanes.lift, which(lanes.lift, range(4)))
    wrong = lanes.advance(wrong, given.hypers, everyone, np.int32(47))
    per = lanes.shape.per_segment
    assert np.asarray(wrong.mine.bad).tolist() == [NEVER, per, NEVER, NEVER]
    assert np.asarray(lanes.sound(wrong.mine.agent_state)).tolist() == [True, False, True, True]
    for number in (0, 2, 3):
        assert_equal(lane(wrong, number), solo(number, 48))


EIGHT = """
import dataclasses, sys, jax, numpy as np
sys.path[:0] = sys.argv[1:]
from test_lanes import *
from jax.sharding import PartitionSpec
from lepton_jax.engine import shard
from test_shard import in_parts
assert jax.local_device_count() == 8
configs = [dataclasses.replace(PROBE, seed=seed) for seed in range(8)]
spread = lambda devices: plain(started(make_lanes(PROBE, probe(), Lift(8, devices, False), False), configs, 1)[0])
eight, again, one = spread(8), spread(8), spread(1)
for a, b, c in zip(eight, again, one, strict=True):
    np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(np.asarray(a, float), np.asarray(c, float), rtol=0, atol=1e-5)
whole, parts = in_parts(8)
for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=0, atol=1e-5)
print("lanes and averaged gradients agree")
"""


def test_eight_devices_compute_what_one_does():
    root = Path(lepton_jax.__file__).parent.parent
    here = [str(root / "tests" / part) for part in ("scale", "engine", "")]
    done = subprocess.run(
        [sys.executable, "-c", EIGHT, *here], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(root), "JAX_NUM_CPU_DEVICES": "8",
                          "XLA_FLAGS": "--xla_backend_optimization_level=0"},  # half the time to compile
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "lanes and averaged gradients agree\n"
