"""What the workers that learn CartPole share: how the speed of one is taken, and its time to a score.

Standard library alone and the wire, but for ``greedy``, which peers without a CartPole of jax use. A learner has:

    about               what it is
    steps               env-steps of one ``learn``: CADENCE, rounded up to what it does in one go
    begin(seed)         a new run
    learn()             so many more steps of it, done when it returns
    score()             mean return of EPISODES greedy episodes
    counts()            env-steps and gradient steps of the run, from its own counters
    transition_bytes()  of its memory, for each transition that it can hold; None where it has no such memory
"""

from __future__ import annotations

import resource
import threading
import time

from wire import Work

CADENCE = 4096  # env-steps between two looks at the score: those of rejax, which is alone in having a default
EPISODES = 100  # of one look
LIMIT = 500  # steps an episode of CartPole-v1 may take, each of which is a reward of 1


def measured(learner, measure, goal, cap):
    """The work of a learner: ``measure`` is "rate" or "score"."""
    return rate(learner) if measure == "rate" else trials(learner, goal, cap)


def rate(learner):
    """Learning, counted from when the first gradient step was made."""
    learner.begin(0)
    while not learner.counts()[1]:
        learner.learn()
    first = learner.counts()

    def check():
        steps, updates = (now - before for now, before in zip(learner.counts(), first, strict=True))
        return {"env_steps": steps, "gradient_steps": updates, **_costs(learner)}

    return Work(learner.learn, learner.steps, check, learner.about)


def trials(learner, goal, cap):
    """Each call is a run with another seed, until its greedy mean return is ``goal`` or it has trained ``cap`` seconds.

    The looks do not count, nor does what is compiled before the first run.
    """
    learner.begin(0)
    learner.learn()
    learner.score()
    told = {}

    def call():
        seed = told.get("seed", 0) + 1
        began = time.perf_counter()
        learner.begin(seed)
        spent, best = time.perf_counter() - began, 0.0
        while best < goal and spent < cap:
            began = time.perf_counter()
            learner.learn()
            spent += time.perf_counter() - began
            best = max(best, learner.score())
        steps, updates = learner.counts()
        told.update(seed=seed, reached=best >= goal, seconds=spent if best >= goal else cap, best=best)
        told.update(env_steps=steps, gradient_steps=updates)

    return Work(call, 1, lambda: told | _costs(learner), learner.about, once=True)


def _costs(learner):
    """Bytes: the most that the whole process has held, and of the memory a transition."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # which Linux counts in KiB
    size = learner.transition_bytes()
    return {"peak_bytes": peak} | ({} if size is None else {"transition_bytes": size})


class Paused:
    """A loop that knows no pauses, in a thread of its own: it goes on at each ``resume`` until it comes to ``wait``."""

    def __init__(self, loop):
        self._go, self._there = threading.Semaphore(0), threading.Semaphore(0)
        self._stopped, self._error = False, None
        self._thread = threading.Thread(target=self._run, args=(loop,), daemon=True)
        self._thread.start()

    def _run(self, loop):
        self._go.acquire()
        try:
            if not self._stopped:
                loop()
            self._error = RuntimeError("it came to its end")
        except BaseException as error:  # a script that gives up exits
            self._error = error
        self._there.release()

    def resume(self):
        """Returns when it waits again. Raises what it raised, or that it has ended."""
        if self._error is None:
            self._go.release()
            self._there.acquire()
        if self._error is not None:
            raise RuntimeError(f"its loop ended: {type(self._error).__name__}: {self._error}")

    def wait(self):
        """Called from the loop."""
        self._there.release()
        self._go.acquire()
        if self._stopped:
            raise SystemExit

    def stop(self):
        """Ends it where it waits."""
        self._stopped = True
        self._go.release()
        self._thread.join()


def greedy(act):
    """Mean return of EPISODES episodes of gymnasium's CartPole-v1, side by side; always the same starts.

    ``act``: float32 (EPISODES, 4) -> actions (EPISODES,).
    """
    import gymnasium
    import numpy as np

    # Their limit is counted here: all wrappers together cost more than the dynamics.
    envs = [gymnasium.make("CartPole-v1").unwrapped for _ in range(EPISODES)]
    seen = np.stack([env.reset(seed=seed)[0] for seed, env in enumerate(envs)])
    playing, total = set(range(EPISODES)), 0
    for _ in range(LIMIT):
        actions = act(seen)
        for number in tuple(playing):
            seen[number], _, ended, _, _ = envs[number].step(int(actions[number]))
            total += 1
            if ended:
                playing.remove(number)
        if not playing:
            break
    return total / EPISODES
