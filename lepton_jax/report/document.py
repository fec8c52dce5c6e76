"""A page in one file: its frame, its style and its tables. It loads nothing, and says so to the browser as well."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

_FORBIDDEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Cell(NamedTuple):
    """A cell of a table. ``key`` is what it is sorted by, if that is not the text; an empty one goes last."""

    text: str
    key: float | str | None = None


class Column(NamedTuple):
    """A column of a table, and in what order the rows are in it as they come."""

    name: str
    kind: Literal["number", "word", "sentence"] = "number"
    order: Literal["none", "ascending", "descending"] = "none"


def escape(value: object) -> str:
    """Text for HTML and XML; characters that XML forbids become U+FFFD."""
    return html.escape(_FORBIDDEN.sub("\ufffd", str(value)))


def document(title: str, body: str, style: str = "", script: str = "") -> str:
    """A page in one file.

    Args:
      title: plain text.
      body: HTML, of which all that comes from data is escaped.
      style: CSS of what only this page has.
      script: JavaScript of the same; it runs when the body is there.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'; img-src data:\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}{style}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</main>\n<script>\n{SCRIPT}{script}</script>\n</body>\n</html>\n"
    )


def table(name: str, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], marked: int | None = None) -> str:
    """A table whose headers sort it, in a frame that scrolls.

    Args:
      name: what it holds, in plain text.
      columns: one a column.
      rows: a cell a column each.
      marked: the number of a row that stands out.
    """
    head = "".join(
        f'<th scope="col" aria-sort="{column.order}"{_kind(column)}><button type="button">{escape(column.name)}'
        "</button></th>"
        for column in columns
    )
    body = []
    for number, row in enumerate(rows):
        cells = "".join(_cell(cell, column) for cell, column in zip(row, columns, strict=True))
        body.append(f'<tr class="marked">{cells}</tr>' if number == marked else f"<tr>{cells}</tr>")
    inner = f"<thead><tr>{head}</tr></thead><tbody>\n" + "\n".join(body) + "\n</tbody>"
    return framed(name, f'<table class="sortable" aria-label="{escape(name)}">{inner}</table>')


def framed(name: str, content: str) -> str:
    """Something broad with its name above it, in a frame that scrolls by touch and by key."""
    return (
        f'<p class="note">{escape(name)}</p>\n'
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(name)}">{content}</div>'
    )


def _cell(cell: Cell, column: Column) -> str:
    key = "" if cell.key is None else f' data-key="{escape(cell.key)}"'
    return f"<td{_kind(column)}{key}>{escape(cell.text)}</td>"


def _kind(column: Column) -> str:
    return {"number": ' class="n"', "word": "", "sentence": ' class="long"'}[column.kind]


# The inks: blue, vermilion, green, purple, sky, orange, brown, slate. Dashes tell them apart without colour.
STYLE = """\
:root{color-scheme:light dark;--paper:#fff;--shade:#f3f4f6;--text:#1b1e23;--soft:#59616c;--rule:#d8dce1;--faint:#aab1ba;
--ink0:#0067a5;--ink1:#c4500a;--ink2:#007a59;--ink3:#a8457c;--ink4:#2387bd;--ink5:#a87400;--ink6:#7a5230;--ink7:#5b6570}
@media (prefers-color-scheme:dark){:root{--paper:#14171b;--shade:#1e2228;--text:#e7e9ec;--soft:#a3abb6;--rule:#343a43;
--faint:#5a636f;--ink0:#56b4e9;--ink1:#ff8a4c;--ink2:#2fc79b;--ink3:#e59ac4;--ink4:#8fa8ff;--ink5:#e69f00;
--ink6:#c9a27e;--ink7:#b4bcc6}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--text);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue","DejaVu Sans",sans-serif;-webkit-text-size-adjust:100%}
main{max-width:60rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.6rem;line-height:1.2;margin:0 0 .75rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.25rem 0 .5rem}
h3{font-size:1rem;margin:0 0 .25rem;overflow-wrap:anywhere}
p{margin:.5rem 0;max-width:45rem;overflow-wrap:anywhere}
.answer{font-size:1.15rem;line-height:1.45}
.note,figcaption,footer{color:var(--soft);font-size:.875rem}
figure{margin:0}
figcaption{margin-top:.35rem}
figure .chart{margin-block:calc((var(--text) - var(--small))*2)}
code,pre{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.875rem}
.command{position:relative;margin:.75rem 0}
.command pre{margin:0;padding:.75rem 1rem;background:var(--shade);border-radius:6px;white-space:pre-wrap;
overflow-wrap:anywhere}
.command code{user-select:all}
.command code span{display:inline-block;max-width:100%}
.command button{display:none;margin-top:.5rem}
.js .command button{display:inline-block}
button{font:inherit;color:inherit;background:var(--shade);border:1px solid var(--rule);border-radius:6px;
padding:.25rem .75rem}
.js button{cursor:pointer}
:focus-visible{outline:2px solid var(--ink0);outline-offset:2px}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.5rem,1fr));gap:.75rem 1rem;margin:.75rem 0}
dl div{border-left:3px solid var(--rule);padding-left:.6rem}
dt{color:var(--soft);font-size:.875rem}
dd{margin:0;font-size:1.1rem;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.bad{border-color:var(--ink1)}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr));gap:1.75rem 2rem}
.charts>div{min-width:0;max-width:30rem}
.chart{display:block;width:100%;height:auto;font-size:var(--text);overflow:visible}
.chart text{fill:var(--soft);font-variant-numeric:tabular-nums}
.chart path{fill:none;stroke:var(--rule);vector-effect:non-scaling-stroke}
.chart .grey{--ink:var(--faint)}
.chart .ink0{--ink:var(--ink0)}.chart .ink1{--ink:var(--ink1)}.chart .ink2{--ink:var(--ink2)}
.chart .ink3{--ink:var(--ink3)}.chart .ink4{--ink:var(--ink4)}.chart .ink5{--ink:var(--ink5)}
.chart .ink6{--ink:var(--ink6)}.chart .ink7{--ink:var(--ink7)}
.chart .line{stroke:var(--ink);stroke-width:1.4;stroke-linejoin:round}
.chart .ink1{stroke-dasharray:7 2}.chart .ink2{stroke-dasharray:2 2}.chart .ink3{stroke-dasharray:9 3 2 3}
.chart .ink4{stroke-dasharray:4 2}.chart .ink5{stroke-dasharray:12 3}.chart .ink6{stroke-dasharray:1 3}
.chart .ink7{stroke-dasharray:6 2 1 2 1 2}
.chart .figure,.chart .place,.chart .strong{stroke-dasharray:none}
.chart .line.grey{stroke-width:1;opacity:.7}
.chart .line.strong{stroke-width:2.75}
.chart .band{fill:var(--ink);stroke:none;opacity:.16}
.chart .reach{stroke:transparent;stroke-width:11;pointer-events:stroke}
.chart .place{fill:var(--ink);opacity:0}
.chart .place.strong{opacity:1;r:3px}
.chart .place:hover{opacity:1}
.chart .series:hover .line{stroke-width:3.5;opacity:1}
.chart .interval{stroke:var(--ink);stroke-width:2}
.chart .span{stroke:var(--ink);stroke-width:2;opacity:.45}
.chart .cross{stroke:var(--ink);stroke-width:2}
.chart .dot{fill:var(--ink)}
.chart .near{fill:transparent}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.15rem 1.25rem;margin:.25rem 0 .5rem;padding:0;
font-size:.875rem}
.legend li{display:flex;align-items:center;gap:.4rem;min-width:0;overflow-wrap:anywhere}
.chart.key{width:28px;height:10px;flex:none}
.scroll{overflow:auto;max-height:34rem;border:1px solid var(--rule);border-radius:6px;max-width:100%}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums}
.sortable{width:100%}
th,td{padding:.3rem .6rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule)}
td,th{white-space:nowrap}
td.long{white-space:normal;min-width:14rem;overflow-wrap:anywhere}
.n{text-align:right}
thead th{position:sticky;top:0;background:var(--shade);z-index:1}
th button{font-weight:600;text-align:inherit;border:0;background:none;padding:0;border-radius:2px}
.js th button::after{content:"\\2195";opacity:.35;margin-left:.25em}
.js th[aria-sort=ascending] button::after{content:"\\2191";opacity:1}
.js th[aria-sort=descending] button::after{content:"\\2193";opacity:1}
.marked td{font-weight:700;background:var(--shade)}
.heat .scroll{width:fit-content}
.heat td{text-align:center;background:color-mix(in srgb,var(--ink0) calc(var(--heat,0)*45%),var(--paper))}
.heat tbody th{background:var(--shade);position:sticky;left:0}
.heat td.marked{font-weight:700;outline:2px solid var(--text);outline-offset:-2px}
details{margin:.5rem 0}
summary{cursor:pointer}
details>.scroll{margin-top:.5rem}
footer{margin-top:2.5rem;border-top:1px solid var(--rule);padding-top:.75rem;overflow-wrap:anywhere}
@media (max-width:600px){figure .chart{font-size:var(--small);margin-block:0}main{padding-top:1rem}h1{font-size:1.35rem}
.answer{font-size:1.05rem}th,td{padding:.3rem .45rem}}
@media print{.scroll{max-height:none;overflow:visible}.command button{display:none!important}}
"""

# What a header's button does, and the button that copies. Without it the page shows the same.
SCRIPT = """\
"use strict";
document.documentElement.classList.add("js");
const keyOf = (row, k) => row.cells[k].dataset.key ?? row.cells[k].textContent;
const compare = (a, b) => {
  const x = Number(a), y = Number(b);
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, undefined, {numeric: true}) : x - y;
};
for (const button of document.querySelectorAll(".sortable th button")) {
  button.addEventListener("click", () => {
    const header = button.parentElement, k = header.cellIndex, body = header.closest("table").tBodies[0];
    const sign = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const rows = [...body.rows].map((row) => [keyOf(row, k), row]);
    rows.sort(([a], [b]) => (a === "") - (b === "") || sign * compare(a, b));
    body.append(...rows.map(([, row]) => row));
    for (const other of header.parentElement.cells) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
  });
}
for (const button of document.querySelectorAll(".command button")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    getSelection().selectAllChildren(code);
    let told = "copied";
    try { await navigator.clipboard.writeText(code.textContent); } catch { told = "selected; now copy it"; }
    button.nextElementSibling.textContent = told;
  });
}
"""
