"""Sweeps: what is asked for, in files and by flags, and the lanes that are made of it."""

import collections
import dataclasses
import math
import subprocess
import sys
import tomllib

import numpy as np
import pytest
from scipy.stats import kstest, qmc

from lepton_jax.config import Config, ConfigError
from lepton_jax.presets import from_preset
from lepton_jax.scale.asking import from_flags, from_table, merge
from lepton_jax.scale.axes import Asked, Halving, Range
from lepton_jax.scale.design import design, difference, from_text, to_toml
from lepton_jax.settings import overlay
from lepton_jax.validate import look_up

BASE = from_preset("quick")

FILE = """
preset = "maze9"
seeds = [0, 5]
samples = 2
design_seed = 3
places = 4
pools = "shared"
[config]
total_steps = 1_000_000
[config.agent]
kind = "pqn"
[grid]
agent.gamma = [0.9, 1]
"net.width" = [64, 128]
[sobol]
agent.lr = { low = 1e-5, high = 1e-2, log = true }
agent.loss = ["huber", "squared"]
[[points]]
agent.tau = 0.1
env.slip = 0
[[points]]
env.slip = 0.2
"agent.tau" = 0.2
[halving]
eta = 3
first = 4
"""


def read(text):
    return from_table(tomllib.loads(text), "sweep.toml")


def lanes_of(base=BASE, **asked):
    return design(base, Asked(**asked)).lanes


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from lepton_jax.scale import asking, axes, design, groups, halving; "
        "sys.exit(bool({'jax', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_file_says_all_there_is():
    asked, preset, config, changes, graft = read(FILE)
    assert graft is None
    assert (preset, config) == ("maze9", None)
    assert changes == {"total_steps": 1_000_000, "agent": {"kind": "pqn"}}
    assert asked == Asked(
        grid={"agent.gamma": (0.9, 1.0), "net.width": (64, 128)},
        drawn={"agent.lr": Range(1e-5, 1e-2, True), "agent.loss": ("huber", "squared")},
        method="sobol",
        samples=2,
        design_seed=3,
        points=({"agent.tau": 0.1, "env.slip": 0.0}, {"agent.tau": 0.2, "env.slip": 0.2}),
        seeds=[0, 5],
        halving=Halving(3, 4),
        places=4,
        pools="shared",
    )
    assert type(asked.grid["agent.gamma"][1]) is float, "an integer for a float becomes one"
    assert read('config = "base.toml"\nseeds = 2')[1:] == (None, "base.toml", {}, None)
    assert read("[halving]\neta = 2").asked.halving == Halving(2, 1)


def test_flags_say_the_same():
    flags = from_flags(
        ["agent.gamma=0.9,1", "net.width=64,128", "agent.double=true,false"],
        sobol=["agent.lr=1e-5:1e-2:log", "agent.loss=huber,squared", "agent.tau=0.1:0.2"],
        samples=2,
        design_seed=3,
        seeds="0,5",
        halving="3:4",
        places=4,
        pools="shared",
    )
    assert flags == Asked(
        grid={"agent.gamma": (0.9, 1.0), "net.width": (64, 128), "agent.double": (True, False)},
        drawn={
            "agent.lr": Range(1e-5, 1e-2, True),
            "agent.loss": ("huber", "squared"),
            "agent.tau": Range(0.1, 0.2),
        },
        method="sobol",
        samples=2,
        design_seed=3,
        seeds=[0, 5],
        halving=Halving(3, 4),
        places=4,
        pools="shared",
    )
    assert from_flags(random=["replay.updates=1:8"], seeds="32", halving="2") == Asked(
        drawn={"replay.updates": Range(1, 8)}, method="random", seeds=32, halving=Halving(2, 1)
    )
    assert from_flags() == Asked()


def test_flags_win():
    file = read(FILE).asked
    assert merge(file, Asked()) == file
    both = merge(file, from_flags(["agent.gamma=0.5"], sobol=["net.width=1:9"], samples=8, seeds="3", halving="2"))
    assert both.grid == {"agent.gamma": (0.5,)}, "a draw takes the place of the list"
    assert list(both.drawn) == ["agent.lr", "agent.loss", "net.width"]
    assert (both.samples, both.seeds, both.halving, both.places) == (8, 3, Halving(2, 1), 4)
    assert both.points == file.points
    listed = merge(file, from_flags(["agent.lr=1e-3", "agent.loss=huber"]))
    assert (listed.drawn, listed.samples, listed.method) == ({}, None, None), "nothing is left to be drawn"
    other = merge(file, from_flags(random=["agent.lr=0.1:0.2", "agent.loss=huber"]))
    assert (other.method, other.samples) == ("random", 2)
    with pytest.raises(ConfigError, match=r"--random beside the file's \[sobol\]; expected one way"):
        merge(file, from_flags(random=["agent.lr=0.1:0.2"]))


def test_lanes_are_numbered_point_by_point():
    base = dataclasses.replace(BASE, seed=7, run_dir="here", shards=1)
    sweep = design(base, Asked(grid={"agent.lr": [1e-3, 1e-2], "net.width": [32, 64]}, seeds=3))
    points = [(1e-3, 32), (1e-3, 64), (1e-2, 32), (1e-2, 64)]
    assert sweep.knobs == ("agent.lr", "net.width")
    assert (sweep.halving, sweep.places, sweep.pools, len(sweep.lanes)) == (None, 0, "own", 12)
    for number, lane in enumerate(sweep.lanes):
        assert (lane.number, lane.point, lane.seed) == (number, number // 3, 7 + number % 3)
        assert tuple(lane.knobs.values()) == points[lane.point]
        wanted = {"agent": {"lr": points[lane.point][0]}, "net": {"width": points[lane.point][1]}}
        settings = {"seed": lane.seed, "shards": 1, "run_dir": ""}
        assert lane.config == overlay(BASE, wanted | settings, "test")


def test_axes_are_crossed():
    asked = Asked(
        grid={"agent.gamma": [0.5, 1]},
        drawn={"agent.lr": Range(0.1, 0.2)},
        method="random",
        samples=3,
        points=[{"agent.tau": 0.1, "total_steps": 1000}, {"total_steps": 2000, "agent.tau": 0.2}],
        seeds=[9],
    )
    lanes = design(BASE, asked).lanes
    drawn = [lane.knobs["agent.lr"] for lane in lanes[:6:2]]
    wanted = [(g, lr, *p) for g in (0.5, 1.0) for lr in drawn for p in ((0.1, 1000), (0.2, 2000))]
    assert [tuple(lane.knobs.values()) for lane in lanes] == wanted
    assert len(set(drawn)) == 3
    assert {lane.seed for lane in lanes} == {9}
    assert [lane.config.total_steps for lane in lanes[:2]] == [1000, 2000]
    assert lanes[0].knobs["agent.gamma"] == lanes[0].config.agent.gamma == 0.5


def test_one_lane_is_a_sweep():
    lanes = lanes_of(seeds=1)
    assert [(lane.number, lane.knobs, lane.config.seed) for lane in lanes] == [(0, {}, 0)]
    assert len(lanes_of(grid={"agent.lr": [0.1]})) == 1


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_draws_are_even(method):
    """Floats by Kolmogorov's test against the distribution that is asked for; integers by their counts."""
    drawn = {
        "agent.gamma": Range(0.2, 0.6),
        "agent.lr": Range(1e-5, 1e-1, True),
        "replay.updates": Range(2, 5),
        "agent.n_step": Range(1, 3, True),
        "agent.loss": ["huber", "squared"],
    }
    lanes = lanes_of(drawn=drawn, method=method, samples=1000, design_seed=1)
    columns = {name: [look_up(lane.config, name) for lane in lanes] for name in drawn}
    assert kstest(columns["agent.gamma"], "uniform", (0.2, 0.4)).pvalue > 0.01
    assert kstest(np.log10(columns["agent.lr"]), "uniform", (-5, 4)).pvalue > 0.01
    shares = {name: {k: n / 1000 for k, n in collections.Counter(columns[name]).items()} for name in drawn}
    assert shares["replay.updates"] == pytest.approx(dict.fromkeys((2, 3, 4, 5), 0.25), abs=0.05)
    logs = {k: math.log((k + 0.5) / (k - 0.5)) / math.log(3.5 / 0.5) for k in (1, 2, 3)}
    assert shares["agent.n_step"] == pytest.approx(logs, abs=0.05)
    assert shares["agent.loss"] == pytest.approx({"huber": 0.5, "squared": 0.5}, abs=0.05)
    assert all(type(lane.knobs["replay.updates"]) is int for lane in lanes)


def test_draws_are_of_their_seed():
    draw = lambda seed, samples, method: [
        lane.config.agent.lr
        for lane in lanes_of(drawn={"agent.lr": Range(0, 1)}, method=method, samples=samples, design_seed=seed)
    ]
    assert draw(5, 3, "random") == np.random.default_rng(5).random(3).tolist()
    assert draw(5, 8, "sobol") == qmc.Sobol(1, rng=np.random.default_rng(5)).random(8)[:, 0].tolist()
    assert draw(5, 5, "sobol") == draw(5, 8, "sobol")[:5], "no warning of a count that is no power of two"
    assert draw(5, 1, "sobol") == draw(5, 8, "sobol")[:1]
    assert draw(5, 8, "sobol") != draw(6, 8, "sobol")
    assert draw(5, 8, "random")[:3] == draw(5, 3, "random")


SWEEPS = {
    "seeds": Asked(seeds=3),
    "grid": Asked(grid={"agent.double": [True, False], "env.id": ["CartPole-v1"], "agent.lr": [1, 0.3]}, seeds=[7, 4]),
    "random": Asked(drawn={"agent.lr": Range(1e-7, 1e3, True), "net.width": Range(1, 99)}, method="random", samples=20),
    "sobol": Asked(drawn={"agent.gamma": Range(0, 1)}, method="sobol", samples=5, halving=Halving(3, 2), places=4),
    "points": Asked(points=[{"total_steps": 9_000}, {"total_steps": 10_000}], seeds=2, pools="shared"),
}


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_is_read_back_equal(name):
    base = dataclasses.replace(BASE, seed=3, run_dir='a "quoted" folder')
    sweep = design(base, SWEEPS[name])
    text = to_toml(sweep)
    assert from_text(text, "text") == sweep
    assert difference(sweep, from_text(text, "text")) is None
    assert to_toml(from_text(text, "text")) == text


def test_a_text_without_all_settings_is_no_whole_sweep():
    for key in ("preset", "config"):
        with pytest.raises(ConfigError, match=r"x: expected all settings below \[config\], without preset or config"):
            from_text(f'{key} = "quick"\nseeds = 2', "x")
    with pytest.raises(ConfigError, match=r"x: config: unknown key 'agent.lrr'; did you"):
        from_text("seeds = 2\n[config.agent]\nlrr = 1", "x")
    with pytest.raises(ConfigError, match="x: config: config_version = 99, and this"):
        from_text("seeds = 2\n[config]\nconfig_version = 99", "x")
    with pytest.raises(ConfigError, match="x: not valid TOML"):
        from_text("seeds = ", "x")


def test_the_first_difference_is_told():
    old = design(BASE, Asked(grid={"agent.lr": [1e-4, 3e-4]}, seeds=2))
    new = lambda base=BASE, **asked: design(base, Asked(**({"grid": {"agent.lr": [1e-4, 3e-4]}, "seeds": 2} | asked)))
    assert difference(old, new(grid={"agent.lr": [1e-4, 1e-3]})) == "lane 2: agent.lr = 0.001, begun with 0.0003"
    assert difference(old, new(seeds=[0, 2])) == "lane 1: seed = 2, begun with 1"
    assert difference(old, new(seeds=4)) == "lanes: 8, begun with 4"
    assert difference(old, new(halving=Halving(3, 4))) == "halving: eta = 3, first = 4, begun with none"
    assert difference(new(halving=Halving(3, 4)), old) == "halving: none, begun with eta = 3, first = 4"
    assert difference(old, new(places=2)) == "places: 2, begun with 0"
    assert difference(old, new(pools="shared")) == "pools: shared, begun with own"
    more = new(grid={"agent.lr": [1e-4, 3e-4], "agent.gamma": [BASE.agent.gamma]})
    assert difference(old, more) == "knobs: agent.lr, agent.gamma, begun with agent.lr"
    wider = overlay(BASE, {"net": {"width": 9}}, "test")
    assert difference(old, new(wider)) == "lane 0: net.width = 9, begun with 128"
    free = {"display": "quiet", "run_dir": "x", "checkpoint": {"latest": 5, "every_seconds": 1.0}}
    assert difference(old, new(overlay(BASE, free, "test"))) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = 3", "unknown key 'seed'; did you mean 'seeds'"),
        ("zzz = 3", "unknown key 'zzz'; there are preset, config"),
        ("grid = 3", "grid: expected a table of knobs"),
        ("[grid]", "grid is empty"),
        ("[random]", "random is empty"),
        ("points = []", "points is empty"),
        ("points = 3", "points: expected tables, each below"),
        ("points = [3]", "points: expected a table of knobs"),
        ("[[points]]", "points: point 0 is empty"),
        ("[[points]]\nagent.lr = 1\n[[points]]\nagent.tau = 1", "'agent.lr' is in one of points 0 and 1 only"),
        ("[[points]]\nagent.lr = 1\n[[points]]\nagent.lr = 1.0", "points 0 and 1 are the same, agent.lr = 1.0"),
        ("preset = 3", "preset = 3; expected a name"),
        ("config = 3", "config = 3; expected a file, or a table"),
        ("[grid]\nagent.lrr = [1]", "grid: unknown setting 'agent.lrr'; did you mean 'agent.lr'"),
        ("[grid]\nlr = [1]", "grid: unknown setting 'lr'; did you mean 'agent.lr'"),
        ("[grid]\nagnet.lr = [1]", "grid: unknown setting 'agnet.lr'; did you mean 'agent.lr'"),
        ("[grid]\nagent = [1]", "grid: unknown setting 'agent'"),
        ("[sobol]\nagnet.lr = { low = 1, high = 2 }", "sobol: unknown setting 'agnet.lr'; did you mean 'agent.lr'"),
        ("[grid]\nseed = [1]", "grid: 'seed' cannot be swept: .* --seeds"),
        ("[grid]\nrun_dir = ['a']", "grid: 'run_dir' cannot be swept: a sweep has one folder"),
        ("[grid]\ndisplay = ['auto']", "grid: 'display' cannot be swept"),
        ("[grid]\nshards = [1]", "grid: 'shards' cannot be swept: each lane runs on one device"),
        ("[[points]]\ncheckpoint.latest = 1", "points: 'checkpoint.latest' cannot be swept"),
        ("[grid]\nagent.lr = 1", "grid: 'agent.lr' = 1; expected a list of values"),
        ("[grid]\nagent.lr = { low = 1, high = 2 }", "grid: 'agent.lr' = .*; expected a list of values"),
        ("[grid]\nagent.lr = []", "grid: 'agent.lr' has no values"),
        ("[grid]\nagent.lr = [1, 1.0]", "grid: 'agent.lr' has 1.0 twice"),
        ("[grid]\nagent.lr = ['x']", "grid: 'agent.lr' = 'x' has type str; expected float"),
        ("[grid]\nnet.width = [64.0]", "grid: 'net.width' = 64.0 has type float; expected int"),
        ("[grid]\nagent.loss = ['hubr']", "grid: 'agent.loss' = 'hubr'; did you mean 'huber'"),
        ("[grid]\nagent.lr = [1]\n'agent.lr' = [2]", "grid: 'agent.lr' is there twice"),
        ("[random]\nagent.lr = { low = 2, high = 1 }", "random: 'agent.lr' from 2.0 to 1.0; .* low < high"),
        ("[random]\nagent.lr = { low = 1, high = 1 }", "low < high"),
        ("[random]\nagent.lr = { low = 1, high = inf }", "low < high"),
        ("[random]\nagent.lr = { low = nan, high = 1 }", "low < high"),
        ("[random]\nagent.lr = { low = 0, high = 1, log = true }", "'agent.lr' from 0.0; expected low > 0 with log"),
        ("[random]\nagent.lr = { low = 0, high = 1, log = 1 }", "'agent.lr' log = 1; expected true or false"),
        ("[random]\nagent.lr = { low = 1 }", "random: 'agent.lr': expected a list of choices, or { low = 1, high"),
        ("[random]\nagent.lr = { low = 1, hihg = 2 }", "'agent.lr': unknown key 'hihg'; did you mean 'high'"),
        ("[random]\nnet.width = { low = 1.5, high = 2 }", "'net.width' = 1.5 has type float; expected int"),
        ("[random]\nagent.loss = { low = 1, high = 2 }", "random: 'agent.loss' is no number"),
        ("[random]\nagent.double = { low = 0, high = 1 }", "random: 'agent.double' is no number"),
        ("[random]\nagent.lr = [1]\n[sobol]\nagent.tau = [1]", "random and sobol are both there"),
        ("samples = 0", "samples = 0; expected a whole number from 1 on"),
        ("samples = true", "samples = True; expected a whole number"),
        ("design_seed = -1", "design_seed = -1; expected a whole number from 0 on"),
        ("places = -1", "places = -1; expected a whole number from 0 on"),
        ("pools = 'none'", "pools = 'none'; expected 'own' or 'shared'"),
        ("seeds = 0", "seeds = 0; expected how many, from 1 on, or a list"),
        ("seeds = []", r"seeds = \[\]; expected how many"),
        ("seeds = true", "seeds = True; expected how many"),
        ("seeds = 'x'", "seeds = 'x'; expected how many"),
        ("seeds = [1.0]", r"seeds = \[1.0\]; expected how many"),
        ("seeds = [1, 2, 1]", "seeds: 1 is there twice"),
        ("seeds = [-1]", "seeds = -1; expected 0 to 4294967295"),
        ("seeds = [4294967296]", "seeds = 4294967296; expected 0 to 4294967295"),
        ("halving = 3", "halving: expected a table with eta"),
        ("[halving]\nfirst = 3", "halving: expected a table with eta"),
        ("[halving]\neta = 3\nfrist = 1", "halving: unknown key 'frist'; did you mean 'first'"),
        ("[halving]\neta = 1", "halving.eta = 1; expected a whole number from 2 on"),
        ("[halving]\neta = 2\nfirst = 0", "halving.first = 0; expected a whole number from 1 on"),
    ],
)
def test_a_file_is_refused(text, message):
    with pytest.raises(ConfigError, match=f"^sweep.toml: .*{message}"):
        read(text)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"grid": ["agent.lr"]}, "--grid agent.lr: expected KNOB=VALUE,VALUE$"),
        ({"random": ["agent.lr="]}, "--random agent.lr=: expected KNOB=VALUE,VALUE or KNOB=LOW:HIGH"),
        ({"grid": ["agent.lrr=1"]}, "--grid: unknown setting 'agent.lrr'; did you mean 'agent.lr'"),
        ({"grid": ["seed=1,2"]}, "--grid: 'seed' cannot be swept: .*--seeds"),
        ({"grid": ["agent.lr=1", "agent.lr=2"]}, "--grid: 'agent.lr' is there twice"),
        ({"grid": ["agent.lr=1,x"]}, "--grid agent.lr=1,x: 'x' is no number"),
        ({"grid": ["agent.lr=1,"]}, "'' is no number"),
        ({"grid": ["net.width=1e3"]}, "'1e3' is no whole number"),
        ({"grid": ["agent.double=yes"]}, "'yes' is neither true nor false"),
        ({"grid": ["agent.loss=hubr"]}, "'agent.loss' = 'hubr'; did you mean 'huber'"),
        ({"grid": ["agent.lr=1:2"]}, "grid: 'agent.lr' is a range; list its values, or draw"),
        ({"random": ["agent.lr=1:2:3"]}, "expected LOW:HIGH or LOW:HIGH:log"),
        ({"random": ["agent.lr=2:1"]}, "random: 'agent.lr' from 2.0 to 1.0; .* low < high"),
        ({"sobol": ["agent.lr=0:1:log"]}, "sobol: 'agent.lr' from 0.0; expected low > 0"),
        ({"random": ["agent.loss=a:b"]}, "'agent.loss' = 'a:b'; expected one of"),
        ({"random": ["agent.double=false:true"]}, "'false:true' is neither true nor false"),
        ({"random": ["agent.lr=1,2"], "sobol": ["agent.tau=0,1"]}, "random and sobol are both there"),
        ({"seeds": "x"}, "--seeds x: expected how many, such as 32, or each"),
        ({"seeds": "0"}, "seeds = 0; expected how many"),
        ({"seeds": "1,1"}, "seeds: 1 is there twice"),
        ({"halving": "x"}, "--halving x: expected ETA or ETA:FIRST"),
        ({"halving": "3:4:5"}, "--halving 3:4:5: expected ETA or ETA:FIRST"),
        ({"halving": "1"}, "halving.eta = 1; expected a whole number from 2 on"),
        ({"samples": 0}, "samples = 0; expected"),
        ({"places": -1}, "places = -1; expected"),
        ({"pools": "x"}, "pools = 'x'; expected 'own' or 'shared'"),
    ],
)
def test_flags_are_refused(flags, message):
    with pytest.raises(ConfigError, match=message):
        from_flags(**flags)


RANGE = {"drawn": {"agent.lr": Range(0.1, 0.2)}, "method": "random"}


@pytest.mark.parametrize(
    ("asked", "changes", "message"),
    [
        ({}, {}, "nothing varies"),
        ({"grid": {"agent.lr": []}}, {}, "grid: 'agent.lr' has no values"),
        ({"seeds": 2}, {"shards": 2}, "shards = 2: each lane of a sweep runs on one device; leave shards away"),
        (RANGE, {}, "samples is missing"),
        ({"samples": 4, "seeds": 2}, {}, "samples = 4, but no knob is drawn"),
        (RANGE | {"samples": 4, "method": None}, {}, "method is missing"),
        (RANGE | {"samples": 4, "method": "sobel"}, {}, "method = 'sobel'; expected 'random' or 'sobol'"),
        (RANGE | {"samples": 4, "grid": {"agent.lr": [1]}}, {}, "'agent.lr' is on two axes"),
        ({"grid": {"agent.lr": [1]}, "points": [{"agent.lr": 2}]}, {}, "'agent.lr' is on two axes"),
        (
            {"drawn": {"net.width": [8, 9]}, "method": "random", "samples": 3},
            {},
            "samples . and . are the same, net.width",
        ),
        ({"seeds": 2}, {"seed": 2**32 - 1}, "seeds 4294967295 to 4294967296; expected 0 to 4294967295"),
        ({"grid": {"agent.lr": [1, 2]}, "seeds": 2**15 + 1}, {}, "65538 lanes; expected at most 65536"),
        (RANGE | {"samples": 10**12}, {}, "1000000000000 lanes; expected at most 65536"),
        (
            {"grid": {"agent.gamma": [0.5, 2]}, "seeds": 3},
            {},
            r"^sweep: lane 3 \(agent.gamma = 2.0\): agent.gamma = 2.0 is out of range: expected 0 to 1",
        ),
        ({"seeds": 2}, {"agent": {"gamma": 2.0}}, "^sweep: lane 0: agent.gamma = 2.0 is out of range"),
        ({"seeds": 2, "halving": Halving(3, 40)}, {}, "halving.first = 40; expected less than log_points = 40"),
        (
            {"grid": {"log_points": [10, 20]}, "halving": Halving(3, 4)},
            {},
            "halving: .* same log points .*; leave 'log_points' away",
        ),
        (
            {"grid": {"env.id": ["CartPole-v1", "Acrobot-v1"]}, "halving": Halving(3, 4)},
            {},
            "halving: .*; leave 'env.id' away",
        ),
        ({"grid": {"env.level_seed": [0, 1]}, "pools": "shared"}, {}, "pools = 'shared': .* different env.level_seed"),
    ],
)
def test_a_design_is_refused(asked, changes, message):
    with pytest.raises(ConfigError, match=message):
        design(overlay(BASE, changes, "test"), Asked(**asked))


def test_what_could_be_refused_but_makes_sense():
    assert len(lanes_of(grid={"log_points": [10, 20]})) == 2
    assert len(lanes_of(grid={"env.level_seed": [0, 1]}, pools="own")) == 2
    assert lanes_of(grid={"log_points": [10]}, halving=Halving(3, 9))[0].config.log_points == 10
    assert lanes_of(Config(seed=2**32 - 2), seeds=2)[-1].seed == 2**32 - 1
    assert lanes_of(drawn={"net.width": [8]}, method="random", samples=1)[0].config.net.width == 8
