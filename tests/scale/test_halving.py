"""Successive halving, against numbers worked by hand."""

import numpy as np
import pytest

from lepton_jax.scale.axes import Halving
from lepton_jax.scale.halving import Verdict, judge, reason, rungs


@pytest.mark.parametrize(
    ("points", "rule", "wanted"),
    [
        (40, Halving(3, 1), (1, 3, 9, 27)),
        (40, Halving(3, 4), (4, 12, 36)),
        (36, Halving(3, 4), (4, 12)),  # a lane at its last log point has ended
        (4, Halving(2, 1), (1, 2)),
        (5, Halving(2, 1), (1, 2, 4)),
        (4, Halving(3, 4), ()),
    ],
)
def test_rungs(points, rule, wanted):
    assert rungs(points, rule) == wanted


def test_the_best_ceil_of_a_third_goes_on():
    assert judge([], {5: (0.1,)}, 3) == {5: Verdict(True, 1, 1)}, "the first of all is the best of all"
    before = [(0.5,), (0.9,), (0.1,)]
    assert judge(before, {0: (0.7,)}, 3) == {0: Verdict(True, 2, 4)}, "ceil(4 / 3) = 2"
    assert judge(before, {0: (0.4,)}, 3) == {0: Verdict(False, 3, 4)}
    together = judge(before, {8: (0.6,), 2: (0.2,), 4: (1.0,), 6: (0.55,)}, 3)
    # 1.0 0.9 0.6 | 0.55 0.5 0.2 0.1: ceil(7 / 3) = 3 go on
    assert together == {
        4: Verdict(True, 1, 7),
        8: Verdict(True, 3, 7),
        6: Verdict(False, 4, 7),
        2: Verdict(False, 6, 7),
    }
    assert judge([(1.0,)], {0: (0.0,)}, 2) == {0: Verdict(False, 2, 2)}


def test_the_second_number_breaks_a_tie_of_the_first():
    verdicts = judge([], {0: (0.5, 0.2), 1: (0.5, 0.3), 2: (0.4, 0.9)}, 2)
    assert {lane: verdict.rank for lane, verdict in verdicts.items()} == {1: 1, 0: 2, 2: 3}
    assert [lane for lane, verdict in verdicts.items() if verdict.goes_on] == [1, 0]


def test_of_equals_the_earlier_then_the_lower_number():
    assert judge([(0.5,)], {0: (0.5,)}, 2) == {0: Verdict(False, 2, 2)}
    verdicts = judge([(0.5,)], {9: (0.5,), 1: (0.5,), 4: (0.5,)}, 2)
    assert {lane: verdict.rank for lane, verdict in verdicts.items()} == {1: 2, 4: 3, 9: 4}
    assert [lane for lane, verdict in verdicts.items() if verdict.goes_on] == [1]


def test_in_whatever_order_scores_are_given():
    """Against a count: a rank is one more than those that are better, and equals that come first."""
    random = np.random.default_rng(0)
    before = [(float(score),) for score in random.integers(0, 5, 20)]
    newcomers = {
        int(lane): (float(score),)
        for lane, score in zip(random.permutation(12), random.integers(0, 5, 12), strict=True)
    }
    verdicts = judge(before, newcomers, 4)
    backwards = dict(reversed(newcomers.items()))
    assert judge(before[::-1], backwards, 4) == verdicts
    for lane, score in newcomers.items():
        ahead = sum(other >= score for other in before)
        ahead += sum(other > score or (other == score and number < lane) for number, other in newcomers.items())
        assert verdicts[lane] == Verdict(ahead < 8, ahead + 1, 32)


@pytest.mark.parametrize(
    "word", ["1st", "2nd", "3rd", "4th", "10th", "11th", "12th", "13th", "21st", "22nd", "101st", "111th"]
)
def test_reasons(word):
    assert reason(2, Verdict(False, int(word[:-2]), 130)) == f"rung 2: {word} of 130"
