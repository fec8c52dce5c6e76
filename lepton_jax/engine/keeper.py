"""When a run is saved, and which of its checkpoints are kept."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lepton_jax.config import CheckpointConfig
from lepton_jax.engine import checkpoint, integrity
from lepton_jax.engine.folder import RunFolder
from lepton_jax.engine.integrity import CheckpointError


class Keeper:
    """Writes the checkpoints of a run in a thread of its own, one at a time, and clears away those not kept."""

    def __init__(self, folder: RunFolder, config: CheckpointConfig, iteration: int):
        self._folder, self._config = folder, config
        self._last, self._when = iteration, time.monotonic()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        for leftover in (*folder.checkpoints.glob(".writing-*"), *folder.checkpoints.glob(".old-*")):
            shutil.rmtree(leftover, ignore_errors=True)

    def until(self, iteration: int) -> int | None:
        """Iterations until the next checkpoint; None if that is a matter of time."""
        every = self._config.every_iterations
        return max(1, self._last + every - iteration) if every else None

    def due(self, iteration: int, at_point: bool) -> bool:
        """Whether a checkpoint should be made now.

        By time, one waits for a log point, where it has a score, but not for more than as long again.
        """
        if self._config.every_iterations:
            return iteration - self._last >= self._config.every_iterations
        if self.writing():
            return False
        age, every = time.monotonic() - self._when, self._config.every_seconds
        return age >= (every if at_point else 2 * every)

    def save(self, iteration: int, tree: Any, about: Mapping[str, Any], texts: Mapping[str, str]) -> None:
        """Copies ``tree`` and has it written. Ask for the ``problem`` of the one before first."""
        self._last, self._when = iteration, time.monotonic()
        self._writing = self._thread.submit(
            self._write, self._folder.checkpoint(iteration), checkpoint.to_host(tree), dict(about), dict(texts)
        )

    def writing(self) -> bool:
        """Whether a checkpoint is being written."""
        return self._writing is not None and not self._writing.done()

    def problem(self) -> str | None:
        """Waits for the checkpoint being written; what went wrong with the last one, or None."""
        try:
            if self._writing is not None:
                self._writing.result()
        except CheckpointError as error:
            return str(error)
        return None

    def _write(self, path: Path, tree: Any, about: dict[str, Any], texts: dict[str, str]) -> None:
        checkpoint.write(path, tree, about, texts)
        saved = self._folder.saved()
        for old in set(saved) - kept(saved, self._config.latest, self._config.best):
            integrity.remove(old)


def kept(saved: Sequence[Path], latest: int, best: int) -> set[Path]:
    """Of the checkpoints ``saved``, newest first: the ``latest`` newest and the ``best`` best, of equals the oldest."""
    scores = [(score, -int(path.name), path) for path in saved if (score := _score(path)) is not None]
    ranked = sorted(scores, key=lambda entry: entry[:2], reverse=True)
    return {*saved[:latest], *(path for _, _, path in ranked[:best])}


def _score(path: Path) -> tuple[float, ...] | None:
    try:
        score = checkpoint.describe(path)["score"]
    except CheckpointError:
        return None
    return None if score is None else tuple(score)
