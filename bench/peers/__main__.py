"""The peers alone: ``python -m bench.peers [--tier env|generate] [--peers NAME,...] [--quick]``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bench.peers.registry import PEERS
from lepton_jax.cli import guarded
from lepton_jax.config import ConfigError
from lepton_jax.settings import nearest

TIERS = ("env", "generate")


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers",
        description="Speed of stepping and of level generation beside the peers: each in an environment of its own, "
        "installed when first wanted, all of them taking turns in one run. Only ratios of one run compare.",
        epilog="example: python -m bench.peers --tier generate --peers jumanji,c --quick",
        allow_abbrev=False,
    )
    parser.add_argument("--tier", choices=(*TIERS, "all"), default="all", help="what to measure (default: all)")
    parser.add_argument("--peers", metavar="NAME,...", default="all", help=f"of {', '.join(PEERS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer environments and rounds: a look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the rows as JSON")
    args = parser.parse_args(argv)
    tiers = TIERS if args.tier == "all" else (args.tier,)
    names = _names(args.peers, tiers)

    from bench.peers.rows import lines, rows

    told = {}
    for tier in tiers:
        told[tier] = rows(tier, names, args.quick)
        print("\n".join([tier, *lines(told[tier]), ""]), flush=True)
        for row in told[tier]:
            check = ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                              for name, value in row.get("check", {}).items())  # fmt: skip
            print(f"{row['name']}: {row['note']}" + (f"; {check}" if check else ""))
        print(flush=True)
    if args.json:
        args.json.write_text(json.dumps(told, indent=1) + "\n")


def _names(asked: str, tiers: tuple[str, ...]) -> tuple[str, ...]:
    if asked == "all":
        return tuple(PEERS)
    names = tuple(asked.split(","))
    for name in names:
        if name not in PEERS:
            raise ConfigError(
                f"--peers {name}: no such peer{nearest(name, PEERS)}; expected all, or some of {', '.join(PEERS)}"
            )
        if not set(PEERS[name].tiers) & set(tiers):
            raise ConfigError(
                f"--peers {name}: it has no tier {' or '.join(tiers)}, only {', '.join(PEERS[name].tiers)}; "
                "leave it away"
            )
    return names


if __name__ == "__main__":
    guarded(main)
