"""Windows on a map, as rows of bits: cut out of a set of sites at a place of its own for each of N agents."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lepton_jax.envs.maze.rules import Rules

Row = list[jax.Array]  # uint32 words, each (N,); bit c % 32 of word c // 32 is column c


def rows_of(places: jax.Array, rules: Rules) -> list[Row]:
    """A set of sites, uint32 (words, N), as rows of inner cells."""
    columns = rules.width - 2
    rows = []
    for row in range(rules.height - 2):
        words = []
        for left in range(0, columns, 32):
            width = min(32, columns - left)
            word, bit = divmod(row * rules.stride + left, 32)
            piece = places[word] >> bit
            if bit + width > 32:
                piece |= places[word + 1] << (32 - bit)
            words.append(piece & jnp.uint32((1 << width) - 1))
        rows.append(words)
    return rows


def window(
    places: jax.Array, origin: tuple[jax.Array, jax.Array], shape: tuple[int, int], beyond: int, rules: Rules
) -> list[Row]:
    """The rows of a window on a set of sites; nothing is set outside the map.

    Args:
      places: uint32 (words, N).
      origin: row and column, in the window, of the first inner cell, int32 (N,); may be negative.
      shape: rows and columns of the window.
      beyond: the largest row of ``origin``; as far the last row of the window may lie below the map.
      rules: static.
    """
    inner = rows_of(places, rules)
    blank = [[jnp.zeros_like(places[0])] * len(inner[0])] * beyond
    found = [*blank, *inner, *blank]
    # Window row i is inner row i - origin: drop beyond - origin rows in front, by binary stages.
    for stage in range((len(found) - shape[0]).bit_length()):
        drop = ((beyond - origin[0]) >> stage) & 1 == 1
        later = [*found[1 << stage :], *[[jnp.zeros_like(places[0])] * len(inner[0])] * (1 << stage)][: len(found)]
        found = [
            [jnp.where(drop, new, old) for new, old in zip(below, row, strict=True)]
            for below, row in zip(later, found, strict=True)
        ]
    return [slide(row, origin[1], shape[1]) for row in found[: shape[0]]]


def slide(row: Row, by: int | jax.Array, columns: int) -> Row:
    """Moves a row's places ``by`` columns to the right (negative: left); keeps ``columns`` of them from column 0 on."""
    moved = []
    for target in range(0, columns, 32):
        word = jnp.zeros_like(row[0])
        for k, source in enumerate(row):
            right = jnp.asarray(32 * k + by - target, jnp.int32)
            # A shift by 32 or more, which a negative number becomes as well, leaves nothing.
            word |= (source << right.astype(jnp.uint32)) | (source >> (-right).astype(jnp.uint32))
        moved.append(word)
    return moved
