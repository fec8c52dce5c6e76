"""The lines that a group of lanes leaves: how each lane did at each evaluation, how it ended, and how long it took."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lepton_jax.engine.folder import Journal
from lepton_jax.engine.metrics import Troubles, to_json
from lepton_jax.scale.ledger import Seat
from lepton_jax.scale.plan import GroupPlan

NAMES = ("rows.jsonl", "lanes.jsonl", "timing.jsonl")


class Journals:
    """``rows.jsonl``, ``lanes.jsonl`` and ``timing.jsonl``; what the disk refuses waits for the next line."""

    def __init__(self, plan: GroupPlan, folder: Path, texts: Mapping[str, str], troubles: Troubles):
        """Begins all three anew, with the ``texts`` of a checkpoint."""
        self._plan, self._troubles = plan, troubles
        self._files = {name: Journal(folder / name, texts[name]) for name in NAMES}

    @property
    def texts(self) -> dict[str, str]:
        """All lines so far, by file."""
        return {name: journal.text for name, journal in self._files.items()}

    def evaluated(self, lane: int, points: int, levels: str, policy: str, figures: Mapping[str, float]) -> None:
        """A lane's policy of log point number ``points`` was judged on some levels."""
        iteration = self._plan.iterations_at(points)
        place = {"iteration": iteration, "env_steps": iteration * self._plan.shape.steps}
        number = {"lane": self._plan.lanes[lane].number}
        self._append("rows.jsonl", number | place | {"levels": levels, "policy": policy} | dict(figures))

    def ended(self, lane: int, seat: Seat, reason: str | None, iterations: int) -> None:
        """A lane has left its place after so many iterations."""
        steps, best = self._plan.shape.steps, self._plan.iterations_at(seat.best_points)
        line = {"lane": self._plan.lanes[lane].number, "status": seat.status, "reason": reason}
        self._append("lanes.jsonl", line | {"env_steps": iterations * steps, "best_env_steps": best * steps})

    def took(self, segments: int, seconds: float, lanes: int) -> None:
        """So many segments of the group were trained in so many seconds; so many lanes are running."""
        self._append("timing.jsonl", {"segments": segments, "lanes": lanes, "seconds": seconds})

    def flush(self) -> None:
        """Writes what waits; OSError if that cannot be done."""
        for journal in self._files.values():
            journal.flush()

    def _append(self, name: str, line: dict[str, Any]) -> None:
        try:
            self._files[name].append(to_json(line))
            self._troubles.tell("results", None)
        except OSError as error:
            self._troubles.tell("results", f"{name}: {error.strerror}")
