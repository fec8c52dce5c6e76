"""Which runs are the same computation, and which are judged on the same levels. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from lepton_jax.config import Config
from lepton_jax.report.compare_runs import Trial

ASIDE = ("run_dir", "display", "track")  # settings that are about where a run is kept and shown


def essence(config: Config) -> Config:
    """The settings that the numbers of a run depend on, the others as they are by default."""
    free = {name: getattr(Config(), name) for name in (*ASIDE, "checkpoint")}
    return dataclasses.replace(config, **free)


def warnings(trials: Sequence[Trial]) -> Iterator[str]:
    """A sentence on each thing that keeps runs from being compared: other levels, no end yet, failure."""
    first, *others = trials
    if unlike := [trial for trial in others if levels_alike(first, trial) is False]:
        yield (
            f"The test levels of {_names(unlike)} are not those of {first.name}: their figures do not compare. "
            "python -m lepton_jax.evaluate RUN --levels FILE judges runs on the same ones."
        )
    if unknown := [trial for trial in others if levels_alike(first, trial) is None]:
        yield (
            f"Whether the test levels of {_names(unknown)} are those of {first.name} is not known: settings that make "
            "them differ, and lanes keep no digest."
        )
    if unfinished := [trial for trial in trials if trial.status in ("unfinished", "waiting")]:
        yield f"Not at the end: {_names(unfinished)}."
    if failed := [trial for trial in trials if trial.status in ("failed", "stopped")]:
        yield f"Failed, or stopped early: {_names(failed)}."


def levels_alike(one: Trial, other: Trial) -> bool | None:
    """Whether two runs are judged on the same levels; None where that cannot be told."""
    if one.fingerprint and other.fingerprint:
        return one.fingerprint == other.fingerprint
    if one.levels == other.levels:
        return True
    return None if one.levels[0] == other.levels[0] and len(one.levels) > 2 else False


def _names(trials: Sequence[Trial]) -> str:
    return ", ".join(trial.name for trial in trials)


def same(trials: Sequence[Trial]) -> Iterator[str]:
    """A sentence for each run that has the settings of one before it."""
    first: dict[Config, Trial] = {}
    for trial in trials:
        before = first.setdefault(essence(trial.config), trial)
        if before is not trial:
            yield f"{_head(before, trial)}; {_figures_alike(before, trial)}."


def _head(one: Trial, other: Trial) -> str:
    """How two runs with equal settings were made."""
    a, b = one.made_by, other.made_by
    if not a or not b:
        return f"{other.name} has the settings of {one.name}"
    if changed := [name for name in dict.fromkeys((*a, *b)) if a.get(name) != b.get(name)]:
        return f"{other.name} has the settings of {one.name}, but not its {', '.join(changed)}"
    if "sessions" in a:
        return f"{other.name} has the settings of {one.name}, and both went on elsewhere in between"
    doubt = ", if their checkouts were changed alike" if str(a.get("revision")).endswith("+") else ""
    return f"{other.name} is the same computation as {one.name}{doubt}"


def _figures_alike(one: Trial, other: Trial) -> str:
    """Whether what both have told is equal bit for bit, and where it first is not."""
    theirs = {line["env_steps"]: line for line in other.curve}
    shared = [(line, theirs[line["env_steps"]]) for line in one.curve if line["env_steps"] in theirs]
    if not shared:
        return "they have no log point in common yet"
    for a, b in shared:
        if wrong := next((name for name in dict.fromkeys((*a, *b)) if a.get(name) != b.get(name)), None):
            return (
                f"figures differ from {int(a['env_steps']):,} env-steps on: {wrong} is {a.get(wrong)} and "
                f"{b.get(wrong)}"
            )
    told = [f"{len(shared)} log points"]
    for policy in ("final", "best"):
        a, b = getattr(one, policy), getattr(other, policy)
        if a and b and a != b:
            return f"log points are equal bit for bit, but test figures of the {policy} policy are not"
    if one.final and other.final:
        told.append("test figures")
    if common := one.policies.keys() & other.policies.keys():
        if any(one.policies[name] != other.policies[name] for name in common):
            return "figures are equal bit for bit, but parameters of their policies are not"
        told.append("parameters")
    return f"figures are equal bit for bit: {', '.join(told)}"
