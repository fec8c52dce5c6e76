"""rejax: its DQN and PQN on gymnax's CartPole, at the defaults of their classes and at its settings for this world."""

import importlib.metadata

import jax
import jax.numpy as jnp
from learning import CADENCE, EPISODES, measured
from rejax import get_algo
from rejax.evaluate import evaluate_single
from stepping import versions

# configs/gymnax/cartpole.yaml of its repository, which the package leaves out.
_SHARED = {"max_grad_norm": 10, "num_epochs": 5, "exploration_fraction": 0.5}
_DQN = {
    **{"agent": "DuelingQNetwork", "agent_kwargs": {"activation": "swish"}, "num_envs": 10, "buffer_size": 50_000},
    **{"fill_buffer": 5000, "batch_size": 100, "learning_rate": 1e-3, "total_timesteps": 100_000, "polyak": 0.98},
}
_PQN = {"num_envs": 16, "num_steps": 128, "total_timesteps": 524_288}
TASKS = {
    **{"DQN": ("dqn", {}), "DQN, cartpole.yaml": ("dqn", _SHARED | _DQN)},
    **{"PQN": ("pqn", {}), "PQN, cartpole.yaml": ("pqn", _SHARED | _PQN)},
}


def prepare(tier, task, measure, goal, cap):
    del tier
    return measured(Learner(*TASKS[task]), measure, goal, cap)


class Learner:
    """``train_iteration``, of which its ``train`` is a loop, in loops of our own: its own cannot be left for a look."""

    def __init__(self, algorithm, settings):
        # Bound into the programs, as it does itself: its optimizer keeps the learning rate outside the state.
        algo = get_algo(algorithm).create(env="CartPole-v1", **settings)
        once = algo.num_envs * getattr(algo, "num_steps", 1)
        times = -(-CADENCE // once)
        self.steps, self.about = times * once, versions({"rejax": importlib.metadata.version("rejax")})
        self._size = getattr(algo, "buffer_size", None)
        learn = lambda state: jax.lax.fori_loop(0, times, lambda _, state: algo.train_iteration(state), state)
        self._begin, self._learn = jax.jit(lambda key: algo.init_state(key)), jax.jit(learn, donate_argnums=0)

        def score(state):
            # Its own way of acting draws one action in two hundred.
            act = lambda seen, key: jnp.argmax(algo.agent.apply(state.q_ts.params, seen[None])[0])
            limit = algo.env_params.max_steps_in_episode
            play = lambda key: evaluate_single(act, algo.env, algo.env_params, key, limit)
            return jnp.mean(jax.vmap(play)(jax.random.split(jax.random.key(0), EPISODES))[1])

        self._score, self._state = jax.jit(score), None

    def begin(self, seed):
        self._state = jax.block_until_ready(self._begin(jax.random.key(seed)))

    def learn(self):
        self._state = jax.block_until_ready(self._learn(self._state))

    def score(self):
        return float(self._score(self._state))

    def counts(self):
        return int(self._state.global_step), int(self._state.q_ts.step)

    def transition_bytes(self):
        if self._size is None:
            return None
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self._state.replay_buffer.data)) / self._size
