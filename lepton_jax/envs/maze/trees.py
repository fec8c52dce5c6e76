"""Mazes as spanning trees over a grid of rooms: the weights that shape them, and the map that a tree stands for.

Edges are numbered as in ``grid_edges``; ``spanning.spanning_tree`` finds the tree of least weight.
"""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np


def anisotropic(words: jax.Array, bias: jax.Array, rooms: int) -> jax.Array:
    """Weights that make the corridors of a maze run along one axis, more in some mazes than in others.

    Args:
      words: uint32 (N, edges): independent noise.
      bias: uint32 (N,) of random bits: the lowest names the axis, the others how far its opposite falls behind, from
        nothing to all of the noise.

    Returns:
      uint32 (N, edges): half of the noise and, for one axis, half of the bias.
    """
    across = jnp.arange(words.shape[-1]) < rooms * (rooms - 1)
    return (words >> 1) + jnp.where(across == (bias & 1 == 1)[:, None], (bias >> 1)[:, None], jnp.uint32(0))


def smooth(words: jax.Array, controls: jax.Array, rooms: int) -> jax.Array:
    """Weights with a texture: regions whose corridors run across, others where they run down, others without order.

    Each axis has a field of its own, bilinear between control points four rooms apart.

    Args:
      words: uint32 (N, edges): independent noise, a quarter of the weight.
      controls: uint32 (N, num_controls(rooms)) of random bits.
      rooms: rooms a side.

    Returns:
      uint32 (N, edges). All in integers, so that every device gets the same.
    """
    # 15 bits of value times 16 bits of share add up to less than 2^31; the noise stays below 2^29.
    field = (controls >> 17) @ jnp.asarray(_interpolation(rooms))
    return field + (words >> 3)


def num_controls(rooms: int) -> int:
    """Control points of ``smooth``, of both axes."""
    return 2 * _points(rooms) ** 2


def confine(weights: jax.Array, sides: jax.Array, rooms: int) -> jax.Array:
    """Weights uint32 (N, edges) whose tree, within the upper left ``sides``, int32 (N,), rooms a side, is one of these
    rooms: any edge that leaves them weighs more than all within.
    """
    row, column = np.divmod(grid_edges(rooms), rooms)
    inside = np.maximum(row, column).max(axis=1) < sides[:, None]
    return jnp.where(inside, weights >> 1, weights >> 1 | jnp.uint32(1 << 31))


def carve(opened: jax.Array, rooms: int) -> jax.Array:
    """The map, bool (size, size), whose rooms are joined where ``opened``, bool (edges,), says so."""
    n, horizontal = rooms, rooms * (rooms - 1)
    east = jnp.pad(~opened[:horizontal].reshape(n, n - 1), ((0, 0), (0, 1)), constant_values=True)
    south = jnp.pad(~opened[horizontal:].reshape(n - 1, n), ((0, 1), (0, 0)), constant_values=True)
    room, corner = jnp.zeros_like(east), jnp.ones_like(east)
    # Each room brings a 2x2 tile: itself, the place to its east, to its south, and the corner.
    tiles = jnp.stack([jnp.stack([room, east], -1), jnp.stack([south, corner], -1)], -2)
    inner = tiles.transpose(0, 2, 1, 3).reshape(2 * n, 2 * n)
    return jnp.pad(inner, ((1, 0), (1, 0)), constant_values=True)


@lru_cache
def grid_edges(rooms: int) -> np.ndarray:
    """int32 (edges, 2): the rooms each edge joins; horizontal edges row by row, then vertical ones."""
    ids = np.arange(rooms * rooms, dtype=np.int32).reshape(rooms, rooms)
    horizontal = np.stack([ids[:, :-1], ids[:, 1:]], -1).reshape(-1, 2)
    vertical = np.stack([ids[:-1], ids[1:]], -1).reshape(-1, 2)
    return np.concatenate([horizontal, vertical])


def _points(rooms: int) -> int:
    return (rooms - 1) // 4 + 2


@lru_cache
def _interpolation(rooms: int) -> np.ndarray:
    """uint32 (num_controls, edges): the share, of 2^16, that each control point has in each edge's weight."""
    points = _points(rooms)
    row, column = np.divmod(grid_edges(rooms), rooms)
    middle = np.stack([row.mean(1), column.mean(1)]) / 4  # of each edge, in steps between control points
    hat = np.maximum(0, 1 - np.abs(middle[:, None, :] - np.arange(points)[None, :, None]))  # (axis, points, edges)
    share = (hat[0, :, None] * hat[1, None, :] * 2**16).astype(np.uint32).reshape(points * points, -1)
    across = np.arange(share.shape[-1]) < rooms * (rooms - 1)
    return np.concatenate([share * across, share * ~across]).astype(np.uint32)
