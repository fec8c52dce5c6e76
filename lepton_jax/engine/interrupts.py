"""Stopping a run: the first signal asks, the second insists. Imports no jax."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # SIGHUP is not everywhere


class Interrupted(KeyboardInterrupt):
    """A run that was stopped by a signal. The message says how to go on."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.number = number  # of the signal


class Interrupts:
    """Within it, the first SIGINT, SIGTERM or SIGHUP is only noted in ``asked``; the next one raises Interrupted.

    A signal that was ignored before, as under nohup, stays ignored. Outside the main thread nothing changes.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for name in _SIGNALS:
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.asked is not None:
            raise Interrupted("stopped at once; what came after the last checkpoint is lost", number)
        self.asked = number
