"""Measures the engine: ``python -m bench --tier env|generate|train|resume|evaluate|sweep``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from bench import compare, env, evaluate, generate, profiling, resume, sweep, train
from bench.measure import Progress, environment, print_rows
from bench.page import page
from bench.peers.registry import PEERS
from bench.peers.rows import BESIDE, lines, named, rows
from lepton_jax.cli import guarded
from lepton_jax.config import ConfigError
from lepton_jax.engine.setup import prepare_jax
from lepton_jax.presets import from_preset

TIERS = {
    **{"env": env.rows, "generate": generate.rows, "train": train.rows},
    **{"resume": resume.rows, "evaluate": evaluate.rows, "sweep": sweep.rows},
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
        help=f"of tiers env, generate and train the engine beside {', '.join(PEERS)}, or all of them; each is "
        "installed into an environment of its own, once, and all sides take turns",
    )
    parser.add_argument(
        "--profile",
        metavar="PRESET",
        nargs="?",
        const="quick",
        help="instead of all tiers: a trace of training PRESET (default: quick), or 'PRESET pqn', and a table of where "
        "its time goes",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="of --profile: where trace and table go (default: runs/profile-PRESET)"
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
        help="where to write JSON, and a page beside it (default: bench/results/DEVICE-TIER[-peers][-quick].json)",
    )
    args = parser.parse_args(argv)
    if args.out is not None and args.profile is None:
        raise ConfigError("--out: goes with --profile; results of tiers go where --json says")
    others = args.tier != "all", args.peers is not None, args.json is not None, args.quick
    if args.profile is not None and any(others):
        raise ConfigError("--profile: does not go with --tier, --peers, --json and --quick; leave them away")
    tiers = tuple(TIERS if args.peers is None else BESIDE) if args.tier == "all" else (args.tier,)
    peers = None if args.peers is None else named(args.peers, tiers)
    prepare_jax(from_preset("quick"))  # as a run would: with as many CPU devices as pay
    jax.config.update("jax_enable_compilation_cache", False)
    about: dict[str, Any] = {**environment(), "command": ["python", "-m", "bench", *without_place(argv)]}
    if args.profile is not None:
        _profile(args.profile, args.out, args.display, about)
        return
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
    path = args.json or default_path(about["device"], args.tier, peers is not None, args.quick)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n")
    path.with_suffix(".html").write_text(page(about, results))
    print(f"written to {path} and {path.with_suffix('.html').name}")


def without_place(argv: list[str]) -> list[str]:
    """The arguments but for ``--json FILE``: where a result lay at first is a matter of that machine."""
    kept = [word for before, word in zip(["", *argv], argv, strict=False) if before != "--json"]
    return [word for word in kept if word.partition("=")[0] != "--json"]


def default_path(device: str, tier: str, beside: bool, quick: bool) -> Path:
    """Where a result goes: that of a look never in the place of a measurement."""
    marks = ("-peers" if beside else "") + ("-quick" if quick else "")
    return Path(__file__).parent / "results" / f"{device.lower().replace(' ', '-')}-{tier}{marks}.json"


def _profile(name: str, out: Path | None, display: str, about: Mapping[str, Any]) -> None:
    folder = out or Path("runs") / f"profile-{name.replace(' ', '-')}"
    with Progress(display, ("profile",)) as progress:
        progress.begin("profile")
        told = profiling.write(name, folder, about)
    print("\n".join(told))
    print(f"written to {folder}: profile.txt, profile.json, and traces for TensorBoard or Perfetto")


def _compare(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench compare",
        description="Name what has become slower or larger from A to B, beyond the ranges that both have seen, "
        "and what B has lost. The status is 1 if there is any of it.",
        epilog="example: python -m bench compare before.json after.json",
        allow_abbrev=False,
    )
    parser.add_argument("old", type=Path, metavar="A.json")
    parser.add_argument("new", type=Path, metavar="B.json")
    args = parser.parse_args(argv)
    old, new = compare.read(args.old), compare.read(args.new)
    changes = compare.compare(old, new)
    print("\n".join(compare.lines(changes, old, new)))
    if any(change.verdict in compare.BAD for change in changes):
        sys.exit(1)


if __name__ == "__main__":
    guarded(main)
