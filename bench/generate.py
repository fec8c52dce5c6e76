"""Perfect mazes a second at batch 1,024, with and without distances."""

from __future__ import annotations

from typing import Any

import jax

from bench.measure import Subject, compiled, rates
from lepton_jax.envs.maze.generate import MazeSpec, batch, split_levels
from lepton_jax.envs.maze.oracle import distances

BATCH = 1024


def rows(quick: bool) -> list[dict[str, Any]]:
    subjects = {}
    for size in (7, 9, 13, 21):
        spec = MazeSpec(size)

        def plain(key: jax.Array, spec: MazeSpec = spec) -> Any:
            return batch(key, spec, BATCH)

        def solved(key: jax.Array, plain: Any = plain) -> Any:
            levels = plain(key)
            return levels, distances(levels.walls, levels.goal)

        def training(key: jax.Array, spec: MazeSpec = spec) -> Any:
            return split_levels(key, spec, BATCH, 0)

        for name, function in (("", plain), (", with distances", solved), (", training layouts only", training)):
            call, _ = compiled(function, jax.random.key(0))
            asked = 60e3 if (size, name) == (13, ", with distances") else None
            subjects[f"perfect {size}x{size}{name}"] = Subject(call, BATCH, "levels/s", asked)
    return rates(subjects, 5 if quick else 20)
