"""navix: rooms through ``step``, which resets by itself at the step after an end."""

import importlib.metadata

import jax
import navix
from navix import observations, rewards, terminations
from navix.environments.empty import Room
from stepping import stepping


def prepare(tier, n, world, steps):
    if world == "FourRooms":
        env = navix.make("Navix-FourRooms-v0")
        walls = lambda timestep: timestep.state.entities["wall"].position
    else:
        env = Room.create(  # as its registry makes those of other sizes
            height=13,
            width=13,
            random_start=world == "Empty-Random",
            observation_fn=observations.symbolic,
            reward_fn=rewards.on_goal_reached,
            termination_fn=terminations.on_goal_reached,
        )
        walls = lambda timestep: timestep.state.grid

    def step(keys, timestep, action):
        del keys  # a timestep has its own
        timestep = jax.vmap(env.step)(timestep, action)
        return timestep, timestep.step_type > 0, timestep.reward

    about = {"navix": importlib.metadata.version("navix")}
    return stepping(jax.vmap(env.reset), step, n, steps, len(env.action_set), walls, about)
