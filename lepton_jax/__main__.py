"""The commands: ``python -m lepton_jax`` lists them, ``python -m lepton_jax train ...`` runs one.

Imports nothing that is installed before it knows what to run, so that ``doctor`` answers where nothing else does.
"""

from __future__ import annotations

import runpy
import sys

import lepton_jax
from lepton_jax.settings import nearest

COMMANDS = {
    "train": "train an agent; by default on small mazes, in a minute",
    "sweep": "run seeds x hyperparameters as lanes of one program",
    "evaluate": "judge a policy on test levels, named mazes or your own",
    "watch": "watch a policy play, or make a film of it",
    "compare": "show runs side by side: curves, figures, what differs",
    "report": "write the page of a run anew",
    "inspect": "say what a run has kept, and whether it is intact",
    "graft": "plan how parameters go into another network",
    "measure": "measure what transfer buys",
    "levels": "show, make, check and describe mazes",
    "play": "play mazes yourself",
    "doctor": "say what is wrong with the installation, and the fix",
}


def main(argv: list[str]) -> None:
    """Lists the commands, or runs the one that is named with the words behind it.

    Raises:
      SystemExit: 2 after an unknown command; else as the command does.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print("\n".join(lines()))
        return
    if argv[0] == "--version":
        print(lepton_jax.__version__)
        return
    if argv[0] not in COMMANDS:
        hint = nearest(argv[0], COMMANDS)
        print(f"error: {argv[0]}: no such command{hint}; expected one of {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)
    sys.argv = [argv[0], *argv[1:]]
    runpy.run_module(f"lepton_jax.{argv[0]}", run_name="__main__", alter_sys=True)


def lines() -> list[str]:
    """What there is to run."""
    wide = max(map(len, COMMANDS))
    return [
        f"lepton_jax {lepton_jax.__version__}: deep Q-learning and transfer in JAX",
        "",
        "usage: python -m lepton_jax COMMAND ..., or python -m lepton_jax.COMMAND ...",
        "",
        *(f"  {name:<{wide}}  {what}" for name, what in COMMANDS.items()),
        "",
        "python -m lepton_jax COMMAND --help tells more.",
        "example: python -m lepton_jax train --preset maze9 --seed 3 --run-dir runs/mine",
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
