"""How the page of a sweep tells what the summary says: names, numbers, intervals, cells of tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from lepton_jax.report.document import Cell, Column
from lepton_jax.report.frame import Axis, finite
from lepton_jax.report.ticks import figure, number, widened
from lepton_jax.scale.ledger import OVER

STATUSES = (*OVER, "running", "waiting")  # what has come to its end first
_FIGURES = {"success_rate": "success rate", "mean_return": "mean return"}

Json = Mapping[str, Any]
T = TypeVar("T")


def figure_name(summary: Json) -> str:
    """What the sweep's figure is called: ``success rate``."""
    return _FIGURES.get(summary["figure"], str(summary["figure"]))


def best_point(summary: Json) -> int | None:
    """The number of the best point, if there is one."""
    return (summary.get("best") or {}).get("point")


def knobs_of(summary: Json) -> list[str]:
    """The names of the swept knobs, in the order of the points'."""
    return list(dict.fromkeys(name for point in summary.get("points", ()) for name in point["knobs"]))


def status_counts(summary: Json) -> Counter[str]:
    """Lanes by status, 0 for a status that none has."""
    return Counter({status: count for status, count in (summary.get("counts") or {}).items() if count})


def tested(summary: Json) -> bool:
    """Whether some point has a test figure."""
    return any(finite(point.get("mean")) for point in summary.get("points", ()))


def count(amount: int, noun: str) -> str:
    """``1 seed``, ``1,000 seeds``."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``; four or more: how many."""
    if len(names) > 3:
        return count(len(names), "knob")
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def is_number(value: Any) -> bool:
    """Whether a knob's value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def word(value: Any) -> str:
    """A knob's value."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    return number(value) if is_number(value) else str(value)


def setting(knobs: Json) -> str:
    """``agent.lr = 3e-4, net.width = 256``."""
    return ", ".join(f"{name} = {word(value)}" for name, value in knobs.items())


def value_range(row: Json) -> str:
    """The value of a knob, or the range of values, that a row of its effect is of."""
    low, high = row.get("from"), row.get("to")
    if low is None or high is None or low == high:
        return word(row["value"])
    return f"{number(low, 4)} to {number(high, 4)}"


def seeds_of(summary: Json) -> int:
    """How many seeds a point has."""
    return len({lane["seed"] for lane in summary.get("lanes", ())})


def has_interval(row: Json) -> bool:
    """Whether there is an interval about the mean: there is none over one seed."""
    return finite(row.get("low")) and finite(row.get("high"))


def interval(row: Json) -> str:
    """``0.890 to 0.934``."""
    return f"{figure(row['low'])} to {figure(row['high'])}"


def with_interval(row: Json) -> str:
    """``0.912 (0.890 to 0.934)``; the mean alone if there is no interval."""
    return f"{figure(row['mean'])} ({interval(row)})" if has_interval(row) else figure(row["mean"])


def value_of(figures: Json | None, summary: Json) -> float | None:
    """The sweep's figure among those of one evaluation."""
    return (figures or {}).get(summary["figure"])


def duration(seconds: float) -> str:
    """``8.3 s``, ``12 min 5 s``, ``1 h 23 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes} min {left} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most ``most`` of the items, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(k * (len(items) - 1) / (most - 1))] for k in range(most)]


def figure_axis(summary: Json, label: str, values: Iterable[float | None]) -> Axis:
    """The axis that holds all of the values; of success rates not beyond 0 and 1."""
    known = [value for value in values if finite(value)]
    if not known:
        return Axis(label)
    low, high = widened(min(known), max(known))
    return Axis(label, max(low, 0.0), min(high, 1.0)) if summary["figure"] == "success_rate" else Axis(label, low, high)


def figure_cell(value: float | None) -> Cell:
    """A figure, or a dash."""
    return Cell(figure(value), value) if finite(value) else Cell("–", "")


def count_cell(value: int | None) -> Cell:
    """A count, or a dash."""
    return Cell(f"{value:,}", value) if finite(value) else Cell("–", "")


def knob_cell(value: Any) -> Cell:
    """A knob's value, or a dash."""
    if value is None:
        return Cell("–", "")
    return Cell(word(value), value if is_number(value) else None)


def knob_column(name: str, owners: Iterable[Json]) -> Column:
    """The column of a knob of points or lanes."""
    return Column(name, "number" if all(is_number(owner["knobs"].get(name)) for owner in owners) else "word")
