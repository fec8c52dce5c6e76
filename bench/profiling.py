"""Where the time of ``chunk`` goes: ``python -m bench --profile quick``.

A trace says how long each operation of the compiled program ran, and the program's text which lines of the engine each
operation comes from. An operation that XLA has fused from several counts where its result is asked for.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.profiler import ProfileData, ProfileOptions

from bench.measure import row, tell
from bench.sources import AVERAGE, Operation, operations
from bench.train import chunk
from lepton_jax.engine.shard import count_shards
from lepton_jax.presets import from_preset

SECONDS = 0.2  # of training in a trace: long enough to average, short enough that the trace stays below 50 MB
TRACES = 3
SHOWN = 4  # operations of each part


class Event(NamedTuple):
    """An operation that ran once."""

    line: str  # the thread or stream
    start: float  # ns
    end: float  # ns
    operation: str


class Spent(NamedTuple):
    """What all runs of one operation took, on all devices."""

    ns: float  # its own: without the operations that it runs
    times: int


class Profile(NamedTuple):
    """Of one chunk."""

    iterations: int
    devices: int
    plain: Sequence[float]  # seconds of chunks without a trace
    traced: Sequence[float]  # seconds of chunks with one; the fastest is told, as the least disturbed
    spent: Mapping[str, Spent]  # by name of the operation
    known: Mapping[str, Operation]
    waited: float  # ns of all devices together, in ``spent`` of what they do together


def profile(name: str, folder: Path) -> Profile:
    """Trains chunks of a preset with and without a trace, which stays in ``folder``.

    Args:
      name: a preset, and a kind of agent after it if not DQN: ``quick``, ``quick pqn``.
      folder: of the trace; TensorBoard and Perfetto read what is in it.
    """
    preset, _, kind = name.partition(" ")
    config = from_preset(preset, kind or "dqn")
    tell(f"{name}: compiling")
    training = chunk(config)
    timed(training.call, 1)
    segments = max(1, round(SECONDS / timed(training.call, 1)))
    options = ProfileOptions()
    options.python_tracer_level = 0  # the host only waits
    plain, traced = [], []
    for number in range(TRACES):
        tell(f"{name}: tracing", number, TRACES)
        plain.append(timed(training.call, segments))
        with jax.profiler.trace(str(folder / str(number)), profiler_options=options):
            traced.append(timed(training.call, segments))
        plain.append(timed(training.call, segments))
    tell(f"{name}: reading the trace")
    text = training.program.as_text() or ""
    events = read(folder / str(traced.index(min(traced))), module_of(text))
    iterations = segments * training.shape.per_segment
    known, devices = operations(text), count_shards(config)
    together = {name for name, operation in known.items() if operation.opcode.startswith("all-reduce")}
    shared = [event for event in events if event.operation in together]
    return Profile(iterations, devices, plain, traced, own_times(events), known, waited(shared, devices))


def timed(call: Any, segments: int) -> float:
    """Seconds that so many segments take."""
    began = time.perf_counter()
    jax.block_until_ready(call(segments))
    return time.perf_counter() - began


def module_of(text: str) -> str:
    """The name of a program, from its text: ``HloModule jit_chunk, ...``."""
    return text.split(None, 2)[1].rstrip(",")


def read(folder: Path, module: str) -> list[Event]:
    """The operations of program ``module`` in the newest trace below ``folder``.

    On a CPU they are among the events of the host's threads; a GPU has planes of its own, and what the host says of
    the same operations there is when they were launched.
    """
    newest = max(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    planes = list(ProfileData.from_file(str(newest)).planes)
    device = [events for plane in planes if plane.name.startswith("/device:") and (events := _of(plane, module))]
    return [event for events in device or (_of(plane, module) for plane in planes) for event in events]


def _of(plane: Any, module: str) -> list[Event]:
    found, lines = [], list(plane.lines)
    # Where a GPU's plane has a line of operations, other lines say the same once more, by kernel and by module.
    for line in [line for line in lines if line.name == "XLA Ops"] or lines:
        for event in line.events:
            stats = dict(event.stats)
            if "hlo_op" in stats and stats.get("hlo_module", module) == module:
                place = f"{plane.name} {line.name}"
                found.append(Event(place, event.start_ns, event.start_ns + event.duration_ns, stats["hlo_op"]))
    return found


def own_times(events: Iterable[Event]) -> dict[str, Spent]:
    """By operation the time that is its own: a loop holds what runs in it, which counts once, where it is."""
    spent: dict[str, Spent] = {}
    open_: list[Event] = []  # that hold the next event, outermost first
    for event in sorted(events, key=lambda event: (event.line, event.start, -event.end)):
        while open_ and (open_[-1].line != event.line or open_[-1].end <= event.start):
            open_.pop()
        if open_:
            outer = open_[-1]
            _add(spent, outer.operation, event.start - min(event.end, outer.end), 0)
        _add(spent, event.operation, event.end - event.start, 1)
        open_.append(event)
    return spent


def _add(spent: dict[str, Spent], operation: str, ns: float, times: int) -> None:
    before = spent.get(operation, Spent(0.0, 0))
    spent[operation] = Spent(before.ns + ns, before.times + times)


def waited(events: Iterable[Event], devices: int) -> float:
    """Nanoseconds in which one device waits for another, given what all devices do together.

    Nobody leaves before all have come, so that each run is as many events in a row as there are devices, and the one
    who came last has not waited.
    """
    by_name: dict[str, list[Event]] = {}
    for event in sorted(events, key=lambda event: event.start):
        by_name.setdefault(event.operation, []).append(event)
    lengths = [event.end - event.start for each in by_name.values() for event in each]
    runs = [lengths[first : first + devices] for first in range(0, len(lengths), devices)]
    return sum(sum(run) - len(run) * min(run) for run in runs)


def rows(found: Profile) -> list[dict[str, Any]]:
    """A row a part of the engine, the largest first: seconds of a chunk on each device, and what it consists of.

    What is left of the time is no operation: a device waits, or XLA goes from one operation to the next.
    """
    parts: dict[str, list[tuple[str, Spent]]] = {}
    for name, spent in found.spent.items():
        operation = found.known.get(name)
        parts.setdefault("unknown" if operation is None else operation.part, []).append((name, spent))
    each, whole = lambda ns: ns / 1e9 / found.devices, min(found.traced)
    table = []
    for part, members in parts.items():
        members.sort(key=lambda member: -member[1].ns)
        seconds = each(sum(spent.ns for _, spent in members) - (found.waited if part == AVERAGE else 0.0))
        largest = [
            {"name": name, "seconds": each(spent.ns), "times": round(spent.times / found.devices)}
            | {"is": found.known[name].result if name in found.known else ""}
            | {"from": found.known[name].source if name in found.known else ""}
            for name, spent in members[:SHOWN]
        ]
        times = round(sum(spent.times for _, spent in members) / found.devices)
        table.append(row(part, "s", [seconds], share=seconds / whole, times=times, largest=largest))
    if found.waited:
        seconds = each(found.waited)
        table.append(
            row("waiting for the other devices there", "s", [seconds], share=seconds / whole, times=0, largest=[])
        )
    table.sort(key=lambda line: -line["median"])
    rest = max(whole - sum(line["median"] for line in table), 0.0)
    table.append(row("not in any operation", "s", [rest], share=rest / whole, times=0, largest=[]))
    return table


def lines(name: str, found: Profile, table: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table for people; times in ms a chunk and device. Tracing slows small operations down the most."""
    plain, traced = min(found.plain), min(found.traced)
    told = [
        f"{name}: {found.iterations} iterations on {found.devices} devices take {1e3 * plain:.1f} ms at the fastest "
        f"(median {1e3 * statistics.median(found.plain):.1f}), under a trace {1e3 * traced:.1f} ms "
        f"({100 * (traced / plain - 1):+.0f} %)",
        f"{'':<74}{'ms':>9}{'share':>8}{'times':>9}",
    ]
    for line in table:
        told.append(f"{line['name']:<74}{1e3 * line['median']:>9.2f}{100 * line['share']:>7.1f}%{line['times']:>9}")
        told += [
            f"    {one['name'] + ' ' + one['is']:<49.49} {one['from']:<20.20}"
            f"{1e3 * one['seconds']:>9.2f}{100 * one['seconds'] / traced:>7.1f}%{one['times']:>9}"
            for one in line["largest"]
        ]
    return told


def write(name: str, folder: Path, about: Mapping[str, Any]) -> list[str]:
    """Profiles a preset into ``folder``: the trace, ``profile.txt``, ``profile.json``; the table."""
    found = profile(name, folder)
    table = rows(found)
    told = lines(name, found, table)
    times = [row("a chunk", "s", list(found.plain)), row("a chunk under a trace", "s", list(found.traced))]
    held = {"about": dict(about), "results": {f"profile {name}": [*times, *table]}}
    (folder / "profile.json").write_text(json.dumps(held, indent=1) + "\n")
    (folder / "profile.txt").write_text("\n".join(told) + "\n")
    return told
