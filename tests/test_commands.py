"""The commands as a user calls them: real processes, real files."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import lepton_jax
from lepton_jax import evaluate, train
from lepton_jax.config import Config
from lepton_jax.settings import overlay, parse_toml

ROOT = Path(lepton_jax.__file__).parent.parent
TINY = """
total_steps = 2000
log_points = 3
[env]
num_envs = 16
size = 7
pool = 64
refresh_levels = 32
refresh_every = 8
[net]
kind = "mlp"
width = 8
depth = 1
[agent]
n_step = 2
[replay]
capacity = 2048
batch_size = 32
collect = 2
updates = 2
warmup = 256
[eval]
validation_levels = 8
test_levels = 16
episodes = 5
"""


@pytest.fixture(scope="module")
def no_jax(tmp_path_factory) -> str:
    """PYTHONPATH on which importing jax fails loudly: what is told without jax is told at once."""
    folder = tmp_path_factory.mktemp("no_jax")
    (folder / "jax.py").write_text("raise RuntimeError('jax was imported')\n")
    return f"{folder}{os.pathsep}{ROOT}"


def call(module: str, *argv: Any, cwd: Path, path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"lepton_jax.{module}", *map(str, argv)],
        cwd=cwd, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One message on stderr that holds all ``words``, status 2, nothing else."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    lines = done.stderr.strip().splitlines()
    boxes = sum(line.startswith("╭") for line in lines)
    assert (len(lines), boxes) == (1, 0) or boxes == 1 or lines[0].startswith("usage:"), done.stderr


def snapshot(folder: Path) -> dict[str, str]:
    """Digest of every file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--agent.lrr", "3"], ["--agent.lrr", "--agent.lr "]),
        (["--agent.lr", "abc"], ["--agent.lr", "abc", "float"]),
        (["--agent.loss", "hubert"], ["--agent.loss", "hubert", "huber"]),
        (["--env.size", "8"], ["env.size", "8", "odd"]),
        (["--agent.gamma", "1.5"], ["agent.gamma", "1.5", "0 to 1"]),
        (["--seed", "-1"], ["seed", "-1"]),
        (["--preset", "quik"], ["'quik'", "did you mean 'quick'"]),
        (["--config", "nope.toml"], ["nope.toml", "No such file", "expected"]),
        (["--config", "."], ["Is a directory"]),
        (["--config", "latin.toml"], ["latin.toml", "UTF-8"]),
        (["--config", "broken.toml"], ["broken.toml", "line 1"]),
        (["--config", "key.toml"], ["key.toml", "'agent.lrr'", "did you mean 'agent.lr'"]),
        (["--config", "type.toml"], ["type.toml", "'env.size'", "str", "int"]),
        (["--config", "section.toml"], ["section.toml", "'agent'"]),
        (["--config", "kind.toml"], ["agent.kind"]),
        (["--preset", "maze9", "--agent.kind", "total_steps"], ["agent.kind", "total_steps"]),
        (["--replay.capacity", "100"], ["replay.capacity", "100", "agent.n_step"]),
        (["--replay.capacity", "10000000000000"], ["replay.capacity"]),
        (["--run-dir", "used"], ["used", "not empty", "--run-dir"]),
        (["--run-dir", "key.toml"], ["key.toml"]),
    ],
)
def test_bad_input_is_told_without_jax(argv, words, tmp_path, no_jax):
    (tmp_path / "broken.toml").write_text("seed = = 3\n")
    (tmp_path / "latin.toml").write_bytes(b"run_dir = '\xe9'\n")
    (tmp_path / "key.toml").write_text("[agent]\nlrr = 1\n")
    (tmp_path / "type.toml").write_text("[env]\nsize = '9'\n")
    (tmp_path / "section.toml").write_text("agent = 3\n")
    (tmp_path / "kind.toml").write_text("[agent]\nkind = []\n")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "precious").write_text("mine")
    before = snapshot(tmp_path)
    refused(call("train", *argv, cwd=tmp_path, path=no_jax), *words)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("module", ["train", "evaluate"])
def test_help_is_told_without_jax(module, tmp_path, no_jax):
    done = call(module, "--help", cwd=tmp_path, path=no_jax)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    wanted = (
        ["--agent.lr", "--preset", "--config", "learning rate"]
        if module == "train"
        else ["--levels", "--suite", "--policy"]
    )
    for word in wanted:
        assert word in done.stdout


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--env.id", "Pendulum-v1"], ["env.id", "Pendulum-v1", "continuous", "discrete"]),
        (["--env.id", "CartPol-v1"], ["env.id", "'CartPol-v1'", "CartPole-v1"]),
        # Some 400 GiB: 196 bytes of walls in each of two billion transitions.
        (["--replay.capacity", "2147483600", "--env.size", "41"], ["replay.capacity", "bytes =", "GiB", "at most"]),
    ],
)
def test_bad_input_that_takes_jax_to_know(argv, words, tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    before = snapshot(tmp_path)
    refused(call("train", "--config", "tiny.toml", *argv, "--run-dir", "run", cwd=tmp_path), *words)
    assert snapshot(tmp_path) == before
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """A folder with one finished run, ``run``, of a real process."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "tiny.toml").write_text(TINY)
    done = call("train", "--config", "tiny.toml", "--run-dir", "run", "--seed", "3", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (folder / "stdout.txt").write_text(done.stdout)
    return folder


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


FIGURES = ("success_rate", "spl", "mean_return", "regret", "q_error")


def test_the_run_folder_is_complete(workplace):
    run = workplace / "run"
    assert {path.name for path in run.iterdir()} == {
        "config.toml", "manifest.json", "metrics.jsonl", "timing.jsonl", "summary.json", "policy",
        "checkpoints", ".lock", "report.html",
    }  # fmt: skip
    assert {path.name for path in (run / "policy").iterdir()} == {"best", "final"}

    config = overlay(Config(), parse_toml((run / "config.toml").read_text(), "config.toml"), "config.toml")
    assert (config.seed, config.env.num_envs, config.agent.n_step, config.total_steps) == (3, 16, 2, 2000)

    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["environment"]["jax"] == __import__("jax").__version__
    assert manifest["seed"] == 3
    (session,) = manifest["lineage"]
    assert session["called_with"]["flags"] == ["--run-dir", "run", "--seed", "3"]
    assert session["iteration"] == 0
    assert manifest["levels"]["validation"]["count"] == 8
    assert manifest["levels"]["test"]["count"] == 16
    assert len({manifest["levels"][name]["sha256"] for name in ("validation", "test")}) == 2
    assert {"git_revision", "level_seed"} <= set(manifest)
    assert {"device", "threads", "shards", "processor", "python", "XLA_FLAGS"} <= set(manifest["environment"])

    summary = json.loads((run / "summary.json").read_text())
    for name in FIGURES:
        assert isinstance(summary[name], float)
        assert isinstance(summary["best"][name], float)
    assert 0.0 <= summary["spl"] <= summary["success_rate"] <= 1.0
    assert summary["success_rate"] == summary["mean_return"]  # goal reward 1 and no costs
    assert summary["env_steps"] >= 2000
    assert summary["gradient_steps"] == summary["env_steps"] // 32 * 2
    # 4 of walls, goal, place, action, end, 4 of reward; aside 1 for every two rows.
    assert summary["bytes_per_transition"] == 12.5
    for name in ("env_steps_per_second", "compile_seconds", "wall_seconds"):
        assert summary[name] > 0
    assert isinstance(summary["device"], str)

    metrics, timing = records(run / "metrics.jsonl"), records(run / "timing.jsonl")
    assert [m["iteration"] for m in metrics] == [t["iteration"] for t in timing]
    assert len({b["iteration"] - a["iteration"] for a, b in itertools.pairwise([{"iteration": 0}, *metrics])}) == 1
    assert metrics[-1]["env_steps"] == summary["env_steps"]
    assert summary["best"]["env_steps"] in [m["env_steps"] for m in metrics]
    assert not any("second" in name for name in metrics[0]), "times belong to timing.jsonl"
    best = max(metrics, key=lambda m: (m["validation/success_rate"], m["validation/spl"], -m["iteration"]))
    assert summary["best"]["env_steps"] == best["env_steps"]


def test_what_a_person_sees_when_piped(workplace):
    text = (workplace / "stdout.txt").read_text()
    assert "\x1b" not in text, "no escape codes in a pipe"
    assert "28 symmetry classes" in text
    assert "bytes" in text
    points = len(records(workplace / "run" / "metrics.jsonl"))
    assert sum("steps  " in line and "left" in line for line in text.splitlines()) == points
    for word in ("success_rate", "q_error", "final", "best", "kept in run", "python -m lepton_jax.evaluate run"):
        assert word in text


def strip(summary: dict[str, Any]) -> dict[str, Any]:
    """What of a summary can be repeated."""
    return {name: value for name, value in summary.items() if "second" not in name}


def test_config_toml_runs_again_bit_for_bit(workplace):
    """As it is, without another flag: a fresh folder is found, and everything comes out the same."""
    done = call("train", "--config", "run/config.toml", cwd=workplace)
    assert done.returncode == 0, done.stderr
    (again,) = (workplace / "runs").iterdir()
    run = workplace / "run"
    assert (again / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()
    first, second = (json.loads((folder / "summary.json").read_text()) for folder in (run, again))
    assert strip(first) == strip(second)
    assert (again / "config.toml").read_text() == (run / "config.toml").read_text()


def test_another_seed_is_another_run(workplace):
    config = overlay(Config(), parse_toml((workplace / "run" / "config.toml").read_text(), ""), "")
    result = lepton_jax.run(overlay(config, {"seed": 4, "run_dir": str(workplace / "seed4"), "display": "quiet"}, ""))
    assert result.summary == json.loads((workplace / "seed4" / "summary.json").read_text())
    one, two = (records(workplace / name / "metrics.jsonl") for name in ("run", "seed4"))
    assert [m["loss"] for m in one] != [m["loss"] for m in two]
    manifests = [json.loads((workplace / name / "manifest.json").read_text()) for name in ("run", "seed4")]
    assert manifests[0]["levels"] == manifests[1]["levels"], "the levels do not depend on the run's seed"


def test_a_used_folder_is_left_alone(workplace):
    before = snapshot(workplace / "run")
    refused(call("train", "--config", "tiny.toml", "--run-dir", "run", cwd=workplace), "run", "not empty", "--run-dir")
    assert snapshot(workplace / "run") == before


@pytest.mark.parametrize("policy", ["final", "best"])
def test_evaluate_finds_the_figures_of_the_summary(workplace, policy, capsys):
    evaluate.main([str(workplace / "run"), "--policy", policy, "--json"])
    found = json.loads(capsys.readouterr().out)
    summary = json.loads((workplace / "run" / "summary.json").read_text())
    expected = summary if policy == "final" else summary["best"]
    for name in FIGURES:
        assert found[name] == pytest.approx(expected[name], abs=1e-6), name
    assert found["episodes"] == 16
    assert found["levels"] == "test"


LEVELS = """\
#######
#S   G#
#######

#####
#S#G#
# # #
#   #
#####
"""


def test_evaluate_on_a_suite_and_on_a_level_file(workplace, capsys):
    run = str(workplace / "run")
    evaluate.main([run, "--suite", "validation", "--json"])
    validation = json.loads(capsys.readouterr().out)
    assert (validation["levels"], validation["episodes"]) == ("validation", 16)
    (workplace / "two.txt").write_text(LEVELS)
    evaluate.main([run, "--levels", str(workplace / "two.txt"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["episodes"] == 2
    assert 0.0 <= found["spl"] <= found["success_rate"] <= 1.0
    # V* of the starts, 4 and 6 steps away, is gamma^3 and gamma^5; what is missing is the regret.
    gamma = tomllib.loads((workplace / "run" / "config.toml").read_text())["agent"]["gamma"]
    largest = (gamma**3 + gamma**5) / 2
    assert found["regret"] <= largest + 1e-6
    if found["success_rate"] == 0.0:
        assert found["regret"] == pytest.approx(largest, abs=1e-6)
    evaluate.main([run, "--levels", str(workplace / "two.txt")])
    table = capsys.readouterr().out
    assert "2 levels" in table
    assert "success_rate" in table


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["nowhere"], ["nowhere", "config.toml"]),
        (["empty"], ["empty", "config.toml"]),
        (["unfinished"], ["unfinished", "final policy", "--resume unfinished"]),
        (["unfinished", "--policy", "latest"], ["unfinished", "no checkpoint yet", "--resume unfinished"]),
        (["run", "--levels", "missing.txt"], ["missing.txt", "No such file"]),
        (["run", "--suite", "exam"], ["--suite", "exam", "validation"]),
        (["run", "--episodes", "5"], ["--episodes", "--suite named", "leave it away"]),
        (["run", "--levels", "two.txt", "--episodes", "5"], ["--episodes", "--suite named"]),
        (["run", "--suite", "named", "--episodes", "0"], ["--episodes 0", "1 to 100000"]),
    ],
)
def test_evaluate_refuses_without_jax(workplace, no_jax, argv, words):
    (workplace / "empty").mkdir(exist_ok=True)
    (workplace / "unfinished").mkdir(exist_ok=True)
    (workplace / "unfinished" / "config.toml").write_text(TINY)
    refused(call("evaluate", *argv, cwd=workplace, path=no_jax), *words)


def test_evaluate_refuses_bad_levels(workplace, capsys):
    from lepton_jax.config import ConfigError
    from lepton_jax.envs.maze.level import LevelError

    run = str(workplace / "run")
    large = "\n".join(["#" * 11, "#S" + " " * 7 + "G#", *["#" + " " * 9 + "#"] * 8, "#" * 11])
    for text, error, words in (
        ("#####\n#S#G#\n#####\n", LevelError, ["bad.txt", "level 1", "row 2", "column 2", "no path"]),
        (large, ConfigError, ["bad.txt", "11 x 11", "7 x 7"]),
    ):
        (workplace / "bad.txt").write_text(text)
        with pytest.raises(error) as told:
            evaluate.main([run, "--levels", str(workplace / "bad.txt")])
        for word in words:
            assert word in str(told.value)
    assert capsys.readouterr().out == ""


def test_a_bad_level_file_as_a_user_meets_it(workplace):
    (workplace / "two_goals.txt").write_text("#####\n#SGG#\n#####\n")
    done = call("evaluate", "run", "--levels", "two_goals.txt", cwd=workplace)
    refused(done, "two_goals.txt", "level 1", "row 2", "column 4", "goal")


def test_a_damaged_run_is_told(workplace, capsys):
    """A run whose policy is not what its configuration says."""
    import shutil

    shutil.copytree(workplace / "run", workplace / "other", dirs_exist_ok=True)
    text = (workplace / "other" / "config.toml").read_text().replace("width = 8", "width = 9")
    (workplace / "other" / "config.toml").write_text(text)
    from lepton_jax.config import ConfigError
    from lepton_jax.engine.integrity import CheckpointError

    with pytest.raises(CheckpointError, match=r"where float32\[.* is needed"):
        evaluate.main([str(workplace / "other")])
    (workplace / "other" / "policy" / "final" / "about.json").unlink()
    with pytest.raises(CheckpointError, match=r"about\.json: No such file.*newest intact.*--policy latest"):
        evaluate.main([str(workplace / "other")])
    (workplace / "other" / "config.toml").write_text(text.replace("width = 9", "width = 8"))
    latest, best = ([str(workplace / "other"), "--policy", name, "--json"] for name in ("latest", "best"))
    evaluate.main(latest)
    found = json.loads(capsys.readouterr().out)
    summary = json.loads((workplace / "other" / "summary.json").read_text())
    assert found["q_error"] == pytest.approx(summary["q_error"], abs=1e-6)
    shutil.rmtree(workplace / "other" / "policy" / "best")  # as before the end of a run: it is in the checkpoint
    evaluate.main(best)
    found = json.loads(capsys.readouterr().out)
    assert found["q_error"] == pytest.approx(summary["best"]["q_error"], abs=1e-6)
    assert found["env_steps"] == summary["best"]["env_steps"]
    shutil.rmtree(workplace / "other" / "policy" / "final")
    with pytest.raises(ConfigError, match="no final policy"):
        evaluate.main([str(workplace / "other")])
    assert capsys.readouterr().out == ""


def test_any_gymnax_environment_trains_through_the_same_program(workplace, capsys):
    folder = workplace / "cartpole"
    train.main(
        [
            "--config",
            str(workplace / "tiny.toml"),
            "--env.id",
            "CartPole-v1",
            "--run-dir",
            str(folder),
            "--display",
            "quiet",
        ]
    )
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["mean_return"] >= 8.0  # a pole falls in 8 steps at the earliest
    assert summary["mean_return"] == summary["mean_length"]
    for name in ("success_rate", "spl", "regret", "q_error"):
        assert summary[name] is None
        assert summary["best"][name] is None
    assert sum(m["terminated"] for m in records(folder / "metrics.jsonl")) > 0
    # Observation, action, end and reward: 16 + 1 + 1 + 4, and beside the ring 16 for every two rows.
    assert summary["bytes_per_transition"] == 30.0
    capsys.readouterr()
    evaluate.main([str(folder), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["mean_return"] == summary["mean_return"]
    assert found["episodes"] == 5


@pytest.mark.parametrize("flag", ["--graft", "--graft-policy", "--graft-lane"])
def test_a_resumed_run_is_grafted_from_nothing_else(flag):
    with pytest.raises(ValueError, match=f"{flag} 3: a run goes on from what it began with; leave {flag} away"):
        train.main(["--resume", "run", flag, "3"])
