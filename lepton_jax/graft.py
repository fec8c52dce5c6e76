"""Plans a graft, shows a source, verifies, tells lineage: ``python -m lepton_jax.graft``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lepton_jax.cli import guarded, parse_config
from lepton_jax.config import Config, ConfigError
from lepton_jax.engine.folder import put
from lepton_jax.transfer.asking import Plan, asked_for, to_toml

if TYPE_CHECKING:
    from lepton_jax.transfer.sources import Source

_PROG = "python -m lepton_jax.graft"


def main(argv: list[str]) -> None:
    """Parses and does one of four things; nothing is trained."""
    args, flags = _parser().parse_known_args(argv)
    if flags and args.does not in ("plan", "verify"):
        raise ConfigError(f"{flags[0]}: {args.does} takes no settings; leave it away")
    {"plan": _plan, "show": _show, "verify": _verify, "lineage": _lineage}[args.does](args, flags)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROG,
        description="Put the parameters of a source into another network, by rules. A source is a run, a lane of a "
        "sweep, a checkpoint, a tree that Orbax has written, a .npz or a .safetensors file. Planning reads metadata "
        "only.",
        epilog=f"example: {_PROG} plan runs/small --agent.lr 1e-4 --out PLAN.toml, then python -m lepton_jax.train "
        "--graft PLAN.toml --agent.lr 1e-4",
        allow_abbrev=False,
    )
    does = parser.add_subparsers(dest="does", required=True, metavar="plan | show | verify | lineage")
    helps = {
        "plan": "say what would happen to every leaf of a run with these settings, such as --agent.lr 1e-4",
        "show": "list the leaves of a source",
        "verify": "read all that a plan names and compare it with its digests",
        "lineage": "tell what a run was grafted from, and that from what",
    }
    examples = {
        "plan": "runs/small --env.size 9 --out PLAN.toml",
        "show": "runs/small",
        "verify": "PLAN.toml --env.size 9",
        "lineage": "runs/large",
    }
    for name, text in helps.items():
        one = does.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=f"example: {_PROG} {name} {examples[name]}",
            allow_abbrev=False,
        )
        takes_plan = name in ("plan", "verify")
        one.add_argument("source", metavar="SOURCE | PLAN.toml" if takes_plan else "SOURCE")
        one.add_argument("--graft-policy", metavar="NAME", help="of a run or sweep: final, best or latest")
        one.add_argument("--graft-lane", metavar="I", help="of a sweep" + (", or: seed" if takes_plan else ""))
        if name == "plan":
            one.add_argument("--out", type=Path, metavar="PLAN.toml", help="write the plan, to be edited")
    return parser


def _asked(args: argparse.Namespace, flags: list[str]) -> tuple[Plan, str, Config]:
    plan, _ = asked_for(args.source, args.graft_policy, args.graft_lane)
    config, _ = parse_config(flags, f"{_PROG} {args.does}", "The settings of the run that is to be grafted.")
    return plan, args.source, config


def _plan(args: argparse.Namespace, flags: list[str]) -> None:
    plan, name, config = _asked(args, flags)
    if args.out is not None and args.out.exists():
        raise ConfigError(f"--out {args.out}: is there already; choose another name")
    from lepton_jax.report.graft_table import lines  # jax from here on
    from lepton_jax.transfer.graft import make_graft

    print("\n".join(lines(make_graft(plan, config, name))))
    if args.out is not None:
        put(args.out, to_toml(plan))
        print(f"written to {args.out}")


def _verify(args: argparse.Namespace, flags: list[str]) -> None:
    plan, name, config = _asked(args, flags)
    from lepton_jax.transfer.graft import make_graft

    graft = make_graft(plan, config, name)
    _, read = graft.apply()
    stated = {leaf.read for leaf in graft.resolved.leaves if leaf.digest is not None}
    for leaf, digest in read["leaves"].items():
        found = "as its digest says" if leaf in stated else "finite; the source states no digest"
        print(f"{leaf}  {found}  {digest[:23]}")
    print(f"{read['bytes']:,} bytes read, plan {graft.resolved.digest[:16]}")


def _show(args: argparse.Namespace, _: list[str]) -> None:
    from lepton_jax.report.graft_table import source_lines

    print("\n".join(source_lines(_open(args))))


def _lineage(args: argparse.Namespace, _: list[str]) -> None:
    from lepton_jax.transfer.lineage import lineage_lines

    ancestors = _open(args).ancestors
    print("\n".join(lineage_lines(ancestors)) if ancestors else f"{args.source}: began at random")


def _open(args: argparse.Namespace) -> Source:
    from lepton_jax.transfer.sources import open_source

    lane = args.graft_lane
    if lane is not None and not lane.isdecimal():
        raise ConfigError(f"--graft-lane {lane}: expected the number of a lane")
    return open_source(Path(args.source), args.graft_policy or "final", None if lane is None else int(lane))


if __name__ == "__main__":
    guarded(main)
