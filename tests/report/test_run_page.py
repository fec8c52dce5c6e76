"""The page of a run: of a real one, against its files, against a loop over cells, and in a browser."""

import json
import re
import shutil
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import lepton_jax
from bench.flip import tiny
from lepton_jax.config import ConfigError
from lepton_jax.engine.playback import Playback
from lepton_jax.report import __main__ as command
from lepton_jax.report import run_study
from lepton_jax.report.run_errors import by_distance, wilson
from lepton_jax.report.run_page import page, report_or_note, write_report
from lepton_jax.report.run_study import Study, study
from lepton_jax.settings import overlay

CHANGES = {"log_points": 2, "shards": 1, "env": {"levels": 64}, "eval": {"validation_levels": 64, "test_levels": 64}}
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of a second, which learns nothing, in a folder whose name is markup and needs quotes."""
    folder = tmp_path_factory.mktemp("runs") / "a <b>run</b> & more"
    return lepton_jax.run(overlay(tiny(folder), CHANGES, "test")).folder


@pytest.fixture(scope="module")
def told(run) -> Study:
    return study(run)


@pytest.fixture(scope="module")
def text(told) -> str:
    return page(told)


def rows(text: str, name: str) -> dict[str, list[tuple[str, str]]]:
    """The rows of a table by their first cell: sort key and text of each of the others."""
    found = re.search(rf'<table[^>]*aria-label="{name}.*?<tbody>(.*?)</tbody>', text, re.S)
    assert found is not None
    cells = [re.findall(r"<td([^>]*)>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", found[1])]
    key = lambda attributes: "".join(re.findall(r'data-key="(.*?)"', attributes))
    return {unescape(first[1]): [(key(a), unescape(b)) for a, b in rest] for first, *rest in cells}


def test_a_run_leaves_its_page(run, text):
    """With the policy it had in memory: the same page as from the folder alone."""
    assert (run / "report.html").read_text() == text


def test_the_numbers_are_those_of_the_summary(run, told, text):
    summary = json.loads((run / "summary.json").read_text())
    names = {"success_rate": "success rate", "spl": "SPL", "mean_return": "mean return", "mean_length": "mean length",
             "regret": "regret", "q_error": "|Q - Q*|"}  # fmt: skip
    shown = rows(text, "On the test levels")
    for name, label in names.items():
        assert [float(key) for key, _ in shown[label][:2]] == [summary[name], summary["best"][name]]
        assert [word for _, word in shown[label][:2]] == [f"{summary[name]:.3f}", f"{summary['best'][name]:.3f}"]
    assert f"solves <strong>{summary['best']['success_rate']:.1%}</strong>" in text
    # The oracle by hand: it takes the shortest way, which is all that counts here.
    assert [float(shown[label][2][0]) for label in names.values()] == [1, 1, 1, np.mean(told.shortest), 0, 0]
    # What was played for the page is what was judged for the summary.
    assert told.playback.success.mean() == summary["best"]["success_rate"]
    assert told.regret.mean() == pytest.approx(summary["best"]["regret"], abs=1e-5)
    curve = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert f"success rate ends at {curve['validation/success_rate']:.3f}" in text


def test_failures_come_first_and_then_regret(told, text):
    """Regret by hand: V* of the start is gamma ** (steps - 1), and the prize is 1."""
    gamma, played = told.config.agent.gamma, told.playback
    regret = [gamma ** (steps - 1) - sum(gamma**t * reward for t, reward in enumerate(rewards))
              for steps, rewards in zip(told.shortest.tolist(), played.reward.tolist(), strict=True)]  # fmt: skip
    np.testing.assert_allclose(told.regret, regret, atol=1e-5)
    keys = [(bool(played.success[number]), -round(regret[number], 4)) for number in told.order]
    assert keys == sorted(keys)
    assert {True, False} == {success for success, _ in keys}
    data = json.loads(re.findall(r'<script type="application/json">(.*?)</script>', text, re.S)[0])
    numbers = [int(re.findall(r"level (\d+)", episode["name"])[0]) - 1 for episode in data["episodes"]]
    assert numbers == told.order[:48].tolist()


def test_maps_show_the_true_values(told, text):
    """Of every level drawn, V* on the map is gamma ** (steps - 1), steps by breadth-first search."""
    gamma, width = told.config.agent.gamma, told.config.env.size
    figures = re.findall(r'<figure class="pair"><h3>Level (\d+), (\w+)</h3>(.*?)</figure>', text, re.S)
    assert [ended for _, ended, _ in figures] == ["failed"] * 3 + ["solved"] * 3
    for number, ended, figure in figures:
        level = int(number) - 1
        assert ended == ("solved" if told.playback.success[level] else "failed")
        walls, goal = told.playback.levels.walls[level].reshape(-1), int(told.playback.levels.goal[level])
        steps, ring = {goal: 0}, [goal]
        while ring:
            near = {cell + d * width + r for cell in ring for d, r in MOVES}
            ring = [cell for cell in near if not walls[cell] and cell not in steps]
            steps |= dict.fromkeys(ring, max(steps.values()) + 1)
        titles = re.findall(r"<title>row (\d+), column (\d+): V\* ([\d.]+)</title>", figure)
        shown = {int(r) * width + int(c): float(value) for r, c, value in titles}
        assert shown == {cell: pytest.approx(gamma ** (d - 1), abs=6e-4) for cell, d in steps.items() if d}
        assert len(re.findall(r": max Q ", figure)) == len(shown)
        # A frame for each cell whose arrow leads no nearer to the goal.
        ours, _ = figure.split("</svg>", 1)
        greedy = re.findall(r'href="#way(\d)"[^>]*x="(\d+).5" y="(\d+).5"', ours)
        there = {int(y) * width + int(x): MOVES[int(way)] for way, x, y in greedy}
        off = {cell for cell, (d, r) in there.items() if steps.get(cell + d * width + r, 99) >= steps[cell]}
        frames = re.search(r'class="miss" d="(.*?)"', ours)
        framed = re.findall(r"M(\d+).12 (\d+).12", frames[1]) if frames else []
        assert {int(y) * width + int(x) for x, y in framed} == off
        assert f"Not optimal in {len(off)} of" in figure or not off


def test_the_levels_drawn_do_not_count_among_those_looked_at(run, text, monkeypatch):
    """Of four levels: the same maps are drawn, wherever their levels lie, and shares are of the first four."""
    monkeypatch.setattr(run_study, "_LOOKED_AT", 4)
    told = study(run)
    assert told.sample is not None
    assert told.sample.numbers.tolist() == [0, 1, 2, 3]
    few = page(told)
    pairs = lambda html: re.findall(r'<figure class="pair">.*?</figure>', html, re.S)
    assert pairs(few) == pairs(text)
    assert "cells of the first 4 test levels" in few
    assert "cells of the first 64 test levels" in text


def test_it_is_one_file_that_loads_nothing_and_escapes_its_data(run, text):
    assert len(text.encode()) < 2_000_000
    assert not re.findall(r'(?:src|href)="(?!#|data:)', text)
    assert "<b>" not in text
    assert f"--config '{run}/config.toml'" in unescape(re.sub(r"</?span>", "", text))
    assert set(rows(text, "Differences from preset quick")) >= {"net.width", "eval.test_levels"}
    leaves = rows(text, "Leaves, from the input")
    table = json.loads((run / "policy" / "best" / "about.json").read_text())["leaves"]
    assert {name: int(cells[3][0]) for name, cells in leaves.items()} == {
        name: leaf["bytes"] for name, leaf in table.items()
    }
    assert rows(text, "The manifest")["levels.test.sha256"]


def test_whatever_goes_wrong_is_one_note(run, tmp_path, capsys):
    broken = tmp_path / "run"
    shutil.copytree(run, broken)
    (broken / "report.html").unlink()
    (broken / "report.html").mkdir()
    assert report_or_note(broken) is None
    (broken / "summary.json").write_text("{")
    assert report_or_note(broken) is None
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("note: no report.html: ")
    assert "summary.json: not valid JSON" in second
    (broken / "summary.json").unlink()
    with pytest.raises(ConfigError, match="has not ended, so there is no report yet"):
        write_report(broken)


def test_the_command_and_the_final_policy(run, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    command.main([str(copy), "--policy", "final"])
    assert capsys.readouterr().out == f"written: {copy / 'report.html'}\n"
    assert "of the final policy" in (copy / "report.html").read_text()


def test_other_worlds_and_other_agents(told):
    """The parts that are not there, and what is said instead."""
    remembers = overlay(told.config, {"net": {"memory": "gru"}}, "test")
    text = page(told._replace(config=remembers, insight=None))
    assert "the network has a memory (gru)" in text
    assert 'class="pair"' not in text
    assert "Where it errs" in text
    soft = overlay(told.config, {"agent": {"munchausen": True}}, "test")
    text = page(told._replace(config=soft, insight=None))
    assert "Munchausen values are soft" in text
    pole = overlay(told.config, {"env": {"id": "CartPole-v1"}}, "test")
    q, one = np.ones((2, 3, 2), np.float32), np.ones((2, 3), np.float32)
    played = Playback(None, None, None, None, q, one.astype(int), one, np.array([3, 2]), None, np.array([3.0, 2.0]))
    figures = {"mean_return": 2.5, "success_rate": None, "spl": None, "regret": None, "q_error": None}
    summary = told.summary | figures | {"best": told.summary["best"] | figures}
    text = page(
        told._replace(config=pole, summary=summary, playback=played, order=np.array([1, 0]), actions=("l", "r"),
                      regret=None, shortest=None, start_value=None, insight=None)
    )  # fmt: skip
    assert "mean return of <strong>2.500</strong>" in text
    assert "What it thinks" not in text
    assert "Where it errs" not in text
    assert list(rows(text, "On the test episodes")) == ["mean return", "mean length"]


def test_a_graft_is_told(told):
    name = next(iter(told.leaves))
    treated = {"frozen": True, "factor": 1.0, "thaw": 0, "l2": 0.0, "rank": 0}
    graft = {
        "leaves": {name: {"from": "params/<old>"}},
        "training": {"leaves": {name: treated}, "kickstart": None},
        "lineage": [{"path": "runs/<source>", "kind": "run", "policy": "best"}],
        "plan": 'source = "runs/<source>"',
    }
    text = page(told._replace(manifest={**told.manifest, "graft": graft}))
    assert [word for _, word in rows(text, "Leaves, from the input")[name][-2:]] == ["params/<old>", "frozen"]
    assert "grafted from runs/&lt;source&gt; (run, policy best)" in text
    assert "--graft" in text


def test_groups_and_shares_by_hand():
    groups = by_distance(np.array([5, 1, 1, 9, 5, 2]), most=4)
    assert [(g.low, g.high, g.members.sum()) for g in groups] == [(1, 1, 2), (2, 2, 1), (5, 5, 2), (9, 9, 1)]
    groups = by_distance(np.arange(100) // 2, most=5)
    assert [(g.low, g.high, g.members.sum(), g.middle) for g in groups] == [
        (0, 9, 20, 4), (10, 19, 20, 14), (20, 29, 20, 24), (30, 39, 20, 34), (40, 49, 20, 44)
    ]  # fmt: skip
    # Newcombe 1998 (Statistics in Medicine 17), table I, method 3.
    assert wilson(81, 263) == pytest.approx((0.3080, 0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.0, 0.1611), abs=1e-4)
    assert wilson(29, 29) == pytest.approx((1.0, 0.8830, 1.0), abs=1e-4)


class Names(HTMLParser):
    """Ids of a page, which must be unlike."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value or "" for name, value in attrs if name == "id"]


def test_ids_are_unlike(text):
    names = Names()
    names.feed(text)
    assert len(names.ids) == len(set(names.ids)) > 4


@pytest.fixture
def browser() -> Iterator:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield made
        made.close()


def test_in_a_browser(browser, run, told, text):
    summary = json.loads((run / "summary.json").read_text())
    (run / "report.html").write_text(text)
    for scheme, width in (("light", 1280), ("dark", 390)):
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
        view, troubles = context.new_page(), []
        view.on("console", lambda message, into=troubles: into.append(message.text))
        view.on("pageerror", lambda error, into=troubles: into.append(str(error)))
        view.on("request", lambda asked, into=troubles: asked.url.startswith("file:") or into.append(asked.url))
        view.goto((run / "report.html").as_uri())
        assert view.evaluate("document.documentElement.scrollWidth") == width
        dark = view.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
        assert dark == (scheme == "dark")
        shown = view.locator("table[aria-label^='On the test levels'] tbody tr").first.locator("td").all_inner_texts()
        assert shown[:3] == ["success rate", f"{summary['success_rate']:.3f}", f"{summary['best']['success_rate']:.3f}"]
        first = view.locator(".player .episodes button").first
        assert first.inner_text().startswith(f"level {told.order[0] + 1}: failure")
        view.locator(".player .scrub").fill("1")
        assert "Step 1 of" in view.locator(".player .status").inner_text()
        before = view.locator(".player .scrub").input_value()
        view.locator(".player .play").click()
        view.wait_for_function("v => document.querySelector('.player .scrub').value !== v", arg=before, timeout=5000)
        # What can be worked must be called something: by its text, its label or its aria-label.
        nameless = view.evaluate(
            "[...document.querySelectorAll('button,input,select,summary,[tabindex],[role=img]')].filter(e => "
            "!(e.getAttribute('aria-label') || e.textContent.trim() || (e.labels && e.labels.length))).length"
        )
        assert nameless == 0
        assert troubles == []
        context.close()
