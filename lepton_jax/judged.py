"""What the commands that look at a policy share: which one, with what settings, on which levels. Starts without jax."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lepton_jax.config import MAZE, Config, ConfigError
from lepton_jax.engine.folder import RunFolder, read_text
from lepton_jax.engine.policies import Place, find_policy, read_run
from lepton_jax.scale.pick import find_lane_policy, is_sweep, pick
from lepton_jax.validate import validate

if TYPE_CHECKING:
    from lepton_jax.agents.agent import Agent


class Asked(NamedTuple):
    """What was asked for, and is there."""

    config: Config  # the policy is to be judged with
    trained: Config  # it was trained with
    place: Place  # where it lies
    text: str | None  # of a level file


class Loaded(NamedTuple):
    """A policy, ready to be played."""

    setup: Any  # engine.setup.Setup
    hypers: Any
    agent_state: Any
    env_steps: int  # it was trained for


def add_flags(parser: argparse.ArgumentParser) -> None:
    """RUN, and the flags that say which policy is meant and on which levels it is to be played."""
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run, or of a sweep with --lane")
    parser.add_argument("--lane", type=int, metavar="I", help="lane of a sweep")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--suite",
        default="test",
        choices=("train", "validation", "test", "named"),
        help="set of levels (default: test); named is the test mazes of the literature, a line each",
    )
    where.add_argument(
        "--levels",
        type=Path,
        metavar="FILE",
        help="levels as text: '#', ' ', 'S', 'G', '~', 'K', 'D', '2' to '9'; blank lines between them",
    )
    parser.add_argument(
        "--policy",
        default="final",
        choices=("best", "final", "latest"),
        help="which policy (default: final); latest is that of the newest checkpoint, also of a run that has not ended",
    )
    parser.add_argument(
        "--size", type=int, metavar="N", help="play suites of mazes of N x N, whatever it was trained on"
    )
    parser.add_argument("--iterations", type=int, metavar="N", help="net.kind think: N passes over the map")


def find(args: argparse.Namespace) -> Asked:
    """The policy and the levels that ``add_flags`` asked for.

    Raises:
      ConfigError: there is no such run, policy or file, or a flag has nothing to change.
      CheckpointError: the policy is damaged.
    """
    lane = pick(args.run, args.lane) if args.lane is not None or is_sweep(args.run) else None
    trained = read_run(args.run) if lane is None else lane.config
    config = _changed(trained, args)
    if args.levels and config.env.id != MAZE:
        raise ConfigError(
            f"--levels: {args.run} was trained on {config.env.id}, which has no levels; leave --levels away"
        )
    if args.suite == "named" and config.env.id != MAZE:
        raise ConfigError(f"--suite named: {args.run} was trained on {config.env.id}; the named sets are of mazes")
    text = read_text(args.levels, "a level file") if args.levels else None
    place = find_policy(RunFolder(args.run), args.policy) if lane is None else find_lane_policy(lane, args.policy)
    return Asked(config, trained, place, text)


def whose(args: argparse.Namespace) -> str:
    """The policy meant, for people."""
    lane = "" if args.lane is None else f", lane {args.lane}"
    return f"{args.policy} policy of {args.run}{lane}"


def load(config: Config, place: Place, trained: Config) -> Loaded:
    """Reads the policy at ``place``, and prepares jax.

    Args:
      config: settings to judge it with.
      place: where it lies.
      trained: settings of its run.

    Raises:
      ConfigError: the network does not take what it is to observe.
      CheckpointError: what is stored is not such a policy.
    """
    import jax

    from lepton_jax.agents.training import AS_USUAL, Training
    from lepton_jax.engine import checkpoint
    from lepton_jax.engine.program import make_hypers, program_shape
    from lepton_jax.engine.setup import make_setup, prepare_jax, takes

    prepare_jax(config)
    if config.env != trained.env:
        given, was = (make_setup(each).env.observation for each in (config, trained))
        if not takes(config, given, was):
            raise ConfigError(
                f"--size {config.env.size}: observations of shape {given.shape}, but the network takes {was.shape}; "
                "other sizes are for net.kind 'think' and for policies that see a window (env.view)"
            )
    about = checkpoint.describe(place.path).get("graft")
    training = AS_USUAL if about is None else Training.from_json(about["training"])
    setup = make_setup(config, training)
    hypers = make_hypers(config, program_shape(config))
    init = lambda: setup.agent.init(jax.random.key(0), setup.env.observation, setup.env.num_actions, hypers)
    agent_state = jax.jit(init)()
    stored, env_steps = _read_policy(place, setup.agent, agent_state)
    return Loaded(setup, hypers, setup.agent.with_policy(agent_state, stored), env_steps)


def levels_of(config: Config, setup: Any, suite: str, text: str | None, source: str) -> tuple[Any, Any]:
    """The world and the levels of a suite, or those in ``text``, which came from ``source``; not the named mazes.

    Raises:
      LevelError, ConfigError: as ``engine.setup.file_set``.
    """
    from lepton_jax.engine.setup import file_set, level_set

    if text is not None:
        return file_set(config, setup, text, source)
    return setup.env, level_set(config, suite, config.eval.test_levels)


def _changed(config: Config, args: argparse.Namespace) -> Config:
    """The run's settings with those that the flags change; ConfigError where a flag has nothing to change."""
    env, net = config.env, config.net
    if args.size is not None:
        if env.id != MAZE or args.levels or args.suite == "named":
            raise ConfigError("--size: is for the suites train, validation and test of mazes; leave it away")
        env = dataclasses.replace(env, size=args.size, min_size=0)
    if args.iterations is not None:
        if net.kind != "think":
            raise ConfigError(
                f"--iterations: {args.run} was trained with net.kind = {net.kind!r}, which makes no passes"
            )
        net = dataclasses.replace(net, iterations=args.iterations)
    return validate(dataclasses.replace(config, env=env, net=net))


def _read_policy(place: Place, agent: Agent, agent_state: Any) -> tuple[Any, int]:
    """A policy like that of ``agent_state``, and the env-steps it was trained for."""
    from lepton_jax.engine import checkpoint

    path, within, row, env_steps = place
    if not within and row is None:
        policy, about = checkpoint.read(path, agent.policy(agent_state))
        return policy, about["env_steps"]
    if within.endswith("agent_state"):
        # As the agent keeps them: with adapters they are not those of its policy.
        params, about = checkpoint.read_part(
            path, agent_state.params, checkpoint.places(agent_state.params, f"{within}/params"), row
        )
        policy = agent.policy(agent_state._replace(params=params))
    else:
        places = checkpoint.places(agent.policy(agent_state), within)
        policy, about = checkpoint.read_part(path, agent.policy(agent_state), places, row)
    if env_steps is None:
        env_steps = about["progress"]["best_steps"] if within == "best" else about["env_steps"]
    return policy, env_steps
