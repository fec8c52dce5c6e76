"""From records to what is learned from, against plain indexing."""

from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest

from lepton_jax.agents.agent import Batch, Sequence
from lepton_jax.engine import experience, replay
from lepton_jax.envs.vector import Symmetry

T, B, S = 6, 5, 2
# Observed is a number that names episode and step.
ENV = probes.make_env(probes.constant())._replace(
    observation=jax.ShapeDtypeStruct((1,), jnp.int32),
    observe=lambda episode, step, worlds: (1000 * episode + step + worlds)[:, None],
)


def test_a_sequence_shows_what_its_window_records():
    rng = np.random.default_rng(0)
    ended = np.full((T, B), replay.RUNNING)
    ended[rng.random((T, B)) < 0.2] = replay.TERMINATED
    for slot in range(S):  # at most one truncation a group, none in the last column
        ended[rng.integers(0, T // S, B - 1) + slot * T // S, np.arange(B - 1)] = replay.TRUNCATED
    draw = lambda *shape: jnp.asarray(rng.integers(0, 100, shape), jnp.int32)
    window = replay.Window(
        episode=draw(T + 1, B), step=draw(T + 1, B), action=draw(T, B), reward=draw(T, B).astype(jnp.float32),
        ended=jnp.asarray(ended, jnp.uint8), truncated=draw(S, B), carry={"memory": draw(B, 3)},
    )  # fmt: skip
    s = jax.tree.map(np.asarray, experience.sequence(ENV, 7, window, jnp.float32(0.5)))
    w = jax.tree.map(np.asarray, window)
    np.testing.assert_array_equal(s.observation[..., 0], 1000 * w.episode + w.step + 7)
    np.testing.assert_array_equal(s.discount, np.where(ended == replay.TERMINATED, 0.0, 0.5))
    np.testing.assert_array_equal(s.ended, ended != replay.RUNNING)
    np.testing.assert_array_equal(s.truncated, ended == replay.TRUNCATED)
    for name in ("action", "reward"):
        np.testing.assert_array_equal(getattr(s, name), getattr(w, name))
    np.testing.assert_array_equal(s.carry["memory"], w.carry["memory"])
    for t, b in zip(*np.nonzero(ended == replay.TRUNCATED), strict=True):
        slot = t // (T // S)
        assert s.reached[slot, b, 0] == 1000 * w.episode[t, b] + w.truncated[slot, b] + 7


# Pictures of one row and two columns; the second symmetry swaps the columns and the actions 0 and 1.
SYMMETRIES = (
    Symmetry(lambda seen: seen, np.array([0, 1, 2], np.int32)),
    Symmetry(lambda seen: seen[..., ::-1], np.array([1, 0, 2], np.int32)),
)


def pictures(*shape: int) -> Any:
    """Two columns, the second one larger; the first names the sample."""
    number = jnp.arange(np.prod(shape)).reshape(shape)
    return jnp.stack([number, number + 1000], axis=-1)[..., None, :]


@pytest.mark.parametrize("columns", [2, 5, 8])
def test_each_column_is_seen_from_one_side(columns):
    action = jnp.arange(columns) % 3
    plain = Batch(pictures(columns), action, jnp.arange(columns) * 1.0, jnp.ones(columns), pictures(columns) + 5)
    turned = jax.jit(lambda key: experience.through(SYMMETRIES, plain, key))
    seen = Counter()
    for seed in range(60):
        found = jax.tree.map(np.asarray, turned(jax.random.key(seed)))
        flipped = found.observation[:, 0, 0] > found.observation[:, 0, 1]
        assert abs(2 * flipped.sum() - columns) <= 1  # as many each
        sample = found.observation[:, 0].min(axis=1)
        np.testing.assert_array_equal(np.sort(sample), np.arange(columns))  # each once
        np.testing.assert_array_equal(found.reward, sample)  # all that belongs to a sample stays with it
        np.testing.assert_array_equal(found.next_observation[:, 0], found.observation[:, 0] + 5)
        swapped = np.array([1, 0, 2])[sample % 3]
        np.testing.assert_array_equal(found.action, np.where(flipped, swapped, sample % 3))
        seen.update(zip(sample.tolist(), flipped.tolist(), strict=True))
    assert min(seen[c, side] for c in range(columns) for side in (False, True)) > 10  # no column keeps to one side


def test_a_sequence_is_seen_from_one_side_all_along():
    normal = jnp.zeros((T, 4))
    plain = Sequence(
        pictures(T + 1, 4), jnp.zeros((T, 4), jnp.int32), normal, normal, normal > 1, normal > 1, pictures(S, 4), ()
    )
    found = jax.tree.map(np.asarray, experience.through(SYMMETRIES, plain, jax.random.key(0)))
    flipped = found.observation[0, :, 0, 0] > found.observation[0, :, 0, 1]
    assert flipped.sum() == 2
    for seen in (found.observation, found.reached):
        np.testing.assert_array_equal(seen[:, :, 0, 0] > seen[:, :, 0, 1], np.broadcast_to(flipped, seen.shape[:2]))
    np.testing.assert_array_equal(found.action, np.broadcast_to(flipped, (T, 4)))
