"""Can a network that thinks solve larger mazes than it was trained on, by thinking longer?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.protocol import Protocol

TRAINED, PASSES = 9, 16
SIZES, TIMES = (9, 13, 21), (1, 2, 4)
PROTOCOL = Protocol(
    question=f"Success of a recurrent convolution, trained on {TRAINED}x{TRAINED}, {PASSES} passes, on larger mazes",
    arms={
        "think": (
            *("--preset", "maze9", "--agent.kind", "pqn", "--env.observation", "full", "--total-steps", "7000000"),
            *("--net.kind", "think", "--net.iterations", str(PASSES), "--net.channels", "16", "--net.width", "64"),
            *("--net.no-layer-norm", "--agent.gamma", "0.97", "--agent.lam", "0.9", "--replay.collect", "16"),
            *("--agent.minibatches", "32", "--log-points", "20"),
            *("--eval.validation-levels", "256", "--eval.test-levels", "256"),
        )
    },
    seeds=(0,),
    judgements={
        f"{size} x{times}": ("--size", str(size), "--iterations", str(times * PASSES))
        for size in SIZES
        for times in TIMES
    },
)


def draw(result: dict[str, Any], protocol: Protocol, path: Path) -> None:
    """Success over passes, a line a size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.2), layout="constrained")
    axes = figure.subplots()
    for size in SIZES:
        mean = [sum(v := result["arms"]["think"][f"{size} x{times}"]) / len(v) for times in TIMES]
        axes.plot([times * PASSES for times in TIMES], mean, "o-", label=f"{size} x {size}")
    axes.set_xscale("log", base=2)
    axes.set_xticks([times * PASSES for times in TIMES], [str(times * PASSES) for times in TIMES])
    axes.set_xlabel(f"passes over the map (trained on {TRAINED} x {TRAINED} with {PASSES})")
    axes.set_ylabel(protocol.measure.replace("_", " "))
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
