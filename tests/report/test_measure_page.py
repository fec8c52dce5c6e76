import re
import xml.etree.ElementTree as ET
from html import unescape

import pytest

from lepton_jax.report.measure_page import figure, page
from lepton_jax.transfer.gains import gains, rows, verdicts

SVG = "{http://www.w3.org/2000/svg}"


def arm(start, end, source_steps=300, points=4, **others):
    """Two seeds, the second one 0.1 higher, on straight lines from ``start`` to ``end``."""
    rise = [(end - start) * k / (points - 1) for k in range(points)]
    return {
        "title": "an <arm>",
        "what": "copies <i>all</i>",
        "source_steps": source_steps,
        "steps": 100 * (points - 1),
        "env_steps": [100 * k for k in range(points)],
        "curves": [[start + step + more for step in rise] for more in (0.0, 0.1)],
        "test": [end, end + 0.1],
        **others,
    }


def record(**arms):
    return {
        "pair": "T<1>",
        "question": "Does <b>it</b> help & why?",
        "figure": "success_rate",
        "threshold": 0.75,
        "seeds": [0, 1],
        "source_steps": 300,
        "target_steps": 300,
        "arms": {
            "scratch": arm(0.0, 0.5, 0),
            "scratch-long": arm(0.0, 0.7, 0, points=7),
            "full": arm(0.3, 0.8),
            "<l2>": arm(0.1, 0.6),
            "permuted": arm(0.0, 0.4, control=True),
            **arms,
        },
        "environment": {"jax": "0.0", "processor": "<cpu>"},
        "seconds": 75.0,
        "commands": ["train --a <b>", "measure T1"],
    }


@pytest.fixture(scope="module")
def made():
    told = record()
    return told, gains(told), page(told, gains(told))


def lines(svg):
    return [path for path in ET.fromstring(svg).iter(f"{SVG}path") if "line" in path.get("class", "").split()]


def test_numbers_and_sentences_are_those_of_the_table(made):
    _, told, text = made
    (body,) = re.findall(r'<table[^>]*aria-label="Success rate by arm.*?<tbody>(.*?)</tbody>', text, re.S)
    found = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", body)]
    assert [tuple(map(unescape, row)) for row in found] == rows(told)
    for sentence in verdicts(told):
        assert sentence in unescape(text)


def test_how_it_was_made_is_told(made):
    _, _, text = made
    for part in ("train --a <b>\nmeasure T1", "jax 0.0", "processor <cpu>", "1 min 15 s", "seeds 0, 1"):
        assert part in unescape(text)


def test_data_is_escaped(made):
    _, _, text = made
    for raw in ("<b>", "<i>", "<cpu>", "<l2>", "<arm>", "T<1>"):
        assert raw not in text
    assert "Does &lt;b&gt;it&lt;/b&gt; help &amp; why?" in text


def test_nothing_is_loaded(made):
    told, _, text = made
    for made_text in (text, figure(told)):
        left = made_text.replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]|\bsrc=|url\(|@import", left)


def test_charts_show_every_arm_and_share_their_axes(made):
    told, _, text = made
    charts = re.findall(r'<svg [^>]*class="chart" role="img".*?</svg>', text, re.S)
    curves = [chart for chart in charts if "lines: " in chart]
    assert len(curves) == 2
    titles = [{title.text for title in ET.fromstring(c).iter(f"{SVG}title")} for c in curves]
    assert {"full: an <arm>", "<l2>: an <arm>", "scratch: an <arm>", "permuted: an <arm>"} <= titles[0]
    assert "permuted: an <arm>" in titles[1]
    ticks = [[t.text for t in ET.fromstring(c).iter(f"{SVG}text")] for c in curves]
    assert ticks[0] == ticks[1]
    assert len(lines(curves[0])) == len(told["arms"]) + 1  # the threshold


def test_line_is_the_mean_of_the_seeds_and_the_band_all_of_them(made):
    _, _, text = made
    assert "full: an &lt;arm&gt;: 0.35 (0.3 to 0.4) at 0" in text  # 0.3 and 0.4 at the start


def test_a_failed_seed_breaks_nothing():
    told = record()
    told["arms"]["full"]["curves"] = [[0.3, None, None, None], [0.5, None, 0.7, 0.8]]
    told["arms"]["full"]["test"] = [None, 0.8]
    text = page(told, gains(told))
    assert "full: an &lt;arm&gt;: 0.4 (0.3 to 0.5) at 0" in text
    assert "1 of full" in text
    ET.fromstring(figure(told))


def test_pair_without_long_arm_and_controls():
    told = record()
    told["arms"] = {name: told["arms"][name] for name in ("scratch", "full")}
    text = page(told, gains(told))
    assert "equal total steps" not in text
    assert "<h2>Controls</h2>" not in text


def test_figure_is_a_picture_by_itself(made):
    told, _, _ = made
    root = ET.fromstring(figure(told))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert texts[0] == told["question"]
    for name in ("full", "<l2>", "scratch", "scratch-long"):
        assert f"{name}: an <arm>" in texts
    assert "permuted: an <arm>" not in texts  # grey
    assert any("controls" in (text or "") for text in texts)
    style = root.find(f"{SVG}style")
    assert style is not None
    assert style.text is not None
    used, known = (set(re.findall(pattern, style.text)) for pattern in (r"var\((--\w+)\)", r"(--\w+):"))
    assert used - known <= {"--small"}
    assert "dark" not in style.text
    assert root.get("width") == root.get("viewBox", "").split()[2]


def test_many_arms_take_several_charts_and_no_two_look_alike():
    told = record(**{f"{k} levels": arm(0.1, 0.5) for k in range(8)})
    root = ET.fromstring(figure(told))
    charts = [group for group in root.iter(f"{SVG}g") if group.get("transform")]
    assert len(charts) == 2
    for chart in charts:
        looks = [
            path.get("class", "") for path in chart.iter(f"{SVG}path") if path.get("class", "").startswith("line ink")
        ]
        assert len(looks) == len(set(looks)) > 3
