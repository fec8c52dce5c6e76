"""How things are timed: compiled apart, warmed up, all subjects in turn (A B A B), median and range."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax


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
    for subject in subjects.values():
        jax.block_until_ready(subject.call())
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(repetitions):
        for name, subject in subjects.items():
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


def environment() -> dict[str, Any]:
    """What the figures were measured on."""
    names = ("jax", "jaxlib", "flax", "optax", "gymnax", "numpy")
    return {
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "threads": len(os.sched_getaffinity(0)),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in names},
        "date": time.strftime("%Y-%m-%d"),
    }


def print_rows(title: str, table: list[dict[str, Any]]) -> None:
    print(f"\n{title}\n{'':<52}{'median':>12}{'low':>12}{'high':>12}{'asked':>12}")
    for line in table:
        cells = [line["median"], line["low"], line["high"], line["asked"]]
        print(f"{line['name'] + ', ' + line['unit']:<52}" + "".join(f"{_short(cell):>12}" for cell in cells))


def _short(value: float | None) -> str:
    if value is None:
        return ""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"
