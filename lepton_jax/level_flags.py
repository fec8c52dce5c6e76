"""The flags that say which levels to draw. Imports no jax."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

from lepton_jax.config import ConfigError, EnvConfig
from lepton_jax.envs.maze.spec import MazeSpec, fault

# The knobs of a MazeSpec, and what a setting of a run is called where the name differs.
KNOBS = {
    "kind": "generator (default: perfect)",
    "size": "tiles a side, odd (default: 13)",
    "min_size": "mixed sizes, from this to --size",
    "weights": "perfect: the weights that it grows by",
    "braid": "share of inner walls opened to make loops, 0 to 1",
    "density": "blocks, caves, crossings: share of wall, 0 to 1",
    "chambers": "rooms: chambers a side",
    "ends": "where start and goal lie",
    "min_distance": "fewest steps from start to goal",
    "max_distance": "most steps from start to goal",
    "goals": "goals a level",
    "lava": "share of the cells off every shortest path that is lava, 0 to 1",
    "door": "bar the way with a door, and lay a key before it",
}
_SETTING = {"kind": "generator"}
_SIZE = 13


def add_flags(parser: argparse.ArgumentParser) -> Any:
    """Adds flags for all that a generator can be asked for, and --seed; those not given are absent from the result.

    Returns:
      The group of flags, to which more can be added.
    """
    group = parser.add_argument_group("drawn levels", argument_default=argparse.SUPPRESS)
    hints = get_type_hints(EnvConfig)
    for name, what in KNOBS.items():
        hint = hints[_SETTING.get(name, name)]
        if hint is bool:
            group.add_argument(flag(name), action="store_true", help=what)
        elif get_origin(hint) is Literal:
            group.add_argument(flag(name), choices=get_args(hint), help=what)
        else:
            group.add_argument(flag(name), type=hint, metavar="N" if hint is int else "X", help=what)
    group.add_argument("--seed", type=whole(0), metavar="N", help="seed of the levels (default: 0)")
    return group


def flag(name: str) -> str:
    """The flag of a knob."""
    return f"--{name.replace('_', '-')}"


def whole(least: int) -> Callable[[str], int]:
    """The type of a flag that takes whole numbers from ``least`` on."""

    def convert(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) < 2**31:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {2**31 - 1}")
        return int(text)

    return convert


def given(args: argparse.Namespace) -> dict[str, Any]:
    """The flags about drawn levels that were given, by name."""
    return {name: value for name, value in vars(args).items() if name in (*KNOBS, "count", "seed", "set")}


def spec_of(args: argparse.Namespace, **changes: Any) -> MazeSpec:
    """What the flags ask for.

    Raises:
      ConfigError: names the first flag that asks for what cannot be had.
    """
    knobs: dict[str, Any] = {name: value for name, value in given(args).items() if name in KNOBS}
    spec = MazeSpec(**{"size": _SIZE, **knobs, **changes})
    if (wrong := fault(spec)) is not None:
        raise ConfigError(f"{flag(wrong[0])} {getattr(spec, wrong[0])}: expected {wrong[1]}")
    return spec
