"""What environment 0 has just been through in training, read from the replay memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.engine.metrics import Episode
from lepton_jax.engine.program import Shape, State
from lepton_jax.engine.replay import RUNNING, TERMINATED, Ring
from lepton_jax.engine.setup import Setup
from lepton_jax.engine.shard import on_one
from lepton_jax.envs.vector import VectorEnv


def latest_step(state: State, setup: Setup, shape: Shape) -> tuple[np.ndarray, int, float]:
    """Observation, action and reward of environment 0 at the last step taken."""
    ring, worlds = state.ring, state.worlds
    if setup.shards > 1:
        ring, worlds = _of_one(on_one(ring)), on_one(worlds)
    row = _last_row(state, shape, ring.action.shape[0])
    pick = lambda tree: jax.tree.map(lambda leaf: leaf[row, :1], tree)
    observation = setup.env.observe(pick(ring.episode), pick(ring.step), worlds)
    return np.asarray(observation)[0], int(ring.action[row, 0]), float(ring.reward[row, 0])


def episode_reader(setup: Setup, shape: Shape) -> Callable[[State], Episode | None] | None:
    """A function that reads the last whole episode of environment 0; None for worlds that cannot be drawn.

    It compiles once, when first called, and copies a few kilobytes from the device. What it returns is None while the
    memory holds no whole episode, as that of PQN, one rollout, often does not.
    """
    if setup.env.scene is None:
        return None

    @jax.jit  # all at once: step by step, each small operation would be compiled by itself
    def take(ring: Ring, rows: jax.Array) -> Any:
        return _take(setup.env, _of_one(ring), rows)

    def read(state: State) -> Episode | None:
        ring = state.ring if setup.shards == 1 else on_one(state.ring)
        there = ring.action.shape[-2]
        # The last end is less than a time limit ago, and the one before it at most a time limit earlier.
        rows = (_last_row(state, shape, there) + 1 + np.arange(there)[-2 * setup.env.time_limit :]) % there
        return last_episode(*jax.device_get(take(ring, rows.astype(np.int32))))

    return read


def last_episode(scene: Any, reward: np.ndarray, ended: np.ndarray) -> Episode | None:
    """The last whole episode among K steps in a row of one environment; None if none lies between two ends.

    Args:
      scene: render.Scene of NumPy arrays: the level (1, ...) of the episode that ended last, and the agent (K,) before
        each step.
      reward: float32 (K,). ended: uint8 (K,), see ``engine.replay``.
    """
    ends = np.flatnonzero(ended != RUNNING)
    if len(ends) < 2:
        return None
    first, last = int(ends[-2]) + 1, int(ends[-1])
    steps = slice(first, last + 1)
    level = jax.tree.map(lambda leaf: leaf[0], scene.level._replace(start=scene.agent[first : first + 1]))
    return Episode(
        level=level,
        cells=scene.agent[steps],
        heading=None if scene.heading is None else int(scene.heading[last]),
        held=scene.held is not None and bool(scene.held[last]),
        reward=reward[steps],
        terminated=bool(ended[last] == TERMINATED),
    )


def _take(env: VectorEnv, ring: Ring, rows: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
    """What ``last_episode`` needs of environment 0 in some rows, oldest first."""
    assert env.scene is not None
    ended = ring.ended[rows, 0]
    last = rows[len(rows) - 1 - jnp.argmax(ended[::-1] != RUNNING)]
    episode = jax.tree.map(lambda leaf: leaf[last, :1], ring.episode)
    step = jax.tree.map(lambda leaf: leaf[rows, 0], ring.step)
    return env.scene(episode, step), ring.reward[rows, 0], ended


def _last_row(state: State, shape: Shape, rows: int) -> int:
    """The row of the ring that was written last."""
    length = rows // shape.blocks
    return ((shape.warmup + int(state.clock)) % shape.blocks * length - 1) % rows


def _of_one(ring: Ring) -> Ring:
    """The ring of a device, without the leading axis that it has if each has its own."""
    return jax.tree.map(lambda leaf: leaf[0], ring) if ring.action.ndim == 3 else ring
