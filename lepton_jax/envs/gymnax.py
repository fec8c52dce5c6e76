"""Any gymnax environment with discrete actions as a VectorEnv. Importing this imports gymnax, which takes seconds."""

from __future__ import annotations

import math
from typing import Any

import gymnax
import jax
import jax.numpy as jnp
from gymnax.environments import spaces

from lepton_jax.envs.vector import Outcome, VectorEnv


def make_env(name: str) -> VectorEnv:
    """The gymnax environment ``name`` with its default parameters.

    The engine resets by itself, so that the state reached is known before the reset; truncation is kept apart from
    termination. A "level" of such a world is the key of its reset.

    Images, which gymnax shows with their channels last, are observed as (channels, rows, columns). Those of MinAtar
    (ids that end in "-MinAtar") hold nothing but 0 and 1: they are kept as packed bits and observed as uint8.

    Raises:
      ValueError: gymnax knows no such environment, or its actions or observations are of a kind DQN cannot take.
    """
    try:
        env, params = gymnax.make(name)
    except ValueError:
        known = ", ".join(gymnax.registered_envs)
        raise ValueError(f"gymnax has no environment {name!r}; it has {known}") from None
    actions, observations = env.action_space(params), env.observation_space(params)
    if not isinstance(actions, spaces.Discrete):
        raise ValueError(f"{name} has continuous actions ({actions}); deep Q-learning needs discrete ones")
    if not isinstance(observations, spaces.Box | spaces.Discrete):
        raise ValueError(f"{name} has observations of kind {observations}; expected one array")
    limit = int(params.max_steps_in_episode)
    first, _ = jax.eval_shape(env.reset_env, jax.random.key(0), params)
    image, binary = len(first.shape) == 3, name.endswith("-MinAtar")
    shape = (first.shape[2], *first.shape[:2]) if image else first.shape
    cells = math.prod(shape)

    def kept(seen: jax.Array) -> jax.Array:
        """The step part of observations as gymnax shows them, (N, ...)."""
        seen = jnp.moveaxis(seen, -1, 1) if image else seen
        return jnp.packbits(seen.reshape(-1, cells) == 1, axis=1) if binary else seen.astype(first.dtype)

    def observe(episode: Any, step: jax.Array, worlds: Any) -> jax.Array:
        del episode, worlds
        return jnp.unpackbits(step, axis=1, count=cells).reshape(-1, *shape) if binary else step

    def reset(key: jax.Array, worlds: Any, n: int, hypers: Any, slots: jax.Array | None = None) -> Any:
        del worlds, hypers
        slots = jnp.arange(n) if slots is None else slots
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, slots)
        seen, state = jax.vmap(env.reset_env, (0, None))(keys, params)
        # Many a state begins as numbers of Python, whose weak types a step does not keep: it would be compiled twice.
        return jax.tree.map(lambda leaf: leaf.astype(leaf.dtype), state), kept(seen)

    def step(key: jax.Array, state: Any, action: jax.Array, worlds: Any, hypers: Any) -> tuple[Any, Outcome]:
        del worlds, hypers
        n = action.shape[0]
        keys = jax.random.split(key, (2, n))
        seen, after, reward, terminated, _ = jax.vmap(env.step_env, (0, 0, 0, None))(keys[0], state[0], action, params)
        terminated = terminated.astype(bool)
        truncated = jax.vmap(env.is_truncated, (0, None))(after, params) & ~terminated
        ended = terminated | truncated
        fresh, fresh_state = jax.vmap(env.reset_env, (0, None))(keys[1], params)
        reached = kept(seen)
        select = lambda new, old: jnp.where(ended.reshape(n, *[1] * (old.ndim - 1)), new.astype(old.dtype), old)
        following = jax.tree.map(select, (fresh_state, kept(fresh)), (after, reached))
        return following, Outcome(reward.astype(jnp.float32), terminated, truncated, reached)

    return VectorEnv(
        name=name,
        observation=jax.ShapeDtypeStruct(shape, jnp.uint8 if binary else first.dtype),
        num_actions=int(actions.n),
        time_limit=limit,
        worlds=lambda level_key: (),
        refresh=None,
        reset=reset,
        step=step,
        observe=observe,
        record=lambda state: ((), state[1]),
    )
