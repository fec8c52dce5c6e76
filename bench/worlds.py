"""Whether every generator keeps its word: ``python -m bench.worlds``. 10,000 levels of each kind, all solved once more.

A plain breadth-first search over a list, one level at a time, says whether the goal is reached (without touching lava,
through the door only with its key) and how far each cell is from it; the distances of ``oracle.distances`` must be
equal, cell by cell.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterable

import jax
import numpy as np

from lepton_jax.envs.maze.generate import batch
from lepton_jax.envs.maze.level import Level
from lepton_jax.envs.maze.oracle import distances
from lepton_jax.envs.maze.spec import MazeSpec

SPECS = {
    "perfect": MazeSpec(13),
    "perfect, braided": MazeSpec(13, 0.2),
    "perfect, anisotropic": MazeSpec(13, weights="anisotropic"),
    "perfect, smooth": MazeSpec(13, weights="smooth"),
    "perfect, 7 to 13": MazeSpec(13, min_size=7),
    "perfect, 10 to 20 steps": MazeSpec(13, min_distance=10, max_distance=20),
    "backtracker": MazeSpec(13, kind="backtracker"),
    "wilson": MazeSpec(13, kind="wilson"),
    "wilson, 5 to 13": MazeSpec(13, kind="wilson", min_size=5),
    "blocks": MazeSpec(13, kind="blocks"),
    "blocks, nearly all wall": MazeSpec(13, kind="blocks", density=0.9),
    "rooms": MazeSpec(13, kind="rooms"),
    "rooms, 3 x 3": MazeSpec(13, 0.3, kind="rooms", chambers=3),
    "crossings": MazeSpec(13, kind="crossings"),
    "crossings, corners": MazeSpec(13, kind="crossings", ends="corners"),
    "caves": MazeSpec(13, kind="caves"),
    "caves, 5 to 13": MazeSpec(13, kind="caves", min_size=5),
    "lava": MazeSpec(13, 0.2, kind="backtracker", lava=0.5),
    "door": MazeSpec(13, 0.2, kind="wilson", door=True),
    "door, goals, lava": MazeSpec(13, kind="blocks", door=True, goals=3, lava=0.3),
}


def search(closed: list[bool], width: int, cell: int) -> list[int]:
    """Steps from ``cell`` to every cell of a flat map with a closed border; -1 where there is no way."""
    steps = [-1] * len(closed)
    steps[cell] = 0
    todo = deque([cell])
    while todo:
        cell = todo.popleft()
        for there in (cell - width, cell + 1, cell + width, cell - 1):
            if steps[there] < 0 and not closed[there]:
                steps[there] = steps[cell] + 1
                todo.append(there)
    return steps


def solvable(level: Level) -> bool:
    """Whether one level, of NumPy arrays, can be solved; lava and, until the key is there, the door are walls."""
    width = level.walls.shape[1]
    closed = (level.walls | level.lava if isinstance(level.lava, np.ndarray) else level.walls).reshape(-1).tolist()
    start, goal = int(level.start), int(level.goal)
    things = [int(thing) for thing in (level.key, level.door) if not isinstance(thing, tuple)]
    if start == goal or any(closed[cell] for cell in (start, goal, *things)):
        return False
    if things:
        key, door = things
        barred = list(closed)
        barred[door] = True
        if search(barred, width, start)[key] < 0:
            return False
        start = key
    return search(closed, width, start)[goal] > 0


def examine(levels: Level, found: np.ndarray) -> tuple[int, int]:
    """How many of a batch are solvable, and of how many the distances to the goal, ``found``, are wrong."""
    solved = wrong = 0
    for number in range(len(levels.start)):
        level = jax.tree.map(lambda leaf, number=number: leaf[number], levels)
        solved += solvable(level)
        closed = level.walls.reshape(-1).tolist()
        wrong += search(closed, level.walls.shape[1], int(level.goal)) != found[number].reshape(-1).tolist()
    return solved, wrong


def draw(spec: MazeSpec, seed: int, count: int) -> tuple[Level, np.ndarray]:
    """``count`` levels and the distances to their goals, as NumPy arrays."""

    @jax.jit
    def both(key: jax.Array) -> tuple[Level, jax.Array]:
        levels = batch(key, spec, count)
        return levels, distances(levels.walls, levels.goal)

    return jax.device_get(both(jax.random.key(seed)))


def main(argv: Iterable[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.worlds", description=__doc__, allow_abbrev=False)
    parser.add_argument("--levels", type=int, default=10_000, help="of each kind (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all kinds (default: %(default)s)")
    args = parser.parse_args(list(argv))
    print(f"{'13x13':<28}{'levels':>8}{'solvable':>10}{'mismatches':>12}{'mean path':>11}{'seconds':>9}")
    right = True
    for name, spec in SPECS.items():
        began = time.perf_counter()
        levels, found = draw(spec, args.seed, args.levels)
        solved, wrong = examine(levels, found)
        path = found.reshape(args.levels, -1)[np.arange(args.levels), levels.start].mean()
        seconds = time.perf_counter() - began
        print(f"{name:<28}{args.levels:>8}{solved:>10}{wrong:>12}{path:>11.1f}{seconds:>9.1f}", flush=True)
        right &= solved == args.levels and wrong == 0
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
