import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lepton_jax.envs.maze.level import Level, stack
from lepton_jax.envs.maze.render import HEAT, PALETTE, WAYS, Scene, draw, heat_colour
from lepton_jax.envs.maze.text import from_str

FULL = """\
########
#S K~2 #
# #### #
#  D G #
########"""
NAMES = {"#": "wall", " ": "free", "S": "start", "~": "lava", "2": "others", "K": "key", "D": "door", "G": "goal"}
FREE = np.array(PALETTE["free"])


@pytest.fixture(scope="module")
def level() -> Level:
    return from_str(FULL)


@pytest.fixture(scope="module")
def bare() -> Level:
    """Two rows of three free cells; nothing else."""
    walls = np.ones((4, 5), bool)
    walls[1:3, 1:4] = False
    return Level(walls, np.int32(-1), np.int32(-1))


def blocks(picture, tile: int) -> np.ndarray:
    """(height, width, tile, tile, 3): the picture cell by cell."""
    picture = np.asarray(picture)
    height, width = picture.shape[0] // tile, picture.shape[1] // tile
    return picture.reshape(height, tile, width, tile, 3).swapaxes(1, 2)


def test_one_pixel_a_cell_is_the_colour_of_the_topmost_thing(level):
    agent = 1 * 8 + 2
    expected = np.array([[PALETTE[NAMES[sign]] for sign in line] for line in FULL.splitlines()], np.uint8)
    expected[1, 2] = PALETTE["agent"]
    picture = draw(level, agent, tile=1)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, expected)
    # On the goal the agent is on top; with the key fetched neither it nor the door is there.
    expected[1, 2], expected[3, 5] = PALETTE["free"], PALETTE["agent"]
    expected[1, 3] = expected[3, 3] = PALETTE["free"]
    np.testing.assert_array_equal(draw(level, 3 * 8 + 5, held=True, tile=1), expected)


def test_no_two_things_look_alike(level):
    for one, other in itertools.combinations(PALETTE.values(), 2):
        assert np.abs(np.subtract(one, other)).max() > 40
    shown = blocks(draw(level, 1 * 8 + 2), 8)
    signs = np.array([list(line) for line in FULL.splitlines()])
    signs[1, 2] = "@"
    for one, other in itertools.combinations(sorted(set(signs.reshape(-1))), 2):
        first, second = (shown[signs == sign].astype(int) for sign in (one, other))
        assert (first == first[0]).all()  # the same thing always looks the same
        assert np.abs(first[0] - second[0]).max() > 40, (one, other)


def test_a_thing_stays_within_its_cell(bare):
    plain = np.asarray(draw(bare, tile=8))
    assert plain.shape == (32, 40, 3)
    for row, column in np.ndindex(4, 5):
        colour = PALETTE["wall" if bare.walls[row, column] else "free"]
        assert (plain[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] == colour).all()
    shown = np.asarray(draw(bare, 2 * 5 + 3, tile=8))
    changed = (shown != plain).any(-1)
    assert changed[16:24, 24:32].mean() > 0.4
    changed[16:24, 24:32] = False
    assert not changed.any()


def test_triangles_point_where_the_agent_heads(bare):
    agent = lambda heading: blocks(draw(bare, 6, jnp.int32(heading), tile=9), 9)[1, 1]
    north = agent(0)
    for heading in (1, 2, 3):
        np.testing.assert_array_equal(agent(heading), np.rot90(north, -heading))
    inked = (np.abs(north.astype(int) - FREE).sum(-1) > 200).sum(1)  # a row, from above
    assert inked[0] < inked[4] < inked[7]


def test_arrows_point_the_way_of_the_action(bare):
    shown = blocks(draw(bare, tile=9, actions=jnp.array([[9] * 5, [9, 0, 1, 2, 9], [9, 3, 4, -1, 9], [9] * 5])), 9)
    ink = lambda row, column: (FREE - shown[row, column].astype(int)).sum(-1)
    np.testing.assert_array_equal(ink(1, 2), np.rot90(ink(1, 1), -1))
    np.testing.assert_array_equal(ink(1, 3), np.rot90(ink(1, 1), -2))
    np.testing.assert_array_equal(ink(2, 1), np.rot90(ink(1, 1), -3))
    assert not ink(2, 3).any()
    # An arrow's head is broader than its shaft, so its ink lies forward of the middle.
    down, right = np.meshgrid(np.arange(9) - 4, np.arange(9) - 4, indexing="ij")
    for place, way in (((1, 1), WAYS[0]), ((1, 2), WAYS[1]), ((2, 2), WAYS[4])):
        marks = ink(*place)
        assert marks.sum() > 0
        forward, sideways = way[0] * down + way[1] * right, way[0] * right - way[1] * down
        assert (marks * forward).sum() > 0.2 * marks.sum()
        assert abs((marks * sideways).sum()) < 0.02 * marks.sum()


def test_arrows_are_light_on_dark_ground_and_dark_on_light(bare):
    values = jnp.array([[0.0] * 5, [0, 0.0, 0, 1.0, 0], [0.0] * 5, [0.0] * 5])
    shown = blocks(draw(bare, tile=9, values=values, actions=jnp.zeros((4, 5), int)), 9).astype(int)
    assert shown[1, 1].sum(-1).max() > 700
    assert shown[1, 3].sum(-1).min() < 200


def test_path(bare):
    path = np.zeros((4, 5), bool)
    path[1, 2] = True
    shown = blocks(draw(bare, tile=9, path=path), 9)
    assert (shown[1, 1] == FREE).all()
    assert (shown[1, 2, 4, 4] == PALETTE["path"]).all()
    assert (shown[1, 2, 0] == FREE).all()


def test_value_heat_map(bare):
    values = np.full((4, 5), 99.0)  # walls have none, whatever is said
    values[1:3, 1:4] = [[-1.0, 1.0, 3.0], [np.nan, 2.0, -1.0]]
    shown = np.asarray(draw(bare, tile=1, values=values))
    assert (shown[1, 1] == HEAT[0]).all()
    assert (shown[2, 3] == HEAT[0]).all()
    assert (shown[1, 3] == HEAT[9]).all()
    # A half is half-way between the fifth and the sixth of ten colours, three quarters at 6.75 of 9.
    assert np.abs(shown[1, 2] - np.mean(HEAT[4:6], 0)).max() <= 0.5
    assert np.abs(shown[2, 2] - (0.25 * np.array(HEAT[6]) + 0.75 * np.array(HEAT[7]))).max() <= 0.5
    assert (shown[2, 1] == FREE).all()
    assert (shown[bare.walls] == PALETTE["wall"]).all()
    same = np.asarray(draw(bare, tile=1, values=np.where(np.isnan(values), values, 5.0)))
    assert (same[1, 1:4] == HEAT[9]).all()


def test_visits_are_shown_by_their_logarithm(bare):
    counts = np.zeros((4, 5), int)
    counts[1:3, 1:4] = [[0, 1, 3], [0, 0, 1]]  # log 2 is half of log 4
    shown = np.asarray(draw(bare, tile=1, visits=counts))
    assert (shown[1, 3] == HEAT[9]).all()
    assert np.abs(shown[1, 2] - np.mean(HEAT[4:6], 0)).max() <= 0.5
    assert (shown[1, 1] == FREE).all()
    assert (np.asarray(draw(bare, tile=1, visits=0 * counts))[1:3, 1:4] == FREE).all()


def test_a_cell_has_one_ground(bare):
    with pytest.raises(ValueError, match="both values and visits"):
        draw(bare, values=np.zeros((4, 5)), visits=np.zeros((4, 5)))


def test_a_batch_is_its_levels_one_by_one(level):
    agents = jnp.array([[9, 10], [22, 29]], jnp.int32)
    held = jnp.array([[False, True], [True, False]])
    heading = jnp.array([[0, 1], [2, 3]])
    four = stack([level] * 4)
    batch = jax.tree.map(lambda leaf: jnp.asarray(leaf).reshape(2, 2, *leaf.shape[1:]), four)
    shown = draw(*Scene(batch, agents, heading, held), tile=8)
    assert shown.shape == (2, 2, 40, 64, 3)
    for place in np.ndindex(2, 2):
        np.testing.assert_array_equal(shown[place], draw(level, agents[place], heading[place], held[place], tile=8))


def test_heat_is_viridis():
    matplotlib = pytest.importorskip("matplotlib")
    shares = np.linspace(0, 1, 181)  # every twentieth is a colour of the table
    expected = matplotlib.colormaps["viridis"](shares)[:, :3] * 255
    shown = np.asarray(heat_colour(jnp.asarray(shares)))
    np.testing.assert_allclose(shown[::20], expected[::20], atol=1)
    np.testing.assert_allclose(shown, expected, atol=16)
    assert (np.diff(np.array(HEAT) @ [0.2126, 0.7152, 0.0722]) > 10).all()  # ever lighter
