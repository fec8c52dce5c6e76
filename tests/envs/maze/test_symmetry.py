"""Play on levels that NumPy has turned, beside the same play on the levels as they are."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest

from lepton_jax.envs.maze import level as maze_level
from lepton_jax.envs.maze import observe as maze_observe
from lepton_jax.envs.maze import rules as maze_rules
from lepton_jax.envs.maze.level import Level
from lepton_jax.envs.maze.rules import Rules, State
from lepton_jax.envs.maze.symmetry import marker, symmetries
from lepton_jax.envs.maze.world import make_env, make_pool
from lepton_jax.envs.vector import Symmetry, check_env

SIDE, COUNT, STEPS = 7, 40, 30
ALL = {"lava": True, "door": True, "goals": 2, "wall_penalty": True, "shaping": True, "time_decay": True}
EIGHT = range(8)  # image 2 * turns + flip: first from left to right, then turned to the left


class Hypers(NamedTuple):
    gamma: float = 0.9
    goal_reward: float = 1.0
    goal_ratio: float = 0.5
    step_cost: float = 0.01
    wall_penalty: float = 0.03
    lava_penalty: float = 0.2
    time_decay: float = 0.4
    shaping: float = 0.1
    slip: float = 0.0


def turn(array: np.ndarray, image: int) -> np.ndarray:
    """(..., rows, columns)."""
    flipped = array[..., ::-1] if image % 2 else array
    return np.rot90(flipped, image // 2, (-2, -1))


def turned_heading(heading: int, image: int) -> int:
    down, right = plain.MOVES[heading]
    right = -right if image % 2 else right
    for _ in range(image // 2):
        down, right = -right, down
    return plain.MOVES.index((down, right))


# Of each image the cell to which each cell comes.
PLACES = np.stack([np.argsort(turn(np.arange(SIDE**2).reshape(SIDE, SIDE), image).ravel()) for image in EIGHT])


def levels_and_images() -> tuple[Level, np.ndarray]:
    """Perfect mazes and random maps with everything on them, each in its eight images (COUNT * 8), and headings."""
    rng = np.random.default_rng(5)
    walls = list(plain.spanning_trees(3))[:: 2 * 192 // COUNT]
    walls += [plain.random_walls(rng, SIDE, SIDE, 0.25) for _ in range(COUNT - len(walls))]
    cells = np.stack([rng.permutation(np.flatnonzero(~one))[:7] for one in walls])
    lava = np.zeros((COUNT, SIDE**2), bool)
    lava[np.arange(COUNT)[:, None], cells[:, 5:]] = True
    every = lambda array: np.stack([turn(array, image) for image in EIGHT], axis=1).reshape(-1, SIDE, SIDE)
    start, goal, key, door, other = (PLACES[:, cells[:, k]].T.reshape(-1) for k in range(5))
    level = Level(
        every(np.stack(walls)), start, goal, every(lava.reshape(COUNT, SIDE, SIDE)), key, door, other[:, None]
    )
    heading = rng.integers(0, 4, COUNT)
    return level, np.array([[turned_heading(one, image) for image in EIGHT] for one in heading]).reshape(-1)


class Played(NamedTuple):
    """What play on all images shows, of NumPy: leading axes STEPS, COUNT, 8."""

    cell: Any
    told: tuple[Any, ...]  # reward, terminated, truncated, success, and whether the key is held or ()
    heading: Any  # or ()
    observation: Any  # then (planes, rows, columns)


def play(rules: Rules, action: np.ndarray) -> Played:
    """Plays ``action``, int32 (STEPS, COUNT, 8), without stopping at ends."""
    level, heading = levels_and_images()

    @jax.jit
    def run(level: Level, heading: jax.Array, action: jax.Array):
        def one(state: State, action: jax.Array):
            moved = maze_rules.move(state, action, Hypers(), rules)
            seen = (maze_rules.cell_of(moved.state.site, rules), moved[1:], moved.state.held, moved.state.heading)
            return moved.state, (seen, maze_observe.observe(moved.state, rules))

        state = maze_rules.begin(level, rules)
        state = state._replace(heading=heading.astype(jnp.uint8)) if rules.oriented else state
        return jax.lax.scan(one, state, action)[1]

    (cell, told, held, heading), seen = jax.tree.map(
        lambda leaf: np.asarray(leaf).reshape(STEPS, COUNT, 8, *leaf.shape[2:]),
        run(level, heading, action.reshape(STEPS, -1)),
    )
    return Played(cell, (*told, held), heading, seen)


@pytest.mark.parametrize(
    ("rules", "images"),
    [
        (Rules(SIDE, SIDE, 20, "full", **ALL), EIGHT),
        (Rules(SIDE, SIDE, 20, "full", actions="oriented", **ALL), EIGHT),
        (Rules(SIDE, SIDE, 20, "centred", actions="diagonal", **ALL), EIGHT),
        (Rules(SIDE, SIDE, 20, "centred", 5), EIGHT),
        (Rules(SIDE, SIDE, 20, "rgb", actions="diagonal", **ALL), EIGHT),
        (Rules(SIDE, SIDE, 20, "egocentric", 5, **ALL), EIGHT),
        (Rules(SIDE, SIDE, 20, "egocentric", 3, occlusion=True, **ALL), EIGHT),
        (Rules(SIDE, SIDE, 20, "egocentric", 5, occlusion=True, **ALL), (0, 1, 4, 5)),
        (Rules(SIDE, SIDE, 20, "egocentric", 5, occlusion=True, actions="oriented", **ALL), (0, 1)),
    ],
    ids=lambda value: "-".join(map(str, value[3:7])) if isinstance(value, Rules) else "",
)
def test_images_stay_in_step(rules, images):
    elements = symmetries(rules)
    assert len(elements) == len(images)
    assert all((g.action.dtype, g.action.shape) == (np.int32, (rules.num_actions,)) for g in elements)
    action = np.random.default_rng(6).integers(0, rules.num_actions, (STEPS, COUNT))
    played = np.zeros((STEPS, COUNT, 8), np.int32)
    for image, g in zip(images, elements, strict=True):
        played[:, :, image] = g.action[action]
    found = play(rules, played)
    seen = np.asarray(
        jax.jit(lambda seen: jnp.stack([g.observation(seen) for g in elements], 2))(found.observation[:, :, 0])
    )
    for number, image in enumerate(images):
        np.testing.assert_array_equal(found.cell[:, :, image], PLACES[image][found.cell[:, :, 0]])
        for told in jax.tree.leaves(found.told):
            np.testing.assert_array_equal(told[:, :, image], told[:, :, 0])
        if rules.oriented:
            expected = np.array([turned_heading(way, image) for way in range(4)])[found.heading[:, :, 0]]
            np.testing.assert_array_equal(found.heading[:, :, image], expected)
        np.testing.assert_array_equal(found.observation[:, :, image], seen[:, :, number])
    # There is something to confuse: agents move, episodes end, and other images than the first look another way.
    assert np.mean(found.cell[1:, :, 0] != found.cell[:-1, :, 0]) > 0.1
    assert found.told[1].any()
    assert all(np.any(found.observation[:, :, image] != found.observation[:, :, 0]) for image in images[1:])
    if marker(rules) is not None:
        plane = found.observation[..., marker(rules), :, :].reshape(STEPS, COUNT, 8, -1)
        np.testing.assert_array_equal(plane, np.arange(SIDE**2) == found.cell[..., None])


def test_occlusion_does_not_survive_a_quarter_turn():
    """Why those four are not offered."""
    rules = Rules(SIDE, SIDE, 20, "egocentric", 5, occlusion=True, **ALL)
    level, _ = levels_and_images()
    observe = jax.jit(lambda level: maze_observe.observe(maze_rules.begin(level, rules), rules))
    seen = np.asarray(observe(level)).reshape(COUNT, 8, -1, 5, 5)
    exact = [np.array_equal(seen[:, image], turn(seen[:, 0], image)) for image in EIGHT]
    assert exact == [True, True, False, False, True, True, False, False]


@pytest.mark.parametrize(
    ("rules", "count"),
    [
        (Rules(SIDE, SIDE, 9, "full"), 8),
        (Rules(SIDE, SIDE, 9, "full", actions="oriented", door=True), 8),
        (Rules(SIDE, SIDE, 9, "full", actions="oriented", slip=True), 4),
        (Rules(SIDE, SIDE, 9, "rgb", actions="diagonal"), 8),
        (Rules(SIDE, SIDE, 9, "egocentric", 5, occlusion=True), 4),
        (Rules(SIDE, SIDE, 9, "egocentric", 5, actions="oriented"), 2),
    ],
)
def test_they_are_a_group(rules, count):
    """Each after each is one of them, with what it does to actions; on a batch with two leading axes."""
    elements, spec = symmetries(rules), maze_observe.observation_spec(rules)
    every = jax.jit(lambda seen: jnp.stack([g.observation(seen) for g in elements]))
    seen = np.random.default_rng(7).integers(0, 256, (2, 3, *spec.shape)).astype(spec.dtype)
    once = np.asarray(every(seen))
    twice = np.asarray(every(once))
    assert once.dtype == twice.dtype == spec.dtype
    np.testing.assert_array_equal(once[0], seen)
    assert elements[0].action.tolist() == list(range(rules.num_actions))
    assert len(elements) == len({image.tobytes() for image in once}) == count
    number = {image.tobytes(): k for k, image in enumerate(once)}
    for after, images in zip(elements, twice, strict=True):
        for before, image in zip(elements, images, strict=True):
            both = elements[number[image.tobytes()]]
            np.testing.assert_array_equal(both.action, after.action[before.action])


def test_a_slip_is_as_likely_in_each_image():
    """A slip does action ``byte % A``, so that of three actions one is done more often than the others."""
    for actions, count in maze_rules.ACTIONS.items():
        chance = np.bincount(np.arange(256) % len(count))
        for g in symmetries(Rules(SIDE, SIDE, 9, "full", actions=actions, slip=True)):
            np.testing.assert_array_equal(chance[g.action], chance)


def test_none_where_there_are_none():
    for rules in (
        Rules(SIDE, SIDE, 9, "vector"),
        Rules(SIDE, SIDE, 9, "rgb", actions="oriented"),
        Rules(SIDE, SIDE, 9, "egocentric", 5, actions="oriented", slip=True),
        Rules(7, 9, 9, "full"),
    ):
        assert symmetries(rules) == ()
    assert marker(Rules(7, 9, 9, "full")) == 1
    assert marker(Rules(SIDE, SIDE, 9, "full", actions="oriented")) is None
    assert marker(Rules(SIDE, SIDE, 9, "centred")) is None


def test_the_order_is_that_of_levels():
    level, _ = levels_and_images()
    for image, one in enumerate(maze_level.symmetries(jax.tree.map(lambda leaf: leaf[0], level))):
        np.testing.assert_array_equal(one.walls, level.walls[image])
        assert one.start == level.start[image]


def test_the_world_offers_them_and_the_contract_checks_them():
    rules = Rules(SIDE, SIDE, 20)
    made = make_env(rules, 8)
    assert (len(made.symmetries), made.marker) == (8, 1)
    assert hash(made) == hash(made._replace())  # the Gymnasium adapters compile once a world
    level, _ = levels_and_images()
    env = made._replace(
        worlds=lambda level_key: make_pool(level, rules, 8), reset=jax.jit(made.reset, static_argnums=2)
    )
    check_env(env, Hypers())
    one = made.symmetries[1]
    for broken, message in (
        ({"marker": 0}, "marker"),
        ({"symmetries": (Symmetry(lambda seen: seen[..., :1], one.action),)}, "makes an observation"),
        ({"symmetries": (Symmetry(one.observation, one.action.clip(1)),)}, "no permutation"),
        ({"symmetries": (Symmetry(one.observation, one.action.astype(np.int64)),)}, "no permutation"),
    ):
        with pytest.raises(AssertionError, match=message):
            check_env(env._replace(**broken), Hypers(), steps=1)
