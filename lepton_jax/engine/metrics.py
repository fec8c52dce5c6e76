"""What a run reports while it goes on, and the files it leaves."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from lepton_jax.config import Config, ConfigError


class Event(NamedTuple):
    """The state of a run after a chunk."""

    number: int  # chunks done
    of: int  # chunks of the run
    env_steps: int
    of_env_steps: int
    seconds: float  # of training so far, compile and evaluation apart
    metrics: dict[str, float]  # of the chunk; reproducible
    validation: dict[str, float]  # of the policy; reproducible
    latest: Callable[[], tuple[Any, int, float]]  # observation, action, reward of environment 0 at the last step


class Observer(Protocol):
    """Something that is told how a run goes: a display, a tracker."""

    def begin(self, config: Config, about: dict[str, Any]) -> None: ...
    def update(self, event: Event) -> None: ...
    def end(self, summary: dict[str, Any]) -> None: ...


class Files:
    """An observer that appends ``metrics.jsonl`` (what is reproducible) and ``timing.jsonl`` (what is not)."""

    def __init__(self, folder: Path):
        self._metrics, self._timing = folder / "metrics.jsonl", folder / "timing.jsonl"

    def begin(self, config: Config, about: dict[str, Any]) -> None:
        for path in (self._metrics, self._timing):
            path.touch()

    def update(self, event: Event) -> None:
        position = {"chunk": event.number, "env_steps": event.env_steps}
        validation = {f"validation/{name}": value for name, value in event.validation.items()}
        _append(self._metrics, position | event.metrics | validation)
        _append(self._timing, position | {"seconds": event.seconds})

    def end(self, summary: dict[str, Any]) -> None:
        pass


def refuse_used(folder: Path) -> None:
    """Raises ConfigError unless ``folder`` can take a new run: absent, or an empty folder."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"run_dir: {folder} is not empty; a run never overwrites one: choose another --run-dir, or remove it"
        )


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON in which every number is a number: NaN and infinities, which JSON lacks, become null."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [clean(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(clean(value), indent=indent, allow_nan=False)


def _append(path: Path, record: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(to_json(record) + "\n")
