"""The judged episodes, step by step: where the agent was, what it thought every action worth, and what it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.agents.agent import Agent
from lepton_jax.config import MAZE, Config, Hypers
from lepton_jax.engine import evaluation
from lepton_jax.engine.program import strong
from lepton_jax.engine.setup import LevelSet
from lepton_jax.envs.maze.rules import ACTIONS
from lepton_jax.envs.vector import VectorEnv


class Playback(NamedTuple):
    """N episodes of at most T steps, of NumPy. What comes after the end of an episode is 0, or stays as it was."""

    levels: Any  # Level of arrays (N, ...); None where the world is no maze
    cell: Any  # int32 (N, T + 1): where the agent is before step t, and at the end; None elsewhere
    heading: Any  # int8 (N, T + 1): 0 north, 1 east, 2 south, 3 west; None where moves need none
    held: Any  # bool (N, T + 1): whether the key has been fetched; None where there is none
    q: np.ndarray  # float32 (N, T, A): the policy's values at step t
    action: np.ndarray  # int32 (N, T): the greedy one
    reward: np.ndarray  # float32 (N, T)
    length: np.ndarray  # int32 (N,): steps
    success: Any  # bool (N,): ended as the task asks; None where the world does not tell
    total: np.ndarray  # float32 (N,): sum of rewards


def action_names(config: Config, count: int) -> tuple[str, ...]:
    """What the ``count`` actions of a run are called; those of other worlds than mazes have numbers."""
    return ACTIONS[config.env.actions] if config.env.id == MAZE else tuple(f"action {n}" for n in range(count))


class _Tape(NamedTuple):
    """What is recorded while playing: N chosen episodes, time first."""

    place: Any  # (cell, heading, held), each (time_limit + 1, N) or None; () where there is nothing to see
    q: jax.Array  # float32 (time_limit, N, A)
    action: jax.Array  # int32 (time_limit, N)
    reward: jax.Array  # float32 (time_limit, N)


def play_back(
    env: VectorEnv, agent: Agent, agent_state: Any, levels: LevelSet, hypers: Hypers, which: int | Sequence[int]
) -> Playback:
    """Plays every level of ``levels`` as ``Evaluator`` judges it, and records some.

    Args:
      env, agent, agent_state, hypers: as for ``Evaluator``.
      levels: all of them are played, for chance in one depends on how many there are.
      which: the numbers of the levels to record, in the order wanted; or how many of the first.

    Raises:
      ValueError: ``levels`` has no level of such a number, or there are none to record.
    """
    numbers = np.arange(which) if isinstance(which, int) else np.asarray(which, np.int32).reshape(-1)
    if not numbers.size or numbers.min() < 0 or numbers.max() >= levels.size:
        raise ValueError(f"play_back: {which}: expected numbers of {levels.name}, 0 to {levels.size - 1}, at least one")
    record = jax.jit(_recorder(env, agent, levels.size))
    scene, tape, seen = jax.device_get(record(agent_state, levels.worlds, hypers, numbers.astype(np.int32)))
    longest = int(seen.length.max())
    by_episode = lambda array, steps: np.ascontiguousarray(np.moveaxis(array[:steps], 0, 1))
    cell, heading, held = tape.place or (None, None, None)
    path = lambda array, dtype: None if array is None else by_episode(array, longest + 1).astype(dtype)
    return Playback(
        levels=scene,
        cell=path(cell, np.int32),
        heading=path(heading, np.int8),
        held=path(held, bool),
        q=by_episode(tape.q, longest),
        action=by_episode(tape.action, longest),
        reward=by_episode(tape.reward, longest),
        length=seen.length,
        success=None if env.solve is None else seen.success,
        total=seen.total,
    )


def _recorder(env: VectorEnv, agent: Agent, size: int) -> Any:
    """(agent_state, worlds, hypers, numbers) -> levels or None, the tape, and what evaluation says of the episodes."""

    def place(episode: Any, step: Any) -> Any:
        if env.scene is None:
            return ()
        _, agent_at, heading, held = env.scene(episode, step)
        return agent_at, heading, held

    def record(agent_state: Any, worlds: Any, hypers: Any, numbers: jax.Array) -> tuple[Any, _Tape, Any]:
        hypers, key = strong(hypers), evaluation.evaluation_key()
        chosen = lambda tree: jax.tree.map(lambda leaf: leaf[numbers], tree)
        start = evaluation.begin(env, agent, worlds, key, hypers, size)
        episode, step = chosen(env.record(start.state))
        at_start = place(episode, step)
        level = None
        if env.scene is not None:  # a state does not know where it began, but this one is there
            level = env.scene(episode, step).level._replace(start=at_start[0])
        count, limit = numbers.shape[0], env.time_limit
        tape = _Tape(
            place=jax.tree.map(lambda leaf: jnp.tile(leaf, (limit + 1, 1)), at_start),
            q=jnp.zeros((limit, count, env.num_actions), jnp.float32),
            action=jnp.zeros((limit, count), jnp.int32),
            reward=jnp.zeros((limit, count), jnp.float32),
        )

        def turn(now: tuple[evaluation.Playing, _Tape]) -> tuple[evaluation.Playing, _Tape]:
            playing, tape = now
            after, what = evaluation.take_turn(env, agent, agent_state, worlds, key, hypers, playing)
            done, t = playing.done[numbers], playing.time
            stays = lambda new, rows: jnp.where(done, rows[t], new)
            there = jax.tree.map(stays, place(*chosen((what.episode, what.reached))), tape.place)
            zero = lambda leaf: jnp.where(done.reshape(-1, *(1,) * (leaf.ndim - 1)), 0, leaf)
            lay = lambda rows, row, at: rows.at[at].set(row.astype(rows.dtype))
            seen = (lay(rows, zero(leaf[numbers]), t) for rows, leaf in zip(tape[1:], what[2:], strict=True))
            return after, _Tape(jax.tree.map(lambda rows, row: lay(rows, row, t + 1), tape.place, there), *seen)

        playing, tape = jax.lax.while_loop(lambda now: evaluation.going(env, now[0]), turn, (start, tape))
        return level, tape, chosen(playing.seen)

    return record
