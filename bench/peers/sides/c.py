"""The C program: compiled when first wanted, called through ctypes."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from wire import Work, serve

SOURCE = Path(__file__).parents[1] / "maze.c"
LEVEL = 13 * 13 + 2  # bytes of a Level
STEPS = {64: 16384, 1024: 1024, 8192: 128}


def library() -> ctypes.CDLL:
    """The compiled program, kept beside the environments of the peers.

    Raises:
      RuntimeError: there is no C compiler, or it refuses.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise RuntimeError("no C compiler: neither cc nor gcc nor clang is on the PATH")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lepton_jax" / "bench"
    cache.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(SOURCE.read_bytes() + platform.node().encode()).hexdigest()[:12]
    path = cache / f"maze-{digest}.so"
    if not path.is_file():
        words = [compiler, "-O3", "-march=native", "-shared", "-fPIC", "-pthread", str(SOURCE), "-o", f"{path}.new"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{compiler} refuses maze.c: {done.stderr.strip().splitlines()[0]}")
        os.replace(f"{path}.new", path)
    found = ctypes.CDLL(str(path))
    found.make.restype, found.play.restype = ctypes.c_void_p, ctypes.c_int64
    found.play.argtypes = [ctypes.c_void_p, ctypes.c_int]
    found.generate.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint64]
    return found


def prepare(tier: str, n: int, **_: Any) -> Work:
    program = library()
    threads = min(len(os.sched_getaffinity(0)), 64)
    if tier == "generate":
        levels = (ctypes.c_uint8 * (LEVEL * n))()
        seeds = iter(range(1, 2**62))
        call = lambda: program.generate(levels, n, next(seeds))
        rows = lambda: {bytes(levels[LEVEL * k : LEVEL * k + 169]) for k in range(n)}
        return Work(call, n, lambda: {"levels": n, "different": len(rows())}, {"threads": 1})
    world, steps = program.make(4096, n, threads), STEPS[n]
    box = {"calls": 0, "ended": 0}

    def play() -> None:
        box["calls"] += 1
        box["ended"] = program.play(world, steps)

    def check() -> dict[str, Any]:
        total = box["calls"] * n * steps
        return {"steps": total, "episodes": box["ended"], "steps_an_episode": total / max(box["ended"], 1)}

    return Work(play, n * steps, check, {"threads": threads})


if __name__ == "__main__":
    serve(prepare)
