import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest

from lepton_jax.envs.maze import observe as maze_observe
from lepton_jax.envs.maze import rules as maze_rules
from lepton_jax.envs.maze.level import Level, stack
from lepton_jax.envs.maze.rules import Rules
from lepton_jax.envs.maze.text import from_str

LIMIT = 50
observe = jax.jit(maze_observe.observe, static_argnums=1)
begin = jax.jit(maze_rules.begin, static_argnums=1)

# Maps wider than 34 have inner rows of more than one word; the last ones cross a word at every offset.
SHAPES = [(5, 5), (7, 7), (13, 13), (21, 21), (35, 35), (11, 4), (3, 40), (4, 67)]


def play(height: int, width: int, rules: Rules) -> tuple[maze_rules.State, list[tuple[np.ndarray, int, int, int]]]:
    """Eight agents, in the corners of their inner maps and elsewhere, as states and as walls, cell, goal and time."""
    rng = np.random.default_rng(height * 100 + width)
    corners = [width + 1, 2 * width - 2, (height - 2) * width + 1, (height - 1) * width - 2]
    literal = []
    for number in range(8):
        walls = plain.random_walls(rng, height, width, (0.0, 0.2, 0.4)[number % 3] if height > 3 else 0.0)
        if number < 4:
            walls.reshape(-1)[corners] = False
            cell, goal = corners[number], corners[(number * 3 + 1) % 4]
        else:
            cell, goal = plain.two_cells(rng, walls)
        literal.append((walls, cell, cell if number == 7 else goal, (0, 1, LIMIT // 2, LIMIT)[number % 4]))
    walls, cells, goals, times = zip(*literal, strict=True)
    level = Level(np.stack(walls), np.array(cells, np.int32), np.array(goals, np.int32))
    state = begin(level, rules)
    return state._replace(time=jnp.asarray(times, jnp.uint16)), literal


def check(rules: Rules, literal, seen: jax.Array, expected: list[np.ndarray]) -> None:
    spec = maze_observe.observation_spec(rules)
    assert seen.shape == (len(literal), *spec.shape)
    assert seen.dtype == spec.dtype == expected[0].dtype
    np.testing.assert_array_equal(seen, np.stack(expected))


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_full(height, width):
    rules = Rules(height, width, LIMIT, "full")
    state, literal = play(height, width, rules)
    check(
        rules, literal, observe(state, rules), [plain.see_full(walls, cell, goal) for walls, cell, goal, _ in literal]
    )


@pytest.mark.parametrize(
    ("height", "width", "view"),
    [
        *((height, width, 0) for height, width in SHAPES if height * width < 300),
        (5, 5, 1),
        (13, 13, 5),
        (7, 7, 17),
        (21, 21, 9),
        (4, 11, 9),
        (35, 35, 7),
        (4, 67, 33),
    ],
)
def test_centred(height, width, view):
    rules = Rules(height, width, LIMIT, "centred", view)
    state, literal = play(height, width, rules)
    expected = [plain.see_centred(walls, cell, goal, view) for walls, cell, goal, _ in literal]
    check(rules, literal, observe(state, rules), expected)
    if view == 0:  # the goal is always in sight
        assert np.stack(expected)[:, 1].sum(axis=(1, 2)).tolist() == [1] * 8


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_vector(height, width):
    rules = Rules(height, width, LIMIT, "vector")
    state, literal = play(height, width, rules)
    seen = observe(state, rules)
    expected = [plain.see_vector(walls, cell, goal, time, LIMIT) for walls, cell, goal, time in literal]
    assert seen.dtype == jnp.float32
    assert seen.shape == (8, 10)
    np.testing.assert_allclose(seen, np.stack(expected), rtol=1e-6)
    assert np.all((np.asarray(seen) >= 0) & (np.asarray(seen) <= 1))


def test_centred_by_hand():
    rules = Rules(4, 5, LIMIT, "centred", 3)
    state = begin(stack([from_str("#####\n#S ##\n#  G#\n#####")]), rules)
    seen = np.asarray(observe(state, rules))[0]
    assert seen[0].tolist() == [[1, 1, 1], [1, 0, 0], [1, 0, 0]]
    assert seen[1].tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 0]]  # the goal is out of sight


def test_time_beyond_the_limit_shows_as_one():
    rules = Rules(7, 7, LIMIT, "vector")
    state, _ = play(7, 7, rules)
    late = observe(state._replace(time=jnp.full(8, 2 * LIMIT, jnp.uint16)), rules)
    assert np.asarray(late)[:, 9].tolist() == [1.0] * 8
