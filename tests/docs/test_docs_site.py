"""The documentation is built as its readers get it, and nothing in it leads nowhere or to a network."""

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import documented
import pytest

ROOT = Path(__file__).parents[2]


class Page(HTMLParser):
    """What a page names: ids, links, and what a browser fetches."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = {name: value or "" for name, value in attrs}
        self.ids |= {held[name] for name in ("id", "name") if name in held}
        if tag in ("script", "img", "iframe", "source", "link") and held.get("rel") not in (
            "canonical",
            "prev",
            "next",
        ):
            self.fetched += [held[name] for name in ("src", "href") if name in held]
        elif tag == "a" and "href" in held:
            self.links.append(held["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}  # an advertisement of the theme
    done = subprocess.run(words, cwd=ROOT, env=quiet, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (0, "", "")
    return folder


def dead(where: Path, link: str, pages: dict[Path, Page]) -> bool:
    """Whether ``link`` on the page ``where`` leads nowhere."""
    parts = urlsplit(link)
    target = (where.parent / unquote(parts.path)).resolve() if parts.path else where
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file():
        return True
    return bool(parts.fragment) and target in pages and unquote(parts.fragment) not in pages[target].ids


def test_no_link_is_dead_and_nothing_is_fetched(site: Path):
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    assert len(pages) > 20
    outside = lambda link: urlsplit(link).scheme in ("http", "https", "mailto")
    fetched = {(path.name, link) for path, page in pages.items() for link in page.fetched}
    assert not [each for each in fetched if outside(each[1])]
    checked = [
        (path, link) for path, page in pages.items() if path.name != "404.html" for link in page.links + page.fetched
    ]
    inside = [
        (path, link) for path, link in checked if not outside(link) and not link.startswith(("data:", "javascript:"))
    ]
    assert len(inside) > 500
    assert not [(path.name, link) for path, link in inside if dead(path, link, pages)]
    broken = next(iter(pages)).parent / "index.html"
    assert dead(broken, "nowhere.html", pages)
    assert dead(broken, "#nowhere", pages)


def test_links_lead_somewhere_where_pages_are_read_as_files():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    links = [(page, link) for page in pages for link in documented.links(page.read_text(encoding="utf-8"))]
    inside = [(page, urlsplit(link).path) for page, link in links if not urlsplit(link).scheme]
    assert len(inside) > 60
    assert not [(page.name, path) for page, path in inside if path and not (page.parent / path).exists()]
