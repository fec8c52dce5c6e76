"""Keeps what Orbax prints about a failed write off the terminal; the failure itself is raised, once, and told."""

from __future__ import annotations

import logging
import sys
from typing import Any

# Many threads write; when the disk refuses, Orbax raises the error of one of them, and the others cry out on their own:
# tasks that nobody awaited (asyncio), threads that ended in an exception (absl), and callbacks into a loop that is gone
# (sys.unraisablehook, from C++). One user error would be a page of tracebacks.
_ECHOES = ("Task exception was never retrieved", "_SignalingThread.run() raised an exception")
_GONE = "Event loop is closed"


def quiet_orbax() -> None:
    """Drops these echoes from now on, and nothing else. May be called any number of times."""
    for name in ("asyncio", "absl"):
        logging.getLogger(name).addFilter(_not_an_echo)
    if not isinstance(sys.unraisablehook, _Hook):
        sys.unraisablehook = _Hook()


def _not_an_echo(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return not any(echo in message for echo in _ECHOES)


class _Hook:
    """``sys.unraisablehook`` that is deaf to callbacks into a closed event loop."""

    def __init__(self) -> None:
        self._before = sys.unraisablehook

    def __call__(self, unraisable: Any) -> None:
        if not (isinstance(unraisable.exc_value, RuntimeError) and str(unraisable.exc_value) == _GONE):
            self._before(unraisable)
