import io
import re

import numpy as np
import pytest

from lepton_jax.envs.maze.text import from_str
from lepton_jax.report.ansi import colour_wanted, lines

LEVEL = from_str("""\
#######
#SK ~2#
# ### #
#  D G#
#######""")


def test_without_colour():
    assert lines(LEVEL, colour=False) == [
        "##############",
        "##S K   ~~2 ##",
        "##  ######  ##",
        "##    D   G ##",
        "##############",
    ]


def test_what_lies_on_top():
    shown = lines(LEVEL, agent=8, path=(8, 15, 22), held=True, colour=False)
    assert shown[1:4] == ["##@     ~~2 ##", "##..######  ##", "##..  d   G ##"]
    shown = lines(LEVEL._replace(start=-1), agent=22, heading=1, colour=False)
    assert shown[1:4] == ["##  K   ~~2 ##", "##  ######  ##", "##@>  D   G ##"]


def test_greedy_actions():
    q = np.zeros((5, 7, 8))
    for action, cell in enumerate((9, 12, 15, 19, 22, 23, 25), start=0):
        q.reshape(-1, 8)[cell, action] = 1.0
    q[0, 0, 2] = 1.0  # in a wall
    q[1, 5, 3] = np.nan
    bare = LEVEL._replace(start=-1, goal=-1, lava=(), key=(), door=(), others=())
    assert lines(bare, q=q, colour=False) == [
        "##############",
        "##  ^       ##",
        "##v ######< ##",
        "##^>v>  <v  ##",
        "##############",
    ]


def test_a_window():
    assert lines(LEVEL, colour=False, window=(slice(1, 3), slice(3, 6))) == ["  ~~2 ", "####  "]


def test_colour_changes_no_character():
    for plain, coloured in zip(lines(LEVEL, 10, colour=False), lines(LEVEL, 10), strict=True):
        bare = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
        assert bare == plain.replace("##", "  ")
        assert coloured.endswith("\x1b[0m")
    # One escape a run of cells of one kind: wall, start, key, agent, lava, goal 2, wall, and the end.
    assert lines(LEVEL, 10)[1].count("\x1b") == 8


@pytest.mark.parametrize(
    ("tty", "environ", "wanted"),
    [
        (True, {"TERM": "xterm"}, True),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, True),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (True, {}, False),
        (False, {"TERM": "xterm"}, False),
    ],
)
def test_when_to_colour(tty, environ, wanted):
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return tty

    assert colour_wanted(Stream(), environ) == wanted
