"""Worlds so small that the right action values are known: what a correct engine must learn from them.

Each probe is a short corridor of numbered places, shown one-hot, so that one linear layer is an exact table. Probes
whose values reach over several steps pay the same whatever the action, so that n-step returns are exact off policy too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.engine.program import Program, Shape, clear_metrics, read_metrics
from lepton_jax.envs.vector import Outcome, VectorEnv

GAMMA = 0.9  # the truncation probe is worth 10 with it


class Corridor(NamedTuple):
    """N walks."""

    place: jax.Array  # uint8 (N,)
    time: jax.Array  # int32 (N,): steps taken in this episode


class Probe(NamedTuple):
    """A world and what is true of it."""

    name: str
    starts: tuple[int, ...]  # places where episodes begin, each equally likely
    step: Callable[
        [jax.Array, jax.Array], tuple[Any, Any, Any]
    ]  # (place, action) -> (place reached, reward, terminated)
    q: np.ndarray  # float (places, actions): the right values with discount GAMMA; NaN where nothing can be learned
    time_limit: int = 100
    shown: tuple[int, ...] = ()  # what is seen of each place; () where each looks like no other


def make_env(probe: Probe) -> VectorEnv:
    """A probe as a VectorEnv. Slot i of a reset begins at ``starts[i % len(starts)]``."""
    places, num_actions = probe.q.shape
    begin = jnp.array(probe.starts, jnp.uint8)
    shown = np.array(probe.shown or range(places))
    looks = int(shown.max()) + 1

    def reset(key: jax.Array, worlds: Any, n: int, hypers: Any, slots: jax.Array | None = None) -> Corridor:
        del worlds, hypers
        slots = jax.random.randint(key, (n,), 0, len(begin)) if slots is None else slots % len(begin)
        return Corridor(begin[slots], jnp.zeros(n, jnp.int32))

    def step(key: jax.Array, state: Corridor, action: jax.Array, worlds: Any, hypers: Any) -> tuple[Corridor, Outcome]:
        shape = state.place.shape
        place, reward, terminated = probe.step(state.place.astype(jnp.int32), action)
        reached = Corridor(jnp.broadcast_to(place, shape).astype(jnp.uint8), state.time + 1)
        terminated = jnp.broadcast_to(terminated, shape)
        truncated = (reached.time >= probe.time_limit) & ~terminated
        fresh = reset(key, worlds, shape[0], hypers)
        following = jax.tree.map(lambda new, old: jnp.where(terminated | truncated, new, old), fresh, reached)
        reward = jnp.broadcast_to(reward, shape).astype(jnp.float32)
        return following, Outcome(reward, terminated, truncated, reached.place)

    return VectorEnv(
        name=probe.name,
        observation=jax.ShapeDtypeStruct((looks,), jnp.float32),
        num_actions=num_actions,
        time_limit=probe.time_limit,
        worlds=lambda level_key: (),
        refresh=None,
        reset=reset,
        step=step,
        observe=lambda episode, place, worlds: jax.nn.one_hot(jnp.asarray(shown)[place], looks),
        record=lambda state: ((), state.place),
    )


def constant() -> Probe:
    """One step that pays 1."""
    return Probe("constant", (0,), lambda place, action: (place, 1.0, True), np.array([[1.0]]))


def observation() -> Probe:
    """One step that pays what the observation says: -1 or 1."""
    return Probe(
        "observation", (0, 1), lambda place, action: (place, 2.0 * place - 1.0, True), np.array([[-1.0], [1.0]])
    )


def discounting() -> Probe:
    """Nothing, then 1."""
    return Probe("discounting", (0,), lambda place, action: (place + 1, place, place == 1), np.array([[GAMMA], [1.0]]))


def action() -> Probe:
    """Pays 1 for the action that the observation names, else -1."""
    step = lambda place, action: (place, jnp.where(action == place, 1.0, -1.0), True)
    return Probe("action", (0, 1), step, np.array([[1.0, -1.0], [-1.0, 1.0]]))


def truncation(time_limit: int) -> Probe:
    """Pays 1 for ever, round and round; the time limit cuts it, which changes no value."""
    step = lambda place, action: ((place + 1) % 3, 1.0, False)
    return Probe("truncation", (0, 1, 2), step, np.full((3, 1), 1.0 / (1.0 - GAMMA)), time_limit)


def edges(n_step: int, time_limit: int) -> Probe:
    """Episodes of 1 to 2n steps, the place telling how many are left; the last one pays 1.

    With a time limit below 2n the longer ones are truncated, which changes no value.
    """
    longest = 2 * n_step
    step = lambda place, action: (place - 1, place == 1, place == 1)
    q = np.array([[np.nan], *([GAMMA**left] for left in range(longest))])
    return Probe("edges", tuple(range(1, longest + 1)), step, q, time_limit)


def terminal_leak() -> Probe:
    """Place 0 pays 1, place 1 pays nothing and is the end. What the reset leads to must not count for place 1."""
    step = lambda place, action: (place + 1, place == 0, place == 1)
    return Probe("terminal leak", (0, 1), step, np.array([[1.0], [0.0]]))


def truncation_leak(time_limit: int) -> Probe:
    """As many places that pay 1 as the time limit has steps, then one that pays nothing for ever.

    From the first one the limit cuts upon reaching the last, whose value is 0. The reset leads back to the first half
    of the time: whoever bootstraps from there finds too much.
    """
    last = time_limit
    step = lambda place, action: (jnp.minimum(place + 1, last), place < last, False)
    values = [(1.0 - GAMMA**left) / (1.0 - GAMMA) for left in range(last, -1, -1)]
    return Probe("truncation leak", (0, last), step, np.array(values)[:, None], time_limit)


def recall(steps: int) -> Probe:
    """One of two cues is seen, and ``steps`` steps later but a question: the action that names the cue pays 1, else -1.

    Whoever does not remember gets 0 on average, whatever the policy.
    """
    last = steps  # place of the question, for the first cue; the second has as many places again

    def step(place: jax.Array, action: jax.Array) -> tuple[Any, Any, Any]:
        asked = place % (steps + 1) == last
        right = jnp.where(action == place // (steps + 1), 1.0, -1.0)
        return jnp.where(asked, place, place + 1), jnp.where(asked, right, 0.0), asked

    chain = [[GAMMA**left, GAMMA**left] for left in range(steps, 0, -1)]
    q = np.array([*chain, [1.0, -1.0], *chain, [-1.0, 1.0]])
    middle = [2] * (steps - 1)
    return Probe("recall", (0, steps + 1), step, q, steps + 1, (0, *middle, 3, 1, *middle, 3))


def all_probes(n_step: int, time_limit: int) -> list[Probe]:
    """Every probe; those with edges made for ``n_step``, those with a time limit for ``time_limit``, at least 2."""
    return [
        constant(),
        observation(),
        discounting(),
        action(),
        truncation(time_limit),
        edges(n_step, time_limit),
        terminal_leak(),
        truncation_leak(time_limit),
    ]


def side_by_side(probes: list[Probe], time_limit: int) -> Probe:
    """All ``probes`` in one world: each episode is one of a random probe. One training then answers for all of them.

    No place belongs to two probes, so that each keeps its values, and a leak over a reset now reaches other probes too.
    """
    actions = max(probe.q.shape[1] for probe in probes)
    offsets = np.cumsum([0, *(len(probe.q) for probe in probes)])

    def step(place: jax.Array, action: jax.Array) -> tuple[Any, Any, Any]:
        each = [probe.step(place - offset, action) for probe, offset in zip(probes, offsets, strict=False)]
        mine = [(place >= low) & (place < high) for low, high in itertools.pairwise(offsets)]
        pick = lambda values: sum(jnp.where(here, value, 0) for here, value in zip(mine, values, strict=True))
        reached, reward, terminated = zip(*each, strict=True)
        reached = [place + offset for place, offset in zip(reached, offsets, strict=False)]
        return pick(reached), pick(reward), pick(terminated) == 1

    starts = tuple(
        int(start + offset) for probe, offset in zip(probes, offsets, strict=False) for start in probe.starts
    )
    q = np.concatenate([np.broadcast_to(probe.q, (len(probe.q), actions)) for probe in probes])
    return Probe("side by side", starts, step, q, time_limit)


def to_log_point(program: Program, state: Any, hypers: Any) -> tuple[Any, dict[str, float]]:
    """Trains from one log point to the next: what a run's loop does, in one chunk. ``state`` is donated."""
    state = program.chunk(state, hypers, jnp.int32(program.shape.per_point))
    return clear_metrics(state), read_metrics(state, program.shape.per_point)


def per_point(shape: Shape) -> int:
    """Iterations between log points."""
    return shape.per_segment * shape.per_point
