"""From the lines that the groups of a sweep write to tables for people and for pandas. Imports no jax.

``table.csv`` has a row for each lane and evaluation, ``lanes.csv`` one for each lane, ``summary.json`` what
``lepton_jax.scale.statistics`` makes of them. The same lines make the same files, byte for byte.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lepton_jax.engine.folder import put, read_journal
from lepton_jax.engine.metrics import FIGURES, to_json
from lepton_jax.scale.statistics import outcomes, summarise
from lepton_jax.scale.sweep_folder import group_folders

if TYPE_CHECKING:
    from lepton_jax.scale.design import Lane, Sweep

_PLACE = ("lane", "iteration", "env_steps", "levels", "policy")  # what says of which evaluation a row is
_ORDER = ("validation", "test", "current", "final", "best")


class Results(NamedTuple):
    """The lines of all groups, in the order in which they were written."""

    rows: tuple[dict[str, Any], ...]  # of rows.jsonl: an evaluation each
    lanes: tuple[dict[str, Any], ...]  # of lanes.jsonl: a lane that has left its place each


class Column(NamedTuple):
    """A column of a table."""

    name: str
    kind: type  # int, float, bool or str
    values: list[Any]  # of that kind, or None where there is no value


def read(groups: Iterable[Path]) -> Results:
    """All lines of the groups in these folders.

    A file that is not there has no lines yet, and a line without its end is still being written: it is left out.

    Raises:
      ConfigError: a whole line is no JSON; says which.
    """
    rows, lanes = [], []
    for group in groups:
        rows += read_journal(group / "rows.jsonl")
        lanes += read_journal(group / "lanes.jsonl")
    return Results(tuple(rows), tuple(lanes))


def table(sweep: Sweep, rows: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    """The tidy table: a row for each lane and evaluation, by lane, env_steps, levels and policy.

    Columns: lane, point, seed, the knobs in the order of the sweep, iteration, env_steps, levels, policy, the training
    metrics in the order in which they are first met, then the figures that there are.
    """
    lanes = {lane.number: lane for lane in sweep.lanes}
    rows = sorted(rows, key=_by_place)
    met = {name for row in rows for name, value in row.items() if value is not None}
    metrics = [name for name in dict.fromkeys(name for row in rows for name in row) if name in met.difference(_PLACE)]
    measured = [name for name in metrics if name not in FIGURES] + [name for name in FIGURES if name in met]
    return (
        *_lane_columns(sweep, [lanes[row["lane"]] for row in rows]),
        *(Column(name, int, [row[name] for row in rows]) for name in ("iteration", "env_steps")),
        *(Column(name, str, [row[name] for row in rows]) for name in ("levels", "policy")),
        *(_float_column(name, rows, name) for name in measured),
    )


def lanes_table(sweep: Sweep, results: Results) -> tuple[Column, ...]:
    """A row a lane: its knobs, what became of it, and the figures that there are.

    ``best_validation/...`` are those of its best evaluation, ``final/...`` and ``best/...`` those of the two policies
    on the test levels.
    """
    judged = outcomes(sweep, results)
    measured = {
        "best_validation": [outcome.validation or {} for outcome in judged],
        "final": [outcome.final or {} for outcome in judged],
        "best": [outcome.best or {} for outcome in judged],
    }
    return (
        *_lane_columns(sweep, [outcome.lane for outcome in judged]),
        *(Column(name, str, [getattr(outcome, name) for outcome in judged]) for name in ("status", "reason")),
        *(
            Column(name, int, [getattr(outcome, name) for outcome in judged])
            for name in ("env_steps", "best_env_steps")
        ),
        *(
            _float_column(f"{prefix}/{name}", figures, name)
            for prefix, figures in measured.items()
            for name in FIGURES
            if any(name in those for those in figures)
        ),
    )


def to_csv(columns: Sequence[Column]) -> str:
    """Text that ``csv`` reads back: floats to the last bit, booleans as true and false, an empty cell for None."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(column.name for column in columns)
    spell = lambda column: [str(value).lower() for value in column.values] if column.kind is bool else column.values
    writer.writerows(zip(*map(spell, columns), strict=True))
    return text.getvalue()


def put_parquet(path: Path, columns: Sequence[Column]) -> bool:
    """Writes a whole Parquet file, with the columns' types; or leaves what was there.

    Returns:
      Whether there is one: False without pyarrow (the extra ``data``), and then one of an earlier time is removed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        path.unlink(missing_ok=True)
        return False
    types = {int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_(), str: pyarrow.string()}
    arrays = {column.name: pyarrow.array(column.values, types[column.kind]) for column in columns}
    new = path.with_name(f".new-{path.name}")
    with new.open("wb") as file:
        pyarrow.parquet.write_table(pyarrow.table(arrays), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    return True


def write(folder: Path, sweep: Sweep, about: Mapping[str, Any], command: Callable[[Lane], str]) -> dict[str, Any]:
    """Reads what the groups in ``folder`` have written, and writes table.csv, lanes.csv and summary.json.

    With pyarrow also table.parquet; without, no such file is left. May be called at any time, also of a sweep that goes
    on. ``about`` and ``command``: see ``summarise``.

    Returns:
      The summary.

    Raises:
      ConfigError: a file of a group is damaged.
    """
    results = read(group_folders(folder))
    rows = table(sweep, results.rows)
    put(folder / "table.csv", to_csv(rows))
    put_parquet(folder / "table.parquet", rows)
    put(folder / "lanes.csv", to_csv(lanes_table(sweep, results)))
    summary = summarise(sweep, results, about, command)
    put(folder / "summary.json", to_json(summary, indent=2) + "\n")
    return summary


def _by_place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["lane"], row["env_steps"], _ORDER.index(row["levels"]), _ORDER.index(row["policy"])


def _lane_columns(sweep: Sweep, lanes: Sequence[Lane]) -> list[Column]:
    """Which lane a row is of. A knob has one kind in all tables of a sweep, whatever lanes there are rows of."""
    columns = [
        Column("lane", int, [lane.number for lane in lanes]),
        Column("point", int, [lane.point for lane in lanes]),
        Column("seed", int, [lane.seed for lane in lanes]),
    ]
    for knob in sweep.knobs:
        kind = _kind({type(lane.knobs[knob]) for lane in sweep.lanes})
        columns.append(Column(knob, kind, [kind(lane.knobs[knob]) for lane in lanes]))
    return columns


def _kind(kinds: set[type]) -> type:
    if len(kinds) == 1:
        return kinds.pop()
    return float if kinds == {int, float} else str


def _float_column(name: str, rows: Sequence[Mapping[str, Any]], key: str) -> Column:
    return Column(name, float, [None if (value := row.get(key)) is None else float(value) for row in rows])
