"""What the displays of all commands share: one look, on a terminal and off it. Imports rich only where it draws."""

from __future__ import annotations

import itertools
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

# Seconds between two drawings: what changes faster nobody reads.
_PAUSE = 0.1
_INK = "cyan"  # of bars and curves, readable on dark and on light
_DIM = "dim"  # of labels
_BLOCKS, _ASCII = "▁▂▃▄▅▆▇█", ".:-=+*#"


def chosen(kind: str) -> str:
    """``auto`` is ``live`` on a capable terminal and ``plain`` anywhere else; other kinds of display are themselves."""
    if kind != "auto":
        return kind
    return "live" if sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown") else "plain"


def notice(text: str) -> None:
    """Says what a person should know, whatever else is shown."""
    print(f"note: {text}", file=sys.stderr, flush=True)


class Screen:
    """The last lines of a terminal, drawn over and over; what is printed meanwhile appears above them.

    Draws when it is told to and has no thread of its own, so that a run pays for nothing but what it shows.
    """

    def __init__(self, console: Any = None):
        """``console``: a rich Console; by default the terminal."""
        from rich.console import Console
        from rich.live import Live

        self.console = console or Console(highlight=False)
        self._live = Live(console=self.console, auto_refresh=False, vertical_overflow="crop")
        self._drawn = -math.inf
        self._waiting: Callable[[], Any] | None = None
        self._live.start()

    @property
    def colour(self) -> bool:
        """Whether colours show."""
        return self.console.color_system is not None and not self.console.no_color

    @property
    def ascii(self) -> bool:
        """Whether only ASCII can be written."""
        return not self.console.encoding.lower().startswith("utf")

    def say(self, line: str) -> None:
        """Writes a line above what is drawn, broken between words."""
        from rich.text import Text

        self.console.print(Text(line), soft_wrap=False)

    @property
    def due(self) -> bool:
        """Whether it has not just drawn, and would draw what it is shown now."""
        return time.monotonic() - self._drawn >= _PAUSE

    def show(self, make: Callable[[], Any]) -> None:
        """Draws what ``make`` returns, something that rich renders; if it has just drawn, later, or when it ends."""
        self._waiting = make
        if self.due:
            self._draw()

    def stop(self) -> None:
        """Draws what is still to be drawn, which stays, and gives the terminal back."""
        if self._waiting is not None:
            self._draw()
        self._live.stop()

    def _draw(self) -> None:
        assert self._waiting is not None
        self._live.update(self._waiting(), refresh=True)
        self._waiting, self._drawn = None, time.monotonic()


def head(done: float, of: float, note: str) -> Any:
    """A bar over the whole width, its percentage, and a note such as the time left; one line for rich."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    share = min(done / of, 1.0) if of else 0.0
    bar = ProgressBar(1.0, share, complete_style=_INK, finished_style=_INK)
    grid.add_row(bar, Text(f"{math.floor(100 * share)}%"), Text(note))
    return grid


def facts(rows: Mapping[str, str]) -> Any:
    """Names and values in two columns, for rich."""
    from rich.text import Text

    width = max(map(len, rows))
    lines = ((f"{name:<{width}}  ", value) for name, value in rows.items())
    # Not one of rich's tables, which take a millisecond to lay out.
    return Text("\n").join(Text.assemble((name, _DIM), value) for name, value in lines)


def curve(values: Sequence[float], width: int, plain: bool, low: float = 0.0, high: float = 1.0) -> Any:
    """``sparkline`` in the ink of curves, for rich."""
    from rich.text import Text

    return Text(sparkline(values, width, plain, low, high), style=_INK, no_wrap=True)


def sparkline(values: Sequence[float], width: int, plain: bool, low: float = 0.0, high: float = 1.0) -> str:
    """A curve in a line of text.

    Args:
      values: from left to right. Where there are more than ``width``, each sign is the mean of as many as fall on it.
      width: signs, at most.
      plain: ASCII instead of blocks.
      low, high: what the lowest and the highest sign stand for; what lies beyond is drawn as these. Where they are
        equal all is drawn low.
    """
    signs, count = (_ASCII if plain else _BLOCKS), min(len(values), width)
    bounds = [round(place * len(values) / count) for place in range(count + 1)] if count else []
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(bounds)]
    share = lambda value: (value - low) / (high - low) if high > low else 0.0
    return "".join(signs[min(max(int(share(mean) * len(signs)), 0), len(signs) - 1)] for mean in means)


def rows(names: Sequence[str], lines: Iterable[Sequence[str]]) -> Any:
    """A small table for rich; what does not fit is cut at the end of its line."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, padding=(0, 2, 0, 0), header_style=_DIM, pad_edge=False)
    for name in names:
        grid.add_column(name, no_wrap=True, overflow="ellipsis")
    for line in lines:
        grid.add_row(*(Text(cell, style=_INK if set(cell) & set(_BLOCKS) else "") for cell in line))
    return grid


def note(text: str) -> Any:
    """Words beside what is drawn, for rich."""
    from rich.text import Text

    return Text(text, style=_DIM)


def stacked(parts: Iterable[Any]) -> Any:
    """Parts for rich, one below another."""
    from rich.console import Group

    return Group(*parts)


def beside(left: Any, right: Any, width: int) -> Any:
    """Two parts for rich, side by side; the left one at least ``width`` wide, so that the other stays where it is."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 4))
    grid.add_column(min_width=width)
    grid.add_column()
    grid.add_row(left, right)
    return grid


def clock(seconds: float) -> str:
    """Seconds as minutes, or hours, for people: 04:07, 30:04:07."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02}:{rest:02}" if minutes < 60 else f"{minutes // 60:02}:{minutes % 60:02}:{rest:02}"


def rate(steps: float, seconds: float) -> str:
    """Steps a second, in thousands; - where no time has passed."""
    return f"{steps / seconds / 1e3:,.0f} k/s" if seconds else "-"


def number(value: float) -> str:
    """A figure for people."""
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"
