"""Sides that take turns: real processes, what they answer, and what becomes of those that fail."""

import ctypes
import importlib
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bench.peers import places
from bench.peers.places import Place
from bench.peers.registry import PEERS, SIDES, Peer
from bench.peers.rows import lines
from bench.peers.turns import Lost, Side, interleave, ratio
from lepton_jax.engine.program import make_hypers, program_shape, strong
from lepton_jax.envs.maze import oracle
from lepton_jax.envs.maze import rules as maze_rules
from lepton_jax.envs.maze.level import Level
from lepton_jax.envs.maze.rules import Rules
from lepton_jax.presets import from_preset

HERE = Place(Path(sys.executable))
WORKER = """
import os, sys, time
from wire import Work, serve

def prepare(name, log, dies=0):
    calls = []
    def call():
        calls.append(1)
        if dies and len(calls) > dies:
            sys.stderr.write("last words\\n"); sys.stderr.flush(); os._exit(3)
        time.sleep(0.2)
    def check():
        with open(log, "a") as file: file.write(name)
        print("what libraries print")
        return {"calls": len(calls)}
    if name == "bad": raise ValueError("no such\\nworld")
    return Work(call, 10, check, {"name": name})

serve(prepare)
"""


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    (tmp_path / "worker.py").write_text(WORKER)
    return tmp_path / "worker.py"


def test_sides_take_turns_and_one_that_fails_is_told(worker: Path, tmp_path: Path):
    task = {"log": str(tmp_path / "log")}
    sides = {name: (HERE, worker, task | {"name": name}) for name in "ab"}
    sides |= {"bad": (HERE, worker, task | {"name": "bad"})}
    sides |= {"d": (HERE, worker, task | {"name": "d", "dies": 5})}
    sides |= {"nowhere": (Place(None, "cannot be installed"), worker, {})}
    told = {each.name: each for each in interleave(sides, 3)}
    # Of 0.2 s a call, two make a third of a second; two more prepared it. So "d" dies in its second round.
    assert (tmp_path / "log").read_text() == "abdabab"
    assert told["bad"].reason == "ValueError: no such world"
    assert told["d"].reason == "last words"
    assert told["nowhere"].reason == "cannot be installed"
    assert told["a"].check == {"calls": 8}
    assert told["a"].about == {"name": "a"}
    assert len(told["a"].rates) == len(told["b"].rates) == 3
    assert all(45 < rate < 50.1 for rate in told["a"].rates)


def test_a_side_that_does_not_answer(worker: Path, tmp_path: Path):
    side = Side(HERE, worker)
    try:
        with pytest.raises(Lost, match=r"no answer in 0\.05 s"):
            side.ask({"prepare": {"name": "a", "log": str(tmp_path / "log")}}, 0.05)
    finally:
        side.close()


def test_ratios_are_of_neighbours():
    assert ratio([10.0, 40.0, 30.0], [5.0, 10.0, 10.0]) == (3.0, 2.0, 4.0)


def test_an_environment_that_cannot_be_made_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    missing = tmp_path / "nothing.whl"
    place = places.find("x", Peer("x.py", (str(missing),), ("env",), None, ""))
    assert place.python is None
    assert "nothing.whl" in place.reason
    assert not list(places.folder().glob("x-*/"))
    assert places.find("c", PEERS["c"]).python == Path(sys.executable)


def test_the_table_tells_all():
    good = {"name": "c", "n": 64, "median": 2e6, "low": 1e6, "high": 3e6, "ratio": 0.5, "ratio_low": 0.4,
            "ratio_high": 0.6, "against": "reused", "asked": 0.3}  # fmt: skip
    told = lines([good, {"name": "minimax", "n": 64, "reason": "it will not"}])
    assert told[1].split() == [
        "c",
        "64",
        "2",
        "M",
        "1",
        "M",
        "3",
        "M",
        "0.5",
        "[0.4,",
        "0.6]",
        "(reused,",
        "asked",
        "0.3)",
    ]
    assert told[2].split(maxsplit=2) == ["minimax", "64", "it will not"]


def test_the_c_program_plays_by_our_rules(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SIDES))
    monkeypatch.syspath_prepend(str(SIDES.parent))
    program = importlib.import_module("c")
    try:
        library = program.library()
    except RuntimeError as reason:
        pytest.skip(str(reason))
    count = 64
    levels = np.zeros((count, program.LEVEL), np.uint8)
    library.generate(levels.ctypes.data_as(ctypes.c_void_p), count, 5)
    walls, start, goal = levels[:, :169].reshape(-1, 13, 13).astype(bool), levels[:, 169], levels[:, 170]
    assert len({row.tobytes() for row in walls}) == count
    assert ((~walls).sum((1, 2)) == 71).all()  # 36 rooms and 35 openings, and all hang together: a tree
    ours = Rules(13, 13, 284)
    state = maze_rules.begin(Level(walls, start.astype(np.int32), goal.astype(np.int32)), ours)
    reached = np.asarray(oracle.distances(jnp.asarray(walls), jnp.asarray(goal, jnp.int32))).reshape(count, -1)
    assert ((reached >= 0).sum(1) == 71).all()
    config = from_preset("quick")
    hypers = strong(make_hypers(config, program_shape(config)))
    cells, ages = start.copy(), np.zeros(count, np.uint16)
    step = jax.jit(lambda state, action: maze_rules.transition(state, action, None, hypers, ours, None))
    library.move.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int]
    draw, over = np.random.default_rng(0), np.zeros(count, bool)
    for _ in range(300):
        actions = draw.integers(0, 4, count).astype(np.uint8)
        moved = step(state, actions)
        state = moved.state
        ended = [
            bool(library.move(levels[k].ctypes.data, cells[k:].ctypes.data, ages[k:].ctypes.data, int(actions[k])))
            for k in range(count)
        ]
        alive = ~over
        assert np.array_equal(np.asarray(maze_rules.cell_of(state.site, ours))[alive], cells[alive])
        both = np.asarray(moved.terminated | moved.truncated)
        assert np.array_equal(both[alive], np.array(ended)[alive])
        over |= both
    assert over.all()
