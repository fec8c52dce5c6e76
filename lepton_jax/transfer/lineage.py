"""The chain of sources that a run came from, for people. Imports no jax."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SAID = ("policy", "lane", "env_steps", "iteration")
CONTROLS = {"permuted": "permuted", "random-norm": "replaced by random ones of the same norm"}


def lineage_lines(ancestors: Iterable[Mapping[str, Any]]) -> list[str]:
    """A chain of sources, newest first."""
    made = []
    for number, one in enumerate(ancestors):
        kind = [str(one["kind"])] if one.get("kind") else []
        whose = ", ".join([*kind, *(f"{name} {one[name]}" for name in SAID if one.get(name) is not None)])
        control = f", {CONTROLS.get(str(one['control']), one['control'])}" if one.get("control") else ""
        plan = f", plan {str(one['plan_digest'])[:16]}" if one.get("plan_digest") else ""
        made.append(f"{'  ' * number}grafted from {one['path']} ({whose}{control}{plan})")
    return made
