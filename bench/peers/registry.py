"""Who is measured beside the engine: what is installed for it, what its worker does, what its worlds do at a reset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from bench.peers.settings import LIKE, OWN

SIDES = Path(__file__).parent / "sides"
# The processor alone. Peers that name no version of jax get the one that the engine has on Python 3.11.
_JAX = ("jax==0.10.2", "jaxlib==0.10.2")
# The last with jax.tree_map, and what went with it.
_JAX_OLD = (
    *("jax==0.5.3", "jaxlib==0.5.3", "flax==0.10.4", "optax==0.2.4", "chex==0.1.89"),
    *("orbax-checkpoint==0.11.5", "distrax==0.1.5"),
)


class World(NamedTuple):
    """What is stepped in a row of tier ``env``, or made in one of tier ``generate``."""

    layouts: str  # "reused": episodes share them; "new": made for each; "other": no maze, for its speed alone
    like: str  # the row of ours that is nearest: by observation full, egocentric or vector; by generator as MazeSpec
    note: str  # what it is, and what happens at a reset, from its source
    shorter: int = 1  # so many times fewer steps a call, since a slow world would take minutes
    most: int = 8192  # environments: of more of them a single step takes minutes


class Task(NamedTuple):
    """What learns CartPole-v1 in a row of tier ``train``."""

    like: str  # the row of ours that has the same settings
    note: str  # what it is; of ours, what differs


class Peer(NamedTuple):
    """A side of the benchmark."""

    script: str  # in ``SIDES``
    requires: tuple[str, ...] | None  # what pip installs; None: it runs in the environment of the engine
    env: Mapping[str, World] = MappingProxyType({})  # by the name that the script knows
    generate: Mapping[str, World] = MappingProxyType({})
    train: Mapping[str, Task] = MappingProxyType({})
    forced: tuple[str, ...] = ()  # installed after those without their requirements, whatever Python they ask for
    xla: bool = True  # whether its work is shared out among XLA's threads

    @property
    def tiers(self) -> tuple[str, ...]:
        """The tiers that it answers."""
        return tuple(tier for tier in ("env", "generate", "train") if getattr(self, tier))


_EARLY = "its speed is from while it acts at random for the most part, which is faster"
_ANEW = "its time to the score includes one to two seconds of compiling, since each run is the script anew"
_DOUBLE = "which has double Q-learning"
_SELECTS = "mapped over environments, a conditional is a selection, so that all make one at every step"

SPREAD = "reused, full, 2 devices"
OURS = Peer(
    "ours.py",
    None,
    {
        f"{layouts}, {sees}": World(layouts, sees, f"13x13 perfect mazes, {what}; {seen}")
        for layouts, what in {
            "reused": "a pool of 16,384 levels",
            "new": "each made for one episode, as many as episodes end",
        }.items()
        for sees, seen in {
            "full": "3x13x13",
            "egocentric": "5x5 in front of the agent, cut off by walls",
            "vector": "walls, goal and agent as numbers",
        }.items()
    }
    | {SPREAD: World("reused", "full", "reused, full; half of them on each of two devices, as training has it")},
    {
        "perfect": World("new", "perfect", "13x13, which are 6x6 rooms; uniform weights, as Kruskal's algorithm has"),
        "backtracker": World("new", "backtracker", "13x13, which are 6x6 rooms; depth first"),
    },
    {name: Task("", each.note) for name, each in LIKE.items()} | {name: Task("", "our own settings") for name in OWN},
)
PEERS: dict[str, Peer] = {
    "c": Peer(
        "c.py",
        None,
        {"mazes": World("reused", "full", "13x13 perfect mazes in C, all threads; a pool of 16,384 levels")},
        {"Kruskal": World("new", "perfect", "13x13, which are 6x6 rooms, in C, all threads")},
        xla=False,
    ),
    "gymnax": Peer(
        "gymnax_.py",
        ("gymnax==1.0.1", "six==1.17.0", *_JAX),
        {
            "FourRooms": World("reused", "vector", "one layout of 13x13; a reset draws start and goal; four numbers"),
            "FourRooms, map": World("reused", "full", "the same, seen as two planes of 13x13"),
        },
    ),
    "navix": Peer(
        "navix_.py",
        ("navix==0.7.4", *_JAX),
        {
            "Empty": World(
                "reused", "full", "one empty room of 13x13; a reset draws nothing; symbols of the whole map"
            ),
            "Empty-Random": World("reused", "full", "the same; a reset draws start and goal"),
            "FourRooms": World(
                "new",
                "full",
                f"19x19 with four rooms; every reset draws their openings, from 64 layouts in all: {_SELECTS}; symbols "
                "of the whole map",
                8,
            ),
        },
    ),
    "xminigrid": Peer(
        "xminigrid_.py",
        ("xminigrid==0.9.3", *_JAX),
        {
            "Empty": World("reused", "egocentric", "one empty room of 13x13; a reset draws nothing; 5x5 view"),
            "EmptyRandom": World("reused", "egocentric", "the same; a reset draws the start"),
            "FourRooms": World(
                "new",
                "egocentric",
                f"13x13 with four rooms; a reset draws their doors, from 625 layouts in all: {_SELECTS}; 5x5 view",
                4,
            ),
        },
    ),
    "jumanji": Peer(
        "jumanji_.py",
        ("jumanji==1.1.2", *_JAX),
        {
            "Maze": World(
                "new", "full", f"11x11 without a border, 6x6 rooms; every reset makes a perfect maze: {_SELECTS}", 8
            )
        },
        {"division": World("new", "perfect", "11x11 without a border, which are 6x6 rooms; recursive division")},
    ),
    "minimax": Peer(
        "minimax_.py",
        ("minimax-lib==0.2.0", *_JAX_OLD),
        {
            "PerfectMaze, replayed": World(
                "reused", "egocentric", "11x11 without a border; a reset goes back to the level it is handed; 5x5 view"
            ),
            "PerfectMaze": World(
                "new", "egocentric", f"the same; every reset makes a perfect maze: {_SELECTS}; 5x5 view", 8
            ),
        },
        {"backtracker": World("new", "backtracker", "11x11 without a border, which are 6x6 rooms; depth first")},
    ),
    "jaxued": Peer(
        "jaxued_.py",
        ("jaxued==0.0.1", "gymnax==0.0.9", *_JAX_OLD),
        {
            "Maze, replayed": World(
                "reused", "egocentric", "13x13, 60 random walls; a reset goes back to the level; 5x5"
            ),
            "Maze": World("new", "egocentric", f"the same; every reset draws walls: {_SELECTS}; 5x5 view", 8),
        },
    ),
    "craftax": Peer(
        "craftax_.py",
        ("craftax==1.6.1", *_JAX),
        {"Classic-Symbolic": World("other", "full", f"another game; every reset makes a world: {_SELECTS}", 256, 64)},
    ),
    "rejax": Peer(
        "rejax_.py",
        ("rejax==0.1.3", "gymnax==0.0.9", *_JAX),
        train={
            "DQN": Task("as rejax DQN", f"the defaults of its class, {_DOUBLE}"),
            "DQN, cartpole.yaml": Task("as rejax DQN, cartpole.yaml", f"its settings for this world, {_DOUBLE}"),
            "PQN": Task("as rejax PQN", "the defaults of its class"),
            "PQN, cartpole.yaml": Task("as rejax PQN, cartpole.yaml", "its settings for this world"),
        },
    ),
    "stable-baselines3": Peer(
        "stable_baselines3_.py",
        ("stable-baselines3==2.9.2", "torch==2.13.0"),
        train={
            "DQN": Task("as stable-baselines3 DQN", "the defaults of its class; PyTorch"),
            "DQN, rl-zoo": Task("as stable-baselines3 DQN, rl-zoo", "what rl-zoo has for this world; PyTorch"),
        },
    ),
    "cleanrl": Peer(
        "cleanrl_.py",
        (
            "stable-baselines3==2.9.2",
            # Its loop looks for what gymnasium 1.0 no longer tells, the last observation of an episode cut short.
            "gymnasium==0.29.1",
            "torch==2.13.0",
            "tensorboard==2.21.0",
            "tyro==1.0.17",
            "optax==0.2.8",
            "flax==0.12.8",
            *_JAX,
        ),
        # A release made for Python up to 3.10 and for older packages.
        train={
            "dqn": Task("as cleanrl", f"its script at its defaults; PyTorch; {_EARLY}"),
            "dqn_jax": Task("as cleanrl", f"its script at its defaults; the network alone in jax; {_EARLY}; {_ANEW}"),
        },
        forced=("cleanrl==1.2.0",),
    ),
}
