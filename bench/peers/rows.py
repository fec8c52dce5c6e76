"""The figures of the engine beside those of its peers: what each row asks, and the table of answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.peers import places
from bench.peers.registry import OURS, PEERS, Peer
from bench.peers.turns import Timed, interleave, ratio

ENVIRONMENTS = (64, 1024, 8192)
BATCH = 1024  # levels made at once
# What the project asks of a ratio, by row and side.
ASKED = {
    "env": {"reused": 3.0, "new": 50.0, "c": 0.3},
    "generate": {"new": 3.0},
}


def rows(tier: str, names: Sequence[str], quick: bool) -> list[dict[str, Any]]:
    """All rows of a tier: ``env`` or ``generate``.

    Args:
      tier: what is measured.
      names: of peers, from ``PEERS``.
      quick: fewer environments and rounds.
    """
    there = {name: places.find(name, PEERS[name]) for name in names if tier in PEERS[name].tiers}
    ours = places.find("lepton_jax", OURS)
    rounds = 3 if quick else 5
    told: list[dict[str, Any]] = []
    for n in _sizes(tier, quick):
        task = {"tier": tier, "n": n}
        sides = {f"lepton_jax, {what}": (ours, OURS.script, task | {"row": what}) for what in _kinds(tier)}
        sides |= {name: (place, PEERS[name].script, task) for name, place in there.items()}
        told += _rows(tier, n, {each.name: each for each in interleave(sides, rounds)})
    return told


def _sizes(tier: str, quick: bool) -> tuple[int, ...]:
    if tier == "generate":
        return (BATCH,)
    return ENVIRONMENTS[:1] if quick else ENVIRONMENTS


def _kinds(tier: str) -> tuple[str, ...]:
    return ("reused", "new") if tier == "env" else ("new",)


def _rows(tier: str, n: int, answers: Mapping[str, Timed]) -> Iterator[dict[str, Any]]:
    for name, each in answers.items():
        row: dict[str, Any] = {"name": name, "n": n, "unit": "steps/s" if tier == "env" else "levels/s"}
        if each.reason:
            yield row | {"reason": each.reason}
            continue
        low, high = min(each.rates), max(each.rates)
        row |= {"median": each.median, "low": low, "high": high, "repetitions": list(each.rates)}
        row |= {"preparing": each.preparing, "about": dict(each.about), "check": dict(each.check)}
        if name in PEERS:
            kind = _kind(PEERS[name]) if tier == "env" else "new"
            mine = answers[f"lepton_jax, {kind}"]
            if mine.rates:
                of, least, most = ratio(mine.rates, each.rates)
                asked = ASKED[tier].get(name, ASKED[tier].get(kind) if name != "c" else None)
                row |= {"against": kind, "ratio": of, "ratio_low": least, "ratio_high": most, "asked": asked}
        yield row


def _kind(peer: Peer) -> str:
    return "reused" if peer.reuses else "new"


def lines(table: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table for people."""
    made = [f"{'':<26}{'n':>6}{'median':>12}{'low':>12}{'high':>12}  ours over it"]
    for row in table:
        head = f"{row['name']:<26}{row['n']:>6}"
        if "reason" in row:
            made.append(f"{head}  {row['reason']}")
            continue
        cells = "".join(f"{_short(row[name]):>12}" for name in ("median", "low", "high"))
        tail = ""
        if "ratio" in row:
            asked = f", asked {row['asked']:g}" if row["asked"] else ""
            tail = f"  {row['ratio']:.3g} [{row['ratio_low']:.3g}, {row['ratio_high']:.3g}] ({row['against']}{asked})"
        made.append(head + cells + tail)
    return made


def _short(value: float) -> str:
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"
