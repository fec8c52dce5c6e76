"""What the commands share: settings from preset, file and flags, and the way errors are told. Imports no jax."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from lepton_jax.config import Config, ConfigError
from lepton_jax.engine.folder import read_toml
from lepton_jax.presets import KINDS, PRESETS, from_preset, kind_of
from lepton_jax.scale.pick import is_sweep, pick
from lepton_jax.settings import overlay
from lepton_jax.validate import validate


def parse_config(
    argv: list[str],
    prog: str,
    description: str,
    preset: str | None = None,
    changes: Mapping[str, Any] | None = None,
    source: str = "",
) -> tuple[Config, dict[str, Any]]:
    """Settings of a run: preset, then ``--config FILE``, then flags.

    Args:
      argv, prog, description: of the command.
      preset: where ``--preset`` names none.
      changes: nested, made between preset and file; from ``source``.

    Returns:
      The validated configuration, and what it was made from: preset, file and flags.

    Raises:
      ConfigError: as ``overlay`` and ``validate``; and for a file that cannot be read.
      SystemExit: 0 after ``--help``, 2 after an unknown flag or a value that is no value of its type.
    """
    import tyro

    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset")
    first.add_argument("--config")
    first.add_argument("--lane", type=int)
    first.add_argument("--agent.kind", dest="kind")
    known, flags = first.parse_known_args(_spelled(argv))
    preset = str(known.preset or preset or "quick")
    file = Path(known.config) if known.config else None
    if known.lane is not None or (file is not None and is_sweep(file)):
        if file is None:
            raise ConfigError(
                f"--lane {known.lane}: of which sweep? name its folder: --config SWEEP --lane {known.lane}"
            )
        if known.preset:
            raise ConfigError(f"--preset {known.preset}: a lane has the settings of its sweep; leave --preset away")
        default = overlay(pick(file, known.lane).config, changes or {}, source)
    else:
        default = _layers(preset, known.kind, (changes or {}, source), (read_toml(file) if file else {}, known.config))
    if known.kind:
        default = overlay(default, {"agent": {"kind": known.kind}}, "--agent.kind")
    epilogue = (
        f"--preset {{{','.join(PRESETS)}}} and --config FILE.toml come first; flags change what they say. "
        f"--config SWEEP --lane I is a lane of a sweep. --quiet is --display quiet. Shown are the values of preset "
        f"{preset}."
    )
    config = tyro.cli(Config, prog=prog, args=flags, default=default, description=f"{description}\n\n{epilogue}")
    return validate(config), {"preset": preset, "config": known.config, "lane": known.lane, "flags": flags}


def _layers(preset: str, kind: str | None, *layers: tuple[Mapping[str, Any], str]) -> Config:
    """A preset for the kind of agent that the flag or the last of the ``layers`` asks for, and these upon it."""
    asked = [kind, *(kind_of(changes, "") for changes, _ in reversed(layers)), KINDS[0]]
    config = from_preset(preset, next(filter(None, asked)))
    for changes, source in layers:
        config = overlay(config, changes, source)
    return config


def parse_changes(argv: list[str], prog: str, default: Config, description: str) -> Config:
    """``default`` with flags applied; errors as ``parse_config``, and ConfigError for --preset and --config."""
    import tyro

    for word in argv:
        if word.split("=")[0] in ("--preset", "--config"):
            raise ConfigError(f"{word}: a run goes on with the settings it has; leave {word.split('=')[0]} away")
    return tyro.cli(Config, prog=prog, args=_spelled(argv), default=default, description=description)


def _spelled(argv: list[str]) -> list[str]:
    """``argv`` with --quiet as the setting it stands for."""
    return [word for given in argv for word in (["--display", "quiet"] if given == "--quiet" else [given])]


def guarded(main: Callable[[list[str]], None]) -> NoReturn:
    """Runs a command; a mistake of the user becomes one line on stderr and status 2, not a traceback."""
    try:
        main(sys.argv[1:])
    except ValueError as error:
        if not isinstance(error, _told()):
            raise
        fail(str(error))
    except KeyboardInterrupt as stop:
        # At once: neither a chunk under way nor a checkpoint being written is waited for.
        print(f"\n{stop}" if str(stop) else "\nstopped", file=sys.stderr, flush=True)
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(128 + getattr(stop, "number", signal.SIGINT))
    except BrokenPipeError:  # whoever read our output has gone, as head does
        sys.stdout = None  # type: ignore[assignment]  # nothing is left to flush
    except OSError as error:
        fail(f"{error.filename or 'file'}: {error.strerror}")
    sys.exit(0)


def fail(message: str) -> NoReturn:
    """Prints ``error: message`` to stderr and exits with status 2."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def _told() -> tuple[type[ValueError], ...]:
    """Errors whose message is meant for the user; those of modules not imported cannot have happened."""
    names = {
        "lepton_jax.envs.maze.level": "LevelError",
        "lepton_jax.engine.integrity": "CheckpointError",
        "lepton_jax.engine.loop": "Diverged",
    }
    loaded = (getattr(sys.modules[module], name) for module, name in names.items() if module in sys.modules)
    return (ConfigError, *loaded)
