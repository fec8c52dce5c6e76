"""Memory: cells that carry what matters from one step of an episode to the next.

A cell reads T steps of B environments at once. The products of its input are taken for all steps together; only what
depends on the step before, the product of the hidden state, is taken step after step.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class GRU(nn.Module):
    """Gated recurrent unit (Cho et al. 2014, arXiv 1406.1078), the reset gate after the product, as cuDNN has it.

    With r, z the gates of x_t and h:  n = tanh(W x_t + b + r (U h + c));  h' = (1 - z) n + z h.
    """

    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, carry: jax.Array, x: jax.Array, first: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Carry float32 (B, width), x (T, B, features), first bool (T, B).

        Returns:
          What the cell shows and what it carries after each step, which are the same: float32 (T, B, width).
        """
        inputs = nn.Dense(3 * self.width, dtype=self.dtype)(x).astype(jnp.float32)
        recurrent = self.param("recurrent", _orthogonal, (self.width, 3 * self.width))
        bias = self.param("recurrent_bias", nn.initializers.zeros, (self.width,))

        def step(hidden: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            given, first = now
            hidden = _forget(hidden, first)
            kept = _product(hidden, recurrent, self.dtype)
            gates = jax.nn.sigmoid(given[:, : 2 * self.width] + kept[:, : 2 * self.width])
            reset, update = jnp.split(gates, 2, axis=-1)
            new = jnp.tanh(given[:, 2 * self.width :] + reset * (kept[:, 2 * self.width :] + bias))
            hidden = (1.0 - update) * new + update * hidden
            return hidden, hidden

        _, memory = jax.lax.scan(step, carry, (inputs, first))
        return memory, memory

    def carry(self, count: int) -> jax.Array:
        """What ``count`` environments remember when an episode begins: zeros, float32 (count, width)."""
        return jnp.zeros((count, self.width), jnp.float32)


class LSTM(nn.Module):
    """Long short-term memory (Hochreiter & Schmidhuber 1997) with a forget gate (Gers et al. 2000).

    The forget gate's bias is 1 + a parameter that begins at 0, so that the cell remembers from the start (Jozefowicz
    et al. 2015):  c' = sigmoid(f + 1) c + sigmoid(i) tanh(g);  h' = sigmoid(o) tanh(c').
    """

    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, carry: tuple[jax.Array, jax.Array], x: jax.Array, first: jax.Array
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """Carry (c, h), each float32 (B, width), x (T, B, features), first bool (T, B).

        Returns:
          h after each step, float32 (T, B, width), which is what the cell shows; and (c, h) after each step.
        """
        inputs = nn.Dense(4 * self.width, dtype=self.dtype)(x).astype(jnp.float32)
        recurrent = self.param("recurrent", _orthogonal, (self.width, 4 * self.width))

        def step(carry: tuple[jax.Array, jax.Array], now: tuple[jax.Array, jax.Array]) -> tuple[Any, Any]:
            given, first = now
            cell, hidden = _forget(carry[0], first), _forget(carry[1], first)
            i, f, g, o = jnp.split(given + _product(hidden, recurrent, self.dtype), 4, axis=-1)
            cell = jax.nn.sigmoid(f + 1.0) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
            carry = cell, jax.nn.sigmoid(o) * jnp.tanh(cell)
            return carry, carry

        _, memory = jax.lax.scan(step, carry, (inputs, first))
        return memory[1], memory

    def carry(self, count: int) -> tuple[jax.Array, jax.Array]:
        """What ``count`` environments remember when an episode begins: zeros, a pair of float32 (count, width)."""
        return jnp.zeros((count, self.width), jnp.float32), jnp.zeros((count, self.width), jnp.float32)


def _forget(memory: jax.Array, first: jax.Array) -> jax.Array:
    return jnp.where(first[:, None], 0.0, memory)


def _product(hidden: jax.Array, recurrent: jax.Array, dtype: Any) -> jax.Array:
    """The product in ``dtype``, its result in float32, in which the gates and the memory are kept."""
    return (hidden.astype(dtype) @ recurrent.astype(dtype)).astype(jnp.float32)


def _orthogonal(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Orthogonal matrices side by side, one for each gate, uniform over all of them (Saxe et al. 2014)."""
    width, columns = shape
    x = jax.random.normal(key, (columns // width, width, width))
    x = x / jnp.linalg.norm(x, axis=(1, 2), keepdims=True)
    # Newton and Schulz's iteration to the polar factor, which of a normal matrix is uniform. A QR decomposition calls
    # LAPACK, where two CPU devices that initialise at once wait for each other's threads, for ever (jax 0.10.2).
    squeeze = lambda _, x: 1.5 * x - 0.5 * jnp.matmul(jnp.matmul(x, x.mT, precision="highest"), x, precision="highest")
    x = jax.lax.fori_loop(0, 48, squeeze, x)
    return jnp.concatenate([*x], axis=-1)
