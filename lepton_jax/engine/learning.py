"""The learning half of an iteration: from what is remembered to gradient steps, in the way the agent asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lepton_jax.agents.agent import Agent, Batch, Sequence
from lepton_jax.config import Config, Hypers
from lepton_jax.engine import experience, replay, shard
from lepton_jax.envs.vector import VectorEnv


class Learning(NamedTuple):
    """How the agent of a run learns."""

    keys: int  # that an iteration takes
    # (agent state, ring, rollout as a window, worlds, keys, hypers, head, written, reused) -> (agent state, metrics);
    # head and written as in replay.sample, reused a replay.Memory or ()
    learn: Callable[..., tuple[Any, dict[str, jax.Array]]]


def make_learning(config: Config, env: VectorEnv, agent: Agent, shards: int) -> Learning:
    """``Agent.learn`` on what it wants: a rollout, or ``replay.updates`` batches from the ring."""
    updates, batch_size = config.replay.updates, config.replay.batch_size // shards
    burn_in, length = config.replay.burn_in, config.replay.sequence
    average = lambda gradient: shard.average(gradient, shards)
    symmetries = env.symmetries if config.agent.symmetry else ()
    # Of each batch at least one transition comes from either memory.
    borrowed = 0 if agent.reuse is None else min(max(round(agent.reuse.share * batch_size), 1), batch_size - 1)

    def step(agent_state: Any, batch: Batch | Sequence, key: jax.Array, hypers: Hypers) -> tuple[Any, Any]:
        if symmetries:
            turn_key, key = jax.random.split(key)
            batch = experience.through(symmetries, batch, turn_key)
        agent_state, _, metrics = agent.learn(agent_state, batch, key, hypers, average)
        return agent_state, metrics

    def from_rollout(
        agent_state: Any, ring: Any, window: replay.Window, worlds: Any, keys: Any, hypers: Hypers, *_: Any
    ) -> tuple[Any, dict[str, jax.Array]]:
        del ring
        return step(agent_state, experience.sequence(env, worlds, window, hypers.gamma), keys[0], hypers)

    def batches(memory: replay.Memory, key: jax.Array, size: int, hypers: Hypers) -> replay.Sample:
        """The samples of all updates of an iteration, at once, since the ring does not change between them."""
        drawn = replay.sample(
            memory.ring, key, memory.head, memory.written, updates * size, config.agent.n_step, hypers.gamma
        )
        return jax.tree.map(lambda leaf: leaf.reshape(updates, size, *leaf.shape[1:]), drawn)

    def from_ring(
        agent_state: Any,
        ring: replay.Ring,
        window: Any,
        worlds: Any,
        keys: Any,
        hypers: Hypers,
        head: Any,
        written: Any,
        reused: Any,
    ) -> tuple[Any, dict[str, jax.Array]]:
        del window
        drawn = None
        if agent.learns_from == "transitions":
            drawn = batches(replay.Memory(ring, head, written), keys[0], batch_size - borrowed, hypers)
            if borrowed:
                more = batches(reused, jax.random.fold_in(keys[0], 1), borrowed, hypers)
                drawn = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), drawn, more)

        def update(agent_state: Any, inputs: Any) -> tuple[Any, dict[str, jax.Array]]:
            sample, key = inputs
            if sample is not None:
                return step(agent_state, experience.transitions(env, worlds, sample), key, hypers)
            window_key, key = jax.random.split(key)
            windows = replay.sample_windows(ring, window_key, head, written, batch_size // length, burn_in + length)
            return step(agent_state, experience.sequence(env, worlds, windows, hypers.gamma), key, hypers)

        agent_state, metrics = jax.lax.scan(update, agent_state, (drawn, keys[1:]))
        return agent_state, jax.tree.map(jnp.mean, metrics)

    if agent.learns_from == "rollout":
        return Learning(1, from_rollout)
    return Learning(1 + updates, from_ring)
