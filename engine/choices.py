"""Words and numbers that a configuration may hold: each is read and checked here.

What is wrong is said with its key, what was got, what was expected, and the nearest known word.
"""

import difflib
import math
from collections.abc import Sequence
from typing import Any

from engine.errors import ConfigError

__all__ = [
    "BOX_STYLES",
    "FORMATS",
    "IMAGE_FILE_FORMATS",
    "checked_ratios",
    "number_between",
    "of_kind",
    "one_of",
    "parse_format",
    "parse_ratios",
    "real_number",
    "whole_number",
]

FORMATS = ("hf", "llava", "parquet", "swift", "coco", "revos")
"""Output formats, in the order in which they are written."""

IMAGE_FILE_FORMATS = ("llava", "swift", "coco", "revos")
"""Formats in which each image is a file of its own."""

BOX_STYLES = ("norm1000", "xywh", "xyxy", "norm1", "qwen25", "loc1024")
"""How boxes are written inside texts."""

_SHOWN = 100  # of a value in an error, characters
_OTHER_NAMES = {"huggingface": "hf", "huggingface dataset": "hf"}


def parse_format(name: object) -> str:
    """Bring the name of an output format to its short form; case does not matter.

    Raises:
        ConfigError: no such format.
    """
    word = str(name).strip().lower()
    word = _OTHER_NAMES.get(word, word)
    if word not in FORMATS:
        near = difflib.get_close_matches(word, FORMATS, n=1)
        raise ConfigError(
            "format", "no such output format", got=repr(name), expected=" | ".join(FORMATS),
            advice=f"did you mean {near[0]}?" if near else None,
        )  # fmt: skip
    return word


def parse_ratios(text: str) -> tuple[float, float, float]:
    """Read `0.8/0.1/0.1` or `train=0.8,val=0.1,test=0.1` (`val` stands for `validation`).

    Raises:
        ConfigError: another form, or shares that are no shares or do not sum to 1.
    """
    names = {"train": 0, "validation": 1, "val": 1, "test": 2}
    values: list[float] = [0.0, 0.0, 0.0]
    try:
        if "=" in text:
            seen: set[int] = set()
            for part in text.split(","):
                key, _, value = part.partition("=")
                place = names[key.strip().lower()]
                if place in seen:
                    raise ConfigError("ratios", f"{key.strip()} is given twice", got=repr(text))
                seen.add(place)
                values[place] = float(value)
        else:
            values = [float(part) for part in text.split("/")]
    except (KeyError, ValueError):
        values = []
    if len(values) != 3:
        raise ConfigError(
            "ratios", "not understood", got=repr(text),
            expected="0.8/0.1/0.1 or train=0.8,val=0.1,test=0.1",
        )  # fmt: skip
    return checked_ratios(values)


def checked_ratios(values: Any) -> tuple[float, float, float]:
    """Check three shares of a whole, or read them from text.

    Raises:
        ConfigError: they are no shares, or do not sum to 1 (within a millionth).
    """
    if isinstance(values, str):
        return parse_ratios(values)
    of_kind("ratios", values, list | tuple, "three numbers from 0 to 1")
    if len(values) != 3 or not all(
        isinstance(v, int | float) and math.isfinite(v) and v >= 0 for v in values
    ):
        raise ConfigError(
            "ratios", "not three shares", got=list(values), expected="numbers from 0 to 1"
        )
    total = math.fsum(values)
    if abs(total - 1) > 1e-6:
        raise ConfigError(
            "ratios", "train, validation and test do not sum to 1",
            got="/".join(f"{v:g}" for v in values) + f" = {total:g}", expected="a sum of 1",
            advice="for example --ratios 0.8/0.1/0.1",
        )  # fmt: skip
    return (float(values[0]), float(values[1]), float(values[2]))


def of_kind(name: str, value: object, kind: Any, expected: str) -> None:
    """Refuse a value that is of another kind.

    Raises:
        ConfigError: it is.
    """
    if not isinstance(value, kind):
        got = repr(value)
        got = got if len(got) <= _SHOWN else f"{got[:_SHOWN]}..."
        raise ConfigError(name, "of the wrong kind", got=got, expected=expected)


def one_of(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a word that is none of the choices, with the nearest of them.

    Raises:
        ConfigError: it is none.
    """
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        raise ConfigError(
            name, "no such choice", got=repr(value), expected=" | ".join(choices),
            advice=f"did you mean {near[0]}?" if near else None,
        )  # fmt: skip


def whole_number(name: str, value: object, *, least: int, most: int | None = None) -> None:
    """Refuse what is no whole number from `least` to `most`.

    Raises:
        ConfigError: it is none.
    """
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):  # type: ignore[operator]
        expected = f"{least} or more" if most is None else f"{least} to {most}"
        raise ConfigError(name, "not a whole number in range", got=repr(value), expected=expected)


def real_number(name: str, value: object, *, expected: str, above: float) -> None:
    """Refuse what is no number above a bound; infinity is none.

    Raises:
        ConfigError: it is none.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not above < value < math.inf:  # type: ignore[operator]
        raise ConfigError(name, "not a number in range", got=repr(value), expected=expected)


def number_between(name: str, value: object, least: float, most: float) -> None:
    """Refuse what is no number from `least` to `most`; no whole one, where both of them are whole.

    Raises:
        ConfigError: it is none.
    """
    whole = isinstance(least, int) and isinstance(most, int)
    if whole:
        whole_number(name, value, least=int(least), most=int(most))
        return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value <= most:  # type: ignore[operator]
        raise ConfigError(
            name, "not a number in range", got=repr(value), expected=f"{least:g} to {most:g}"
        )
