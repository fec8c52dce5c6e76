"""Evaluates a policy of a run: ``python -m lepton_jax.evaluate RUN``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lepton_jax.cli import guarded
from lepton_jax.config import MAZE, Config, ConfigError
from lepton_jax.engine.folder import RunFolder, read_text
from lepton_jax.engine.policies import Place, find_policy, read_run
from lepton_jax.scale.pick import find_lane_policy, is_sweep, pick
from lepton_jax.validate import validate

if TYPE_CHECKING:
    from lepton_jax.agents.agent import Agent


def main(argv: list[str]) -> None:
    """Parses, evaluates, prints a table or JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m lepton_jax.evaluate",
        description="Play one greedy episode on each level of a set and say how it went.",
        epilog="example: python -m lepton_jax.evaluate runs/quick-s0 --levels my_mazes.txt --policy best",
        allow_abbrev=False,
    )
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
    parser.add_argument("--episodes", type=int, default=100, help="with --suite named: episodes a maze (default: 100)")
    parser.add_argument(
        "--size", type=int, metavar="N", help="play suites of mazes of N x N, whatever it was trained on"
    )
    parser.add_argument("--iterations", type=int, metavar="N", help="net.kind think: N passes over the map")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    lane = pick(args.run, args.lane) if args.lane is not None or is_sweep(args.run) else None
    trained = read_run(args.run) if lane is None else lane.config
    config = _changed(trained, args)
    if args.levels and config.env.id != MAZE:
        raise ConfigError(
            f"--levels: {args.run} was trained on {config.env.id}, which has no levels; leave --levels away"
        )
    if args.suite == "named" and config.env.id != MAZE:
        raise ConfigError(f"--suite named: {args.run} was trained on {config.env.id}; the named sets are of mazes")
    if not 1 <= args.episodes <= _MOST_EPISODES:
        raise ConfigError(f"--episodes {args.episodes}: expected 1 to {_MOST_EPISODES}")
    text = read_text(args.levels, "a level file") if args.levels else None
    place = find_policy(RunFolder(args.run), args.policy) if lane is None else find_lane_policy(lane, args.policy)
    if args.suite == "named" and text is None:
        _print_named(evaluate_named(config, place, args.episodes), args)
        return
    figures = evaluate(config, place, args.suite, text, str(args.levels), trained)
    from lepton_jax.engine.metrics import to_json

    if args.json:
        print(to_json(figures, indent=2))
        return
    print(f"{figures['episodes']} levels of {figures['levels']}, {_whose(args)}")
    for name, value in figures.items():
        if isinstance(value, float):
            print(f"{name:<14}{value:>10.3f}")


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


def evaluate(
    config: Config, place: Place, suite: str, level_text: str | None, source: str, trained: Config
) -> dict[str, Any]:
    """The figures of the policy at ``place`` on a set of levels, or on the levels in ``level_text``.

    ``trained`` are the settings of the run, ``config`` those that it is now to be judged with.
    """
    from lepton_jax.engine.evaluation import Evaluator
    from lepton_jax.engine.setup import file_set, level_set, make_setup, prepare_jax, takes

    prepare_jax(config)
    if config.env != trained.env:
        given, was = (make_setup(each).env.observation for each in (config, trained))
        if not takes(config, given, was):
            raise ConfigError(
                f"--size {config.env.size}: observations of shape {given.shape}, but the network takes {was.shape}; "
                "other sizes are for net.kind 'think' and for policies that see a window (env.view)"
            )
    setup, hypers, agent_state, env_steps = _load(config, place)
    if level_text is not None:
        env, levels = file_set(config, setup, level_text, source)
    else:
        env, levels = setup.env, level_set(config, suite, config.eval.test_levels)
    figures = Evaluator(env, setup.agent, hypers).report(agent_state, levels)
    return {"levels": levels.name, "episodes": levels.size, **figures, "env_steps": env_steps}


def evaluate_named(config: Config, place: Place, episodes: int) -> dict[str, dict[str, float]]:
    """The figures of the policy at ``place`` on each named maze, ``episodes`` episodes each, and on all of them."""
    from lepton_jax.engine.evaluation import Evaluator
    from lepton_jax.engine.setup import named_set, prepare_jax

    prepare_jax(config)
    setup, hypers, agent_state, _ = _load(config, place)
    env, levels, names, which = named_set(config, setup, episodes)
    each = Evaluator(env, setup.agent, hypers).each(agent_state, levels)
    rows = {name: which == number for number, name in enumerate(names)} | {"all": which >= 0}
    return {
        name: {figure: float(values[rows[name]].mean()) for figure, values in sorted(each.items())} for name in rows
    }


def _load(config: Config, place: Place) -> tuple[Any, Any, Any, int]:
    """Setup, hypers, and the agent's state with the policy at ``place``; the env-steps it was trained for."""
    import jax

    from lepton_jax.agents.training import AS_USUAL, Training
    from lepton_jax.engine import checkpoint
    from lepton_jax.engine.program import make_hypers, program_shape
    from lepton_jax.engine.setup import make_setup

    about = checkpoint.describe(place.path).get("graft")
    training = AS_USUAL if about is None else Training.from_json(about["training"])
    setup = make_setup(config, training)
    hypers = make_hypers(config, program_shape(config))
    init = lambda: setup.agent.init(jax.random.key(0), setup.env.observation, setup.env.num_actions, hypers)
    agent_state = jax.jit(init)()
    stored, env_steps = _read_policy(place, setup.agent, agent_state)
    return setup, hypers, setup.agent.with_policy(agent_state, stored), env_steps


def _print_named(table: dict[str, dict[str, float]], args: argparse.Namespace) -> None:
    from lepton_jax.engine.metrics import to_json

    if args.json:
        print(to_json(table, indent=2))
        return
    print(f"{args.episodes} episodes on each named maze, {_whose(args)}")
    figures = ("success_rate", "spl", "mean_length", "regret")
    print(f"{'':<20}" + "".join(f"{figure:>14}" for figure in figures))
    for name, row in table.items():
        print(f"{name:<20}" + "".join(f"{row[figure]:>14.3f}" for figure in figures))


_MOST_EPISODES = 100_000


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


def _whose(args: argparse.Namespace) -> str:
    lane = "" if args.lane is None else f", lane {args.lane}"
    return f"{args.policy} policy of {args.run}{lane}"


if __name__ == "__main__":
    guarded(main)
