from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest
from scipy import stats

from lepton_jax.envs.maze import oracle
from lepton_jax.envs.maze import world as maze_world
from lepton_jax.envs.maze.generate import split_levels
from lepton_jax.envs.maze.level import Level, digest, split_of
from lepton_jax.envs.maze.rules import OBSERVATIONS, Rules
from lepton_jax.envs.maze.spec import MazeSpec
from lepton_jax.envs.maze.world import Endless, Pool, make_env, make_pool
from lepton_jax.envs.vector import VectorEnv, check_env

LEVEL_KEY = jax.random.key(7)


class Hypers(NamedTuple):
    gamma: float = 0.95
    goal_reward: float = 1.0
    step_cost: float = 0.01
    slip: float = 0.2


def free_cells(pool: Pool) -> list[tuple[bytes, int, int]]:
    """What tells the slots apart: walls, goal and start."""
    free, goal, start = (np.asarray(leaf) for leaf in pool[:3])
    return [(free[:, k].tobytes(), int(goal[k]), int(start[k])) for k in range(len(goal))]


def rollout(env: VectorEnv, pool: Pool, n: int, steps: int):
    """``steps`` random steps: before, action, outcome and after, each with leading axes (steps, n)."""

    @jax.jit
    def run(pool: Pool):
        def one(state, key):
            action_key, step_key = jax.random.split(key)
            action = jax.random.randint(action_key, (n,), 0, env.num_actions)
            following, outcome = env.step(step_key, state, action, pool, Hypers())
            return following, (env.record(state), action, outcome, env.record(following))

        state = env.reset(jax.random.key(1), pool, n, Hypers())
        return jax.lax.scan(one, state, jax.random.split(jax.random.key(2), steps))[1]

    return jax.tree.map(np.asarray, run(pool))


@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_the_contract(observation):
    rules = Rules(7, 7, 20, observation, 5 if observation == "egocentric" else 0, slip=observation == "full")
    env = make_env(rules, 8, MazeSpec(7), Endless(64, 16))
    check_env(env._replace(worlds=jax.jit(env.worlds), observe=jax.jit(env.observe)), Hypers())


def test_the_spec():
    env = make_env(Rules(9, 9, 33, "centred", 5), 8, MazeSpec(9), 16)
    assert (env.name, env.num_actions, env.time_limit) == ("LeptonMaze-v0", 4, 33)
    assert env.observation == jax.ShapeDtypeStruct((2, 5, 5), jnp.uint8)
    assert env.refresh is None
    assert make_env(Rules(9, 9, 33), 8, MazeSpec(9), Endless(16, 4)).refresh is not None


@pytest.mark.parametrize(("levels", "slots"), [(20, 27), (3, 10)])
def test_pool_repeats_its_first_levels(levels, slots):
    """``levels`` below the number of environments is a pool that goes round."""
    rules = Rules(7, 7, 20)
    batch = jax.jit(split_levels, static_argnums=(1, 2, 3))(LEVEL_KEY, MazeSpec(7), levels, 0)
    pool = jax.jit(make_pool, static_argnums=(1, 2))(batch, rules, 8)
    found = free_cells(pool)
    assert len(found) == slots
    assert all(found[k] == found[k % levels] for k in range(slots))
    unpacked = jax.jit(maze_world.pool_levels, static_argnums=(1, 2))(pool, rules, levels)
    for one, other in zip(unpacked, batch, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("training", "n", "observation"), [(Endless(64, 16), 16, "full"), (3, 16, "vector")])
def test_every_transition_obeys_the_level_in_its_record(training, n, observation):
    size, limit, steps = 7, 25, 250
    env = make_env(Rules(size, size, limit, observation), n, MazeSpec(size, 0.1), training)
    pool = jax.jit(env.worlds)(LEVEL_KEY)
    levels = set(free_cells(pool))
    (episode, before), actions, outcome, (next_episode, after) = rollout(env, pool, n, steps)
    assert outcome.reached[0].shape == (steps, n)
    resets, clocks = 0, np.zeros(n, int)
    for t in range(steps):
        for i in range(n):
            free, goal = episode[0][t, i], int(episode[1][t, i])
            walls = plain.unpack(free, size, size)
            site_of_cell = {plain.site(int(cell), size): int(cell) for cell in np.flatnonzero(~walls)}
            reached = plain.move(walls, site_of_cell[int(before[0][t, i])], int(actions[t, i]))
            clocks[i] += 1
            at_goal = plain.site(reached, size) == goal
            assert plain.site(reached, size) == outcome.reached[0][t, i]
            assert bool(outcome.terminated[t, i]) == at_goal
            assert bool(outcome.truncated[t, i]) == (clocks[i] == limit and not at_goal)
            assert outcome.reward[t, i] == pytest.approx(at_goal - 0.01)
            now = (next_episode[0][t, i].tobytes(), int(next_episode[1][t, i]))
            if observation == "vector":
                assert outcome.reached[1][t, i] == clocks[i]
            if at_goal or clocks[i] == limit:
                assert (*now, int(after[0][t, i])) in levels
                clocks[i], resets = 0, resets + 1
            else:
                assert now == (free.tobytes(), goal)
                assert after[0][t, i] == outcome.reached[0][t, i]
            if observation == "vector":
                assert after[1][t, i] == clocks[i]
    assert resets > n
    assert outcome.terminated.any()
    assert outcome.truncated.any()


@pytest.mark.parametrize(("levels", "n", "slip"), [(16, 8, False), (5, 8, True)])
def test_auto_reset_draws_every_level_equally_often(levels, n, slip):
    rules = Rules(7, 7, 1, slip=slip)  # every step ends every episode
    env = make_env(rules, n, MazeSpec(7), levels)
    pool = jax.jit(env.worlds)(LEVEL_KEY)
    number = {level: k for k, level in enumerate(free_cells(pool)[:levels])}
    assert len(number) == levels
    _, _, _, ((free, goal), (site,)) = rollout(env, pool, n, 3000)
    for i in (0, 3, n - 1):
        drawn = [number[free[t, i].tobytes(), int(goal[t, i]), int(site[t, i])] for t in range(3000)]
        assert stats.chisquare(np.bincount(drawn, minlength=levels)).pvalue > 1e-3
        # ... and independently of the last one.
        pairs = np.zeros((levels, levels))
        np.add.at(pairs, (drawn[:-1], drawn[1:]), 1)
        assert np.asarray(stats.chi2_contingency(pairs)[1]) > 1e-3


def test_reset_draws_every_level_equally_often_and_takes_slots():
    env = make_env(Rules(7, 7, 10), 8, MazeSpec(7), 5)
    pool = jax.jit(env.worlds)(LEVEL_KEY)
    known = free_cells(pool)
    reset = jax.jit(jax.vmap(lambda key: env.reset(key, pool, 8, Hypers())))
    state = jax.tree.map(np.asarray, reset(jax.random.split(jax.random.key(3), 500)))
    drawn = [
        known.index((state.free[k, :, i].tobytes(), int(state.goal[k, i]), int(state.site[k, i])))
        for k in range(500)
        for i in range(8)
    ]
    assert stats.chisquare(np.bincount(drawn, minlength=5)).pvalue > 1e-3
    assert not state.time.any()
    chosen = env.reset(jax.random.key(3), pool, 3, Hypers(), jnp.array([4, 0, 2]))
    assert chosen.site.tolist() == [known[k][2] for k in (4, 0, 2)]
    assert [chosen.free[:, i].tobytes() for i in range(3)] == [known[k][0] for k in (4, 0, 2)]


def test_refresh_replaces_the_promised_slots():
    rules, n, slots, batch = Rules(11, 11, 10), 6, 16, 4
    env = make_env(rules, n, MazeSpec(11), Endless(slots, batch))
    pool = jax.jit(env.worlds)(LEVEL_KEY)
    assert env.refresh is not None
    refresh = jax.jit(env.refresh)
    after = free_cells(pool)
    ever = set(after)
    for epoch in range(9):
        before = after
        pool = refresh(pool, LEVEL_KEY, jnp.int32(epoch))
        after = free_cells(pool)
        assert len(after) == slots + n - 1
        fresh = {(epoch * batch + k) % slots for k in range(batch)}
        for slot in range(slots):
            assert (after[slot] != before[slot]) == (slot in fresh)
        assert after[slots:] == after[: n - 1]
        new = {after[slot] for slot in fresh}
        assert len(new) == batch
        assert not new & ever  # among the 11x11 mazes nothing comes twice
        ever |= new
    again = jax.jit(env.worlds)(LEVEL_KEY)
    assert free_cells(refresh(again, LEVEL_KEY, jnp.int32(3)))[12:16] != free_cells(again)[12:16]
    # A refresh is a function of level key and epoch alone: epoch 8 fills slots 0 to 3 of any pool alike.
    assert free_cells(refresh(again, LEVEL_KEY, jnp.int32(8)))[:4] == after[:4]


@pytest.mark.parametrize("held_out", [True, False])
def test_training_never_meets_a_held_out_layout(held_out):
    rules = Rules(7, 7, 10)
    env = make_env(rules, 4, MazeSpec(7), Endless(128, 64), held_out)
    assert env.refresh is not None
    splits = jax.jit(lambda pool: split_of(digest(maze_world.pool_levels(pool, rules, 131).walls)))
    refresh, pool = jax.jit(env.refresh), jax.jit(env.worlds)(LEVEL_KEY)
    met = set(np.asarray(splits(pool)).tolist())
    for epoch in range(6):
        pool = refresh(pool, LEVEL_KEY, jnp.int32(epoch))
        met |= set(np.asarray(splits(pool)).tolist())
    assert met == ({0} if held_out else {0, 1, 2})


@pytest.mark.parametrize(("slip", "observation"), [(False, "full"), (True, "vector")])
def test_solve(slip, observation):
    size, hypers = 9, Hypers()
    rules = Rules(size, size, 50, observation, slip=slip)
    env = make_env(rules, 1)
    rng = np.random.default_rng(0)
    walls = np.stack([plain.random_walls(rng, size, size, 0.3) for _ in range(5)])
    cells = np.array([plain.two_cells(rng, one) for one in walls], np.int32)
    level = Level(walls, cells[:, 0], cells[:, 1])
    pool = make_pool(level, rules)
    assert env.solve is not None
    exact = jax.tree.map(np.asarray, jax.jit(env.solve)(pool, hypers))
    solution = jax.jit(oracle.solve)(
        level, hypers.gamma, hypers.slip if slip else 0.0, hypers.step_cost, hypers.goal_reward
    )
    q = np.asarray(solution.q).reshape(5, -1, 4)
    unreachable = 0
    for m in range(5):
        steps = plain.distances(walls[m], int(level.goal[m])).reshape(-1)
        assert exact.start_distance[m] == steps[level.start[m]]
        np.testing.assert_array_equal(exact.start_value[m], q[m, level.start[m]].max())
        counted = {plain.site(int(cell), size) for cell in np.flatnonzero(steps > 0)}
        assert set(np.flatnonzero(exact.counts[m]).tolist()) == counted
        unreachable += (steps[~walls[m].reshape(-1)] < 0).sum()
        for cell in np.flatnonzero(~walls[m]):
            np.testing.assert_array_equal(exact.q[m, plain.site(int(cell), size)], q[m, cell])
        np.testing.assert_array_equal(plain.unpack(exact.episode[0][m], size, size), walls[m])
    assert unreachable > 0
    # The recorded states are those that q speaks of: drawn, each shows its agent where the row of q is.
    assert exact.step[0].shape == exact.counts.shape
    assert exact.step[0].tolist() == [list(range(rules.sites))] * 5
    episode, step = jax.tree.map(lambda leaf: leaf[:, None], exact.episode), exact.step
    repeated = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (5, rules.sites, *leaf.shape[2:])), episode)
    flat = lambda tree: jax.tree.map(lambda leaf: leaf.reshape(5 * rules.sites, *leaf.shape[2:]), tree)
    seen = jax.jit(env.observe)(flat(repeated), flat(step), pool)
    number = 3 * rules.sites + plain.site(int(level.start[3]), size)
    start, goal = int(level.start[3]), int(level.goal[3])
    if observation == "full":
        np.testing.assert_array_equal(seen[number], plain.see_full(walls[3], start, goal))
    else:
        np.testing.assert_allclose(seen[number], plain.see_vector(walls[3], start, goal, 0, 50), rtol=1e-6)


def test_an_environment_without_levels_of_its_own_says_so():
    env = make_env(Rules(9, 9, 10), 4)
    with pytest.raises(ValueError, match="make_pool"):
        env.worlds(LEVEL_KEY)
