"""The contract between worlds and the engine: what a vectorised environment must offer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Outcome(NamedTuple):
    """What one step of N environments brought, before any reset."""

    reward: jax.Array  # float32 (N,)
    terminated: jax.Array  # bool (N,): the task ended; the state reached has no value
    truncated: jax.Array  # bool (N,): the time ran out, and only that; the state reached still has a value
    reached: Any  # step part (leading axis N) of the state reached
    success: Any = ()  # bool (N,): terminated as the task asks; () where the world does not tell


class Exact(NamedTuple):
    """The exact values of M levels, each with C states, so that evaluation need not know the world."""

    start_value: jax.Array  # float32 (M,): V* of the start
    start_distance: jax.Array  # int32 (M,): fewest steps from start to success
    q: jax.Array  # float32 (M, C, A)
    episode: Any  # episode parts (leading axis M)
    step: Any  # step parts (leading axes M, C): the states that ``q`` speaks of
    counts: jax.Array  # bool (M, C): from which success can be reached, and not yet is


@dataclass(frozen=True, eq=False)  # equal only to itself, as functions are: an array could not be hashed
class Symmetry:
    """One way to see a world as another, equivalent one: what is learned of the one holds for the other."""

    observation: Callable[[jax.Array], jax.Array]  # (..., *observation shape) -> the same shape and dtype
    action: np.ndarray  # int32 (A,): the action that does there what action a does here


class VectorEnv(NamedTuple):
    """N worlds stepped together. A record of pure functions; everything with a leading axis N unless noted.

    A state is recorded as an episode part (what stays fixed during an episode) and a step part (what a step changes).
    Replay keeps these few bytes and rebuilds the observation when it samples.
    """

    name: str
    observation: jax.ShapeDtypeStruct  # of one observation, without the leading axis
    num_actions: int
    time_limit: int  # steps after which an episode is truncated
    worlds: Callable[[jax.Array], Any]  # (level_key) -> worlds; () where the world needs none
    refresh: Callable[..., Any] | None  # (worlds, level_key, epoch) -> worlds; None where worlds stay as they are
    reset: Callable[..., Any]  # (key, worlds, n, hypers, slots=None) -> state; environment i begins level slots[i]
    step: Callable[
        ..., tuple[Any, Outcome]
    ]  # (key, state, action, worlds, hypers) -> (state, Outcome), reset by itself
    observe: Callable[[Any, Any, Any], jax.Array]  # (episode, step, worlds) -> observation
    record: Callable[[Any], tuple[Any, Any]]  # (state) -> (episode, step)
    scene: Callable[[Any, Any], Any] | None = None  # (episode, step) -> what to draw, for those who look
    solve: Callable[[Any, Any], Exact] | None = None  # (worlds, hypers) -> Exact; a world with it tells success
    symmetries: tuple[Symmetry, ...] = ()  # all of them, the identity first; () where the world offers none
    marker: int | None = None  # plane of an observation (planes, rows, columns) that is 1 at the agent's cell, else 0


def check_env(env: VectorEnv, hypers: Any, n: int = 8, steps: int = 64) -> None:
    """Plays ``n`` environments at random and checks every promise of the contract that play can show.

    Raises:
      AssertionError: names the promise that was broken.
    """
    key = jax.random.key(0)
    worlds = jax.jit(env.worlds)(jax.random.key(1))
    state = env.reset(key, worlds, n, hypers)
    signature = lambda tree: jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), tree)
    expected, clock = signature(state), np.zeros(n, int)
    step, observe = jax.jit(env.step), jax.jit(env.observe)
    for symmetry in env.symmetries:
        turned = jax.eval_shape(symmetry.observation, env.observation)
        assert turned == env.observation, f"{env.name}: a symmetry makes an observation {turned}"
        known = sorted(symmetry.action.tolist()) == list(range(env.num_actions)) and symmetry.action.dtype == np.int32
        assert known, f"{env.name}: a symmetry's actions {symmetry.action} are no permutation in int32"
    for number in range(steps):
        action_key, step_key = jax.random.split(jax.random.fold_in(key, number))
        action = jax.random.randint(action_key, (n,), 0, env.num_actions)
        episode, before = env.record(state)
        seen = observe(episode, before, worlds)
        assert seen.shape == (n, *env.observation.shape), f"{env.name}: observation shape {seen.shape}"
        assert seen.dtype == env.observation.dtype, f"{env.name}: observation dtype {seen.dtype}"
        if env.marker is not None:
            plane = np.sort(np.asarray(seen)[:, env.marker].reshape(n, -1))
            assert np.all(plane == (np.arange(plane.shape[1]) == plane.shape[1] - 1)), f"{env.name}: marker's plane"
        state, outcome = step(step_key, state, action, worlds, hypers)
        assert signature(state) == expected, f"{env.name}: step changes the state's shapes or dtypes"
        for flag in (outcome.terminated, outcome.truncated):
            assert (flag.shape, flag.dtype) == ((n,), bool), f"{env.name}: terminated and truncated must be bool (N,)"
        assert (outcome.reward.shape, outcome.reward.dtype) == ((n,), jnp.float32), f"{env.name}: reward"
        assert not np.any(outcome.terminated & outcome.truncated), f"{env.name}: both terminated and truncated"
        assert signature(outcome.reached) == signature(before), f"{env.name}: reached is no step part"
        clock += 1
        assert np.all(clock[np.asarray(outcome.truncated)] == env.time_limit), (
            f"{env.name}: truncated off the time limit"
        )
        assert np.all(clock <= env.time_limit), f"{env.name}: an episode outlived the time limit"
        ended = np.asarray(outcome.terminated | outcome.truncated)
        clock[ended] = 0
        episode, after = env.record(state)
        for now, then in zip(jax.tree.leaves(after), jax.tree.leaves(outcome.reached), strict=True):
            same = np.asarray(now)[~ended] == np.asarray(then)[~ended]
            assert np.all(same), f"{env.name}: a running episode did not stay in the state reached"
