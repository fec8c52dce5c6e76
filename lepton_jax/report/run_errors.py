"""Where the policy of a run errs: failures and regret by the distance to go, wrong actions by the distance left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lepton_jax.engine.insight import wrong
from lepton_jax.report.chart import Dot, dot_chart
from lepton_jax.report.document import Cell, Column, escape, table
from lepton_jax.report.frame import Axis
from lepton_jax.report.run_study import Study
from lepton_jax.report.sweep_words import count
from lepton_jax.report.ticks import figure, widened
from lepton_jax.transfer.statistics import estimate

_BINS = 10  # at most
_Z = 1.959964  # of a 95% interval


class Group(NamedTuple):
    """Things at neighbouring distances."""

    low: int
    high: int
    members: np.ndarray  # bool (N,): which of all
    middle: int  # the median distance

    @property
    def name(self) -> str:
        return f"{self.low}" if self.low == self.high else f"{self.low} to {self.high}"


def errors(told: Study) -> str:
    """Charts and a table of where the policy errs, for mazes."""
    if told.regret is None or told.shortest is None or told.playback.success is None:
        return ""
    failed, groups = ~told.playback.success, by_distance(told.shortest)
    shares = [wilson(int(failed[group.members].sum()), int(group.members.sum())) for group in groups]
    regrets = [estimate(told.regret[group.members].tolist(), lambda values: values.mean(axis=-1)) for group in groups]
    parts = [
        _shares("Failures", "share of levels failed", "shortest way from start to goal, steps", "levels failed",
                groups, [failed] * len(groups)),
        _regrets(groups, regrets),
    ]  # fmt: skip
    if (sample := told.sample) is not None:
        off = wrong(sample)
        away = sample.distance.reshape(len(off), -1)[np.arange(len(off))[:, None], sample.cell]
        counts = sample.counts & (away > 0)
        steps, mistakes = away[counts].astype(int), off[counts]
        near = by_distance(steps)
        title = "Actions that are not optimal"
        axis = (
            "share of cells"
            if told.config.env.actions != "oriented" and not told.config.env.door
            else "share of states"
        )
        parts.append(_shares(title, axis, "cells to the goal", "not optimal", near, [mistakes] * len(near)))
    columns = [Column("steps"), *(Column(name) for name in ("levels", "failed", "share", "low", "high", "mean regret"))]
    rows_ = [
        [
            Cell(group.name, group.low),
            Cell(f"{group.members.sum():,}", int(group.members.sum())),
            Cell(f"{failed[group.members].sum():,}", int(failed[group.members].sum())),
            *(Cell(figure(value), value) for value in share),
            Cell(figure(regret["value"]), regret["value"]),
        ]
        for group, share, regret in zip(groups, shares, regrets, strict=True)
    ]
    note = (
        f"{count(len(failed), 'test level')} by the fewest steps from start to goal. Bars: 95% intervals, Wilson's for "
        "shares and a bootstrap over levels for regret; sideways the range of distances that a dot, at their "
        "median, stands for."
    )
    held = table("Failures and regret by the fewest steps from start to goal", columns, rows_)
    return (
        f'<h2>Where it errs</h2>\n<p class="note">{escape(note)}</p>\n<div class="charts">{"".join(parts)}</div>\n'
        f"<details><summary>The same in numbers</summary>{held}</details>"
    )


def by_distance(distance: np.ndarray, most: int = _BINS) -> list[Group]:
    """Groups of equal or neighbouring distances, at most so many and nearly of one size, from near to far."""
    each, sizes = np.unique(distance, return_counts=True)
    if len(each) <= most:
        which = np.arange(len(each))
    else:
        which = ((np.cumsum(sizes) - sizes / 2) * most / sizes.sum()).astype(int)
    groups = [each[which == number] for number in np.unique(which)]
    return [_group(distance, int(some[0]), int(some[-1])) for some in groups]


def _group(distance: np.ndarray, low: int, high: int) -> Group:
    members = (distance >= low) & (distance <= high)
    return Group(low, high, members, int(np.median(distance[members])))


def wilson(hits: int, of: int) -> tuple[float, float, float]:
    """A share with its 95% interval (Wilson 1927), which holds where shares are near 0 or 1."""
    share, extra = hits / of, _Z**2 / of
    middle, half = share + extra / 2, _Z * math.sqrt(share * (1 - share) / of + extra / (4 * of))
    # At 0 and 1 the interval ends there exactly; rounding must not say otherwise.
    low, high = (middle - half) / (1 + extra), (middle + half) / (1 + extra)
    return share, 0.0 if hits == 0 else low, 1.0 if hits == of else high


def _shares(title: str, axis: str, along: str, what: str, groups: Sequence[Group], hits: Sequence[np.ndarray]) -> str:
    dots = []
    for group, hit in zip(groups, hits, strict=True):
        number, of = int(hit[group.members].sum()), int(group.members.sum())
        share, low, high = wilson(number, of)
        name = f"{group.name} steps: {number:,} of {of:,} {what}, {share:.1%} ({low:.1%} to {high:.1%})"
        dots.append(_dot(group, share, low, high, name))
    tall = max(dot.high or 0 for dot in dots)
    return _chart(title, dots, along, Axis(axis, 0.0, min(1.0, widened(0.0, tall)[1])))


def _regrets(groups: Sequence[Group], told: Sequence[dict]) -> str:
    dots = [
        _dot(
            group, each["value"], each["low"], each["high"],
            f"{group.name} steps: mean regret {figure(each['value'])} over {count(each['seeds'], 'level')}"
            + ("" if each["low"] is None else f" ({figure(each['low'])} to {figure(each['high'])})"),
        )
        for group, each in zip(groups, told, strict=True)
    ]  # fmt: skip
    # Rounded, so that what is 0 but for its last digits does not take the axis below 0.
    ends = [round(value, 5) for dot in dots for value in (dot.y, dot.low, dot.high) if value is not None]
    axis = Axis("V*(start) minus return", *widened(min(0.0, *ends), max(ends)))
    return _chart("Regret", dots, "shortest way from start to goal, steps", axis)


def _dot(group: Group, y: float, low: float | None, high: float | None, title: str) -> Dot:
    span = None if group.low == group.high else (float(group.low), float(group.high))
    return Dot(float(group.middle), y, low, high, title, span)


def _chart(title: str, dots: Sequence[Dot], along: str, axis: Axis) -> str:
    worst = max(dots, key=lambda dot: dot.y or 0.0)
    chart = dot_chart(dots, Axis(along), axis, f"{title} by {along}. Greatest: {worst.title}.")
    return f"<div><h3>{escape(title)}</h3><figure>{chart}</figure></div>"
