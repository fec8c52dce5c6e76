"""A run with everything on the map, and what its policy is judged on."""

import jax
import numpy as np
import pytest

from lepton_jax import evaluate, run
from lepton_jax.config import ConfigError
from lepton_jax.engine import policies, setup
from lepton_jax.envs.maze import named
from lepton_jax.envs.maze.text import from_str
from lepton_jax.presets import from_preset
from lepton_jax.settings import overlay

TINY = {
    "total_steps": 2000, "log_points": 2, "display": "quiet",
    "env": {"size": 7, "num_envs": 16, "levels": 32},
    "net": {"width": 8, "depth": 1},
    "replay": {"capacity": 2048, "batch_size": 32, "collect": 1, "updates": 1, "warmup": 256},
    "eval": {"validation_levels": 8, "test_levels": 8},
}  # fmt: skip
EVERYTHING = {
    "observation": "full", "view": 0, "occlusion": False, "generator": "blocks", "lava": 0.2, "door": True, "goals": 2,
    "moving_goal": True, "slip": 0.1, "sticky": 0.1, "wall_penalty": 0.1, "lava_penalty": 0.5,
}  # fmt: skip


def config(folder, **env):
    tiny = overlay(from_preset("minigrid"), TINY, "tiny")
    return overlay(tiny, {"run_dir": str(folder), "env": env}, "test")


def test_all_options_train_together(tmp_path):
    summary = run(config(tmp_path / "run", **EVERYTHING)).summary
    assert all(np.isfinite(summary[name]) for name in ("regret", "q_error", "mean_return", "spl"))


def test_one_policy_on_all_named_mazes(tmp_path):
    result = run(config(tmp_path / "run", generator="perfect", ends="uniform", view=3))
    said = evaluate.evaluate_named(
        policies.read_run(result.folder), policies.Place(result.folder / "policy" / "final"), 3
    )
    *names, last = said
    assert tuple(names) == named.suite(1, jax.random.key(0))[0]
    assert len(names) > 10
    assert last == "all"
    for figure in ("success_rate", "mean_length", "regret", "spl", "mean_return"):
        assert said["all"][figure] == pytest.approx(np.mean([said[name][figure] for name in names]), abs=1e-4)
    lengths = [said[name]["mean_length"] for name in names]
    assert min(lengths) > 0
    assert max(lengths) <= setup.NAMED_LIMIT


LEVELS = {
    "plain": "#####\n#S G#\n#   #\n#####",
    "lava": "#####\n#S G#\n# ~ #\n#####",
    "door": "######\n#KSDG#\n######",
    "goals": "#####\n#S G#\n# 2 #\n#####",
}


@pytest.mark.parametrize(
    ("text", "env", "words"),
    [
        ("lava", {}, "has lava, which the policy has never met"),
        ("door", {}, "has a door, which the policy has never met"),
        ("plain", {"door": True}, "has no door, but the policy was trained"),
        ("goals", {}, "levels with 2 goals, where the policy was trained with 1"),
        ("plain", {"goals": 3}, "levels with 1 goals, where the policy was trained with 3"),
    ],
)
def test_levels_with_what_training_had_not_are_refused(text, env, words):
    made = config("nowhere", **env)
    with pytest.raises(ConfigError, match=words):
        setup.file_set(made, setup.make_setup(made), LEVELS[text], "levels.txt")


def test_levels_without_lava_are_played_by_who_knows_it():
    made = config("nowhere", lava=0.2)
    _, levels = setup.file_set(made, setup.make_setup(made), LEVELS["plain"], "levels.txt")
    assert not np.any(levels.worlds.lava)
    assert from_str(LEVELS["lava"]).lava.sum() == 1
