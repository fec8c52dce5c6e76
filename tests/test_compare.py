"""Runs side by side: what is read of them, what is said of them, and how it is shown."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import lepton_jax
from bench.flip import tiny
from lepton_jax import compare as command
from lepton_jax.config import Config, ConfigError
from lepton_jax.engine.integrity import CheckpointError
from lepton_jax.engine.launch import begin
from lepton_jax.engine.run import go
from lepton_jax.report.compare_facts import Curve, Value, compare, curve, curve_of
from lepton_jax.report.compare_page import page, picture
from lepton_jax.report.compare_runs import Trial, read_trials
from lepton_jax.report.compare_text import lines, spark
from lepton_jax.scale.design import Lane, Sweep, to_toml
from lepton_jax.settings import overlay

ROOT = Path(lepton_jax.__file__).parent.parent
MADE = {"jax": "1.2.3", "device": "cpu", "revision": "a" * 40}


def trial(
    name="a", rates=(0.1, 0.3), test=0.3, made_by=None, status="finished", fingerprint: str | None = "L", **changes
) -> Trial:
    """A run with a success rate at each 1,000 env-steps."""
    config = overlay(Config(), changes, "test")
    figures = {"success_rate": test, "mean_length": 10 * test, "regret": 1 - test}
    return Trial(
        name=name,
        config=config,
        status=status,
        env_steps=1000 * len(rates),
        curve=tuple(
            {"env_steps": 1000 * k, "loss": 1 / k, "validation/success_rate": rate} for k, rate in enumerate(rates, 1)
        ),
        seconds=2.0,
        wall_seconds=3.0,
        final=figures if status == "finished" else None,
        best=figures if status == "finished" else None,
        made_by=MADE if made_by is None else made_by,
        levels=("maze", config.env.size, 0),
        fingerprint=fingerprint,
        policies={"final": f"{test}"},
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("compare") / "one"
    go(begin(tiny(folder)))
    return folder


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Path:
    """Two points of two seeds, of which one lane has failed, one is on its way and one waits."""
    folder = tmp_path_factory.mktemp("sweeps") / "lr"
    (folder / "g0").mkdir(parents=True)
    base = overlay(tiny(Path()), {"run_dir": "", "shards": 1}, "test")
    with_lr = lambda seed, lr: dataclasses.replace(base, seed=seed, agent=dataclasses.replace(base.agent, lr=lr))
    points = [(0, {"agent.lr": 1e-3}), (1, {"agent.lr": 1e-2})]
    every = [(point, knobs, seed) for point, knobs in points for seed in (0, 1)]
    lanes = [Lane(n, p, seed, knobs, with_lr(seed, knobs["agent.lr"])) for n, (p, knobs, seed) in enumerate(every)]
    (folder / "sweep.toml").write_text(to_toml(Sweep(tuple(lanes), ("agent.lr",), base, None, 0, "own")))
    place = {"iteration": 4, "policy": "current", "loss": 0.5}
    rows = [
        {"lane": lane, "env_steps": steps, "levels": "validation", "success_rate": rate} | place
        for lane, steps, rate in ((0, 2048, 0.5), (0, 1024, 0.25), (1, 1024, 0.125), (2, 1024, 0.0))
    ]
    rows += [{"lane": 0, "env_steps": 2048, "levels": "test", "policy": p, "iteration": 4, "success_rate": 0.75}
             for p in ("final", "best")]  # fmt: skip
    (folder / "g0" / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    ended = [(0, "finished", None, 2048), (2, "failed", "loss is NaN", 1024)]
    (folder / "g0" / "lanes.jsonl").write_text(
        "".join(
            json.dumps({"lane": n, "status": s, "reason": r, "env_steps": k, "best_env_steps": k}) + "\n"
            for n, s, r, k in ended
        )
    )
    return folder


def test_a_run_is_read_as_its_files_say(run):
    (found,) = read_trials([str(run)])
    summary, manifest = (json.loads((run / name).read_text()) for name in ("summary.json", "manifest.json"))
    assert found.status == "finished"
    assert found.env_steps == summary["env_steps"]
    assert found.best is not None
    assert found.best["regret"] == summary["best"]["regret"]
    assert found.final is not None
    assert found.final["q_error"] == summary["q_error"]
    assert found.seconds == pytest.approx(summary["env_steps"] / summary["env_steps_per_second"])
    assert found.fingerprint == manifest["levels"]["test"]["sha256"]
    assert [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] == list(found.curve)
    assert {"jax", "device", "revision", "graft", "shards"} <= found.made_by.keys()
    assert found.policies.keys() == {"final", "best"}


def test_a_run_under_way_is_read_as_far_as_it_has_come(run, tmp_path):
    shutil.copytree(run, tmp_path / "half")
    (tmp_path / "half" / "summary.json").unlink()
    shutil.rmtree(tmp_path / "half" / "policy")
    for name in ("metrics.jsonl", "timing.jsonl"):
        text = (run / name).read_text().splitlines(keepends=True)
        (tmp_path / "half" / name).write_text("".join(text[:3]) + text[3][:-9])  # a line that is being written
    (tmp_path / "early").mkdir()
    shutil.copy(run / "config.toml", tmp_path / "early")  # it has not even compiled
    half, early, whole = read_trials([str(tmp_path / "half"), str(tmp_path / "early"), str(run)])
    assert half.curve == whole.curve[:3]
    assert (half.status, half.env_steps, half.final) == ("unfinished", int(whole.curve[2]["env_steps"]), None)
    assert (early.curve, early.env_steps, early.made_by) == ((), 0, {})
    told = compare([whole, half, early])
    assert told.same[0].startswith(f"{half.name} is the same computation as {whole.name}")
    assert told.same[0].endswith("; figures are equal bit for bit: 3 log points.")
    assert told.same[1].endswith("they have no log point in common yet.")
    assert told.warnings == (f"Not at the end: {half.name}, {early.name}.",)


def test_a_copy_is_the_same_computation_until_a_bit_differs(run, tmp_path):
    shutil.copytree(run, tmp_path / "copy")
    copy = str(tmp_path / "copy")
    told = compare(read_trials([str(run), copy]))
    assert not told.settings
    assert not told.made_by
    assert all(not row.best for row in told.figures)
    assert "equal bit for bit" in told.same[0]
    assert told.same[0].endswith("log points, test figures, parameters.")
    path = tmp_path / "copy" / "metrics.jsonl"
    *before, last = path.read_text().splitlines()
    changed = json.loads(last)
    changed["loss"] += 1e-9
    path.write_text("\n".join([*before, json.dumps(changed)]) + "\n")
    told = compare(read_trials([str(run), copy]))
    assert f"figures differ from {changed['env_steps']:,} env-steps on: loss is " in told.same[0]


def test_lanes_of_a_sweep(sweep):
    every = read_trials([str(sweep)])
    assert [one.name for one in every] == [f"{sweep}@{n}" for n in range(4)]
    assert [one.status for one in every] == ["finished", "unfinished", "failed", "waiting"]
    assert [one.config.agent.lr for one in every] == [1e-3, 1e-3, 1e-2, 1e-2]
    assert [line["env_steps"] for line in every[0].curve] == [1024, 2048]
    assert every[0].curve[1]["validation/success_rate"] == 0.5
    assert every[0].final == {"success_rate": 0.75}
    assert read_trials([f"{sweep}@2"]) == (every[2],)
    told = compare(every, by_config=True)
    assert [[one.name[-1] for one in entry.trials] for entry in told.entries] == [["0", "1"], ["2", "3"]]
    assert told.curves[0] == Curve((1024,), (0.1875,), (0.125,), (0.25,))
    assert dict(told.settings) == {"seed": ("0, 1", "0, 1"), "agent.lr": (1e-3, 1e-2)}
    (row,) = (row for row in told.figures if row.name == "success_rate, best policy")
    assert row.values == (Value(0.75, 0.75, 0.75, 1), None)
    assert "0.750 1 of 2" in "\n".join(lines(told))


def test_settings_figures_and_the_best():
    one = trial("a", test=0.3)
    two = trial("b", test=0.5, seed=1, agent={"lr": 0.1}, made_by=MADE | {"jax": "1.2.4"})
    told = compare([one, two])
    assert told.settings == (("seed", (0, 1)), ("agent.lr", (one.config.agent.lr, 0.1)))
    assert told.made_by == (("jax", ("1.2.3", "1.2.4")),)
    assert told.common == {"device": "cpu", "revision": "a" * 40}
    best = {row.name: row.best for row in told.figures}
    assert best["success_rate, final policy"] == best["regret, best policy"] == {1}  # more success, less regret
    assert best["mean_length, best policy"] == best["env-steps/s"] == frozenset()
    assert not told.same
    assert told.warnings == (
        "One seed a setting: a difference may be luck. With more seeds, --by-config shows their range.",
    )


def test_figures_that_do_not_compare_are_not_marked():
    discounted = compare([trial("a"), trial("b", test=0.5, agent={"gamma": 0.5})])
    marked = {row.name for row in discounted.figures if row.best}
    assert marked == {"success_rate, final policy", "success_rate, best policy"}  # regret is in another currency
    elsewhere = compare([trial("a"), trial("b", test=0.5, fingerprint="M", env={"size": 9})])
    assert not any(row.best for row in elsewhere.figures if row.name != "env-steps/s")
    assert elsewhere.warnings[0].startswith("The test levels of b are not those of a:")
    unknown = compare([trial("a"), trial("b", test=0.5, fingerprint=None, env={"size": 9})])
    assert unknown.warnings[0].startswith("Whether the test levels of b are those of a is not known")
    alike = compare([trial("a"), trial("b", test=0.5, fingerprint=None, agent={"lr": 0.1})])
    assert alike.warnings[0].startswith("One seed")


def test_the_same_settings_elsewhere_are_not_the_same_computation():
    told = compare([trial("a"), trial("b", made_by=MADE | {"jax": "1.2.4"}), trial("c", made_by=MADE)])
    assert told.same == (
        "b has the settings of a, but not its jax; figures are equal bit for bit: 2 log points, test figures, "
        "parameters.",
        "c is the same computation as a; figures are equal bit for bit: 2 log points, test figures, parameters.",
    )
    changed = MADE | {"revision": "a" * 40 + "+"}
    (sentence,) = compare([trial("a", made_by=changed), trial("b", rates=(0.1, 0.4), made_by=changed)]).same
    assert sentence == (
        "b is the same computation as a, if their checkouts were changed alike; figures differ from 2,000 env-steps "
        "on: validation/success_rate is 0.3 and 0.4."
    )
    (sentence,) = compare([trial("a"), trial("b")._replace(policies={"final": "other"})]).same
    assert sentence.endswith("but parameters of their policies are not.")
    # Where a run is kept and shown changes nothing of it.
    assert len(compare([trial("a"), trial("b", run_dir="x", display="quiet", checkpoint={"latest": 9})]).same) == 1


def test_seeds_with_a_graft_are_not_those_without():
    """Nor are lanes that share their levels those that have their own."""
    grafted, from_scratch = MADE | {"graft": "01de8ef9"}, MADE | {"graft": "none"}
    runs = [trial("a"), trial("b", seed=1, made_by=from_scratch), trial("c", made_by=grafted)]
    runs += [trial("d", seed=1, made_by=grafted), trial("e", seed=2, made_by=from_scratch | {"level pool": "shared"})]
    told = compare(runs, by_config=True)
    assert [[one.name for one in entry.trials] for entry in told.entries] == [["a", "b"], ["c", "d"], ["e"]]
    assert dict(told.made_by)["graft"][1] == "01de8ef9"
    with pytest.raises(ConfigError, match="leave --by-config away"):
        compare(runs[:2], by_config=True)


def test_metrics_by_name():
    runs = [trial("a"), trial("b", rates=(0.2, 0.4, 0.6), seed=1)]
    assert compare(runs).metric == compare(runs, "success_rate").metric == "validation/success_rate"
    assert compare(runs, "loss").curves[1].mean == (1.0, 0.5, 1 / 3)
    with pytest.raises(ConfigError, match=r"--metric los; did you mean 'loss'\?; expected one of loss, validation/"):
        compare(runs, "los")
    both = curve(runs, "validation/success_rate")
    assert (both.env_steps, both.low, both.high) == ((1000, 2000), (0.1, 0.3), (0.2, 0.4))
    assert both.mean == pytest.approx((0.15, 0.35))


def test_a_curve_as_one_line():
    # 0 to 8,000 env-steps in eight letters; the scale 0 to 1 in four: 0.25 is the second one, 1 the last.
    drawn = Curve((1000, 2000, 5000, 7999), (0.0, 0.25, 0.6, 1.0), (), ())
    assert spark(drawn, 8, 8000, 0.0, 1.0, "abcd") == " abbbccd"
    assert spark(Curve((1000,), (0.5,), (), ()), 4, 4000, 0.5, 0.5, "abcd") == " a"


def test_as_text_it_is_as_wide_as_the_terminal():
    runs = [trial(f"runs/{n}", test=n / 10, seed=n, agent={"lr": 0.1 + n}) for n in range(9)]
    text = lines(compare(runs), 60)
    rows = [line for line in text if line.startswith(("success_rate, final policy", "agent.lr", "A  ", "I  "))]
    assert max(map(len, rows)) <= 60
    assert sum(line.startswith("success_rate, final policy") for line in text) > 1  # goes on below
    assert any("0.800*" in line for line in text)


def test_the_page_is_one_small_file_that_escapes_what_it_is_given(run):
    rates = [k % 97 / 97 for k in range(2000)]
    many = [trial(f"<b>{n}</b>", rates, n / 100, seed=n, agent={"lr": 0.1 + n}) for n in range(40)]
    html = page(compare(many))
    assert len(html) < 2_000_000
    assert "<b>" not in html
    assert "&lt;b&gt;0&lt;/b&gt;" in html
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    body = html[html.index("<main>") : html.index("</main>") + len("</main>")]
    ElementTree.fromstring(body)
    assert "has the best success rate" in body
    (whole,) = read_trials([str(run)])
    assert "equal bit for bit" in page(compare([whole, whole._replace(name="copy")]))


def test_curves_are_a_picture_too():
    told = compare([trial("a", (0.1, 0.3)), trial("<b>", (0.2, 0.6), test=0.6, seed=1)])
    root = ElementTree.fromstring(picture(told.entries, told.curves, told.metric))
    words = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert words[:3] == ["validation/success_rate by env-steps", "A: a", "B: <b>"]
    titles = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}title")]
    assert "B: <b>: 0.6 at 2,000" in titles
    (alone,) = curve_of([trial("a", (0.1, 0.3))])[1]
    assert (alone.env_steps, alone.mean) == ((1000, 2000), (0.1, 0.3))
    with pytest.raises(ConfigError, match="no log point"):
        picture(told.entries, [Curve((), (), (), ())] * 2, "loss")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{run}"], "expected two or more runs"),
        (["{run}", "{run}"], "is named twice"),
        (["{run}", "{run}x"], "is no folder; did you mean '.*one'"),
        (["{run}", "{sweep}@9"], "--lane 9: .* has lanes 0 to 3"),
        (["{run}", "{sweep}@two"], "expected the number of a lane behind @, such as .*lr@0"),
        (["{run}", "{run}@0"], "holds no sweep"),
        (["{run}", "{run}/policy"], "is no run folder"),
        (["{run}", "{sweep}@0", "--metric", "lss"], "--metric lss; did you mean 'loss'"),
    ],
)
def test_mistakes_are_told(run, sweep, words, said):
    with pytest.raises(ConfigError, match=said) as caught:
        command.main([word.format(run=run, sweep=sweep) for word in words])
    assert "\n" not in str(caught.value)


def test_damage_is_told(run, tmp_path):
    shutil.copytree(run, tmp_path / "bad")
    (tmp_path / "bad" / "metrics.jsonl").write_text('{"env_steps": 1}\n{"env\n')
    with pytest.raises(ConfigError, match=r"metrics\.jsonl, line 2: damaged"):
        read_trials([str(tmp_path / "bad")])
    (tmp_path / "bad" / "summary.json").write_text("[")
    with pytest.raises(CheckpointError, match=r"summary\.json: damaged"):
        read_trials([str(tmp_path / "bad")])


def test_the_command_answers_without_jax(run, sweep, tmp_path):
    (tmp_path / "jax.py").write_text("raise RuntimeError('jax was imported')\n")
    done = subprocess.run(
        [sys.executable, "-m", "lepton_jax.compare", run, f"{sweep}@0", "--json", "--html", "page.html"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert [one["names"] for one in told["runs"]] == [[str(run)], [f"{sweep}@0"]]
    assert told["settings"]["agent.lr"][1] == 1e-3
    assert told["figures"]["success_rate, final policy"][1] == 0.75
    assert "compared" in (tmp_path / "page.html").read_text()
