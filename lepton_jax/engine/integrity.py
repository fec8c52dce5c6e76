"""Folders that prove themselves: a sha256 of every file, and a description that is read without the arrays.

A sealed folder holds ``about.json``, and ``SHA256SUMS`` over every file but itself, as ``sha256sum --check`` reads it.
Imports no jax.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

SUMS, ABOUT = "SHA256SUMS", "about.json"
_OVERHEAD = 2**18  # bytes of descriptions beside the arrays of a checkpoint


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or written; the message names it and says what was expected."""


def seal(folder: Path) -> None:
    """Writes ``SHA256SUMS`` and has everything in ``folder`` reach the disk."""
    (folder / SUMS).write_text("".join(f"{_sha256(folder / name)}  {name}\n" for name in _files(folder)))
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def reserve(folder: Path, size: int) -> None:
    """Raises the OSError that writing ``size`` bytes into ``folder`` would end in, if the system can tell.

    What writes arrays works in many threads, and those that fail for want of space are loud: better not to start.
    """
    allocate = getattr(os, "posix_fallocate", None)
    if allocate is None:
        return
    path = folder / ".reserved"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        allocate(handle, 0, size + _OVERHEAD)
    finally:
        os.close(handle)
        path.unlink()


def publish(made: Path, path: Path) -> None:
    """Renames the sealed folder ``made`` to ``path``, in place of what may be there; nothing half done is ever seen."""
    remove(path)
    os.rename(made, path)
    _sync(path.parent)


def remove(folder: Path) -> None:
    """Removes a folder, if it is there; it vanishes at once, and what a crash leaves has a hidden name."""
    hidden = folder.with_name(f".old-{folder.name}")
    shutil.rmtree(hidden, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.rename(folder, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def verify(folder: Path) -> None:
    """Reads every file of a sealed folder and compares.

    Raises:
      CheckpointError: names the first file that is damaged, missing or foreign.
    """
    sums, files = _sums(folder), _files(folder)
    for name in sorted(sums.keys() | set(files)):
        if name not in sums:
            raise CheckpointError(f"{folder / name}: does not belong there; {SUMS} does not name it")
        _compare(folder, name, sums)
    if list(sums) != files:
        raise CheckpointError(f"{folder / SUMS}: damaged: names a file twice or out of order")


def describe(folder: Path) -> dict[str, Any]:
    """What ``about.json`` of a sealed folder says. That file alone is compared with its sum.

    Raises:
      CheckpointError: no such folder, or ``about.json`` is damaged or missing.
    """
    if not (folder / ABOUT).exists() and not (folder / SUMS).exists():
        raise CheckpointError(
            f"{folder} is no checkpoint; expected a folder that a run has written, such as RUN/policy/best"
        )
    sums = _sums(folder)
    if ABOUT not in sums:
        raise CheckpointError(f"{folder / SUMS}: damaged: it does not name {ABOUT}")
    _compare(folder, ABOUT, sums)
    try:
        return json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{folder / ABOUT}: is no JSON: {error}") from None


def newest_intact(folders: Sequence[Path], whole: bool = True) -> tuple[Path | None, list[str]]:
    """The first of ``folders`` that verifies, and what is wrong with those before it.

    Not ``whole``: the description alone is compared with its sum, and no array is read.
    """
    problems = []
    for folder in folders:
        try:
            if whole:
                verify(folder)
            describe(folder)
        except CheckpointError as error:
            problems.append(str(error))
        else:
            return folder, problems
    return None, problems


def set_aside(damaged: Sequence[Path]) -> None:
    """Renames damaged folders, so that they are neither taken for checkpoints nor lost."""
    for folder in damaged:
        wanted = folder.with_name(f"damaged-{folder.name}")
        free = (wanted, *(wanted.with_name(f"{wanted.name}-{number}") for number in range(1, 1000)))
        folder.rename(next(path for path in free if not path.exists()))


def _compare(folder: Path, name: str, sums: dict[str, str]) -> None:
    path = folder / name
    try:
        found = _sha256(path)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}; {SUMS} names it") from None
    if found != sums[name]:
        raise CheckpointError(f"{path}: damaged: its sha256 is not the one written in {SUMS}")


def _sums(folder: Path) -> dict[str, str]:
    path = folder / SUMS
    try:
        lines = path.read_bytes().decode("utf-8").splitlines(keepends=True)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}; without it nothing there can be trusted") from None
    except UnicodeDecodeError:
        raise CheckpointError(f"{path}: damaged: no UTF-8 text") from None
    sums = {}
    for line in lines:
        hexadecimal, gap, name = line[:64], line[64:66], line[66:-1]
        if gap != "  " or not name or line[-1] != "\n":
            raise CheckpointError(f"{path}: damaged: {line[:80]!r} is no line of sha256sum")
        sums[name] = hexadecimal
    return sums


def _files(folder: Path) -> list[str]:
    names = (path.relative_to(folder).as_posix() for path in _walk(folder))
    return sorted(name for name in names if name != SUMS)


def _walk(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """fsync, where the system lets one; a folder's makes its entries last."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
