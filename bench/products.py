"""The matrix products of a run, and nothing else: what its env-steps a second could be at the most.

The same products at the same batch sizes on the same devices: of acting, of the three passes of a loss and of its
gradient. No activation, no optimiser, no world, no replay, and no device waits for another.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.config import Config
from lepton_jax.engine.program import program_shape
from lepton_jax.engine.setup import make_setup
from lepton_jax.engine.shard import OWN, count_parts, spread

Weights = list[jax.Array]  # (in, out) of each layer


def products(config: Config) -> tuple[jax.stages.Compiled, tuple[Any, ...], float]:
    """A program that makes all products of a chunk, from one log point to the next, its arguments, and its env-steps.

    ``config``: of a DQN with hidden layers on flat observations and no memory.
    """
    setup, shape = make_setup(config), program_shape(config)
    shards, (net, replay) = setup.shards, (config.net, config.replay)
    outputs = setup.env.num_actions + net.dueling
    sizes = [int(np.prod(setup.env.observation.shape)), *[net.width] * net.depth, outputs]
    passes = 3 if config.agent.double else 2  # online, target, and online once more on what follows
    count = shape.per_point * shape.per_segment

    def run(weights: Weights, acting: jax.Array, batches: list[jax.Array]) -> Any:
        def update(carry: Any, _: None) -> tuple[Any, None]:
            batches, slopes = carry
            seen = [_forward(batch, weights) for batch in batches]
            slopes = _backward(seen[0], weights)
            # What the next products depend on is of these, so that none of them is made once for all, or left out.
            touched = sum(slope[0, 0] for slope in slopes) + sum(each[-1][0, 0] for each in seen)
            return ([_touch(batch, touched) for batch in batches], slopes), None

        def iteration(carry: Any, _: None) -> tuple[Any, None]:
            acting, learning = carry
            for _number in range(replay.collect):
                acting = _touch(acting, _forward(acting, weights)[-1][0, 0])
            return (acting, jax.lax.scan(update, learning, length=replay.updates)[0]), None

        slopes = [jnp.zeros_like(layer) for layer in weights]
        return jax.lax.scan(iteration, (acting, (batches, slopes)), length=count)[0]

    draw = lambda *shape: np.random.default_rng(0).normal(size=shape).astype(np.float32)
    weights = [draw(shards, *each) / np.sqrt(each[0]) for each in itertools.pairwise(sizes)]
    acting = draw(shards, config.env.num_envs // count_parts(config, shards), sizes[0])
    batches = [draw(shards, replay.batch_size // shards, sizes[0])] * passes
    alone = lambda tree: jax.tree.map(lambda leaf: leaf[0], tree) if shards == 1 else tree
    args = alone((weights, acting, batches))
    compiled = jax.jit(spread(run, shards, (OWN, OWN, OWN), OWN)).lower(*args).compile()
    return compiled, args, count * shape.steps


def _forward(x: jax.Array, weights: Weights) -> Weights:
    """The input and what each layer makes of it."""
    made = [x]
    for layer in weights:
        made.append(made[-1] @ layer)
    return made


def _backward(made: Weights, weights: Weights) -> Weights:
    """The slope of each layer, given any of the last; none is asked of the input."""
    slope, found = made[-1], []
    for number in reversed(range(len(weights))):
        found.append(made[number].T @ slope)
        slope = slope @ weights[number].T if number else slope
    return found[::-1]


def _touch(x: jax.Array, value: jax.Array | float) -> jax.Array:
    """``x`` with one element that depends on ``value``."""
    return x.at[0, 0].set(1e-6 * value)
