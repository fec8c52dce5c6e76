"""``python -m lepton_jax.train``, with a display that prints a line when the first chunk is done.

Tier ``resume`` starts it and takes the time until that line comes.
"""

from __future__ import annotations

from typing import Any

from lepton_jax import Event, Observer, train
from lepton_jax.cli import guarded
from lepton_jax.report import terminal


class First(Observer):
    """Says that training goes on, whether the first chunk ended at a log point or before one."""

    def __init__(self, _: str):
        """As ``make_display``: the kind of display does not matter."""

    def advance(self, env_steps: int, seconds: float) -> None:
        print("trained", flush=True)

    def update(self, event: Event) -> None:
        print("trained", flush=True)


if __name__ == "__main__":
    shown: Any = terminal
    shown.make_display = First
    guarded(train.main)
