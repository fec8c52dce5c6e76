"""Where things lie on a map: start, goal, further goals, door, key and lava, so that every level can be solved.

Everything here is of a batch: cells int32 (N,), sets of cells bool (N, height, width), distances as
``oracle.distances`` gives them.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.envs.maze import bits
from lepton_jax.envs.maze.level import Level
from lepton_jax.envs.maze.oracle import distances
from lepton_jax.envs.maze.spec import DOOR_DISTANCE, needed
from lepton_jax.envs.maze.terrain import below


def two_rooms(words: jax.Array, rooms: jax.Array | int, size: int) -> tuple[jax.Array, jax.Array]:
    """Two distinct rooms' cells, uniform but for a bias below rooms / 2**32.

    Args:
      words: uint32 (N, 2) of random bits.
      rooms: rooms a side: a number, or int32 (N,).
      size: tiles a side of the whole map.
    """
    count = jnp.asarray(rooms * rooms, jnp.uint32)
    first = (words[:, 0] % count).astype(jnp.int32)
    second = (words[:, 1] % (count - 1)).astype(jnp.int32)
    second = second + (second >= first)
    cell = lambda room: (2 * (room // rooms) + 1) * size + 2 * (room % rooms) + 1
    return cell(first), cell(second)


def beyond(sides: jax.Array, size: int) -> jax.Array:
    """The map of an empty room of ``sides``, int32 (N,), tiles a side in the upper left corner; all else is wall."""
    inner = jnp.arange(size)
    line = (inner >= 1) & (inner < sides[:, None] - 1)
    return ~(line[:, :, None] & line[:, None, :])


def settle(
    key: jax.Array, walls: jax.Array, candidates: jax.Array, sides: jax.Array, spec: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Chooses the start where there is room enough for all that ``spec`` asks for.

    Args:
      key: typed key; attempt a takes a word a level from ``fold_in(key, a)``.
      walls: the maps. candidates: free cells where the start may be.
      sides: int32 (N,): tiles a side that each level takes.
      spec: static; a ``MazeSpec``.

    Returns:
      Walls, start, and distances from it. The start is uniform over those candidates, or the one nearest the upper left
      corner among those, from which enough cells are within reach. A map without any becomes an empty room.
    """
    size = walls.shape[-1]
    row, column = np.indices((size, size))
    bare = beyond(sides, size)

    def attempt(carry):
        number, walls, candidates, start, _, done = carry
        barren = (~done & ~jnp.any(candidates, (1, 2)))[:, None, None]
        walls, candidates = jnp.where(barren, bare, walls), jnp.where(barren, ~bare, candidates)
        word = jax.random.bits(jax.random.fold_in(key, number), done.shape, jnp.uint32)
        among = least(candidates, (row + column) * size + row) if spec.ends == "corners" else candidates
        start = jnp.where(done, start, one_of(word, among))
        distance = distances(walls, start)
        enough = jnp.sum(distance >= 0, (1, 2)) >= needed(spec.goals, spec.door)
        if spec.door:
            enough &= jnp.max(distance, (1, 2)) >= DOOR_DISTANCE
        return number + 1, walls, candidates & (distance < 0), start, distance, done | enough

    none = jnp.zeros(len(walls), bool)
    carry = (jnp.int32(0), walls, candidates, none.astype(jnp.int32), walls.astype(jnp.int16), none)
    carry = jax.lax.while_loop(lambda carry: ~jnp.all(carry[-1]), attempt, carry)
    _, walls, _, start, distance, _ = carry
    return walls, start, distance


def furnish(
    key: jax.Array,
    walls: jax.Array,
    start: jax.Array,
    distance: jax.Array,
    preferred: jax.Array,
    sides: jax.Array,
    spec: Any,
) -> Level:
    """Places goal, door, key, further goals and lava; see ``MazeSpec``.

    The goal is uniform over the preferred cells whose distance from the start lies in the band that ``spec`` names;
    where a level has none, over those nearest to the band. The door is uniform over the cells between start and goal
    that every path passes; if loops leave none, over those on a shortest path. The key is uniform over the cells
    reached without passing door or goal, preferred ones first. Further goals lie off the shortest paths (to the key,
    the door, the goal) and on preferred cells, as far as there are any. Lava lies off all of these.

    Args:
      key: typed key.
      walls, start, distance: as ``settle`` returns them.
      preferred: bool (height, width): rooms, in a map that has rooms.
      sides: int32 (N,): tiles a side that each level takes.
      spec: static; a ``MazeSpec``.
    """
    size = walls.shape[-1]
    cells = np.arange(size * size).reshape(size, size)
    row, column = np.divmod(cells, size)
    at = lambda cell: cells == cell[:, None, None]
    field = lambda values, cell: jnp.sum(jnp.where(at(cell), values, 0), (1, 2), jnp.int32)[:, None, None]
    words = jax.random.bits(jax.random.fold_in(key, 0), (2 + spec.goals, len(walls)), jnp.uint32)

    shortest = DOOR_DISTANCE if spec.door else 1
    among = preferred & (distance >= shortest)
    low, high = max(spec.min_distance, shortest), spec.max_distance or size * size
    if low > shortest or spec.max_distance:
        away = distance.astype(jnp.int32)
        among = least(among, jnp.maximum(jnp.maximum(low - away, away - high), 0))
    if spec.ends == "corners":
        # The lower right corner of a level is not that of the map where sizes are mixed; its cells rank alike.
        last = sides[:, None, None] - 2
        among = least(among, jnp.abs(last - row) * size + jnp.abs(last - column) * size + np.abs(row - column))
    goal = one_of(words[0], among)
    level = Level(walls, start, goal)
    if not (spec.door or spec.goals > 1 or spec.lava):
        return level

    def between(one: jax.Array, other: jax.Array, end: jax.Array) -> jax.Array:
        """The cells on shortest paths, by the distances from both ends, of which ``end`` is the one of ``other``."""
        on = (one >= 0) & (other >= 0) & (one + other == field(one, end))
        # Packed, so that it is computed once: XLA would else repeat the distances for every use.
        return _unpacked(bits.pack(on.reshape(len(on), -1)), size)

    to_goal = distances(walls, goal)
    way = between(distance, to_goal, goal)
    taken = at(start) | at(goal)
    if spec.door:
        # The key needs a cell before the door, and the start is none.
        free = way & ~taken & ((distance > 1) | (jnp.sum(distance == 1, (1, 2)) > 1)[:, None, None])
        door = one_of(words[1], least(free, ~gates(walls, way, distance, start)))
        barred = walls | at(door) | at(goal)
        reached = distances(barred, start)
        lock = one_of(words[2], least((reached > 0) & ~barred, ~preferred))
        taken |= at(door) | at(lock)
        level = level._replace(door=door, key=lock)
        if spec.goals > 1 or spec.lava:
            to_key, to_door = distances(barred, lock), distances(walls | at(goal), door)
            way = between(reached, to_key, lock)
            way |= between(to_door, to_key, lock)
            way |= between(to_goal, to_door, door)
    others = []
    for word in words[3:]:
        others.append(one_of(word, least((distance >= 0) & ~taken, 2 * way + ~preferred)))
        taken |= at(others[-1])
    if others:
        level = level._replace(others=jnp.stack(others, -1))
    if spec.lava:
        words = jax.random.bits(jax.random.fold_in(key, 1), walls.shape, jnp.uint32)
        level = level._replace(lava=below(words, spec.lava) & ~(walls | way | taken))
    return level


def least(candidates: jax.Array, penalty: Any) -> jax.Array:
    """Those candidates whose penalty, int or bool (..., height, width), is the smallest among them."""
    worst = np.int32(2**31 - 1)
    penalty = jnp.where(candidates, penalty, worst)
    return candidates & (penalty == jnp.min(penalty, (-2, -1), keepdims=True))


def one_of(words: jax.Array, candidates: jax.Array) -> jax.Array:
    """A uniform member of each set, int32 (N,), by random bits uint32 (N,); of an empty set any."""
    members = bits.pack(candidates.reshape(len(candidates), -1))
    count = jnp.sum(jax.lax.population_count(members), axis=0)
    return bits.select(members, words % jnp.maximum(count, 1))


def gates(walls: jax.Array, way: jax.Array, distance: jax.Array, start: jax.Array) -> jax.Array:
    """The cells that every path from start to goal passes, both ends included, however long the path.

    They are among the cells ``way`` of the shortest paths. These are barred and the rest is flooded from the start.
    What lies on the way before a cell that the flood touches can be passed by, so it is opened; when nothing moves any
    more and one barred cell alone is touched, all paths lead through it. Then it is opened too.

    Args:
      walls: the maps. way: cells on shortest paths from start to goal. distance: from the start.
      start: int32 (N,).
    """
    size = walls.shape[-1]
    flat = lambda field: field.reshape(len(field), -1)
    offsets = (-size, 1, size, -1)
    steps = flat(jnp.where(way, distance, -2))
    free, barred = bits.pack(~flat(walls)), bits.pack(flat(way))
    # The cells of the way from which it goes on north, east, south, west.
    onward = [bits.pack((steps >= 0) & (jnp.roll(steps, -by, -1) == steps + 1)) for by in offsets]
    first = bits.single(start, free.shape[0])
    nothing = jnp.zeros_like(free)

    def around(members: jax.Array) -> jax.Array:
        sides = bits.shift_up(members, 1) | bits.shift_down(members, 1)
        return sides | bits.shift_up(members, size) | bits.shift_down(members, size)

    def backward(members: jax.Array) -> jax.Array:
        north, east, south, west = onward
        found = (bits.shift_up(members, size) & north) | (bits.shift_down(members, 1) & east)
        return found | (bits.shift_down(members, size) & south) | (bits.shift_up(members, 1) & west)

    def step(carry):
        reached, barred, passed, found, _ = carry
        beside = around(reached)
        touched, grown = beside & barred, reached | (beside & free & ~barred)
        known = passed | backward(passed | touched)
        resting = ~jnp.any((grown ^ reached) | (known ^ passed), axis=0)
        alone = jnp.sum(jax.lax.population_count(touched), axis=0) == 1
        found |= jnp.where(resting & alone, touched, nothing)
        barred &= ~(known | jnp.where(resting, touched, nothing))
        return grown, barred, known, found, jnp.any(~resting | jnp.any(touched != 0, axis=0))

    carry = (first, barred & ~first, nothing, first, jnp.bool_(True))
    found = jax.lax.while_loop(lambda carry: carry[-1], step, carry)[3]
    return _unpacked(found, size)


def _unpacked(members: jax.Array, size: int) -> jax.Array:
    """uint32 (words, N) -> bool (N, size, size)."""
    return bits.unpack(members.T, size * size).reshape(-1, size, size) == 1
