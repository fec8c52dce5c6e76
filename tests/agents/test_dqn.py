"""One gradient step of the DQN against the same step written out."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lepton_jax.agents.agent import Batch
from lepton_jax.agents.dqn import make_dqn
from lepton_jax.agents.networks import make_q
from lepton_jax.config import AgentConfig, Hypers, NetConfig

FEATURES, ACTIONS, BATCH, WIDTH = 6, 3, 16, 8
NET = NetConfig(kind="mlp", width=WIDTH, depth=1, dueling=True)
SPEC = jax.ShapeDtypeStruct((FEATURES,), jnp.float32)
HYPERS = Hypers(*[0.0] * len(Hypers._fields))._replace(
    huber_delta=0.5, tau=0.1, lr=0.01, lr_horizon=10.0, adam_eps=1e-3, weight_decay=0.1, max_grad_norm=0.2
)
STRONG = Hypers(*(jnp.float32(value) for value in HYPERS))
PLAIN = AgentConfig(lr_schedule="linear", target="polyak", optimizer="adam", loss="huber", double=True)


def make_batch(seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    normal = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    discount = jnp.asarray(rng.choice([0.0, 0.9, 0.81], BATCH), jnp.float32)
    action = jnp.asarray(rng.integers(0, ACTIONS, BATCH), jnp.int32)
    return Batch(normal(BATCH, FEATURES), action, 2.0 * normal(BATCH), discount, normal(BATCH, FEATURES))


def start(agent: AgentConfig, seed: int = 0, net: NetConfig = NET) -> tuple[Any, Any, Any]:
    """The agent, its state, and its compiled learn; online and target networks differ."""
    dqn = make_dqn(make_q(net, ACTIONS), agent)
    begin = jax.jit(lambda key: dqn.init(key, SPEC, ACTIONS, STRONG))
    state = begin(jax.random.key(seed))._replace(target=begin(jax.random.key(seed + 100)).params)
    return dqn, state, jax.jit(dqn.learn)


def flat(tree: Any) -> dict[str, np.ndarray]:
    named = jax.tree.leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf, np.float64) for path, leaf in named
    }


def plain_q(params: dict[str, Any], observation: Any) -> tuple[Any, Any]:
    """Action values (B, A) of the dueling MLP, and its hidden layer. Float64 NumPy."""
    by_end = lambda branch, end: next(v for k, v in params.items() if f"/{branch}/" in k and k.endswith(end))
    hidden = np.maximum(observation @ by_end("torso", "kernel") + by_end("torso", "bias"), 0.0)
    out = hidden @ by_end("head", "kernel") + by_end("head", "bias")
    return out[:, :1] + out[:, 1:] - out[:, 1:].mean(1, keepdims=True), hidden


def plain_gradient(agent: AgentConfig, params: dict, target: dict, batch: Batch) -> tuple[float, dict[str, np.ndarray]]:
    """Loss, and its gradient by backpropagation on paper."""
    wide = lambda leaf: np.asarray(leaf, np.float64) if leaf.dtype == jnp.float32 else np.asarray(leaf)
    leaves: list[Any] = [wide(leaf) for leaf in batch]
    b: Any = Batch(*leaves)
    rows = np.arange(BATCH)
    q, hidden = plain_q(params, b.observation)
    next_target = plain_q(target, b.next_observation)[0]
    chooser = plain_q(params, b.next_observation)[0] if agent.double else next_target
    goal = b.reward + b.discount * next_target[rows, chooser.argmax(1)]
    error = goal - q[rows, b.action]
    if agent.loss == "huber":
        small = np.abs(error) <= HYPERS.huber_delta
        each = np.where(small, error**2 / 2, HYPERS.huber_delta * (np.abs(error) - HYPERS.huber_delta / 2))
        slope = np.clip(error, -HYPERS.huber_delta, HYPERS.huber_delta)
    else:
        each, slope = error**2 / 2, error
    dq = np.zeros((BATCH, ACTIONS))
    dq[rows, b.action] = -slope / BATCH
    dout = np.concatenate([dq.sum(1, keepdims=True), dq - dq.mean(1, keepdims=True)], axis=1)
    name = lambda branch, end: next(k for k in params if f"/{branch}/" in k and k.endswith(end))
    dhidden = (dout @ params[name("head", "kernel")].T) * (hidden > 0)
    gradient = {
        name("head", "kernel"): hidden.T @ dout,
        name("head", "bias"): dout.sum(0),
        name("torso", "kernel"): b.observation.T @ dhidden,
        name("torso", "bias"): dhidden.sum(0),
    }
    return float(each.mean()), gradient


def norm(tree: dict[str, np.ndarray]) -> float:
    return float(np.sqrt(sum((leaf**2).sum() for leaf in tree.values())))


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("loss", ["huber", "squared"])
def test_three_steps_written_out(double, loss):
    agent = dataclasses.replace(PLAIN, double=double, loss=loss)
    _, state, learn = start(agent)
    params, target = flat(state.params), flat(state.target)
    first = {name: np.zeros_like(leaf) for name, leaf in params.items()}
    second = {name: np.zeros_like(leaf) for name, leaf in params.items()}
    for number in range(3):
        batch = make_batch(number)
        state, priority, metrics = learn(state, batch, jax.random.key(0), STRONG)
        value, gradient = plain_gradient(agent, params, target, batch)
        length = norm(gradient)
        assert length > HYPERS.max_grad_norm, "nothing to clip"
        lr = HYPERS.lr * (1 - number / HYPERS.lr_horizon)
        for name, slope in gradient.items():
            slope = slope * min(1.0, HYPERS.max_grad_norm / length)
            first[name] = 0.9 * first[name] + 0.1 * slope
            second[name] = 0.999 * second[name] + 0.001 * slope**2
            mean, square = first[name] / (1 - 0.9 ** (number + 1)), second[name] / (1 - 0.999 ** (number + 1))
            adam = mean / (np.sqrt(square) + HYPERS.adam_eps)
            params[name] = params[name] - lr * (adam + HYPERS.weight_decay * params[name])
            target[name] = target[name] + HYPERS.tau * (params[name] - target[name])
        assert priority is None
        assert metrics["loss"] == pytest.approx(value, rel=1e-4)
        assert metrics["grad_norm"] == pytest.approx(length, rel=1e-4)
        assert state.steps == number + 1
        for found, expected in ((state.params, params), (state.target, target)):
            for name, leaf in flat(found).items():
                np.testing.assert_allclose(leaf, expected[name], rtol=1e-4, atol=2e-6, err_msg=name)


def test_q_mean_is_the_mean_over_states_and_actions():
    _, state, learn = start(PLAIN)
    batch = make_batch(0)
    metrics = learn(state, batch, jax.random.key(0), STRONG)[2]
    q, _ = plain_q(flat(state.params), np.asarray(batch.observation, np.float64))
    assert metrics["q_mean"] == pytest.approx(q.mean(), rel=1e-3)


@pytest.mark.parametrize("double", [True, False])
def test_the_target_network_is_read(double):
    _, state, learn = start(dataclasses.replace(PLAIN, double=double))
    loss = lambda state: float(learn(state, make_batch(0), jax.random.key(0), STRONG)[2]["loss"])
    moved = state._replace(target=jax.tree.map(lambda leaf: leaf + 0.3, state.target))
    assert abs(loss(moved) - loss(state)) > 1e-3


def test_where_discount_is_0_nothing_follows():
    _, state, learn = start(PLAIN)
    batch = make_batch(0)._replace(discount=jnp.zeros(BATCH))
    elsewhere = batch._replace(next_observation=batch.next_observation * 100.0)
    first, second = (learn(state, b, jax.random.key(0), STRONG)[0].params for b in (batch, elsewhere))
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_clipping_keeps_the_direction():
    """Elementwise clipping would bend the gradient; a smaller global norm only scales it."""
    _, state, learn = start(PLAIN)

    def moments(limit: float) -> np.ndarray:
        hypers = STRONG._replace(max_grad_norm=jnp.float32(limit))
        learnt = learn(state, make_batch(0), jax.random.key(0), hypers)[0]
        adam = next(
            s for s in jax.tree.leaves(learnt.opt_state, is_leaf=lambda s: hasattr(s, "mu")) if hasattr(s, "mu")
        )
        return np.concatenate([leaf.reshape(-1) for leaf in flat(adam.mu).values()]) / 0.1

    whole, clipped = moments(1e6), moments(0.05)
    assert np.linalg.norm(clipped) == pytest.approx(0.05, rel=1e-4)
    np.testing.assert_allclose(clipped / 0.05, whole / np.linalg.norm(whole), rtol=1e-3, atol=1e-5)
    unbound = moments(float(np.linalg.norm(whole)) * 1.01)
    np.testing.assert_allclose(unbound, whole, rtol=1e-5)


def test_polyak_moves_a_share_of_the_way():
    _, state, learn = start(PLAIN)
    learnt = learn(state, make_batch(0), jax.random.key(0), STRONG)[0]
    old, new, params = flat(state.target), flat(learnt.target), flat(learnt.params)
    for name in old:
        np.testing.assert_allclose(new[name], 0.9 * old[name] + 0.1 * params[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("tau", [0.0, 0.005, 0.3, 1.0])
def test_equal_leaves_stay_equal_under_polyak(tau):
    _, state, learn = start(PLAIN)
    state = state._replace(target=jax.tree.map(jnp.copy, state.params))
    hypers = STRONG._replace(tau=jnp.float32(tau), lr=jnp.float32(0.0), lr_end=jnp.float32(0.0))
    for number in range(3):
        state = learn(state, make_batch(number), jax.random.key(0), hypers)[0]
    jax.tree.map(np.testing.assert_array_equal, state.params, state.target)


def test_a_periodic_target_is_copied_every_so_many_gradient_steps():
    _, state, learn = start(dataclasses.replace(PLAIN, target="periodic", target_period=3))
    before = state.target
    for number in range(1, 8):
        state = learn(state, make_batch(number), jax.random.key(0), STRONG)[0]
        if number % 3 == 0:
            before = state.params
        jax.tree.map(np.testing.assert_array_equal, state.target, before)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    # Four gradient steps down from 0.01 to 0.002, then no further.
    [
        ("constant", [0.01] * 6),
        ("linear", [0.01, 0.008, 0.006, 0.004, 0.002, 0.002]),
        ("cosine", [0.01, 0.002 + 0.004 * (1 + 0.5**0.5), 0.006, 0.002 + 0.004 * (1 - 0.5**0.5), 0.002, 0.002]),
    ],
)
def test_learning_rate_counts_gradient_steps(schedule, expected):
    _, state, learn = start(dataclasses.replace(PLAIN, lr_schedule=schedule))
    hypers = STRONG._replace(lr_end=jnp.float32(0.002), lr_horizon=jnp.float32(4.0), adam_eps=jnp.float32(1e-12))
    hypers = hypers._replace(weight_decay=jnp.float32(0.0))
    # The same state each time but for its count: Adam's first step moves a parameter by the learning rate.
    for steps, rate in enumerate(expected):
        learnt = learn(state._replace(steps=jnp.int32(steps)), make_batch(0), jax.random.key(0), hypers)[0]
        old = flat(state.params)
        moved = max(np.abs(new - old[name]).max() for name, new in flat(learnt.params).items())
        assert moved == pytest.approx(rate, rel=1e-3)


def test_radam_waits_where_adam_normalises():
    """RAdam's first steps are plain momentum (Liu et al. 2020, algorithm 2): lr times the clipped gradient."""
    agent = dataclasses.replace(PLAIN, optimizer="radam")
    _, state, learn = start(agent)
    old, target = flat(state.params), flat(state.target)
    learnt = learn(state, make_batch(0), jax.random.key(0), STRONG)[0]
    _, gradient = plain_gradient(agent, old, target, make_batch(0))
    for name, new in flat(learnt.params).items():
        step = HYPERS.lr * (gradient[name] * HYPERS.max_grad_norm / norm(gradient) + HYPERS.weight_decay * old[name])
        np.testing.assert_allclose(new, old[name] - step, rtol=1e-4, atol=1e-6)


def test_seeds_matter():
    """Two seeds differ after init, after act and after learn."""
    dqn, one, learn = start(PLAIN, seed=0)
    _, two, _ = start(PLAIN, seed=1)
    differ = lambda a, b: any(np.any(x != y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    assert differ(one.params, two.params)
    observation, first = make_batch(0).observation, jnp.zeros(BATCH, bool)
    act = jax.jit(dqn.act)
    actions = [np.asarray(act(one, (), observation, first, jax.random.key(seed), 1.0)[0]) for seed in (0, 0, 1)]
    assert np.array_equal(actions[0], actions[1])
    assert np.any(actions[0] != actions[2])
    learnt = [learn(state, make_batch(0), jax.random.key(0), STRONG)[0].params for state in (one, one, two)]
    assert not differ(learnt[0], learnt[1])
    assert differ(learnt[0], learnt[2])


def test_acting_is_greedy_without_epsilon():
    dqn, state, _ = start(PLAIN)
    batch = make_batch(3)
    action, carry = dqn.act(state, dqn.carry(BATCH), batch.observation, jnp.zeros(BATCH, bool), jax.random.key(0), 0.0)
    q, _ = plain_q(flat(state.params), np.asarray(batch.observation, np.float64))
    np.testing.assert_array_equal(action, q.argmax(1))
    assert carry == ()


def test_the_policy_is_what_acts():
    dqn, one, _ = start(PLAIN, seed=0)
    _, two, _ = start(PLAIN, seed=1)
    observation, first = make_batch(0).observation, jnp.zeros(BATCH, bool)
    given = dqn.with_policy(two, dqn.policy(one))
    np.testing.assert_array_equal(
        dqn.q_values(given, (), observation, first)[0], dqn.q_values(one, (), observation, first)[0]
    )
