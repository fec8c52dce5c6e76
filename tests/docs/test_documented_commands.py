"""README and documentation do what they say: every command and every piece of Python in them runs, at toy scale."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import documented
import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]


def follow(tmp: Path, pages: list[Path]) -> list[dict[str, Any]]:
    out = tmp / "told.json"
    words = [sys.executable, documented.__file__, str(out), *map(str, pages)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return follow(tmp_path_factory.mktemp("documented"), PAGES)


@pytest.mark.parametrize("page", NAMES)
def test_what_a_page_shows_runs(told: list[dict[str, Any]], page: str):
    of_page = [each for each in told if each["place"].split(":")[0].endswith(page)]
    assert not [f"{each['place']}: {each['wrong']}" for each in of_page if each["wrong"]]
    text = (ROOT / page).read_text(encoding="utf-8")
    ran = [each for each in documented.blocks(text, page) if each.language in documented.RUN and not each.reason]
    assert len(of_page) == len([each for each in ran if each.file is None])


def test_what_is_left_out_says_why():
    every = [
        block for path, name in zip(PAGES, NAMES, strict=True) for block in documented.blocks(path.read_text(), name)
    ]
    commands = [block for block in every if block.language in documented.RUN and block.file is None]
    marked = sorted((block.page, block.reason) for block in commands if block.reason)
    assert marked == MARKED
    assert len(commands) - len(marked) > 40


# Seen here, so that a page that stops running its commands is noticed.
MARKED: list[tuple[str, str]] = []

PAGE = """
```bash
python -m lepton_jax.levels show --size 7 --count 1 --sise 9
```
<!-- not run: it would fail -->
```bash
python -m lepton_jax.nothing
```
```python
assert 1 + 1 == 3
```
```console
$ python -m lepton_jax.levels check nowhere.txt
error: something else
```
```python
x = 1
```
"""


def test_what_does_not_run_is_told(tmp_path: Path):
    (tmp_path / "page.md").write_text(PAGE)
    told = follow(tmp_path, [tmp_path / "page.md"])
    assert [bool(each["wrong"]) for each in told] == [True, True, True, False]
    assert "--sise" in told[0]["wrong"]
    assert "AssertionError" in told[1]["wrong"]
    assert "nowhere.txt" in told[2]["wrong"]
