"""Evaluates a policy of a run: ``python -m lepton_jax.evaluate RUN``."""

from __future__ import annotations

import argparse
from typing import Any

from lepton_jax import judged
from lepton_jax.cli import guarded
from lepton_jax.config import Config, ConfigError
from lepton_jax.engine.policies import Place


def main(argv: list[str]) -> None:
    """Parses, evaluates, prints a table or JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m lepton_jax.evaluate",
        description="Play one greedy episode on each level of a set and say how it went.",
        epilog="example: python -m lepton_jax.evaluate runs/quick-s0 --levels my_mazes.txt --policy best",
        allow_abbrev=False,
    )
    judged.add_flags(parser)
    parser.add_argument("--episodes", type=int, help=f"with --suite named: episodes a maze (default: {_EPISODES})")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    named = args.suite == "named"
    if args.episodes is not None and not named:
        raise ConfigError("--episodes: is for --suite named; each level of any other set is played once; leave it away")
    episodes = _EPISODES if args.episodes is None else args.episodes
    if not 1 <= episodes <= _MOST_EPISODES:
        raise ConfigError(f"--episodes {episodes}: expected 1 to {_MOST_EPISODES}")
    config, trained, place, text = judged.find(args)
    if named:
        _print_named(evaluate_named(config, place, episodes), episodes, args)
        return
    figures = evaluate(config, place, args.suite, text, str(args.levels), trained)
    from lepton_jax.engine.metrics import to_json

    if args.json:
        print(to_json(figures, indent=2))
        return
    print(f"{figures['episodes']} levels of {figures['levels']}, {judged.whose(args)}")
    for name, value in figures.items():
        if isinstance(value, float):
            print(f"{name:<14}{value:>10.3f}")


def evaluate(
    config: Config, place: Place, suite: str, level_text: str | None, source: str, trained: Config
) -> dict[str, Any]:
    """The figures of the policy at ``place`` on a set of levels, or on the levels in ``level_text``.

    ``trained`` are the settings of the run, ``config`` those that it is now to be judged with.
    """
    from lepton_jax.engine.evaluation import Evaluator

    setup, hypers, agent_state, env_steps = judged.load(config, place, trained)
    env, levels = judged.levels_of(config, setup, suite, level_text, source)
    figures = Evaluator(env, setup.agent, hypers).report(agent_state, levels)
    return {"levels": levels.name, "episodes": levels.size, **figures, "env_steps": env_steps}


def evaluate_named(config: Config, place: Place, episodes: int) -> dict[str, dict[str, float]]:
    """The figures of the policy at ``place`` on each named maze, ``episodes`` episodes each, and on all of them."""
    from lepton_jax.engine.evaluation import Evaluator
    from lepton_jax.engine.setup import named_set

    setup, hypers, agent_state, _ = judged.load(config, place, config)
    env, levels, names, which = named_set(config, setup, episodes)
    each = Evaluator(env, setup.agent, hypers).each(agent_state, levels)
    rows = {name: which == number for number, name in enumerate(names)} | {"all": which >= 0}
    return {
        name: {figure: float(values[rows[name]].mean()) for figure, values in sorted(each.items())} for name in rows
    }


def _print_named(table: dict[str, dict[str, float]], episodes: int, args: argparse.Namespace) -> None:
    from lepton_jax.engine.metrics import to_json

    if args.json:
        print(to_json(table, indent=2))
        return
    print(f"{episodes} episodes on each named maze, {judged.whose(args)}")
    figures = ("success_rate", "spl", "mean_length", "regret")
    print(f"{'':<20}" + "".join(f"{figure:>14}" for figure in figures))
    for name, row in table.items():
        print(f"{name:<20}" + "".join(f"{row[figure]:>14.3f}" for figure in figures))


_EPISODES, _MOST_EPISODES = 100, 100_000


if __name__ == "__main__":
    guarded(main)
