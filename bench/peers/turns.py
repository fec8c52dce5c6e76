"""All sides in one run: started, prepared, and then taking turns, A B C A B C, one working while the others wait."""

from __future__ import annotations

import contextlib
import json
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.measure import tell
from bench.peers.places import Place
from bench.peers.registry import SIDES

_WIRE = Path(__file__).parent / "wire.py"


class Lost(RuntimeError):
    """A side that gives no answer; says why."""


class Side:
    """A worker in its process."""

    def __init__(self, place: Place, script: str | Path):
        """Starts it. ``script``: a file, or the name of one of ``SIDES``."""
        self._process = subprocess.Popen(
            [str(place.python), str(_WIRE), str(SIDES / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(place),
        )
        assert self._process.stderr is not None
        self._stderr, self._errors = self._process.stderr.fileno(), b""
        os.set_blocking(self._stderr, False)

    def ask(self, request: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """An answer.

        Raises:
          Lost: it died, gave no answer in ``timeout`` seconds, or says that it cannot. It works no more then, since
            all others would be timed beside it.
        """
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        except OSError:
            raise Lost(self._last_words()) from None
        line, ends = "", time.monotonic() + timeout
        # stderr is emptied meanwhile: a full pipe would stop the worker.
        while not line:
            left = ends - time.monotonic()
            if left <= 0:
                process.kill()
                raise Lost(f"no answer in {timeout:g} s")
            ready, _, _ = select.select([process.stdout, self._stderr], [], [], left)
            if self._stderr in ready:
                self._drain()
            if process.stdout in ready:
                line = process.stdout.readline()
                if not line:
                    raise Lost(self._last_words())
            elif process.poll() is not None:
                raise Lost(self._last_words())
        try:
            answer = json.loads(line)
        except ValueError:
            process.kill()
            raise Lost(f"no answer but {line.strip()[:80]!r}") from None
        if "error" in answer:
            raise Lost(answer["error"])
        return answer

    def close(self) -> None:
        """Ends it."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._errors = (self._errors + os.read(self._stderr, 65536))[-20_000:]

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        with contextlib.suppress(OSError, ValueError):
            while part := os.read(self._stderr, 65536):
                self._errors += part
        lines = [line for line in self._errors.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else f"it ended with status {self._process.returncode}"


def environment(place: Place) -> dict[str, str]:
    """The variables of a worker: those of this process, less what would reach into its environment or favour a side.

    Only workers in the environment of the engine find the project. All run on the processor, none keeps programs.
    """
    root = str(Path(__file__).parents[2])
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "XLA_FLAGS")}
    if place.python == Path(sys.executable):
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    kept |= {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"}
    kept |= {"JAX_NUM_CPU_DEVICES": str(place.devices)}
    return kept | ({"NPROC": str(place.threads)} if place.threads else {})


class Timed(NamedTuple):
    """What became of one side at one task."""

    name: str
    reason: str = ""  # why there is no figure
    rates: tuple[float, ...] = ()  # units of work a second, a repetition each
    preparing: float | None = None  # seconds: starting, compiling and the first call
    about: Mapping[str, Any] = {}
    checks: tuple[Mapping[str, Any], ...] = ()  # of each repetition, what was done up to its end

    @property
    def check(self) -> Mapping[str, Any]:
        """Of the last repetition."""
        return self.checks[-1] if self.checks else {}

    @property
    def median(self) -> float | None:
        return statistics.median(self.rates) if self.rates else None


def interleave(
    sides: Mapping[str, tuple[Place, str | Path, Mapping[str, Any]]], rounds: int, timeout: float = 600.0, warm: int = 1
) -> list[Timed]:
    """Times the sides in turn.

    Args:
      sides: by name: where it runs, its script, its task.
      rounds: measured repetitions, after ``warm`` that are not.
      timeout: seconds for one answer.

    Returns:
      One for each side, in order; of a side that failed, why.
    """
    told = {name: Timed(name) for name in sides}
    with contextlib.ExitStack() as stack:
        running: dict[str, Side] = {}
        for name, (place, script, task) in sides.items():
            if place.python is None:
                told[name] = Timed(name, place.reason)
                continue
            tell(f"{name}: preparing")
            with _lost(told, name):
                side = Side(place, script)
                stack.callback(side.close)
                about = side.ask({"prepare": dict(task)}, timeout)
                told[name] = Timed(name, preparing=about.pop("seconds"), about=about)
                running[name] = side
        for number in range(rounds + warm):
            for count, (name, side) in enumerate(list(running.items())):
                tell(name, number * len(running) + count, (rounds + warm) * len(running))
                with _lost(told, name):
                    answer = side.ask({"go": True}, timeout)
                    if number >= warm:
                        rates = (*told[name].rates, answer["work"] / answer["seconds"])
                        told[name] = told[name]._replace(rates=rates, checks=(*told[name].checks, answer["check"]))
                if told[name].reason:
                    del running[name]
    return list(told.values())


@contextlib.contextmanager
def _lost(told: dict[str, Timed], name: str) -> Iterator[None]:
    """Keeps why a side was lost."""
    try:
        yield
    except Lost as reason:
        told[name] = Timed(name, str(reason))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Ours over theirs: of the medians, and the least and the greatest over the rounds, each against its neighbour."""
    each = [a / b for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(ours) / statistics.median(theirs), min(each), max(each)
