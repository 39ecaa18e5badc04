"""Where strings and brackets are in a piece of JSON text, by numpy over whole pieces.

The manner of simdjson's first stage (Langdale and Lemire, "Parsing Gigabytes of JSON per Second",
2019): backslashes settle which quotes count, the parity of the quotes before it says whether a
bracket stands in a string. UTF-8 needs no decoding: a multi-byte character has no byte below 0x80.
"""

import re

import numpy as np
import numpy.typing as npt
import orjson

__all__ = ["Positions", "find_structure", "key_text", "top_level_keys"]

Positions = npt.NDArray[np.int64]

_PIECE_BYTES = 4 * 2**20  # the working arrays take some four times as much
_QUOTE, _BACKSLASH = 0x22, 0x5C
_NEXT_COLON = re.compile(rb"[ \t\r\n]*:")


def key_text(literal: bytes) -> str:
    """Give the text of a string literal with its quotes; what is wrong in it is replaced."""
    try:
        return str(orjson.loads(literal))
    except orjson.JSONDecodeError:
        return literal[1:-1].decode("utf-8", "replace")


def top_level_keys(document: bytes) -> list[str]:
    """List the keys of the top-level object in file order, repeated ones too.

    Args:
        document: one JSON object whose quotes and brackets match.
    """
    in_string = escaped = False
    depth = 0
    marks: list[int] = []  # quotes of strings directly in the top-level object
    for start in range(0, len(document), _PIECE_BYTES):
        data = np.frombuffer(document, np.uint8, min(_PIECE_BYTES, len(document) - start), start)
        quotes, brackets, in_string, escaped = find_structure(data, in_string, escaped)
        steps = np.where((data[brackets] & 0x06) == 0x02, 1, -1)
        depths = depth + np.concatenate([[0], np.cumsum(steps)])
        marks += (start + quotes[depths[np.searchsorted(brackets, quotes)] == 1]).tolist()
        depth = int(depths[-1])
    return [
        key_text(document[first : last + 1])
        for first, last in zip(marks[::2], marks[1::2], strict=True)
        if _NEXT_COLON.match(document, last + 1)
    ]


def find_structure(
    data: npt.NDArray[np.uint8], in_string: bool, escaped: bool
) -> tuple[Positions, Positions, bool, bool]:
    """Find the quotes and brackets that count.

    Args:
        data: a piece of JSON text.
        in_string: it starts inside a string.
        escaped: its first byte stands behind a backslash that counts.

    Returns:
        Positions of the quotes that begin or end a string; positions of the brackets outside of
        strings; `in_string` and `escaped` for the next piece.
    """
    quotes = np.flatnonzero(data == _QUOTE)
    slashes = np.flatnonzero(data == _BACKSLASH)
    if escaped:
        slashes = np.concatenate([[-1], slashes])
    escaped = False
    if len(slashes):
        # In a run of backslashes the first, third, ... escapes what follows.
        is_first = np.diff(slashes, prepend=-3) != 1
        first = np.maximum.accumulate(np.where(is_first, slashes, -1))
        behind = slashes[(slashes - first) % 2 == 0] + 1
        escaped = bool(behind[-1] == len(data))
        neutral = np.zeros(len(data) + 1, dtype=np.bool_)
        neutral[behind] = True
        quotes = quotes[~neutral[quotes]]
    folded = data | 0x20  # brings [ and ] onto { and }
    brackets = np.flatnonzero((folded == 0x7B) | (folded == 0x7D))
    inside = np.searchsorted(quotes, brackets) % 2 != in_string
    return quotes, brackets[~inside], in_string ^ bool(len(quotes) % 2), escaped
