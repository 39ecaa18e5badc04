"""From the command line and a TOML file to the engine's configuration."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.errors import ConfigError

if TYPE_CHECKING:
    from engine.config import Config, Execution

__all__ = ["apart_from_execution", "resolve"]


def resolve(config_file: str | None, options: Mapping[str, Any]) -> "tuple[Config, Execution]":
    """Make the configuration of a run; options of the command line win over the file.

    Args:
        config_file: a TOML file, if one was given.
        options: by name; what was not given is None or empty.

    Raises:
        ConfigError: an unknown key, or a value that cannot be taken.
    """
    from engine.config_file import config_from

    return config_from(_flat_values(config_file, options))


def apart_from_execution(
    config_file: str | None, options: Mapping[str, Any]
) -> tuple[dict[str, Any], "Execution"]:
    """Tell what a command changes of a dataset from how it is executed.

    Args:
        config_file: a TOML file, if one was given.
        options: by name; what was not given is None or empty.

    Returns:
        What is to be changed, as `config_from` takes it; and the execution.

    Raises:
        ConfigError: as `resolve`.
    """
    from engine.config_file import config_from

    values = _flat_values(config_file, options)
    own = {"workers", "address", "runner", "resume"}
    _, execution = config_from({name: values.pop(name, None) for name in own})
    return values, execution


def _flat_values(config_file: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Put a configuration file and the command line together, as `config_from` takes them.

    Args:
        config_file: a TOML file, if one was given.
        options: by name; what was not given is None or empty.

    Raises:
        ConfigError: the file cannot be read, or a value that cannot be taken.
    """
    from engine.choices import parse_ratios
    from engine.config_file import read_config_file

    values = read_config_file(config_file) if config_file else {}
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if "video_ids" in given:
        given["video_ids"] = dict(_named(text) for text in given["video_ids"])
    values = {key.replace("-", "_"): value for key, value in values.items()}
    if "formats" in given:
        values.pop("format", None)
    values |= given
    if isinstance(values.get("ratios"), str):
        values["ratios"] = parse_ratios(values["ratios"])
    return values


def _named(text: str) -> tuple[str, str]:
    source, separator, name = text.rpartition("=")
    if not separator or not source or not name:
        raise ConfigError("--video-id", "not understood", got=repr(text), expected="SRC=NAME")
    return source, name
