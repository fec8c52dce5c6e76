"""The whole program, trained on worlds whose values are known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest

from lepton_jax.agents.dqn import make_dqn
from lepton_jax.config import AgentConfig, Config, EnvConfig, NetConfig, ReplayConfig
from lepton_jax.engine.program import make_hypers, make_program
from lepton_jax.envs.vector import check_env

BASE = AgentConfig(
    gamma=probes.GAMMA, loss="squared", target="polyak", tau=0.1, optimizer="adam", lr=0.05, lr_schedule="linear",
    lr_end=0.0, adam_eps=1e-5, max_grad_norm=10.0, eps_start=1.0, eps_end=1.0, eps_ladder=False,
)  # fmt: skip


def learned_q(probe: probes.Probe, agent: AgentConfig, collect: int, net: NetConfig | None = None) -> np.ndarray:
    """Action values (places, actions) after a short training."""
    env, envs = probes.make_env(probe), 16
    config = Config(
        total_steps=envs * collect * 800,
        log_points=1,
        env=EnvConfig(id=env.name, num_envs=envs),
        net=net or NetConfig(kind="mlp", depth=0, dueling=False),
        agent=agent,
        replay=ReplayConfig(capacity=envs * 60, batch_size=256, collect=collect, updates=2, warmup=envs * 20),
    )
    learner = make_dqn(config.net, config.agent, env.num_actions)
    program = make_program(config, env, learner)
    hypers = make_hypers(config, program.shape)
    state = program.init(jax.random.key(0), jax.random.key(1), hypers)
    assert program.shape.points == 1
    state, _ = probes.to_log_point(program, state, hypers)
    places = jnp.eye(*env.observation.shape)
    q, _ = learner.q_values(state.agent_state, (), places, jnp.zeros(len(places), bool))
    return np.asarray(q)


@pytest.mark.parametrize(
    ("n_step", "collect", "time_limit"),
    # One block of the ring holds at most one truncation of an environment, or several; chains cross blocks, or do not.
    [(1, 2, 5), (2, 6, 2), (3, 1, 4), (3, 8, 3), (5, 3, 7)],
)
def test_learns_the_known_values(n_step, collect, time_limit):
    each = probes.all_probes(n_step, time_limit)
    probe = probes.side_by_side(each, time_limit)
    q = learned_q(probe, dataclasses.replace(BASE, n_step=n_step), collect)
    offset = 0
    for one in each:
        mine = np.broadcast_to(one.q, (len(one.q), 2))
        found = np.where(np.isnan(mine), np.nan, q[offset : offset + len(mine)])
        np.testing.assert_allclose(found, mine, atol=0.05, err_msg=one.name)
        offset += len(mine)


def test_learns_with_the_other_kinds_of_target_loss_and_network():
    probe = probes.truncation_leak(2)
    net = NetConfig(kind="mlp", width=16, depth=1, layer_norm=False, dueling=True)
    other = {"double": False, "loss": "huber", "optimizer": "radam", "target": "periodic", "target_period": 25}
    agent = dataclasses.replace(BASE, n_step=2, lr=0.01, **other)
    np.testing.assert_allclose(learned_q(probe, agent, 2, net), probe.q, atol=0.05)


def test_probes_keep_the_contract():
    for probe in probes.all_probes(n_step=2, time_limit=3):
        check_env(probes.make_env(probe), (), n=4, steps=12)  # probes have no hypers
    check_env(probes.make_env(probes.side_by_side(probes.all_probes(3, 4), 4)), (), n=32)


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
