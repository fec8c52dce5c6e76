"""Trains an agent: ``python -m lepton_jax.train``."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from lepton_jax.cli import guarded, parse_config
from lepton_jax.engine.metrics import refuse_used


def main(argv: list[str]) -> None:
    """Parses, trains, says where the run is."""
    config, origin = parse_config(
        argv, "python -m lepton_jax.train", "Train a deep Q-network; by default on small mazes, in a minute."
    )
    if not config.run_dir:
        name = f"runs/{origin['preset']}-s{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
        config = dataclasses.replace(config, run_dir=name)
    refuse_used(Path(config.run_dir))
    from lepton_jax.engine.run import run  # jax from here on
    from lepton_jax.report.terminal import make_display

    result = run(config, [make_display(config.display)], {"called_with": origin})
    print(f"kept in {result.folder}; look again with: python -m lepton_jax.evaluate {result.folder}")


if __name__ == "__main__":
    guarded(main)
