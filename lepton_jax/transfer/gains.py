"""What transfer has bought, from the record of a measured pair: what each arm gains and whether the source pays.

A record is JSON: ``pair``, ``question``, ``figure``, ``threshold``, ``seeds``, ``target_steps`` and ``arms`` by name.
An arm has ``title``, ``what``, ``source_steps`` and ``steps`` in env-steps; ``env_steps`` (P,), rising from 0;
``curves`` (S, P), the validation figure of each seed at each of these; ``test`` (S,), the test figure of each seed's
final policy; and ``control`` if it is one. None stands for what is missing, as of a seed that failed. Seed k is the
same one in every arm, so that arms are compared pair by pair. See ``transfer.statistics`` for the measures. No jax.
"""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

from lepton_jax.config import ConfigError
from lepton_jax.settings import nearest
from lepton_jax.transfer.statistics import (
    Arm,
    area,
    break_even,
    compare,
    estimate,
    reached,
    restricted,
    time_to_threshold,
)

Json = Mapping[str, Any]
SCRATCH, LONG = "scratch", "scratch-long"
HEADS = ("arm", "jump", "test", "area", "time", "vs scratch", "vs scratch-long", "pays at")
_SAME = 0.02  # runs are rounded up to whole log points: numbers of steps that differ by no more than this are equal
_COLUMNS = 110  # of a terminal


def gains(record: Json) -> dict[str, Any]:
    """All measures of all arms of a record, and their comparisons, as JSON.

    Returns:
      ``arms``, each with
        ``jumpstart``, ``asymptote`` (the test figure of the final policy), ``area``: see ``estimate``.
        ``time``: the restricted mean time to the threshold within the arm's own steps, and how many seeds ``reached``
        it.
        ``seeds``: the same measures seed by seed; a time that is None was not reached, or there was no such run.
        ``equal_target``: against scratch with as many steps on the target; by name ``jumpstart``,
        ``asymptote``, ``area`` and ``steps_saved``, see ``compare``.
        ``steps_saved`` is scratch's time minus the arm's, within the shorter of their runs, so that more is better.
        ``equal_total``: against scratch-long, with as many steps as source and target together: ``asymptote``, and
        ``steps_saved`` if the source's steps count.
        ``break_even``: see there; against scratch-long if there is one, for fewer of its seeds miss the threshold.
        Both are None for scratch and scratch-long; an asymptote is where the numbers of steps differ by over 2%.
      ``main``: see ``main_arm``.
      ``controls``: asymptote and area of main minus those of each control.

    Raises:
      ConfigError: an arm is missing, or has not as many values as it should.
    """
    arms = {name: _arm(record, name) for name in record["arms"]}
    if SCRATCH not in arms:
        raise ConfigError(
            f"record {record['pair']}: expected an arm '{SCRATCH}' to compare with; measure it as well"
            f"{nearest(SCRATCH, arms)}"
        )
    scratch, long = arms[SCRATCH], arms.get(LONG)
    told = {}
    for name, arm in arms.items():
        times = estimate(restricted(arm.times, arm.steps), _mean)
        alone = name in (SCRATCH, LONG)
        told[name] = {
            "control": bool(record["arms"][name].get("control")),
            "source_steps": arm.source_steps,
            "steps": arm.steps,
            **{measure: estimate(getattr(arm, measure)) for measure in ("jumpstart", "asymptote", "area")},
            "time": {**times, "reached": reached(arm)},
            "seeds": {
                **{measure: getattr(arm, measure) for measure in ("jumpstart", "asymptote", "area")},
                "time": [None if time == math.inf else time for time in arm.times],
            },
            "equal_target": None if alone else _equal_target(arm, scratch),
            "equal_total": None if alone or long is None else _equal_total(arm, long),
            "break_even": None if alone else break_even(long or scratch, arm),
        }
    main, (_, controls) = main_arm(record), sides(record)
    return {
        **{key: record[key] for key in ("pair", "question", "figure", "threshold", "target_steps")},
        "main": main,
        "arms": told,
        "controls": {
            name: {m: compare(getattr(arms[main], m), getattr(arms[name], m)) for m in ("asymptote", "area")}
            for name in controls
            if main is not None
        },
    }


def sides(record: Json) -> tuple[list[str], list[str]]:
    """The names of the arms that transfer something in earnest, and of the controls."""
    control = {name: bool(arm.get("control")) for name, arm in record["arms"].items() if name not in (SCRATCH, LONG)}
    return [name for name in control if not control[name]], [name for name in control if control[name]]


def main_arm(record: Json) -> str | None:
    """The arm that stands for the source: "full", or else the first that is no control; None if there is none."""
    real, _ = sides(record)
    return "full" if "full" in real else next(iter(real), None)


def rows(gains: Json) -> list[tuple[str, ...]]:
    """A row of text an arm, a cell for each of ``HEADS``; a dash for what there is not.

    jump, test and area are interquartile means. time is the restricted mean time to the threshold and how many seeds
    got there. Then come the differences of the test figure, to scratch at equal target steps and to scratch-long at
    equal total steps, with their 95% intervals; and the number of tasks from which the source pays.
    """
    return [_row(name, arm) for name, arm in gains["arms"].items()]


def verdicts(gains: Json) -> list[str]:
    """What the numbers come to, in sentences, the answer first."""
    real = {name: arm for name, arm in gains["arms"].items() if arm["equal_target"] and not arm["control"]}
    told = []
    if target := _by_verdict(real, "equal_target", "asymptote"):
        area_too = _by_verdict(real, "equal_target", "area")
        told.append(
            f"At equal target steps ({steps(gains['target_steps'])}) transfer is, in test figure, {target}; in area "
            f"under the curve, {area_too}."
        )
    if total := _by_verdict(real, "equal_total", "asymptote"):
        worse = "; where it is negative, training from scratch for as long ends better" if "negative" in total else ""
        told.append(f"At equal total steps, the source's counted, transfer is {total}{worse}.")
    if gains["controls"]:
        told.append(_controls(gains))
    lost = {name: sum(v is None for v in arm["seeds"]["asymptote"]) for name, arm in gains["arms"].items()}
    if any(lost.values()):
        names = _listed([f"{number} of {name}" for name, number in lost.items() if number])
        told.append(f"Seeds without a test figure, which it leaves out: {names}.")
    return told


def table(record: Json, gains: Json) -> str:
    """``rows`` and ``verdicts`` for a terminal of 110 columns."""
    cells = [HEADS, *rows(gains)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(HEADS))]
    widths[0] = max(8, min(widths[0], _COLUMNS - sum(widths[1:]) - 2 * (len(widths) - 1)))
    lines = [f"{record['pair']}: {record['question']}", ""]
    for row in cells:
        name = row[0] if len(row[0]) <= widths[0] else f"{row[0][: widths[0] - 1]}…"
        rest = (f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append("  ".join((f"{name:<{widths[0]}}", *rest)).rstrip())
    told = [*verdicts(gains), key(record)]
    wrapped = [line for text in told for line in textwrap.wrap(text, _COLUMNS)]
    return "\n".join([*textwrap.wrap(lines[0], _COLUMNS), *lines[1:], "", *wrapped]) + "\n"


def markdown(record: Json, gains: Json) -> str:
    """``rows`` and ``verdicts`` for a README."""
    heads = (
        "arm",
        "jumpstart",
        "test",
        "area",
        f"time to {record['threshold']:g} (seeds)",
        "test − scratch, equal target steps",
        "test − scratch-long, equal total steps",
        "pays at",
    )
    line = lambda cells: f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    body = [line(heads), "|---" + "|--:" * (len(heads) - 1) + "|", *(line(row) for row in rows(gains))]
    return "\n".join([*body, "", " ".join(verdicts(gains)), "", key(record)]) + "\n"


def key(record: Json) -> str:
    """How to read the columns."""
    # Simulated 3,000 times, of normal values: a bootstrap of few values cannot show their tails.
    few = "Of 3 seeds such an interval holds the truth 3 times in 4, of 5 9 times in 10. "
    return (
        f"Interquartile means over {len(record['seeds'])} seeds; differences by seed, with 95% bootstrap intervals. "
        f"{few if len(record['seeds']) < 10 else ''}"
        f"time: mean env-steps to {record['threshold']:g} on validation (seeds that got there; others count with the "
        "arm's end). pays at: how many tasks have to share the source until getting there costs fewer steps in all."
    )


def steps(value: float) -> str:
    """A number of steps: ``850``, ``75k``, ``1.23M``."""
    return next(
        (f"{value / size:.3g}{unit}" for size, unit in ((1e6, "M"), (1e3, "k")) if value >= size), f"{value:.0f}"
    )


def difference(told: Json | None) -> str:
    """``+0.123 [+0.045, +0.201]``; without bounds where there are none."""
    if told is None or told["value"] is None:
        return "–"
    bounds = "" if told["low"] is None else f" [{_figure(told['low'], '+')}, {_figure(told['high'], '+')}]"
    return f"{_figure(told['value'], '+')}{bounds}"


def _arm(record: Json, name: str) -> Arm:
    arm, seeds = record["arms"][name], len(record["seeds"])
    env_steps, curves = arm["env_steps"], arm["curves"]
    found = (len(curves), len(arm["test"]), *(len(curve) for curve in curves))
    wanted = (seeds, seeds, *(len(env_steps) for _ in curves))
    if found != wanted or env_steps[:1] != [0] or any(a >= b for a, b in itertools.pairwise(env_steps)):
        raise ConfigError(
            f"record {record['pair']}, arm '{name}': expected a curve and a test figure for each of {seeds} seeds, "
            f"and a value for each of {len(env_steps)} env_steps that rise from 0; measure the arm again"
        )
    return Arm(
        arm.get("source_steps", 0),
        arm["steps"],
        [curve[0] for curve in curves],
        list(arm["test"]),
        [area(env_steps, curve, record["target_steps"]) for curve in curves],
        [time_to_threshold(env_steps, curve, record["threshold"]) for curve in curves],
    )


def _equal_target(arm: Arm, scratch: Arm) -> dict[str, Any]:
    end = min(arm.steps, scratch.steps)
    return {
        "jumpstart": compare(arm.jumpstart, scratch.jumpstart),
        "asymptote": compare(arm.asymptote, scratch.asymptote) if _same(arm.steps, scratch.steps) else None,
        "area": compare(arm.area, scratch.area),
        "steps_saved": compare(restricted(scratch.times, end), restricted(arm.times, end)),
    }


def _equal_total(arm: Arm, long: Arm) -> dict[str, Any]:
    total = arm.source_steps + arm.steps
    end = min(total, long.steps)
    return {
        "asymptote": compare(arm.asymptote, long.asymptote) if _same(total, long.steps) else None,
        "steps_saved": compare(restricted(long.times, end), restricted(arm.times, end, arm.source_steps)),
    }


def _same(a: int, b: int) -> bool:
    return abs(a - b) <= _SAME * max(a, b)


def _mean(values: np.ndarray) -> Any:
    return values.mean(axis=-1)


def _row(name: str, arm: Json) -> tuple[str, ...]:
    time = arm["time"]
    end = f"{steps(time['value']) if time['reached'] else '–'} {time['reached']}/{time['seeds']}"
    differences = ((arm[against] or {}).get("asymptote") for against in ("equal_target", "equal_total"))
    return (
        name,
        *(_figure(arm[measure]["value"]) for measure in ("jumpstart", "asymptote", "area")),
        end,
        *(difference(each) for each in differences),
        _pays(arm["break_even"]),
    )


def _pays(told: Json | None) -> str:
    """``3``; ``≥ 3``, ``≤ 3`` or ``~ 3`` where seeds missed the threshold; ``never``."""
    if told is None:
        return "–"
    sign = {"at least": "≥ ", "at most": "≤ ", "unclear": "~ "}.get(told["reading"], "")
    return "never" if told["tasks"] is None else f"{sign}{told['tasks']:,}"


def _figure(value: float | None, sign: str = "") -> str:
    if value is None:
        return "–"
    digits = 3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    return f"{value:{sign},.{digits}f}"


def _by_verdict(arms: Json, against: str, measure: str) -> str:
    """``positive for full and l2, negative for frozen``; empty if nothing was compared."""
    known = {name: arm[against][measure] for name, arm in arms.items() if arm[against]}
    grouped = {
        verdict: [name for name, told in known.items() if told and told["verdict"] == verdict]
        for verdict in ("positive", "negative", "undecided")
    }
    return ", ".join(f"{verdict} for {_listed(names)}" for verdict, names in grouped.items() if names)


def _controls(gains: Json) -> str:
    """Which controls do as well as the source: its lead over them is not positive."""
    parts = []
    for measure, word in (("asymptote", "test figure"), ("area", "area")):
        level = [name for name, told in gains["controls"].items() if told[measure]["verdict"] != "positive"]
        ahead = f"{_listed(level)} {'does' if len(level) == 1 else 'do'} as well within the interval"
        parts.append(f"in {word} {ahead if level else 'none does as well'}")
    return f"Of the controls that {gains['main']} is compared with, {' and '.join(parts)}."


def _listed(names: list[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
