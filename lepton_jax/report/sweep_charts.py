"""The charts of a sweep's page: learning curves, the effect of each knob, and two knobs together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lepton_jax.report.chart import Dot, Series, dot_chart, legend, line_chart
from lepton_jax.report.document import Cell, Column, escape, framed, table
from lepton_jax.report.frame import Axis, finite
from lepton_jax.report.sweep_words import (
    Json,
    best_point,
    count,
    count_cell,
    figure_axis,
    figure_cell,
    figure_name,
    has_interval,
    interval,
    is_number,
    knobs_of,
    seeds_of,
    setting,
    spread,
    tested,
    value_range,
    with_interval,
    word,
)
from lepton_jax.report.ticks import figure

_NAMED = 8  # curves with a colour and a name
_DRAWN = 40  # curves in all
_PLACES = 200  # evaluations a curve
_LOST = ("failed", "stopped")
_VALUES = 40  # values of a knob in the chart of its effect
_CELLS = 12  # values a knob in the grid of two knobs, and that are told one by one


def curves(summary: Json) -> str:
    """The best point in front, a few more by name, the rest in grey."""
    known = [curve for curve in summary.get("curves", ()) if any(finite(value) for value in curve["mean"])]
    if not known:
        return ""
    best, order = best_point(summary), _order(summary)
    ranked = sorted(known, key=lambda curve: (curve["point"] != best, *order(curve)))
    shown = _shown(summary, ranked)
    front = shown[-1]
    figures = [value for one in shown for part in (one.y, one.low, one.high) for value in part]
    last = next(value for value in reversed(front.y) if finite(value))
    chart = line_chart(
        shown,
        Axis("env-steps of a lane", 0.0, max(x for one in shown for x in one.x)),
        figure_axis(summary, f"{figure_name(summary)} on validation", figures),
        f"Learning curves of {count(len(shown), 'point')}: {figure_name(summary)} on validation by env-steps. "
        f"{front.name} ends at {figure(last)}.",
    )
    notes = ["One seed a point." if seeds_of(summary) == 1 else "Mean over the seeds that came so far."]
    notes += ["The band goes from the least to the greatest of them."] if front.low else []
    if len(known) > _NAMED:
        by = "test figure, points without one last" if tested(summary) else "the end of their curves"
        notes.append(f"Named are the point in front, and the median and the worst one by {by}; the rest is grey.")
    if len(shown) < len(known):
        notes.append(f"{len(shown):,} of the {len(known):,} points are drawn, evenly spaced by rank.")
    if any(len(curve["mean"]) > _PLACES for curve in known):
        notes.append(f"At most {_PLACES} evaluations a curve are drawn, evenly spaced.")
    return (
        f"<h2>Learning curves</h2>\n{legend(reversed(shown))}\n<figure>{chart}"
        f"<figcaption>{' '.join(notes)}</figcaption></figure>"
    )


def _order(summary: Json) -> Callable[[Json], tuple[bool, float]]:
    """Ranks curves: first the points with a test figure, best first; then by where their curves end."""
    means = {point["point"]: point.get("mean") for point in summary.get("points", ())}

    def order(curve: Json) -> tuple[bool, float]:
        mean = means.get(curve["point"])
        return (False, -mean) if finite(mean) else (True, -next(v for v in reversed(curve["mean"]) if finite(v)))

    return order


def _shown(summary: Json, ranked: Sequence[Json]) -> list[Series]:
    """The lines to draw, of curves in their order of rank; the last one is the first of them."""
    knobs = {point["point"]: point["knobs"] for point in summary.get("points", ())}
    name = lambda curve: setting(knobs.get(curve["point"], {})) or "mean over seeds"
    first, *others = ranked
    if not others:
        return [_series(first, name(first), 0, strong=True)]
    role = "best" if first["point"] == best_point(summary) else "ahead"
    front = _series(first, f"{role}: {name(first)}", 0, strong=True)
    if len(ranked) <= _NAMED:
        others.sort(key=lambda curve: -curve["point"])
        inks = range(len(others), 0, -1)
        return [*(_series(curve, name(curve), ink) for curve, ink in zip(others, inks, strict=True)), front]
    middle, worst = ranked[len(ranked) // 2], ranked[-1]
    grey = [curve for curve in spread(others, _DRAWN - 2) if curve not in (middle, worst)]
    return [
        *(_series(curve, name(curve), None) for curve in grey),
        _series(worst, f"worst: {name(worst)}", 1),
        _series(middle, f"median: {name(middle)}", 2),
        front,
    ]


def _series(curve: Json, name: str, ink: int | None, strong: bool = False) -> Series:
    x, y, low, high = (spread(curve.get(part) or (), _PLACES) for part in ("env_steps", "mean", "low", "high"))
    with_band = strong and list(low) != list(high)  # of one seed it would have no width
    return Series(name, x, y, low if with_band else (), high if with_band else (), ink, strong)


def effects(summary: Json) -> str:
    """What each knob does by itself."""
    known = {name: rows for name, rows in (summary.get("effects") or {}).items() if rows}
    everything = [row.get(part) for rows in known.values() for row in rows for part in ("mean", "low", "high")]
    if not any(finite(value) for value in everything):
        return ""
    axis = figure_axis(summary, f"test {figure_name(summary)}", everything)
    charts = "\n".join(_effect(name, rows, axis) for name, rows in known.items())
    over = "seeds" if len(known) == 1 else "points"
    note = (
        "Mean test figure of the finished lanes with that value, whatever the other knobs are, with its 95% interval "
        f"over {over}. A cross: no lane with that value has finished."
    )
    if any(row.get("stopped") for rows in known.values() for row in rows):
        note += " Lanes that were stopped early are not in it, so it is a mean of the better ones."
    return f'<h2>Effect of each knob</h2>\n<p class="note">{note}</p>\n<div class="charts">{charts}</div>'


def _effect(name: str, rows: Sequence[Json], axis: Axis) -> str:
    values = [row["value"] for row in rows]
    numeric = all(is_number(value) for value in values)
    rows = sorted(rows, key=lambda row: row["value"]) if numeric else rows
    shown = spread(rows, _VALUES)
    log = numeric and min(values) > 0 and max(values) / min(values) > 30
    known = [row for row in rows if finite(row.get("mean"))]
    told = "no lane has finished"
    if known:
        best = max(known, key=lambda row: row["mean"])
        told = f"highest at {value_range(best)}: {figure(best['mean'])}"
    chart = dot_chart(
        [_effect_dot(name, row, numeric) for row in shown],
        Axis(name if numeric else "", log=log),  # beside rows it would stand twice
        axis,
        f"{axis.label} by {name}, {count(len(rows), 'value')}; {told}.",
    )
    notes = [_lost_at(rows, status) for status in _LOST]
    if len(shown) < len(rows):
        notes.append(f"{len(shown)} of the {len(rows):,} values are drawn, evenly spaced.")
    note = " ".join(filter(None, notes))
    columns = [Column(name, "number" if numeric else "word")]
    columns += map(Column, ("mean", "low", "high", "finished", "failed", "stopped"))
    cells = [
        [
            Cell(value_range(row), row["value"] if numeric else None),
            *(figure_cell(row.get(part)) for part in ("mean", "low", "high")),
            *(count_cell(row.get(part) or 0) for part in ("lanes", "failed", "stopped")),
        ]
        for row in shown
    ]
    return (
        f"<div><h3>{escape(name)}</h3><figure>{chart}"
        + (f"<figcaption>{escape(note)}</figcaption>" if note else "")
        + f"</figure><details><summary>Numbers of {escape(name)}</summary>"
        + table(f"Effect of {name}", columns, cells)
        + "</details></div>"
    )


def _effect_dot(name: str, row: Json, numeric: bool) -> Dot:
    told = with_interval(row) if finite(row.get("mean")) else "none finished"
    title = ", ".join(part for part in (told, count(row.get("lanes") or 0, "lane"), _lost(row)) if part)
    ends = (row.get("from"), row.get("to"))
    span = (row["from"], row["to"]) if numeric and None not in ends and ends[0] != ends[1] else None
    place = row["value"] if numeric else word(row["value"])
    return Dot(place, row.get("mean"), row.get("low"), row.get("high"), f"{name} = {value_range(row)}: {title}", span)


def _lost(row: Json) -> str:
    """``2 failed, 3 stopped``."""
    return ", ".join(f"{row[status]:,} {status}" for status in _LOST if row.get(status))


def _lost_at(rows: Sequence[Json], status: str) -> str:
    """``Failed: 2 at 0.01, 8 at 0.03.``"""
    hit = [row for row in rows if row.get(status)]
    told = ", ".join(f"{row[status]:,} at {value_range(row)}" for row in hit)
    if len(hit) > _CELLS:
        told = f"{sum(row[status] for row in hit):,} at {len(hit):,} of the values"
    return f"{status.capitalize()}: {told}." if told else ""


def grid(summary: Json) -> str:
    """Two knobs: the mean of every pair of values, shaded by it."""
    knobs, points = knobs_of(summary), summary.get("points", ())
    if len(knobs) != 2:
        return ""
    rows, columns = (_ordered([point["knobs"].get(knob) for point in points]) for knob in knobs)
    cells = {tuple(repr(point["knobs"].get(knob)) for knob in knobs): point for point in points}
    if max(len(rows), len(columns)) > _CELLS or len(cells) < len(points):
        return ""
    means = [point["mean"] for point in points if finite(point.get("mean"))]
    if not means:
        return ""
    low, high = min(means), max(means)
    best = best_point(summary)
    head = "".join(f'<th scope="col" class="n">{escape(word(value))}</th>' for value in columns)
    body = ""
    for value in rows:
        body += f'<tr><th scope="row">{escape(word(value))}</th>'
        for other in columns:
            point = cells.get((repr(value), repr(other)))
            mean = point.get("mean") if point else None
            heat = f' style="--heat:{(mean - low) / (high - low or 1):.2f}"' if finite(mean) else ""
            marked = ' class="marked"' if point and point["point"] == best else ""
            title = f' title="{escape(interval(point))}"' if point and has_interval(point) else ""
            body += f"<td{marked}{heat}{title}>{figure(mean) if finite(mean) else '–'}</td>"
        body += "</tr>\n"
    name = (
        f"Test {figure_name(summary)}, mean over seeds: rows {knobs[0]}, columns {knobs[1]}. The best point is framed."
    )
    content = (
        f'<table aria-label="{escape(name)}"><thead><tr><th scope="col">{escape(knobs[0])} \\ {escape(knobs[1])}</th>'
        f"{head}</tr></thead><tbody>\n{body}</tbody></table>"
    )
    return f'<h2>Both knobs together</h2>\n<div class="heat">{framed(name, content)}</div>'


def _ordered(values: Sequence[Any]) -> list[Any]:
    """Each value once: numbers by size, anything else as it came."""
    once = list({repr(value): value for value in values}.values())
    return sorted(once) if all(is_number(value) for value in once) else once
