"""The assignment as split.json holds it: readable, short, and enough to make the same split again.

A split is a table of videos, a video a table of splits, and each of these a list of stretches of
`frame_index`: `0-5,7,12-60:6` is 0 to 5, 7, and every sixth from 12 to 60, ends included. The
assignment does not hang on an algorithm or its version: it is what was decided.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import ConfigError

__all__ = [
    "ASSIGNED",
    "check_split_file",
    "format_ranges",
    "parse_ranges",
    "read_assignment",
    "write_assignment",
]

_Int = npt.NDArray[np.int64]

_PIECE = re.compile(r"(-?\d{1,18})(?:-(-?\d{1,18})(?::(\d{1,18}))?)?")
_MOST_FRAMES = 1 << 27  # 134 million: a range in a damaged file must not fill the memory
ASSIGNED = ("train", "validation", "test", "excluded")
"""What a frame can be assigned to, in the order of the codes."""

_MOST_FOLDS = 100
_STRATEGIES = ("stratified", "temporal", "random")
_GROUPINGS = ("none", "video", "content")


def format_ranges(values: _Int) -> str:
    """Write numbers as stretches.

    Args:
        values: int64 (n,), rising.

    Returns:
        Stretches of two or more with step 1, of three or more with another step; "" for none.
    """
    if not len(values):
        return ""
    steps = np.diff(values)
    changes = np.flatnonzero(np.diff(steps)) + 1
    starts = np.concatenate(([0], changes)).tolist() if len(steps) else []
    stops = np.append(changes, len(steps)).tolist() if len(steps) else []
    plain, step_of = values.tolist(), steps.tolist()
    parts, free = [], 0  # values before `free` are written
    for start, stop in zip(starts, stops, strict=True):
        first, step = max(start, free), step_of[start]
        if stop - first < (1 if step == 1 else 2):
            continue
        parts += [str(value) for value in plain[free:first]]
        parts.append(f"{plain[first]}-{plain[stop]}" + (f":{step}" if step != 1 else ""))
        free = stop + 1
    parts += [str(value) for value in plain[free:]]
    return ",".join(parts)


def parse_ranges(text: str, where: str = "split file") -> _Int:
    """Read stretches back.

    Args:
        text: as `format_ranges` writes it.
        where: named in the error.

    Returns:
        int64 (n,), in the order of the text.

    Raises:
        ConfigError: it is nothing of the kind, or names more than 134 million frames.
    """
    pieces, count = [], 0
    for part in text.split(",") if text else []:
        match = _PIECE.fullmatch(part.strip())
        if match is None:
            raise ConfigError(where, "not a stretch of frame indices", got=repr(part[:40]),
                              expected="for example 0-5,7,12-60:6")  # fmt: skip
        first = int(match[1])
        last, step = int(match[2] or first), int(match[3] or 1)
        if last < first or step < 1:
            raise ConfigError(where, "a stretch goes backwards", got=repr(part[:40]))
        count += (last - first) // step + 1
        if count > _MOST_FRAMES:
            raise ConfigError(where, "names too many frames", expected=f"at most {_MOST_FRAMES}")
        pieces.append(np.arange(first, last + 1, step, dtype=np.int64))
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int64)


def check_split_file(document: Mapping[str, Any]) -> None:
    """Refuse what cannot be the content of a split.json, before anything is read.

    Raises:
        ConfigError: it has no assignment, or says something else that cannot be.
    """
    table = document.get("assignment")
    if not isinstance(table, Mapping):
        raise ConfigError(
            "split_file", "has no assignment", expected="a split.json of a prepared dataset"
        )
    for key in ("assignment", "set_aside"):
        for video, row in _table(document, key).items():
            for name, text in _mapping(row, f"split_file: {key}: {video}").items():
                if name not in ASSIGNED or not isinstance(text, str):
                    raise ConfigError(
                        f"split_file: {key}: {video}", "no such split",
                        got=repr(name)[:40], expected=" | ".join(ASSIGNED),
                    )  # fmt: skip
    for key, choices in (("strategy", _STRATEGIES), ("group_by", _GROUPINGS)):
        if document.get(key, choices[0]) not in choices:
            got = repr(document[key])[:40]
            raise ConfigError(f"split_file: {key}", "no such choice", got=got,
                              expected=" | ".join(choices))  # fmt: skip
    seed, gap = document.get("seed", 0), document.get("gap_sec")
    if not isinstance(seed, int) or not isinstance(gap, int | float | None):
        raise ConfigError("split_file", "seed and gap_sec are not numbers")
    folds = _mapping(document.get("folds") or {}, "split_file: folds")
    for video, row in _table(folds, "assignment").items():
        for name, text in _mapping(row, f"split_file: folds: {video}").items():
            if not isinstance(text, str) or not re.fullmatch(r"\d{1,2}", str(name)):
                raise ConfigError(f"split_file: folds: {video}", "no such fold",
                                  got=repr(name)[:40])  # fmt: skip
    if folds and not (isinstance(folds.get("count"), int) and 2 <= folds["count"] <= _MOST_FOLDS):
        raise ConfigError("split_file: folds", "count is no number of folds",
                          expected=f"2 to {_MOST_FOLDS}")  # fmt: skip


def _table(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return _mapping(document.get(key, {}), f"split_file: {key}")


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(where, "is no table", got=type(value).__name__)
    return value


def read_assignment(
    tables: Sequence[Mapping[str, Any]], names: Sequence[str] = ASSIGNED
) -> dict[str, tuple[_Int, npt.NDArray[np.int8]]]:
    """Read which frame is put where.

    Args:
        tables: by video, then by name, stretches of frame indices.
        names: that count; others are left out.

    Returns:
        By video: frame indices, int64 (n,), rising; and the place of each one's name in `names`,
        int8 (n,).

    Raises:
        ConfigError: a frame is named twice, or a stretch cannot be read.
    """
    result: dict[str, tuple[_Int, npt.NDArray[np.int8]]] = {}
    for video in sorted({name for table in tables for name in table}):
        where = f"split_file: {video}"
        frames, codes = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int8)]
        rows = [table[video] for table in tables if video in table]
        for row, (code, name) in product(rows, enumerate(names)):
            if name in row:
                frames.append(parse_ranges(row[name], where))
                codes.append(np.full(len(frames[-1]), code, dtype=np.int8))
        values = np.concatenate(frames)
        order = np.argsort(values, kind="stable")
        twice = values[order][1:][np.diff(values[order]) == 0]
        if len(twice):
            raise ConfigError(where, f"frame {int(twice[0])} is named twice")
        result[video] = (values[order], np.concatenate(codes)[order])
    return result


def write_assignment(
    videos: npt.NDArray[Any],
    frame_index: _Int,
    codes: npt.NDArray[np.int8],
    names: Sequence[str] = ASSIGNED,
) -> dict[str, dict[str, str]]:
    """Say which frame is put where, as `read_assignment` reads it.

    Args:
        videos: (n,), name of each frame's video; equal ones beside each other.
        frame_index: int64 (n,), rising in each video.
        codes: int8 (n,), place in `names`; -1: the frame is not mentioned.
        names: of what frames are assigned to.

    Returns:
        By video, then by name; what has no frame is left out.
    """
    table: dict[str, dict[str, str]] = {}
    edges = np.flatnonzero(videos[1:] != videos[:-1]) + 1
    for start, stop in pairwise([0, *edges.tolist(), len(videos)]):
        own, frames = codes[start:stop], frame_index[start:stop]
        row = {
            name: format_ranges(np.unique(frames[own == code]))
            for code, name in enumerate(names)
            if (own == code).any()
        }
        if row:
            table[str(videos[start])] = row
    return table
