"""Shows how a policy plays: ``python -m lepton_jax.watch RUN``, in the terminal, as pictures or as a page."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lepton_jax import judged
from lepton_jax.cli import guarded
from lepton_jax.config import MAZE, ConfigError

if TYPE_CHECKING:
    from lepton_jax.engine.playback import Playback

_FEW, _MANY = 6, 64  # episodes unless some other number is asked for: of pictures, and of a page alone
_MOST = 256
_FPS = 8
_PICTURES = ("gif", "png", "svg")
_OUTPUTS = (*_PICTURES, "html")


class Watched(NamedTuple):
    """Recorded episodes, and what people are told of them."""

    playback: Playback
    names: list[str]  # of the episodes
    actions: tuple[str, ...]  # names of the actions
    order: list[int]  # the episodes from the worst
    title: str


def main(argv: list[str]) -> None:
    """Parses, plays and records the episodes, shows or writes them."""
    parser = argparse.ArgumentParser(
        prog="python -m lepton_jax.watch",
        description="Show how a policy plays: the very episodes that evaluation judges, in this terminal unless files "
        "are asked for.",
        epilog="example: python -m lepton_jax.watch runs/quick-s0 --episodes 6 --gif six.gif --html six.html",
        allow_abbrev=False,
    )
    judged.add_flags(parser)
    number = parser.add_mutually_exclusive_group()
    number.add_argument(
        "--episodes",
        type=int,
        metavar="N",
        help=f"how many, the first of the set (default: {_FEW}; {_MANY} for a page)",
    )
    number.add_argument("--level", type=int, metavar="K", help="one: that on level K of the set, counted from 1")
    parser.add_argument("--gif", type=Path, metavar="F", help="write an animation, the episodes side by side")
    parser.add_argument("--png", type=Path, metavar="F", help="write their paths as a picture")
    parser.add_argument("--svg", type=Path, metavar="F", help="write their paths as a drawing")
    parser.add_argument("--html", type=Path, metavar="F", help="write a page that plays them, with the Q-values")
    args = parser.parse_args(argv)
    files = {kind: path for kind in _OUTPUTS if (path := getattr(args, kind)) is not None}
    for kind, path in files.items():
        _refuse(kind, path)
    for name, most in (("episodes", _MOST), ("level", None)):
        value = getattr(args, name)
        if value is not None and not 1 <= value <= (most or value):
            raise ConfigError(f"--{name} {value}: expected 1 {'or more' if most is None else f'to {most}'}")
    asked = judged.find(args)
    if asked.config.env.id != MAZE and (kind := next((kind for kind in _PICTURES if kind in files), None)):
        raise ConfigError(f"--{kind}: {asked.config.env.id} has no pictures; --html shows its Q-values and rewards")
    seen = record(asked, args, _MANY if set(files) == {"html"} else _FEW)
    for kind, path in files.items():
        _write(kind, path, seen)
        print(f"{path}: {len(seen.names)} episode{'' if len(seen.names) == 1 else 's'}")
    if not files:
        show(seen)


def record(asked: judged.Asked, args: argparse.Namespace, usual: int) -> Watched:
    """Plays the levels asked for, and records ``usual`` episodes unless ``args`` say how many, or which.

    Raises:
      ConfigError: there are fewer levels.
    """
    from lepton_jax.engine.evaluation import Evaluator
    from lepton_jax.engine.playback import action_names, play_back
    from lepton_jax.engine.setup import named_set
    from lepton_jax.report.player import episode_names, worst_first

    config, trained, place, text = asked
    setup, hypers, agent_state, env_steps = judged.load(config, place, trained)
    mazes: tuple[str, ...] = ()
    if args.suite == "named" and text is None:
        env, levels, mazes, _ = named_set(config, setup, 1)
    else:
        env, levels = judged.levels_of(config, setup, args.suite, text, str(args.levels))
    if (number := args.level or args.episodes or 1) > levels.size:
        flag = "--level" if args.level else "--episodes"
        raise ConfigError(f"{flag} {number}: {levels.name} has {levels.size} levels; choose 1 to {levels.size}")
    numbers = [args.level - 1] if args.level else list(range(args.episodes or min(usual, levels.size)))
    playback = play_back(env, setup.agent, agent_state, levels, hypers, numbers)
    shortest = Evaluator(env, setup.agent, hypers).shortest(levels)
    shortest = None if shortest is None else shortest[numbers]
    names = episode_names(playback, numbers, shortest, mazes)
    title = f"{judged.whose(args)}, {env_steps:,} env-steps: {len(numbers)} of {levels.size} episodes on {levels.name}"
    return Watched(playback, names, action_names(config, env.num_actions), worst_first(playback, shortest), title)


def show(seen: Watched) -> None:
    """Plays the episodes in the terminal, one after another; elsewhere the last picture of each, with its path."""
    from lepton_jax.report.ansi import colour_wanted

    print(seen.title)
    colour, moving = colour_wanted(sys.stdout), sys.stdout.isatty()
    for episode, name in enumerate(seen.names):
        print(f"\n{name}")
        if seen.playback.levels is None:
            continue
        last = int(seen.playback.length[episode])
        for step in range(0 if moving else last, last + 1):
            lines = _picture(seen.playback, episode, step, colour)
            again = f"\x1b[{len(lines)}A" if step > 0 and moving else ""
            print(again + "\n".join(lines), flush=True)
            if moving and step < last:
                time.sleep(1 / _FPS)


def _picture(playback: Playback, episode: int, step: int, colour: bool) -> list[str]:
    """The maze at one step, with the path so far; of a large one the part around the agent."""
    import jax

    from lepton_jax.report import ansi
    from lepton_jax.report.game import window_around
    from lepton_jax.report.vector import bounds

    level = jax.tree.map(lambda leaf: leaf[episode], playback.levels)
    at = lambda array: None if array is None else array[episode, step]
    cell = int(playback.cell[episode, step])
    left, top, width, height = bounds(level.walls)
    window = slice(top, top + height), slice(left, left + width)
    if sys.stdout.isatty():
        columns, rows = shutil.get_terminal_size()
        row, column = divmod(cell, level.walls.shape[1])
        window = (
            _moved(window_around(row - top, height, rows - 3), top, height),
            _moved(window_around(column - left, width, columns // 2), left, width),
        )
    path = [int(cell) for cell in playback.cell[episode, : step + 1]]
    held, heading = bool(at(playback.held)), at(playback.heading)
    return ansi.lines(level, cell, heading, path, colour, held=held, window=window)


def _moved(part: slice, first: int, side: int) -> slice:
    """A part of a side that itself begins at ``first``."""
    return slice(first + part.start, first + min(part.stop, side))


def _refuse(kind: str, path: Path) -> None:
    """ConfigError unless ``path`` can be written as a file of that kind."""
    if path.suffix.lower() != f".{kind}":
        raise ConfigError(f"--{kind} {path}: expected a name that ends in .{kind}")
    if not path.parent.is_dir():
        raise ConfigError(f"--{kind} {path}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise ConfigError(f"--{kind} {path}: is a folder; expected the name of a file")


def _write(kind: str, path: Path, seen: Watched) -> None:
    from lepton_jax.engine.folder import put
    from lepton_jax.report import movie, player
    from lepton_jax.report.document import document, escape
    from lepton_jax.report.picture import save_png

    match kind:
        case "gif":
            movie.save_movie(path, seen.playback)
        case "png":
            save_png(path, movie.still(seen.playback))
        case "svg":
            put(path, movie.drawing(seen.playback, seen.names))
        case _:
            shown = player.player(seen.playback, seen.order, seen.names, seen.actions, focused=True)
            body = f'<p class="note">{escape(seen.title)}; the worst first.</p>\n{shown}'
            put(path, document("How the policy plays", body, player.PLAYER_STYLE, player.PLAYER_SCRIPT))


if __name__ == "__main__":
    guarded(main)
