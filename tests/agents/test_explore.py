"""Schedules and action selection."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lepton_jax.agents import explore

f32 = jnp.float32


@pytest.mark.parametrize(("step", "expected"), [(0, 1.0), (1, 0.9), (5, 0.5), (10, 0.0), (11, 0.0), (2**30, 0.0)])
def test_linear_by_hand(step, expected):
    assert explore.linear(jnp.int32(step), f32(1.0), f32(0.0), f32(10.0)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 3.0), (3, 1.0 + 2.0 * 0.75), (6, 2.0), (9, 1.0 + 2.0 * 0.25), (12, 1.0), (40, 1.0)]
)
def test_schedules_with_another_end(step, expected):
    assert explore.linear(jnp.int32(step), f32(3.0), f32(1.0), f32(12.0)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("step", "expected"),
    # cos 0, 60, 90, 120 and 180 degrees: 1, 1/2, 0, -1/2, -1
    [(0, 3.0), (4, 1.0 + 2.0 * 0.75), (6, 2.0), (8, 1.0 + 2.0 * 0.25), (12, 1.0), (13, 1.0)],
)
def test_cosine_by_hand(step, expected):
    assert explore.cosine(jnp.int32(step), f32(3.0), f32(1.0), f32(12.0)) == pytest.approx(expected, abs=1e-6)


def test_a_horizon_of_zero_is_no_division_by_zero():
    assert explore.linear(jnp.int32(1), f32(1.0), f32(0.25), f32(0.0)) == 0.25


def test_ladder_by_hand():
    # Horgan et al. 2018: epsilon ** (1 + i / (N - 1) * alpha)
    ladder = lambda epsilon, n, power: explore.ladder(f32(epsilon), jnp.arange(n), n, f32(power))
    np.testing.assert_allclose(ladder(0.5, 4, 6.0), [0.5, 0.125, 0.03125, 0.0078125], rtol=1e-6)
    np.testing.assert_allclose(ladder(0.4, 8, 7.0), [0.4 ** (1 + i) for i in range(8)], rtol=1e-5)
    np.testing.assert_allclose(ladder(0.5, 1, 7.0), [0.5])
    np.testing.assert_array_equal(ladder(1.0, 3, 7.0), [1.0, 1.0, 1.0])
    np.testing.assert_array_equal(ladder(0.0, 3, 7.0), [0.0, 0.0, 0.0])
    # The upper half of the environments alone, as another shard has it.
    np.testing.assert_allclose(explore.ladder(f32(0.5), jnp.arange(2, 4), 4, f32(6.0)), [0.03125, 0.0078125], rtol=1e-6)


choose = jax.jit(explore.epsilon_greedy)


def test_without_epsilon_the_best_action():
    q = jnp.array([[0.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, 1.0, 0.0], [-3.0, -2.0, -2.0]])
    action = choose(jax.random.key(0), q, f32(0.0))
    np.testing.assert_array_equal(action, [1, 0, 0, 1])
    assert action.dtype == jnp.int32


@pytest.mark.parametrize("epsilon", [0.25, 0.6, 1.0])
def test_frequencies(epsilon):
    count = 40_000
    q = jnp.broadcast_to(jnp.array([0.0, 0.0, 1.0, 0.0]), (count, 4))
    counts = np.bincount(choose(jax.random.key(1), q, f32(epsilon)), minlength=4)
    share = epsilon / 4
    expected = np.array([share, share, 1 - 3 * share, share]) * count
    assert stats.chisquare(counts, expected).pvalue > 1e-3


def test_a_coin_for_each_environment():
    q = jnp.broadcast_to(jnp.array([1.0, *[0.0] * 63]), (1000, 64))
    strays = [int((np.asarray(choose(jax.random.key(seed), q, f32(0.5))) != 0).sum()) for seed in range(10)]
    # One coin for all would give 0 or nearly 1000. Here: binomial, 492 with a deviation of 16.
    assert all(400 < stray < 600 for stray in strays)
    assert len(set(strays)) > 1


def test_an_epsilon_for_each_environment():
    count = 20_000
    q = jnp.broadcast_to(jnp.array([0.0, 1.0]), (count, 2))
    epsilon = jnp.where(jnp.arange(count) < count // 2, 0.0, 1.0)
    action = np.asarray(choose(jax.random.key(2), q, epsilon))
    assert (action[: count // 2] == 1).all()
    assert abs(action[count // 2 :].mean() - 0.5) < 0.02


def test_choice_and_coin_are_independent():
    """With half of the environments exploring, their random actions are uniform: coin and action share no bits."""
    q = jnp.broadcast_to(jnp.array([1.0, 0.0, 0.0, 0.0, 0.0]), (40_000, 5))
    action = np.asarray(choose(jax.random.key(3), q, f32(0.5)))
    assert stats.chisquare(np.bincount(action, minlength=5)[1:]).pvalue > 1e-3


def test_uniform_and_greedy():
    action = np.asarray(explore.uniform(jax.random.key(4), 50_000, 5))
    assert action.dtype == np.int32
    assert stats.chisquare(np.bincount(action, minlength=5)).pvalue > 1e-3
    np.testing.assert_array_equal(explore.greedy(jnp.array([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]])), [1, 0])
