"""The page of a run: how well it does, where it fails, what it believes, and how it was made. One file, no network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lepton_jax.engine.folder import put
from lepton_jax.engine.metrics import FIGURES
from lepton_jax.report import run_curves, run_errors, run_facts, run_maps
from lepton_jax.report.document import Cell, Column, document, escape, table
from lepton_jax.report.player import PLAYER_SCRIPT, PLAYER_STYLE, episode_names, player
from lepton_jax.report.run_maps import MAPS_STYLE
from lepton_jax.report.run_study import Study, study
from lepton_jax.report.sweep_words import count, duration, figure_cell
from lepton_jax.report.ticks import figure

FILE = "report.html"
_EPISODES = 48  # to be played on the page
_NUMBERS = 150_000  # values and cells that they may take together, for a page of less than 2 MB
_ROWS = {
    "success_rate": "success rate",
    "spl": "SPL",
    "mean_return": "mean return",
    "mean_length": "mean length",
    "regret": "regret",
    "q_error": "|Q - Q*|",
}


def write_report(path: Path, policy: str = "best", params: Any = None) -> Path:
    """Writes ``report.html`` of a finished run.

    Args:
      path: the run's folder; all but ``params`` comes from there.
      policy: best or final: whose episodes and values are shown.
      params: those of the policy, if they are at hand; else they are read.

    Returns:
      The file.

    Raises:
      ConfigError: no run, or one that has not ended.
      CheckpointError: the policy is damaged.
    """
    put(path / FILE, page(study(path, policy, params)))
    return path / FILE


def report_or_note(path: Path, params: Any = None) -> Path | None:
    """``write_report`` of the best policy, at the end of a run: whatever goes wrong is one note on stderr, and None."""
    try:
        return write_report(path, "best", params)
    except Exception as error:  # the run is kept already; a page is never worth it
        reason = " ".join(str(error).split()) or type(error).__name__
        print(f"note: no {FILE}: {reason}; try again with: python -m lepton_jax.report {path}", file=sys.stderr)
        return None


def page(told: Study) -> str:
    """The page of a run, as HTML in one file that loads nothing."""
    parts = [
        _answer(told),
        _summary(told),
        run_curves.curves(told),
        _replays(told),
        run_maps.value_maps(told),
        run_errors.errors(told),
        run_facts.network(told),
        run_facts.settings(told),
        run_facts.origin(told),
        _footer(told),
    ]
    title = f"{told.folder.name}: {told.config.agent.kind} on {_world(told)}"
    return document(title, "\n".join(part for part in parts if part), PLAYER_STYLE + MAPS_STYLE, PLAYER_SCRIPT)


def _world(told: Study) -> str:
    env = told.config.env
    if not told.is_maze:
        return env.id
    sides = f"{env.min_size} to {env.size}" if env.min_size else f"{env.size} x {env.size}"
    return f"{sides} {env.generator} mazes"


def _resumed(told: Study) -> bool:
    """Whether it was trained in several sessions."""
    return len(told.manifest.get("lineage") or ()) > 1


def _answer(told: Study) -> str:
    """How well it does, and what that took."""
    summary, best = told.summary, told.summary["best"]
    device = (told.manifest.get("environment") or {}).get("processor") or summary["device"]
    cost = (
        f"after {best['env_steps']:,} env-steps of a run of {summary['env_steps']:,}, "
        f"{'whose last session' if _resumed(told) else 'which'} took {duration(summary['wall_seconds'])} on "
        f"{summary['device']}"
    )
    cost += f" ({device})" if device != summary["device"] else ""
    if not told.is_maze:
        episodes = count(told.config.eval.episodes, "episode")
        answer = f"a mean return of <strong>{figure(best['mean_return'])}</strong> over {episodes} with fixed keys"
        return f'<p class="answer">The best policy has {answer}, {escape(cost)}.</p>'
    levels = told.config.eval.test_levels
    _, low, high = run_errors.wilson(round(best["success_rate"] * levels), levels)
    held = "held-out " if told.config.env.held_out else ""
    return (
        f'<p class="answer">The best policy solves <strong>{best["success_rate"]:.1%}</strong> of {levels:,} '
        f"{held}test mazes (95% interval {low:.1%} to {high:.1%}), {escape(cost)}.</p>"
    )


def _summary(told: Study) -> str:
    summary, best = told.summary, told.summary["best"]
    names = [name for name in FIGURES if best.get(name) is not None]
    oracle = _oracle(told)
    columns = [Column("figure", "word"), Column("final"), Column("best")]
    columns += [Column("oracle")] if told.is_maze else []
    rows = []
    for name in names:
        row = [Cell(_ROWS[name]), figure_cell(summary[name]), figure_cell(best[name])]
        rows.append(row + ([figure_cell(oracle.get(name))] if told.is_maze else []))
    if told.start_value is not None:
        returns = [told.start_value - each["regret"] for each in (summary, best)]
        rows.append([Cell("disc. return"), *map(figure_cell, returns), figure_cell(told.start_value)])
    facts = [
        ("env-steps", f"{summary['env_steps']:,}"),
        ("gradient steps", f"{summary['gradient_steps']:,}"),
        ("env-steps/s", f"{summary['env_steps_per_second']:,.0f}"),
        ("the last session" if _resumed(told) else "in all", duration(summary["wall_seconds"])),
        ("compiling", duration(summary["compile_seconds"])),
        ("device", summary["device"]),
    ]
    listed = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    notes = [(told.manifest.get("levels") or {}).get("note"), _oracle_note(told), _soft(told)]
    name = (
        f"On the {'test levels' if told.is_maze else 'test episodes'}: the final policy, and the one best on validation"
    )
    words = "".join(f'<p class="note">{escape(note)}.</p>' for note in notes if note)
    return f"<h2>Summary</h2>\n{table(name, columns, rows)}\n{words}\n<dl>{listed}</dl>"


def _oracle(told: Study) -> dict[str, float]:
    """What the best of all policies has, as far as no chance is in it."""
    if told.shortest is None:
        return {}
    env = told.config.env
    known = {"regret": 0.0} | ({"q_error": 0.0} if told.insight is not None else {})
    if env.slip or env.sticky:
        return known
    complete = len(told.shortest) == told.config.eval.test_levels
    # Of several goals, or for a price, the best of all may go another way than the shortest.
    plain = env.goals == 1 and not (env.lava or env.wall_penalty or env.shaping or env.time_decay)
    length = float(np.mean(told.shortest))
    known |= {"success_rate": 1.0, "spl": 1.0} if plain else {}
    known |= {"mean_length": length} if plain and complete else {}
    return known | ({"mean_return": env.goal_reward - env.step_cost * length} if plain and complete else {})


def _oracle_note(told: Study) -> str:
    if not told.is_maze:
        return ""
    return (
        "Lengths are in steps; regret is V* of the start minus the discounted return; |Q - Q*| is the mean over all "
        "states and actions. The oracle knows the maze: its discounted return is V* of the start, by value iteration, "
        "without regard to the time limit"
    )


def _soft(told: Study) -> str:
    return (
        "Values are soft (Munchausen), and are not compared with V*"
        if told.is_maze and told.config.agent.munchausen
        else ""
    )


def _replays(told: Study) -> str:
    """The episodes to look at first, failures before all others."""
    most, played = _few(told), told.playback
    picked = told.order[:most]
    some = jax.tree.map(lambda leaf: np.asarray(leaf)[picked], played)
    longest = int(some.length.max())
    cut = lambda leaf, steps: None if leaf is None else leaf[:, :steps]
    some = some._replace(
        q=cut(some.q, longest), action=cut(some.action, longest), reward=cut(some.reward, longest),
        cell=cut(some.cell, longest + 1), heading=cut(some.heading, longest + 1), held=cut(some.held, longest + 1),
    )  # fmt: skip
    names = episode_names(some, picked.tolist(), None if told.shortest is None else told.shortest[picked])
    order = "failures first, then those with most regret" if told.is_maze else "those with the least return first"
    words = f"{count(len(picked), 'episode')} of {len(played.length):,} of the {told.policy} policy, {order}."
    return (
        f'<h2>Watch it play</h2>\n<p class="note">{escape(words)}</p>\n'
        f"{player(some, list(range(len(picked))), names, told.actions)}"
    )


def _few(told: Study) -> int:
    """How many episodes the page has room for: one at least."""
    lengths = told.playback.length[told.order[:_EPISODES]].astype(int)
    room = np.cumsum(lengths * (told.playback.q.shape[-1] + 3)) <= _NUMBERS
    return max(1, int(room.sum()))


def _footer(told: Study) -> str:
    environment = told.manifest.get("environment") or {}
    known = [(name, environment.get(name)) for name in ("lepton_jax", "jax", "python")]
    known += [("revision", told.manifest.get("git_revision")), ("seed", told.config.seed)]
    return f"<footer>{escape(', '.join(f'{name} {value}' for name, value in known if value is not None))}</footer>"
