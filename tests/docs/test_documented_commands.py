"""README and the documentation but for its how-tos do what they say: all of it runs, at toy scale."""

from pathlib import Path
from typing import Any

import documented
import pytest

ROOT = Path(__file__).parents[2]
EVERY = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# The how-tos are in a module of their own, so that two processes of the suite share the work.
PAGES = [path for path in EVERY if path.parent.name != "how-to"]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return documented.follow(PAGES, tmp_path_factory.mktemp("documented"))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_page_shows_runs(told: list[dict[str, Any]], page: Path):
    assert not documented.wrong(told, page)


# Seen here, so that a page that stops running its commands is noticed.
MARKED = [
    ("docs/agents.md", "planned", "each is another program to compile"),
    ("docs/experiments.md", "not run", "trains for minutes"),
    ("docs/first-run.md", "planned", "three more trainings"),
    ("docs/how-to/graft.md", "planned", "one more program to compile"),
    ("docs/how-to/own-levels.md", "not run", "it waits for keys"),
    ("docs/how-to/sweep.md", "planned", "one more program to compile"),
]


def test_what_does_not_run_says_why():
    every = [each for path in EVERY for each in documented.blocks(path.read_text(), str(path.relative_to(ROOT)))]
    commands = [block for block in every if block.language in documented.RUN and block.file is None]
    marked = {(block.page, block.mark, block.reason) for block in commands if block.mark is not None}
    assert {each for each in marked if each[0] != "README.md"} == set(MARKED)
    assert len(commands) - len(marked) > 45


PAGE = """
```bash
python -m lepton_jax.levels show --size 7 --count 1 --sise 9
```
<!-- not run: it would fail -->
```bash
python -m lepton_jax.nothing
```
<!-- planned: it would take long -->
```bash
python -m lepton_jax.train --agent.lrr 1
```
```python
assert 1 + 1 == 3
```
```console
$ python -m lepton_jax.levels check nowhere.txt
error: something else
```
```bash
python -m lepton_jax.levels show --size 7 --count 1 && ls
```
```python
x = 1
```
"""


def test_what_fails_is_told(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    told = documented.follow([page], tmp_path)
    assert [each["wrong"] is None for each in told] == [False, False, False, False, False, True]
    words = ("--sise", "agent.lrr", "AssertionError", "nowhere.txt", "not a command that runs here: ls")
    assert all(word in wrong for word, wrong in zip(words, documented.wrong(told, page), strict=True))


def test_numbers_are_cut_and_nothing_else():
    text = (
        "train --total-steps 9000000 --agent.lr 1e-3 && evaluate runs/lr --lane 17 && sweep --seeds 0,5 --seeds 8 # 17"
    )
    small = "train --total-steps 3000 --agent.lr 1e-3 && evaluate runs/lr --lane 3 && sweep --seeds 0,5 --seeds 2 # 17"
    assert documented.cut(text) == small
    assert documented.cut("total_steps = 1_000_000\nsamples=64") == "total_steps = 2000\nsamples=4"
