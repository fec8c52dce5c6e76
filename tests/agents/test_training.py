"""Training leaf by leaf against the same written out: what is frozen, thawed, pulled, imitated, adapted."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lepton_jax.agents.agent import Agent, Batch, Sequence
from lepton_jax.agents.dqn import make_dqn
from lepton_jax.agents.networks import make_q
from lepton_jax.agents.pqn import make_pqn
from lepton_jax.agents.training import AS_USUAL, PLAIN, Given, Kickstart, Moments, Training, Treatment, guidance
from lepton_jax.config import AgentConfig, Hypers, NetConfig

FEATURES, ACTIONS, BATCH, STEPS = 6, 3, 16, 4
NET = NetConfig(kind="mlp", width=8, depth=1, dueling=True)
SPEC = jax.ShapeDtypeStruct((FEATURES,), jnp.float32)
# AdamW, with clipping that bites.
HYPERS = Hypers(*[0.0] * len(Hypers._fields))._replace(
    lam=0.5, tau=0.1, lr=0.01, lr_end=0.005, lr_horizon=10.0, adam_eps=1e-3, weight_decay=0.1, max_grad_norm=0.2
)
STRONG = Hypers(*(jnp.float32(value) for value in HYPERS))
DQN = AgentConfig(lr_schedule="linear", target="polyak", loss="squared", double=False)
PQN = dataclasses.replace(DQN, kind="pqn", epochs=2, minibatches=2)
KEY = jax.random.key(0)
TORSO_KERNEL, TORSO_BIAS = "params/torso/Dense_0/kernel", "params/torso/Dense_0/bias"
HEAD_KERNEL, HEAD_BIAS = "params/head/Dense_0/kernel", "params/head/Dense_0/bias"
TORSO, HEAD = (TORSO_KERNEL, TORSO_BIAS), (HEAD_KERNEL, HEAD_BIAS)


def leaves(names: tuple[str, ...], **fields: Any) -> Training:
    return Training(tuple((name, Treatment(**fields)) for name in names))


@functools.cache
def made(training: Training, kind: str) -> tuple[Agent, Any, Any]:
    """The agent, and its compiled init and learn."""
    q = make_q(NET, ACTIONS)
    agent = make_dqn(q, DQN, training=training) if kind == "dqn" else make_pqn(q, PQN, training=training)
    begin = jax.jit(lambda given: agent.init(KEY, SPEC, ACTIONS, STRONG, given))
    return agent, begin, jax.jit(lambda state, batch: agent.learn(state, batch, KEY, STRONG))


def start(training: Training, kind: str = "dqn", given: Given | None = None) -> tuple[Agent, Any, Any]:
    """The agent, its state, and its compiled learn."""
    agent, begin, learn = made(training, kind)
    return agent, begin(given), learn


@jax.jit
def make_batch(key: jax.Array) -> Batch:
    keys = jax.random.split(key, 4)
    normal = lambda key, *shape: jax.random.normal(key, shape)
    action = jax.random.randint(keys[0], (BATCH,), 0, ACTIONS)
    observations = normal(keys[1], BATCH, FEATURES), normal(keys[2], BATCH, FEATURES)
    return Batch(observations[0], action, 2 * normal(keys[3], BATCH), jnp.full(BATCH, 0.9), observations[1])


@jax.jit
def make_rollout(key: jax.Array) -> Sequence:
    keys = jax.random.split(key, 3)
    observation = jax.random.normal(keys[0], (STEPS + 1, BATCH, FEATURES))
    action = jax.random.randint(keys[1], (STEPS, BATCH), 0, ACTIONS)
    reward = jax.random.normal(keys[2], (STEPS, BATCH))
    none = jnp.zeros((STEPS, BATCH), bool)
    return Sequence(observation, action, reward, jnp.full((STEPS, BATCH), 0.9), none, none, observation[-1:], ())


def flat(tree: Any) -> dict[str, np.ndarray]:
    named = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in named}


def q_of(agent: Agent, state: Any, observation: jax.Array) -> jax.Array:
    return jax.jit(agent.q_values)(state, (), observation, jnp.zeros(BATCH, bool))[0]


def same_bits(one: Any, other: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


@jax.jit
def td_loss(params: dict[str, Any], target: dict[str, Any], batch: Batch) -> jax.Array:
    """Half the mean squared error of Q-learning, of the dueling net; written out."""

    def q(params: dict[str, Any], observation: jax.Array) -> jax.Array:
        hidden = jnp.maximum(observation @ params[TORSO_KERNEL] + params[TORSO_BIAS], 0)
        out = hidden @ params[HEAD_KERNEL] + params[HEAD_BIAS]
        return out[:, :1] + out[:, 1:] - out[:, 1:].mean(1, keepdims=True)

    goal = batch.reward + batch.discount * q(target, batch.next_observation).max(1)
    return jnp.mean((goal - q(params, batch.observation)[jnp.arange(BATCH), batch.action]) ** 2) / 2


gradient_of = jax.jit(jax.grad(td_loss))


def slopes(state: Any, batch: Batch) -> dict[str, np.ndarray]:
    gradient = gradient_of(flat(state.params), flat(state.target), batch)
    return {name: np.asarray(leaf) for name, leaf in gradient.items()}


def norm(tree: dict[str, np.ndarray]) -> float:
    return float(np.sqrt(sum((leaf.astype(np.float64) ** 2).sum() for leaf in tree.values())))


def fresh_adamw(params: np.ndarray, gradient: np.ndarray, length: float, lr: float) -> np.ndarray:
    """What the first step of AdamW makes of a leaf: its moments, corrected, are the gradient and its square."""
    clipped = gradient * min(1.0, HYPERS.max_grad_norm / length)
    adam = clipped / (np.abs(clipped) + HYPERS.adam_eps)
    return params - lr * (adam + HYPERS.weight_decay * params)


def given_with_minus_zero() -> Given:
    """A torso to begin with, in which there are zeros of either sign."""
    shapes, draw = jax.eval_shape(lambda: make_q(NET, ACTIONS).init(KEY, SPEC)), np.random.default_rng(0)

    def drawn(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        values = draw.standard_normal(leaf.shape).astype(leaf.dtype)
        values[0], values[1] = -0.0, 0.0
        return values

    values = jax.tree.map(drawn, shapes)
    taken = jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), shapes)
    return Given(values, taken)


def test_carried_moments_go_on_and_a_new_head_s_begin_anew():
    _, state, learn = start(AS_USUAL)
    for number in range(5):
        state = learn(state, make_batch(jax.random.fold_in(KEY, number)))[0]
    adam = state.opt_state[1]
    taken = jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), state.params)
    given = Given(state.params, taken, Moments(adam.mu, adam.nu, adam.count))
    _, grafted, go_on = start(leaves(TORSO, moments=True), given=given)
    batch = make_batch(jax.random.fold_in(KEY, 5))
    after = flat(go_on(grafted, batch)[0].params)
    # As the source goes on, its target and its learning rate begun anew as those of a graft are.
    same = flat(learn(state._replace(target=state.params, steps=jnp.int32(0)), batch)[0].params)
    for name in TORSO:
        np.testing.assert_allclose(after[name], same[name], rtol=1e-6, atol=1e-7, err_msg=name)
    gradient = slopes(grafted, batch)
    for name in HEAD:
        expected = fresh_adamw(flat(state.params)[name], gradient[name], norm(gradient), HYPERS.lr)
        np.testing.assert_allclose(after[name], expected, rtol=2e-5, atol=1e-6, err_msg=name)
        assert np.abs(after[name] - same[name]).max() > 1e-3


@pytest.mark.parametrize("kind", ["dqn", "pqn"])
def test_what_is_frozen_keeps_its_bits(kind):
    agent, state, _ = start(leaves((*TORSO, HEAD_BIAS), frozen=True), kind, given_with_minus_zero())
    make = make_batch if kind == "dqn" else make_rollout
    run = jax.jit(lambda state, keys: jax.lax.scan(
        lambda state, key: (agent.learn(state, make(key), key, STRONG)[0], None), state, keys)[0])  # fmt: skip
    after = run(state, jax.random.split(KEY, 1000 if kind == "dqn" else 250))
    assert after.steps == 1000
    before, now = flat(state.params), flat(after.params)
    for name in (*TORSO, HEAD_BIAS):
        assert now[name].tobytes() == before[name].tobytes(), name
    assert np.abs(now[HEAD_KERNEL] - before[HEAD_KERNEL]).mean() > 0.01
    if kind == "dqn":
        for name, leaf in flat(after.target).items():
            assert (leaf.tobytes() == before[name].tobytes()) == (name != HEAD_KERNEL), name
    moments = [name for name in flat(after.opt_state) if name.endswith(("kernel", "bias"))]
    assert len(moments) == 2, "two moments, of the one leaf that is trained"


def test_what_is_frozen_counts_in_no_norm():
    _, state, learn = start(leaves(TORSO, frozen=True))
    batch = make_batch(jax.random.key(1))
    gradient = slopes(state, batch)
    trained = {name: leaf for name, leaf in gradient.items() if name in HEAD}
    assert norm(gradient) > 1.1 * norm(trained) > 1.1 * HYPERS.max_grad_norm
    after, _, metrics = learn(state, batch)
    assert metrics["grad_norm"] == pytest.approx(norm(trained), rel=1e-5)
    assert metrics["loss"] == pytest.approx(float(td_loss(flat(state.params), flat(state.target), batch)), rel=1e-5)
    for name in HEAD:  # and so clipping is by their norm
        expected = fresh_adamw(flat(state.params)[name], gradient[name], norm(trained), HYPERS.lr)
        np.testing.assert_allclose(flat(after.params)[name], expected, rtol=1e-5, atol=1e-7)


def test_a_factor_scales_the_update():
    batch = make_batch(jax.random.key(1))
    moved = {}
    for name, training in {"plain": AS_USUAL, "half": leaves(TORSO, factor=0.25)}.items():
        _, state, learn = start(training)
        before, after = flat(state.params), flat(learn(state, batch)[0].params)
        moved[name] = {leaf: after[leaf] - before[leaf] for leaf in before}
    for leaf in TORSO:
        np.testing.assert_allclose(moved["half"][leaf], 0.25 * moved["plain"][leaf], rtol=1e-3, atol=1e-7)
    for leaf in HEAD:
        assert np.abs(moved["plain"][leaf]).max() > 1e-4
        np.testing.assert_array_equal(moved["half"][leaf], moved["plain"][leaf])


def test_what_is_thawed_begins_as_afresh():
    thaw = 3
    _, state, learn = start(leaves(TORSO, thaw=thaw))
    first = flat(state.params)
    for number in range(thaw + 2):
        before, batch = state, make_batch(jax.random.key(number))
        state, _, metrics = learn(state, batch)
        now = flat(state.params)
        gradient = slopes(before, batch)
        moving = {name: leaf for name, leaf in gradient.items() if name in HEAD or number >= thaw}
        assert metrics["grad_norm"] == pytest.approx(norm(moving), rel=1e-4)
        assert (now[HEAD_KERNEL] != flat(before.params)[HEAD_KERNEL]).all()
        for name in TORSO:
            if number < thaw:
                assert now[name].tobytes() == first[name].tobytes()
            if number == thaw:
                lr = HYPERS.lr + (HYPERS.lr_end - HYPERS.lr) * thaw / HYPERS.lr_horizon
                expected = fresh_adamw(first[name], gradient[name], norm(gradient), lr)
                np.testing.assert_allclose(now[name], expected, rtol=1e-4, atol=1e-6)
                assert (now[name] != first[name]).any()


def test_the_pull_towards_the_source():
    weight, batch = 0.7, make_batch(jax.random.key(1))
    _, state, learn = start(leaves((TORSO_KERNEL,), l2=weight))
    assert same_bits(state.source, state.params)
    moved = state._replace(params=jax.tree.map(lambda leaf: leaf + 0.1, state.params))
    after, _, metrics = learn(moved, batch)
    here, there = flat(moved.params)[TORSO_KERNEL], flat(state.source)[TORSO_KERNEL]
    gradient = slopes(moved, batch)
    gradient[TORSO_KERNEL] = gradient[TORSO_KERNEL] + weight * (here - there)
    assert metrics["grad_norm"] == pytest.approx(norm(gradient), rel=1e-5)
    error = float(td_loss(flat(moved.params), flat(moved.target), batch))
    assert metrics["loss"] == pytest.approx(error + weight / 2 * here.size * 0.1**2, rel=1e-5)
    for name, leaf in flat(moved.params).items():
        expected = fresh_adamw(leaf, gradient[name], norm(gradient), HYPERS.lr)
        np.testing.assert_allclose(flat(after.params)[name], expected, rtol=1e-4, atol=1e-6)
    assert same_bits(after.source, state.source)


KICKSTART = Kickstart(weight=2.0, temperature=0.5, steps=8, known=(True, False, True), fresh=True)


def softmax(q: np.ndarray) -> np.ndarray:
    """Over the actions that the teacher knows, the first and the last; 0 for the other."""
    exponents = np.exp(q.astype(np.float64) / KICKSTART.temperature) * np.asarray(KICKSTART.known)
    return exponents / exponents.sum(-1, keepdims=True)


@jax.jit
def imitation(step: jax.Array, student: jax.Array, teacher: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What is added to the loss, and its gradient by the student's Q."""
    added = lambda values: jnp.asarray(guidance(Training(kickstart=KICKSTART), {}, {}, step, values, lambda: teacher))
    return jax.value_and_grad(added)(student)


@pytest.mark.parametrize(("step", "weight"), [(0, 2.0), (2, 1.5), (8, 0.0), (20, 0.0)])
def test_imitation_by_hand(step, weight):
    drawn = np.random.default_rng(0).standard_normal((2, 5, ACTIONS)).astype(np.float32)
    student, teacher = drawn
    found, slope = imitation(jnp.int32(step), student, teacher)
    known = [0, 2]
    taught, log = softmax(teacher)[:, known], np.log(softmax(student)[:, known])
    assert found == pytest.approx(weight * -(taught * log).sum(1).mean(), rel=1e-5)
    expected = weight * (softmax(student) - softmax(teacher)) / KICKSTART.temperature / 5
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-7)
    assert (np.asarray(slope)[:, 1] == 0).all()


def test_an_agent_imitates():
    given = given_with_minus_zero()
    agent, state, learn = start(Training(kickstart=KICKSTART), given=given)
    _, fresh, _ = start(AS_USUAL)
    assert same_bits(state.params, fresh.params), "the student begins at random"
    assert same_bits(state.source, given.values), "and the teacher is the graft"
    batch = make_batch(jax.random.key(1))
    q = lambda params: np.asarray(q_of(agent, state._replace(params=params), batch.observation))
    taught, log = softmax(q(state.source)), np.log(softmax(q(state.params))[:, [0, 2]])
    cross = -(taught[:, [0, 2]] * log).sum(1).mean()
    error = float(td_loss(flat(state.params), flat(state.target), batch))
    for steps, weight in ((0, 2.0), (6, 0.5), (8, 0.0)):
        after, _, metrics = learn(state._replace(steps=jnp.int32(steps)), batch)
        assert metrics["loss"] == pytest.approx(error + weight * cross, rel=1e-5)
        assert np.isfinite(np.concatenate([leaf.ravel() for leaf in flat(after.params).values()])).all()


@pytest.mark.parametrize("kind", ["dqn", "pqn"])
def test_low_rank_adapters(kind):
    _, base, _ = start(AS_USUAL, kind)
    ranked = Training(tuple((name, Treatment(rank=2)) for name in (TORSO_KERNEL, HEAD_KERNEL)))
    agent, state, learn = start(ranked, kind)
    batch = (make_batch if kind == "dqn" else make_rollout)(jax.random.key(1))
    observation = make_batch(KEY).observation
    q = lambda agent, state: q_of(agent, state, observation)
    unadapted = start(AS_USUAL, kind)[0]
    assert same_bits(q(agent, state), q(unadapted, base)), "at first nothing is changed"
    assert same_bits(state.params["params"], base.params["params"])
    after = learn(learn(state, batch)[0], batch)[0]
    now, before = flat(after.params), flat(state.params)
    policy = flat(agent.policy(after))
    assert policy.keys() == flat(base.params).keys()
    for name in (TORSO_KERNEL, HEAD_KERNEL):
        assert now[name].tobytes() == before[name].tobytes()
        factors = [now[name.replace("params", "low_rank", 1) + f"/{factor}"] for factor in "ab"]
        assert (factors[0].shape[1], factors[1].shape[0]) == (2, 2)
        assert np.abs(factors[1]).max() > 1e-3
        np.testing.assert_allclose(policy[name], now[name] + factors[0] @ factors[1], rtol=1e-5, atol=1e-6)
    assert (policy[TORSO_BIAS] != before[TORSO_BIAS]).any(), "what has no adapter is trained"
    np.testing.assert_allclose(q(agent, after), q(unadapted, base._replace(params=agent.policy(after))), rtol=1e-5)
    acting = agent.with_policy(after, agent.policy(after))
    assert same_bits(q(agent, acting), q(unadapted, base._replace(params=agent.policy(after))))
    assert jax.tree.structure(acting) == jax.tree.structure(after)


@pytest.mark.parametrize("kind", ["dqn", "pqn"])
def test_plain_leaves_change_nothing(kind):
    batch = (make_batch if kind == "dqn" else make_rollout)(jax.random.key(1))
    after = []
    for training in (AS_USUAL, Training(tuple((name, PLAIN) for name in (*TORSO, *HEAD)))):
        _, state, learn = start(training, kind)
        after.append(learn(learn(state, batch)[0], batch))
    assert jax.tree.structure(after[0]) == jax.tree.structure(after[1])
    assert same_bits(after[0], after[1])
    assert after[0][0].source == ()


def test_what_is_given_stands_where_it_was_taken():
    given = given_with_minus_zero()
    taken = jax.tree.map(lambda leaf: np.arange(leaf.size).reshape(leaf.shape) >= leaf[:1].size, given.values)
    _, state, _ = start(AS_USUAL, given=given._replace(taken=taken))
    _, drawn, _ = start(AS_USUAL)
    values, fresh = flat(given.values), flat(drawn.params)
    for network in (state.params, state.target):
        for name, leaf in flat(network).items():
            assert leaf[:1].tobytes() == fresh[name][:1].tobytes()
            assert leaf[1:].tobytes() == values[name][1:].tobytes()


def test_how_it_trains_can_be_kept_as_json():
    training = Training(((TORSO_KERNEL, Treatment(factor=0.5, thaw=3, l2=0.1)), (HEAD_BIAS, Treatment(frozen=True))))
    for one in (AS_USUAL, training, training._replace(kickstart=KICKSTART)):
        again = Training.from_json(one.to_json())
        assert again == one
        assert hash(again) == hash(one)
