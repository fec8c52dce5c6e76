"""Measures what transfer buys, seeds as lanes: ``python -m lepton_jax.measure T1``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lepton_jax.cli import guarded
from lepton_jax.config import ConfigError
from lepton_jax.engine.folder import put
from lepton_jax.transfer.pairs import PAIRS

if TYPE_CHECKING:
    from lepton_jax.scale.conduct import Watcher

_PROG = "python -m lepton_jax.measure"


def main(argv: list[str]) -> None:
    """Parses, says what it will take, measures, prints the table."""
    parser = argparse.ArgumentParser(
        prog=_PROG,
        description="Pre-train, graft and fine-tune, against learning from scratch, with the same seeds: jumpstart, "
        "asymptote, area under the curve, time to threshold, at equal target steps and at equal total steps. The same "
        "command again goes on with what it has begun.",
        epilog="pairs: "
        + "; ".join(f"{name}: {pair.question}" for name, pair in PAIRS.items())
        + f" example: {_PROG} T5",
        allow_abbrev=False,
    )
    parser.add_argument("pair", metavar="PAIR", help=f"{', '.join(PAIRS)}; T4 is all of its pairs")
    parser.add_argument("--seeds", type=int, metavar="N", help="how many (default: that of the pair, 3 or 5)")
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help="where the runs are kept (default: runs/measure)")
    parser.add_argument(
        "--display",
        choices=("auto", "plain", "quiet"),
        default="auto",
        help="of what is running (default: %(default)s)",
    )
    parser.add_argument("--quiet", dest="display", action="store_const", const="quiet", help="as --display quiet")
    parser.add_argument("--dry-run", action="store_true", help="say what it would take, and stop")
    args = parser.parse_args(argv)
    if args.seeds is not None and not 1 <= args.seeds <= 1000:
        raise ConfigError(f"--seeds {args.seeds}: expected 1 to 1000")
    from lepton_jax.transfer.measure import budget, find_pairs  # jax from here on

    seeds = {name: args.seeds or PAIRS[name].seeds for name in find_pairs(args.pair)}
    for name, count in seeds.items():
        pair = PAIRS[name]
        steps = budget(pair, count)
        print(
            f"{name}: {pair.question}\n{len(pair.sources)} sources and {len(pair.arms)} arms x {count} seeds, "
            f"{steps / 1e6:.0f} M env-steps: about {steps / 300_000 / 60:.0f} minutes at 300 k/s, compiling apart",
            flush=True,
        )
    if args.dry_run:
        return
    from lepton_jax.report.measure_terminal import Overview

    with Overview(args.display, seeds) as overview:
        for name, count in seeds.items():
            path = (args.run_dir or Path("runs/measure")) / f"{name}-{count}"
            _measure(name, count, path, partial(overview.watch, name))


def _measure(name: str, seeds: int, path: Path, watch: Callable[[str], list[Watcher]]) -> None:
    from lepton_jax.report.measure_page import figure, page
    from lepton_jax.transfer.gains import gains, markdown, table
    from lepton_jax.transfer.measure import measure

    record = measure(name, seeds, path, watch)
    told = gains(record)
    put(path / "report.html", page(record, told))
    put(path / "figure.svg", figure(record))
    put(path / "table.md", markdown(record, told))
    print(table(record, told))
    print(f"kept in {path}: record.json, table.md, figure.svg, report.html")


if __name__ == "__main__":
    guarded(main)
