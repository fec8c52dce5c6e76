"""The files of a sweep: what the groups have written comes back, and the numbers made of it are right."""

import csv
import dataclasses
import itertools
import json
import random
import subprocess
import sys

import pyarrow.parquet
import pytest
from scipy import stats

from lepton_jax.config import Config, ConfigError, EnvConfig
from lepton_jax.scale.design import Halving, Lane, Sweep
from lepton_jax.scale.results import Column, Results, lanes_table, put_parquet, read, table, to_csv, write
from lepton_jax.scale.statistics import effects, interval, outcomes, summarise


def sweep_of(*points, seeds=(0, 1), halving=None, world="LeptonMaze-v0"):
    base = Config(shards=1, env=EnvConfig(id=world))
    lanes = [
        Lane(number, point, seed, knobs, dataclasses.replace(base, seed=seed))
        for number, ((point, knobs), seed) in enumerate(itertools.product(enumerate(points), seeds))
    ]
    return Sweep(tuple(lanes), tuple(points[0]), base, halving, 0, "own")


def row(lane, env_steps, policy="current", **figures):
    levels = "validation" if policy == "current" else "test"
    place = {"lane": lane, "iteration": env_steps // 1024, "env_steps": env_steps, "levels": levels, "policy": policy}
    return place | figures


def ended(lane, status="finished", reason=None, env_steps=2048, best_env_steps: int | None = 2048):
    about = {"status": status, "reason": reason, "env_steps": env_steps, "best_env_steps": best_env_steps}
    return {"lane": lane} | about


def done(lane, validation, test):
    """The rows of a finished lane, with an evaluation each of ``validation``."""
    rows = [row(lane, 1024 * (1 + k), success_rate=rate, spl=rate / 2) for k, rate in enumerate(validation)]
    last = rows[-1]["env_steps"]
    return [*rows, *(row(lane, last, policy, success_rate=test, spl=test / 2) for policy in ("final", "best"))]


def summary_of(sweep, rows, lanes, **about):
    return summarise(sweep, Results(tuple(rows), tuple(lanes)), about, lambda lane: f"play {lane.number}")


def as_dict(columns):
    return {column.name: column.values for column in columns}


TWO = ({"agent.lr": 1e-3}, {"agent.lr": 1e-4})


def test_no_jax_is_imported():
    code = "import sys, lepton_jax.scale.results; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_lines_of_all_groups_but_for_one_that_is_being_written(tmp_path):
    for group in ("g0", "g1", "g2"):
        (tmp_path / group).mkdir()
    (tmp_path / "g0" / "rows.jsonl").write_text('{"lane": 0}\n{"lane": 1}\n{"lane": 2')
    (tmp_path / "g0" / "lanes.jsonl").write_bytes('{"lane": 0, "reason": "é'.encode()[:-1])
    (tmp_path / "g1" / "lanes.jsonl").write_text('{"lane": 5}\n')
    assert read(tmp_path / name for name in ("g0", "g1", "g2")) == Results(({"lane": 0}, {"lane": 1}), ({"lane": 5},))
    (tmp_path / "g1" / "lanes.jsonl").write_text('{"lane": 5}\n{"lane": \n')
    with pytest.raises(ConfigError, match=r"g1/lanes\.jsonl, line 2: .*restore it, or remove that line"):
        read(tmp_path / name for name in ("g0", "g1"))


def test_the_table_as_text():
    sweep = sweep_of(
        {"agent.lr": 1, "net.kind": "mlp", "agent.double": True},
        {"agent.lr": 1e-4, "net.kind": 'a,"b"', "agent.double": False},
        seeds=(7,),
    )
    rows = [
        row(1, 2048, "best", success_rate=0.1 + 0.2, q_error=1e-17),
        row(1, 2048, "final", success_rate=0.5, q_error=None),
        row(1, 2048, loss=0.25, reward=None, mean_return=1, spl=0.125, success_rate=1 / 3),
        row(0, 1024, epsilon=0.5, loss=2.0, reward=None, success_rate=0.0),
    ]
    expected = (
        "lane,point,seed,agent.lr,net.kind,agent.double,iteration,env_steps,levels,policy,"
        "epsilon,loss,success_rate,spl,mean_return,q_error\n"
        "0,0,7,1.0,mlp,true,1,1024,validation,current,0.5,2.0,0.0,,,\n"
        '1,1,7,0.0001,"a,""b""",false,2,2048,validation,current,,0.25,0.3333333333333333,0.125,1.0,\n'
        '1,1,7,0.0001,"a,""b""",false,2,2048,test,final,,,0.5,,,\n'
        '1,1,7,0.0001,"a,""b""",false,2,2048,test,best,,,0.30000000000000004,,,1e-17\n'
    )
    for order in itertools.permutations(rows):
        assert to_csv(table(sweep, order)) == expected


def test_csv_and_parquet_read_back(tmp_path):
    draw = random.Random(0)
    sweep = sweep_of(*({"agent.lr": draw.random(), "net.width": 2**k, "agent.double": k > 1} for k in range(3)))
    rows = [
        row(lane, 1024 * step, loss=draw.gauss(0, 1e-9), success_rate=draw.random(), mean_length=draw.random() * 1e30)
        for lane in range(6)
        for step in range(1, 4)
    ]
    del rows[4]["loss"]
    columns = table(sweep, rows)
    (tmp_path / "table.csv").write_text(to_csv(columns), newline="")
    with (tmp_path / "table.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["loss"]) if line["loss"] else None for line in lines] == [r.get("loss") for r in rows]
    for name in ("success_rate", "mean_length"):
        assert [float(line[name]) for line in lines] == [r[name] for r in rows]
    for knob in sweep.knobs:
        assert [json.loads(line[knob]) for line in lines] == [sweep.lanes[r["lane"]].knobs[knob] for r in rows]

    assert put_parquet(tmp_path / "table.parquet", columns)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table.csv", "table.parquet"]
    back = pyarrow.parquet.read_table(tmp_path / "table.parquet")
    types = {field.name: str(field.type) for field in back.schema}
    assert types == {
        **dict.fromkeys(("lane", "point", "seed", "net.width", "iteration", "env_steps"), "int64"),
        **dict.fromkeys(("agent.lr", "loss", "success_rate", "mean_length"), "double"),
        **dict.fromkeys(("levels", "policy"), "string"),
        "agent.double": "bool",
    }
    spell = lambda value: "" if value is None else json.dumps(value) if isinstance(value, bool) else str(value)
    assert [{name: spell(value) for name, value in line.items()} for line in back.to_pylist()] == lines


def test_without_pyarrow_no_parquet_is_left(tmp_path, monkeypatch):
    path, columns = tmp_path / "table.parquet", [Column("lane", int, [1])]
    assert put_parquet(path, columns)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert not put_parquet(path, columns)
    assert not path.exists()


def test_lanes_that_wait_run_finish_stop_and_fail():
    sweep = sweep_of(*TWO, {"agent.lr": 1e-5})
    rows = [
        *done(0, [0.5, 0.75, 0.75], 0.6),
        *done(1, [0.1], 0.2)[:1],
        row(2, 1024, success_rate=0.2, spl=0.1),
        row(2, 2048, success_rate=0.2, spl=0.15),
        row(2, 3072, success_rate=0.2, spl=0.15),
        row(3, 1024, success_rate=0.4, spl=0.3),
    ]
    lanes = [
        ended(0, env_steps=3072),
        ended(1, "stopped", "rung 1: 3rd of 4", 1024, 1024),
        ended(4, "failed", "iteration 1 (1,024 env-steps): not finite: loss", 1024, None),
    ]
    columns = as_dict(lanes_table(sweep, Results(tuple(rows), tuple(lanes))))
    assert columns["lane"] == [0, 1, 2, 3, 4, 5]
    assert columns["agent.lr"] == [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5]
    assert columns["status"] == ["finished", "stopped", "running", "running", "failed", "waiting"]
    assert columns["reason"] == [None, lanes[1]["reason"], None, None, lanes[2]["reason"], None]
    assert columns["env_steps"] == [3072, 1024, 3072, 1024, 1024, 0]
    assert columns["best_env_steps"] == [2048, 1024, 2048, 1024, None, None]
    assert columns["best_validation/success_rate"] == [0.75, 0.1, 0.2, 0.4, None, None]
    assert columns["best_validation/spl"] == [0.375, 0.05, 0.15, 0.3, None, None]
    assert columns["best/success_rate"] == columns["final/success_rate"] == [0.6, None, None, None, None, None]
    assert list(columns)[-6:] == [
        f"{prefix}/{name}" for prefix in ("best_validation", "final", "best") for name in ("success_rate", "spl")
    ]

    summary = summary_of(sweep, rows, lanes, device="cpu", seconds=float("nan"))
    assert summary["counts"] == {"waiting": 1, "running": 2, "finished": 1, "stopped": 1, "failed": 1}
    assert summary["device"] == "cpu"
    assert summary["seconds"] is None
    assert summary["lanes"][0] == {
        **{"lane": 0, "point": 0, "seed": 0, "knobs": {"agent.lr": 1e-3}, "status": "finished", "reason": None},
        **{"env_steps": 3072, "best_env_steps": 2048, "validation": {"success_rate": 0.75, "spl": 0.375}},
        **{policy: {"success_rate": 0.6, "spl": 0.3} for policy in ("final", "best")},
    }
    assert summary["lanes"][4]["validation"] is None
    finished = [(point["finished"], point["mean"], point["low"]) for point in summary["points"]]
    assert finished == [(1, 0.6, None), (0, None, None), (0, None, None)]
    assert [[e["value"], e["mean"], e["lanes"], e["failed"], e["stopped"]] for e in summary["effects"]["agent.lr"]] == [
        [1e-5, None, 0, 1, 0],
        [1e-4, None, 0, 0, 0],
        [1e-3, 0.6, 1, 0, 1],
    ]
    assert summary["curves"] == [
        {
            **{"point": 0, "env_steps": [1024, 2048, 3072]},
            **{"mean": [0.3, 0.75, 0.75], "low": [0.1, 0.75, 0.75], "high": [0.5, 0.75, 0.75]},
        },
        {
            **{"point": 1, "env_steps": [1024, 2048, 3072]},
            **{"mean": [pytest.approx(0.3), 0.2, 0.2], "low": [0.2, 0.2, 0.2], "high": [0.4, 0.2, 0.2]},
        },
    ]


def test_points_have_t_intervals_over_seeds():
    sweep = sweep_of(*TWO, seeds=(0, 1, 2))
    tests = [[0.2, 0.4, 0.9], [0.5, 0.5, 0.5]]
    rows = [line for lane, test in enumerate(itertools.chain(*tests)) for line in done(lane, [0.5], test)]
    points = summary_of(sweep, rows, map(ended, range(6)))["points"]
    by_scipy = stats.ttest_1samp(tests[0], 0).confidence_interval(0.95)
    assert points[0] == {
        **{"point": 0, "knobs": TWO[0], "finished": 3, "mean": 0.5},
        **{"low": pytest.approx(by_scipy.low), "high": pytest.approx(by_scipy.high)},
    }
    assert points[1] == {"point": 1, "knobs": TWO[1], "finished": 3, "mean": 0.5, "low": 0.5, "high": 0.5}


def test_intervals_of_values_that_depend_on_each_other():
    means = [0.3, 0.7, 0.6]
    by_scipy = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    seen = interval([[mean - 0.1, mean + 0.1] for mean in means])
    assert seen == pytest.approx((1.6 / 3, by_scipy.low, by_scipy.high)), "as many in each: the t interval of means"
    # By hand: mean 0.5; residuals add up to -0.4 and 0.4; 2 / 1 x 0.32 / 3**2; t of 1 degree of freedom, 97.5%: 12.706.
    half = 12.7062047 * (0.64 / 9) ** 0.5
    assert interval([[0.2, 0.4], [0.9]]) == pytest.approx((0.5, 0.5 - half, 0.5 + half))
    assert interval([[0.25, 0.75]]) == (0.5, None, None)
    assert interval([]) == (None, None, None)


def test_the_effect_of_a_knob_is_over_points_and_of_one_alone_over_seeds():
    grid = [{"agent.lr": lr, "net.kind": kind} for lr in (1e-3, 1e-4) for kind in ("think", "mlp", "conv")]
    sweep = sweep_of(*grid)
    tests = [0.1, 0.3, 0.5, 0.7, 0.8, 0.8, 0.2, 0.4, 0.6, 0.6, 0.9, 0.7]
    rows = [line for lane, test in enumerate(tests) for line in done(lane, [0.5], test)]
    found = summary_of(sweep, rows, map(ended, range(12)))["effects"]
    assert list(found) == ["agent.lr", "net.kind"]
    low, high = found["agent.lr"]
    assert (low["value"], high["value"]) == (1e-4, 1e-3)
    by_scipy = stats.ttest_1samp([0.3, 0.6, 0.8], 0).confidence_interval(0.95)
    assert low["lanes"] == 6
    assert [low[name] for name in ("mean", "low", "high")] == pytest.approx([1.7 / 3, by_scipy.low, by_scipy.high])
    assert [entry["value"] for entry in found["net.kind"]] == ["think", "mlp", "conv"]
    assert [entry["mean"] for entry in found["net.kind"]] == pytest.approx([0.25, 0.6, 0.8])

    alone = sweep_of(*TWO, seeds=(0, 1, 2))
    rows = [line for lane, test in enumerate(tests[:6]) for line in done(lane, [0.5], test)]
    summary = summary_of(alone, rows, map(ended, range(6)))
    names = ("mean", "low", "high")
    by_point = [[point[name] for name in names] for point in summary["points"]]
    assert [[e[name] for name in names] for e in summary["effects"]["agent.lr"]] == by_point[::-1]

    listed = sweep_of({"agent.lr": 1e-3, "net.width": 8}, {"agent.lr": 1e-4, "net.width": 16}, seeds=(0, 1, 2))
    entries = summary_of(listed, rows, map(ended, range(6)))["effects"]["agent.lr"]
    assert [entry["low"] for entry in entries] == [None, None], (
        "one point: nothing tells what another would have come to"
    )


def test_many_values_go_into_bins():
    rates = [10 ** (-5 + k / 5) for k in range(16)]  # 1e-5 to 1e-2
    sweep = sweep_of(*({"agent.lr": rate, "agent.gamma": 0.9 + k / 1000} for k, rate in enumerate(rates)), seeds=(0,))
    rows = [line for lane in range(16) for line in done(lane, [0.5], lane / 16)]
    found = summary_of(sweep, rows, [ended(lane) for lane in range(16) if lane != 5] + [ended(5, "failed")])["effects"]
    lr, gamma = found["agent.lr"], found["agent.gamma"]
    assert [(entry["from"], entry["to"]) for entry in lr] == list(zip(rates[::2], rates[1::2], strict=True))
    assert [entry["value"] for entry in lr] == pytest.approx([10 ** (-4.9 + 0.4 * k) for k in range(8)])
    assert [entry["value"] for entry in gamma] == pytest.approx([0.9005 + 0.002 * k for k in range(8)])
    assert [(entry["lanes"], entry["failed"]) for entry in lr] == [(1, 1) if k == 2 else (2, 0) for k in range(8)]
    assert [entry["mean"] for entry in lr] == [0.25 if k == 2 else (2 * k + 0.5) / 16 for k in range(8)]


def test_a_value_lies_in_one_bin():
    widths = [1] * 11 + list(range(2, 11))
    sweep = sweep_of(*({"net.width": width} for width in widths))
    entries = effects(outcomes(sweep, Results((), ())), "net.width", "success_rate", alone=True)
    # The middle of each value's points lies at this share of the 20: 1 at 5.5/20, then 11.5/20, 12.5/20 ... 19.5/20.
    spans = [(entry["from"], entry["value"], entry["to"]) for entry in entries]
    assert spans == [(1, 1, 1), (2, 2, 2), (3, 4.0, 5), (6, 6.5, 7), (8, 9.0, 10)]


def test_the_best_is_chosen_on_validation_and_reported_on_test():
    sweep = sweep_of(*TWO)
    scores = [([0.1, 0.9], 0.5), ([0.8, 0.3], 0.6), ([0.7, 0.7], 1.0), ([0.95, 0.1], 1.0)]  # means 0.85 and 0.825
    rows = [line for lane, (validation, test) in enumerate(scores) for line in done(lane, validation, test)]
    best = summary_of(sweep, rows, map(ended, range(4)))["best"]
    by_scipy = stats.ttest_1samp([0.5, 0.6], 0).confidence_interval(0.95)
    assert best == {
        **{"point": 0, "lane": 0, "knobs": TWO[0], "figure": "success_rate", "seeds": 2, "command": "play 0"},
        **{"mean": 0.55, "low": pytest.approx(by_scipy.low), "high": pytest.approx(by_scipy.high)},
    }
    halved = summary_of(sweep._replace(halving=Halving(2, 1)), rows, map(ended, range(4)))["best"]
    assert (halved["point"], halved["lane"], halved["mean"]) == (1, 3, 1.0), "the point of the one best lane"


@pytest.mark.parametrize(
    ("statuses", "point", "lane"),
    [
        ("finished finished finished finished finished finished", 2, 5),
        ("finished finished finished finished failed finished", 1, 2),
        ("finished finished finished running running finished", 0, 0),
        ("finished finished failed failed running finished", 0, 0),
        ("finished failed failed failed failed running", 0, 0),
        ("finished running finished failed running failed", 0, 0),
        ("finished failed running running failed finished", 2, 5),
        ("running failed failed failed failed running", None, None),
    ],
)
def test_points_with_failed_lanes_come_last(statuses, point, lane):
    sweep = sweep_of(*TWO, {"agent.lr": 1e-5})
    scores = [0.3, 0.2, 0.6, 0.5, 0.8, 0.9]
    rows = [line for lane, score in enumerate(scores) for line in done(lane, [score], 0.5)]
    lanes = [ended(lane, status) for lane, status in enumerate(statuses.split()) if status != "running"]
    best = summary_of(sweep, rows, lanes)["best"]
    assert (best and best["point"], best and best["lane"]) == (point, lane)


def test_equal_success_is_decided_by_path_length_and_then_by_number():
    sweep = sweep_of(*TWO, {"agent.lr": 1e-5}, seeds=(0,))
    rows = [row(lane, 1024, success_rate=0.5, spl=spl) for lane, spl in enumerate((0.2, 0.4, 0.4))]
    best = summary_of(sweep, rows, map(ended, range(3)))["best"]
    assert (best["point"], best["mean"], best["command"]) == (1, None, "play 1")


def test_worlds_without_success_are_judged_by_return():
    sweep = sweep_of(*TWO, seeds=(0,), world="CartPole-v1")
    assert summary_of(sweep, [], [])["figure"] == "mean_return"
    rows = [
        row(lane, 1024, policy, mean_return=value, success_rate=None)
        for lane, value in enumerate((-3.0, -2.0))
        for policy in ("current", "final", "best")
    ]
    summary = summary_of(sweep, rows, map(ended, range(2)))
    assert summary["figure"] == summary["best"]["figure"] == "mean_return"
    assert (summary["best"]["point"], summary["best"]["mean"]) == (1, -2.0)
    assert summary["curves"][0]["mean"] == [-3.0]
    assert "success_rate" not in as_dict(table(sweep, rows))


def test_numbers_that_are_not_finite_become_null(tmp_path):
    sweep = sweep_of(*TWO, seeds=(0,))
    rows = [*done(0, [0.5], 0.5), row(1, 1024, success_rate=float("nan"), spl=0.5)]
    summary = summary_of(sweep, rows, [ended(0), ended(1, "failed")])
    assert summary["lanes"][1]["validation"] is None
    assert summary["figure"] == "success_rate"
    json.dumps(summary, allow_nan=False)


def test_write_is_whole_and_the_same_each_time(tmp_path):
    sweep = sweep_of(*TWO)
    groups = {"g2": [0], "g10": [1, 3], "g3": [2]}
    for name, lanes in groups.items():
        (tmp_path / name).mkdir()
        rows = [line for lane in lanes for line in done(lane, [0.25, 0.5], lane / 4)]
        (tmp_path / name / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rows))
        (tmp_path / name / "lanes.jsonl").write_text("".join(json.dumps(ended(lane)) + "\n" for lane in lanes))
    (tmp_path / "g2x").touch()
    command = lambda lane: f"train --agent.lr {lane.config.agent.lr} --seed {lane.seed}"
    summary = write(tmp_path, sweep, {"device": "cpu"}, command)
    names = ["lanes.csv", "summary.json", "table.csv", "table.parquet"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["g2x", *names]
    written = {name: (tmp_path / name).read_bytes() for name in names}
    assert json.loads(written["summary.json"]) == summary
    assert summary["counts"]["finished"] == 4
    assert summary["best"]["command"] == f"train --agent.lr {Config().agent.lr} --seed 0"
    assert written["table.csv"].count(b"\n") == 1 + 4 * 4
    assert write(tmp_path, sweep, {"device": "cpu"}, command) == summary
    assert {name: (tmp_path / name).read_bytes() for name in names} == written


def test_a_sweep_that_has_written_nothing_yet(tmp_path):
    sweep = sweep_of(*({"agent.lr": 10.0**-k, "net.kind": "mlp"} for k in range(3)))
    summary = write(tmp_path, sweep, {}, lambda lane: "")
    assert summary["counts"] == {"waiting": 6, "running": 0, "finished": 0, "stopped": 0, "failed": 0}
    assert summary["best"] is None
    assert summary["curves"] == []
    assert [point["mean"] for point in summary["points"]] == [None] * 3
    assert summary["figure"] == "success_rate"
    header = "lane,point,seed,agent.lr,net.kind,iteration,env_steps,levels,policy\n"
    assert (tmp_path / "table.csv").read_text() == header
    schema = pyarrow.parquet.read_schema(tmp_path / "table.parquet")
    assert [str(kind) for kind in schema.types] == ["int64"] * 3 + ["double", "string", "int64", "int64"] + [
        "string"
    ] * 2
    with (tmp_path / "lanes.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["status"] for line in lines] == ["waiting"] * 6
    assert lines[5] == {
        **{"lane": "5", "point": "2", "seed": "1", "agent.lr": "0.01", "net.kind": "mlp", "status": "waiting"},
        **{"reason": "", "env_steps": "0", "best_env_steps": ""},
    }
