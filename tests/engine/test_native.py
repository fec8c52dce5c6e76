"""The mean over devices in C: the bits of XLA's own, whatever runs beside it, and what happens without a compiler."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from lepton_jax import preset
from lepton_jax.engine import native, shard

pytestmark = [
    pytest.mark.skipif(jax.local_device_count() < 2, reason="needs two devices; conftest asks for them"),
    pytest.mark.skipif(bool(native.trouble()), reason=native.trouble()),
]

SHAPES = ((), (1,), (3, 5), (0, 4), (257,), (64, 130))


def over(devices, function, steps):
    """``function(tree)`` on ``devices`` devices, each with numbers of its own, again and again on what came of it."""

    def one(tree):
        own = jax.tree.map(lambda leaf: leaf[0], tree)
        scale = 1 + 0.1 * jax.lax.axis_index(shard.AXIS).astype(jnp.float32)  # what comes next differs as well
        # The barrier keeps XLA from making one product of its part of a mean, 1/3, and this one.
        after = lambda tree: jax.tree.map(
            lambda leaf: leaf * scale.astype(leaf.dtype), jax.lax.optimization_barrier(function(tree))
        )
        own = jax.lax.fori_loop(0, steps, lambda _, tree: after(tree), own)
        return jax.tree.map(lambda leaf: leaf[None], own)

    spec = PartitionSpec(shard.AXIS)
    return jax.jit(jax.shard_map(one, mesh=shard.make_mesh(devices), in_specs=spec, out_specs=spec, check_vma=False))


def numbers(devices, seed):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(devices, *shape)).astype(np.float32) for shape in SHAPES]


def check(devices, steps=50):
    ours = over(devices, lambda tree: native.mean(tree, shard.AXIS), steps)
    theirs = over(devices, lambda tree: jax.lax.pmean(tree, shard.AXIS), steps)
    assert "lepton_average" in ours.lower(numbers(devices, 0)).as_text()
    for seed in range(3):
        for one, two in zip(ours(numbers(devices, seed)), theirs(numbers(devices, seed)), strict=True):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(two))


def test_the_mean_is_that_of_xla_bit_for_bit():
    check(2)


def test_by_hand():
    once = over(2, lambda tree: native.mean(tree, shard.AXIS), 1)
    (found,) = once([np.array([[1, 2, 3], [2, 4, 9]], np.float32)])
    expected = np.array([1.5, 3, 6], np.float32)
    np.testing.assert_array_equal(np.asarray(found), [expected, expected * np.float32(1.1)])


def test_more_devices_than_cores():
    """Three and eight devices on however few cores there are: nobody waits for ever, and the order of sums is XLA's."""
    words = "import sys; sys.path[:0] = ['tests/engine', 'tests']; import test_native as t; t.check(3); t.check(8, 20)"
    done = subprocess.run(
        [sys.executable, "-c", words],
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "8"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_programs_that_run_at_once_do_not_meet():
    """Four threads start the same program on the same devices, each with numbers of its own."""
    ours = over(2, lambda tree: native.mean(tree, shard.AXIS), 20)
    alone = [jax.device_get(ours(numbers(2, seed))) for seed in range(4)]

    def often(seed):
        return [jax.device_get(ours(numbers(2, seed))) for _ in range(25)]

    with ThreadPoolExecutor(4) as pool:
        for seed, found in enumerate(pool.map(often, range(4))):
            for each in found:
                jax.tree.map(np.testing.assert_array_equal, each, alone[seed])


@pytest.fixture
def empty(monkeypatch, tmp_path):
    """A cache in which nothing is compiled yet, and its folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.trouble.cache_clear()
    yield tmp_path / "lepton_jax" / "native"
    monkeypatch.undo()
    native.trouble.cache_clear()
    assert not native.trouble()


def test_it_is_compiled_once(empty, monkeypatch):
    library = native.compiled()
    assert list(empty.iterdir()) == [library]
    monkeypatch.setenv("PATH", "")
    assert native.compiled() == library


def test_without_a_compiler_xla_averages(empty, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert native.trouble() == "no C compiler: neither cc nor gcc nor clang is on the PATH"
    text = over(2, lambda tree: shard.average(tree, 2), 1).lower(numbers(2, 0)).as_text()
    assert ("lepton_average" in text, "all_reduce" in text) == (False, True)
    assert shard.count_shards(preset("quick", replay={"batch_size": 128})) == 1  # 64 each are not worth it then


def test_a_compiler_that_refuses_is_told_of(empty, monkeypatch, tmp_path):
    monkeypatch.setattr(native, "_SOURCE", tmp_path / "average.c")
    native._SOURCE.write_text("#error not today\n")
    assert "refuses average.c: " in native.trouble()
    assert "not today" in native.trouble()
    assert not list(empty.iterdir())


def test_another_precision_is_left_to_xla():
    tree = [np.ones((2, 3), np.float16)]
    assert "lepton_average" not in over(2, lambda tree: shard.average(tree, 2), 1).lower(tree).as_text()
