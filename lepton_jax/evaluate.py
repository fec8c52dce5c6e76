"""Evaluates a finished run: ``python -m lepton_jax.evaluate RUN``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lepton_jax.cli import guarded, read_text, read_toml
from lepton_jax.config import MAZE, Config, ConfigError, overlay, validate


def main(argv: list[str]) -> None:
    """Parses, evaluates, prints a table or JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m lepton_jax.evaluate",
        description="Play one greedy episode on each level of a set and say how it went.",
        epilog="example: python -m lepton_jax.evaluate runs/quick-s0 --levels my_mazes.txt --policy best",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--suite", default="test", choices=("train", "validation", "test"), help="set of levels (default: test)"
    )
    where.add_argument(
        "--levels", type=Path, metavar="FILE", help="levels as text: '#', ' ', 'S', 'G'; blank lines between them"
    )
    parser.add_argument("--policy", default="final", choices=("best", "final"), help="which policy (default: final)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    config = read_run(args.run)
    if args.levels and config.env.id != MAZE:
        raise ConfigError(
            f"--levels: {args.run} was trained on {config.env.id}, which has no levels; leave --levels away"
        )
    text = read_text(args.levels, "a level file") if args.levels else None
    figures = evaluate(args.run, config, args.suite, args.policy, text, str(args.levels))
    from lepton_jax.engine.metrics import to_json

    if args.json:
        print(to_json(figures, indent=2))
        return
    print(f"{figures['episodes']} levels of {figures['levels']}, {args.policy} policy of {args.run}")
    for name, value in figures.items():
        if isinstance(value, float):
            print(f"{name:<14}{value:>10.3f}")


def read_run(folder: Path) -> Config:
    """The configuration of a run folder.

    Raises:
      ConfigError: no such folder, or one without a finished run.
    """
    if not (folder / "config.toml").is_file():
        raise ConfigError(
            f"{folder} is no run folder: it has no config.toml; expected what python -m lepton_jax.train has left"
        )
    config = validate(overlay(Config(), read_toml(folder / "config.toml"), str(folder / "config.toml")))
    if not (folder / "policy").is_dir():
        raise ConfigError(f"{folder} holds no policy: the run did not finish; train it again")
    return config


def evaluate(
    folder: Path, config: Config, suite: str, policy: str, level_text: str | None, source: str
) -> dict[str, Any]:
    """The figures of a run's policy on a set of levels, or on the levels in ``level_text``."""
    import jax

    from lepton_jax.engine import checkpoint
    from lepton_jax.engine.program import make_hypers, program_shape
    from lepton_jax.engine.run import Evaluator
    from lepton_jax.engine.setup import file_set, level_set, make_setup, prepare_jax

    prepare_jax(config)
    setup = make_setup(config)
    hypers = make_hypers(config, program_shape(config, setup.env.refresh is not None))
    init = lambda: setup.agent.init(jax.random.key(0), setup.env.observation, setup.env.num_actions, hypers)
    agent_state = jax.jit(init)()
    stored, about = checkpoint.load_policy(folder / "policy" / policy, setup.agent.policy(agent_state))
    if level_text is not None:
        env, levels = file_set(config, setup, level_text, source)
    else:
        env, levels = setup.env, level_set(config, suite, config.eval.test_levels)
    figures = Evaluator(env, setup.agent, hypers).report(setup.agent.with_policy(agent_state, stored), levels)
    return {"levels": levels.name, "episodes": levels.size, **figures, **about}


if __name__ == "__main__":
    guarded(main)
