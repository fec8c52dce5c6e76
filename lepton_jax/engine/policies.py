"""The policies that runs leave behind: where they lie, and with which settings they were trained. Imports no jax."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from lepton_jax.config import Config, ConfigError
from lepton_jax.engine.folder import RunFolder, read_toml, resume_command
from lepton_jax.engine.integrity import CheckpointError, describe, newest_intact, verify
from lepton_jax.settings import overlay
from lepton_jax.validate import validate


class Place(NamedTuple):
    """Where a policy lies."""

    path: Path  # a checkpoint
    within: str = ""  # the path within it of the tree that has the policy: "", "best", or that of an agent's state
    row: int | None = None  # of leaves that are stacked there; None where they are not
    env_steps: int | None = None  # it was trained for; None where the checkpoint says so


def read_run(folder: Path) -> Config:
    """The configuration of a run folder; ConfigError if there is none."""
    file = folder / "config.toml"
    if not file.is_file():
        raise ConfigError(
            f"{folder} is no run folder: it has no config.toml; expected what python -m lepton_jax.train has left"
        )
    return validate(overlay(Config(), read_toml(file, "a TOML file"), str(file)))


def find_policy(folder: RunFolder, policy: str, whole: bool = True) -> Place:
    """Where the policy ``best``, ``final`` or ``latest`` of a run lies; latest is that of the newest checkpoint.

    Args:
      folder: of the run.
      policy: its name.
      whole: compare all files of the checkpoint with their sums; False for who reads some leaves, which are compared
        then, and wants no others read.

    Raises:
      ConfigError: the run has no such policy yet.
      CheckpointError: it is damaged; or there are checkpoints, but none of them is intact.
    """
    # Of a run that is being extended they are of the end it had before; without checkpoints none is.
    if folder.policy(policy).is_dir() and (folder.summary.is_file() or not folder.saved()):
        try:
            (verify if whole else describe)(folder.policy(policy))
        except CheckpointError as error:
            intact, _ = newest_intact(folder.saved())
            hope = f"; the newest intact checkpoint is {intact}: look at --policy latest" if intact else ""
            raise CheckpointError(f"{error}{hope}") from None
        return Place(folder.policy(policy))
    if policy == "final":
        raise ConfigError(
            f"{folder.path} holds no final policy: the run has not ended; look at --policy latest or best, or go on "
            f"with it: {resume_command(folder.path)}"
        )
    point, problems = newest_intact(folder.saved(), whole)
    if problems and point is None:
        raise CheckpointError("; ".join(problems))
    if point is None:
        raise ConfigError(f"{folder.path} holds no checkpoint yet; go on with it: {resume_command(folder.path)}")
    return Place(point, "best" if policy == "best" else "state/agent_state")
