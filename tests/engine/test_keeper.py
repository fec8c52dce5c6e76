"""When checkpoints are made and which are kept."""

import json
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from lepton_jax.config import CheckpointConfig
from lepton_jax.engine import checkpoint, integrity
from lepton_jax.engine.folder import RunFolder
from lepton_jax.engine.keeper import Keeper, kept


def described(folder: RunFolder, iteration: int, score) -> Path:
    """A checkpoint with a description alone: all that retention reads."""
    path = folder.checkpoint(iteration)
    path.mkdir(parents=True)
    (path / "about.json").write_text(json.dumps({"format": 1, "score": score}))
    integrity.seal(path)
    return path


@pytest.mark.parametrize(
    ("latest", "best", "names"),
    [
        (1, 0, {6}),
        (2, 0, {6, 5}),
        (1, 1, {6, 2}),
        (1, 2, {6, 2, 3}),  # of 3 and 4, which are equal, the older
        (3, 1, {6, 5, 4, 2}),
        (1, 9, {6, 2, 3, 4, 1}),  # 5 has no score
        (9, 9, {6, 5, 4, 3, 2, 1}),
    ],
)
def test_the_newest_and_the_best_are_kept_together(tmp_path, latest, best, names):
    folder = RunFolder(tmp_path)
    scores = {1: [0.1, 0.9], 2: [0.9, 0.5], 3: [0.8, 0.8], 4: [0.8, 0.8], 5: None, 6: [0.0, 0.0]}
    for iteration, score in scores.items():
        described(folder, iteration, score)
    assert {int(path.name) for path in kept(folder.saved(), latest, best)} == names


def test_a_damaged_checkpoint_is_never_among_the_best(tmp_path):
    folder = RunFolder(tmp_path)
    described(folder, 1, [0.5])
    (described(folder, 2, [0.9]) / "about.json").write_text("{")
    described(folder, 3, [0.1])
    assert {int(path.name) for path in kept(folder.saved(), 1, 1)} == {1, 3}


def about(iteration: int, score=None) -> dict:
    return {"iteration": iteration, "score": score}


def test_saved_behind_the_back_and_pruned(tmp_path):
    folder = RunFolder(tmp_path)
    (folder.checkpoints / ".writing-000000001").mkdir(parents=True)
    keeper = Keeper(folder, CheckpointConfig(latest=2, best=1), 0)
    assert not list(folder.checkpoints.iterdir()), "what a crash left is cleared away"
    for iteration, score in ((1, [0.9]), (2, [0.1]), (3, [0.2]), (4, None)):
        value = jnp.full(3, iteration)
        keeper.save(iteration, {"w": value}, about(iteration, score), {"metrics.jsonl": "x\n"})
        value.delete()  # as donation does: the keeper has its own copy
    assert keeper.problem() is None
    assert [int(path.name) for path in folder.saved()] == [4, 3, 1]
    for path in folder.saved():
        integrity.verify(path)
        found = checkpoint.read_leaves(path, ["w"])["w"]
        np.testing.assert_array_equal(found, np.full(3, int(path.name)))


def test_a_failure_is_told_and_the_next_one_works(tmp_path):
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir(parents=True)
    keeper = Keeper(folder, CheckpointConfig(), 0)
    keeper.save(1, {"w": jnp.zeros(2)}, about(1), {"no/such/folder": ""})
    assert "000000001: cannot be written: No such file" in (keeper.problem() or "")
    keeper.save(2, {"w": jnp.zeros(2)}, about(2), {})
    assert keeper.problem() is None
    assert [path.name for path in folder.saved()] == ["000000002"]


def test_by_iterations(tmp_path):
    keeper = Keeper(RunFolder(tmp_path), CheckpointConfig(every_iterations=100), 40)
    assert keeper.until(40) == 100
    assert keeper.until(130) == 10
    assert keeper.until(150) == 1
    assert [keeper.due(iteration, False) for iteration in (41, 139, 140, 300)] == [False, False, True, True]


def test_by_time_a_log_point_is_waited_for(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    keeper = Keeper(RunFolder(tmp_path), CheckpointConfig(every_seconds=30.0), 0)
    assert keeper.until(7) is None
    for seconds, at_point, due in (
        (29.0, True, False), (31.0, True, True), (31.0, False, False), (59.0, False, False), (61.0, False, True),
    ):  # fmt: skip
        now[0] = 1000.0 + seconds
        assert keeper.due(5, at_point) == due, (seconds, at_point)
