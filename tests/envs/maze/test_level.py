import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest

from lepton_jax.envs.maze import level as levels
from lepton_jax.envs.maze.level import Level, LevelError
from lepton_jax.envs.maze.text import from_str, to_str

digest, split_of = jax.jit(levels.digest), jax.jit(levels.split_of)

TEXT = """\
#######
#S    #
# ### #
#   # #
### ###
#G    #
#######"""

OBLONG = """\
#########
#S #    #
#    # G#
#########"""

FULL = """\
#######
#S 2 K#
#D### #
#G3~  #
#######"""


def images(walls: np.ndarray) -> list[np.ndarray]:
    return [np.rot90(side, turns) for side in (walls, walls.T) for turns in range(4)]


def canonical(walls: np.ndarray) -> bytes:
    return min(image.tobytes() for image in images(walls))


@pytest.fixture(scope="module")
def small() -> np.ndarray:
    return np.stack(list(plain.spanning_trees(3)))


@pytest.mark.parametrize(("text", "count"), [(TEXT, 8), (OBLONG, 4)])
def test_symmetries(text, count):
    level = from_str(text)
    found = levels.symmetries(level)
    assert to_str(found[0]) == text
    assert len({to_str(image) for image in found}) == count
    # Start and goal follow: the number of steps between them, and each one's walls around it, stay as they are.
    for image in found:
        steps = [
            plain.distances(np.asarray(one.walls), int(one.goal)).reshape(-1)[int(one.start)] for one in (level, image)
        ]
        assert steps[0] == steps[1]
    marks = np.zeros(level.walls.shape, int)
    marks.reshape(-1)[[int(level.start), int(level.goal)]] = 1, 2
    turned = [np.rot90(side, turns) for side in (marks, marks[::-1]) for turns in range(4)]
    expected = {mark.tobytes() for mark in turned if mark.shape == marks.shape}
    seen = set()
    for image in found:
        mark = np.zeros(level.walls.shape, int)
        mark.reshape(-1)[[int(image.start), int(image.goal)]] = 1, 2
        seen.add(mark.tobytes())
    assert seen == expected


def test_digest_names_the_class(small):
    assert len(small) == 192  # the number of spanning trees of the 3x3 grid
    assert len({walls.tobytes() for walls in small}) == 192
    names = [tuple(name) for name in np.asarray(digest(jnp.asarray(small))).tolist()]
    by_digest = {name: {canonical(w) for w, n in zip(small, names, strict=True) if n == name} for name in set(names)}
    assert len(by_digest) == 28
    assert all(len(classes) == 1 for classes in by_digest.values())
    assert len({canonical(walls) for walls in small}) == 28


def test_digest_is_the_same_for_all_images():
    walls = from_str(TEXT).walls
    assert len(np.unique(digest(jnp.asarray(np.stack(images(walls)))), axis=0)) == 1
    oblong = from_str(OBLONG).walls
    assert len({tuple(np.asarray(digest(jnp.asarray(image))).tolist()) for image in images(oblong)}) == 1


def test_digest_tells_near_layouts_apart():
    rng = np.random.default_rng(0)
    walls = plain.random_walls(rng, 13, 13, 0.4)
    near = np.stack([walls] * 122)
    for number in range(121):
        near[number, 1 + number // 11, 1 + number % 11] ^= True
    names = np.asarray(digest(jnp.asarray(near)))
    assert len({canonical(one) for one in near}) == 122
    assert len(np.unique(names, axis=0)) == 122
    assert len(np.unique(names[:, 0])) == len(np.unique(names[:, 1])) == 122


def test_split_shares_at_7x7(small):
    split = np.asarray(split_of(digest(jnp.asarray(small))))
    classes = {canonical(walls): int(part) for walls, part in zip(small, split, strict=True)}
    assert all(classes[canonical(walls)] == part for walls, part in zip(small, split, strict=True))
    assert np.bincount(list(classes.values())).tolist() == [17, 4, 7]
    assert np.bincount(split).tolist() == [118, 28, 46]


def test_the_single_class_at_5x5_is_for_training():
    walls = np.stack(list(plain.spanning_trees(2)))
    assert np.asarray(split_of(digest(jnp.asarray(walls)))).tolist() == [0, 0, 0, 0]


def test_split_shares_of_many_layouts():
    rng = np.random.default_rng(1)
    walls = np.stack([plain.random_walls(rng, 11, 13, 0.5) for _ in range(8000)])
    split = np.asarray(split_of(digest(jnp.asarray(walls))))
    assert split.dtype == np.int32
    share = np.bincount(split, minlength=3) / len(split)
    expected = np.array([5, 1, 2]) / 8
    assert np.all(np.abs(share - expected) < 4.5 * np.sqrt(expected * (1 - expected) / len(split)))


def test_pad():
    level = from_str(OBLONG)
    padded = levels.pad(level, 6, 12)
    walls = np.asarray(padded.walls)
    assert walls.shape == (6, 12)
    np.testing.assert_array_equal(walls[:4, :9], level.walls)
    assert walls[4:].all()
    assert walls[:, 9:].all()
    for before, after in ((level.start, padded.start), (level.goal, padded.goal)):
        assert divmod(int(before), 9) == divmod(int(after), 12)
    assert from_str(to_str(padded)).start == padded.start


def test_pad_a_batch():
    one, other = from_str(OBLONG), levels.symmetries(from_str(OBLONG))[1]
    batch = levels.pad(levels.stack([one, other]), 5, 11)
    for number, level in enumerate((one, other)):
        alone = levels.pad(level, 5, 11)
        for field in range(3):
            np.testing.assert_array_equal(batch[field][number], alone[field])


def test_all_fields_are_padded_stacked_and_turned():
    """Marks on a plain map, moved by NumPy, say where each thing must come to lie."""
    glyphs = np.array([list(row) for row in FULL.split("\n")])
    level = from_str(FULL)
    padded = levels.pad(levels.stack([level, level]), 7, 9)
    wanted = np.pad(glyphs, ((0, 2), (0, 2)), constant_values="#")
    assert padded.lava.dtype == bool
    for number in range(2):
        assert to_str(jax.tree.map(lambda leaf, number=number: leaf[number], padded)).split("\n") == text_of(wanted)
    images = levels.symmetries(level)
    turned = [glyphs, glyphs[::-1], glyphs[:, ::-1], glyphs[::-1, ::-1]]
    assert sorted(to_str(image).split("\n") for image in images) == sorted(map(text_of, turned))
    assert {leaf.dtype for image in images for leaf in jax.tree.leaves(image)} == {np.dtype(bool), np.dtype(np.int32)}
    # Lava, key, door and further goals are no layout: the digest is that of the walls alone.
    np.testing.assert_array_equal(levels.digest(level.walls), levels.digest(glyphs == "#"))


def text_of(glyphs: np.ndarray) -> list[str]:
    return ["".join(row) for row in glyphs]


@pytest.mark.parametrize("text", [FULL, OBLONG])
def test_crop_undoes_pad(text):
    level = from_str(text)
    height, width = level.walls.shape
    assert to_str(levels.crop(levels.pad(level, height + 2, width + 3), height, width)) == text
    with pytest.raises(LevelError, match=f"cropped to {height} x {width - 1} cells would lose free ones"):
        levels.crop(level._replace(walls=np.zeros_like(level.walls)), height, width - 1)


def test_pad_refuses_to_cut():
    with pytest.raises(LevelError, match="a level of 4 x 9 cells does not fit into 4 x 8"):
        levels.pad(from_str(OBLONG), 4, 8)


def test_stack():
    level = from_str(TEXT)
    batch = levels.stack([level, level, level])
    assert isinstance(batch, Level)
    assert batch.walls.shape == (3, 7, 7)
    assert batch.start.tolist() == [8, 8, 8]
    assert batch.goal.dtype == np.int32


def test_stack_refuses_different_sizes():
    with pytest.raises(LevelError, match="level 2 has 4 x 9 cells where level 1 has 7 x 7; pad"):
        levels.stack([from_str(TEXT), from_str(OBLONG)])


def test_stack_gives_levels_without_lava_a_map_without_any():
    wet, dry = from_str("#####\n#S~ #\n# G #\n#####"), from_str("#####\n#S  #\n# G #\n#####")
    batch = levels.stack([dry, wet])
    assert batch.lava.dtype == bool
    assert batch.lava.nonzero() == (1, 1, 2)
    assert levels.stack([dry, dry]).lava == ()


def test_stack_refuses_keys_beside_none():
    with pytest.raises(LevelError, match="level 2 has 0 keys where level 1 has 1; only levels with equally many"):
        levels.stack([from_str("######\n#SKDG#\n######"), from_str("######\n#S  G#\n######")])


def test_stack_counts_further_goals():
    one, two, none = (from_str(f"######\n#SG{more}#\n######") for more in ("2 ", "23", "  "))
    assert levels.stack([two, two]).others.tolist() == [[9, 10], [9, 10]]
    with pytest.raises(LevelError, match="level 2 has 1 further goals where level 1 has 2; only levels with equally"):
        levels.stack([two, one])
    with pytest.raises(LevelError, match="level 2 has 0 further goals where level 1 has 1"):
        levels.stack([one, none])


def test_reachable():
    rng = np.random.default_rng(3)
    for _ in range(20):
        walls = plain.random_walls(rng, 9, 12, 0.4)
        cell, _ = plain.two_cells(rng, walls)
        np.testing.assert_array_equal(levels.reachable(walls, cell), plain.distances(walls, cell) >= 0)
