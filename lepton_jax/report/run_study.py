"""What the page of a run is made of: its files, and what its policy does on the held-out levels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lepton_jax.agents.training import AS_USUAL, Training
from lepton_jax.config import MAZE, Config, ConfigError
from lepton_jax.engine import checkpoint, insight
from lepton_jax.engine.folder import RunFolder, read_text, resume_command
from lepton_jax.engine.insight import Insight
from lepton_jax.engine.playback import Playback, action_names, play_back
from lepton_jax.engine.policies import read_run
from lepton_jax.engine.program import make_hypers, program_shape
from lepton_jax.engine.setup import level_set, make_setup, prepare_jax

Json = Mapping[str, Any]

_LOOKED_AT = 128  # levels of which every state is looked at
_RECORDED = 2**28  # bytes that recorded episodes may take; of very many or very long ones some are left out


class Study(NamedTuple):
    """A finished run, and N episodes of its policy on the test levels."""

    folder: Path
    config: Config
    summary: Json
    manifest: Json
    rows: list[dict[str, Any]]  # of metrics.jsonl
    policy: str  # whose episodes these are: best or final
    leaves: Json  # of the policy by name: shape, dtype, bytes
    actions: tuple[str, ...]
    playback: Playback  # of the first N test levels
    order: np.ndarray  # int (N,): failures first, then the most regret; without an exact solution the least return
    regret: np.ndarray | None = None  # float64 (N,); mazes
    shortest: np.ndarray | None = None  # int32 (N,): fewest steps from start to success; mazes
    start_value: float | None = None  # mean V* of the starts of all test levels; mazes
    # Of the first levels, and behind them of those that are drawn; None where the policy's values are no estimates of
    # Q* of the state seen.
    insight: Insight | None = None

    @property
    def is_maze(self) -> bool:
        return self.config.env.id == MAZE

    @property
    def sample(self) -> Insight | None:
        """``insight`` of the first levels alone, which nobody has chosen."""
        if self.insight is None:
            return None
        few = self.insight.numbers < _LOOKED_AT
        return jax.tree.map(lambda leaf: leaf[few], self.insight)


def study(path: Path, policy: str = "best", params: Any = None) -> Study:
    """Reads a finished run and plays its policy.

    Args:
      path: the run's folder.
      policy: best or final.
      params: those of the policy, if they are at hand; else they are read.

    Raises:
      ConfigError: no run, or one that has not ended.
      CheckpointError: the policy is damaged.
    """
    folder, config = RunFolder(path), read_run(path)
    if not folder.summary.is_file():
        raise ConfigError(f"{path} has not ended, so there is no report yet; go on with it: {resume_command(path)}")
    summary, manifest = (_json(file) for file in (folder.summary, folder.manifest))
    rows = [json.loads(line) for line in read_text(path / "metrics.jsonl", "a run's metrics").splitlines()]
    leaves = checkpoint.describe(folder.policy(policy))["leaves"]

    prepare_jax(config)
    graft = manifest.get("graft")
    setup = make_setup(config, AS_USUAL if graft is None else Training.from_json(graft["training"]))
    env, agent, hypers = setup.env, setup.agent, make_hypers(config, program_shape(config))
    like = jax.eval_shape(lambda: agent.init(jax.random.key(0), env.observation, env.num_actions, hypers))
    if params is None:
        params, _ = checkpoint.read(folder.policy(policy), jax.eval_shape(agent.policy, like))
    # Optimiser and target take no part in playing; zeros stand in for them.
    state = agent.with_policy(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like), params)
    levels = level_set(config, "test", config.eval.test_levels)
    each = env.time_limit * 4 * (env.num_actions + 4)
    playback = play_back(env, agent, state, levels, hypers, min(levels.size, max(1, _RECORDED // each)))
    told = Study(
        path, config, summary, manifest, rows, policy, leaves, action_names(config, env.num_actions),
        playback, np.argsort(playback.total, kind="stable"),
    )  # fmt: skip
    if env.solve is None:
        return told
    exact = insight.solve(env, levels, hypers)
    values, shortest = jax.device_get((exact.start_value, exact.start_distance))
    count = len(playback.length)
    regret = insight.regrets(playback, values[:count], hypers.gamma)
    assert playback.success is not None
    order = np.lexsort((-regret, playback.success))
    told = told._replace(
        order=order, regret=regret, shortest=shortest[:count], start_value=float(values.astype(float).mean())
    )
    if not agent.exact:
        return told
    shown = np.concatenate([np.arange(min(count, _LOOKED_AT)), chosen(told)])
    numbers = list(dict.fromkeys(shown.tolist()))
    return told._replace(insight=insight.look(env, agent, state, levels, exact, numbers))


def chosen(told: Study, each: int = 3) -> np.ndarray:
    """The levels whose values are drawn: those failed with most regret, then those solved from farthest; int (k,).

    ``each`` of either kind; where one has fewer, more of the other.
    """
    success, shortest = told.playback.success, told.shortest
    assert success is not None
    assert shortest is not None
    failed = told.order[~success[told.order]]
    solved = np.flatnonzero(success)
    solved = solved[np.argsort(-shortest[solved], kind="stable")]
    failed = failed[: max(each, 2 * each - len(solved))]
    return np.concatenate([failed, solved[: 2 * each - len(failed)]])


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(read_text(path, "a file of a finished run"))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: not valid JSON: {error}") from None
