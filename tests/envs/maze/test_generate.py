import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest
from scipy import sparse, stats
from scipy.sparse.csgraph import minimum_spanning_tree

from lepton_jax.envs.maze import generate
from lepton_jax.envs.maze.generate import MazeSpec
from lepton_jax.envs.maze.level import Level, digest, split_of

draw = jax.jit(jax.vmap(generate.perfect, (0, None)), static_argnums=1)
set_of = jax.jit(lambda walls: split_of(digest(walls)))
split_levels = jax.jit(generate.split_levels, static_argnums=(1, 2, 3))


def many(seed: int, spec: MazeSpec, count: int) -> Level:
    return jax.tree.map(np.asarray, draw(jax.random.split(jax.random.key(seed), count), spec))


def doors(rooms: int) -> list[tuple[int, int]]:
    """Horizontal pairs of rooms row by row, then vertical ones."""
    number = lambda r, c: r * rooms + c
    across = [(number(r, c), number(r, c + 1)) for r in range(rooms) for c in range(rooms - 1)]
    return across + [(number(r, c), number(r + 1, c)) for r in range(rooms - 1) for c in range(rooms)]


@pytest.mark.parametrize("rooms", [1, 2, 3, 4, 5, 7, 8, 10])
def test_spanning_tree_is_minimal(rooms):
    edges = doors(rooms)
    rng = np.random.default_rng(rooms)
    fields = rng.integers(0, 2**32, (30, len(edges)), np.uint32)
    fields[0] = 0  # all equal: the edges' numbers alone decide
    fields[1] = 2**32 - 1
    fields[2:6] = rng.integers(0, 3, (4, len(edges))).astype(np.uint32) << 30  # many ties
    fields[6, : len(edges) // 2] = 2**32 - 1  # half of them unwanted
    keys = np.asarray(jax.vmap(generate.edge_keys, (0, None))(jnp.asarray(fields), rooms))
    assert all(len(np.unique(row)) == len(edges) for row in keys)
    trees = np.asarray(
        jax.jit(jax.vmap(generate.spanning_tree, (0, None)), static_argnums=1)(jnp.asarray(fields), rooms)
    )
    for row, tree in zip(keys, trees, strict=True):
        assert tree.sum() == rooms * rooms - 1
        if not edges:
            continue
        heads, tails = zip(*edges, strict=True)
        # scipy takes a weight of 0 for no edge.
        graph = sparse.csr_array((row.astype(float) + 1, (heads, tails)), shape=(rooms * rooms, rooms * rooms))
        found = minimum_spanning_tree(graph).tocoo()
        expected = {(int(i), int(j)) for i, j in zip(found.row, found.col, strict=True)}
        assert {edge for edge, kept in zip(edges, tree, strict=True) if kept} == expected


def test_edge_keys_keep_the_order_of_the_upper_bits():
    weights = np.random.default_rng(0).integers(0, 2**32, len(doors(6)), np.uint32)
    keys = np.asarray(generate.edge_keys(jnp.asarray(weights), 6))
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
        np.testing.assert_array_equal(generate.carve(jnp.asarray(opened), MazeSpec(2 * rooms + 1)), expected)


@pytest.mark.parametrize("size", [5, 13, 21])
def test_perfect_mazes_are_trees(size):
    level = many(0, MazeSpec(size), 20)
    rooms = ((size - 1) // 2) ** 2
    assert level.walls.dtype == bool
    assert level.walls.shape == (20, size, size)
    assert level.start.dtype == level.goal.dtype == np.int32
    for walls, goal in zip(level.walls, level.goal, strict=True):
        assert not walls[1::2, 1::2].any()
        assert walls[::2, ::2].all()
        assert (~walls).sum() == 2 * rooms - 1  # as many doors as a tree has edges ...
        assert (plain.distances(walls, int(goal))[~walls] >= 0).all()  # ... and all joined: no loop


def test_the_tree_varies_like_kruskals():
    # Kruskal on a random order of the 12 doors of 3x3 rooms, by hand, gives each of the 192 trees its share.
    rng = np.random.default_rng(0)
    edges = doors(3)
    expected: dict[bytes, int] = {walls.tobytes(): 0 for walls in plain.spanning_trees(3)}
    for _ in range(12_000):
        group = list(range(9))
        walls = np.ones((7, 7), bool)
        walls[1::2, 1::2] = False
        for number in rng.permutation(12):
            a, b = edges[number]
            if group[a] != group[b]:
                group = [group[b] if g == group[a] else g for g in group]
                walls[a // 3 + b // 3 + 1, a % 3 + b % 3 + 1] = False
        expected[walls.tobytes()] += 1
    found = dict.fromkeys(expected, 0)
    for walls in many(1, MazeSpec(7), 12_000).walls:
        found[walls.tobytes()] += 1
    table = np.array([list(expected.values()), list(found.values())])
    assert np.asarray(stats.chi2_contingency(table)[1]) > 1e-3


def test_start_and_goal_are_two_rooms_uniformly():
    level = many(2, MazeSpec(7), 20_000)
    rooms = []
    for cell in (level.start, level.goal):
        row, column = np.divmod(cell, 7)
        assert np.all(row % 2 == 1)
        assert np.all(column % 2 == 1)
        rooms.append(row // 2 * 3 + column // 2)
    assert np.all(rooms[0] != rooms[1])
    pairs = np.bincount(rooms[0] * 9 + rooms[1], minlength=81).reshape(9, 9)
    assert stats.chisquare(pairs[~np.eye(9, dtype=bool)]).pvalue > 1e-3


@pytest.mark.parametrize("braid", [0.3, 1.0])
def test_braid_opens_and_never_closes(braid):
    tree, braided = many(3, MazeSpec(13), 200), many(3, MazeSpec(13, braid), 200)
    np.testing.assert_array_equal(tree.start, braided.start)
    np.testing.assert_array_equal(tree.goal, braided.goal)
    assert not (braided.walls & ~tree.walls).any()
    assert braided.walls[:, ::2, ::2].all()
    assert braided.walls[:, [0, -1]].all()
    assert braided.walls[:, :, [0, -1]].all()
    remaining = 200 * (2 * 6 * 5 - 35)
    opened = (tree.walls & ~braided.walls).sum()
    assert abs(opened - braid * remaining) <= 4 * np.sqrt(remaining * braid * (1 - braid))


def test_jit_and_vmap_change_nothing():
    spec = MazeSpec(9, 0.2)
    keys = jax.random.split(jax.random.key(4), 3)
    batch = draw(keys, spec)
    for number, key in enumerate(keys):
        for one, all_ in zip(jax.jit(generate.perfect, static_argnums=1)(key, spec), batch, strict=True):
            np.testing.assert_array_equal(one, all_[number])


@pytest.mark.parametrize(
    ("size", "split", "braid"),
    [(5, 0, 0.0), (7, 1, 0.3), (9, 0, 0.0), (9, 1, 0.3), (9, 2, 0.0), (13, 1, 0.0), (13, 2, 0.3)],
)
def test_split_levels_hold_one_split_only(size, split, braid):
    level = split_levels(jax.random.key(size), MazeSpec(size, braid), 100, split)
    assert np.shape(level.walls) == (100, size, size)
    assert np.all(np.asarray(set_of(level.walls)) == split)
    assert np.all(np.asarray(level.start) != np.asarray(level.goal))


def test_split_none_restricts_nothing():
    level = split_levels(jax.random.key(0), MazeSpec(7), 500, None)
    assert set(np.asarray(set_of(level.walls)).tolist()) == {0, 1, 2}


@pytest.fixture(scope="module")
def every() -> np.ndarray:
    return many(5, MazeSpec(7), 20_000).walls


@pytest.mark.parametrize("split", [0, 1, 2])
def test_split_levels_keep_the_distribution(every, split):
    inside = every[np.asarray(set_of(every)) == split]
    expected = {walls.tobytes(): 0 for walls in inside}
    for walls in inside:
        expected[walls.tobytes()] += 1
    assert len(expected) == (118, 28, 46)[split]
    found = dict.fromkeys(expected, 0)
    for walls in np.asarray(split_levels(jax.random.key(6), MazeSpec(7), 5_000, split).walls):
        found[walls.tobytes()] += 1
    table = np.array([list(expected.values()), list(found.values())])
    assert np.asarray(stats.chi2_contingency(table)[1]) > 1e-3


@pytest.mark.parametrize("split", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 14, 64])
def test_split_levels_are_enough(count, split):
    """The number of candidates against the promise of a shortfall rarer than 1e-9."""
    candidates = generate.candidates(count, split)
    program = str(jax.make_jaxpr(generate.split_levels, static_argnums=(1, 2, 3))(
        jax.random.key(0), MazeSpec(7), count, split
    ))  # fmt: skip
    assert f"({candidates}, 14)" in program or f"[{candidates},14]" in program  # as many are drawn
    share = (118 / 192, 28 / 192, 46 / 192)[split]
    for chance in (share, (5 / 8, 1 / 8, 2 / 8)[split]):
        assert stats.binom.cdf(count - 1, candidates, chance) < 1e-9
