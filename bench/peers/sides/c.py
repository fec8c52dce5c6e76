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

from wire import Work

SOURCE = Path(__file__).parents[1] / "maze.c"
LEVEL = 13 * 13 + 2  # bytes of a Level
POOL = 16_384
LONGER = 16  # so many times more steps a call: threads are started in each


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
        new = f"{path}.{os.getpid()}"
        words = [compiler, "-O3", "-march=native", "-shared", "-fPIC", "-pthread", str(SOURCE), "-o", new]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{compiler} refuses maze.c: {done.stderr.strip().splitlines()[0]}")
        os.replace(new, path)
    found = ctypes.CDLL(str(path))
    found.make.restype = ctypes.c_void_p
    found.play.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    found.generate.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint64, ctypes.c_int]
    return found


def prepare(tier: str, n: int, world: str, steps: int = 0) -> Work:
    del world  # there is one
    program, threads = library(), min(len(os.sched_getaffinity(0)), 64)
    return generating(program, n, threads) if tier == "generate" else stepping(program, n, LONGER * steps, threads)


def generating(program: ctypes.CDLL, n: int, threads: int) -> Work:
    levels, seeds = (ctypes.c_uint8 * (LEVEL * n))(), iter(range(1, 2**62))

    def check() -> dict[str, Any]:
        walls = [bytes(levels[LEVEL * k : LEVEL * k + 169]) for k in range(n)]
        free = [each.count(0) for each in walls]
        return {"levels": n, "different": len(set(walls)), "free_cells": [min(free), max(free)]}

    return Work(lambda: program.generate(levels, n, next(seeds), threads), n, check, {"threads": threads})


def stepping(program: ctypes.CDLL, n: int, steps: int, threads: int) -> Work:
    world, told, box = program.make(POOL, n, threads), (ctypes.c_int64 * 2)(), {"calls": 0}

    def call() -> None:
        box["calls"] += 1
        program.play(world, steps, told)

    def check() -> dict[str, Any]:
        total, (ended, solved) = box["calls"] * n * steps, told
        # As those of jax tell it.
        means = {"steps_an_episode": total / ended, "return_an_episode": solved / ended} if ended >= 4 * n else {}
        return {"steps": total, "episodes": ended} | means

    return Work(call, n * steps, check, {"threads": threads})
