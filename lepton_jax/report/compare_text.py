"""A comparison of runs in a terminal: curves as bars of text on one scale, and tables that are as wide as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lepton_jax.report.compare_facts import Comparison, Curve, Row
from lepton_jax.report.sweep_words import word
from lepton_jax.report.ticks import figure

BLOCKS, PLAIN = "▁▂▃▄▅▆▇█", ".:-=+*#%@"  # from low to high; the second where a terminal has only ASCII
_COLUMNS = 60  # of a curve, at most


def lines(told: Comparison, width: int = 100, blocks: str = BLOCKS) -> list[str]:
    """A comparison as lines of text.

    Args:
      told: what is shown.
      width: letters a line; tables with more columns go on below.
      blocks: what curves are drawn with, from low to high.
    """
    letters = [entry.letter for entry in told.entries]
    wide = max(map(len, letters))
    text = [f"{entry.letter:<{wide}}  {entry.name}  ({status(told, n)})" for n, entry in enumerate(told.entries)]
    text += ["", *_curves(told, width, blocks)]
    figures = [(row.name, [cell(told, row, n) for n in range(len(letters))]) for row in told.figures]
    text += ["", *_table(figures_title(told), letters, figures, width)]
    settings = [(name, list(map(word, values))) for name, values in told.settings]
    made_by = [(name, list(map(made, values))) for name, values in told.made_by]
    text += ["", *(_table("settings that differ", letters, settings, width) if settings else ["settings: all equal"])]
    common = ", ".join(f"{name} {made(value)}" for name, value in told.common.items() if value not in (None, ""))
    text += ["", *(_table("made by", letters, made_by, width))] if made_by else [""]
    text += [f"{'otherwise ' if made_by else ''}made alike: {common}"] if common else []
    text += ["", *told.same] if told.same else []
    text += ["", *(f"note: {warning}" for warning in told.warnings)] if told.warnings else []
    return text


def status(told: Comparison, number: int) -> str:
    """How far an entry has come: ``finished, 303,104 env-steps``."""
    trials = told.entries[number].trials
    states = ", ".join(dict.fromkeys(trial.status for trial in trials))
    steps = sorted({trial.env_steps for trial in trials})
    run = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
    if all(trial.status == "finished" for trial in trials):
        return f"{states}, {run} env-steps"
    return f"{states}, {run} of {trials[0].config.total_steps:,} env-steps"


def figures_title(told: Comparison) -> str:
    """What the table of figures is of."""
    marks = "* is best" if any(row.best for row in told.figures) else ""
    seeds = "mean (least to greatest)" if any(len(entry.trials) > 1 for entry in told.entries) else ""
    return "; ".join(filter(None, ("figures on test levels", marks, seeds)))


def cell(told: Comparison, row: Row, number: int) -> str:
    """A figure as text, a dash where there is none; the best with a star.

    ``0.978``; of several runs ``0.978 (0.961 to 0.990)``, with ``2 of 3`` behind it where not all have one.
    """
    value = row.values[number]
    if value is None:
        return "-"
    spell = (lambda number: f"{number:,.0f}") if row.name.startswith("env-steps") else figure
    span = f" ({spell(value.low)} to {spell(value.high)})" if value.low < value.high else ""
    runs = len(told.entries[number].trials)
    some = f" {value.runs} of {runs}" if value.runs < runs else ""
    return f"{spell(value.mean)}{span}{some}" + "*" * (number in row.best)


def made(value: Any) -> str:
    """A version, a device or a revision; revisions short, as git shows them."""
    text = "-" if value is None else word(value)
    return f"{text[:10]}{text[40:]}" if re.fullmatch(r"[0-9a-f]{40}\+?", text) else text


def spark(curve: Curve, columns: int, end: int, low: float, high: float, blocks: str = BLOCKS) -> str:
    """A curve as one line: ``columns`` letters for 0 to ``end`` env-steps, on the scale ``low`` to ``high``.

    A letter is the last mean of its piece; a piece without one, between two, repeats the letter before it.
    """
    letters, last = [" "] * columns, -1
    for step, mean in zip(curve.env_steps, curve.mean, strict=True):
        place = min(columns - 1, step * columns // max(end, 1))
        share = (mean - low) / (high - low) if high > low else 0.0
        letters[place] = blocks[min(len(blocks) - 1, int(share * len(blocks)))]
        if last >= 0:
            letters[last + 1 : place] = letters[last] * (place - last - 1)
        last = place
    return "".join(letters).rstrip()


def _curves(told: Comparison, width: int, blocks: str) -> list[str]:
    """One line an entry, all on the same axes."""
    means = [mean for one in told.curves for mean in one.mean]
    if not means:
        return [f"{told.metric}: no log point yet"]
    end = max(one.env_steps[-1] for one in told.curves if one.env_steps)
    low, high = min(means), max(means)
    columns = max(10, min(_COLUMNS, width - 20))
    lines = [f"{told.metric}, 0 to {end:,} env-steps; {blocks[0]} is {figure(low)}, {blocks[-1]} is {figure(high)}"]
    wide = max(len(entry.letter) for entry in told.entries)
    for entry, one in zip(told.entries, told.curves, strict=True):
        drawn = f"{spark(one, columns, end, low, high, blocks):<{columns}}"
        lines.append(f"{entry.letter:<{wide}}  {drawn}  {figure(one.mean[-1]) if one.mean else '-'}")
    return lines


def _table(title: str, heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], width: int) -> list[str]:
    """Rows with a name and a cell an entry; entries that find no room are told below, with the names again."""
    first = max(len(name) for name, _ in rows)
    sizes = [max(len(head), *(len(cells[n]) for _, cells in rows)) for n, head in enumerate(heads)]
    lines, begin = [title], 0
    while begin < len(heads):
        end, used = begin + 1, first + 2 + sizes[begin]
        while end < len(heads) and used + 2 + sizes[end] <= width:
            used, end = used + 2 + sizes[end], end + 1
        shown = range(begin, end)
        line = lambda name, cells, shown=shown: f"{name:<{first}}" + "".join(f"  {cells[n]:>{sizes[n]}}" for n in shown)
        lines += [line("", heads), *(line(name, cells) for name, cells in rows)]
        begin = end
    return lines
