"""Sealed folders: whatever is changed in one is told, by name."""

import shutil
import subprocess
from pathlib import Path

import pytest

from lepton_jax.engine import integrity
from lepton_jax.engine.integrity import CheckpointError


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "sealed"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "about.json").write_text('{"a": 1}\n')
    (folder / "deep" / "er" / "data").write_bytes(bytes(range(256)))
    (folder / "empty").touch()
    integrity.seal(folder)
    return folder


def test_an_intact_folder_passes_here_and_with_sha256sum(folder):
    integrity.verify(folder)
    assert integrity.describe(folder) == {"a": 1}
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_single_bit_of_every_file_counts(folder):
    flips = 0
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        before = path.read_bytes()
        for place in range(len(before)):
            for bit in range(8):
                path.write_bytes(before[:place] + bytes([before[place] ^ 1 << bit]) + before[place + 1 :])
                with pytest.raises(CheckpointError, match=str(folder)):
                    integrity.verify(folder)
                flips += 1
        path.write_bytes(before)
    assert flips == 8 * sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) > 3000
    integrity.verify(folder)


def test_every_truncation_counts(folder):
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        before = path.read_bytes()
        for size in range(len(before)):
            path.write_bytes(before[:size])
            with pytest.raises(CheckpointError):
                integrity.verify(folder)
        path.write_bytes(before)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "deep/er/data").unlink(), ["deep/er/data", "No such file", "SHA256SUMS names it"]),
        (lambda folder: (folder / "deep/stranger").touch(), ["deep/stranger", "does not belong"]),
        (lambda folder: (folder / "deep/er/data").write_bytes(b""), ["deep/er/data", "damaged"]),
        (lambda folder: (folder / "SHA256SUMS").unlink(), ["SHA256SUMS", "No such file"]),
        (lambda folder: (folder / "empty").rename(folder / "void"), ["empty", "No such file"]),
        (lambda folder: (folder / "SHA256SUMS").write_bytes(b"\xff"), ["SHA256SUMS", "UTF-8"]),
        (lambda folder: (folder / "link").symlink_to("empty"), ["link", "does not belong"]),
    ],
)
def test_what_is_wrong_is_named(folder, damage, words):
    damage(folder)
    with pytest.raises(CheckpointError) as told:
        integrity.verify(folder)
    for word in words:
        assert word in str(told.value)
    assert "\n" not in str(told.value)


def test_describe_reads_no_other_file(folder):
    (folder / "deep/er/data").write_bytes(b"damaged")
    assert integrity.describe(folder) == {"a": 1}
    (folder / "about.json").write_text('{"a": 2}\n')
    with pytest.raises(CheckpointError, match=r"about\.json: damaged"):
        integrity.describe(folder)
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        integrity.describe(folder / "deep")


def test_newest_intact_passes_over_the_damaged(folder, tmp_path):
    newer = tmp_path / "newer"
    shutil.copytree(folder, newer)
    (newer / "empty").write_text("no longer")
    found, problems = integrity.newest_intact([newer, folder])
    assert found == folder
    assert len(problems) == 1
    assert str(newer / "empty") in problems[0]
    assert integrity.newest_intact([newer])[0] is None
    assert integrity.newest_intact([]) == (None, [])


def test_publish_replaces_and_leaves_nothing_beside(folder, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "empty").write_text("new")
    integrity.publish(other, folder)
    assert (folder / "empty").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["sealed"]
