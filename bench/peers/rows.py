"""The figures of the engine beside those of its peers: what each row asks, and the table of answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.env import STEPS
from bench.measure import short
from bench.peers import places, training
from bench.peers.places import Place
from bench.peers.registry import OURS, PEERS, SPREAD, Peer, World
from bench.peers.turns import Timed, interleave, ratio
from lepton_jax.config import ConfigError
from lepton_jax.settings import nearest

BATCH = 1024  # levels made at once
FIRST = {"env": "full", "generate": "perfect"}  # what of ours all are compared with
BESIDE = ("env", "generate", "train")  # the tiers that are measured so
# Environments up to which all that XLA runs is timed on one thread as well, and the faster of both counts: with so
# little to do, sharing it out mostly costs more than it brings.
FEW = 1024
# What the project asks of a ratio, by the layouts of the other side, or by its name.
ASKED = {
    "env": {"reused": 3.0, "new": 50.0, "c": 0.3},
    "generate": {"new": 3.0, "c": None},
}


def rows(tier: str, names: Sequence[str], quick: bool, rounds: int | None = None) -> list[dict[str, Any]]:
    """All rows of a tier of ``BESIDE``. A side that could not be had has a ``reason`` instead of figures.

    Args:
      tier: what is measured; the rows of ``train`` are those of ``bench.peers.training``.
      names: of peers, from ``PEERS``; those that have no such tier are passed over.
      quick: fewer environments and rounds.
      rounds: repetitions; None for 3 if ``quick``, else 5.

    Returns:
      A row a side: name, n, unit; median, low, high and repetitions of what it does a second; preparing (seconds,
      compiling included), about (versions), check (what was done); of peers the ratio of ours to it, whose median is of
      all repetitions and whose range is of neighbours, against the row of ours that ``FIRST`` names, and under
      ``like`` against the one that is nearest to its own, under ``spread`` against ours on two devices; note.
    """
    there = {name: places.find(name, PEERS[name]) for name in names if tier in PEERS[name].tiers}
    us, told = places.find("lepton_jax", OURS), []
    if tier == "train":
        return training.rows(there, us, quick, rounds)
    for n in (BATCH,) if tier == "generate" else tuple(STEPS)[: 1 if quick else None]:
        sides: dict[str, Any] = {}
        worlds: dict[str, tuple[str, World]] = {}
        wanted = _wanted(tier, [PEERS[name] for name in there])
        for name, place in {"lepton_jax": us, **there}.items():
            peer = PEERS.get(name, OURS)
            for world, what in getattr(peer, tier).items():
                if peer is OURS and world not in wanted:
                    continue
                row = f"{name}, {world}"
                worlds[row] = name, what
                where = place._replace(devices=2, threads=1) if world == SPREAD else place
                side = _fitting(where, n, what), peer.script, _task(tier, n, world, what)
                sides[row] = side
                if peer.xla and n <= FEW and world != SPREAD:
                    sides[row + _ALONE] = side[0]._replace(threads=1), *side[1:]
        told += _rows(tier, n, worlds, _faster(interleave(sides, rounds or (3 if quick else 5))))
    return told


_ALONE = ", one thread"


def _faster(answers: Sequence[Timed]) -> dict[str, Timed]:
    """By row what was timed, of two ways of running it the faster one, which ``about`` names."""
    found: dict[str, Timed] = {}
    for each in answers:
        row = each.name.removesuffix(_ALONE)
        before = found.get(row)
        if each.name != row:
            each = each._replace(name=row, about={**each.about, "threads": 1})
        if before is None or (each.median or 0.0) > (before.median or 0.0):
            found[row] = each
    return found


def _ours(tier: str, world: World, like: str) -> str:
    """The row of ours that a world is compared with."""
    if tier == "generate":
        return like
    return f"{'reused' if world.layouts == 'reused' else 'new'}, {like}"


def _wanted(tier: str, peers: Sequence[Peer]) -> set[str]:
    """The rows of ours that something is compared with; of those with the whole map all."""
    worlds = [world for peer in peers for world in getattr(peer, tier).values()]
    always = ("reused, full", SPREAD, "new, full", "perfect")
    return {*always, *(_ours(tier, world, world.like) for world in worlds)} & getattr(OURS, tier).keys()


def _fitting(place: Place, n: int, what: World) -> Place:
    """Nowhere for more environments than a world can step in time."""
    return place if n <= what.most else Place(None, f"too slow for {n:,} environments: a step of them takes minutes")


def _task(tier: str, n: int, world: str, what: World) -> dict[str, Any]:
    task = {"tier": tier, "n": n, "world": world}
    return task if tier == "generate" else task | {"steps": max(STEPS[n] // what.shorter, 1)}


def _rows(
    tier: str, n: int, worlds: Mapping[str, tuple[str, World]], answers: Mapping[str, Timed]
) -> Iterator[dict[str, Any]]:
    for row_name, each in answers.items():
        name, world = worlds[row_name]
        unit = "steps/s" if tier == "env" else "levels/s"
        row: dict[str, Any] = {"name": row_name, "side": name, "n": n, "unit": unit, "note": world.note}
        if each.reason:
            yield row | {"reason": each.reason}
            continue
        low, high = min(each.rates), max(each.rates)
        row |= {"median": each.median, "low": low, "high": high, "repetitions": list(each.rates)}
        row |= {"preparing": each.preparing, "about": dict(each.about), "check": dict(each.check)}
        if name in PEERS:
            asked = ASKED[tier].get(name, ASKED[tier].get(world.layouts))
            row |= {"asked": asked, **_against(answers, each, _ours(tier, world, FIRST[tier]))}
            if world.like != FIRST[tier]:
                row["like"] = _against(answers, each, _ours(tier, world, world.like))
            if tier == "env" and world.layouts == "reused":
                row["spread"] = _against(answers, each, SPREAD)
        yield row


def _against(answers: Mapping[str, Timed], theirs: Timed, ours: str) -> dict[str, Any]:
    """The ratio of ours to theirs; {} where ours failed."""
    mine = answers[f"lepton_jax, {ours}"]
    if not mine.rates:
        return {}
    of, least, most = ratio(mine.rates, theirs.rates)
    return {"against": ours, "ratio": of, "ratio_low": least, "ratio_high": most}


def named(asked: str, tiers: Sequence[str]) -> tuple[str, ...]:
    """The peers that ``--peers`` names: ``all``, or some, separated by commas.

    Raises:
      ConfigError: there is no such peer or tier, or it has none of these tiers.
    """
    for tier in tiers:
        if tier not in BESIDE:
            raise ConfigError(f"--peers with --tier {tier}: expected one of {', '.join(BESIDE)}, which peers have too")
    names = tuple(PEERS) if asked == "all" else tuple(asked.split(","))
    for name in names:
        if name not in PEERS:
            raise ConfigError(
                f"--peers {name}: no such peer{nearest(name, PEERS)}; expected all, or some of {', '.join(PEERS)}"
            )
        if asked != "all" and not set(PEERS[name].tiers) & set(tiers):
            raise ConfigError(
                f"--peers {name}: it has no tier {' or '.join(tiers)}, only {', '.join(PEERS[name].tiers)}; "
                "leave it away"
            )
    return names


def lines(table: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table for people."""
    wide = max([34, *(len(row["name"]) for row in table)])
    made = [f"{'':<{wide}}{'n':>6}{'median':>12}{'low':>12}{'high':>12}  ours over it"]
    for row in table:
        head = f"{row['name']:<{wide}}{row['n']:>6}"
        if "reason" in row:
            made.append(f"{head}  {row['reason']}")
            continue
        cells = "".join(f"{short(row[name]):>12}" for name in ("median", "low", "high"))
        made.append(head + cells + _ratios(row) + _gradients(row))
    return made


def _ratios(row: Mapping[str, Any]) -> str:
    if "ratio" not in row:
        return ""
    asked = f", asked {row['asked']:g}" if row["asked"] else ""
    told = f"  {row['ratio']:.3g} [{row['ratio_low']:.3g}, {row['ratio_high']:.3g}] ({row['against']}{asked})"
    others = [row[name] for name in ("like", "spread") if row.get(name)]
    return told + "".join(f"; {other['ratio']:.3g} ({other['against']})" for other in others)


def _gradients(row: Mapping[str, Any]) -> str:
    made = row.get("check", {}).get("gradient_steps/s")
    return "" if made is None else f"; {short(made)} gradient steps/s"
