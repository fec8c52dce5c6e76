"""One gradient step, for every agent the same: schedule, clipping, Adam, decoupled weight decay; leaf by leaf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lepton_jax.agents import explore
from lepton_jax.agents.training import (
    CARRIED,
    FROZEN,
    Given,
    Moments,
    Training,
    Treatment,
    by_name,
    name_of,
    treatments,
)
from lepton_jax.config import AgentConfig

METRICS = ("loss", "q_mean", "grad_norm")


def init(agent: AgentConfig, training: Training, hypers: Any, params: Any, given: Given | None) -> Any:
    """The optimiser's state before the first step; with the moments of ``given``, where a treatment says so."""
    state = _chain(agent, training, hypers, jnp.int32(0), params).init(params)
    return state if given is None or not given.moments else _with_moments(state, given.moments)


def step(
    agent: AgentConfig,
    training: Training,
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
    gradient = average(_moving(training, steps, gradient))
    updates, opt_state = _chain(agent, training, hypers, steps, params).update(gradient, opt_state, params)
    metrics = {"loss": value, "q_mean": q_mean, "grad_norm": optax.tree.norm(gradient)}
    return optax.apply_updates(params, updates), opt_state, metrics


def _learning_rate(agent: AgentConfig, hypers: Any, steps: jax.Array) -> jax.Array:
    if agent.lr_schedule == "constant":
        return hypers.lr
    schedule = explore.linear if agent.lr_schedule == "linear" else explore.cosine
    return schedule(steps, hypers.lr, hypers.lr_end, hypers.lr_horizon)


def _moving(training: Training, steps: jax.Array, gradient: Any) -> Any:
    """The gradient by the leaves that move now, and zeros: others count in no norm, and what leads to them is not
    computed."""
    if training.uniform:
        return gradient

    def masked(treatment: Treatment, leaf: jax.Array) -> jax.Array:
        if treatment.frozen:
            return jnp.zeros_like(leaf)
        return jnp.where(steps >= treatment.thaw, leaf, 0.0) if treatment.thaw else leaf

    return jax.tree.map(masked, treatments(training, gradient), gradient, is_leaf=_is_treatment)


def _chain(
    agent: AgentConfig, training: Training, hypers: Any, steps: jax.Array, params: Any
) -> optax.GradientTransformation:
    # Made anew inside the traced step, so that every magnitude can be a tracer; the state has the same form each time.
    scale = optax.scale_by_radam if agent.optimizer == "radam" else optax.scale_by_adam
    rate = _learning_rate(agent, hypers, steps)
    clip = optax.clip_by_global_norm(hypers.max_grad_norm)

    def descent(factor: float) -> tuple[optax.GradientTransformation, ...]:
        return (
            scale(eps=hypers.adam_eps),
            optax.add_decayed_weights(hypers.weight_decay),
            optax.scale_by_learning_rate(rate if factor == 1.0 else factor * rate),
        )

    if training.uniform:
        return optax.chain(clip, *descent(1.0))
    each = treatments(training, params)
    groups = {one.group: one for one in jax.tree.leaves(each, is_leaf=_is_treatment)}
    parts = {
        name: optax.set_to_zero() if name == FROZEN else _from(one.thaw, steps, optax.chain(*descent(one.factor)))
        for name, one in groups.items()
    }
    labels = jax.tree.map(lambda one: one.group, each, is_leaf=_is_treatment)
    return optax.chain(clip, optax.partition(parts, labels))


def _with_moments(state: Any, moments: Moments) -> Any:
    """``state`` of ``_chain``, in which the groups that begin with moments have them, each leaf its own."""
    mu, nu = by_name(moments.mu), by_name(moments.nu)
    is_adam = lambda node: isinstance(node, optax.ScaleByAdamState)

    def begun(node: Any) -> Any:
        if not is_adam(node):
            return node
        named = lambda tree, known: jax.tree_util.tree_map_with_path(lambda path, _: known[name_of(path)], tree)
        return optax.ScaleByAdamState(moments.count, named(node.mu, mu), named(node.nu, nu))

    clip, parts = state
    inner = {
        name: jax.tree.map(begun, part, is_leaf=is_adam) if name.endswith(CARRIED) else part
        for name, part in parts.inner_states.items()
    }
    return clip, parts._replace(inner_states=inner)


def _from(start: int, steps: jax.Array, inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """``inner`` from gradient step ``start`` on; before, nothing moves, and the moments do not age."""
    if not start:
        return inner

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        moved, after = inner.update(updates, state, params)
        pick = lambda new, old: jnp.where(steps >= start, new, old)
        return jax.tree.map(lambda leaf: pick(leaf, jnp.zeros_like(leaf)), moved), jax.tree.map(pick, after, state)

    return optax.GradientTransformation(inner.init, update)


def _is_treatment(node: Any) -> bool:
    return isinstance(node, Treatment)
