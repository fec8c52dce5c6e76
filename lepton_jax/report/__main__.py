"""Writes the page of a run anew: ``python -m lepton_jax.report RUN``."""

from __future__ import annotations

import argparse
from pathlib import Path

from lepton_jax.cli import guarded


def main(argv: list[str]) -> None:
    """Parses, plays, writes ``report.html``, says where it is."""
    parser = argparse.ArgumentParser(
        prog="python -m lepton_jax.report",
        description="Write report.html of a finished run: how well it does on the test levels, how it learned, its "
        "episodes to play, what it thinks of every cell, where it errs, and how it was made. One file, no network.",
        epilog="example: python -m lepton_jax.report runs/quick-s0 --policy final",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run that has ended")
    parser.add_argument(
        "--policy", default="best", choices=("best", "final"), help="whose episodes and values (default: best)"
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="also write its learning curve as a picture")
    args = parser.parse_args(argv)
    if args.svg is not None:
        from lepton_jax.engine.folder import put
        from lepton_jax.report.compare_facts import curve_of
        from lepton_jax.report.compare_page import picture
        from lepton_jax.report.compare_runs import read_trials

        put(args.svg, picture(*curve_of(read_trials([str(args.run)]))))
        print(f"written: {args.svg}")
    from lepton_jax.report.run_page import write_report  # jax from here on

    print(f"written: {write_report(args.run, args.policy)}")


if __name__ == "__main__":
    guarded(main)
