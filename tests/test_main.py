"""``python -m lepton_jax``: what it lists, and the help of every command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lepton_jax
from lepton_jax.__main__ import COMMANDS, main

ROOT = Path(lepton_jax.__file__).parent.parent
DEEPER = [f"levels {name}" for name in ("show", "make", "check", "stats")]
DEEPER += [f"graft {name}" for name in ("plan", "show", "verify", "lineage")]

# All of them in one process, in which jax cannot be imported.
ALL = """
import contextlib, io, json, sys
from lepton_jax.__main__ import main
told = {}
for words in json.loads(sys.argv[1]):
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        try:
            main([*words.split(), "--help"])
        except SystemExit as end:
            told[words] = [end.code or 0, text.getvalue()]
json.dump([told, "jax" in sys.modules], sys.stdout)
"""


@pytest.fixture(scope="module")
def helps(tmp_path_factory) -> dict[str, tuple[int, str]]:
    folder = tmp_path_factory.mktemp("no_jax")
    (folder / "jax.py").write_text("raise RuntimeError('jax was imported')\n")
    done = subprocess.run(
        [sys.executable, "-c", ALL, json.dumps([*COMMANDS, *DEEPER])],
        env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told, imported = json.loads(done.stdout)
    assert not imported
    return told


@pytest.mark.parametrize("words", [*COMMANDS, *DEEPER])
def test_every_command_has_help_with_an_example_and_without_jax(helps, words):
    status, text = helps[words]
    assert status == 0
    told = " ".join(text.split())
    _, found, rest = told.partition("example")
    assert found
    first, _, command = words.partition(" ")
    assert f"python -m lepton_jax.{first} {command}".strip() in rest.replace(f".{first}.__main__", f".{first}")
    assert f"usage: python -m lepton_jax.{words}" in told


def test_every_command_is_listed():
    package = ROOT / "lepton_jax"
    runnable = {path.stem for path in package.glob("[!_]*.py") if '__name__ == "__main__"' in path.read_text()}
    assert runnable | {path.parent.name for path in package.glob("*/__main__.py")} == set(COMMANDS)


def test_what_it_lists(capsys):
    main([])
    text = capsys.readouterr().out
    assert lepton_jax.__version__ in text
    for name, what in COMMANDS.items():
        assert any(line.split() == [name, *what.split()] for line in text.splitlines())
    assert "example: python -m lepton_jax train" in text
    main(["--version"])
    assert capsys.readouterr().out.strip() == lepton_jax.__version__


def test_an_unknown_command_has_a_nearest_one(capsys):
    with pytest.raises(SystemExit) as end:
        main(["trian"])
    assert end.value.code == 2
    told = capsys.readouterr().err
    assert "trian: no such command; did you mean 'train'?; expected one of train, sweep" in told
    assert len(told.splitlines()) == 1


def test_a_command_runs_with_the_words_behind_it(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "lepton_jax", "inspect", "nowhere"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: nowhere is no folder; expected that of a run, of a checkpoint or of a policy\n"
