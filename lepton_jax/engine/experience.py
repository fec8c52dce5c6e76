"""From records to what agents learn from: observations are drawn, and seen through symmetries of the world."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.agents.agent import Batch, Sequence
from lepton_jax.engine import replay
from lepton_jax.envs.vector import Symmetry, VectorEnv


def transitions(env: VectorEnv, worlds: Any, sample: replay.Sample) -> Batch:
    """B transitions with their observations."""
    return Batch(
        observation=env.observe(sample.episode, sample.step, worlds),
        action=sample.action,
        reward=sample.reward,
        discount=sample.discount,
        next_observation=env.observe(sample.episode, sample.next_step, worlds),
    )


def sequence(env: VectorEnv, worlds: Any, window: replay.Window, gamma: jax.Array) -> Sequence:
    """B windows with their observations."""
    truncated = window.ended == replay.TRUNCATED
    length, batch = truncated.shape
    slots = jax.tree.leaves(window.truncated)[0].shape[0]
    group = length // slots
    # The row, of each group, in which the episode was truncated: it knows the episode that was.
    row = jnp.argmax(truncated.reshape(slots, group, batch), axis=1) + jnp.arange(slots)[:, None] * group
    episode = jax.tree.map(lambda leaf: leaf[row, jnp.arange(batch)], window.episode)

    def observe(episode: Any, step: Any) -> jax.Array:
        time = jax.tree.leaves(step)[0].shape[0]
        flat = lambda tree: jax.tree.map(lambda leaf: leaf.reshape(time * batch, *leaf.shape[2:]), tree)
        return env.observe(flat(episode), flat(step), worlds).reshape(time, batch, *env.observation.shape)

    return Sequence(
        observation=observe(window.episode, window.step),
        action=window.action,
        reward=window.reward,
        discount=jnp.where(window.ended == replay.TERMINATED, 0.0, gamma),
        ended=window.ended != replay.RUNNING,
        truncated=truncated,
        reached=observe(episode, window.truncated),
        carry=window.carry,
    )


def through(symmetries: tuple[Symmetry, ...], batch: Any, key: jax.Array) -> Any:
    """A Batch or Sequence as seen through the symmetries, each by an equal share of its columns.

    The columns are rolled by a random number, since environments explore each in its own way, and come out in the
    rolled order; then each symmetry is one transposition of a contiguous part.
    """
    axis = 1 if isinstance(batch, Sequence) else 0
    by = jax.random.randint(key, (), 0, batch.action.shape[axis])
    batch = jax.tree.map(lambda leaf: jnp.roll(leaf, by, axis), batch)
    bounds = np.linspace(0, batch.action.shape[axis], len(symmetries) + 1).astype(int)

    def each(leaf: jax.Array, turned: Any) -> jax.Array:
        parts = [
            turned(symmetry, jax.lax.slice_in_dim(leaf, low, high, axis=axis))
            for symmetry, low, high in zip(symmetries, bounds[:-1], bounds[1:], strict=True)
            if low < high
        ]
        return jnp.concatenate(parts, axis=axis)

    looks = ("observation", "next_observation", "reached")
    seen = {
        name: each(getattr(batch, name), lambda symmetry, part: symmetry.observation(part))
        for name in looks
        if name in batch._fields
    }
    act = lambda symmetry, part: jnp.asarray(symmetry.action)[part]
    return batch._replace(action=each(batch.action, act), **seen)
