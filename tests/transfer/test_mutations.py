"""Spoilt plans and sources: each is refused by name or makes no difference. ``bench.grafts`` tries many more."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench.flip import shapes, tiny
from bench.grafts import Sources, judge, spoil, verify, write_sources
from bench.spoil import EXTRA, NAMES, PLAN, WAYS, WRITERS, Spoilt
from lepton_jax.engine import checkpoint
from lepton_jax.settings import to_toml
from lepton_jax.transfer.asking import to_toml as plan_toml


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Sources:
    """As many arrays as a network has, drawn; in every form."""
    config = tiny(Path("unused"))
    draw = np.random.default_rng(0)
    like = checkpoint.names(shapes(config)["best"])
    params = {name: draw.standard_normal(leaf.shape).astype(leaf.dtype) for name, leaf in like.items()}
    return write_sources(tmp_path_factory.mktemp("spoilt") / "sources", params, to_toml(config))


@pytest.fixture
def plans(sources) -> Iterator[Path]:
    """The plan beside the sources."""
    yield sources.folder / "plan.toml"
    (sources.folder / "plan.toml").unlink()


def test_every_form_gives_the_same_numbers(sources, plans):
    read = set()
    for kind in WRITERS:
        plans.write_text(plan_toml(PLAN._replace(source=NAMES[kind])))
        status, out, err = verify(sources.folder)
        assert (status, err) == (0, "")
        *leaves, total = (line.split() for line in out.splitlines())
        assert {words[0] for words in leaves} == sources.arrays.keys() - {EXTRA}
        assert total[0] == f"{sum(array.nbytes for name, array in sources.arrays.items() if name != EXTRA):,}"
        read.add(tuple((words[0], words[-1]) for words in leaves))
    assert len(read) == 1


def test_what_orbax_fails_at_is_told_once(sources, tmp_path):
    """It leaves coroutines that nobody awaited, of which Python would tell as well."""
    shutil.copytree(sources.folder / NAMES["orbax"], tmp_path / NAMES["orbax"])
    shutil.copy(sources.folder / "config.toml", tmp_path)
    (tmp_path / "plan.toml").write_text(plan_toml(PLAN._replace(source=NAMES["orbax"])))
    file = tmp_path / NAMES["orbax"] / "_METADATA"
    file.write_text("np.n$array".join(file.read_text().rsplit("np.ndarray", 1)))
    status, _, err = verify(tmp_path)
    assert (status, len(err.splitlines())) == (2, 1)
    assert "tree: damaged: Orbax cannot read its metadata: Unknown type" in err


def test_a_sample(sources):
    told = spoil(sources, 60, seed=0)
    assert [outcome for _, outcome in told if outcome.startswith("WRONG")] == []
    assert len({how for how, _ in told}) > len(WAYS) / 2


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        ((2, "", "error: 'leaf' is amiss\n"), "refused by name"),
        ((2, "", "error: something is amiss\n"), "WRONG: does not name it"),
        ((2, "", "error: 'leaf'\nTraceback\n"), "WRONG: status 2, 2 lines"),
        (("TRACEBACK KeyError", "", "'leaf'"), "WRONG: status TRACEBACK KeyError"),
        ((0, "leaf  as its digest says  1\n", ""), "accepted, and makes no difference"),
        ((0, "leaf  as its digest says  2\n", ""), "WRONG: accepted with other values"),
        ((0, "leaf  as its digest says  1\n", "a warning\n"), "WRONG: status 0, 1 lines"),
        ((0, "leaf  finite; the source states no digest  2\n", ""), "accepted, and said to be without digest"),
    ],
)
def test_what_is_wrong(found, outcome):
    spoilt = Spoilt("", ("'leaf'",), harmless=True)
    assert judge(spoilt, found, "leaf  as its digest says  1\n", flipped=True).startswith(outcome)


def test_what_must_be_refused_or_cannot_be_excused_is_wrong():
    without = "leaf  finite; the source states no digest  {}\n"
    assert judge(Spoilt("", ()), (0, without, ""), without, flipped=False) == "WRONG: accepted"
    other = judge(Spoilt("", (), harmless=True), (0, without.format(2), ""), without.format(1), flipped=False)
    assert other.startswith("WRONG: accepted with other values"), "a cut is no flipped bit"
