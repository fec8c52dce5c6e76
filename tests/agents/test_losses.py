"""Losses against rlax, and against numbers worked by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax

from lepton_jax.agents import losses

BATCH, ACTIONS = 64, 5


def random_batch(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    q = lambda: rng.normal(size=(BATCH, ACTIONS)).astype(np.float32)
    return {
        "q": q(),
        "action": rng.integers(0, ACTIONS, BATCH).astype(np.int32),
        "reward": rng.normal(size=BATCH).astype(np.float32),
        "discount": rng.choice(np.array([0.0, 0.9, 0.97], np.float32), BATCH),
        "online": q(),
        "target": q(),
    }


def test_q_learning_is_rlax():
    b = random_batch()
    value = jax.vmap(losses.max_value)(b["target"])
    found = jax.vmap(losses.td_error)(b["q"], b["action"], b["reward"], b["discount"], value)
    expected = jax.vmap(rlax.q_learning)(b["q"], b["action"], b["reward"], b["discount"], b["target"])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_double_q_learning_is_rlax():
    b = random_batch(1)
    value = jax.vmap(losses.double_value)(b["online"], b["target"])
    found = jax.vmap(losses.td_error)(b["q"], b["action"], b["reward"], b["discount"], value)
    # rlax: (q_tm1, a_tm1, r_t, discount_t, q_t_value, q_t_selector)
    expected = jax.vmap(rlax.double_q_learning)(
        b["q"], b["action"], b["reward"], b["discount"], b["target"], b["online"]
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert np.any(np.abs(value - jax.vmap(losses.max_value)(b["target"])) > 0.1)  # the two do differ on this batch


@pytest.mark.parametrize("delta", [0.25, 1.0, 3.0])
def test_huber_is_rlax(delta):
    errors = jnp.linspace(-5.0, 5.0, 101)
    np.testing.assert_allclose(losses.huber(errors, delta), rlax.huber_loss(errors, delta), rtol=1e-6, atol=1e-7)
    slope = jax.vmap(jax.grad(losses.huber), (0, None))
    np.testing.assert_allclose(slope(errors, delta), np.clip(errors, -delta, delta), rtol=1e-6, atol=1e-6)


def test_squared_is_rlax():
    errors = jnp.linspace(-5.0, 5.0, 11)
    np.testing.assert_allclose(losses.squared(errors), rlax.l2_loss(errors), rtol=1e-6)


def test_by_hand():
    online, target = jnp.array([1.0, 3.0, 2.0]), jnp.array([5.0, 0.5, 4.0])
    assert losses.max_value(target) == 5.0
    assert losses.double_value(online, target) == 0.5
    q = jnp.array([1.0, 2.0, 3.0])
    assert losses.td_error(q, jnp.int32(2), jnp.float32(1.0), jnp.float32(0.5), jnp.float32(6.0)) == 1.0
    assert losses.td_error(q, jnp.int32(0), jnp.float32(1.0), jnp.float32(0.0), jnp.float32(6.0)) == 0.0
    assert losses.squared(jnp.float32(3.0)) == 4.5
    assert losses.huber(jnp.float32(-0.5), 1.0) == 0.125
    assert losses.huber(jnp.float32(-3.0), 1.0) == 2.5
    assert losses.huber(jnp.float32(3.0), 2.0) == 4.0


def test_the_target_is_held_fixed():
    def error(q: jax.Array, reward: jax.Array, next_value: jax.Array) -> jax.Array:
        return losses.td_error(q, jnp.int32(1), reward, jnp.float32(0.9), next_value)

    slopes = jax.grad(error, (0, 1, 2))(jnp.array([1.0, 2.0]), jnp.float32(1.0), jnp.float32(3.0))
    np.testing.assert_array_equal(slopes[0], [0.0, -1.0])
    assert slopes[1] == slopes[2] == 0.0
