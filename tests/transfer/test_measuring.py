"""A measured pair, as a user measures it: source, arms, record; and the same command again."""

import json
from pathlib import Path

import pytest

from bench.flip import TINY
from lepton_jax import measure
from lepton_jax.scale.results import read
from lepton_jax.scale.sweep_folder import group_folders
from lepton_jax.transfer.pairs import PAIRS


def test_a_pair_is_measured_and_not_measured_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    arms = {name: PAIRS["T0"].arms[name] for name in ("scratch", "full")}
    tiny = PAIRS["T0"]._replace(common=TINY, target={}, arms=arms, source_steps=20_000, target_steps=10_000, seeds=2)
    monkeypatch.setitem(PAIRS, "T0", tiny)
    flags = ["T0", "--run-dir", str(tmp_path), "--quiet"]
    measure.main(flags)
    told = capsys.readouterr().out
    folder = tmp_path / "T0-2"
    record = json.loads((folder / "record.json").read_text())
    # Before any update a graft is worth what its source is worth, seed by seed.
    ends = {row["lane"]: row for row in read(group_folders(folder / "source")).rows if row["levels"] == "validation"}
    assert record["arms"]["full"]["env_steps"][0] == 0
    assert [curve[0] for curve in record["arms"]["full"]["curves"]] == [ends[lane]["success_rate"] for lane in (0, 1)]
    assert record["arms"]["scratch"]["curves"] != record["arms"]["full"]["curves"]
    finals = [row for row in read(group_folders(folder / "full")).rows if row["policy"] == "final"]
    by_lane = {row["lane"]: row["success_rate"] for row in finals if row["levels"] == "test"}
    assert record["arms"]["full"]["test"] == [by_lane[0], by_lane[1]]
    assert (record["arms"]["full"]["source_steps"], record["arms"]["scratch"]["source_steps"]) == (20_000, 0)
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("policy/final/about.json")}
    assert len(written) == 3
    (folder / "report.html").unlink()
    measure.main(flags)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("policy/final/about.json")} == written
    assert capsys.readouterr().out == told
    assert record["question"] in (folder / "report.html").read_text()
