"""Craftax-Classic-Symbolic: another game, with a new world at every reset; for its speed alone."""

import importlib.metadata

import jax
from craftax.craftax_env import make_craftax_env_from_name
from stepping import stepping


def prepare(tier, n, world, steps):
    env = make_craftax_env_from_name("Craftax-Classic-Symbolic-v1", auto_reset=True)
    params = env.default_params

    def reset(keys):
        return jax.vmap(env.reset, (0, None))(keys, params)

    def step(keys, carry, action):
        seen, state, reward, ended, _ = jax.vmap(env.step, (0, 0, 0, None))(keys, carry[1], action, params)
        return (seen, state), ended, reward

    about = {"craftax": importlib.metadata.version("craftax")}
    return stepping(reset, step, n, steps, env.action_space(params).n, lambda carry: carry[1].map, about)
