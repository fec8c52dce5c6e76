"""Two results of the bench beside each other, and the page of one."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench import compare
from bench.page import page
from lepton_jax.config import ConfigError

ABOUT = {"device": "cpu", "devices": 2, "threads": 2, "processor": "x", "python": "3.11", "packages": {"jax": "1"},
         "date": "2026-01-01"}  # fmt: skip


def row(name: str, values: list[float], unit: str = "steps/s") -> dict:
    middle = sorted(values)[len(values) // 2]
    return {"name": name, "unit": unit, "median": middle, "low": min(values), "high": max(values), "asked": None,
            "repetitions": values}  # fmt: skip


OLD = {"env": [*(row(name, [9.0, 10.0, 11.0]) for name in "abc"), row("gone", [1.0])],
       "train": [row("compile", [4.0, 5.0, 6.0], "s"), row("size", [12.5], "bytes/transition"),
                 row("waits", [1.0], "%")]}  # fmt: skip
NEW = {"env": [row("a", [7.0, 8.0, 8.9]), row("b", [8.0, 9.0, 9.5]), row("c", [12.0, 13.0, 14.0])],
       "train": [row("compile", [2.0, 2.5, 3.0], "s"), row("size", [13.0], "bytes/transition"),
                 row("waits", [2.0], "%")]}  # fmt: skip


def test_what_is_beyond_the_noise_is_named():
    told = compare.compare({"about": ABOUT, "results": OLD}, {"about": ABOUT, "results": NEW})
    assert [(change.name, change.verdict) for change in told] == [
        ("a", "worse"), ("size", "worse"), ("waits", "worse"), ("c", "better"), ("compile", "better"),
        ("b", "within the noise"),
    ]  # fmt: skip
    assert told[0].ratio == 0.8


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
    assert "6 rows in both: 3 worse, 2 better" in done.stdout
    assert "not the same device" in done.stdout
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
    assert len(charts) == 2, "of one row there is nothing to draw"
    for chart in charts:
        ET.fromstring(chart.split("</figure>")[0])
