"""Losses against rlax, and against numbers worked by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax

from lepton_jax.agents import losses

BATCH, ACTIONS = 64, 5


def random_batch(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    q = lambda: rng.normal(size=(BATCH, ACTIONS)).astype(np.float32)
    return {
        "q": q(),
        "action": rng.integers(0, ACTIONS, BATCH).astype(np.int32),
        "reward": rng.normal(size=BATCH).astype(np.float32),
        "discount": rng.choice(np.array([0.0, 0.9, 0.97], np.float32), BATCH),
        "online": q(),
        "target": q(),
    }


def test_q_learning_is_rlax():
    b = random_batch()
    value = jax.vmap(losses.max_value)(b["target"])
    found = jax.vmap(losses.td_error)(b["q"], b["action"], b["reward"], b["discount"], value)
    expected = jax.vmap(rlax.q_learning)(b["q"], b["action"], b["reward"], b["discount"], b["target"])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_double_q_learning_is_rlax():
    b = random_batch(1)
    value = jax.vmap(losses.double_value)(b["online"], b["target"])
    found = jax.vmap(losses.td_error)(b["q"], b["action"], b["reward"], b["discount"], value)
    # rlax: (q_tm1, a_tm1, r_t, discount_t, q_t_value, q_t_selector)
    expected = jax.vmap(rlax.double_q_learning)(
        b["q"], b["action"], b["reward"], b["discount"], b["target"], b["online"]
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert np.any(np.abs(value - jax.vmap(losses.max_value)(b["target"])) > 0.1)  # the two do differ on this batch


@pytest.mark.parametrize("delta", [0.25, 1.0, 3.0])
def test_huber_is_rlax(delta):
    errors = jnp.linspace(-5.0, 5.0, 101)
    np.testing.assert_allclose(losses.huber(errors, delta), rlax.huber_loss(errors, delta), rtol=1e-6, atol=1e-7)
    slope = jax.vmap(jax.grad(losses.huber), (0, None))
    np.testing.assert_allclose(slope(errors, delta), np.clip(errors, -delta, delta), rtol=1e-6, atol=1e-6)


def test_squared_is_rlax():
    errors = jnp.linspace(-5.0, 5.0, 11)
    np.testing.assert_allclose(losses.squared(errors), rlax.l2_loss(errors), rtol=1e-6)


def test_by_hand():
    online, target = jnp.array([1.0, 3.0, 2.0]), jnp.array([5.0, 0.5, 4.0])
    assert losses.max_value(target) == 5.0
    assert losses.double_value(online, target) == 0.5
    q = jnp.array([1.0, 2.0, 3.0])
    assert losses.td_error(q, jnp.int32(2), jnp.float32(1.0), jnp.float32(0.5), jnp.float32(6.0)) == 1.0
    assert losses.td_error(q, jnp.int32(0), jnp.float32(1.0), jnp.float32(0.0), jnp.float32(6.0)) == 0.0
    assert losses.squared(jnp.float32(3.0)) == 4.5
    assert losses.huber(jnp.float32(-0.5), 1.0) == 0.125
    assert losses.huber(jnp.float32(-3.0), 1.0) == 2.5
    assert losses.huber(jnp.float32(3.0), 2.0) == 4.0


def test_the_target_is_held_fixed():
    def error(q: jax.Array, reward: jax.Array, next_value: jax.Array) -> jax.Array:
        return losses.td_error(q, jnp.int32(1), reward, jnp.float32(0.9), next_value)

    slopes = jax.grad(error, (0, 1, 2))(jnp.array([1.0, 2.0]), jnp.float32(1.0), jnp.float32(3.0))
    np.testing.assert_array_equal(slopes[0], [0.0, -1.0])
    assert slopes[1] == slopes[2] == 0.0


def plain_q_lambda(reward: Any, discount: Any, ended: Any, next_value: Any, lam: float) -> np.ndarray:
    """Q(lambda) by its definition: the mixture of all n-step returns, weighted (1 - lam) lam^(n - 1).

    A return that reaches the end of its episode, or of the data, gets all the weight that is left.
    """
    steps, found = len(reward), []
    for t in range(steps):
        total, gain, weight, rewards = 0.0, 1.0, 1.0, 0.0
        for k in range(t, steps):
            rewards += gain * reward[k]
            gain *= discount[k]
            n_step = rewards + gain * next_value[k]
            if ended[k] or k == steps - 1:
                total += weight * n_step
                break
            total += weight * (1.0 - lam) * n_step
            weight *= lam
        found.append(total)
    return np.array(found)


def random_rollout(seed: int, steps: int) -> tuple[Any, Any, Any, Any]:
    """Rewards, discounts, ends and values of the states reached, with terminations and truncations anywhere."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, steps, p=[0.7, 0.15, 0.15])  # running, terminated, truncated
    normal = lambda: rng.normal(size=steps).astype(np.float32)
    return normal(), np.where(kind == 1, 0.0, 0.9).astype(np.float32), kind > 0, normal()


@pytest.mark.parametrize("lam", [0.0, 0.3, 0.65, 1.0])
def test_q_lambda_is_its_definition(lam):
    rollouts = [random_rollout(seed, 12) for seed in range(200)]
    reward, discount, ended, value = (np.stack(leaf) for leaf in zip(*rollouts, strict=True))
    assert ended[:, -1].any()  # some end with the last step, some do not
    assert not ended[:, -1].all()
    along: Any = jax.vmap(losses.q_lambda, (0, 0, 0, 0, None))
    found = along(reward, discount, ended, value, jnp.float32(lam))
    expected = [plain_q_lambda(r, d, e, v, lam) for r, d, e, v in rollouts]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_q_lambda_is_rlax():
    reward, discount, ended, value = random_rollout(7, 40)
    lam = np.where(ended, 0.0, 0.8).astype(np.float32)  # rlax takes the break of a chain as a lambda of 0
    expected = rlax.lambda_returns(reward, discount, value, lam)
    found = jax.jit(losses.q_lambda)(reward, discount, ended, value, jnp.float32(0.8))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_q_lambda_by_hand():
    reward, half = jnp.array([1.0, 2.0, 4.0]), jnp.full(3, 0.5)
    value, running = jnp.array([8.0, 16.0, 32.0]), jnp.zeros(3, bool)
    find = lambda discount, ended, lam: losses.q_lambda(reward, discount, ended, value, jnp.float32(lam)).tolist()
    assert find(half, running, 0.0) == [5.0, 10.0, 20.0]  # r + v / 2
    assert find(half, running, 1.0) == [1 + (2 + (4 + 16) / 2) / 2, 2 + 20 / 2, 20.0]
    assert find(half, running, 0.5) == [1 + (4 + 11 / 2) / 2, 2 + (8 + 20 / 2) / 2, 20.0]
    ends = jnp.array([False, True, False])
    assert find(half, ends, 1.0) == [1 + 10 / 2, 2 + 8.0, 20.0]  # truncated: its own value, and the chain breaks
    assert find(half.at[1].set(0.0), ends, 1.0) == [1 + 2 / 2, 2.0, 20.0]  # terminated


def test_munchausen_by_hand():
    q, tau = jnp.log(jnp.array([1.0, 2.0, 5.0])), jnp.float32(1.0)
    assert losses.soft_value(q, tau) == pytest.approx(np.log(8.0))
    bonus = lambda action, clip: float(losses.munchausen_bonus(q, jnp.int32(action), jnp.float32(0.5), tau, clip))
    assert bonus(1, jnp.float32(-9.0)) == pytest.approx(0.5 * np.log(2 / 8))
    assert bonus(0, jnp.float32(-1.0)) == -0.5


def test_munchausen_finds_its_fixed_point():
    """Munchausen's value iteration with weight alpha and temperature tau is mirror descent: it converges to the policy
    that is optimal under an entropy bonus of (1 - alpha) tau (Vieillard et al. 2020)."""
    rng = np.random.default_rng(0)
    states, actions, gamma, alpha, tau = 4, 3, 0.8, 0.7, 0.5
    reward = rng.normal(size=(states, actions))
    chances = rng.dirichlet(np.ones(states), size=(states, actions))

    left = (1 - alpha) * tau
    soft = np.zeros((states, actions))
    for _ in range(300):  # soft value iteration, in NumPy
        soft = reward + gamma * chances @ (left * np.log(np.sum(np.exp(soft / left), axis=1)))
    expected = np.exp(soft / left) / np.sum(np.exp(soft / left), axis=1, keepdims=True)

    knobs = jnp.float32(alpha), jnp.float32(tau), jnp.float32(-1e9)
    bonus = jax.vmap(jax.vmap(losses.munchausen_bonus, (None, 0, *[None] * 3)), (0, None, *[None] * 3))

    @jax.jit
    def improve(q):
        value = jax.vmap(losses.soft_value, (0, None))(q, jnp.float32(tau))
        return reward + bonus(q, jnp.arange(actions), *knobs) + gamma * chances @ value

    q = jax.lax.fori_loop(0, 300, lambda _, q: improve(q), jnp.zeros((states, actions)))
    np.testing.assert_allclose(jax.nn.softmax(q / tau), expected, atol=1e-4)
    np.testing.assert_allclose(improve(q), q, atol=1e-4)
