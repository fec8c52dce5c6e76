"""The folder of a run: what lies where, and that one process at a time writes it. Imports no jax."""

from __future__ import annotations

import json
import os
import platform
import shlex
from pathlib import Path
from typing import Any

from lepton_jax.config import ConfigError
from lepton_jax.settings import parse_toml

_LOCK = ".lock"


class RunFolder:
    """The files of a run, by name. A context manager that holds the folder against other processes.

    The hold is the kernel's (flock): it ends with the process, however that ends, and never has to be cleared away.
    """

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.toml"
        self.graft = path / "graft.toml"
        self.manifest = path / "manifest.json"
        self.summary = path / "summary.json"
        self.policies = path / "policy"
        self.checkpoints = path / "checkpoints"
        self.failed = path / "failed"
        self._lock: int | None = None
        self._made = False

    @classmethod
    def new(cls, path: Path) -> RunFolder:
        """Makes the folder of a new run and holds it.

        Raises:
          ConfigError: the folder is in use, or not empty.
        """
        refuse_used(path)
        folder = cls(path)
        folder._made = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
        folder.hold()
        try:
            refuse_used(path)
        except ConfigError:
            folder.release()
            raise
        return folder

    @classmethod
    def existing(cls, path: Path) -> RunFolder:
        """Holds the folder of a run that is there.

        Raises:
          ConfigError: there is no run, or another process holds it.
        """
        if not path.is_dir() or not any(path.iterdir()):
            raise ConfigError(
                f"{path} holds no run; expected a folder that python -m lepton_jax.train has left. If it was stopped "
                "in its first second, start it again"
            )
        folder = cls(path)
        if not folder.config.is_file() and not folder.checkpoints.is_dir():
            raise ConfigError(f"{path} holds no run: it has neither config.toml nor checkpoints")
        folder.hold()
        return folder

    def policy(self, name: str) -> Path:
        """The checkpoint of the policy ``best`` or ``final``."""
        return self.policies / name

    def saved(self) -> list[Path]:
        """The checkpoints, newest first."""
        if not self.checkpoints.is_dir():
            return []
        there = (path for path in self.checkpoints.iterdir() if path.name.isdigit() and path.is_dir())
        return sorted(there, key=lambda path: int(path.name), reverse=True)

    def checkpoint(self, iteration: int) -> Path:
        """Where the checkpoint of an iteration belongs."""
        return self.checkpoints / f"{iteration:09d}"

    def discard(self) -> None:
        """Takes back ``new``: for a run that was refused before its first step."""
        self.config.unlink(missing_ok=True)
        self.graft.unlink(missing_ok=True)
        (self.path / _LOCK).unlink(missing_ok=True)
        if self._made:
            self.path.rmdir()
        self.release()

    def release(self) -> None:
        """Lets others write here."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: Any) -> None:
        self.release()

    def hold(self) -> None:
        """Keeps other processes from writing here; ConfigError if one does."""
        try:
            import fcntl
        except ImportError:  # not a POSIX system: no lock
            return
        lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 200, 0).decode(errors="replace").strip() or "another process"
            os.close(lock)
            raise ConfigError(
                f"run_dir: {self.path} is being written by {holder}; wait for it or stop it, or choose another folder"
            ) from None
        except OSError:
            pass  # a file system without locks
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} on {platform.node()}\n".encode(), 0)
        self._lock = lock


def read_toml(path: Path, expected: str = "a TOML file, such as config.toml of a run folder") -> dict[str, Any]:
    """Reads a TOML file; ConfigError if it cannot be read or is not TOML."""
    return parse_toml(read_text(path, expected), str(path))


def read_text(path: Path, expected: str) -> str:
    """Reads a text file; ConfigError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no UTF-8 text"
        raise ConfigError(f"{path}: {reason}; expected {expected}") from None


def resume_command(folder: Path) -> str:
    """What a person types to go on with a run."""
    return f"python -m lepton_jax.train --resume {shlex.quote(str(folder))}"


def refuse_used(path: Path) -> None:
    """Raises ConfigError unless ``path`` can take a new run: absent, or an empty folder."""
    if path.exists() and (not path.is_dir() or any(entry.name != _LOCK for entry in path.iterdir())):
        resume = ", or go on with it: --resume" if (path / "config.toml").is_file() else ", or remove it"
        raise ConfigError(f"run_dir: {path} is not empty; a run never overwrites one: choose another --run-dir{resume}")


def put(path: Path, text: str) -> None:
    """Writes a whole text file, or leaves what was there."""
    new = path.with_name(f".new-{path.name}")
    try:
        with new.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except OSError as error:
        raise _named(error, path) from None


def _named(error: OSError, path: Path) -> OSError:
    """The same error with the file in it, which writing to an open one leaves out."""
    return OSError(error.errno, error.strerror, str(path))


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a journal of JSON; the last one may still be in the writing. [] where there is no file.

    Raises:
      ConfigError: a line is damaged.
    """
    if not path.is_file():
        return []
    *whole, _ = path.read_bytes().split(b"\n")
    lines = []
    for number, line in enumerate(whole, 1):
        try:
            lines.append(json.loads(line))
        except ValueError as error:
            raise ConfigError(
                f"{path}, line {number}: damaged: {error}; restore it, or remove that line and what it tells"
            ) from None
    return lines


class Journal:
    """A text file of lines that grows at its end, line by whole line.

    What the disk refuses is kept and written with the next line, so that a full disk costs nothing that memory holds.
    """

    def __init__(self, path: Path, text: str = ""):
        """Begins the file anew with ``text``."""
        put(path, text)
        self._path = path
        self._lines = [text]
        self._written = len(text.encode())
        self._kept = b""

    @property
    def text(self) -> str:
        """All that belongs in the file."""
        return "".join(self._lines)

    def append(self, line: str) -> None:
        """Adds a line.

        Raises:
          OSError: the file could not be written; nothing is lost, and ``flush`` or the next line tries again.
        """
        self._lines.append(line + "\n")
        self._kept += self._lines[-1].encode()
        self.flush()

    def flush(self) -> None:
        """Writes what has been kept back, if anything; OSError as above."""
        if not self._kept:
            return
        with self._path.open("r+b", buffering=0) as file:
            try:
                file.seek(self._written)
                rest = memoryview(self._kept)
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError as error:
                file.truncate(self._written)
                raise _named(error, self._path) from None
        self._written += len(self._kept)
        self._kept = b""
