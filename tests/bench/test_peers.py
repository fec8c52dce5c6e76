"""Sides that take turns: real processes, what they answer, and what becomes of those that fail."""

import ctypes
import importlib
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bench.peers import places
from bench.peers.places import Place
from bench.peers.registry import OURS, PEERS, SIDES, SPREAD, Peer
from bench.peers.rows import _faster, _fitting, _rows, _wanted, lines, named
from bench.peers.turns import Lost, Side, Timed, environment, interleave, ratio
from lepton_jax.config import ConfigError
from lepton_jax.engine.program import make_hypers, program_shape, strong
from lepton_jax.envs.maze import oracle
from lepton_jax.envs.maze import rules as maze_rules
from lepton_jax.envs.maze.level import Level
from lepton_jax.envs.maze.rules import Rules
from lepton_jax.presets import from_preset

HERE = Place(Path(sys.executable))
WORKER = """
import os, sys, time
from wire import Work

print("what libraries print")

def prepare(name, log, dies=0):
    calls = []
    def call():
        calls.append(1)
        if dies and len(calls) > dies:
            sys.stderr.write("last words\\n"); sys.stderr.flush(); os._exit(3)
        time.sleep(0.1)
    def check():
        with open(log, "a") as file: file.write(name)
        print("what libraries print")
        return {"calls": len(calls)}
    if name == "bad": raise ValueError("no such\\nworld")
    return Work(call, 10, check, {"name": name})
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
    told = {each.name: each for each in interleave(sides, 2)}
    # Of 0.1 s a call, three make a third of a second; two more prepared it. So "d" dies after the round that warms up.
    assert (tmp_path / "log").read_text() == "abdabab"
    assert told["bad"].reason == "ValueError: no such world"
    assert told["d"].reason == "last words"
    assert told["nowhere"].reason == "cannot be installed"
    assert told["a"].check == {"calls": 2 + 3 * 3}
    assert told["a"].about == {"name": "a"}
    assert len(told["a"].rates) == len(told["b"].rates) == 2
    assert all(60 < rate < 100.1 for rate in told["a"].rates)


def test_a_side_that_does_not_answer_works_no_more(worker: Path, tmp_path: Path):
    side = Side(HERE, worker)
    try:
        with pytest.raises(Lost, match=r"no answer in 0\.05 s"):
            side.ask({"prepare": {"name": "a", "log": str(tmp_path / "log")}}, 0.05)
        with pytest.raises(Lost):
            side.ask({"go": True}, 5)
    finally:
        side.close()


def test_peers_find_nothing_of_the_project(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("XLA_FLAGS", "--xla_unknown")
    assert "PYTHONPATH" not in environment(Place(Path("/peer/bin/python")))
    assert environment(HERE)["PYTHONPATH"].split(":") == [str(SIDES.parents[2]), "/elsewhere"]
    assert "XLA_FLAGS" not in environment(HERE)


def test_one_thread_is_asked_of_xla(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NPROC", raising=False)
    assert "NPROC" not in environment(HERE)
    assert environment(HERE._replace(threads=1))["NPROC"] == "1"


def test_of_two_ways_the_faster_counts():
    answers = [
        Timed("a", rates=(4.0, 5.0, 6.0)),
        Timed("a, one thread", rates=(6.0, 7.0, 8.0), about={"jax": "1"}),
        Timed("b", rates=(9.0,)),
        Timed("b, one thread", rates=(8.0,)),
        Timed("c", "no answer in 600 s"),
        Timed("c, one thread", rates=(1.0,)),
        Timed("d", "it died"),
        Timed("d, one thread", "so did this"),
    ]
    found = _faster(answers)
    assert found["a"] == Timed("a", rates=(6.0, 7.0, 8.0), about={"jax": "1", "threads": 1})
    assert found["b"] == answers[2]
    assert found["c"].rates == (1.0,)
    assert found["d"].reason == "it died"
    assert list(found) == ["a", "b", "c", "d"]


def test_ratios_are_of_neighbours():
    assert ratio([10.0, 40.0, 30.0], [5.0, 10.0, 10.0]) == (3.0, 2.0, 4.0)


def _wheel(folder: Path, name: str, *more: str) -> str:
    """A package with one module, as the index would have it."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    about = {
        "METADATA": "\n".join(("Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *more, "")),
        "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "")
        for file, text in about.items():
            archive.writestr(f"{name}-1.0.dist-info/{file}", text)
    return str(path)


def test_an_environment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forced = _wheel(tmp_path, "forced", "Requires-Python: <3", "Requires-Dist: lepton-jax-no-such-package")
    peer = Peer("x.py", (_wheel(tmp_path, "asked"),), forced=(forced,))
    place = places.find("x", peer)
    assert place.reason == ""
    assert place.python is not None
    assert place.python.is_relative_to(tmp_path)
    subprocess.run([place.python, "-c", "import asked, forced"], check=True)
    (place.python.parent / "kept").touch()
    assert places.find("x", peer) == place
    assert (place.python.parent / "kept").exists()


def test_an_environment_that_cannot_be_made_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = places.find("x", Peer("x.py", (str(tmp_path / "nothing.whl"),)))
    assert place.python is None
    assert "nothing.whl" in place.reason
    assert not list(places.folder().glob("x-*/"))
    assert places.find("c", PEERS["c"]).python == Path(sys.executable)


def test_every_peer_can_be_compared():
    for name, peer in PEERS.items():
        assert peer.tiers, name
        for tier in {"env", "generate"} & set(peer.tiers):
            assert (SIDES / peer.script).is_file()
            for world in getattr(peer, tier).values():
                assert world.layouts in ("reused", "new", "other")
        assert all("==" in each for each in (*(peer.requires or ()), *peer.forced)), name
    assert _wanted("env", list(PEERS.values())) < OURS.env.keys()
    assert _wanted("env", [PEERS["gymnax"]]) == {"reused, full", SPREAD, "new, full", "reused, vector"}
    assert _wanted("generate", [PEERS["jumanji"]]) == {"perfect"}


def test_a_world_that_is_too_slow_is_told():
    slow = PEERS["craftax"].env["Classic-Symbolic"]
    assert _fitting(HERE, 64, slow) == HERE
    assert _fitting(HERE, 1024, slow).reason == "too slow for 1,024 environments: a step of them takes minutes"


def test_rows_have_the_ratios_that_are_asked_of():
    timed = lambda name, *rates: Timed(name, rates=rates, preparing=1.0)
    answers = {
        "lepton_jax, new, full": timed("lepton_jax, new, full", 100.0, 300.0, 200.0),
        "lepton_jax, new, egocentric": timed("lepton_jax, new, egocentric", 400.0, 400.0, 400.0),
        "xminigrid, FourRooms": timed("xminigrid, FourRooms", 2.0, 4.0, 5.0),
        "navix, FourRooms": Timed("navix, FourRooms", "it will not"),
    }
    split = {name: name.split(", ", 1) for name in answers}
    worlds = {name: (side, PEERS.get(side, OURS).env[world]) for name, (side, world) in split.items()}
    ours, _, row, lost = _rows("env", 64, worlds, answers)
    assert "ratio" not in ours
    assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == (50.0, 40.0, 75.0)
    assert (row["against"], row["asked"]) == ("new, full", 50.0)
    assert (row["like"]["against"], row["like"]["ratio"]) == ("new, egocentric", 100.0)
    assert (lost["reason"], lost["unit"]) == ("it will not", "steps/s")


def test_the_table_tells_all():
    good = {"name": "c", "n": 64, "median": 2e6, "low": 1e6, "high": 3e6, "ratio": 0.5, "ratio_low": 0.4,
            "ratio_high": 0.6, "against": "reused", "asked": 0.3}  # fmt: skip
    told = lines([good, {"name": "minimax", "n": 64, "reason": "it will not"}])
    assert " ".join(told[1].split()) == "c 64 2 M 1 M 3 M 0.5 [0.4, 0.6] (reused, asked 0.3)"
    assert told[2].split(maxsplit=2) == ["minimax", "64", "it will not"]


def test_names_that_cannot_be_measured():
    with pytest.raises(ConfigError, match="--peers gymnx: no such peer; did you mean 'gymnax'"):
        named("c,gymnx", ["env"])
    with pytest.raises(ConfigError, match="--peers rejax: it has no tier env, only train"):
        named("rejax", ["env"])
    with pytest.raises(ConfigError, match="--tier resume: expected one of env, generate, train"):
        named("all", ["resume"])
    assert named("all", ["env"]) == tuple(PEERS)


def test_means_are_told_where_they_are_of_whole_episodes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SIDES.parent))
    monkeypatch.syspath_prepend(str(SIDES))
    told = importlib.import_module("stepping").told
    assert told({"calls": 2, "ended": 7, "reward": 7.0}, 2, 10) == {"steps": 40, "episodes": 7}
    means = {"steps_an_episode": 5.0, "return_an_episode": 0.25}
    assert told({"calls": 2, "ended": 8, "reward": 2.0}, 2, 10) == {"steps": 40, "episodes": 8} | means


def test_no_layout_serves_two_episodes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SIDES.parent))
    monkeypatch.syspath_prepend(str(SIDES))
    work = importlib.import_module("ours").prepare("env", 64, "new, full", 512)
    for _ in range(3):
        work.call()
    told = work.check()
    # 1,536 steps with a limit of 284: every environment has begun at least five times.
    assert told["steps"] == 3 * 64 * 512
    assert 5 * 64 <= told["episodes"] == told["layouts_used"] <= told["layouts_made"]
    assert told["layouts_now"] == 64


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
    library.generate(levels.ctypes.data_as(ctypes.c_void_p), count, 5, 3)
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
