import itertools
from collections import deque

import numpy as np
import plain
import pytest

from lepton_jax.envs.maze import measure
from lepton_jax.envs.maze.level import Level, digest, stack
from lepton_jax.envs.maze.text import from_str


def shortest(level: Level) -> int:
    """Breadth-first search over cell and key in hand; -1 without a way."""
    first = (int(level.start), False)
    steps, todo = {first: 0}, deque([first])
    while todo:
        cell, held = todo.popleft()
        if cell == level.goal:
            return steps[cell, held]
        for action in range(4):
            there = plain.move(level.walls, cell, action)
            if level.lava.reshape(-1)[there] or (there == level.door and not held):
                continue
            after = (there, held or there == level.key)
            if after not in steps:
                steps[after] = steps[cell, held] + 1
                todo.append(after)
    return -1


@pytest.fixture(scope="module")
def levels() -> list[Level]:
    """Levels with lava, key and door anywhere, solvable or not."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(900):
        walls = plain.random_walls(rng, 7, 9, 0.35)
        free = rng.permutation(np.flatnonzero(~walls))
        if len(free) < 9:
            continue
        lava = np.zeros(63, bool)
        lava[free[4 : 4 + len(free) // 8]] = True
        start, goal, key, door = free[:4].astype(np.int32)
        made.append(Level(walls, start, goal, lava.reshape(7, 9), key, door))
    return made


def test_lengths_equal_a_search_over_cell_and_key(levels):
    expected = [shortest(level) for level in levels]
    assert measure.steps(stack(levels)).tolist() == expected
    locked = [shortest(level._replace(key=np.int32(0))) for level in levels]
    by_key = [length for length, without in zip(expected, locked, strict=True) if length != without]
    assert len(by_key) > 20  # the way by the key is taken at times, as the only or as the shorter one
    assert -1 in expected


def test_routes_are_ways_of_that_length(levels):
    for level in levels[:60]:
        length = shortest(level)
        if length < 0:
            continue
        way = measure.route(level)
        assert (way[0], way[-1], len(way) - 1) == (level.start, level.goal, length)
        assert all(abs(after - before) in (1, 9) for before, after in itertools.pairwise(way))
        assert not (level.walls | level.lava).reshape(-1)[way].any()
        assert level.door not in way or level.key in way[: way.index(level.door)]


def test_levels_of_all_sorts_are_measured_together():
    texts = ["#####\n#S G#\n#####", "######\n#K  S#\n##D###\n##G  #\n######", "####\n#S #\n#~ #\n#G #\n####"]
    several = [from_str(text) for text in texts]
    assert measure.lengths(several).tolist() == [2, 3 + 1 + 2, 4]
    names = measure.layouts(several)
    for name, level in zip(names, several, strict=True):
        np.testing.assert_array_equal(name, digest(level.walls))
    assert len(np.unique(names, axis=0)) == 3


def test_dead_ends():
    rng = np.random.default_rng(1)
    for _ in range(20):
        walls = plain.random_walls(rng, 8, 11, 0.4)
        free = np.flatnonzero(~walls).tolist()
        ways = [sum(plain.move(walls, cell, action) != cell for action in range(4)) for cell in free]
        assert measure.dead_ends(walls) == sum(count <= 1 for count in ways)
