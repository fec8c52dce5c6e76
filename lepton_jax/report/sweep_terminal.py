"""What a person sees of a sweep in the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from lepton_jax.report.sweep_plan import plan_lines
from lepton_jax.report.terminal import clock, live_bar, number
from lepton_jax.scale.conduct import Watcher
from lepton_jax.scale.design import Sweep
from lepton_jax.scale.plan import GroupPlan
from lepton_jax.scale.standing import Standing

# Seconds between two plain lines, unless a lane has ended.
_PAUSE = 10.0


def make_watcher(kind: str) -> Watcher:
    """The display that ``Config.display`` names; ``auto`` is a bar on a terminal and plain lines anywhere else."""
    if kind == "quiet":
        return Quiet()
    return Bar() if kind == "auto" and sys.stdout.isatty() else Plain()


class Quiet:
    """Shows nothing but notes."""

    def begin(self, sweep: Sweep, plan: Sequence[GroupPlan]) -> None: ...
    def update(self, standing: Standing) -> None: ...
    def notice(self, text: str) -> None:
        print(f"note: {text}", file=sys.stderr, flush=True)

    def end(self, summary: Mapping[str, Any] | None) -> None: ...


class Plain(Quiet):
    """A line now and then, and a small table at the end."""

    def __init__(self) -> None:
        self._last: tuple[float, dict[str, int]] | None = None

    def begin(self, sweep: Sweep, plan: Sequence[GroupPlan]) -> None:
        print("\n".join(plan_lines(sweep, plan)), flush=True)

    def update(self, standing: Standing) -> None:
        now, counts = time.monotonic(), {k: v for k, v in standing.counts.items() if k not in ("waiting", "running")}
        if self._last is None and standing.env_steps:
            print(f"expected, by the first chunk: {left(standing)} of training", flush=True)
        if self._last is None or now - self._last[0] > _PAUSE or counts != self._last[1]:
            self._last = now, counts
            print(text(standing), flush=True)

    def end(self, summary: Mapping[str, Any] | None) -> None:
        if summary is not None:
            print("\n".join(table(summary)), flush=True)


class Bar(Plain):
    """A live line with a bar; the table at the end."""

    def begin(self, sweep: Sweep, plan: Sequence[GroupPlan]) -> None:
        super().begin(sweep, plan)
        self._progress, self._task = live_bar("compiling ...")

    def update(self, standing: Standing) -> None:
        self._progress.update(self._task, total=standing.of, completed=standing.done, description=text(standing))

    def end(self, summary: Mapping[str, Any] | None) -> None:
        self._progress.stop()
        super().end(summary)


def text(standing: Standing) -> str:
    """Lanes, speed, the best so far and the time left, in one line."""
    counts = standing.counts
    lanes = [f"{counts['finished']} done"] + [
        f"{counts[status]} {status}" for status in ("stopped", "failed", "running", "waiting") if counts[status]
    ]
    best = "" if standing.best is None else f"  best {standing.best[1][0]:.3f} (lane {standing.best[0]})"
    return f"{', '.join(lanes)}  {speed(standing)}{best}  {left(standing)} left"


def speed(standing: Standing) -> str:
    """Environment steps a second of all lanes together."""
    return f"{standing.env_steps / standing.seconds / 1e3:,.0f} k/s" if standing.seconds else "-"


def left(standing: Standing) -> str:
    """Time left at the speed so far."""
    if not standing.env_steps:
        return "?"
    seconds = (standing.of - standing.done) * standing.seconds / standing.env_steps
    return clock(seconds)


def table(summary: Mapping[str, Any]) -> list[str]:
    """The summary for people: the points that did best on the test levels, what to make of them, and what it cost."""
    figure, best = summary["figure"], summary["best"]
    counts = ", ".join(f"{number} {status}" for status, number in summary["counts"].items() if number)
    rows = []
    points = [point for point in summary["points"] if point["mean"] is not None]
    points.sort(key=lambda point: -point["mean"])
    if points:
        rows.append(f"{'point':>6} {'lanes':>6} {figure + ' on test levels':<36} knobs")
    for point in points[:_SHOWN]:
        interval = "" if point["low"] is None else f"  95% {number(point['low'])} to {number(point['high'])}"
        knobs = ", ".join(f"{name} = {value}" for name, value in point["knobs"].items())
        rows.append(f"{point['point']:>6} {point['finished']:>6} {number(point['mean']) + interval:<36} {knobs}")
    if len(points) > _SHOWN:
        rows.append(f"       ... {len(points) - _SHOWN} more in lanes.csv and report.html")
    if best is not None:
        rows.append(f"best, chosen on validation levels: point {best['point']}; its best lane alone: {best['command']}")
    if summary["env_steps_per_second"]:
        rows.append(
            f"{counts}; {summary['env_steps']:,} env-steps in {summary['seconds']:.1f} s of training, "
            f"{summary['env_steps_per_second'] / 1e3:,.0f} k/s, {summary['compile_seconds']:.1f} s of compiling"
        )
    return rows


_SHOWN = 8
