"""Stopping a run: the first signal asks, the second insists. Imports no jax."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # SIGHUP is not everywhere
# Seconds within which a signal may come again without being meant: timeout(1), shells and launchers pass on what the
# process group has got already.
_ECHO = 0.3


class Interrupted(KeyboardInterrupt):
    """A run that was stopped by a signal. The message says how to go on."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.number = number  # of the signal


class Interrupts:
    """Within it, the first SIGINT, SIGTERM or SIGHUP is only noted in ``asked``; the next one raises Interrupted.

    A signal that was ignored before, as under nohup, stays ignored. Outside the main thread nothing changes.
    """

    def __init__(self, way_on: str) -> None:
        """``way_on`` tells how to go on after the second signal."""
        self._way_on = way_on
        self.asked: int | None = None
        self._when = 0.0
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
        if self.asked is None:
            self.asked, self._when = number, time.monotonic()
        elif time.monotonic() - self._when > _ECHO:
            raise Interrupted(f"stopped at once, without what came after the last checkpoint; {self._way_on}", number)
