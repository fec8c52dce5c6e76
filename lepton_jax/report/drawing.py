"""Charts as a picture by itself, for a README or a paper: SVG on white, with title, names of the lines and a note."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from lepton_jax.report.chart import Series
from lepton_jax.report.document import STYLE, escape
from lepton_jax.report.frame import Size

SIZE = Size(720, 380, 13, 13)  # of each chart
_LINE = 19  # units from one line of text to the next
_TITLE = 17  # height of the title
_LETTER = 0.58  # width of a letter over its height, nearly


def drawing(title: str, charts: Iterable[tuple[Sequence[Series], str]], note: str = "") -> str:
    """One picture of some charts, one below the other.

    Args:
      title: plain text, above.
      charts: of each its lines, the last one on top, and what ``line_chart`` of ``SIZE`` makes of them. Lines without
        a colour have no names.
      note: plain text, below.
    """
    y, parts = 8.0, []
    for line in textwrap.wrap(title, int((SIZE.width - 8) / (_LETTER * _TITLE))):
        y += 1.3 * _TITLE
        parts.append(f'<text class="title" x="2" y="{y:.0f}">{escape(line)}</text>')
    y += 8
    for lines, chart in charts:
        items, y = _key(lines, y)
        content = re.sub(r"^<svg[^>]*>|</svg>$", "", chart)
        text = f"--text:{SIZE.text}px;--small:{SIZE.small}px"
        parts += [items, f'<g class="chart" style="{text}" transform="translate(0 {y:.0f})">{content}</g>']
        y += SIZE.height
    for line in textwrap.wrap(note, int((SIZE.width - 8) / (_LETTER * SIZE.text))):
        y += _LINE
        parts.append(f'<text x="2" y="{y:.0f}">{escape(line)}</text>')
    y += _LINE / 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(title)}" '
        f'viewBox="-8 0 {SIZE.width + 16} {y:.0f}" width="{SIZE.width + 16}" height="{y:.0f}">'
        f"<style>{escape(_light())}</style>"
        f'<rect x="-8" width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _key(lines: Sequence[Series], y: float) -> tuple[str, float]:
    """The names of the lines that have a colour, as rows of SVG below ``y``, and where they end."""
    x, y, parts = 2.0, y + _LINE / 2, []
    for line in (line for line in reversed(lines) if line.ink is not None):
        wide = 34 + _LETTER * SIZE.text * len(line.name)
        if x > 2 and x + wide > SIZE.width:
            x, y = 2.0, y + _LINE
        look = f"line ink{line.ink}{' strong' if line.strong else ''}"
        parts.append(f'<path class="{look}" d="M{x:.0f} {y:.0f}h27"/>')
        parts.append(f'<text x="{x + 33:.0f}" y="{y:.0f}" dy=".35em">{escape(line.name)}</text>')
        x += wide + 14
    return f'<g class="chart" style="--text:{SIZE.text}px">{"".join(parts)}</g>', y + _LINE


def _light() -> str:
    """The style of the page's charts on light paper, whatever the reader's screen prefers."""
    colours = re.search(r":root\{[^}]*\}", STYLE)
    assert colours is not None
    rules = re.findall(r"(?:^|(?<=\}))\.chart[^{}]*\{[^{}]*\}", STYLE, re.M)
    text = 'text{font:13px system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:var(--soft)}'
    title = f".title{{font-size:{_TITLE}px;font-weight:600;fill:var(--text)}}"
    return colours[0].replace("color-scheme:light dark;", "") + text + title + "".join(rules)
