"""jaxued: mazes of random walls, with its wrappers that draw a new level at every reset, or go back to the same."""

import importlib.metadata

import jax
from jaxued.environments import Maze
from jaxued.environments.maze import make_level_generator
from jaxued.wrappers import AutoReplayWrapper, AutoResetWrapper
from stepping import stepping


def prepare(tier, n, world, steps):
    bare, sample = Maze(max_height=13, max_width=13, agent_view_size=5), make_level_generator(13, 13, 60)
    env = AutoResetWrapper(bare, sample) if world == "Maze" else AutoReplayWrapper(bare)
    params = env.default_params

    def reset(keys):
        levels = jax.vmap(sample)(keys)
        return jax.vmap(env.reset_to_level, (0, 0, None))(keys, levels, params)

    def step(keys, carry, action):
        keys = jax.random.key_data(keys)  # it knows no other
        seen, state, reward, ended, _ = jax.vmap(env.step, (0, 0, 0, None))(keys, carry[1], action, params)
        return (seen, state), ended, reward

    about = {"jaxued": importlib.metadata.version("jaxued")}
    walls = lambda carry: carry[1].env_state.wall_map
    return stepping(reset, step, n, steps, env.action_space(params).n, walls, about)
