"""The compiled program: traced once, reproducible, no copies, and a ring in which the rules of the maze hold."""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest

from lepton_jax import preset
from lepton_jax.agents.agent import Agent
from lepton_jax.config import AgentConfig, Config, EnvConfig, EvalConfig, NetConfig, ReplayConfig
from lepton_jax.engine import replay
from lepton_jax.engine.program import Program, make_hypers, make_program, program_shape, strong
from lepton_jax.engine.setup import level_set, make_agent, make_rules, make_setup
from lepton_jax.envs.maze.spec import MazeSpec
from lepton_jax.envs.maze.world import Endless, make_env
from lepton_jax.envs.vector import VectorEnv

ENVS, COLLECT = 16, 2
SMALL = Config(
    total_steps=ENVS * COLLECT * 24,
    log_points=4,
    env=EnvConfig(id="probe", num_envs=ENVS),
    net=NetConfig(kind="mlp", width=8, depth=1),
    agent=AgentConfig(n_step=2, eps_start=1.0, eps_end=0.1, eps_fraction=0.5, eps_ladder=False),
    replay=ReplayConfig(capacity=ENVS * 30, batch_size=32, collect=COLLECT, updates=3, warmup=ENVS * 5),
)
PROBE = probes.make_env(probes.truncation(5))


def small_program(config: Config = SMALL, env: VectorEnv = PROBE) -> tuple[Program, Agent]:
    agent = make_agent(config, env)
    return make_program(config, env, agent), agent


def plain(tree: Any) -> list[np.ndarray]:
    """Every leaf as NumPy, keys too."""
    data = lambda leaf: jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
    return [np.array(data(leaf)) for leaf in jax.tree.leaves(tree)]


def same(a: Any, b: Any) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(plain(a), plain(b), strict=True))


def start(program: Program, hypers: Any, seed: int = 0) -> Any:
    return program.init(jax.random.key(seed), jax.random.key(5), hypers)


def counting(env: VectorEnv, counts: Counter) -> VectorEnv:
    """``env`` that counts how often Python runs through its functions, which is once a trace."""

    def counted(name: str) -> Any:
        function = getattr(env, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return function(*args, **kwargs)

        return call

    return env._replace(**{name: counted(name) for name in ("step", "reset", "observe", "record")})


def test_traced_once_whatever_the_number_of_chunks_and_the_hypers():
    counts: Counter = Counter()
    program, _ = small_program(env=counting(PROBE, counts))
    hypers = make_hypers(SMALL, program.shape)
    state = start(program, hypers)
    after_init = counts.copy()
    state, _ = probes.to_log_point(program, state, hypers)
    after_chunk = counts.copy()
    assert after_chunk["step"] > after_init["step"] > 0
    for _ in range(3):
        state, _ = probes.to_log_point(program, state, hypers)
    other = hypers._replace(lr=0.1, gamma=0.5, eps_start=0.0, eps_end=0.0, tau=0.5, huber_delta=0.1, max_grad_norm=1.0)
    again = start(program, other, seed=3)
    changed, _ = probes.to_log_point(program, again, other)
    assert counts == after_chunk, "traced again"
    assert program.init._cache_size() == program.chunk._cache_size() == 1  # type: ignore[attr-defined]
    unchanged, _ = probes.to_log_point(program, start(program, hypers, seed=3), hypers)
    assert not same(changed.agent_state, unchanged.agent_state)


@pytest.mark.parametrize(
    "name", ["lr", "gamma", "tau", "huber_delta", "max_grad_norm", "eps_start", "adam_eps", "lr_horizon"]
)
def test_every_hyper_is_used(name, one_chunk):
    program, hypers, learnt = one_chunk
    changed = hypers._replace(**{name: getattr(hypers, name) * 0.01})
    other, _ = probes.to_log_point(program, start(program, changed), changed)
    assert not same(learnt.agent_state.target, other.agent_state.target)


@pytest.fixture(scope="module")
def one_chunk() -> tuple[Program, Any, Any]:
    program, _ = small_program(env=probes.make_env(probes.side_by_side(probes.all_probes(2, 5), 5)))
    hypers = make_hypers(SMALL, program.shape)._replace(huber_delta=0.1, max_grad_norm=0.1)
    return program, hypers, probes.to_log_point(program, start(program, hypers), hypers)[0]


def test_same_seed_bit_equal_and_two_seeds_differ(one_chunk):
    program, hypers, learnt = one_chunk
    again = probes.to_log_point(program, start(program, hypers), hypers)[0]
    assert same(learnt, again)
    one, two = start(program, hypers, seed=0), start(program, hypers, seed=1)
    for part in ("env_state", "ring", "agent_state", "key"):
        assert not same(getattr(one, part), getattr(two, part)), part
    (one, first), (two, second) = probes.to_log_point(program, one, hypers), probes.to_log_point(program, two, hypers)
    for part in ("env_state", "ring", "agent_state"):
        assert not same(getattr(one, part), getattr(two, part)), part
    assert first["loss"] != second["loss"]


def test_chunks_differ_from_each_other(one_chunk):
    """No key is used twice: with the same policy throughout, no chunk repeats the actions of another."""
    program, hypers, _ = one_chunk
    still = hypers._replace(lr=0.0, lr_end=0.0, eps_start=1.0, eps_end=1.0)
    state = start(program, still)
    rows = probes.per_point(program.shape) * COLLECT
    blocks = []
    for number in range(2):
        state, _ = probes.to_log_point(program, state, still)
        end = (program.shape.warmup + (number + 1) * probes.per_point(program.shape)) * COLLECT
        index = np.arange(end - rows, end) % state.ring.action.shape[0]
        blocks.append(np.asarray(state.ring.action)[index])
    rows_seen = {row.tobytes() for block in blocks for row in block}
    assert len(rows_seen) == 2 * rows


def test_clock_warmup_and_metrics():
    program, _ = small_program()
    shape = program.shape
    assert shape.steps == ENVS * COLLECT
    assert probes.per_point(shape) * shape.points * shape.steps >= SMALL.total_steps
    assert (shape.points, probes.per_point(shape)) == (4, 6)
    assert shape.warmup == 3  # ceil(5 rows / 2)
    assert shape.blocks == 15
    hypers = make_hypers(SMALL, shape)
    state = start(program, hypers)
    assert (int(state.clock), int(state.birth)) == (0, 0)
    assert int(state.agent_state.steps) == 0
    warmed = shape.warmup * COLLECT
    assert np.all(np.asarray(state.ring.reward)[:warmed] == 1.0)
    assert np.all(np.asarray(state.ring.reward)[warmed:] == 0.0), "warm-up wrote more than its rows"
    for number in range(1, shape.points + 1):
        state, metrics = probes.to_log_point(program, state, hypers)
        assert int(state.clock) == number * probes.per_point(shape)
        assert int(state.agent_state.steps) == number * probes.per_point(shape) * 3
        # Iterations 6(k-1) .. 6k-1, epsilon from 1 to 0.1 over the first 12 of 24 iterations.
        clocks = np.arange((number - 1) * 6, number * 6)
        assert metrics["epsilon"] == pytest.approx(np.mean(1.0 - 0.9 * np.minimum(clocks / 12, 1.0)), rel=1e-4)
        assert metrics["reward"] == 6 * COLLECT * ENVS
        assert metrics["terminated"] == 0
        written = (shape.warmup + number * 6) * COLLECT
        assert np.all(np.asarray(state.ring.reward)[: min(written, 30)] == 1.0)
    # 3 + 24 iterations of two rows, cut every five: environment i was cut after steps 5, 10, ... of its own.
    rows = np.arange(54 - 30, 54)
    ended = np.asarray(state.ring.ended)[rows % 30]
    np.testing.assert_array_equal(ended, np.where(rows[:, None] % 5 == 4, replay.TRUNCATED, replay.RUNNING) + 0 * ended)
    np.testing.assert_array_equal(state.first, np.full(ENVS, 54 % 5 == 0))


def test_birth_shifts_epsilon():
    """A lane that starts later begins its schedule at its own birth."""
    program, _ = small_program()
    hypers = make_hypers(SMALL, program.shape)
    late = start(program, hypers)._replace(birth=jnp.int32(-12))
    assert probes.to_log_point(program, late, hypers)[1]["epsilon"] == pytest.approx(0.1, rel=1e-4)


def test_the_ladder_gives_each_environment_its_own_epsilon():
    envs = 8
    config = dataclasses.replace(
        SMALL,
        total_steps=envs * 400,
        log_points=1,
        env=EnvConfig(id="probe", num_envs=envs),
        agent=dataclasses.replace(SMALL.agent, eps_ladder=True, eps_start=0.5, eps_end=0.5),
        replay=ReplayConfig(capacity=envs * 500, batch_size=1, collect=4, updates=1, warmup=envs * 4),
    )
    program, agent = small_program(config, probes.make_env(probes.action()))
    hypers = make_hypers(config, program.shape)._replace(lr=0.0, lr_end=0.0, eps_ladder_power=7.0)
    state, _ = probes.to_log_point(program, start(program, hypers), hypers)
    rows = slice(4, 4 + probes.per_point(program.shape) * 4)
    place, action = (np.asarray(leaf)[rows] for leaf in (state.ring.step, state.ring.action))
    q, _ = agent.q_values(state.agent_state, (), jnp.eye(2), jnp.zeros(2, bool))
    strays = (action != np.asarray(q).argmax(1)[place]).mean(0)
    # Half of the random actions are the greedy one.
    np.testing.assert_allclose(strays, 0.5 ** np.arange(1, 9) / 2, atol=0.06)


COPY = re.compile(r"= (\(.*?\)|\S+) (copy|copy-start|transpose)\(")


def big_copies(text: str | None, ring: Iterable[jax.ShapeDtypeStruct]) -> list[str]:
    """Lines of compiled HLO that copy or turn something as large as the smallest leaf of a ring."""
    assert text is not None
    least = min(leaf.size for leaf in ring)
    found = []
    for line in text.splitlines():
        if match := COPY.search(line):
            sizes = (math.prod(int(n) for n in dims.split(",") if n) for dims in re.findall(r"\[([\d,]*)\]", match[1]))
            found += [line] if max(sizes, default=0) >= least else []
    return found


def maze_config(**changes: Any) -> Config:
    env = {"num_envs": 37, "size": 7, "observation": "full", "pool": 64, "refresh_levels": 32, "refresh_every": 2}
    env |= {"held_out": True, "levels": 0} | changes
    return Config(
        total_steps=37 * 3 * 12,
        log_points=2,
        env=EnvConfig(**env),
        net=NetConfig(kind="mlp", width=8, depth=1),
        agent=AgentConfig(n_step=3, eps_start=1.0, eps_end=1.0),
        replay=ReplayConfig(capacity=37 * 3 * 2000, batch_size=16, collect=3, updates=2, warmup=37 * 6),
        eval=EvalConfig(validation_levels=4, test_levels=4),
    )


@pytest.mark.parametrize("world", ["maze", "probe"])
def test_no_copy_of_the_ring_in_the_compiled_chunk(world):
    config = maze_config()
    if world == "maze":
        env = make_env(make_rules(config), config.env.num_envs, MazeSpec(7), Endless(64, 32))
    else:
        env = probes.make_env(probes.truncation(2))
    program = make_program(config, env, make_agent(config, env))
    hypers = make_hypers(config, program.shape)
    state = jax.eval_shape(program.init, jax.random.key(0), jax.random.key(0), hypers)
    ring = jax.tree.leaves(state.ring)
    assert state.ring.action.shape == (6000, 37)
    compiled = program.chunk.lower(state, hypers, jnp.int32(1)).compile()  # type: ignore[attr-defined]
    assert big_copies(compiled.as_text(), ring) == []
    # The same told by the buffers: the ring is updated where it lies, and nothing of its size is made beside it.
    memory = compiled.memory_analysis()
    assert memory is not None
    ring_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in ring)
    assert memory.alias_size_in_bytes >= ring_bytes
    # Of the ring's leaves the few states kept aside are not the ring's size.
    whole = jax.tree.leaves(state.ring._replace(truncated=()))
    assert memory.temp_size_in_bytes < min(leaf.size * leaf.dtype.itemsize for leaf in whole)


def test_a_copy_of_the_ring_would_be_found():
    config = maze_config()
    env = probes.make_env(probes.truncation(2))
    program = make_program(config, env, make_agent(config, env))
    hypers = make_hypers(config, program.shape)
    state = jax.eval_shape(program.init, jax.random.key(0), jax.random.key(0), hypers)
    wasteful = jax.jit(lambda state, hypers: (program.chunk(state, hypers, 1), state.ring), donate_argnums=0)
    text = wasteful.lower(state, hypers).compile().as_text()
    assert big_copies(text, jax.tree.leaves(state.ring))


def test_no_episode_is_longer_than_its_clock_counts():
    large = {"size": 101, "generator": "caves", "observation": "full", "view": 0}
    limit = lambda **more: make_rules(preset("quick", env=large | more)).time_limit
    assert limit() == 4 * 99**2
    assert limit(actions="oriented") == 2**16 - 1  # and not 8 * 99**2, at which 16 bits begin anew
    assert limit(actions="oriented", time_limit=500) == 500


MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))


def unpacked(words: np.ndarray, size: int) -> np.ndarray:
    """Words of free sites uint32 (M, words) -> walls bool (M, size, size), the border included."""
    bits = (words[..., None] >> np.arange(32, dtype=np.uint32)) & 1
    inner = bits.reshape(len(words), -1)[:, : (size - 2) * (size - 1)].reshape(-1, size - 2, size - 1)
    return np.pad(inner == 0, ((0, 0), (1, 1), (1, 0)), constant_values=True)


def move(walls: np.ndarray, site: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Sites after unhindered or blocked moves, all M at once."""
    stride = walls.shape[1] - 1
    row, column = site // stride + 1, site % stride + 1
    down, right = np.array(MOVES)[action].T
    blocked = walls[np.arange(len(walls)), row + down, column + right]
    row, column = np.where(blocked, row, row + down), np.where(blocked, column, column + right)
    return (row - 1) * stride + column - 1


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({"size": 9, "time_limit": 2, "step_cost": 0.25, "goal_reward": 2.0}, 2),
        ({"slip": 0.5, "observation": "vector"}, 4 * 17),
    ],
)
def test_every_transition_obeys_the_rules_of_the_level_it_shows(changes, limit):
    config = maze_config(**changes)
    config = dataclasses.replace(config, replay=dataclasses.replace(config.replay, capacity=37 * 3 * 20))
    size, envs, length = config.env.size, 37, 3
    setup = make_setup(config)
    program = make_program(config, setup.env, setup.agent)
    hypers = make_hypers(config, program.shape)
    state = start(program, hypers)
    layouts, ends, age = set(), Counter(), np.zeros(envs, int)
    rows_done, rows = 0, state.ring.action.shape[0]
    for number in range(12):  # two chunks of the run, and ten more: the pool of 64 levels is replaced many times
        state, _ = probes.to_log_point(program, state, hypers)
        ring = jax.tree.map(np.asarray, state.ring)
        newest = (program.shape.warmup + (number + 1) * probes.per_point(program.shape)) * length
        assert newest - rows_done <= rows
        for at in range(rows_done, newest):
            row, following = at % rows, (at + 1) % rows
            walls = unpacked(ring.episode[0][row], size)
            goal, site, action = ring.episode[1][row], ring.step[0][row], ring.action[row].astype(int)
            ended, reward = ring.ended[row], ring.reward[row]
            age += 1
            block = at // length % (rows // length)
            aside = ring.truncated[0][block]
            slot = at % length * aside.shape[0] // length
            if at + 1 < newest:
                later = ring.step[0][following]
                same_level = np.all(ring.episode[0][following] == ring.episode[0][row], axis=-1)
                same_level &= ring.episode[1][following] == goal
            else:
                episode, step = jax.tree.map(np.asarray, setup.env.record(state.env_state))
                later = step[0]
                same_level = np.all(episode[0] == ring.episode[0][row], axis=-1) & (episode[1] == goal)
            reached = np.where(
                ended == replay.TRUNCATED, aside[slot], np.where(ended == replay.TERMINATED, goal, later)
            )
            intended = move(walls, site.astype(int), action)
            if config.env.slip:
                possible = np.stack([move(walls, site.astype(int), np.full(envs, a)) for a in range(4)])
                assert np.all(np.any(possible == reached, axis=0))
                ends["slipped"] += int(np.sum(intended != reached))
            else:
                np.testing.assert_array_equal(intended, reached)
            assert np.all(site != goal)
            assert np.all(same_level | (ended != replay.RUNNING)), "the level changed within an episode"
            np.testing.assert_array_equal(ended == replay.TERMINATED, reached == goal)
            np.testing.assert_array_equal(ended == replay.TRUNCATED, (age == limit) & (reached != goal))
            expected = np.where(reached == goal, config.env.goal_reward, 0.0) - config.env.step_cost
            np.testing.assert_allclose(reward, expected, rtol=1e-6)
            age[ended != replay.RUNNING] = 0
            for end in (replay.TERMINATED, replay.TRUNCATED):
                ends[end] += int(np.sum(ended == end))
            layouts |= {canonical(one) for one in walls}
        rows_done = newest
    assert min(ends[replay.TERMINATED], ends[replay.TRUNCATED]) > 10
    if config.env.slip:
        # A slip goes elsewhere in 3 of 4 cases, less where walls are in the way.
        taken = rows_done * envs
        assert 0.1 < ends["slipped"] / taken < 0.5 * 0.75
    sets = [level_set(config, name, 64) for name in ("validation", "test")]
    judged = [unpacked(np.asarray(levels.worlds.free).T, size) for levels in sets]
    held_out = {canonical(one) for walls in judged for one in walls}
    assert len(layouts) > 5
    assert not layouts & held_out, "a training level had the layout of a held-out one"


def canonical(walls: np.ndarray) -> bytes:
    """One name for a layout and its seven images."""
    turned = [np.rot90(image, turns) for image in (walls, walls[:, ::-1]) for turns in range(4)]
    return min(image.tobytes() for image in turned)


def test_learns_the_exact_values_of_a_small_maze():
    config = Config(
        total_steps=64 * 2 * 2000,
        log_points=1,
        shards=1,
        env=EnvConfig(num_envs=64, size=5, levels=1, held_out=False, observation="full", level_seed=3),
        net=NetConfig(kind="mlp", width=64, depth=1, dueling=True),
        agent=AgentConfig(
            gamma=0.9, n_step=1, double=True, loss="squared", tau=0.02, lr=3e-3, lr_schedule="linear", lr_end=0.0,
            weight_decay=0.0, eps_start=1.0, eps_end=1.0, max_grad_norm=10.0,
        ),
        replay=ReplayConfig(capacity=64 * 200, batch_size=128, collect=2, updates=1, warmup=64 * 20),
        eval=EvalConfig(validation_levels=1, test_levels=1),
    )  # fmt: skip
    setup = make_setup(config)
    program = make_program(config, setup.env, setup.agent)
    hypers = make_hypers(config, program.shape)
    state = program.init(jax.random.key(0), jax.random.key(3), hypers)
    worlds = jax.tree.map(lambda leaf: leaf[..., :1], state.worlds)  # the one level, without its repetitions
    assert setup.env.solve is not None
    exact = setup.env.solve(worlds, strong(hypers))
    # The cells behind the goal, seen from the start, are never visited: nothing is learned of them.
    visited = np.unique(np.asarray(state.ring.step[0]))
    visited = visited[np.asarray(exact.counts[0])[visited]]
    assert len(visited) >= 3

    def worst(state) -> float:
        step = jax.tree.map(lambda leaf: leaf[0, visited], exact.step)
        episode = jax.tree.map(lambda leaf: jnp.repeat(leaf, len(visited), axis=0), exact.episode)
        seen = setup.env.observe(episode, step, worlds)
        q, _ = setup.agent.q_values(state.agent_state, (), seen, jnp.zeros(len(visited), bool))
        return float(jnp.max(jnp.abs(q - exact.q[0, visited])))

    assert worst(state) > 0.1
    state, _ = probes.to_log_point(program, state, hypers)
    assert worst(state) < 0.02


def test_shape_rounds_up_to_whole_iterations():
    for total, points, envs, collect in ((1, 1, 4, 3), (1000, 7, 8, 2), (12345, 50, 16, 1), (10**10, 50, 8192, 2)):
        config = dataclasses.replace(
            SMALL, total_steps=total, log_points=points, env=EnvConfig(id="probe", num_envs=envs),
            replay=dataclasses.replace(SMALL.replay, collect=collect, capacity=envs * 30),
        )  # fmt: skip
        shape = program_shape(config)
        taken = shape.points * probes.per_point(shape) * shape.steps
        assert taken == shape.iterations * shape.steps >= total
        assert taken - total < probes.per_point(shape) * shape.steps
        assert shape.per_segment <= config.env.refresh_every
        assert make_hypers(config, shape).lr_horizon == shape.iterations * config.replay.updates
