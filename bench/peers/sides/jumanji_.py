"""jumanji: Maze-v0 with a new maze at every reset; and its generator alone.

Its mazes have no border: 11 x 11 are the 6 x 6 rooms of 13 x 13 with one.
"""

import jax
import jumanji
from jumanji.environments.routing.maze.env import Maze
from jumanji.environments.routing.maze.generator import RandomGenerator
from jumanji.wrappers import AutoResetWrapper
from stepping import generating, stepping


def prepare(tier, n, world, steps=0):
    about = {"jumanji": jumanji.__version__}
    generator = RandomGenerator(num_rows=11, num_cols=11)
    if tier == "generate":
        return generating(lambda keys: jax.vmap(generator)(keys).walls, n, about)
    env = AutoResetWrapper(Maze(generator))

    def step(keys, carry, action):
        del keys  # a state has its own
        state, timestep = jax.vmap(env.step)(carry[0], action)
        return (state, timestep), timestep.last(), timestep.reward

    return stepping(jax.vmap(env.reset), step, n, steps, 4, lambda carry: carry[0].walls, about)
