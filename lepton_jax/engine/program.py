"""All of training as two compiled functions: ``init`` and ``chunk``.

An iteration is ``collect`` steps of every environment, one write to the ring, and ``updates`` gradient steps. A segment
is a fixed number of iterations after which the level pool is refreshed; a chunk is as many segments as the caller asks
for. Sums of metrics travel in the state, segment by segment, so that a run is the same however it is cut into chunks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lepton_jax.agents import explore
from lepton_jax.agents.agent import Agent
from lepton_jax.agents.training import Given, Reuse
from lepton_jax.config import Config, Hypers
from lepton_jax.engine import replay, shard
from lepton_jax.engine.learning import make_learning
from lepton_jax.engine.shard import OWN, SHARED
from lepton_jax.envs.vector import VectorEnv


class State(NamedTuple):
    """Everything a run is, between two chunks. N environments; where they are divided among shards, what each keeps of
    its own (env_state, first, ring, carry) has one more leading axis, the shard's."""

    clock: jax.Array  # int32 (): iterations done; lanes in step share one
    birth: jax.Array  # int32 (): the clock when this run began: 0 but for a lane that began after others
    level_key: jax.Array  # typed key of the levels
    worlds: Any  # the level pool
    env_state: Any
    first: jax.Array  # bool (N,): this state begins an episode
    ring: Any  # replay.Ring
    agent_state: Any
    carry: Any  # the agent's carry of each environment
    key: jax.Array  # typed key; the keys of the run's iteration i are folded from it by i
    sums: dict[str, jax.Array]  # float32 (): metrics summed over the segments since the last log point
    bad: jax.Array  # int32 (): the first iteration of the run with a metric that is not finite, or NEVER
    reused: Any = ()  # replay.Memory that the run began with, where the agent samples from one; it stays as it is


# What of a State each shard has a part of, where environments are divided; all else it has whole.
DIVIDED = ("env_state", "first", "ring", "carry")
NEVER = 2**31 - 1
# Metrics that are sums over the iterations since the last log point; the others are means.
TOTALS = ("reward", "terminated", "truncated")


class Shape(NamedTuple):
    """The static sizes of a program, in iterations, derived from the configuration."""

    per_segment: int  # iterations between refreshes
    per_point: int  # segments between log points
    points: int  # log points a run
    schedule: int  # iterations that schedules run over
    blocks: int  # ring length in iterations; of an agent without replay 1, the last rollout
    warmup: int  # iterations of random play before learning
    steps: int  # environment steps an iteration
    updates: int  # gradient steps an iteration

    @property
    def segments(self) -> int:
        """Segments a run."""
        return self.per_point * self.points

    @property
    def iterations(self) -> int:
        """Iterations a run."""
        return self.segments * self.per_segment


class Program(NamedTuple):
    """The compiled half of a run, and the functions it is made of, which lanes run in their own way."""

    shape: Shape
    # (key, level_key, hypers, Given or None: what the network begins with) -> State, warmed up
    init: jax.stages.Wrapped
    chunk: jax.stages.Wrapped  # (State, hypers, int32 () segments to run) -> State; donates its State
    begin: Callable[
        ..., State
    ]  # (key, level_key, hypers, given, worlds, clock) -> State, warmed up, born at that clock
    refresh: Callable[..., Any]  # (worlds, level_key, clock) -> worlds of the segment that begins then
    segment: Callable[[State, Hypers], State]  # over the worlds there are


def program_shape(config: Config) -> Shape:
    """Turns the configuration's steps and transitions into whole iterations, and these into equal segments."""
    replay_, envs = config.replay, config.env.num_envs
    steps = envs * replay_.collect
    pqn = config.agent.kind == "pqn"
    nominal = math.ceil((config.schedule_steps or config.total_steps) / steps)
    wanted = math.ceil(nominal / config.log_points)
    per_point = math.ceil(wanted / config.env.refresh_every)
    per_segment = math.ceil(wanted / per_point)
    whole = lambda iterations: math.ceil(iterations / (per_segment * per_point))
    # Enough for the first sample: the rows it takes and one more.
    rows = config.agent.n_step if config.net.memory == "none" else replay_.burn_in + replay_.sequence
    warmup = 0 if pqn else max(math.ceil(replay_.warmup / steps), math.ceil((rows + 1) / replay_.collect))
    return Shape(
        per_segment=per_segment,
        per_point=per_point,
        points=whole(math.ceil(config.total_steps / steps)),
        schedule=whole(nominal) * per_segment * per_point,
        blocks=1 if pqn else replay_.capacity // steps,
        warmup=warmup,
        steps=steps,
        updates=config.agent.epochs * config.agent.minibatches if pqn else replay_.updates,
    )


def make_hypers(config: Config, shape: Shape) -> Hypers:
    """The traced scalars of a run, as floats; horizons in the units their schedules count."""
    agent, env = config.agent, config.env
    return Hypers(
        lr_horizon=float(shape.schedule * shape.updates),
        eps_horizon=agent.eps_fraction * shape.schedule,
        **{name: getattr(part, name) for part in (agent, env) for name in Hypers._fields if hasattr(part, name)},
    )


def strong(hypers: Hypers) -> Hypers:
    """Floats -> strong float32 arrays: solo runs and lanes enter the program through the same door."""
    return Hypers(*(jnp.asarray(value, jnp.float32) for value in hypers))


def make_program(config: Config, env: VectorEnv, agent: Agent, shards: int = 1) -> Program:
    """The training program of one run, over ``shards`` devices. ``env`` is what one shard steps."""
    shape = program_shape(config)
    parts = shard.count_parts(config, shards)
    envs, collect = config.env.num_envs // parts, config.replay.collect
    learning = make_learning(config, env, agent, shards)

    def own_keys(key: jax.Array, clock: jax.Array, count: int) -> jax.Array:
        """``count`` keys of this part of the environments and this iteration."""
        return jax.random.split(jax.random.fold_in(key, clock * parts + shard.number(parts)), count)

    def keys_of(key: jax.Array, clock: jax.Array) -> jax.Array:
        """The keys of an iteration: two a step, the same where the environments are, and this shard's to learn with."""
        keys = own_keys(key, clock, 2 * collect + learning.keys)
        if parts == shards:
            return keys
        learns = jax.vmap(jax.random.fold_in, (0, None))(keys[2 * collect :], shard.number(shards))
        return jnp.concatenate([keys[: 2 * collect], learns])

    def rollout(state: State, keys: jax.Array, hypers: Hypers, act: Callable[..., Any]) -> tuple[State, replay.Rollout]:
        """``collect`` steps of every environment under ``act(carry, observation, first, key)``, two keys a step."""

        def step(moving: Any, keys: jax.Array) -> tuple[Any, replay.Rollout]:
            env_state, first, carry = moving
            act_key, step_key = keys
            episode, part = env.record(env_state)
            action, carry = act(carry, env.observe(episode, part, state.worlds), first, act_key)
            env_state, outcome = env.step(step_key, env_state, action, state.worlds, hypers)
            ended = jnp.where(
                outcome.terminated, replay.TERMINATED, jnp.where(outcome.truncated, replay.TRUNCATED, replay.RUNNING)
            ).astype(jnp.uint8)
            kept = replay.Rollout(episode, part, action, outcome.reward, ended, outcome.reached, ())
            return (env_state, ended != replay.RUNNING, carry), kept

        moving = (state.env_state, state.first, state.carry)
        begun = lambda old, blank: jnp.where(state.first.reshape(-1, *[1] * (old.ndim - 1)), blank, old)
        before = jax.tree.map(begun, state.carry, agent.carry(envs))
        (env_state, first, carry), kept = jax.lax.scan(step, moving, keys.reshape(collect, 2))
        return state._replace(env_state=env_state, first=first, carry=carry), kept._replace(carry=before)

    def at_random(carry: Any, observation: jax.Array, first: jax.Array, key: jax.Array) -> tuple[jax.Array, Any]:
        del observation, first
        return explore.uniform(key, envs, env.num_actions), carry

    def warming(state: State) -> Callable[..., Any]:
        """Uniform actions; a memory takes in what they bring."""
        if not jax.tree.leaves(state.carry):
            return at_random
        return lambda *now: agent.act(state.agent_state, *now, jnp.float32(1.0))

    def stored(kept: replay.Rollout) -> replay.Rollout:
        return kept if agent.learns_from == "sequences" else kept._replace(carry=())

    def remember(state: State, kept: replay.Rollout, head: jax.Array) -> State:
        return state._replace(ring=replay.write(state.ring, stored(kept), head % shape.blocks, env.time_limit))

    def iteration(state: State, keys: jax.Array, hypers: Hypers) -> tuple[State, dict[str, jax.Array]]:
        age = state.clock - state.birth
        epsilon = explore.linear(age, hypers.eps_start, hypers.eps_end, hypers.eps_horizon)
        place = shard.number(parts) * envs + jnp.arange(envs)
        rungs = config.env.num_envs
        each = explore.ladder(epsilon, place, rungs, hypers.eps_ladder_power) if config.agent.eps_ladder else epsilon
        policy = lambda carry, observation, first, key: agent.act(
            state.agent_state, carry, observation, first, key, each
        )
        state, kept = rollout(state, keys[: 2 * collect], hypers, policy)
        # By the clock that lanes share: a ring that is written where each lane's own age says would be scattered over.
        state = remember(state, kept, shape.warmup + state.clock)
        whole = agent.learns_from == "rollout"
        window = replay.whole(kept, *env.record(state.env_state), env.time_limit) if whole else ()
        agent_state, metrics = learning.learn(
            state.agent_state, state.ring, window, state.worlds, keys[2 * collect :], hypers,
            shape.warmup + state.clock + 1, shape.warmup + age + 1, state.reused,
        )  # fmt: skip
        metrics |= {
            "epsilon": epsilon,
            "reward": jnp.sum(kept.reward),
            "terminated": jnp.sum(kept.ended == replay.TERMINATED, dtype=jnp.float32),
            "truncated": jnp.sum(kept.ended == replay.TRUNCATED, dtype=jnp.float32),
        }
        return state._replace(clock=state.clock + 1, agent_state=agent_state), metrics

    def refresh(worlds: Any, level_key: jax.Array, clock: jax.Array) -> Any:
        return worlds if env.refresh is None else env.refresh(worlds, level_key, clock // shape.per_segment)

    def segment(state: State, hypers: Hypers) -> State:
        # The keys of the whole segment at once: on a CPU a single call is a loop of eighty tiny kernels.
        ages = state.clock - state.birth + jnp.arange(shape.per_segment)
        keys = jax.vmap(lambda age: keys_of(state.key, age))(ages)
        state, metrics = jax.lax.scan(lambda state, keys: iteration(state, keys, hypers), state, keys)
        finite = jnp.isfinite(sum(metrics.values()))
        bad = shard.lowest(jnp.min(jnp.where(finite, NEVER, ages)), shards)
        new = {name: (jnp.sum if name in TOTALS else jnp.mean)(each) for name, each in metrics.items()}
        new = shard.mean_over(new, TOTALS, shards, parts)
        return state._replace(
            sums={name: state.sums[name] + value for name, value in new.items()}, bad=jnp.minimum(state.bad, bad)
        )

    def empty(kept: replay.Rollout, reuse: Reuse) -> replay.Memory:
        """A memory of the size of that which the run began with, for one that goes on from a checkpoint."""
        size = lambda leaf: jax.ShapeDtypeStruct((reuse.length, reuse.envs, *leaf.shape[2:]), leaf.dtype)
        rollout = jax.tree.map(size, kept._replace(carry=()))
        # A time limit that makes as many slots as there were.
        ring = replay.make_ring(rollout, reuse.blocks, env.num_actions, reuse.length // reuse.slots)
        return replay.Memory(ring, jnp.int32(0), jnp.int32(reuse.blocks))

    def begin(
        key: jax.Array, level_key: jax.Array, hypers: Hypers, given: Given | None, worlds: Any, clock: jax.Array
    ) -> State:
        hypers = strong(hypers)
        agent_key, env_key, warm_key, run_key = jax.random.split(key, 4)
        env_key = own_keys(env_key, jnp.int32(0), 1)[0]
        state = State(
            clock=clock,
            birth=clock,
            level_key=level_key,
            worlds=worlds,
            env_state=env.reset(env_key, worlds, envs, hypers),
            first=jnp.ones(envs, bool),
            ring=(),
            agent_state=agent.init(agent_key, env.observation, env.num_actions, hypers, given),
            carry=agent.carry(envs),
            key=run_key,
            sums={name: jnp.float32(0) for name in (*agent.metrics, "epsilon", *TOTALS)},
            bad=jnp.int32(NEVER),
        )
        kept = jax.eval_shape(
            lambda: stored(rollout(state, own_keys(warm_key, jnp.int32(0), 2 * collect), hypers, at_random)[1])
        )
        state = state._replace(ring=replay.make_ring(kept, shape.blocks, env.num_actions, env.time_limit))
        if agent.reuse is not None:
            state = state._replace(reused=given.memory if given is not None else empty(kept, agent.reuse))

        def warm(state: State, number: jax.Array) -> tuple[State, None]:
            state, kept = rollout(state, own_keys(warm_key, number, 2 * collect), hypers, warming(state))
            return remember(state, kept, clock + number), None

        return jax.lax.scan(warm, state, jnp.arange(shape.warmup))[0]

    def init(key: jax.Array, level_key: jax.Array, hypers: Hypers, given: Given | None) -> State:
        return begin(key, level_key, hypers, given, env.worlds(level_key), jnp.int32(0))

    def chunk(state: State, hypers: Hypers, segments: jax.Array) -> State:
        hypers = strong(hypers)

        def one(_: jax.Array, state: State) -> State:
            worlds = refresh(state.worlds, state.level_key, state.clock)
            return segment(state._replace(worlds=worlds), hypers)

        return jax.lax.fori_loop(0, segments, one, state)

    own = DIVIDED if parts > 1 else ()
    layout = State._make(OWN if name in own else SHARED for name in State._fields)
    init_ = shard.spread(init, shards, (SHARED,) * 4, layout)
    chunk_ = shard.spread(chunk, shards, (layout, SHARED, SHARED), layout)
    begin_ = lambda key, level_key, hypers, given=None: init_(key, level_key, hypers, given)
    return Program(shape, jax.jit(begin_), jax.jit(chunk_, donate_argnums=0), begin, refresh, segment)


def read_metrics(state: State, segments: int) -> dict[str, float]:
    """The metrics of ``segments`` segments, from the sums over them."""
    sums = {name: float(value) for name, value in jax.device_get(state.sums).items()}
    return {name: value if name in TOTALS else value / segments for name, value in sums.items()}


def clear_metrics(state: State) -> State:
    """``state`` with its sums at zero, as they are after a log point."""
    return state._replace(sums=jax.tree.map(jnp.zeros_like, state.sums))
