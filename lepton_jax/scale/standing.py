"""How far lanes have come, for those who watch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from lepton_jax.scale.ledger import OVER, STATUSES, Ledger, Score
from lepton_jax.scale.plan import GroupPlan


class Standing(NamedTuple):
    """How lanes stand."""

    counts: dict[str, int]  # lanes by status
    env_steps: int  # trained so far, all lanes together
    done: int  # the same, but a lane that was stopped or has failed counts as one that ran to its end
    of: int  # env-steps of all lanes, run to their ends
    seconds: float  # of training so far, compile and evaluation apart
    best: tuple[int, Score] | None  # the lane that has done best in validation, by its number, and its score


def standing_of(part: GroupPlan, ledger: Ledger | None) -> Standing:
    """How a group stands; None has not begun."""
    shape = part.shape
    each, segment = shape.iterations * shape.steps, shape.per_segment * shape.steps
    ledger = ledger or Ledger.new(len(part.lanes), part.lift.places, {})
    under_way = len(ledger.running) * ledger.within * segment
    trained = [seat.points * shape.per_point * segment for seat in ledger.seats]
    done = (each if seat.status in OVER else steps for seat, steps in zip(ledger.seats, trained, strict=True))
    scored = [(part.lanes[n].number, s.best_score) for n, s in enumerate(ledger.seats) if s.best_score is not None]
    return Standing(
        counts=ledger.counts(),
        env_steps=sum(trained) + under_way,
        done=sum(done) + under_way,
        of=each * len(part.lanes),
        seconds=ledger.seconds,
        best=_best(scored),
    )


def together(standings: Iterable[Standing]) -> Standing:
    """How several groups stand."""
    every = list(standings)
    return Standing(
        counts={status: sum(each.counts[status] for each in every) for status in STATUSES},
        env_steps=sum(each.env_steps for each in every),
        done=sum(each.done for each in every),
        of=sum(each.of for each in every),
        seconds=sum(each.seconds for each in every),
        best=_best(each.best for each in every if each.best is not None),
    )


def _best(scored: Iterable[tuple[int, Score]]) -> tuple[int, Score] | None:
    """Of equals the first lane."""
    return max(scored, key=lambda entry: (entry[1], -entry[0]), default=None)
