"""gymnax: FourRooms-misc through its own ``step``, which resets by itself."""

import gymnax
import jax
from stepping import stepping
from wire import serve


def prepare(tier, n, **_):
    env, params = gymnax.make("FourRooms-misc")

    def reset(keys):
        return jax.vmap(env.reset, (0, None))(keys, params)

    def step(keys, carry, action):
        seen, state, reward, *rest = jax.vmap(env.step, (0, 0, 0, None))(keys, carry[1], action, params)
        ended = rest[0] | rest[1] if rest[1].dtype == bool else rest[0]
        return (seen, state), ended, reward

    return stepping(reset, step, n, env.num_actions)


serve(prepare)
