"""What the displays show: worked by hand, drawn by rich onto a terminal that a test can read."""

import io
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from lepton_jax.cli import parse_changes, parse_config
from lepton_jax.config import Config
from lepton_jax.engine.latest import episode_reader, last_episode
from lepton_jax.engine.metrics import Episode, Event
from lepton_jax.engine.replay import RUNNING, TERMINATED, TRUNCATED, Ring
from lepton_jax.envs.maze import rules, world
from lepton_jax.envs.maze.level import Level
from lepton_jax.envs.maze.render import Scene
from lepton_jax.envs.maze.text import from_str
from lepton_jax.presets import from_preset
from lepton_jax.report import live, sweep_terminal, terminal
from lepton_jax.report.live import clock, sparkline
from lepton_jax.report.measure_terminal import Overview, parts_of
from lepton_jax.scale.axes import Asked
from lepton_jax.scale.design import design
from lepton_jax.scale.standing import Scored, Standing
from lepton_jax.settings import overlay
from lepton_jax.transfer.measure import budget
from lepton_jax.transfer.pairs import PAIRS

LEVEL = from_str("#####\n#S  #\n# # #\n#  G#\n#####")


def console(
    width: int = 80, height: int = 24, colour: Literal["256"] | None = None, encoding: str = "utf-8"
) -> Console:
    """A terminal that keeps what is written."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    return Console(
        file=file, force_terminal=True, width=width, height=height, color_system=colour, legacy_windows=False
    )  # fmt: skip


def written(there: Console) -> str:
    return there.file.buffer.getvalue().decode(there.encoding)  # pyright: ignore[reportAttributeAccessIssue]


def last_picture(there: Console) -> list[str]:
    """The lines that are drawn last, without escapes."""
    last = re.split(r"\x1b\[2K(?=\S|\x1b\[[0-9;]*m| )(?!.*\x1b\[1A)", written(there).replace("\r", ""))[-1]
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last).split("\n")]


@pytest.mark.parametrize(
    ("values", "width", "low", "high", "expected"),
    [
        ([0.0, 0.124, 0.126, 0.5, 0.99, 1.0], 10, 0.0, 1.0, "▁▁▂▅██"),  # eighths, of which 1 belongs to the last
        ([0.0, 0.2, 0.4, 0.6, 1.0, 1.0], 3, 0.0, 1.0, "▁▅█"),  # means 0.1, 0.5, 1
        ([-3.0, 5.0, -40.0, 100.0], 4, -3.0, 5.0, "▁█▁█"),
        ([7.0, 7.0], 4, 7.0, 7.0, "▁▁"),
        ([0.5, 0.0, 1.0], 2, 0.0, 1.0, "▃█"),  # the first two share a sign: 0.25 is in the third eighth
        ([], 4, 0.0, 1.0, ""),
    ],
)
def test_sparklines(values, width, low, high, expected):
    assert sparkline(values, width, False, low, high) == expected


def test_sparklines_in_ascii():
    assert sparkline([0.0, 0.2, 0.5, 1.0], 4, True) == ".:=#"  # sevenths: the 1st, 2nd, 4th and last
    assert sparkline(list(np.linspace(0, 1, 40)), 12, True).isascii()


def test_clocks():
    assert [clock(seconds) for seconds in (0, 59.9, 61, 3599, 3600, 100 * 3600 + 61)] == [
        *("00:00", "00:59", "01:01", "59:59", "01:00:00", "100:01:01")
    ]


def test_kinds_of_display(monkeypatch):
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as there, os.fdopen(ours):
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr("sys.stdout", there)
        assert live.chosen("auto") == "live"
        assert [live.chosen(kind) for kind in ("plain", "quiet", "epochs")] == ["plain", "quiet", "epochs"]
        monkeypatch.setenv("TERM", "dumb")
        assert live.chosen("auto") == "plain"
    with open(os.devnull, "w") as there:
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr("sys.stdout", there)
        assert live.chosen("auto") == "plain"


def test_what_comes_too_fast_is_drawn_when_it_ends():
    there, made = console(), []
    screen = live.Screen(there)
    for number in range(100):
        screen.show(lambda number=number: made.append(number) or str(number))
    screen.stop()
    assert made[0] == 0
    assert made[-1] == 99
    assert len(made) < 20


@pytest.fixture
def at_once(monkeypatch):
    """Every picture is drawn, however soon it comes."""
    monkeypatch.setattr(live, "_PAUSE", 0.0)


EPISODE = Episode(LEVEL._replace(start=6), np.array([6, 7, 8, 13]), None, False, np.array([0, 0, 0, 1.0]), True)
ABOUT = {
    "replay": {"kind": "ring", "transitions": 1000, "bytes_per_transition": 12.5},
    "environment": {"device": "cpu", "threads": 2, "shards": 1},
    "levels": {
        "note": "5x5 mazes of a kind that takes quite some words to describe, so that they do not fit in a line"
    },
    "state_bytes": 2**20,
    "resumed_at": None,
}


def shown(folder: Path, there: Console, episode: Episode | None = EPISODE, lines: str = "", **validation: float) -> str:
    """What the live display draws last of a run that is at 3 of 4 log points, after 30 s."""
    (folder / "metrics.jsonl").write_text(lines)
    display = terminal.Live(there)
    display.begin(from_preset("quick"), ABOUT | {"folder": str(folder)})
    metrics = {"loss": 0.00321, "epsilon": 0.25}
    validation = validation or {"success_rate": 0.5, "spl": 0.375}
    for number in (1, 2, 3):
        display.update(
            Event(number, 4, number, number * 1000, 4000, number * 10.0, metrics, validation, None, lambda: episode)
        )
    display.end(None)
    return "\n".join(last_picture(there))


def test_a_run_at_80_columns(tmp_path, at_once):
    there = console()
    text = shown(tmp_path, there)
    assert "75%  00:10 left" in text  # 3000 of 4000 steps in 30 s
    for line in ("env-steps  3,000 of 4,000", "speed      0 k/s", "success    0.500  best 0.500", "SPL        0.375"):
        assert line in text
    assert "loss       0.0032" in text
    assert "epsilon    0.25" in text
    assert "▅▅▅" in text
    assert "success on validation levels, 0 to 1" in text
    for row in ("##########", "##S ....##", "##  ##@ ##", "##    G ##"):
        assert row in text
    assert "episode: goal in 4 steps" in text
    assert max(map(len, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written(there)).replace("\r", "\n").split("\n"))) <= 80
    assert "\x1b[3" not in written(there)  # no colour where there is none
    assert "\x1b[4" not in written(there)


def test_a_run_in_colour(tmp_path, at_once):
    there = console(colour="256")
    shown(tmp_path, there)
    assert "48;5;240m" in written(there)  # walls
    assert "38;5;231;48;5;25m@ " in written(there)  # the agent


def test_a_run_where_only_ascii_can_be_written(tmp_path, at_once):
    there = console(encoding="ascii")
    text = shown(tmp_path, there)
    assert "===" in text
    assert "episode: goal" in text


@pytest.mark.parametrize(("width", "height"), [(52, 24), (80, 9)])
def test_a_small_terminal_shows_no_maze(tmp_path, at_once, width, height):
    text = shown(tmp_path, console(width, height))
    assert "success    0.500" in text
    assert "##" not in text


def test_a_world_without_success_shows_its_return(tmp_path):
    lines = '{"env_steps": 1, "validation/mean_return": -10.0}\n{"env_steps": 2, "validation/mean_return": -6.0}\n'
    text = shown(tmp_path, console(), None, lines, mean_return=-2.0)
    assert "return     -2.000  best -2.000" in text
    assert "SPL" not in text
    assert "▁▅███" in text  # -10 and -6 of before; -6 is half way
    assert "return on validation levels, -10 to -2" in text


@pytest.mark.parametrize(
    ("terminated", "lava", "reward", "expected"),
    [
        (True, False, 1.0, "goal in 4 steps"),
        (True, True, 1.0, "goal in 4 steps"),
        (True, True, -0.5, "lava after 4 steps"),
        (True, True, 0.0, "lava after 4 steps"),  # it costs nothing unless it is asked to
        (False, True, 0.0, "out of time after 4 steps"),
    ],
)
def test_outcomes(terminated, lava, reward, expected):
    level = LEVEL._replace(lava=np.zeros((5, 5), bool)) if lava else LEVEL
    episode = EPISODE._replace(level=level, reward=np.array([0, 0, 0, reward]), terminated=terminated)
    assert terminal.outcome(episode) == expected


def test_the_last_whole_episode_lies_between_the_last_two_ends():
    level = Level(*(np.asarray(leaf)[None] for leaf in LEVEL[:3]))
    cells = np.array([9, 9, 6, 7, 8, 13, 6, 11])
    reward = np.array([0, 0, 0, 0, 0, 1, 0, 0], np.float32)
    ended = np.array([RUNNING, TRUNCATED, RUNNING, RUNNING, RUNNING, TERMINATED, RUNNING, RUNNING], np.uint8)
    found = last_episode(Scene(level, cells), reward, ended)
    assert found is not None
    assert found.cells.tolist() == [6, 7, 8, 13]
    assert found.level.start == 6
    assert found.reward.tolist() == [0, 0, 0, 1]
    assert (found.terminated, found.heading, found.held) == (True, None, False)
    ended[1] = RUNNING  # when it began is not known
    assert last_episode(Scene(level, cells), reward, ended) is None


@pytest.mark.parametrize(("shards", "divided"), [(1, False), (2, True), (2, False)])
def test_an_episode_is_read_across_the_end_of_the_memory(shards, divided):
    """12 rows of 2 environments, written up to row 3; the episode of environment 0 is in rows 11 to 3."""
    maze = rules.Rules(5, 5, 6, "full")
    env = world.make_env(maze, 2)
    levels = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), LEVEL)
    state = env.reset(jax.random.key(0), world.make_pool(levels, maze, 2), 2, None, jnp.arange(2))
    episode, (site,) = env.record(state)
    rows = 12
    # Sites leave out the border above, below and at the left: cell 6 is site 0, and a row has 4.
    sites = np.zeros((rows, 2), site.dtype)
    sites[[11, 0, 1, 2, 3], 0] = [0, 1, 2, 2, 6]  # cells 6, 7, 8, 8, 13
    ended = np.zeros((rows, 2), np.uint8)
    ended[10, 0], ended[3, 0], ended[2, 1] = TRUNCATED, TERMINATED, TERMINATED
    reward = np.zeros((rows, 2), np.float32)
    reward[3, 0] = 1.0
    ring = Ring(
        episode=jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (rows, *leaf.shape)), episode),
        step=(jnp.asarray(sites),), action=jnp.zeros((rows, 2), jnp.uint8), reward=jnp.asarray(reward),
        ended=jnp.asarray(ended), truncated=(), carry=(),
    )  # fmt: skip
    if shards == 2:  # the first one's is what is wanted
        mesh = jax.make_mesh((2,), ("s",), axis_types=(jax.sharding.AxisType.Auto,))
        over = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("s" if divided else None))
        both = (lambda leaf: np.stack([leaf, 0 * leaf])) if divided else np.asarray
        ring = jax.tree.map(lambda leaf: jax.device_put(both(leaf), over), ring)
    shape: Any = SimpleNamespace(blocks=6, warmup=3)
    setup: Any = SimpleNamespace(env=env, shards=shards)
    read = episode_reader(setup, shape)
    assert read is not None
    state: Any = SimpleNamespace(ring=ring, clock=jnp.int32(5))  # 8 blocks of 2 rows: the next one is row 4
    found = read(state)
    assert found is not None
    assert found.cells.tolist() == [6, 7, 8, 8, 13]
    assert (int(found.level.start), int(found.level.goal)) == (6, 18)
    np.testing.assert_array_equal(found.level.walls, LEVEL.walls)
    assert found.reward.tolist() == [0, 0, 0, 0, 1]


def test_worlds_that_cannot_be_drawn_have_no_episodes():
    setup: Any = SimpleNamespace(env=SimpleNamespace(scene=None))
    shape: Any = None
    assert episode_reader(setup, shape) is None


SCORED = (
    Scored(0, "running", 2, (0.25, 0.2), (0.25, 0.2)),
    Scored(2, "stopped", 1, (0.5, 0.5), (0.75, 0.5)),
    Scored(3, "running", 2, (0.75, 0.25), (0.75, 0.5)),
)
COUNTS = {"waiting": 1, "running": 2, "finished": 0, "stopped": 1, "failed": 0}
STANDING = Standing(COUNTS, 3000, 4000, 8000, 10.0, SCORED)


def test_a_sweep_at_80_columns():
    there = console()
    sweep = design(from_preset("quick"), Asked(grid={"agent.lr": (1e-4, 1e-3)}, seeds=2))
    display = sweep_terminal.Live(there)
    display.begin(sweep, [])
    display.update(STANDING._replace(scored=tuple(s._replace(points=1, score=(0.0, 0.0)) for s in SCORED)))
    display.update(STANDING)
    display.end(None)
    text = "\n".join(last_picture(there))
    assert "50%  00:13 left" in text  # 4000 steps left at 300 a second
    assert "lanes      0 done, 1 stopped, 2 running, 1 waiting" in text
    lines = [line for line in text.split("\n") if "seed" in line]
    assert [line.split()[0] for line in lines] == ["2", "3", "0"]  # of equals the first lane
    assert lines[1].split()[:5] == ["3", "0.750", "0.750", "▁▇", "running"]
    assert lines[1].endswith("agent.lr = 0.001, seed 1")
    assert STANDING.best == (2, (0.75, 0.5))
    assert max(map(len, text.split("\n"))) <= 80


@pytest.mark.parametrize("pair", PAIRS)
def test_the_parts_of_a_measurement_are_all_it_takes(pair):
    assert 3 * sum(parts_of(pair).values()) == budget(PAIRS[pair], 3)


def test_a_measurement_has_one_bar():
    there, sweep = console(), design(from_preset("quick"), Asked(seeds=3))
    steps = parts_of("T5")
    first, second, *_ = steps
    standing = STANDING._replace(scored=tuple(s._replace(points=2) for s in SCORED))
    with Overview("live", {"T5": 3}, there) as overview:
        (part,) = overview.watch("T5", first)
        part.begin(sweep, [])
        part.end(None)  # it had been run before
        (part,) = overview.watch("T5", second)
        part.begin(sweep, [])
        part.update(standing)
    text = "\n".join(last_picture(there))
    share = (steps[first] + steps[second] / 2) / sum(steps.values())
    assert f"{int(100 * share)}%  ? left" in text  # nothing of it was done in this session
    assert f"now    T5: {second}, 2 of {len(steps)}" in text
    assert "0.500, mean of all lanes" in text  # of 0.25, 0.5 and 0.75


def test_a_measurement_in_plain_lines(capsys):
    sweep = design(from_preset("quick"), Asked(seeds=3))
    for kind, expected in (("plain", f"  source source (1 of {len(parts_of('T5'))}), ? left ...\n"), ("quiet", "")):
        with Overview(kind, {"T5": 3}) as overview:
            (part,) = overview.watch("T5", "source source")
            part.begin(sweep, [])
            part.update(STANDING)
        assert capsys.readouterr().out == expected


def test_quiet_is_a_short_name():
    assert parse_config(["--seed", "3", "--quiet"], "train", "")[0] == overlay(
        from_preset("quick"), {"seed": 3, "display": "quiet"}, "test"
    )
    assert parse_changes(["--quiet"], "train", Config(), "").display == "quiet"


@pytest.mark.parametrize(("resumed", "words"), [(False, "in all"), (True, "since it was resumed")])
def test_the_seconds_of_a_session_are_not_told_as_those_of_the_run(resumed, words):
    figures = {"success_rate": 1.0}
    costs = {"env_steps": 1, "gradient_steps": 1, "env_steps_per_second": 1.0, "wall_seconds": 2.0}
    told = terminal.table(figures | costs | {"best": figures, "compile_seconds": 1.0}, resumed)
    assert told[-1] == f"2.0 s {words}, 1.0 s of them compiling"
