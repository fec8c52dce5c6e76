"""How things are timed: compiled apart, warmed up, all subjects in turn (A B A B), median and range."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from lepton_jax.engine.manifest import processor_name
from lepton_jax.report import live


class Progress:
    """Says what is being measured: live on a terminal, a line a tier elsewhere. A context manager."""

    def __init__(self, kind: str, tiers: Sequence[str]):
        """``kind``: of the display: auto, plain or quiet. ``tiers``: what will be measured, in order."""
        self._kind, self._tiers, self._tier = live.chosen(kind), tiers, ""
        self._began = time.monotonic()
        self._screen = live.Screen() if self._kind == "live" else None

    def __enter__(self) -> Progress:
        global _progress
        _progress = self
        return self

    def __exit__(self, *_: Any) -> None:
        global _progress
        _progress = None
        if self._screen is not None:
            self._screen.stop()

    def begin(self, tier: str) -> None:
        """A tier begins; it compiles first."""
        self._tier = tier
        if self._kind == "plain":
            print(f"{tier} ({self._place}) ...", flush=True)
        self.tell("preparing ...", 0, 0)

    def tell(self, what: str, done: int, of: int) -> None:
        """``what`` is measured now; so many measurements of the tier are done, 0 of 0 where that is not known."""
        if (screen := self._screen) is None:
            return
        shown = {"tier": f"{self._tier}, {self._place}", "now": what}
        share = self._tiers.index(self._tier) + (done / of if of else 0.0)
        spent = f"{live.clock(time.monotonic() - self._began)} so far"
        screen.show(lambda: live.stacked([live.head(share, len(self._tiers), spent), "", live.facts(shown)]))

    @property
    def _place(self) -> str:
        return f"{self._tiers.index(self._tier) + 1} of {len(self._tiers)}"


_progress: Progress | None = None


def tell(what: str, done: int = 0, of: int = 0) -> None:
    """Tells the progress display, if there is one, what is measured now."""
    if _progress is not None:
        _progress.tell(what, done, of)


class Subject(NamedTuple):
    """Something to be timed: ``call()`` does ``work`` units and returns arrays to wait for."""

    call: Callable[[], Any]
    work: float
    unit: str
    asked: float | None = None  # what the project asks of this figure, same unit a second


def compiled(function: Callable[..., Any], *args: Any) -> tuple[Callable[[], Any], float]:
    """``function(*args)`` compiled ahead of time, and the seconds that took."""
    began = time.perf_counter()
    program = jax.jit(function).lower(*args).compile()
    return lambda: program(*args), time.perf_counter() - began


def rates(subjects: Mapping[str, Subject], repetitions: int) -> list[dict[str, Any]]:
    """Times the subjects in turn, ``repetitions`` times each after one warm-up."""
    for name, subject in subjects.items():
        tell(f"{name}: warming up")
        jax.block_until_ready(subject.call())
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for repetition in range(repetitions):
        for number, (name, subject) in enumerate(subjects.items()):
            tell(name, repetition * len(subjects) + number, repetitions * len(subjects))
            began = time.perf_counter()
            jax.block_until_ready(subject.call())
            seconds[name].append(time.perf_counter() - began)
    return [
        row(name, subject.unit, [subject.work / s for s in seconds[name]], subject.asked)
        for name, subject in subjects.items()
    ]


def row(name: str, unit: str, values: list[float], asked: float | None = None, **more: Any) -> dict[str, Any]:
    """One line of a table: the median of ``values``, their range, and what is asked of it."""
    return {
        "name": name,
        "unit": unit,
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "asked": asked,
        "repetitions": values,
        **more,
    }


def peak_memory(name: str, program: jax.stages.Compiled) -> list[dict[str, Any]]:
    """What a compiled program takes of each device, by its own account; on a GPU also the most that was ever taken."""
    table = []
    if (account := program.memory_analysis()) is not None:
        told = account.argument_size_in_bytes + account.output_size_in_bytes - account.alias_size_in_bytes
        table.append(row(f"peak memory {name}, each device", "bytes", [told + account.temp_size_in_bytes]))
    stats = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        table.append(row(f"peak memory of the process, up to {name}", "bytes", [stats["peak_bytes_in_use"]]))
    return table


def environment() -> dict[str, Any]:
    """What the figures were measured on."""
    names = ("jax", "jaxlib", "flax", "optax", "gymnax", "numpy")
    return {
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "threads": len(os.sched_getaffinity(0)),
        "processor": processor_name(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in names},
        "date": time.strftime("%Y-%m-%d"),
    }


def print_rows(title: str, table: list[dict[str, Any]]) -> None:
    print(f"\n{title}\n{'':<52}{'median':>12}{'low':>12}{'high':>12}{'asked':>12}")
    for line in table:
        cells = [line["median"], line["low"], line["high"], line["asked"]]
        print(f"{line['name'] + ', ' + line['unit']:<52}" + "".join(f"{short(cell):>12}" for cell in cells))


def short(value: float | None) -> str:
    """A number for people, with four digits: ``77.9 M``."""
    if value is None:
        return ""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"
