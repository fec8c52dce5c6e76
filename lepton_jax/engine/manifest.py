"""What a run ran on and with: enough to repeat it, and to know when a repetition is not the same."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

import lepton_jax
from lepton_jax.config import Config
from lepton_jax.engine.installation import usable_cores
from lepton_jax.engine.program import Shape
from lepton_jax.engine.setup import Setup

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "gymnax", "chex", "numpy")


def describe(
    config: Config, setup: Setup, shape: Shape, bytes_per_transition: float, state_bytes: int
) -> dict[str, Any]:
    """The manifest of a run, as JSON."""
    return {
        "environment": environment(setup.shards),
        "git_revision": git_revision(),
        "matmul_precision": config.matmul_precision,
        "seed": config.seed,
        "level_seed": config.env.level_seed,
        "levels": {
            "note": setup.note,
            "training": config.env.levels or "endless",
        },
        "iterations": {
            "count": shape.iterations,
            "per_segment": shape.per_segment,
            "per_log_point": shape.per_segment * shape.per_point,
            "warmup": shape.warmup,
            "env_steps_each": shape.steps,
        },
        "replay": {
            "kind": "rollout" if setup.agent.learns_from == "rollout" else "replay",
            "transitions": shape.blocks * shape.steps,
            "bytes_per_transition": bytes_per_transition,
        },
        "state_bytes": state_bytes,
    }


def environment(shards: int) -> dict[str, Any]:
    """All that must be equal for equal settings to give equal bits."""
    return {
        "lepton_jax": lepton_jax.__version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
        "platform": jax.default_backend(),
        "device": device_name(),
        "processor": processor_name(),  # XLA compiles for the very model
        "devices": jax.device_count(),
        "shards": shards,
        "threads": usable_cores(),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }


def changes(lineage: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line if the last of the sessions that made a run has another environment than the one before."""
    if len(lineage) < 2:
        return []
    before, now = (session["environment"] for session in lineage[-2:])
    changed = [
        f"{name} {before.get(name)!r} -> {now.get(name)!r}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    return [f"not bit for bit what one undisturbed run would be: {', '.join(changed)}"] if changed else []


def processor_name() -> str:
    """The model of the CPU, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def device_name() -> str:
    """The device that computes, such as ``NVIDIA H100`` or ``cpu``."""
    return jax.devices()[0].device_kind


def git_revision() -> str | None:
    """The revision of the checkout this package is run from, marked ``+`` if it has changes; None outside one."""
    root = Path(lepton_jax.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        git = lambda *words: (
            subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True).stdout
        )
        return git("rev-parse", "HEAD").strip() + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
