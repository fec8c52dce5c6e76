"""The page of a result: a chart and a table for each tier, and beside its peers the engine's ratio to each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lepton_jax.report.chart import Dot, dot_chart
from lepton_jax.report.document import Cell, Column, document, escape, table
from lepton_jax.report.frame import Axis, Size
from lepton_jax.report.ticks import figure

Rows = Sequence[Mapping[str, Any]]
_SIZE = Size(720, 400, 12, 13)  # over the whole page, with names that are long


def page(about: Mapping[str, Any], results: Mapping[str, Rows]) -> str:
    """HTML in one file that loads nothing.

    Args:
      about: of ``bench.measure.environment``.
      results: rows by tier, as ``python -m bench`` has them.
    """
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    machine = f"{about['device']}, {about['threads']} threads, Python {about['python']}, {packages}; {about['date']}"
    parts = [
        f'<p class="note">{escape(machine)}. Medians of interleaved repetitions with the range seen; compiling apart. '
        "Only figures of one run compare.</p>",
        *(_tier(name, rows) for name, rows in results.items()),
    ]
    return document("Speed", "\n".join(parts))


def _tier(tier: str, rows: Rows) -> str:
    known = [row for row in rows if row.get("repetitions")]
    units = list(dict.fromkeys(row["unit"] for row in known))
    charts = "\n".join(_chart(tier, unit, [row for row in known if row["unit"] == unit]) for unit in units)
    return f"<h2>{escape(tier)}</h2>\n{charts}\n{_table(tier, rows)}"


def _chart(tier: str, unit: str, rows: Rows) -> str:
    if len(rows) < 2:
        return ""
    dots = [
        Dot(_name(row), row["median"], row["low"], row["high"], f"{_name(row)}: {_short(row)} {unit}") for row in rows
    ]
    positive = all(row["low"] > 0 for row in rows)
    return f"<figure>{dot_chart(dots, Axis(''), Axis(unit, log=positive), f'{tier}, {unit}, by row', _SIZE)}</figure>"


def _table(tier: str, rows: Rows) -> str:
    beside = any("ratio" in row or "reason" in row for row in rows)
    columns = [Column("what", "word"), Column("median"), Column("low"), Column("high"), Column("unit", "word")]
    columns += (
        [Column("ours over it"), Column("asked"), Column("what it says", "sentence")] if beside else [Column("asked")]
    )
    return table(tier, columns, [_cells(row, beside) for row in rows])


def _cells(row: Mapping[str, Any], beside: bool) -> list[Cell]:
    number = lambda name: Cell("", "") if row.get(name) is None else Cell(figure(row[name]), row[name])
    cells = [Cell(_name(row)), number("median"), number("low"), number("high"), Cell(row.get("unit", ""))]
    if not beside:
        return [*cells, number("asked")]
    check = ", ".join(
        f"{name} {figure(value) if isinstance(value, float) else value}" for name, value in row.get("check", {}).items()
    )
    return [*cells, number("ratio"), number("asked"), Cell(row.get("reason") or check)]


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['name']}, {row['n']:,}" if "n" in row else row["name"]


def _short(row: Mapping[str, Any]) -> str:
    return f"{figure(row['median'])} ({figure(row['low'])} to {figure(row['high'])})"
