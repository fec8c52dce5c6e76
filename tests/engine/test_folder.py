"""The folder of a run: one writer at a time, and files that are whole or not there."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lepton_jax.config import ConfigError
from lepton_jax.engine.folder import Journal, RunFolder, put, refuse_used

HOLD = """
import sys
from pathlib import Path
from lepton_jax.engine.folder import RunFolder
folder = RunFolder.new(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_while_the_first_lives(tmp_path):
    path = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        second = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        assert f"being written by process {first.pid}" in second.stderr
        (path / "config.toml").touch()
        with pytest.raises(ConfigError, match=f"being written by process {first.pid}"):
            RunFolder.existing(path)
        first.kill()
        first.wait()
    with RunFolder.existing(path):  # the hold died with its process, and left nothing to clear away
        pass


def test_new_and_discard(tmp_path):
    path = tmp_path / "deep" / "run"
    folder = RunFolder.new(path)
    put(folder.config, "x")
    folder.discard()
    assert not path.exists()
    path.mkdir()
    with RunFolder.new(path) as folder:
        folder.discard()
    assert path.is_dir(), "a folder that was there before stays"
    (path / "notes.txt").touch()
    with pytest.raises(ConfigError, match="not empty"):
        RunFolder.new(path)
    with pytest.raises(ConfigError, match="not empty"):
        refuse_used(path / "notes.txt")


def test_a_used_folder_tells_of_resume(tmp_path):
    (tmp_path / "config.toml").touch()
    with pytest.raises(ConfigError, match="--resume"):
        refuse_used(tmp_path)
    with pytest.raises(ConfigError, match="holds no run"):
        RunFolder.existing(tmp_path / "nowhere")


def test_checkpoints_newest_first(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.saved() == []
    for name in ("000000009", "000000100", ".writing-000000200", "damaged-000000300", "1000000000"):
        (folder.checkpoints / name).mkdir(parents=True)
    (folder.checkpoints / "000000400").touch()
    assert [path.name for path in folder.saved()] == ["1000000000", "000000100", "000000009"]
    assert folder.checkpoint(9).name == "000000009"


class Refusing:
    """A file that takes ``room`` bytes and then is full."""

    def __init__(self, file, room: int):
        self._file, self._room = file, room

    def write(self, data) -> int:
        if self._room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = self._file.write(data[: self._room])
        self._room -= taken
        return taken

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def __getattr__(self, name):
        return getattr(self._file, name)


def test_a_journal_keeps_what_the_disk_refuses(tmp_path, monkeypatch):
    path = tmp_path / "lines"
    journal = Journal(path, "first\n")
    journal.append("second")
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda *args, **kwargs: Refusing(real(*args, **kwargs), 3))
    for line in ("third", "fourth"):
        with pytest.raises(OSError, match="No space left"):
            journal.append(line)
        assert path.read_bytes() == b"first\nsecond\n", "no half line"
    monkeypatch.undo()
    journal.append("fifth ü")
    assert path.read_text(encoding="utf-8") == journal.text == "first\nsecond\nthird\nfourth\nfifth ü\n"
    journal.flush()
    assert path.read_text(encoding="utf-8") == journal.text


def test_a_journal_writes_in_as_many_pieces_as_the_disk_takes(tmp_path, monkeypatch):
    class Slow(Refusing):
        def write(self, data) -> int:
            return self._file.write(data[:2])

    real = Path.open
    journal = Journal(tmp_path / "lines")
    monkeypatch.setattr(Path, "open", lambda *args, **kwargs: Slow(real(*args, **kwargs), 0))
    journal.append("a long line")
    monkeypatch.undo()
    assert (tmp_path / "lines").read_text() == "a long line\n"


def test_put_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "config.toml"
    put(path, "old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(OSError, match="Input/output"):
        put(path, "new")
    assert path.read_text() == "old"
