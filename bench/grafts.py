"""Spoils plans and the sources they name, and verifies them: each must be refused by name, or make no difference.

One small source lies in four forms: a run, a tree of Orbax, a .npz and a .safetensors file. A case spoils the plan, or
the arrays before they are written, or the bytes of the files; then the command ``graft verify`` meets it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.flip import tiny
from bench.spoil import EXTRA, FLIPPED, NAMES, PLAN, WAYS, WRITERS, Arrays, Case, Spoilt
from lepton_jax import graft
from lepton_jax.cli import guarded
from lepton_jax.engine import checkpoint
from lepton_jax.engine.launch import begin
from lepton_jax.engine.run import go
from lepton_jax.transfer import asking


class Sources(NamedTuple):
    """What is spoilt."""

    folder: Path  # with one source of each kind, and config.toml of the run that is grafted
    arrays: Arrays


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.grafts", description=__doc__, allow_abbrev=False)
    parser.add_argument("--count", type=int, default=300, help="cases (default: 300)")
    parser.add_argument("--processes", type=int, default=10, help="of them as processes too (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        config = tiny(Path(scratch) / "run")
        final = checkpoint.names(checkpoint.to_host(go(begin(config)).final))
        sources = write_sources(Path(scratch) / "sources", final, (Path(scratch) / "run" / "config.toml").read_text())
        told = spoil(sources, args.count, args.seed, args.processes)
    table = Counter((how, outcome.partition(":")[0]) for how, outcome in told)
    for (how, outcome), number in sorted(table.items()):
        print(f"{how:<16}{outcome:<44}{number:>6}")
    wrong = [f"{how}: {outcome}" for how, outcome in told if outcome.startswith("WRONG")]
    print("\n".join([*wrong, f"{len(told):,} cases, {len(wrong)} WRONG"]))
    return 1 if wrong else 0


def write_sources(folder: Path, params: Mapping[str, np.ndarray], config: str) -> Sources:
    """A source of each kind. ``params``: a policy, by name; ``config``: TOML of the run that is grafted."""
    arrays = {**params, EXTRA: np.arange(3, dtype=np.float32)}
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(config)
    for kind in WRITERS:
        WRITERS[kind](folder / NAMES[kind], arrays)
    (folder / NAMES["run"] / "config.toml").write_text(config)
    lineage = [{"path": "/before", "kind": "run", "policy": "best"}]
    (folder / NAMES["run"] / "manifest.json").write_text(json.dumps({"graft": {"lineage": lineage}}))
    return Sources(folder, arrays)


def spoil(sources: Sources, count: int, seed: int, processes: int = 0) -> list[tuple[str, str]]:
    """How each of ``count`` cases was spoilt, and its outcome; those that are not good begin with WRONG.

    Of ``processes`` cases, drawn at random, what a process of its own says is compared as well. Orbax
    names its files anew each time, so that ``seed`` does not repeat the damage to them byte for byte.
    """
    draw, told = random.Random(seed), []
    alone = set(random.Random(seed).sample(range(count), processes))
    expected: dict[str, str] = {}  # by kind: what is said of the source as it was
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(count):
            kind, (how, way) = draw.choice(list(WRITERS)), draw.choice(list(WAYS.items()))
            folder = Path(scratch) / str(number)
            folder.mkdir()
            copy = shutil.copytree if (sources.folder / NAMES[kind]).is_dir() else shutil.copy
            copy(sources.folder / NAMES[kind], folder / NAMES[kind])
            shutil.copy(sources.folder / "config.toml", folder)
            plan = asking.to_toml(PLAN._replace(source=NAMES[kind]))
            (folder / "plan.toml").write_text(plan)
            if kind not in expected:
                status, expected[kind], told_wrong = verify(folder)
                assert status == 0, told_wrong
            spoilt = way(Case(draw, kind, folder, dict(sources.arrays), plan))
            (folder / "plan.toml").write_text(spoilt.plan)
            before = contents(folder)
            found = verify(folder)
            outcome = judge(spoilt, found, expected[kind], how == FLIPPED)
            if number in alone:
                again = verify_alone(folder)  # of several damaged leaves it may name another
                if judge(spoilt, again, expected[kind], how == FLIPPED) != outcome:
                    outcome = f"WRONG: another process says {again}"
            if contents(folder) != before:
                outcome = "WRONG: it has written"
            about = "" if not outcome.startswith("WRONG") else f" [{kind}, case {number}, names {spoilt.names}]"
            told.append((how, outcome + about))
            shutil.rmtree(folder)
    return told


def judge(spoilt: Spoilt, found: tuple[Any, str, str], expected: str, flipped: bool) -> str:
    """The outcome.

    Args:
      spoilt: what was done. found: status, output and errors. expected: the output for the source as it was.
      flipped: a bit of a file was, which in a format without digests can become another number unnoticed.
    """
    status, out, err = found
    lines = err.splitlines()
    if status == 2 and len(lines) == 1 and not out:
        named = any(name in err for name in spoilt.names)
        return "refused by name" if named else f"WRONG: does not name it: {err!r}"
    if status != 0 or lines:
        return f"WRONG: status {status}, {len(lines)} lines: {err[-1000:]!r}"
    if out == expected:
        return "accepted, and makes no difference" if spoilt.harmless else "WRONG: accepted"
    others = set(out.splitlines()) - set(expected.splitlines())
    if flipped and others and all("the source states no digest" in line for line in others):
        return "accepted, and said to be without digest"
    return f"WRONG: accepted with other values: {sorted(others)}"


def _argv(folder: Path) -> list[str]:
    return ["verify", str(folder / "plan.toml"), "--config", str(folder / "config.toml")]


def verify(folder: Path) -> tuple[Any, str, str]:
    """Status, output and errors of the command, in this process."""
    out, err, status = io.StringIO(), io.StringIO(), None
    before, sys.argv = sys.argv, ["graft", *_argv(folder)]
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(60)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            guarded(graft.main)
    except SystemExit as stop:
        status = stop.code
    except BaseException as error:
        return f"TRACEBACK {type(error).__name__}", out.getvalue(), str(error)
    finally:
        signal.alarm(0)
        sys.argv = before
    return status, out.getvalue(), err.getvalue().replace(str(folder), "")


def verify_alone(folder: Path) -> tuple[int, str, str]:
    """The same of a process of its own."""
    words = [sys.executable, "-m", "lepton_jax.graft", *_argv(folder)]
    made = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    return made.returncode, made.stdout, made.stderr.replace(str(folder), "")


def _too_long(number: int, frame: Any) -> None:
    raise TimeoutError("this should take a second")


def contents(folder: Path) -> dict[str, int]:
    """All files, with their sizes."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
