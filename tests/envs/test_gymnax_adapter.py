"""gymnax's worlds through the adapter, beside what gymnax itself shows of the same states."""

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lepton_jax.envs.gymnax import make_env
from lepton_jax.envs.vector import check_env

N, STEPS = 8, 300


def small(name: str):
    """The world with a compiled reset; ``jax.jit(env.step)`` is compiled once, however often it is asked for."""
    env = make_env(name)
    return env._replace(reset=jax.jit(env.reset, static_argnums=2))


@pytest.mark.parametrize(
    ("name", "shape", "actions", "limit"),
    [("Acrobot-v1", (6,), 3, 500), ("MountainCar-v0", (2,), 3, 200), ("CartPole-v1", (4,), 2, 500)],
)
def test_vectors_are_kept_as_they_are(name, shape, actions, limit):
    env = small(name)
    assert (env.observation, env.num_actions, env.time_limit) == (
        jax.ShapeDtypeStruct(shape, "float32"),
        actions,
        limit,
    )
    check_env(env, (), N)
    _, kept = env.record(env.reset(jax.random.key(0), (), N, ()))
    np.testing.assert_array_equal(env.observe((), kept, ()), kept)


@pytest.mark.parametrize(
    ("name", "planes", "actions", "limit", "size"),
    [
        ("Asterix-MinAtar", 4, 5, 1000, 50),
        ("Breakout-MinAtar", 4, 3, 1000, 50),
        ("Freeway-MinAtar", 7, 3, 2500, 88),
        ("Seaquest-MinAtar", 10, 6, 1000, 125),
        ("SpaceInvaders-MinAtar", 6, 4, 1000, 75),
    ],
)
def test_minatar_is_binary_and_kept_in_bits(name, planes, actions, limit, size):
    env = small(name)
    assert (env.observation, env.num_actions, env.time_limit) == (
        jax.ShapeDtypeStruct((planes, 10, 10), "uint8"), actions, limit
    )  # fmt: skip
    check_env(env, (), N)
    there, params = gymnax.make(name)
    draw = jax.jit(jax.vmap(lambda state: there.get_obs(state, params)))
    step, observe = jax.jit(env.step), jax.jit(env.observe)
    rng, key, ends, state = np.random.default_rng(0), jax.random.key(1), 0, env.reset(jax.random.key(0), (), N, ())
    shown = []
    for number in range(STEPS):
        action = jnp.asarray(rng.integers(0, actions, N), jnp.int32)
        state, outcome = step(jax.random.fold_in(key, number), state, action, (), ())
        ends += int(np.sum(outcome.terminated))
        episode, kept = env.record(state)
        assert (kept.shape, kept.dtype) == ((N, size), np.uint8)
        shown.append(np.asarray(draw(state[0])))
        np.testing.assert_array_equal(observe(episode, kept, ()), shown[-1].transpose(0, 3, 1, 2))
    assert np.unique(shown).tolist() == [0.0, 1.0]
    assert np.all(np.any(shown, axis=(0, 1, 2, 3)))  # there was something to see in every channel
    assert (ends > 0) == (name != "Freeway-MinAtar")

    # One step before the time limit the same step ends the episode, and still shows where it has led.
    begin = env.reset(jax.random.key(2), (), N, ())
    late = begin[0].replace(time=jnp.full_like(begin[0].time, limit - 1)), begin[1]
    action = jnp.zeros(N, jnp.int32)
    (early, _), first = step(key, begin, action, (), ())
    (after, _), last = step(key, late, action, (), ())
    np.testing.assert_array_equal(early.time, 1)
    np.testing.assert_array_equal(after.time, 0)
    assert not np.any(first.terminated | first.truncated | last.terminated)
    assert np.all(last.truncated)
    np.testing.assert_array_equal(last.reached, first.reached)


def test_images_have_their_channels_first():
    env = small("Pong-misc")
    assert env.observation == jax.ShapeDtypeStruct((3, 30, 40), "float32")
    there, params = gymnax.make("Pong-misc")
    state, kept = env.reset(jax.random.key(0), (), N, ())
    shown = np.asarray(jax.vmap(lambda state: there.get_obs(state, params))(state))
    np.testing.assert_array_equal(env.observe((), kept, ()), shown.transpose(0, 3, 1, 2))
