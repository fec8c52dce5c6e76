"""What a run begins from, if not from random numbers. Imports no jax.

A plan is made and applied above (``lepton_jax.transfer``); here is what the engine needs of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Origin(NamedTuple):
    """A graft, planned."""

    plan: str  # as TOML, kept as graft.toml
    # JSON kept in the manifest and in every checkpoint: digest, source, leaves, lineage; and under "training" what
    # agents.training.Training.from_json reads, so that a run goes on without its source.
    about: dict[str, Any]
    # () -> (agents.training.Given, JSON of what was read); reads the source. None: it has been applied already.
    apply: Callable[[], tuple[Any, dict[str, Any]]] | None = None
