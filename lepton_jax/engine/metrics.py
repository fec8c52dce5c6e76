"""What a run reports while it goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from lepton_jax.config import Config
from lepton_jax.engine.folder import Journal, RunFolder


class Event(NamedTuple):
    """The state of a run at a log point. At point 0, which grafted runs have, nothing has been trained yet."""

    number: int  # log points reached
    of: int  # log points of the run
    iteration: int
    env_steps: int
    of_env_steps: int
    seconds: float  # of training so far, compile and evaluation apart
    metrics: dict[str, float]  # since the log point before, {} at point 0; reproducible
    validation: dict[str, float]  # of the policy; reproducible
    # Nothing is read from the device unless it is asked for, within ``update``: the state does not outlive it.
    latest: Callable[[], tuple[Any, int, float]] | None = None  # observation, action, reward of environment 0, last
    episode: Callable[[], Episode | None] | None = None  # the last whole one of environment 0; of mazes only


class Episode(NamedTuple):
    """An episode of T steps in training, with exploration, in a maze; NumPy arrays."""

    level: Any  # Level; its start is where the episode began
    cells: Any  # int32 (T,): where the agent was before each step
    heading: int | None  # before the last step; None where moves need none
    held: bool  # whether the key had been fetched by then
    reward: Any  # float32 (T,)
    terminated: bool  # ended by a goal or lava, not by the time limit


class Observer(Protocol):
    """Something that is told how a run goes: a display, a tracker. Derive from it and define what is of interest.

    Whatever it raises does not stop the run: it becomes a notice to the others, and the observer is told nothing more.
    """

    def begin(self, config: Config, about: dict[str, Any]) -> None:
        """All is compiled. ``about``: manifest.json, ``folder`` and ``resumed_at``, env-steps, or None."""

    def advance(self, env_steps: int, seconds: float) -> None:
        """About a second of training has passed, and no log point is reached. Counts are of the whole run so far."""

    def update(self, event: Event) -> None:
        """A log point. A run that was killed and goes on may come to log points again, with the same figures."""

    def notice(self, text: str) -> None:
        """Something a person should know, such as a checkpoint that failed. May come before ``begin``."""

    def end(self, summary: dict[str, Any] | None) -> None:
        """The run is over; ``summary`` as in summary.json, None if it was stopped or has failed."""


# What an evaluation tells of a policy, in the order in which people read it; see engine/evaluation.py.
FIGURES = ("success_rate", "spl", "mean_return", "mean_length", "regret", "q_error")
RECORDED = ("metrics.jsonl", "timing.jsonl")


class Troubles:
    """Says when the disk begins to refuse something, and when it takes it again; not each time in between."""

    def __init__(self, say: Callable[[str], None], meanwhile: str):
        """``meanwhile``: what goes on and tries again."""
        self._say, self._meanwhile = say, meanwhile
        self._failing: set[str] = set()

    def tell(self, what: str, problem: str | None) -> None:
        """``problem`` with ``what``, such as checkpoints; None: it was written."""
        if (problem is not None) == (what in self._failing):
            return
        self._failing ^= {what}
        well = f"{what} are written again"
        self._say(well if problem is None else f"{problem}; {self._meanwhile} goes on and tries again")


class Record:
    """``metrics.jsonl`` (what is reproducible) and ``timing.jsonl`` (what is not): a line a log point."""

    def __init__(self, folder: RunFolder, texts: Mapping[str, str]):
        """Begins both files anew, with the ``texts`` of a checkpoint if there is one."""
        self._metrics, self._timing = (Journal(folder.path / name, texts.get(name, "")) for name in RECORDED)

    @property
    def texts(self) -> dict[str, str]:
        """All lines so far, by file."""
        return dict(zip(RECORDED, (self._metrics.text, self._timing.text), strict=True))

    def append(self, event: Event) -> str | None:
        """Adds the lines of an event. What the disk refuses waits for the next time; says why, or None."""
        problem = None
        for name, journal, line in zip(RECORDED, (self._metrics, self._timing), lines_of(event), strict=True):
            try:
                journal.append(to_json(line))
            except OSError as error:
                problem = f"{name}: {error.strerror}"
        return problem

    def flush(self) -> None:
        """Writes what waits; OSError if that cannot be done."""
        self._metrics.flush()
        self._timing.flush()


def lines_of(event: Event) -> tuple[dict[str, Any], dict[str, Any]]:
    """What ``metrics.jsonl`` and ``timing.jsonl`` say of an event."""
    position = {"iteration": event.iteration, "env_steps": event.env_steps}
    validation = {f"validation/{name}": value for name, value in event.validation.items()}
    return position | event.metrics | validation, position | {"seconds": event.seconds}


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON in which every number is a number: NaN and infinities, which JSON lacks, become null."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [clean(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(clean(value), indent=indent, allow_nan=False)
