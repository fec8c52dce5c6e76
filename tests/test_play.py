import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lepton_jax.envs.maze import rules
from lepton_jax.envs.maze.level import Level, stack
from lepton_jax.envs.maze.spec import MazeSpec
from lepton_jax.envs.maze.text import from_str
from lepton_jax.play import Solver, file_levels, generated_levels, keys_in, main, named_levels
from lepton_jax.report.game import MOVE_KEYS, Game, Place, Rewards, begin, press, screen, shortest

# From S the goal is ten steps away: two to the key, two back, and six through the door.
FULL = from_str("""\
#######
#S K~2#
# ### #
#  D G#
#######""")
CORRIDOR = from_str("#####\n#S G#\n#####")
REWARDS = Rewards(gamma=0.9, step_cost=0.1, goal_reward=2.0, goal_ratio=0.25, lava_penalty=3.0)


def typed(game: Game, keys: str) -> Game:
    for key in keys:
        game = press(game, key)
    return game


def test_moves_are_those_of_the_rules():
    world = rules.Rules(5, 7, 1000, lava=True, door=True, goals=2)
    free = [cell for cell in np.flatnonzero(~FULL.walls) if cell not in (11, 12, 26)]  # an episode goes on there
    tried = [(int(cell), held, action) for cell in free for held in (False, True) for action in range(4)]
    cells, held, actions = (jnp.array(column) for column in zip(*tried, strict=True))
    state = rules.begin(stack([FULL] * len(tried)), world)
    state = state._replace(site=rules.site_of(cells, world).astype(state.site.dtype), held=held)
    moved = jax.device_get(rules.move(state, actions, REWARDS, world))
    reached = np.asarray(rules.cell_of(jnp.asarray(moved.state.site), world))
    for number, (cell, has, action) in enumerate(tried):
        game = Game(FULL, REWARDS, (Place(cell, has),))
        now = press(game, ("up", "right", "down", "left")[action]).now
        assert (now.cell, now.held, now.steps) == (reached[number], moved.state.held[number], 1)
        assert now.earned == pytest.approx(float(moved.reward[number]))
        assert (now.end != "", now.end == "goal") == (moved.terminated[number], moved.success[number])


def test_the_key_opens_the_door_and_returns_are_discounted():
    game = typed(begin(FULL, REWARDS), "sslll")
    assert (game.now.cell, game.now.steps, game.now.held) == (23, 5, False)  # south twice, then before the door
    game = typed(begin(FULL, REWARDS), "ddaassdddd")
    assert game.now._replace(earned=0.0) == Place(26, True, 10, 0.0, "goal")
    assert game.now.earned == pytest.approx(2 * 0.9**9 - 0.1 * (1 - 0.9**10) / 0.1)
    assert typed(game, "wasd").now == game.now  # it is over
    assert typed(game, "u").now.cell == 25
    assert typed(game, "ru").now == Place(8)


def test_lava_ends_the_game():
    game = typed(begin(FULL, REWARDS), "ddd")
    assert (game.now.cell, game.now.end) == (11, "lava")
    assert game.now.earned == pytest.approx(-0.1 - 0.09 - 0.81 * 3.1)
    assert "burnt after 3 steps" in screen(game, "")[-2]


def test_other_keys_change_nothing():
    game = begin(FULL, REWARDS)
    assert typed(game, "xzn\x1b7") == game
    assert len(MOVE_KEYS) == 12


def test_the_shortest_path_fetches_the_key():
    assert shortest(FULL, 8, False) == [8, 9, 10, 9, 8, 15, 22, 23, 24, 25, 26]
    assert shortest(FULL, 23, True) == [23, 24, 25, 26]
    walls = FULL.walls.copy()
    walls[3, 2] = True
    assert shortest(FULL._replace(walls=walls), 8, False) == []


def test_the_screen():
    game = begin(FULL, REWARDS)
    assert screen(game, "a title", colour=False) == [
        "a title",
        "##############",
        "##@   K ~~2 ##",
        "##  ######  ##",
        "##    D   G ##",
        "##############",
        "steps 0   return 0.000   shortest 10",
        "",
        "arrows, hjkl or wasd move  p path  v values  u undo  r restart  n next  q quit",
    ]
    shown = screen(typed(game, "ddap"), "", colour=False)
    assert shown[2:5] == ["##S @   ~~2 ##", "##..######  ##", "##....d ..G ##"]
    assert shown[-3] == "steps 3   return -0.271   shortest 10   still 7"
    assert screen(game, "", np.array([0.5, 0.75, 0.75, -1.0]))[-2] == (
        "Q*  north 0.5000    east 0.7500*   south 0.7500*   west -1.0000 "
    )
    assert screen(typed(game, "ddaassdddd"), "")[-2] == "goal reached in 10 steps, shortest 10: perfect"
    assert screen(typed(game, "wddaassdddd"), "")[-2] == "goal reached in 11 steps, shortest 10"


def test_of_a_large_level_the_part_around_the_agent_is_shown():
    walls = np.ones((51, 61), bool)
    walls[1:-1, 1:-1] = False
    level = Level(walls, np.int32(25 * 61 + 30), np.int32(1 * 61 + 1))
    shown = screen(begin(level, REWARDS), "", size=(40, 14), colour=False)
    assert len(shown) == 14
    assert {len(line) for line in shown[1:11]} == {40}
    assert shown[6][20:22] == "@ "
    corner = screen(begin(level._replace(start=np.int32(49 * 61 + 59)), REWARDS), "", size=(40, 14), colour=False)
    assert corner[10] == "##" * 20
    assert corner[9][-4:] == "@ ##"


@pytest.mark.parametrize(
    ("data", "keys", "rest"),
    [
        (b"wQ", ["w", "q"], b""),
        (b"\x1b[A\x1b[B\x1b[C\x1b[D", ["up", "down", "right", "left"], b""),
        (b"\x1bOA", ["up"], b""),  # as terminals send in application mode
        (b"q\x1b", ["q"], b"\x1b"),
        (b"\x1b[", [], b"\x1b["),
        (b"\x1b[1;5", [], b"\x1b[1;5"),
        (b"\x1b[3~\x1b[1;5Cq", ["", "right", "q"], b""),  # Delete; an arrow with Control
        (b"\x1bq", ["\x1b", "q"], b""),
        ("é".encode(), ["\ufffd", "\ufffd"], b""),
    ],
)
def test_keys(data, keys, rest):
    assert keys_in(data) == (keys, rest)


def test_values_are_exact():
    solver = Solver()
    values = solver.values(begin(CORRIDOR, Rewards(gamma=0.9, step_cost=0.1)))
    # East and then the goal: -0.1 + 0.9 * 0.9; a bump first: -0.1 + 0.9 * 0.71.
    np.testing.assert_allclose(values, [0.539, 0.71, 0.539, 0.539], atol=1e-6)
    assert solver.knows(CORRIDOR)
    # With the key in hand one step from the door, two more and the goal follow.
    game = Game(FULL, REWARDS, (Place(23, True),))
    assert solver.values(game)[1] == pytest.approx(0.81 * 2 - 0.1 * (1 + 0.9 + 0.81), abs=1e-5)
    assert solver.values(game._replace(trail=(Place(23, False),)))[1] < 1


def test_level_sources(tmp_path):
    file = tmp_path / "two.txt"
    file.write_text("#####\n#S G#\n#####\n\n#####\n#G S#\n#####\n")
    drawn = [next(levels) for levels in [file_levels(file)] for _ in range(3)]
    assert [title for title, _ in drawn] == ["two.txt: level 1 of 2", "two.txt: level 2 of 2", "two.txt: level 1 of 2"]
    assert [int(level.start) for _, level in drawn] == [6, 8, 6]
    title, level = next(generated_levels(MazeSpec(7), 3))
    assert (title, level.walls.shape) == ("perfect, 7 x 7, seed 3: level 1", (7, 7))
    assert len(shortest(level, int(level.start), False)) > 1
    title, level = next(named_levels("Labyrinth", 0))
    assert (title, level.walls.shape) == ("Labyrinth: level 1 of 16", (15, 15))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--size", "8"], "--size 8: expected an odd number from 5 to 255"),
        (["--braid", "1.5"], "--braid 1.5: expected a share from 0 to 1"),
        (["--named", "Labyrinth", "--size", "9"], "--size: is about drawn levels; leave it away"),
    ],
)
def test_levels_that_cannot_be_had(flags, told):
    with pytest.raises(ValueError, match=told):
        main(flags)


class Terminal:
    """The command in a terminal of its own."""

    def __init__(self, *flags: str):
        self.ours, self.theirs = pty.openpty()
        termios.tcsetwinsize(self.theirs, (24, 80))
        self.before = termios.tcgetattr(self.theirs)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lepton_jax.play", *flags],
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=subprocess.PIPE,
            env={**os.environ, "TERM": "dumb"},
        )
        self.seen = ""

    def wait_for(self, text: str) -> str:
        """What came up to ``text``."""
        deadline = time.monotonic() + 60
        while text not in self.seen:
            assert select.select([self.ours], [], [], max(0, deadline - time.monotonic()))[0], self.seen
            self.seen += os.read(self.ours, 65536).decode()
        end = self.seen.index(text) + len(text)
        came, self.seen = self.seen[:end], self.seen[end:]
        return came

    def type(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal(tmp_path: Path):
    file = tmp_path / "full.txt"
    file.write_text("#######\n#S K~2#\n# ### #\n#  D G#\n#######\n\n#####\n#S G#\n#####\n")
    with contextlib.closing(Terminal("--levels", str(file))) as opened:
        yield opened


def test_a_game_in_a_terminal(terminal):
    assert "##@   K ~~2 ##\x1b[K\r\n" in terminal.wait_for("q quit")
    assert not termios.tcgetattr(terminal.theirs)[3] & (termios.ICANON | termios.ECHO)
    terminal.type(b"\x1b[Cl")  # to the key, by an arrow and by a letter
    terminal.wait_for("steps 2 ")
    terminal.type(b"ahssdddp")
    assert "##S     ~~2 ##\x1b[K\r\n" in terminal.wait_for("still 1")
    terminal.type(b"d")
    assert "shortest 10" in terminal.wait_for("goal reached in 10 steps, shortest 10: perfect")
    terminal.type(b"nd")
    assert "full.txt: level 2 of 2" in terminal.wait_for("steps 1 ")
    terminal.type(b"q")
    terminal.wait_for("\x1b[?1049l")
    assert terminal.process.wait(30) == 0
    assert termios.tcgetattr(terminal.theirs) == terminal.before


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_terminal_is_given_back_on_a_signal(terminal, number, status):
    terminal.wait_for("q quit")
    terminal.process.send_signal(number)
    terminal.wait_for("\x1b[?25h\x1b[?1049l")
    assert terminal.process.wait(30) == status
    assert termios.tcgetattr(terminal.theirs) == terminal.before


def test_without_a_terminal():
    done = subprocess.run(
        [sys.executable, "-m", "lepton_jax.play"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr == ("error: standard input is no terminal; play in one, without a pipe or a file in its place\n")
    assert done.stdout == ""


def test_help(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "--named NAME" in capsys.readouterr().out
