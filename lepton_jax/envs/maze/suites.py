"""Sets of levels that mean something: training, validation and test, disjoint by layout."""

from __future__ import annotations

import hashlib
import itertools
import math
from functools import partial

import jax
import numpy as np

from lepton_jax.envs.maze.generate import batch, names
from lepton_jax.envs.maze.level import SPLITS, Level, LevelError, digest, split_of
from lepton_jax.envs.maze.spec import TREES, MazeSpec
from lepton_jax.envs.maze.trees import carve, grid_edges

# Purposes of the level key; the training pool counts its refreshes from 0 and never gets here.
_SUITE_KEYS = {name: 2**31 + number for number, name in enumerate(SPLITS)}


def suite(name: str, spec: MazeSpec, level_seed: int, count: int, held_out: bool = True) -> Level:
    """``count`` levels of the set ``name``: train, validation or test.

    The same arguments always give the same levels. Without ``held_out`` the sets differ by their keys alone. The levels
    of ``train`` are fresh ones with training layouts, not those of a run's pool. Arrays are NumPy's.

    Raises:
      LevelError: (nearly) no layout belongs to the set, as at 5x5, whose layouts are all one up to symmetry; or there
        are no such levels, see ``generate.check``.
    """
    key = jax.random.fold_in(jax.random.key(level_seed), _SUITE_KEYS[name])
    batches: list[Level] = []
    found = tried = 0
    while tried < _MOST_BATCHES and (found or tried < _BARREN_BATCHES):
        drawn, layouts = jax.device_get(_draw(jax.random.fold_in(key, tried), spec))
        if held_out:
            belongs = split_of(layouts) == SPLITS.index(name)
            drawn = jax.tree.map(lambda leaf, belongs=belongs: leaf[belongs], drawn)
        batches.append(drawn)
        tried, found = tried + 1, found + len(drawn.start)
        if found >= count:
            return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *batches)
    raise LevelError(
        f"{tried * _BATCH:,} {_title(spec)} gave {found} with layouts of the set {name!r} where {count} are needed; "
        "there are too few different layouts: take a larger size or another kind, or hold none out"
    )


@partial(jax.jit, static_argnums=1)
def _draw(key: jax.Array, spec: MazeSpec) -> tuple[Level, jax.Array]:
    # One batch size for every set, so that it is compiled once.
    levels = batch(key, spec, _BATCH)
    return levels, names(levels, spec)


_BATCH, _MOST_BATCHES = 4096, 1000
_BARREN_BATCHES = 16  # after which a set of which nothing was found is given up: its share is below 1 in 10,000


def fingerprint(levels: Level) -> str:
    """sha256 of a batch of levels: equal sets have equal fingerprints."""
    parts = [
        np.packbits(np.asarray(levels.walls)),
        np.asarray(levels.start, np.int32),
        np.asarray(levels.goal, np.int32),
    ]
    if not isinstance(levels.lava, tuple):
        parts.append(np.packbits(np.asarray(levels.lava)))
    parts += [np.asarray(cells, np.int32) for cells in (levels.key, levels.door, levels.others)]  # nothing of ()
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
    layouts = digest(np.asarray(jax.jit(jax.vmap(carve, (0, None)), static_argnums=1)(opened, rooms)))
    split = split_of(layouts)
    classes = lambda number: len({tuple(name) for name in layouts[split == number].tolist()})
    return {name: (int(np.sum(split == number)), classes(number)) for number, name in enumerate(SPLITS)}


def describe(spec: MazeSpec, held_out: bool) -> str:
    """One line for people: how many layouts there are, where that is known, and how many are held out."""
    what = _title(spec)
    if spec.kind in TREES:
        counts = [count_layouts(size) for size in spec.sizes]
        # Beyond 9x9 each size has a millionfold of all smaller ones together.
        count = sum(counts) if all(isinstance(count, int) for count in counts) else counts[-1]
        what += f": {count:,} layouts" if isinstance(count, int) else f": about 10^{count:.0f} layouts"
        what += ", more with loops" if spec.braid else ""
    if not held_out:
        return f"{what}; none held out"
    censuses = [small_census(size) for size in spec.sizes] if spec.kind in TREES and not spec.braid else [None]
    if None in censuses:
        return f"{what}; held out by symmetry class: 1/8 for validation, 1/4 for test"
    total = {
        name: tuple(sum(census[name][part] for census in censuses if census) for part in (0, 1)) for name in SPLITS
    }
    shares = (f"{classes} ({layouts} layouts) for {name}" for name, (layouts, classes) in total.items())
    classes = sum(classes for _, classes in total.values())
    return f"{what} in {classes} symmetry class{'' if classes == 1 else 'es'}: {', '.join(shares)}"


def _title(spec: MazeSpec) -> str:
    sides = " to ".join(f"{size}x{size}" for size in dict.fromkeys((spec.sizes[0], spec.size)))
    return f"{sides} {spec.kind} mazes" if spec.kind in TREES else f"{sides} levels of {spec.kind}"


def _is_tree(ends: np.ndarray) -> bool:
    group = list(range(int(ends.max()) + 1))
    for a, b in ends.tolist():
        if group[a] == group[b]:
            return False
        group = [group[a] if label == group[b] else label for label in group]
    return True
