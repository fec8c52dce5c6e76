"""What a person sees of a run in the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lepton_jax.config import Config
from lepton_jax.engine.metrics import RECORDED, Episode, Event, Observer
from lepton_jax.report import live
from lepton_jax.report.live import clock, number, rate


def make_display(kind: str) -> Observer:
    """The display that ``Config.display`` names; ``auto`` is live on a terminal and plain lines anywhere else."""
    return {"live": Live, "plain": Plain, "epochs": Epochs, "quiet": Quiet}[live.chosen(kind)]()


class Quiet(Observer):
    """Shows nothing but notes."""

    def notice(self, text: str) -> None:
        live.notice(text)


class Plain(Quiet):
    """A line a log point, and a small table at the end."""

    def begin(self, config: Config, about: dict[str, Any]) -> None:
        self._resumed = bool(about.get("resumed_at"))
        for line in headline(about):
            print(line, flush=True)

    def update(self, event: Event) -> None:
        rest = f"  {left(event.env_steps, event.of_env_steps, event.seconds)} left"
        print(
            f"{event.env_steps:>13,} steps  {figures(event)}{rest if event.number else '  before any update'}",
            flush=True,
        )

    def end(self, summary: dict[str, Any] | None) -> None:
        if summary is not None:
            print("\n".join(table(summary, self._resumed)), flush=True)


class Live(Plain):
    """A bar, the figures, the curve of validation and the last episode, drawn over and over; the table at the end."""

    def __init__(self, console: Any = None):
        """Says that it compiles, which comes first. ``console``: a rich Console; by default the terminal."""
        self._screen = live.Screen(console)
        self._screen.show(lambda: live.note("compiling ..."))

    def begin(self, config: Config, about: dict[str, Any]) -> None:
        self._resumed = bool(about.get("resumed_at"))
        for line in headline(about):
            self._screen.say(line)
        self._curve = _curve_so_far(about)
        self._event: Event | None = None
        self._now = 0, 0, 0.0
        self._episode: Episode | None = None

    def advance(self, env_steps: int, seconds: float) -> None:
        if self._event is not None:
            self._now = env_steps, self._event.of_env_steps, seconds
            self._show()

    def update(self, event: Event) -> None:
        self._curve.append(score(event.validation)[1])
        self._event, self._now = event, (event.env_steps, event.of_env_steps, event.seconds)
        if event.episode is not None and (event.number == event.of or self._screen.due):
            self._episode = event.episode() or self._episode  # a memory that is short may hold no whole one
        self._show()

    def end(self, summary: dict[str, Any] | None) -> None:
        self._screen.stop()
        super().end(summary)

    def _show(self) -> None:
        screen, event, now = self._screen, self._event, self._now
        assert event is not None
        screen.show(lambda: _drawn(screen, event, now, self._curve, self._episode))


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


def score(validation: Mapping[str, float]) -> tuple[str, float]:
    """The figure by which people judge a policy: success where the world knows it, else the mean return."""
    name = "success_rate" if "success_rate" in validation else "mean_return"
    return {"success_rate": "success", "mean_return": "return"}[name], validation[name]


def figures(event: Event) -> str:
    """Speed, score, loss and epsilon in one line."""
    name, value = score(event.validation)
    told = f"{name} {value:.3f}" if name == "success" else f"{name} {value:.1f}"
    if not event.number:
        return told
    speed = rate(event.env_steps, event.seconds)
    return f"{speed}  {told}  loss {event.metrics['loss']:.4f}  eps {event.metrics['epsilon']:.2f}"


def left(done: float, of: float, seconds: float) -> str:
    """Time left at the speed so far: ``done`` of ``of`` took ``seconds``; ? at the beginning."""
    return clock(seconds / done * (of - done)) if done else "?"


def table(summary: Mapping[str, Any], resumed: bool = False) -> list[str]:
    """The summary for people: test figures of the final and the best policy, and what they cost."""
    names = [name for name, value in summary["best"].items() if value is not None and name != "env_steps"]
    rows = [f"{'test levels':<14}{'final':>10}{'best':>10}"]
    rows += [f"{name:<14}{number(summary[name]):>10}{number(summary['best'][name]):>10}" for name in names]
    rows.append(
        f"{summary['env_steps']:,} env steps, {summary['gradient_steps']:,} gradient steps, "
        f"{rate(summary['env_steps_per_second'], 1)}"
    )
    time = "since it was resumed" if resumed else "in all"
    rows.append(f"{summary['wall_seconds']:.1f} s {time}, {summary['compile_seconds']:.1f} s of them compiling")
    return rows


def outcome(episode: Episode) -> str:
    """How an episode ended, and in how many steps."""
    steps = f"{len(episode.cells)} step{'s' * (len(episode.cells) != 1)}"
    if not episode.terminated:
        return f"out of time after {steps}"
    # Lava that costs nothing pays 0; a goal pays more, unless its reward is used up by the costs of a step.
    lost = not isinstance(episode.level.lava, tuple) and episode.reward[-1] <= 0
    return f"{'lava after' if lost else 'goal in'} {steps}"


def _curve_so_far(about: Mapping[str, Any]) -> list[float]:
    """The validation curve of a run that goes on, up to where it does."""
    file = Path(about["folder"]) / RECORDED[0]
    prefix = "validation/"
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    told = [{n.removeprefix(prefix): v for n, v in line.items() if n.startswith(prefix)} for line in lines]
    return [score(validation)[1] for validation in told]


def _drawn(
    screen: live.Screen, event: Event, now: tuple[int, int, float], curve: list[float], episode: Episode | None
) -> Any:
    """The picture of a run, for rich. ``now``: env-steps, of how many, and seconds of training."""
    done, of, seconds = now
    name, value = score(event.validation)
    low, high = (0.0, 1.0) if name == "success" else (min(curve), max(curve))
    shown = {"env-steps": f"{done:,} of {of:,}", "speed": rate(done, seconds)}
    shown[name] = f"{number(value)}  best {number(max(curve))}"
    shown |= {"SPL": number(event.validation["spl"])} if "spl" in event.validation else {}
    if event.number:
        shown |= {"loss": f"{event.metrics['loss']:.4f}", "epsilon": f"{event.metrics['epsilon']:.2f}"}
    maze = None if episode is None else _maze(screen, episode)
    room = screen.console.width if maze is None else min(screen.console.width // 2, 36)
    parts = [
        live.facts(shown),
        live.curve(curve, min(room, 60), screen.ascii, low, high),
        live.note(f"{name} on validation levels, {low:.4g} to {high:.4g}"),
    ]
    figures = live.stacked(parts)
    body = figures if maze is None else live.beside(figures, maze, room)
    return live.stacked([live.head(done, of, f"{left(done, of, seconds)} left"), "", body])


def _maze(screen: live.Screen, episode: Episode) -> Any:
    """The last episode for rich; None where the terminal is too small for it."""
    from rich.text import Text

    from lepton_jax.report import ansi

    height, width = episode.level.walls.shape
    if 2 * width + 44 > screen.console.width or height + 5 > screen.console.height:
        return None
    agent = int(episode.cells[-1])
    rows = ansi.lines(episode.level, agent, episode.heading, episode.cells.tolist(), screen.colour, held=episode.held)
    said = live.note(f"episode: {outcome(episode)}")
    return live.stacked([*(Text.from_ansi(row) for row in rows), said])
