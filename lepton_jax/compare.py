"""Compares runs: ``python -m lepton_jax.compare RUN RUN``. Imports no jax."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from lepton_jax.cli import guarded
from lepton_jax.engine.folder import put

_PROG = "python -m lepton_jax.compare"


def main(argv: list[str]) -> None:
    """Parses, reads, compares, prints a text or JSON, and writes a page if asked."""
    parser = argparse.ArgumentParser(
        prog=_PROG,
        description="Show runs side by side, also those that have not ended: learning curves on the same axes, "
        "figures on the test levels with the best one marked, the settings that differ, what they were made by, and "
        "which of them are the same computation.",
        epilog=f"example: {_PROG} runs/quick-s0 runs/quick-s1 runs/lr@17 --html compared.html",
        allow_abbrev=False,
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="folder of a run; SWEEP@I is lane I of a sweep, SWEEP all of its lanes"
    )
    parser.add_argument(
        "--metric",
        metavar="NAME",
        help="of the curves: a name in metrics.jsonl, such as loss or spl (default: success)",
    )
    parser.add_argument("--by-config", action="store_true", help="runs that differ in their seeds only are one: a mean")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page, in one file without network")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="also write the curves as a picture")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    from lepton_jax.report.compare_facts import compare
    from lepton_jax.report.compare_runs import read_trials

    told = compare(read_trials(args.runs), args.metric, args.by_config)
    if args.html is not None:
        from lepton_jax.report.compare_page import page

        put(args.html, page(told))
    if args.svg is not None:
        from lepton_jax.report.compare_page import picture

        put(args.svg, picture(told.entries, told.curves, told.metric))
    if args.json:
        from lepton_jax.engine.metrics import to_json
        from lepton_jax.report.compare_facts import as_json

        print(to_json(as_json(told), indent=1))
        return
    from lepton_jax.report.compare_text import BLOCKS, PLAIN, lines

    width = shutil.get_terminal_size((100, 24)).columns
    print("\n".join(lines(told, width, BLOCKS if _shows(BLOCKS) else PLAIN)))
    for file in filter(None, (args.html, args.svg)):
        print(f"written to {file}")


def _shows(text: str, stream: Any = None) -> bool:
    """Whether what is printed can hold these letters."""
    try:
        text.encode((stream or sys.stdout).encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


if __name__ == "__main__":
    guarded(main)
