"""One group of a sweep, from its first lane to its last: seat, train, judge, decide; a folder is what stays."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lepton_jax.config import CheckpointConfig
from lepton_jax.engine import checkpoint, integrity
from lepton_jax.engine.folder import RunFolder, put
from lepton_jax.engine.integrity import CheckpointError
from lepton_jax.engine.interrupts import Interrupted, Interrupts
from lepton_jax.engine.keeper import Keeper
from lepton_jax.engine.loop import CHUNK, first_bad_leaf, score_of
from lepton_jax.engine.metrics import Troubles, to_json
from lepton_jax.engine.program import NEVER, TOTALS
from lepton_jax.scale.axes import Halving
from lepton_jax.scale.halving import judge, reason, rungs
from lepton_jax.scale.journals import NAMES, Journals
from lepton_jax.scale.ledger import Ledger, Score
from lepton_jax.scale.machine import Machine, Places, Reading
from lepton_jax.scale.plan import GroupPlan
from lepton_jax.scale.standing import standing_of
from lepton_jax.scale.sweep_folder import DONE


class Rules(NamedTuple):
    """What a sweep asks of all its groups."""

    pools: str
    halving: Halving | None
    checkpoint: CheckpointConfig
    way_on: str  # how to go on with the sweep


class Group:
    """A group about to start, or to go on from its newest intact checkpoint. Call ``run`` once."""

    def __init__(
        self,
        plan: GroupPlan,
        rules: Rules,
        folder: Path,
        scores: Mapping[int, Sequence[Score]],
        said: Callable[[str], None],
    ):
        """
        Args:
          plan: of this group.
          rules: of the sweep.
          folder: the group's; made if it is not there.
          scores: at each rung, of the groups before.
          said: told what a person should know, such as a checkpoint that failed.

        Raises:
          CheckpointError: there are checkpoints, but none of them is intact.
        """
        self._plan, self._rules, self._said = plan, rules, said
        self._folder = RunFolder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._machine = Machine(plan, rules.pools == "shared")
        self._agent = plan.setup.agent
        self._rungs = rungs(plan.shape.points, rules.halving) if rules.halving else ()
        self._segment_seconds = 0.0
        self._troubles = Troubles(said, "the sweep")
        blank = lambda leaf: np.zeros((len(plan.lanes), *leaf.shape), leaf.dtype)
        self._best, self._final = (jax.tree.map(blank, self._machine.policy_shapes) for _ in range(2))
        self.ledger = Ledger.new(len(plan.lanes), plan.lift.places, scores)
        point = self._newest()
        texts = {name: (point / name).read_text(encoding="utf-8") if point else "" for name in NAMES}
        if point is not None:
            self._go_on_from(point)
        self._compiled_before = self.ledger.compile_seconds
        self._journals = Journals(plan, folder, texts, self._troubles)
        self._keeper = Keeper(self._folder, rules.checkpoint, self._iteration)

    def run(self, interrupts: Interrupts, told: Callable[[], None]) -> None:
        """Runs all lanes to their ends, and leaves the policies of all. ``told`` is called after each chunk.

        Raises:
          Interrupted: a signal came; the running lanes were saved.
          CheckpointError: the end could not be saved.
        """
        self._seat()
        while self.ledger.running:
            self._advance()
            at_point = self.ledger.within == self._plan.shape.per_point
            if at_point:
                self._at_point()
                self._seat()
            asked, running = interrupts.asked, bool(self.ledger.running)
            if not self._keeper.writing():
                self._troubles.tell("checkpoints", self._keeper.problem())
            if running and (asked or self._keeper.due(self._iteration, at_point)):
                self._save()
            self.ledger.compile_seconds = self._compiled_before + self._machine.compile_seconds
            told()
            if asked and running:
                problem = self._keeper.problem()
                lost = "" if problem is None else f"; what came after the last checkpoint was not saved: {problem}"
                raise Interrupted(f"stopped{lost}; {self._rules.way_on}", asked)
        self._end()

    @property
    def _iteration(self) -> int:
        return self.ledger.segments * self._plan.shape.per_segment

    def _seat(self) -> None:
        """Lanes that wait take the free places."""
        if given := self.ledger.seat_waiting():
            self._machine.seat(given, self.ledger.running)
            _copy(self._machine.policies(), given, self._best)
            if self._plan.grafts is not None:
                self._judge_first(given)

    def _judge_first(self, given: Places) -> None:
        """What grafts are worth before any update, as log point 0; they are the first best policies."""
        for place, figures in self._machine.judge("validation", given).items():
            lane = given[place]
            self._journals.evaluated(lane, 0, "validation", "current", figures)
            self.ledger.seats[lane].best_score = score_of(figures)

    def _advance(self) -> None:
        """A chunk of every running lane."""
        ledger, shape = self.ledger, self._plan.shape
        count = 1 if not self._segment_seconds else round(CHUNK / self._segment_seconds)
        count = min(count, shape.per_point - ledger.within)
        if (until := self._keeper.until(self._iteration)) is not None:
            count = min(count, math.ceil(until / shape.per_segment))
        count = max(count, 1)
        seconds = self._machine.advance(ledger.running, count, count * self._segment_seconds)
        self._segment_seconds = seconds / count
        ledger.seconds += seconds
        ledger.within += count
        ledger.segments += count

    def _at_point(self) -> None:
        """All lanes are at a log point: writes how each has done, and sees off those that end here."""
        ledger, shape = self.ledger, self._plan.shape
        reading = self._machine.read()
        for lane in ledger.running.values():
            ledger.seats[lane].points += 1
        ends = {place: ("failed", why) for place in ledger.running if (why := self._wrong(place, reading)) is not None}
        good = {place: lane for place, lane in ledger.running.items() if place not in ends}
        figures = self._machine.judge("validation", good)
        for place in list(good):
            if wrong := [name for name, value in figures[place].items() if not math.isfinite(value)]:
                age = self._plan.iterations_at(ledger.seats[good.pop(place)].points)
                ends[place] = ("failed", self._not_finite(age, wrong))
        for place, lane in _by_lane(good):
            of = lambda name, value: float(value) if name in TOTALS else float(value) / shape.per_point
            metrics = {name: of(name, values[place]) for name, values in reading.sums.items()}
            points = ledger.seats[lane].points
            self._journals.evaluated(lane, points, "validation", "current", metrics | figures[place])
        scores = {place: score_of(figures[place]) for place in good}
        self._keep_best(good, scores)
        ends |= {place: ("finished", None) for place, lane in good.items() if ledger.seats[lane].points == shape.points}
        ends |= self._halve({place: lane for place, lane in good.items() if place not in ends}, scores)
        self._see_off(ends, reading)
        self._machine.clear()
        ledger.within = 0
        self._journals.took(ledger.segments, ledger.seconds, len(ledger.running))

    def _keep_best(self, good: Places, scores: Mapping[int, Score]) -> None:
        better = {}
        for place, lane in good.items():
            seat = self.ledger.seats[lane]
            seat.score = scores[place]
            if seat.best_score is None or scores[place] > seat.best_score:
                seat.best_score, seat.best_points = scores[place], seat.points
                better[place] = lane
        if better:
            _copy(self._machine.policies(), better, self._best)

    def _halve(self, good: Places, scores: Mapping[int, Score]) -> dict[int, tuple[str, str]]:
        """Of the lanes at a rung, those that end there, and why."""
        ends: dict[int, tuple[str, str]] = {}
        if self._rules.halving is None:
            return ends
        for number, rung in enumerate(self._rungs):
            here = {place: lane for place, lane in _by_lane(good) if self.ledger.seats[lane].points == rung}
            if not here:
                continue
            before = self.ledger.rungs.setdefault(number, [])
            verdicts = judge(before, {lane: scores[place] for place, lane in here.items()}, self._rules.halving.eta)
            for place, lane in here.items():
                if not verdicts[lane].goes_on:
                    ends[place] = ("stopped", reason(number, verdicts[lane]))
            before += [scores[place] for place in here]
        return ends

    def _see_off(self, ends: Mapping[int, tuple[str, str | None]], reading: Reading) -> None:
        """Keeps the policies of the lanes that end, tests them, and frees their places."""
        if not ends:
            return
        there = {place: lane for place, lane in self.ledger.running.items() if place in ends}
        sound = {place: lane for place, lane in there.items() if ends[place][0] != "failed"}
        _copy(self._machine.policies(), there, self._final)
        best = jax.tree.map(lambda leaf: np.zeros((self._plan.lift.places, *leaf.shape[1:]), leaf.dtype), self._best)
        _copy(self._best, {lane: place for place, lane in sound.items()}, best)
        for policy, policies in (("final", None), ("best", best)):
            figures = self._machine.judge("test", sound, policies)
            errors = self._machine.q_error("test", sound, policies)
            for place, lane in _by_lane(sound):
                error = {"q_error": errors[place]} if place in errors else {}
                seat = self.ledger.seats[lane]
                points = seat.best_points if policy == "best" else seat.points
                self._journals.evaluated(lane, points, "test", policy, figures[place] | error)
        for place, lane in _by_lane(there):
            status, why = ends[place]
            self.ledger.leave(place, status)
            seat = self.ledger.seats[lane]
            iterations = min(int(reading.bad[place]), self._plan.iterations_at(seat.points))
            self._journals.ended(lane, seat, why, iterations)

    def _wrong(self, place: int, reading: Reading) -> str | None:
        """Why the lane in ``place`` has failed; None if it has not."""
        if reading.bad[place] == NEVER and reading.sound[place]:
            return None
        age = self._plan.iterations_at(self.ledger.seats[self.ledger.running[place]].points)
        names = [name for name, values in reading.sums.items() if not math.isfinite(values[place])]
        leaf = first_bad_leaf(self._machine.agent_state(place))
        return self._not_finite(min(int(reading.bad[place]), age), [*names, *([leaf] if leaf else [])])

    def _not_finite(self, iteration: int, names: Sequence[str]) -> str:
        steps = iteration * self._plan.shape.steps
        return f"iteration {iteration:,} ({steps:,} env-steps): not finite: {', '.join(names)}"

    def _save(self) -> None:
        # One at a time: where the disk is slower than the cadence, the lanes wait, and nothing piles up in memory.
        self._troubles.tell("checkpoints", self._keeper.problem())
        tree = self._machine.take_down(self.ledger.running) | {"best": self._best, "final": self._final}
        about = {
            "iteration": self._iteration,
            "env_steps": standing_of(self._plan, self.ledger).env_steps,
            "env_steps_each_point": self._plan.iterations_at(1) * self._plan.shape.steps,
            "env_steps_within": self.ledger.within * self._plan.shape.per_segment * self._plan.shape.steps,
            "score": None,
            "ledger": self.ledger.to_json(),
        }
        about |= {"graft": self._plan.grafts.about} if self._plan.grafts else {}
        self._keeper.save(self._iteration, tree, about, self._journals.texts)

    def _newest(self) -> Path | None:
        """The newest intact checkpoint; None if there never was one."""
        saved = self._folder.saved()
        point, problems = integrity.newest_intact(saved)
        if saved and point is None:
            raise CheckpointError(
                f"{'; '.join(problems)}; no checkpoint of {self._folder.path} is intact: to run its lanes again from "
                f"the beginning, remove {self._folder.checkpoints} and resume"
            )
        for problem in problems:
            self._said(f"{problem}; going on from {point}")
        integrity.set_aside(saved[: saved.index(point)] if point else [])
        return point

    def _go_on_from(self, point: Path) -> None:
        ledger = Ledger.from_json(checkpoint.describe(point)["ledger"])
        like = self._machine.like(ledger.running) | {"best": self._best, "final": self._final}
        # Into the host's memory: on one device the lanes of all would not fit.
        host = jax.sharding.SingleDeviceSharding(jax.local_devices(backend="cpu")[0])
        tree, _ = checkpoint.read(point, like, jax.tree.map(lambda _: host, like))
        self._machine.put_up(tree, ledger.running)
        self._best, self._final = checkpoint.to_host(tree["best"]), checkpoint.to_host(tree["final"])
        self.ledger = ledger

    def _end(self) -> None:
        """Leaves the policies and the ledger; the checkpoints have become useless."""
        self._keeper.problem()  # waits for the last one
        self._journals.flush()
        lanes = [lane.number for lane in self._plan.lanes]
        steps = lambda points: self._plan.iterations_at(points) * self._plan.shape.steps
        seats = self.ledger.seats
        for name, stack, ages in (
            ("final", self._final, [steps(seat.points) for seat in seats]),
            ("best", self._best, [steps(seat.best_points) for seat in seats]),
        ):
            about = {"env_steps": max(ages), "lanes": lanes, "env_steps_of_lanes": ages}
            checkpoint.write(self._folder.policy(name), stack, about, lanes=len(lanes))
        put(self._folder.path / DONE, to_json(self.ledger.to_json()) + "\n")
        shutil.rmtree(self._folder.checkpoints, ignore_errors=True)


def _by_lane(places: Places) -> list[tuple[int, int]]:
    return sorted(places.items(), key=lambda item: item[1])


def _copy(source: Any, rows: Mapping[int, int], into: Any) -> None:
    """Copies rows of stacked arrays: from each key of ``rows`` to its value."""

    def copy(source: np.ndarray, into: np.ndarray) -> None:
        into[list(rows.values())] = source[list(rows)]

    jax.tree.map(copy, source, into)
