"""A sweep as it is asked for in a TOML file and by flags. Imports no jax."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lepton_jax.config import ConfigError
from lepton_jax.scale.axes import METHODS, SETTINGS, Asked, Axis, Halving, Range, checked, demand, type_of
from lepton_jax.settings import migrated, nearest
from lepton_jax.transfer.asking import Plan
from lepton_jax.transfer.asking import from_table as from_plan

_PLAIN = ("seeds", "samples", "design_seed", "places", "pools")
_KEYS = ("preset", "config", "graft", *_PLAIN, "grid", *METHODS, "points", "halving")


class Table(NamedTuple):
    """A sweep's TOML file. The base is ``preset``, changed by the file ``config``, then by ``changes``."""

    asked: Asked
    preset: str | None
    config: str | None
    changes: dict[str, Any]  # nested, as in config.toml
    graft: Plan | str | None = None  # what all lanes begin from; a text names a plan's file, or a source


def from_table(table: Mapping[str, Any], source: str) -> Table:
    """Reads the table of a sweep's TOML file; ``source`` names it in messages.

    Raises:
      ConfigError: an unknown key, with the nearest one; a section that is empty or of another form; and as ``checked``.
    """
    _refuse_others(table, _KEYS, source)
    for key in ("grid", *METHODS, "points"):
        demand(table.get(key, True), f"{source}: {key} is empty; name a knob in it, or leave it away")
    preset, config, points = table.get("preset"), table.get("config", {}), table.get("points", [])
    demand(preset is None or isinstance(preset, str), f"{source}: preset = {preset!r}; expected a name")
    demand(isinstance(config, str | Mapping), f"{source}: config = {config!r}; expected a file, or a table of changes")
    demand(isinstance(points, list), f"{source}: points: expected tables, each below [[points]]")
    drawn = {method: _flat(table.get(method, {}), f"{source}: {method}") for method in METHODS}
    ranged = {
        name: _range(value, f"{source}: {method}: '{name}'")
        for method, axes in drawn.items()
        for name, value in axes.items()
    }
    asked = Asked(
        grid=_flat(table.get("grid", {}), f"{source}: grid"),
        drawn=ranged,
        method=_one_method(drawn, source),
        points=[_flat(point, f"{source}: points") for point in points],
        halving=_halving(table["halving"], f"{source}: halving") if "halving" in table else None,
        **{key: table[key] for key in _PLAIN if key in table},
    )
    file, changes = (config, {}) if isinstance(config, str) else (None, config)
    graft = table.get("graft")
    demand(
        graft is None or isinstance(graft, str | Mapping), f"{source}: graft = {graft!r}; expected a path or a table"
    )
    plan = from_plan(graft, f"{source}: graft") if isinstance(graft, Mapping) else graft
    return Table(checked(asked, source), preset, file, migrated(changes, f"{source}: config"), plan)


def from_flags(
    grid: Iterable[str] = (),
    random: Iterable[str] = (),
    sobol: Iterable[str] = (),
    *,
    samples: int | None = None,
    design_seed: int | None = None,
    seeds: str | None = None,
    halving: str | None = None,
    places: int | None = None,
    pools: str | None = None,
) -> Asked:
    """Reads the texts of flags.

    Args:
      grid: each such as ``agent.lr=1e-4,3e-4``.
      random, sobol: each such as ``agent.lr=1e-5:1e-2:log``, ``agent.gamma=0.9:0.99`` or, of choices,
        ``net.width=64,128``.
      samples, design_seed, places, pools: as in ``Asked``.
      seeds: how many, such as ``32``; or each, such as ``0,5,7``.
      halving: ``ETA`` or ``ETA:FIRST``.

    Raises:
      ConfigError: a text of another form, and as ``checked``.
    """
    drawn = {"random": _axes(random, "--random"), "sobol": _axes(sobol, "--sobol")}
    listed: dict[str, Any] = _axes(grid, "--grid")  # a range among them is refused below
    asked = Asked(
        grid=listed,
        drawn=drawn["random"] | drawn["sobol"],
        method=_one_method(drawn, "flags"),
        samples=samples,
        design_seed=design_seed,
        halving=None if halving is None else _read_halving(halving),
        places=places,
        pools=pools,
    )
    if seeds is not None:
        numbers = _whole_numbers(seeds, ",", f"--seeds {seeds}: expected how many, such as 32, or each, such as 0,5,7")
        asked = asked._replace(seeds=numbers if "," in seeds else numbers[0])
    return checked(asked, "flags")


def merge(asked: Asked, flags: Asked) -> Asked:
    """``asked`` with what ``flags`` say instead; an axis of theirs replaces the one over the same knob, in its place.

    Raises:
      ConfigError: draws of the one are random and those of the other Sobol points.
    """
    grid = {name: axis for name, axis in {**asked.grid, **flags.grid}.items() if name not in flags.drawn}
    drawn = {name: axis for name, axis in {**asked.drawn, **flags.drawn}.items() if name not in flags.grid}
    both = flags.drawn and set(drawn) > set(flags.drawn) and asked.method != flags.method
    demand(not both, f"--{flags.method} beside the file's [{asked.method}]; expected one way of drawing")
    said = {name: value for name, value in flags._asdict().items() if value is not None and name != "points"}
    # How the file draws has no meaning once flags have replaced all that it draws.
    before = asked if drawn else asked._replace(method=None, samples=None)
    return before._replace(**(said | {"grid": grid, "drawn": drawn}))


def _flat(table: Any, source: str) -> dict[str, Any]:
    """Values by dotted name, whether a name was quoted or, bare, has become tables in tables."""
    demand(isinstance(table, Mapping), f"{source}: expected a table of knobs")
    found: dict[str, Any] = {}

    def walk(table: Mapping[str, Any], prefix: str) -> None:
        for key, value in table.items():
            name = prefix + key
            if isinstance(value, Mapping) and name not in SETTINGS and not {"low", "high"} & set(value):
                walk(value, f"{name}.")
            else:
                demand(name not in found, f"{source}: '{name}' is there twice; leave one away")
                found[name] = value

    walk(table, "")
    return found


def _range(value: Any, source: str) -> Any:
    """A table of low, high and log as a range; anything else as it is."""
    if not isinstance(value, Mapping):
        return value
    _refuse_others(value, Range._fields, source)
    demand({"low", "high"} <= set(value), f"{source}: expected a list of choices, or {{ low = 1, high = 2 }}")
    return Range(**value)


def _halving(table: Any, source: str) -> Halving:
    demand(isinstance(table, Mapping) and "eta" in table, f"{source}: expected a table with eta and, if not 1, first")
    _refuse_others(table, Halving._fields, source)
    return Halving(**table)


def _refuse_others(table: Mapping[str, Any], known: Sequence[str], source: str) -> None:
    for key in table:
        hint = nearest(key, known) or f"; there are {', '.join(known)}"
        demand(key in known, f"{source}: unknown key '{key}'{hint}")


def _one_method(drawn: Mapping[str, Mapping[str, Any]], source: str) -> str | None:
    used = [method for method, axes in drawn.items() if axes]
    demand(len(used) < 2, f"{source}: random and sobol are both there; expected one way of drawing")
    return used[0] if used else None


def _axes(texts: Iterable[str], flag: str) -> dict[str, Axis]:
    axes: dict[str, Axis] = {}
    for text in texts:
        name, _, values = text.partition("=")
        name = name.replace("-", "_")  # as in flags of settings: --agent.max-grad-norm
        demand(
            name and values,
            f"{flag} {text}: expected KNOB=VALUE,VALUE{'' if flag == '--grid' else ' or KNOB=LOW:HIGH'}",
        )
        demand(name not in axes, f"{flag}: '{name}' is there twice; leave one away")
        kind, source = type_of(name, flag), f"{flag} {text}"
        if kind in (int, float) and ":" in values:
            low, high, *log = values.split(":")
            demand(log in ([], ["log"]), f"{source}: expected LOW:HIGH or LOW:HIGH:log")
            axes[name] = Range(_read(low, kind, source), _read(high, kind, source), bool(log))
        else:
            axes[name] = [_read(value, kind, source) for value in values.split(",")]
    return axes


def _read(text: str, kind: Any, source: str) -> Any:
    """A value from its text. What it is read as, ``typed`` judges: a text is none of a Literal's choices, too."""
    if kind is bool:
        demand(text in ("true", "false"), f"{source}: {text!r} is neither true nor false")
        return text == "true"
    if kind not in (int, float):
        return text
    try:
        return kind(text)
    except ValueError:
        raise ConfigError(f"{source}: {text!r} is no {'whole ' * (kind is int)}number") from None


def _read_halving(text: str) -> Halving:
    expected = f"--halving {text}: expected ETA or ETA:FIRST, such as 3 or 3:4"
    numbers = _whole_numbers(text, ":", expected)
    demand(len(numbers) <= 2, expected)
    return Halving(*numbers)


def _whole_numbers(text: str, between: str, expected: str) -> list[int]:
    try:
        return [int(part) for part in text.split(between)]
    except ValueError:
        raise ConfigError(expected) from None
