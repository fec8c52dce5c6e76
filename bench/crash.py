"""Kills runs at random instants, resumes them, and compares what comes of it with a run nobody disturbed."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lepton_jax.engine.folder import RunFolder
from lepton_jax.engine.integrity import describe

# About five seconds, half of them training, with a checkpoint under way most of the time.
SMALL = """
total_steps = 1_000_000
display = "quiet"
[env]
num_envs = 256
pool = 1024
refresh_levels = 256
refresh_every = 16
[net]
width = 32
[agent]
eps_ladder = true
[replay]
capacity = 16_384
batch_size = 64
updates = 1
warmup = 1024
[eval]
validation_levels = 64
test_levels = 64
[checkpoint]
every_iterations = 64
"""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.crash", description=__doc__, allow_abbrev=False)
    parser.add_argument("--count", type=int, default=50, help="kills (default: 50)")
    parser.add_argument("--seed", type=int, default=0, help="of the instants (default: 0)")
    parser.add_argument("--signal", default="SIGKILL", choices=("SIGKILL", "SIGTERM", "SIGINT"), help="what kills")
    parser.add_argument("--sweep", action="store_true", help="kill sweeps, each until it ends; compare their tables")
    args = parser.parse_args(argv)
    if args.sweep:
        with tempfile.TemporaryDirectory() as scratch:
            lines, equal = crash_sweep(Path(scratch), args.count, args.seed, getattr(signal, args.signal))
        print("\n".join(lines))
        print(f"{args.count} kills: all sweeps {'equal' if equal else 'DO NOT EQUAL'} the undisturbed one")
        return 0 if equal else 1
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch)
        undisturbed(run)  # fills the compilation cache
        shutil.rmtree(run / "whole")
        equal, lines = crash(run, undisturbed(run), args.count, args.seed, getattr(signal, args.signal))
    print("\n".join(lines))
    print(f"{equal} of {args.count} killed runs, resumed, equal the undisturbed one bit for bit")
    return 0 if equal == args.count else 1


def undisturbed(scratch: Path) -> float:
    """Trains ``whole`` in the folder ``scratch``, in which its settings are left too; the seconds that took."""
    (scratch / "small.toml").write_text(SMALL)
    began = time.perf_counter()
    train(_start(scratch, "whole"))
    return time.perf_counter() - began


def _start(scratch: Path, name: str) -> list[str]:
    return ["--config", str(scratch / "small.toml"), "--run-dir", str(scratch / name)]


def crash(scratch: Path, seconds: float, count: int, seed: int, number: int) -> tuple[int, list[str]]:
    """Kills runs within ``seconds`` and resumes them.

    Args:
      scratch: the folder in which ``undisturbed`` has left its run.
      seconds: the latest instant of a kill. Runs that end before they are killed do not count.
      count: kills. seed: of their instants. number: the signal that kills.

    Returns:
      How many were resumed to an end equal to that of the undisturbed run, and a line on each.
    """
    whole = fingerprint(scratch / "whole")
    lines = [f"undisturbed: {seconds:.1f} s"]
    equal, draw, folder = 0, random.Random(seed), scratch / "disturbed"
    while len(lines) <= count:
        shutil.rmtree(folder, ignore_errors=True)
        after = draw.uniform(0.0, seconds)
        if not train(_start(scratch, folder.name), number, after):
            continue  # it had ended before
        where = state(folder)
        begun = folder.is_dir() and any(folder.iterdir())
        train(["--resume", str(folder)] if begun else _start(scratch, folder.name))
        same = fingerprint(folder) == whole
        equal += same
        lines.append(f"{len(lines):3} killed after {after:5.2f} s, {where}: {'equal' if same else 'DIFFERS'}")
    return equal, lines


def train(flags: list[str], number: int | None = None, after: float = 0.0, command: str = "train") -> bool:
    """Runs a command, to its end or for ``after`` seconds; True if it was killed."""
    line = [sys.executable, "-m", f"lepton_jax.{command}", *flags]
    process = subprocess.Popen(line, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        out, _ = process.communicate(timeout=after if number is not None else None)
    except subprocess.TimeoutExpired:
        process.send_signal(number or 0)
        process.communicate()
        return True
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(line)} ended with status {process.returncode}:\n{out}")
    return False


# Two groups, more lanes than places, and halving, so that a kill can fall into anything a sweep does.
SWEEP = """
seeds = 2
places = 2
[grid]
agent.lr = [1e-4, 2e-3, 1e38]
net.width = [16, 32]
[halving]
eta = 2
first = 4
"""


def crash_sweep(scratch: Path, kills: int, seed: int, number: int) -> tuple[list[str], bool]:
    """Kills a sweep at random instants until it ends, then a new one, until there were ``kills`` kills.

    Args:
      scratch: a folder.
      kills, seed: how many, and of the instants.
      number: the signal that kills.

    Returns:
      A line on each kill and each end, and whether all tables and policies equal those of a sweep nobody disturbed.
    """
    config = "[config]" + SMALL.replace("\n[", "\n[config.").replace("1_000_000", "800_000\nlog_points = 10")
    (scratch / "sweep.toml").write_text(SWEEP + config)
    flags = lambda name: [str(scratch / "sweep.toml"), "--run-dir", str(scratch / name)]
    train(flags("whole"), command="sweep")  # fills the compilation cache
    shutil.rmtree(scratch / "whole")
    began = time.perf_counter()
    train(flags("whole"), command="sweep")
    seconds = time.perf_counter() - began
    whole, folder = sweep_fingerprint(scratch / "whole"), scratch / "disturbed"
    draw, lines, killed, equal = random.Random(seed), [f"undisturbed: {seconds:.1f} s"], 0, True
    while True:
        after = draw.uniform(0.25, 0.45) * seconds  # less would not get far enough to leave anything
        if train(flags(folder.name), number if killed < kills else None, after, "sweep"):
            killed += 1
            groups = sorted(folder.glob("g*")) if folder.is_dir() else []
            told = "; ".join(map(state, groups)) or "no group yet"
            lines.append(f"{killed:3} killed after {after:5.2f} s: {told}")
            continue
        same = sweep_fingerprint(folder) == whole
        equal &= same
        lines.append(f"    came to its end: {'equal' if same else 'DIFFERS'}")
        if killed >= kills:
            return lines, equal
        shutil.rmtree(folder)  # the kills that are left are of a new one


def sweep_fingerprint(folder: Path) -> dict[str, Any]:
    """The tables of a sweep, byte for byte, and the digests of all policies."""
    found: dict[str, Any] = {name: (folder / name).read_bytes() for name in ("table.csv", "lanes.csv")}
    for group in sorted(folder.glob("g*")):
        for policy in ("final", "best"):
            leaves = describe(group / "policy" / policy)["leaves"]
            found[f"{group.name} {policy}"] = {name: leaf["sha256"] for name, leaf in leaves.items()}
    return found


def fingerprint(folder: Path) -> dict[str, Any]:
    """All that must be equal: the digests of the whole state and of the policies, and the metrics, byte for byte."""
    run = RunFolder(folder)
    leaves = lambda path: {name: leaf["sha256"] for name, leaf in describe(path)["leaves"].items()}
    summary = json.loads(run.summary.read_text())
    return {
        "state": leaves(run.saved()[0]),
        "final": leaves(run.policy("final")),
        "best": leaves(run.policy("best")),
        "metrics": (folder / "metrics.jsonl").read_bytes(),
        "success": (summary["success_rate"], summary["best"]),
    }


def state(folder: Path) -> str:
    """In words, what the kill left."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return "nothing there yet"
    saved = RunFolder(folder).saved()
    words = [f"{len(saved)} checkpoints", *(f"newest {path.name}" for path in saved[:1])]
    return ", ".join(words + [f"half done {path.name}" for path in (folder / "checkpoints").glob(".*")])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
