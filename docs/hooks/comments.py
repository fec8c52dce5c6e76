"""An extension of griffe, which reads the sources for the reference.

A field of a record is described in this package by the comment behind it, or by the lines of comment above it; here
that becomes its docstring. In docstrings, asterisks of formulas are kept from being read as emphasis.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_CODE = re.compile(r"(``.*?``|`[^`]*`)", re.DOTALL)


class Comments(griffe.Extension):
    """See above."""

    def on_attribute_instance(self, *, attr: Any, **_: Any) -> None:
        """Gives an attribute without a docstring the comment in the source."""
        if attr.docstring is not None or attr.lineno is None or attr.parent is None or not attr.parent.is_class:
            return
        lines = attr.lines_collection[attr.filepath]
        text = _behind(lines, attr.lineno, attr.endlineno or attr.lineno) or _above(lines, attr.lineno)
        if text:
            attr.docstring = griffe.Docstring(escaped(text), parent=attr)

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        """Keeps ``gamma**k`` from being read as bold."""
        if not obj.is_alias and obj.docstring is not None and not obj.is_attribute:
            obj.docstring.value = escaped(obj.docstring.value)


def escaped(text: str) -> str:
    """``text`` in which an asterisk outside of code is an asterisk."""
    parts = _CODE.split(text)
    return "".join(part if number % 2 else part.replace("*", r"\*") for number, part in enumerate(parts))


def _behind(lines: list[str], first: int, last: int) -> str:
    """The comment behind the last line of a field that holds one, by lines from 1 on."""
    for line in reversed(lines[first - 1 : last]):
        _, mark, comment = line.partition("  # ")
        if mark:
            return comment.strip()
    return ""


def _above(lines: list[str], first: int) -> str:
    """The lines of comment directly above a field."""
    found: list[str] = []
    number = first - 2
    while number >= 0 and lines[number].lstrip().startswith("# "):
        found.insert(0, lines[number].strip()[2:])
        number -= 1
    return " ".join(found)
