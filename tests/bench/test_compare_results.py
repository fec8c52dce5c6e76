"""Two results of the bench beside each other, and the page of one."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench import compare
from bench.__main__ import default_path, without_place
from bench.page import page
from lepton_jax.config import ConfigError

ABOUT = {"device": "cpu", "devices": 2, "threads": 2, "processor": "x", "python": "3.11", "packages": {"jax": "1"},
         "date": "2026-01-01"}  # fmt: skip


def row(name: str, values: list[float], unit: str = "steps/s") -> dict:
    middle = sorted(values)[len(values) // 2]
    return {"name": name, "unit": unit, "median": middle, "low": min(values), "high": max(values), "asked": None,
            "repetitions": values}  # fmt: skip


OLD = {"env": [*(row(name, [9.0, 10.0, 11.0]) for name in "abc"), row("gone", [1.0]), row("dies", [5.0, 6.0])],
       "train": [row("start", [4.0, 5.0, 6.0], "s"), row("compile", [4.0], "s"), row("waits", [1.0], "%"),
                 row("size", [12.5], "bytes/transition"), row("once, then more", [1.0])]}  # fmt: skip
NEW = {"env": [row("a", [7.0, 8.0, 8.9]), row("b", [8.0, 9.0, 9.5]), row("c", [12.0, 13.0, 14.0]),
               {"name": "dies", "unit": "steps/s", "reason": "no answer in 600 s"}],
       "train": [row("start", [2.0, 2.5, 3.0], "s"), row("compile", [8.0], "s"), row("waits", [2.0], "%"),
                 row("size", [13.0], "bytes/transition"), row("once, then more", [0.5, 0.6])]}  # fmt: skip


def test_what_is_beyond_the_noise_is_named():
    told = compare.compare({"about": ABOUT, "results": OLD}, {"about": ABOUT, "results": NEW})
    assert [(change.name, change.verdict) for change in told] == [
        ("dies", "lost"), ("a", "worse"), ("size", "worse"), ("c", "better"), ("start", "better"),
        ("b", "within the noise"), ("compile", "measured once"), ("once, then more", "measured once"),
        ("waits", "measured once"),
    ]  # fmt: skip
    assert (told[0].ratio, told[0].reason) == (None, "no answer in 600 s")
    assert (told[1].ratio, told[6].ratio) == (0.8, 2.0)


def test_what_is_told_of_a_row_that_is_lost_and_of_one_measured_once():
    old, new = ({"about": ABOUT, "results": each} for each in (OLD, NEW))
    told = [line.split(maxsplit=1) for line in compare.lines(compare.compare(old, new), old, new)]
    assert told[0] == ["-", "lost              env: dies: no answer in 600 s"]
    assert ["2.000", "measured once     train: compile"] in told


def test_what_had_no_figures_is_not_lost():
    never = {"about": ABOUT, "results": {"env": [{"name": "dies", "unit": "steps/s", "reason": "it will not"}]}}
    assert not compare.compare(never, never)
    assert not compare.compare(never, {"about": ABOUT, "results": OLD})


def test_the_command_says_so_and_its_status_too(tmp_path: Path):
    other = ABOUT | {"device": "gpu"}
    for name, about, results in (("a", ABOUT, OLD), ("b", other, NEW)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"about": about, "results": results}))
    run = lambda *names: subprocess.run(
        [sys.executable, "-m", "bench", "compare", *(str(tmp_path / name) for name in names)],
        capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    done = run("a.json", "b.json")
    assert done.returncode == 1, done.stderr
    assert "9 rows in both: 1 lost, 2 worse, 2 better, 1 within the noise, 3 measured once" in done.stdout
    assert "not the same device" in done.stdout
    for name, changed in (("lost", {"env": NEW["env"][-1:]}), ("once", {"train": NEW["train"][1:2]})):
        (tmp_path / f"{name}.json").write_text(json.dumps({"about": ABOUT, "results": changed}))
    assert run("a.json", "lost.json").returncode == 1
    assert run("a.json", "once.json").returncode == 0, "of what was measured once nobody knows"
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"c\.json: no result of the bench"):
        compare.read(tmp_path / "c.json")
    with pytest.raises(ConfigError, match=r"nowhere\.json: No such file"):
        compare.read(tmp_path / "nowhere.json")


def test_the_page_tells_every_row():
    slow = row("slow", [1.0, 2.0]) | {"n": 64, "ratio": 30.0, "asked": 3.0, "check": {"episodes": 7}}
    refused = {"name": "<minimax>", "n": 64, "reason": "it will not"}
    beside = [row("lepton_jax, new", [50.0, 60.0]) | {"n": 64}, slow, refused]
    html = page(ABOUT, OLD | {"env beside peers": beside})
    for words in ("gone", "compile", "slow, 64", "episodes 7", "&lt;minimax&gt;, 64", "it will not", "2026-01-01"):
        assert words in html
    charts = html.split("<figure>")[1:]
    assert len(charts) == 3, "of one row there is nothing to draw"
    for chart in charts:
        ET.fromstring(chart.split("</figure>")[0])


def test_a_look_does_not_lie_where_a_measurement_does():
    assert default_path("NVIDIA H100", "env", False, False).name == "nvidia-h100-env.json"
    names = {default_path("cpu", "all", beside, quick).name for beside in (False, True) for quick in (False, True)}
    assert names == {"cpu-all.json", "cpu-all-peers.json", "cpu-all-quick.json", "cpu-all-peers-quick.json"}


def test_a_result_keeps_no_place_of_a_machine():
    kept = ["--tier", "env", "--quick"]
    assert without_place(["--tier", "env", "--json", "there/a.json", "--quick"]) == kept
    assert without_place(["--tier", "env", "--json=there/a.json", "--quick"]) == kept
