"""How a run went: its metrics over env-steps, as charts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lepton_jax.report.chart import Series, legend, line_chart
from lepton_jax.report.document import escape
from lepton_jax.report.frame import NARROW, Axis, finite
from lepton_jax.report.run_study import Study
from lepton_jax.report.sweep_words import spread
from lepton_jax.report.ticks import figure, widened

_PLACES = 400  # log points a curve
_NAMES = {
    "validation/success_rate": "success rate",
    "validation/spl": "SPL",
    "validation/mean_return": "return, greedy on validation",
    "validation/mean_length": "episode length on validation",
}


def curves(told: Study) -> str:
    """Charts of scores, returns, loss and exploration by env-steps; a grey line stands where the best policy was."""
    rows = spread(told.rows, _PLACES)
    if not rows:
        return ""
    best = told.summary["best"]["env_steps"]
    made = [
        *([_shares(rows, best)] if told.is_maze else []),
        _chart(
            "Return",
            [_line(rows, "validation/mean_return", 0), _training(rows)],
            "return an episode",
            best,
        ),
        *([_chart("Regret", [_line(rows, "validation/regret", 0)], "V* minus return", best)] if told.is_maze else []),
        _chart("Loss", [_line(rows, "loss", 0)], "loss", best, log=True),
        _chart("Exploration", [_line(rows, "epsilon", 0)], "epsilon", best),
    ]
    note = (
        f"At each of {len(told.rows):,} log points. The grey line: the best policy on validation, at {best:,} "
        f"env-steps. Training episodes explore{', and are of training levels' if told.is_maze else ''}."
    )
    return f'<h2>How it learned</h2>\n<p class="note">{escape(note)}</p>\n<div class="charts">{"".join(made)}</div>'


def _shares(rows: Sequence[dict[str, Any]], best: int) -> str:
    lines = [_line(rows, f"validation/{name}", ink) for name, ink in (("spl", 1), ("success_rate", 0))]
    return _chart("Success on validation", lines, "share", best, ends=(0.0, 1.0))


def _line(rows: Sequence[dict[str, Any]], name: str, ink: int) -> Series:
    return _series(_NAMES.get(name, name), rows, lambda row: row.get(name), ink)


def _training(rows: Sequence[dict[str, Any]]) -> Series:
    """The mean return of the training episodes since the log point before: rewards over ends."""

    def mean(row: dict[str, Any]) -> float | None:
        ends = (row.get("terminated") or 0) + (row.get("truncated") or 0)
        return row["reward"] / ends if ends and finite(row.get("reward")) else None

    return _series("return, exploring in training", rows, mean, 1)


def _series(
    name: str, rows: Sequence[dict[str, Any]], of: Callable[[dict[str, Any]], float | None], ink: int
) -> Series:
    return Series(name, [row["env_steps"] for row in rows], [of(row) for row in rows], ink=ink)


def _chart(
    title: str,
    lines: Sequence[Series],
    axis: str,
    best: int,
    log: bool = False,
    ends: tuple[float, float] | None = None,
) -> str:
    """One chart with its title; the first line given lies on top. Empty if nothing of it is known."""
    if log:
        lines = [line._replace(y=[v if finite(v) and v > 0 else None for v in line.y]) for line in lines]
    known = [value for line in lines for value in line.y if finite(value)]
    if not known:
        return ""
    low, high = ends or ((min(known) * 0.8, max(known) * 1.25) if log else widened(min(known), max(known)))
    mark = Series("best policy", (best, best), (low, high))
    name = "; ".join(f"{line.name} ends at {figure(_last(line))}" for line in lines if any(map(finite, line.y)))
    chart = line_chart(
        [mark, *reversed(lines)],
        Axis("env-steps", 0.0, max(lines[0].x)),
        Axis(axis, low, high, log),
        f"{title} by env-steps. {name}.",
        NARROW,
    )
    key = legend(lines) if len(lines) > 1 else ""
    return f"<div><h3>{escape(title)}</h3>{key}<figure>{chart}</figure></div>"


def _last(line: Series) -> float:
    return next(float(value) for value in reversed(line.y) if finite(value))
