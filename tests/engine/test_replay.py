"""The ring against plain lists of everything that ever happened."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lepton_jax.engine import replay
from lepton_jax.engine.replay import RUNNING, TERMINATED, TRUNCATED

GAMMA = 0.9
n_step_return = jax.jit(replay.n_step_return)


@st.composite
def windows(draw: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rewards and ends of several windows of 1 to 5 steps."""
    n, count = draw(st.integers(1, 5)), 16
    ended = draw(
        st.lists(st.sampled_from([RUNNING, RUNNING, TERMINATED, TRUNCATED]), min_size=n * count, max_size=n * count)
    )
    reward = draw(st.lists(st.integers(-8, 8), min_size=n * count, max_size=n * count))
    return np.array(reward, np.float32).reshape(count, n), np.array(ended, np.uint8).reshape(count, n)


def plain_return(reward: np.ndarray, ended: np.ndarray, gamma: float) -> tuple[float, float, int]:
    """Return, discount and steps of one window."""
    total = 0.0
    for k, (r, end) in enumerate(zip(reward.tolist(), ended.tolist(), strict=True)):
        total += gamma**k * r
        if end == TERMINATED:
            return total, 0.0, k + 1
        if end == TRUNCATED:
            return total, gamma ** (k + 1), k + 1
    return total, gamma ** len(reward), len(reward)


@settings(max_examples=40, deadline=None)
@given(windows(), st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_n_step_return_is_the_loop(window, gamma):
    reward, ended = window
    found = n_step_return(reward, ended, jnp.float32(gamma))
    expected = [plain_return(r, e, gamma) for r, e in zip(reward, ended, strict=True)]
    for got, wanted in zip(found, zip(*expected, strict=True), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_n_step_return_by_hand():
    reward = np.array([[1, 2, 4], [1, 2, 4], [1, 2, 4], [1, 2, 4]], np.float32)
    ended = np.array([[0, 0, 0], [0, 1, 0], [2, 1, 0], [0, 0, 1]], np.uint8)
    total, discount, taken = n_step_return(reward, ended, jnp.float32(0.5))
    np.testing.assert_array_equal(total, [3.0, 2.0, 1.0, 3.0])
    np.testing.assert_array_equal(discount, [0.125, 0.0, 0.5, 0.0])
    np.testing.assert_array_equal(taken, [3, 2, 1, 3])


class Step(NamedTuple):
    """What happened in one environment at one row."""

    episode: int
    at: int  # step within the episode
    action: int
    reward: float
    ended: int


def token(episode: int, at: int) -> int:
    """A number that names a state and no other."""
    return 1 + episode * 64 + at


class History:
    """Plain lists: for each environment all that it ever did, in episodes of every length from 1 to 2n."""

    def __init__(self, envs: int, n_step: int, time_limit: int, seed: int = 0):
        self.rng = np.random.default_rng(seed)
        self.longest, self.time_limit = min(2 * n_step, time_limit), time_limit
        self.steps: list[list[Step]] = [[] for _ in range(envs)]
        self.lengths: list[list[int]] = [[] for _ in range(envs)]  # of the episodes to come, the present one first
        self.episodes = 0

    def advance(self, env: int) -> Step:
        done, lengths = self.steps[env], self.lengths[env]
        if not lengths:  # every length once, in random order
            lengths += (self.rng.permutation(self.longest) + 1).tolist()
        if done and not done[-1].ended:
            episode, at = done[-1].episode, done[-1].at + 1
        else:
            self.episodes += 1
            episode, at = self.episodes, 0
        ended = RUNNING
        if at + 1 == lengths[0]:
            late = lengths.pop(0) == self.time_limit and self.rng.random() < 0.9
            ended = TRUNCATED if late else TERMINATED
        done.append(Step(episode, at, int(self.rng.integers(4)), float(self.rng.integers(-8, 9)), ended))
        return done[-1]

    def rollout(self, rows: int) -> replay.Rollout:
        """The next ``rows`` steps of all environments, as the program hands them to the ring."""
        steps = [[self.advance(env) for env in range(len(self.steps))] for _ in range(rows)]
        # NumPy arrays, which jit takes as they are.
        field: Any = lambda pick, dtype: np.array([[pick(s) for s in row] for row in steps], dtype)
        return replay.Rollout(
            episode=(field(lambda s: s.episode, np.uint16),),
            step=parts(field(lambda s: token(s.episode, s.at), np.int32)),
            action=field(lambda s: s.action, np.int32),
            reward=field(lambda s: s.reward, np.float32),
            ended=field(lambda s: s.ended, np.uint8),
            reached=parts(field(lambda s: token(s.episode, s.at + 1), np.int32)),
            carry={"begin": np.array([[token(s.episode, s.at)] for s in steps[0]], np.float32)},
        )


def parts(tokens: np.ndarray) -> dict[str, np.ndarray]:
    """A step part with leaves of several kinds, all functions of the token."""
    bits = (tokens[..., None] >> np.arange(16)) & 1
    return {"token": tokens, "bits": bits == 1, "half": (tokens[..., None] * np.array([0.5, -1.0])).astype(np.float32)}


CASES = [  # collect, time limit, n, blocks
    (1, 3, 3, 8),
    (2, 100, 1, 3),
    (4, 100, 3, 3),
    (4, 4, 2, 3),
    (4, 3, 5, 4),
    (6, 2, 3, 3),
    (5, 1, 1, 3),
    (6, 4, 2, 2),
    (3, 10, 5, 6),
]
ENVS = 5


@functools.cache
def write(time_limit: int) -> Any:
    return jax.jit(functools.partial(replay.write, time_limit=time_limit))


sample = jax.jit(replay.sample, static_argnames=("count", "n_step"))


@pytest.mark.parametrize("birth", [0, 5])  # the block at which the run begins to write: a lane may come late
@pytest.mark.parametrize(("collect", "time_limit", "n_step", "blocks"), CASES)
def test_samples_are_what_happened(collect, time_limit, n_step, blocks, birth):
    history = History(ENVS, n_step, time_limit)
    ring = None
    gamma, count = jnp.float32(GAMMA), 48 * collect * blocks
    lengths_sampled, ends_sampled = set(), set()
    for written in range(1, 3 * blocks + 3):  # several times around
        rollout = history.rollout(collect)
        ring = replay.make_ring(rollout, blocks, 4, time_limit) if ring is None else ring
        ring = write(time_limit)(ring, rollout, jnp.int32((birth + written - 1) % blocks))
        if written * collect < n_step + 1:
            continue
        drawn = sample(
            ring, jax.random.key(written), jnp.int32(birth + written), jnp.int32(written), count, n_step, gamma
        )
        drawn = jax.tree.map(np.asarray, drawn)
        newest = written * collect
        oldest = max(0, newest - blocks * collect)
        everything = ((env, row, s) for env, steps in enumerate(history.steps) for row, s in enumerate(steps))
        where = {token(s.episode, s.at): (env, row) for env, row, s in everything}
        seen = set()
        for i in range(count):
            now = int(drawn.step["token"][i])
            assert now in where, "a state that never was"
            env, row = where[now]
            seen.add((env, row))
            assert oldest <= row < newest - n_step, "reaches over the write head"
            window = history.steps[env][row : row + n_step]
            total, discount, taken = plain_return(
                np.array([s.reward for s in window]), np.array([s.ended for s in window]), GAMMA
            )
            last = window[taken - 1]
            assert drawn.episode[0][i] == window[0].episode == last.episode
            assert drawn.action[i] == window[0].action
            assert abs(drawn.reward[i] - total) < 1e-4
            assert abs(drawn.discount[i] - discount) < 1e-5
            if last.ended != TERMINATED:
                assert drawn.next_step["token"][i] == token(last.episode, last.at + 1)
            lengths_sampled.add(taken)
            ends_sampled.add(last.ended)
        goes_on = jax.tree.map(lambda leaf, alive=drawn.discount > 0: leaf[alive], drawn.next_step)
        for found in (drawn.step, goes_on):
            jax.tree.map(np.testing.assert_array_equal, found, parts(found["token"]))
        # With 48 draws a row (some 10 a transition), all but a few of those that may be drawn are.
        allowed = (min(newest, blocks * collect) - n_step) * ENVS
        assert len(seen) > 0.97 * allowed
    assert lengths_sampled == set(range(1, min(n_step, time_limit) + 1))
    if time_limit <= 2 * n_step:
        assert TRUNCATED in ends_sampled
    if time_limit > 1:
        assert TERMINATED in ends_sampled


sample_windows = jax.jit(replay.sample_windows, static_argnames=("count", "length"))


@pytest.mark.parametrize("birth", [0, 5])
@pytest.mark.parametrize(
    ("collect", "time_limit", "spanned", "blocks"), [(1, 3, 4, 8), (4, 3, 2, 4), (3, 100, 1, 2), (6, 2, 2, 3)]
)
def test_windows_are_what_happened(collect, time_limit, spanned, blocks, birth):
    history = History(ENVS, 3, time_limit)
    ring, length, count = None, spanned * collect, 40 * blocks
    truncations = 0
    for written in range(1, 3 * blocks + 1):
        rollout = history.rollout(collect)
        ring = replay.make_ring(rollout, blocks, 4, time_limit) if ring is None else ring
        ring = write(time_limit)(ring, rollout, jnp.int32((birth + written - 1) % blocks))
        if written < spanned + 1:
            continue
        drawn = sample_windows(
            ring, jax.random.key(written), jnp.int32(birth + written), jnp.int32(written), count, length
        )
        drawn = jax.tree.map(np.asarray, drawn)
        everything = ((env, row, s) for env, steps in enumerate(history.steps) for row, s in enumerate(steps))
        where = {token(s.episode, s.at): (env, row) for env, row, s in everything}
        starts = set()
        slots = drawn.truncated["token"].shape[0]
        for i in range(count):
            env, row = where[int(drawn.step["token"][0, i])]
            starts.add((env, row))
            steps = history.steps[env][row : row + length + 1]  # never shorter: all has been written
            assert len(steps) == length + 1
            assert row % collect == 0
            np.testing.assert_array_equal(drawn.step["token"][:, i], [token(s.episode, s.at) for s in steps])
            np.testing.assert_array_equal(drawn.episode[0][:, i], [s.episode for s in steps])
            for name in ("action", "reward", "ended"):
                np.testing.assert_array_equal(getattr(drawn, name)[:, i], [getattr(s, name) for s in steps[:-1]])
            assert drawn.carry["begin"][i, 0] == token(steps[0].episode, steps[0].at)
            for t, s in enumerate(steps[:-1]):
                if s.ended == TRUNCATED:
                    assert drawn.truncated["token"][t * slots // length, i] == token(s.episode, s.at + 1)
                    truncations += 1
        oldest = max(0, written - blocks)
        allowed = {(env, block * collect) for env in range(ENVS) for block in range(oldest, written - spanned)}
        assert starts <= allowed
        assert len(starts) > 0.9 * len(allowed)
    assert truncations > 20 or time_limit > 6


def test_a_rollout_is_a_window():
    history = History(ENVS, 3, 3)
    rollout, following = history.rollout(6), history.rollout(1)
    first_of = lambda tree: jax.tree.map(lambda leaf: leaf[0], tree)
    window = replay.whole(rollout, first_of(following.episode), first_of(following.step), 3)
    ring = replay.make_ring(rollout, 2, 4, 3)
    ring = write(3)(write(3)(ring, rollout, jnp.int32(0)), history.rollout(6), jnp.int32(1))
    drawn = sample_windows(ring, jax.random.key(0), jnp.int32(2), jnp.int32(2), 64, 6)
    starts = np.asarray(window.step["token"][0])
    for i, begin in enumerate(np.asarray(drawn.step["token"][0]).tolist()):
        env = int(np.flatnonzero(starts == begin)[0])
        mine = [drawn.step["token"][:-1, i], *(getattr(drawn, name)[:, i] for name in ("action", "reward", "ended"))]
        theirs = [window.step["token"][:-1, env], *(getattr(window, n)[:, env] for n in ("action", "reward", "ended"))]
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(drawn.truncated["token"][:, i], window.truncated["token"][:, env])
    np.testing.assert_array_equal(window.step["token"][-1], following.step["token"][0])


@pytest.mark.parametrize(("blocks_written", "n_step"), [(2, 3), (4, 3), (7, 1)])
def test_samples_are_uniform(blocks_written, n_step):
    collect, blocks = 3, 4
    history = History(ENVS, n_step, 100)
    first = history.rollout(collect)
    ring = replay.make_ring(first, blocks, 4, 100)
    tokens: list[np.ndarray] = []
    for number in range(blocks_written):
        rollout = first if number == 0 else history.rollout(collect)
        tokens += list(rollout.step["token"])
        ring = write(100)(ring, rollout, jnp.int32(number % blocks))
    allowed = np.array(tokens[-blocks * collect :][:-n_step]).reshape(-1)
    draws = sample(
        ring, jax.random.key(1), blocks_written, blocks_written, 400 * allowed.size, n_step, jnp.float32(GAMMA)
    )
    names, counts = np.unique(np.asarray(draws.step["token"]), return_counts=True)
    np.testing.assert_array_equal(names, np.sort(allowed))
    assert stats.chisquare(counts).pvalue > 1e-3


def test_sampling_depends_on_the_key():
    history = History(ENVS, 1, 100)
    rollout = history.rollout(6)
    ring = write(100)(replay.make_ring(rollout, 2, 4, 100), rollout, jnp.int32(0))
    draw = lambda seed: np.asarray(
        sample(ring, jax.random.key(seed), jnp.int32(1), jnp.int32(1), 32, 1, jnp.float32(GAMMA)).step["token"]
    )
    np.testing.assert_array_equal(draw(0), draw(0))
    assert np.any(draw(0) != draw(1))


def test_write_touches_its_block_alone():
    history = History(ENVS, 2, 100)
    rollouts = [history.rollout(4) for _ in range(4)]
    ring = replay.make_ring(rollouts[0], 3, 4, 100)
    for number, rollout in enumerate(rollouts):
        ring = write(100)(ring, rollout, jnp.int32(number % 3))
    for block, rollout in ((0, rollouts[3]), (1, rollouts[1]), (2, rollouts[2])):
        rows = slice(4 * block, 4 * block + 4)
        for kept, given_ in (
            (ring.reward, rollout.reward),
            (ring.ended, rollout.ended),
            (ring.action, rollout.action),
            (ring.step["bits"], rollout.step["bits"]),
        ):
            np.testing.assert_array_equal(kept[rows], given_)


@pytest.mark.parametrize(
    ("collect", "time_limit", "num_actions", "expected"),
    [
        # episode 2, step 4 + 16 + 8, action 1, reward 4, end 1: 36; and beside the ring 28 for each slot of a block.
        (4, 100, 4, 36 + 28 / 4),
        (4, 4, 4, 36 + 28 / 4),
        (4, 3, 4, 36 + 28 * 2 / 4),  # two slots: with groups of two steps no two truncations share one
        (4, 1, 4, 36 + 28),
        (6, 2, 4, 36 + 28 / 2),
        (1, 100, 4, 36 + 28),
        (4, 100, 300, 39 + 28 / 4),  # actions no longer fit into a byte
    ],
)
def test_bytes_per_transition(collect, time_limit, num_actions, expected):
    rollout = History(ENVS, 1, 100).rollout(collect)._replace(carry=())
    ring = replay.make_ring(rollout, 3, num_actions, time_limit)
    assert replay.bytes_per_transition(ring) == pytest.approx(expected)
    shapes = jax.eval_shape(lambda: ring)
    assert replay.bytes_per_transition(shapes) == pytest.approx(expected)
