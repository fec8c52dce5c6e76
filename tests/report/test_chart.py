import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from lepton_jax.report import document
from lepton_jax.report.chart import INKS, Axis, Dot, Series, Size, dot_chart, legend, line_chart
from lepton_jax.report.ticks import figure, linear_ticks, log_ticks, number, tick_labels, widened

SVG = "{http://www.w3.org/2000/svg}"
# Text 10 high takes 5.8 a letter. With three letters at the left the plot goes from 3 x 5.8 + 14 = 31.4 to
# 400 - 2.5 x 5.8 = 385.5, and from 200 - 2.9 x 10 = 171 at the bottom up to 2 x 10 = 20.
SMALL = Size(400, 200, 10, 10)
LEFT, RIGHT, BOTTOM, TOP = 31.4, 385.5, 171.0, 20.0
UNIT = Axis("share", 0.0, 1.0)  # its ticks are 0, 0.2, ... 1.0: three letters


def by_class(svg: str, name: str) -> list[ET.Element]:
    return [element for element in ET.fromstring(svg).iter() if name in element.get("class", "").split()]


def numbers(path: str) -> np.ndarray:
    return np.array(re.findall(r"-?[\d.]+", path), float)


def texts(svg: str) -> list[str | None]:
    return [element.text for element in ET.fromstring(svg).iter(f"{SVG}text")]


def titles(svg: str) -> list[str | None]:
    return [element.text for element in ET.fromstring(svg).iter(f"{SVG}title")]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.0, 0.3, [0, 0.1, 0.2, 0.3]),
        (0.87, 0.93, [0.88, 0.9, 0.92]),
        (-210.0, 470.0, [-200, 0, 200, 400]),
        (0.0, 1_003_520.0, [0, 200_000, 400_000, 600_000, 800_000, 1_000_000]),
        (-3e-5, 2e-5, [-3e-5, -2e-5, -1e-5, 0, 1e-5, 2e-5]),
    ],
)
def test_linear_ticks(low, high, ticks):
    assert linear_ticks(low, high) == ticks


@pytest.mark.parametrize("seed", range(20))
def test_linear_ticks_are_few_and_evenly_spaced(seed):
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.normal(size=2) * 10.0 ** rng.integers(-6, 9))
    ticks = linear_ticks(float(low), float(high))
    assert 2 <= len(ticks) <= 6
    assert low <= ticks[0] < ticks[-1] <= high
    np.testing.assert_allclose(np.diff(ticks), ticks[1] - ticks[0], rtol=1e-6)
    start, end = widened(float(low), float(high))
    assert start <= low < high <= end
    assert {start, end} <= set(linear_ticks(start, end)), "a tick at either end"


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (1e-4, 3e-3, [1e-4, 2e-4, 5e-4, 1e-3, 2e-3]),
        (1e-4, 1e-2, [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]),
        (1.0, 1e5, [1, 10, 100, 1e3, 1e4, 1e5]),
        (1.0, 1e12, [1, 1e3, 1e6, 1e9, 1e12]),
        (31.0, 41.0, [32, 34, 36, 38, 40]),
    ],
)
def test_log_ticks(low, high, ticks):
    assert log_ticks(low, high) == ticks


def test_widened():
    assert widened(0.87, 0.93) == (0.86, 0.94)
    assert widened(3.0, 3.0) == (2.6, 3.4), "2.7 to 3.3, outwards to fifths"
    assert widened(0.0, 0.0) == (-0.5, 0.5), "fifths would take seven ticks"


def test_labels_share_a_unit_and_decimals():
    assert tick_labels([0, 0.5, 1.0]) == ["0", "0.5", "1.0"]
    assert tick_labels([0, 500_000, 1_000_000]) == ["0", "0.5 M", "1.0 M"]
    assert tick_labels([0, 50_000]) == ["0", "50 k"]
    assert tick_labels([-2000, 0, 2000]) == ["-2,000", "0", "2,000"]
    assert tick_labels([0, 1e-5, 2e-5]) == ["0", "1e-5", "2e-5"]
    assert tick_labels([1e-4, 1e-3, 0.1, 10], log=True) == ["1e-4", "0.001", "0.1", "10"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3e-4, "3e-4"),
        (0.00031622776, "3.16228e-4"),
        (0.99995, "0.99995"),
        (0.1 + 0.2, "0.3"),
        (100_000.0, "100,000"),
        (1_048_576, "1,048,576"),
        (-1234.5, "-1,234.5"),
        (2e9, "2e9"),
        (0.0, "0"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


def test_figures_are_as_in_the_terminal():
    assert [figure(value) for value in (0.91249, -85.5, 1234.5)] == ["0.912", "-85.500", "1,234"]


def test_a_line_lies_where_its_numbers_are():
    series = Series("a", [0, 2, 10], [0.0, 0.5, 1.0], [0.0, 0.25, 0.75], [0.25, 0.75, 1.0], ink=0, strong=True)
    svg = line_chart([series], Axis("steps", 0.0, 10.0), UNIT, "how it goes", SMALL)
    root = ET.fromstring(svg)
    assert root.get("viewBox") == "0 0 400 200"
    assert (root.get("role"), root.get("aria-label")) == ("img", "how it goes")
    second = LEFT + 0.2 * (RIGHT - LEFT)  # 102.2
    (line,) = by_class(svg, "line")
    expected = [LEFT, BOTTOM, second, (BOTTOM + TOP) / 2, RIGHT, TOP]
    np.testing.assert_allclose(numbers(line.get("d", "")), expected, atol=0.051)
    (band,) = by_class(svg, "band")
    low, middle, high = BOTTOM - 0.25 * (BOTTOM - TOP), 95.5, BOTTOM - 0.75 * (BOTTOM - TOP)
    expected = [LEFT, low, second, high, RIGHT, TOP, RIGHT, high, second, low, LEFT, BOTTOM]
    np.testing.assert_allclose(numbers(band.get("d", "")), expected, atol=0.051)
    assert band.get("d", "").endswith("Z")
    spots = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in by_class(svg, "place")]
    np.testing.assert_allclose(spots, [(LEFT, BOTTOM), (second, middle), (RIGHT, TOP)], atol=0.051)
    assert titles(svg) == ["a", "a: 0 (0 to 0.25) at 0", "a: 0.5 (0.25 to 0.75) at 2", "a: 1 (0.75 to 1) at 10"]
    assert texts(svg) == [*("0", "0.2", "0.4", "0.6", "0.8", "1.0"), *("0", "2", "4", "6", "8", "10"), "steps", "share"]


def test_a_line_breaks_where_there_is_no_number_and_stays_inside():
    series = Series("a", [0, 1, 2, 3, 4], [2.0, None, 0.5, float("nan"), -1.0])
    svg = line_chart([series], Axis("steps", 0.0, 4.0), UNIT, "x", SMALL)
    (line,) = by_class(svg, "line")
    pieces = [numbers(piece)[:2] for piece in line.get("d", "").split("M")[1:]]
    np.testing.assert_allclose(pieces, [(LEFT, TOP), (208.45, 95.5), (RIGHT, BOTTOM)], atol=0.051)
    assert "grey" in line.get("class", "")
    assert by_class(svg, "band") == []
    assert by_class(svg, "place") == []


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="'a' has x, y, low, high of lengths 2, 1, 0, 0; expected equal ones"):
        line_chart([Series("a", [0, 1], [0.5])], UNIT, UNIT, "x")


def test_dots_on_a_log_axis():
    dots = [
        Dot(1.0, 0.5, 0.25, 0.75, "one"),
        Dot(10.0, 1.0, None, None, "ten", span=(1.0, 100.0)),
        Dot(100.0, None, None, None, "none"),
    ]
    svg = dot_chart(dots, Axis("lr", 1.0, 100.0, log=True), UNIT, "x", SMALL)
    at = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in by_class(svg, "dot")]
    np.testing.assert_allclose(at, [(LEFT, 95.5), (208.45, TOP)], atol=0.051)
    (interval,) = by_class(svg, "interval")
    caps_and_bar = numbers(interval.get("d", "")).reshape(3, 4)
    low, high = BOTTOM - 0.25 * 151, BOTTOM - 0.75 * 151
    np.testing.assert_allclose(caps_and_bar[2], [LEFT, low, LEFT, high], atol=0.051)
    (span,) = by_class(svg, "span")
    np.testing.assert_allclose(numbers(span.get("d", "")), [LEFT, TOP, RIGHT], atol=0.051)
    (cross,) = by_class(svg, "cross")
    np.testing.assert_allclose(numbers(cross.get("d", ""))[:2], [RIGHT, BOTTOM - 6], atol=0.051)
    assert titles(svg) == ["one", "ten", "none"]
    assert texts(svg)[6:] == ["1", "10", "100", "lr", "share"], "a tick at each value"


def test_a_log_axis_leaves_a_tenth_of_room():
    svg = dot_chart([Dot(v, 0.5, None, None, "") for v in (1.0, 100.0)], Axis("lr", log=True), UNIT, "x", SMALL)
    room = np.log(1.1) / np.log(121.0) * (RIGHT - LEFT)  # from 1 / 1.1 to 100 x 1.1 is a factor of 121
    at = [float(dot.get("cx", "")) for dot in by_class(svg, "dot")]
    np.testing.assert_allclose(at, [LEFT + room, RIGHT - room], atol=0.051)


def test_ticks_at_the_values_only_where_they_have_room():
    ticks = lambda values: texts(
        dot_chart([Dot(v, 0.5, None, None, "") for v in values], Axis("x", 0.0, 1000.0), UNIT, "x", SMALL)
    )[6:-2]
    assert ticks([0, 450, 1000]) == ["0", "450", "1,000"]
    assert ticks([0, 450, 460, 1000]) == ["0", "200", "400", "600", "800", "1,000"]


def test_categories_are_rows():
    long = "a name of more than twenty letters"
    dots = [Dot("dqn", 0.5, 0.25, 0.75, "first"), Dot(long, 1.0, None, None, "second")]
    svg = dot_chart(dots, Axis(""), UNIT, "x", SMALL)
    # 28 letters of 5.8 take 0.42 of the width of 400, and 14 more are between: 176.4. Rows are 22 high and begin at 5.
    left = 176.4
    at = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in by_class(svg, "dot")]
    np.testing.assert_allclose(at, [((left + RIGHT) / 2, 16.0), (RIGHT, 38.0)], atol=0.051)
    assert ET.fromstring(svg).get("viewBox") == f"0 0 400 {5 + 2 * 22 + 29}"
    assert "dqn" in texts(svg)
    assert f"{long[:27]}…" in texts(svg)


def test_one_value_and_none_at_all_are_drawn():
    for dots in ([Dot(3.0, 0.5, 0.5, 0.5, "")], [Dot("a", None, None, None, "")], []):
        for log in (False, True):
            ET.fromstring(dot_chart(dots, Axis("x", log=log), Axis("y"), "x"))
    ET.fromstring(line_chart([], Axis("x"), Axis("y"), "x"))
    ET.fromstring(line_chart([Series("a", [5], [0.5])], Axis("x", 0.0, 5.0), Axis("y"), "x"))


def test_text_from_data_is_escaped():
    hostile = "<b>&\"'\x00\ud800"
    dots = [Dot(hostile, 0.5, None, None, hostile)]
    for svg in (
        dot_chart(dots, Axis(hostile), Axis(hostile), hostile),
        line_chart([Series(hostile, [0, 1], [0, 1], ink=0)], Axis(hostile), Axis(hostile), hostile),
        legend([Series(hostile, [], [], ink=1)]),
    ):
        root = ET.fromstring(svg)
        assert "<b>&\"'\ufffd\ufffd" in "".join(root.itertext())
        assert [element for element in root.iter() if element.tag.endswith("}b") or element.tag == "b"] == []


def test_the_legend_names_what_has_a_colour():
    text = legend([Series("one", [], [], ink=0, strong=True), Series("grey", [], []), Series("two", [], [], ink=2)])
    assert "".join(ET.fromstring(text).itertext()) == "onetwo"
    assert re.findall(r'<path class="([^"]*)"', text) == ["line ink0 strong", "line ink2"]


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    if len(colour) == 3:
        colour = "".join(2 * digit for digit in colour)
    channels = [int(colour[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_colours_stand_out_in_light_and_in_dark():
    themes = re.findall(r":root\{[^}]*\}", document.STYLE)
    assert len(themes) == 2
    for theme in themes:
        colours = dict(re.findall(r"--(\w+):#(\w+)", theme))
        for ink in range(INKS):
            assert contrast(colours[f"ink{ink}"], colours["paper"]) >= 3, (theme, ink)
        for paper in ("paper", "shade"):
            assert contrast(colours["text"], colours[paper]) >= 7
            assert contrast(colours["soft"], colours[paper]) >= 4.5
