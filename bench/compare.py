"""Two results of the bench: what has become slower or larger, beyond the noise that both have measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lepton_jax.config import ConfigError

# Units of which less is better; of all others more is.
_COSTS = ("s", "bytes", "MiB", "%")
# Units of what is counted. All else is measured, and a single measurement has shown no noise.
_EXACT = ("bytes", "MiB")
BAD = ("lost", "worse")  # what the command exits with 1 for
_VERDICTS = (*BAD, "better", "within the noise", "measured once")  # in the order in which they are told


class Change(NamedTuple):
    """A row that both results have."""

    tier: str
    name: str
    ratio: float | None  # new over old, of the medians; None: there is no new one
    verdict: str  # of ``_VERDICTS``
    reason: str = ""  # why it is lost


def read(path: Path) -> dict[str, Any]:
    """A result.

    Raises:
      ConfigError: no such file, or not one that ``python -m bench`` has written.
    """
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return {"about": held["about"], "results": held["results"]}
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; expected a JSON file of python -m bench") from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{path}: no result of the bench; expected a JSON file of python -m bench") from None


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """All rows that both have, lost and worse ones first.

    A row is better or worse where the ranges of the repetitions do not touch: then the difference is beyond all noise
    that was seen. A time, rate or share that either has measured once has shown no noise, and is not judged. A row is
    lost if it had figures and now has the reason why it has none.
    """
    changes = list(_changes(old["results"], new["results"]))
    return sorted(changes, key=lambda change: (_VERDICTS.index(change.verdict), change.tier, change.name))


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for tier, table in new.items():
        before = {_key(row): row for row in old.get(tier, ())}
        for row in table:
            was = before.get(_key(row))
            if was is None or not was.get("repetitions"):
                continue
            if row.get("repetitions"):
                ratio = row["median"] / was["median"] if was["median"] else 1.0
                yield Change(tier, _key(row), ratio, _verdict(was, row))
            elif row.get("reason"):
                yield Change(tier, _key(row), None, "lost", row["reason"])


def _verdict(was: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    unit = str(row["unit"]).split("/")[0]
    if unit not in _EXACT and min(len(was["repetitions"]), len(row["repetitions"])) < 2:
        return "measured once"
    if row["low"] <= was["high"] and row["high"] >= was["low"]:
        return "within the noise"
    more = row["median"] > was["median"]
    return "better" if more != (unit in _COSTS) else "worse"


def _key(row: Mapping[str, Any]) -> str:
    return f"{row['name']}, {row['n']}" if "n" in row else row["name"]


def lines(changes: Sequence[Change], old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The comparison for people; a warning where the machines differ."""
    facts = ("device", "devices", "threads", "processor", "python", "packages")
    unlike = [name for name in facts if old["about"].get(name) != new["about"].get(name)]
    told = [_line(change) for change in changes]
    counts = [f"{sum(change.verdict == verdict for change in changes)} {verdict}" for verdict in _VERDICTS]
    told.append(f"{len(changes)} rows in both: {', '.join(counts)}")
    if unlike:
        told.append(f"note: not the same {', '.join(unlike)}: such figures say little of the program")
    return told


def _line(change: Change) -> str:
    ratio = "-" if change.ratio is None else f"{change.ratio:.3f}"
    told = f"{ratio:>8}  {change.verdict:<17} {change.tier}: {change.name}"
    return f"{told}: {change.reason}" if change.reason else told
