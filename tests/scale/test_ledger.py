"""Who sits where, and how far all have come: worked by hand."""

import json
from types import SimpleNamespace
from typing import Any

from lepton_jax.scale.ledger import Ledger
from lepton_jax.scale.standing import standing_of, together


def test_lanes_take_places_in_order_and_free_ones_are_taken_again():
    ledger = Ledger.new(5, 3, {})
    assert ledger.seat_waiting() == {0: 0, 1: 1, 2: 2}
    assert ledger.seat_waiting() == {}
    ledger.leave(1, "failed")
    ledger.leave(2, "finished")
    assert ledger.running == {0: 0}
    assert ledger.seat_waiting() == {1: 3, 2: 4}
    ledger.leave(1, "stopped")
    assert ledger.seat_waiting() == {}
    assert ledger.running == {0: 0, 2: 4}
    assert ledger.counts() == {"waiting": 0, "running": 2, "finished": 1, "stopped": 1, "failed": 1}


def test_through_json_it_is_the_same():
    ledger = Ledger.new(2, 1, {0: [(0.5, 0.4)], 3: [(0.1,)]})
    ledger.seat_waiting()
    ledger.seats[0].points, ledger.seats[0].best_score, ledger.within, ledger.seconds = 3, (0.25, 0.125), 2, 1.5
    assert Ledger.from_json(json.loads(json.dumps(ledger.to_json()))) == ledger


def part(*numbers: int) -> Any:
    """A group of runs of 4 log points of 2 segments of 3 iterations of 10 env-steps."""
    shape = SimpleNamespace(per_point=2, per_segment=3, points=4, steps=10, iterations=24)
    lanes = tuple(SimpleNamespace(number=number) for number in numbers)
    return SimpleNamespace(shape=shape, lanes=lanes, lift=SimpleNamespace(places=2))


def test_how_lanes_stand():
    ledger = Ledger.new(4, 2, {})
    ledger.seat_waiting()
    for seat, points, score in zip(ledger.seats, (1, 2, 0, 0), ((0.5,), (0.5,), None, None), strict=True):
        seat.points, seat.best_score = points, score
    ledger.leave(0, "stopped")
    ledger.seat_waiting()
    ledger.within, ledger.seconds = 1, 2.0
    first = standing_of(part(3, 5, 8, 9), ledger)
    assert first.counts == {"waiting": 1, "running": 2, "finished": 0, "stopped": 1, "failed": 0}
    assert first.env_steps == (1 + 2) * 60 + 2 * 30  # log points behind, and one segment of the two that run
    assert first.done == 240 + 2 * 60 + 2 * 30  # who was stopped has nothing left to do
    assert first.of == 4 * 240
    assert first.best == (3, (0.5,))  # of equals the first
    both = together([first, standing_of(part(1), None)])
    assert (both.of, both.env_steps, both.seconds, both.best) == (5 * 240, first.env_steps, 2.0, (3, (0.5,)))
    assert both.counts["waiting"] == 2
