"""What is seen of a map with everything on it, against a literal drawing cell by cell."""

import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest

from lepton_jax.envs.maze import observe as maze_observe
from lepton_jax.envs.maze import rules as maze_rules
from lepton_jax.envs.maze.level import Level
from lepton_jax.envs.maze.render import PALETTE
from lepton_jax.envs.maze.rules import Rules

SIDE, COUNT = 9, 12
observe = jax.jit(maze_observe.observe, static_argnums=1)


def scene(rules: Rules) -> tuple[maze_rules.State, list[dict]]:
    """Agents on random maps, as states and cell by cell: the set of cells on which each thing lies."""
    rng = np.random.default_rng(3)
    walls = [plain.random_walls(rng, SIDE, SIDE, 0.3) for _ in range(COUNT)]
    cells = np.stack([rng.permutation(np.flatnonzero(~one))[:8] for one in walls])
    lava = np.zeros((COUNT, SIDE * SIDE), bool)
    lava[np.arange(COUNT)[:, None], cells[:, 5:7]] = True
    level = Level(
        np.stack(walls), cells[:, 0], cells[:, 1], lava.reshape(COUNT, SIDE, SIDE), cells[:, 2], cells[:, 3],
        cells[:, 4:5],
    )  # fmt: skip
    state = jax.jit(maze_rules.begin, static_argnums=1)(level, rules)
    heading, held = np.arange(COUNT) % 4, np.arange(COUNT) % 3 == 0
    state = state._replace(held=jnp.asarray(held))
    if rules.oriented:
        state = state._replace(heading=jnp.asarray(heading, jnp.uint8))
    seen = [
        {
            "wall": set(np.flatnonzero(walls[n]).tolist()), "agent": int(cells[n, 0]), "heading": int(heading[n]),
            "held": bool(held[n]), "goal": {int(cells[n, 1])}, "goal 2": {int(cells[n, 4])},
            "lava": set(np.flatnonzero(lava[n]).tolist()), "door": {int(cells[n, 3])},
            "key": {int(cells[n, 0] if held[n] else cells[n, 2])},
        }
        for n in range(COUNT)
    ]  # fmt: skip
    return state, seen


THINGS = ("goal", "goal 2", "lava", "key", "door")
ALL = {"lava": True, "door": True, "goals": 2}


@pytest.mark.parametrize("actions", ["cardinal", "oriented"])
def test_full_and_rgb(actions):
    rules = Rules(SIDE, SIDE, 9, "full", actions=actions, **ALL)
    state, there = scene(rules)
    found = np.asarray(observe(state, rules)).reshape(COUNT, -1, SIDE * SIDE)
    agents = 4 if rules.oriented else 1
    colours = np.asarray(observe(state, rules._replace(observation="rgb"))).reshape(COUNT, 3, -1)
    for n, one in enumerate(there):
        planes = [one["wall"], *[set() for _ in range(agents)], *(one[thing] for thing in THINGS)]
        planes[1 + (one["heading"] if rules.oriented else 0)] = {one["agent"]}
        assert [set(np.flatnonzero(plane).tolist()) for plane in found[n]] == planes
        for cell in range(SIDE * SIDE):
            name = "wall" if cell in one["wall"] else "free"
            for thing in THINGS:
                name = thing if cell in one[thing] else name
            colour = np.array(PALETTE["others" if name == "goal 2" else name]) / 255
            if cell == one["agent"]:
                colour = np.array(PALETTE["agent"]) / 255 * (1 - 0.15 * (one["heading"] if rules.oriented else 0))
            np.testing.assert_allclose(colours[n, :, cell], colour, atol=1e-6)


def look(one: dict, view: int, oriented: bool) -> list[list[int | None]]:
    """The cell at each place of the window; None outside the map."""
    row, column = divmod(one["agent"], SIDE)
    ahead = plain.MOVES[one["heading"] if oriented else 0]
    right = plain.MOVES[((one["heading"] if oriented else 0) + 1) % 4]
    base = view - 1 if oriented else view // 2
    window = []
    for i in range(view):
        places = []
        for j in range(view):
            forward, aside = base - i, j - view // 2
            r = row + forward * ahead[0] + aside * right[0]
            c = column + forward * ahead[1] + aside * right[1]
            places.append(r * SIDE + c if 0 <= r < SIDE and 0 <= c < SIDE else None)
        window.append(places)
    return window


def lit(opaque: list[list[bool]]) -> list[list[bool]]:
    """MiniGrid's ``process_vis`` with the agent in the middle of the first row, and the next rows further away."""
    width = len(opaque[0])
    mask = [[False] * width for _ in opaque]
    mask[0][width // 2] = True
    for number, row in enumerate(opaque):
        for aside, order in ((1, range(width - 1)), (-1, reversed(range(1, width)))):
            for j in order:
                if mask[number][j] and not row[j]:
                    mask[number][j + aside] = True
                    if number + 1 < len(opaque):
                        mask[number + 1][j + aside] = mask[number + 1][j] = True
    return mask


@pytest.mark.parametrize("occlusion", [False, True])
@pytest.mark.parametrize("actions", ["cardinal", "oriented"])
@pytest.mark.parametrize("view", [3, 5])
def test_egocentric(view, actions, occlusion):
    rules = Rules(SIDE, SIDE, 9, "egocentric", view, actions=actions, occlusion=occlusion, **ALL)
    state, there = scene(rules)
    found = np.asarray(observe(state, rules))
    assert found.shape == (COUNT, *maze_observe.observation_spec(rules).shape)
    hidden = 0
    for n, one in enumerate(there):
        window = look(one, view, rules.oriented)
        planes = [[[cell is None or cell in one["wall"] for cell in row] for row in window]]
        planes += [[[cell in one[thing] for cell in row] for row in window] for thing in THINGS]
        if occlusion:
            closed = lambda cell, one=one: (
                cell is None or cell in one["wall"] or (cell in one["door"] and not one["held"])
            )
            opaque = [[closed(cell) for cell in row] for row in window]
            base = view - 1 if rules.oriented else view // 2
            visible = lit(opaque[base::-1])[::-1] + ([] if rules.oriented else lit(opaque[base:])[1:])
            planes = [[*map(lambda a, b: [x and y for x, y in zip(a, b, strict=True)], p, visible)] for p in planes]
            planes.append(visible)
            hidden += np.sum(~np.array(visible))
        np.testing.assert_array_equal(found[n], np.array(planes, np.uint8))
    # Nothing beside the agent itself can be hidden.
    assert (hidden > 0) == (occlusion and (view > 3 or rules.oriented))
