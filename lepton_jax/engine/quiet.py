"""Keeps what Orbax prints about a failure off the terminal; the failure itself is raised, once, and told."""

from __future__ import annotations

import gc
import logging
import sys
import warnings
from collections.abc import Callable
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


def told_once(call: Callable[[], Any]) -> Any:
    """``call``, of Orbax, whose errors are told once; ValueError says in one line what went wrong.

    Orbax reads many leaves at a time. When one fails, the others are coroutines that nobody awaited and errors that
    nobody took, of which Python tells when they are collected: that is done here, in silence.
    """
    log = logging.getLogger("asyncio")
    before = log.disabled
    with warnings.catch_warnings():
        try:
            return call()
        except Exception as error:  # Orbax and TensorStore raise what they like
            reason, log.disabled = first_line(error), True
            warnings.simplefilter("ignore", RuntimeWarning)
        gc.collect()
        log.disabled = before
    raise ValueError(reason)


def first_line(error: BaseException) -> str:
    """What an error says, without the page that may follow."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


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
