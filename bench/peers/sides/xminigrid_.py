"""xland-minigrid: MiniGrid's rooms at 13x13, with its own wrapper that resets."""

import jax
import xminigrid
from stepping import stepping
from xminigrid.core.constants import Tiles
from xminigrid.wrappers import GymAutoResetWrapper


def prepare(tier, n, world, steps):
    env, params = xminigrid.make(f"MiniGrid-{world}" + ("" if world == "FourRooms" else "-16x16"))
    params = params.replace(height=13, width=13, view_size=5)
    env = GymAutoResetWrapper(env)

    def reset(keys):
        return jax.vmap(env.reset, (None, 0))(params, keys)

    def step(keys, timestep, action):
        del keys  # a timestep has its own
        timestep = jax.vmap(env.step, (None, 0, 0))(params, timestep, action)
        return timestep, timestep.last(), timestep.reward

    walls = lambda timestep: timestep.state.grid[..., 0] == Tiles.WALL
    about = {"xminigrid": xminigrid.__version__}
    return stepping(reset, step, n, steps, env.num_actions(params), walls, about)
