import jax
import numpy as np
import pytest

from lepton_jax.envs.maze import text as texts
from lepton_jax.envs.maze.level import LevelError

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


def edit(row: int, column: int, glyph: str, text: str = TEXT) -> str:
    """Rows and columns count from 1, as in the messages."""
    rows = text.split("\n")
    rows[row - 1] = rows[row - 1][: column - 1] + glyph + rows[row - 1][column:]
    return "\n".join(rows)


def test_text_is_read():
    level = texts.from_str(TEXT)
    assert np.shape(level.walls) == (7, 7)
    assert level.walls.dtype == bool
    assert (int(level.start), int(level.goal)) == (8, 36)
    for number, glyph in enumerate(TEXT.replace("\n", "")):
        assert level.walls.reshape(-1)[number] == (glyph == "#")
    assert level[3:] == ((), (), (), ())


def test_everything_a_level_can_have_is_read():
    assert texts.from_str(FULL.replace("~", " ")).lava == ()
    level = texts.from_str(FULL)
    cells = FULL.replace("\n", "")
    assert level.lava.dtype == bool
    assert np.flatnonzero(level.lava).tolist() == [cells.index("~")]
    assert [int(cell) for cell in (level.key, level.door)] == [cells.index("K"), cells.index("D")]
    assert level.others.tolist() == [cells.index("2"), cells.index("3")]
    assert {leaf.dtype for leaf in jax.tree.leaves(level)} == {np.dtype(bool), np.dtype(np.int32)}
    assert int(level.walls.sum()) == cells.count("#")


@pytest.mark.parametrize("text", [TEXT, OBLONG, FULL, "####\n#SG#\n#~2#\n####"])
def test_text_round_trip(text):
    assert texts.to_str(texts.from_str(text)) == text
    for end in ("\r\n", "\r"):
        assert texts.to_str(texts.from_str(text.replace("\n", end) + end)) == text


def test_several_levels_round_trip():
    text = f"{TEXT}\n\n{OBLONG}\n\n{FULL}\n"
    several = texts.from_text(f"\n\n{TEXT}\n\n   \n{OBLONG}\n\n{FULL}\n\n")
    assert [np.shape(level.walls) for level in several] == [(7, 7), (4, 9), (5, 7)]
    assert texts.to_text(several) == text
    with pytest.raises(LevelError, match="expected one level, found 3"):
        texts.from_str(text)


DOOR = """\
########
#S #G  #
#  D   #
# K#   #
########"""

FAULTS = [
    # Rows and characters.
    (edit(3, 2, "x"), ["row 3, column 2 (line 3)", "unknown character 'x'", "use '#'"]),
    (edit(2, 2, "s"), ["row 2, column 2 (line 2)", "unknown character 's'", "write 'S'"]),
    (edit(4, 3, "\t"), ["row 4, column 3 ", "a tab", "one space"]),
    (edit(4, 3, "\f"), ["row 4, column 3 ", r"unknown character '\x0c'"]),
    (edit(4, 7, ""), ["row 4 ", "6 columns where the first row has 7", "equally long"]),
    (edit(4, 7, "##"), ["row 4 ", "8 columns where the first row has 7"]),
    (edit(4, 7, "#  "), ["row 4, column 8 ", "spaces after the last column; delete"]),
    # Shape and border.
    ("####\n####", ["2 x 4 cells", "too small", "3 to 255"]),
    ("##\n##\n##", ["3 x 2 cells", "too small"]),
    ("#" * 256 + "\n#SG" + " " * 252 + "#\n" + "#" * 256, ["3 x 256 cells", "too large"]),
    (edit(1, 3, " "), ["row 1, column 3 ", "border is open", "close it"]),
    (edit(7, 5, " "), ["row 7, column 5 ", "border is open"]),
    (edit(3, 1, " "), ["row 3, column 1 ", "border is open"]),
    (edit(6, 7, " "), ["row 6, column 7 ", "border is open"]),
    (edit(6, 7, "G", edit(6, 2, " ")), ["row 6, column 7 ", "'G' lies on the border", "move it inside"]),
    (edit(1, 2, "~"), ["row 1, column 2 ", "'~' lies on the border"]),
    # What there must be one of.
    (edit(2, 2, " "), ["no start 'S'", "add one"]),
    (edit(6, 2, " "), ["no goal 'G'", "add one"]),
    (edit(2, 6, "S"), ["row 2, column 6 ", "second start 'S'", "row 2, column 2; keep one"]),
    (edit(6, 6, "G"), ["row 6, column 6 ", "second goal 'G'"]),
    (edit(2, 6, "K", DOOR), ["row 4, column 3 ", "second key 'K'", "row 2, column 6; keep one"]),
    (edit(2, 6, "D", DOOR), ["row 3, column 4 ", "second door 'D'"]),
    (edit(2, 6, "2", edit(6, 6, "2")), ["row 6, column 6 ", "second goal number '2'", "row 2, column 6"]),
    # What goes together.
    (edit(3, 4, " ", DOOR), ["row 4, column 3 ", "key 'K' without a door"]),
    (edit(4, 3, " ", DOOR), ["row 3, column 4 ", "door 'D' without a key"]),
    (edit(2, 6, "3"), ["row 2, column 6 ", "goal '3' without a goal '2'", "without gaps"]),
    (edit(2, 6, "1"), ["row 2, column 6 ", "no goal has the number '1'", "'G'"]),
    # Solutions.
    (edit(5, 4, "#"), ["row 2, column 2 (line 2)", "no path leads from 'S' to 'G'", "open a wall"]),
    (edit(5, 4, "~"), ["row 2, column 2 (line 2)", "path from 'S' to 'G' leads through lava"]),
    (edit(4, 3, " ", edit(4, 7, "K", DOOR)), ["row 4, column 7 ", "behind the door it opens"]),
    (edit(3, 3, "#", edit(4, 2, "#", DOOR)), ["row 4, column 3 ", "no path leads from 'S' to this key"]),
    (edit(3, 3, "~", edit(4, 2, "~", DOOR)), ["row 4, column 3 ", "path from 'S' to this key leads through lava"]),
]


@pytest.mark.parametrize(("text", "parts"), FAULTS)
def test_every_fault_has_its_own_message(text, parts):
    with pytest.raises(LevelError) as caught:
        texts.from_str(text, source="mazes.txt")
    message = str(caught.value)
    assert message.startswith("mazes.txt: level 1")
    assert "\n" not in message
    for part in ["(line ", *parts]:
        assert part in message


def test_a_door_between_key_and_goal_and_lava_beside_the_path_are_no_faults():
    for text in (DOOR, edit(3, 2, "~", DOOR), edit(2, 3, "G", edit(2, 5, " ", DOOR)), edit(6, 6, "~")):
        assert texts.to_str(texts.from_str(text)) == text


def test_error_in_a_later_level_counts_rows_from_its_own_and_lines_from_the_file():
    with pytest.raises(LevelError, match=r"mazes.txt: level 2, row 3, column 2 \(line 11\): unknown character"):
        texts.from_text(f"{TEXT}\n\n{edit(3, 2, 'x')}", source="mazes.txt")
    with pytest.raises(LevelError, match=r"mazes.txt: level 2 \(line 9\): has no goal"):
        texts.from_text(f"{TEXT}\n\n{edit(6, 2, ' ')}", source="mazes.txt")


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_empty_text(text):
    with pytest.raises(LevelError, match=r"mazes.txt: holds no level"):
        texts.from_str(text, source="mazes.txt")


def test_a_byte_order_mark():
    with pytest.raises(LevelError, match=r"mazes.txt: line 1, column 1: a byte order mark; save the file as UTF-8"):
        texts.from_text("\ufeff" + TEXT, source="mazes.txt")


def test_what_text_cannot_say_is_refused():
    level = texts.from_str(TEXT)
    with pytest.raises(LevelError, match="9 further goals"):
        texts.to_str(level._replace(others=np.arange(9, 18)))
    with pytest.raises(LevelError, match="'G' and 'S' both lie on row 2, column 2"):
        texts.to_str(level._replace(goal=level.start))
