"""Sends what a run tells to TensorBoard and to Weights & Biases. Each is imported when a run begins to use it."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lepton_jax.config import Config
from lepton_jax.engine.folder import put
from lepton_jax.engine.launch import runnable
from lepton_jax.engine.metrics import FIGURES, RECORDED, Event, Observer, lines_of
from lepton_jax.settings import flat

# Of a line of metrics.jsonl, what says where it belongs.
_PLACE = ("iteration", "env_steps")


def make_trackers(names: Sequence[str]) -> list[Observer]:
    """The trackers that ``Config.track`` names, each once."""
    known = {"tensorboard": TensorBoard, "wandb": WandB}
    return [known[name]() for name in dict.fromkeys(names)]


class Tracker(Observer):
    """What trackers share: a point for each log point, by env-steps, none twice however often the run goes on.

    What a run has told before, tracked or not, is read from its folder, so that its curves are whole.
    """

    def begin(self, config: Config, about: dict[str, Any]) -> None:
        folder = Path(about["folder"])
        since = self._open(config, folder, about["resumed_at"])
        for env_steps, figures in _told(folder):
            if env_steps >= since:
                self._log(env_steps, figures)

    def update(self, event: Event) -> None:
        metrics, timing = lines_of(event)
        self._log(event.env_steps, _named(metrics | timing))

    def end(self, summary: dict[str, Any] | None) -> None:
        figures = {} if summary is None else _tested(summary)
        self._close(figures, summary["env_steps"] if summary else 0, summary is not None)

    @abstractmethod
    def _open(self, config: Config, folder: Path, resumed_at: int | None) -> int:
        """Begins, or goes on; from which env-steps on points are wanted."""

    @abstractmethod
    def _log(self, env_steps: int, figures: Mapping[str, float]) -> None:
        """A point of the curves."""

    @abstractmethod
    def _close(self, figures: Mapping[str, float], env_steps: int, ended: bool) -> None:
        """``figures``: on the test levels, {} if the run has not ended."""


class TensorBoard(Tracker):
    """``tensorboard/`` of the run's folder: scalars, the settings as text and as hyperparameters. Needs no TensorFlow.

    Look with ``tensorboard --logdir runs``.
    """

    _writer: Any = None

    def _open(self, config: Config, folder: Path, resumed_at: int | None) -> int:
        from tensorboard.compat.proto.event_pb2 import SessionLog  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.plugins.text.metadata import create_summary_metadata
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
        from tensorboard.util.tensor_util import make_tensor_proto

        place = folder / "tensorboard"
        since = (resumed_at or 0) if place.is_dir() and any(place.iterdir()) else 0
        self._writer = EventFileWriter(str(place), flush_secs=5)
        if resumed_at is not None:  # readers forget what a killed run told after its last checkpoint
            self._write(since, session_log=SessionLog(status=SessionLog.START))
        settings = {
            name: value if isinstance(value, bool | int | float) else str(value) for name, value in flat(config)
        }
        self._write(0, summary=hparams_pb(settings, trial_id=folder.name))
        text = make_tensor_proto([f"```toml\n{runnable(config)}```".encode()])
        self._summary(0, tag="config", metadata=create_summary_metadata("config", ""), tensor=text)
        return since

    def _log(self, env_steps: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._summary(env_steps, tag=name, simple_value=value)

    def _close(self, figures: Mapping[str, float], env_steps: int, ended: bool) -> None:
        if self._writer is not None:
            self._log(env_steps, figures)
            self._writer.close()

    def _summary(self, step: int, **value: Any) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

        self._write(step, summary=Summary(value=[Summary.Value(**value)]))

    def _write(self, step: int, **what: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event as Written  # pyright: ignore[reportAttributeAccessIssue]

        self._writer.add_event(Written(wall_time=time.time(), step=step, **what))


class WandB(Tracker):
    """Weights & Biases, as its own settings say (WANDB_MODE, WANDB_PROJECT ...); its files lie in the run's folder."""

    _run: Any = None

    def _open(self, config: Config, folder: Path, resumed_at: int | None) -> int:
        import wandb

        self._state = folder / "wandb" / "run.json"  # which run it is, and how much of it has been logged
        self._state.parent.mkdir(exist_ok=True)
        if self._state.is_file():
            said = json.loads(self._state.read_text(encoding="utf-8"))
        else:
            said = {"id": secrets.token_hex(4), "env_steps": -1}
        self._id, self._logged = said["id"], said["env_steps"]
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "lepton-jax"),
            name=folder.name,
            id=self._id,
            resume="allow",
            dir=folder,
            config={**dataclasses.asdict(config), "run_dir": ""},
            settings=wandb.Settings(silent=True, console="off"),  # the terminal is the display's
        )
        return self._logged + 1

    def _log(self, env_steps: int, figures: Mapping[str, float]) -> None:
        if env_steps <= self._logged:  # told before the run was killed; the figures are the same
            return
        self._run.log(dict(figures), step=env_steps)
        self._logged = env_steps
        put(self._state, json.dumps({"id": self._id, "env_steps": env_steps}) + "\n")

    def _close(self, figures: Mapping[str, float], env_steps: int, ended: bool) -> None:
        if self._run is not None:
            self._run.summary.update(dict(figures))
            self._run.finish(exit_code=0 if ended else 1)


def _told(folder: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Env-steps and figures of every log point that the files of a run hold."""
    metrics, timing = (
        [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()] for name in RECORDED
    )
    seconds = {line["env_steps"]: line for line in timing}
    for line in metrics:
        yield line["env_steps"], _named(line | seconds.get(line["env_steps"], {}))


def _named(line: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a line under the names that trackers show: ``train/loss``, ``validation/spl``."""
    figures = {name: value for name, value in line.items() if name not in _PLACE and value is not None}
    return {name if "/" in name else f"train/{name}": value for name, value in figures.items()}


def _tested(summary: Mapping[str, Any]) -> dict[str, float]:
    """The figures on the test levels, as ``test/final/spl`` and ``test/best/spl``."""
    found = {"final": summary, "best": summary["best"]}
    return {f"test/{which}/{name}": of[name] for which, of in found.items() for name in FIGURES if of[name] is not None}
