"""What a policy thinks of every cell of a maze, beside the truth: V, the greedy action, and what that gives away.

Nothing here plays. The observation of every state is put before the network, as ``evaluation.q_error`` does, and held
against the exact solution (``envs.vector.Exact``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.agents.agent import Agent
from lepton_jax.config import Hypers
from lepton_jax.engine.playback import Playback
from lepton_jax.engine.program import strong
from lepton_jax.engine.setup import LevelSet
from lepton_jax.envs.maze import oracle
from lepton_jax.envs.maze.level import Level
from lepton_jax.envs.vector import Exact, VectorEnv

# An action is as good as the best one if it gives away no more than the exact solution's own rounding: this share of
# V* of the state, and of the largest |Q*| of its level.
_SHARE, _LEAST = 1e-4, 1e-6


class Insight(NamedTuple):
    """All C states and A actions of K levels. Of NumPy."""

    numbers: np.ndarray  # int32 (K,): which levels of the set they are
    q: np.ndarray  # float32 (K, C, A): the policy's values
    exact: np.ndarray  # float32 (K, C, A): Q*
    counts: np.ndarray  # bool (K, C): states from which success can be reached, and not yet is
    cell: np.ndarray  # int32 (K, C): where the agent is in each state
    heading: np.ndarray | None  # int8 (K, C): 0 north, 1 east, 2 south, 3 west; None where moves need none
    distance: np.ndarray  # int16 (K, height, width): steps to the nearest goal, lava closed and doors open; -1: no way


class Maps(NamedTuple):
    """A map a level, (K, height, width), each cell by one of its states; NaN or False where no state counts.

    Shown is the state that is worth most: of headings the one from which the goal is nearest, and with the key rather
    than without it.
    """

    value: np.ndarray  # float32: max over actions of the policy's values
    exact: np.ndarray  # float32: V*
    way: np.ndarray  # int8: where the greedy action leads, as ``render.WAYS``; -1 where no state counts
    best: np.ndarray  # bool (K, height, width, 8): the ways of all optimal actions
    wrong: np.ndarray  # bool: the greedy action is not optimal


def solve(env: VectorEnv, levels: LevelSet, hypers: Hypers) -> Exact:
    """The exact solution of all levels.

    Raises:
      ValueError: the world has none.
    """
    if (solution := env.solve) is None:
        raise ValueError(f"solve: {env.name} has no exact solution; only mazes have one")
    # As the evaluator of a run has it, so that the cache of compiled programs does too.
    exactly = lambda worlds, hypers: solution(worlds, strong(hypers))
    return jax.jit(exactly)(levels.worlds, hypers)


def look(
    env: VectorEnv, agent: Agent, agent_state: Any, levels: LevelSet, exact: Exact, which: int | Sequence[int]
) -> Insight:
    """The values of all states of the levels ``which``: their numbers, or how many of the first.

    Args:
      env: mazes.
      agent: without memory, for a state alone must tell its values.
      agent_state, levels: as for ``Evaluator``.
      exact: of ``levels``, see ``solve``.
    """
    numbers = np.arange(which) if isinstance(which, int) else np.asarray(which, np.int32).reshape(-1)
    scene = env.scene
    assert scene is not None, "a world with an exact solution can be seen"

    def measure(agent_state: Any, worlds: Any, exact: Exact, numbers: jax.Array) -> tuple[Any, ...]:
        chosen = jax.tree.map(lambda leaf: leaf[numbers], exact)
        count = numbers.shape[0]

        def values(_: None, step: Any) -> tuple[None, Any]:
            seen = env.observe(chosen.episode, step, worlds)
            q, _ = agent.q_values(agent_state, agent.carry(count), seen, jnp.ones(count, bool))
            _, cell, heading, _ = scene(chosen.episode, step)
            return None, (q, cell, heading)

        by_state = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), chosen.step)
        q, cell, heading = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), jax.lax.scan(values, None, by_state)[1])
        level = scene(chosen.episode, jax.tree.map(lambda leaf: leaf[:, 0], chosen.step)).level
        field = _to_goals(level, diagonal=env.num_actions == 8)
        return numbers, q, chosen.q, chosen.counts, cell, heading, field

    return Insight(*jax.device_get(jax.jit(measure)(agent_state, levels.worlds, exact, numbers.astype(np.int32))))


def given_away(insight: Insight) -> np.ndarray:
    """V* minus Q* of the greedy action: what one wrong step costs, float32 (K, C); 0 where the state does not count."""
    greedy = np.argmax(insight.q, axis=-1)[..., None]
    lost = insight.exact.max(-1) - np.take_along_axis(insight.exact, greedy, axis=-1)[..., 0]
    return np.where(insight.counts, lost, 0.0)


def wrong(insight: Insight) -> np.ndarray:
    """Whether the greedy action is not optimal, bool (K, C): ties and rounding apart. False where nothing counts."""
    return given_away(insight) > _slack(insight)


def maps(insight: Insight) -> Maps:
    """The states of ``insight`` as maps."""
    levels, height, width = insight.distance.shape
    worth = np.where(insight.counts, insight.exact.max(-1), -np.inf)
    # Written from the least to the most, so that what is worth most is what stays; of equals the first state.
    order = np.argsort(worth[:, ::-1], axis=1, kind="stable")
    order = insight.exact.shape[1] - 1 - order
    rows = np.arange(levels)[:, None]
    shown = np.zeros((levels, height * width), int)
    shown[rows, np.take_along_axis(insight.cell, order, 1)] = order
    counts = np.zeros((levels, height * width), bool)
    counts[rows, np.take_along_axis(insight.cell, order, 1)] = np.take_along_axis(insight.counts, order, 1)
    pick = lambda array: array[rows, shown]
    actions = insight.exact.shape[-1]
    heading = None if insight.heading is None else pick(insight.heading)
    ways = np.stack([_way(np.full(shown.shape, action), heading) for action in range(actions)], -1)
    best = (pick(insight.exact) >= pick(insight.exact.max(-1) - _slack(insight))[..., None]) & counts[..., None]
    leads = np.zeros((*shown.shape, 8), bool)
    for action in range(actions):
        np.put_along_axis(leads, ways[..., action, None], best[..., action, None] | np.take_along_axis(
            leads, ways[..., action, None], -1), -1)  # fmt: skip
    way = _way(np.argmax(pick(insight.q), -1), heading)
    flat = (
        np.where(counts, pick(insight.q.max(-1)), np.nan).astype(np.float32),
        np.where(counts, pick(insight.exact.max(-1)), np.nan).astype(np.float32),
        np.where(counts, way, -1).astype(np.int8),
        leads,
        pick(wrong(insight)) & counts,
    )
    return Maps(*(leaf.reshape(levels, height, width, *leaf.shape[2:]) for leaf in flat))


def regrets(playback: Playback, start_value: np.ndarray, gamma: float) -> np.ndarray:
    """V* of the start minus the discounted return of each recorded episode, float64 (N,); see ``figures_of``."""
    discounts = float(gamma) ** np.arange(playback.reward.shape[1])
    return start_value.astype(float) - playback.reward.astype(float) @ discounts


def _slack(insight: Insight) -> np.ndarray:
    largest = np.abs(insight.exact).max((1, 2))[:, None]
    return _SHARE * np.abs(insight.exact.max(-1)) + _LEAST * largest


def _way(action: np.ndarray, heading: np.ndarray | None) -> np.ndarray:
    """Where an action leads, as ``render.WAYS``; of turns where the agent looks after it."""
    return action if heading is None else (heading + np.array([3, 1, 0])[action]) & 3


def _to_goals(level: Level, diagonal: bool) -> jax.Array:
    """Steps from each cell to the nearest goal, int16 (K, height, width)."""
    has = lambda field: not isinstance(field, tuple)
    closed = level.walls | level.lava if has(level.lava) else level.walls
    goals = [level.goal, *(jnp.moveaxis(jnp.asarray(level.others), -1, 0) if has(level.others) else ())]
    each = jnp.stack([oracle.distances(closed, goal, diagonal) for goal in goals])
    far = jnp.iinfo(jnp.int16).max
    nearest = jnp.min(jnp.where(each < 0, far, each), axis=0)
    return jnp.where(nearest == far, -1, nearest).astype(jnp.int16)
