"""Trains an agent: ``python -m lepton_jax.train``."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

from lepton_jax.cli import guarded, parse_changes, parse_config
from lepton_jax.config import Config, ConfigError
from lepton_jax.engine import launch
from lepton_jax.engine.origin import Origin
from lepton_jax.scale.pick import pick
from lepton_jax.transfer.asking import Plan, asked_for

_PROG = "python -m lepton_jax.train"


def main(argv: list[str]) -> None:
    """Parses, trains, says where the run is."""
    first = argparse.ArgumentParser(prog=_PROG, add_help=False, allow_abbrev=False)
    first.add_argument("--resume", type=Path, metavar="RUN")
    first.add_argument("--graft", metavar="RUN | PLAN.toml")
    first.add_argument("--graft-policy")
    first.add_argument("--graft-lane")
    known, flags = first.parse_known_args(argv)
    if known.resume is not None:
        for flag, value in (
            ("graft", known.graft),
            ("graft-policy", known.graft_policy),
            ("graft-lane", known.graft_lane),
        ):
            if value:
                raise ConfigError(f"--{flag} {value}: a run goes on from what it began with; leave --{flag} away")
        _go_on(known.resume, flags)
        return
    config, origin = parse_config(
        flags,
        _PROG,
        "Train a deep Q-network; by default on small mazes, in a minute. --resume RUN goes on with a run that was "
        "stopped, or with --total-steps extends one that has ended. --graft RUN begins with the network of another "
        "run, and a new head where shapes differ; with --graft-policy best, --graft-lane 3; --graft PLAN.toml by "
        f"rules, see lepton_jax.graft.\n\nexample: {_PROG} --preset maze9 --seed 3 --run-dir runs/mine",
    )
    if not config.run_dir:
        name = origin["preset"] if origin["lane"] is None else f"lane{origin['lane']}"
        name = f"runs/{name}-s{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
        config = dataclasses.replace(config, run_dir=name)
    plan = _plan(known, origin)
    begins = None if plan is None else _origin(*plan, config)
    _train(launch.begin(config, begins), origin | {"graft": known.graft})


def _plan(known: argparse.Namespace, origin: dict[str, Any]) -> tuple[Plan, str] | None:
    """What the run is to be grafted from, and what messages call that; None: it begins at random."""
    if known.graft is not None:
        return asked_for(known.graft, known.graft_policy, known.graft_lane)
    if known.graft_policy or known.graft_lane:
        raise ConfigError("--graft-policy and --graft-lane go with --graft RUN; name a run or a sweep there")
    graft = pick(Path(origin["config"]), origin["lane"]).graft if origin["lane"] is not None else None
    return None if graft is None else (graft, f"graft of {origin['config']}")


def _origin(plan: Plan, name: str, config: Config) -> Origin:
    from lepton_jax.report.graft_table import lines  # jax from here on
    from lepton_jax.transfer.graft import make_graft

    graft = make_graft(plan, config, name)
    if config.display != "quiet":
        print("\n".join(lines(graft)))
    return graft.origin()


def _replan(path: Path, config: Config) -> Origin:
    from lepton_jax.transfer.graft import replan

    return replan(path, config)


def _go_on(path: Path, flags: list[str]) -> None:
    ask = lambda config: parse_changes(flags, _PROG, config, f"Go on with {path}.")
    start = launch.go_on(path, ask, _replan)
    if start.finished:
        print(f"{path} has ended; --total-steps extends it", end="; ")
        _say(path)
        return
    _train(start, {"resume": str(path), "flags": flags})


def _train(start: launch.Launch, called_with: dict[str, Any]) -> None:
    from lepton_jax.engine.run import go  # jax from here on
    from lepton_jax.report.run_page import report_or_note
    from lepton_jax.report.terminal import make_display
    from lepton_jax.report.trackers import make_trackers

    observers = [make_display(start.config.display), *make_trackers(start.config.track)]
    result = go(start, observers, {"called_with": called_with})
    report_or_note(result.folder, result.best)
    _say(result.folder)


def _say(folder: Path) -> None:
    page = ", with report.html" if (folder / "report.html").is_file() else ""
    print(f"kept in {folder}{page}; look again with: python -m lepton_jax.evaluate {folder}")


if __name__ == "__main__":
    guarded(main)
