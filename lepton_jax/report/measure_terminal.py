"""What a person sees of a measurement in the terminal: one bar over all its sources and arms."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from lepton_jax.report import live
from lepton_jax.report.live import number
from lepton_jax.report.sweep_terminal import Quiet, lanes
from lepton_jax.report.terminal import left
from lepton_jax.scale.conduct import Watcher
from lepton_jax.scale.design import Sweep
from lepton_jax.scale.plan import GroupPlan
from lepton_jax.scale.standing import Standing
from lepton_jax.transfer.pairs import PAIRS


def parts_of(pair: str) -> dict[str, int]:
    """Env-steps of each source and arm of a pair, one seed, by the names that ``transfer.measure`` calls them."""
    told = PAIRS[pair]
    arms = {name: told.target_steps + (told.source_steps if arm.long else 0) for name, arm in told.arms.items()}
    return {f"source {name}": told.source_steps for name in told.sources} | arms


class Overview:
    """A context manager, which gives the terminal back. Counts what is done, whenever it was done."""

    def __init__(self, kind: str, seeds: Mapping[str, int], console: Any = None):
        """
        Args:
          kind: of the display: auto, plain or quiet.
          seeds: how many, of each pair that is to be measured, in order.
          console: a rich Console; by default the terminal.
        """
        self._kind = live.chosen(kind)
        self._steps = {
            (pair, part): count * steps for pair, count in seeds.items() for part, steps in parts_of(pair).items()
        }
        self._finished = 0.0  # env-steps of parts that are over
        self._found = 0.0  # of them, and of the part that runs, those that an earlier session did
        self._began = time.monotonic()
        self._screen = live.Screen(console) if self._kind == "live" else None

    def __enter__(self) -> Overview:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._screen is not None:
            self._screen.stop()

    def watch(self, pair: str, part: str) -> list[Watcher]:
        """Who watches a source or an arm."""
        return [_Part(self, pair, part)]

    def began(self, pair: str, part: str) -> None:
        """A part begins; it compiles first."""
        if self._kind == "plain":
            print(f"  {part} ({self._place(pair, part)}), {self._left(self._finished)} left ...", flush=True)
        self._show(pair, part, 0.0, {"lanes": "compiling ..."}, [])

    def goes(self, pair: str, part: str, standing: Standing, found: float, means: Sequence[float]) -> None:
        """So much of a part is done.

        Args:
          standing: of its lanes.
          found: share of it that was done before this session.
          means: mean score of all lanes at each log point seen.
        """
        steps = self._steps[pair, part]
        told = {"lanes": lanes(standing), "speed": live.rate(standing.env_steps, standing.seconds)}
        told |= {"score": f"{number(means[-1])}, mean of all lanes on validation levels"} if means else {}
        self._show(pair, part, standing.done / standing.of, told, means, found * steps)

    def over(self, pair: str, part: str, found: float) -> None:
        """A part has ended; ``found``: the share that was done before this session."""
        self._finished += self._steps[pair, part]
        self._found += found * self._steps[pair, part]

    def _show(
        self, pair: str, part: str, share: float, told: Mapping[str, str], means: Sequence[float], found: float = 0.0
    ) -> None:
        if (screen := self._screen) is None:
            return
        done = self._finished + share * self._steps[pair, part]
        total = sum(self._steps.values())
        text = f"{self._left(done, found)} left"
        shown = {"now": f"{pair}: {part}, {self._place(pair, part)}", **told}
        curve = [live.curve(means, 40, screen.ascii, min(0.0, *means), max(1.0, *means))] if len(means) > 1 else []
        screen.show(lambda: live.stacked([live.head(done, total, text), "", live.facts(shown), *curve]))

    def _place(self, pair: str, part: str) -> str:
        return f"{list(self._steps).index((pair, part)) + 1} of {len(self._steps)}"

    def _left(self, done: float, found: float = 0.0) -> str:
        """Time left, by the clock: compiling and evaluating take their part of it."""
        here = done - self._found - found
        return left(here, here + sum(self._steps.values()) - done, time.monotonic() - self._began)


class _Part(Quiet):
    """Watches one source or arm."""

    def __init__(self, whole: Overview, pair: str, part: str):
        self._whole, self._pair, self._part = whole, pair, part
        self._found: float | None = None
        self._means: list[float] = []
        self._points = 0

    def begin(self, sweep: Sweep, plan: Sequence[GroupPlan]) -> None:
        self._lanes = len(sweep.lanes)
        self._whole.began(self._pair, self._part)

    def update(self, standing: Standing) -> None:
        if self._found is None:  # after the first chunk, which is short
            self._found = standing.done / standing.of
        if len(standing.scored) == self._lanes and (least := min(s.points for s in standing.scored)) > self._points:
            self._points = least
            self._means.append(sum(scored.score[0] for scored in standing.scored) / self._lanes)
        self._whole.goes(self._pair, self._part, standing, self._found, self._means)

    def end(self, summary: Mapping[str, Any] | None) -> None:
        self._whole.over(self._pair, self._part, 1.0 if self._found is None else self._found)
