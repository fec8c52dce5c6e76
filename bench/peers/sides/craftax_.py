"""Craftax-Classic-Symbolic: another game, with a new world at every reset; for its speed alone."""

import importlib.metadata

import jax
from craftax.craftax_env import make_craftax_env_from_name
from stepping import stepping
from wire import serve


def prepare(tier, n, **_):
    env = make_craftax_env_from_name("Craftax-Classic-Symbolic-v1", auto_reset=True)
    params = env.default_params

    def reset(keys):
        return jax.vmap(env.reset, (0, None))(keys, params)

    def step(keys, carry, action):
        seen, state, reward, ended, _ = jax.vmap(env.step, (0, 0, 0, None))(keys, carry[1], action, params)
        return (seen, state), ended, reward

    return stepping(reset, step, n, env.action_space(params).n, {"craftax": importlib.metadata.version("craftax")})


serve(prepare)
