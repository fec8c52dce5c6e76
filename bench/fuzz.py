"""Throws settings and command lines at the trainer: each must run, or be refused with one message and status 2."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from bench.flip import TINY
from lepton_jax import train
from lepton_jax.cli import guarded
from lepton_jax.presets import from_preset
from lepton_jax.settings import overlay, to_toml

_INTS = st.one_of(st.integers(-3, 70), st.sampled_from([2**31 - 1, 2**31, 2**40, -(2**63)]))
_FLOATS = st.one_of(st.floats(-0.5, 1.5), st.sampled_from([1e-30, 1e30, float("nan"), float("inf"), -1.0, 0.0]))
_TEXTS = st.one_of(
    st.sampled_from(["", "x", "centered", "CartPole-v1", "Pendulum-v1", "True", "1e-3"]), st.text(max_size=8)
)
# Settings that cost little whatever they are; what they may be is half sensible.
KNOBS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(
        ("seed", "schedule_steps", "log_points", "shards", "env.view", "env.levels", "env.time_limit"), _INTS
    ),
    **dict.fromkeys(("env.refresh_every", "env.level_seed", "net.depth", "agent.n_step", "agent.target_period"), _INTS),
    **dict.fromkeys(("replay.collect", "replay.updates", "eval.episodes", "checkpoint.every_iterations"), _INTS),
    **dict.fromkeys(("checkpoint.latest", "checkpoint.best"), _INTS),
    **dict.fromkeys(("env.braid", "env.goal_reward", "env.step_cost", "env.slip", "agent.gamma", "agent.tau"), _FLOATS),
    **dict.fromkeys(("agent.lr", "agent.lr_end", "agent.adam_eps", "agent.weight_decay", "agent.eps_start"), _FLOATS),
    **dict.fromkeys(("agent.eps_end", "agent.eps_fraction", "agent.eps_ladder_power", "agent.huber_delta"), _FLOATS),
    **dict.fromkeys(("agent.max_grad_norm", "checkpoint.every_seconds"), _FLOATS),
    **dict.fromkeys(("env.sticky", "env.lava", "env.lava_penalty", "env.wall_penalty", "env.time_decay"), _FLOATS),
    **dict.fromkeys(("env.shaping", "env.goal_ratio", "env.density"), _FLOATS),
    **dict.fromkeys(
        (
            "env.held_out",
            "env.occlusion",
            "env.door",
            "env.moving_goal",
            "net.layer_norm",
            "net.dueling",
            "agent.double",
            "agent.eps_ladder",
        ),
        st.booleans(),
    ),
    "env.size": st.sampled_from([-1, 0, 4, 5, 7, 9, 11, 103]),
    "env.num_envs": st.sampled_from([-1, 0, 1, 2, 16, 17, 64]),
    "env.pool": st.sampled_from([-1, 0, 16, 64, 96, 1024]),
    "env.refresh_levels": st.sampled_from([0, 1, 32, 33]),
    "env.observation": st.one_of(st.sampled_from(["full", "centred", "vector", "egocentric", "rgb"]), _TEXTS),
    "env.view": st.sampled_from([-1, 0, 1, 3, 4, 5, 13, 17]),
    "env.actions": st.one_of(st.sampled_from(["cardinal", "diagonal", "oriented"]), _TEXTS),
    "env.generator": st.one_of(
        st.sampled_from(["perfect", "backtracker", "wilson", "blocks", "rooms", "crossings", "caves"]), _TEXTS
    ),
    "env.min_size": st.sampled_from([-1, 0, 5, 6, 7, 9]),
    "env.chambers": st.sampled_from([-1, 0, 1, 3, 4]),
    "env.max_distance": st.sampled_from([-1, 0, 2, 40, 2**15]),
    "env.goals": st.sampled_from([0, 1, 2, 9, 10]),
    "env.id": _TEXTS,
    "net.kind": st.one_of(st.sampled_from(["mlp", "conv"]), _TEXTS),
    "net.width": st.sampled_from([-1, 0, 1, 8, 33]),
    "net.dtype": st.one_of(st.sampled_from(["float32", "bfloat16"]), _TEXTS),
    "agent.loss": st.one_of(st.sampled_from(["huber", "squared"]), _TEXTS),
    "agent.target": st.one_of(st.sampled_from(["polyak", "periodic"]), _TEXTS),
    "agent.optimizer": st.one_of(st.sampled_from(["adam", "radam"]), _TEXTS),
    "agent.lr_schedule": st.one_of(st.sampled_from(["constant", "linear", "cosine"]), _TEXTS),
    "replay.capacity": st.sampled_from([-1, 0, 1, 64, 2048, 2049, 2**31 - 1, 2**45]),
    "replay.batch_size": st.sampled_from([-1, 0, 1, 32, 33]),
    "replay.warmup": st.sampled_from([-1, 0, 1, 256, 4096]),
    "matmul_precision": st.one_of(st.sampled_from(["default", "high", "highest"]), _TEXTS),
    "display": st.one_of(st.sampled_from(["plain", "epochs", "quiet", "auto"]), _TEXTS),
}
CHANGES = st.lists(st.sampled_from(sorted(KNOBS)), min_size=1, max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: KNOBS[name] for name in names})
)
# What is wrong about the command line itself, rather than about a value.
EXTRAS = st.one_of(
    st.just([]),
    st.sampled_from(
        [["--lr", "3"], ["--agent.lr"], ["--preset", "quik"], ["--resume", "nowhere"], ["--config", "none.toml"]]
    ),
    st.lists(st.text(max_size=6), max_size=2),
)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__, allow_abbrev=False)
    parser.add_argument("--count", type=int, default=200, help="configurations and command lines (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")
    args = parser.parse_args(argv)
    told = fuzz(args.count, args.seed)
    for outcome, count in told.most_common():
        print(f"{count:>5}  {outcome}")
    return 0 if all(outcome.startswith(("ran", "refused")) for outcome in told) else 1


def fuzz(count: int, number: int) -> Counter[str]:
    """How often each outcome was seen."""
    told: Counter[str] = Counter()

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(CHANGES, st.booleans(), EXTRAS)
    def throw(changes: dict[str, Any], as_file: bool, extras: list[str]) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            told[attempt(Path(scratch), changes, as_file, extras)] += 1

    throw()
    return told


def attempt(scratch: Path, changes: dict[str, Any], as_file: bool, extras: list[str]) -> str:
    """Trains with the changes in a TOML file or as flags, and says what came of it."""
    base = scratch / "base.toml"
    text = to_toml(overlay(from_preset("quick"), TINY, "tiny"))
    if as_file:
        text = with_changes(text, changes)
    base.write_text(text, encoding="utf-8")
    argv = ["--config", str(base), "--run-dir", str(scratch / "run")]
    argv += [] if as_file else [word for item in changes.items() for word in flag(*item)]
    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["train", *argv, *extras]
    status: Any = "none"
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(60)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            guarded(train.main)
    except SystemExit as stop:
        status = stop.code
    except BaseException as error:
        return f"TRACEBACK {type(error).__name__}: {error} from {changes} {extras}"
    finally:
        signal.alarm(0)
        sys.argv = before
    said = err.getvalue().strip()
    if status == 0:
        return "ran" if (scratch / "run" / "summary.json").is_file() or "usage" in out.getvalue() else f"LOST {argv}"
    lines = [line for line in said.splitlines() if not line.startswith("note: ")]
    # The parser's message is a box with a title, on a terminal drawn and here a title underlined.
    boxed = len(lines) > 1 and (lines[0].startswith(("╭", "usage:")) or set(lines[1].strip()) == {"-"})
    if status != 2 or not (len(lines) == 1 or boxed):
        return f"STATUS {status} and {len(lines)} lines: {said[:200]!r} from {changes} {extras}"
    if (scratch / "run").exists() and "not finite" not in said:
        return f"LEFT A FOLDER: {said[:200]!r} from {changes} {extras}"
    return "refused: numbers" if "not finite" in said else "refused: box" if boxed else "refused: line"


def _too_long(number: int, frame: Any) -> None:
    raise TimeoutError("this should take a second")


def flag(name: str, value: Any) -> list[str]:
    """A setting as a person would write it."""
    section, _, last = name.rpartition(".")
    words = f"{section}." if section else ""
    if isinstance(value, bool):
        return [f"--{words}{'' if value else 'no-'}{last.replace('_', '-')}"]
    return [f"--{words}{last.replace('_', '-')}", str(value)]


def with_changes(text: str, changes: dict[str, Any]) -> str:
    """The TOML text with other values."""
    lines, section = text.splitlines(), ""
    for number, line in enumerate(lines):
        if line.startswith("["):
            section = line.strip("[]") + "."
        name = section + line.partition(" = ")[0]
        if name in changes:
            value = changes[name]
            shown = json.dumps(value) if isinstance(value, str | bool) else repr(value)
            lines[number] = f"{line.partition(' = ')[0]} = {shown}"
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
