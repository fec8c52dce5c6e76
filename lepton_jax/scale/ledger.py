"""What the host knows of a group's lanes between two chunks: who sits where, and how each has done. Imports no jax."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Score = tuple[float, ...]  # the first number counts most, and more is better
STATUSES = ("waiting", "running", "finished", "stopped", "failed")
OVER = STATUSES[2:]


@dataclass
class Seat:
    """A lane, by its number within the group."""

    status: str = "waiting"  # running, finished, stopped, failed
    points: int = 0  # log points behind it
    score: Score | None = None  # at the last of them
    best_score: Score | None = None
    best_points: int = 0  # log points at which the best policy was found


@dataclass
class Ledger:
    """All of a group that is not in its arrays, as JSON. Changed in place by the group's loop alone."""

    places: list[int | None]  # the lane in each place
    seats: list[Seat]
    within: int = 0  # segments since the last log point
    segments: int = 0  # since the group began
    seconds: float = 0.0  # of training, compile and evaluation apart
    compile_seconds: float = 0.0
    rungs: dict[int, list[Score]] = field(default_factory=dict)  # scores at each rung, also of the groups before

    @classmethod
    def new(cls, lanes: int, places: int, rungs: Mapping[int, Sequence[Score]]) -> Ledger:
        """A group about to start, after others that had these scores at the rungs."""
        return cls([None] * places, [Seat() for _ in range(lanes)], rungs={k: list(v) for k, v in rungs.items()})

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Ledger:
        """As it was before ``to_json``, which makes lists of tuples and texts of numbers."""
        score = lambda value: None if value is None else tuple(value)
        scores = ("score", "best_score")
        seats = [Seat(**{**seat, **{name: score(seat.get(name)) for name in scores}}) for seat in values["seats"]]
        rungs = {int(rung): [tuple(each) for each in scores] for rung, scores in values["rungs"].items()}
        return cls(**{**values, "seats": seats, "rungs": rungs})

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return asdict(self)

    @property
    def running(self) -> dict[int, int]:
        """The places taken, in order, and the lane in each."""
        return {place: lane for place, lane in enumerate(self.places) if lane is not None}

    def seat_waiting(self) -> dict[int, int]:
        """Gives the free places to lanes that wait, in order; the places given and their lanes."""
        waiting = (lane for lane, seat in enumerate(self.seats) if seat.status == "waiting")
        free = (place for place, lane in enumerate(self.places) if lane is None)
        given = dict(zip(free, waiting, strict=False))
        for place, lane in given.items():
            self.places[place] = lane
            self.seats[lane].status = "running"
        return given

    def leave(self, place: int, status: str) -> None:
        """The lane in ``place`` ends."""
        lane = self.places[place]
        assert lane is not None
        self.seats[lane].status = status
        self.places[place] = None

    def counts(self) -> dict[str, int]:
        """Lanes by status."""
        found = [seat.status for seat in self.seats]
        return {status: found.count(status) for status in STATUSES}
