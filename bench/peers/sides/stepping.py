"""What the workers that step worlds of jax share. Imports jax and the wire, nothing else."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from wire import Work

# Steps a call, by environments: the same on both sides.
STEPS = {64: 1024, 1024: 128, 8192: 32}


def stepping(reset, step, n, actions, about=None):
    """Random play of ``n`` environments that reset themselves, all in one compiled program.

    Args:
      reset: keys (n,) -> carry, with the observation in it, so that it is really made.
      step: (keys (n,), carry, action int32 (n,)) -> carry, whether each episode ended, rewards.
      actions: how many there are.
    """
    steps = STEPS[n]

    def play(carry, key):
        def one(carry, key):
            action_key, step_key = jax.random.split(key)
            action = jax.random.randint(action_key, (n,), 0, actions)
            carry, ended, reward = step(jax.random.split(step_key, n), carry, action)
            return carry, (jnp.sum(ended), jnp.sum(reward))

        carry, (ended, reward) = jax.lax.scan(one, carry, jax.random.split(key, steps))
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
        done = max(box["ended"], 1)
        total = box["calls"] * n * steps
        return {"steps": total, "episodes": box["ended"], "steps_an_episode": total / done,
                "return_an_episode": box["reward"] / done}  # fmt: skip

    return Work(call, n * steps, check, versions(about))


def generating(make, batch, about=None):
    """``make``: keys (batch,) -> levels, in one compiled program."""
    compiled = jax.jit(make)
    box = {"calls": 0, "levels": None}

    def call():
        box["calls"] += 1
        box["levels"] = jax.block_until_ready(compiled(jax.random.split(jax.random.key(box["calls"]), batch)))

    def check():
        walls = jax.tree.leaves(box["levels"])[0]
        flat = walls.reshape(walls.shape[0], -1)
        return {"levels": batch, "different": len({bytes(row) for row in jax.device_get(flat)})}

    return Work(call, batch, check, versions(about))


def versions(about=None):
    """What ran."""
    return {"jax": jax.__version__, "device": jax.devices()[0].device_kind} | (about or {})
