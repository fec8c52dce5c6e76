"""Says what a checkpoint holds: ``python -m lepton_jax.inspect RUN``. Reads no arrays unless asked to verify them."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from lepton_jax.cli import guarded
from lepton_jax.config import ConfigError
from lepton_jax.engine.folder import RunFolder, resume_command
from lepton_jax.engine.integrity import CheckpointError, describe, verify
from lepton_jax.scale.pick import ended, is_sweep, pick
from lepton_jax.scale.sweep_folder import group_folders
from lepton_jax.scale.sweep_folder import resume_command as sweep_command
from lepton_jax.transfer.lineage import lineage_lines


def main(argv: list[str]) -> None:
    """Parses, reads descriptions, prints them as text or JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m lepton_jax.inspect",
        description="Say what a run has kept, and what its newest checkpoint holds: tree, shapes, dtypes, bytes, "
        "digests, metrics, lineage. No array is read.",
        epilog="example: python -m lepton_jax.inspect runs/quick-s0 --verify",
        allow_abbrev=False,
    )
    parser.add_argument("path", type=Path, metavar="RUN", help="folder of a run, a sweep, or one checkpoint or policy")
    parser.add_argument("--lane", type=int, metavar="I", help="lane of a sweep: what its group has kept")
    parser.add_argument("--verify", action="store_true", help="read every byte and compare it with its sha256")
    parser.add_argument("--json", action="store_true", help="print JSON, with whole digests")
    args = parser.parse_args(argv)
    if not args.path.is_dir():
        raise ConfigError(f"{args.path} is no folder; expected that of a run, of a checkpoint or of a policy")
    lane = pick(args.path, args.lane) if args.lane is not None else None
    groups = [lane.group] if lane else group_folders(args.path) if is_sweep(args.path) else []
    run = RunFolder(args.path)
    is_run = run.config.is_file() or run.checkpoints.is_dir()
    folders = [kept for group in groups for kept in _kept(RunFolder(group))]
    folders += _kept(run) if is_run else [args.path] if not is_sweep(args.path) else []
    found = {folder: _look(folder, args.verify) for folder in folders}
    if args.json:
        print(json.dumps({str(folder): about for folder, about in found.items()}, indent=1))
    else:
        if is_run or is_sweep(args.path):
            print("\n".join(_overview(run, found)))
        shown = next((folder for folder, about in found.items() if "damaged" not in about), None)
        if shown is not None:
            print("\n".join(_contents(shown, found[shown], lane.row if lane else None)))
    damaged = [about["damaged"] for about in found.values() if "damaged" in about]
    if damaged:
        intact = [folder for folder in run.saved() if "damaged" not in found.get(folder, {"damaged": ""})]
        hope = f"; the newest intact checkpoint is {intact[0]}" if intact else ""
        raise CheckpointError("; ".join(damaged) + hope)


def _kept(run: RunFolder) -> list[Path]:
    """All checkpoints of a run, newest first: of the whole state, of policies, and of what went wrong."""
    policies = [run.policy(name) for name in ("final", "best") if run.policy(name).is_dir()]
    failed = sorted(run.failed.iterdir(), reverse=True) if run.failed.is_dir() else []
    return [*run.saved(), *policies, *failed]


def _look(folder: Path, thoroughly: bool) -> dict[str, Any]:
    try:
        if thoroughly:
            verify(folder)
        return describe(folder)
    except CheckpointError as error:
        return {"damaged": str(error)}


def _overview(run: RunFolder, found: dict[Path, dict[str, Any]]) -> list[str]:
    way_on = sweep_command(run.path) if is_sweep(run.path) else resume_command(run.path)
    if not found:
        return [f"{run.path} holds no checkpoint yet; go on with it: {way_on}"]
    lines = [f"{'checkpoint':<24}{'env-steps':>15}{'score':>18}{'bytes':>14}  written"]
    for folder, about in found.items():
        name = f"{folder.relative_to(run.path)}"
        if "damaged" in about:
            lines.append(f"{name:<24}{'damaged':>15}")
            continue
        score = " ".join(f"{value:.3f}" for value in about.get("score") or ()) or "-"
        size = sum(leaf["bytes"] for leaf in about["leaves"].values())
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime((folder / "about.json").stat().st_mtime))
        lines.append(f"{name:<24}{about['env_steps']:>15,}{score:>18}{size:>14,}  {when}")
    return [*lines, "ended" if run.summary.is_file() and ended(run.path) else f"go on with: {way_on}", ""]


def _contents(folder: Path, about: dict[str, Any], row: int | None) -> list[str]:
    leaves = about["leaves"]
    steps = f"{about['env_steps']:,} env-steps" + (f" of {about['of']:,}" if "of" in about else "")
    iteration = f"iteration {about['iteration']:,}, " if "iteration" in about else ""
    lines = [f"{folder}: {iteration}{steps}, {len(leaves)} leaves", ""]
    width = max(map(len, leaves), default=0)
    for name, leaf in leaves.items():
        digest = leaf["sha256"]
        if isinstance(digest, list):
            digest = f"{len(digest)} lanes" if row is None else digest[row]
        shape = "x".join(map(str, leaf["shape"])) or "-"
        lines.append(f"{name:<{width}}  {leaf['dtype']:<9}{shape:>18}{leaf['bytes']:>14,}  {digest[:12]}")
    metrics = folder / "metrics.jsonl"
    last = metrics.read_text().splitlines()[-1:] if metrics.is_file() else []
    lines += ["", "metrics at the last log point:"] if last else []
    for line in last:
        lines += [
            f"  {name:<26}{value:>14,.6g}" if isinstance(value, float) else f"  {name:<26}{value:>14,}"
            for name, value in json.loads(line).items()
        ]
    lines += ["", *lineage_lines(about["graft"]["lineage"])] if "graft" in about else []
    for number, session in enumerate(about.get("lineage", [])):
        lines += ["", "lineage:"] if number == 0 else []
        made = session["environment"]
        lines.append(
            f"  from iteration {session['iteration']:,}: lepton_jax {made['lepton_jax']}, jax {made['jax']}, python "
            f"{made['python']}, {made['shards']} of {made['devices']} {made['device']} ({made['processor']}), "
            f"{made['threads']} threads"
        )
    return lines


if __name__ == "__main__":
    guarded(main)
