"""Planes of 0 and 1 as bytes, drawn for many agents at once.

What lies on the planes of an agent is one string of bits, in words of 16: half as many instructions narrow them to
bytes as do words of 32. The words of 64 agents lie side by side, so that whatever makes them is a vector operation, and
yet all words of an agent are near each other. The string is spread to bytes in a single flat pass, the one form that
XLA on CPU vectorises: a loop over rows of 13 bytes is three times slower.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from lepton_jax.envs.maze import bits
from lepton_jax.envs.maze.window import Row

# A place to set, int32 (N,), counted over all planes, or -1 for none; and the first and last plane it can lie on.
Mark = tuple[jax.Array, int, int]

BITS, BLOCK = 16, 64  # of a word; agents side by side


def draw(maps: dict[int, list[Row]], marks: Sequence[Mark], shape: tuple[int, ...]) -> jax.Array:
    """Draws maps on some planes and marks on others.

    Args:
      maps: the rows of those planes that are maps, by number; the first plane is one.
      marks: what is set on the others, each of which some mark can lie on.
      shape: planes, rows and columns.

    Returns:
      uint8 0 or 1 (N, planes, rows, columns).
    """
    planes, rows, columns = shape
    drawn = _words(maps, rows, columns)
    blocks = _blocks(maps[0][0][0].shape[0])
    cells = rows * columns
    reach = [(first * cells // BITS, ((last + 1) * cells - 1) // BITS) for _, first, last in marks]
    # Where all words are of one kind, they are one operation: what maps them, and which marks can lie there.
    kind = lambda k: (k // 2 in drawn, tuple(i for i, (first, last) in enumerate(reach) if first <= k <= last))
    parts = []
    for (mapped, here), run in itertools.groupby(range(-(-planes * cells // BITS)), kind):
        numbers = list(run)
        number = jnp.array(numbers, jnp.int32)[:, None]
        part = _halves(drawn, numbers, blocks) if mapped else jnp.zeros((), jnp.uint16)
        for mark in (blocks(marks[i][0]) for i in here):
            # Shifts and not //, % by 16, which cost more where a mark may be negative.
            bit = jnp.uint16(1) << (mark & 15).astype(jnp.uint16)
            part |= jnp.where(mark >> 4 == number, bit, jnp.uint16(0))
        parts.append(part)
    return _spread(jnp.concatenate(parts, axis=1), math.prod(shape)).reshape(-1, *shape)


def _words(maps: dict[int, list[Row]], rows: int, columns: int) -> dict[int, jax.Array]:
    """The maps as one string: its words of 32 bits, uint32 (N,), by number, as far as maps reach."""
    words: dict[int, jax.Array] = {}

    def put(number: int, piece: jax.Array) -> None:
        words[number] = words[number] | piece if number in words else piece

    for plane, drawn in maps.items():
        for r, row in enumerate(drawn):
            for left, piece in zip(range(0, columns, 32), row, strict=True):
                number, bit = divmod((plane * rows + r) * columns + left, 32)
                put(number, piece << bit)
                if bit + min(32, columns - left) > 32:
                    put(number + 1, piece >> (32 - bit))
    return words


def _halves(words: dict[int, jax.Array], numbers: list[int], blocks: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """Consecutive words of 16 bits, uint16 (N / B, numbers, B), from those of 32."""
    first, last = numbers[0] // 2, numbers[-1] // 2
    whole = jnp.concatenate([blocks(words[number]) for number in range(first, last + 1)], axis=1)
    halves = whole[:, :, None] >> jnp.array([0, 16], jnp.uint32)[:, None]
    flat = halves.astype(jnp.uint16).reshape(whole.shape[0], -1, whole.shape[2])
    return flat[:, numbers[0] - 2 * first :][:, : len(numbers)]


def _blocks(n: int) -> Callable[[jax.Array], jax.Array]:
    """(N,) -> (N / B, 1, B): B agents side by side, as many of ``BLOCK`` as divide N."""
    block = math.gcd(n, BLOCK)
    return lambda vector: vector.reshape(-1, 1, block)


def _spread(words: jax.Array, places: int) -> jax.Array:
    """uint16 (N / B, words, B) -> uint8 0 or 1 (N, places)."""
    words = jnp.moveaxis(bits.settle(words), 2, 1).reshape(-1, words.shape[1])
    return bits.unpack(words, places).astype(jnp.uint8)
