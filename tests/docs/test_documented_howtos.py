"""The how-tos of the documentation do what they say: all of it runs, at toy scale."""

from pathlib import Path
from typing import Any

import documented
import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "how-to").glob("*.md"))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return documented.follow(PAGES, tmp_path_factory.mktemp("howtos"))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_what_a_how_to_shows_runs(told: list[dict[str, Any]], page: Path):
    assert not documented.wrong(told, page)
