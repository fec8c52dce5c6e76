"""From a plan and the settings of a run to what the run begins from."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lepton_jax.agents.training import Given, Moments
from lepton_jax.config import Config, ConfigError
from lepton_jax.engine import checkpoint
from lepton_jax.engine.origin import Origin
from lepton_jax.engine.program import make_hypers, program_shape, strong
from lepton_jax.engine.setup import Setup, make_setup, prepare_jax
from lepton_jax.scale.pick import is_sweep
from lepton_jax.scale.sweep_folder import read_definition
from lepton_jax.transfer import asking, memory
from lepton_jax.transfer.apply import apply
from lepton_jax.transfer.asking import SEED_LANE, Plan, read_plan
from lepton_jax.transfer.memory import Records
from lepton_jax.transfer.plan import Resolved, Target, resolve
from lepton_jax.transfer.sources import Source, open_source


class Grafts:
    """What the lanes of a sweep begin from: one source for all; or, by seed, the lanes of another sweep."""

    def __init__(self, plan: Plan, config: Config, name: str):
        """``config``: of any lane; errors as ``make_graft``."""
        self._plan, self._name = plan, name
        self.first = make_graft(plan, config, name)
        self.shapes = self.first.shapes()
        self._read: dict[int | None, Given] = {}

    @property
    def about(self) -> dict[str, Any]:
        """JSON for the sweep's manifest; of lanes that have sources of their own it names that of the first."""
        return self.first.origin().about | {"by_seed": self._plan.lane == SEED_LANE}

    def given(self, config: Config) -> Given:
        """What the network of a lane begins with, in the host's memory."""
        which = config.seed if self._plan.lane == SEED_LANE else None
        if which not in self._read:
            self._read[which] = make_graft(self._plan, config, self._name).apply()[0]
        return self._read[which]


class Graft(NamedTuple):
    """A plan that was resolved for a run."""

    resolved: Resolved
    source: Source
    like: Any  # the tree of the shapes of the network's parameters
    records: Records | None  # of the run, if it replays transitions

    def apply(self) -> tuple[Given, dict[str, Any]]:
        """See ``transfer.apply.apply``."""
        return apply(self.resolved, self.source, self.like, self.records)

    def shapes(self) -> Given:
        """The shapes of what ``apply`` gives."""
        given = Given(self.like, jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, bool), self.like))
        scalar = jax.ShapeDtypeStruct((), np.int32)
        if any(leaf.treatment.moments for leaf in self.resolved.leaves):
            given = given._replace(moments=Moments(self.like, self.like, scalar))
        if self.resolved.borrowed is not None:
            assert self.records is not None
            given = given._replace(memory=memory.shapes(self.resolved.borrowed, self.records))
        return given

    def origin(self) -> Origin:
        """What the engine needs of it."""
        return Origin(asking.to_toml(self.resolved.plan), _about(self), self.apply)


def make_graft(plan: Plan, config: Config, name: str) -> Graft:
    """Resolves ``plan`` for a run of ``config``. Reads metadata only.

    Args:
      plan: its source's path is absolute.
      config: validated.
      name: what messages call the plan.

    Raises:
      ConfigError, CheckpointError: as ``open_source`` and ``resolve``.
    """
    lane = plan.lane
    if lane == SEED_LANE:
        lane = _lane_of_seed(Path(plan.source), config.seed, name)
    assert not isinstance(lane, str)
    source = open_source(Path(plan.source), plan.policy, lane)
    like, target = _target(dataclasses.replace(config, seed=0, run_dir=""))
    return Graft(resolve(plan, source, target, name), source, like, target.records)


def replan(path: Path, config: Config) -> Origin:
    """The origin of a run that was stopped before its first checkpoint, from its graft.toml."""
    return make_graft(read_plan(path), config, str(path)).origin()


@functools.lru_cache(maxsize=8)
def _target(config: Config) -> tuple[Any, Target]:
    """The shapes of a run's parameters, and what a plan needs to know of it."""
    prepare_jax(config)
    setup, shape = make_setup(config), program_shape(config)
    init = functools.partial(setup.agent.init, observation=setup.env.observation, num_actions=setup.env.num_actions)
    state = jax.eval_shape(lambda key: init(key, hypers=make_hypers(config, shape)), jax.random.key(0))
    like = jax.eval_shape(setup.agent.policy, state)
    leaves = {name: (tuple(leaf.shape), str(np.dtype(leaf.dtype))) for name, leaf in checkpoint.names(like).items()}
    steps = shape.iterations * shape.updates
    records = _records(setup, config) if setup.agent.learns_from == "transitions" else None
    return like, Target(leaves, setup.env.num_actions, steps, config.net.memory != "none", records)


def _records(setup: Setup, config: Config) -> Records:
    """What a run records of a step of one environment."""
    env, hypers = setup.env, make_hypers(config, program_shape(config))
    reset = lambda key: env.record(env.reset(key, env.worlds(key), 1, strong(hypers)))
    one = lambda tree: jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), tree)
    episode, step = map(one, jax.eval_shape(reset, jax.random.key(0)))
    return Records(episode, step, env.num_actions, config.agent.n_step, config.replay.batch_size)


def _lane_of_seed(path: Path, seed: int, name: str) -> int:
    if not is_sweep(path):
        raise ConfigError(f"{name}: lane = '{SEED_LANE}', but {path} is no sweep; leave lane away")
    lanes = [lane.number for lane in read_definition(path).lanes if lane.seed == seed]
    if len(lanes) != 1:
        raise ConfigError(
            f"{name}: lane = '{SEED_LANE}': {path} has {len(lanes)} lanes of seed {seed}, and one is needed; name the "
            "lane by its number"
        )
    return lanes[0]


def _about(graft: Graft) -> dict[str, Any]:
    resolved, source = graft.resolved, graft.source
    leaves = {
        leaf.name: {
            "from": leaf.read,
            "action": leaf.move.kind,
            "source_shape": leaf.source_shape,
            "digest": leaf.digest,
            **{name: value for name, value in leaf.treatment._asdict().items() if value != default[name]},
        }
        for leaf in resolved.leaves
        for default in [type(leaf.treatment)._field_defaults]
    }
    came_from = source.about | {"plan_digest": resolved.digest, "control": resolved.plan.control}
    return {
        "digest": resolved.digest,
        "source": source.about,
        "leaves": leaves,
        "ignored": list(resolved.ignored),
        "training": resolved.training.to_json(),
        "restarted": ["replay", "epsilon", "clock", *([] if resolved.plan.moments else ["optimiser"])],
        "lineage": [came_from, *source.ancestors],
    }
