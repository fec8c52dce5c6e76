"""Learning along sequences, by PQN and by the recurrent DQN, against plain loops."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lepton_jax.agents import sequences
from lepton_jax.agents.agent import Sequence
from lepton_jax.agents.dqn import DQNState, make_dqn
from lepton_jax.agents.networks import QFunction
from lepton_jax.agents.pqn import make_pqn
from lepton_jax.config import AgentConfig, Hypers

STEPS, BATCH, GROUP, GAMMA, LAM = 8, 24, 4, 0.9, 0.6
HYPERS = Hypers(*[jnp.float32(0)] * len(Hypers._fields))._replace(
    gamma=jnp.float32(GAMMA), lam=jnp.float32(LAM), huber_delta=jnp.float32(0.5), max_grad_norm=jnp.float32(1e9),
    adam_eps=jnp.float32(1e-5), munchausen_alpha=jnp.float32(0.7), munchausen_temperature=jnp.float32(0.3),
    munchausen_clip=jnp.float32(-0.5),
)  # fmt: skip
AGENT = AgentConfig(loss="squared", lr_schedule="constant", double=True, epochs=1, minibatches=1)


def make_sum(forgets: bool = False) -> QFunction:
    """Q = w (m, m^2 / 4, 1) where m is the sum of what was observed in the episode, or just the last observation."""

    def unroll(params: Any, carry: Any, observation: jax.Array, first: jax.Array) -> tuple[jax.Array, Any]:
        seen = observation[..., 0]
        if forgets:
            memory = seen
        else:
            step = lambda m, now: [jnp.where(now[0], 0.0, m) + now[1]] * 2
            memory = jax.lax.scan(lambda m, now: tuple(step(m, now)), carry[..., 0], (first, seen))[1]
        q = params["w"] * jnp.stack([memory, memory**2 / 4, jnp.ones_like(memory)], axis=-1)
        return q, () if forgets else memory[..., None]

    return QFunction(
        init=lambda key, observation: {"w": jnp.float32(0.8)},
        carry=lambda batch: () if forgets else jnp.zeros((batch, 1)),
        unroll=unroll,
    )


def plain_features(memory: float) -> np.ndarray:
    return np.array([memory, memory**2 / 4, 1.0])


def make_sequence(seed: int, remembers: bool = True) -> Sequence:
    """Random steps; of each group of ``GROUP`` steps at most one is truncated."""
    rng = np.random.default_rng(seed)
    ended = np.where(rng.random((STEPS, BATCH)) < 0.2, 1, 0)  # terminated
    for group in range(STEPS // GROUP):
        row = rng.integers(0, GROUP, BATCH) + group * GROUP
        ended[row, np.arange(BATCH)] = np.where(rng.random(BATCH) < 0.6, 2, ended[row, np.arange(BATCH)])
    normal = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    return Sequence(
        observation=normal(STEPS + 1, BATCH, 1),
        action=jnp.asarray(rng.integers(0, 3, (STEPS, BATCH)), jnp.int32),
        reward=normal(STEPS, BATCH),
        discount=jnp.asarray(np.where(ended == 1, 0.0, GAMMA), jnp.float32),
        ended=jnp.asarray(ended > 0),
        truncated=jnp.asarray(ended == 2),
        reached=normal(STEPS // GROUP, BATCH, 1),
        carry=normal(BATCH, 1) if remembers else (),
    )


def plain_memories(s: Sequence, b: int, forgets: bool = False) -> tuple[list[float], list[float]]:
    """For column b: the memory when each action was chosen, and in the state that the action reached."""
    memory, now, then = 0.0 if forgets else float(s.carry[b, 0]), [], []
    for t in range(STEPS):
        memory = (0.0 if forgets else memory) + float(s.observation[t, b, 0])
        now.append(memory)
        if s.truncated[t, b]:
            then.append((0.0 if forgets else memory) + float(s.reached[t // GROUP, b, 0]))
        else:
            kept = 0.0 if forgets or s.ended[t, b] else memory
            then.append(kept + float(s.observation[t + 1, b, 0]))
        memory = 0.0 if s.ended[t, b] else memory
    return now, then


def plain_goals(s: Sequence, b: int, values: list[float], rewards: list[float], first: int = 0) -> list[float]:
    """The recursive form of Q(lambda), from the last step back to step ``first``."""
    goals: list[float] = [0.0] * STEPS
    for t in range(STEPS - 1, first - 1, -1):
        stop = s.ended[t, b] or t == STEPS - 1
        later = values[t] if stop else (1 - LAM) * values[t] + LAM * goals[t + 1]
        goals[t] = rewards[t] + float(s.discount[t, b]) * later
    return goals


@pytest.mark.parametrize("forgets", [False, True])
def test_values_along_a_sequence(forgets):
    s = make_sequence(0, remembers=not forgets)
    assert s.truncated.any()
    assert (s.ended & ~s.truncated).any()
    found = jax.jit(lambda s: sequences.unroll(make_sum(forgets), {"w": jnp.float32(2.0)}, s))(s)
    for b in range(BATCH):
        for values, memories in zip(found, plain_memories(s, b, forgets), strict=True):
            expected = [2.0 * plain_features(memory) for memory in memories]
            np.testing.assert_allclose(values[:, b], expected, rtol=1e-4, atol=1e-5)


def test_after_burning_in_the_rest_is_the_same():
    q, params, s = make_sum(), {"w": jnp.float32(1.0)}, make_sequence(1)
    whole = sequences.unroll(q, params, s)
    rest = sequences.unroll(q, params, sequences.after(q, params, s, GROUP))
    for a, b in zip(whole, rest, strict=True):
        np.testing.assert_allclose(a[GROUP:], b, rtol=1e-5, atol=1e-6)
    assert sequences.after(q, params, s, 0) is s


@pytest.mark.parametrize("forgets", [False, True])
@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_pqn_is_the_loop(forgets, loss):
    q, s, w = make_sum(forgets), make_sequence(2, remembers=not forgets), 0.8
    pqn = make_pqn(q, dataclasses.replace(AGENT, loss=loss))
    state = pqn.init(jax.random.key(0), None, 3, HYPERS)
    learnt, priority, metrics = jax.jit(pqn.learn)(state, s, jax.random.key(1), HYPERS)
    losses, slopes, means = [], [], []
    for b in range(BATCH):
        now, then = plain_memories(s, b, forgets)
        goals = plain_goals(s, b, [max(w * plain_features(m)) for m in then], s.reward[:, b].tolist())
        for t in range(STEPS):
            feature = plain_features(now[t])[int(s.action[t, b])]
            error = goals[t] - w * feature
            inner = min(abs(error), 0.5) if loss == "huber" else abs(error)
            losses.append(inner * (abs(error) - 0.5 * inner))
            slopes.append(-np.sign(error) * inner * feature)
            means.append(np.mean(w * plain_features(now[t])))
    assert metrics["loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert metrics["grad_norm"] == pytest.approx(abs(np.mean(slopes)), rel=1e-3)
    assert metrics["q_mean"] == pytest.approx(np.mean(means), rel=1e-3, abs=1e-5)
    assert priority is None
    assert learnt.steps == 1


@pytest.mark.parametrize("forgets", [False, True])
def test_a_pass_of_pqn_takes_each_step_once(forgets):
    """With a learning rate of 0 the mean loss of the parts is the loss of the whole."""
    s, whole = make_sequence(3, remembers=not forgets), None
    for minibatches, epochs in ((1, 1), (4, 1), (8, 3)):
        pqn = make_pqn(make_sum(forgets), dataclasses.replace(AGENT, minibatches=minibatches, epochs=epochs))
        state = pqn.init(jax.random.key(0), None, 3, HYPERS)
        learnt, _, metrics = jax.jit(pqn.learn)(state, s, jax.random.key(0), HYPERS)
        assert learnt.steps == minibatches * epochs
        whole = metrics["loss"] if whole is None else whole
        assert metrics["loss"] == pytest.approx(float(whole), rel=1e-5)


@pytest.mark.parametrize("forgets", [False, True])
def test_the_parts_of_pqn_are_shuffled(forgets):
    s, hypers = make_sequence(3, remembers=not forgets), HYPERS._replace(lr=jnp.float32(0.1))
    pqn = make_pqn(make_sum(forgets), dataclasses.replace(AGENT, minibatches=4))
    state = pqn.init(jax.random.key(0), None, 3, hypers)
    learn = jax.jit(pqn.learn)
    found = [learn(state, s, jax.random.key(seed), hypers)[0].params["w"] for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_the_goals_of_pqn_stay_while_it_learns():
    """Two passes over one part are two gradient steps towards the same goals, not towards new ones."""
    s = make_sequence(4)
    hypers = HYPERS._replace(lr=jnp.float32(0.05))
    pqn = make_pqn(make_sum(), dataclasses.replace(AGENT, epochs=200))
    state = pqn.init(jax.random.key(0), None, 3, hypers)
    learnt, _, _ = jax.jit(pqn.learn)(state, s, jax.random.key(0), hypers)
    features, goals = [], []
    for b in range(BATCH):
        now, then = plain_memories(s, b)
        features += [plain_features(m)[int(a)] for m, a in zip(now, s.action[:, b], strict=True)]
        goals += plain_goals(s, b, [max(0.8 * plain_features(m)) for m in then], s.reward[:, b].tolist())
    expected = np.dot(features, goals) / np.dot(features, features)  # least squares
    assert abs(expected - 0.8) > 0.05
    assert learnt.params["w"] == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("munchausen", [False, True])
@pytest.mark.parametrize(("double", "burn_in"), [(True, 0), (False, GROUP)])
def test_recurrent_dqn_is_the_loop(double, munchausen, burn_in):
    s, online, target = make_sequence(5), 0.8, -0.6
    agent = dataclasses.replace(AGENT, double=double, munchausen=munchausen)
    dqn = make_dqn(make_sum(), agent, burn_in)
    assert dqn.learns_from == "sequences"
    state = dqn.init(jax.random.key(0), None, 3, HYPERS)
    state = DQNState(state.params, {"w": jnp.float32(target)}, state.opt_state, state.steps)
    _, _, metrics = jax.jit(dqn.learn)(state, s, jax.random.key(0), HYPERS)
    losses, slopes = [], []
    for b in range(BATCH):
        now, then = plain_memories(s, b)
        values, rewards = [], s.reward[:, b].tolist()
        for t, memory in enumerate(then):
            theirs, mine = target * plain_features(memory), online * plain_features(memory)
            value = theirs[np.argmax(mine)] if double else theirs.max()
            if munchausen:
                chance = np.exp(theirs / 0.3) / np.exp(theirs / 0.3).sum()
                value = np.sum(chance * (theirs - 0.3 * np.log(chance)))
                before = target * plain_features(now[t])
                log_chance = before / 0.3 - np.log(np.exp(before / 0.3).sum())
                rewards[t] += 0.7 * max(0.3 * log_chance[int(s.action[t, b])], -0.5)
            values.append(value)
        goals = plain_goals(s, b, values, rewards, burn_in)
        for t in range(burn_in, STEPS):
            feature = plain_features(now[t])[int(s.action[t, b])]
            error = goals[t] - online * feature
            losses.append(error**2 / 2)
            slopes.append(-error * feature)
    assert metrics["loss"] == pytest.approx(np.mean(losses), rel=1e-3)
    assert metrics["grad_norm"] == pytest.approx(abs(np.mean(slopes)), rel=1e-3)
