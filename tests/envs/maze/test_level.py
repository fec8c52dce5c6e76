import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest

from lepton_jax.envs.maze import level as levels
from lepton_jax.envs.maze.level import Level, LevelError

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


def images(walls: np.ndarray) -> list[np.ndarray]:
    return [np.rot90(side, turns) for side in (walls, walls.T) for turns in range(4)]


def canonical(walls: np.ndarray) -> bytes:
    return min(image.tobytes() for image in images(walls))


@pytest.fixture(scope="module")
def small() -> np.ndarray:
    return np.stack(list(plain.spanning_trees(3)))


def test_text_is_read():
    level = levels.from_str(TEXT)
    assert np.shape(level.walls) == (7, 7)
    assert level.walls.dtype == bool
    assert (int(level.start), int(level.goal)) == (8, 36)
    for number, glyph in enumerate(TEXT.replace("\n", "")):
        assert level.walls.reshape(-1)[number] == (glyph == "#")


@pytest.mark.parametrize("text", [TEXT, OBLONG])
def test_text_round_trip(text):
    assert levels.to_str(levels.from_str(text)) == text
    assert levels.to_str(levels.from_str(text.replace("\n", "\r\n") + "\r\n")) == text


def test_several_levels_round_trip():
    text = f"{TEXT}\n\n{OBLONG}\n"
    both = levels.from_text(f"\n\n{TEXT}\n\n   \n{OBLONG}\n\n")
    assert [np.shape(level.walls) for level in both] == [(7, 7), (4, 9)]
    assert levels.to_text(both) == text
    with pytest.raises(LevelError, match="expected one level, found 2"):
        levels.from_str(text)


def edit(row: int, column: int, glyph: str, text: str = TEXT) -> str:
    """Rows and columns count from 1, as in the messages."""
    rows = text.split("\n")
    rows[row - 1] = rows[row - 1][: column - 1] + glyph + rows[row - 1][column:]
    return "\n".join(rows)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (edit(5, 4, "#"), ["row 2, column 2 ", "(line 2)", "no path"]),
        (edit(2, 2, " "), ["no start 'S'"]),
        (edit(6, 2, " "), ["no goal 'G'"]),
        (edit(2, 6, "S"), ["row 2, column 6 ", "second start 'S'"]),
        (edit(6, 6, "G"), ["row 6, column 6 ", "second goal 'G'"]),
        (edit(4, 7, ""), ["row 4 ", "6 columns where the first row has 7"]),
        (edit(4, 7, "##"), ["row 4 ", "8 columns where the first row has 7"]),
        (edit(3, 2, "x"), ["row 3, column 2 ", "unknown character 'x'"]),
        (edit(1, 3, " "), ["row 1, column 3 ", "border is open"]),
        (edit(7, 5, " "), ["row 7, column 5 ", "border is open"]),
        (edit(3, 1, " "), ["row 3, column 1 ", "border is open"]),
        (edit(6, 7, " "), ["row 6, column 7 ", "border is open"]),
        ("####\n####", ["2 x 4 cells", "3 to 255"]),
        ("##\n##\n##", ["3 x 2 cells"]),
        ("#" * 256 + "\n#SG" + " " * 252 + "#\n" + "#" * 256, ["3 x 256 cells"]),
    ],
)
def test_errors_name_the_place(text, parts):
    with pytest.raises(LevelError) as caught:
        levels.from_str(text, source="mazes.txt")
    message = str(caught.value)
    assert message.startswith("mazes.txt: level 1")
    for part in parts:
        assert part in message


def test_error_in_a_later_level_counts_rows_from_its_own_and_lines_from_the_file():
    with pytest.raises(LevelError, match=r"mazes.txt: level 2, row 3, column 2 \(line 11\): unknown character"):
        levels.from_text(f"{TEXT}\n\n{edit(3, 2, 'x')}", source="mazes.txt")


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_empty_text(text):
    with pytest.raises(LevelError, match=r"mazes.txt: holds no level"):
        levels.from_str(text, source="mazes.txt")


@pytest.mark.parametrize(("text", "count"), [(TEXT, 8), (OBLONG, 4)])
def test_symmetries(text, count):
    level = levels.from_str(text)
    found = levels.symmetries(level)
    assert levels.to_str(found[0]) == text
    assert len({levels.to_str(image) for image in found}) == count
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
    walls = levels.from_str(TEXT).walls
    assert len(np.unique(digest(jnp.asarray(np.stack(images(walls)))), axis=0)) == 1
    oblong = levels.from_str(OBLONG).walls
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
    level = levels.from_str(OBLONG)
    padded = levels.pad(level, 6, 12)
    walls = np.asarray(padded.walls)
    assert walls.shape == (6, 12)
    np.testing.assert_array_equal(walls[:4, :9], level.walls)
    assert walls[4:].all()
    assert walls[:, 9:].all()
    for before, after in ((level.start, padded.start), (level.goal, padded.goal)):
        assert divmod(int(before), 9) == divmod(int(after), 12)
    assert levels.from_str(levels.to_str(padded)).start == padded.start


def test_pad_a_batch():
    one, other = levels.from_str(OBLONG), levels.symmetries(levels.from_str(OBLONG))[1]
    batch = levels.pad(levels.stack([one, other]), 5, 11)
    for number, level in enumerate((one, other)):
        alone = levels.pad(level, 5, 11)
        for field in range(3):
            np.testing.assert_array_equal(batch[field][number], alone[field])


def test_pad_refuses_to_cut():
    with pytest.raises(LevelError, match="a level of 4 x 9 cells does not fit into 4 x 8"):
        levels.pad(levels.from_str(OBLONG), 4, 8)


def test_stack():
    level = levels.from_str(TEXT)
    batch = levels.stack([level, level, level])
    assert isinstance(batch, Level)
    assert batch.walls.shape == (3, 7, 7)
    assert batch.start.tolist() == [8, 8, 8]
    assert batch.goal.dtype == np.int32


def test_stack_refuses_different_sizes():
    with pytest.raises(LevelError, match="level 2 has 4 x 9 cells where level 1 has 7 x 7; pad"):
        levels.stack([levels.from_str(TEXT), levels.from_str(OBLONG)])
