"""Measures the engine: ``python -m bench --tier env|generate|train|save|evaluate|sweep``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import jax

from bench import compare, env, evaluate, generate, save, sweep, train
from bench.measure import Progress, environment, print_rows
from bench.page import page
from bench.peers.registry import PEERS
from bench.peers.rows import BESIDE, lines, named, rows
from lepton_jax.cli import guarded
from lepton_jax.engine.setup import prepare_jax
from lepton_jax.presets import from_preset

TIERS = {
    **{"env": env.rows, "generate": generate.rows, "train": train.rows},
    **{"save": save.rows, "evaluate": evaluate.rows, "sweep": sweep.rows},
}


def main(argv: list[str]) -> None:
    if argv[:1] == ["compare"]:
        _compare(argv[1:])
        return
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Speed of stepping, level generation, training, checkpoints, evaluation and lanes. Compile time is "
        "apart; each figure is the median of interleaved repetitions, with the range seen. python -m bench compare "
        "A.json B.json names what has become slower beyond the noise.",
        epilog="example: python -m bench --tier env --peers all --json env.json",
        allow_abbrev=False,
    )
    parser.add_argument("--tier", choices=(*TIERS, "all"), default="all", help="what to measure (default: all)")
    parser.add_argument(
        "--peers",
        metavar="NAME,...",
        help=f"of tiers env and generate the engine beside {', '.join(PEERS)}, or all of them; each is installed into "
        "an environment of its own, once, and all sides take turns",
    )
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: a look, not a measurement")
    parser.add_argument(
        "--display", choices=("auto", "plain", "quiet"), default="auto", help="of the progress (default: %(default)s)"
    )
    parser.add_argument("--quiet", dest="display", action="store_const", const="quiet", help="as --display quiet")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="where to write JSON, and a page beside it (default: bench/results/DEVICE-TIER.json)",
    )
    args = parser.parse_args(argv)
    tiers = tuple(TIERS if args.peers is None else BESIDE) if args.tier == "all" else (args.tier,)
    peers = None if args.peers is None else named(args.peers, tiers)
    prepare_jax(from_preset("quick"))  # as a run would: with as many CPU devices as pay
    jax.config.update("jax_enable_compilation_cache", False)
    about = environment()
    results = {}
    with Progress(args.display, tiers) as progress:
        for tier in tiers:
            began = time.perf_counter()
            progress.begin(tier)
            if peers is not None:
                results[f"{tier} beside peers"] = rows(tier, peers, args.quick)
                print(
                    "\n".join(["", f"{tier}, all sides in turn", *lines(results[f"{tier} beside peers"])]), flush=True
                )
                continue
            results[tier] = TIERS[tier](args.quick)
            print_rows(f"{tier} ({time.perf_counter() - began:.0f} s)", results[tier])
    device = about["device"].lower().replace(" ", "-")
    beside = "" if peers is None else "-peers"
    path = args.json or Path(__file__).parent / "results" / f"{device}-{args.tier}{beside}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n")
    path.with_suffix(".html").write_text(page(about, results))
    print(f"written to {path} and {path.with_suffix('.html').name}")


def _compare(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench compare",
        description="Name what has become slower or larger from A to B, beyond the ranges that both have seen. The "
        "status is 1 if something has.",
        epilog="example: python -m bench compare before.json after.json",
        allow_abbrev=False,
    )
    parser.add_argument("old", type=Path, metavar="A.json")
    parser.add_argument("new", type=Path, metavar="B.json")
    args = parser.parse_args(argv)
    old, new = compare.read(args.old), compare.read(args.new)
    changes = compare.compare(old, new)
    print("\n".join(compare.lines(changes, old, new)))
    if any(change.verdict == "worse" for change in changes):
        sys.exit(1)


if __name__ == "__main__":
    guarded(main)
