"""What a chart's marks are drawn into: axes with ticks and names."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeGuard

from lepton_jax.report.document import escape
from lepton_jax.report.ticks import linear_ticks, log_ticks, number, tick_labels, widened


class Axis(NamedTuple):
    """What is along an axis. An end that is None is taken from the data and moved out to a tick."""

    label: str
    low: float | None = None
    high: float | None = None
    log: bool = False


class Size(NamedTuple):
    """Units of the drawing. Text is ``text`` high, and ``small`` on a small screen, for which there is room."""

    width: int
    height: int
    text: int
    small: int


WIDE = Size(720, 400, 11, 22)  # over the whole page
NARROW = Size(400, 250, 12, 13)  # beside another one


class Scale(NamedTuple):
    """From values to units of the drawing; ``low`` is drawn at ``start`` and ``high`` at ``end``."""

    low: float
    high: float
    log: bool
    start: float
    end: float
    ticks: list[tuple[float, str]]

    def at(self, value: float) -> float:
        convert = math.log if self.log else float
        value = min(max(value, self.low), self.high)
        share = (convert(value) - convert(self.low)) / (convert(self.high) - convert(self.low))
        return self.start + share * (self.end - self.start)


def _scale(axis: Axis, values: Iterable[float | None], start: float, end: float, most: int) -> Scale:
    known = [value for value in values if finite(value)] or ([1.0] if axis.log else [0.0, 1.0])
    low = min(known) if axis.low is None else axis.low
    high = max(known) if axis.high is None else axis.high
    if axis.log:
        room = 1.1 if low < high else 2.0
        low, high = (low / room if axis.low is None else low), (high * room if axis.high is None else high)
        ticks = log_ticks(low, high, most)
    else:
        outer = widened(low, max(low, high), most)
        low, high = (outer[0] if axis.low is None else low), (outer[1] if axis.high is None else high)
        low, high = (low, high) if low < high else outer
        ticks = linear_ticks(low, high, most)
    return Scale(low, high, axis.log, start, end, list(zip(ticks, tick_labels(ticks, axis.log), strict=True)))


class Plot:
    """The frame of a chart with numbers on both axes."""

    def __init__(
        self,
        size: Size,
        x: Axis,
        y: Axis,
        xs: Sequence[float],
        ys: Sequence[float | None],
        places: Sequence[float] = (),
    ):
        self._size, self._names = size, (x.label, y.label)
        letter = 0.58 * size.small
        self.top, self.bottom = 2.0 * size.small, size.height - 2.9 * size.small
        self.y = _scale(y, ys, self.bottom, self.top, 6)
        self.left = letter * max(len(text) for _, text in self.y.ticks) + 14
        self.right = size.width - 2.5 * letter
        self.x = _scale(x, xs, self.left, self.right, 6)
        # What was measured is worth a tick each, if there is room for the names.
        texts = [(place, number(int(place) if place == int(place) else place)) for place in places]
        ends = [(self.x.at(place), letter * len(text) / 2 + 2) for place, text in texts]
        if texts and all(a + half <= b - other for (a, half), (b, other) in itertools.pairwise(ends)):
            self.x = self.x._replace(ticks=texts)

    def svg(self, label: str, marks: str) -> str:
        left, right, bottom = (units(value) for value in (self.left, self.right, self.bottom))
        parts = [f'<g class="grid"><path d="M{left} {bottom}H{right}"/>']
        parts += [f'<path d="M{left} {units(self.y.at(tick))}H{right}"/>' for tick, _ in self.y.ticks]
        parts += [f'<path d="M{units(self.x.at(tick))} {bottom}v5"/>' for tick, _ in self.x.ticks]
        parts.append('</g><g class="ticks">')
        for tick, text in self.y.ticks:
            parts.append(_words(self.left - 8, self.y.at(tick), text, "end", ".35em"))
        for tick, text in self.x.ticks:
            parts.append(_words(self.x.at(tick), self.bottom + 6, text, "middle", "1em"))
        middle = (self.left + self.right) / 2
        parts.append(_words(middle, self.bottom + 6, self._names[0], "middle", "2.3em"))
        parts.append(_words(2, self.top, self._names[1], "start", "-.9em"))
        return _svg(self._size, label, "".join(parts) + "</g>" + marks)


class Rows:
    """The frame of a chart with a row a category."""

    _NAMES = 0.42  # of the width at the most; what is longer is cut short, and the title of a mark has all

    def __init__(self, size: Size, names: Sequence[str], label: str, y: Axis, figures: Sequence[float | None]):
        letter, self._step = 0.58 * size.small, 2.2 * size.small
        self.top = 2.0 * size.small if label else 0.5 * size.small
        self._names, self._labels = names, (label, y.label)
        self.bottom = self.top + self._step * len(names)
        self._size = size._replace(height=math.ceil(self.bottom + 2.9 * size.small))
        self._longest = int(self._NAMES * size.width / letter)
        self.left = letter * min(max(map(len, names)), self._longest) + 14
        self.x = _scale(y, figures, self.left, size.width - 2.5 * letter, 6)

    def at(self, name: str) -> float:
        return self.top + self._step * (self._names.index(name) + 0.5)

    def svg(self, label: str, marks: str) -> str:
        top, bottom = units(self.top), units(self.bottom)
        parts = ['<g class="grid">']
        parts += [f'<path d="M{units(self.x.at(tick))} {top}V{bottom}"/>' for tick, _ in self.x.ticks]
        parts.append('</g><g class="ticks">')
        for tick, text in self.x.ticks:
            parts.append(_words(self.x.at(tick), self.bottom + 6, text, "middle", "1em"))
        for name in self._names:
            short = name if len(name) <= self._longest else f"{name[: self._longest - 1]}…"
            parts.append(_words(self.left - 8, self.at(name), short, "end", ".35em"))
        middle = (self.left + self.x.end) / 2
        parts.append(_words(middle, self.bottom + 6, self._labels[1], "middle", "2.3em"))
        parts.append(_words(2, self.top, self._labels[0], "start", "-.6em"))
        return _svg(self._size, label, "".join(parts) + "</g>" + marks)


def units(value: float) -> str:
    """A coordinate to a tenth of a unit."""
    return f"{value:.1f}".removesuffix(".0")


def _words(x: float, y: float, words: str, anchor: str, dy: str) -> str:
    """Words at a place; ``dy`` moves them down by so much of their own height, which differs from screen to screen."""
    return f'<text x="{units(x)}" y="{units(y)}" dy="{dy}" text-anchor="{anchor}">{escape(words)}</text>'


def _svg(size: Size, label: str, content: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" aria-label="{escape(label)}" '
        f'viewBox="0 0 {size.width} {size.height}" style="--text:{size.text}px;--small:{size.small}px">{content}</svg>'
    )


def finite(value: float | None) -> TypeGuard[float]:
    """Whether there is a number to draw."""
    return value is not None and math.isfinite(value)
