"""Deep Q-learning and transfer in JAX: worlds, replay and learner in one compiled program.

import lepton_jax

result = lepton_jax.run(lepton_jax.preset("quick", seed=1, env={"size": 9}))
print(result.summary["success_rate"])
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lepton_jax.config import Config, ConfigError
from lepton_jax.engine.metrics import Event, Observer
from lepton_jax.presets import from_preset, kind_of
from lepton_jax.settings import overlay

if TYPE_CHECKING:
    from lepton_jax.engine.launch import Launch
    from lepton_jax.engine.run import Result
    from lepton_jax.envs.gymnasium import LeptonEnv, LeptonVectorEnv

__version__ = "0.1.0"
__all__ = [
    "Config",
    "ConfigError",
    "Event",
    "Observer",
    "make_gymnasium",
    "preset",
    "register_gymnax",
    "resume",
    "run",
    "run_sweep",
]


def preset(name: str = "quick", **changes: Any) -> Config:
    """The configuration of a preset with changes: ``preset("quick", seed=1, agent={"lr": 1e-3})``.

    Raises:
      ConfigError: unknown preset or key, or a value of the wrong type.
    """
    return overlay(from_preset(name, kind_of(changes)), changes, "preset()")


def run(config: Config | None = None, graft: str | Path | None = None, observers: Sequence[Observer] = ()) -> Result:
    """Trains ``config``, by default the preset ``quick``, shows how it goes, and leaves a run folder.

    ``graft`` is what it begins from: a run, a checkpoint, a file of arrays, or a plan in TOML; by default random
    numbers. ``observers`` are told how it goes, besides the display and what ``config.track`` names.

    Raises:
      ConfigError: the configuration cannot be used, or the graft does not fit; says why.
    """
    from lepton_jax.engine.launch import begin
    from lepton_jax.engine.run import go

    config, origin = config or preset(), None
    if graft is not None:
        from lepton_jax.transfer.asking import asked_for
        from lepton_jax.transfer.graft import make_graft
        from lepton_jax.validate import validate

        plan, name = asked_for(str(graft))
        origin = make_graft(plan, validate(config), name).origin()
    start = begin(config, origin)
    return _with_report(go(start, _observers(start.config, observers)))


def resume(path: str | Path, observers: Sequence[Observer] = (), **changes: Any) -> Result:
    """Goes on with the run in ``path`` from its newest intact checkpoint, as if it had never been stopped.

    ``resume("runs/mine", total_steps=20_000_000)`` extends a run; of one that has ended nothing is done, and its result
    returned. ``observers``: as of ``run``.

    Raises:
      ConfigError: no run there, another process writes it, or a setting was changed that cannot be.
      CheckpointError: there are checkpoints, but none of them is intact.
    """
    from lepton_jax.engine.launch import go_on
    from lepton_jax.engine.run import go
    from lepton_jax.transfer.graft import replan

    start = go_on(Path(path), lambda config: overlay(config, changes, "resume()"), replan)
    if start.finished:
        return _ended(start)
    return _with_report(go(start, _observers(start.config, observers)))


def _ended(start: Launch) -> Result:
    from lepton_jax.engine.checkpoint import to_host
    from lepton_jax.engine.policies import find_policy
    from lepton_jax.engine.run import Result
    from lepton_jax.judged import load

    with start.folder as folder:
        loaded = [load(start.config, find_policy(folder, name), start.config) for name in ("final", "best")]
        summary = json.loads(folder.summary.read_text(encoding="utf-8"))
    final, best = (to_host(each.setup.agent.policy(each.agent_state)) for each in loaded)
    return Result(folder.path, summary, final, best)


def _with_report(result: Result) -> Result:
    from lepton_jax.report.run_page import report_or_note

    report_or_note(result.folder, result.best)
    return result


def _observers(config: Config, more: Sequence[Observer]) -> list[Observer]:
    from lepton_jax.report.terminal import make_display
    from lepton_jax.report.trackers import make_trackers

    return [make_display(config.display), *make_trackers(config.track), *more]


def run_sweep(config: Config | None = None, run_dir: str = "", **asked: Any) -> dict[str, Any]:
    """Runs seeds x hyperparameters as lanes of one compiled program, and leaves a sweep folder.

    ``run_sweep(config, "runs/lr", grid={"agent.lr": [1e-4, 1e-3]}, seeds=8)``; what may be asked is what a SWEEP.toml
    may say: grid, random or sobol with samples, points, seeds, halving, places, pools, graft. Called again, it goes on.

    Returns:
      The summary, as in summary.json.

    Raises:
      ConfigError: the sweep cannot be run, or another one is in ``run_dir``; says why.
    """
    from lepton_jax.report.sweep_page import PageWriter
    from lepton_jax.report.sweep_terminal import make_watcher
    from lepton_jax.scale.asking import from_table
    from lepton_jax.scale.conduct import conduct
    from lepton_jax.scale.design import design
    from lepton_jax.transfer.asking import asked_for, located

    base = config or preset()
    path = Path(run_dir or base.run_dir or f"runs/sweep-{time.strftime('%Y%m%d-%H%M%S')}")
    table = from_table(asked, "run_sweep()")
    if table.preset is not None:
        raise ConfigError(f"run_sweep(): preset = {table.preset!r}; give a config: preset({table.preset!r})")
    graft = asked_for(table.graft)[0] if isinstance(table.graft, str) else table.graft
    sweep = design(base, table.asked, graft if graft is None else located(graft, Path()))
    return conduct(sweep, path, [make_watcher(base.display), PageWriter(path)])


def register_gymnax() -> None:
    """Makes ``gymnax.make("LeptonMaze-v0")`` work. May be called any number of times. Imports gymnax."""
    from lepton_jax.envs.maze import gym

    gym.register()


def make_gymnasium(
    config: Config | None = None, num_envs: int | None = None, render_mode: str | None = None
) -> LeptonEnv | LeptonVectorEnv:
    """The training mazes of ``config``, by default of the preset ``quick``, for tools that speak Gymnasium.

    ``make_gymnasium()`` is a ``gymnasium.Env``; with ``num_envs`` it is a ``gymnasium.vector.VectorEnv`` of so many.
    ``render_mode`` is None, "rgb_array" or "ansi". Imports gymnasium.

    Raises:
      ConfigError: the configuration cannot be used, or is not of mazes.
    """
    from lepton_jax.engine import interchange

    return interchange.make(config or preset(), num_envs, render_mode)
