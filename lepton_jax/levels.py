"""Levels from the command line: ``python -m lepton_jax.levels show|make|check|stats``. Imports jax only to work."""

from __future__ import annotations

import argparse
import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lepton_jax.cli import guarded
from lepton_jax.config import ConfigError
from lepton_jax.engine.folder import read_text
from lepton_jax.level_flags import add_flags, flag, given, spec_of, whole

if TYPE_CHECKING:
    from lepton_jax.envs.maze.level import Level
    from lepton_jax.envs.maze.spec import MazeSpec

_TABLE_SIZES = (7, 9, 13, 21)
_BARS, _BAR = 12, 48


def main(argv: list[str]) -> None:
    """Parses, works, prints."""
    args = _parser().parse_args(argv)
    args.run(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lepton_jax.levels",
        description="Show, make, check and describe maze levels.",
        epilog="example: python -m lepton_jax.levels show --named Labyrinth --path",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="show|make|check|stats")

    def command(name: str, run: Any, what: str, *examples: str) -> argparse.ArgumentParser:
        lines = (f"  python -m lepton_jax.levels {name} {example}" for example in examples)
        sub = commands.add_parser(
            name,
            help=what,
            description=f"{what[0].upper()}{what[1:]}.",
            epilog="\n".join(["examples:", *lines]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        sub.set_defaults(run=run)
        return sub

    show = command(
        "show", _show, "print levels as text, side by side where they fit",
        "mazes.txt", "--named Labyrinth --path", "--kind wilson --size 13 --count 2 --seed 3",
    )  # fmt: skip
    show.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a level file; without it levels are drawn")
    show.add_argument("--named", metavar="NAME", help="a maze of the literature; an unknown name lists them")
    show.add_argument("--path", action="store_true", help="mark a shortest path with dots")
    _drawn(show, 3)
    make = command(
        "make", _make, "write drawn levels to a file",
        "--out mazes.txt --kind rooms --size 15 --count 50", "--out test.txt --size 13 --set test --count 1000",
    )  # fmt: skip
    make.add_argument("--out", type=Path, required=True, metavar="FILE", help="a file that does not exist yet")
    _drawn(make, 100)
    check = command("check", _check, "say whether every level of the files can be played", "mazes.txt more_mazes.txt")
    check.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a level file")
    stats = command(
        "stats", _stats, "count layouts, measure shortest paths and compare sets",
        "mazes.txt --overlap training.txt", "--kind caves --size 21 --count 5000", "--table",
    )  # fmt: skip
    stats.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a level file; without it levels are drawn")
    stats.add_argument("--overlap", type=Path, metavar="FILE", help="count the layouts that this level file has too")
    stats.add_argument(
        "--table",
        action="store_true",
        help="print the mean shortest path of every kind at sizes "
        f"{', '.join(map(str, _TABLE_SIZES))}, in Markdown, from --count levels each",
    )
    _drawn(stats, 1000)
    return parser


def _drawn(parser: argparse.ArgumentParser, count: int) -> None:
    """Flags that draw levels, by default ``count`` of them."""
    group = add_flags(parser)
    group.add_argument("--count", type=whole(1), metavar="N", help=f"levels (default: {count})")
    group.add_argument("--set", choices=("train", "validation", "test"), help="only layouts of this set")
    parser.set_defaults(default_count=count)


def _no_flags(args: argparse.Namespace, source: str) -> None:
    for name in given(args):
        raise ConfigError(f"{flag(name)}: is about drawn levels; leave it away with {source}")


def _draw(args: argparse.Namespace, spec: MazeSpec) -> Level:
    """A batch of NumPy arrays; smaller levels are padded."""
    import jax

    from lepton_jax.envs.maze import generate, suites

    asked = given(args)
    count, seed = asked.get("count", args.default_count), asked.get("seed", 0)
    if "set" in asked:
        return suites.suite(asked["set"], spec, seed, count)
    draw = jax.jit(generate.batch, static_argnums=(1, 2))
    return jax.device_get(draw(jax.random.key(seed), spec, count))


def _apart(levels: Level, spec: MazeSpec) -> list[Level]:
    """The levels of a batch one by one, each of its own size."""
    import jax
    import numpy as np

    from lepton_jax.envs.maze.level import crop

    single = [jax.tree.map(lambda leaf, n=n: leaf[n], levels) for n in range(len(levels.start))]
    if len(spec.sizes) == 1:
        return single
    least = [int(np.max(np.nonzero(~level.walls))) + 2 for level in single]
    sides = [max(spec.sizes[0], side + 1 - side % 2) for side in least]
    return [crop(level, side, side) for level, side in zip(single, sides, strict=True)]


def _read(path: Path) -> list[Level]:
    text = read_text(path, "a level file")
    from lepton_jax.envs.maze.text import from_text

    return from_text(text, str(path))


def _show(args: argparse.Namespace) -> None:
    if args.file and args.named:
        raise ConfigError("FILE and --named both say what to show; leave one away")
    if args.file or args.named:
        _no_flags(args, "FILE" if args.file else "--named")
    if args.named:
        from lepton_jax.envs.maze import named

        levels = [named.load(args.named)]
    elif args.file:
        levels = _read(args.file)
    else:
        spec = spec_of(args)
        levels = _apart(_draw(args, spec), spec)
    print("\n\n".join(_rows([_block(level, args, n) for n, level in enumerate(levels, start=1)])))


def _block(level: Level, args: argparse.Namespace, number: int) -> list[str]:
    """Title and rows of one level, all of one width."""
    from lepton_jax.envs.maze.measure import route
    from lepton_jax.envs.maze.text import to_str

    way = route(level)
    height, width = level.walls.shape
    rows = [list(row) for row in to_str(level).split("\n")]
    for row, column in (divmod(cell, width) for cell in way if args.path):
        if rows[row][column] == " ":
            rows[row][column] = "."
    lines = [f"{args.named or number}: {height}x{width}, {len(way) - 1} steps", *map("".join, rows)]
    return [line.ljust(max(map(len, lines))) for line in lines]


def _rows(blocks: Sequence[list[str]]) -> list[str]:
    """Blocks of lines side by side, as many as the terminal is wide."""
    shelves: list[list[list[str]]] = []
    room, gap = shutil.get_terminal_size().columns, 3
    for block in blocks:
        used = sum(len(one[0]) + gap for one in shelves[-1]) if shelves else room
        if shelves and used + len(block[0]) <= room:
            shelves[-1].append(block)
        else:
            shelves.append([block])
    lines = lambda shelf: itertools.zip_longest(*shelf)
    blank = lambda shelf, line: (part or " " * len(one[0]) for part, one in zip(line, shelf, strict=True))
    return ["\n".join((" " * gap).join(blank(shelf, line)).rstrip() for line in lines(shelf)) for shelf in shelves]


def _make(args: argparse.Namespace) -> None:
    if args.out.exists():
        raise ConfigError(f"--out: {args.out} exists; choose another name, or remove it first")
    if not args.out.parent.is_dir():
        raise ConfigError(f"--out: there is no folder {args.out.parent}; make it first")
    spec = spec_of(args)
    from lepton_jax.envs.maze.text import to_text

    levels = _apart(_draw(args, spec), spec)
    text = to_text(levels)
    with args.out.open("x", encoding="utf-8", newline="\n") as file:
        file.write(text)
    print(f"{args.out}: {_summary(levels)}")


def _check(args: argparse.Namespace) -> None:
    from lepton_jax.envs.maze.level import LevelError

    faults = []
    for path in args.files:
        try:
            print(f"{path}: {_summary(_read(path))}, all solvable")
        except LevelError as error:
            faults.append(str(error))
    if faults:
        raise LevelError("\n       ".join(faults))


def _summary(levels: list[Level]) -> str:
    """How many levels there are, of which sizes, and what some of them have."""
    import numpy as np

    sizes = sorted({level.walls.shape for level in levels})
    said = [f"{height}x{width}" for height, width in sizes]
    text = f"{len(levels):,} level{'s' if len(levels) > 1 else ''}, "
    text += ", ".join(said) if len(said) < 6 else f"{said[0]} to {said[-1]}"
    for what, field in (("lava", "lava"), ("a door", "door"), ("further goals", "others")):
        count = sum(bool(np.any(getattr(level, field))) for level in levels)  # no cell that counts is cell 0
        text += f", {count:,} with {what}" if count else ""
    return text


def _stats(args: argparse.Namespace) -> None:
    if args.table:
        _table(args)
        return
    if args.file:
        _no_flags(args, "FILE")
        levels = _read(args.file)
        title = f"{args.file}: {_summary(levels)}"
    else:
        spec = spec_of(args)
        levels = _apart(_draw(args, spec), spec)
        from lepton_jax.envs.maze.suites import describe

        title = f"{_summary(levels)}; of {describe(spec, held_out=True)}"
    import numpy as np

    from lepton_jax.envs.maze import measure
    from lepton_jax.envs.maze.level import SPLITS, split_of

    layouts, lengths = measure.layouts(levels), measure.lengths(levels)
    sets = np.bincount(split_of(layouts), minlength=3) / len(levels)
    ends = np.mean([measure.dead_ends(level.walls) for level in levels])
    known = set(map(tuple, layouts.tolist()))
    print(title)
    print(f"layouts        {len(known):,} up to symmetry")
    print("sets           " + ", ".join(f"{share:.1%} {name}" for name, share in zip(SPLITS, sets, strict=True)))
    print(f"walls          {np.mean([level.walls.mean() for level in levels]):.1%} of the cells")
    print(f"dead ends      {ends:.1f} a level")
    print(f"shortest path  {lengths.mean():.1f} steps on average, {lengths.min()} to {lengths.max()}")
    print("\n".join(_histogram(lengths)))
    if args.overlap:
        others = set(map(tuple, measure.layouts(_read(args.overlap)).tolist()))
        print(
            f"overlap        {len(known & others):,} of these layouts are among the {len(others):,} of {args.overlap}"
        )


def _histogram(lengths: Any) -> list[str]:
    import numpy as np

    first = int(lengths.min())
    step = -(-(int(lengths.max()) - first + 1) // _BARS)
    counts = np.bincount((lengths - first) // step)
    starts = [first + step * n for n in range(len(counts))]
    spans = [f"{start}-{start + step - 1}" if step > 1 else f"{start}" for start in starts]
    bars = ["#" * round(_BAR * count / counts.max()) for count in counts]
    return [
        f"{span:>13}  {bar:<{_BAR}} {count:>7,}".rstrip() for span, bar, count in zip(spans, bars, counts, strict=True)
    ]


def _table(args: argparse.Namespace) -> None:
    for name in ("file", "overlap", "kind", "size", "min_size"):
        if getattr(args, name, None):
            given_as = "FILE" if name == "file" else flag(name)
            raise ConfigError(f"{given_as}: --table is of every kind and size, and of no file; leave it away")
    from lepton_jax.envs.maze.measure import steps
    from lepton_jax.envs.maze.spec import KINDS

    print("| generator | " + " | ".join(f"{size}x{size}" for size in _TABLE_SIZES) + " |")
    print("|---|" + "--:|" * len(_TABLE_SIZES))
    for kind in KINDS:
        means = (steps(_draw(args, spec_of(args, kind=kind, size=size))).mean() for size in _TABLE_SIZES)
        print(f"| {kind} | " + " | ".join(f"{mean:.1f}" for mean in means) + " |", flush=True)


if __name__ == "__main__":
    guarded(main)
