"""What a person sees of a run in the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lepton_jax.config import Config
from lepton_jax.engine.metrics import Event, Observer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def make_display(kind: str) -> Observer:
    """The display that ``Config.display`` names; ``auto`` is a bar on a terminal and plain lines anywhere else."""
    if kind == "auto":
        kind = "bar" if sys.stdout.isatty() else "plain"
    return {"bar": Bar, "plain": Plain, "epochs": Epochs, "quiet": Quiet}[kind]()


class Quiet:
    """Shows nothing."""

    def begin(self, config: Config, about: dict[str, Any]) -> None: ...
    def update(self, event: Event) -> None: ...
    def notice(self, text: str) -> None:
        print(f"note: {text}", file=sys.stderr, flush=True)

    def end(self, summary: dict[str, Any] | None) -> None: ...


class Plain(Quiet):
    """A line a log point, and a small table at the end."""

    def begin(self, config: Config, about: dict[str, Any]) -> None:
        self._folder = config.run_dir
        for line in headline(about):
            print(line, flush=True)

    def update(self, event: Event) -> None:
        rest = f"  {left(event)} left" if event.number else "  before any update"
        print(f"{event.env_steps:>13,} steps  {figures(event)}{rest}", flush=True)

    def end(self, summary: dict[str, Any] | None) -> None:
        if summary is not None:
            print("\n".join(table(summary)), flush=True)


class Bar(Plain):
    """A live line with a bar; the table at the end."""

    def begin(self, config: Config, about: dict[str, Any]) -> None:
        super().begin(config, about)
        self._progress, self._task = live_bar("compiled, training ...")

    def update(self, event: Event) -> None:
        text = f"{figures(event)}  {left(event)}" if event.number else f"{figures(event)}  before any update"
        self._progress.update(self._task, total=event.of, completed=event.number, description=text)

    def end(self, summary: dict[str, Any] | None) -> None:
        if hasattr(self, "_progress"):
            self._progress.stop()
        super().end(summary)


class Epochs(Plain):
    """One transition an epoch, spelled out: what the agent saw, did and got."""

    def update(self, event: Event) -> None:
        if event.latest is None:
            return
        observation, action, reward = event.latest()
        one_hot = np.eye(max(4, action + 1), dtype=int)[action]
        print(f"Epoch {event.number}/{event.of}")
        print(f"State: {np.array2string(np.asarray(observation, float).reshape(-1), precision=2, max_line_width=100)}")
        print(f"Action: {one_hot}")
        print(f"Reward: {reward:g}", flush=True)


def headline(about: Mapping[str, Any]) -> list[str]:
    """What is worth knowing before the first step."""
    replay, environment = about["replay"], about["environment"]
    resumed = about.get("resumed_at")
    return [
        *([f"going on after {resumed:,} env-steps"] if resumed else []),
        about["levels"]["note"],
        f"{environment['device']}, {environment['threads']} threads, {environment['shards']} sharing the run; "
        f"{replay['kind']} {replay['transitions']:,} transitions x {replay['bytes_per_transition']:.1f} bytes; "
        f"state {about['state_bytes'] / 2**20:.1f} MiB",
    ]


def figures(event: Event) -> str:
    """Speed, score, loss and epsilon in one line."""
    validation = event.validation
    if "success_rate" in validation:
        score = f"success {validation['success_rate']:.3f}"
    else:
        score = f"return {validation['mean_return']:.1f}"
    if not event.number:
        return score
    speed = event.env_steps / event.seconds
    return f"{speed / 1e3:.0f} k/s  {score}  loss {event.metrics['loss']:.4f}  eps {event.metrics['epsilon']:.2f}"


def left(event: Event) -> str:
    """Time left at the speed so far."""
    seconds = event.seconds / event.number * (event.of - event.number)
    return clock(seconds)


def clock(seconds: float) -> str:
    """Seconds as minutes, or hours, for people."""
    return time.strftime("%H:%M:%S" if seconds >= 3600 else "%M:%S", time.gmtime(seconds))


def live_bar(text: str) -> tuple[Progress, TaskID]:
    """A started bar with a line of text behind it, and its only task."""
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.percentage:>3.0f}%"), BarColumn(bar_width=14), TextColumn("{task.description}"))
    progress = Progress(*columns)
    task = progress.add_task(text, total=None)
    progress.start()
    return progress, task


def table(summary: Mapping[str, Any]) -> list[str]:
    """The summary for people: test figures of the final and the best policy, and what they cost."""
    names = [name for name, value in summary["best"].items() if value is not None and name != "env_steps"]
    rows = [f"{'test levels':<14}{'final':>10}{'best':>10}"]
    rows += [f"{name:<14}{number(summary[name]):>10}{number(summary['best'][name]):>10}" for name in names]
    rows.append(
        f"{summary['env_steps']:,} env steps, {summary['gradient_steps']:,} gradient steps, "
        f"{summary['env_steps_per_second'] / 1e3:,.0f} k env-steps/s"
    )
    rows.append(f"{summary['wall_seconds']:.1f} s in all, {summary['compile_seconds']:.1f} s of them compiling")
    return rows


def number(value: float) -> str:
    """A figure for people."""
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"
