import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest
from scipy import stats

from lepton_jax.envs.maze import oracle, place
from lepton_jax.envs.maze.generate import batch
from lepton_jax.envs.maze.level import Level
from lepton_jax.envs.maze.spec import MazeSpec

draw = jax.jit(batch, static_argnums=(1, 2))


def many(seed: int, spec: MazeSpec, count: int) -> list[Level]:
    levels = jax.device_get(draw(jax.random.key(seed), spec, count))
    return [jax.tree.map(lambda leaf, number=number: leaf[number], levels) for number in range(count)]


def closed_at(walls: np.ndarray, *cells: int) -> np.ndarray:
    walls = walls.copy()
    walls.reshape(-1)[list(cells)] = True
    return walls


def between(walls: np.ndarray, one: int, other: int) -> set[int]:
    """The cells on shortest paths, both ends included."""
    there, back = plain.distances(walls, one).reshape(-1), plain.distances(walls, other).reshape(-1)
    return set(np.flatnonzero((there >= 0) & (back >= 0) & (there + back == there[other])).tolist())


def test_two_rooms_of_mixed_sizes():
    rooms = np.repeat(np.array([2, 3], np.int32), 6_000)
    words = np.random.default_rng(0).integers(0, 2**32, (12_000, 2), np.uint32)
    ends = np.stack(jax.jit(place.two_rooms, static_argnums=2)(words, rooms, 7))
    row, column = np.divmod(ends, 7)
    assert np.all(row % 2 == 1)
    assert np.all(column % 2 == 1)
    for side in (2, 3):
        number = (row // 2 * side + column // 2)[:, rooms == side]
        pairs = np.bincount(number[0] * side**2 + number[1], minlength=side**4).reshape(side**2, side**2)
        assert np.all(np.diag(pairs) == 0)
        assert stats.chisquare(pairs[~np.eye(side**2, dtype=bool)]).pvalue > 1e-3


def test_beyond():
    bare = np.asarray(place.beyond(jnp.int32([5, 7]), 7))
    expected = np.ones((2, 7, 7), bool)
    expected[0, 1:4, 1:4] = expected[1, 1:6, 1:6] = False
    np.testing.assert_array_equal(bare, expected)


def test_least_and_one_of():
    candidates = np.zeros((2, 2, 40), bool)
    candidates[0, 0, [3, 7]] = candidates[0, 1, [5, 39]] = True
    candidates[1, 1, 2] = True
    penalty = np.full((2, 2, 40), -1)  # what is no candidate counts for nothing
    penalty[0, 0, 3], penalty[0, 0, 7], penalty[0, 1, 5], penalty[0, 1, 39] = 4, 2, 2, 2
    penalty[1, 1, 2] = 9
    kept = np.asarray(place.least(jnp.asarray(candidates), penalty))
    expected = candidates.copy()
    expected[0, 0, 3] = False
    np.testing.assert_array_equal(kept, expected)
    chosen = jax.jit(jax.vmap(place.one_of, (0, None)))(jnp.arange(9, dtype=jnp.uint32)[:, None].repeat(2, 1), kept)
    np.testing.assert_array_equal(chosen[:, 0], [7, 45, 79] * 3)
    np.testing.assert_array_equal(chosen[:, 1], [42] * 9)


def test_gates_are_the_cells_whose_wall_would_part_start_and_goal():
    rng = np.random.default_rng(1)
    maps = []
    while len(maps) < 60:
        walls = plain.random_walls(rng, 9, 9, 0.35)
        start, goal = plain.two_cells(rng, walls)
        if plain.distances(walls, start).reshape(-1)[goal] >= 0:
            maps.append((walls, start, goal))
    walls, start, goal = (np.stack(part) for part in zip(*maps, strict=True))
    distance = jax.jit(oracle.distances)(walls, start)
    way = np.zeros(walls.shape, bool)
    for number, level in enumerate(maps):
        way[number].reshape(-1)[list(between(*level))] = True
    found = np.asarray(jax.jit(place.gates)(walls, way, distance, start.astype(np.int32)))
    narrow = 0
    for number, (walls_, start_, goal_) in enumerate(maps):
        expected = {start_, goal_}
        for cell in np.flatnonzero(~walls_):
            if cell not in (start_, goal_):
                parted = plain.distances(closed_at(walls_, int(cell)), start_).reshape(-1)[goal_] < 0
                expected |= {int(cell)} if parted else set()
        assert set(np.flatnonzero(found[number]).tolist()) == expected
        narrow += 2 < len(expected) < len(between(walls_, start_, goal_))
    assert narrow > 10  # both kinds of cell occur on the same way


def settle(maps: list[str], spec: MazeSpec, seed: int, copies: int) -> tuple[np.ndarray, ...]:
    walls = np.stack([from_map(rows) for rows in maps]).repeat(copies, 0)
    sides = np.full(len(walls), spec.size, np.int32)
    found = jax.jit(place.settle, static_argnums=4)(jax.random.key(seed), walls, ~walls, sides, spec)
    return walls, *(np.asarray(part) for part in found)


def from_map(rows: str) -> np.ndarray:
    return np.array([[glyph == "#" for glyph in row] for row in rows.split("/")])


# A part of three cells, one of four around a wall, and one by itself; then what has but two parts of two cells.
PARTS = "#######/#   # #/#######/#  ## #/# ### #/#   # #/#######"
PAIRS = "#######/#  #  #/#######/#######/#######/#######/#######"


def test_settle_wants_room_enough():
    given, walls, start, distance = settle([PARTS, PAIRS], MazeSpec(7, kind="blocks", goals=2, door=True), 0, 600)
    # Five cells are needed and three steps: of the first map the part of six cells has them, of the second none.
    np.testing.assert_array_equal(walls[:600], given[:600])
    assert not walls[600:, 1:-1, 1:-1].any()
    expected = {22, 23, 29, 36, 37, 38}
    counts = np.bincount(start[:600], minlength=49)
    assert set(np.flatnonzero(counts).tolist()) == expected
    assert stats.chisquare(counts[sorted(expected)]).pvalue > 1e-3
    for number in range(0, 1200, 40):
        np.testing.assert_array_equal(distance[number], plain.distances(walls[number], start[number]))


def test_settle_takes_any_part_that_is_enough_in_proportion():
    given, walls, start, _ = settle([PARTS, PAIRS], MazeSpec(7, kind="blocks"), 1, 600)
    np.testing.assert_array_equal(walls, given)
    for part in (0, 1):
        cells = [cell for cell in np.flatnonzero(~given[600 * part]) if part or cell != 12]  # which is by itself
        counts = np.bincount(start[600 * part : 600 * (part + 1)], minlength=49)
        assert counts[cells].sum() == 600
        assert stats.chisquare(counts[cells]).pvalue > 1e-3


def test_settle_in_the_corner():
    _, _, start, _ = settle([PARTS], MazeSpec(7, kind="blocks", ends="corners", goals=4), 0, 1)
    assert start[0] == 22  # the part of three cells, which is nearer, is too small


def test_the_goal_lies_in_the_band_or_nearest_to_it():
    nearest = 0
    for level in many(2, MazeSpec(9, 0.3, kind="wilson", min_distance=11, max_distance=12), 200):
        steps = plain.distances(level.walls, int(level.start))
        away = np.maximum(np.maximum(11 - steps, steps - 12), 0)[1::2, 1::2]
        away[steps[1::2, 1::2] == 0] = 1000  # not the start
        row, column = np.divmod(level.goal, 9)
        assert row % 2 == column % 2 == 1
        assert away[row // 2, column // 2] == away.min()
        nearest += away.min() > 0
    assert 20 < nearest < 180


def test_the_goal_is_uniform_over_its_band():
    # One map: from its left end the corridor has rooms 2, 4, 6, 8 steps away, three of them in the band.
    walls = from_map("###########/#         #/###########" + "/###########" * 8)
    walls = jnp.broadcast_to(jnp.asarray(walls), (900, 11, 11))
    spec = MazeSpec(11, min_distance=3)
    start, sides = jnp.full(900, 12), jnp.full(900, 11)
    odd = jnp.arange(11) % 2 == 1
    preferred = odd[:, None] & odd
    distance = jax.jit(oracle.distances)(walls, start)
    furnish = jax.jit(lambda key: place.furnish(key, walls, start, distance, preferred, sides, spec))
    counts = np.bincount(np.asarray(furnish(jax.random.key(3)).goal), minlength=121)
    assert set(np.flatnonzero(counts).tolist()) == {16, 18, 20}
    assert stats.chisquare(counts[[16, 18, 20]]).pvalue > 1e-3


def test_corners():
    rows, columns = np.divmod(np.arange(81), 9)
    for level in many(4, MazeSpec(9, kind="blocks", ends="corners", min_size=5), 60):
        steps = plain.distances(level.walls, int(level.start)).reshape(-1)
        reached = steps > 0
        assert reached[level.goal]
        assert (rows + columns)[level.goal] == (rows + columns)[reached].max()
        nearer = np.flatnonzero(~level.walls.reshape(-1) & (rows + columns < (rows + columns)[level.start]))
        for cell in nearer:  # only a cell by itself is passed over
            assert (plain.distances(level.walls, int(cell)) >= 0).sum() == 1


FURNISHED = [
    MazeSpec(9, 0.4, kind="wilson", door=True, goals=3, lava=0.5),
    MazeSpec(9, kind="blocks", door=True, goals=3, lava=0.5),
]


@pytest.fixture(scope="module", params=FURNISHED, ids=lambda spec: spec.kind)
def furnished(request) -> list[Level]:
    return many(5, request.param, 150)


def test_door_and_key(furnished):
    barring = 0
    for level in furnished:
        walls, start, goal, door, key = level.walls, *map(int, (level.start, level.goal, level.door, level.key))
        assert plain.distances(walls, start).reshape(-1)[goal] >= 3
        assert door in between(walls, start, goal) - {start, goal}
        assert key not in (start, goal, door)
        before = plain.distances(closed_at(walls, door, goal), start).reshape(-1)
        assert before[key] > 0
        assert plain.distances(closed_at(walls, goal), key).reshape(-1)[door] > 0
        bars = plain.distances(closed_at(walls, door), start).reshape(-1)[goal] < 0
        barring += bars
        if not bars:  # then no cell that leaves one for the key does
            steps = plain.distances(walls, start).reshape(-1)
            free = between(walls, start, goal) - {start, goal}
            free = [cell for cell in free if steps[cell] > 1 or (steps == 1).sum() > 1]
            assert all(plain.distances(closed_at(walls, cell), start).reshape(-1)[goal] >= 0 for cell in free)
    assert barring > 40


def test_lava_leaves_the_shortest_way_and_takes_its_share_of_the_rest(furnished):
    burning = cool = 0
    for level in furnished:
        walls, lava = level.walls.reshape(-1), level.lava.reshape(-1)
        start, goal, door, key = (int(cell) for cell in (level.start, level.goal, level.door, level.key))
        way = between(closed_at(level.walls, door, goal), start, key)
        way |= between(closed_at(level.walls, goal), key, door) | between(level.walls, door, goal)
        kept = way | set(level.others.tolist())
        assert not lava[list(kept)].any()
        assert not lava[walls].any()
        rest = [cell for cell in np.flatnonzero(~walls).tolist() if cell not in kept]
        burning += lava[rest].sum()
        cool += (~lava[rest]).sum()
    assert stats.binomtest(int(burning), int(burning + cool), 0.5).pvalue > 1e-3


def test_further_goals_lie_apart_and_off_the_way_if_they_can(furnished):
    for level in furnished:
        start, goal, door, key = (int(cell) for cell in (level.start, level.goal, level.door, level.key))
        things = [start, goal, door, key, *level.others.tolist()]
        assert level.others.shape == (2,)
        assert len(set(things)) == 6
        steps = plain.distances(level.walls, start).reshape(-1)
        assert np.all(steps[level.others] > 0)
        way = between(closed_at(level.walls, door, goal), start, key)
        way |= between(closed_at(level.walls, goal), key, door) | between(level.walls, door, goal)
        off = set(np.flatnonzero(steps >= 0).tolist()) - way
        assert len(off & set(level.others.tolist())) == min(2, len(off))


def test_only_what_is_asked_for():
    for spec, fields in (
        (MazeSpec(7, min_distance=2), ()),
        (MazeSpec(7, lava=0.5), ("lava",)),
        (MazeSpec(7, goals=2), ("others",)),
        (MazeSpec(7, door=True), ("key", "door")),
    ):
        levels = jax.eval_shape(lambda spec=spec: batch(jax.random.key(0), spec, 3))
        assert {name for name, leaf in levels._asdict().items() if not isinstance(leaf, tuple)} == {
            *("walls", "start", "goal"), *fields
        }  # fmt: skip
