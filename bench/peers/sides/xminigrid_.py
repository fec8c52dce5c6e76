"""xland-minigrid: MiniGrid-FourRooms with its own wrapper that resets."""

import jax
import xminigrid
from stepping import stepping
from wire import serve
from xminigrid.wrappers import GymAutoResetWrapper


def prepare(tier, n, **_):
    env, params = xminigrid.make("MiniGrid-FourRooms")
    env = GymAutoResetWrapper(env)

    def reset(keys):
        return jax.vmap(env.reset, (None, 0))(params, keys)

    def step(keys, timestep, action):
        del keys  # a timestep has its own
        timestep = jax.vmap(env.step, (None, 0, 0))(params, timestep, action)
        return timestep, timestep.last(), timestep.reward

    return stepping(reset, step, n, env.num_actions(params), {"xminigrid": xminigrid.__version__})


serve(prepare)
