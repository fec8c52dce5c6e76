"""What transfer is measured on: a source, a target, and the arms between them. Imports no jax.

All pairs learn with DQN on mazes that a laptop can train on in a minute; source and target have the same settings but
for what the pair is about, and all arms have the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from lepton_jax.transfer.asking import HEAD, TORSO, Imitation, Plan, Rule

Changes = Mapping[str, Any]
NONE: Changes = MappingProxyType({})


class Arm(NamedTuple):
    """A way of learning the target."""

    what: str
    plan: Plan  # its source is filled in
    source: str | None = "source"  # the name of one of the pair's sources; None: its numbers are not used
    long: bool = False  # as many steps as source and target together
    control: bool = False


class Pair(NamedTuple):
    """A question, and the runs that answer it."""

    question: str
    common: Changes  # to preset quick, in source and target
    target: Changes
    arms: Mapping[str, Arm]
    sources: Mapping[str, Changes] = MappingProxyType({"source": NONE})
    source_steps: int = 1_000_000
    target_steps: int = 600_000
    seeds: int = 3
    figure: str = "success_rate"
    threshold: float = 0.7


_NEW_HEAD = Rule(r"params/head/(.*)")
_NOTHING = Plan("", ignore=(".*",), rest=Rule(""))
_FULL = Plan("", rules=(TORSO, HEAD))
_BASELINES = {
    "scratch": Arm("random weights", _NOTHING, None),
    "scratch-long": Arm("random weights, and the steps of the source too", _NOTHING, None, long=True),
}
_TORSO_ONLY = {
    "full": Arm("everything is taken, and trained", _FULL),
    "frozen": Arm(
        "the torso is taken and frozen, under a new head",
        Plan("", rules=(TORSO._replace(frozen=True), _NEW_HEAD), ignore=("params/head/.*",)),
    ),
}
_CONTROLS = {
    name: Arm(what, _FULL._replace(control=name), control=True)
    for name, what in (
        ("permuted", "as full, with the source's numbers permuted within each leaf"),
        ("random-norm", "as full, with random numbers of the same norm"),
    )
}
_ALL = {
    **_BASELINES,
    **_TORSO_ONLY,
    "low-rank": Arm(
        "the torso is taken and frozen, beside adapters of rank 4", Plan("", rules=(TORSO._replace(rank=4), HEAD))
    ),
    "l2": Arm(
        "as full, held to the source by an L2 penalty of 1e-4",
        Plan("", rules=(TORSO._replace(l2=1e-4), HEAD._replace(l2=1e-4))),
    ),
    "kickstart": Arm(
        "random weights, that imitate the source's policy at first",
        _FULL._replace(kickstart=Imitation(weight=0.1, temperature=0.05, fraction=0.5, student="fresh")),
    ),
    **_CONTROLS,
    "unrelated": Arm(
        "as full, from a source that learned to keep off walls and knows of no goal", _FULL, "unrelated", control=True
    ),
}
_TWO_SOURCES = {"source": NONE, "unrelated": {"env": {"goal_reward": 0.0, "wall_penalty": 1.0}}}
_WINDOW = {"env": {"observation": "centred", "view": 9}}
_SHORT = {**_BASELINES, **_TORSO_ONLY, **_CONTROLS}


def _mapped(*actions: int) -> Plan:
    return _FULL._replace(rules=(TORSO, HEAD._replace(actions=actions, mismatch="error")))


def _fitted(mismatch: str, what: str) -> dict[str, Arm]:
    """Everything is taken, the first layer made to fit; and the same permuted."""
    plan = _FULL._replace(rules=(TORSO._replace(mismatch=mismatch), HEAD))
    permuted = "as full, with the source's numbers permuted within each leaf"
    return {"full": Arm(what, plan), "permuted": Arm(permuted, plan._replace(control="permuted"), control=True)}


PAIRS: dict[str, Pair] = {
    "T0": Pair(
        question="Does fine-tuning on the same task keep what the source knows?",
        common=NONE,
        target={"agent": {"lr": 2e-4, "eps_start": 0.3}},
        arms={"scratch": _BASELINES["scratch"], "full": _TORSO_ONLY["full"]},
        source_steps=6_000_000,
        target_steps=1_000_000,
        seeds=5,
    ),
    "T1": Pair(
        question="Does a policy for 7x7 mazes help to learn 9x9 mazes?",
        common=_WINDOW,
        target={"env": {"size": 9}},
        arms=_ALL,
        sources=_TWO_SOURCES,
        source_steps=1_500_000,
        target_steps=1_500_000,
        seeds=5,
        threshold=0.5,
    ),
    "T2": Pair(
        question="Does a policy for goals at most 4 steps away help where they are at least 7 away?",
        common={"env": {"max_distance": 4}},
        target={"env": {"max_distance": 0, "min_distance": 7}},
        arms=_ALL,
        sources=_TWO_SOURCES,
        source_steps=1_500_000,
        target_steps=1_500_000,
        seeds=5,
    ),
    "T3": Pair(
        question="How many levels must a source have seen to help on larger mazes?",
        common=_WINDOW,
        target={"env": {"size": 9, "levels": 0}},
        arms={
            **_BASELINES,
            **{
                f"{n} levels": Arm(f"as full, from a source that saw {n:,} levels", _FULL, f"{n}")
                for n in (10, 100, 10_000)
            },
        },
        sources={f"{n}": {"env": {"levels": n}} for n in (10, 100, 10_000)},
        threshold=0.4,
    ),
    "T4-permuted": Pair(
        question="Does a policy help where its four actions are exchanged?",
        common=NONE,
        target=NONE,
        arms={
            **_BASELINES,
            "full": Arm("the head is taken as if nothing had changed", _mapped(1, 2, 3, 0)),
            "new head": Arm(
                "the torso is taken, under a new head", Plan("", rules=(TORSO, _NEW_HEAD), ignore=("params/head/.*",))
            ),
            "known map": Arm("the head is taken by the right map", _mapped(0, 1, 2, 3)),
            **_CONTROLS,
        },
    ),
    "T4-diagonal": Pair(
        question="Does a policy of four moves help to learn with eight?",
        common=NONE,
        target={"env": {"actions": "diagonal"}},
        arms={
            **_BASELINES,
            "full": Arm("the head is taken for the four moves that are known", _mapped(0, 1, 2, 3, -1, -1, -1, -1)),
            "new head": Arm(
                "the torso is taken, under a new head", Plan("", rules=(TORSO, _NEW_HEAD), ignore=("params/head/.*",))
            ),
        },
    ),
    "T4-oriented": Pair(
        question="Does a policy of four moves help to learn to turn and go forward?",
        common=_WINDOW,
        target={"env": {"observation": "egocentric", "actions": "oriented"}},
        arms=_SHORT,
        threshold=0.5,
    ),
    "T5": Pair(
        question="Does a policy help where steps cost and walls hurt?",
        common=NONE,
        target={"env": {"step_cost": 0.02, "wall_penalty": 0.1}},
        arms=_SHORT,
    ),
    "T6": Pair(
        question="Does a policy help where there is lava, which it has no input for?",
        common=NONE,
        target={"env": {"lava": 0.3, "lava_penalty": 0.5}},
        arms={
            **_BASELINES,
            **_fitted("pad", "everything is taken, and trained; new inputs begin with weights of zero"),
        },
    ),
    "T7": Pair(
        question="Does a policy help where every fifth move slips?",
        common=NONE,
        target={"env": {"slip": 0.2}},
        arms=_SHORT,
    ),
    "T8": Pair(
        question="Does a policy for mazes help in the four rooms of gymnax?",
        common={"env": {"observation": "vector"}},
        target={"env": {"id": "FourRooms-misc"}},
        arms={
            **_BASELINES,
            **_fitted(
                "slice",
                "everything is taken, of the first layer the inputs that both have: the agent's and the goal's cell",
            ),
        },
        figure="mean_return",
    ),
}
