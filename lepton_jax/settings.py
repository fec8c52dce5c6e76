"""Settings as text and as nested changes: a value comes from the preset, then from a TOML file, then from the command
line; the later one wins. Imports no jax."""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from lepton_jax.config import Config, ConfigError

# The version of the settings' names and meanings. Where one changes: add one, and say below how older files are read.
VERSION = 1
_MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}  # from version v to v + 1


def overlay(config: Any, changes: Mapping[str, Any], source: str, prefix: str = "") -> Any:
    """``config`` with nested ``changes`` applied; types are checked strictly.

    Raises:
      ConfigError: an unknown key (with the nearest one) or a value of the wrong type.
    """
    types = get_type_hints(type(config))
    updates = {}
    for key, value in changes.items():
        name = prefix + key
        if key not in types:
            raise ConfigError(f"{source}: unknown key '{name}'{nearest(key, types, prefix)}")
        current = getattr(config, key)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{source}: '{name}' is a section; write its keys below [{name}]")
            updates[key] = overlay(current, value, source, f"{name}.")
        else:
            updates[key] = typed(value, types[key], name, source)
    return dataclasses.replace(config, **updates)


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Reads TOML text for ``overlay``. Text of an older ``config_version`` is brought to this one.

    Raises:
      ConfigError: the text is no TOML, says where; or of a version that this one cannot read.
    """
    try:
        changes = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not valid TOML: {error}") from None
    return migrated(changes, source)


def migrated(changes: Mapping[str, Any], source: str) -> dict[str, Any]:
    """``changes`` without their ``config_version``, brought from it to this one.

    Raises:
      ConfigError: a version that this one cannot read.
    """
    changes = dict(changes)
    version = changes.pop("config_version", VERSION)
    if type(version) is not int or version > VERSION:
        raise ConfigError(
            f"{source}: config_version = {version!r}, and this lepton_jax reads up to {VERSION}; use the lepton_jax "
            "that wrote it, or a newer one"
        )
    for old in range(version, VERSION):
        if old not in _MIGRATIONS:
            raise ConfigError(
                f"{source}: config_version = {version} is no longer read; use the lepton_jax that wrote it"
            )
        changes = _MIGRATIONS[old](changes)
    return changes


def differences(old: Any, new: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Name, old and new value of every setting in which two configurations differ."""
    for f in dataclasses.fields(old):
        before, after, name = getattr(old, f.name), getattr(new, f.name), prefix + f.name
        if dataclasses.is_dataclass(before):
            yield from differences(before, after, f"{name}.")
        elif before != after:
            yield name, before, after


def flat(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and value of every setting."""
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            yield from flat(value, f"{prefix}{f.name}.")
        else:
            yield prefix + f.name, value


def to_toml(config: Config, table: str = "") -> str:
    """The whole configuration as TOML, which ``--config`` reads back to an equal one; below ``[table]``, if named."""
    lines = [*([f"[{table}]"] if table else []), f"config_version = {VERSION}"]
    fields = [(f.name, getattr(config, f.name)) for f in dataclasses.fields(config)]
    sections = [("", config), *((name, value) for name, value in fields if dataclasses.is_dataclass(value))]
    for name, section in sections:
        lines += [f"\n[{table}.{name}]" if table else f"\n[{name}]"] if name else []
        for f in dataclasses.fields(section):
            value = getattr(section, f.name)
            if not dataclasses.is_dataclass(value):
                lines.append(f"{f.name} = {toml_value(value)}")
    return "\n".join(lines) + "\n"


def typed(value: Any, expected: Any, name: str, source: str) -> Any:
    """``value`` as the type ``expected`` of the setting ``name``; only an integer becomes another, a float.

    Raises:
      ConfigError: it is of another type, or none of the choices.
    """
    if get_origin(expected) is Literal:
        choices = get_args(expected)
        if value not in choices:
            hint = nearest(str(value), choices)
            raise ConfigError(f"{source}: '{name}' = {value!r}{hint}; expected one of {', '.join(map(repr, choices))}")
        return value
    if get_origin(expected) is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{source}: '{name}' = {value!r} has type {type(value).__name__}; expected a list")
        return tuple(typed(item, get_args(expected)[0], name, source) for item in value)
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not expected:
        raise ConfigError(
            f"{source}: '{name}' = {value!r} has type {type(value).__name__}; expected {expected.__name__}"
        )
    return value


def nearest(name: str, known: Any, prefix: str = "") -> str:
    """A hint at the name of ``known`` that is most like ``name``, to end a message with; empty if none is."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{prefix}{close[0]}'?" if close else ""


def toml_value(value: Any) -> str:
    """A bool, a string, a number or a tuple of these as TOML."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON's escapes are TOML's as well
    return repr(value)
