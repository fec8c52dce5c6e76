"""Does it help to see each sample through one of the maze's eight symmetries?"""

from experiments.protocol import Protocol

_SEEN = ("--agent.symmetry",)
PROTOCOL = Protocol(
    question="Success on held-out 7x7 layouts (preset quick) with and without symmetry augmentation",
    arms={
        "dqn": (),
        "dqn symmetry": _SEEN,
        "pqn": ("--agent.kind", "pqn"),
        "pqn symmetry": ("--agent.kind", "pqn", *_SEEN),
    },
    pairs=(("dqn symmetry", "dqn"), ("pqn symmetry", "pqn")),
)
