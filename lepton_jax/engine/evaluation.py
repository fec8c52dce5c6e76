"""Exactly one greedy episode on each level, and what it says of the policy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.agents import explore
from lepton_jax.agents.agent import Agent
from lepton_jax.config import Hypers
from lepton_jax.engine.metrics import FIGURES
from lepton_jax.engine.program import strong
from lepton_jax.engine.setup import LevelSet
from lepton_jax.envs.vector import Exact, VectorEnv


class Episodes(NamedTuple):
    """One episode on each of M levels."""

    total: jax.Array  # float32 (M,): sum of rewards
    discounted: jax.Array  # float32 (M,): sum of gamma**t * reward
    length: jax.Array  # int32 (M,): steps
    success: jax.Array  # bool (M,): ended as the task asks; terminated, where the world does not tell


class Playing(NamedTuple):
    """M episodes under way."""

    time: jax.Array  # int32 (): steps taken
    state: Any  # of the worlds
    carry: Any  # of the agent's memory
    first: jax.Array  # bool (M,): whether the step to come is the first of an episode
    done: jax.Array  # bool (M,): whether the judged episode has ended
    discount: jax.Array  # float32 (): gamma**time
    seen: Episodes


class Turn(NamedTuple):
    """What one step of ``Playing`` was; of episodes that are done it means nothing."""

    episode: Any  # episode parts, as ``VectorEnv.record`` has them
    reached: Any  # step parts of the state reached
    q: jax.Array  # float32 (M, A)
    action: jax.Array  # int32 (M,)
    reward: jax.Array  # float32 (M,)


def begin(env: VectorEnv, agent: Agent, worlds: Any, key: jax.Array, hypers: Any, count: int) -> Playing:
    """Levels 0 to ``count`` - 1 before the first step; arguments as ``play``."""
    state = env.reset(jax.random.split(key)[0], worlds, count, hypers, jnp.arange(count))
    zero, none = jnp.zeros(count, jnp.float32), jnp.zeros(count, bool)
    seen = Episodes(zero, zero, jnp.zeros(count, jnp.int32), none)
    return Playing(jnp.int32(0), state, agent.carry(count), ~none, none, jnp.float32(1.0), seen)


def take_turn(
    env: VectorEnv, agent: Agent, agent_state: Any, worlds: Any, key: jax.Array, hypers: Any, playing: Playing
) -> tuple[Playing, Turn]:
    """One greedy step of every episode; ``key`` as for ``begin``."""
    time, state, carry, first, done, discount, seen = playing
    episode, step = env.record(state)
    q, carry = agent.q_values(agent_state, carry, env.observe(episode, step, worlds), first)
    action = explore.greedy(q)
    step_key = jax.random.fold_in(jax.random.split(key)[1], time)
    state, outcome = env.step(step_key, state, action, worlds, hypers)
    reward = jnp.where(done, 0.0, outcome.reward)
    won = outcome.terminated if isinstance(outcome.success, tuple) else outcome.success
    seen = Episodes(
        total=seen.total + reward,
        discounted=seen.discounted + discount * reward,
        length=seen.length + ~done,
        success=seen.success | (won & ~done),
    )
    ended = outcome.terminated | outcome.truncated
    after = Playing(time + 1, state, carry, ended, done | ended, discount * hypers.gamma, seen)
    return after, Turn(episode, outcome.reached, q, action, reward)


def going(env: VectorEnv, playing: Playing) -> jax.Array:
    """Whether any episode goes on, bool (): each ends at the time limit at the latest."""
    return (playing.time < env.time_limit) & ~jnp.all(playing.done)


def play(
    env: VectorEnv, agent: Agent, agent_state: Any, worlds: Any, key: jax.Array, hypers: Any, count: int
) -> Episodes:
    """Plays levels 0 to ``count`` - 1 greedily, all at once, each until it ends.

    Args:
      count: static. key: typed key; a run with the same key plays the same episodes.
    """
    start = begin(env, agent, worlds, key, hypers, count)
    step = lambda playing: take_turn(env, agent, agent_state, worlds, key, hypers, playing)[0]
    return jax.lax.while_loop(lambda playing: going(env, playing), step, start).seen


def q_error(env: VectorEnv, agent: Agent, agent_state: Any, worlds: Any, exact: Exact) -> jax.Array:
    """Mean |Q - Q*| over all states from which success can be reached, and all actions, of all levels; float32 ()."""
    count = exact.start_value.shape[0]
    first = jnp.ones(count, bool)

    def add(sums: Any, cell: Any) -> tuple[Any, None]:
        step, q, counts = cell
        values, _ = agent.q_values(agent_state, agent.carry(count), env.observe(exact.episode, step, worlds), first)
        wrong = jnp.where(counts[:, None], jnp.abs(values - q), 0.0)
        return (sums[0] + jnp.sum(wrong), sums[1] + jnp.sum(counts) * q.shape[-1]), None

    by_cell = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), (exact.step, exact.q, exact.counts))
    (wrong, count_), _ = jax.lax.scan(add, (jnp.float32(0), jnp.int32(0)), by_cell)
    return wrong / jnp.maximum(count_, 1)


def figures_of(episodes: Episodes, exact: Exact | None) -> dict[str, jax.Array]:
    """The figures of each episode, float32 (M,); those that need the exact solution only where there is one.

    ``success_rate``: whether it ended as the task asks, at a goal. ``spl``: success weighted by shortest over actual
    length (Anderson et al. 2018, arXiv 1807.06757). ``regret``: V*(start) minus the discounted return.
    """
    length = episodes.length.astype(jnp.float32)
    figures = {"mean_return": episodes.total, "mean_length": length}
    if exact is None:
        return figures
    shortest = exact.start_distance.astype(jnp.float32)
    return figures | {
        "success_rate": episodes.success.astype(jnp.float32),
        "spl": jnp.where(episodes.success, shortest / jnp.maximum(shortest, length), 0.0),
        "regret": exact.start_value - episodes.discounted,
    }


def summarise(episodes: Episodes, exact: Exact | None) -> dict[str, jax.Array]:
    """The means of ``figures_of``, float32 ()."""
    return {name: jnp.mean(figure) for name, figure in figures_of(episodes, exact).items()}


def evaluate(
    env: VectorEnv,
    agent: Agent,
    agent_state: Any,
    worlds: Any,
    key: jax.Array,
    hypers: Any,
    count: int,
    exact: Exact | None,
) -> dict[str, jax.Array]:
    """``play`` and ``summarise``."""
    return summarise(play(env, agent, agent_state, worlds, key, hypers, count), exact)


def evaluation_key() -> jax.Array:
    """The key of all judgements: the same episodes for every policy, run and seed."""
    return jax.random.key(20_26)


class Evaluator:
    """Judges policies on sets of levels; sets of one size share what is compiled."""

    def __init__(self, env: VectorEnv, agent: Agent, hypers: Hypers):
        self._env, self._agent, self._hypers = env, agent, hypers
        self._exact: dict[str, Exact | None] = {}
        self._compiled: dict[str, Any] = {}
        self.compile_seconds = 0.0

    def validate(self, agent_state: Any, levels: LevelSet) -> dict[str, float]:
        """The figures on ``levels`` but for ``q_error``."""

        def measure(state: Any, worlds: Any, hypers: Hypers, exact: Exact | None) -> dict[str, jax.Array]:
            return evaluate(self._env, self._agent, state, worlds, evaluation_key(), strong(hypers), levels.size, exact)

        exact = self._solve(levels)
        figures = self._call("evaluate", measure, levels.size, agent_state, levels.worlds, self._hypers, exact)
        return {name: float(value) for name, value in jax.device_get(figures).items()}

    def report(self, agent_state: Any, levels: LevelSet) -> dict[str, float | None]:
        """All figures on ``levels``; None for those that the world cannot give.

        Nor is there a ``q_error`` of an agent whose values are no estimates of Q* (``Agent.exact``).
        """
        figures = self.validate(agent_state, levels)
        if (exact := self._solve(levels)) is not None and self._agent.exact:
            measure = lambda state, worlds, exact: q_error(self._env, self._agent, state, worlds, exact)
            figures["q_error"] = float(self._call("q_error", measure, levels.size, agent_state, levels.worlds, exact))
        return {name: figures.get(name) for name in FIGURES}

    def each(self, agent_state: Any, levels: LevelSet) -> dict[str, np.ndarray]:
        """The figures of each episode on ``levels``, (size,) each."""

        def measure(state: Any, worlds: Any, hypers: Hypers, exact: Exact | None) -> dict[str, jax.Array]:
            played = play(self._env, self._agent, state, worlds, evaluation_key(), strong(hypers), levels.size)
            return figures_of(played, exact)

        exact = self._solve(levels)
        return jax.device_get(self._call("each", measure, levels.size, agent_state, levels.worlds, self._hypers, exact))

    def shortest(self, levels: LevelSet) -> np.ndarray | None:
        """The fewest steps from each start to success, int32 (size,); None where the world cannot tell."""
        exact = self._solve(levels)
        return None if exact is None else jax.device_get(exact.start_distance)

    def _solve(self, levels: LevelSet) -> Exact | None:
        if (solve := self._env.solve) is None:
            return None
        if levels.name not in self._exact:
            exactly = lambda worlds, hypers: solve(worlds, strong(hypers))
            self._exact[levels.name] = self._call("solve", exactly, levels.size, levels.worlds, self._hypers)
        return self._exact[levels.name]

    def _call(self, name: str, function: Callable[..., Any], size: int, *args: Any) -> Any:
        name = f"{name} {size}"
        if name not in self._compiled:
            began = time.perf_counter()
            self._compiled[name] = jax.jit(function).lower(*args).compile()
            self.compile_seconds += time.perf_counter() - began
        return self._compiled[name](*args)
