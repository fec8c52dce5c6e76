"""The contract between agents and the engine: how an agent acts and learns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax

from lepton_jax.agents.training import Reuse


class Batch(NamedTuple):
    """B transitions as an agent learns from them."""

    observation: jax.Array  # (B, ...)
    action: jax.Array  # int32 (B,)
    reward: jax.Array  # float32 (B,): the sum of gamma**i * reward over the k steps really taken
    discount: jax.Array  # float32 (B,): gamma**k, or 0 where the episode terminated
    next_observation: jax.Array  # (B, ...): k steps later; anything where discount is 0


class Sequence(NamedTuple):
    """T steps in a row of B environments, over the ends of episodes."""

    observation: jax.Array  # (T + 1, B, ...): the last one is what the last step led to
    action: jax.Array  # int32 (T, B)
    reward: jax.Array  # float32 (T, B)
    discount: jax.Array  # float32 (T, B): gamma, or 0 where the episode terminated
    ended: jax.Array  # bool (T, B): terminated or truncated; the next observation begins another episode
    truncated: jax.Array  # bool (T, B)
    # (S, B, ...): what truncated steps reached. S divides T; of the T / S steps of a group at most one is truncated.
    reached: jax.Array
    carry: Any  # of the B environments, before the first observation


class Agent(NamedTuple):
    """An agent, like an optax transformation: a record of pure functions. B environments or transitions at once.

    ``first`` is True where an episode begins, so that a recurrent agent knows when to forget. ``average`` takes the
    mean of a gradient over all devices that learn together; every agent must apply it before its optimiser.
    """

    # (key, observation spec, num_actions, hypers, Given or None: what it begins with) -> agent state
    init: Callable[..., Any]
    carry: Callable[[int], Any]  # (B) -> carry of B environments: recurrence, exploration; () if none
    q_values: Callable[..., Any]  # (agent state, carry, observation, first) -> (float32 (B, A), carry)
    act: Callable[..., Any]  # (agent state, carry, observation, first, key, epsilon) -> (int32 (B,), carry)
    # (agent state, Batch or Sequence, key, hypers, average) -> (agent state, priority (B,) or None, metrics)
    learn: Callable[..., Any]
    # What ``learn`` takes: a Batch of replayed transitions, a Sequence from replay, or all of the last rollout as one.
    learns_from: Literal["transitions", "sequences", "rollout"]
    metrics: tuple[str, ...]  # the names of what learn reports, each float32 ()
    exact: bool  # whether q_values estimate Q* of the state seen: they do not with a memory, nor where values are soft
    policy: Callable[[Any], Any]  # (agent state) -> the part that acts, which is saved as the policy
    with_policy: Callable[[Any, Any], Any]  # (agent state, policy) -> agent state
    reuse: Reuse | None = None  # of replayed transitions: how many come from a memory that the run begins with
