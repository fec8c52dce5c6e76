"""Ways to spoil the graft of a small source: its plan, its arrays before they are written, the bytes of its files."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from flax.traverse_util import unflatten_dict

from bench.flip import cut, flipped
from lepton_jax.engine import checkpoint
from lepton_jax.engine.folder import RunFolder
from lepton_jax.transfer.asking import Plan, Rule

Arrays = dict[str, np.ndarray]
EXTRA = "extra/step"  # a leaf that the plan ignores
PLAN = Plan(
    "it",
    rules=(
        Rule(r"params/torso/(.*)", r"params/torso/\1", lr=0.5),
        Rule(r"params/head/(.*)", r"params/head/\1", actions=(0, 1, 2, 3)),
    ),
    ignore=("extra/.*",),
)


def _write_run(path: Path, arrays: Arrays) -> None:
    checkpoint.write(RunFolder(path).policy("final"), unflatten_dict(arrays, sep="/"), {"env_steps": 7})


def _write_orbax(path: Path, arrays: Arrays) -> None:
    import orbax.checkpoint as ocp

    shutil.rmtree(path, ignore_errors=True)
    with ocp.StandardCheckpointer() as writer:
        writer.save(path.absolute(), unflatten_dict(arrays, sep="/"))


def _write_safetensors(path: Path, arrays: Arrays) -> None:
    import safetensors.numpy

    safetensors.numpy.save_file(arrays, path)


def _write_npz(path: Path, arrays: Arrays) -> None:
    more: Any = arrays  # whose names may be any
    np.savez(path, **more)


WRITERS: dict[str, Callable[[Path, Arrays], None]] = {
    "run": _write_run, "orbax": _write_orbax, "npz": _write_npz,
    "safetensors": _write_safetensors,
}  # fmt: skip
NAMES = {"run": "source", "orbax": "tree", "npz": "source.npz", "safetensors": "source.safetensors"}


class Case(NamedTuple):
    """A case while it is made: what is spoilt lies in ``folder``."""

    draw: random.Random
    kind: str
    folder: Path
    arrays: Arrays
    plan: str  # TOML

    @property
    def source(self) -> Path:
        return self.folder / NAMES[self.kind]


class Spoilt(NamedTuple):
    """What a way to spoil a case has made of it."""

    plan: str
    names: tuple[str, ...]  # words of which one must be in the message
    harmless: bool = False  # whether it may make no difference, as what is not read can be anything


def misspelt(draw: random.Random, word: str) -> str:
    """``word`` with one letter more, less, twice or another."""
    while True:
        place = draw.choice([place for place, letter in enumerate(word) if letter.isalpha()])
        letter = draw.choice(["", word[place] * 2, draw.choice("aeinorst")])
        made = word[:place] + letter + word[place + 1 :]
        if made not in {word, *KEYS}:
            return made


KEYS = {*Plan._fields, *Rule._fields, "rules", "rest"}


def with_key(plan: str, block: int, key: str, value: str) -> str:
    """``plan`` with ``key = value`` in the rule number ``block``, from 1, or above the rules at 0."""
    blocks = plan.split("[[rules]]\n")
    lines = [line for line in blocks[block].splitlines() if not line.startswith(f"{key} = ")]
    blocks[block] = "\n".join([f"{key} = {value}", *lines]) + "\n"
    return "[[rules]]\n".join(blocks)


def _misspelt_path(case: Case) -> Spoilt:
    which = case.draw.choice(("target", "source", "ignore", "path"))
    block = case.draw.choice((1, 2))
    rule = PLAN.rules[block - 1]
    if which == "ignore":
        pattern = misspelt(case.draw, "extra/") + ".*"
        return Spoilt(with_key(case.plan, 0, "ignore", json.dumps([pattern])), (pattern,))
    if which == "path":
        path = misspelt(case.draw, NAMES[case.kind])
        return Spoilt(with_key(case.plan, 0, "source", json.dumps(path)), (path,))
    branch = misspelt(case.draw, rule.target.removesuffix("(.*)"))
    if which == "target":
        return Spoilt(with_key(case.plan, block, "target", json.dumps(f"{branch}(.*)")), (f"{branch}(.*)",))
    return Spoilt(with_key(case.plan, block, "source", json.dumps(rf"{branch}\1")), (branch,))


def _unknown_key(case: Case) -> Spoilt:
    block = case.draw.choice((0, 1, 2))
    key = misspelt(case.draw, case.draw.choice(Plan._fields if block == 0 else Rule._fields))
    return Spoilt(with_key(case.plan, block, json.dumps(key), "1"), (f"'{key}'",))


_WRONG = {
    0: {
        "source": ("3", "[1]"),
        "policy": ("1", '"fnal"'),
        "lane": ("1.5", "-1", '"last"', "0"),
        "ignore": ('"a"', "[1]"),
        "control": ("true", '"permute"'),
        "control_seed": ("0.5", "-1"),
        "kickstart": ("3", "{weight = 0}", "{wait = 1}"),
    },
    1: {
        "target": ("3",),
        "source": ("3", "true"),
        "mismatch": ("3", '"crop"'),
        "align": ("1", '"end"'),
        "actions": ("0", "[0.5]", "[-2, 0, 1, 2]", "[0, 1, 2]", "[0, 1, 2, 9]"),
        "cast": ("1",),
        "frozen": ('"yes"', "true"),
        "lr": ('"x"', "nan", "inf", "0", "-1"),
        "decay": ("true", "0"),
        "thaw": ("0.5", "-1", "9999999999"),
        "l2": ('"0"', "-0.1"),
        "rank": ("1.5", "-1", "99"),
        "view": ("3", "[[1], [0]]", "[[2, 3], [6]]", "[[7], [7]]"),
    },
}


def _wrong_value(case: Case) -> Spoilt:
    block = case.draw.choice((0, 1))
    key = case.draw.choice(list(_WRONG[block]))
    value = case.draw.choice(_WRONG[block][key])
    return Spoilt(with_key(case.plan, block, key, value), (f": {key}", f"{key} ="))


def _bad_expression(case: Case) -> Spoilt:
    block, rule = case.draw.choice([(1, PLAN.rules[0]), (2, PLAN.rules[1])])
    if case.draw.random() < 0.5:
        target = case.draw.choice(("(", "[", "*", "(?P<", "+", "(?")) + rule.target
        return Spoilt(with_key(case.plan, block, "target", json.dumps(target)), (repr(target),))
    source = case.draw.choice((r"\2", r"\g<x>", r"\q", r"\g<", r"\g<1", r"\99")) + "/end"
    return Spoilt(with_key(case.plan, block, "source", json.dumps(source)), (repr(source),))


def _overlap(case: Case) -> Spoilt:
    leaf = case.draw.choice([name for name in case.arrays if name != EXTRA])
    target = case.draw.choice((leaf, leaf.rpartition("/")[0] + "/.*", "params/.*", ".*/" + leaf.rpartition("/")[2]))
    return Spoilt(f"{case.plan}\n[[rules]]\ntarget = {json.dumps(target)}\n", (f"rule 3 ({target})",))


def _lost_rule(case: Case) -> Spoilt:
    blocks, block = case.plan.split("[[rules]]\n"), case.draw.choice((1, 2))
    del blocks[block]
    return Spoilt("[[rules]]\n".join(blocks), (PLAN.rules[block - 1].target.removesuffix("(.*)"),))


def _rewritten(case: Case, change: Callable[[str, np.ndarray], Arrays]) -> Spoilt:
    """The source written anew with a leaf changed to others."""
    name = case.draw.choice(list(case.arrays))
    changed = change(name, case.arrays.pop(name))
    WRITERS[case.kind](case.source, case.arrays | changed)
    ignored = ("extra/",) if name == EXTRA else ()
    harmless = bool(ignored) and all(other.startswith("extra/") for other in changed)
    return Spoilt(case.plan, (f"'{name}'", *(f"'{other}" for other in changed), *ignored), harmless)


def _wrong_shape(case: Case) -> Spoilt:
    def change(name: str, leaf: np.ndarray) -> Arrays:
        axis = case.draw.randrange(leaf.ndim)
        shapes = [np.repeat(leaf, 2, axis), np.delete(leaf, 0, axis), leaf[None], leaf.reshape(-1, 1)]
        return {name: np.ascontiguousarray(case.draw.choice(shapes))}

    return _rewritten(case, change)


def _other_dtype(case: Case) -> Spoilt:
    dtypes = [np.float64, np.float16, ml_dtypes.bfloat16, np.int32, np.uint8, np.bool_, np.complex64]
    return _rewritten(case, lambda name, leaf: {name: leaf.astype(case.draw.choice(dtypes))})


def _not_finite(case: Case) -> Spoilt:
    def change(name: str, leaf: np.ndarray) -> Arrays:
        leaf = leaf.copy()
        leaf.reshape(-1)[case.draw.randrange(leaf.size)] = case.draw.choice((np.nan, np.inf, -np.inf))
        return {name: leaf}

    return _rewritten(case, change)


def _misspelt_leaf(case: Case) -> Spoilt:
    return _rewritten(case, lambda name, leaf: {misspelt(case.draw, name): leaf})


def _damaged(case: Case, change: Callable[[bytes], bytes] | None) -> Spoilt:
    """A file of the source with other bytes, or removed."""
    files = sorted(path for path in [case.source, *case.source.rglob("*")] if path.is_file())
    files = [path for path in files if path.stat().st_size]
    weights = [path.stat().st_size if case.draw.random() < 0.5 else 1 for path in files]
    (path,) = case.draw.choices(files, weights)
    path.unlink() if change is None else path.write_bytes(change(path.read_bytes()))
    return Spoilt(case.plan, (path.name, case.source.name, "leaf '"), harmless=True)


FLIPPED = "bit flipped"
WAYS: dict[str, Callable[[Case], Spoilt]] = {
    "misspelt path": _misspelt_path,
    "unknown key": _unknown_key,
    "wrong value": _wrong_value,
    "bad expression": _bad_expression,
    "overlap": _overlap,
    "lost rule": _lost_rule,
    "wrong shape": _wrong_shape,
    "other dtype": _other_dtype,
    "not finite": _not_finite,
    "misspelt leaf": _misspelt_leaf,
    "missing leaf": lambda case: _rewritten(case, lambda name, leaf: {}),
    "extra leaf": lambda case: _rewritten(case, lambda name, leaf: {name: leaf, f"more/{name}": leaf}),
    FLIPPED: lambda case: _damaged(
        case, lambda data: flipped(case.draw.randrange(len(data)), case.draw.randrange(8))(data)
    ),
    "file cut": lambda case: _damaged(case, lambda data: cut(case.draw.randrange(len(data)))(data)),
    "file removed": lambda case: _damaged(case, None),
}
