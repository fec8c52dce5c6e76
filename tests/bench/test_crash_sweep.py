"""How sweeps are killed and judged; real ones are killed by ``python -m bench.crash --sweep``."""

import signal
from pathlib import Path

import pytest

from bench import crash


@pytest.mark.parametrize(("ends", "equal"), [("same same same", True), ("same other same", False)])
def test_all_kills_are_made_and_all_sweeps_compared(
    ends: str, equal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def train(flags: list[str], number: int | None = None, after: float = 0.0, command: str = "train") -> bool:
        """A sweep that two kills do not keep from its end."""
        kills = Path(flags[-1]) / "kills"
        kills.parent.mkdir(exist_ok=True)
        before = kills.read_text() if kills.exists() else ""
        if number is None or len(before) == 2:
            return False
        kills.write_text(before + "x")
        return True

    found = iter(["same", *ends.split()])
    monkeypatch.setattr(crash, "train", train)
    monkeypatch.setattr(crash, "sweep_fingerprint", lambda folder: next(found))
    lines, told = crash.crash_sweep(tmp_path, 5, 0, signal.SIGKILL)
    kinds = ["killed" if "killed after" in line else line.split()[-1] for line in lines[1:]]
    first, second, third = ("equal" if end == "same" else "DIFFERS" for end in ends.split())
    assert kinds == ["killed", "killed", first, "killed", "killed", second, "killed", third]
    assert told == equal
