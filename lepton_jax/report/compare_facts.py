"""What a comparison of runs says, before it is shown: differences, figures, curves, and what is the same. Pure."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lepton_jax.config import Config, ConfigError
from lepton_jax.engine.metrics import FIGURES
from lepton_jax.report.compare_runs import Trial
from lepton_jax.report.compare_same import ASIDE, essence, levels_alike, same, warnings
from lepton_jax.settings import differences, flat, nearest

_BETTER = {"success_rate": 1, "spl": 1, "mean_return": 1, "regret": -1, "q_error": -1}  # of mean_length neither is
_REWARDS = ("goal_reward", "goal_ratio", "step_cost", "wall_penalty", "lava_penalty", "time_decay", "shaping")


class Entry(NamedTuple):
    """What is compared: a run, or several that differ in their seeds only."""

    letter: str
    trials: tuple[Trial, ...]

    @property
    def name(self) -> str:
        first, *others = (trial.name for trial in self.trials)
        return f"{first} and {len(others)} more" if others else first


class Value(NamedTuple):
    """A figure of an entry: mean, least and greatest over the ``runs`` that have one."""

    mean: float
    low: float
    high: float
    runs: int


class Row(NamedTuple):
    """A figure of all entries, and the numbers of those that are best; none where that cannot be said."""

    name: str
    values: tuple[Value | None, ...]
    best: frozenset[int]


class Curve(NamedTuple):
    """A metric by env-steps, where all runs of an entry have it; mean, least and greatest of them."""

    env_steps: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class Comparison(NamedTuple):
    """All that is told of some runs."""

    entries: tuple[Entry, ...]
    metric: str
    curves: tuple[Curve, ...]  # of the metric, one an entry
    settings: tuple[tuple[str, tuple[Any, ...]], ...]  # that differ: name and value of each entry
    made_by: tuple[tuple[str, tuple[Any, ...]], ...]  # versions and devices that differ
    common: Mapping[str, Any]  # those that do not
    figures: tuple[Row, ...]
    same: tuple[str, ...]  # sentences on runs that are the same computation
    warnings: tuple[str, ...]  # sentences on what cannot be compared


def compare(trials: Sequence[Trial], metric: str | None = None, by_config: bool = False) -> Comparison:
    """Compares runs.

    Args:
      trials: what is compared, two or more.
      metric: of the curves, a name in metrics.jsonl; ``spl`` is short for ``validation/spl``. By default the
        validation success rate where all have one, else the mean return.
      by_config: runs that differ in their seeds only are one entry.

    Raises:
      ConfigError: fewer than two entries, or no run has such a metric.
    """
    entries = _entries(trials, by_config)
    if len(entries) < 2:
        hint = "; they differ in their seeds only, so leave --by-config away" if len(trials) > 1 else ""
        raise ConfigError(f"{trials[0].name}: expected two or more runs to compare{hint}")
    metric = _metric(trials, metric)
    settings = _settings(entries)
    made_by, common = _made_by(entries)
    comparable = all(levels_alike(trials[0], trial) for trial in trials[1:])
    return Comparison(
        entries=entries,
        metric=metric,
        curves=tuple(curve(entry.trials, metric) for entry in entries),
        settings=settings,
        made_by=made_by,
        common=common,
        figures=tuple(_figures(entries, {name for name, _ in settings}, comparable)),
        same=tuple(same(trials)),
        warnings=(*warnings(trials), *_luck(entries, settings)),
    )


def curve_of(trials: Sequence[Trial], metric: str | None = None) -> tuple[tuple[Entry, ...], tuple[Curve, ...], str]:
    """Runs that are shown and not compared: entries, curves and the metric, as of ``compare``."""
    entries, name = _entries(trials, False), _metric(trials, metric)
    return entries, tuple(curve(entry.trials, name) for entry in entries), name


def as_json(told: Comparison) -> dict[str, Any]:
    """A comparison as JSON; a figure is its mean where an entry is one run, else mean, low, high and runs."""
    plain = lambda value: None if value is None else value._asdict() if value.runs > 1 else value.mean
    return {
        "runs": [
            {
                "letter": entry.letter,
                "names": [trial.name for trial in entry.trials],
                "status": [trial.status for trial in entry.trials],
                "env_steps": [trial.env_steps for trial in entry.trials],
            }
            for entry in told.entries
        ],
        "figures": {row.name: [plain(value) for value in row.values] for row in told.figures},
        "best": {row.name: [told.entries[n].letter for n in sorted(row.best)] for row in told.figures if row.best},
        "settings": {name: list(values) for name, values in told.settings},
        "made_by": {name: list(values) for name, values in told.made_by},
        "made_alike": dict(told.common),
        "same": list(told.same),
        "warnings": list(told.warnings),
        "metric": told.metric,
        "curves": [one._asdict() for one in told.curves],
    }


def curve(trials: Sequence[Trial], metric: str) -> Curve:
    """A metric of some runs at the env-steps at which all of them have it."""
    every = [
        {int(line["env_steps"]): float(line[metric]) for line in trial.curve if line.get(metric) is not None}
        for trial in trials
    ]
    steps = tuple(step for step in every[0] if all(step in one for one in every))
    values = [[one[step] for one in every] for step in steps]
    mean = tuple(math.fsum(each) / len(each) for each in values)
    return Curve(steps, mean, tuple(map(min, values)), tuple(map(max, values)))


def metrics_of(trials: Iterable[Trial]) -> list[str]:
    """The names of all metrics that some run has, in the order in which they are met."""
    lines = (line for trial in trials for line in trial.curve)
    met = dict.fromkeys(name for line in lines for name, value in line.items() if value is not None)
    return [name for name in met if name not in ("iteration", "env_steps")]


def _entries(trials: Sequence[Trial], by_config: bool) -> tuple[Entry, ...]:
    groups: dict[Any, list[Trial]] = {}
    for number, trial in enumerate(trials):
        key = _beside_the_seed(trial) if by_config else number
        groups.setdefault(key, []).append(trial)
    return tuple(Entry(_letter(number), tuple(group)) for number, group in enumerate(groups.values()))


def _beside_the_seed(trial: Trial) -> tuple[Any, ...]:
    """What runs that differ in their seeds only have in common: settings, and what no setting tells."""
    made = trial.made_by
    return dataclasses.replace(essence(trial.config), seed=0), made.get("graft", "none"), made.get("level pool")


def _letter(number: int) -> str:
    """A, B ... Z, AA, AB ..."""
    before, last = divmod(number, 26)
    return (_letter(before - 1) if before else "") + chr(ord("A") + last)


def _metric(trials: Sequence[Trial], asked: str | None) -> str:
    known = metrics_of(trials)
    if asked is None:
        everywhere = all("validation/success_rate" in metrics_of([trial]) for trial in trials if trial.curve)
        return "validation/success_rate" if everywhere else "validation/mean_return"
    for name in (asked, f"validation/{asked}"):
        if name in known:
            return name
    if not known:
        raise ConfigError(f"--metric {asked}: no run has reached a log point yet; expected one that has")
    short = nearest(asked, [*known, *(name.removeprefix("validation/") for name in known)])
    raise ConfigError(f"--metric {asked}{short}; expected one of {', '.join(known)}")


def _settings(entries: Sequence[Entry]) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    configs = [trial.config for entry in entries for trial in entry.trials]
    differing = {name for config in configs[1:] for name, _, _ in differences(configs[0], config)} - set(ASIDE)
    ordered = [name for name, _ in flat(Config()) if name in differing]
    told = lambda entry, name: _joined(dict(flat(trial.config))[name] for trial in entry.trials)
    return tuple((name, tuple(told(entry, name) for entry in entries)) for name in ordered)


def _joined(values: Iterable[Any]) -> Any:
    """The value that all have, or all values as text."""
    once = list(dict.fromkeys(map(_plain, values)))
    return once[0] if len(once) == 1 else ", ".join(map(str, once))


def _plain(value: Any) -> Any:
    """What can be told in a cell: the environments of several sessions are many."""
    return f"{len(value)}, not all alike" if isinstance(value, list) else value


def _made_by(entries: Sequence[Entry]) -> tuple[tuple[tuple[str, tuple[Any, ...]], ...], dict[str, Any]]:
    made = [[trial.made_by for trial in entry.trials] for entry in entries]
    names = dict.fromkeys(name for each in made for one in each for name in one)
    rows = {name: tuple(_joined(one.get(name) for one in each) for each in made) for name in names}
    known = [one for each in made for one in each if one]
    differ = lambda name: len({repr(one.get(name)) for one in known}) > 1
    changed = tuple((name, values) for name, values in rows.items() if differ(name))
    return changed, {name: known[0].get(name) for name in names if not differ(name)}


def _figures(entries: Sequence[Entry], differ: set[str], comparable: bool) -> Iterator[Row]:
    rewards, gamma = bool(differ & {f"env.{name}" for name in ("id", *_REWARDS)}), "agent.gamma" in differ
    unlike = {"mean_return": rewards, "regret": rewards or gamma, "q_error": rewards or gamma}
    for policy in ("final", "best"):
        for name in FIGURES:
            held = lambda trial, policy=policy, name=name: (getattr(trial, policy) or {}).get(name)
            better = _BETTER.get(name, 0) if comparable and not unlike.get(name, False) else 0
            yield from _row(f"{name}, {policy} policy", entries, held, better)
    yield from _row("env-steps", entries, lambda trial: trial.env_steps, 0)
    yield from _row("seconds of training", entries, lambda trial: trial.seconds, 0)
    yield from _row("seconds of the last session", entries, lambda trial: trial.wall_seconds, 0)
    speed = lambda trial: trial.env_steps / trial.seconds if trial.seconds else None
    yield from _row("env-steps/s", entries, speed, 1)


def _row(name: str, entries: Sequence[Entry], held: Callable[[Trial], float | None], better: int) -> Iterator[Row]:
    """A row, if there is a value at all."""
    values = [_value(held(trial) for trial in entry.trials) for entry in entries]
    ranked = [better * value.mean for value in values if value is not None]
    if not ranked:
        return
    best = frozenset(n for n, value in enumerate(values) if value is not None and better * value.mean == max(ranked))
    yield Row(name, tuple(values), best if len(best) < len(ranked) else frozenset())


def _value(held: Iterable[float | None]) -> Value | None:
    known = [value for value in held if value is not None]
    return Value(math.fsum(known) / len(known), min(known), max(known), len(known)) if known else None


def _luck(entries: Sequence[Entry], settings: Sequence[tuple[str, Any]]) -> Iterator[str]:
    """A caution, where settings differ and there is nothing to tell their effect from that of the seed."""
    if any(name != "seed" for name, _ in settings) and all(len(entry.trials) == 1 for entry in entries):
        yield "One seed a setting: a difference may be luck. With more seeds, --by-config shows their range."
