"""gymnax: FourRooms-misc through its own ``step``, which resets by itself."""

import importlib.metadata

import gymnax
import jax
from stepping import stepping


def prepare(tier, n, world, steps):
    env, params = gymnax.make("FourRooms-misc", use_visual_obs=world.endswith("map"))

    def reset(keys):
        return jax.vmap(env.reset, (0, None))(keys, params)

    def step(keys, carry, action):
        seen, state, reward, terminated, truncated, _ = jax.vmap(env.step, (0, 0, 0, None))(
            keys, carry[1], action, params
        )
        return (seen, state), terminated | truncated, reward

    about = {"gymnax": importlib.metadata.version("gymnax")}
    return stepping(reset, step, n, steps, env.num_actions, about=about)
