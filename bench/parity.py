"""The maze under MiniGrid's rules beside MiniGrid itself: the same layouts and actions, every step compared."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.engine.program import make_hypers, program_shape
from lepton_jax.engine.setup import make_rules
from lepton_jax.envs.maze import rules as maze_rules
from lepton_jax.envs.maze.level import Level
from lepton_jax.envs.maze.observe import observe
from lepton_jax.presets import from_preset
from lepton_jax.settings import overlay

# MiniGrid numbers directions from the east on, clockwise; we from the north.
_TURN = 1


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.parity", description=__doc__, allow_abbrev=False)
    parser.add_argument("--steps", type=int, default=100_000, help="steps compared (default: 100000)")
    parser.add_argument("--seed", type=int, default=0, help="of layouts and actions (default: 0)")
    args = parser.parse_args(argv)
    told = compare(args.steps, args.seed)
    for what, count in sorted(told.items()):
        print(f"{count:>9,}  {what}")
    return 0 if told["steps equal"] == args.steps else 1


def compare(steps: int, seed: int, count: int = 50, size: int = 9, limit: int = 60) -> Counter[str]:
    """Plays ``count`` random levels side by side until ``steps`` steps are compared; what was seen, and how often."""
    config = overlay(from_preset("minigrid"), {"env": {"size": size, "time_limit": limit, "lava": 0.1}}, "parity")
    rules, hypers = make_rules(config), make_hypers(config, program_shape(config))
    rng = np.random.default_rng(seed)
    level = _levels(rng, count, size)
    theirs = [_minigrid(jax.tree.map(lambda leaf, n=n: leaf[n], level), rules.view, limit) for n in range(count)]
    images = [env.reset()[0]["image"] for env in theirs]
    begin = jax.jit(maze_rules.begin, static_argnums=1)(level, rules)

    @jax.jit
    def step(state: Any, action: jax.Array) -> Any:
        moved = maze_rules.transition(state, action, None, hypers, rules)
        ended = moved.terminated | moved.truncated
        following = jax.tree.map(lambda new, old: jnp.where(ended, new, old), begin, moved.state)
        return following, moved, observe(following, rules)

    look = jax.jit(observe, static_argnums=1)
    state, seen, told = begin, np.asarray(look(begin, rules)), Counter()
    while told["steps equal"] + told["steps that differ"] < steps:
        # Mostly forward, so that a random walk gets somewhere.
        actions = rng.choice(3, count, p=[0.2, 0.2, 0.6])
        same = [_sees(seen[n], images[n]) for n in range(count)]
        state, moved, seen = step(state, jnp.asarray(actions))
        seen = np.asarray(seen)
        reward, terminated, truncated = (np.asarray(x) for x in (moved.reward, moved.terminated, moved.truncated))
        for n, env in enumerate(theirs):
            if told["steps equal"] + told["steps that differ"] == steps:
                break
            after, their_reward, their_end, their_late, _ = env.step(int(actions[n]))
            equal = (
                same[n]
                and abs(float(their_reward) - float(reward[n])) < 1e-6
                and bool(their_end) == bool(terminated[n])
                and bool(their_late and not their_end) == bool(truncated[n])
            )
            told["steps equal" if equal else "steps that differ"] += 1
            told["goals reached"] += float(their_reward) > 0
            told["ends in lava"] += bool(their_end) and float(their_reward) == 0
            told["times out"] += bool(truncated[n])
            images[n] = env.reset()[0]["image"] if their_end or their_late else after["image"]
    return told


def _levels(rng: np.random.Generator, count: int, size: int) -> Level:
    """Random maps, open enough to be walked, with some lava."""
    walls = np.ones((count, size, size), bool)
    walls[:, 1:-1, 1:-1] = rng.random((count, size - 2, size - 2)) < 0.25
    lava = np.zeros_like(walls)
    ends = []
    for n in range(count):
        free = rng.permutation(np.flatnonzero(~walls[n]))
        ends.append(free[:2])
        lava[n].reshape(-1)[free[2:5]] = True
    start, goal = np.array(ends, np.int32).T
    return Level(walls, start, goal, lava)


def _sees(ours: np.ndarray, image: np.ndarray) -> bool:
    """Whether our planes wall, goal, lava, seen say what MiniGrid's image (columns, rows, 3) does."""
    from minigrid.core.constants import OBJECT_TO_IDX as NUMBER

    kinds = image[:, :, 0].T
    theirs = [kinds == NUMBER["wall"], kinds == NUMBER["goal"], kinds == NUMBER["lava"], kinds != NUMBER["unseen"]]
    return np.array_equal(ours, np.stack(theirs))


def _minigrid(level: Level, view: int, limit: int) -> Any:
    """MiniGrid on one of our levels."""
    from minigrid.core.grid import Grid
    from minigrid.core.mission import MissionSpace
    from minigrid.core.world_object import Goal, Lava, Wall
    from minigrid.minigrid_env import MiniGridEnv

    height, width = level.walls.shape
    place = lambda cell: (int(cell) % width, int(cell) // width)

    class Ours(MiniGridEnv):
        def _gen_grid(self, width: int, height: int) -> None:
            self.grid = Grid(width, height)
            for row in range(height):
                for column in range(width):
                    if level.walls[row, column]:
                        self.grid.set(column, row, Wall())
                    elif level.lava[row, column]:
                        self.grid.set(column, row, Lava())
            self.grid.set(*place(level.goal), Goal())
            self.agent_pos, self.agent_dir = place(level.start), maze_rules.EAST - _TURN
            self.mission = "reach the goal"

    mission = MissionSpace(mission_func=lambda: "reach the goal")
    return Ours(mission, width=width, height=height, max_steps=limit, agent_view_size=view, see_through_walls=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
