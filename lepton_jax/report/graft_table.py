"""A plan for people: what happens to every leaf, before anything is read."""

from __future__ import annotations

from collections.abc import Sequence

from lepton_jax.agents.training import Kickstart, Treatment
from lepton_jax.transfer.graft import Graft
from lepton_jax.transfer.lineage import CONTROLS, SAID, lineage_lines
from lepton_jax.transfer.plan import LeafPlan
from lepton_jax.transfer.sources import Source

_HEADS = ("leaf", "from", "shape", "action", "trained", "bytes")


def lines(graft: Graft) -> list[str]:
    """The table of a plan, what else it says, and its digest."""
    resolved = graft.resolved
    made = grid([_HEADS, *map(_row, resolved.leaves)], right=5)
    plan = resolved.plan
    made += [f"left unused: {name}" for name in resolved.ignored]
    if plan.control is not None:
        made.append(f"control: the numbers of the source are {CONTROLS[plan.control]} (seed {plan.control_seed})")
    if resolved.training.kickstart is not None:
        made.append(_kickstart(resolved.training.kickstart))
    whose = " ".join(
        f"{name} {value}" for name, value in graft.source.about.items() if name in SAID and value is not None
    )
    made.append(f"source: {graft.source.path} ({graft.source.kind}{', ' if whose else ''}{whose})")
    optimiser = "with moments the optimiser goes on, its learning rate, replay" if plan.moments else "optimiser, replay"
    made.append(f"the target network gets a copy; {optimiser}, epsilon and clock begin anew")
    if (reuse := resolved.training.reuse) is not None:
        made.append(
            f"replay: {reuse.share:.0%} of each batch from {reuse.blocks * reuse.length * reuse.envs:,} transitions of "
            "the source, with the rewards it got"
        )
    return [*made, f"{resolved.bytes:,} bytes to read; plan {resolved.digest[:16]}"]


def source_lines(source: Source) -> list[str]:
    """What a source holds."""
    rows = [("leaf", "dtype", "shape", "bytes", "digest")]
    for name, leaf in source.leaves.items():
        digest = (leaf.digest or "-").removeprefix("sha256:")[:18]
        rows.append((name, leaf.dtype, _shape(leaf.shape), f"{leaf.bytes:,}", digest))
    total = sum(leaf.bytes for leaf in source.leaves.values())
    said = ", ".join(f"{name} {value}" for name, value in source.about.items() if name in SAID and value is not None)
    return [f"{source.path}: {source.kind}{', ' if said else ''}{said}; {len(source.leaves)} leaves, {total:,} bytes",
            *grid(rows, right=3), *lineage_lines(source.ancestors)]  # fmt: skip


def grid(rows: Sequence[Sequence[str]], right: int) -> list[str]:
    """Rows of words as lines of columns; the column number ``right`` ends evenly, the others begin so."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    adjust = lambda place, word: word.rjust(widths[place]) if place == right else word.ljust(widths[place])
    return ["  ".join(adjust(place, word) for place, word in enumerate(row)).rstrip() for row in rows]


def _row(leaf: LeafPlan) -> tuple[str, ...]:
    shapes = _shape(leaf.shape)
    if leaf.source_shape is not None and leaf.source_shape != leaf.shape:
        shapes = f"{_shape(leaf.source_shape)} -> {shapes}"
    return leaf.name, _from(leaf), shapes, _action(leaf), trained(leaf.treatment), f"{leaf.bytes:,}"


def _from(leaf: LeafPlan) -> str:
    return "-" if leaf.read is None else "same" if leaf.read == leaf.name else leaf.read


def _action(leaf: LeafPlan) -> str:
    cast = f", cast from {leaf.source_dtype}" if leaf.read and leaf.source_dtype != leaf.dtype else ""
    return f"{leaf.move.kind}{cast}"


def trained(treatment: Treatment) -> str:
    """How a leaf is trained, in a few words."""
    if treatment.frozen:
        return "frozen"
    words = [
        *([f"rank {treatment.rank} beside it"] if treatment.rank else []),
        *([f"lr x {treatment.factor:.4g}"] if treatment.factor != 1.0 else []),
        *([f"from step {treatment.thaw:,}"] if treatment.thaw else []),
        *([f"l2 {treatment.l2:.4g}"] if treatment.l2 else []),
        *(["moments"] if treatment.moments else []),
    ]
    return ", ".join(words) or "full"


def _kickstart(kickstart: Kickstart) -> str:
    student = "a fresh network" if kickstart.fresh else "the graft"
    return (
        f"kickstart: {student} imitates the graft's policy, softmax(Q / {kickstart.temperature:g}), with weight "
        f"{kickstart.weight:g} falling to 0 over {kickstart.steps:,} gradient steps"
    )


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "-"
