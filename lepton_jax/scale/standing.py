"""How far lanes have come, for those who watch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from lepton_jax.scale.ledger import OVER, STATUSES, Ledger, Score
from lepton_jax.scale.plan import GroupPlan


class Scored(NamedTuple):
    """How a lane that has been validated has done."""

    lane: int  # its number
    status: str
    points: int  # log points behind it
    score: Score  # at the last of them
    best: Score


class Standing(NamedTuple):
    """How lanes stand."""

    counts: dict[str, int]  # lanes by status
    env_steps: int  # trained so far, all lanes together
    done: int  # the same, but a lane that was stopped or has failed counts as one that ran to its end
    of: int  # env-steps of all lanes, run to their ends
    seconds: float  # of training so far, compile and evaluation apart
    scored: tuple[Scored, ...]  # in no order

    @property
    def best(self) -> tuple[int, Score] | None:
        """The lane that has done best in validation, by its number, and its score; of equals the first."""
        first = min(self.scored, key=by_merit, default=None)
        return None if first is None else (first.lane, first.best)


def by_merit(scored: Scored) -> tuple[Any, ...]:
    """A key that puts the better lane first; of equals the one with the lower number."""
    return tuple(-part for part in scored.best), scored.lane


def standing_of(part: GroupPlan, ledger: Ledger | None) -> Standing:
    """How a group stands; None has not begun."""
    shape = part.shape
    each, segment = shape.iterations * shape.steps, shape.per_segment * shape.steps
    ledger = ledger or Ledger.new(len(part.lanes), part.lift.places, {})
    under_way = len(ledger.running) * ledger.within * segment
    trained = [seat.points * shape.per_point * segment for seat in ledger.seats]
    done = (each if seat.status in OVER else steps for seat, steps in zip(ledger.seats, trained, strict=True))
    return Standing(
        counts=ledger.counts(),
        env_steps=sum(trained) + under_way,
        done=sum(done) + under_way,
        of=each * len(part.lanes),
        seconds=ledger.seconds,
        scored=tuple(
            Scored(part.lanes[n].number, seat.status, seat.points, seat.score or seat.best_score, seat.best_score)
            for n, seat in enumerate(ledger.seats)
            if seat.best_score is not None
        ),
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
        scored=tuple(scored for each in every for scored in each.scored),
    )
