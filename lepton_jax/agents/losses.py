"""Temporal-difference formulas, each for ONE transition; batch with ``jax.vmap``. All scalars float32."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def max_value(next_q: jax.Array) -> jax.Array:
    """Bootstrap of Q-learning: max_a Q_target(s', a). Takes (A,), returns ()."""
    return jnp.max(next_q)


def double_value(next_q_online: jax.Array, next_q_target: jax.Array) -> jax.Array:
    """Bootstrap of Double DQN: Q_target(s', argmax_a Q_online(s', a)) (van Hasselt et al. 2016, arXiv 1509.06461).

    Takes two (A,), returns ().
    """
    return next_q_target[jnp.argmax(next_q_online)]


def td_error(
    q: jax.Array, action: jax.Array, reward: jax.Array, discount: jax.Array, next_value: jax.Array
) -> jax.Array:
    """reward + discount * next_value - Q(s, action), the target held fixed.

    Args:
      q: (A,). action: int (). reward: the n-step return (). discount: gamma**k, 0 after termination (). next_value: ().
    """
    return jax.lax.stop_gradient(reward + discount * next_value) - q[action]


def squared(error: jax.Array) -> jax.Array:
    """error**2 / 2."""
    return 0.5 * jnp.square(error)


def huber(error: jax.Array, delta: jax.Array | float = 1.0) -> jax.Array:
    """error**2 / 2 where |error| <= delta, else delta * (|error| - delta / 2) (Huber 1964)."""
    size = jnp.abs(error)
    inner = jnp.minimum(size, delta)
    return inner * (size - 0.5 * inner)
