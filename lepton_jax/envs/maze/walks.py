"""Spanning trees over the grid of rooms, by random walks.

``backtracker`` goes depth first, which makes long winding corridors; of ``wilson`` every tree is equally likely.

Both keep an arrow to a neighbour for each room, as two bit planes (``bits.py``) over the rooms, numbered row by row:
0 north, 1 east, 2 south, 3 west.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lepton_jax.envs.maze import bits


class _Grid(NamedTuple):
    """The rooms that take part, as sets: each level's upper left corner, all of it where sizes are not mixed."""

    inside: jax.Array  # uint32 (words, N)
    borders: list[jax.Array]  # four of uint32 (words, N): the rooms from which an arrow north, east ... leads outside
    rooms: int

    @staticmethod
    def of(sides: jax.Array, rooms: int) -> _Grid:
        row, column = jnp.divmod(jnp.arange(rooms * rooms), rooms)
        last = sides[:, None] - 1
        inside = (row <= last) & (column <= last)
        borders = [(row == 0) & inside, column == last, row == last, (column == 0) & inside]
        return _Grid(bits.pack(inside), [bits.pack(border & inside) for border in borders], rooms)


def wilson(key: jax.Array, sides: jax.Array, rooms: int) -> jax.Array:
    """Uniform spanning trees: every tree of the grid has the same chance (Wilson 1996).

    By cycle popping (Propp & Wilson 1998): every room but the root holds an arrow to a random neighbour. As long as
    arrows form a cycle, the rooms of one get fresh arrows; what remains is a uniform tree, in whatever order the cycles
    were popped, so here all that are known are popped at once. An arrow that leads outside the grid is a cycle of one.

    Args:
      key: typed key; round r takes its words, two bits a room, from ``fold_in(key, r)``.
      sides: int32 (N,): rooms a side of each level, at most ``rooms``.
      rooms: static.

    Returns:
      bool (N, edges): True where the edge belongs to the tree.
    """
    grid = _Grid.of(sides, rooms)
    # Any room may be the root; walks find one in the middle soonest.
    root = bits.single(sides // 2 * (rooms + 1), grid.inside.shape[0])
    others = grid.inside & ~root  # the rooms that hold an arrow

    def draw(number):
        return jax.random.bits(jax.random.fold_in(key, number), (2, *others.shape), jnp.uint32)

    def round_(carry):
        planes, joined, suspects, number, _ = carry
        towards = _towards(planes, others)
        outward = _any(arrow & border for arrow, border in zip(towards, grid.borders, strict=True))
        inward = [arrow & ~border for arrow, border in zip(towards, grid.borders, strict=True)]
        # Rooms whose arrows lead to the root are on no cycle, now and for good.
        joined |= _any(arrow & _behind(joined, way, rooms) for way, arrow in enumerate(inward))
        facing = _any(arrow & _behind(inward[way ^ 2], way, rooms) for way, arrow in enumerate(inward))
        brief = outward | facing
        # Any other cycle is what is left when rooms that no suspect's arrow leads to are cleared again and again.
        led_to = outward | _any(_ahead(arrow & suspects, way, rooms) for way, arrow in enumerate(inward))
        left = suspects & led_to & ~joined
        some = lambda rooms_: jnp.any(rooms_ != 0, axis=0)
        settled = ~some(left ^ suspects)
        popped = jnp.where(some(brief), brief, jnp.where(settled, left, jnp.uint32(0)))
        planes = jnp.where(popped != 0, (planes & ~popped) | (draw(number) & popped), planes)
        suspects = jnp.where(some(popped), others & ~joined, left)
        return planes, joined, suspects, number + 1, jnp.any(suspects != 0)

    start = (draw(0), root, others, jnp.int32(1), jnp.any(others != 0))
    planes = jax.lax.while_loop(lambda carry: carry[-1], round_, start)[0]
    return _opened(_towards(planes, others), rooms)


def backtracker(words: jax.Array, sides: jax.Array, rooms: int) -> jax.Array:
    """Trees of a depth-first walk: on to a random room not yet seen, back where there is none.

    Args:
      words: uint32 (2 * rooms**2 - 1, N): the first of a level chooses where it begins, the others a step each.
      sides: int32 (N,): rooms a side of each level, at most ``rooms``.
      rooms: static.

    Returns:
      bool (N, edges): True where the edge belongs to the tree.
    """
    grid = _Grid.of(sides, rooms)
    width = grid.inside.shape[0]
    first = (words[0] % (sides * sides).astype(jnp.uint32)).astype(jnp.int32)
    first = first // sides * rooms + first % sides
    moves = (-rooms, 1, rooms, -1)

    def step(carry, word):
        here, seen, planes = carry
        open_ = [
            ~bits.contains(seen, jnp.maximum(here + move, 0)) & ~bits.contains(border, here)
            for move, border in zip(moves, grid.borders, strict=True)
        ]
        count = jnp.sum(jnp.stack(open_), axis=0, dtype=jnp.uint32)
        # 12 is a multiple of every number of neighbours.
        rank = (word % 12) % jnp.maximum(count, 1)
        forward = jnp.zeros_like(here)
        for way, side in enumerate(open_):
            forward = jnp.where(side & (rank == 0), way, forward)
            rank = rank - side.astype(jnp.uint32)  # below zero it is large, and the next way is not taken
        on = count > 0
        back = sum(bits.contains(plane, here).astype(jnp.int32) << power for power, plane in enumerate(planes))
        # At the root of a finished walk there is no arrow, and nothing happens any more.
        way = jnp.where(on, forward, back)
        stay = ~on & (here == first)
        there = here + jnp.where(stay, 0, _select(way, moves))
        here_ = jnp.where(on[None], bits.single(there, width), jnp.uint32(0))
        arrow = way ^ 2  # of the room gone to: back where the walk came from
        planes = tuple(
            plane | jnp.where((arrow >> power & 1 == 1)[None], here_, jnp.uint32(0))
            for power, plane in enumerate(planes)
        )
        return (there, seen | here_, planes), None

    root = bits.single(first, width)
    start = (first, root | ~grid.inside, (jnp.zeros_like(root), jnp.zeros_like(root)))
    (_, _, planes), _ = jax.lax.scan(step, start, words[1:])
    return _opened(_towards(planes, grid.inside & ~root), rooms)


def _towards(planes, holders: jax.Array) -> list[jax.Array]:
    """The rooms among ``holders`` whose arrow leads north, east, south, west."""
    low, high = planes
    return [holders & ~low & ~high, holders & low & ~high, holders & ~low & high, holders & low & high]


def _ahead(set_: jax.Array, way: int, rooms: int) -> jax.Array:
    """The rooms one step ``way`` of the set's."""
    shift = bits.shift_down if way in (0, 3) else bits.shift_up
    return shift(set_, rooms if way in (0, 2) else 1)


def _behind(set_: jax.Array, way: int, rooms: int) -> jax.Array:
    """The rooms from which one step ``way`` leads into the set."""
    return _ahead(set_, way ^ 2, rooms)


def _any(sets) -> jax.Array:
    first, *others = sets
    for other in others:
        first = first | other
    return first


def _select(index: jax.Array, values) -> jax.Array:
    chosen = jnp.full_like(index, values[0])
    for number, value in enumerate(values[1:], start=1):
        chosen = jnp.where(index == number, value, chosen)
    return chosen


def _opened(towards: list[jax.Array], rooms: int) -> jax.Array:
    """bool (N, edges): the edges along which an arrow leads."""
    north, east, south, west = towards
    spread = lambda set_: bits.unpack(set_.T, rooms * rooms).reshape(-1, rooms, rooms) == 1
    across = spread(east | _behind(west, 1, rooms))[:, :, :-1]
    down = spread(south | _behind(north, 2, rooms))[:, :-1]
    return jnp.concatenate([across.reshape(len(across), -1), down.reshape(len(down), -1)], axis=-1)
