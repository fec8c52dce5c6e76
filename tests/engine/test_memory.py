"""Whether a state fits: sums of a GPU and of a CPU, and the largest replay that does, which then fits."""

import re

import jax
import jax.numpy as jnp
import pytest

from lepton_jax import preset
from lepton_jax.config import ConfigError
from lepton_jax.engine import memory
from lepton_jax.engine.memory import Size, refuse_oversized, size_of, tree_bytes
from lepton_jax.engine.program import make_hypers, make_program, program_shape
from lepton_jax.engine.setup import make_setup

# 1,000 transitions of 10 bytes, 2,000 bytes of environments and 3,000 that every device has whole.
SIZE = Size(state_bytes=15_000, bytes_per_transition=10.0, ring_bytes=10_000, own_bytes=12_000, shards=1)
SHAPE = program_shape(preset("quick"))._replace(blocks=10, steps=100)


def refusal(monkeypatch, found, size=SIZE, backend="gpu", shape=SHAPE) -> str:
    """What is said on a machine like this; empty if nothing."""
    monkeypatch.setattr(memory, "memory_bytes", lambda: found)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    try:
        refuse_oversized(shape, size)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("backend", "shards", "needed"),
    [
        ("gpu", 1, 15_000),
        ("gpu", 2, 3_000 + 6_000),
        ("gpu", 4, 3_000 + 3_000),
        ("cpu", 1, 3 * 15_000 / 0.8),  # it, its copy and that of Orbax, and a fifth for anything else
        # Devices that share one memory, each with its own 3,000; and jax's copy of what it joins.
        ("cpu", 2, (4 * 12_000 + 5 * 3_000) / 0.8),
    ],
)
def test_what_a_state_needs(monkeypatch, backend, shards, needed):
    size = SIZE._replace(shards=shards)
    assert refusal(monkeypatch, needed + 1, size, backend) == ""
    said = refusal(monkeypatch, needed - 1000, size, backend)
    (most,) = map(int, re.findall(r"do not fit .*; choose at most --replay.capacity (\d+)$", said))
    assert 0 < most < 1000
    of = lambda transitions: SIZE._replace(
        state_bytes=5_000 + 10 * transitions, ring_bytes=10 * transitions, own_bytes=2_000 + 10 * transitions,
        shards=shards,
    )  # fmt: skip
    assert refusal(monkeypatch, needed - 1000, of(most), backend) == ""
    assert refusal(monkeypatch, needed - 1000, of(most + 1), backend) != ""


def test_where_no_replay_would_help(monkeypatch):
    assert "replay apart, do not fit" in refusal(monkeypatch, 5_000)
    assert "replay apart, do not fit" in refusal(monkeypatch, 18_000, backend="cpu")
    assert "smaller env.num_envs or replay.collect" in refusal(monkeypatch, 14_000, shape=SHAPE._replace(blocks=1))
    monkeypatch.setattr(memory, "memory_bytes", lambda: None)
    refuse_oversized(SHAPE, SIZE)


@pytest.mark.parametrize(("backend", "needed"), [("gpu", 15_000), ("cpu", 5 * 15_000 / 0.8)])
def test_where_environments_are_not_divided_each_device_has_the_whole_replay(monkeypatch, backend, needed):
    size = SIZE._replace(own_bytes=0, shards=2)
    assert refusal(monkeypatch, needed + 1, size, backend) == ""
    said = refusal(monkeypatch, needed - 1, size, backend)
    assert "choose at most --replay.capacity 999" in said
    assert (", 5 times there while it is saved, and" in said) == (backend == "cpu")


def test_on_a_cpu_there_is_room_to_save(monkeypatch):
    """A state of 70% of what there is would be killed by its first checkpoint."""
    said = refusal(monkeypatch, int(15_000 / 0.7), backend="cpu")
    assert re.search(r", 3 times there while it is saved, and .*; choose at most --replay.capacity \d+$", said)


@pytest.mark.skipif(jax.local_device_count() < 2, reason="needs two devices; conftest asks for them")
@pytest.mark.parametrize("envs", [1024, 1023])
def test_what_the_shards_share_out_is_what_lies_on_each(envs):
    config = preset("quick", shards=2, env={"num_envs": envs})
    setup = make_setup(config)
    program = make_program(config, setup.env, setup.agent, 2)
    key, hypers = jax.random.key(0), make_hypers(config, program.shape)
    size = size_of(jax.eval_shape(program.init, key, key, hypers), 2)
    state = program.init(key, key, hypers)
    plain = lambda leaf: jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
    on_one = sum(plain(leaf).addressable_data(0).nbytes for leaf in jax.tree.leaves(state))
    assert size.shards == 2
    assert size.state_bytes == tree_bytes(state)
    assert size.state_bytes - size.own_bytes / 2 == on_one
