"""The page of a measured pair: what transfer has bought, in sentences, curves and numbers. One file, no network."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from lepton_jax.report.chart import Dot, Series, dot_chart, legend, line_chart
from lepton_jax.report.document import Cell, Column, document, escape, table
from lepton_jax.report.drawing import SIZE, drawing
from lepton_jax.report.frame import WIDE, Axis, Size, finite
from lepton_jax.report.sweep_words import Json, duration, figure_axis, figure_name
from lepton_jax.report.ticks import widened
from lepton_jax.transfer.gains import HEADS, LONG, SCRATCH, difference, key, main_arm, rows, sides, verdicts

_INKS = (0, 1, 2, 3, 4, 6)  # of the arms in a chart; 5 and 7 are those of the two from scratch
_EACH = "Means over seeds; bands go from the least of them to the greatest."


def page(record: Json, gains: Json) -> str:
    """The page of a pair, as HTML in one file that loads nothing.

    Args:
      record: see ``lepton_jax.transfer.gains``; also ``environment`` by name, ``seconds`` and ``commands``.
      gains: what ``lepton_jax.transfer.gains.gains`` makes of it.
    """
    answer, *more = verdicts(gains) or ["Nothing was compared."]
    parts = [
        f'<p class="answer">{escape(answer)}</p>',
        *(f"<p>{escape(sentence)}</p>" for sentence in more),
        _curves(record),
        _differences(record, gains),
        _numbers(record, gains),
        _arms(record),
        _origin(record),
    ]
    return document(f"{record['pair']}: {record['question']}", "\n".join(part for part in parts if part))


def figure(record: Json) -> str:
    """The learning curves as a picture by itself: SVG on white, with the question above and the names of the lines.

    Controls are grey and have no names; the page has them. More than six other arms are drawn in several charts.
    """
    shown = itertools.takewhile(lambda group: group[0] != "Controls", _groups(record))
    charts = ((lines, _chart(record, lines, SIZE)) for _, lines in shown)
    return drawing(record["question"], charts, f"{_EACH} {_grey(record)}")


def _groups(record: Json) -> list[tuple[str, list[Series]]]:
    """What is drawn together, the controls last: a headline and the lines, the last one on top."""
    base = [name for name in (LONG, SCRATCH) if name in record["arms"]]
    (real, controls), main = sides(record), main_arm(record)
    grey = [_series(record, name, None) for name in controls]
    named = [_series(record, name, 7 if name == SCRATCH else 5, banded=name == SCRATCH) for name in base]
    groups = []
    for start in range(0, max(len(real), 1), len(_INKS)):
        some = real[start : start + len(_INKS)]
        lines = [_series(record, name, ink, banded=name == main) for ink, name in zip(_INKS, some, strict=False)]
        groups.append(("Learning curves" if not start else "More arms", [*grey, *named, *reversed(lines)]))
    rest = len(_INKS) - 1  # the main arm has the first
    for start in range(0, len(controls), rest):
        lines = [
            _series(record, name, ink) for ink, name in zip(_INKS[1:], controls[start : start + rest], strict=False)
        ]
        front = [_series(record, main, 0, banded=True)] if main else []
        groups.append(("Controls", [*named, *reversed(lines), *front]))
    return groups


def _series(record: Json, name: str, ink: int | None, banded: bool = False) -> Series:
    """The mean of the seeds that have a value, with their least and greatest where ``banded``."""
    arm = record["arms"][name]
    known = [[value for value in values if finite(value)] for values in zip(*arm["curves"], strict=True)]
    over = lambda of: [of(values) if values else None for values in known]
    several = banded and len(arm["curves"]) > 1
    mean = lambda values: math.fsum(values) / len(values)
    title = arm.get("title") or name
    told = name if title == name else f"{name}: {title}"
    return Series(told, arm["env_steps"], over(mean), *((over(min), over(max)) if several else ((), ())), ink, banded)


def _chart(record: Json, lines: Sequence[Series], size: Size) -> str:
    """A chart on the axes that all of the record's charts share."""
    arms = record["arms"].values()
    end = max(arm["env_steps"][-1] for arm in arms)
    bar = Series(f"threshold {record['threshold']:g}", (0, end), (record["threshold"],) * 2)
    heights = [value for arm in arms for curve in arm["curves"] for value in curve] + [record["threshold"]]
    name = figure_name(record)
    label = f"{record['question']} {name} on validation by env-steps of the target; lines: "
    return line_chart(
        [bar, *lines],
        Axis("env-steps of the target", 0.0, end),
        figure_axis(record, f"{name} on validation", heights),
        label + ", ".join(line.name for line in lines),
        size,
    )


def _grey(record: Json) -> str:
    return f"Grey: {'controls, and ' if sides(record)[1] else ''}the threshold of {record['threshold']:g}."


def _curves(record: Json) -> str:
    parts = [
        f"<h2>{title}</h2>\n{legend(reversed(lines))}\n<figure>{_chart(record, lines, WIDE)}"
        f"<figcaption>{_EACH if title != 'Controls' else 'On the same axes.'} {_grey(record) if k == 0 else ''}"
        "</figcaption></figure>"
        for k, (title, lines) in enumerate(_groups(record))
    ]
    return "\n".join(parts)


def _differences(record: Json, gains: Json) -> str:
    """The differences of the test figure with their intervals, a row an arm."""
    charts = []
    both = (("equal_target", "to scratch, equal target steps"), ("equal_total", "to scratch-long, equal total steps"))
    for against, title in both:
        known = {name: (arm[against] or {}).get("asymptote") for name, arm in gains["arms"].items()}
        known = {name: told for name, told in known.items() if told and told["value"] is not None}
        if known:
            parts = [told[part] for told in known.values() for part in ("value", "low", "high")]
            ends = [part for part in parts if part is not None]
            axis = Axis(f"test {figure_name(record)}, difference", *widened(min(0.0, *ends), max(0.0, *ends)))
            dots = [_dot(name, told, bool(record["arms"][name].get("control"))) for name, told in known.items()]
            chart = dot_chart(dots, Axis(""), axis, f"Differences of the test figure {title}")
            charts.append(f"<div><h3>{title}</h3><figure>{chart}</figure></div>")
    if not charts:
        return ""
    note = "Right of 0 the arm ends better. Interquartile mean over seeds with its 95% interval; orange: controls."
    return f'<h2>Differences</h2>\n<p class="note">{note}</p>\n<div class="charts">{"".join(charts)}</div>'


def _dot(name: str, told: Json, control: bool) -> Dot:
    title = f"{name}: {difference(told)}, {told['verdict']}"
    return Dot(name, told["value"], told["low"], told["high"], title, ink=1 if control else 0)


def _numbers(record: Json, gains: Json) -> str:
    columns = [Column(HEADS[0], "word"), *(Column(head) for head in HEADS[1:])]
    cells = []
    for row, arm in zip(rows(gains), gains["arms"].values(), strict=True):
        differences = ((arm[against] or {}).get("asymptote") or {} for against in ("equal_target", "equal_total"))
        keys = [
            *(arm[part]["value"] for part in ("jumpstart", "asymptote", "area", "time")),
            *(told.get("value") for told in differences),
            (arm["break_even"] or {}).get("tasks"),
        ]
        sort_by = [None, *("" if value is None else value for value in keys)]
        cells.append([Cell(*each) for each in zip(row, sort_by, strict=True)])
    name = f"{figure_name(record).capitalize()} by arm, and time to {record['threshold']:g}; vs: differences on test"
    return f'<h2>Numbers</h2>\n{table(name, columns, cells)}\n<p class="note">{escape(key(record))}</p>'


def _arms(record: Json) -> str:
    columns = [Column("arm", "word"), Column("what", "sentence"), Column("source steps"), Column("target steps")]
    cells = [
        [
            Cell(f"{name}{' (control)' if arm.get('control') else ''}"),
            Cell(arm.get("what") or arm.get("title") or ""),
            *(Cell(f"{steps:,}", steps) for steps in (arm.get("source_steps", 0), arm["steps"])),
        ]
        for name, arm in record["arms"].items()
    ]
    return f"<h2>Arms</h2>\n{table('What each arm is, and its env-steps', columns, cells)}"


def _origin(record: Json) -> str:
    """How it was made."""
    commands = "\n".join(record.get("commands") or ())
    shown = f'<div class="command"><pre><code>{escape(commands)}</code></pre></div>' if commands else ""
    known = [f"{name} {value}" for name, value in (record.get("environment") or {}).items() if value]
    known += [f"seeds {', '.join(str(seed) for seed in record['seeds'])}"]
    known += [duration(record["seconds"])] if finite(record.get("seconds")) else []
    return f"<h2>How it was made</h2>\n{shown}\n<footer>{escape(', '.join(known))}</footer>"
