import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest

from lepton_jax.report.sweep_page import page

VOID = {"meta", "link", "br", "hr", "img", "input"}
LRS = (1e-4, 1e-3, 1e-2)


class Page(HTMLParser):
    """The elements of a page with their text; fails at a tag that is not closed."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[dict] = []
        self.elements: list[dict] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", **dict(attrs)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append({"tag": tag, "text": "", **dict(attrs)})

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag: str) -> list[dict]:
        return [element for element in self.elements if element["tag"] == tag]

    def texts(self, tag: str) -> list[str]:
        return [element["text"].strip() for element in self.all(tag)]


def rows(text: str, name: str) -> list[list[str]]:
    """The cells of the body of the table whose name begins with ``name``."""
    (inner,) = re.findall(rf'<table[^>]*aria-label="{name}[^"]*">.*?<tbody>(.*?)</tbody>', text, re.S)
    return [
        Page(f"<table><tr>{row}</tr></table>").texts("td") for row in re.findall(r"<tr[^>]*>(.*?)</tr>", inner, re.S)
    ]


def sweep(points, seeds=2, name="success_rate", evaluations=3, mean=lambda point: 0.5 + 0.1 * point) -> dict:
    """A sweep all lanes of which have finished; the last point is the best."""
    lanes = [
        {
            "lane": point * seeds + seed,
            "point": point,
            "seed": seed,
            "knobs": knobs,
            "status": "finished",
            "reason": None,
            "env_steps": 3000,
            "best_env_steps": 2000,
            "validation": {name: mean(point) - 0.01},
            "final": {name: mean(point) - 0.02},
            "best": {name: mean(point)},
        }
        for point, knobs in enumerate(points)
        for seed in range(seeds)
    ]
    results = [
        {"point": point, "knobs": knobs, "finished": seeds, "mean": m, "low": m - 0.03, "high": m + 0.03}
        for point, knobs in enumerate(points)
        for m in [mean(point)]
    ]
    steps = [3000 * (k + 1) // evaluations for k in range(evaluations)]
    curves = [
        {
            "point": point,
            "env_steps": steps,
            "mean": [mean(point) * x / 3000 for x in steps],
            "low": [mean(point) * x / 3000 - 0.01 for x in steps],
            "high": [mean(point) * x / 3000 + 0.01 for x in steps],
        }
        for point in range(len(points))
    ]
    effects = {}
    for knob in points[0]:
        values = list({repr(point[knob]): point[knob] for point in points}.values())
        effects[knob] = [
            {"value": v, "mean": m, "low": m - 0.05, "high": m + 0.05, "lanes": seeds, "failed": 0, "stopped": 0}
            for v in values
            for m in [float(np.mean([mean(k) for k, point in enumerate(points) if point[knob] == v]))]
        ]
    last = results[-1]
    best = last | {"lane": len(lanes) - seeds, "seeds": seeds, "figure": name, "command": "python -m lepton_jax.train"}
    return {
        "figure": name,
        "counts": {"waiting": 0, "running": 0, "finished": len(lanes), "stopped": 0, "failed": 0},
        "lanes": lanes,
        "points": results,
        "effects": effects,
        "curves": curves,
        "best": best,
        "device": "NVIDIA H100",
        "env_steps": 18000,
        "seconds": 90.0,
        "env_steps_per_second": 200.0,
        "compile_seconds": 12.5,
        "groups": 2,
    }


def unfinished(status: str, reason: str | None = None) -> dict:
    """A sweep of which no lane has finished."""
    summary = sweep([{"agent.lr": lr} for lr in LRS])
    counts = dict.fromkeys(summary["counts"], 0) | {status: 6}
    nothing = {"mean": None, "low": None, "high": None}
    return summary | {
        "best": None,
        "counts": counts,
        "curves": [],
        "points": [point | nothing | {"finished": 0} for point in summary["points"]],
        "effects": {"agent.lr": [{"value": lr, "lanes": 0, "failed": 2, "stopped": 0} | nothing for lr in LRS]},
        "lanes": [
            lane | {"status": status, "reason": reason, "validation": None, "final": None, "best": None}
            | {"env_steps": None, "best_env_steps": None}
            for lane in summary["lanes"]
        ],
    }  # fmt: skip


@pytest.fixture
def learning_rates() -> dict:
    return json.loads(json.dumps(sweep([{"agent.lr": lr} for lr in LRS])))


SUMMARIES = {
    "lr": sweep([{"agent.lr": lr} for lr in LRS]),
    "two": sweep([{"agent.lr": lr, "net.kind": kind} for lr in LRS for kind in ("mlp", "conv")]),
    "seeds": sweep([{}], seeds=8, name="mean_return", mean=lambda point: 412.5),
    "waiting": unfinished("waiting"),
    "running": unfinished("running"),
    "failed": unfinished("failed", "iteration 12 (12,288 env-steps): not finite: loss"),
    "empty": {"figure": "success_rate"},
}


@pytest.mark.parametrize("summary", SUMMARIES.values(), ids=SUMMARIES)
def test_every_page_is_whole_loads_nothing_and_names_its_controls(summary):
    text = page(summary, {"environment": {"lepton_jax": "0.1.0"}, "git_revision": None})
    whole = Page(text)
    for svg in re.findall(r"<svg.*?</svg>", text, re.S):
        root = ET.fromstring(svg)
        assert root.get("aria-hidden") == "true" or (root.get("role") == "img" and root.get("aria-label"))
    assert not re.search(r"https?:|@import|url\(|src=", text.replace('xmlns="http://www.w3.org/2000/svg"', ""))
    assert {element["href"] for element in whole.elements if "href" in element} == {"data:,"}
    (policy,) = (e for e in whole.all("meta") if e.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none';")
    for element in whole.elements:
        if element["tag"] in ("button", "summary", "th") or "tabindex" in element:
            assert element.get("aria-label") or element["text"].strip()
    ids = [element["id"] for element in whole.elements if "id" in element]
    assert len(ids) == len(set(ids))
    assert len(whole.all("h1")) == 1
    assert not re.search(r"\b(None|nan|inf)\b", text)
    assert "lepton_jax 0.1.0" in whole.texts("footer")[0]


def test_the_answer_comes_first_and_the_rest_in_order(learning_rates):
    text = page(learning_rates)
    whole = Page(text)
    assert whole.texts("h1") == ["Sweep of agent.lr: 3 points, 2 seeds each"]
    answer = next(element for element in whole.all("p") if element.get("class") == "answer")
    assert answer["text"] == (
        "Best is agent.lr = 0.01, chosen on validation: test success rate of 0.700 "
        "(95% interval 0.670 to 0.730 over 2 seeds)."
    )
    assert whole.texts("h2") == ["Lanes and speed", "Learning curves", "Effect of each knob", "Points", "Lanes"]
    assert whole.texts("code") == ["python -m lepton_jax.train"]
    assert "number 4 (seed 0, test success rate 0.700), alone" in whole.all("main")[0]["text"]
    facts = dict(zip(whole.texts("dt"), whole.texts("dd"), strict=True))
    assert facts == {
        "lanes finished": "6",
        "lanes failed": "0",
        "training": "1 min 30 s",
        "compiling": "12.5 s",
        "env-steps": "18,000",
        "env-steps/s": "200",
        "compiled programs": "2",
        "device": "NVIDIA H100",
    }


def test_tables_show_the_figures_of_the_summary(learning_rates):
    learning_rates["points"][0] |= {"mean": None, "low": None, "high": None, "finished": 0}
    learning_rates["lanes"][0] |= {"status": "failed", "reason": "not finite: loss", "final": None, "best": None}
    text = page(learning_rates)
    assert rows(text, "Points") == [
        ["2 (best)", "0.01", "2", "0.700", "0.670", "0.730"],
        ["1", "0.001", "2", "0.600", "0.570", "0.630"],
        ["0", "1e-4", "0", "–", "–", "–"],
    ]
    lanes = rows(text, "Lanes")
    assert lanes[0] == ["0", "0", "0", "1e-4", "failed", "0.490", "–", "–", "3,000", "2,000", "not finite: loss"]
    assert lanes[5] == ["5", "2", "1", "0.01", "finished", "0.690", "0.680", "0.700", "3,000", "2,000", ""]
    assert [row[:4] for row in rows(text, "Effect of agent.lr")] == [
        ["1e-4", "0.500", "0.450", "0.550"],
        ["0.001", "0.600", "0.550", "0.650"],
        ["0.01", "0.700", "0.650", "0.750"],
    ]
    assert '<th scope="col" aria-sort="descending" class="n"><button type="button">mean</button></th>' in text
    assert text.count('aria-sort="descending"') == 1, "the points come sorted by their mean"
    keys = [float(key) for key in re.findall(r'data-key="(0\.\d+)">0\.\d+</td>', text)]
    assert learning_rates["points"][2]["mean"] in keys, "sorted by the number itself, not by what is shown of it"


def test_values_over_a_factor_of_30_lie_on_a_log_axis():
    def places(values):
        text = page(sweep([{"agent.lr": value} for value in values]))
        return [float(x) for x in re.findall(r'<circle class="dot" cx="([\d.]+)"', text)]

    log = np.diff(places([1e-4, 1e-3, 1e-2]))
    np.testing.assert_allclose(log[0], log[1], atol=0.2)
    linear = np.diff(places([1, 2, 31, 30]))  # shown by size: 1, 2, 30, 31
    gap = np.log(31 / 30) / np.log(2)
    assert linear[2] / linear[0] == pytest.approx(gap, abs=0.02), "31 is over a factor of 30"
    linear = np.diff(places([1, 2, 30]))
    assert linear[1] / linear[0] == pytest.approx(28, rel=0.05)


def test_lost_lanes_are_noted():
    summary = sweep([{"net.kind": kind} for kind in ("mlp", "conv", "think")])
    rows = summary["effects"]["net.kind"]
    rows[0] |= {"failed": 2, "mean": None, "low": None, "high": None, "lanes": 0}
    rows[1] |= {"failed": 1, "stopped": 3}
    text = page(summary)
    assert "<figcaption>Failed: 2 at mlp, 1 at conv. Stopped: 3 at conv.</figcaption>" in text
    assert "<title>net.kind = mlp: none finished, 0 lanes, 2 failed</title>" in text
    assert "<title>net.kind = conv: 0.600 (0.550 to 0.650), 2 lanes, 1 failed, 3 stopped</title>" in text
    assert text.count('class="cross"') == 1
    assert "a mean of the better ones" in text


def test_many_losses_are_summed_up():
    summary = sweep([{"agent.lr": k + 1} for k in range(14)])
    for row in summary["effects"]["agent.lr"][1:]:
        row["failed"] = 2
    assert "<figcaption>Failed: 26 at 13 of the values.</figcaption>" in page(summary)


def test_a_range_of_values_is_told_and_drawn():
    summary = sweep([{"agent.lr": lr} for lr in LRS])
    summary["effects"]["agent.lr"][1] |= {"from": 0.00051234567, "to": 0.0021, "low": None, "high": None}
    text = page(summary)
    assert "<title>agent.lr = 5.123e-4 to 0.0021: 0.600, 2 lanes</title>" in text
    assert text.count('class="span"') == 1


def test_two_knobs_make_a_grid():
    points = [{"agent.lr": lr, "net.kind": kind} for lr in (1e-3, 1e-4) for kind in ("mlp", "conv")][:3]
    text = page(sweep(points))
    assert "Both knobs together" in text
    assert rows(text, "Test success rate") == [["0.700", "–"], ["0.500", "0.600"]], "1e-4 comes before 1e-3"
    assert re.findall(r"--heat:([\d.]+)", text) == ["1.00", "0.00", "0.50"]
    many = page(sweep([{"agent.lr": k, "net.kind": "mlp"} for k in range(13)]))
    twice = page(sweep([{"agent.lr": 1, "net.kind": "mlp"}] * 2))
    assert "Both knobs together" not in many + twice


def test_up_to_eight_curves_have_names_and_more_are_grey():
    eight = page(sweep([{"agent.lr": k + 1} for k in range(8)]))
    assert eight.count("<li>") == 8
    assert eight.count('class="line grey"') == 0
    assert "best: agent.lr = 8" in Page(eight).texts("li")
    nine = page(sweep([{"agent.lr": k + 1} for k in range(9)]))
    assert Page(nine).texts("li") == ["best: agent.lr = 9", "median: agent.lr = 5", "worst: agent.lr = 1"]
    assert nine.count('class="line grey"') == 6


def test_a_thousand_lanes_take_less_than_two_megabytes_and_say_what_is_drawn():
    rng = np.random.default_rng(0)
    names = ("agent.lr", "agent.gamma", "agent.tau", "net.width")
    points = [dict(zip(names, map(float, rng.random(4)), strict=True)) for _ in range(1000)]
    text = page(sweep(points, seeds=1, evaluations=40, mean=lambda point: point / 1000))
    assert len(text.encode()) < 2e6
    assert text.count('class="line') - 3 == 40, "40 curves, and three pieces of them in the legend"
    assert "40 of the 1,000 points are drawn, evenly spaced by rank." in text
    assert "One seed a point." in text
    assert text.count("40 of the 1,000 values are drawn, evenly spaced.") == 4
    assert len(rows(text, "Points")) == 1000


def test_more_rows_than_a_page_bears_are_cut_and_it_says_so():
    summary = sweep([{"agent.lr": k + 1} for k in range(10)], seeds=201, mean=lambda point: point / 10)
    summary["lanes"][-1] |= {"status": "failed", "reason": "not finite: loss"}
    text = page(summary)
    lanes = rows(text, "Lanes")
    assert len(lanes) == 2000
    assert lanes[0][0] == "2009", "what failed is not cut"
    assert "2,000 of 2,010 are listed here; lanes.csv has all." in text


def test_the_band_is_told_and_there_is_none_without_width():
    summary = sweep([{"agent.lr": lr} for lr in LRS])
    text = page(summary)
    assert text.count('class="band') == 1, "of the best point alone"
    assert "The band goes from the least to the greatest of them." in text
    for curve in summary["curves"]:
        curve["low"] = curve["high"] = curve["mean"]
    assert "band goes" not in page(summary)
    assert 'class="band' not in page(summary)


def test_the_effect_says_what_its_interval_is_over():
    assert "95% interval over seeds." in page(SUMMARIES["lr"])
    assert "95% interval over points." in page(SUMMARIES["two"])


def test_long_curves_are_thinned():
    text = page(sweep([{"agent.lr": 1}], evaluations=1000))
    assert "At most 200 evaluations a curve are drawn" in text
    assert text.count('class="place') == 200


@pytest.mark.parametrize(
    ("summary", "told"),
    [
        ("waiting", "No lane has finished yet, so there is no test figure."),
        ("running", "The sweep is under way: 6 of 6 lanes have not ended, and what is shown here will change."),
        ("failed", "No lane has finished: all 6 failed. The most frequent reason (6 lanes), as lane 0 tells it: "
         "iteration 12 (12,288 env-steps): not finite: loss."),
        ("seeds", "Test mean return of 412.500 (95% interval 412.470 to 412.530 over 8 seeds)"),
    ],
)  # fmt: skip
def test_what_is_told_when_there_is_little_to_tell(summary, told):
    text = page(SUMMARIES[summary])
    assert told in Page(text).all("main")[0]["text"]
    assert ("Effect of each knob" in text) is False


def test_the_most_frequent_reason_is_one_whatever_its_numbers():
    summary = unfinished("failed", "out of memory")
    for number in range(1, 5):
        summary["lanes"][number]["reason"] = f"iteration {number} ({1024 * number:,} env-steps): not finite: loss"
    assert "(4 lanes), as lane 1 tells it: iteration 1 (1,024 env-steps): not finite: loss." in page(summary)


@pytest.mark.parametrize(
    ("name", "ticks"),
    [("success_rate", ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]), ("mean_return", ["-0.5", "0", "0.5", "1.0", "1.5"])],
)
def test_the_axis_of_success_rates_ends_at_one(name, ticks):
    summary = sweep([{"agent.lr": lr} for lr in LRS], name=name, mean=lambda point: 0.5 * point)  # -0.05 to 1.05
    (chart,) = re.findall(r'<svg[^>]*aria-label="test .*?</svg>', page(summary), re.S)
    texts = [text.text for text in ET.fromstring(chart).iter("{http://www.w3.org/2000/svg}text")]
    assert texts[: len(ticks)] == ticks
    assert texts[len(ticks)] == "1e-4"


def test_one_seed_has_no_interval():
    summary = sweep([{"agent.lr": lr} for lr in LRS], seeds=1)
    for result in (*summary["points"], summary["best"], *summary["effects"]["agent.lr"]):
        result |= {"low": None, "high": None}
    text = page(summary)
    assert "0.700</strong> (1 seed, so no interval)." in text
    assert 'class="interval"' not in text
    assert "<title>agent.lr = 0.01: 0.700, 1 lane</title>" in text


def test_what_is_best_so_far_is_called_so(learning_rates):
    learning_rates["counts"]["running"] = 1
    text = page(learning_rates)
    assert "Best so far is" in text
    assert "1 of 7 lanes has not ended" in text


def test_text_from_data_stays_text():
    hostile = "<b>&\"'</b><script>alert(1)</script>"
    summary = sweep([{f"net.{hostile}": hostile, "env.id": value} for value in (hostile, "x")])
    summary["lanes"][0] |= {"status": "failed", "reason": hostile}
    summary["best"]["command"] = f"python {hostile}"
    summary["device"] = hostile
    text = page(summary, {"git_revision": hostile})
    whole = Page(text)
    assert whole.all("b") == []
    assert len(whole.all("script")) == 1, "the page's own"
    assert whole.texts("code") == [f"python {hostile}"]
    assert hostile in rows(text, "Lanes")[0]
    for svg in re.findall(r"<svg.*?</svg>", text, re.S):
        ET.fromstring(svg)


def test_needs_no_jax():
    code = "import sys, lepton_jax.report.sweep_page; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
