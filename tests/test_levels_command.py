"""The command levels as a user calls it."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import lepton_jax
from lepton_jax import level_flags, levels
from lepton_jax.config import ConfigError
from lepton_jax.envs.maze import generate, spec, suites
from lepton_jax.envs.maze.level import LevelError
from lepton_jax.envs.maze.spec import MazeSpec
from lepton_jax.envs.maze.text import from_text, to_text

ROOT = Path(lepton_jax.__file__).parent.parent
TWO = "#####\n#S G#\n#####\n\n######\n#K  S#\n##D###\n##G~ #\n######\n"


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "40")
    (tmp_path / "two.txt").write_text(TWO)
    return tmp_path


def call(*argv: str, cwd: Path, path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lepton_jax.levels", *argv],
        cwd=cwd, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def plain_steps(walls: np.ndarray, goal: int) -> np.ndarray:
    """Steps to the goal from each cell: as many rounds of spreading as there are cells."""
    steps = np.full(walls.shape, -1)
    steps.reshape(-1)[goal] = 0
    for number in range(1, walls.size):
        near = np.pad(steps == number - 1, 1)
        spread = near[:-2, 1:-1] | near[2:, 1:-1] | near[1:-1, :-2] | near[1:-1, 2:]
        steps[spread & ~walls & (steps < 0)] = number
    return steps


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_show_places_levels_side_by_side(place, capsys):
    levels.main(["show", "two.txt", "--path"])
    assert capsys.readouterr().out.split("\n") == [
        "1: 3x5, 2 steps   2: 5x6, 6 steps",
        "#####             ######",
        "#S.G#             #K..S#",
        "#####             ##D###",
        "                  ##G~ #",
        "                  ######",
        "",
    ]


def test_show_breaks_rows_where_the_terminal_ends(place, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "32")
    levels.main(["show", "two.txt"])
    assert capsys.readouterr().out == (
        "1: 3x5, 2 steps\n#####\n#S G#\n#####\n\n2: 5x6, 6 steps\n######\n#K  S#\n##D###\n##G~ #\n######\n"
    )


def test_show_a_named_maze(place, capsys):
    levels.main(["show", "--named", "Labyrinth"])
    shown = capsys.readouterr().out.split("\n")
    assert shown[0] == "Labyrinth: 15x15, 96 steps"
    folder = Path(levels.__file__).parent / "envs" / "maze" / "named"
    assert [line.rstrip() for line in shown[1:-1]] == (folder / "Labyrinth.txt").read_text().splitlines()
    with pytest.raises(LevelError, match="'Lab' is no named maze; there are SixteenRooms"):
        levels.main(["show", "--named", "Lab"])


def test_make_writes_what_show_and_check_read(place, capsys):
    flags = ["--kind", "rooms", "--size", "9", "--min-size", "5", "--count", "12", "--seed", "4"]
    levels.main(["make", "--out", "made.txt", *flags])
    said = capsys.readouterr().out
    made = from_text((place / "made.txt").read_text(), "made.txt")
    sizes = sorted({level.walls.shape[0] for level in made})
    assert len(made) == 12
    assert sizes == [5, 7, 9]
    assert said == "made.txt: 12 levels, 5x5, 7x7, 9x9\n"
    levels.main(["check", "made.txt", "two.txt"])
    assert capsys.readouterr().out == (
        "made.txt: 12 levels, 5x5, 7x7, 9x9, all solvable\n"
        "two.txt: 2 levels, 3x5, 5x6, 1 with lava, 1 with a door, all solvable\n"
    )
    before = (place / "made.txt").read_bytes()
    with pytest.raises(ConfigError, match=r"--out: made.txt exists; choose another name"):
        levels.main(["make", "--out", "made.txt", *flags])
    assert (place / "made.txt").read_bytes() == before
    with pytest.raises(ConfigError, match=r"there is no folder nowhere"):
        levels.main(["make", "--out", "nowhere/made.txt"])


def test_make_writes_the_levels_of_a_set(place, capsys):
    levels.main(["make", "--out", "test.txt", "--size", "7", "--set", "test", "--count", "40"])
    expected = suites.suite("test", MazeSpec(7), 0, 40)
    made = from_text((place / "test.txt").read_text(), "test.txt")
    assert len(made) == 40
    for number, level in enumerate(made):
        assert (level.walls == expected.walls[number]).all()
        assert (level.start, level.goal) == (expected.start[number], expected.goal[number])
    capsys.readouterr()
    levels.main(["stats", "--size", "7", "--count", "2000", "--overlap", "test.txt"])
    said = capsys.readouterr().out
    # All 28 classes are met in 2,000 levels, and all 7 of the test set in 40.
    for words in ("2,000 levels, 7x7", "28 up to symmetry", "7 of these layouts are among the 7 of test.txt"):
        assert words in said
    levels.main(["stats", "test.txt"])
    said = capsys.readouterr().out
    assert "sets           0.0% train, 0.0% validation, 100.0% test" in said
    assert "7 up to symmetry" in said


def test_stats_of_a_file_by_hand(place, capsys):
    (place / "three.txt").write_text(f"{TWO}\n###\n#S#\n#G#\n###\n")
    levels.main(["stats", "three.txt", "--overlap", "two.txt"])
    said = capsys.readouterr().out.split("\n")
    assert said[0] == "three.txt: 3 levels, 3x5, 4x3, 5x6, 1 with lava, 1 with a door"
    assert said[1] == "layouts        3 up to symmetry"
    walls = (12 / 15 + (30 - 8) / 30 + 10 / 12) / 3
    assert said[3] == f"walls          {walls:.1%} of the cells"
    assert said[4] == "dead ends      2.3 a level"  # 2, 3 and 2
    assert said[5] == "shortest path  3.0 steps on average, 1 to 6"
    bars = [line.split() for line in said[6:12]]
    assert [(bar[0], bar[-1]) for bar in bars] == [
        ("1", "1"),
        ("2", "1"),
        ("3", "0"),
        ("4", "0"),
        ("5", "0"),
        ("6", "1"),
    ]
    assert [len(bar[1]) if len(bar) == 3 else 0 for bar in bars] == [48, 48, 0, 0, 0, 48]
    assert said[12] == "overlap        2 of these layouts are among the 2 of two.txt"


def test_the_table_by_plain_search(monkeypatch, capsys):
    monkeypatch.setattr(levels, "_TABLE_SIZES", (7,))
    monkeypatch.setattr(spec, "KINDS", ("perfect", "backtracker"))
    levels.main(["stats", "--table", "--count", "64", "--seed", "3"])
    rows = ["| generator | 7x7 |", "|---|--:|"]
    draw = jax.jit(generate.batch, static_argnums=(1, 2))
    for kind in spec.KINDS:
        drawn = jax.device_get(draw(jax.random.key(3), MazeSpec(7, kind=kind), 64))
        ways = zip(drawn.walls, drawn.start.tolist(), drawn.goal.tolist(), strict=True)
        mean = np.mean([plain_steps(walls, goal).reshape(-1)[start] for walls, start, goal in ways])
        rows.append(f"| {kind} | {mean:.1f} |")
    assert capsys.readouterr().out.splitlines() == rows


def test_flags_are_the_knobs_of_a_maze():
    assert set(level_flags.KNOBS) == set(MazeSpec._fields)
    args = levels._parser().parse_args(["show", "--kind", "caves", "--density", "0.4", "--door", "--goals", "2"])
    assert level_flags.spec_of(args) == MazeSpec(13, kind="caves", density=0.4, door=True, goals=2)


@pytest.mark.parametrize("command", ["", "show", "make", "check", "stats"])
def test_help_gives_examples(command, capsys):
    with pytest.raises(SystemExit) as end:
        levels.main([*filter(None, [command]), "--help"])
    assert end.value.code == 0
    assert f"python -m lepton_jax.levels {command or 'show'} " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["show", "two.txt", "--size", "9"], ["--size", "leave it away with FILE"]),
        (["show", "--named", "Labyrinth", "--count", "2"], ["--count", "leave it away with --named"]),
        (["show", "two.txt", "--named", "Labyrinth"], ["FILE and --named"]),
        (["show", "missing.txt"], ["missing.txt", "No such file", "a level file"]),
        (["show", "latin.txt"], ["latin.txt", "is no UTF-8 text"]),
        (["make", "--out", "two.txt"], ["two.txt exists"]),
        (["stats", "--table", "--kind", "caves"], ["--kind: --table is of every kind and size", "leave it away"]),
        (["show", "--count", "0"], ["--count", "'0' is no whole number from 1 to 2147483647"]),
        (["show", "--seed", "9" * 20], ["--seed", "no whole number from 0 to"]),
        (["show", "--kind", "cave"], ["--kind", "'cave'", "caves"]),
        (["draw"], ["draw", "show"]),
        ([], ["show|make|check|stats"]),
    ],
)
def test_mistakes_are_told_without_jax(place, argv, words):
    (place / "jax.py").write_text("raise RuntimeError('jax was imported')\n")
    (place / "latin.txt").write_bytes("#####\n#S\xe9G#\n#####\n".encode("latin-1"))
    refused(call(*argv, cwd=place, path=f"{place}{os.pathsep}{ROOT}"), *words)


def test_every_faulty_file_is_told_with_status_2(place):
    (place / "open.txt").write_text(TWO.replace("#####\n\n", "### #\n\n"))
    (place / "mark.txt").write_text("\ufeff" + TWO, encoding="utf-8")
    done = call("check", "open.txt", "two.txt", "mark.txt", cwd=place)
    refused(done, "open.txt: level 1, row 3, column 4 (line 3): the border is open", "mark.txt: line 1, column 1")
    assert done.stdout == "two.txt: 2 levels, 3x5, 5x6, 1 with lava, 1 with a door, all solvable\n"


def test_a_spec_without_levels_is_told(place):
    with pytest.raises(ConfigError, match="--size 8: expected an odd number"):
        levels.main(["show", "--size", "8"])
    assert to_text(from_text(TWO)) == TWO
