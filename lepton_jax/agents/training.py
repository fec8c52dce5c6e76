"""How a network that does not begin at random is trained: leaf by leaf, towards its source, beside a teacher.

A leaf is named by its path in the parameter tree, such as ``params/torso/Dense_0/kernel``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lepton_jax.agents import explore


class Treatment(NamedTuple):
    """How one leaf is trained. Static."""

    frozen: bool = False  # it keeps its value exactly
    factor: float = 1.0  # times the learning rate
    thaw: int = 0  # gradient steps that it stays frozen for at first
    l2: float = 0.0  # weight of |leaf - source|**2 / 2 in the loss
    rank: int = 0  # if not 0, the leaf stays and a matrix of that rank is learned to add to it
    moments: bool = False  # the optimiser begins with the moments it is given, see ``Given``

    @property
    def group(self) -> str:
        """The leaves of a group share an optimiser."""
        return FROZEN if self.frozen else f"factor {self.factor!r} from {self.thaw}{CARRIED if self.moments else ''}"


FROZEN, CARRIED = "frozen", " with moments"
PLAIN = Treatment()


class Kickstart(NamedTuple):
    """A teacher, the graft as it was: its policy is imitated at first (Schmitt et al. 2018, arXiv 1803.03835). Static.

    Policies are softmax(Q / temperature), as in QDagger (Agarwal et al. 2022, arXiv 2206.01626).
    """

    weight: float  # of the cross-entropy in the loss, at the first gradient step
    temperature: float
    steps: int  # gradient steps after which the weight, falling linearly, is 0
    known: tuple[bool, ...]  # by action: whether the teacher knows it
    fresh: bool  # the student begins at random


class Reuse(NamedTuple):
    """A replay memory that a run begins with and does not write to: the source's (RLPD: Ball et al. 2023, arXiv
    2302.02948, samples half of each batch from it). Static."""

    share: float  # of each batch
    blocks: int  # of its ring
    length: int  # rows of a block
    slots: int  # of a block and column, for what truncated episodes reached
    envs: int  # columns


class Training(NamedTuple):
    """How all leaves are trained. Static and hashable; leaves that are not named are ``PLAIN``."""

    leaves: tuple[tuple[str, Treatment], ...] = ()
    kickstart: Kickstart | None = None
    reuse: Reuse | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        parts = {"kickstart": self.kickstart, "reuse": self.reuse}
        plain = {name: None if part is None else part._asdict() for name, part in parts.items()}
        return {"leaves": {name: each._asdict() for name, each in self.leaves}, **plain}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Training:
        """The reverse of ``to_json``."""
        kickstart = values["kickstart"]
        if kickstart is not None:
            kickstart = Kickstart(**{**kickstart, "known": tuple(kickstart["known"])})
        reuse = None if values.get("reuse") is None else Reuse(**values["reuse"])
        return cls(tuple((name, Treatment(**each)) for name, each in values["leaves"].items()), kickstart, reuse)

    @property
    def needs_source(self) -> bool:
        """Whether the loss looks at the parameters that training began with."""
        return self.kickstart is not None or any(each.l2 for _, each in self.leaves)

    @property
    def uniform(self) -> bool:
        """Whether the optimiser need not tell leaves apart."""
        return all(each.group == PLAIN.group and not each.rank for _, each in self.leaves)


AS_USUAL = Training()


class Moments(NamedTuple):
    """Adam's running averages, as an optimiser has them after ``count`` steps. Trees like a network's parameters."""

    mu: Any  # float32: of the gradient
    nu: Any  # float32: of its square
    count: Any  # int32 ()


class Given(NamedTuple):
    """What a run begins with instead of random numbers and nothing. Trees like a network's parameters."""

    values: Any
    taken: Any  # bool: where ``values`` stand in place of what was drawn
    moments: Any = ()  # Moments, where a treatment says so; zeros elsewhere
    memory: Any = ()  # engine.replay.Memory, where ``Training.reuse`` says so


def begin(training: Training, fresh: Any, given: Given | None) -> tuple[Any, Any]:
    """The parameters to begin with, and those that the loss looks back at, () if it does not.

    Args:
      training: static.
      fresh: parameters as they were drawn.
      given: if not None, what replaces them.
    """
    if given is None:
        grafted = fresh
    else:
        drawn = {name: fresh[name] for name in given.values}  # adapters are never given
        grafted = {**fresh, **jax.tree.map(jnp.where, given.taken, given.values, drawn)}
    source = jax.tree.map(jnp.copy, grafted) if training.needs_source else ()
    kickstart = training.kickstart
    return fresh if kickstart is not None and kickstart.fresh else grafted, source


def guidance(
    training: Training,
    params: Any,
    source: Any,
    steps: jax.Array,
    values: jax.Array,
    teacher: Callable[[], jax.Array],
) -> jax.Array | float:
    """What is added to the loss: the pull towards the source, and the cross-entropy with the teacher's policy.

    Args:
      training: static. params, source: as ``begin`` gives them. steps: int32 (), gradient steps taken.
      values: float32 (..., A), Q of the network that learns.
      teacher: () -> Q of ``source`` for the same observations, alike.

    Returns:
      float32 (), or 0.0 where there is nothing to add.
    """
    total: jax.Array | float = 0.0
    weights = {name: each.l2 for name, each in training.leaves if each.l2}
    if weights:
        here, there = by_name(params), by_name(source)
        total = sum(0.5 * weight * jnp.sum(jnp.square(here[name] - there[name])) for name, weight in weights.items())
    kickstart = training.kickstart
    if kickstart is not None:
        weight = explore.linear(steps, jnp.float32(kickstart.weight), jnp.float32(0), jnp.float32(kickstart.steps))
        known = jnp.array(kickstart.known)
        # Over the actions that the teacher knows: of the others it has no opinion.
        policy = lambda q: jax.nn.log_softmax(jnp.where(known, q / kickstart.temperature, -jnp.inf))
        taught = jnp.exp(policy(jax.lax.stop_gradient(teacher())))
        cross = -jnp.sum(jnp.where(known, taught * policy(values), 0.0), axis=-1)
        total = total + weight * jnp.mean(cross)
    return total


def treatments(training: Training, params: Any) -> Any:
    """The ``Treatment`` of every leaf of ``params``, a tree like it; of adapters that of the leaf they add to."""
    known = dict(training.leaves)

    def treatment(path: Any, _: Any) -> Treatment:
        collection, *names = name_of(path).split("/")
        if collection == LOW_RANK:  # its last name is that of the factor
            return known["/".join(("params", *names[:-1]))]._replace(rank=0)
        found = known.get(name_of(path), PLAIN)
        return found._replace(frozen=True) if found.rank else found

    return jax.tree_util.tree_map_with_path(treatment, params)


LOW_RANK = "low_rank"  # the collection of adapters, beside "params"


def by_name(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their paths."""
    return {name_of(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def name_of(path: Any) -> str:
    """The name of a leaf, from its path in a tree."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
