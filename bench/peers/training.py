"""The rows of tier ``train``: CartPole-v1 as each peer learns it, and as the engine does at the same settings.

Each peer takes turns with the one row of ours that has its settings: first for speed, then, a seed a turn, for the time
to a score.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from bench.peers.places import Place
from bench.peers.registry import OURS, PEERS, Task
from bench.peers.settings import LIKE, OWN, settings
from bench.peers.turns import Timed, interleave, ratio

OURS_SCRIPT = "ours_train.py"
GOAL = 475.0  # mean return of greedy episodes: that at which gym calls the world solved
ASKED = {"rate": 10.0, "score": 3.0}  # of the ratio
# Ours may do more gradient steps an env-step than a peer, since not all patterns can be expressed; never fewer.
LEAST_WORK = 0.99
_UNITS = {"rate": "env-steps/s", "score": "s"}
_Answers = dict[str, tuple[str, str, Timed]]  # by row: the side, its task, what became of it


def rows(there: Mapping[str, Place], us: Place, quick: bool, rounds: int | None = None) -> list[dict[str, Any]]:
    """A row a side for its speed and one for its time to ``GOAL``, as ``bench.peers.rows.rows`` describes rows.

    Those of speed tell of gradient steps in ``check``. Those of time have ``seeds``, a mapping each; a run that never
    came to the score counts as having taken as long as it was given, and a side of which most did not has a ``reason``.

    Args:
      there: where each peer runs. us: where the engine does.
      quick: fewer rounds, one seed and half the time.
      rounds: repetitions of the speed; None for 3 if ``quick``, else 5.
    """
    cap, seeds, count = (60.0, 1, rounds or 3) if quick else (120.0, 3, rounds or 5)
    groups: dict[str, dict[str, tuple[str, str]]] = {}
    for name in there:
        for task, what in PEERS[name].train.items():
            groups.setdefault(what.like, {})[f"{name}, {task}"] = name, task
    places = {"lepton_jax": us, **there}
    rates: _Answers = {}
    scores: _Answers = {}
    for like, theirs in groups.items():
        sides = {f"lepton_jax, {like}": ("lepton_jax", like), **theirs}
        rates |= _asked(sides, places, "rate", cap, count, 1)
        scores |= _asked(sides, places, "score", cap, seeds, 0)
    own = {f"lepton_jax, {name}": ("lepton_jax", name) for name in OWN}
    scores |= _asked(own, places, "score", cap, seeds, 0)
    return [_rate(row, rates) for row in rates] + [_score(row, scores, cap) for row in scores]


def _asked(
    sides: Mapping[str, tuple[str, str]],
    places: Mapping[str, Place],
    measure: str,
    cap: float,
    rounds: int,
    warm: int,
) -> _Answers:
    tasks = {
        row: (
            places[name],
            PEERS[name].script if name in PEERS else OURS_SCRIPT,
            {"tier": "train", "task": task, "measure": measure, "goal": GOAL, "cap": cap},
        )
        for row, (name, task) in sides.items()
    }
    # A seed may take as long as it is given, and be looked at as long again.
    answers = interleave(tasks, rounds, max(600.0, 4 * cap), warm)
    return {each.name: (*sides[each.name], each) for each in answers}


def _task(name: str, task: str) -> Task:
    return PEERS.get(name, OURS).train[task]


def _head(row: str, name: str, task: str, measure: str) -> dict[str, Any]:
    what = _task(name, task)
    envs = settings(what.like or task, 1).env.num_envs
    told = row if measure == "rate" else f"{row} to {GOAL:g}"
    return {"name": told, "side": name, "n": envs, "unit": _UNITS[measure], "note": what.note}


def _figures(values: list[float], each: Timed) -> dict[str, Any]:
    figures = {"median": statistics.median(values), "low": min(values), "high": max(values), "repetitions": values}
    return figures | {"preparing": each.preparing, "about": dict(each.about), "check": dict(each.check)}


def _rate(row: str, answers: _Answers) -> dict[str, Any]:
    name, task, each = answers[row]
    told = _head(row, name, task, "rate")
    if each.reason:
        return told | {"reason": each.reason}
    told |= _figures(list(each.rates), each)
    told["check"]["gradient_steps/s"] = told["median"] * _work(each)
    like = _task(name, task).like
    if not like or not (mine := answers[f"lepton_jax, {like}"][2]).rates:
        return told
    told["asked"] = ASKED["rate"]
    if _work(mine) < LEAST_WORK * _work(each):
        reason = f"ours did {_work(mine):.3g} gradient steps an env-step, it {_work(each):.3g}: no ratio"
        return told | {"reason": reason}
    of, least, most = ratio(mine.rates, each.rates)
    return told | {"against": like, "ratio": of, "ratio_low": least, "ratio_high": most}


def _work(each: Timed) -> float:
    """Gradient steps an env-step, as its counters have them."""
    return each.check["gradient_steps"] / each.check["env_steps"]


def _score(row: str, answers: _Answers, cap: float) -> dict[str, Any]:
    name, task, each = answers[row]
    told = _head(row, name, task, "score")
    if each.reason:
        return told | {"reason": each.reason}
    told["seeds"] = [dict(check) for check in each.checks]
    if not _solves(each):
        best = max(check["best"] for check in each.checks)
        return told | {"reason": f"not in {cap:g} s of training: at best {best:.4g}", "preparing": each.preparing}
    told |= _figures(_seconds(each), each)
    if name not in PEERS:
        return told
    told["asked"] = ASKED["score"]
    like = _task(name, task).like
    own = next(own for own, kind in OWN.items() if kind == LIKE[like].kind)
    told |= _sooner(each, answers[f"lepton_jax, {like}"][2], like)
    if sooner := _sooner(each, answers[f"lepton_jax, {own}"][2], own):
        told["like"] = sooner
    return told


def _seconds(each: Timed) -> list[float]:
    return [check["seconds"] for check in each.checks]


def _solves(each: Timed) -> bool:
    """Whether most seeds did."""
    return 2 * sum(check["reached"] for check in each.checks) > len(each.checks)


def _sooner(theirs: Timed, mine: Timed, against: str) -> dict[str, Any]:
    """How many times sooner ours is there; {} where it never is."""
    if not mine.checks or not _solves(mine):
        return {}
    of, least, most = ratio(_seconds(theirs), _seconds(mine))
    return {"against": against, "ratio": of, "ratio_low": least, "ratio_high": most}
