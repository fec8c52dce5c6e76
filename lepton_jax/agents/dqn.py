"""DQN (Mnih et al. 2015) with the options that made it good: Double, dueling, n-step, Polyak-averaged target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from lepton_jax.agents import explore, losses
from lepton_jax.agents.agent import Agent, Batch
from lepton_jax.agents.networks import make_network
from lepton_jax.config import AgentConfig, NetConfig


class DQNState(NamedTuple):
    """What a DQN knows."""

    params: Any  # online network
    target: Any  # target network, the same tree
    opt_state: Any
    steps: jax.Array  # int32 (): gradient steps taken


def make_dqn(net: NetConfig, agent: AgentConfig, num_actions: int) -> Agent:
    """A DQN for ``num_actions`` actions. ``net`` and ``agent`` are static; scalars come in as hypers."""
    network = make_network(net, num_actions)

    def forward(params: Any, observation: jax.Array) -> jax.Array:
        return jax.vmap(lambda one: jnp.asarray(network.apply(params, one)))(observation)

    bootstrap = losses.double_value if agent.double else lambda _, target: losses.max_value(target)

    def init(key: jax.Array, observation: jax.ShapeDtypeStruct, num_actions: int, hypers: Any) -> DQNState:
        del num_actions
        params = network.init(key, jnp.zeros(observation.shape, observation.dtype))
        opt_state = _optimizer(agent, hypers, jnp.float32(0)).init(params)
        # Copied, not shared: the engine donates its state, and a buffer can be given away only once.
        return DQNState(params, jax.tree.map(jnp.copy, params), opt_state, jnp.int32(0))

    def q_values(state: DQNState, carry: Any, observation: jax.Array, first: jax.Array) -> tuple[jax.Array, Any]:
        del first
        return forward(state.params, observation), carry

    def act(
        state: DQNState, carry: Any, observation: jax.Array, first: jax.Array, key: jax.Array, epsilon: jax.Array
    ) -> tuple[jax.Array, Any]:
        q, carry = q_values(state, carry, observation, first)
        return explore.epsilon_greedy(key, q, epsilon), carry

    def loss(params: Any, target: Any, batch: Batch, hypers: Any) -> tuple[jax.Array, jax.Array]:
        q = forward(params, batch.observation)
        next_target = forward(target, batch.next_observation)
        next_online = forward(jax.lax.stop_gradient(params), batch.next_observation) if agent.double else next_target
        next_value = jax.vmap(bootstrap)(next_online, next_target)
        errors = jax.vmap(losses.td_error)(q, batch.action, batch.reward, batch.discount, next_value)
        each = losses.huber(errors, hypers.huber_delta) if agent.loss == "huber" else losses.squared(errors)
        return jnp.mean(each), jnp.mean(q)

    def learn(
        state: DQNState, batch: Batch, key: jax.Array, hypers: Any, average: Callable[[Any], Any] = lambda tree: tree
    ) -> tuple[DQNState, None, dict[str, jax.Array]]:
        del key
        (value, q_mean), gradient = jax.value_and_grad(loss, has_aux=True)(state.params, state.target, batch, hypers)
        gradient = average(gradient)
        optimizer = _optimizer(agent, hypers, _learning_rate(agent, hypers, state.steps))
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        steps = state.steps + 1
        if agent.target == "polyak":
            # In this form equal leaves stay equal whatever tau is.
            target = jax.tree.map(lambda t, p: t + hypers.tau * (p - t), state.target, params)
        else:
            copy = steps % agent.target_period == 0
            target = jax.tree.map(lambda t, p: jnp.where(copy, p, t), state.target, params)
        metrics = {"loss": value, "q_mean": q_mean, "grad_norm": optax.tree.norm(gradient)}
        return DQNState(params, target, opt_state, steps), None, metrics

    return Agent(
        init=init,
        carry=lambda batch: (),
        q_values=q_values,
        act=act,
        learn=learn,
        metrics=("loss", "q_mean", "grad_norm"),
        policy=lambda state: state.params,
        with_policy=lambda state, params: state._replace(params=params),
    )


def _learning_rate(agent: AgentConfig, hypers: Any, steps: jax.Array) -> jax.Array:
    if agent.lr_schedule == "constant":
        return hypers.lr
    schedule = explore.linear if agent.lr_schedule == "linear" else explore.cosine
    return schedule(steps, hypers.lr, hypers.lr_end, hypers.lr_horizon)


def _optimizer(agent: AgentConfig, hypers: Any, learning_rate: jax.Array) -> optax.GradientTransformation:
    # Made anew inside the traced step, so that every magnitude can be a tracer; the state has the same form each time.
    scale = optax.scale_by_radam if agent.optimizer == "radam" else optax.scale_by_adam
    return optax.chain(
        optax.clip_by_global_norm(hypers.max_grad_norm),
        scale(eps=hypers.adam_eps),
        optax.add_decayed_weights(hypers.weight_decay),
        optax.scale_by_learning_rate(learning_rate),
    )
