"""Fills the disk under a run: it must tell, go on, lose nothing, and end well or be resumable when space returns.

With the right to mount, the disk is a small tmpfs that is really filled; without it, the kernel is told to refuse files
of more than a few kilobytes to the run (RLIMIT_FSIZE), which fails the arrays of every checkpoint.
"""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from bench.crash import fingerprint, train
from lepton_jax.engine.folder import RunFolder
from lepton_jax.engine.integrity import newest_intact

CONFIG = """
display = "quiet"
log_points = 30
[env]
num_envs = 256
pool = 1024
refresh_levels = 256
refresh_every = 16
[net]
width = 32
[replay]
capacity = 262_144
batch_size = 64
updates = 1
warmup = 1024
[eval]
validation_levels = 64
test_levels = 64
[checkpoint]
every_iterations = 256
"""


class Disk(NamedTuple):
    folder: Path
    fill: Callable[[int], None]  # (process) makes writing fail
    free: Callable[[int], None]


def main() -> int:
    with disk() as (kind, there):
        results = check(there, 12_000_000)
    print(f"disk: {kind}")
    for name, good, said in results:
        print(f"{'ok ' if good else 'BAD'}  {name}{': ' + said if said else ''}")
    return 0 if all(good for _, good, _ in results) else 1


def check(there: Disk, steps: int) -> list[tuple[str, bool, str]]:
    """What was tried in runs of ``steps`` env-steps, whether it went as it must, and what was said."""
    config = there.folder / "config.toml"
    config.write_text(f"total_steps = {steps}\n{CONFIG}")
    start = lambda name: ["--config", str(config), "--run-dir", str(there.folder / name)]
    train(start("whole"))
    whole = fingerprint(there.folder / "whole")
    results = []

    returns = there.folder / "returns"
    process = launch(start("returns"))
    await_checkpoint(returns, process)
    there.fill(process.pid)
    told = await_line(process, "cannot be written")
    time.sleep(0.1)  # a few checkpoints more are refused; longer, and a short run would end on the full disk
    alive = process.poll() is None
    there.free(process.pid)
    told += await_line(process, "are written again")
    told += process.communicate(timeout=120)[1]
    results += [
        ("the run goes on while the disk is full", alive, ""),
        ("it says so, in a line", told.startswith("note: ") and told.count("cannot be written") == 1, told.strip()),
        ("without tracebacks", "Traceback" not in told and "rror:" not in told, ""),
        ("it ends well when space returns", process.returncode == 0, ""),
        ("and equals an undisturbed one", process.returncode == 0 and fingerprint(returns) == whole, ""),
    ]

    stays = there.folder / "stays"
    process = launch(start("stays"))
    await_checkpoint(stays, process)
    there.fill(process.pid)
    _, told = process.communicate(timeout=120)
    intact, _ = newest_intact(RunFolder(stays).saved())
    results += [
        ("with a disk that stays full it stops with status 2", process.returncode == 2, ""),
        ("with a note and a message", len(told.strip().splitlines()) <= 3 and "Traceback" not in told, told.strip()),
        ("its last good checkpoint is intact", intact is not None, str(intact and intact.name)),
    ]
    there.free(process.pid)
    train(["--resume", str(stays)])
    results.append(("resumed with space, it equals an undisturbed one", fingerprint(stays) == whole, ""))
    return results


def launch(flags: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lepton_jax.train", *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def await_checkpoint(folder: Path, process: subprocess.Popen[str]) -> None:
    while not RunFolder(folder).saved():
        if process.poll() is not None:
            raise SystemExit(f"the run ended too soon: {process.communicate()[1]}")
        time.sleep(0.02)


def await_line(process: subprocess.Popen[str], words: str) -> str:
    """What the process says on stderr up to the line that holds ``words``, or to its end."""
    said = ""
    assert process.stderr is not None
    while words not in said and (line := process.stderr.readline()):
        said += line
    return said


@contextlib.contextmanager
def disk() -> Iterator[tuple[str, Disk]]:
    """A disk that can be filled."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "disk"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
        if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
            try:
                yield "tmpfs of 24 MiB", Disk(folder, lambda _: stuff(folder / "filler"), lambda _: unlink(folder))
            finally:
                subprocess.run(["umount", str(folder)], check=True)
        else:
            yield "RLIMIT_FSIZE of 8 KiB", limited(folder)


def limited(folder: Path) -> Disk:
    """A disk that refuses to a process files above 8 KiB."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(process: int, size: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(process, resource.RLIMIT_FSIZE, (size, hard))

    return Disk(folder, lambda process: limit(process, 8192), lambda process: limit(process, hard))


def stuff(path: Path) -> None:
    """Writes until nothing more fits."""
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)


def unlink(folder: Path) -> None:
    (folder / "filler").unlink()


if __name__ == "__main__":
    sys.exit(main())
