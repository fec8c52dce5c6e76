"""The virtual environments of the peers, made once and kept."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from bench.peers.registry import Peer


class Place(NamedTuple):
    """Where a worker runs, or why it cannot."""

    python: Path | None
    reason: str = ""
    threads: int = 0  # of XLA's pool; 0 for as many as there are
    devices: int = 1  # into which jax divides the processor


def folder() -> Path:
    """Where environments are kept: ``$XDG_CACHE_HOME/lepton_jax/bench``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lepton_jax" / "bench"


def find(name: str, peer: Peer, timeout: float = 1200.0) -> Place:
    """The interpreter of a peer's environment, which is made if it is not there yet; or why there is none.

    Two processes that want the same wait for each other. ``timeout``: seconds for each step of making it.
    """
    if peer.requires is None:
        return Place(Path(sys.executable))
    pips = [list(peer.requires), *([["--no-deps", "--ignore-requires-python", *peer.forced]] if peer.forced else [])]
    said = "\n".join((platform.python_version(), platform.machine(), *(word for words in pips for word in words)))
    path = folder() / f"{name}-{hashlib.sha256(said.encode()).hexdigest()[:12]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Said when all is installed: whatever was cut short before is made anew, and what has lost its Python.
        if not (path / "whole").is_file() or not (path / "bin" / "python").exists():
            shutil.rmtree(path, ignore_errors=True)
            reason = _make(path, pips, timeout)
            if reason:
                shutil.rmtree(path, ignore_errors=True)
                return Place(None, reason)
            (path / "whole").write_text(said + "\n")
    return Place(path / "bin" / "python")


def _make(path: Path, pips: list[list[str]], timeout: float) -> str:
    """Installs what each of ``pips`` says, in turn; what went wrong, or nothing."""
    pip = [str(path / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for words in ([sys.executable, "-m", "venv", str(path)], *([*pip, *each] for each in pips)):
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            return f"{' '.join(words[:4])} ...: no end after {timeout:g} s"
        if done.returncode:
            told = [line for line in done.stderr.splitlines() if line.strip()] or [f"status {done.returncode}"]
            errors = [line for line in told if line.startswith("ERROR")]
            return (errors or told)[-1].strip()
    return ""
