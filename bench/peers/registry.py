"""Who is measured beside the engine: what is installed for it, and what its worker can do."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

SIDES = Path(__file__).parent / "sides"
# The processor alone, and what jax there is for the peers that name no version.
_JAX = ("jax==0.10.2", "jaxlib==0.10.2")


class Peer(NamedTuple):
    """A side of the benchmark."""

    script: str  # in ``SIDES``
    requires: tuple[str, ...] | None  # what pip installs; None: it runs in the environment of the engine
    tiers: tuple[str, ...]
    reuses: bool | None  # whether an episode may be on a layout that another one was on; None: it has both ways
    note: str  # what its worlds are, and what happens at a reset, from its source


OURS = Peer("ours.py", None, ("env", "generate"), None, "13x13 perfect mazes, four moves, full observation 3x13x13")
PEERS: dict[str, Peer] = {
    "c": Peer(
        "c.py",
        None,
        ("env", "generate"),
        True,
        "13x13 perfect mazes in C, two threads: the practical limit of the processor; a pool of 4,096 layouts",
    ),
    "gymnax": Peer(
        "gymnax_.py",
        ("gymnax==1.0.1", "six==1.17.0", *_JAX),
        ("env",),
        True,
        "FourRooms-misc: one layout of 13x13, four numbers as observation; start and goal are drawn",
    ),
    "navix": Peer(
        "navix_.py",
        ("navix==0.7.4", *_JAX),
        ("env",),
        False,
        "FourRooms-v0, 19x19, symbolic first-person view; every reset draws new openings in its walls",
    ),
    "xminigrid": Peer(
        "xminigrid_.py",
        ("xminigrid==0.9.3", *_JAX),
        ("env",),
        False,
        "MiniGrid-FourRooms, 19x19, 7x7 view; every reset draws new openings in its walls",
    ),
    "jumanji": Peer(
        "jumanji_.py",
        ("jumanji==1.1.2",),
        ("env", "generate"),
        False,
        "Maze-v0 with 11 rows and columns and no border, which are as many rooms; every reset makes a new perfect maze",
    ),
    "minimax": Peer(
        "minimax_.py",
        (
            *("minimax-lib==0.2.0", "jax==0.5.3", "jaxlib==0.5.3", "flax==0.10.4", "optax==0.2.4", "chex==0.1.89"),
            *("orbax-checkpoint==0.11.5", "distrax==0.1.5"),
        ),
        ("env", "generate"),
        False,
        "PerfectMaze of 13x13, 5x5 view; every step makes a new perfect maze for whoever has ended, and for all others",
    ),
    "craftax": Peer(
        "craftax_.py",
        ("craftax==1.6.1", *_JAX),
        ("env",),
        False,
        "Craftax-Classic-Symbolic, another game; every step makes a new world for all",
    ),
}
