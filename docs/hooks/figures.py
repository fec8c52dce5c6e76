"""A hook of mkdocs: the figures of the experiments, which lie beside their results, are files of the site too.

``experiments/transfer/T1/figure.svg`` is ``figures/transfer/T1/figure.svg`` there. So no figure is kept twice, and
pages show them where they are read as files as well.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent.parent / "experiments"
_LINK = re.compile(r"\]\(((?:\.\./)*)\.\./experiments/")


def on_files(files: Any, config: Any) -> Any:
    """Adds every ``figure.*`` below experiments."""
    from mkdocs.structure.files import File

    for path in sorted(_ROOT.rglob("figure.*")):
        name = f"figures/{path.relative_to(_ROOT).as_posix()}"
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to a figure as it lies in the checkout become links to it in the site."""
    return _LINK.sub(r"](\1figures/", markdown)
