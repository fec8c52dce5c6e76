"""Carries out an experiment: ``python -m experiments NAME``. What has been run before is not run again."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.protocol import Protocol, carry_out

HERE = Path(__file__).parent


def table(result: dict[str, Any], protocol: Protocol) -> str:
    """The result as text: an arm a line, then the differences."""
    columns = [protocol.measure, *protocol.judgements]
    widths = [max(12, len(column) + 2) for column in columns]
    row = lambda name, cells: f"{name:<24}" + "".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True))
    lines = [row("mean over seeds", columns)]
    lines += [row(arm, [f"{np.mean(values[c]):.3f}" for c in columns]) for arm, values in result["arms"].items()]
    for name, gap in result["differences"].items():
        lines.append(f"{name}: {gap['mean']:+.4f}, 95% interval {gap['low']:+.4f} to {gap['high']:+.4f}")
    return "\n".join(lines)


def draw(result: dict[str, Any], protocol: Protocol, path: Path) -> None:
    """A dot a run, a line a seed through the arms, and the means."""
    from matplotlib.figure import Figure

    arms = list(result["arms"])
    values = np.array([result["arms"][arm][protocol.measure] for arm in arms])
    figure = Figure(figsize=(1.6 + 1.4 * len(arms), 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(arms, values, "o-", color="0.75", markersize=5, linewidth=1)
    axes.plot(arms, values.mean(axis=1), "_", color="C0", markersize=30, markeredgewidth=2.5)
    axes.set_ylabel(protocol.measure.replace("_", " "))
    axes.margins(x=0.2)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Parses, carries out, writes result.json and figure.png beside the protocol, and prints the table."""
    names = sorted(path.parent.name for path in HERE.glob("*/plan.py"))
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    parser.add_argument("name", choices=names)
    name = parser.parse_args().name
    plan = importlib.import_module(f"experiments.{name}.plan")
    result = carry_out(name, plan.PROTOCOL)
    (HERE / name / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    getattr(plan, "draw", draw)(result, plan.PROTOCOL, HERE / name / "figure.png")
    print(table(result, plan.PROTOCOL))


if __name__ == "__main__":
    main()
