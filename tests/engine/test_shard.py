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


def undivided(**changes):
    """15 environments, which two devices cannot share out."""
    config = small(shards=2, **changes)
    return dataclasses.replace(config, env=dataclasses.replace(config.env, num_envs=15))


def test_environments_that_cannot_be_shared_out_are_the_same_on_both():
    state, history = after_chunks(undivided())
    assert state.ring.action.shape[1:] == (15,)
    for leaf in jax.tree.leaves(arrays(state)):
        first, second = (np.asarray(leaf.addressable_data(device)) for device in (0, 1))
        np.testing.assert_array_equal(first, second)
    # What is played at random before anything is learnt is what one device plays, and each episode counts once.
    alone, counted = after_chunks(dataclasses.replace(undivided(), shards=1))
    begun = [after_chunks(dataclasses.replace(undivided(), shards=shards), count=0)[0].ring for shards in (1, 2)]
    jax.tree.map(np.testing.assert_array_equal, *map(jax.device_get, begun))
    ended, expected = (sum(each["terminated"] + each["truncated"] for each in told) for told in (history, counted))
    assert 0.75 < ended / expected < 1.5
    assert alone.clock == state.clock


@pytest.mark.parametrize("config", [small(shards=2), undivided()], ids=["divided", "undivided"])
def test_two_devices_do_what_one_program_does_twice(config, monkeypatch):
    """The same two shards as one axis of one program on one device, where jax itself averages."""
    setup = make_setup(config)
    program = make_program(config, setup.env, setup.agent, 2)
    hypers = strong(make_hypers(config, program.shape))
    keys = jax.random.key(3), jax.random.key(0)
    over_two = program.chunk(program.init(*keys, hypers), hypers, np.int32(3))

    monkeypatch.setattr(shard, "average", lambda tree, shards: jax.lax.pmean(tree, shard.AXIS))

    def segment(_, state):
        worlds = program.refresh(state.worlds, state.level_key, state.clock)
        return program.segment(state._replace(worlds=worlds), hypers)

    def one(_):
        state = program.begin(*keys, hypers, None, setup.env.worlds(keys[1]), jnp.int32(0))
        return arrays(jax.lax.fori_loop(0, 3, segment, state))

    twice = jax.jit(jax.vmap(one, axis_name=shard.AXIS, axis_size=2))(jnp.arange(2))
    for name in ("agent_state", "ring"):
        found, expected = getattr(over_two, name), twice[name]
        whole = name == "agent_state" or found.action.ndim == 2  # else the first axis is the shard's
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            for k in (0, 1):
                np.testing.assert_allclose(np.asarray(a if whole else a[k]), np.asarray(b[k]), rtol=2e-3, atol=2e-5)


def arrays(state):
    """A state as a dictionary, without its keys."""
    return {name: value for name, value in state._asdict().items() if name not in ("key", "level_key")}


@pytest.mark.parametrize("config", [small(shards=2), undivided()], ids=["divided", "undivided"])
def test_the_same_seed_twice_is_equal_bit_for_bit(config):
    one, _ = after_chunks(config)
    two, _ = after_chunks(config)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(arrays(one)), jax.device_get(arrays(two)))


def test_no_more_devices_than_cores_that_may_be_used(monkeypatch):
    config = preset("quick")
    for cores, devices in ((1, 1), (2, 2), (3, 2)):
        monkeypatch.setattr(shard, "usable_cores", lambda cores=cores: cores)
        assert shard.wanted_devices(config) == devices
    assert shard.wanted_devices(preset("quick", shards=4)) == 4  # as it was asked for


def test_devices_are_taken_while_each_has_enough_to_learn_from(monkeypatch):
    monkeypatch.setattr(shard, "usable_cores", lambda: 8)
    config = preset("quick", env={"num_envs": 15}, replay={"batch_size": 128})
    monkeypatch.setattr(shard.native, "trouble", lambda: "")
    assert shard.wanted_devices(config) == 4  # 32 transitions each
    pqn = {"kind": "pqn", "minibatches": 1}
    assert shard.wanted_devices(preset("quick", agent=pqn, env={"num_envs": 1022})) == 2  # it learns what they play
    monkeypatch.setattr(shard.native, "trouble", lambda: "no C compiler")
    assert shard.wanted_devices(config) == 1


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
