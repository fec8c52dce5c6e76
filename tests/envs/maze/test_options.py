"""Every option of the rules against a literal game, alone and together: moves, exact values, and play by them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest

from lepton_jax.envs.maze import model
from lepton_jax.envs.maze import rules as maze_rules
from lepton_jax.envs.maze.level import Level
from lepton_jax.envs.maze.rules import Rules
from lepton_jax.envs.maze.world import make_env, make_pool
from lepton_jax.envs.vector import check_env

SIZE, COUNT = 7, 6


class Hypers(NamedTuple):
    gamma: float = 0.9
    goal_reward: float = 2.0
    goal_ratio: float = 0.5
    step_cost: float = 0.01
    wall_penalty: float = 0.1
    lava_penalty: float = 0.7
    time_decay: float = 0.9
    shaping: float = 0.05
    slip: float = 0.2
    sticky: float = 0.25


OPTIONS = {
    "diagonal": {"actions": "diagonal"},
    "oriented": {"actions": "oriented", "observation": "egocentric", "view": 5},
    "sticky": {"sticky": True},
    "wall penalty": {"wall_penalty": True},
    "lava": {"lava": True, "observation": "centred"},
    "door": {"door": True, "observation": "full"},
    "goals": {"goals": 3},
    "shaping": {"shaping": True},
    "time decay": {"time_decay": True},
    "all": {
        "actions": "oriented", "slip": True, "sticky": True, "wall_penalty": True, "lava": True, "door": True,
        "goals": 2, "shaping": True, "observation": "egocentric", "view": 5, "occlusion": True,
    },
    "diagonal and shaped": {"actions": "diagonal", "shaping": True, "slip": True, "lava": True},
}  # fmt: skip
CHANCE = [name for name, option in OPTIONS.items() if "slip" in option or "sticky" in option]


def rules_of(name: str, limit: int = 40) -> Rules:
    return Rules(SIZE, SIZE, limit, **{"observation": "full", **OPTIONS[name]})


def levels(rules: Rules, seed: int = 0) -> Level:
    """Random maps with everything on them, each of which can be solved."""
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < COUNT:
        walls = plain.random_walls(rng, SIZE, SIZE, 0.25)
        cells = rng.permutation(np.flatnonzero(~walls)).tolist()
        if len(cells) < 9:
            continue
        start, goal, key, door, *rest = cells
        lava = np.zeros(walls.size, bool)
        lava[rest[rules.goals + 1 : rules.goals + 3]] = True
        closed = walls | lava.reshape(walls.shape)
        barred = closed.copy()
        barred.reshape(-1)[door] = True
        if plain.distances(barred, start).reshape(-1)[key] < 0 or plain.distances(closed, key).reshape(-1)[goal] < 0:
            continue
        found.append((walls, start, goal, lava.reshape(walls.shape), key, door, rest[: rules.goals - 1]))
    walls, start, goal, lava, key, door, others = (np.array(part) for part in zip(*found, strict=True))
    return Level(
        walls, start, goal, lava if rules.lava else (), key if rules.door else (), door if rules.door else (),
        others if rules.goals > 1 else (),
    )  # fmt: skip


def one(level: Level, number: int) -> Level:
    return jax.tree.map(lambda leaf: leaf[number], level)


@pytest.mark.parametrize("name", OPTIONS)
def test_moves_are_those_of_a_literal_game(name):
    rules, hypers = rules_of(name, 12), Hypers()
    level = levels(rules)
    games = [plain.Game(one(level, number), rules, hypers) for number in range(COUNT)]
    begin = jax.tree.map(np.asarray, jax.jit(maze_rules.begin, static_argnums=1)(level, rules))
    move = jax.jit(maze_rules.move, static_argnums=3)
    state, places = begin, [game.start for game in games]
    rng = np.random.default_rng(1)
    seen = {"success": 0, "ended": 0, "late": 0}
    for _ in range(300):
        actions = rng.integers(0, rules.num_actions, COUNT)
        moved = move(state, jnp.asarray(actions), hypers, rules)
        for number, game in enumerate(games):
            place, reward, ended, success = game.move(places[number], int(actions[number]))
            after = jax.tree.map(lambda leaf, number=number: np.asarray(leaf)[..., number], moved.state)
            assert after.site == plain.site(place.cell, SIZE)
            assert after.time == place.time
            assert after.heading == place.heading if rules.oriented else after.heading == ()
            assert bool(after.held) == place.held
            assert moved.reward[number] == pytest.approx(reward, abs=1e-6)
            assert (bool(moved.terminated[number]), bool(moved.success[number])) == (ended, success)
            assert bool(moved.truncated[number]) == (place.time >= 12 and not ended)
            seen["success"] += success
            seen["ended"] += ended
            seen["late"] += place.time >= 12 and not ended
            places[number] = game.start if ended or place.time >= 12 else place
        over = np.asarray(moved.terminated | moved.truncated)
        state = jax.tree.map(lambda old, new, over=over: np.where(over, old, new), begin, moved.state)
    assert seen["late"] > 0
    assert seen["success"] > 0
    assert (seen["ended"] > seen["success"]) == rules.lava


@pytest.mark.parametrize("name", OPTIONS)
def test_exact_values_are_those_of_tabular_iteration(name):
    rules, hypers = rules_of(name, 30), Hypers()
    level = levels(rules)
    env = make_env(rules, 1)
    assert env.solve is not None
    exact = jax.tree.map(np.asarray, jax.jit(env.solve)(make_pool(level, rules), hypers))
    states = model.states(rules)
    number = {tuple(int(axis[k]) for axis in states.values()): k for k in range(len(states["site"]))}
    for m in range(2):
        game = plain.Game(one(level, m), rules, hypers)
        values = game.solve(250)
        assert len(values) > 10
        for place, q in values.items():
            here = [plain.site(place.cell, SIZE)]
            here += [place.heading] if rules.oriented else []
            here += [place.held] if rules.door else []
            here += [rules.num_actions if place.last is None else place.last] if rules.sticky else []
            np.testing.assert_allclose(exact.q[m, number[tuple(here)]], q, atol=5e-6)
        assert exact.start_value[m] == pytest.approx(values[game.start].max(), abs=5e-6)
        assert exact.counts[m].sum() >= 10


@pytest.mark.parametrize("name", OPTIONS)
def test_a_policy_greedy_in_exact_values_has_no_regret(name):
    """Without chance none within 1e-5; with it, none within four standard errors of the mean."""
    rules, hypers = rules_of(name, 200), Hypers()
    repeats = 2000 if name in CHANCE else 1
    level = levels(rules, 5)
    env = make_env(rules, COUNT * repeats)
    pool = make_pool(level, rules)
    assert env.solve is not None
    exact = jax.jit(env.solve)(pool, hypers)
    many = jax.tree.map(lambda leaf: jnp.repeat(leaf, repeats, axis=-1), maze_rules.begin(level, rules))
    which = jnp.repeat(jnp.arange(COUNT), repeats)

    @jax.jit
    def play(key):
        def step(carry, key):
            state, running, discount, total = carry
            q = exact.q[which, model.number_of(state, rules)]
            draw, again = jax.random.bits(key, (2, COUNT * repeats), jnp.uint32)
            words = (draw if rules.slip else None, again if rules.sticky else None)
            moved = maze_rules.transition(state, jnp.argmax(q, -1), words[0], hypers, rules, words[1])
            total += running * discount * moved.reward
            return (moved.state, running & ~moved.terminated, discount * hypers.gamma, total), None

        start = (many, jnp.ones(COUNT * repeats, bool), 1.0, jnp.zeros(COUNT * repeats))
        limit = rules.time_limit if rules.time_decay else 199
        return jax.lax.scan(step, start, jax.random.split(key, limit))[0]

    _, _, _, total = play(jax.random.key(0))
    returns = np.asarray(total, float).reshape(COUNT, repeats)
    regret = np.asarray(exact.start_value) - returns.mean(1)
    if name in CHANCE:
        error = returns.std(1, ddof=1) / np.sqrt(repeats)
        assert (np.abs(regret) < 4 * error + 1e-5).all()
    else:
        np.testing.assert_allclose(regret, 0.0, atol=1e-5)


@pytest.mark.parametrize("name", ["oriented", "all", "diagonal and shaped", "goals"])
def test_the_contract(name):
    rules = rules_of(name, 15)
    pool = make_pool(levels(rules), rules, 8)
    check_env(make_env(rules, 8)._replace(worlds=lambda key: pool), Hypers(), steps=40)


def test_a_moving_goal_is_anywhere_but_where_something_is():
    rules = Rules(SIZE, SIZE, 1, moving_goal=True, lava=True, goals=2)
    level = levels(rules)
    pool = make_pool(level, rules, 60)
    env = make_env(rules, 60)
    state = env.reset(jax.random.key(0), pool, 60, Hypers())
    step = jax.jit(env.step)
    drawn: dict[int, set[int]] = {number: set() for number in range(COUNT)}
    numbers = {(np.asarray(pool.free)[:, k].tobytes(), int(pool.start[k])): k for k in range(COUNT)}
    for number in range(60):
        state, _ = step(jax.random.key(number), state, jnp.zeros(60, int), pool, Hypers())
        for n in range(60):
            drawn[numbers[np.asarray(state.free)[:, n].tobytes(), int(state.site[n])]].add(int(state.goal[n]))
    for number, goals in drawn.items():
        this = one(level, number)
        reach = plain.distances(np.asarray(this.walls) | np.asarray(this.lava), int(this.start)).reshape(-1) > 0
        free = set(np.flatnonzero(reach).tolist()) - set(np.asarray(this.others).tolist())
        assert goals == {plain.site(cell, SIZE) for cell in free}
    # Whoever names a level gets it as it is.
    named = env.reset(jax.random.key(0), pool, 3, Hypers(), jnp.array([2, 0, 1]))
    assert named.goal.tolist() == [int(pool.goal[k]) for k in (2, 0, 1)]
