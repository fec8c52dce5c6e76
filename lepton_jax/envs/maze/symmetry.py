"""The symmetries of a square maze: turned or reflected it is another maze, in which the same play earns the same."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.envs.maze.rules import ACTIONS, Rules
from lepton_jax.envs.vector import Symmetry


def symmetries(rules: Rules) -> tuple[Symmetry, ...]:
    """The symmetries under which observation and rules are exact for every level, in the order of ``level.symmetries``.

    They are the eight of the square: reflected from left to right or not, then turned to the left 0 to 3 times. Less:

    * egocentric, oriented: itself and its mirror image, as the view turns with the agent.
    * egocentric with occlusion, not oriented: the four of the rectangle, for light spreads along rows only; all eight
      with a view of 3, in which nothing is hidden.
    * oriented with slip: no mirror images, for a slip turns left in 86 of 256 cases and right in 85.
    * rgb, oriented: none, for the heading is a shade. vector: none. A map that is not square: none.

    An oriented agent always begins looking east, which no turn keeps: values are the same, where episodes begin is not.
    """
    shaded = rules.observation == "rgb" and rules.oriented
    if rules.height != rules.width or rules.observation == "vector" or shaded:
        return ()
    turns, flips = (0, 1, 2, 3), (False, True)
    if rules.observation == "egocentric" and rules.oriented:
        turns = (0,)
    elif rules.observation == "egocentric" and rules.occlusion and rules.view > 3:
        turns = (0, 2)
    if rules.oriented and rules.slip:
        flips = (False,)
    elements = [(turn, flip) for turn in turns for flip in flips]
    if len(elements) == 1:
        return ()
    return tuple(Symmetry(partial(_see, rules, *one), _actions(rules, *one)) for one in elements)


def marker(rules: Rules) -> int | None:
    """The plane of an observation that is 1 at the agent's cell and 0 elsewhere; None where there is no such plane."""
    return 1 if rules.observation == "full" and not rules.oriented else None


def _see(rules: Rules, turns: int, flip: bool, observation: jax.Array) -> jax.Array:
    """The observation (..., planes, rows, columns) of the image of a state."""
    seen = jnp.rot90(jnp.flip(observation, -1) if flip else observation, turns, (-2, -1))
    if rules.observation != "full" or not rules.oriented:
        return seen
    # Planes 1 to 4 are the headings; each now shows those who had looked the way that has become its own.
    came = np.argsort([_turned(heading, turns, flip) for heading in range(4)])
    order = [0, *(1 + came).tolist(), *range(5, seen.shape[-3])]
    return jnp.concatenate([jax.lax.index_in_dim(seen, plane, -3) for plane in order], -3)


def _actions(rules: Rules, turns: int, flip: bool) -> np.ndarray:
    """int32 (A,): the action whose move is the image of that of action a."""
    if rules.oriented:
        image = [1, 0, 2] if flip else [0, 1, 2]
    else:
        # In ACTIONS four straight moves precede the diagonal ones: 4 + q leads between the directions q and q + 1.
        image = [_turned(way, turns, flip) for way in range(4)]
        image += [4 + ((3 - q if flip else q) - turns) % 4 for q in range(len(ACTIONS[rules.actions]) - 4)]
    return np.array(image, np.int32)


def _turned(direction: int, turns: int, flip: bool) -> int:
    """The image of a direction, 0 north, 1 east, 2 south, 3 west: east and west swapped or not, then turned left."""
    return ((-direction if flip else direction) - turns) % 4
