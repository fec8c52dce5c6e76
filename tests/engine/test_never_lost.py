"""Samples of the checks in bench/: real processes that are stopped, killed and starved of disk."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lepton_jax
from bench import crash, disk, flip, fuzz
from lepton_jax.engine.folder import RunFolder

ROOT = Path(lepton_jax.__file__).parent.parent


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A small run that nobody disturbed, and its settings beside it."""
    scratch = tmp_path_factory.mktemp("lost")
    crash.undisturbed(scratch)
    return scratch / "whole"


def start(whole: Path, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lepton_jax.train", "--config", str(whole.parent / "small.toml")]
    process = subprocess.Popen(
        [*command, "--run-dir", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    disk.await_checkpoint(folder, process)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_run_that_goes_on_as_it_is_told(whole, tmp_path, number):
    folder = tmp_path / "my run"
    process = start(whole, folder)
    second = subprocess.run(
        [sys.executable, "-m", "lepton_jax.train", "--resume", str(folder)],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if process.poll() is None:  # a slow machine may have needed the whole run to refuse
        assert second.returncode == 2
        assert f"being written by process {process.pid}" in second.stderr
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert process.returncode == 128 + number
    assert out == ""
    message = err.strip()
    assert message.startswith("stopped at ")
    told = f"python -m lepton_jax.train --resume '{folder}'"
    assert message.endswith(told)
    done = subprocess.run(
        told.replace("python", sys.executable, 1), shell=True, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert crash.fingerprint(folder) == crash.fingerprint(whole)


def test_killed_at_random_instants(whole):
    equal, lines = crash.crash(whole.parent, 5.0, 1, 11, signal.SIGKILL)
    assert equal == 1, lines
    assert len(lines) == 2


def test_damaged_at_random_places(tmp_path):
    config = flip.tiny(tmp_path / "run")
    crash.train(["--config", str(write(tmp_path, config)), "--run-dir", str(tmp_path / "run")])
    folder = RunFolder(tmp_path / "run").saved()[0]
    told = flip.damage(folder, flip.shapes(config), 60, 15, 1)
    assert sum(told.values()) == 150
    assert all(flip.good(outcome) for _, outcome in told), told


def write(scratch: Path, config) -> Path:
    from lepton_jax.settings import to_toml

    path = scratch / "tiny.toml"
    path.write_text(to_toml(config))
    return path


def test_a_disk_that_is_full(tmp_path):
    results = disk.check(disk.limited(tmp_path), 4_000_000)
    assert len(results) == 9
    assert all(good for _, good, _ in results), results


def test_settings_and_command_lines_run_or_are_refused():
    told = fuzz.fuzz(8, 3)
    assert sum(told.values()) == 8
    assert all(outcome.startswith(("ran", "refused")) for outcome in told), told
    assert any(outcome.startswith("refused") for outcome in told)
