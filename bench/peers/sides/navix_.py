"""navix: FourRooms through ``step``, which resets by itself at the step after an end."""

import jax
import navix
from stepping import stepping
from wire import serve


def prepare(tier, n, **_):
    env = navix.make("Navix-FourRooms-v0")

    def step(keys, timestep, action):
        del keys  # a timestep has its own
        timestep = jax.vmap(env.step)(timestep, action)
        return timestep, timestep.step_type > 0, timestep.reward

    return stepping(jax.vmap(env.reset), step, n, len(env.action_set))


serve(prepare)
