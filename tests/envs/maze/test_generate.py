import jax
import numpy as np
import plain
import pytest
from scipy import stats

from lepton_jax.envs.maze import generate, suites
from lepton_jax.envs.maze.level import Level, LevelError, digest, pad, split_of
from lepton_jax.envs.maze.oracle import distances
from lepton_jax.envs.maze.spec import MazeSpec

draw = jax.jit(jax.vmap(generate.level, (0, None)), static_argnums=1)
batch = jax.jit(generate.batch, static_argnums=(1, 2))
set_of = jax.jit(lambda walls: split_of(digest(walls)))
split_levels = jax.jit(generate.split_levels, static_argnums=(1, 2, 3))


def many(seed: int, spec: MazeSpec, count: int) -> Level:
    return jax.tree.map(np.asarray, draw(jax.random.split(jax.random.key(seed), count), spec))


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
    edges = [(room, room + 1) for room in range(9) if room % 3 < 2] + [(room, room + 3) for room in range(6)]
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


@pytest.mark.parametrize("spec", [MazeSpec(9, 0.2), MazeSpec(9, kind="wilson")])
def test_jit_and_vmap_change_nothing(spec):
    keys = jax.random.split(jax.random.key(4), 3)
    together = draw(keys, spec)
    for number, key in enumerate(keys):
        alone = jax.jit(generate.level, static_argnums=1)(key, spec)
        for one, all_ in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
            np.testing.assert_array_equal(one, all_[number])


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (MazeSpec(7), "318ee0673b8f6b7a"),
        (MazeSpec(13), "4cc7a717f41df30e"),
        (MazeSpec(9, 0.2), "e14f097c01b078d1"),
    ],
)
def test_levels_of_earlier_versions_come_again(spec, expected):
    # Runs of version 0.1.0 are resumed, and its held-out sets named, by their seeds alone.
    assert suites.fingerprint(batch(jax.random.key(0), spec, 64))[:16] == expected


KINDS = [
    MazeSpec(11, weights="smooth", min_size=5, min_distance=8),
    MazeSpec(11, 0.3, kind="backtracker", ends="corners"),
    MazeSpec(11, kind="wilson", min_size=7),
    MazeSpec(11, kind="blocks", min_size=7),
    MazeSpec(11, 0.5, kind="rooms", max_distance=6),
    MazeSpec(11, kind="crossings"),
    MazeSpec(11, kind="caves"),
]


@pytest.fixture(scope="module", params=KINDS, ids=lambda spec: f"{spec.kind}-{spec.min_size or spec.size}")
def kind(request) -> tuple[MazeSpec, Level, np.ndarray]:
    @jax.jit
    def both(key):
        levels = generate.batch(key, request.param, 200)
        return levels, distances(levels.walls, levels.goal)

    return request.param, *jax.device_get(both(jax.random.key(7)))


def test_every_kind_is_solvable(kind):
    spec, levels, found = kind
    assert levels.walls.dtype == bool
    assert levels.start.dtype == levels.goal.dtype == np.int32
    for walls, start, goal, steps in zip(levels.walls, levels.start, levels.goal, found, strict=True):
        assert walls[[0, -1]].all()
        assert walls[:, [0, -1]].all()
        np.testing.assert_array_equal(steps, plain.distances(walls, int(goal)))
        assert steps.reshape(-1)[start] > 0
        if spec.kind == "caves":
            assert (steps[~walls] >= 0).all()
        if spec.kind == "backtracker":
            assert (start, goal) == (12, 108)
    if spec.min_size and spec.kind != "blocks":  # whose last row may be all wall
        row, column = np.indices((11, 11))
        sides = np.where(levels.walls, 0, np.maximum(row, column)).max((1, 2)) + 2
        counts = np.bincount(sides, minlength=12)[list(spec.sizes)]
        assert counts.sum() == 200
        assert stats.chisquare(counts).pvalue > 1e-3


def test_names_do_not_depend_on_the_size_of_the_batch():
    rng = np.random.default_rng(0)
    named = jax.jit(generate.names, static_argnums=1)
    for side in (7, 9, 11):
        walls = np.stack([plain.random_walls(rng, side, side, 0.3) for _ in range(20)])
        walls[:, -2, 1] = False  # so that each level is of that side
        padded = pad(Level(walls, np.full(20, side + 1), np.full(20, side + 1)), 11, 11)
        assert generate.names(Level(walls, 0, 0), MazeSpec(side)).tolist() == digest(walls).tolist()
        for kind in (padded, jax.tree.map(np.asarray, padded)):
            np.testing.assert_array_equal(generate.names(kind, MazeSpec(11, min_size=7)), digest(walls))
        np.testing.assert_array_equal(named(padded, MazeSpec(11, min_size=5)), digest(walls))


def test_split_levels_of_mixed_sizes_hold_one_split_only():
    levels = jax.device_get(split_levels(jax.random.key(8), MazeSpec(9, min_size=7), 100, 2))
    small = levels.walls[:, 7].all(1)
    assert 25 < small.sum() < 75
    assert np.all(set_of(levels.walls[small][:, :7, :7]) == 2)
    assert np.all(set_of(levels.walls[~small]) == 2)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (MazeSpec(13, kind="maze"), "maze kind 'maze': expected one of perfect, backtracker"),
        (MazeSpec(8), "maze size 8: expected an odd number from 5 to 255"),
        (MazeSpec(3), "maze size 3: "),
        (MazeSpec(257), "maze size 257: "),
        (
            MazeSpec(9, min_size=11),
            "maze min_size 11: expected 0, for one size, or an odd number from 5 to the size, 9",
        ),
        (MazeSpec(9, min_size=6), "maze min_size 6: "),
        (MazeSpec(9, weights="rough"), "maze weights 'rough': expected one of uniform, anisotropic, smooth"),
        (
            MazeSpec(9, kind="wilson", weights="smooth"),
            "maze weights 'smooth': expected 'uniform': wilson has no weights",
        ),
        (MazeSpec(9, 1.5), "maze braid 1.5: expected a share from 0 to 1"),
        (MazeSpec(9, 0.5, kind="caves"), "maze braid 0.5: expected 0: caves has nothing to braid"),
        (MazeSpec(9, kind="blocks", density=1.5), "maze density 1.5: expected -1, for what suits the kind, or with"),
        (MazeSpec(9, density=0.5), "maze density 0.5: "),
        (MazeSpec(9, chambers=2), "maze chambers 2: "),
        (
            MazeSpec(13, kind="rooms", chambers=5, min_size=9),
            "maze chambers 5: expected 0, for what suits the size, or with rooms 1 to 4",
        ),
        (MazeSpec(9, ends="middle"), "maze ends 'middle': expected one of uniform, corners"),
        (MazeSpec(9, min_distance=-1), "maze min_distance -1: expected 0 to 32767 steps"),
        (MazeSpec(9, min_distance=5, max_distance=4), "maze max_distance 4: expected 0, for any, or 5 to 32767 steps"),
        (MazeSpec(9, max_distance=2, door=True), "maze max_distance 2: expected 0, for any, or 3 to 32767 steps"),
        (MazeSpec(9, goals=0), "maze goals 0: expected 1 or more"),
        (
            MazeSpec(9, goals=5, door=True, min_size=5),
            "maze goals 5: expected fewer: a 5x5 level of perfect may have as few as 7 free cells",
        ),
        (MazeSpec(9, lava=-0.1), "maze lava -0.1: expected a share from 0 to 1"),
    ],
)
def test_what_there_are_no_levels_for(spec, message):
    with pytest.raises(LevelError, match=f"^{message}") as caught:
        generate.batch(jax.random.key(0), spec, 1)
    assert "\n" not in str(caught.value)


def test_as_many_goals_as_there_are_cells():
    levels = jax.device_get(batch(jax.random.key(9), MazeSpec(5, goals=4, door=True), 50))
    for number in range(50):
        cells = [levels.start, levels.goal, levels.key, levels.door]
        taken = {int(cell[number]) for cell in cells} | set(levels.others[number].tolist())
        assert taken == set(np.flatnonzero(~levels.walls[number]).tolist())


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
