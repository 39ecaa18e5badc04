"""JSON in ASCII: several trainers open their files without saying an encoding.

Trade-off: orjson writes UTF-8 and cannot be told otherwise; nearly all of a dataset is ASCII
anyway, so that only what is not is written again by the slow way.
"""

import json
from typing import Any

import orjson

__all__ = ["ascii_json", "json_line"]


def ascii_json(value: Any) -> bytes:
    """Encode a value without blanks, everything beyond ASCII escaped.

    Args:
        value: JSON types; numbers are finite.
    """
    data = orjson.dumps(value)
    if data.isascii():
        return data
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()


def json_line(value: Any) -> bytes:
    """Encode a value as one line, with its line break."""
    return ascii_json(value) + b"\n"
