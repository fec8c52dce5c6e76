"""The page of a sweep: which point is best, what each knob does, and how every lane ended. One file, no network."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lepton_jax.engine.folder import put
from lepton_jax.report.document import Cell, Column, document, escape, table
from lepton_jax.report.frame import finite
from lepton_jax.report.sweep_charts import curves, effects, grid
from lepton_jax.report.sweep_words import (
    STATUSES,
    Json,
    best_point,
    count,
    count_cell,
    duration,
    figure_cell,
    figure_name,
    has_interval,
    interval,
    knob_cell,
    knob_column,
    knobs_of,
    listed,
    seeds_of,
    setting,
    status_counts,
    tested,
    value_of,
)
from lepton_jax.report.ticks import figure
from lepton_jax.scale.sweep_folder import read_manifest

_ROWS = 2000  # rows a table
_CHOSEN = (
    "The best point was chosen on validation, so it need not be the first one here. With the same seeds: part of its "
    "lead may be luck in them, and only new seeds show how much."
)


def page(summary: Json, manifest: Json | None = None) -> str:
    """The page of a sweep, complete or under way, as HTML in one file that loads nothing.

    Args:
      summary: what ``summary.json`` of the sweep's folder holds.
      manifest: what ``manifest.json`` there holds, for the last line.
    """
    parts = [
        _answer(summary),
        _command(summary),
        _counts(summary),
        curves(summary),
        effects(summary),
        grid(summary),
        _points(summary),
        _lanes(summary),
        _origin(summary, manifest or {}),
    ]
    return document(_title(summary), "\n".join(part for part in parts if part))


def _title(summary: Json) -> str:
    knobs, points = knobs_of(summary), summary.get("points", ())
    if not knobs:
        return f"{count(seeds_of(summary), 'seed')} of one setting"
    return f"Sweep of {listed(knobs)}: {count(len(points), 'point')}, {count(seeds_of(summary), 'seed')} each"


class PageWriter:
    """Writes ``report.html`` when a sweep has come to its end, or has been stopped."""

    def __init__(self, folder: Path):
        self._folder = folder

    def begin(self, sweep: Any, plan: Any) -> None: ...
    def update(self, standing: Any) -> None: ...
    def notice(self, text: str) -> None: ...

    def end(self, summary: Json | None) -> None:
        """``summary`` as in summary.json; None if there is none."""
        if summary is not None:
            put(self._folder / "report.html", page(summary, read_manifest(self._folder)))


def _answer(summary: Json) -> str:
    """One sentence that says what came out, and another one if more is to come."""
    best, counts = summary.get("best"), status_counts(summary)
    lanes, under_way = counts.total(), counts["running"] + counts["waiting"]
    if best and finite(best.get("mean")):
        answer = _best(summary, best, "Best so far" if under_way else "Best")
    elif lanes and counts["failed"] == lanes:
        answer = escape(f"No lane has finished: {f'all {lanes:,}' if lanes > 1 else 'the one there is'} failed.")
        answer += escape(_reason(summary))
    elif counts["finished"]:
        answer = "No finished lane has a test figure."
    else:
        answer = f"No lane has finished{' yet' if under_way else ''}, so there is no test figure."
    note = (
        f'\n<p class="note">The sweep is under way: {under_way:,} of {count(lanes, "lane")} '
        f"{'has' if under_way == 1 else 'have'} not ended, and what is shown here will change.</p>"
        if under_way
        else ""
    )
    return f'<p class="answer">{answer}</p>{note}'


def _reason(summary: Json) -> str:
    """The most frequent reason of failure, whatever its numbers are, as one lane tells it."""
    kind = lambda lane: re.sub(r"[\d,.]+", "0", lane["reason"])
    lanes = [lane for lane in summary.get("lanes", ()) if lane["status"] == "failed" and lane.get("reason")]
    kinds = Counter(map(kind, lanes))
    if not lanes:
        return ""
    lane = max(lanes, key=lambda lane: kinds[kind(lane)])
    times = count(kinds[kind(lane)], "lane")
    return f" The most frequent reason ({times}), as lane {lane['lane']} tells it: {lane['reason']}."


def _best(summary: Json, best: Json, start: str) -> str:
    seeds = count(best.get("seeds") or 1, "seed")
    spread = f"95% interval {interval(best)} over {seeds}" if has_interval(best) else f"{seeds}, so no interval"
    told = f"{figure_name(summary)} of <strong>{figure(best['mean'])}</strong> ({spread})"
    if not best["knobs"]:
        return f"Test {told}; each lane's best policy was chosen on validation."
    return f"{start} is <strong>{escape(setting(best['knobs']))}</strong>, chosen on validation: test {told}."


def _command(summary: Json) -> str:
    best = summary.get("best")
    if not best or not best.get("command"):
        return ""
    lane = next((lane for lane in summary.get("lanes", ()) if lane["lane"] == best.get("lane")), None)
    value = value_of(lane.get("best") if lane else None, summary)
    told = f" (seed {lane['seed']}, test {figure_name(summary)} {figure(value)})" if lane and finite(value) else ""
    words = " ".join(f"<span>{escape(word)}</span>" for word in best["command"].split(" "))
    return (
        f"<p>This runs its best lane, number {escape(best.get('lane'))}{escape(told)}, alone:</p>\n"
        f'<div class="command"><pre><code>{words}</code></pre>'
        '<button type="button" aria-label="Copy the command">Copy</button> <span role="status"></span></div>'
    )


def _counts(summary: Json) -> str:
    """How many lanes ended how, and what the sweep cost."""
    counts = status_counts(summary)
    facts = [
        (f"lanes {status}", f"{counts[status]:,}", status == "failed" and counts[status] > 0)
        for status in STATUSES
        if counts[status] or status in ("finished", "failed")
    ]
    groups = summary.get("groups")
    groups = len(groups) if isinstance(groups, Sequence | Mapping) else groups
    known = [
        ("training", summary.get("seconds"), duration),
        ("compiling", summary.get("compile_seconds"), duration),
        ("env-steps", summary.get("env_steps"), lambda value: f"{value:,.0f}"),
        ("env-steps/s", summary.get("env_steps_per_second"), lambda value: f"{value:,.0f}"),
        ("compiled programs", groups, lambda value: f"{value:,}"),
        ("device", summary.get("device"), str),
    ]
    facts += [(name, form(value), False) for name, value, form in known if value is not None]
    return f"<h2>Lanes and speed</h2>\n<dl>{''.join(_fact(*fact) for fact in facts)}</dl>"


def _fact(name: str, value: str, bad: bool) -> str:
    start = '<div class="bad">' if bad else "<div>"
    return f"{start}<dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"


def _points(summary: Json) -> str:
    knobs, points = knobs_of(summary), summary.get("points", ())
    if not knobs:
        return ""
    ordered = sorted(points, key=lambda p: (not finite(p.get("mean")), -(p.get("mean") or 0), p["point"]))[:_ROWS]
    best = best_point(summary)
    columns = [
        Column("point"),
        *(knob_column(knob, ordered) for knob in knobs),
        Column("finished"),
        Column("mean", order="descending" if tested(summary) else "none"),
        *(Column(part) for part in ("low", "high")),
    ]
    rows = [
        [
            Cell(f"{point['point']}{' (best)' if point['point'] == best else ''}", point["point"]),
            *(knob_cell(point["knobs"].get(knob)) for knob in knobs),
            Cell(f"{point.get('finished') or 0}"),
            *(figure_cell(point.get(part)) for part in ("mean", "low", "high")),
        ]
        for point in ordered
    ]
    marked = next((k for k, point in enumerate(ordered) if point["point"] == best), None)
    name = f"Points by test {figure_name(summary)} of the best policy, mean over seeds with its 95% interval"
    note = "" if marked is None else _CHOSEN
    return f"<h2>Points</h2>\n{_note(note, _cut(points, 'table.csv'))}{table(name, columns, rows, marked)}"


def _lanes(summary: Json) -> str:
    lanes, knobs = summary.get("lanes", ()), knobs_of(summary)
    if not lanes:
        return ""
    ordered = sorted(lanes, key=lambda lane: lane["status"] != "failed")[:_ROWS] if len(lanes) > _ROWS else lanes
    columns = [
        *(Column(name) for name in ("lane", "point", "seed")),
        *(knob_column(knob, ordered) for knob in knobs),
        Column("status", "word"),
        *(
            Column(name)
            for name in ("best validation", "test, final policy", "test, best policy", "env-steps", "best at")
        ),
        Column("reason", "sentence"),
    ]
    rows = [
        [
            *(Cell(str(lane[name])) for name in ("lane", "point", "seed")),
            *(knob_cell(lane["knobs"].get(knob)) for knob in knobs),
            Cell(lane["status"]),
            *(figure_cell(value_of(lane.get(part), summary)) for part in ("validation", "final", "best")),
            *(count_cell(lane.get(part)) for part in ("env_steps", "best_env_steps")),
            Cell(lane.get("reason") or ""),
        ]
        for lane in ordered
    ]
    failed = status_counts(summary)["failed"]
    told = f"All {count(len(lanes), 'lane')}" + (f", {failed:,} of which failed" if failed else "")
    name = f"Lanes: {figure_name(summary)}, and env-steps at the end and at the best policy"
    return (
        f"<h2>Lanes</h2>\n<details{'' if knobs else ' open'}><summary>{told}</summary>"
        f"{_note(_cut(lanes, 'lanes.csv'))}{table(name, columns, rows)}</details>"
    )


def _cut(rows: Sequence[Json], file: str) -> str:
    return f"{_ROWS:,} of {len(rows):,} are listed here; {file} has all." if len(rows) > _ROWS else ""


def _note(*sentences: str) -> str:
    text = " ".join(sentence for sentence in sentences if sentence)
    return f'<p class="note">{text}</p>\n' if text else ""


def _origin(summary: Json, manifest: Json) -> str:
    environment = manifest.get("environment") or {}
    known = [(name, environment.get(name)) for name in ("lepton_jax", "jax", "python")]
    known += [("revision", manifest.get("git_revision")), ("processor", environment.get("processor"))]
    told = ", ".join(f"{name} {value}" for name, value in known if value)
    return f"<footer>{escape(told)}</footer>" if told else ""
