"""Those who watch a run, as one: whoever fails leaves, and the run goes on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from lepton_jax.config import Config
from lepton_jax.engine.metrics import Event, Observer


class Audience(Observer):
    """Tells all observers, in order. One that raises is told nothing more; the others hear why, once."""

    def __init__(self, observers: Sequence[Observer]):
        self._there = list(observers)

    def begin(self, config: Config, about: dict[str, Any]) -> None:
        self._tell("begin", config, about)

    def advance(self, env_steps: int, seconds: float) -> None:
        self._tell("advance", env_steps, seconds)

    def update(self, event: Event) -> None:
        self._tell("update", event)

    def notice(self, text: str) -> None:
        self._tell("notice", text)

    def end(self, summary: dict[str, Any] | None) -> None:
        self._tell("end", summary)

    def _tell(self, what: str, *args: Any) -> None:
        for observer in list(self._there):
            if observer not in self._there:  # it has failed while another one's failure was told
                continue
            try:
                getattr(observer, what)(*args)
            except Exception as error:  # whatever a tracker stumbles over, it is not worth a run
                self._there.remove(observer)
                name, reason = type(observer).__name__, " ".join(str(error).split())
                text = f"{name} failed in {what}() and is told nothing more: {type(error).__name__}: {reason}"
                if self._there:
                    self.notice(text)
                else:
                    print(f"note: {text}", file=sys.stderr, flush=True)
