"""PQN (Gallici et al. 2024, arXiv 2407.04811): Q(lambda) on the last rollout, without replay and target network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lepton_jax.agents import adapters, losses, optimizer, sequences
from lepton_jax.agents.agent import Agent, Sequence
from lepton_jax.agents.networks import QFunction
from lepton_jax.agents.training import AS_USUAL, Given, Training, begin, guidance
from lepton_jax.config import AgentConfig


class PQNState(NamedTuple):
    """What a PQN knows."""

    params: Any
    opt_state: Any
    steps: jax.Array  # int32 (): gradient steps taken
    source: Any = ()  # of a graft that the loss looks back at: the parameters it began with


class Lesson(NamedTuple):
    """What a gradient step learns from: L steps in a row (without memory: one) of M rows of experience."""

    observation: jax.Array  # (L, M, ...)
    first: jax.Array  # bool (L, M)
    action: jax.Array  # int32 (L, M)
    goal: jax.Array  # float32 (L, M): the return that Q(s, action) is to equal
    carry: Any  # (M, ...)


def make_pqn(q: QFunction, agent: AgentConfig, training: Training = AS_USUAL) -> Agent:
    """A PQN. ``agent`` and ``training`` are static; scalars come in as hypers.

    The returns of a rollout are taken once, with the parameters that played it; then come ``epochs`` passes over all
    of it in ``minibatches`` shuffled parts: transitions, or with memory in ``q`` whole environments.
    """
    q = adapters.adapted(q, training)
    recurrent, (q_values, act) = sequences.remembers(q), sequences.acting(q)

    def init(
        key: jax.Array,
        observation: jax.ShapeDtypeStruct,
        num_actions: int,
        hypers: Any,
        given: Given | None = None,
    ) -> PQNState:
        del num_actions
        params, source = begin(training, q.init(key, observation), given)
        return PQNState(params, optimizer.init(agent, training, hypers, params, given), jnp.int32(0), source)

    def lesson_of(params: Any, s: Sequence, hypers: Any) -> Lesson:
        _, following = sequences.unroll(q, params, s)
        goal = sequences.q_lambda(s, s.reward, jnp.max(following, axis=-1), hypers.lam)
        lesson = Lesson(s.observation[:-1], sequences.begins(s)[:-1], s.action, goal, s.carry)
        if recurrent:
            return lesson
        return jax.tree.map(lambda leaf: leaf.reshape(1, -1, *leaf.shape[2:]), lesson)

    def loss(params: Any, state: PQNState, lesson: Lesson, hypers: Any) -> tuple[jax.Array, jax.Array]:
        of = lambda params: q.unroll(params, lesson.carry, lesson.observation, lesson.first)[0]
        values = of(params)
        error = lesson.goal - sequences.chosen(values, lesson.action)
        value = jnp.mean(losses.size_of(error, agent.loss, hypers.huber_delta))
        more = guidance(training, params, state.source, state.steps, values, lambda: of(state.source))
        return value + more, jnp.mean(values)

    def learn(
        state: PQNState,
        batch: Sequence,
        key: jax.Array,
        hypers: Any,
        average: Callable[[Any], Any] = lambda tree: tree,
    ) -> tuple[PQNState, None, dict[str, jax.Array]]:
        lesson = lesson_of(state.params, batch, hypers)
        rows = lesson.action.shape[1]

        def update(state: PQNState, chosen: jax.Array) -> tuple[PQNState, dict[str, jax.Array]]:
            along = lambda leaf: jnp.take(leaf, chosen, axis=1, mode="clip")
            mine = jax.tree.map(along, lesson._replace(carry=()))
            carry = jax.tree.map(lambda leaf: jnp.take(leaf, chosen, axis=0, mode="clip"), lesson.carry)
            measure = lambda params: loss(params, state, mine._replace(carry=carry), hypers)
            params, opt_state, metrics = optimizer.step(
                agent, training, hypers, measure, state.params, state.opt_state, state.steps, average
            )
            return PQNState(params, opt_state, state.steps + 1, state.source), metrics

        def epoch(state: PQNState, key: jax.Array) -> tuple[PQNState, dict[str, jax.Array]]:
            # One sort of random words: jax.random.permutation sorts several times, against ties that do no harm here.
            order = jnp.argsort(jax.random.bits(key, (rows,), jnp.uint32))
            return jax.lax.scan(update, state, order.reshape(agent.minibatches, -1))

        state, metrics = jax.lax.scan(epoch, state, jax.random.split(key, agent.epochs))
        return state, None, jax.tree.map(jnp.mean, metrics)

    return Agent(
        init=init,
        carry=q.carry,
        q_values=q_values,
        act=act,
        learn=learn,
        learns_from="rollout",
        metrics=optimizer.METRICS,
        exact=not recurrent,
        policy=lambda state: adapters.merged(state.params),
        with_policy=lambda state, policy: state._replace(params=adapters.worn(state.params, policy)),
    )
