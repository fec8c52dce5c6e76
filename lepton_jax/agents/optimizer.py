"""One gradient step, for every agent the same: schedule, clipping, Adam, decoupled weight decay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lepton_jax.agents import explore
from lepton_jax.config import AgentConfig

METRICS = ("loss", "q_mean", "grad_norm")


def init(agent: AgentConfig, hypers: Any, params: Any) -> Any:
    """The optimiser's state before the first step."""
    return _chain(agent, hypers, jnp.float32(0)).init(params)


def step(
    agent: AgentConfig,
    hypers: Any,
    loss: Callable[..., tuple[jax.Array, jax.Array]],
    params: Any,
    opt_state: Any,
    steps: jax.Array,
    average: Callable[[Any], Any],
) -> tuple[Any, Any, dict[str, jax.Array]]:
    """Gradient step number ``steps``, int32 (), down ``loss``: (params) -> (loss, mean Q).

    Returns:
      Parameters, optimiser state, and ``METRICS``.
    """
    (value, q_mean), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    gradient = average(gradient)
    chain = _chain(agent, hypers, _learning_rate(agent, hypers, steps))
    updates, opt_state = chain.update(gradient, opt_state, params)
    metrics = {"loss": value, "q_mean": q_mean, "grad_norm": optax.tree.norm(gradient)}
    return optax.apply_updates(params, updates), opt_state, metrics


def _learning_rate(agent: AgentConfig, hypers: Any, steps: jax.Array) -> jax.Array:
    if agent.lr_schedule == "constant":
        return hypers.lr
    schedule = explore.linear if agent.lr_schedule == "linear" else explore.cosine
    return schedule(steps, hypers.lr, hypers.lr_end, hypers.lr_horizon)


def _chain(agent: AgentConfig, hypers: Any, learning_rate: jax.Array) -> optax.GradientTransformation:
    # Made anew inside the traced step, so that every magnitude can be a tracer; the state has the same form each time.
    scale = optax.scale_by_radam if agent.optimizer == "radam" else optax.scale_by_adam
    return optax.chain(
        optax.clip_by_global_norm(hypers.max_grad_norm),
        scale(eps=hypers.adam_eps),
        optax.add_decayed_weights(hypers.weight_decay),
        optax.scale_by_learning_rate(learning_rate),
    )
