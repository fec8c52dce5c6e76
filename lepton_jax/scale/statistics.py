"""What a sweep says: what became of each lane, each point's figures, the effect of each knob, and what is best.

Figures are reported on the test levels and chosen by on the validation levels, never the other way round. Imports no
jax.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from scipy.special import stdtrit

from lepton_jax.config import MAZE
from lepton_jax.engine.metrics import FIGURES, to_json
from lepton_jax.scale.ledger import STATUSES

if TYPE_CHECKING:
    from lepton_jax.scale.design import Lane, Sweep
    from lepton_jax.scale.results import Results

_SCORE = {"success_rate": ("success_rate", "spl"), "mean_return": ("mean_return",)}
_BINS = 8  # at most, for the values of one knob
_WIDE = 30.0  # a knob that spans more than this factor is looked at on a logarithmic scale

Figures = dict[str, float]


class Outcome(NamedTuple):
    """What became of a lane, so far."""

    lane: Lane
    status: str  # one of STATUSES
    reason: str | None  # why it was stopped, or failed
    env_steps: int
    best_env_steps: int | None  # where its best evaluation was; None before the first
    curve: dict[int, Figures]  # validation figures by env_steps
    validation: Figures | None  # those of its best evaluation
    final: Figures | None  # of the final policy, on the test levels
    best: Figures | None  # of the best policy, on the test levels


class Interval(NamedTuple):
    """A mean with its 95% interval; None where there is too little to say."""

    mean: float | None
    low: float | None
    high: float | None


def outcomes(sweep: Sweep, results: Results) -> list[Outcome]:
    """What became of each lane of ``sweep``, in its order.

    A lane that has left its place has the status it left with; else it is running if there are rows of it, and waiting
    if not. Of evaluations that score the same the first is the best one, as in training.
    """
    rows, ended = defaultdict(list), {record["lane"]: record for record in results.lanes}
    for row in results.rows:
        rows[row["lane"]].append(row)
    return [_outcome(lane, rows[lane.number], ended.get(lane.number)) for lane in sweep.lanes]


def summarise(
    sweep: Sweep, results: Results, about: Mapping[str, Any], command: Callable[[Lane], str]
) -> dict[str, Any]:
    """All that summary.json and the report say, as JSON: what is not finite is None.

    Args:
      about: what else belongs at the top level, such as device and seconds.
      command: what a person types to train a lane alone; asked for the best one.

    Returns:
      ``figure``: what all lanes are judged by, success_rate where each evaluation has one, else mean_return.
      ``counts``: lanes by status. ``lanes``: see ``Outcome``. ``points``: the test figure of the best policy, mean over
      the finished lanes of the point and Student's t over them. ``effects``: see ``effects``. ``curves``: by point, the
      validation figure over env_steps; mean, least and greatest of the lanes that came so far, whatever became of them.
      ``best``: see ``best``.
    """
    figure = _figure(sweep, results.rows)
    judged = outcomes(sweep, results)
    counts = Counter(outcome.status for outcome in judged)
    points = _group(judged, lambda outcome: outcome.lane.point)
    summary = {
        **about,
        "figure": figure,
        "counts": {status: counts[status] for status in STATUSES},
        "best": best(judged, figure, sweep.halving is not None, command),
        "points": [_point(members, figure) for members in points.values()],
        "effects": {knob: effects(judged, knob, figure, alone=len(sweep.knobs) == 1) for knob in sweep.knobs},
        "lanes": [_lane(outcome) for outcome in judged],
        "curves": [curve for members in points.values() if (curve := _curve(members, figure))["env_steps"]],
    }
    return json.loads(to_json(summary))


def best(judged: Sequence[Outcome], figure: str, halved: bool, command: Callable[[Lane], str]) -> dict[str, Any] | None:
    """The best point and its best lane: chosen by validation among finished lanes, reported by test.

    The point whose lanes' best validation scores have the highest mean; points that are not finished come after those
    that are, and points with a failed lane after these. If lanes were ``halved``, few points have all their lanes left,
    and it is the point of the lane with the best score. The first of equals.

    Test levels had no part in the choice, but the seeds had: of many points that are as good as each other, the one
    that was lucky in its seeds is chosen. Only new seeds show how much of its lead is luck.

    Returns:
      Point, lane, its knobs and ``command``; mean and t interval of the test figure over the ``seeds`` finished lanes
      of the point. None while no lane has finished.
    """
    done = [outcome for outcome in judged if outcome.status == "finished" and figure in (outcome.validation or {})]
    if not done:
        return None
    by_point, everyone = (_group(some, lambda outcome: outcome.lane.point) for some in (done, judged))
    score = lambda outcome: _score(outcome.validation, figure)

    def rank(point: int) -> tuple[bool, bool, tuple[float, ...]]:
        statuses = [outcome.status for outcome in everyone[point]]
        means = tuple(_mean(values) for values in zip(*map(score, by_point[point]), strict=True))
        return "failed" not in statuses, set(statuses) == {"finished"}, means

    point = max(done, key=score).lane.point if halved else max(by_point, key=rank)
    lane = max(by_point[point], key=score).lane
    about = _point(everyone[point], figure)
    return {
        "point": point,
        "lane": lane.number,
        "knobs": lane.knobs,
        "figure": figure,
        **{name: about[name] for name in Interval._fields},
        "seeds": about["finished"],
        "command": command(lane),
    }


def effects(judged: Sequence[Outcome], knob: str, figure: str, alone: bool) -> list[dict[str, Any]]:
    """What the lanes with each value of a knob have come to, whatever the other knobs are.

    The mean is that of the test figure of the best policy over all finished lanes that have the value. It says what to
    expect of the value if the other knobs are set as in this sweep. What varies then is the point, and lanes of one
    point are no independent witnesses: an interval over lanes would shrink with every seed, though the other knobs were
    tried no more often. So it is over points: Student's t with the variance clustered by point, which for points of
    equally many lanes is the t interval of their means. It is None where a value has one point only, unless the knob is
    ``alone``: then nothing but the seed varies, and it is over the seeds.

    Lanes that failed or were stopped are not in the mean, and counted beside it: where they are many, the mean is that
    of the survivors, and too good.

    Returns:
      An entry a value: numbers in order, other values in that of the sweep. If more than 8 numbers were tried, an entry
      for each of at most 8 bins of about equally many points, from the least to the greatest value in it; ``value`` is
      the middle, the geometric one for a knob that spans more than a factor of 30.
    """
    members = _group(judged, lambda outcome: outcome.lane.knobs[knob])
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in members)
    effect = lambda values: _effect([outcome for value in values for outcome in members[value]], figure, alone)
    if not numeric or len(members) <= _BINS:
        return [{"value": value, **effect([value])} for value in (sorted(members) if numeric else members)]
    points = Counter(value for value, _ in {(outcome.lane.knobs[knob], outcome.lane.point) for outcome in judged})
    wide = min(points) > 0 and max(points) / min(points) > _WIDE
    return [
        {"value": _middle(run[0], run[-1], wide), "from": run[0], "to": run[-1], **effect(run)} for run in _bins(points)
    ]


def interval(groups: Sequence[Sequence[float]]) -> Interval:
    """The mean over all values, and its 95% interval where values of one group may depend on each other.

    Student's t with the variance clustered by group (Liang & Zeger 1986) and len(groups) - 1 degrees of freedom; for
    groups of one value each that is the plain t interval. No bounds from fewer than two groups; no mean of none.
    """
    values = [value for group in groups for value in group]
    if not values:
        return Interval(None, None, None)
    mean, number = _mean(values), len(groups)
    if number < 2:
        return Interval(mean, None, None)
    squares = math.fsum(math.fsum(value - mean for value in group) ** 2 for group in groups)
    error = math.sqrt(number / (number - 1) * squares) / len(values)
    half = float(stdtrit(number - 1, 0.975)) * error
    return Interval(mean, mean - half, mean + half)


def _outcome(lane: Lane, rows: list[dict[str, Any]], ended: Mapping[str, Any] | None) -> Outcome:
    curve = {row["env_steps"]: _figures(row) for row in rows if row["levels"] == "validation"}
    curve = dict(sorted(curve.items()))
    scored = [steps for steps, figures in curve.items() if _own(figures) in figures]
    best_steps = max(scored, key=lambda steps: _score(curve[steps], _own(curve[steps])), default=None)
    test = {row["policy"]: _figures(row) for row in rows if row["levels"] == "test"}
    ended = ended or {
        "status": "running" if rows else "waiting",
        "reason": None,
        "env_steps": max((row["env_steps"] for row in rows), default=0),
        "best_env_steps": best_steps,
    }
    return Outcome(
        lane=lane,
        status=ended["status"],
        reason=ended["reason"],
        env_steps=ended["env_steps"],
        best_env_steps=ended["best_env_steps"],
        curve=curve,
        validation=None if best_steps is None else curve[best_steps],
        final=test.get("final") or None,
        best=test.get("best") or None,
    )


def _figures(row: Mapping[str, Any]) -> Figures:
    return {name: row[name] for name in FIGURES if row.get(name) is not None and math.isfinite(row[name])}


def _own(figures: Figures) -> str:
    """What a policy is judged by among those of its lane, see lepton_jax.engine.loop.score_of."""
    return "success_rate" if "success_rate" in figures else "mean_return"


def _figure(sweep: Sweep, rows: Sequence[Mapping[str, Any]]) -> str:
    """What the policies of all lanes can be judged by."""
    told, knowing = ({row["lane"] for row in rows if row.get(name) is not None} for name in ("lane", "success_rate"))
    known = told == knowing if rows else all(lane.config.env.id == MAZE for lane in sweep.lanes)
    return "success_rate" if known else "mean_return"


def _score(figures: Figures | None, figure: str) -> tuple[float, ...]:
    return tuple((figures or {}).get(name, -math.inf) for name in _SCORE[figure])


def _group(judged: Iterable[Outcome], key: Callable[[Outcome], Any]) -> dict[Any, list[Outcome]]:
    groups = defaultdict(list)
    for outcome in judged:
        groups[key(outcome)].append(outcome)
    return dict(groups)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _bins(points: Mapping[float, int]) -> list[list[float]]:
    """Values in order, with how many points have them -> at most 8 runs of about equally many points."""
    runs, total, below = defaultdict(list), sum(points.values()), 0
    for value in sorted(points):
        # By the middle of a value's points, so that they all go into one bin.
        runs[_BINS * (2 * below + points[value]) // (2 * total)].append(value)
        below += points[value]
    return list(runs.values())


def _middle(low: float, high: float, wide: bool) -> float:
    if low == high:
        return low
    return math.sqrt(low * high) if wide else (low + high) / 2


def _effect(lanes: Sequence[Outcome], figure: str, alone: bool) -> dict[str, Any]:
    counts = Counter(outcome.status for outcome in lanes)
    groups = _tested(lanes, figure)
    if alone and len(groups) == 1:
        groups = [[value] for value in groups[0]]
    few = {"lanes": counts["finished"], "failed": counts["failed"], "stopped": counts["stopped"]}
    return interval(groups)._asdict() | few


def _tested(lanes: Iterable[Outcome], figure: str) -> list[list[float]]:
    """The test figures of the best policies of the finished lanes, by point."""
    done = (outcome for outcome in lanes if outcome.status == "finished" and figure in (outcome.best or {}))
    points = _group(done, lambda outcome: outcome.lane.point)
    return [[outcome.best[figure] for outcome in members if outcome.best] for members in points.values()]


def _lane(outcome: Outcome) -> dict[str, Any]:
    lane, told = outcome.lane, outcome._asdict()
    named = {"lane": lane.number, "point": lane.point, "seed": lane.seed, "knobs": lane.knobs}
    return named | {name: value for name, value in told.items() if name not in ("lane", "curve")}


def _point(members: Sequence[Outcome], figure: str) -> dict[str, Any]:
    lane = members[0].lane
    finished = sum(outcome.status == "finished" for outcome in members)
    values = [[value] for group in _tested(members, figure) for value in group]
    return {"point": lane.point, "knobs": lane.knobs, "finished": finished} | interval(values)._asdict()


def _curve(members: Sequence[Outcome], figure: str) -> dict[str, Any]:
    values = defaultdict(list)
    for outcome in members:
        for steps, figures in outcome.curve.items():
            if figure in figures:
                values[steps].append(figures[figure])
    steps = sorted(values)
    curve = {name: [of(values[step]) for step in steps] for name, of in (("mean", _mean), ("low", min), ("high", max))}
    return {"point": members[0].lane.point, "env_steps": steps, **curve}
