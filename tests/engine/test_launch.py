"""Going on with a run: from the right place, with the right settings, to the same end."""

import dataclasses
import json
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import lepton_jax
from bench.crash import fingerprint
from bench.flip import tiny
from lepton_jax.config import Config, ConfigError
from lepton_jax.engine import checkpoint, interrupts, loop, run, shard
from lepton_jax.engine.folder import RunFolder
from lepton_jax.engine.integrity import CheckpointError, describe
from lepton_jax.engine.interrupts import Interrupted
from lepton_jax.engine.keeper import Keeper
from lepton_jax.engine.launch import Launch, begin, commit, go_on, runnable
from lepton_jax.engine.metrics import Observer
from lepton_jax.engine.policies import find_policy
from lepton_jax.engine.run import go
from lepton_jax.settings import overlay, to_toml


class Told(Observer):
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.points: list[int] = []
        self.ended: list[Any] = []
        self.resumed_at: int | None = None

    def begin(self, config: Config, about: dict[str, Any]) -> None:
        self.resumed_at = about["resumed_at"]

    def update(self, event: Any) -> None:
        self.points.append(event.iteration)

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def end(self, summary: Any) -> None:
        self.ended.append(summary)


def small(folder: Path, **changes: Any) -> Config:
    """A run of 16 log points of 8 iterations, in two segments each."""
    base = {"log_points": 16, "agent": {"lr_end": 1e-4}, "env": {"refresh_every": 4}}
    return overlay(overlay(tiny(folder), base, "settings"), changes, "settings")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    go(begin(small(folder)))
    return folder


def stop_at(monkeypatch: pytest.MonkeyPatch, iteration: int, *signals: signal.Signals, every: int = 0) -> None:
    """Sends signals in the chunk that reaches ``iteration``; a chunk is one segment."""
    monkeypatch.setattr(loop, "CHUNK", 0.0)

    def until(self: Keeper, now: int) -> None:
        for number in signals if now == iteration - 4 else ():
            signal.raise_signal(number)

    monkeypatch.setattr(Keeper, "until", until)
    monkeypatch.setattr(Keeper, "due", lambda self, now, at_point: bool(every) and now % every == 0)


def stopped(folder: Path, monkeypatch: pytest.MonkeyPatch, iteration: int, **changes: Any) -> Path:
    with monkeypatch.context() as patch:
        stop_at(patch, iteration, signal.SIGTERM)
        with pytest.raises(Interrupted):
            go(begin(small(folder, **changes)))
    return folder


@pytest.mark.parametrize("iteration", [4, 64, 124, 128])
def test_stopped_and_resumed_equals_the_undisturbed_run(whole, tmp_path, monkeypatch, iteration):
    """Between two log points as well as at one, and at the very end, before the report."""
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_at(patch, iteration, signal.SIGTERM)
        with pytest.raises(Interrupted, match=r"go on with: python -m lepton_jax\.train --resume") as told:
            go(begin(small(folder)))
    assert told.value.number == signal.SIGTERM
    assert f"stopped at {iteration * 32:,} of 4,096 env-steps" in str(told.value)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert [int(path.name) for path in RunFolder(folder).saved()] == [iteration]
    assert not (folder / "summary.json").exists()
    observer = Told()
    go(go_on(folder), [observer])
    assert observer.resumed_at == iteration * 32
    assert observer.points == [point for point in range(8, 129, 8) if point > iteration]
    assert observer.notices == []
    assert fingerprint(folder) == fingerprint(whole)


def test_another_seed_has_another_fingerprint(whole, tmp_path):
    go(begin(small(tmp_path / "run", seed=1)))
    other, one = fingerprint(tmp_path / "run"), fingerprint(whole)
    assert all(other[part] != one[part] for part in ("state", "final", "metrics"))


def test_lines_after_the_checkpoint_are_cut_back(whole, tmp_path, monkeypatch):
    folder = stopped(tmp_path / "run", monkeypatch, 20)
    with (folder / "metrics.jsonl").open("a") as file:  # as after kill -9: lines of later points, and half a line
        file.write((whole / "metrics.jsonl").read_text().splitlines()[2] + '\n{"iteration": 3')
    go(go_on(folder))
    assert fingerprint(folder) == fingerprint(whole)


def test_a_second_signal_stops_at_once_and_keeps_the_last_checkpoint(whole, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(interrupts, "_ECHO", -1.0)
        stop_at(patch, 20, signal.SIGINT, signal.SIGINT, every=8)
        with pytest.raises(Interrupted, match=r"stopped at once.*--resume") as told:
            go(begin(small(folder)))
    assert told.value.number == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    # The process would be gone by now; here the checkpoint under way is still written, by its thread.
    deadline = time.monotonic() + 30
    while [int(path.name) for path in RunFolder(folder).saved()] != [16, 8]:
        assert time.monotonic() < deadline
    go(go_on(folder))
    assert fingerprint(folder) == fingerprint(whole)


def test_stopped_while_compiling_it_tells_how_to_go_on(whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(run, "_prepare", lambda *_: signal.raise_signal(signal.SIGINT))
        with pytest.raises(Interrupted, match=r"stopped; go on with: .*--resume") as told:
            go(begin(small(tmp_path / "run")))
    assert told.value.number == signal.SIGINT
    go(go_on(tmp_path / "run"))
    assert fingerprint(tmp_path / "run") == fingerprint(whole)


def test_an_echo_of_a_signal_is_no_second_one(tmp_path, monkeypatch):
    """timeout(1) signals the process and then its group."""
    stop_at(monkeypatch, 20, signal.SIGTERM, signal.SIGTERM)
    with pytest.raises(Interrupted, match="stopped at 640 of"):
        go(begin(small(tmp_path / "run")))
    assert [int(path.name) for path in RunFolder(tmp_path / "run").saved()] == [20]


def test_a_signal_that_was_ignored_stays_ignored(tmp_path, monkeypatch):
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop_at(monkeypatch, 8, signal.SIGHUP)
        go(begin(small(tmp_path / "run", total_steps=500)))
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_killed_before_the_first_checkpoint_it_starts_again(whole, tmp_path):
    folder = tmp_path / "run"
    launch = begin(small(folder))
    launch.folder.release()  # as death does
    again = go_on(folder)
    assert again.point is None
    assert "starting from the beginning" in again.notes[0]
    go(again)
    assert fingerprint(folder) == fingerprint(whole)


def test_a_finished_run_is_left_alone(whole):
    before = (whole / "summary.json").stat().st_mtime_ns
    launch = go_on(whole)
    launch.folder.release()
    assert launch.finished
    assert (whole / "summary.json").stat().st_mtime_ns == before


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_a_damaged_checkpoint_is_told_and_passed_over(whole, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_at(patch, 40, signal.SIGTERM, every=16)
        with pytest.raises(Interrupted):
            go(begin(small(folder, checkpoint={"latest": 3})))
    assert [int(path.name) for path in RunFolder(folder).saved()] == [40, 32, 16]
    flip(folder / "checkpoints" / "000000040" / "about.json")
    (folder / "checkpoints" / "000000032" / "arrays" / "stranger").touch()
    observer = Told()
    go(go_on(folder), [observer])
    first, second, third = observer.notices
    assert "000000040/about.json: damaged" in first
    assert "000000032/arrays/stranger: does not belong" in second
    assert "000000016 is the newest intact checkpoint; going on from it" in third
    assert observer.resumed_at == 16 * 32
    assert {path.name for path in folder.glob("checkpoints/damaged-*")} == {"damaged-000000040", "damaged-000000032"}
    assert fingerprint(folder) == fingerprint(whole)


def test_without_an_intact_checkpoint_nothing_is_done(tmp_path, monkeypatch):
    folder = stopped(tmp_path / "run", monkeypatch, 12)
    flip(folder / "checkpoints" / "000000012" / "metrics.jsonl")
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl: damaged.*no checkpoint of .* is intact") as told:
        go_on(folder)
    assert str(folder / "checkpoints") in str(told.value)
    assert (folder / "checkpoints" / "000000012").is_dir()


def ask(**changes: Any) -> Callable[[Config], Config]:
    return lambda config: overlay(config, changes, "flags")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 5}, ["seed", "with 0", "with 5"]),
        ({"agent": {"lr": 0.25}}, ["agent.lr", "0.002", "0.25"]),
        ({"env": {"num_envs": 32}}, ["env.num_envs", "16", "32"]),
        ({"schedule_steps": 77}, ["schedule_steps", "4000", "77"]),
        ({"total_steps": 100}, ["total_steps", "100", "512"]),
    ],
)
def test_what_would_make_another_run_is_refused_by_name(tmp_path, monkeypatch, changes, words):
    folder = stopped(tmp_path / "run", monkeypatch, 16)
    with pytest.raises(ConfigError) as told:
        go(go_on(folder, ask(**changes)))
    for word in words:
        assert word in str(told.value)
    go_on(folder).folder.release()  # nothing was lost, and nobody holds it


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_finished_run_survives_a_refusal(whole, tmp_path, monkeypatch):
    """Fewer steps than it has done, more than fit the memory, more devices than there are: nothing on disk changes."""
    shutil.copytree(whole, tmp_path / "run")
    before = files(tmp_path / "run")
    with pytest.raises(ConfigError, match="2000 are asked for, but 4096 are done already"):
        go(go_on(tmp_path / "run", ask(total_steps=2000)))
    assert files(tmp_path / "run") == before
    with monkeypatch.context() as patch:
        patch.setattr(run, "refuse_oversized", refuse)
        with pytest.raises(ConfigError, match="too large"):
            go(go_on(tmp_path / "run", ask(total_steps=6000)))
    assert files(tmp_path / "run") == before
    launch = go_on(tmp_path / "run", ask(total_steps=6000))
    with pytest.raises(ConfigError, match="spread over 64 devices, but jax has 2 here"):
        go(launch._replace(shards=64))
    assert files(tmp_path / "run") == before


def refuse(*_: Any) -> None:
    raise ConfigError("too large")


def test_a_run_goes_on_over_as_many_devices_as_it_began_with(tmp_path, monkeypatch):
    """Also where the number that it would choose by itself is another by now."""
    with monkeypatch.context() as patch:
        for name in ("_SMALLEST_SHARE", "_SMALLEST_NATIVE"):
            patch.setattr(shard, name, 8)
        stopped(tmp_path / "run", patch, 16)
    launch = go_on(tmp_path / "run")
    assert (launch.config.shards, launch.shards) == (0, 2)
    go(launch)
    go(begin(small(tmp_path / "whole", shards=2)))
    metrics = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("run", "whole")]
    assert metrics[0] == metrics[1]
    assert "shards = 0" in (tmp_path / "run" / "config.toml").read_text()


def test_while_a_run_is_extended_its_old_end_is_not_its_end(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    assert find_policy(folder, "final").path == folder.policy("final")
    launch = go_on(tmp_path / "run", ask(total_steps=6000))
    commit(launch)
    launch.folder.release()
    with pytest.raises(ConfigError, match="the run has not ended"):
        find_policy(folder, "final")
    assert find_policy(folder, "best") == (folder.checkpoint(128), "best", None, None)


def test_resume_of_a_finished_run_hands_back_its_result(whole):
    before = files(whole)
    again = lepton_jax.resume(whole)
    assert files(whole) == before
    assert again.summary == json.loads((whole / "summary.json").read_text())
    for name, tree in (("final", again.final), ("best", again.best)):
        like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
        jax.tree.map(np.testing.assert_array_equal, checkpoint.read(whole / "policy" / name, like)[0], tree)
    RunFolder.existing(whole).release()  # nobody holds it


def test_a_world_without_levels_to_be_judged_on_leaves_no_folder(tmp_path):
    world = {"generator": "blocks", "density": 0.0}
    with pytest.raises(ValueError, match="validation"):
        go(begin(small(tmp_path / "run", env=world)))
    assert not (tmp_path / "run").exists()


def test_how_it_is_kept_and_shown_may_change(whole, tmp_path, monkeypatch):
    folder = stopped(tmp_path / "run", monkeypatch, 16)
    go(go_on(folder, ask(checkpoint={"every_iterations": 16, "latest": 3, "best": 0}, display="plain")))
    assert [int(path.name) for path in RunFolder(folder).saved()] == [128, 112, 96]
    assert fingerprint(folder) == fingerprint(whole)


def test_an_extended_run_equals_one_that_was_longer_from_the_start(whole, tmp_path):
    longer = small(tmp_path / "longer", total_steps=6000, schedule_steps=4000)
    go(begin(longer))
    shutil.copytree(whole, tmp_path / "run")
    launch = go_on(tmp_path / "run", ask(total_steps=6000))
    assert launch.config.schedule_steps == 4000
    assert not launch.finished
    result = go(launch)
    assert result.summary["env_steps"] == 6144
    assert fingerprint(tmp_path / "run") == fingerprint(tmp_path / "longer")
    assert (tmp_path / "run" / "config.toml").read_text() == (tmp_path / "longer" / "config.toml").read_text()
    # The extension itself can be stopped and resumed, without saying again how long it is to be.
    shutil.rmtree(tmp_path / "run")
    shutil.copytree(whole, tmp_path / "run")
    launch = go_on(tmp_path / "run", ask(total_steps=6000))
    commit(launch)
    launch.folder.release()
    go(go_on(tmp_path / "run"))
    assert fingerprint(tmp_path / "run") == fingerprint(tmp_path / "longer")


def test_where_the_learning_rate_ends_at_zero_nothing_is_extended(tmp_path, monkeypatch):
    folder = stopped(tmp_path / "run", monkeypatch, 16, agent={"lr_end": 0.0})
    with pytest.raises(ConfigError, match=r"from 4000 to 8000.*agent\.lr_schedule = 'linear' and agent\.lr_end = 0"):
        go_on(folder, ask(total_steps=8000))
    launch = go_on(folder, ask(total_steps=2000))  # shorter is another matter
    commit(launch)
    launch.folder.release()
    assert (launch.config.total_steps, launch.config.schedule_steps) == (2000, 4000)
    go_on(folder, ask(total_steps=4000)).folder.release()  # and up to the schedule's end it may be longer again


def test_config_toml_lost_damaged_or_edited(whole, tmp_path, monkeypatch):
    folder = stopped(tmp_path / "run", monkeypatch, 16)
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(text.replace("seed = 0", "seed = 9", 1))
    with pytest.raises(ConfigError, match=r"seed: .* with 0 .* with 9"):
        go_on(folder)
    (folder / "config.toml").write_text(text.replace("seed = 0", "seed = zero", 1))
    launch = go_on(folder)
    launch.folder.release()
    assert "not valid TOML" in launch.notes[0]
    commit(launch)
    assert (folder / "config.toml").read_text() == text
    (folder / "config.toml").unlink()
    go(go_on(folder))
    assert (folder / "config.toml").read_text() == text
    assert fingerprint(folder) == fingerprint(whole)


def test_another_environment_is_announced_and_recorded(tmp_path, monkeypatch):
    folder = stopped(tmp_path / "run", monkeypatch, 16)
    from lepton_jax.engine import manifest

    real = manifest.environment
    monkeypatch.setattr(manifest, "environment", lambda shards: real(shards) | {"jax": "9.9.9", "threads": 77})
    observer = Told()
    go(go_on(folder), [observer], {"called_with": {"resume": "run"}})
    (note,) = observer.notices
    assert "not bit for bit" in note
    assert "-> '9.9.9'" in note
    assert "-> 77" in note
    for said in (json.loads((folder / "manifest.json").read_text()), describe(RunFolder(folder).saved()[0])):
        first, second = said["lineage"]
        assert (first["iteration"], second["iteration"]) == (0, 16)
        assert second["environment"]["jax"] == "9.9.9"
        assert second["called_with"] == {"resume": "run"}


def test_settings_of_another_version(tmp_path, monkeypatch):
    from lepton_jax import settings as module

    folder = stopped(tmp_path / "run", monkeypatch, 16)
    text = (folder / "config.toml").read_text()
    assert text.startswith("config_version = 1\n")
    for version, words in ((2, "reads up to 1"), (0, "no longer read"), ('"one"', "reads up to 1")):
        (folder / "config.toml").write_text(text.replace("config_version = 1", f"config_version = {version}"))
        with pytest.raises(ConfigError, match=words):
            module.parse_toml((folder / "config.toml").read_text(), "config.toml")
    # A newer version that knows how the older one is read: here, one that calls seed otherwise.
    monkeypatch.setattr(module, "VERSION", 2)
    rename = lambda changes: {("seed" if name == "grain" else name): value for name, value in changes.items()}
    monkeypatch.setattr(module, "_MIGRATIONS", {1: rename})
    old = text.replace("seed = 0", "grain = 7", 1)
    assert overlay(Config(), module.parse_toml(old, "config.toml"), "config.toml").seed == 7


def test_the_config_of_a_launch_is_as_it_can_run(tmp_path):
    config = dataclasses.replace(small(tmp_path / "x"), run_dir="somewhere")
    assert runnable(config) == to_toml(dataclasses.replace(config, run_dir=""))


def test_a_refused_run_leaves_no_folder(tmp_path):
    config = small(tmp_path / "deep" / "run", env={"id": "NoSuchWorld-v0"})
    observer = Told()
    with pytest.raises(ConfigError, match="NoSuchWorld"):
        go(begin(config), [observer])
    assert not (tmp_path / "deep" / "run").exists()
    assert observer.ended == [None]


def test_a_refused_resume_leaves_everything(tmp_path, monkeypatch):
    folder = stopped(tmp_path / "run", monkeypatch, 16)
    launch = go_on(folder)
    assert isinstance(launch, Launch)
    with pytest.raises(ConfigError):
        go(launch._replace(shards=64))
    assert (folder / "config.toml").is_file()
    assert [int(path.name) for path in RunFolder(folder).saved()] == [16]
