import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest
from scipy import sparse, stats
from scipy.sparse.csgraph import minimum_spanning_tree

from lepton_jax.envs.maze import spanning, trees, walks


def doors(rooms: int) -> list[tuple[int, int]]:
    """Horizontal pairs of rooms row by row, then vertical ones."""
    number = lambda r, c: r * rooms + c
    across = [(number(r, c), number(r, c + 1)) for r in range(rooms) for c in range(rooms - 1)]
    return across + [(number(r, c), number(r + 1, c)) for r in range(rooms - 1) for c in range(rooms)]


@pytest.mark.parametrize("rooms", [1, 2, 3, 4, 5, 7, 8, 10, 11, 17])
def test_spanning_tree_is_minimal(rooms):
    edges = doors(rooms)
    rng = np.random.default_rng(rooms)
    fields = rng.integers(0, 2**32, (30, len(edges)), np.uint32)
    fields[0] = 0  # all equal: the edges' numbers alone decide
    fields[1] = 2**32 - 1
    fields[2:6] = rng.integers(0, 3, (4, len(edges))).astype(np.uint32) << 30  # many ties
    fields[6, : len(edges) // 2] = 2**32 - 1  # half of them unwanted
    keys = np.asarray(spanning.edge_keys(jnp.asarray(fields), rooms))
    assert all(len(np.unique(row)) == len(edges) for row in keys)
    found = jax.jit(spanning.spanning_tree, static_argnums=1)(jnp.asarray(fields), rooms)
    for row, tree in zip(keys, np.asarray(found), strict=True):
        assert tree.sum() == rooms * rooms - 1
        if not edges:
            continue
        assert chosen(tree, rooms) == minimum(row, edges, rooms)


def test_edge_keys_keep_the_order_of_the_upper_bits():
    weights = np.random.default_rng(0).integers(0, 2**32, len(doors(6)), np.uint32)
    keys = np.asarray(spanning.edge_keys(jnp.asarray(weights), 6))
    assert np.array_equal(keys >> 6, weights >> 6)  # 60 edges need 6 bits
    assert np.array_equal(keys & 63, np.arange(60))


@pytest.mark.parametrize("rooms", [1, 2, 3, 6])
def test_carve(rooms):
    edges = doors(rooms)
    rng = np.random.default_rng(rooms)
    for _ in range(4):
        opened = rng.random(len(edges)) < 0.5
        expected = np.ones((2 * rooms + 1, 2 * rooms + 1), bool)
        expected[1::2, 1::2] = False
        for (a, b), kept in zip(edges, opened, strict=True):
            if kept:
                expected[a // rooms + b // rooms + 1, a % rooms + b % rooms + 1] = False
        np.testing.assert_array_equal(trees.carve(jnp.asarray(opened), rooms), expected)


def minimum(keys: np.ndarray, edges: list[tuple[int, int]], rooms: int) -> set[tuple[int, int]]:
    """The edges of the minimum spanning tree, by scipy."""
    heads, tails = zip(*edges, strict=True)
    # scipy takes a weight of 0 for no edge.
    graph = sparse.csr_array((keys.astype(float) + 1, (heads, tails)), shape=(rooms * rooms, rooms * rooms))
    found = minimum_spanning_tree(graph).tocoo()
    return {(int(i), int(j)) for i, j in zip(found.row, found.col, strict=True)}


def chosen(tree: np.ndarray, rooms: int) -> set[tuple[int, int]]:
    return {edge for edge, kept in zip(doors(rooms), tree, strict=True) if kept}


@pytest.mark.parametrize("field", ["anisotropic", "smooth", "confined"])
def test_trees_of_weight_fields_are_minimal(field):
    rooms, count = 6, 60
    rng = np.random.default_rng(7)
    words = rng.integers(0, 2**32, (count, len(doors(rooms))), np.uint32)
    sides = np.full(count, rooms)
    if field == "anisotropic":
        weights = trees.anisotropic(jnp.asarray(words), jnp.asarray(words[:, 0]), rooms)
    elif field == "smooth":
        weights = trees.smooth(jnp.asarray(words), jnp.asarray(words[:, : trees.num_controls(rooms)]), rooms)
    else:
        words[0] = 2**32 - 1
        sides = rng.integers(1, rooms + 1, count)
        weights = trees.confine(jnp.asarray(words), jnp.asarray(sides), rooms)
    keys = np.asarray(spanning.edge_keys(weights, rooms))
    found = jax.jit(spanning.spanning_tree, static_argnums=1)(weights, rooms)
    for row, tree, side in zip(keys, np.asarray(found), sides, strict=True):
        inside = [number for number, edge in enumerate(doors(rooms)) if max(*edge) // rooms < side
                  and max(edge[0] % rooms, edge[1] % rooms) < side]  # fmt: skip
        kept = chosen(tree, rooms) & {doors(rooms)[number] for number in inside}
        assert len(kept) == side * side - 1
        if inside:
            assert kept == minimum(row[inside], [doors(rooms)[number] for number in inside], rooms)


def test_anisotropic_weights():
    words = np.random.default_rng(0).integers(0, 2**32, (2, 12), np.uint32)
    bias = np.array([2**31 + 1, 2**30], np.uint32)  # a half of the noise against going across; a quarter against down
    found = np.asarray(trees.anisotropic(jnp.asarray(words), jnp.asarray(bias), 3)).astype(np.int64)
    np.testing.assert_array_equal(found[0] - words[0] // 2, [2**30] * 6 + [0] * 6)
    np.testing.assert_array_equal(found[1] - words[1] // 2, [0] * 6 + [2**29] * 6)


def test_smooth_weights_are_bilinear():
    rooms, points = 6, 3
    rng = np.random.default_rng(1)
    assert trees.num_controls(rooms) == 2 * points**2
    controls = rng.integers(0, 2**32, (4, 2, points, points), np.uint32)
    words = rng.integers(0, 2**32, (4, len(doors(rooms))), np.uint32)
    found = trees.smooth(jnp.asarray(words), jnp.asarray(controls.reshape(4, -1)), rooms)
    for number, (a, b) in enumerate(doors(rooms)):
        row, column = (a // rooms + b // rooms) / 8, (a % rooms + b % rooms) / 8
        (i, up), (j, left) = (divmod(place, 1) for place in (row, column))
        grid = np.pad(controls[:, 0 if b == a + 1 else 1] / 2**32, ((0, 0), (0, 1), (0, 1)))[:, int(i) :, int(j) :]
        field = (1 - up) * ((1 - left) * grid[:, 0, 0] + left * grid[:, 0, 1])
        field += up * ((1 - left) * grid[:, 1, 0] + left * grid[:, 1, 1])
        expected = field / 2 + words[:, number] / 2**32 / 8
        np.testing.assert_allclose(np.asarray(found)[:, number] / 2**32, expected, atol=1e-4)


def layouts(opened: np.ndarray, rooms: int) -> dict[bytes, int]:
    found = dict.fromkeys((walls.tobytes() for walls in plain.spanning_trees(rooms)), 0)
    for walls in np.asarray(jax.jit(jax.vmap(trees.carve, (0, None)), static_argnums=1)(opened, rooms)):
        found[walls.tobytes()] += 1
    return found


@pytest.fixture(scope="module")
def mixed():
    """Sides of 3, 4 and 1 rooms in a grid of 4, and the trees that each walk makes there."""
    sides = np.repeat(np.array([3, 4, 1], np.int32), (19_200, 2_000, 10))
    wilson = jax.jit(walks.wilson, static_argnums=2)(jax.random.key(1), sides, 4)
    words = jax.random.bits(jax.random.key(2), (31, len(sides)), jnp.uint32)
    backtracker = jax.jit(walks.backtracker, static_argnums=2)(words, sides, 4)
    return sides, np.asarray(wilson), np.asarray(backtracker)


def three(opened: np.ndarray) -> np.ndarray:
    """Of edges of 4 x 4 rooms those of the upper left 3 x 3."""
    keep = [number for number, edge in enumerate(doors(4)) if max(*edge) < 12 and 3 not in (edge[0] % 4, edge[1] % 4)]
    return opened[:, keep]


@pytest.mark.parametrize("walk", [1, 2], ids=["wilson", "backtracker"])
def test_walks_make_trees_within_their_sides(mixed, walk):
    sides, opened = mixed[0], mixed[walk]
    np.testing.assert_array_equal(opened.sum(1), sides**2 - 1)
    for number in (*range(0, 19_200, 400), *range(19_200, 21_200, 40)):
        joined = {0}
        for _ in range(16):
            joined |= {room for edge in chosen(opened[number], 4) if joined & set(edge) for room in edge}
        side = sides[number]
        assert joined == {4 * row + column for row in range(side) for column in range(side)}


def test_wilson_is_uniform(mixed):
    counts = list(layouts(three(mixed[1][:19_200]), 3).values())
    assert len(counts) == 192
    assert stats.chisquare(counts).pvalue > 1e-3


def test_backtracker_varies_like_a_walk(mixed):
    # The walk by hand, over 3x3 rooms.
    rng = np.random.default_rng(0)
    expected = dict.fromkeys((walls.tobytes() for walls in plain.spanning_trees(3)), 0)
    for _ in range(12_000):
        walls = np.ones((7, 7), bool)
        walls[1::2, 1::2] = False
        path = [tuple(rng.integers(0, 3, 2))]
        seen = set(path)
        while path:
            row, column = path[-1]
            ways = [(row + down, column + right) for down, right in plain.MOVES]
            ways = [way for way in ways if way not in seen and set(way) <= {0, 1, 2}]
            if not ways:
                path.pop()
                continue
            way = ways[rng.integers(len(ways))]
            walls[row + way[0] + 1, column + way[1] + 1] = False
            seen.add(way)
            path.append(way)
        expected[walls.tobytes()] += 1
    table = np.array([list(expected.values()), list(layouts(three(mixed[2][:19_200]), 3).values())])
    assert np.all((table[0] > 0) == (table[1] > 0))
    assert np.asarray(stats.chi2_contingency(table[:, table[0] > 0])[1]) > 1e-3
