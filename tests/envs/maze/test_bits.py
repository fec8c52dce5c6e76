import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lepton_jax.envs.maze import bits

PLACES = (1, 31, 32, 33, 64, 100, 132)


def flags_and_numbers(places: int, count: int = 5) -> tuple[np.ndarray, list[int]]:
    flags = np.random.default_rng(places).random((count, places)) < 0.5
    return flags, [sum(1 << i for i in range(places) if row[i]) for row in flags]


def as_numbers(words) -> list[int]:
    """uint32 (words, N) -> N Python integers."""
    return [sum(int(word) << (32 * k) for k, word in enumerate(column)) for column in np.asarray(words).T]


@pytest.mark.parametrize("places", PLACES)
def test_pack_and_unpack(places):
    flags, numbers = flags_and_numbers(places)
    words = bits.pack(jnp.asarray(flags))
    assert words.shape == (bits.num_words(places), 5)
    assert words.dtype == jnp.uint32
    assert as_numbers(words) == numbers
    spread = bits.unpack(words.T, places)
    assert spread.dtype == jnp.uint32
    np.testing.assert_array_equal(spread, flags)


def test_pack_keeps_leading_axes():
    flags = np.random.default_rng(0).random((2, 3, 40)) < 0.5
    words = np.asarray(bits.pack(jnp.asarray(flags)))
    assert words.shape == (2, 2, 3)
    for i in range(2):
        np.testing.assert_array_equal(words[:, i], bits.pack(jnp.asarray(flags[i])))


@pytest.mark.parametrize("places", PLACES)
def test_shifts_are_those_of_long_numbers(places):
    flags, numbers = flags_and_numbers(places)
    words = bits.pack(jnp.asarray(flags))
    total = 32 * words.shape[0]
    for by in sorted({0, 1, 12, 31, 32, 33, 35, 64, 65, total - 1, total, total + 1}):
        assert as_numbers(bits.shift_up(words, by)) == [(number << by) % (1 << total) for number in numbers], by
        assert as_numbers(bits.shift_down(words, by)) == [number >> by for number in numbers], by


@pytest.mark.parametrize("places", PLACES)
def test_contains_and_single(places):
    flags, _ = flags_and_numbers(places)
    words = bits.pack(jnp.asarray(flags))
    for place in range(places):
        everywhere = jnp.full(5, place, jnp.int32)
        np.testing.assert_array_equal(bits.contains(words, everywhere), flags[:, place])
        for dtype in (jnp.int32, jnp.uint8):
            assert as_numbers(bits.single(everywhere.astype(dtype), words.shape[0])) == [1 << place] * 5
    mixed = np.random.default_rng(1).integers(0, places, 5)
    np.testing.assert_array_equal(bits.contains(words, jnp.asarray(mixed, jnp.int32)), flags[np.arange(5), mixed])


def test_settle_changes_nothing():
    words = jax.random.bits(jax.random.key(0), (7, 3), jnp.uint32)
    np.testing.assert_array_equal(jax.jit(bits.settle)(words), words)
    np.testing.assert_array_equal(jax.vmap(bits.settle)(words[None]), words[None])
