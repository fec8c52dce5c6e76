"""What an experiment is, and how it is run: arms that differ in flags, the same seeds for each, runs one by one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from lepton_jax.cli import parse_config
from lepton_jax.config import Config
from lepton_jax.engine.policies import read_run

RUNS = Path("runs/experiments")


@dataclass(frozen=True)
class Protocol:
    """A question, and the runs that answer it."""

    question: str
    arms: Mapping[str, Sequence[str]]  # name -> flags of lepton_jax.train
    seeds: Sequence[int] = range(5)
    measure: str = "success_rate"  # of summary.json, of the final policy
    pairs: Sequence[tuple[str, str]] = ()  # arms to be compared seed by seed
    judgements: Mapping[str, Sequence[str]] = field(default_factory=dict)  # name -> flags of lepton_jax.evaluate


def carry_out(name: str, protocol: Protocol) -> dict[str, Any]:
    """Runs what has not been run yet, seed by seed and arm by arm, and gathers it.

    Returns:
      JSON: for each arm its command, and a list over the seeds of each figure of summary.json and of each judgement;
      for each pair the mean difference with its 95% interval (Student's t over the seeds); the environment.
    """
    seen: dict[str, list[dict[str, Any]]] = {arm: [] for arm in protocol.arms}
    environment: dict[str, Any] = {}
    for seed in protocol.seeds:
        for arm, flags in protocol.arms.items():
            folder = RUNS / name / f"{arm}-s{seed}".replace(" ", "-")
            asked = [*flags, "--seed", str(seed), "--run-dir", str(folder), "--display", "quiet"]
            begun = (folder / "config.toml").exists()
            if begun and _comparable(read_run(folder)) != _comparable(parse_config(asked, "experiments", "")[0]):
                raise SystemExit(f"{folder} was made with other settings; move it away")
            if not (folder / "summary.json").exists():
                print(f"{name}: {arm}, seed {seed}", flush=True)
                _call("train", ["--resume", str(folder)] if begun else asked)
            summary = json.loads((folder / "summary.json").read_text())
            manifest = json.loads((folder / "manifest.json").read_text())
            judged = {
                label: json.loads(_call("evaluate", [str(folder), *more, "--json"]))[protocol.measure]
                for label, more in protocol.judgements.items()
            }
            timing = [json.loads(line) for line in (folder / "timing.jsonl").read_text().splitlines()]
            seen[arm].append(summary | judged | {"seconds": timing[-1]["seconds"]})
            environment = manifest["environment"]
    kept = (protocol.measure, "env_steps", "env_steps_per_second", "seconds", "wall_seconds", *protocol.judgements)
    arms = {
        arm: {
            "command": " ".join(["python -m lepton_jax.train", *protocol.arms[arm]]),
            "seeds": list(protocol.seeds),
            **{figure: [run[figure] for run in runs] for figure in kept},
        }
        for arm, runs in seen.items()
    }
    return {
        "question": protocol.question,
        "arms": arms,
        "differences": {f"{a} - {b}": difference(arms[a], arms[b], protocol.measure) for a, b in protocol.pairs},
        "environment": environment,
    }


def difference(a: Mapping[str, Any], b: Mapping[str, Any], measure: str) -> dict[str, float]:
    """The mean of a - b over paired seeds, and the ends of its 95% interval."""
    gaps = np.array(a[measure]) - np.array(b[measure])
    half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps))
    return {"mean": float(gaps.mean()), "low": float(gaps.mean() - half), "high": float(gaps.mean() + half)}


def _comparable(config: Config) -> Config:
    """A run's settings without those that change nothing of what it computes."""
    return replace(config, run_dir="", display="auto")


def _call(command: str, flags: Sequence[str]) -> str:
    done = subprocess.run([sys.executable, "-m", f"lepton_jax.{command}", *flags], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(
            f"python -m lepton_jax.{command} {' '.join(flags)} ended with {done.returncode}: {done.stderr}"
        )
    return done.stdout
