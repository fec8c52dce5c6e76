import hashlib

import jax
import numpy as np
import plain
import pytest

from lepton_jax.envs.maze import named
from lepton_jax.envs.maze.level import LevelError
from lepton_jax.envs.maze.text import to_str

# sha256 of the level files, written down when they were compared with the package they come from.
LAYOUTS = {
    "SixteenRooms": "1500e3188dc7b4797fffc70b790b78b5aca8d0ddfc522cb8190ee6632f42642f",
    "SixteenRooms2": "1ad1d1ff09a64aeb67907dba098da5f269f78d09af41e5843bdab4db5f005241",
    "Labyrinth": "05ad76c15ea5ec2569a05609364cfa083eefbe73ac8d5ae07e111707f45807c0",
    "LabyrinthFlipped": "91aafa8867e70331b1b543313e769c40f57abe9e144e191a8a81e1c256ed34af",
    "Labyrinth2": "20b3f5459d47fafd9b016820979bd40196b6525a69ac71e1e3dbfc195f16f8f1",
    "StandardMaze": "9baf246d37ee049fe8f1b74505cca3b413f7bf77ca62bad7e31100352fd29a42",
    "StandardMaze2": "0710164f8f89bb0bef23b1e160b7c6950ddc68585c032790c91758edcca7415d",
    "StandardMaze3": "84d8228b15f211007b6eebf8c73d82c6607e9b5d8af90876677f27a5eb3b1c9f",
    "SmallCorridor": "4c6063c1b6f31770f1c36d51e54370ca33799fcd0505d362cb111385ec211227",
    "LargeCorridor": "9c4bdee67de9d36899ca7397ffddb7fbde61c1b33c28ceda4b26988ff591e1ff",
}
CORRIDORS = ("SmallCorridor", "LargeCorridor")
SIDES = dict.fromkeys(LAYOUTS, 15) | {
    "LargeCorridor": 21,
    "FourRooms": 19,
    "Crossing": 11,
    "PerfectMaze": 15,
    "PerfectMazeMedium": 21,
}
EPISODES = 40


@pytest.fixture(scope="module")
def suite():
    return named.suite(EPISODES, jax.random.key(0))


def levels_of(suite, name: str, side: int | None = None):
    """The levels of one maze, cut back to its own size."""
    chosen, levels, index = suite
    mine = index == chosen.index(name)
    side = side or SIDES[name]
    walls = levels.walls[mine][:, :side, :side]
    cell = lambda cells: cells[mine] // 21 * side + cells[mine] % 21
    return walls, cell(levels.start), cell(levels.goal)


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_are_what_was_published(name):
    assert hashlib.sha256(f"{to_str(named.load(name))}\n".encode()).hexdigest() == LAYOUTS[name]


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_equal_those_of_the_package(name):
    source = pytest.importorskip("minimax.envs.maze.maze_ood", reason="minimax-lib has pins of its own")
    env, level = getattr(source, name)(), named.load(name)
    np.testing.assert_array_equal(np.pad(np.asarray(env.wall_map), 1, constant_values=True), level.walls)
    cell = lambda place: (int(place[1]) + 1) * level.walls.shape[1] + int(place[0]) + 1
    assert cell(env.agent_pos) == level.start
    assert cell(env.goal_pos) == level.goal
    goals = env.goal_pos_choices if name in CORRIDORS else [env.goal_pos]
    drawn = named.draw(name, jax.random.key(0), 400).goal
    assert set(drawn.tolist()) == {cell(place) for place in goals}


@pytest.mark.parametrize("name", ["FourRooms", "Crossing", "PerfectMaze"])
def test_random_mazes_are_distributed_as_those_of_the_package(name):
    source = pytest.importorskip("minimax.envs.maze.maze_ood", reason="minimax-lib has pins of its own")
    env, count = getattr(source, name)(), 4000
    theirs = jax.jit(jax.vmap(lambda key: env.reset_env(key)[1]))(jax.random.split(jax.random.PRNGKey(0), count))
    ours = named.draw(name, jax.random.key(0), count)
    side = ours.walls.shape[1] - 2
    place = lambda cells: np.eye(side**2, dtype=bool)[(cells // (side + 2) - 1) * side + cells % (side + 2) - 1]
    spot = lambda where: np.eye(side**2, dtype=bool)[np.asarray(where[:, 1] * side + where[:, 0])]
    for one, other in (
        (np.asarray(theirs.wall_map).reshape(count, -1), ours.walls[:, 1:-1, 1:-1].reshape(count, -1)),
        (spot(theirs.goal_pos), place(ours.goal)),
        (spot(theirs.agent_pos), place(ours.start)),
    ):
        p, q = one.mean(axis=0), other.mean(axis=0)
        spread = np.sqrt((p * (1 - p) + q * (1 - q)) / count)
        assert np.all(np.abs(p - q) <= 4.8 * spread)


def test_the_suite_has_every_maze_up_to_a_side(suite):
    chosen, levels, index = suite
    assert set(chosen) == set(SIDES)
    assert named.names() == (*chosen, "PerfectMazeXL")
    assert levels.walls.shape == (len(chosen) * EPISODES, 21, 21)
    assert index.dtype == np.int32
    assert np.bincount(index).tolist() == [EPISODES] * len(chosen)
    for name, side in SIDES.items():
        beyond = levels.walls[index == chosen.index(name)].copy()
        beyond[:, :side, :side] = True
        assert beyond.all()
        walls, _, _ = levels_of(suite, name)
        assert not walls[:, 1:-1, 1:-1].all(axis=(0, 2)).any()
    again = named.suite(EPISODES, jax.random.key(0))[1]
    jax.tree.map(np.testing.assert_array_equal, again, levels)
    other = named.suite(EPISODES, jax.random.key(1))[1]
    assert not np.array_equal(other.start, levels.start)
    assert named.suite(1, jax.random.key(0), max_side=9)[0] == ("Crossing",)
    with pytest.raises(LevelError, match="no named maze has a side of at most 8; the smallest has 9"):
        named.suite(1, jax.random.key(0), max_side=8)


def test_every_level_is_solvable(suite):
    for name in SIDES:
        for walls, start, goal in zip(*levels_of(suite, name), strict=True):
            assert walls[0].all()
            assert walls[:, 0].all()
            assert plain.distances(walls, int(goal)).reshape(-1)[start] > 0


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name not in CORRIDORS])
def test_fixed_layouts_keep_their_goal_and_vary_their_start(suite, name):
    walls, start, goal = levels_of(suite, name)
    level = named.load(name)
    assert (walls == level.walls).all()
    assert (goal == level.goal).all()
    assert start[0] == level.start
    drawn = named.draw(name, jax.random.key(7), 2000).start[1:]
    reach = np.flatnonzero(plain.distances(walls[0], int(goal[0])).reshape(-1) > 0)
    counts = np.bincount(drawn, minlength=225)
    assert set(np.flatnonzero(counts)) <= set(reach.tolist())
    statistic = ((counts[reach] - 1999 / len(reach)) ** 2).sum() / (1999 / len(reach))
    assert abs(statistic - len(reach)) < 4.5 * np.sqrt(2 * len(reach))  # chi-square


@pytest.mark.parametrize("name", CORRIDORS)
def test_corridors_draw_their_goal(suite, name):
    walls, start, goal = levels_of(suite, name)
    level = named.load(name)
    assert (walls == level.walls).all()
    assert (start == level.start).all()
    # The dead ends: free cells with one free neighbour, of which there are two for each column of walls.
    side = SIDES[name]
    ends = [
        cell
        for cell in np.flatnonzero(~level.walls).tolist()
        if sum(plain.move(level.walls, cell, action) != cell for action in range(4)) == 1
    ]
    assert len(ends) == side - 5
    assert set(named.draw(name, jax.random.key(3), 400).goal.tolist()) == set(ends)
    assert set(goal.tolist()) <= set(ends)


def test_four_rooms(suite):
    walls, start, goal = levels_of(suite, "FourRooms")
    inner = walls[:, 1:-1, 1:-1]
    across, down = inner[:, 8], inner[:, :, 8]
    for line in (across, down):
        assert line[:, 8].all()
        assert ((~line[:, :8]).sum(axis=1) == 1).all()
        assert ((~line[:, 9:]).sum(axis=1) == 1).all()
        assert len({row.tobytes() for row in line}) > EPISODES // 2
    rooms = np.delete(np.delete(inner, 8, axis=1), 8, axis=2)
    assert not rooms.any()
    for cells in (start, goal):
        assert 9 not in {*(cells // 19).tolist(), *(cells % 19).tolist()}


def test_crossing(suite):
    walls, start, goal = levels_of(suite, "Crossing")
    assert set(start.tolist()) == {12}
    assert set(goal.tolist()) == {9 * 11 + 9}
    for level in walls:
        inner = level[1:-1, 1:-1]
        assert not inner[::2, ::2].any()
        # A path that only goes east and south is a shortest one.
        assert plain.distances(level, 9 * 11 + 9).reshape(-1)[12] == 16
        # Of five announced walls at least one stands, whatever is shuffled.
        assert inner.sum() >= 9 - 5


def test_perfect_mazes(suite):
    for name in ("PerfectMaze", "PerfectMazeMedium"):
        walls, start, goal = levels_of(suite, name)
        rooms = (SIDES[name] - 1) // 2
        assert ((~walls).sum(axis=(1, 2)) == 2 * rooms**2 - 1).all()
        assert not walls[:, 1::2, 1::2].any()
        assert len({level.tobytes() for level in walls}) == EPISODES
        # Rooms have odd rows and columns; ends between rooms are ends too.
        assert all(((cells // walls.shape[1] + cells % walls.shape[1]) % 2).any() for cells in (start, goal))


def test_an_unknown_name():
    with pytest.raises(LevelError, match=r"'Maze' is no named maze; there are SixteenRooms, .*PerfectMazeXL"):
        named.load("Maze")
