"""From a flat mapping, as a TOML file or the command line gives it, to the records of a run."""

import difflib
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_origin

import orjson

from engine.caps import Caps
from engine.config import Config, Execution
from engine.errors import ConfigError
from engine.thresholds import Thresholds

__all__ = ["by_name", "config_from", "read_config_file", "read_table_file"]

# Tables that may be given as the name of a file, and words that may be given with commas.
_IN_FILES = ("label_map", "split_file", "templates")
_LISTED = ("fail_on", "ignore", "warn_on")


def config_from(values: Mapping[str, Any]) -> tuple[Config, Execution]:
    """Make the two records from one flat mapping, as a TOML file or the command line gives it.

    Keys may be spelled with hyphens; values that are None mean "not given".

    Raises:
        ConfigError: an unknown key (with the nearest known one), or a value out of range.
    """
    known = {f.name: f for kind in (Config, Execution) for f in fields(kind)}
    given: dict[str, Any] = {}
    for key, value in values.items():
        name = by_name(key)
        if name not in known:
            raise _unknown_key(key, name, known)
        if value is not None:
            given[name] = _coerced(name, known[name].type, value)
    own = {f.name for f in fields(Execution)}
    return (
        Config(**{k: v for k, v in given.items() if k not in own}),
        Execution(**{k: v for k, v in given.items() if k in own}),
    )


def by_name(key: str) -> str:
    """Give the field of the records that a key of a file means: options are spelled otherwise."""
    name = key.replace("-", "_")
    return {"format": "formats", "video_id": "video_ids"}.get(name, name)


def _unknown_key(key: str, name: str, known: Collection[str]) -> ConfigError:
    near = difflib.get_close_matches(name, known, n=1)
    advice = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
    return ConfigError(key, "no such configuration key", advice=advice)


def _record_of(kind: type[Caps] | type[Thresholds], title: str, table: Mapping[str, Any]) -> Any:
    known = [each.name for each in fields(kind)]
    given = {key.replace("-", "_"): value for key, value in table.items()}
    for name in given:
        if name not in known:
            raise _unknown_key(f"{title}.{name}", name, known)
    return kind(**given)


def _coerced(name: str, kind: Any, value: Any) -> Any:
    """Bring TOML's lists, single words and tables to what the records hold; judge no value."""
    if name in _IN_FILES and isinstance(value, str):
        return read_table_file(value)
    if name in _LISTED and isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    if kind in (Caps, Thresholds) and isinstance(value, Mapping):
        return _record_of(kind, name, value)
    if get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis:
        return (value,) if isinstance(value, str) else value
    if isinstance(value, list):
        return tuple(value)
    return value


def read_table_file(path: str) -> dict[str, Any]:
    """Read a table that an option names by its file: TOML, or JSON where the name ends in .json.

    Raises:
        ConfigError: the file is not there, or holds no table.
    """
    if not path.lower().endswith(".json"):
        return read_config_file(path)
    try:
        table = orjson.loads(Path(path).read_bytes())
    except OSError as error:
        raise ConfigError(path, f"cannot be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise ConfigError(path, f"is not valid JSON: {error}") from error
    if not isinstance(table, dict):
        raise ConfigError(path, "is no table", got=type(table).__name__, expected="a JSON object")
    return table


def read_config_file(path: str) -> dict[str, Any]:
    """Read a TOML configuration file: the names of the long options, at the top level.

    Raises:
        ConfigError: the file is not there or is no TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(path, f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(path, f"is not valid TOML: {error}") from error
