"""DQN (Mnih et al. 2015) with the options that made it good: Double, dueling, n-step, Polyak-averaged target; with a
memory, the recurrent DQN of R2D2 (Kapturowski et al. 2019): stored state, burn-in, sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lepton_jax.agents import adapters, losses, optimizer, sequences
from lepton_jax.agents.agent import Agent, Batch, Sequence
from lepton_jax.agents.networks import QFunction
from lepton_jax.agents.training import AS_USUAL, Given, Training, begin, guidance
from lepton_jax.config import AgentConfig


class DQNState(NamedTuple):
    """What a DQN knows."""

    params: Any  # online network
    target: Any  # target network, the same tree
    opt_state: Any
    steps: jax.Array  # int32 (): gradient steps taken
    source: Any = ()  # of a graft that the loss looks back at: the parameters it began with


def make_dqn(q: QFunction, agent: AgentConfig, burn_in: int = 0, training: Training = AS_USUAL) -> Agent:
    """A DQN. ``agent`` and ``training`` are static; scalars come in as hypers.

    Without memory in ``q`` it learns from transitions; with memory from sequences, whose first ``burn_in`` steps only
    bring the memory to where it would be.
    """
    q = adapters.adapted(q, training)
    recurrent, (q_values, act) = sequences.remembers(q), sequences.acting(q)

    def init(
        key: jax.Array,
        observation: jax.ShapeDtypeStruct,
        num_actions: int,
        hypers: Any,
        given: Given | None = None,
    ) -> DQNState:
        del num_actions
        params, source = begin(training, q.init(key, observation), given)
        # Copied, not shared: the engine donates its state, and a buffer can be given away only once.
        target, opt_state = jax.tree.map(jnp.copy, params), optimizer.init(agent, training, hypers, params, given)
        return DQNState(params, target, opt_state, jnp.int32(0), source)

    def forward(params: Any, observation: jax.Array) -> jax.Array:
        return q.unroll(params, (), observation[None], jnp.zeros((1, observation.shape[0]), bool))[0][0]

    def value_of(next_online: jax.Array, next_target: jax.Array, hypers: Any) -> jax.Array:
        if agent.munchausen:
            return losses.soft_value(next_target, hypers.munchausen_temperature)
        return losses.double_value(next_online, next_target) if agent.double else losses.max_value(next_target)

    def reward_of(reward: jax.Array, target_q: Callable[[], jax.Array], action: jax.Array, hypers: Any) -> jax.Array:
        """Rewards with the bonus of Munchausen; the same leading axes as ``reward``."""
        if not agent.munchausen:
            return reward
        knobs = hypers.munchausen_alpha, hypers.munchausen_temperature, hypers.munchausen_clip
        each = lambda q, action: losses.munchausen_bonus(q, action, *knobs)
        bonus = jnp.vectorize(each, signature="(a),()->()")  # over any leading axes
        return reward + bonus(target_q(), action)

    def transition_loss(params: Any, target: Any, b: Batch, hypers: Any) -> tuple[jax.Array, jax.Array]:
        values = forward(params, b.observation)
        next_target = forward(target, b.next_observation)
        chooses = agent.double and not agent.munchausen
        next_online = forward(jax.lax.stop_gradient(params), b.next_observation) if chooses else next_target
        next_value = jax.vmap(value_of, (0, 0, None))(next_online, next_target, hypers)
        reward = reward_of(b.reward, lambda: forward(target, b.observation), b.action, hypers)
        errors = jax.vmap(losses.td_error)(values, b.action, reward, b.discount, next_value)
        return jnp.mean(losses.size_of(errors, agent.loss, hypers.huber_delta)), values

    def sequence_loss(params: Any, target: Any, s: Sequence, hypers: Any) -> tuple[jax.Array, jax.Array]:
        after = lambda params: sequences.after(q, jax.lax.stop_gradient(params), s, burn_in)
        values, next_online = sequences.unroll(q, params, after(params))
        target_values, next_target = sequences.unroll(q, target, after(target))
        s = jax.tree.map(lambda leaf: leaf[burn_in:], s._replace(observation=(), reached=(), carry=()))
        over_both = lambda function: jax.vmap(jax.vmap(function, (0, 0, None)), (0, 0, None))
        next_value = over_both(value_of)(jax.lax.stop_gradient(next_online), next_target, hypers)
        reward = reward_of(s.reward, lambda: target_values, s.action, hypers)
        goal = sequences.q_lambda(s, reward, next_value, hypers.lam)
        errors = jax.lax.stop_gradient(goal) - sequences.chosen(values, s.action)
        return jnp.mean(losses.size_of(errors, agent.loss, hypers.huber_delta)), values

    loss: Callable[..., tuple[jax.Array, jax.Array]] = sequence_loss if recurrent else transition_loss

    def learn(
        state: DQNState,
        batch: Batch | Sequence,
        key: jax.Array,
        hypers: Any,
        average: Callable[[Any], Any] = lambda tree: tree,
    ) -> tuple[DQNState, None, dict[str, jax.Array]]:
        del key

        def measure(params: Any) -> tuple[jax.Array, jax.Array]:
            value, values = loss(params, state.target, batch, hypers)
            teacher = lambda: forward(state.source, batch.observation)
            return value + guidance(training, params, state.source, state.steps, values, teacher), jnp.mean(values)

        params, opt_state, metrics = optimizer.step(
            agent, training, hypers, measure, state.params, state.opt_state, state.steps, average
        )
        steps = state.steps + 1
        if agent.target == "polyak":
            # In this form equal leaves stay equal, bit for bit, whatever tau is: t + tau (p - t) would make +0 of -0.
            target = jax.tree.map(lambda t, p: t - hypers.tau * (t - p), state.target, params)
        else:
            copy = steps % agent.target_period == 0
            target = jax.tree.map(lambda t, p: jnp.where(copy, p, t), state.target, params)
        return DQNState(params, target, opt_state, steps, state.source), None, metrics

    return Agent(
        init=init,
        carry=q.carry,
        q_values=q_values,
        act=act,
        learn=learn,
        learns_from="sequences" if recurrent else "transitions",
        metrics=optimizer.METRICS,
        exact=not (recurrent or agent.munchausen),
        reuse=training.reuse,
        policy=lambda state: adapters.merged(state.params),
        with_policy=lambda state, policy: state._replace(params=adapters.worn(state.params, policy)),
    )
