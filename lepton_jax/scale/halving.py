"""Successive halving as lanes come along: which of them go on from a rung.

The stopping variant of asynchronous successive halving (Li et al. 2020, arXiv 1810.05934), as ``ray.tune`` has it: a
lane that reaches a rung is ranked among all that have reached it so far, and ends there unless it is one of the best.
Nobody waits for those behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lepton_jax.scale.axes import Halving
from lepton_jax.scale.ledger import Score


class Verdict(NamedTuple):
    """How a lane stands at a rung."""

    goes_on: bool
    rank: int  # 1 is the best
    of: int  # lanes that have reached the rung


def rungs(points: int, rule: Halving) -> tuple[int, ...]:
    """The log points that are rungs in a run of ``points`` log points; never the last of these, where a run ends."""
    found, point = [], rule.first
    while point < points:
        found.append(point)
        point *= rule.eta
    return tuple(found)


def judge(before: Sequence[Score], newcomers: Mapping[int, Score], eta: int) -> dict[int, Verdict]:
    """Ranks the lanes that have come to a rung together.

    Args:
      before: finite scores of the lanes that were there earlier, gone on or not, in any order.
      newcomers: by lane number, their scores.
      eta: of n lanes the best ceil(n / eta) places go on. Of equals an earlier lane is better than a newcomer, and of
        newcomers the lower lane number.

    Returns:
      By lane number, for each of the newcomers.
    """
    everyone = [(score, -1) for score in before] + [(newcomers[lane], lane) for lane in sorted(newcomers)]
    ranked = sorted(everyone, key=lambda each: each[0], reverse=True)  # stable: equals stay in their order
    best = -(-len(ranked) // eta)
    return {lane: Verdict(rank <= best, rank, len(ranked)) for rank, (_, lane) in enumerate(ranked, 1) if lane >= 0}


def reason(rung: int, verdict: Verdict) -> str:
    """Why a lane ended at a rung, for people: ``rung 1: 5th of 9``."""
    tens, ones = verdict.rank // 10 % 10, verdict.rank % 10
    ending = {1: "st", 2: "nd", 3: "rd"}.get(ones, "th") if tens != 1 else "th"
    return f"rung {rung}: {verdict.rank}{ending} of {verdict.of}"
