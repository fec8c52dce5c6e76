"""A hook of mkdocs: tables of all settings, read from ``lepton_jax/config.py``, in place of ``<!-- settings -->``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_SOURCE = Path(__file__).parent.parent.parent / "lepton_jax" / "config.py"
_MARK = "<!-- settings -->"


class Setting(NamedTuple):
    """A field of a section."""

    name: str  # as in a file, with its section
    kind: str
    default: str
    what: str


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Puts the tables where the mark is."""
    return markdown.replace(_MARK, tables(_SOURCE.read_text(encoding="utf-8"))) if _MARK in markdown else markdown


def tables(source: str) -> str:
    """A heading and a table for each section; the run's own settings first."""
    lines = source.splitlines()
    classes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    sections = {"": classes["Config"]}
    for field in _fields(classes["Config"]):
        if (name := ast.unparse(field.annotation)) in classes:
            sections[ast.unparse(field.target)] = classes[name]
    parts = []
    for section, node in sections.items():
        title = f"`[{section}]`" if section else "The run"
        parts += [f"## {title}", "", ast.get_docstring(node) or "", ""]
        parts += ["| setting | values | default | what |", "|---|---|---|---|"]
        parts += [_row(each) for each in settings(node, section, lines) if each.kind not in classes]
        parts.append("")
    return "\n".join(parts)


def settings(node: ast.ClassDef, section: str, lines: list[str]) -> Iterator[Setting]:
    """The fields of a class, each with the comment behind it."""
    for field in _fields(node):
        name = ast.unparse(field.target)
        comments = (line.partition("  # ")[2] for line in lines[field.lineno - 1 : field.end_lineno])
        default = ast.unparse(field.value) if field.value is not None else ""
        what = next(filter(None, comments), "")
        yield Setting(f"{section}.{name}" if section else name, ast.unparse(field.annotation), default, what)


def _fields(node: ast.ClassDef) -> Iterator[ast.AnnAssign]:
    return (each for each in node.body if isinstance(each, ast.AnnAssign))


def _row(setting: Setting) -> str:
    literal = setting.kind.startswith("Literal[")
    kind = setting.kind.removeprefix("Literal[").removesuffix("]") if literal else setting.kind
    what = setting.what.replace("|", r"\|").replace("*", r"\*")
    return f"| `{setting.name}` | `{kind.replace('|', 'or')}` | `{setting.default}` | {what} |"
