"""What observers are told, that none of them can stop a run, and what TensorBoard and W&B keep of it."""

import json
import struct
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.util.tensor_util import make_ndarray

import lepton_jax
from bench.flip import tiny
from lepton_jax import Config, ConfigError, Event, Observer
from lepton_jax.engine.audience import Audience
from lepton_jax.engine.launch import begin, go_on
from lepton_jax.engine.metrics import lines_of, to_json
from lepton_jax.presets import from_preset
from lepton_jax.report.trackers import TensorBoard, WandB, make_trackers
from lepton_jax.settings import overlay, parse_toml, to_toml

FIGURES = ("success_rate", "spl", "mean_return", "mean_length", "regret", "q_error")
SUMMARY: dict[str, Any] = {
    **{name: number / 8 for number, name in enumerate(FIGURES)},
    "best": {**dict.fromkeys(FIGURES, 0.75), "q_error": None, "env_steps": 300},
    "env_steps": 400,
}


def event(env_steps: int) -> Event:
    """A log point whose figures tell where it lies."""
    metrics, validation = {"loss": 1 / env_steps, "epsilon": 0.5}, {"success_rate": env_steps / 1000}
    return Event(env_steps // 100, 4, env_steps // 10, env_steps, 400, env_steps / 50, metrics, validation)


def held(folder: Path, *env_steps: int) -> None:
    """The lines that a run's folder holds."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(("metrics.jsonl", "timing.jsonl")):
        lines = [to_json(lines_of(event(steps))[number]) + "\n" for steps in env_steps]
        (folder / name).write_text("".join(lines))


def session(tracker: Observer, folder: Path, before: tuple[int, ...], now: tuple[int, ...], ended: bool) -> None:
    """A tracker watches a run that has come to the log points ``before``, and comes to those of ``now``."""
    held(folder, *before)
    tracker.begin(from_preset("quick"), {"folder": str(folder), "resumed_at": before[-1] if before else None})
    for env_steps in now:
        tracker.update(event(env_steps))
    tracker.end(SUMMARY if ended else None)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard reads, by name: steps and values."""
    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return {name: [(each.step, each.value) for each in found.Scalars(name)] for name in found.Tags()["scalars"]}


def history(folder: Path, sessions: int) -> tuple[list[dict[str, Any]], dict[str, Any], set[str]]:
    """What ``read_wandb`` finds, as soon as so many sessions are all there: W&B's own process is a moment behind."""
    deadline = time.monotonic() + 20
    while (found := read_wandb(folder))[-1] < sessions:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found[:-1]


def read_wandb(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any], set[str], int]:
    """Lines and summary of all files that W&B left, oldest first, the runs they belong to, and how many have ended."""
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue]

    lines, summary, runs, ended = [], {}, set(), 0
    for file in sorted((folder / "wandb").glob("offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime_ns):
        for data in records(file.read_bytes()):
            record = Record.FromString(data)
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                lines.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
            elif record.WhichOneof("record_type") == "run":
                runs.add(record.run.run_id)
            elif record.WhichOneof("record_type") == "summary":
                items = record.summary.update
                summary |= {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
            elif record.WhichOneof("record_type") == "exit":
                ended += 1
    return lines, summary, runs, ended


def records(data: bytes) -> list[bytes]:
    """The records of a file in LevelDB's log format, https://github.com/google/leveldb/blob/main/doc/log_format.md,
    before which W&B puts seven bytes of its own."""
    found, part, at = [], b"", 7
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        if (room := -at % 32768) < 7 and room:  # no header fits into the rest of a block
            at += room
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        part += data[at + 7 : at + 7 + length]
        if kind in (1, 4):  # FULL or LAST
            found.append(part)
            part = b""
        at += 7 + length
    return found


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")


def test_tensorboard_holds_what_it_was_told(tmp_path):
    session(TensorBoard(), tmp_path, (), (100, 200, 300), ended=True)
    found = scalars(tmp_path)
    assert found["train/loss"] == [(steps, np.float32(1 / steps)) for steps in (100, 200, 300)]
    assert found["validation/success_rate"] == [(steps, np.float32(steps / 1000)) for steps in (100, 200, 300)]
    assert found["train/seconds"] == [(100, 2.0), (200, 4.0), (300, 6.0)]
    assert found["test/final/spl"] == [(400, 0.125)]
    assert found["test/best/spl"] == [(400, 0.75)]
    assert "test/best/q_error" not in found  # the world could not tell
    assert not any("iteration" in name or "env_steps" in name for name in found)


def test_tensorboard_holds_the_settings(tmp_path):
    session(TensorBoard(), tmp_path, (), (), ended=False)
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    (text,) = found.Tensors("config")
    shown = str(make_ndarray(text.tensor_proto).item(), "utf-8")  # pyright: ignore[reportArgumentType]
    changes = parse_toml(shown.removeprefix("```toml\n").removesuffix("```"), "text")
    assert overlay(Config(), changes, "text") == from_preset("quick")
    data = HParamsPluginData.FromString(found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content)
    hparams = data.session_start_info.hparams
    assert (hparams["agent.lr"].number_value, hparams["agent.double"].bool_value) == (2e-3, True)
    assert hparams["net.kind"].string_value == "mlp"


def test_wandb_holds_what_it_was_told(tmp_path, offline):
    session(WandB(), tmp_path, (), (100, 200, 300), ended=True)
    lines, summary, _ = history(tmp_path, 1)
    assert [line["_step"] for line in lines] == [100, 200, 300]
    assert [line["train/loss"] for line in lines] == [1 / 100, 1 / 200, 1 / 300]
    assert [line["validation/success_rate"] for line in lines] == [0.1, 0.2, 0.3]
    assert summary["test/final/spl"] == 0.125
    assert summary["test/best/spl"] == 0.75


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_run_that_was_killed_and_goes_on_has_each_step_once(tmp_path, offline, name):
    # Killed after log point 300, of which the checkpoint at 200 does not know.
    for before, now, ended in (((), (100, 200, 300), False), ((100, 200), (300, 400), True)):
        (tracker,) = make_trackers([name])
        session(tracker, tmp_path, before, now, ended)
    if name == "tensorboard":
        steps = [step for step, _ in scalars(tmp_path)["train/loss"]]
    else:
        lines, _, runs = history(tmp_path, 2)
        steps = [line["_step"] for line in lines]
        assert len(runs) == 1
    assert steps == [100, 200, 300, 400]


def test_a_point_that_was_saved_but_not_told_is_told_later(tmp_path, offline):
    # Killed between the checkpoint at 200 and the trackers' hearing of it.
    for before, now in (((), (100,)), ((100, 200), (300,))):
        for tracker in make_trackers(["tensorboard", "wandb"]):
            session(tracker, tmp_path, before, now, ended=False)
    assert [step for step, _ in scalars(tmp_path)["train/loss"]] == [100, 200, 300]
    assert [line["_step"] for line in history(tmp_path, 2)[0]] == [100, 200, 300]


class Fails(Observer):
    """Fails wherever it is told to, each time."""

    def __init__(self, *methods: str):
        for method in methods:
            setattr(self, method, self._fail)

    def _fail(self, *_: Any) -> None:
        raise OSError("out of\nreach")


class Listens(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.events: list[Event] = []
        self.episodes: list[Any] = []
        self.summary: Any = None

    def update(self, event: Event) -> None:
        self.events.append(event)
        assert event.episode is not None
        self.episodes.append(event.episode())

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def end(self, summary: Any) -> None:
        self.summary = summary


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Any, Listens]:
    """A run watched by one that listens and by some that fail."""
    folder = tmp_path_factory.mktemp("run") / "run"
    # The settings of tests/engine/test_launch.py, so that what one file compiles serves the other.
    config = overlay(tiny(folder), {"log_points": 16, "agent": {"lr_end": 1e-4}, "env": {"refresh_every": 4}}, "test")
    listens, failing = Listens(), [Fails(name) for name in ("begin", "update", "end")]
    result = lepton_jax.run(config, observers=[failing[0], listens, *failing[1:]])
    return result, listens


def test_a_failing_observer_never_stops_a_run(run):
    result, listens = run
    assert listens.summary == result.summary
    assert [event.number for event in listens.events] == list(range(1, 17))
    text = "Fails failed in {}() and is told nothing more: OSError: out of reach"
    assert listens.notices == [text.format(name) for name in ("begin", "update", "end")]


def test_one_that_fails_to_hear_of_another_leaves_as_well(capsys):
    listens = Listens()
    audience = Audience([Fails("advance"), Fails("notice"), listens])
    for _ in range(3):
        audience.advance(100, 1.0)
    assert [text.split(" and")[0] for text in listens.notices] == [
        "Fails failed in notice()",
        "Fails failed in advance()",
    ]
    alone = Audience([Fails("advance")])
    for _ in range(3):
        alone.advance(100, 1.0)
    assert capsys.readouterr().err.count("note: Fails failed in advance()") == 1


def test_the_last_episode_is_one_that_can_have_been(run):
    """Steps go from cell to free cell, or stay; the end is beside the goal, which is worth 1, or the time is up."""
    episodes = [episode for episode in run[1].episodes if episode is not None]
    assert len(episodes) > 3  # the memory is but 128 steps deep, and may hold one end or none
    for episode in episodes:
        walls, cells = episode.level.walls, episode.cells
        assert walls.shape == (7, 7)
        assert cells[0] == episode.level.start
        assert not walls.reshape(-1)[[*cells, episode.level.goal]].any()
        row, column = np.divmod(np.array([*cells, *([episode.level.goal] if episode.terminated else [])]), 7)
        assert (np.abs(np.diff(row)) + np.abs(np.diff(column)) <= 1).all()
        assert episode.level.goal not in cells
        assert episode.reward.tolist() == [0.0] * (len(cells) - 1) + [float(episode.terminated)]
        assert episode.terminated or len(cells) == 68  # 4 x 17 free cells
    assert len({episode.cells.tobytes() for episode in episodes}) > 1


def test_a_run_can_be_tracked_from_its_middle_on(run):
    result, listens = run
    steps = [event.env_steps for event in listens.events]
    config = lepton_jax.resume(result.folder, track=["tensorboard"], total_steps=2 * steps[-1])
    found = scalars(result.folder)
    told = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["env_steps"] for line in told][:16] == steps
    assert len(told) == 32
    assert found["train/loss"] == [(line["env_steps"], np.float32(line["loss"])) for line in told]
    assert found["test/final/spl"] == [(2 * steps[-1], np.float32(config.summary["spl"]))]


def test_what_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # as Python says that a module cannot be imported
    told = r"track: wandb is not installed: pip install 'lepton-jax\[wandb\]', or leave --track wandb away"
    with pytest.raises(ConfigError, match=told):
        begin(overlay(tiny(tmp_path / "run"), {"track": ["tensorboard", "wandb"]}, "test"))
    assert not (tmp_path / "run").exists()


def test_a_folder_of_that_name_is_no_package(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    (tmp_path / "wandb").mkdir()
    with pytest.raises(ConfigError, match="wandb is not installed"):
        begin(overlay(tiny(tmp_path / "run"), {"track": ["wandb"]}, "test"))


def test_tracks_are_settings(run):
    config = overlay(Config(), {"track": ["wandb"]}, "test")
    assert overlay(Config(), parse_toml(to_toml(config), "test"), "test") == config
    with pytest.raises(ConfigError, match=r"'track' = 'wanb'; did you mean 'wandb'\?; expected one of"):
        overlay(Config(), {"track": ["wanb"]}, "test")
    with pytest.raises(ConfigError, match="'track' = 'wandb' has type str; expected a list"):
        overlay(Config(), {"track": "wandb"}, "test")
    # Another tracker is no other run.
    assert go_on(run[0].folder, lambda config: overlay(config, {"track": []}, "test")).finished
    with pytest.raises(ConfigError, match="runs are tracked, sweeps are not"):
        lepton_jax.run_sweep(config, seeds=2)
