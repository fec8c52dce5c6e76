"""From a plan as it was asked for to what happens to every leaf, from metadata alone; strict both ways."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lepton_jax.agents.networks import layer_of
from lepton_jax.agents.training import Kickstart, Training, Treatment
from lepton_jax.config import ConfigError
from lepton_jax.settings import nearest
from lepton_jax.transfer import memory, moments
from lepton_jax.transfer.asking import Plan, Rule
from lepton_jax.transfer.blocks import Move, fault
from lepton_jax.transfer.memory import Borrowed, Records
from lepton_jax.transfer.sources import Source


class Target(NamedTuple):
    """What is grafted onto."""

    leaves: Mapping[str, tuple[tuple[int, ...], str]]  # shape and dtype by name
    num_actions: int
    gradient_steps: int  # of the run
    recurrent: bool
    records: Records | None = None  # None if it replays no transitions


class LeafPlan(NamedTuple):
    """What happens to a leaf of the target."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    source: str | None  # the leaf that the rule names for it; with move.kind init it is not read
    source_shape: tuple[int, ...] | None
    source_dtype: str | None
    bytes: int  # that are read, with moments
    digest: str | None  # of what is read, as far as the source states one
    move: Move
    rule: str  # which, for people
    treatment: Treatment

    @property
    def read(self) -> str | None:
        """The leaf that is read for it; None if it is drawn at random."""
        return None if self.move.kind == "init" else self.source


class Resolved(NamedTuple):
    """A plan that can be carried out."""

    plan: Plan
    leaves: tuple[LeafPlan, ...]  # in the order of their names
    ignored: tuple[str, ...]  # leaves of the source left unused
    training: Training
    digest: str  # of all that decides what comes out; not of the order or the spelling of rules
    borrowed: Borrowed | None  # the source's replay memory

    @property
    def bytes(self) -> int:
        """That are read of the source."""
        memory = 0 if self.borrowed is None else self.borrowed.bytes
        return memory + sum({leaf.read: leaf.bytes for leaf in self.leaves}.values())


def resolve(plan: Plan, source: Source, target: Target, name: str) -> Resolved:
    """Decides what happens to every leaf of ``target``; ``name`` is what messages call the plan.

    Raises:
      ConfigError: a leaf without a rule or with several, a rule without a leaf, a leaf that the source has not (with
        the nearest one) or that is not used of it, shapes or dtypes that do not fit; says how to mend it.
    """
    rules = _assigned(plan, target, name)
    for rule, label in rules.values():
        if rule.actions and len(rule.actions) != target.num_actions:
            raise ConfigError(
                f"{name}: {label}: actions = {list(rule.actions)} maps {len(rule.actions)} actions, and the world has "
                f"{target.num_actions}; say for each which of the source's it is, -1 for a new one"
            )
    leaves = [_leaf(leaf, *target.leaves[leaf], rule, label, source, name) for leaf, (rule, label) in rules.items()]
    _same_actions(leaves, source, name)
    ignored = _ignored(plan, source, leaves, name)
    leaves = _with_decay([(leaf, rules[leaf.name][0]) for leaf in leaves])
    if plan.moments:
        leaves = _with_moments(leaves, source, name)
    kickstart = _kickstart(plan, leaves, rules, target, name)
    treated = tuple((leaf.name, leaf.treatment) for leaf in leaves if leaf.treatment != Treatment())
    if plan.replay and any(rule.actions for rule, _ in rules.values()):
        raise ConfigError(f"{name}: replay with an action map: the memory's actions are the source's; leave one away")
    borrowed = memory.find(source, plan.replay, target.records, name) if plan.replay else None
    training = Training(treated, kickstart, borrowed.reuse if borrowed else None)
    return Resolved(plan, tuple(leaves), ignored, training, _digest(plan, leaves, training, borrowed), borrowed)


def _assigned(plan: Plan, target: Target, name: str) -> dict[str, tuple[Rule, str]]:
    """The rule of every leaf, and what to call it."""
    labels = [f"rule {number} ({rule.target})" for number, rule in enumerate(plan.rules, 1)]
    matching = {
        leaf: [place for place, rule in enumerate(plan.rules) if re.fullmatch(rule.target, leaf)]
        for leaf in sorted(target.leaves)
    }
    used = {place for places in matching.values() for place in places}
    for place, rule in enumerate(plan.rules):
        if place not in used:
            hint = nearest(rule.target.replace("\\", ""), target.leaves)
            raise ConfigError(
                f"{name}: {labels[place]} matches no leaf of the network{hint}; mend its target, or remove the rule"
            )
    found: dict[str, tuple[Rule, str]] = {}
    for leaf, places in matching.items():
        if len(places) > 1:
            raise ConfigError(
                f"{name}: '{leaf}' belongs to {labels[places[0]]} and to {labels[places[1]]}; narrow one of them: the "
                "order of rules says nothing"
            )
        if not places and plan.rest is None:
            raise ConfigError(
                f"{name}: '{leaf}' {_shape(target.leaves[leaf][0])} belongs to no rule; add one for it, or [rest] for "
                "all that is not named"
            )
        found[leaf] = (plan.rules[places[0]], labels[places[0]]) if places else (plan.rest or Rule(""), "rest")
    if plan.rest is not None and all(label != "rest" for _, label in found.values()):
        raise ConfigError(f"{name}: rest: the rules name every leaf of the network; remove [rest]")
    return found


def _leaf(leaf: str, shape: tuple[int, ...], dtype: str, rule: Rule, label: str, source: Source, name: str) -> LeafPlan:
    treatment = _treatment(leaf, shape, rule, f"{name}: {label}")
    if rule.source is None:
        move = Move("init", (), shape)
        return LeafPlan(leaf, shape, dtype, None, None, None, 0, None, move, label, treatment)
    matched = re.fullmatch(rule.target, leaf)
    wanted = matched.expand(rule.source) if matched and rule.target else rule.source
    if wanted not in source.leaves:
        raise ConfigError(
            f"{name}: '{leaf}' is to come from '{wanted}' by {label}, and {source.path} has no such leaf"
            f"{nearest(wanted, source.leaves)}; python -m lepton_jax.graft show {source.path} lists them"
        )
    known = source.leaves[wanted]
    move = _move(leaf, shape, rule, label, wanted, known.shape, source, name)
    if move.kind == "init":
        drawn = treatment._replace(l2=0.0)  # what is drawn anew has nothing to be held to
        return LeafPlan(leaf, shape, dtype, wanted, known.shape, known.dtype, 0, None, move, label, drawn)
    if known.dtype != dtype and not rule.cast:
        raise ConfigError(
            f"{name}: '{leaf}' is {dtype}, and '{wanted}' of {source.path} is {known.dtype}; say cast = true in {label}"
        )
    if known.dtype.startswith("complex"):
        raise ConfigError(
            f"{name}: '{leaf}' is {dtype}, and '{wanted}' of {source.path} is {known.dtype}; save it as real numbers"
        )
    return LeafPlan(
        leaf, shape, dtype, wanted, known.shape, known.dtype, known.bytes, known.digest, move, label, treatment
    )


def _move(
    leaf: str, shape: tuple[int, ...], rule: Rule, label: str, wanted: str, known: tuple[int, ...], source: Source,
    name: str,
) -> Move:  # fmt: skip
    seen, made = rule.view or (known, shape)
    for what, whole, view in (("source", known, seen), ("target", shape, made)):
        if math.prod(whole) != math.prod(view):
            raise ConfigError(
                f"{name}: {label}: view: the {what}'s '{wanted if what == 'source' else leaf}' is {_shape(whole)}, "
                f"which cannot be seen as {_shape(view)}"
            )
    if rule.actions:
        move = Move("actions", seen, made, actions=rule.actions)
    elif seen == made:
        move = Move("copy", seen, made)
    else:
        move = Move(rule.mismatch if rule.mismatch != "error" else "copy", seen, made, rule.align)
    if (wrong := fault(move)) is not None:
        how = f"mismatch = '{rule.mismatch}'" if not rule.actions else f"actions = {list(rule.actions)}"
        raise ConfigError(
            f"{name}: '{leaf}' is {_shape(shape)}, and '{wanted}' of {source.path} is {_shape(known)}: {wrong} "
            f"({label}, {how}). Choose mismatch = init, slice, pad, tile or resample there, or a net of the same sizes"
        )
    return move


def _same_actions(leaves: Sequence[LeafPlan], source: Source, name: str) -> None:
    """Refuses an action map of leaves that are not of equally many actions: then one of them is not what it seems."""
    first: dict[str, LeafPlan] = {}
    for leaf in leaves:
        if leaf.move.kind != "actions":
            continue
        other = first.setdefault(leaf.rule, leaf)
        if leaf.move.source[-1] != other.move.source[-1]:
            raise ConfigError(
                f"{name}: {leaf.rule} maps actions, and of {source.path} the last axis of '{other.source}' has "
                f"{other.move.source[-1]} places, that of '{leaf.source}' {leaf.move.source[-1]}; write a rule for each"
            )


def _treatment(leaf: str, shape: tuple[int, ...], rule: Rule, where: str) -> Treatment:
    if not rule.rank:
        return Treatment(rule.frozen, rule.lr, rule.thaw, rule.l2)
    if len(shape) < 2:
        return Treatment(frozen=True)  # adapters are for matrices; what lies beside them stays too
    most = min(math.prod(shape[:-1]), shape[-1])
    if rule.rank > most:
        raise ConfigError(f"{where}: rank = {rule.rank}, and '{leaf}' {_shape(shape)} has rank {most} at most")
    return Treatment(False, rule.lr, rule.thaw, 0.0, rule.rank)


def _with_decay(leaves: Sequence[tuple[LeafPlan, Rule]]) -> list[LeafPlan]:
    """The learning rates of rules that fall from layer to layer, downwards."""
    by_rule: dict[str, set[Any]] = {}
    for leaf, _ in leaves:
        by_rule.setdefault(leaf.rule, set()).add(layer_of(leaf.name))
    made = []
    for leaf, rule in leaves:
        layers = sorted(by_rule[leaf.rule], reverse=True)
        factor = leaf.treatment.factor * rule.decay ** layers.index(layer_of(leaf.name))
        made.append(leaf if rule.decay == 1.0 else leaf._replace(treatment=leaf.treatment._replace(factor=factor)))
    return made


def _with_moments(leaves: Sequence[LeafPlan], source: Source, name: str) -> list[LeafPlan]:
    """With the moments of what is taken and trained; the others' begin anew."""
    known, made = moments.find(source, name), []
    for leaf in leaves:
        treatment, carried = leaf.treatment, leaf.read is not None and leaf.read in known
        if not carried or treatment.frozen or treatment.rank:
            made.append(leaf)
            continue
        size = leaf.bytes + moments.bytes_of(source, known[str(leaf.read)])
        made.append(leaf._replace(bytes=size, treatment=treatment._replace(moments=True)))
    if not any(leaf.treatment.moments for leaf in made):
        raise ConfigError(f"{name}: moments: no leaf is both taken and trained; leave moments away")
    return made


def _ignored(plan: Plan, source: Source, leaves: Sequence[LeafPlan], name: str) -> tuple[str, ...]:
    """The leaves of the source that are left unused, all of them on purpose."""
    named = {leaf.source for leaf in leaves}
    unused = [leaf for leaf in source.leaves if leaf not in named]
    for pattern in plan.ignore:
        if not any(re.fullmatch(pattern, leaf) for leaf in unused):
            raise ConfigError(
                f"{name}: ignore: {pattern!r} matches no leaf of {source.path} that is left unused"
                f"{nearest(pattern, unused or source.leaves)}; remove it"
            )
    lost = [leaf for leaf in unused if not any(re.fullmatch(pattern, leaf) for pattern in plan.ignore)]
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise ConfigError(
            f"{name}: nothing uses '{lost[0]}'{more} of {source.path}; name it as the source of a rule, or say "
            f"ignore = ['{re.escape(lost[0])}'{', ...' if more else ''}]"
        )
    return tuple(sorted(unused))


def _kickstart(
    plan: Plan, leaves: Sequence[LeafPlan], rules: Mapping[str, tuple[Rule, str]], target: Target, name: str
) -> Kickstart | None:
    asked = plan.kickstart
    if asked is None:
        return None
    if target.recurrent:
        raise ConfigError(
            f"{name}: kickstart: the network has a memory, and a teacher has none of its own; leave it away"
        )
    drawn = next((leaf for leaf in leaves if leaf.move.kind == "init"), None)
    if drawn is not None:
        raise ConfigError(
            f"{name}: kickstart: '{drawn.name}' is drawn at random by {drawn.rule}, so that the teacher knows nothing; "
            "have it come from the source, for other actions by an action map"
        )
    maps = {rule.actions for rule, _ in rules.values() if rule.actions}
    if len(maps) > 1:
        raise ConfigError(f"{name}: kickstart: two rules map actions differently; let them agree")
    known = tuple(action >= 0 for action in maps.pop()) if maps else (True,) * target.num_actions
    if not any(known):
        raise ConfigError(f"{name}: kickstart: actions maps none of the source's, so that the teacher knows nothing")
    steps = max(1, math.ceil(asked.fraction * target.gradient_steps))
    return Kickstart(asked.weight, asked.temperature, steps, known, asked.student == "fresh")


def _digest(plan: Plan, leaves: Sequence[LeafPlan], training: Training, borrowed: Borrowed | None) -> str:
    told = ("name", "shape", "dtype", "read", "source_shape", "source_dtype", "digest", "move")
    facts = {
        "leaves": [{field: getattr(leaf, field) for field in told} for leaf in leaves],
        "training": training.to_json(),
        "control": [plan.control, plan.control_seed] if plan.control else None,
        "replay": {leaf: entry.digest for leaf, entry in borrowed.leaves.items()} if borrowed else None,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a scalar"
