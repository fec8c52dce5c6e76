"""What a sweep can be asked for: axes over settings, seeds, and how lanes run; and what is refused of it. Imports no
jax."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, get_type_hints

from lepton_jax.config import Config, ConfigError
from lepton_jax.settings import nearest, typed

POOLS = ("own", "shared")
METHODS = ("random", "sobol")
LAST_SEED = 2**32 - 1


class Range(NamedTuple):
    """A number from ``low`` to ``high``, both included: drawn evenly, or with ``log`` evenly in its logarithm."""

    low: float
    high: float
    log: bool = False


class Halving(NamedTuple):
    """Successive halving: rungs after ``first`` log points, ``first * eta``, ``first * eta**2`` and so on."""

    eta: int  # of the lanes at a rung one in so many goes on
    first: int = 1


Axis = Range | Sequence[Any]  # values that are drawn from; a sequence may be of values that are all taken


class Asked(NamedTuple):
    """What a sweep is asked for; None where nothing is said. ``lepton_jax.scale.design.design`` makes lanes of it."""

    grid: Mapping[str, Sequence[Any]] = MappingProxyType({})  # by knob: all its values, crossed
    drawn: Mapping[str, Axis] = MappingProxyType({})  # by knob: what each sample draws from
    method: str | None = None  # of drawing: random or sobol
    samples: int | None = None
    design_seed: int | None = None  # of drawing; 0 if not said
    points: Sequence[Mapping[str, Any]] = ()
    seeds: int | Sequence[int] | None = None  # how many, counted from the base's; or each of them
    halving: Halving | None = None
    places: int | None = None  # lanes at once; if not said 0, automatic
    pools: str | None = None  # of levels: own or shared; if not said own


def demand(good: object, message: str) -> None:
    """Raises ConfigError with ``message`` unless ``good``."""
    if not good:
        raise ConfigError(message)


def checked(asked: Asked, source: str) -> Asked:
    """``asked`` with all values in the types of their knobs.

    Args:
      asked: what is wrong with it whatever the base is refused here.
      source: what messages begin with, such as the name of a file.

    Raises:
      ConfigError: a knob that is unknown, with the nearest one, or that cannot be swept; a value of the wrong type or
        out of range; a list that is empty, or has something twice.
    """
    for name, least in (("samples", 1), ("design_seed", 0), ("places", 0)):
        value = getattr(asked, name)
        demand(value is None or at_least(least, value), _wanted(source, name, value, f"a whole number from {least} on"))
    for name, known in (("method", METHODS), ("pools", POOLS)):
        value = getattr(asked, name)
        demand(value is None or value in known, _wanted(source, name, value, " or ".join(map(repr, known))))
    if asked.halving is not None:
        for name, least, value in zip(Halving._fields, (2, 1), asked.halving, strict=True):
            expected = _wanted(source, f"halving.{name}", value, f"a whole number from {least} on")
            demand(at_least(least, value), expected)
    _check_seeds(asked.seeds, source)
    grid = {}
    for name, axis in asked.grid.items():
        demand(not isinstance(axis, Range), f"{source}: grid: '{name}' is a range; list its values, or draw from it")
        grid[name] = _values(name, axis, f"{source}: grid")
    drawn = {
        name: (_range if isinstance(axis, Range) else _values)(name, axis, f"{source}: {asked.method or 'drawn'}")
        for name, axis in asked.drawn.items()
    }
    return asked._replace(grid=grid, drawn=drawn, points=_points(asked.points, f"{source}: points"))


def type_of(name: str, source: str) -> Any:
    """The type of the knob ``name``.

    Raises:
      ConfigError: there is no such setting, with the nearest one; or it cannot be swept.
    """
    if name not in SETTINGS:
        # What is forgotten most often is the section.
        alike = [known for known in SETTINGS if known.rpartition(".")[2] == name.rpartition(".")[2]]
        hint = f"; did you mean '{alike[0]}'?" if alike else nearest(name, SETTINGS)
        raise ConfigError(f"{source}: unknown setting '{name}'{hint}")
    demand(name not in _FIXED, f"{source}: '{name}' cannot be swept: {_FIXED.get(name)}")
    return SETTINGS[name]


def at_least(least: int, value: Any) -> bool:
    """Whether ``value`` is an integer, and no less."""
    return type(value) is int and value >= least


def twice(values: Iterable[Hashable]) -> tuple[int, int] | None:
    """Where the first value that is there again was, and is; None if all are different."""
    seen: dict[Hashable, int] = {}
    for place, value in enumerate(values):
        if seen.setdefault(value, place) != place:
            return seen[value], place
    return None


def shown(point: Mapping[str, Any]) -> str:
    """A point for people."""
    return ", ".join(f"{name} = {value!r}" for name, value in point.items())


def _wanted(source: str, name: str, value: Any, expected: str) -> str:
    return f"{source}: {name} = {value!r}; expected {expected}"


def _check_seeds(seeds: Any, source: str) -> None:
    expected = _wanted(source, "seeds", seeds, "how many, from 1 on, or a list of them")
    if seeds is None or isinstance(seeds, int):
        demand(seeds is None or at_least(1, seeds), expected)
        return
    demand(isinstance(seeds, list | tuple) and seeds and all(type(seed) is int for seed in seeds), expected)
    for seed in seeds:
        demand(0 <= seed <= LAST_SEED, _wanted(source, "seeds", seed, f"0 to {LAST_SEED}"))
    if (same := twice(seeds)) is not None:
        raise ConfigError(f"{source}: seeds: {seeds[same[0]]} is there twice; leave one away")


def _range(name: str, axis: Any, source: str) -> Range:
    kind = type_of(name, source)
    demand(kind in (int, float), f"{source}: '{name}' is no number; expected a list of choices, not a range")
    demand(type(axis.log) is bool, _wanted(source, f"'{name}' log", axis.log, "true or false"))
    low, high = (typed(end, kind, name, source) for end in (axis.low, axis.high))
    ordered = math.isfinite(low) and math.isfinite(high) and low < high
    demand(ordered, f"{source}: '{name}' from {low!r} to {high!r}; expected numbers with low < high")
    demand(low > 0 or not axis.log, f"{source}: '{name}' from {low!r}; expected low > 0 with log, or leave log away")
    return Range(low, high, axis.log)


def _values(name: str, axis: Any, source: str) -> tuple[Any, ...]:
    kind = type_of(name, source)
    demand(isinstance(axis, list | tuple), _wanted(source, f"'{name}'", axis, "a list of values"))
    demand(len(axis), f"{source}: '{name}' has no values; list at least one, or leave it away")
    values = tuple(typed(value, kind, name, source) for value in axis)
    if (same := twice(values)) is not None:
        raise ConfigError(f"{source}: '{name}' has {values[same[0]]!r} twice; leave one away")
    return values


def _points(points: Sequence[Mapping[str, Any]], source: str) -> tuple[dict[str, Any], ...]:
    made = []
    for number, point in enumerate(points):
        demand(point, f"{source}: point {number} is empty; expected at least one knob")
        if odd := set(point) ^ set(points[0]):
            raise ConfigError(f"{source}: '{min(odd)}' is in one of points 0 and {number} only; give it in each point")
        made.append({name: typed(point[name], type_of(name, source), name, source) for name in points[0]})
    if (same := twice(tuple(point.values()) for point in made)) is not None:
        raise ConfigError(f"{source}: points {same[0]} and {same[1]} are the same, {shown(made[same[0]])}; remove one")
    return tuple(made)


def _settings(section: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, kind in get_type_hints(section).items():
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            yield from _settings(kind, f"{prefix}{name}.")
        else:
            yield prefix + name, kind


SETTINGS = dict(_settings(Config))  # the type of each, by its dotted name
_FIXED = {
    "seed": "every point has the same seeds; ask for them with seeds, or --seeds",
    "run_dir": "a sweep has one folder",
    "display": "a sweep has one display",
    "track": "it changes nothing that a lane computes",
    "shards": "each lane runs on one device",
    "matmul_precision": "all lanes of a sweep compute alike",
    **{name: "the lanes of a sweep are saved together" for name in SETTINGS if name.startswith("checkpoint.")},
}
