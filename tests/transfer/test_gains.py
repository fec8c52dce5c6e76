import copy
import json
import math

import numpy as np
import pytest
from scipy.stats import trim_mean

from lepton_jax.config import ConfigError
from lepton_jax.transfer.gains import gains, markdown, rows, table, verdicts
from lepton_jax.transfer.statistics import (
    Arm,
    area,
    break_even,
    compare,
    estimate,
    iqm,
    restricted,
    time_to_threshold,
)

SEEDS = 5
POINTS = [0, 100, 200, 300]


def arm(curves, test=None, source_steps=0, env_steps=None, **others):
    env_steps = env_steps or POINTS
    test = [curve[-1] for curve in curves] if test is None else test
    return {"source_steps": source_steps, "steps": env_steps[-1], "env_steps": env_steps, "curves": curves} | {
        "title": "an arm",
        "what": "something",
        "test": test,
        **others,
    }


def pair(**arms):
    named = {name.replace("_", "-"): made for name, made in arms.items()}
    seeds = len(next(iter(named.values()))["test"])
    about = {"pair": "T0", "question": "does it help?", "figure": "success_rate", "threshold": 0.8}
    return {**about, "seeds": list(range(seeds)), "source_steps": 300, "target_steps": 300, "arms": named}


def random_pair(seed=0):
    rng = np.random.default_rng(seed)
    curves = lambda points, least: np.sort(rng.uniform(least, 1, (SEEDS, points))).tolist()
    return pair(
        scratch=arm(curves(4, 0)),
        scratch_long=arm(curves(7, 0), env_steps=list(range(0, 700, 100))),
        full=arm(curves(4, 0.3), source_steps=300),
        frozen=arm(curves(4, 0.1), source_steps=300),
        permuted=arm(curves(4, 0), source_steps=300, control=True),
    )


def bare(times, steps, source_steps=0):
    none: list[float | None] = [None] * len(times)
    return Arm(source_steps, steps, none, none, none, times)


@pytest.mark.parametrize(
    ("env_steps", "curve", "target", "expected"),
    [
        ([0, 100, 200, 300], [0.0, 0.5, 1.0, 1.0], 300, (25 + 75 + 100) / 300),
        ([0, 100, 200, 300], [0.0, 0.5, 1.0, 1.0], 200, (25 + 75) / 200),
        ([0, 100, 200, 300], [0.0, 0.5, 1.0, None], 200, (25 + 75) / 200),  # what comes later does not matter
        ([0, 100, 200], [0.0, 1.0, 0.0], 150, (50 + (1.0 + 0.5) / 2 * 50) / 150),  # ends between two points
        ([0, 100, 200], [0.0, 1.0, None], 150, None),
        ([0, 100, 200, 300], [0.0, None, 1.0, 1.0], 300, None),
        ([0, 100, 290], [0.0, 1.0, 1.0], 300, (50 + 190 + 10) / 300),  # held for the last ten steps
        ([0, 100], [0.0, 1.0], 300, None),  # no telling
    ],
)
def test_area_by_hand(env_steps, curve, target, expected):
    found = area(env_steps, curve, target)
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-12))


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([0.1, 0.8, 0.2, 0.9], 100),  # at the threshold is reached, and the first time counts
        ([0.9, 0.0, 0.0, 0.0], 0),
        ([0.1, 0.2, 0.3, 0.79], math.inf),
        ([0.1, None, 0.9, None], 200),
        ([0.1, None, None, None], math.inf),  # failed on its way
        ([None] * 4, None),
    ],
)
def test_time_to_threshold_by_hand(curve, expected):
    assert time_to_threshold(POINTS, curve, 0.8) == expected


def test_restricted_time_counts_what_is_not_reached_with_the_end():
    assert restricted([100.0, math.inf, None, 500.0], 300) == [100, 300, None, 300]
    assert restricted([100.0, math.inf, 250.0], 300, offset=100) == [200, 300, 300]


@pytest.mark.parametrize("number", [4, 5, 7, 8, 20])
def test_iqm_is_the_trimmed_mean_of_scipy(number):
    values = np.random.default_rng(number).normal(size=(3, number))
    np.testing.assert_allclose(iqm(values), trim_mean(values, 0.25, axis=1), rtol=1e-12)


def test_iqm_of_few_is_defined():
    assert iqm([3.0]) == 3
    assert iqm([0.0, 0.0, 9.0]) == 3  # the mean
    assert iqm([-90.0, 1.0, 3.0, 90.0]) == 2
    assert iqm([90.0, 3.0, 1.0, 2.0, -90.0]) == 2


def test_interval_is_that_of_all_resamples():
    # Of two values, resamples are (0, 0), (0, 1), (1, 0), (1, 1): a quarter each lies at either end.
    assert estimate([1.0, 0.0, None]) == {"value": 0.5, "low": 0.0, "high": 1.0, "seeds": 2}
    # Means of n values: the normal interval, for large n.
    values = np.random.default_rng(3).normal(2.0, 1.0, 400)
    told = estimate(values.tolist(), lambda drawn: drawn.mean(axis=-1))
    half = 1.96 * values.std() / 20
    assert told["value"] == pytest.approx(values.mean())
    assert told["low"] == pytest.approx(values.mean() - half, abs=0.01)
    assert told["high"] == pytest.approx(values.mean() + half, abs=0.01)


def test_interval_is_the_same_each_time_and_in_any_order():
    values = np.random.default_rng(0).uniform(size=7).tolist()
    assert estimate(values) == estimate(values) == estimate(values[::-1])


def test_no_bounds_from_fewer_than_two():
    assert estimate([0.5, None]) == {"value": 0.5, "low": None, "high": None, "seeds": 1}
    assert estimate([None]) == {"value": None, "low": None, "high": None, "seeds": 0}
    assert compare([0.9], [0.1])["verdict"] == "undecided"


@pytest.mark.parametrize(
    ("ours", "verdict"), [([2, 2.1, 2.2], "positive"), ([0, 0.1, 0.2], "negative"), ([0.5, 1, 1.5], "undecided")]
)
def test_verdict(ours, verdict):
    assert compare(ours, [1.0, 1.0, 1.0])["verdict"] == verdict


def test_pairs_with_a_missing_seed_are_left_out():
    told = compare([1.0, None, 3.0], [0.5, 7.0, None])
    assert (told["value"], told["seeds"]) == (0.5, 1)


@pytest.mark.parametrize(
    ("scratch", "times", "source_steps", "tasks", "reading"),
    [
        ([500.0, 700.0], [100.0, 100.0], 1000, 2, "exact"),  # 600 n >= 1000 + 100 n
        ([500.0, 700.0], [100.0, 100.0], 1001, 3, "exact"),
        ([500.0, 700.0], [100.0, 100.0], 0, 1, "exact"),
        ([100.0, 100.0], [100.0, 100.0], 0, None, "exact"),  # nothing saved
        ([100.0, 100.0], [200.0, 200.0], 900, None, "exact"),
        ([math.inf, 700.0], [100.0, 100.0], 1500, 2, "at most"),  # (1000 + 700) / 2 n >= 1500 + 100 n
        ([500.0, 700.0], [100.0, math.inf], 900, 3, "at least"),  # (100 + 400) / 2 = 250, so 350 a task
        ([math.inf, math.inf], [100.0, math.inf], 900, 2, "unclear"),
        ([1000.0, 1000.0], [math.inf, math.inf], 900, None, "at least"),  # never there: 400 is no time
        ([500.0, None], [100.0, None], 1200, 3, "exact"),
        ([None, None], [100.0, 100.0], 1000, None, "exact"),
        # 4 / 3 - 3 / 3 saved a task, of which 3 make 1: rounding must not add one.
        ([0.0, 0.0, 4.0], [0.0, 0.0, 3.0], 1, 3, "exact"),
    ],
)
def test_break_even_by_hand(scratch, times, source_steps, tasks, reading):
    told = break_even(bare(scratch, 1000), bare(times, 400, source_steps))
    assert told == {"tasks": tasks, "reading": reading}


def test_everything_of_a_small_pair_by_hand():
    record = pair(
        scratch=arm([[0.0, 0.2, 0.4, 0.8], [0.2, 0.4, 0.6, 0.6]], test=[0.7, 0.5]),
        scratch_long=arm(
            [[0.0, 0.2, 0.4, 0.6, 0.8, 0.8, 0.9], [0.2, 0.2, 0.2, 0.2, 0.2, 0.9, 0.9]],
            test=[0.9, 0.8],
            env_steps=list(range(0, 700, 100)),
        ),
        full=arm([[0.4, 0.8, 0.8, 0.8], [0.4, 0.6, 0.8, 0.8]], test=[0.8, 0.7], source_steps=300),
        permuted=arm([[0.0, 0.2, 0.4, 0.8], [0.4, 0.4, 0.4, 0.4]], test=[0.9, 0.5], source_steps=300, control=True),
    )
    told = gains(record)
    json.dumps(told, allow_nan=False)
    full = told["arms"]["full"]
    assert full["seeds"]["jumpstart"] == [0.4, 0.4]
    assert full["seeds"]["area"] == pytest.approx([(60 + 80 + 80) / 300, (50 + 70 + 80) / 300])
    assert full["seeds"]["time"] == [100, 200]
    assert full["asymptote"]["value"] == pytest.approx(0.75)
    assert (full["time"]["value"], full["time"]["reached"], full["time"]["seeds"]) == (150, 2, 2)
    scratch = told["arms"]["scratch"]
    assert scratch["seeds"]["time"] == [300, None]
    assert (scratch["time"]["value"], scratch["time"]["reached"]) == (300, 1)
    target = full["equal_target"]
    assert target["jumpstart"]["value"] == pytest.approx(0.3)
    assert target["asymptote"]["value"] == pytest.approx(0.15)
    assert (target["asymptote"]["low"], target["asymptote"]["high"]) == pytest.approx((0.1, 0.2))
    assert target["asymptote"]["verdict"] == "positive"
    assert target["area"]["value"] == pytest.approx(((220 - 100) / 300 + (200 - 140) / 300) / 2)
    assert target["steps_saved"]["value"] == (200 + 100) / 2  # 300 - 100, and at least 300 - 200
    total = full["equal_total"]
    assert total["asymptote"]["value"] == pytest.approx(-0.1)
    assert total["asymptote"]["verdict"] == "negative"
    assert total["steps_saved"]["value"] == (400 - (300 + 100) + 500 - (300 + 200)) / 2
    assert full["break_even"] == {"tasks": 1, "reading": "exact"}  # 450 n >= 300 + 150 n
    assert told["controls"]["permuted"]["asymptote"]["value"] == pytest.approx(0.05)
    assert scratch["equal_target"] is scratch["equal_total"] is None
    assert rows(told)[2] == (
        "full",
        "0.400",
        "0.750",
        "0.700",
        "150 2/2",
        "+0.150 [+0.100, +0.200]",
        "-0.100 [-0.100, -0.100]",
        "1",
    )
    first, second, third = verdicts(told)
    assert "positive for full" in first
    assert "negative for full" in second
    assert "training from scratch for as long ends better" in second
    assert "in test figure permuted does as well" in third
    assert "in area none does as well" in third  # 220 / 300 against 100 / 300, and 200 / 300 against 120 / 300


def test_unequal_steps_are_not_compared_at_the_end():
    record = random_pair()
    record["arms"]["full"]["source_steps"] = 100
    record["arms"]["frozen"]["source_steps"] = 306  # 606 are 600 up to rounding
    arms = gains(record)["arms"]
    assert arms["full"]["equal_total"]["asymptote"] is None
    assert arms["full"]["equal_total"]["steps_saved"]["value"] is not None
    assert arms["frozen"]["equal_total"]["asymptote"] is not None


@pytest.mark.parametrize("shift", [0.25, -0.5])
def test_a_constant_shift_is_the_difference(shift):
    record = random_pair()
    scratch = record["arms"]["scratch"]
    record["arms"]["full"] = arm(
        (np.array(scratch["curves"]) + shift).tolist(), [value + shift for value in scratch["test"]], 300
    )
    told = gains(record)["arms"]["full"]["equal_target"]
    for measure in ("jumpstart", "asymptote", "area"):
        assert [told[measure][part] for part in ("value", "low", "high")] == pytest.approx([shift] * 3, abs=1e-12)
        assert told[measure]["verdict"] == ("positive" if shift > 0 else "negative")


def test_the_order_of_the_seeds_changes_nothing():
    record = random_pair()
    other, order = copy.deepcopy(record), [3, 0, 4, 2, 1]
    for each in other["arms"].values():
        each.update(curves=[each["curves"][k] for k in order], test=[each["test"][k] for k in order])
    first, second = gains(record), gains(other)
    for told in (first, second):
        for each in told["arms"].values():
            each.pop("seeds")
    assert first == second


def test_seeds_are_paired_and_not_pooled():
    record = random_pair()
    record["arms"]["full"]["test"] = [value + 0.01 for value in record["arms"]["scratch"]["test"]]
    assert gains(record)["arms"]["full"]["equal_target"]["asymptote"]["verdict"] == "positive"
    record["arms"]["full"]["test"].reverse()
    assert gains(record)["arms"]["full"]["equal_target"]["asymptote"]["verdict"] == "undecided"


def test_a_failed_seed_is_told():
    record = random_pair()
    record["arms"]["full"]["curves"][1] = [0.5, None, None, None]
    record["arms"]["full"]["test"][1] = None
    told = gains(record)
    assert told["arms"]["full"]["equal_target"]["area"]["seeds"] == SEEDS - 1
    assert told["arms"]["full"]["jumpstart"]["seeds"] == SEEDS
    assert told["arms"]["full"]["time"]["seeds"] == SEEDS  # it never got there
    assert any("1 of full" in sentence for sentence in verdicts(told))


def test_a_pair_of_scratch_and_one_arm_will_do():
    record = random_pair()
    record["arms"] = {"scratch": record["arms"]["scratch"], "10 levels": record["arms"]["full"]}
    told = gains(record)
    assert told["main"] == "10 levels"
    assert told["arms"]["10 levels"]["equal_total"] is None
    assert len(verdicts(told)) == 1


def test_terminal_and_readme_tables_have_a_row_an_arm():
    record = random_pair()
    record["arms"]["a name that is too long for any terminal, as names may be | odd"] = record["arms"]["frozen"]
    record["arms"]["full"]["test"] = [value - 1234.5 for value in record["arms"]["full"]["test"]]
    told = gains(record)
    text, lines = table(record, told), markdown(record, told).splitlines()
    assert max(len(line) for line in text.splitlines()) <= 110
    for row in rows(told):
        assert all(cell in text for cell in row[1:])
    body = [line for line in lines if line.startswith("|")]
    assert len(body) == 2 + len(record["arms"])
    assert {line.replace("\\|", "").count("|") for line in body} == {9}


def test_mistakes_are_named():
    record = random_pair()
    record["arms"]["scrach"] = record["arms"].pop("scratch")
    with pytest.raises(ConfigError, match=r"T0: expected an arm 'scratch' .*did you mean 'scrach'\?"):
        gains(record)
    for part, value in (("test", [0.1]), ("env_steps", [0, 100, 100, 300]), ("curves", [[0.1]] * SEEDS)):
        record = random_pair()
        record["arms"]["full"][part] = value
        with pytest.raises(ConfigError, match=r"arm 'full': expected a curve and a test figure for each of 5 seeds"):
            gains(record)
