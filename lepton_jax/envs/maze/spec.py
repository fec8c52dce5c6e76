"""What a generator of mazes is asked for, and whether that can be had. Imports no jax."""

from __future__ import annotations

from typing import NamedTuple

MAX_SIDE = 255  # tiles: rows and columns are numbered in a byte
KINDS = ("perfect", "backtracker", "wilson", "blocks", "rooms", "crossings", "caves")
WEIGHTS = ("uniform", "anisotropic", "smooth")
ENDS = ("uniform", "corners")
TREES = ("perfect", "backtracker", "wilson")  # those whose rooms are joined along a tree


class MazeSpec(NamedTuple):
    """What a generator needs to know; hashable, so that it can be static under jit."""

    size: int  # tiles a side, odd, at least 5
    braid: float = 0.0  # share of the remaining inner walls between rooms that is opened, making loops
    kind: str = "perfect"  # one of KINDS
    weights: str = "uniform"  # perfect: the weight field, one of WEIGHTS
    density: float = -1.0  # blocks, caves, crossings: share of wall; -1 = what suits the kind
    chambers: int = 0  # rooms: chambers a side; 0 = what suits the size
    min_size: int = 0  # mixed sizes: the smallest, odd; each level is as likely of any odd size up to ``size``; 0 = one
    ends: str = "uniform"  # one of ENDS: where start and goal lie
    min_distance: int = 0  # fewest steps from start to goal, where a level has such a pair
    max_distance: int = 0  # most steps from start to goal; 0 = any
    goals: int = 1  # goals a level
    lava: float = 0.0  # share of the cells off every shortest path that is lava
    door: bool = False  # whether a door, with its key, bars the way to the goal

    @property
    def rooms(self) -> int:
        """Rooms a side."""
        return (self.size - 1) // 2

    @property
    def sizes(self) -> range:
        """Tiles a side that a level may take."""
        return range(self.min_size or self.size, self.size + 1, 2)


# Share of wall where none is asked for.
DENSITY = {"blocks": 0.3, "crossings": 0.5, "caves": 0.4}
DOOR_DISTANCE = 3  # fewest steps to a goal behind a door: the way has a cell for the key and one for the door


def needed(goals: int, door: bool) -> int:
    """Cells that start, goals, door and key take."""
    return 1 + goals + 2 * door


def fault(spec: MazeSpec) -> tuple[str, str] | None:
    """The first field that cannot be had, and what was expected; None if there are such levels."""
    least = spec.min_size or spec.size
    cells = 2 * ((least - 1) // 2) ** 2 - 1 if spec.kind in TREES else (least - 2) ** 2
    highest = max(spec.min_distance, DOOR_DISTANCE if spec.door else 1)
    odd = lambda side, low, high: side % 2 == 1 and low <= side <= high
    expectations = (
        ("kind", spec.kind in KINDS, f"one of {', '.join(KINDS)}"),
        ("size", odd(spec.size, 5, MAX_SIDE), f"an odd number from 5 to {MAX_SIDE}"),
        (
            "min_size",
            spec.min_size == 0 or odd(spec.min_size, 5, spec.size),
            f"0, for one size, or an odd number from 5 to the size, {spec.size}",
        ),
        ("weights", spec.weights in WEIGHTS, f"one of {', '.join(WEIGHTS)}"),
        ("weights", spec.weights == "uniform" or spec.kind == "perfect", f"'uniform': {spec.kind} has no weights"),
        ("braid", 0 <= spec.braid <= 1, "a share from 0 to 1"),
        (
            "braid",
            spec.braid == 0 or spec.kind in (*TREES, "rooms"),
            f"0: {spec.kind} has nothing to braid",
        ),
        (
            "density",
            spec.density == -1 or (0 <= spec.density <= 1 and spec.kind in DENSITY),
            f"-1, for what suits the kind, or with {', '.join(DENSITY)} a share from 0 to 1",
        ),
        (
            "chambers",
            spec.chambers == 0 or (spec.kind == "rooms" and 1 <= spec.chambers <= (least - 1) // 2),
            f"0, for what suits the size, or with rooms 1 to {(least - 1) // 2}",
        ),
        ("ends", spec.ends in ENDS, f"one of {', '.join(ENDS)}"),
        ("min_distance", 0 <= spec.min_distance < 2**15, "0 to 32767 steps"),
        (
            "max_distance",
            spec.max_distance == 0 or highest <= spec.max_distance < 2**15,
            f"0, for any, or {highest} to 32767 steps",
        ),
        ("goals", spec.goals >= 1, "1 or more"),
        (
            "goals",
            needed(spec.goals, spec.door) <= cells,
            f"fewer: a {least}x{least} level of {spec.kind} may have as few as {cells} free cells",
        ),
        ("lava", 0 <= spec.lava <= 1, "a share from 0 to 1"),
    )
    return next(((field, expected) for field, holds, expected in expectations if not holds), None)
