"""The whole program, trained on worlds whose values are known."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest

from lepton_jax.agents.agent import Agent
from lepton_jax.config import AgentConfig, Config, EnvConfig, NetConfig, ReplayConfig
from lepton_jax.engine.evaluation import play
from lepton_jax.engine.program import make_hypers, make_program
from lepton_jax.engine.setup import make_agent
from lepton_jax.envs.vector import VectorEnv, check_env

BASE = AgentConfig(
    gamma=probes.GAMMA, loss="squared", target="polyak", tau=0.1, optimizer="adam", lr=0.05, lr_schedule="linear",
    lr_end=0.0, adam_eps=1e-5, max_grad_norm=10.0, eps_start=1.0, eps_end=1.0, eps_ladder=False,
)  # fmt: skip


def trained(config: Config, probe: probes.Probe) -> tuple[VectorEnv, Agent, Any, Any]:
    """World, agent, its state after one log point, and the hypers."""
    env = probes.make_env(probe)
    agent = make_agent(config, env)
    program = make_program(config, env, agent)
    hypers = make_hypers(config, program.shape)
    assert program.shape.points == 1
    state = program.init(jax.random.key(0), jax.random.key(1), hypers)
    state, _ = probes.to_log_point(program, state, hypers)
    return env, agent, state.agent_state, hypers


def learned_q(
    probe: probes.Probe, agent: AgentConfig, collect: int, net: NetConfig | None = None, iterations: int = 800
) -> np.ndarray:
    """Action values (places, actions) after a short training."""
    envs = 16
    config = Config(
        total_steps=envs * collect * iterations,
        log_points=1,
        env=EnvConfig(id="probe", num_envs=envs),
        net=net or NetConfig(kind="mlp", depth=0, dueling=False),
        agent=agent,
        replay=ReplayConfig(
            capacity=envs * 60, batch_size=256, collect=collect, updates=2, warmup=envs * 20, sequence=16, burn_in=0
        ),
    )
    env, learner, agent_state, _ = trained(config, probe)
    places = jnp.eye(*env.observation.shape)
    q, _ = learner.q_values(agent_state, learner.carry(len(places)), places, jnp.ones(len(places), bool))
    return np.asarray(q)


def assert_known(q: np.ndarray, each: list[probes.Probe]) -> None:
    """``q`` of probes side by side is what is known of each."""
    offset = 0
    for one in each:
        mine = np.broadcast_to(one.q, (len(one.q), 2))
        found = np.where(np.isnan(mine), np.nan, q[offset : offset + len(mine)])
        np.testing.assert_allclose(found, mine, atol=0.05, err_msg=one.name)
        offset += len(mine)


@pytest.mark.parametrize(
    ("n_step", "collect", "time_limit"),
    # One block of the ring holds at most one truncation of an environment, or several; chains cross blocks, or do not.
    [(1, 2, 5), (2, 6, 2), (3, 1, 4), (3, 8, 3), (5, 3, 7)],
)
def test_learns_the_known_values(n_step, collect, time_limit):
    each = probes.all_probes(n_step, time_limit)
    probe = probes.side_by_side(each, time_limit)
    assert_known(learned_q(probe, dataclasses.replace(BASE, n_step=n_step), collect), each)


@pytest.mark.parametrize(("collect", "time_limit", "lam"), [(4, 5, 0.0), (12, 4, 0.65), (12, 3, 1.0)])
def test_pqn_learns_the_known_values(collect, time_limit, lam):
    each = probes.all_probes(3, time_limit)
    agent = dataclasses.replace(BASE, kind="pqn", lam=lam, lr=0.02, epochs=2, minibatches=4)
    assert_known(learned_q(probes.side_by_side(each, time_limit), agent, collect, iterations=1600), each)


@pytest.mark.parametrize("kind", ["dqn", "pqn"])
def test_with_a_memory_they_learn_the_known_values_of_every_beginning(kind):
    """A value belongs to a history; that of an episode's first observation is that of its place.

    Not of the truncation leak: its last place, after a whole episode, is a history that is always cut there, so that
    no data tells its value. (Values at a cut, with the memory of the episode, are in test_sequences.)
    """
    each = [probe for probe in probes.all_probes(2, 4) if probe.name != "truncation leak"]
    probe = probes.side_by_side(each, 4)
    net = NetConfig(kind="mlp", width=32, depth=1, memory="gru", dueling=False, layer_norm=kind == "pqn")
    agent = dataclasses.replace(BASE, kind=kind, lr=5e-3, lam=0.65, epochs=2, minibatches=4)
    starts = list(probe.starts)
    q = learned_q(probe, agent, 8, net, iterations=1200)
    np.testing.assert_allclose(q[starts], probe.q[starts], atol=0.2)


def test_learns_with_the_other_kinds_of_target_loss_and_network():
    probe = probes.truncation_leak(2)
    net = NetConfig(kind="mlp", width=16, depth=1, layer_norm=False, dueling=True)
    other = {"double": False, "loss": "huber", "optimizer": "radam", "target": "periodic", "target_period": 25}
    agent = dataclasses.replace(BASE, n_step=2, lr=0.01, **other)
    np.testing.assert_allclose(learned_q(probe, agent, 2, net), probe.q, atol=0.05)


@pytest.mark.parametrize(("kind", "memory"), [("dqn", "gru"), ("pqn", "lstm"), ("dqn", "none")])
def test_only_memory_recalls_a_cue(kind, memory):
    delay = 20
    probe = probes.recall(delay)
    config = Config(
        total_steps=32 * 42 * 400,
        log_points=1,
        env=EnvConfig(id="probe", num_envs=32),
        net=NetConfig(kind="mlp", width=16, depth=1, memory=memory, dueling=False, layer_norm=kind == "pqn"),
        agent=dataclasses.replace(
            BASE, kind=kind, lr=5e-3, lam=0.9, tau=0.05, eps_end=0.3, epochs=2, minibatches=4, n_step=3
        ),
        replay=ReplayConfig(
            capacity=32 * 420, batch_size=42 * 16, collect=42, updates=4, warmup=32 * 84, sequence=42, burn_in=0
        ),
    )
    env, agent, agent_state, hypers = trained(config, probe)
    episodes = jax.jit(lambda state: play(env, agent, state, (), jax.random.key(0), hypers, 2))(agent_state)
    assert episodes.length.tolist() == [delay + 1] * 2
    assert float(episodes.total.mean()) == (0.0 if memory == "none" else 1.0)


def test_probes_keep_the_contract():
    for probe in probes.all_probes(n_step=2, time_limit=3):
        check_env(probes.make_env(probe), (), n=4, steps=12)  # probes have no hypers
    check_env(probes.make_env(probes.side_by_side(probes.all_probes(3, 4), 4)), (), n=32)
    check_env(probes.make_env(probes.recall(20)), (), n=4, steps=43)


def test_check_env_finds_broken_promises():
    env = probes.make_env(probes.truncation(5))

    with pytest.raises(AssertionError, match="truncated off the time limit"):
        check_env(env._replace(time_limit=6), ())
    with pytest.raises(AssertionError, match="observation shape"):
        check_env(env._replace(observation=jax.ShapeDtypeStruct((4,), jnp.float32)), ())

    def lost(key, state, action, worlds, hypers):
        state, outcome = env.step(key, state, action, worlds, hypers)
        return state, outcome._replace(reached=env.record(state)[1] * 0 + 7)

    with pytest.raises(AssertionError, match="did not stay in the state reached"):
        check_env(env._replace(step=lost), ())

    def both(key, state, action, worlds, hypers):
        state, outcome = env.step(key, state, action, worlds, hypers)
        return state, outcome._replace(terminated=outcome.truncated)

    with pytest.raises(AssertionError, match="both terminated and truncated"):
        check_env(env._replace(step=both), ())
