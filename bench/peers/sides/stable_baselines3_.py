"""stable-baselines3: DQN at the defaults of its class, and at the settings that rl-zoo has for CartPole-v1."""

import gymnasium
import stable_baselines3
import torch
from learning import CADENCE, Paused, greedy, measured
from stable_baselines3 import DQN

# Its epsilon falls over a share of the run, which must be told; the run here has no end of its own.
_ENDLESS = 1_000_000_000
TASKS = {
    "DQN": {"exploration_fraction": 0.1 * 50_000 / _ENDLESS},  # over as long a run as that of rl-zoo
    "DQN, rl-zoo": {  # hyperparams/dqn.yml
        **{"learning_rate": 2.3e-3, "batch_size": 64, "buffer_size": 100_000, "learning_starts": 1000, "gamma": 0.99},
        **{"target_update_interval": 10, "train_freq": 256, "gradient_steps": 128, "exploration_final_eps": 0.04},
        **{"exploration_fraction": 0.16 * 50_000 / _ENDLESS, "policy_kwargs": {"net_arch": [256, 256]}},
    },
}
# Networks as small as these are slower on more.
torch.set_num_threads(1)


def prepare(tier, task, measure, goal, cap):
    del tier
    return measured(Learner(TASKS[task]), measure, goal, cap)


class Learner:
    """One call of ``learn`` a run, which its callback holds up every CADENCE steps."""

    def __init__(self, settings):
        self._settings, self._model, self._run = settings, None, None
        self.steps = CADENCE
        packages = {each.__name__: each.__version__ for each in (stable_baselines3, torch, gymnasium)}
        self.about = packages | {"threads": torch.get_num_threads()}

    def begin(self, seed):
        if self._run is not None:
            self._run.stop()
        self._model = model = DQN("MlpPolicy", "CartPole-v1", seed=seed, device="cpu", **self._settings)

        def pause(*_):
            if model.num_timesteps % CADENCE == 0:
                self._run.wait()
            return True

        self._run = Paused(lambda: model.learn(_ENDLESS, callback=pause))

    def learn(self):
        self._run.resume()

    def score(self):
        return greedy(lambda seen: self._model.predict(seen, deterministic=True)[0])

    def counts(self):
        return self._model.num_timesteps, self._model._n_updates

    def transition_bytes(self):
        memory = self._model.replay_buffer
        parts = (memory.observations, memory.next_observations, memory.actions, memory.rewards, memory.dones)
        return sum(each.nbytes for each in (*parts, memory.timeouts)) / memory.buffer_size
