"""Runs many lanes, seeds x hyperparameters, as one program: ``python -m lepton_jax.sweep``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from lepton_jax.cli import guarded, parse_config
from lepton_jax.config import ConfigError
from lepton_jax.engine.folder import read_toml
from lepton_jax.scale.asking import from_flags, from_table, merge
from lepton_jax.scale.axes import POOLS
from lepton_jax.scale.design import Sweep, design
from lepton_jax.scale.sweep_folder import read_definition
from lepton_jax.transfer.asking import Plan, asked_for, located

_PROG = "python -m lepton_jax.sweep"
_GRAFT = ("graft", "graft_policy", "graft_lane")
_OWN = ("grid", "random", "sobol", "samples", "design_seed", "seeds", "halving", "places", "pools")


def main(argv: list[str]) -> None:
    """Parses, prints the plan, sweeps, says where the results are."""
    file, argv = (Path(argv[0]), argv[1:]) if argv and not argv[0].startswith("-") else (None, argv)
    args, flags = _parser().parse_known_args(argv)
    if args.resume is None:
        sweep, path = _asked(file, args, flags)
    else:
        given = [str(file)] * (file is not None) + flags
        given += [f"--{name.replace('_', '-')}" for name in (*_OWN, *_GRAFT) if getattr(args, name) not in (None, [])]
        if given:
            raise ConfigError(f"--resume {args.resume}: a sweep goes on as it was begun; leave {given[0]} away")
        sweep, path = read_definition(args.resume), args.resume
    _sweep(sweep, path, args.dry_run)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROG,
        usage=f"{_PROG} [SWEEP.toml] [--grid KNOB=VALUE,VALUE ...] [--seeds N] [settings ...]",
        description="Run seeds x hyperparameters as lanes of one compiled program. Settings are those of "
        "lepton_jax.train (--preset, --config FILE, --total-steps N, --run-dir DIR, --agent.lr ...) and hold for all "
        "lanes; a knob is one of them. The same command again goes on with what it has begun in --run-dir.",
        epilog=f"example: {_PROG} --grid agent.lr=1e-4,3e-4,1e-3 --seeds 8 --total-steps 1000000 --run-dir runs/lr",
        allow_abbrev=False,
    )
    knobs = "KNOB=VALUE,VALUE"
    parser.add_argument("--grid", action="append", default=[], metavar=knobs, help="every value of a knob; may repeat")
    for method, how in (("random", "at random"), ("sobol", "evenly, by a Sobol sequence")):
        parser.add_argument(
            f"--{method}", action="append", default=[], metavar="KNOB=LOW:HIGH[:log]",
            help=f"values drawn {how} from a range, or from {knobs}; may repeat",
        )  # fmt: skip
    parser.add_argument("--samples", type=int, metavar="N", help="points to draw, with --random or --sobol")
    parser.add_argument("--design-seed", type=int, metavar="N", help="of the drawing (default: 0)")
    parser.add_argument("--seeds", metavar="N | A,B,C", help="seeds of every point: how many, or which (default: 1)")
    parser.add_argument(
        "--halving", metavar="ETA[:FIRST]",
        help="stop poor lanes early: of those at log point FIRST, ETA x FIRST ... the best 1 in ETA go on",
    )  # fmt: skip
    parser.add_argument("--places", type=int, metavar="N", help="lanes at once (default: what suits the device)")
    parser.add_argument(
        "--pools", choices=POOLS, help="level pools: one of its own for each lane, or one for all (default: own)"
    )
    parser.add_argument("--graft", metavar="RUN | PLAN.toml", help="what all lanes begin from; see lepton_jax.graft")
    parser.add_argument("--graft-policy", metavar="NAME", help="of a run or sweep to graft: final, best or latest")
    parser.add_argument(
        "--graft-lane", metavar="I | seed", help="of a sweep to graft: one for all, or by seed that of the same seed"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    parser.add_argument("--resume", type=Path, metavar="RUN", help="go on with a sweep that was stopped")
    return parser


def _asked(file: Path | None, args: argparse.Namespace, flags: list[str]) -> tuple[Sweep, Path]:
    """The sweep that file and flags ask for, and its folder."""
    said = from_flags(**{name: getattr(args, name) for name in _OWN})
    table = from_table(read_toml(file, "a sweep's TOML file") if file else {}, str(file))
    if table.config is not None:
        # A path in a file is meant from where the file lies.
        flags = [*([] if "--config" in flags else ["--config", str((file or Path()).parent / table.config)]), *flags]
    base, origin = parse_config(flags, _PROG, "", table.preset, table.changes, f"{file}: config")
    name = file.stem if file else f"{origin['preset']}-sweep"
    path = Path(base.run_dir or f"runs/{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    return design(base, merge(table.asked, said), _graft(table.graft, file, args)), path


def _graft(told: Plan | str | None, file: Path | None, args: argparse.Namespace) -> Plan | None:
    """What all lanes begin from: as a flag says, else as the file does, from where that lies."""
    if args.graft is not None:
        return asked_for(args.graft, args.graft_policy, args.graft_lane)[0]
    if args.graft_policy or args.graft_lane:
        raise ConfigError("--graft-policy and --graft-lane go with --graft; name a run or a sweep there")
    here = (file or Path()).parent
    return located(told, here) if isinstance(told, Plan) else asked_for(str(here / told))[0] if told else None


def _sweep(sweep: Sweep, path: Path, dry_run: bool) -> None:
    from lepton_jax.report.sweep_page import PageWriter  # jax from here on
    from lepton_jax.report.sweep_plan import plan_lines
    from lepton_jax.report.sweep_terminal import make_watcher
    from lepton_jax.scale import conduct

    if dry_run:
        print("\n".join(plan_lines(sweep, conduct.plan(sweep, path))))
        return
    conduct.conduct(sweep, path, [make_watcher(sweep.base.display), PageWriter(path)])
    print(f"kept in {path}: table.csv, lanes.csv, summary.json, report.html")


if __name__ == "__main__":
    guarded(main)
