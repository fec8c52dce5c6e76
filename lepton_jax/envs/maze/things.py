"""What may lie on a map besides walls, in the order in which it is shown."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lepton_jax.envs.maze.rules import Rules, State


def things(rules: Rules) -> tuple[str, ...]:
    """The names of all there is besides walls: goals, then what the options add."""
    more = [f"goal {k}" for k in range(2, rules.goals + 1)]
    return ("goal", *more, *(("lava",) if rules.lava else ()), *(("key", "door") if rules.door else ()))


def sites_of(state: State, rules: Rules) -> list[jax.Array]:
    """The sites of all ``things`` but lava, each (N,), in their order."""
    further = [state.others[k] for k in range(rules.goals - 1)]
    return [state.goal, *further, *([jnp.where(state.held, state.site, state.key), state.door] if rules.door else [])]
