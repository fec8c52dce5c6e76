"""Runs what README and documentation tell a reader to run, at toy scale: ``python documented.py OUT.json PAGE ...``.

A page's ```` ```bash ```` and ```` ```python ```` blocks run in page order, in one folder a page, all pages in one
process. A ``toml``, ``text`` or ``python`` block that names a file, by its title or by a first line ``# NAME.toml``, is
that file and is written before anything runs. A ```` ```console ```` block is a command that is refused: the ``error:``
below it must be what is printed, word for word.

Toy scale is two rules. ``TOY`` goes over every preset. In the blocks themselves ``cut`` makes numbers of steps, seeds,
samples, lanes and episodes small. Nothing else is changed: names, flags and files are those of the page.

What cannot run in a test says so in the Markdown, on the line before the block: ``<!-- not run: reason -->``. What
would only compile for long says ``<!-- planned: reason -->``: settings of ``train`` are read and checked, and ``sweep``
gets a ``--dry-run``. Steps of a chain that install or test something are left out by name (``LEFT_OUT``).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

TOY: dict[str, Any] = {
    "total_steps": 2000,
    "log_points": 10,
    "env": {"num_envs": 16, "pool": 64, "refresh_levels": 32, "refresh_every": 8},
    "net": {"width": 8, "channels": 4},
    "eval": {"validation_levels": 16, "test_levels": 16, "episodes": 5},
    "dqn": {"replay": {"capacity": 2048, "batch_size": 32, "warmup": 256}},
    "pqn": {"env": {"num_envs": 16}, "agent": {"minibatches": 2}},
}
LEFT_OUT = ("pip", "pytest")  # modules that install and test
RUN = ("bash", "python", "console")

_FENCE = re.compile(r"^(?P<fence>```+)(?P<info>.*)$")
_MARK = re.compile(r"^<!-- (?P<how>not run|planned): (?P<reason>.+) -->$")
_TITLE = re.compile(r'title="(?P<name>[\w.-]+)"|^# (?P<comment>[\w-]+\.toml)$')
# Steps in one of three thousand, but not below 2,000; few seeds, points, lanes and episodes.
_STEPS = re.compile(r"(total[-_]steps[ =]+)([\d_]+)")
_FEW = (
    (re.compile(r"(seeds[ =]+)(\d+)(?![\d,])"), 2),
    (re.compile(r"(samples[ =]+)(\d+)"), 4),
    (re.compile(r"(--lane |@)(\d+)"), 3),
    (re.compile(r"((?:--episodes|--count|--env\.num-envs)[ =]|num_envs\"?[=:] ?)(\d+)"), 16),
)


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int  # of its fence, from 1 on
    language: str
    file: str | None  # the name it gives itself
    text: str
    mark: str | None = None  # "not run" or "planned"; None: it runs
    reason: str = ""  # of the mark

    @property
    def place(self) -> str:
        """For people."""
        return f"{self.page}:{self.line}"

    @property
    def told(self) -> bool:
        """Whether something comes of it here."""
        return self.language in RUN and self.file is None and self.mark != "not run"


def blocks(text: str, page: str) -> list[Block]:
    """The fenced blocks of a page in Markdown, in order; those of admonitions and lists are indented."""
    found: list[Block] = []
    lines = iter(enumerate(text.splitlines(), 1))
    before = ""
    for number, line in lines:
        fence = _FENCE.match(line.strip())
        if fence is None:
            before = line.strip() or before
            continue
        indent = len(line) - len(line.lstrip())
        inner = [each[indent:] for _, each in _until(lines, fence["fence"])]
        language = fence["info"].split()[0] if fence["info"].strip() else ""
        named = _TITLE.search(fence["info"]) or _TITLE.search(inner[0] if inner else "")
        mark = _MARK.match(before)
        name = None if named is None else named["name"] or named["comment"]
        marked = (None, "") if mark is None else (mark["how"], mark["reason"])
        found.append(Block(page, number, language, name, "\n".join(inner) + "\n", *marked))
        before = ""
    return found


def _until(lines: Iterator[tuple[int, str]], fence: str) -> Iterator[tuple[int, str]]:
    for number, line in lines:
        if line.strip() == fence:
            return
        yield number, line


def links(text: str) -> list[str]:
    """Where a page's links and pictures lead, code aside."""
    prose = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", prose)


def cut(text: str) -> str:
    """``text`` of a block at toy scale."""
    text = _STEPS.sub(lambda found: f"{found[1]}{max(2000, int(found[2]) // 3000)}", text)
    for pattern, most in _FEW:
        text = pattern.sub(lambda found, most=most: f"{found[1]}{min(int(found[2]), most)}", text)
    return text


def commands(text: str) -> list[list[str]]:
    """The commands of a bash block, in order; ``&&`` and a line's end both part them.

    Raises:
      ValueError: something else than ``python -m MODULE`` or ``python FILE``: mark the block as not run.
    """
    found: list[list[str]] = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        for part in _parted(words):
            if part[0] != "python" or len(part) < 2 or set(part) & {"|", ">", "&", ";"}:
                raise ValueError(f"not a command that runs here: {shlex.join(part)}")
            if part[1:2] != ["-m"] or part[2] not in LEFT_OUT:
                found.append(part[1:])
    return found


def _parted(words: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for word in [*words, "&&"]:
        if word != "&&":
            part.append(word)
        elif part:
            yield part
            part = []


def shrink(presets: dict[str, dict[str, Any]]) -> None:
    """Makes every preset small, in place."""
    for name, preset in presets.items():
        presets[name] = _merged(preset, TOY)


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        merged[key] = _merged(merged.get(key, {}), value) if isinstance(value, Mapping) else value
    return merged


class Reader:
    """Follows pages, as a reader would."""

    def __init__(self, store: Path):
        """``store``: a folder for trainings; the same command on another page gives the same run, bit for bit."""
        self._store, self._known = store, {}

    def follow(self, page: list[Block], folder: Path) -> list[dict[str, Any]]:
        """Runs a page's blocks in ``folder``; an entry for each that ran, with what went wrong or None."""
        for block in page:
            if block.file is not None:
                (folder / block.file).write_text(cut(block.text), encoding="utf-8")
        namespace: dict[str, Any] = {"__name__": "__main__"}
        told = []
        with contextlib.chdir(folder):
            for block in page:
                if block.told:
                    began = time.perf_counter()
                    wrong = self._try(block, namespace)
                    told.append({"place": block.place, "wrong": wrong, "seconds": time.perf_counter() - began})
        return told

    def _try(self, block: Block, namespace: dict[str, Any]) -> str | None:
        said = io.StringIO()
        doing = "the whole block"
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                if block.language == "python":
                    exec(compile(cut(block.text), block.place, "exec"), namespace)
                elif block.language == "console":
                    return self._refused(block)
                else:
                    for words in commands(cut(block.text)):
                        doing = f"python {shlex.join(words)}"
                        (self._run if block.mark is None else _plan)(words)
        except SystemExit as stop:
            return f"{doing}: status {stop.code}\n{said.getvalue()[-2000:]}"
        except BaseException:
            return f"{doing}\n{said.getvalue()[-1000:]}{traceback.format_exc()[-2000:]}"
        return None

    def _refused(self, block: Block) -> str | None:
        """What is wrong with a command that should be refused as the block shows, or None."""
        command, error = block.text.removeprefix("$ ").strip().split("\n", 1)
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                self._run(commands(command)[0])
        except SystemExit as stop:
            if (stop.code, said.getvalue().strip()) == (2, error):
                return None
            return f"{command}: status {stop.code}, printed\n{said.getvalue()}and not\n{error}"
        return f"{command}: was not refused"

    def _run(self, words: list[str]) -> None:
        """``python WORDS`` in this process. Raises SystemExit unless its status is 0."""
        key = tuple(words)
        alone = words[0] == "-m" and words[1] in ("lepton_jax.train", "lepton_jax.sweep") and "--run-dir" in words
        alone = alone and not {"--resume", "--graft", "--config", "--lane"} & set(words) and words[2].startswith("-")
        run = Path(words[words.index("--run-dir") + 1]) if alone else Path()
        if key in self._known and not run.exists():
            shutil.copytree(self._known[key], run)
            return
        new = alone and not run.exists()
        before = sys.argv
        try:
            if words[0] == "-m":
                sys.argv = [words[1], *words[2:]]
                runpy.run_module(words[1], run_name="__main__", alter_sys=True)
            else:
                sys.argv = words
                runpy.run_path(words[0], run_name="__main__")
        except SystemExit as stop:
            if stop.code:
                raise
        finally:
            sys.argv = before
        if new and run.is_dir():
            self._known[key] = shutil.copytree(run, self._store / str(len(self._known)))


def _plan(words: list[str]) -> None:
    """Checks what ``python WORDS`` asks for, and does not do it. Raises as ``Reader._run`` and as ``parse_config``."""
    from lepton_jax.cli import parse_config

    if words[:2] == ["-m", "lepton_jax.sweep"]:
        Reader(Path())._run([*words, "--dry-run"])
    elif words[:2] == ["-m", "lepton_jax.train"]:
        parse_config(words[2:], "train", "")
    else:
        raise ValueError(f"{words[1]}: only train and sweep can be planned")


def main(out: Path, pages: list[Path]) -> None:
    """Follows all pages and writes what came of it to ``out``, as JSON."""
    from lepton_jax import presets

    shrink(presets.PRESETS)
    told: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temp:
        (Path(temp) / "store").mkdir()
        reader = Reader(Path(temp) / "store")
        for number, path in enumerate(pages):
            folder = Path(temp) / str(number)
            folder.mkdir()
            # Whatever page this is, a reader may be at the top of a checkout.
            told += reader.follow(blocks(path.read_text(encoding="utf-8"), str(path)), folder)
    out.write_text(json.dumps(told, indent=1), encoding="utf-8")


def follow(pages: Sequence[Path], temp: Path) -> list[dict[str, Any]]:
    """``main`` in a process of its own."""
    out = temp / "told.json"
    words = [sys.executable, __file__, str(out), *map(str, pages)]
    done = subprocess.run(words, cwd=temp, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text(encoding="utf-8"))


def wrong(told: Sequence[Mapping[str, Any]], page: Path) -> list[str]:
    """What went wrong on a page, of which all that should be told was told."""
    there = [block.place for block in blocks(page.read_text(encoding="utf-8"), str(page)) if block.told]
    of_page = [each for each in told if each["place"].rpartition(":")[0] == str(page)]
    assert [each["place"] for each in of_page] == there
    return [f"{each['place']}: {each['wrong']}" for each in of_page if each["wrong"]]


if __name__ == "__main__":
    # Compiling is nearly all of it, and nobody looks at the speed of what comes out.
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    main(Path(sys.argv[1]), [Path(page) for page in sys.argv[2:]])
