"""minimax: its perfect mazes through ``step``, a new one at every reset or the same again; and their making alone.

Its mazes have no border: 11 x 11 are the 6 x 6 rooms of 13 x 13 with one.
"""

import importlib.metadata

import jax
from minimax.envs.maze.maze_ood import PerfectMaze
from stepping import generating, stepping


def prepare(tier, n, world, steps=0):
    env = PerfectMaze(height=11, width=11)
    about = {"minimax": importlib.metadata.version("minimax-lib")}
    if tier == "generate":
        return generating(lambda keys: jax.vmap(env.reset_env)(keys)[1].wall_map, n, about)

    def reset(keys):
        seen, state = jax.vmap(env.reset)(keys)
        return seen, state, state

    def step(keys, carry, action):
        _, state, begun = carry
        if world == "PerfectMaze":
            seen, state, reward, ended, _ = jax.vmap(env.step)(keys, state, action)
        else:
            again = lambda key, state, action, begun: env.step(key, state, action, reset_state=begun)
            seen, state, reward, ended, _ = jax.vmap(again)(keys, state, action, begun)
        return (seen, state, begun), ended, reward

    return stepping(reset, step, n, steps, 7, lambda carry: carry[1].wall_map, about)
