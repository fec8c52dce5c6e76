"""cleanrl: its scripts dqn and dqn_jax, run as they are at their own settings.

They are a loop without an end or a function to call. What they log as charts/SPS, at every hundredth step once they
learn, is where they are held up, through the writer that they import; their variables are read from there. Each run is
the script anew, so that one of dqn_jax compiles its programs again while it is timed.
"""

import importlib.metadata
import os
import runpy
import sys
import tempfile

import jax
import numpy as np
import torch
from learning import CADENCE, Paused, greedy, measured
from torch.utils import tensorboard

_LOGGED = 100  # steps between two logs
# Its epsilon falls over a share of the run, which is made longer than anyone waits: the first half of 500,000 steps.
_STEPS = 50_000_000
_FALL = 0.5 * 500_000 / _STEPS
_WRITER = tensorboard.SummaryWriter
# Networks as small as these are slower on more.
torch.set_num_threads(1)


def prepare(tier, task, measure, goal, cap):
    del tier
    return measured(Learner(task), measure, goal, cap)


class Learner:
    """One run of a script each."""

    def __init__(self, script):
        self._script, self._run, self._there = script, None, {}
        self.steps = -(-CADENCE // _LOGGED) * _LOGGED
        names = ("cleanrl", "stable-baselines3", "torch", "gymnasium", *(["jax"] if script == "dqn_jax" else []))
        self.about = {name: importlib.metadata.version(name) for name in names} | {"threads": torch.get_num_threads()}
        self._place = tempfile.TemporaryDirectory()  # for its logs
        os.chdir(self._place.name)

    def begin(self, seed):
        if self._run is not None:
            self._run.stop()
        self._there = {}
        said = {"seed": seed, "total-timesteps": _STEPS, "exploration-fraction": _FALL, "cuda": False}
        if self._script == "dqn_jax":
            del said["cuda"]
        sys.argv = [self._script, *(f"--{name}={value}" for name, value in said.items())]
        tensorboard.SummaryWriter = self._writer()
        self._run = Paused(lambda: runpy.run_module(f"cleanrl.{self._script}", run_name="__main__"))

    def _writer(self):
        """The writer's class, which holds up the loop after a log."""
        learner = self

        class Writer(_WRITER):
            def add_scalar(self, tag, *args):
                super().add_scalar(tag, *args)
                if tag == "charts/SPS":
                    learner._there = there = sys._getframe(1).f_globals
                    if there["global_step"] % learner.steps == 0:
                        learner._run.wait()

        return Writer

    def learn(self):
        self._run.resume()

    def score(self):
        there = self._there
        if self._script == "dqn":
            with torch.no_grad():
                return greedy(lambda seen: there["q_network"](torch.Tensor(seen)).argmax(1).numpy())
        return greedy(
            lambda seen: np.argmax(jax.device_get(there["q_network"].apply(there["q_state"].params, seen)), 1)
        )

    def counts(self):
        there = self._there
        if not there:
            return 0, 0
        if self._script == "dqn_jax":
            return there["global_step"], int(there["q_state"].step)
        # The pause comes before the optimizer's step.
        return there["global_step"], int(next(iter(there["optimizer"].state.values()))["step"])

    def transition_bytes(self):
        memory = self._there["rb"]
        parts = (memory.observations, memory.next_observations, memory.actions, memory.rewards, memory.dones)
        return sum(each.nbytes for each in (*parts, memory.timeouts)) / memory.buffer_size
