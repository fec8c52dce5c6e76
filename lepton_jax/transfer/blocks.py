"""From an array of the source to a leaf of another shape, and which of its elements that fills. NumPy alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Shape = tuple[int, ...]


class Move(NamedTuple):
    """How an array becomes a leaf."""

    kind: str  # copy, init, slice, pad, tile, resample or actions
    source: Shape  # the array's shape, or that in which it is seen
    target: Shape  # the same of the leaf
    align: str = "start"  # slice, pad
    actions: tuple[int, ...] = ()


def fault(move: Move) -> str | None:
    """Why the shapes of a move do not allow it; None if they do."""
    source, target = move.source, move.target
    if move.kind == "init":
        return None
    if move.kind == "copy":
        return None if source == target else "the shapes differ"
    if len(source) != len(target):
        return f"{len(source)} axes cannot become {len(target)}"
    axes = range(len(source))
    if move.kind == "slice" and (axis := next((i for i in axes if target[i] > source[i]), None)) is not None:
        return f"axis {axis} would have to grow from {source[axis]} to {target[axis]}; slice only cuts"
    if move.kind == "pad" and (axis := next((i for i in axes if target[i] < source[i]), None)) is not None:
        return f"axis {axis} would have to shrink from {source[axis]} to {target[axis]}; pad only adds"
    return _actions_fault(move) if move.kind == "actions" else None


def _actions_fault(move: Move) -> str | None:
    source, target, actions = move.source, move.target, move.actions
    if not target or source[:-1] != target[:-1]:
        return "an action map turns the last axis only, and the others differ"
    before = target[-1] - len(actions)
    if before < 0:
        return f"the map has {len(actions)} actions, and the last axis {target[-1]} places"
    if max(actions) >= source[-1] - before:
        return f"the map asks for action {max(actions)}, and the source has {source[-1] - before}"
    return None


def place(block: np.ndarray, move: Move, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Carries a move out.

    Args:
      block: the array.
      move: without fault.
      shape: of the leaf.

    Returns:
      The leaf, and of which of its elements that speaks, bool; the others are to be drawn.
    """
    made, taken = _moves(block.reshape(move.source), move)
    return np.ascontiguousarray(made).reshape(shape), np.ascontiguousarray(taken).reshape(shape)


def _moves(block: np.ndarray, move: Move) -> tuple[np.ndarray, np.ndarray]:
    source, target = move.source, move.target
    everything = np.ones(target, bool)
    if move.kind == "copy":
        return block, everything
    if move.kind == "slice":
        return block[_window(source, target, move.align)], everything
    if move.kind == "pad":
        # Zeros, not noise: what the source computed stays what it is, whatever the new inputs say.
        made = np.zeros(target, block.dtype)
        made[_window(target, source, move.align)] = block
        return made, everything
    if move.kind == "tile":
        return block[np.ix_(*(np.arange(side) % known for side, known in zip(target, source, strict=True)))], everything
    if move.kind == "resample":
        return _resampled(block, target), everything
    assert move.kind == "actions"
    before = target[-1] - len(move.actions)
    # What lies before the actions, such as the value unit of a dueling head, goes along.
    columns = np.array([*range(before), *(action + before if action >= 0 else -1 for action in move.actions)])
    known = np.broadcast_to(columns >= 0, target)
    return np.where(known, block[..., np.maximum(columns, 0)], np.zeros((), block.dtype)), known


def _window(whole: Sequence[int], part: Sequence[int], align: str) -> tuple[slice, ...]:
    start = [(a - b) // 2 if align == "centre" else 0 for a, b in zip(whole, part, strict=True)]
    return tuple(slice(first, first + side) for first, side in zip(start, part, strict=True))


def _resampled(block: np.ndarray, shape: Shape) -> np.ndarray:
    """Linear interpolation along each axis, between the centres of equal cells; beyond the outermost, their values."""
    made = block.astype(np.float64)
    for axis, (known, wanted) in enumerate(zip(block.shape, shape, strict=True)):
        if known == wanted:
            continue
        at = np.clip((np.arange(wanted) + 0.5) * known / wanted - 0.5, 0, known - 1)
        below = np.floor(at).astype(int)
        share = (at - below).reshape(-1, *[1] * (block.ndim - axis - 1))
        above = np.minimum(below + 1, known - 1)
        made = np.take(made, below, axis) * (1 - share) + np.take(made, above, axis) * share
    return made.astype(block.dtype)


def scrambled(block: np.ndarray, control: str, generator: np.random.Generator) -> np.ndarray:
    """A control: ``permuted``, the same numbers in another order; ``random-norm``, normal numbers of the same norm."""
    if control == "permuted":
        return generator.permutation(block.reshape(-1)).reshape(block.shape)
    drawn = generator.standard_normal(block.shape)
    size = math.sqrt(float(np.sum(np.square(drawn)))) or 1.0
    norm = math.sqrt(float(np.sum(np.square(block.astype(np.float64)))))
    return (drawn * (norm / size)).astype(block.dtype)
