"""Schedules and action selection."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def linear(step: jax.Array, start: jax.Array, end: jax.Array, horizon: jax.Array) -> jax.Array:
    """From ``start`` at step 0 to ``end`` at step ``horizon``, straight, and ``end`` from there on. Scalars."""
    done = jnp.clip(step.astype(jnp.float32) / jnp.maximum(horizon, 1.0), 0.0, 1.0)
    return start + done * (end - start)


def cosine(step: jax.Array, start: jax.Array, end: jax.Array, horizon: jax.Array) -> jax.Array:
    """Like ``linear`` along half a cosine wave (Loshchilov & Hutter 2017, arXiv 1608.03983, equation 5)."""
    done = jnp.clip(step.astype(jnp.float32) / jnp.maximum(horizon, 1.0), 0.0, 1.0)
    return end + 0.5 * (start - end) * (1.0 + jnp.cos(jnp.pi * done))


def ladder(epsilon: jax.Array, place: jax.Array, n: int, power: jax.Array) -> jax.Array:
    """The epsilon of environment ``place`` of ``n``: epsilon ** (1 + power * place / (n - 1)) (Horgan et al. 2018).

    Args:
      epsilon, power: float32 (). place: int (B,), from 0 to n - 1. n: static.

    Returns:
      float32 (B,): ``epsilon`` at place 0, falling to ``epsilon ** (1 + power)`` at the last (arXiv 1803.00933).
    """
    return epsilon ** (1.0 + power * place.astype(jnp.float32) / max(n - 1, 1))


def epsilon_greedy(key: jax.Array, q: jax.Array, epsilon: jax.Array) -> jax.Array:
    """With probability epsilon a uniform action, else the best one; a coin for each row.

    Args:
      key: typed key. q: float32 (B, A). epsilon: float32 () or (B,).

    Returns:
      int32 (B,).
    """
    batch, actions = q.shape
    # One call for coin and action: each would be compiled, and run, apart.
    coin, draw = jax.random.bits(key, (2, batch), jnp.uint32)
    explore = (coin >> 8).astype(jnp.float32) * 2.0**-24 < epsilon
    return jnp.where(explore, _action(draw, actions), greedy(q))


def greedy(q: jax.Array) -> jax.Array:
    """The best action of each row: float32 (B, A) -> int32 (B,). Among equal values the lowest."""
    return jnp.argmax(q, axis=-1).astype(jnp.int32)


def uniform(key: jax.Array, batch: int, actions: int) -> jax.Array:
    """Uniform actions, int32 (batch,)."""
    return _action(jax.random.bits(key, (batch,), jnp.uint32), actions)


def _action(word: jax.Array, actions: int) -> jax.Array:
    return (word % jnp.uint32(actions)).astype(jnp.int32)  # biased by less than actions / 2**32
