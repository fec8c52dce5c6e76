"""A sweep as a user runs it: the plan, the lanes, the folder, one lane alone, and what is refused."""

import csv
import json
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import pytest

from bench.crash import sweep_fingerprint
from lepton_jax import evaluate, inspect, sweep, train
from lepton_jax.config import ConfigError
from lepton_jax.engine import memory
from lepton_jax.engine.folder import RunFolder
from lepton_jax.engine.integrity import describe
from lepton_jax.scale import group, results

TINY = """
seeds = 2
places = 2
[grid]
agent.lr = [1e-3, 1e38]
net.width = [8, 16]
[config]
total_steps = 8192
log_points = 4
display = "plain"
[config.env]
num_envs = 16
pool = 64
refresh_levels = 32
refresh_every = 16
[config.net]
depth = 1
[config.replay]
capacity = 2048
batch_size = 32
collect = 2
updates = 2
warmup = 256
[config.eval]
validation_levels = 8
test_levels = 8
"""


def write(folder: Path, text: str = TINY) -> Path:
    (folder / "tiny.toml").write_text(text)
    return folder / "tiny.toml"


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> tuple[Path, Counter[str]]:
    """A sweep's folder, and how often XLA compiled what for it."""
    folder, compiled = tmp_path_factory.mktemp("sweep"), Counter()

    def listen(event: str, *_: Any, **about: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled[about["fun_name"]] += 1

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        sweep.main([str(write(folder)), "--run-dir", str(folder / "all")])
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return folder / "all", compiled


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_lane_ends_and_a_bad_one_says_why(swept):
    folder, _ = swept
    lanes = rows(folder / "lanes.csv")
    assert [lane["status"] for lane in lanes] == ["finished"] * 4 + ["failed"] * 4
    assert all("iteration 0 (0 env-steps): not finite: " in lane["reason"] for lane in lanes[4:])
    assert [(lane["point"], lane["seed"]) for lane in lanes] == [(str(n // 2), str(n % 2)) for n in range(8)]
    table = rows(folder / "table.csv")
    assert len(table) == 4 * (4 + 2)  # of each sound lane an evaluation at each log point, and two at the end
    assert {row["env_steps"] for row in table if row["policy"] == "final"} == {"8192"}
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["counts"] == {"waiting": 0, "running": 0, "finished": 4, "stopped": 0, "failed": 4}
    assert summary["env_steps"] == 4 * 8192 + 4 * 2048
    assert summary["best"]["point"] in (0, 1)
    assert "report.html" in {path.name for path in folder.iterdir()}
    assert not list(folder.glob("g*/checkpoints"))


def test_a_lane_alone_is_the_same_run(swept, tmp_path, capsys):
    (folder, _), number = swept, 3
    train.main(["--config", str(folder), "--lane", str(number), "--run-dir", str(tmp_path / "alone")])
    row = number % 2
    mine: dict[str, Any] = {}
    for policy in ("best", "final"):
        alone = describe(tmp_path / "alone" / "policy" / policy)["leaves"]
        mine = describe(folder / f"g{number // 2}" / "policy" / policy)["leaves"]
        assert alone.keys() == mine.keys()
        assert all(leaf["sha256"] == mine[name]["sha256"][row] for name, leaf in alone.items())
    said = [json.loads(line) for line in (tmp_path / "alone" / "metrics.jsonl").read_text().splitlines()]
    said = [{name.removeprefix("validation/"): value for name, value in line.items()} for line in said]
    table = [row for row in rows(folder / "table.csv") if row["lane"] == str(number)]
    seen = [{name: float(row[name]) for name in said[0]} for row in table if row["levels"] == "validation"]
    assert seen == said
    summary = json.loads((tmp_path / "alone" / "summary.json").read_text())
    final = next(row for row in table if row["policy"] == "final")
    assert all(float(final[name]) == summary[name] for name in ("success_rate", "spl", "regret", "q_error"))
    capsys.readouterr()
    evaluate.main([str(folder), "--lane", str(number), "--json"])
    assert json.loads(capsys.readouterr().out)["regret"] == summary["regret"]
    inspect.main([str(folder), "--lane", str(number), "--verify"])
    assert next(iter(mine.values()))["sha256"][row][:12] in capsys.readouterr().out


def test_compiles_groups_not_lanes(swept):
    _, compiled = swept  # eight lanes in two groups
    own = {"jit(fill)", "jit(advance)", "jit(judge)", "jit(errors)", "jit(_sound)"}
    assert {name: compiled[name] for name in own} == dict.fromkeys(own, 2)


def test_run_again_it_runs_nothing_again(swept, capsys):
    folder, _ = swept
    before = {path: path.stat().st_mtime_ns for path in folder.glob("g*/*")}
    sweep.main(["--resume", str(folder)])
    sweep.main([str(folder.parent / "tiny.toml"), "--run-dir", str(folder)])
    assert {path: path.stat().st_mtime_ns for path in folder.glob("g*/*")} == before
    assert "4 finished, 4 failed" in capsys.readouterr().out


class Gone(BaseException):
    """The end of a process, for this process."""


def test_stopped_and_gone_on_with(swept, tmp_path, monkeypatch, capsys):
    folder, _ = swept
    plain = group.Group._advance
    calls = 0

    def stopping(self: group.Group) -> None:
        nonlocal calls
        calls += 1
        plain(self)
        if calls == 6:
            raise Gone  # as after kill -9, nothing is saved; python -m bench.crash --sweep does the real thing
        if calls in (3, 9, 13):
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(group.Group, "_advance", stopping)
    flags, told = [str(write(tmp_path)), "--run-dir", str(tmp_path / "all")], []
    while True:
        try:
            sweep.main(flags)
        except Gone:
            continue
        except KeyboardInterrupt as stop:
            told.append(str(stop))
            flags = ["--resume", str(tmp_path / "all")]
            newest = RunFolder(tmp_path / "all" / "g0").saved()[:1]
            if len(told) == 2:  # what is damaged is not gone on from
                (newest[0] / "about.json").write_text("{}")
            if len(told) == 1:  # a lane under way can be looked at
                told_bytes = json.loads((tmp_path / "all" / "manifest.json").read_text())["groups"][0]
                leaves = describe(newest[0])["leaves"]
                assert 0 < sum(leaf["bytes"] for leaf in leaves.values()) <= told_bytes["checkpoint_bytes"]
                assert leaves["mine/birth"]["shape"] == [2]  # the lanes that run, and no other
                assert leaves["best/params/torso/Dense_0/bias"]["shape"][0] == 4  # the policies of all
                evaluate.main([str(tmp_path / "all"), "--lane", "0", "--policy", "latest"])
                with pytest.raises(ConfigError, match="has not ended; look at --policy latest"):
                    evaluate.main([str(tmp_path / "all"), "--lane", "0"])
                with pytest.raises(ConfigError, match="this lane has not begun"):
                    evaluate.main([str(tmp_path / "all"), "--lane", "7", "--policy", "latest"])
        else:
            break
    assert len(told) == 3
    assert "going on from" in capsys.readouterr().err
    assert set(told) == {f"stopped; go on with: python -m lepton_jax.sweep --resume {tmp_path / 'all'}"}
    assert sweep_fingerprint(tmp_path / "all") == sweep_fingerprint(folder)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ("seeds = 3", "lanes: 12, begun with 8"),
        ("seeds = [0, 5]", "lane 1: seed = 5, begun with 1"),
        ("places = 4", "places: 4, begun with 2"),
    ],
)
def test_another_sweep_in_the_same_folder_is_refused(swept, tmp_path, changed, told):
    folder, _ = swept
    key = changed.split(" ")[0]
    text = "\n".join(changed if line.startswith(f"{key} =") else line for line in TINY.splitlines())
    with pytest.raises(ConfigError, match=f"was begun as another sweep: {told.split(':')[0]}") as error:
        sweep.main([str(write(tmp_path, text)), "--run-dir", str(folder)])
    assert told in str(error.value)


def test_a_sweep_file_changed_since_is_refused(swept, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(swept[0], folder)
    file = folder / "sweep.toml"
    file.write_text(file.read_text().replace('"agent.lr" = 0.001', '"agent.lr" = 0.002'))
    for call in (lambda: sweep.main(["--resume", str(folder)]), lambda: evaluate.main([str(folder), "--lane", "0"])):
        with pytest.raises(ConfigError, match=r"changed since the results were begun: lane 0: agent.lr = 0.002, begun"):
            call()


def test_what_cannot_be_is_refused_and_leaves_nothing(swept, tmp_path, monkeypatch):
    file, folder = str(write(tmp_path)), tmp_path / "none"
    flags = [file, "--run-dir", str(folder)]
    for more, told in {
        ("--grid", "agent.learning_rate=1"): "unknown setting 'agent.learning_rate'",
        ("--grid", "agent.lr="): "agent.lr=: expected KNOB=VALUE,VALUE",
        ("--env.size", "8"): "env.size = 8",
        ("--places", "100000000"): "places = 100000000",
        ("--halving", "2:9"): "halving.first = 9",
    }.items():
        with pytest.raises(ConfigError, match=told):
            sweep.main([*flags, *more])
    monkeypatch.setattr(memory, "memory_bytes", lambda: 1000)
    with pytest.raises(ConfigError, match="do not fit"):
        sweep.main(flags)
    assert not folder.exists()
    with pytest.raises(ConfigError, match="holds no sweep"):
        sweep.main(["--resume", str(folder)])
    with pytest.raises(ConfigError, match=r"--lane 8: .* has lanes 0 to 7"):
        evaluate.main([str(swept[0]), "--lane", "8"])
    with pytest.raises(ConfigError, match="is a sweep; choose one of its lanes: --lane 0 to 7"):
        train.main(["--config", str(swept[0])])
    with pytest.raises(ConfigError, match="of which sweep"):
        train.main(["--lane", "3"])
    with pytest.raises(ConfigError, match="goes on as it was begun; leave --seeds away"):
        sweep.main(["--resume", str(swept[0]), "--seeds", "3"])


def test_a_plan_alone_leaves_nothing(tmp_path, capsys):
    sweep.main([str(write(tmp_path)), "--run-dir", str(tmp_path / "none"), "--dry-run"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "8 lanes: 4 points x 2 seeds, 65,536 env-steps; 2 groups, each compiled once"
    assert lines[2].startswith("group 0 (net.width = 8): 4 lanes, 2 at once of ")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("manifest.json", b"{}", "manifest.json: damaged"),
        ("manifest.json", b"{", "manifest.json: damaged"),
        ("sweep.toml", b"\xff\xfe\x00", "sweep.toml: damaged: is no UTF-8 text"),
        ("g0/done.json", b'{"seats', "done.json: damaged"),
        ("g1/rows.jsonl", b"?\n", "rows.jsonl, line 1"),
    ],
)
def test_a_damaged_file_is_named(swept, tmp_path, name, content, told):
    folder = tmp_path / "copy"
    shutil.copytree(swept[0], folder)
    (folder / name).write_bytes(content)
    with pytest.raises(ConfigError, match=told):
        sweep.main(["--resume", str(folder)])


def test_what_stopped_a_sweep_is_told_though_the_tables_fail(tmp_path, monkeypatch, capsys):
    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device", "table.csv")

    def stop(self: group.Group) -> None:
        raise KeyboardInterrupt("stopped")

    monkeypatch.setattr(results, "write", full)
    monkeypatch.setattr(group.Group, "_seat", stop)
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        sweep.main([str(write(tmp_path)), "--run-dir", str(tmp_path / "all")])
    assert "the tables could not be written: [Errno 28]" in capsys.readouterr().err
