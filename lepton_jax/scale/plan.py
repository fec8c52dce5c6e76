"""What a sweep will take, before it starts: groups, lanes at once, and bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import jax

from lepton_jax.agents.training import AS_USUAL
from lepton_jax.config import ConfigError
from lepton_jax.engine import manifest
from lepton_jax.engine.memory import SAVED, SHARE, Size, memory_bytes, refuse_oversized, size_of, tree_bytes
from lepton_jax.engine.program import Shape, make_hypers, make_program, program_shape
from lepton_jax.engine.setup import Setup, make_setup
from lepton_jax.scale.design import Lane, Sweep
from lepton_jax.scale.groups import split
from lepton_jax.scale.lift import Lift
from lepton_jax.transfer.graft import Grafts

# Copies of a lane while a device computes it.
_COMPUTED = 2
# Lanes at once on each core: few, so that a chunk is short and a checkpoint small, for they take turns anyway; more
# where they are compared with each other.
_ON_CPU, _ON_CPU_HALVING = 4, 16


class GroupPlan(NamedTuple):
    """Lanes that share one compiled program."""

    number: int
    lanes: tuple[Lane, ...]
    setup: Setup
    shape: Shape
    lift: Lift
    static: dict[str, Any]  # the swept knobs that set it apart from other groups
    lane_bytes: int  # the state of one lane
    fit: int | None  # lanes that fit the memory at once; None where nobody tells how much there is
    checkpoint_bytes: int  # at most: the states of the lanes at once, and two policies of every lane
    grafts: Grafts | None  # what its lanes begin from; None: random numbers

    def iterations_at(self, points: int) -> int:
        """Iterations of a lane at its log point number ``points``."""
        return points * self.shape.per_point * self.shape.per_segment

    @property
    def env_steps(self) -> int:
        """Environment steps of all lanes, run to their end."""
        return self.shape.iterations * self.shape.steps * len(self.lanes)


def make_plan(sweep: Sweep, begun: Sequence[Mapping[str, Any]] = ()) -> tuple[GroupPlan, ...]:
    """Splits a sweep into groups and sizes them up. Compiles nothing; jax must have been prepared.

    Args:
      sweep: what to run.
      begun: the groups in the manifest of a sweep that is gone on with: their lanes keep their places.

    Raises:
      ConfigError: a world or an agent cannot be built, or lanes do not fit the memory.
    """
    groups = split(sweep.lanes)
    before = begun or [None] * len(groups)
    return tuple(_plan(sweep, number, *both) for number, both in enumerate(zip(groups, before, strict=True)))


def _plan(sweep: Sweep, number: int, lanes: tuple[Lane, ...], begun: Mapping[str, Any] | None) -> GroupPlan:
    config = lanes[0].config
    grafts = Grafts(sweep.graft, config, "graft") if sweep.graft else None
    setup = make_setup(config, grafts.first.resolved.training if grafts else AS_USUAL)
    shape = program_shape(config)
    key, hypers = jax.random.key(0), make_hypers(config, shape)
    program = make_program(config, setup.env, setup.agent)
    like = jax.eval_shape(program.init, key, key, hypers)
    refuse_oversized(shape, size_of(like))
    shared = tree_bytes(like.worlds) if sweep.pools == "shared" else 0
    lane_bytes = tree_bytes(like) - shared
    fit = _fit(lane_bytes, shared)
    if fit == 0:
        _refuse_one(size_of(like))
    if sweep.places > (fit or sweep.places):
        raise ConfigError(
            f"places = {sweep.places}: {fit} lanes of {lane_bytes / 2**20:.1f} MiB fit the memory of "
            f"{manifest.device_name()} at once; choose at most --places {fit}, or leave it away"
        )
    lift = _lift(sweep, len(lanes), fit) if begun is None else _as_begun(begun, fit)
    policies = 2 * len(lanes) * tree_bytes(jax.eval_shape(setup.agent.policy, like.agent_state))
    values = lambda name, lanes: {lane.knobs[name] for lane in lanes}
    apart = [name for name in sweep.knobs if len(values(name, lanes)) == 1 < len(values(name, sweep.lanes))]
    static = {name: lanes[0].knobs[name] for name in apart}
    most = shared + lift.places * lane_bytes + policies
    return GroupPlan(number, lanes, setup, shape, lift, static, lane_bytes, fit, most, grafts)


def _fit(lane_bytes: int, shared: int) -> int | None:
    """Lanes that fit the memory at once, beside those that are being computed; 0 if not even one does."""
    memory = memory_bytes()
    if memory is None:
        return None
    there = jax.local_device_count()
    if jax.default_backend() != "cpu":
        return there * max(0, int((SHARE * memory - shared - _COMPUTED * lane_bytes) / lane_bytes))
    for devices in (there, 1):  # which share the memory: where it is short, one alone may do
        room = SHARE * memory - devices * (shared + _COMPUTED * lane_bytes)
        if (fit := int(room / ((1 + SAVED) * lane_bytes))) >= 1:
            return fit if devices == there else 1
    return 0


def _refuse_one(size: Size) -> NoReturn:
    memory = memory_bytes()
    assert memory is not None
    on_cpu = jax.default_backend() == "cpu"
    times = 1 + _COMPUTED + (SAVED if on_cpu else 0)
    room = SHARE * memory / times - (size.state_bytes - size.ring_bytes)
    hope = "env.pool, env.num_envs or net.width"
    if (most := int(room / size.bytes_per_transition)) > 0:
        hope = f"replay.capacity, at most {most}"
    raise ConfigError(
        f"not even one lane fits: {size.state_bytes / 2**30:.2f} GiB of state, {times} times while it is computed"
        f"{' and saved' if on_cpu else ''}, do not fit the {memory / 2**30:.2f} GiB of {manifest.device_name()}; "
        f"choose a smaller {hope}"
    )


def _lift(sweep: Sweep, lanes: int, fit: int | None) -> Lift:
    on_cpu, there = jax.default_backend() == "cpu", jax.local_device_count()
    limit = min(filter(None, (sweep.places, fit)), default=2 * lanes)
    devices = min(there, lanes, limit)
    each = (_ON_CPU_HALVING if sweep.halving else _ON_CPU) if on_cpu and not sweep.places else lanes
    # Each device holds as many places; one that no lane needs costs memory only.
    block = min(each, -(-lanes // devices), limit // devices)
    return Lift(block * devices, devices, abreast=not on_cpu)


def _as_begun(begun: Mapping[str, Any], fit: int | None) -> Lift:
    """The same places, on as many devices as can share them out."""
    places, abreast = begun["places"], jax.default_backend() != "cpu"
    if abreast != begun["abreast"]:
        kinds = ("a CPU", "a GPU") if abreast else ("a GPU", "a CPU")
        raise ConfigError(f"the sweep was begun on {kinds[0]} and cannot go on on {kinds[1]}; start it anew there")
    if fit is not None and places > fit:
        raise ConfigError(
            f"the sweep was begun with {places} lanes at once, and {fit} fit the memory of {manifest.device_name()}; "
            "go on where there is more"
        )
    devices = max(count for count in range(1, jax.local_device_count() + 1) if places % count == 0)
    return Lift(places, devices, abreast)
