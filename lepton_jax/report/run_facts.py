"""What a run was: its network, its settings, what it ran on, what it began from, and how to run it again."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lepton_jax.agents.networks import layer_of
from lepton_jax.agents.training import PLAIN, Training
from lepton_jax.config import Config
from lepton_jax.engine.manifest import changes
from lepton_jax.presets import PRESETS, from_preset
from lepton_jax.report.document import Cell, Column, escape, table
from lepton_jax.report.graft_table import trained
from lepton_jax.report.run_study import Study
from lepton_jax.settings import differences, to_toml, toml_value
from lepton_jax.transfer.lineage import lineage_lines


def network(told: Study) -> str:
    """Its leaves from the input to the output, with what a graft says of them."""
    graft = told.manifest.get("graft")
    treated = {} if graft is None else dict(Training.from_json(graft["training"]).leaves)
    columns = [Column("leaf", "word"), Column("shape", "word"), Column("dtype", "word"), Column("parameters"),
               Column("bytes")]  # fmt: skip
    columns += [Column("from", "word"), Column("trained", "word")] if graft else []
    rows, total, size = [], 0, 0
    for name, leaf in sorted(told.leaves.items(), key=lambda item: layer_of(item[0])):
        parameters = math.prod(leaf["shape"])
        total, size = total + parameters, size + leaf["bytes"]
        shape = " x ".join(map(str, leaf["shape"])) or "scalar"
        row = [Cell(name), Cell(shape), Cell(leaf["dtype"]), Cell(f"{parameters:,}", parameters)]
        row.append(Cell(f"{leaf['bytes']:,}", leaf["bytes"]))
        if graft:
            origin = graft["leaves"].get(name, {}).get("from")
            row += [Cell(origin or "drawn"), Cell(trained(treated.get(name, PLAIN)))]
        rows.append(row)
    net = told.config.net
    kind = {
        "mlp": f"{net.depth} hidden layers of {net.width} units",
        "conv": f"{net.conv_depth} convolutions of {net.channels} channels, {net.depth} layers of {net.width} units",
        "think": f"{net.iterations} passes of one convolution of {net.channels} channels, "
        f"{net.depth} layers of {net.width} units",
    }[net.kind]
    memory = "" if net.memory == "none" else f", a memory ({net.memory})"
    head = "dueling" if net.dueling else "linear"
    words = f"{net.kind}: {kind}{memory}, a {head} head; {total:,} parameters, {size:,} bytes."
    return f"<h2>Network</h2>\n<p>{escape(words)}</p>\n{table('Leaves, from the input to the output', columns, rows)}"


def settings(told: Study) -> str:
    """Where the settings leave their preset, and all of them as TOML."""
    config = told.config
    preset, base = _preset(told)
    away = [(name, old, new) for name, old, new in differences(base, config) if name not in ("run_dir", "display")]
    columns = [Column("setting", "word"), Column("preset", "word"), Column("here", "word")]
    rows = [[Cell(name), Cell(toml_value(old)), Cell(toml_value(new))] for name, old, new in away]
    known = f"Differences from preset {preset} for agent.kind = {config.agent.kind!r}"
    shown = table(known, columns, rows) if rows else f"<p>As preset {escape(preset)} has them.</p>"
    return (
        f"<h2>Settings</h2>\n{shown}\n<details><summary>All settings as TOML</summary>"
        f'<div class="command"><pre><code>{escape(to_toml(config))}</code></pre></div></details>'
    )


def origin(told: Study) -> str:
    """What it ran on and with, what it began from, and the command that runs it again."""
    manifest = told.manifest
    facts = [(name, value) for name, value in _flat({k: v for k, v in manifest.items() if k not in _APART})]
    rows = [[Cell(name), Cell(_word(value))] for name, value in facts]
    columns = [Column("what", "word"), Column("value", "sentence")]
    parts = [f"<h2>How it was made</h2>\n{_again(told)}"]
    if "graft" in manifest:
        lines = lineage_lines(manifest["graft"]["lineage"])
        parts.append(f"<h3>What it began from</h3>\n{_lines(lines)}")
        if plan := manifest["graft"].get("plan"):
            parts.append(f"<details><summary>The plan of the graft</summary>{_lines([plan])}</details>")
    sessions = manifest.get("lineage", ())
    parts += [f"<h3>Sessions</h3>\n{_lines(map(_session, sessions))}"]
    parts += [f"<p>{escape(note[0].upper() + note[1:])}.</p>" for note in changes(sessions)]
    parts.append(
        f"<details><summary>What it ran on, with seeds, versions and digests of the levels</summary>"
        f"{table('The manifest', columns, rows)}</details>"
    )
    return "\n".join(parts)


_APART = ("lineage", "graft")


def _preset(told: Study) -> tuple[str, Config]:
    """The preset that the run was called with, or else the one with the fewest differences."""
    sessions = told.manifest.get("lineage") or [{}]
    named = (sessions[0].get("called_with") or {}).get("preset")
    bases = {name: from_preset(name, told.config.agent.kind) for name in ([named] if named in PRESETS else PRESETS)}
    name = min(bases, key=lambda name: len(list(differences(bases[name], told.config))))
    return name, bases[name]


def _again(told: Study) -> str:
    where = lambda name: shlex.quote(str(told.folder / name))
    words = ["python -m lepton_jax.train", f"--config {where('config.toml')}"]
    words += [f"--graft {where('graft.toml')}"] if "graft" in told.manifest else []
    words.append(f"--run-dir {shlex.quote(f'{told.folder}-again')}")
    spans = " ".join(f"<span>{escape(word)}</span>" for word in words)
    return (
        "<p>This runs it again, with the same settings and seeds:</p>\n"
        f'<div class="command"><pre><code>{spans}</code></pre>'
        '<button type="button" aria-label="Copy the command">Copy</button> <span role="status"></span></div>'
    )


def _session(session: Mapping[str, Any]) -> str:
    made, called = session["environment"], session.get("called_with") or {}
    flags = " ".join(shlex.quote(str(flag)) for flag in called.get("flags") or ())
    how = f"; called with {flags}" if flags else ""
    return (
        f"from iteration {session['iteration']:,}: lepton_jax {made['lepton_jax']}, jax {made['jax']}, python "
        f"{made['python']}, {made['shards']} of {made['devices']} {made['device']} ({made['processor']}), "
        f"{made['threads']} threads{how}"
    )


def _lines(lines: Iterable[str]) -> str:
    text = "\n".join(lines)
    return f'<div class="command"><pre><code>{escape(text)}</code></pre></div>'


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _word(value: Any) -> str:
    if value is None or value == "":
        return "–"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
