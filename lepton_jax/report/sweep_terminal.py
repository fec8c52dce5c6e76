"""What a person sees of a sweep in the terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from lepton_jax.config import MAZE
from lepton_jax.report import live
from lepton_jax.report.live import number
from lepton_jax.report.sweep_plan import plan_lines
from lepton_jax.report.terminal import left
from lepton_jax.scale.conduct import Watcher
from lepton_jax.scale.design import Sweep
from lepton_jax.scale.plan import GroupPlan
from lepton_jax.scale.standing import Scored, Standing, by_merit

# Seconds between two plain lines, unless a lane has ended.
_PAUSE = 10.0


def make_watcher(kind: str) -> Watcher:
    """The display that ``Config.display`` names; ``auto`` is live on a terminal and plain lines anywhere else."""
    return {"live": Live, "quiet": Quiet}.get(live.chosen(kind), Plain)()


class Quiet:
    """Shows nothing but notes."""

    def begin(self, sweep: Sweep, plan: Sequence[GroupPlan]) -> None: ...
    def update(self, standing: Standing) -> None: ...
    def notice(self, text: str) -> None:
        live.notice(text)

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
            print(f"expected, by the first chunk: {time_left(standing)} of training", flush=True)
        if self._last is None or now - self._last[0] > _PAUSE or counts != self._last[1]:
            self._last = now, counts
            print(text(standing), flush=True)

    def end(self, summary: Mapping[str, Any] | None) -> None:
        if summary is not None:
            print("\n".join(table(summary)), flush=True)


class Live(Plain):
    """A bar, the counts and the best lanes with their curves, drawn over and over; the table at the end."""

    def __init__(self, console: Any = None):
        """``console``: a rich Console; by default the terminal."""
        super().__init__()
        self._console = console
        self._screen: live.Screen | None = None
        self._curves: dict[int, dict[int, float]] = {}  # of each lane: log point -> score

    def begin(self, sweep: Sweep, plan: Sequence[GroupPlan]) -> None:
        self._screen, self._sweep = live.Screen(self._console), sweep
        for line in plan_lines(sweep, plan):
            self._screen.say(line)
        self._screen.show(lambda: live.note("compiling ..."))

    def update(self, standing: Standing) -> None:
        assert self._screen is not None
        for lane in standing.scored:
            self._curves.setdefault(lane.lane, {})[lane.points] = lane.score[0]
        screen = self._screen
        screen.show(lambda: _drawn(screen, self._sweep, standing, self._curves))

    def end(self, summary: Mapping[str, Any] | None) -> None:
        if self._screen is not None:
            self._screen.stop()
        super().end(summary)


def text(standing: Standing) -> str:
    """Lanes, speed, the best so far and the time left, in one line."""
    best = "" if standing.best is None else f"  best {standing.best[1][0]:.3f} (lane {standing.best[0]})"
    return f"{lanes(standing)}  {live.rate(standing.env_steps, standing.seconds)}{best}  {time_left(standing)} left"


def lanes(standing: Standing) -> str:
    """Lanes by what has become of them."""
    counts = standing.counts
    others = ("stopped", "failed", "running", "waiting")
    return ", ".join(
        [f"{counts['finished']} done", *(f"{counts[status]} {status}" for status in others if counts[status])]
    )


def time_left(standing: Standing) -> str:
    """Time left at the speed so far; a lane that was stopped early needs no more."""
    trained = standing.env_steps
    return left(trained, trained + standing.of - standing.done, standing.seconds)


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


def _drawn(screen: live.Screen, sweep: Sweep, standing: Standing, curves: Mapping[int, Mapping[int, float]]) -> Any:
    """The picture of a sweep, for rich."""
    shown = {
        "lanes": lanes(standing),
        "env-steps": f"{standing.env_steps:,} of {standing.of:,}",
        "speed": live.rate(standing.env_steps, standing.seconds),
    }
    parts = [live.head(standing.done, standing.of, f"{time_left(standing)} left"), "", live.facts(shown)]
    best = sorted(standing.scored, key=by_merit)[: max(1, min(_LIVE, screen.console.height - 8))]
    if best:
        parts += ["", _best(screen, sweep, best, curves)]
    return live.stacked(parts)


def _best(screen: live.Screen, sweep: Sweep, best: Sequence[Scored], curves: Mapping[int, Mapping[int, float]]) -> Any:
    """The best lanes, for rich."""
    by_number = {lane.number: lane for lane in sweep.lanes}
    drawn = [[curves[lane.lane][point] for point in sorted(curves[lane.lane])] for lane in best]
    success = sweep.base.env.id == MAZE
    low, high = (0.0, 1.0) if success else (min(map(min, drawn)), max(map(max, drawn)))
    rows = []
    for lane, values in zip(best, drawn, strict=True):
        told = by_number[lane.lane]
        knobs = ", ".join([*(f"{name} = {value}" for name, value in told.knobs.items()), f"seed {told.seed}"])
        curve = live.sparkline(values, 20, screen.ascii, low, high)
        rows.append((str(lane.lane), number(lane.best[0]), number(lane.score[0]), curve, lane.status, knobs))
    return live.rows(("lane", "best", "last", f"{'success' if success else 'return'} by step", "", ""), rows)


_SHOWN = 8  # points in the table
_LIVE = 6  # lanes in the live display
