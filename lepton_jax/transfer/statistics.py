"""The measures of transfer, and how sure they are: per seed, over seeds, and between two arms.

The measures are those of Taylor & Stone (2009), told as Agarwal et al. (2021, arXiv 2108.13264) ask: interquartile
means with bootstrap intervals over seeds. Transfer that makes things worse is called negative, as in Sabatelli & Geurts
(2021). Imports no jax.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

_RESAMPLES = 10_000


class Arm(NamedTuple):
    """An arm's measures, a value a seed; None where there is none."""

    source_steps: int
    steps: int
    jumpstart: list[float | None]  # validation figure before the first update
    asymptote: list[float | None]  # test figure of the final policy
    area: list[float | None]  # mean validation figure over the target's steps
    times: list[float | None]  # to the threshold, in env-steps; infinite where it was not reached


def area(env_steps: Sequence[int], curve: Sequence[float | None], target_steps: int) -> float | None:
    """The mean height of a curve from 0 to ``target_steps``: the area under it by trapezoids over ``target_steps``.

    A curve that ends earlier is held at its last value, by one spacing of its points at the most. None if it ends
    before that, or a value is missing.
    """
    inside = [k for k, steps in enumerate(env_steps) if steps <= target_steps]
    last = inside[-1]
    needed = curve[: last + 1 + (env_steps[last] < target_steps and last + 1 < len(curve))]
    late = last + 1 == len(curve) and target_steps - env_steps[last] > env_steps[last] - env_steps[max(last - 1, 0)]
    if late or any(value is None for value in needed):
        return None
    known = np.array(needed, float)
    x = np.array([*env_steps[: last + 1], target_steps], float)
    y = np.interp(x, env_steps[: len(known)], known)
    return float(np.trapezoid(y, x) / target_steps)


def time_to_threshold(env_steps: Sequence[int], curve: Sequence[float | None], threshold: float) -> float | None:
    """The first of ``env_steps`` at which the figure is at least ``threshold``; infinite if it never is.

    A seed that failed on its way has not reached it. None if nothing of the curve is known.
    """
    known = [(steps, value) for steps, value in zip(env_steps, curve, strict=True) if value is not None]
    return next((float(steps) for steps, value in known if value >= threshold), math.inf) if known else None


def iqm(values: Sequence[float] | np.ndarray) -> Any:
    """The interquartile mean over the last axis: of n values floor(n / 4) are left out at either end.

    So it is the mean for fewer than 4 values, and the mean of the middle 3 of 5. ``scipy.stats.trim_mean`` with 0.25.
    """
    ordered = np.sort(np.asarray(values, float), axis=-1)
    cut = ordered.shape[-1] // 4
    return ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1)


def estimate(values: Sequence[float | None], of: Callable[[Any], Any] = iqm) -> dict[str, Any]:
    """``of`` the known values with its 95% percentile bootstrap interval over them.

    10,000 resamples by a generator that always starts from the same seed, of the values in order: the answer does not
    depend on the order of the seeds. Of few seeds the interval is too narrow rather than too wide: five cannot show
    their tails. The stratified bootstrap of Agarwal et al. comes down to this, for a pair is one task.

    Returns:
      ``value``, ``low``, ``high`` and ``seeds``, how many values are known. No bounds from fewer than two.
    """
    known = np.sort(np.array([value for value in values if value is not None], float))
    if not len(known):
        return {"value": None, "low": None, "high": None, "seeds": 0}
    told = {"value": float(of(known)), "low": None, "high": None, "seeds": len(known)}
    if len(known) > 1:
        drawn = np.random.default_rng(0).integers(0, len(known), (_RESAMPLES, len(known)))
        low, high = np.quantile(of(known[drawn]), (0.025, 0.975))
        told |= {"low": float(low), "high": float(high)}
    return told


def compare(ours: Sequence[float | None], theirs: Sequence[float | None]) -> dict[str, Any]:
    """``estimate`` of ours minus theirs, seed by seed, of the seeds that both have; and the ``verdict`` on it.

    It is positive if the whole interval is above 0, negative if it is below, and else undecided.
    """
    pairs = zip(ours, theirs, strict=True)
    told = estimate([a - b for a, b in pairs if a is not None and b is not None])
    low, high = told["low"], told["high"]
    verdict = "undecided" if low is None or low <= 0 <= high else "positive" if low > 0 else "negative"
    return {**told, "verdict": verdict}


def restricted(times: Sequence[float | None], end: float, offset: float = 0.0) -> list[float | None]:
    """Each time plus ``offset``, and ``end`` in place of all that lie beyond, be it how far it may.

    Their mean is the restricted mean time (the area under the Kaplan-Meier curve up to ``end`` if no seed is lost from
    sight before): the steps spent by ``end``, not the time that the threshold would take without a limit.
    """
    return [None if time is None else min(time + offset, end) for time in times]


def break_even(baseline: Arm, arm: Arm) -> dict[str, Any]:
    """How many target tasks have to share a source until transfer pays.

    With S and T the restricted mean times to the threshold from scratch and of the arm, each within the steps of its
    own runs, and P the steps of the source: the smallest n >= 1 with n S >= P + n T.

    A seed that did not get there makes its mean time too short. In the arm this makes n too small, from scratch too
    large; ``reading`` says "at least", "at most", or "unclear" if both have such seeds, else "exact".

    Returns:
      ``tasks`` and ``reading``. ``tasks`` is None, never, if S <= T or no seed of the arm got there.
    """
    means, missed = [], []
    for one in (baseline, arm):
        ends = [Fraction(time) for time in restricted(one.times, one.steps) if time is not None]
        means.append(sum(ends, Fraction(0)) / max(len(ends), 1))
        missed.append(math.inf in one.times)
    saved = means[0] - means[1]
    reading = {(False, False): "exact", (False, True): "at least", (True, False): "at most"}.get(
        tuple(missed), "unclear"
    )
    never = saved <= 0 or not reached(arm)
    return {"tasks": None if never else max(1, math.ceil(arm.source_steps / saved)), "reading": reading}


def reached(arm: Arm) -> int:
    """How many seeds reached the threshold."""
    return sum(time is not None and time < math.inf for time in arm.times)
