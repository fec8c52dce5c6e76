"""The page of a comparison of runs, in one file that loads nothing: curves, figures, differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lepton_jax.config import ConfigError
from lepton_jax.report.chart import INKS, Series, legend, line_chart
from lepton_jax.report.compare_facts import Comparison, Curve, Entry, Row, curve, metrics_of
from lepton_jax.report.compare_text import cell, figures_title, made, status
from lepton_jax.report.document import Cell, Column, document, escape, table
from lepton_jax.report.drawing import SIZE, drawing
from lepton_jax.report.frame import NARROW, WIDE, Axis, Size
from lepton_jax.report.sweep_words import count, is_number, spread, word
from lepton_jax.report.ticks import figure, widened

_PLACES, _FEW = 200, 60  # log points a curve, and one of a small chart
_RATES = ("success_rate", "spl")  # figures from 0 to 1
_OTHERS = ("validation/success_rate", "validation/spl", "validation/mean_return", "validation/regret", "loss", "q_mean")


def page(told: Comparison) -> str:
    """A comparison as HTML.

    Args:
      told: what is shown. Curves beyond the colours that there are, and beyond 200 log points, are thinned out.
    """
    parts = [
        _answer(told),
        _warnings(told),
        _curves(told),
        _figures(told),
        _settings(told),
        _made_by(told),
        _same(told),
    ]
    noun = "setting" if any(len(entry.trials) > 1 for entry in told.entries) else "run"
    return document(f"{count(len(told.entries), noun)} compared", "\n".join(part for part in parts if part))


def picture(entries: Sequence[Entry], curves: Sequence[Curve], metric: str) -> str:
    """Curves of a metric as SVG by itself.

    Raises:
      ConfigError: no run has a log point with that metric yet.
    """
    series = _series(entries, curves)
    if not series:
        raise ConfigError(f"{metric}: no log point has it yet")
    note = "Bands go from the least to the greatest of the runs." if any(one.low for one in series) else ""
    # A small chart has no name of its own at its axis: here the title has it.
    return drawing(f"{metric} by env-steps", [(series[::-1], _chart(series, metric, SIZE))], note)


def _label(entry: Entry) -> str:
    return f"{entry.letter}: {entry.name}"


def _answer(told: Comparison) -> str:
    """One sentence that says which run is best, where that can be said, and one on what differs."""
    row = next((row for row in told.figures if row.name.endswith("best policy") and row.best), None)
    differ = ", ".join(name for name, _ in told.settings[:6]) + (" and more" if len(told.settings) > 6 else "")
    settings = f"They differ in {differ}." if differ else "Their settings are equal."
    if row is None:
        return f'<p class="answer">{escape(settings)}</p>'
    first = min(row.best)
    others = f" and {len(row.best) - 1} more" if len(row.best) > 1 else ""
    name = row.name.partition(",")[0].replace("_", " ")
    return (
        f'<p class="answer"><strong>{escape(_label(told.entries[first]))}</strong>{others} has the best {escape(name)} '
        f"on test levels, {escape(cell(told, row, first).rstrip('*'))}. {escape(settings)}</p>"
    )


def _warnings(told: Comparison) -> str:
    return "\n".join(f"<p>Note: {escape(warning)}</p>" for warning in told.warnings)


def _curves(told: Comparison) -> str:
    """The metric that was asked for over the whole page, the others small below it."""
    series = _series(told.entries, told.curves)
    if not series:
        return f"<h2>Curves</h2>\n<p>No log point has {escape(told.metric)} yet.</p>"
    notes = ["The band goes from the least to the greatest of the runs."] if any(one.low for one in series) else []
    notes += [f"Beyond {INKS} runs, curves are grey."] if len(series) > INKS else []
    trials = [trial for entry in told.entries for trial in entry.trials]
    known = [name for name in metrics_of(trials) if name in _OTHERS and name != told.metric]
    small = (_small(told.entries, name) for name in sorted(known, key=_OTHERS.index))
    return (
        f"<h2>Curves</h2>\n{legend(series)}\n<figure>{_chart(series, told.metric, WIDE)}"
        f"<figcaption>{' '.join(notes)}</figcaption></figure>\n"
        f'<h2>Other metrics</h2>\n<div class="charts">{"".join(small)}</div>'
    )


def _small(entries: Sequence[Entry], metric: str) -> str:
    series = _series(entries, [curve(entry.trials, metric) for entry in entries], _FEW)
    return f"<div><h3>{escape(metric)}</h3><figure>{_chart(series, metric, NARROW)}</figure></div>" if series else ""


def _chart(series: Sequence[Series], metric: str, size: Size) -> str:
    """The first one lies on top."""
    ends = ", ".join(f"{one.name} ends at {figure(one.y[-1])}" for one in series[:INKS] if one.y[-1] is not None)
    reach = Axis("env-steps", 0.0, max(x for one in series for x in one.x))
    axis = _axis(series, metric)._replace(label=metric if size is WIDE else "")  # a small one has a heading
    return line_chart(series[::-1], reach, axis, f"{metric} by env-steps. {ends}.", size)


def _axis(series: Sequence[Series], metric: str) -> Axis:
    """Of rates not beyond 0 and 1."""
    values = [value for one in series for part in (one.y, one.low, one.high) for value in part if value is not None]
    low, high = widened(min(values), max(values))
    return Axis(metric, max(low, 0.0), min(high, 1.0)) if metric.endswith(_RATES) else Axis(metric, low, high)


def _series(entries: Sequence[Entry], curves: Sequence[Curve], places: int = _PLACES) -> list[Series]:
    """A line an entry that has one, the first ones in colour."""
    lines = []
    for number, (entry, one) in enumerate(zip(entries, curves, strict=True)):
        if not one.env_steps:
            continue
        x, y, low, high = (spread(part, places) for part in one)
        band = low != high
        ink = number if number < INKS else None
        lines.append(Series(_label(entry), x, y, low if band else (), high if band else (), ink))
    return lines


def _figures(told: Comparison) -> str:
    columns = [Column("run", "word"), *(Column(row.name) for row in told.figures), Column("status", "word")]
    rows = [
        [Cell(_label(entry)), *(_figure(told, row, n) for row in told.figures), Cell(status(told, n))]
        for n, entry in enumerate(told.entries)
    ]
    return f"<h2>Results</h2>\n{table(figures_title(told).capitalize(), columns, rows)}"


def _figure(told: Comparison, row: Row, number: int) -> Cell:
    value = row.values[number]
    return Cell("–", "") if value is None else Cell(cell(told, row, number), value.mean)


def _settings(told: Comparison) -> str:
    if not told.settings:
        return "<h2>Settings</h2>\n<p>All settings are equal.</p>"
    return f"<h2>Settings</h2>\n{_by_run(told, 'Settings that differ', told.settings, word)}"


def _made_by(told: Comparison) -> str:
    differing = _by_run(told, "Versions, devices and revisions that differ", told.made_by, made) if told.made_by else ""
    common = ", ".join(f"{name} {made(value)}" for name, value in told.common.items() if value not in (None, ""))
    alike = f'<p class="note">{"Otherwise alike" if differing else "All alike"}: {escape(common)}</p>' if common else ""
    return f"<h2>Made by</h2>\n{differing}{alike}" if differing or alike else ""


def _by_run(told: Comparison, name: str, rows: Sequence[tuple[str, tuple[Any, ...]]], spell: Any) -> str:
    """A table with a row an entry and a column a difference."""
    column = lambda name, values: Column(name, "number" if all(map(is_number, values)) else "word")
    columns = [Column("run", "word"), *(column(*row) for row in rows)]
    plain = lambda value: Cell(spell(value), value if is_number(value) else None)
    cells = [[Cell(_label(entry)), *(plain(values[n]) for _, values in rows)] for n, entry in enumerate(told.entries)]
    return table(name, columns, cells)


def _same(told: Comparison) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in told.same)
    return f"<h2>The same computation</h2>\n<ul>{items}</ul>" if items else ""
