"""The part of the engine that is written in C: gradients averaged over the devices of a CPU.

A collective of XLA's puts the threads of a CPU to sleep and wakes them again, which takes longer than a small network
takes to learn. ``average.c`` is compiled when it is first wanted, in half a second, and kept; where that is not
possible XLA's collective does the same, bit for bit.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

_SOURCE = Path(__file__).with_name("average.c")
_TARGET = "lepton_average"
MOST_DEVICES = 64  # as in average.c


def folder() -> Path:
    """Where what was compiled is kept: ``$XDG_CACHE_HOME/lepton_jax/native``, by default in ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lepton_jax" / "native"


@functools.cache
def trouble() -> str:
    """Why the C part cannot be used, in a few words; empty: it can, and jax knows it."""
    try:
        library = ctypes.CDLL(str(compiled()))
        jax.ffi.register_ffi_target(_TARGET, jax.ffi.pycapsule(library.lepton_average), platform="cpu")
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        return str(error).partition("\n")[0]
    return ""


def mean(tree: Any, axis: str) -> Any:
    """The mean of a float32 tree over the devices of a CPU, like ``jax.lax.pmean``.

    It is called inside ``jax.shard_map`` over ``axis``. Of two calls in one program one has to follow from the other,
    as gradient steps do: devices find each other by the order of their calls.
    """
    leaves, treedef = jax.tree.flatten(tree)
    place = jnp.stack([jax.lax.axis_index(axis), jnp.int32(jax.lax.axis_size(axis))])
    like = [jax.ShapeDtypeStruct(leaf.shape, jnp.float32) for leaf in leaves]
    return jax.tree.unflatten(treedef, jax.ffi.ffi_call(_TARGET, like, has_side_effect=True)(*leaves, place))


def compiled() -> Path:
    """The library, compiled if it is not there yet: of this source, for this jaxlib and kind of machine.

    Raises:
      RuntimeError: there is no C compiler, or it refuses. OSError: the folder cannot be written.
    """
    said = f"{importlib.metadata.version('jaxlib')} {platform.system()} {platform.machine()}\n".encode()
    path = folder() / f"average-{hashlib.sha256(said + _SOURCE.read_bytes()).hexdigest()[:16]}.so"
    if path.is_file():
        return path
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise RuntimeError("no C compiler: neither cc nor gcc nor clang is on the PATH")
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    words = [compiler, "-std=c11", "-O3", "-shared", "-fPIC", "-pthread", f"-I{jax.ffi.include_dir()}"]
    try:
        done = subprocess.run(
            [*words, str(_SOURCE), "-o", str(new)], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            told = [line for line in done.stderr.splitlines() if line.strip()] or [f"status {done.returncode}"]
            raise RuntimeError(f"{compiler} refuses average.c: {told[0].strip()}")
        os.replace(new, path)  # two processes that come at once make the same
    finally:
        new.unlink(missing_ok=True)
    return path
