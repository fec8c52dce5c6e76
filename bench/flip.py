"""Damages a checkpoint bit by bit and file by file, and reads it: is every damage told, and told well?

Each damage is read in two ways. A full read must refuse it by name. A read of some leaves must refuse it or return what
was written: what it does not touch may be damaged.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lepton_jax.config import Config
from lepton_jax.engine import checkpoint, integrity
from lepton_jax.engine.integrity import CheckpointError
from lepton_jax.engine.launch import begin
from lepton_jax.engine.program import make_hypers, make_program
from lepton_jax.engine.run import go
from lepton_jax.engine.setup import make_setup
from lepton_jax.presets import from_preset
from lepton_jax.settings import overlay

TINY = {
    "total_steps": 4000,
    "display": "quiet",
    "env": {"num_envs": 16, "pool": 64, "refresh_levels": 32, "refresh_every": 8},
    "net": {"width": 8},
    "replay": {"capacity": 2048, "batch_size": 32, "updates": 1, "warmup": 256},
    "eval": {"validation_levels": 8, "test_levels": 8},
}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.flip", description=__doc__, allow_abbrev=False)
    parser.add_argument("--flips", type=int, default=1000, help="single bits flipped (default: 1000)")
    parser.add_argument("--cuts", type=int, default=200, help="files cut short (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the places (default: 0)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        config = tiny(Path(scratch) / "run")
        folder = max((go(begin(config)).folder / "checkpoints").iterdir())
        told = damage(folder, shapes(config), args.flips, args.cuts, args.seed)
    for (how, outcome), count in sorted(told.items()):
        print(f"{how:<14}{outcome:<44}{count:>6}")
    return 0 if all(good(outcome) for _, outcome in told) else 1


def tiny(folder: Path) -> Config:
    """A run of a second."""
    return overlay(from_preset("quick"), TINY | {"run_dir": str(folder)}, "tiny")


def good(outcome: str) -> bool:
    return outcome.startswith(("full: refused by name", "part: "))


def damage(folder: Path, like: Any, flips: int, cuts: int, seed: int) -> Counter[tuple[str, str]]:
    """How often each kind of damage to the checkpoint ``folder`` had each outcome. ``folder`` is intact afterwards."""
    draw = random.Random(seed)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    whole = read_all(folder, like)
    wanted = [name for name in whole if name.startswith("state/agent_state/params/")]
    part = checkpoint.read_leaves(folder, wanted)
    told: Counter[tuple[str, str]] = Counter()
    for number in range(flips + cuts):
        how = "bit flipped" if number < flips else "file cut"
        # Half of the places are drawn by file, half by byte: the small files are where meaning is densest.
        weights = [1 if number % 2 else path.stat().st_size for path in files]
        (path,) = draw.choices(files, weights)
        place = draw.randrange(path.stat().st_size)
        change: Callable[[bytes], bytes] = flipped(place, draw.randrange(8)) if how == "bit flipped" else cut(place)
        with changed(path, change):
            told[how, "full: " + outcome(lambda: read_all(folder, like), whole, path, folder)] += 1
            told[how, "part: " + outcome(lambda: checkpoint.read_leaves(folder, wanted), part, path, folder)] += 1
    integrity.verify(folder)
    return told


def shapes(config: Config) -> dict[str, Any]:
    """The shapes of all that a checkpoint of a run holds."""
    setup = make_setup(config)
    program = make_program(config, setup.env, setup.agent, setup.shards)
    key, hypers = jax.random.key(0), make_hypers(config, program.shape)
    state = jax.eval_shape(program.init, key, key, hypers)
    return {"state": state, "best": setup.agent.policy(state.agent_state)}


def read_all(folder: Path, like: Any) -> dict[str, np.ndarray]:
    """Every leaf."""
    return checkpoint.names(checkpoint.to_host(checkpoint.read(folder, like)[0]))


def outcome(read: Callable[[], dict[str, Any]], expected: dict[str, Any], path: Path, folder: Path) -> str:
    try:
        found = read()
    except CheckpointError as error:
        text = str(error)
        if "\n" in text:
            return f"refused in several lines: {text!r}"
        named = path.name in text or "leaf '" in text or path.relative_to(folder).as_posix() in text
        return "refused by name" if named else "refused"
    except Exception as error:
        return f"TRACEBACK {type(error).__name__}"
    same = found.keys() == expected.keys() and all(np.array_equal(found[name], expected[name]) for name in expected)
    return "no effect on what is read" if same else "WRONG ARRAYS"


@contextmanager
def changed(path: Path, change: Callable[[bytes], bytes]) -> Iterator[None]:
    """``path`` with other contents, for a while."""
    before = path.read_bytes()
    path.write_bytes(change(before))
    try:
        yield
    finally:
        path.write_bytes(before)


def flipped(place: int, bit: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


def cut(place: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:place]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
