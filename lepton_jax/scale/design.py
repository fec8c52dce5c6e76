"""A sweep as its lanes: every point with every seed, each a whole configuration. Imports no jax.

A point is one assignment of values to the swept settings, the knobs. Lanes are numbered point by point; every point has
the same seeds, so that points can be compared seed by seed.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lepton_jax.config import Config, ConfigError
from lepton_jax.scale.asking import from_table
from lepton_jax.scale.axes import LAST_SEED, Asked, Halving, checked, demand, shown, twice
from lepton_jax.settings import differences, overlay, parse_toml, toml_value
from lepton_jax.settings import to_toml as config_toml
from lepton_jax.transfer.asking import Plan
from lepton_jax.transfer.asking import to_toml as plan_toml
from lepton_jax.validate import look_up, validate

MOST_LANES = 2**16


class Lane(NamedTuple):
    """One seed of one point."""

    number: int
    point: int
    seed: int
    knobs: dict[str, Any]  # the point's values, in the types of the settings
    config: Config  # validated, and that of a run by itself: of this seed, on one device, in no folder


class Sweep(NamedTuple):
    """Lanes, and how they run."""

    lanes: tuple[Lane, ...]
    knobs: tuple[str, ...]
    base: Config  # on one device, in no folder
    halving: Halving | None
    places: int  # lanes at once; 0 = automatic
    pools: str  # own: each lane its own levels; shared: one copy for all lanes of a group
    graft: Plan | None = None  # what all lanes begin from; None: random numbers


def design(base: Config, asked: Asked, graft: Plan | None = None) -> Sweep:
    """Builds all lanes: grid x samples x points x seeds; ``graft`` is what they begin from.

    Raises:
      ConfigError: as ``checked``; what is asked for does not go together; or a lane's settings cannot be used.
    """
    demand(base.shards <= 1, f"shards = {base.shards}: each lane of a sweep runs on one device; leave shards away")
    demand(
        not base.track,
        f"track = {base.track}: runs are tracked, sweeps are not: all they tell is in lanes.csv, table.csv and "
        "report.html; leave it away, or say --track without names",
    )
    asked = checked(asked, "sweep")
    knobs = _knobs(asked)
    seeds = _seeds(base, asked)
    draws = asked.samples or 1
    count = math.prod(map(len, asked.grid.values())) * draws * (len(asked.points) or 1) * len(seeds)
    demand(count <= MOST_LANES, f"sweep: {count} lanes; expected at most {MOST_LANES}")
    grid = [dict(zip(asked.grid, values, strict=True)) for values in itertools.product(*asked.grid.values())]
    points = [{**a, **b, **c} for a, b, c in itertools.product(grid, _samples(asked), asked.points or [{}])]
    base = dataclasses.replace(base, shards=1, run_dir="")
    lanes = []
    for number, point in enumerate(points):
        config = _applied(base, point, f"sweep: lane {len(lanes)}")
        lanes += [
            Lane(len(lanes) + place, number, seed, point, dataclasses.replace(config, seed=seed))
            for place, seed in enumerate(seeds)
        ]
    sweep = Sweep(tuple(lanes), knobs, base, asked.halving, asked.places or 0, asked.pools or "own", graft)
    _check_common(sweep)
    return sweep


def to_toml(sweep: Sweep) -> str:
    """The sweep as a TOML file with every point and seed listed, which ``from_text`` reads back to an equal one."""
    seeds = [lane.seed for lane in sweep.lanes if lane.point == 0]
    lines = [f"seeds = {seeds}", f"places = {sweep.places}", f"pools = {toml_value(sweep.pools)}"]
    if sweep.halving is not None:
        lines += ["\n[halving]", *(f"{name} = {value}" for name, value in sweep.halving._asdict().items())]
    lines += ["", config_toml(sweep.base, "config").rstrip()]
    lines += ["", plan_toml(sweep.graft, "graft").rstrip()] if sweep.graft else []
    for lane in sweep.lanes[:: len(seeds)] if sweep.knobs else ():
        lines += ["\n[[points]]", *(f'"{name}" = {toml_value(value)}' for name, value in lane.knobs.items())]
    return "\n".join(lines) + "\n"


def from_text(text: str, source: str) -> Sweep:
    """Reads what ``to_toml`` wrote; ``source`` names it in messages.

    Raises:
      ConfigError: it is no TOML, or no sweep, or none that holds all its settings.
    """
    table = from_table(parse_toml(text, source), source)
    whole = table.preset is None and table.config is None
    demand(whole, f"{source}: expected all settings below [config], without preset or config file")
    demand(not isinstance(table.graft, str), f"{source}: graft = {table.graft!r}; expected a table with all its rules")
    graft = None if isinstance(table.graft, str) else table.graft
    return design(overlay(Config(), table.changes, f"{source}: config"), table.asked, graft)


def difference(old: Sweep, new: Sweep) -> str | None:
    """The first thing in which a sweep is no longer what it was begun as, in words. What does not change what lanes
    compute is passed over: display, track, run_dir and checkpoint.*."""
    if len(old.lanes) != len(new.lanes):
        return f"lanes: {len(new.lanes)}, begun with {len(old.lanes)}"
    for before, after in zip(old.lanes, new.lanes, strict=True):
        for name, was, now in differences(before.config, after.config):
            if name not in ("display", "track", "run_dir") and not name.startswith("checkpoint."):
                return f"lane {after.number}: {name} = {now!r}, begun with {was!r}"
    if old.knobs != new.knobs:
        return f"knobs: {', '.join(new.knobs) or 'none'}, begun with {', '.join(old.knobs) or 'none'}"
    if old.graft != new.graft:
        return "graft: another plan than that it was begun with"
    words = lambda value: shown(value._asdict()) if isinstance(value, Halving) else "none" if value is None else value
    for name in ("halving", "places", "pools"):
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            return f"{name}: {words(now)}, begun with {words(was)}"
    return None


def _knobs(asked: Asked) -> tuple[str, ...]:
    """All that vary, in the order of their axes."""
    points = list(asked.points[0]) if asked.points else []
    knobs = [*asked.grid, *asked.drawn, *points]
    if (same := twice(knobs)) is not None:
        raise ConfigError(f"sweep: '{knobs[same[0]]}' is on two axes; leave it away from grid, random, sobol or points")
    draws = f"samples = {asked.samples}, but no knob is drawn; name one in random or sobol, or leave samples away"
    demand(asked.drawn or asked.samples is None, f"sweep: {draws}")
    demand(asked.samples or not asked.drawn, "sweep: samples is missing; expected how often to draw")
    demand(asked.method or not asked.drawn, "sweep: method is missing; expected 'random' or 'sobol'")
    demand(knobs or asked.seeds, "sweep: nothing varies; name a knob in grid, random, sobol or points, or give seeds")
    return tuple(knobs)


def _seeds(base: Config, asked: Asked) -> Sequence[int]:
    if not isinstance(asked.seeds, int | None):
        return asked.seeds
    count = asked.seeds or 1
    last = base.seed + count - 1
    demand(base.seed >= 0 and last <= LAST_SEED, f"sweep: seeds {base.seed} to {last}; expected 0 to {LAST_SEED}")
    return range(base.seed, base.seed + count)


def _samples(asked: Asked) -> list[dict[str, Any]]:
    """What is drawn; one sample without knobs if nothing is."""
    if not asked.drawn:
        return [{}]
    from lepton_jax.scale.draw import draw  # imports NumPy, which commands do without until they run something

    return draw(asked)


def _applied(base: Config, point: Mapping[str, Any], source: str) -> Config:
    changes: dict[str, Any] = {}
    for name, value in point.items():
        section, _, key = name.rpartition(".")
        (changes.setdefault(section, {}) if section else changes)[key] = value
    config = overlay(base, changes, source)
    try:
        return validate(config)
    except ConfigError as error:
        raise ConfigError(f"{source}{f' ({shown(point)})' if point else ''}: {error}") from None


def _check_common(sweep: Sweep) -> None:
    """Refuses lanes that differ where they must not."""
    same = lambda name: len({look_up(lane.config, name) for lane in sweep.lanes}) == 1
    if sweep.halving is not None:
        for name in ("log_points", "env.id"):
            demand(
                same(name), f"halving: lanes are compared at the same log points of the same world; leave '{name}' away"
            )
        first, points = sweep.halving.first, sweep.lanes[0].config.log_points
        demand(first < points, f"halving.first = {first}; expected less than log_points = {points}")
    shared = sweep.pools == "shared" and not same("env.level_seed")
    demand(not shared, "pools = 'shared': lanes have different env.level_seed; leave it away, or choose pools = 'own'")
