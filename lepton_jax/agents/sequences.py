"""Action values along a Sequence, over the ends of episodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lepton_jax.agents import explore, losses
from lepton_jax.agents.agent import Sequence
from lepton_jax.agents.networks import QFunction


def unroll(q: QFunction, params: Any, s: Sequence) -> tuple[jax.Array, jax.Array]:
    """Action values of the states of a sequence, and of the state that each of its steps reached.

    Returns:
      float32 (T, B, A), at the T observations from which a step was taken; and float32 (T, B, A), after it, where the
      episode was truncated too: there, the value is that of the observation before the reset, with the memory of the
      episode that it ends. Where an episode terminated it is anything.
    """
    values, memory = q.unroll(params, s.carry, s.observation, begins(s))
    slots, length = s.reached.shape[0], s.action.shape[0]
    group = length // slots
    cut = s.truncated.reshape(slots, group, -1)

    def at_the_cut(leaf: jax.Array) -> jax.Array:
        # At most one of a group is truncated, so that the sum is that one, exactly.
        grouped = leaf[:-1].reshape(slots, group, *leaf.shape[1:])
        return jnp.sum(jnp.where(cut.reshape(*cut.shape, *[1] * (leaf.ndim - 2)), grouped, 0), axis=1)

    flat = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])
    carry = jax.tree.map(lambda leaf: flat(at_the_cut(leaf)), memory)
    reached = flat(s.reached)[None]
    beyond, _ = q.unroll(params, carry, reached, jnp.zeros(reached.shape[:2], bool))
    beyond = jnp.repeat(beyond.reshape(slots, -1, values.shape[-1]), group, axis=0)
    return values[:-1], jnp.where(s.truncated[..., None], beyond, values[1:])


def q_lambda(s: Sequence, reward: jax.Array, next_value: jax.Array, lam: jax.Array) -> jax.Array:
    """``losses.q_lambda`` of each column: rewards and the values of the states reached (T, B) -> returns (T, B)."""
    along = jax.vmap(losses.q_lambda, (1, 1, 1, 1, None), out_axes=1)
    return along(reward, s.discount, s.ended, next_value, lam)


def chosen(values: jax.Array, action: jax.Array) -> jax.Array:
    """The values (..., A) of actions (...)."""
    return jnp.take_along_axis(values, action[..., None], axis=-1)[..., 0]


def begins(s: Sequence) -> jax.Array:
    """bool (T + 1, B): before which observation the memory is to be cleared. The carry fits the first one as it is."""
    return jnp.concatenate([jnp.zeros_like(s.ended[:1]), s.ended])


def after(q: QFunction, params: Any, s: Sequence, steps: int) -> Sequence:
    """``s`` without its first ``steps`` steps, whole groups of them, with the carry that ``params`` have by then."""
    if steps == 0:
        return s
    _, memory = q.unroll(params, s.carry, s.observation[:steps], begins(s)[:steps])
    rest = jax.tree.map(lambda leaf: leaf[steps:], s._replace(reached=(), carry=()))
    slots = steps * s.reached.shape[0] // s.action.shape[0]
    carry = jax.tree.map(lambda leaf: leaf[-1], memory)
    # Where the last of these steps ended an episode, nothing is to be remembered of it.
    ended = s.ended[steps - 1]
    clear = lambda leaf: jnp.where(ended.reshape(-1, *[1] * (leaf.ndim - 1)), 0, leaf)
    return rest._replace(reached=s.reached[slots:], carry=jax.tree.map(clear, carry))


def acting(q: QFunction) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """``Agent.q_values`` and ``Agent.act`` of an agent whose state has ``params``: epsilon-greedy in ``q``."""

    def q_values(state: Any, carry: Any, observation: jax.Array, first: jax.Array) -> tuple[jax.Array, Any]:
        values, memory = q.unroll(state.params, carry, observation[None], first[None])
        return values[0], jax.tree.map(lambda leaf: leaf[0], memory)

    def act(
        state: Any, carry: Any, observation: jax.Array, first: jax.Array, key: jax.Array, epsilon: jax.Array
    ) -> tuple[jax.Array, Any]:
        values, carry = q_values(state, carry, observation, first)
        return explore.epsilon_greedy(key, values, epsilon), carry

    return q_values, act


def remembers(q: QFunction) -> bool:
    """Whether there is a memory in ``q``."""
    return bool(jax.tree.leaves(jax.eval_shape(lambda: q.carry(1))))
