"""Plays mazes by hand in a terminal: ``python -m lepton_jax.play``. Imports jax only where it is needed."""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import signal
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lepton_jax.cli import guarded
from lepton_jax.config import ConfigError
from lepton_jax.engine.folder import read_text
from lepton_jax.level_flags import KNOBS, add_flags, flag, given, spec_of
from lepton_jax.report import game as games

if TYPE_CHECKING:
    from lepton_jax.envs.maze.level import Level
    from lepton_jax.envs.maze.spec import MazeSpec

# A control or function sequence, which an arrow key sends, or one byte.
_KEY = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|O)(?P<arrow>[@-~])|\x1b(?![\[O]|\Z)|[^\x1b]", re.DOTALL)
_ARROWS = {b"A": "up", b"B": "down", b"C": "right", b"D": "left"}


class Solver:
    """Q* of one level after another; imports jax when first asked, and solves a level once."""

    def __init__(self) -> None:
        self._known: tuple[Any, Any] = (None, None)

    def knows(self, level: Level) -> bool:
        """Whether this level was the last to be solved, so that there is nothing to wait for."""
        return self._known[0] is level

    def values(self, game: games.Game) -> Any:
        """Q* of the four moves in the present state, float32 (4,) of NumPy."""
        import jax
        import jax.numpy as jnp
        import numpy as np

        from lepton_jax.envs.maze import model, rules
        from lepton_jax.envs.maze.level import stack

        level, now = game.level, game.now
        height, width = level.walls.shape
        goals = len(games.goals_of(level))
        has = lambda field: not isinstance(field, tuple)
        world = rules.Rules(height, width, 1, lava=has(level.lava), door=has(level.door), goals=goals)
        state = rules.begin(stack([level]), world)
        if not self.knows(level):
            solve = jax.jit(model.solve, static_argnums=2)
            self._known = (level, np.asarray(solve(state, game.rewards, world).q[0]))
        site = rules.site_of(jnp.array([now.cell]), world)
        here = state._replace(site=site, held=jnp.array([now.held]) if world.door else ())
        return self._known[1][int(model.number_of(here, world)[0])]


def keys_in(data: bytes) -> tuple[list[str], bytes]:
    """The keys that bytes from a terminal stand for, and the bytes of an escape sequence that has not ended."""
    keys, place = [], 0
    while found := _KEY.match(data, place):
        arrow = found["arrow"]
        keys.append(_ARROWS.get(arrow, "") if arrow else found[0].decode("ascii", "replace").lower())
        place = found.end()
    return keys, data[place:]


@contextmanager
def raw_terminal() -> Iterator[None]:
    """Keys come one by one and unseen, on a screen of their own; undone on every way out, SIGTERM and SIGHUP too."""
    import termios
    import tty

    def stop(number: int, frame: Any) -> None:
        sys.exit(128 + number)

    inlet, numbers = sys.stdin.fileno(), (signal.SIGTERM, signal.SIGHUP)
    before = termios.tcgetattr(inlet)
    handlers = [signal.signal(number, stop) for number in numbers]
    try:
        tty.setcbreak(inlet)
        mode = termios.tcgetattr(inlet)
        mode[6][termios.VSUSP] = b"\0"  # a stopped game would leave the terminal as it is
        termios.tcsetattr(inlet, termios.TCSANOW, mode)
        _write("\x1b[?1049h\x1b[?25l")
        yield
    finally:
        for number in numbers:  # a second one shall not keep the first from its work
            signal.signal(number, signal.SIG_IGN)
        with suppress(OSError, termios.error):  # the terminal itself may have gone
            termios.tcsetattr(inlet, termios.TCSADRAIN, before)
            _write("\x1b[?25h\x1b[?1049l")
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def run(levels: Iterator[tuple[str, Level]], rewards: games.Rewards) -> None:
    """Plays levels, each with its title, until the player or the levels end; the terminal is in raw mode."""
    from lepton_jax.report.ansi import colour_wanted

    solver, colour = Solver(), colour_wanted(sys.stdout)
    rest, keys = b"", deque[str]()
    for title, level in levels:
        game, going = games.begin(level, rewards), True
        while going:
            values = None
            if game.show_values and not game.now.end:
                if not solver.knows(level):
                    _write("\r\x1b[Ksolving ...")
                values = solver.values(game)
            columns, rows = shutil.get_terminal_size()
            shown = games.screen(game, title, values, (columns, rows), colour)
            _write("\x1b[H" + "\x1b[K\n".join(shown) + "\x1b[K\x1b[J")
            if not keys:
                data = os.read(sys.stdin.fileno(), 1024)
                read, rest = keys_in(rest + data)
                keys.extend(read if data else ["q"])  # no more data: whoever typed has gone
            while keys and going:
                key = keys.popleft()
                if key == "q":
                    return
                going = key != "n"
                game = games.press(game, key)


def file_levels(path: Path) -> Iterator[tuple[str, Level]]:
    """The levels of a file, over and over.

    Raises:
      ConfigError: the file cannot be read.
      LevelError: it holds a level that cannot be played.
    """
    from lepton_jax.envs.maze.text import from_text

    levels = from_text(read_text(path, "a level file"), str(path))
    titles = (f"{path.name}: level {number} of {len(levels)}" for number in range(1, len(levels) + 1))
    return itertools.cycle(zip(titles, levels, strict=True))


def generated_levels(spec: MazeSpec, seed: int) -> Iterator[tuple[str, Level]]:
    """Ever new levels."""
    import jax
    import numpy as np

    from lepton_jax.envs.maze.generate import batch

    make = jax.jit(batch, static_argnums=(1, 2))
    for number in itertools.count(1):
        levels = make(jax.random.fold_in(jax.random.key(seed), number), spec, 1)
        level = jax.tree.map(lambda leaf: np.asarray(leaf)[0], levels)
        yield f"{spec.kind}, {spec.size} x {spec.size}, seed {seed}: level {number}", level


def named_levels(name: str, seed: int) -> Iterator[tuple[str, Level]]:
    """Levels of a named maze, over and over, the published one first.

    Raises:
      LevelError: there is no such maze.
    """
    import jax

    from lepton_jax.envs.maze import named

    levels = named.draw(name, jax.random.key(seed), _NAMED)
    each = (jax.tree.map(lambda leaf, k=k: leaf[k], levels) for k in range(_NAMED))
    return itertools.cycle((f"{name}: level {number} of {_NAMED}", level) for number, level in enumerate(each, start=1))


_NAMED = 16  # levels of a named maze


def main(argv: list[str]) -> None:
    """Parses, and plays."""
    parser = argparse.ArgumentParser(
        prog="python -m lepton_jax.play",
        description=f"Play mazes in this terminal. Keys: {games.HELP}.",
        epilog="example: python -m lepton_jax.play --kind wilson --size 21",
        allow_abbrev=False,
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--levels", type=Path, metavar="FILE", help="levels as text, instead of generated ones")
    source.add_argument("--named", metavar="NAME", help="a maze of the literature, such as Labyrinth")
    parser.add_argument("--gamma", type=float, default=0.99, help="discount of return and Q* (default: 0.99)")
    parser.add_argument("--step-cost", type=float, default=0.0, help="taken at every step (default: 0)")
    add_flags(parser)
    args = parser.parse_args(argv)
    spec, asked = spec_of(args), given(args)
    if (args.levels or args.named) and (name := next((name for name in asked if name in KNOBS), None)):
        raise ConfigError(f"{flag(name)}: is about drawn levels; leave it away with --levels and --named")
    for stream, name in ((sys.stdin, "input"), (sys.stdout, "output")):
        if not stream.isatty():
            raise ConfigError(f"standard {name} is no terminal; play in one, without a pipe or a file in its place")
    if args.levels:
        levels = file_levels(args.levels)
    elif args.named:
        levels = named_levels(args.named, asked.get("seed", 0))
    else:
        levels = generated_levels(spec, asked.get("seed", 0))
    first = next(levels)  # compiles the generator: seconds, better spent before the screen goes blank
    with raw_terminal():
        run(itertools.chain([first], levels), games.Rewards(args.gamma, args.step_cost))


if __name__ == "__main__":
    guarded(main)
