"""A maze in characters: two a cell, so that cells look square in a terminal. The signs are those of level files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # jax is not needed for characters
    from lepton_jax.envs.maze.level import Level

# In the order of the actions: north, east, south, west, and the diagonals NE, SE, SW, NW.
ARROWS = ("^ ", "> ", "v ", "< ", "^>", "v>", "<v", "<^")
_HEADED = ("@^", "@>", "@v", "<@")


def glyphs(
    level: Level,
    agent: int | None = None,
    heading: int | None = None,
    held: bool = False,
    path: Iterable[int] = (),
    q: Any = None,
) -> np.ndarray:
    """Two characters a cell, str (height, width); what comes later in this list lies on top.

    Args:
      level: one level, of jax or NumPy: ``##`` wall, ``~~`` lava, ``S`` start, ``G`` goal, ``2`` and so on further
        goals, ``D`` door, ``K`` key. A cell of -1 is nowhere.
      agent: cell, ``@``; beside it an arrow head where ``heading`` (0 north, 1 east, 2 south, 3 west) is given.
      held: whether the key has been fetched; it is then not shown, and the door is ``d``.
      path: cells shown as ``..``, above walls and arrows.
      q: float (height, width, A): values whose greedy action each cell shows as an arrow. Cells whose values are all
        0, as those of unreachable cells are, or not finite show none.
    """
    walls = np.asarray(level.walls)
    shown = np.where(walls, "##", "  ").reshape(-1)
    has = lambda field: not isinstance(field, tuple)

    def put(cell: Any, sign: str) -> None:
        if int(cell) >= 0:
            shown[int(cell)] = f"{sign:2}"

    if q is not None:
        values = np.asarray(q).reshape(walls.size, -1)
        known = np.isfinite(values).all(1) & (values != 0).any(1) & ~walls.reshape(-1)
        shown[known] = np.array(ARROWS)[values.argmax(1)[known]]
    for cell in path:
        put(cell, "..")
    if has(level.lava):
        shown[np.asarray(level.lava).reshape(-1)] = "~~"
    put(level.start, "S")
    for number, cell in enumerate(np.asarray(level.others).astype(int), start=2):
        put(cell, str(number))
    put(level.goal, "G")
    if has(level.door):
        put(level.door, "d" if held else "D")
    if has(level.key) and not held:
        put(level.key, "K")
    if agent is not None:
        put(agent, "@" if heading is None else _HEADED[heading])
    return shown.reshape(walls.shape)
