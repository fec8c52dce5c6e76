"""Two results of the bench: what has become slower or larger, beyond the noise that both have measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lepton_jax.config import ConfigError

# Units of which less is better; of all others more is.
_COSTS = ("s", "bytes", "MiB", "%")


class Change(NamedTuple):
    """A row that both results have."""

    tier: str
    name: str
    ratio: float  # new over old, of the medians
    verdict: str  # better, worse, or within the noise


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
    """All rows that both have, worse ones first.

    A row is better or worse where the ranges of the repetitions do not touch: then the difference is beyond all noise
    that was seen.
    """
    changes = list(_changes(old["results"], new["results"]))
    order = ("worse", "better", "within the noise")
    return sorted(changes, key=lambda change: (order.index(change.verdict), change.tier, change.name))


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for tier, table in new.items():
        before = {_key(row): row for row in old.get(tier, ())}
        for row in table:
            was = before.get(_key(row))
            if was is None or not row.get("repetitions") or not was.get("repetitions"):
                continue
            apart = row["low"] > was["high"] or row["high"] < was["low"]
            more = row["median"] > was["median"]
            good = more != (str(row["unit"]).split("/")[0] in _COSTS)
            verdict = "within the noise" if not apart else "better" if good else "worse"
            yield Change(tier, _key(row), row["median"] / was["median"] if was["median"] else 1.0, verdict)


def _key(row: Mapping[str, Any]) -> str:
    return f"{row['name']}, {row['n']}" if "n" in row else row["name"]


def lines(changes: Sequence[Change], old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The comparison for people; a warning where the machines differ."""
    facts = ("device", "devices", "threads", "processor", "python", "packages")
    unlike = [name for name in facts if old["about"].get(name) != new["about"].get(name)]
    told = [f"{change.ratio:>8.3f}  {change.verdict:<17} {change.tier}: {change.name}" for change in changes]
    count = {verdict: sum(change.verdict == verdict for change in changes) for verdict in ("worse", "better")}
    told.append(f"{len(changes)} rows in both: {count['worse']} worse, {count['better']} better")
    if unlike:
        told.append(f"note: not the same {', '.join(unlike)}: such figures say little of the program")
    return told
