"""What the workers that step worlds of jax share. Imports jax and the wire, nothing else."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from wire import Work


def stepping(reset, step, n, steps, actions, layouts=None, about=None):
    """Random play of ``n`` environments that reset themselves, all in one compiled program.

    Args:
      reset: keys (n,) -> carry, with the observation in it, so that it is really made.
      step: (keys (n,), carry, action int32 (n,)) -> carry, whether each episode ended, rewards.
      n: environments.
      steps: of each in one call.
      actions: how many there are.
      layouts: carry -> arrays (n, ...) that differ where the layouts do; None where all have the same.
      about: what else to say of the side.
    """

    def play(carry, key):
        # Random actions as all sides draw them.
        action_key, step_key = jax.random.split(key)
        chosen = jax.random.bits(action_key, (steps, n), jnp.uint8) % jnp.uint8(actions)

        def one(carry, inputs):
            key, action = inputs
            carry, ended, reward = step(jax.random.split(key, n), carry, action.astype(jnp.int32))
            return carry, (jnp.sum(ended), jnp.sum(reward))

        carry, (ended, reward) = jax.lax.scan(one, carry, (jax.random.split(step_key, steps), chosen))
        return carry, jnp.sum(ended), jnp.sum(reward)

    compiled = jax.jit(play, donate_argnums=0)
    carry = jax.jit(reset)(jax.random.split(jax.random.key(0), n))
    box = {"carry": carry, "calls": 0, "ended": 0, "reward": 0.0}

    def call():
        box["calls"] += 1
        box["carry"], ended, reward = compiled(box["carry"], jax.random.key(box["calls"]))
        box["ended"] += int(ended)
        box["reward"] += float(reward)

    def check():
        seen = 1 if layouts is None else different(layouts(box["carry"]))
        return told(box, n, steps) | {"layouts_now": seen}

    return Work(call, n * steps, check, versions(about))


def generating(make, batch, about=None):
    """``make``: keys (batch,) -> walls (batch, ...), in one compiled program."""
    compiled = jax.jit(make)
    box = {"calls": 0, "levels": None}

    def call():
        box["calls"] += 1
        box["levels"] = jax.block_until_ready(compiled(jax.random.split(jax.random.key(box["calls"]), batch)))

    def check():
        free = [int(cells) for cells in (box["levels"] == 0).reshape(batch, -1).sum(1)]
        return {"levels": batch, "different": different(box["levels"]), "free_cells": [min(free), max(free)]}

    return Work(call, batch, check, versions(about))


def different(arrays):
    """How many of the rows (n, ...) differ."""
    rows = jax.device_get(arrays)
    return len({row.tobytes() for row in rows})


def told(box, n, steps):
    """What ``box["calls"]`` calls of ``steps`` steps of ``n`` environments came to.

    Means of episodes only where each environment has ended four on the average: of the first ones the short prevail.
    """
    total, done = box["calls"] * n * steps, box["ended"]
    means = {"steps_an_episode": total / done, "return_an_episode": box["reward"] / done} if done >= 4 * n else {}
    return {"steps": total, "episodes": done} | means


def versions(about=None):
    """What ran."""
    return {"jax": jax.__version__, "device": jax.devices()[0].device_kind} | (about or {})
