"""A plan as it is asked for: a TOML table of rules from leaves of the target to leaves of a source. Imports no jax.

A leaf of the target belongs to exactly one rule: that whose ``target``, a regular expression, matches all of its name;
or to ``rest``, if no rule names it. So the order of rules says nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lepton_jax.config import ConfigError
from lepton_jax.engine.folder import read_toml
from lepton_jax.settings import nearest, toml_value

MISMATCHES = ("error", "init", "slice", "pad", "tile", "resample")
CONTROLS = ("permuted", "random-norm")
SEED_LANE = "seed"


class Rule(NamedTuple):
    """What becomes of the leaves that ``target`` matches."""

    target: str  # regular expression; "" for the rest
    source: str | None = None  # name of a source leaf, with \\1, \\g<name> of ``target``; None: as it is drawn
    mismatch: str = "error"  # one of MISMATCHES, where shapes differ
    view: tuple[tuple[int, ...], tuple[int, ...]] | None = None  # shapes to see the source's and the target's leaf in
    align: str = "start"  # slice, pad: start or centre, on every axis
    actions: tuple[int, ...] = ()  # by action of the target: that of the source, -1 for a new one; on the last axis
    cast: bool = False  # take another dtype
    frozen: bool = False
    lr: float = 1.0  # times the learning rate
    decay: float = 1.0  # times the learning rate once more for every layer below the rule's last
    thaw: int = 0  # gradient steps that it is frozen for at first
    l2: float = 0.0  # weight of |leaf - source|**2 / 2 in the loss
    rank: int = 0  # low-rank adapters on matrices, which stay as they are


class Imitation(NamedTuple):
    """Kickstarting: the teacher is the graft before training."""

    weight: float = 1.0
    temperature: float = 0.1
    fraction: float = 0.5  # of the run's gradient steps, over which the weight falls to 0
    student: str = "graft"  # graft, or fresh: random weights, and only the teacher is grafted


class Plan(NamedTuple):
    """A graft as it is asked for."""

    source: str  # path
    policy: str = "final"
    lane: int | str | None = None  # of a sweep; SEED_LANE: the lane with the seed of the run that is grafted
    rules: tuple[Rule, ...] = ()
    rest: Rule | None = None
    ignore: tuple[str, ...] = ()  # regular expressions: source leaves left unused on purpose
    control: str | None = None  # one of CONTROLS: the source's numbers are scrambled, to see what they are worth
    control_seed: int = 0
    moments: bool = False  # the optimiser's, of the leaves that are taken
    replay: float = 0.0  # share of each batch that comes from the source's replay memory
    kickstart: Imitation | None = None


# The same network, with a new head where actions are others.
TORSO, HEAD = Rule(r"params/torso/(.*)", r"params/torso/\1"), Rule(r"params/head/(.*)", r"params/head/\1", "init")


def simple(source: str, policy: str = "final", lane: int | str | None = None) -> Plan:
    """The plan of ``--graft RUN``: the torso as it is, and the head where it fits."""
    return Plan(source, policy, lane, (TORSO, HEAD))


def from_table(table: Mapping[str, Any], source: str) -> Plan:
    """Reads the table of a plan's TOML file; ``source`` names it in messages.

    Raises:
      ConfigError: an unknown key, with the nearest one; a value of the wrong type or out of range; an expression that
        is none.
    """
    _only(table, _PLAN, source)
    if "source" not in table:
        raise ConfigError(f"{source}: source is missing; name a run, a checkpoint, or a .npz or .safetensors file")
    plain = {name: _typed(table[name], *_PLAN[name], f"{source}: {name}") for name in _PLAIN if name in table}
    given = table.get("rules", [])
    if not isinstance(given, list) or not all(isinstance(each, Mapping) for each in given):
        raise ConfigError(f"{source}: rules: expected tables, each below [[rules]]")
    rules = tuple(_rule(each, f"{source}: rule {number}") for number, each in enumerate(given, 1))
    rest = table.get("rest")
    if rest is not None:
        _mapping(rest, f"{source}: rest")
        rest = _rule({"target": "", **rest}, f"{source}: rest", named=False)
    if not rules and rest is None:
        raise ConfigError(f"{source}: has no rules; write [[rules]] with target and source, or [rest]")
    kickstart = table.get("kickstart")
    if kickstart is not None:
        kickstart = _imitation(_mapping(kickstart, f"{source}: kickstart"), f"{source}: kickstart")
    plan = Plan(rules=rules, rest=rest, kickstart=kickstart, **plain)
    for pattern in plan.ignore:
        _expression(pattern, f"{source}: ignore")
    _check(plan.policy in _POLICIES, f"{source}: policy", plan.policy, f"one of {', '.join(_POLICIES)}")
    good = plan.lane is None or plan.lane == SEED_LANE or (type(plan.lane) is int and plan.lane >= 0)
    _check(good, f"{source}: lane", plan.lane, f"a number from 0 on, or {SEED_LANE!r}")
    _check(plan.control is None or plan.control in CONTROLS, f"{source}: control", plan.control, " or ".join(CONTROLS))
    _check(plan.control_seed >= 0, f"{source}: control_seed", plan.control_seed, "a number from 0 on")
    _check(0.0 <= plan.replay < 1.0, f"{source}: replay", plan.replay, "a share of each batch, from 0 to below 1")
    if plan.control is not None and plan.moments:
        raise ConfigError(f"{source}: moments with control: scrambled numbers have no moments; leave one of them away")
    return plan


def read_plan(path: Path) -> Plan:
    """A plan from its TOML file; its source is meant from where the file lies.

    Raises:
      ConfigError: the file cannot be read, or holds no plan.
    """
    table = read_toml(path, "a plan, as python -m lepton_jax.graft plan writes it")
    return located(from_table(table, str(path)), path.parent)


def asked_for(what: str, policy: str | None = None, lane: str | None = None) -> tuple[Plan, str]:
    """The plan that ``--graft`` names, and what messages call it: a TOML file of rules, or a source as it is.

    Args:
      what: the text of the flag.
      policy: final (None), best or latest, of a source.
      lane: of a source that is a sweep: its number, or SEED_LANE.

    Raises:
      ConfigError: policy or lane beside a file of rules, which says both; and as ``read_plan``.
    """
    path = Path(what)
    if path.suffix != ".toml":
        number = int(lane) if lane is not None and lane.isdecimal() else lane
        if isinstance(number, str) and number != SEED_LANE:
            raise ConfigError(f"--graft-lane {lane}: expected the number of a lane, or {SEED_LANE}")
        return located(simple(what, policy or "final", number), Path()), f"--graft {what}"
    for name, value in (("policy", policy), ("lane", lane)):
        if value is not None:
            raise ConfigError(f"--graft-{name} {value}: {what} is a plan, which says its {name} itself; leave it away")
    return read_plan(path), what


def located(plan: Plan, folder: Path) -> Plan:
    """``plan`` with the path of its source taken from ``folder``, and absolute."""
    return plan._replace(source=str((folder / plan.source).absolute()))


def to_toml(plan: Plan, table: str = "") -> str:
    """The plan as TOML, which ``from_table`` reads back to an equal one; below ``[table]``, if named."""
    default, within = Plan(""), f"{table}." if table else ""
    plain = [name for name in _PLAIN if getattr(plan, name) != getattr(default, name)]
    lines = [*([f"[{table}]"] if table else []), *(f"{name} = {_toml(getattr(plan, name))}" for name in plain)]
    for rule in plan.rules:
        lines += [f"\n[[{within}rules]]", *_fields(rule, Rule("?"))]
    if plan.rest is not None:
        lines += [f"\n[{within}rest]", *_fields(plan.rest, Rule(""))]
    if plan.kickstart is not None:
        fields = plan.kickstart._asdict().items()
        lines += [f"\n[{within}kickstart]", *(f"{name} = {_toml(value)}" for name, value in fields)]
    return "\n".join(lines) + "\n"


_POLICIES = ("final", "best", "latest")
# Of every key its type, and for lists that of what is in them.
_PLAN: dict[str, tuple[Any, Any]] = {
    "source": (str, None), "policy": (str, None), "lane": ((int, str), None), "ignore": (list, str),
    "control": (str, None), "control_seed": (int, None), "moments": (bool, None), "replay": (float, None),
    "rules": (list, None), "rest": (dict, None), "kickstart": (dict, None),
}  # fmt: skip
_PLAIN = ("source", "policy", "lane", "ignore", "control", "control_seed", "moments", "replay")
_RULE: dict[str, tuple[Any, Any]] = {
    "target": (str, None), "source": (str, None), "mismatch": (str, None), "view": (list, None), "align": (str, None),
    "actions": (list, int), "cast": (bool, None), "frozen": (bool, None), "lr": (float, None),
    "decay": (float, None), "thaw": (int, None), "l2": (float, None), "rank": (int, None),
}  # fmt: skip
_IMITATION: dict[str, tuple[Any, Any]] = {
    "weight": (float, None), "temperature": (float, None), "fraction": (float, None), "student": (str, None)
}  # fmt: skip


def _rule(table: Mapping[str, Any], source: str, named: bool = True) -> Rule:
    _only(table, _RULE, source)
    if "target" not in table:
        raise ConfigError(f"{source}: target is missing; write a regular expression for names of leaves")
    values = {name: _typed(value, *_RULE[name], f"{source}: {name}") for name, value in table.items()}
    if "view" in values:
        values["view"] = _view(table["view"], f"{source}: view")
    rule = Rule(**values)
    if named:
        _expression(rule.target, f"{source}: target")
        _check_template(rule, source)
    elif rule.source is not None and "\\" in rule.source:
        raise ConfigError(rf"{source}: source = {rule.source!r}: the rest has no groups; name a leaf, or write a rule")
    _check(rule.mismatch in MISMATCHES, f"{source}: mismatch", rule.mismatch, f"one of {', '.join(MISMATCHES)}")
    _check(rule.align in ("start", "centre"), f"{source}: align", rule.align, "start or centre")
    _check(all(action >= -1 for action in rule.actions), f"{source}: actions", rule.actions, "numbers from -1 on")
    for name, least in (("lr", 0.0), ("decay", 0.0), ("l2", 0.0), ("thaw", 0), ("rank", 0)):
        value = getattr(rule, name)
        _check(least <= value < math.inf, f"{source}: {name}", value, f"{least} or more")
    _check(rule.thaw < 2**31, f"{source}: thaw", rule.thaw, "less than 2**31, as gradient steps are counted")
    _check(
        rule.lr > 0 and rule.decay > 0, f"{source}: lr, decay", (rule.lr, rule.decay), "above 0; frozen = true freezes"
    )
    needs = [name for name in ("view", "actions", "cast", "l2") if getattr(rule, name) and rule.source is None]
    if needs:
        raise ConfigError(f"{source}: {needs[0]} needs a source; name one, or leave {needs[0]} away")
    moves = [name for name in ("lr", "decay", "thaw", "l2", "rank") if getattr(rule, name) != getattr(_PLAINEST, name)]
    if rule.frozen and moves:
        raise ConfigError(f"{source}: frozen, but {moves[0]} = {getattr(rule, moves[0])}; leave one of the two away")
    if rule.rank and (rule.l2 or rule.decay != 1.0):
        raise ConfigError(f"{source}: rank with l2 or decay; the leaf itself stays as it is: leave them away")
    return rule


_PLAINEST = Rule("")


def _imitation(table: Mapping[str, Any], source: str) -> Imitation:
    _only(table, _IMITATION, source)
    made = Imitation(**{name: _typed(value, *_IMITATION[name], f"{source}: {name}") for name, value in table.items()})
    _check(0 < made.weight < math.inf, f"{source}: weight", made.weight, "a positive number")
    _check(0 < made.temperature < math.inf, f"{source}: temperature", made.temperature, "a positive number")
    _check(0 < made.fraction <= 1, f"{source}: fraction", made.fraction, "above 0, at most 1")
    _check(made.student in ("graft", "fresh"), f"{source}: student", made.student, "graft or fresh")
    return made


def _view(value: Any, source: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shape = lambda one: isinstance(one, list) and one and all(type(side) is int and side > 0 for side in one)
    if not (isinstance(value, list) and len(value) == 2 and all(map(shape, value)) and len(value[0]) == len(value[1])):
        raise ConfigError(
            f"{source} = {value!r}; expected two shapes of equally many axes, the source's and the target's, such as "
            "[[2, 9, 9, 128], [2, 13, 13, 128]]"
        )
    return tuple(value[0]), tuple(value[1])


def _check_template(rule: Rule, source: str) -> None:
    """Refuses a ``source`` that asks for groups that ``target`` has not, or is no template."""
    if rule.source is None:
        return
    expression = re.compile(rule.target)
    try:
        expression.sub(rule.source, "")  # reads the template, whatever there is to replace
    except (re.error, IndexError) as error:
        raise ConfigError(
            f"{source}: source = {rule.source!r}: {error}; target = {rule.target!r} has {expression.groups} groups: "
            "put parentheses around what is to be carried over"
        ) from None


def _expression(pattern: str, source: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"{source} = {pattern!r} is no regular expression: {error}") from None


def _typed(value: Any, kind: Any, inner: Any, source: str) -> Any:
    if (kind, type(value)) == (float, int) and abs(value) < 2**63:  # what TOML promises; float has an end too
        return float(value)
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if type(value) not in kinds:
        names = " or ".join(each.__name__ for each in kinds)
        raise ConfigError(f"{source} = {value!r} has type {type(value).__name__}; expected {names}")
    if kind is list and inner is not None:
        if not all(type(each) is inner for each in value):
            raise ConfigError(f"{source} = {value!r}; expected a list of {inner.__name__}")
        return tuple(value)
    return value


def _mapping(value: Any, source: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{source} = {value!r}; expected a table")
    return value


def _only(table: Mapping[str, Any], known: Mapping[str, Any], source: str) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"{source}: unknown key '{key}'{nearest(key, known)}; there are {', '.join(known)}")


def _check(good: bool, name: str, value: Any, expected: str) -> None:
    if not good:
        raise ConfigError(f"{name} = {value!r}; expected {expected}")


def _fields(rule: Rule, default: Rule) -> list[str]:
    changed = {name: value for name, value in rule._asdict().items() if value != getattr(default, name)}
    return [f"{name} = {_toml(value)}" for name, value in changed.items()]


def _toml(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_toml, value))}]"
    return toml_value(value)
