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
    latest: Callable[[], tuple[Any, int, float]] | None  # observation, action, reward of environment 0, last step taken


class Observer(Protocol):
    """Something that is told how a run goes: a display, a tracker."""

    def begin(self, config: Config, about: dict[str, Any]) -> None: ...
    def update(self, event: Event) -> None: ...
    def notice(self, text: str) -> None: ...  # something a person should know, such as a checkpoint that failed
    def end(self, summary: dict[str, Any] | None) -> None: ...  # None: the run did not come to its end


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
        position = {"iteration": event.iteration, "env_steps": event.env_steps}
        validation = {f"validation/{name}": value for name, value in event.validation.items()}
        records = (event.metrics | validation, {"seconds": event.seconds})
        problem = None
        for name, journal, record in zip(RECORDED, (self._metrics, self._timing), records, strict=True):
            try:
                journal.append(to_json(position | record))
            except OSError as error:
                problem = f"{name}: {error.strerror}"
        return problem

    def flush(self) -> None:
        """Writes what waits; OSError if that cannot be done."""
        self._metrics.flush()
        self._timing.flush()


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON in which every number is a number: NaN and infinities, which JSON lacks, become null."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [clean(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(clean(value), indent=indent, allow_nan=False)
