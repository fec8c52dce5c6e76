"""Levels a second at batch 1,024: perfect mazes with and without distances, and every other kind at 13x13."""

from __future__ import annotations

from typing import Any

import jax

from bench.measure import Subject, compiled, rates, tell
from lepton_jax.envs.maze.generate import batch, split_levels
from lepton_jax.envs.maze.oracle import distances
from lepton_jax.envs.maze.spec import MazeSpec

BATCH = 1024
OTHERS = {
    "perfect, anisotropic": MazeSpec(13, weights="anisotropic"),
    "perfect, smooth": MazeSpec(13, weights="smooth"),
    "perfect, 7x7 to 13x13": MazeSpec(13, min_size=7),
    "perfect, 10 to 20 steps": MazeSpec(13, min_distance=10, max_distance=20),
    "backtracker": MazeSpec(13, kind="backtracker"),
    "wilson": MazeSpec(13, kind="wilson"),
    "blocks": MazeSpec(13, kind="blocks"),
    "rooms": MazeSpec(13, kind="rooms"),
    "crossings": MazeSpec(13, kind="crossings"),
    "caves": MazeSpec(13, kind="caves"),
    "blocks, door, 3 goals, lava": MazeSpec(13, kind="blocks", door=True, goals=3, lava=0.3),
}


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
            tell(f"perfect {size}x{size}{name}: compiling")
            call, _ = compiled(function, jax.random.key(0))
            asked = 60e3 if (size, name) == (13, ", with distances") else None
            subjects[f"perfect {size}x{size}{name}"] = Subject(call, BATCH, "levels/s", asked)
    for name, spec in OTHERS.items():
        tell(f"13x13 {name}: compiling")
        call, _ = compiled(lambda key, spec=spec: batch(key, spec, BATCH), jax.random.key(0))
        subjects[f"13x13 {name}"] = Subject(call, BATCH, "levels/s")
    return rates(subjects, 5 if quick else 20)
