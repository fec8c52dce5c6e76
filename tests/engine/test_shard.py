"""One run over two devices: the same learner on both, other experience on each."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from jax.sharding import PartitionSpec

from lepton_jax import preset
from lepton_jax.agents.agent import Batch
from lepton_jax.config import ConfigError
from lepton_jax.engine import shard
from lepton_jax.engine.program import make_hypers, make_program, strong
from lepton_jax.engine.setup import make_setup

pytestmark = pytest.mark.skipif(jax.local_device_count() < 2, reason="needs two devices; conftest asks for them")


def small(**changes):
    return preset(
        "quick",
        total_steps=4096,
        log_points=2,
        env={"num_envs": 16, "pool": 256, "refresh_levels": 64, "refresh_every": 16},
        net={"width": 16},
        replay={"capacity": 2048, "batch_size": 32, "collect": 2, "updates": 2, "warmup": 256},
        **changes,
    )


def after_chunks(config, count=2):
    setup = make_setup(config)
    program = make_program(config, setup.env, setup.agent, setup.shards)
    hypers = make_hypers(config, program.shape)
    state = program.init(jax.random.key(3), jax.random.key(0), hypers)
    history = []
    for _ in range(count):
        state, metrics = probes.to_log_point(program, state, hypers)
        history.append(metrics)
    return state, history


def test_both_devices_hold_the_same_learner_and_other_experience():
    state, history = after_chunks(small(shards=2))
    for leaf in jax.tree.leaves((state.agent_state, state.worlds)):
        first, second = (np.asarray(leaf.addressable_data(device)) for device in (0, 1))
        np.testing.assert_array_equal(first, second)
    assert state.ring.action.shape == (2, 128, 8)  # shards, rows, environments of one shard
    assert not np.array_equal(state.ring.action[0], state.ring.action[1])
    assert not np.array_equal(state.ring.step[0][0], state.ring.step[0][1])
    # Every environment of both shards counts.
    ended = np.asarray(state.ring.ended)
    assert np.isfinite(history[-1]["loss"])
    assert ended.shape == (2, 128, 8)


def test_the_same_seed_twice_is_equal_bit_for_bit():
    one, _ = after_chunks(small(shards=2))
    two, _ = after_chunks(small(shards=2))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_no_more_devices_than_cores_that_may_be_used(monkeypatch):
    config = preset("quick")
    for cores, devices in ((1, 1), (2, 2), (3, 2)):
        monkeypatch.setattr(shard, "usable_cores", lambda cores=cores: cores)
        assert shard.wanted_devices(config) == devices
    assert shard.wanted_devices(preset("quick", shards=4)) == 4  # as it was asked for


def in_parts(shards):
    """An agent after one update, by all of a batch and by ``shards`` parts of it; see tests/scale/test_lanes.py."""
    config = small()
    agent = make_setup(config).agent
    hypers = strong(make_hypers(config, make_program(config, make_setup(config).env, agent).shape))
    spec = jax.ShapeDtypeStruct((3, 7, 7), jnp.uint8)
    state = agent.init(jax.random.key(0), spec, 4, hypers)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 2, (2, 32, 3, 7, 7)).astype(np.uint8)
    batch = Batch(
        jnp.asarray(pictures[0]),
        jnp.asarray(rng.integers(0, 4, 32), jnp.int32),
        jnp.asarray(rng.normal(size=32), jnp.float32),
        jnp.full(32, 0.9, jnp.float32),
        jnp.asarray(pictures[1]),
    )
    whole, _, _ = agent.learn(state, batch, jax.random.key(1), hypers)

    def part(state, batch):
        return agent.learn(state, batch, jax.random.key(1), hypers, lambda tree: shard.average(tree, shards))[0]

    mesh = shard.make_mesh(shards)
    specs = (PartitionSpec(), PartitionSpec(shard.AXIS))
    parts = jax.jit(jax.shard_map(part, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(), check_vma=False))
    return whole, parts(state, batch)


def test_the_ladder_spans_all_shards(monkeypatch):
    seen = {}
    from lepton_jax.agents import explore

    plain = explore.ladder

    def spy(epsilon, place, n, power):
        seen["n"], seen["size"] = n, place.shape
        return plain(epsilon, place, n, power)

    monkeypatch.setattr(explore, "ladder", spy)
    after_chunks(small(shards=2, agent={"eps_ladder": True}), count=1)
    assert seen == {"n": 16, "size": (8,)}


def test_more_shards_than_devices_are_refused():
    config = dataclasses.replace(small(), shards=1024)
    with pytest.raises(ConfigError, match="1024, but jax has"):
        shard.count_shards(config)
