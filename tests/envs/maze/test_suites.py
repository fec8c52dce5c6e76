import math

import numpy as np
import plain
import pytest

from lepton_jax.envs.maze import suites
from lepton_jax.envs.maze.level import SPLITS, LevelError, digest, split_of
from lepton_jax.envs.maze.spec import MazeSpec


@pytest.mark.parametrize(
    ("spec", "name", "seed", "held_out", "expected"),
    [
        (MazeSpec(7), "train", 0, True, "095f33ef446ae8587b89feb9b4afba223e117247cb570c39626cb3b67355a1c0"),
        (MazeSpec(7), "validation", 0, True, "40eb803c07bac94b1303ed192bb9c58832552a67501a1db821d9c85d89896f4d"),
        (MazeSpec(13), "test", 0, True, "17fa9cc69318447704718c9ab882d9102b64e28792a387d991c1ab4dd6732ebf"),
        (MazeSpec(13), "validation", 5, False, "a2264a9a8cdef2e9abc2aa03ef31889434e77c822db74860d08b14e00b2e3bd0"),
        (MazeSpec(9, 0.25), "test", 3, True, "5ca78d0acb9d84ca3ba0bdfdae00bbf2420beca1ffb8cc2062753092f985fc82"),
    ],
)
def test_suites_are_frozen(spec, name, seed, held_out, expected):
    """Written down when there was one kind of maze; a result from then can still be compared with."""
    assert suites.fingerprint(suites.suite(name, spec, seed, 64, held_out)) == expected


MIXED = MazeSpec(7, kind="blocks", min_size=5, lava=0.3)


@pytest.fixture(scope="module")
def sets():
    return {name: suites.suite(name, MIXED, 2, 150) for name in SPLITS}


def test_sets_are_disjoint_by_the_layout_without_its_padding(sets):
    classes = {}
    for name, levels in sets.items():
        assert levels.walls.shape == (150, 7, 7)
        assert levels.lava.shape == (150, 7, 7)
        sides = []
        for walls in levels.walls:
            rows, columns = np.nonzero(~walls)
            least = max(rows.max(), columns.max()) + 2
            sides.append(max(5, least + 1 - least % 2))
            layout = walls[: sides[-1], : sides[-1]]
            assert split_of(digest(layout)) == SPLITS.index(name)
            images = [np.rot90(side, turns) for side in (layout, layout.T) for turns in range(4)]
            classes.setdefault(name, set()).add((sides[-1], min(image.tobytes() for image in images)))
        assert set(sides) == {5, 7}
    assert not classes["train"] & classes["validation"]
    assert not (classes["train"] | classes["validation"]) & classes["test"]


def test_levels_of_any_kind_are_solvable(sets):
    for levels in sets.values():
        for walls, lava, start, goal in zip(levels.walls, levels.lava, levels.start, levels.goal, strict=True):
            assert plain.distances(walls | lava, int(goal)).reshape(-1)[start] > 0


def test_the_fingerprint_sees_every_field(sets):
    levels = sets["test"]
    start, lava = levels.start.copy(), levels.lava.copy()
    start[-1], lava[-1, -1, -1] = 0, True
    cells = np.arange(150)
    changed = [
        levels,
        levels._replace(start=start),
        levels._replace(lava=lava),
        levels._replace(lava=()),
        levels._replace(key=cells, door=cells + 1),
        levels._replace(key=cells + 1, door=cells),
        levels._replace(others=cells[:, None]),
    ]
    assert len({suites.fingerprint(one) for one in changed}) == len(changed)


def test_a_set_that_cannot_be_filled():
    with pytest.raises(LevelError, match=r"65,536 5x5 perfect mazes gave 0 .*set 'test' where 3 are.* a larger size"):
        suites.suite("test", MazeSpec(5), 0, 3)


@pytest.mark.parametrize(
    ("spec", "held_out", "expected"),
    [
        (
            MazeSpec(7),
            True,
            "7x7 perfect mazes: 192 layouts in 28 symmetry classes: 17 (118 layouts) for train, "
            "4 (28 layouts) for validation, 7 (46 layouts) for test",
        ),
        (
            MazeSpec(7, min_size=5),
            True,
            "5x5 to 7x7 perfect mazes: 196 layouts in 29 symmetry classes: 18 (122 layouts) for train, "
            "4 (28 layouts) for validation, 7 (46 layouts) for test",
        ),
        (
            MazeSpec(13, 0.25),
            True,
            "13x13 perfect mazes: about 10^14 layouts, more with loops; held out by symmetry class: "
            "1/8 for validation, 1/4 for test",
        ),
        (MazeSpec(9, kind="wilson", min_size=5), False, "5x5 to 9x9 wilson mazes: 100,548 layouts; none held out"),
        (
            MazeSpec(13, kind="caves"),
            True,
            "13x13 levels of caves; held out by symmetry class: 1/8 for validation, 1/4 for test",
        ),
        (MazeSpec(9, kind="rooms"), False, "9x9 levels of rooms; none held out"),
    ],
)
def test_sets_in_words(spec, held_out, expected):
    assert suites.describe(spec, held_out) == expected


def test_layouts_are_counted():
    assert [suites.count_layouts(size) for size in (3, 5, 7)] == [1, 4, len(list(plain.spanning_trees(3)))]
    # The number of spanning trees of the 7 x 7 grid, OEIS A007341.
    assert suites.count_layouts(15) == pytest.approx(math.log10(19872369301840986112))
