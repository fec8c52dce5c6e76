"""minimax: its perfect mazes of 13x13 through ``step``, a new one at every reset; and their making alone."""

import importlib.metadata

import jax
from minimax.envs.maze.maze_ood import PerfectMaze
from stepping import generating, stepping
from wire import serve


def prepare(tier, n, **_):
    env = PerfectMaze(height=13, width=13)
    about = {"minimax": importlib.metadata.version("minimax-lib")}
    if tier == "generate":
        return generating(lambda keys: jax.vmap(env.reset_env)(keys)[1].wall_map, n, about)

    def step(keys, carry, action):
        seen, state, reward, ended, _ = jax.vmap(env.step)(keys, carry[1], action)
        return (seen, state), ended, reward

    return stepping(jax.vmap(env.reset), step, n, 7, about)


serve(prepare)
