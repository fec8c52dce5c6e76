"""A run from its settings to its report: compile, train, judge; a folder is what stays."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lepton_jax.agents.training import AS_USUAL, Given, Training
from lepton_jax.config import Config, ConfigError, Hypers
from lepton_jax.engine import checkpoint, manifest
from lepton_jax.engine.audience import Audience
from lepton_jax.engine.evaluation import Evaluator
from lepton_jax.engine.folder import put, resume_command
from lepton_jax.engine.interrupts import Interrupted
from lepton_jax.engine.keeper import Keeper
from lepton_jax.engine.latest import episode_reader, latest_step
from lepton_jax.engine.launch import Launch, begin, commit, runnable
from lepton_jax.engine.loop import Moment, Parts, Progress, judge_first, train
from lepton_jax.engine.memory import Size, refuse_oversized, size_of
from lepton_jax.engine.metrics import RECORDED, Observer, Record, to_json
from lepton_jax.engine.origin import Origin
from lepton_jax.engine.program import Program, State, make_hypers, make_program
from lepton_jax.engine.setup import Setup, level_set, make_setup, prepare_jax
from lepton_jax.engine.shard import on_one
from lepton_jax.envs.maze.level import LevelError


class Result(NamedTuple):
    """What a run leaves behind."""

    folder: Path
    summary: dict[str, Any]  # as in summary.json
    final: Any  # parameters of the last policy
    best: Any  # parameters of the policy that did best in validation


def run(config: Config, observers: Sequence[Observer] = ()) -> Result:
    """Trains from start to end and leaves a run folder; as ``go(begin(config))``."""
    return go(begin(config), observers)


def go(launch: Launch, observers: Sequence[Observer] = (), about: Mapping[str, Any] | None = None) -> Result:
    """Trains to the end, and reports.

    Args:
      launch: from ``engine.launch``: a run about to start or to go on, not one that has finished.
      observers: told of the beginning, of every log point and of the end; one that fails is dropped.
      about: JSON to be kept in the manifest, such as the flags the run was called with.

    Raises:
      ConfigError, LevelError: the configuration cannot be used, or the state does not fit the memory. No new folder is
        left, and nothing of an old one has changed.
      Interrupted: SIGINT, SIGTERM or SIGHUP; the state was saved, and the message says how to go on.
      Diverged: a metric, a parameter or a return is not finite.
      CheckpointError: the end could not be saved.
    """
    audience = Audience(observers)
    with launch.folder:
        try:
            return _go(launch, audience, about or {})
        except BaseException as error:
            audience.end(None)
            if launch.new and isinstance(error, ConfigError | LevelError):
                launch.folder.discard()
            if type(error) is KeyboardInterrupt:  # while compiling: there is nothing to save yet
                raise Interrupted(f"stopped; go on with: {resume_command(launch.folder.path)}", signal.SIGINT) from None
            raise


def _go(launch: Launch, audience: Audience, about: Mapping[str, Any]) -> Result:
    began = time.perf_counter()
    folder, config, point = launch.folder, launch.config, launch.point
    if launch.finished:
        raise ConfigError(f"{folder.path} has ended; with more total_steps it goes on")
    placed = dataclasses.replace(config, shards=launch.shards or config.shards)
    prepare_jax(placed)
    if launch.shards > jax.local_device_count():
        raise ConfigError(
            f"{folder.path}: its state is spread over {launch.shards} devices, but jax has {jax.local_device_count()} "
            "here; go on where there are as many"
        )
    origin = launch.origin
    training = AS_USUAL if origin is None else Training.from_json(origin.about["training"])
    setup = make_setup(placed, training)
    program = make_program(placed, setup.env, setup.agent, setup.shards)
    shape, hypers = program.shape, make_hypers(config, program.shape)
    validation = level_set(config, "validation", config.eval.validation_levels)
    test = level_set(config, "test", config.eval.test_levels)
    given, graft = _graft(origin)
    ready = _prepare(config, program, hypers, setup, point, given)
    evaluator = Evaluator(setup.env, setup.agent, hypers)
    commit(launch)

    facts = manifest.describe(config, setup, shape, ready.size.bytes_per_transition, ready.size.state_bytes)
    facts["levels"] |= {s.name: {"count": s.size, "sha256": s.fingerprint} for s in (validation, test)}
    iteration = ready.moment.progress.segments * shape.per_segment
    lineage = [*ready.lineage, {"iteration": iteration, "environment": facts["environment"], **about}]
    facts |= {"lineage": lineage} | ({} if graft is None else {"graft": graft})
    put(folder.manifest, to_json(facts, indent=2) + "\n")
    record = Record(folder, {name: (point / name).read_text() for name in RECORDED} if point else {})
    for note in (*launch.notes, *manifest.changes(lineage)):
        audience.notice(note)
    resumed_at = iteration * shape.steps if point else None
    audience.begin(config, facts | {"folder": str(folder.path), "resumed_at": resumed_at})
    parts = Parts(
        shape=shape,
        chunk=ready.chunk,
        hypers=hypers,
        policy=setup.agent.policy,
        validate=lambda agent_state: evaluator.validate(agent_state, validation),
        latest=lambda state: latest_step(state, setup, shape),
        episode=episode_reader(setup, shape),
        folder=folder,
        record=record,
        keeper=Keeper(folder, config.checkpoint, iteration),
        about={"config": runnable(config), "lineage": lineage} | ({} if graft is None else {"graft": graft}),
        audience=audience,
    )
    # What a graft is worth before any update: a run that begins at random is worth nothing then.
    at_once = graft is not None and point is None
    moment = train(judge_first(ready.moment, parts) if at_once else ready.moment, parts)
    record.flush()

    agent_state, progress = on_one(moment.state.agent_state), moment.progress
    final, env_steps = checkpoint.to_host(setup.agent.policy(agent_state)), shape.iterations * shape.steps
    summary = evaluator.report(agent_state, test) | {
        "best": evaluator.report(setup.agent.with_policy(agent_state, moment.best), test)
        | {"env_steps": progress.best_steps},
        "env_steps": env_steps,
        "gradient_steps": shape.iterations * shape.updates,
        "env_steps_per_second": env_steps / progress.seconds,
        "compile_seconds": ready.seconds + evaluator.compile_seconds,
        "bytes_per_transition": ready.size.bytes_per_transition,
        "device": manifest.device_name(),
    }
    for name, policy, steps in (("final", final, env_steps), ("best", moment.best, progress.best_steps)):
        checkpoint.write(folder.policy(name), policy, {"env_steps": steps})
    summary["wall_seconds"] = time.perf_counter() - began
    put(folder.summary, to_json(summary, indent=2) + "\n")
    audience.end(summary)
    return Result(folder.path, summary, final, moment.best)


class _Ready(NamedTuple):
    moment: Moment
    chunk: Callable[..., State]
    lineage: list[Any]
    seconds: float  # of compilation
    size: Size


def _graft(origin: Origin | None) -> tuple[Given | None, dict[str, Any] | None]:
    """What the network begins with, and what the manifest says of it."""
    if origin is None or origin.apply is None:
        return None, None if origin is None else origin.about
    given, read = origin.apply()
    return given, origin.about | {"plan": origin.plan, "read": read}


def _prepare(
    config: Config, program: Program, hypers: Hypers, setup: Setup, point: Path | None, given: Given | None
) -> _Ready:
    """Compiles, refuses a state that does not fit, and makes the first state or reads that of the checkpoint."""
    began = time.perf_counter()
    keys = jax.random.key(config.seed), jax.random.key(config.env.level_seed)
    init = program.init.trace(*keys, hypers, given)
    like = init.out_info
    size = size_of(like, setup.shards)
    refuse_oversized(program.shape, size)
    start = init.lower().compile() if point is None else None
    chunk = program.chunk.trace(like, hypers, jax.ShapeDtypeStruct((), np.int32)).lower().compile()
    seconds = time.perf_counter() - began
    if start is not None:
        state = start(*keys, hypers, given)
        moment = Moment(state, checkpoint.to_host(setup.agent.policy(on_one(state.agent_state))), Progress())
        return _Ready(moment, chunk, [], seconds, size)
    assert point is not None
    moment, lineage = _read(point, like, chunk.input_shardings[0][0], setup)
    if moment.progress.segments > program.shape.segments:
        done = moment.progress.segments * program.shape.per_segment * program.shape.steps
        raise ConfigError(f"total_steps: {config.total_steps} are asked for, but {done} are done already")
    return _Ready(moment, chunk, lineage, seconds, size)


def _read(point: Path, like: State, shardings: State, setup: Setup) -> tuple[Moment, list[Any]]:
    """A moment from its checkpoint, and the sessions that led to it."""
    best = jax.eval_shape(setup.agent.policy, like.agent_state)
    here = jax.tree.map(lambda _: jax.sharding.SingleDeviceSharding(jax.devices()[0]), best)
    tree, said = checkpoint.read(point, {"state": like, "best": best}, {"state": shardings, "best": here})
    return Moment(tree["state"], checkpoint.to_host(tree["best"]), Progress.from_json(said["progress"])), said[
        "lineage"
    ]
