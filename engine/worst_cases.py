"""Which cases of a finding are worth a picture: the worst where that is known, else a spread.

An issue carries its figures in its message alone, so they are read back from there; a message
without one is no worse than another. Then the first frame of each video comes before the second of
any: five pictures from five videos say more than five neighbours that look alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["Case", "deviations", "worst_cases"]

_NUMBER = "-?[0-9.]+(?:e[-+]?[0-9]+)?"


def _box(name: str) -> str:
    sides = (f"(?P<{name}{side}>{_NUMBER})" for side in range(4))
    return r"[\[(]" + ", ".join(sides) + r"[\])]"


# Two groups a0 and b0 (a1 and b1 ...) are compared; "by" and "factor" are a deviation as they are.
_FIGURES = {
    "area_jump": rf", (?P<factor>{_NUMBER}) times the ",
    "bbox_mismatch": f"bbox is declared as {_box('a')}, the mask's is {_box('b')}",
    "centroid_jump": rf", (?P<by>{_NUMBER}) px from that of ",
    "mask_area_mismatch": rf"declared as (?P<a0>{_NUMBER}), the mask has (?P<b0>{_NUMBER})",
    "object_flicker": r"not there for (?P<by>[0-9]+) frame",
    "timestamp_mismatch": rf"timestamp_sec is (?P<a0>{_NUMBER}), expected (?P<b0>{_NUMBER})",
}
# What a case is to be seen beside: the frame that its message names.
_BESIDE = {
    "area_jump": "of frame (?P<frame>[0-9]+)",
    "centroid_jump": "of frame (?P<frame>[0-9]+)",
    "image_repeated": "of frame (?P<frame>[0-9]+)",
    "mask_frozen": "of frame (?P<frame>[0-9]+)",
    "object_flicker": "in frames (?P<frame>[0-9]+)",
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One frame to be shown for a finding.

    Args:
        frame_id: of the frame.
        object_ids: what the finding is about in it, sorted; empty if it is about the frame.
        beside: id of the frame to compare it with; None: it speaks for itself.
    """

    frame_id: str
    object_ids: tuple[int, ...]
    beside: str | None


def worst_cases(issues: pa.Table, code: str, limit: int) -> list[Case]:
    """Choose the cases of one code to be shown.

    Args:
        issues: of `ISSUE_SCHEMA`, in any order, of any codes.
        code: of the finding.
        limit: how many frames, at most.

    Returns:
        Different frames, the worst first; empty where the finding is not about frames.
    """
    own = pc.and_(pc.equal(issues["code"], code), pc.is_valid(issues["frame_id"]))
    columns = ["frame_id", "object_id", "video_id", "message"]
    rows = issues.select(columns).filter(own).combine_chunks()
    rows = rows.sort_by([(name, "ascending") for name in ("frame_id", "object_id", "message")])
    if not len(rows):
        return []
    frames = pc.dictionary_encode(rows["frame_id"]).combine_chunks()
    frame = frames.indices.to_numpy(zero_copy_only=False)  # sorted: a frame's rows are neighbours
    order = np.lexsort((np.arange(len(rows)), _turn(rows, frame), -deviations(rows, code)))
    chosen: dict[int, int] = {}
    for place in order:
        chosen.setdefault(int(frame[place]), int(place))
        if len(chosen) == limit:
            break
    return [_case(rows, code, place, np.flatnonzero(frame == of)) for of, place in chosen.items()]


def deviations(issues: pa.Table, code: str) -> NDArray[np.float64]:
    """Read from their messages how far issues of one code are off.

    Args:
        issues: with a column `message`.
        code: of all of them.

    Returns:
        float64 (n,), 0 or more, in the code's own unit; 0 where nothing is known.
    """
    off = np.zeros(len(issues))
    if code not in _FIGURES:
        return off
    found = _extract(issues["message"], _FIGURES[code])
    if "factor" in found:
        factor = found["factor"]
        return np.maximum(factor, np.divide(1, factor, out=off, where=factor > 0))
    if "by" in found:
        return np.abs(found["by"])
    for name in (each for each in found if each.startswith("a")):
        off = np.maximum(off, np.abs(found[name] - found[f"b{name[1:]}"]))
    return off


def _extract(messages: pa.ChunkedArray, pattern: str) -> dict[str, NDArray[np.float64]]:
    """Read the named groups of a pattern as numbers; 0 where a message does not match."""
    found = pc.extract_regex(messages, pattern=pattern).combine_chunks()
    names = [found.type.field(i).name for i in range(found.type.num_fields)]
    return {name: np.array([_number(t) for t in pc.struct_field(found, name).to_pylist()])
            for name in names}  # fmt: skip


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:  # a message of another form: nothing is known of it
        return 0.0


def _turn(rows: pa.Table, frame: NDArray[np.int32]) -> NDArray[np.int64]:
    """For each row, which frame of its video it is among these, from 0; rows sorted by frame."""
    video = pc.dictionary_encode(rows["video_id"].fill_null("")).combine_chunks()
    of = video.indices.to_numpy(zero_copy_only=False)
    order = np.lexsort((frame, of))
    new_frame = np.diff(frame[order], prepend=-1) != 0
    new_video = np.diff(of[order], prepend=-1) != 0
    count = np.cumsum(new_frame | new_video)
    start = np.maximum.accumulate(np.where(new_video, count, 0))
    turn = np.empty(len(rows), np.int64)
    turn[order] = count - start
    return turn


def _case(rows: pa.Table, code: str, place: int, same: Sequence[int] | NDArray[np.int64]) -> Case:
    row = rows.slice(place, 1).to_pylist()[0]
    objects = {i for i in rows["object_id"].take(pa.array(same)).to_pylist() if i is not None}
    beside = None
    if code in _BESIDE:
        found = pc.extract_regex(pa.scalar(row["message"]), pattern=_BESIDE[code]).as_py()
        video = row["frame_id"].rpartition("/")[0]
        beside = f"{video}/{int(found['frame']):06d}" if found else None
    return Case(frame_id=row["frame_id"], object_ids=tuple(sorted(objects)), beside=beside)
