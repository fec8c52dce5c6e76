"""Chunk after chunk until a run is done, stopped, or wrong."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.config import Hypers
from lepton_jax.engine import checkpoint
from lepton_jax.engine.folder import RunFolder, resume_command
from lepton_jax.engine.integrity import CheckpointError
from lepton_jax.engine.interrupts import Interrupted, Interrupts
from lepton_jax.engine.keeper import Keeper
from lepton_jax.engine.metrics import Episode, Event, Observer, Record, Troubles
from lepton_jax.engine.program import NEVER, Shape, State, clear_metrics, read_metrics
from lepton_jax.engine.shard import on_one

# Seconds of a chunk: short, so that a signal is soon heard; long, so that the host's part does not show.
CHUNK = 1.0


class Diverged(ValueError):
    """Numbers that went wrong. The message says where, and where the state is kept."""


class Progress(NamedTuple):
    """What the host knows of a run, as JSON."""

    segments: int = 0  # done
    seconds: float = 0.0  # of training, compile and evaluation apart
    score: tuple[float, ...] | None = None  # at the log point just reached; None between two
    best_score: tuple[float, ...] | None = None
    best_steps: int = 0  # env-steps after which the best policy was found

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Progress:
        """As it was before ``_asdict`` and JSON, which makes lists of tuples."""
        score = lambda name: None if values[name] is None else tuple(values[name])
        return cls(**{**values, "score": score("score"), "best_score": score("best_score")})


class Moment(NamedTuple):
    """A run between two chunks: all there is to save."""

    state: State
    best: Any  # the policy that did best in validation, in the host's memory
    progress: Progress


class Parts(NamedTuple):
    """What the loop works with."""

    shape: Shape
    chunk: Callable[[State, Hypers, Any], State]
    hypers: Hypers
    policy: Callable[[Any], Any]  # agent state -> policy
    validate: Callable[[Any], dict[str, float]]  # agent state -> figures
    latest: Callable[[State], tuple[Any, int, float]]
    episode: Callable[[State], Episode | None] | None
    folder: RunFolder
    record: Record
    keeper: Keeper
    about: Mapping[str, Any]  # JSON that every checkpoint says
    audience: Observer


def train(moment: Moment, parts: Parts) -> Moment:
    """Goes on from ``moment`` to the end of the run, which is saved.

    Raises:
      Interrupted: a signal came; the state was saved.
      Diverged: a metric, a parameter or a return is not finite.
      CheckpointError: the end could not be saved.
    """
    return _Loop(parts).run(moment)


def judge_first(moment: Moment, parts: Parts) -> Moment:
    """Validates and logs a policy that has not been trained yet, as log point 0; it is the first best one."""
    validation = parts.validate(on_one(moment.state.agent_state))
    event = Event(0, parts.shape.points, 0, 0, parts.shape.iterations * parts.shape.steps, 0.0, {}, validation)
    parts.record.append(event)
    parts.audience.update(event)
    return moment._replace(progress=moment.progress._replace(best_score=score_of(validation)))


class _Loop:
    def __init__(self, parts: Parts):
        self._parts = parts
        self._segment_seconds = 0.0
        self._troubles = Troubles(self._say, "training")

    def run(self, moment: Moment) -> Moment:
        shape, keeper = self._parts.shape, self._parts.keeper
        if moment.progress.segments == shape.segments:
            return moment
        with Interrupts(f"go on with: {resume_command(self._parts.folder.path)}") as interrupts:
            while moment.progress.segments < shape.segments:
                moment = self._advance(moment)
                segments = moment.progress.segments
                at_point = segments % shape.per_point == 0
                event = None
                if at_point:
                    moment, event = self._log(moment)
                # Read once: a signal from here on waits for the next chunk, so that whoever stops has been saved.
                done, asked = segments == shape.segments, interrupts.asked
                if not keeper.writing():
                    self._troubles.tell("checkpoints", keeper.problem())
                if done or asked or keeper.due(segments * shape.per_segment, at_point):
                    self._save(moment)
                if event is not None:
                    self._parts.audience.update(event)
                else:
                    self._parts.audience.advance(segments * shape.per_segment * shape.steps, moment.progress.seconds)
                if asked:
                    raise Interrupted(self._farewell(moment, keeper.problem()), asked)
            if (problem := keeper.problem()) is not None:
                raise CheckpointError(f"{problem}. {self._way_on()}")
        return moment

    def _advance(self, moment: Moment) -> Moment:
        """A chunk, and whether its numbers are finite."""
        shape, progress = self._parts.shape, moment.progress
        count = 1 if not self._segment_seconds else round(CHUNK / self._segment_seconds)
        count = min(count, shape.per_point - progress.segments % shape.per_point)
        if (until := self._parts.keeper.until(progress.segments * shape.per_segment)) is not None:
            count = min(count, math.ceil(until / shape.per_segment))
        count = max(count, 1)
        began, expected = time.perf_counter(), count * self._segment_seconds
        state = self._parts.chunk(moment.state, self._parts.hypers, np.int32(count))
        seconds = wait_for(state.clock, began, expected)
        self._segment_seconds = seconds / count
        progress = progress._replace(segments=progress.segments + count, seconds=progress.seconds + seconds, score=None)
        moment = moment._replace(state=state, progress=progress)
        if int(state.bad) != NEVER:
            self._refuse(moment, {})
        return moment

    def _log(self, moment: Moment) -> tuple[Moment, Event]:
        """Reads metrics, validates, keeps the best policy, writes the lines of this log point."""
        parts, shape, progress = self._parts, self._parts.shape, moment.progress
        metrics = read_metrics(moment.state, shape.per_point)
        agent_state = on_one(moment.state.agent_state)
        validation = parts.validate(agent_state)
        figures = metrics | {f"validation/{name}": value for name, value in validation.items()}
        if not _finite(figures.values()) or first_bad_leaf(agent_state):
            self._refuse(moment, figures)
        steps = progress.segments * shape.per_segment * shape.steps
        score, best = score_of(validation), moment.best
        progress = progress._replace(score=score)
        if progress.best_score is None or score > progress.best_score:
            progress = progress._replace(best_score=score, best_steps=steps)
            best = checkpoint.to_host(parts.policy(agent_state))
        moment = Moment(clear_metrics(moment.state), best, progress)
        event = Event(
            number=progress.segments // shape.per_point,
            of=shape.points,
            iteration=progress.segments * shape.per_segment,
            env_steps=steps,
            of_env_steps=shape.iterations * shape.steps,
            seconds=progress.seconds,
            metrics=metrics,
            validation=validation,
            latest=partial(parts.latest, moment.state),
            episode=None if parts.episode is None else partial(parts.episode, moment.state),
        )
        self._troubles.tell("metrics", parts.record.append(event))
        return moment, event

    def _save(self, moment: Moment) -> None:
        # One at a time: where the disk is slower than the cadence, training waits, and nothing piles up in memory.
        self._troubles.tell("checkpoints", self._parts.keeper.problem())
        iteration = moment.progress.segments * self._parts.shape.per_segment
        tree = {"state": moment.state, "best": moment.best}
        self._parts.keeper.save(iteration, tree, self._about(moment), self._parts.record.texts)

    def _about(self, moment: Moment) -> dict[str, Any]:
        shape, progress = self._parts.shape, moment.progress
        iteration = progress.segments * shape.per_segment
        position = {"iteration": iteration, "env_steps": iteration * shape.steps, "of": shape.iterations * shape.steps}
        return position | {"score": progress.score, "progress": progress._asdict()} | dict(self._parts.about)

    def _say(self, text: str) -> None:
        self._parts.audience.notice(text)

    def _refuse(self, moment: Moment, figures: Mapping[str, float]) -> NoReturn:
        """Keeps the state for inspection and raises Diverged."""
        parts, shape, progress = self._parts, self._parts.shape, moment.progress
        here = progress.segments * shape.per_segment
        first = min(int(moment.state.bad), here)
        sums = {name: float(value) for name, value in moment.state.sums.items()}
        wrong = [name for name, value in {**sums, **figures}.items() if not math.isfinite(value)]
        leaf = first_bad_leaf(on_one(moment.state.agent_state))
        what = ", ".join(filter(None, (*wrong, leaf and f"parameter leaf {leaf}")))
        folder = parts.folder.failed / f"{here:09d}"
        try:
            checkpoint.write(
                folder, checkpoint.to_host({"state": moment.state, "best": moment.best}), self._about(moment)
            )
            kept = f"the state is kept for inspection: python -m lepton_jax.inspect {folder}"
        except CheckpointError as error:
            kept = str(error)
        self._parts.keeper.problem()
        raise Diverged(
            f"iteration {first:,} ({first * shape.steps:,} env-steps): not finite: {what}; {kept}. {self._way_on()}. "
            "A smaller agent.lr or agent.max_grad_norm is the usual cure"
        )

    def _way_on(self) -> str:
        """Where the last good checkpoint is and how to go on from it."""
        saved = self._parts.folder.saved()
        if not saved:
            return "There is no checkpoint yet"
        return f"The last good checkpoint is {saved[0]}; go on from it with: {resume_command(self._parts.folder.path)}"

    def _farewell(self, moment: Moment, problem: str | None) -> str:
        shape = self._parts.shape
        steps = moment.progress.segments * shape.per_segment * shape.steps
        stopped = f"stopped at {steps:,} of {shape.iterations * shape.steps:,} env-steps"
        if problem is not None:
            return f"{stopped}, but not saved: {problem}. {self._way_on()}"
        return f"{stopped}; go on with: {resume_command(self._parts.folder.path)}"


def wait_for(array: Any, began: float, expected: float) -> float:
    """Waits for a chunk in such a way that a second signal is heard within a tenth of a second.

    Args:
      array: a jax array of what the chunk returns.
      began: the ``time.perf_counter`` at which it was called.
      expected: seconds it will take, as far as known.

    Returns:
      The seconds it took.
    """
    while not array.is_ready():
        time.sleep(min(max((expected - (time.perf_counter() - began)) / 2, 0.001), 0.1))
    return time.perf_counter() - began


def score_of(figures: Mapping[str, float]) -> tuple[float, ...]:
    """What "best" means: success, then path length, where the world knows success; else mean return."""
    names = ("success_rate", "spl") if "success_rate" in figures else ("mean_return",)
    return tuple(figures[name] for name in names)


def _finite(values: Iterable[float]) -> bool:
    return all(map(math.isfinite, values))


def first_bad_leaf(agent_state: Any) -> str | None:
    """The first leaf that holds a NaN or an infinity, and how many of them; None if all are finite."""
    for name, leaf in checkpoint.names(jax.device_get(agent_state)).items():
        if jnp.issubdtype(leaf.dtype, jnp.floating) and not np.isfinite(leaf).all():
            return f"agent_state/{name} ({np.sum(~np.isfinite(leaf))} of {leaf.size} elements)"
    return None
