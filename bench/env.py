"""Stepping 13x13 mazes with auto-reset from a pool, under a random policy.

Here XLA has all threads. Beside peers (``bench.peers.rows``) up to 1,024 environments are timed on one thread as well,
and the faster counts; and a call goes on where the last one ended, while here each begins from the same state.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bench.measure import Subject, compiled, rates, tell
from lepton_jax.engine.program import make_hypers, program_shape, strong
from lepton_jax.envs.maze import world
from lepton_jax.envs.maze.rules import Rules
from lepton_jax.envs.maze.spec import MazeSpec
from lepton_jax.presets import from_preset

SIZE = 13
# Environments, and steps of each in one call; beside peers too, but for the worlds that are too slow for it.
STEPS = {64: 1024, 1024: 128, 8192: 32}
ASKED = {(8192, "none"): 70e6, (8192, "full"): 20e6, (8192, "gymnax"): 5e6, (8192, "egocentric"): 20e6}
# An observation each, but for "none"; "turning" is the egocentric one under MiniGrid's rules.
KINDS = ("none", "full", "centred", "vector", "egocentric", "turning", "mixed sizes")
_EGOCENTRIC: dict[str, Any] = {"observation": "egocentric", "view": 5, "occlusion": True}
_RULES: dict[str, dict[str, Any]] = {
    "none": {},
    "mixed sizes": {},
    "egocentric": _EGOCENTRIC,
    "turning": _EGOCENTRIC | {"actions": "oriented"},
}


def rows(quick: bool) -> list[dict[str, Any]]:
    subjects = {}
    for n, steps in STEPS.items():
        for kind in KINDS:
            tell(f"{n} environments, {kind}: compiling")
            call, _ = compiled(*native(n, kind, steps))
            subjects[f"{n} environments, {kind}"] = Subject(call, n * steps, "steps/s", ASKED.get((n, kind)))
    call, _ = compiled(*through_gymnax(8192, STEPS[8192]))
    subjects["8192 environments, full, vmapped gymnax step"] = Subject(
        call, 8192 * STEPS[8192], "steps/s", ASKED[8192, "gymnax"]
    )
    return rates(subjects, 3 if quick else 15)


def native(n: int, kind: str, steps: int) -> tuple[Any, ...]:
    """A function that steps ``n`` environments ``steps`` times, and its arguments.

    It returns the state, the last observation, and of each environment the sum of rewards and the episodes that ended.
    """
    rules = Rules(SIZE, SIZE, 284, **_RULES.get(kind, {"observation": kind}))
    spec = MazeSpec(SIZE, min_size=7 if kind == "mixed sizes" else 0)
    env = world.make_env(rules, n, spec, world.Endless(16384, 1024))
    config = from_preset("quick")
    hypers = strong(make_hypers(config, program_shape(config)))
    pool = jax.jit(env.worlds)(jax.random.key(0))
    state = env.reset(jax.random.key(1), pool, n, hypers)

    def look(state: Any, pool: Any) -> jax.Array:
        if kind == "none":
            return jnp.zeros((), jnp.uint8)
        # Flat as it lies in memory: XLA on CPU writes rows of 13 bytes one by one, a flat array with vector stores.
        return env.observe(*env.record(state), pool).reshape(n, -1)

    def play(state: Any, pool: Any, key: jax.Array) -> Any:
        action_key, step_key = jax.random.split(key)
        actions = jax.random.bits(action_key, (steps, n), jnp.uint8) % rules.num_actions

        def step(carry: Any, inputs: Any) -> tuple[Any, Any]:
            key, action = inputs
            state, _, reward, ended = carry
            state, outcome = env.step(key, state, action, pool, hypers)
            over = outcome.terminated | outcome.truncated
            return (state, look(state, pool), reward + outcome.reward, ended + over), None

        carry = state, look(state, pool), jnp.zeros(n), jnp.zeros(n, jnp.int32)
        return jax.lax.scan(step, carry, (jax.random.split(step_key, steps), actions))[0]

    return play, state, pool, jax.random.key(2)


def through_gymnax(n: int, steps: int) -> tuple[Any, ...]:
    """The same through the gymnax class: a key, a reset and an observation for every environment at every step."""
    from lepton_jax.envs.maze.gym import LeptonMaze

    env = LeptonMaze(size=SIZE)
    params = env.default_params
    observation, state = jax.vmap(env.reset, (0, None))(jax.random.split(jax.random.key(1), n), params)

    def play(observation: jax.Array, state: Any, params: Any, key: jax.Array) -> Any:
        def step(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            action_key, step_key = jax.random.split(key)
            action = (jax.random.bits(action_key, (n,), jnp.uint8) & 3).astype(jnp.int32)
            keys = jax.random.split(step_key, n)
            seen, state, reward, *_ = jax.vmap(env.step, (0, 0, 0, None))(keys, carry[1], action, params)
            return (seen.reshape(n, -1), state), jnp.sum(reward)  # flat, as in ``look``

        return jax.lax.scan(step, (observation.reshape(n, -1), state), jax.random.split(key, steps))

    return play, observation, state, params, jax.random.key(2)
