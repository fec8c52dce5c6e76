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


def size_of(error: jax.Array, kind: str, delta: jax.Array) -> jax.Array:
    """``huber`` or ``squared``, by name."""
    return huber(error, delta) if kind == "huber" else squared(error)


def soft_value(q: jax.Array, temperature: jax.Array) -> jax.Array:
    """sum_a pi(a) (Q(s, a) - temperature * log pi(a)) for pi = softmax(Q / temperature). Takes (A,), returns ().

    That sum is temperature * logsumexp(Q / temperature) (Vieillard et al. 2020, arXiv 2007.14430).
    """
    return temperature * jax.nn.logsumexp(q / temperature)


def munchausen_bonus(
    q: jax.Array, action: jax.Array, alpha: jax.Array, temperature: jax.Array, clip: jax.Array
) -> jax.Array:
    """alpha * max(temperature * log pi(action), clip), pi = softmax(Q / temperature): Munchausen adds it to a reward.

    Args:
      q: (A,), of the target network. action: int (). alpha, temperature: (). clip: (), below 0 (arXiv 2007.14430).
    """
    return alpha * jnp.maximum(temperature * jax.nn.log_softmax(q / temperature)[action], clip)


def q_lambda(
    reward: jax.Array, discount: jax.Array, ended: jax.Array, next_value: jax.Array, lam: jax.Array
) -> jax.Array:
    """Peng's Q(lambda) (Peng & Williams 1996): G_t = reward_t + discount_t ((1 - lam) next_value_t + lam G_{t+1}).

    Where an episode ended, and at the last step, the chain breaks and next_value_t stands alone. Nothing corrects for
    exploratory actions (as in PQN, arXiv 2407.04811).

    Args:
      reward: (T,). discount: gamma, 0 after termination, (T,). ended: bool (T,), terminated or truncated.
      next_value: (T,), the value of the state that step t reached, never of one after a reset. lam: ().

    Returns:
      (T,).
    """

    def back(later: jax.Array, step: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        reward, discount, ended, value = step
        total = reward + discount * jnp.where(ended, value, (1.0 - lam) * value + lam * later)
        return total, total

    # Beginning with the last value, the last step is its own one-step return whatever lam is.
    return jax.lax.scan(back, next_value[-1], (reward, discount, ended, next_value), reverse=True)[1]
