"""Charts as SVG text for a page: lines with bands, and dots with intervals. Colours and text sizes come
from the style of ``report.document``.

A chart scales with the width it is given; on a small screen its text grows, for which its margins have room.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from lepton_jax.report.document import escape
from lepton_jax.report.frame import NARROW, WIDE, Axis, Plot, Rows, Size, finite, units
from lepton_jax.report.ticks import number

INKS = (
    8  # colours of the style, after Okabe and Ito, darkened or lightened until they stand out from the paper by 3 : 1
)


class Series(NamedTuple):
    """A line; where ``y`` is None it is broken. With ``low`` and ``high`` it has a band."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    ink: int | None = None  # which colour; None: grey, in the background
    strong: bool = False  # thick, with a dot at each place


class Dot(NamedTuple):
    """A figure ``y`` at ``x``, a number or a category, with its interval; a cross at the edge where it is None."""

    x: float | str
    y: float | None
    low: float | None
    high: float | None
    title: str
    span: tuple[float, float] | None = None  # the range of x that the figure is of
    ink: int = 0


def line_chart(series: Sequence[Series], x: Axis, y: Axis, label: str, size: Size = WIDE) -> str:
    """Lines over a common x, the last one on top.

    Args:
      series: the lines; x and y of one are equally long, and so are low and high, or empty.
      x, y: the axes. What lies beyond given ends is drawn at the edge.
      label: what the chart shows, for who cannot see it.

    Returns:
      An ``<svg>`` element, well-formed XML.

    Raises:
      ValueError: a series whose x, y, low and high differ in length.
    """
    for one in series:
        if not len(one.x) == len(one.y) == (len(one.low) or len(one.y)) == (len(one.high) or len(one.y)):
            lengths = ", ".join(str(len(part)) for part in (one.x, one.y, one.low, one.high))
            raise ValueError(f"line_chart: {one.name!r} has x, y, low, high of lengths {lengths}; expected equal ones")
    heights = [value for one in series for part in (one.y, one.low, one.high) for value in part]
    plot = Plot(size, x, y, [value for one in series for value in one.x], heights)
    return plot.svg(label, "".join(_line(one, plot.x.at, plot.y.at) for one in series))


def dot_chart(dots: Sequence[Dot], x: Axis, y: Axis, label: str, size: Size = NARROW) -> str:
    """Figures with intervals. Numbers ``x`` lie along, figures up; categories are rows, figures along.

    Args:
      dots: what is drawn; one whose ``x`` is a string makes rows of all.
      x, y: the axes; with rows, only ``x.label`` of x counts, and the height follows from the number of rows.
      label: what the chart shows, for who cannot see it.

    Returns:
      An ``<svg>`` element, well-formed XML.
    """
    figures = [value for dot in dots for value in (dot.y, dot.low, dot.high)]
    if any(isinstance(dot.x, str) for dot in dots):
        names = list(dict.fromkeys(str(dot.x) for dot in dots))
        rows = Rows(size, names, x.label, y, figures)
        marks = (_dot(dot, rows.x.at, rows.at(str(dot.x)), across=True) for dot in dots)
        return rows.svg(label, "".join(marks))
    places = [float(dot.x) for dot in dots]
    spans = [end for dot in dots for end in dot.span or () if end > 0 or not x.log]
    plot = Plot(size, x, y, places + spans, figures, sorted(set(places)))
    marks = (_dot(dot, plot.y.at, plot.x.at(float(dot.x)), across=False, along=plot.x.at) for dot in dots)
    return plot.svg(label, "".join(marks))


def legend(series: Iterable[Series]) -> str:
    """The names of the lines that have a colour, beside a piece of the line: HTML that wraps as text does."""
    items = (
        f'<li><svg class="chart key" viewBox="0 0 28 10" aria-hidden="true"><path class="{_look(one)}" d="M1 5H27"/>'
        f"</svg>{escape(one.name)}</li>"
        for one in series
        if one.ink is not None
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def _line(one: Series, across: Callable[[float], float], up: Callable[[float], float]) -> str:
    place = lambda x, y: f"{units(across(x))} {units(up(y))}"
    band = []
    for piece in _pieces(zip(one.x, one.low, one.high, strict=False)):
        edge = [place(x, high) for x, _, high in piece] + [place(x, low) for x, low, _ in reversed(piece)]
        band.append(f"M{'L'.join(edge)}Z")
    path = ""
    for piece in _pieces(zip(one.x, one.y, strict=True)):
        path += f"M{'L'.join(place(*point) for point in piece)}" + ("h.01" if len(piece) == 1 else "")
    shaded = f'<path class="band {_ink(one.ink)}" d="{"".join(band)}"/>' if band else ""
    dots = ""
    if one.ink is not None:
        known = [k for k, value in enumerate(one.y) if finite(value)]
        dots = "".join(_place(one, k, place) for k in known)
    # A thin line is hard to point at: a broad one that cannot be seen lies over it.
    return (
        f'<g class="series"><title>{escape(one.name)}</title>{shaded}<path class="{_look(one)}" d="{path}"/>'
        f'<path class="reach" d="{path}"/>{dots}</g>'
    )


def _place(one: Series, k: int, place: Callable[[float, float], str]) -> str:
    x, y = one.x[k], one.y[k]
    assert y is not None
    cx, cy = place(x, y).split()
    low, high = (part[k] if part else None for part in (one.low, one.high))
    told = f" ({number(float(low))} to {number(float(high))})" if low is not None and high is not None else ""
    title = escape(f"{one.name}: {number(float(y))}{told} at {number(x)}")
    look = "place strong" if one.strong else "place"
    return f'<circle class="{look} {_ink(one.ink)}" cx="{cx}" cy="{cy}" r="4"><title>{title}</title></circle>'


def _dot(
    dot: Dot,
    figure: Callable[[float], float],
    place: float,
    across: bool,
    along: Callable[[float], float] | None = None,
) -> str:
    """One figure with its interval. ``figure`` says where a figure lies, ``place`` is where x does."""
    turn = lambda at, value: (at, value) if across else (value, at)
    spot = lambda at, value: " ".join(units(part) for part in turn(at, value))
    parts = []
    if dot.span and along is not None and finite(dot.y):
        a, b, at = units(along(dot.span[0])), units(along(dot.span[1])), units(figure(dot.y))
        parts.append(f'<path class="span" d="M{a} {at}H{b}"/>')
    if finite(dot.low) and finite(dot.high):
        ends = (figure(dot.low), figure(dot.high))
        bars = [(end, place - 4, end, place + 4) for end in ends] + [(ends[0], place, ends[1], place)]
        lines = "".join(f"M{spot(a, b)}L{spot(c, d)}" for a, b, c, d in bars)
        parts.append(f'<path class="interval" d="{lines}"/>')
    if finite(dot.y):
        cx, cy = (units(part) for part in turn(figure(dot.y), place))
        parts.append(f'<circle class="dot" cx="{cx}" cy="{cy}" r="3.5"/>')
        parts.append(f'<circle class="near" cx="{cx}" cy="{cy}" r="10"/>')  # easier to point at
    else:
        edge = figure(-math.inf) + (6 if across else -6)
        parts.append(f'<path class="cross" d="M{spot(edge, place)}m-4 -4l8 8m0 -8l-8 8"/>')
    return f'<g class="figure {_ink(dot.ink)}"><title>{escape(dot.title)}</title>{"".join(parts)}</g>'


def _pieces(points: Iterable[tuple]) -> list[list[tuple]]:
    """The points in runs without a gap."""
    pieces: list[list[tuple]] = [[]]
    for point in points:
        if all(finite(value) for value in point):
            pieces[-1].append(point)
        else:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _ink(ink: int | None) -> str:
    return "grey" if ink is None else f"ink{ink % INKS}"


def _look(one: Series) -> str:
    return f"line {_ink(one.ink)}" + (" strong" if one.strong else "")
