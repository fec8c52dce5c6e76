"""Sets of levels that mean something: training, validation and test, disjoint by layout."""

from __future__ import annotations

import hashlib
import itertools
import math
from functools import partial

import jax
import numpy as np

from lepton_jax.envs.maze.generate import MazeSpec, batch, carve, grid_edges
from lepton_jax.envs.maze.level import SPLITS, Level, digest, split_of

# Purposes of the level key; the training pool counts its refreshes from 0 and never gets here.
_SUITE_KEYS = {name: 2**31 + number for number, name in enumerate(SPLITS)}


def suite(name: str, spec: MazeSpec, level_seed: int, count: int, held_out: bool = True) -> Level:
    """``count`` levels of the set ``name``: train, validation or test.

    The same arguments always give the same levels. Without ``held_out`` the sets differ by their keys alone. The levels
    of ``train`` are fresh ones with training layouts, not those of a run's pool. Arrays are NumPy's.

    Raises:
      ValueError: (nearly) no layout belongs to the set, as at 5x5, whose layouts are all one up to symmetry.
    """
    key = jax.random.fold_in(jax.random.key(level_seed), _SUITE_KEYS[name])
    batches: list[Level] = []
    found = 0
    for number in range(_MOST_BATCHES):
        drawn = jax.device_get(_draw(jax.random.fold_in(key, number), spec))
        if held_out:
            belongs = split_of(digest(drawn.walls)) == SPLITS.index(name)
            drawn = Level(*(leaf[belongs] for leaf in drawn))
        batches.append(drawn)
        found += len(drawn.start)
        if found >= count:
            return Level(*(np.concatenate(leaves)[:count] for leaves in zip(*batches, strict=True)))
    raise ValueError(f"of {_MOST_BATCHES * _BATCH:,} mazes of size {spec.size} only {found} belong to the set {name!r}")


@partial(jax.jit, static_argnums=1)
def _draw(key: jax.Array, spec: MazeSpec) -> Level:
    # One batch size for every set, so that it is compiled once.
    return batch(key, spec, _BATCH)


_BATCH, _MOST_BATCHES = 4096, 1000


def fingerprint(levels: Level) -> str:
    """sha256 of a batch of levels: equal sets have equal fingerprints."""
    parts = (
        np.packbits(np.asarray(levels.walls)),
        np.asarray(levels.start, np.int32),
        np.asarray(levels.goal, np.int32),
    )
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def count_layouts(size: int) -> int | float:
    """How many perfect mazes there are: the spanning trees of the grid of rooms (Kirchhoff's theorem).

    Returns:
      An exact integer while float64 can tell (up to 9x9), else the base-10 power as a float would overflow: log10.
    """
    rooms = (size - 1) // 2
    waves = [2.0 - 2.0 * math.cos(math.pi * k / rooms) for k in range(rooms)]
    logs = [math.log10(a + b) for a, b in itertools.product(waves, waves) if a + b > 1e-9]
    power = sum(logs) - 2.0 * math.log10(rooms)
    return round(10**power) if power < 12 else power


def small_census(size: int) -> dict[str, tuple[int, int]] | None:
    """For mazes of at most 7x7: (layouts, symmetry classes) of each set, by listing them all; None for larger ones."""
    rooms = (size - 1) // 2
    if rooms > 3:
        return None
    ends = grid_edges(rooms)
    trees = [
        chosen for chosen in itertools.combinations(range(len(ends)), rooms * rooms - 1) if _is_tree(ends[list(chosen)])
    ]
    opened = np.zeros((len(trees), len(ends)), bool)
    for row, chosen in zip(opened, trees, strict=True):
        row[list(chosen)] = True
    names = digest(np.asarray(jax.jit(jax.vmap(carve, (0, None)), static_argnums=1)(opened, MazeSpec(size))))
    split = split_of(names)
    classes = lambda number: len({tuple(name) for name in names[split == number].tolist()})
    return {name: (int(np.sum(split == number)), classes(number)) for number, name in enumerate(SPLITS)}


def describe(size: int, held_out: bool, braid: float) -> str:
    """One line for people: how many layouts there are and how many are held out."""
    count = count_layouts(size)
    many = f"{count:,}" if isinstance(count, int) else f"about 10^{count:.0f}"
    what = f"{size}x{size} perfect mazes: {many} layouts" + (", more with loops" if braid else "")
    if not held_out:
        return f"{what}; none held out"
    census = small_census(size)
    if census is None:
        return f"{what}; held out by symmetry class: 1/8 for validation, 1/4 for test"
    shares = (f"{census[name][1]} ({census[name][0]} layouts) for {name}" for name in SPLITS)
    return f"{what} in {sum(c for _, c in census.values())} symmetry classes: {', '.join(shares)}"


def _is_tree(ends: np.ndarray) -> bool:
    group = list(range(int(ends.max()) + 1))
    for a, b in ends.tolist():
        if group[a] == group[b]:
            return False
        group = [group[a] if label == group[b] else label for label in group]
    return True
