"""The compiled half of a group of lanes: the functions of one run's program, lifted over places and devices."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lepton_jax.agents.training import Given
from lepton_jax.config import Config, Hypers
from lepton_jax.engine.evaluation import evaluate, evaluation_key, q_error
from lepton_jax.engine.program import Program, Shape, State, make_program, strong
from lepton_jax.engine.setup import Setup
from lepton_jax.envs.vector import Exact, VectorEnv
from lepton_jax.scale.lift import COMMON, LANES, Lift, Which, each, one_by_one, over_devices, shardings


class Common(NamedTuple):
    """What all lanes of a group share; () in the place of what each has of its own."""

    clock: Any = ()  # of lanes that step together
    level_key: Any = ()  # with a shared level pool
    worlds: Any = ()  # the same


class Running(NamedTuple):
    """The lanes in their places."""

    common: Common
    mine: State  # one more leading axis, the places; () where it is in ``common``


class Birth(NamedTuple):
    """What a lane begins with; one more leading axis, the places."""

    key: Any  # uint32 (2,): data of the run's key
    level_key: Any  # uint32 (2,): data of its levels' key
    hypers: Hypers  # float32 ()
    given: Given | None = None  # what its network begins with, instead of random numbers


MARKS: Any = Running._make((COMMON, LANES))


class Lanes(NamedTuple):
    """A group's program. W places; figures are float32 (W,), and mean something for the lanes that are meant."""

    shape: Shape
    lift: Lift
    blank: Callable[[], Running]  # () -> places that nobody has taken
    fill: jax.stages.Wrapped  # (Running, Birth, Which) -> Running with lanes that begin; donates its Running
    # (Running, hypers, Which, int32 () segments) -> Running; donates its Running
    advance: jax.stages.Wrapped
    # (number of levels) -> (agent states, hypers, worlds, Exact or None, Which) -> figures
    judge: Callable[[int], jax.stages.Wrapped]
    # (agent states, hypers, worlds, Which) -> float32 (W,); None where an Evaluator would not tell either
    q_error: jax.stages.Wrapped | None
    sound: jax.stages.Wrapped  # (agent states) -> bool (W,): every number is finite


def make_lanes(config: Config, setup: Setup, lift: Lift, shared: bool, given: Given | None = None) -> Lanes:
    """The program of a group.

    Args:
      config: of any lane of the group.
      setup: its parts.
      lift: where lanes live and how they run.
      shared: whether one pool of levels serves all of them. It is refreshed by the clock of the group.
      given: shapes of what each network begins with; None: random numbers.
    """
    program = make_program(config, setup.env, setup.agent)
    together = shared or lift.abreast
    none = Common(jnp.int32(0) if together else ())
    begin = lambda common, birth: _begin(program, setup.env, common, birth)
    one = jax.ShapeDtypeStruct((2,), jnp.uint32)
    birth = Birth(one, one, Hypers._make(jax.ShapeDtypeStruct((), jnp.float32) for _ in Hypers._fields), given)
    levels_of = lambda level_key: Common(jnp.int32(0), level_key, setup.env.worlds(level_key)) if shared else none
    level_key = jax.random.key(config.env.level_seed)
    like = jax.eval_shape(lambda birth: begin(levels_of(level_key), birth), birth)

    def blank() -> Running:
        return Running(levels_of(level_key), jax.tree.map(lambda leaf: _zeros(leaf, lift.places), like))

    def fill(running: Running, births: Birth, meant: Which) -> Running:
        new = lambda _, birth: begin(running.common, birth)
        return running._replace(mine=one_by_one(new, running.mine, births, meant))

    def advance(running: Running, hypers: Hypers, meant: Which, segments: jax.Array) -> Running:
        if not together:
            alone = lambda state, hypers: program.chunk(state, hypers, segments)
            return running._replace(mine=each(lift, alone, running.mine, hypers, meant))
        step = lambda _, running: _segment(program, lift, running, hypers, meant)
        return jax.lax.fori_loop(0, segments, step, running)

    spread = lambda function, inputs, outputs: over_devices(lift, function, inputs, outputs)
    marked = shardings(lift, MARKS, jax.eval_shape(blank))
    return Lanes(
        shape=program.shape,
        lift=lift,
        blank=jax.jit(blank, out_shardings=marked),
        fill=jax.jit(spread(fill, (MARKS, LANES, LANES), MARKS), donate_argnums=0),
        advance=jax.jit(spread(advance, (MARKS, LANES, LANES, COMMON), MARKS), donate_argnums=0),
        judge=functools.cache(lambda count: jax.jit(spread(_judge(setup, lift, count), (LANES,) * 5, LANES))),
        q_error=jax.jit(spread(_q_error(setup), (LANES,) * 4, LANES))
        if setup.env.solve and setup.agent.exact
        else None,
        sound=jax.jit(_sound),
    )


def _begin(program: Program, env: VectorEnv, common: Common, birth: Birth) -> State:
    """A lane's first state, without what is common."""
    key, level_key = (jax.random.wrap_key_data(data) for data in (birth.key, birth.level_key))
    clock = common.clock if _there(common.clock) else jnp.int32(0)
    if _there(common.level_key):
        return _apart(program.begin(key, common.level_key, birth.hypers, birth.given, common.worlds, clock), common)
    return _apart(program.begin(key, level_key, birth.hypers, birth.given, env.worlds(level_key), clock), common)


def _segment(program: Program, lift: Lift, running: Running, hypers: Hypers, meant: Which) -> Running:
    """A segment of lanes that share a clock: their rings are written at one place, and not scattered over."""
    common = running.common
    if shared := _there(common.level_key):
        common = common._replace(worlds=program.refresh(common.worlds, common.level_key, common.clock))

    def one(mine: State, hypers: Hypers) -> State:
        state = _whole(mine, common)
        if not shared:
            state = state._replace(worlds=program.refresh(state.worlds, state.level_key, state.clock))
        return _apart(program.segment(state, strong(hypers)), common)

    mine = each(lift, one, running.mine, hypers, meant)
    return Running(common._replace(clock=common.clock + program.shape.per_segment), mine)


def _there(part: Any) -> bool:
    return not (isinstance(part, tuple) and not part)


def _apart(state: State, common: Common) -> State:
    """``state`` without what is in ``common``."""
    return state._replace(**{name: () for name, part in common._asdict().items() if _there(part)})


def _whole(mine: State, common: Common) -> State:
    """The state of one lane."""
    return mine._replace(**{name: part for name, part in common._asdict().items() if _there(part)})


def _judge(setup: Setup, lift: Lift, count: int) -> Callable[..., dict[str, jax.Array]]:
    def one(_: Any, given: Any) -> dict[str, jax.Array]:
        state, hypers, worlds, exact = given
        return evaluate(setup.env, setup.agent, state, worlds, evaluation_key(), strong(hypers), count, exact)

    def judge(states: Any, hypers: Hypers, worlds: Any, exact: Exact | None, meant: Which) -> dict[str, jax.Array]:
        given = (states, hypers, worlds, exact)
        return each(lift, one, _no_figures(one, given), given, meant)

    return judge


def _q_error(setup: Setup) -> Callable[..., jax.Array]:
    env = setup.env
    assert env.solve is not None
    solve = env.solve

    def one(_: Any, given: Any) -> jax.Array:
        state, hypers, worlds = given
        # Solved by itself, as elsewhere, so that nothing of it is rounded otherwise.
        exact = jax.lax.optimization_barrier(solve(worlds, strong(hypers)))
        return q_error(env, setup.agent, state, worlds, exact)

    def errors(states: Any, hypers: Hypers, worlds: Any, meant: Which) -> jax.Array:
        # One after another even on a GPU: the exact values of so many levels are large.
        given = (states, hypers, worlds)
        return one_by_one(one, _no_figures(one, given), given, meant)

    return errors


def _no_figures(one: Callable[[Any, Any], Any], given: Any) -> Any:
    """Zeros like what ``one`` gives for each lane."""
    places = jax.tree.leaves(given)[0].shape[0]
    first = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), given)
    return jax.tree.map(lambda leaf: jnp.zeros((places, *leaf.shape), leaf.dtype), jax.eval_shape(one, (), first))


def _zeros(leaf: jax.ShapeDtypeStruct, places: int) -> jax.Array:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.zeros((places, *leaf.shape, 2), jnp.uint32))
    return jnp.zeros((places, *leaf.shape), leaf.dtype)


def _sound(states: Any) -> jax.Array:
    floats = (leaf for leaf in jax.tree.leaves(states) if jnp.issubdtype(leaf.dtype, jnp.floating))
    finite = (jnp.all(jnp.isfinite(leaf).reshape(leaf.shape[0], -1), axis=1) for leaf in floats)
    return functools.reduce(jnp.logical_and, finite)
