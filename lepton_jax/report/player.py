"""Recorded episodes as part of a page: a map, the values of every action, and controls to go through the steps."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from lepton_jax.engine.playback import Playback
from lepton_jax.report import vector
from lepton_jax.report.document import escape
from lepton_jax.report.player_page import PLAYER_SCRIPT, PLAYER_STYLE

__all__ = ["PLAYER_SCRIPT", "PLAYER_STYLE", "episode_names", "player", "worst_first"]

_KEYS = "Space plays and pauses, left and right go a step, up and down to another episode, Home and End to either end."
_BUTTONS = (("back", "step back", "\u2039"), ("play", "play", "\u25b6"), ("forward", "step forward", "\u203a"))


def player(
    playback: Playback, order: Sequence[int], names: Sequence[str], actions: Sequence[str], focused: bool = False
) -> str:
    """A player of recorded episodes; the page needs ``PLAYER_STYLE`` and ``PLAYER_SCRIPT`` once.

    Args:
      playback: the episodes.
      order: their numbers in ``playback``, as they are to be listed; the first one is shown at once.
      names: what each episode of ``playback`` is called, plain text; see ``episode_names``.
      actions: names of the actions.
      focused: whether the keys shall work as soon as the page is open; for the only player of a page.

    Returns:
      HTML with the data within, as JSON: numbers have four digits.

    Raises:
      ValueError: names or actions are more or fewer than those of ``playback``, or there is nothing to show.
    """
    count, _, width = playback.q.shape
    if len(names) != count or len(actions) != width or not order:
        raise ValueError(
            f"player: {len(names)} names, {len(actions)} actions and an order of {len(order)}, where the playback has "
            f"{count} episodes and {width} actions; expected a name each, and at least one episode to show"
        )
    digits = _digits(playback.q)
    data = {
        "actions": list(actions),
        "digits": digits,
        "episodes": [_episode(playback, number, names[number], digits) for number in order],
    }
    # In a script element nothing but its end tag could be taken for markup.
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    stage = ""
    if playback.levels is not None:
        stage = (
            '<svg class="maze" role="img" aria-label="map"><g class="ground"></g><path class="trail"/>'
            f"{vector.agent(playback.heading is not None)}</svg>"
        )
    buttons = "".join(
        f'<button type="button" class="{kind}" aria-label="{label}">{sign}</button>' for kind, label, sign in _BUTTONS
    )
    speeds = "".join(f"<option{' selected' if n == 8 else ''}>{n}</option>" for n in (2, 4, 8, 16, 32))
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="track"><i></i></td><td class="n"></td></tr>'
        for name in actions
    )
    failed = np.zeros(count, bool) if playback.success is None else ~playback.success
    listed = "".join(
        f'<li{" class=failed" if failed[number] else ""}><button type="button" tabindex="-1">{escape(names[number])}'
        "</button></li>"
        for number in order
    )
    return (
        f'<div class="player{"" if stage else " mapless"}" role="group" aria-label="Episodes, step by step">'
        f'<script type="application/json">{text}</script>'
        "<noscript><p>To go through the episodes, allow this page its own JavaScript.</p></noscript>"
        f'<div class="stage" tabindex="0" role="group" aria-label="Episode shown. {_KEYS}"'
        f"{' autofocus' if focused else ''}>{stage}"
        '<p class="status" role="status" aria-live="polite"></p></div>'
        f'<div class="controls">{buttons}<input type="range" class="scrub" min="0" value="0" step="1" '
        f'aria-label="step"><label>steps a second <select class="speed">{speeds}</select></label></div>'
        f'<div class="values"><table aria-label="Q-values of the step">{rows}</table>'
        '<p class="note"><span class="low"></span><span>least and most of the episode</span>'
        '<span class="high"></span></p></div>'
        f'<ol class="episodes" aria-label="Episodes">{listed}</ol>'
        '<figure class="times"><div class="lanes"></div><figcaption></figcaption></figure>'
        f'<p class="note keys">Keys: {_KEYS}</p></div>'
    )


def episode_names(
    playback: Playback, numbers: Sequence[int], shortest: np.ndarray | None = None, mazes: Sequence[str] = ()
) -> list[str]:
    """A line on each episode: its level, how it ended, and in how many steps.

    Args:
      playback: the episodes.
      numbers: of their levels in the set, counted from 0; people are told them from 1.
      shortest: int (N,): fewest steps from start to success, where known.
      mazes: what the levels of the set are called, if they have names.
    """
    lines = []
    for row, number in enumerate(numbers):
        steps = f"{playback.length[row]} step{'' if playback.length[row] == 1 else 's'}"
        if playback.success is None:
            lines.append(f"episode {number + 1}: return {playback.total[row]:.4g}, {steps}")
            continue
        best = "" if shortest is None else f", shortest {shortest[row]}"
        level = mazes[number] if mazes else f"level {number + 1}"
        lines.append(f"{level}: {'success' if playback.success[row] else 'failure'}, {steps}{best}")
    return lines


def worst_first(playback: Playback, shortest: np.ndarray | None = None) -> list[int]:
    """The episodes from the worst: failures, then detours by their length; without success, by the return."""
    if playback.success is None:
        return np.argsort(playback.total, kind="stable").tolist()
    detour = playback.length - (0 if shortest is None else shortest)
    return np.lexsort((-detour, playback.success)).tolist()


def _episode(playback: Playback, number: int, name: str, digits: int) -> dict[str, Any]:
    """One episode as JSON. Values are whole numbers of the last digit; those not finite are None."""
    steps = int(playback.length[number])
    values = np.round(playback.q[number, :steps].astype(float).reshape(-1) * 10**digits)
    rewards = playback.reward[number, :steps].tolist()
    episode: dict[str, Any] = {
        "name": name,
        "q": [int(value) if math.isfinite(value) else None for value in values.tolist()],
        "action": playback.action[number, :steps].tolist(),
        "reward": [float(f"{value:.4g}") if math.isfinite(value) else None for value in rewards],
    }
    if playback.levels is not None:
        level = jax.tree.map(lambda leaf: np.asarray(leaf)[number], playback.levels)
        left, top, across, down = vector.bounds(level.walls)
        episode |= {
            "map": vector.maze(level),
            "box": [left, top, across, down],
            "width": level.walls.shape[1],
            "cell": playback.cell[number, : steps + 1].tolist(),
        }
        if playback.heading is not None:
            episode["heading"] = playback.heading[number, : steps + 1].tolist()
        if playback.held is not None:
            held = np.flatnonzero(playback.held[number, : steps + 1])
            episode["held"] = int(held[0]) if held.size else steps + 1
    return episode


def _digits(q: np.ndarray) -> int:
    """Digits behind the point that make four in all of the largest value."""
    most = float(np.max(np.abs(q), initial=0.0, where=np.isfinite(q)))
    return 4 if most == 0 else min(max(3 - math.floor(math.log10(most)), 0), 8)
