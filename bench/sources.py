"""Which part of the engine each operation of a compiled program comes from, by the program's own text."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePath
from typing import NamedTuple


class Frame(NamedTuple):
    """A place in the source that an operation was traced from."""

    file: str
    function: str  # qualified: make_program.<locals>.rollout
    line: int


class Operation(NamedTuple):
    """An operation of a compiled program."""

    part: str  # of the engine; its matrix products apart
    opcode: str
    result: str  # type and shape; without layout
    source: str  # file:line, innermost of the engine; "" if unknown


AVERAGE, PRODUCTS = "average over devices", ", matrix products"
# The first part all of whose frames an operation has; "" as a function is any. Inside a rollout the agent acts, outside
# it learns, with the same network.
_ROLLOUT = ("engine/program.py", "rollout")
PARTS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (AVERAGE, (("engine/shard.py", "average"),)),
    (AVERAGE, (("engine/shard.py", "lowest"),)),
    ("new levels", (("engine/program.py", "refresh"),)),
    ("act: observe", (_ROLLOUT, ("/envs/", "observe"))),
    ("act: network and choice", (_ROLLOUT, ("/agents/", ""))),
    ("environment step", (_ROLLOUT,)),
    ("replay: write", (("engine/replay.py", "write"),)),
    ("learn: observe", (("engine/experience.py", ""),)),
    ("replay: draw and gather", (("engine/replay.py", ""),)),
    ("learn: loss and gradient", (("agents/networks.py", ""),)),
    ("learn: loss and gradient", (("agents/memory.py", ""),)),
    ("learn: loss and gradient", (("agents/sequences.py", ""),)),
    ("learn: loss and gradient", (("agents/losses.py", ""),)),
    ("learn: loss and gradient", (("/agents/", "measure"),)),  # of DQN
    ("learn: loss and gradient", (("/agents/", "loss"),)),  # of PQN
    ("learn: loss and gradient", (("/agents/", "lesson_of"),)),
    ("learn: optimiser, target network, the rest of an update", (("/agents/", ""),)),
    ("random keys", (("engine/program.py", "own_keys"),)),
    ("metrics, clock, what scans hand on", (("engine/program.py", ""),)),
)
# Of operations without frames, or whose frames say where the loop stands and not what it runs.
LOOPS, COPIES, OTHER = "running loops", "copies that no line asks for", "other"
_HEADER = re.compile(r"^(?:ENTRY )?%?([\w.-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.-]+) = (\S+).*? ([a-z][\w-]*)\(")
_CALLED = re.compile(r"(?:calls|to_apply)=%?([\w.-]+)")


def operations(text: str) -> dict[str, Operation]:
    """By name every operation of a program, given ``compiled.as_text()``."""
    stacks = _stacks(text)
    inside: dict[str, list[str]] = {}  # instructions, by the computation they are in
    found: dict[str, tuple[str, str, list[Frame], str]] = {}  # result, opcode, frames, computation called
    gemms, computation = set[str](), ""
    for line in text.splitlines():
        if header := _HEADER.match(line):
            computation = header[1]
        elif instruction := _INSTRUCTION.match(line):
            name, result, opcode = instruction.groups()
            frame, called = re.search(r"stack_frame_id=(\d+)", line), _CALLED.search(line)
            frames = stacks.get(int(frame[1]), []) if frame else []
            shown = "" if result.startswith("(") else result.split("{")[0]  # no tuples
            found[name] = shown, opcode, frames, called[1] if called else ""
            inside.setdefault(computation, []).append(name)
            if opcode == "custom-call" and "gemm" in line:  # products of a GPU
                gemms.add(name)

    def made(name: str) -> Operation:
        result, opcode, frames, called = found[name]
        members = [found[member] for member in inside.get(called, ())]
        if opcode in ("while", "call", "conditional"):
            return Operation(LOOPS, opcode, result, _innermost(frames))
        known = Counter(part_of(member[2]) for member in members if member[2])
        if frames:
            part = part_of(frames)
        elif known:  # what most of the operations in it are for
            part = known.most_common(1)[0][0]
        else:
            part = COPIES if opcode == "copy" else OTHER
        product = "dot" in (opcode, *(member[1] for member in members)) or name in gemms
        return Operation(part + PRODUCTS if product else part, opcode, result, _innermost(frames))

    return {name: made(name) for name in found}


def part_of(frames: list[Frame]) -> str:
    """The part of the engine that an operation with these frames belongs to."""
    there = lambda file, function: any(
        file in frame.file and (not function or function in frame.function.split(".<locals>.")) for frame in frames
    )
    return next((part for part, wanted in PARTS if all(there(*one) for one in wanted)), OTHER)


def _innermost(frames: list[Frame]) -> str:
    ours = [frame for frame in frames if "/lepton_jax/" in frame.file] or frames
    return f"{PurePath(ours[0].file).name}:{ours[0].line}" if ours else ""


def _stacks(text: str) -> dict[int, list[Frame]]:
    """By number the frames of a stack, innermost first, from the four tables that a program's text begins with."""
    files, functions, places, stacks = (
        _section(text, name) for name in ("FileNames", "FunctionNames", "FileLocations", "StackFrames")
    )
    numbers = lambda entry: {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", entry)}
    read: dict[int, list[Frame]] = {}
    for number, entry in stacks.items():  # parents come first
        stack = numbers(entry)
        place = numbers(places[stack["file_location_id"]])
        frame = Frame(
            files[place["file_name_id"]].strip('"'), functions[place["function_name_id"]].strip('"'), place["line"]
        )
        # Written is the parent's number and one more, so that the outermost has its own.
        read[number] = [frame, *read.get(stack.get("parent_frame_id", 0) - 1, [])]
    return read


def _section(text: str, name: str) -> dict[int, str]:
    section = re.search(rf"^{name}\n((?:\d+ .*\n)*)", text, re.MULTILINE)
    lines = section[1].splitlines() if section else []
    return {int(number): entry for number, entry in (line.split(" ", 1) for line in lines)}
