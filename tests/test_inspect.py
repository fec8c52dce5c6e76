"""What a checkpoint holds, told without reading it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lepton_jax
from bench.flip import tiny
from lepton_jax import inspect
from lepton_jax.engine.integrity import CheckpointError
from lepton_jax.engine.launch import begin
from lepton_jax.engine.run import go

ROOT = Path(lepton_jax.__file__).parent.parent


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inspect") / "run"
    go(begin(tiny(folder)), about={"called_with": {"flags": []}})
    return folder


def test_a_run_as_a_person_sees_it(run, capsys):
    inspect.main([str(run)])
    text = capsys.readouterr().out
    newest = max((run / "checkpoints").iterdir())
    about = json.loads((newest / "about.json").read_text())
    for words in ("policy/final", "policy/best", f"checkpoints/{newest.name}", "at the last log point", "lineage:"):
        assert words in text
    for name, leaf in about["leaves"].items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        assert leaf["dtype"] in line
        assert f"{leaf['bytes']:,}" in line
        assert leaf["sha256"][:12] in line
    assert f"iteration {about['iteration']:,}" in text
    assert "ended" in text
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert f"{last['loss']:.6g}" in text


def test_as_json_it_is_what_the_files_say(run, capsys):
    inspect.main([str(run / "policy" / "best"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found == {str(run / "policy" / "best"): json.loads((run / "policy" / "best" / "about.json").read_text())}


def test_no_array_is_read_unless_asked(run, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    newest = max((folder / "checkpoints").iterdir())
    largest = max((path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    largest.write_bytes(b"damaged")
    inspect.main([str(folder)])
    assert "damaged" not in capsys.readouterr().out
    with pytest.raises(CheckpointError, match=largest.name):
        inspect.main([str(folder), "--verify"])
    assert "damaged" in capsys.readouterr().out
    (newest / "about.json").unlink()
    with pytest.raises(CheckpointError, match=r"about\.json"):
        inspect.main([str(folder)])


def test_it_answers_without_jax_and_refuses_in_a_line(tmp_path):
    (tmp_path / "jax.py").write_text("raise RuntimeError('jax was imported')\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / "config.toml").touch()
    for name, status, words in (
        ("nowhere", 2, "nowhere is no folder"),
        ("empty", 2, "empty is no checkpoint"),
        ("early", 0, "holds no checkpoint yet"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "lepton_jax.inspect", name],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        said = done.stderr if status else done.stdout
        assert words in said
        assert len(said.strip().splitlines()) == 1
