"""Trains an agent: ``python -m lepton_jax.train``."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

from lepton_jax.cli import guarded, parse_changes, parse_config
from lepton_jax.engine import launch

_PROG = "python -m lepton_jax.train"


def main(argv: list[str]) -> None:
    """Parses, trains, says where the run is."""
    first = argparse.ArgumentParser(prog=_PROG, add_help=False, allow_abbrev=False)
    first.add_argument("--resume", type=Path, metavar="RUN")
    known, flags = first.parse_known_args(argv)
    if known.resume is not None:
        _go_on(known.resume, flags)
        return
    config, origin = parse_config(
        flags,
        _PROG,
        "Train a deep Q-network; by default on small mazes, in a minute. --resume RUN goes on with a run that was "
        "stopped, or with --total-steps extends one that has ended.",
    )
    if not config.run_dir:
        name = origin["preset"] if origin["lane"] is None else f"lane{origin['lane']}"
        name = f"runs/{name}-s{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
        config = dataclasses.replace(config, run_dir=name)
    _train(launch.begin(config), origin)


def _go_on(path: Path, flags: list[str]) -> None:
    start = launch.go_on(path, lambda config: parse_changes(flags, _PROG, config, f"Go on with {path}."))
    if start.finished:
        print(f"{path} has ended; --total-steps extends it", end="; ")
        _say(path)
        return
    _train(start, {"resume": str(path), "flags": flags})


def _train(start: launch.Launch, called_with: dict[str, Any]) -> None:
    from lepton_jax.engine.run import go  # jax from here on
    from lepton_jax.report.terminal import make_display

    _say(go(start, [make_display(start.config.display)], {"called_with": called_with}).folder)


def _say(folder: Path) -> None:
    print(f"kept in {folder}; look again with: python -m lepton_jax.evaluate {folder}")


if __name__ == "__main__":
    guarded(main)
