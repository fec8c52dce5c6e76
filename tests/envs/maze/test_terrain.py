from collections import Counter
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest
from scipy import stats

from lepton_jax.envs.maze import terrain


def words(seed: int, *shape: int) -> jax.Array:
    return jax.random.bits(jax.random.key(seed), shape, jnp.uint32)


def test_below():
    row = jnp.asarray([0, 2**31 - 1, 2**31, 2**32 - 1], jnp.uint32)
    assert terrain.below(row, 0.5).tolist() == [True, True, False, False]
    assert terrain.below(row, 0.0).tolist() == [False] * 4
    assert terrain.below(row, 1.0).tolist() == [True] * 4


def slow_blocks(row: np.ndarray, size: int, density: float) -> np.ndarray:
    walls = np.ones((size, size), bool)
    for number, word in enumerate(row.tolist()):
        walls[1 + number // (size - 2), 1 + number % (size - 2)] = word // 256 < density * 2**24
    return walls


def test_blocks():
    chance = words(0, 40, 81)
    found = np.asarray(terrain.blocks(chance, 11, 0.25))
    for row, walls in zip(np.asarray(chance), found, strict=True):
        np.testing.assert_array_equal(walls, slow_blocks(row, 11, 0.25))
    assert stats.binomtest(int(found[:, 1:-1, 1:-1].sum()), 40 * 81, 0.25).pvalue > 1e-3


def test_caves():
    chance = words(1, 12, 169)
    found = np.asarray(jax.jit(terrain.caves, static_argnums=(1, 2))(chance, 15, 0.5))
    for row, walls in zip(np.asarray(chance), found, strict=True):
        expected = slow_blocks(row, 15, 0.5)
        for _ in range(5):
            before = expected.copy()
            for r in range(1, 14):
                for c in range(1, 14):
                    expected[r, c] = before[r - 1 : r + 2, c - 1 : c + 2].sum() >= 5
        np.testing.assert_array_equal(walls, expected)
    assert 0.1 < found[:, 1:-1, 1:-1].mean() < 0.9


@pytest.mark.parametrize(("size", "chambers", "braid"), [(13, 3, 0.0), (13, 3, 1.0), (9, 4, 0.0), (13, 2, 0.4)])
def test_rooms(size, chambers, braid):
    edges = chambers * (chambers - 1)
    found = np.asarray(
        jax.jit(terrain.rooms, static_argnums=(1, 2, 3))(words(2, 300, 3, 2 * edges), size, chambers, braid)
    )
    lines = [round((size - 1) / chambers * number - 1e-9) for number in range(chambers + 1)]
    opened = 0
    for walls in found:
        assert walls[lines][:, lines].all()
        assert walls[[0, -1]].all()
        assert walls[:, [0, -1]].all()
        assert (plain.distances(walls, size + 1)[~walls] >= 0).all()
        inside = np.ones(size, bool)
        inside[lines] = False
        assert not walls[np.ix_(inside, inside)].any()
        for side in (walls, walls.T):
            for line in lines[1:-1]:
                for low, high in pairwise(lines):
                    gaps = int((~side[line, low + 1 : high]).sum())
                    assert gaps <= 1
                    opened += gaps
    least = chambers**2 - 1
    rest = 300 * (2 * edges - least)
    assert opened - 300 * least == pytest.approx(braid * rest, abs=4 * np.sqrt(rest * braid * (1 - braid)))


def test_doorways_are_anywhere_in_the_walls():
    found = np.asarray(jax.jit(terrain.rooms, static_argnums=(1, 2, 3))(words(3, 2_000, 3, 4), 13, 2, 1.0))
    for walls in (found[:, 6], found[:, :, 6]):
        counts = (~walls).sum(0)
        assert counts[[0, 6, 12]].sum() == 0
        assert stats.chisquare(counts[1:6]).pvalue > 1e-3
        assert stats.chisquare(counts[7:12]).pvalue > 1e-3


def test_one_chamber_is_an_empty_room():
    walls = np.asarray(terrain.rooms(words(0, 2, 3, 0), 7, 1, 0.0))
    assert walls.shape == (2, 7, 7)
    assert not walls[:, 1:-1, 1:-1].any()
    assert walls.sum() == 2 * 24


def minigrid(rng: np.random.Generator, size: int, number: int) -> np.ndarray:
    """The procedure of minigrid.envs.crossing, with walls."""
    rivers = [("v", i) for i in range(2, size - 2, 2)] + [("h", j) for j in range(2, size - 2, 2)]
    rivers = [rivers[k] for k in rng.permutation(len(rivers))[:number]]
    columns = sorted(position for direction, position in rivers if direction == "v")
    rows = sorted(position for direction, position in rivers if direction == "h")
    walls = np.zeros((size, size), bool)
    walls[[0, -1]] = walls[:, [0, -1]] = True
    walls[:, columns] = walls[rows] = True
    path = rng.permutation(["h"] * len(columns) + ["v"] * len(rows))
    limits_v, limits_h = [0, *columns, size - 1], [0, *rows, size - 1]
    room_i = room_j = 0
    for direction in path:
        if direction == "h":
            i, j = limits_v[room_i + 1], rng.integers(limits_h[room_j] + 1, limits_h[room_j + 1])
            room_i += 1
        else:
            i, j = rng.integers(limits_v[room_i] + 1, limits_v[room_i + 1]), limits_h[room_j + 1]
            room_j += 1
        walls[j, i] = False
    return walls


def test_crossings_vary_like_minigrids():
    rng = np.random.default_rng(0)
    expected = Counter(minigrid(rng, 7, 2).tobytes() for _ in range(12_000))
    walls = np.asarray(jax.jit(terrain.crossings, static_argnums=(1, 2))(words(4, 12_000, 2, 4), 7, 0.5))
    found = Counter(row.tobytes() for row in walls)
    assert set(found) == set(expected)
    table = np.array([[counts[name] for name in expected] for counts in (expected, found)])
    assert np.asarray(stats.chi2_contingency(table)[1]) > 1e-3


@pytest.mark.parametrize(("density", "number"), [(0.0, 1), (0.5, 4), (1.0, 8)])
def test_crossings_lead_from_corner_to_corner(density, number):
    draw = jax.jit(terrain.crossings, static_argnums=(1, 2))
    for walls in np.asarray(draw(words(5, 60, 2, 8), 11, density)):
        inner = walls[1:-1, 1:-1]
        # Every wall is full but for one gap.
        assert (inner.sum(0) == 8).sum() + (inner.sum(1) == 8).sum() == number
        assert plain.distances(walls, 12)[9, 9] >= 16
