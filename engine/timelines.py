"""Which videos get a timeline, and what is drawn in it: bounded, whatever the corpus.

A page cannot show ten thousand videos of ten thousand frames. The videos with the most findings
come first, errors before warnings; a long video is drawn in columns of several frames each; of
many objects those with findings and the longest are shown. What is left out is counted.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.findings import CODES, Severity
from engine.report_material import Mark, Timeline, Track

__all__ = ["choose_videos", "columns_of", "marks_of", "timeline"]

_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")
_VIDEOS, _TRACKS, _COLUMNS = 12, 16, 160
_RANK = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}

_Visible = Mapping[tuple[int, str, int], int]
"""Frames by (object id, label, column) in which that object is visible."""


def choose_videos(
    video_ids: Iterable[str], issues: pa.Table, severities: Mapping[str, str]
) -> list[tuple[str, int]]:
    """Choose the videos to be drawn.

    Args:
        video_ids: all of them, in any order.
        issues: of `ISSUE_SCHEMA`.
        severities: by code, as in the report; the codes' own where it does not say.

    Returns:
        (video id, number of its findings), those with the most errors first, then warnings, then
        by id.
    """
    found: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    counted = issues.select(["video_id", "code"]).group_by(["video_id", "code"])
    for row in counted.aggregate([([], "count_all")]).to_pylist():
        if row["video_id"] is not None:
            found[row["video_id"]][_rank(row["code"], severities)] += row["count_all"]
    order = sorted(video_ids, key=lambda v: ([-n for n in found[v]] if v in found else [0] * 3, v))
    return [(video, sum(found[video]) if video in found else 0) for video in order[:_VIDEOS]]


def _rank(code: str, severities: Mapping[str, str]) -> int:
    return _RANK[Severity(severities.get(code, CODES[code].severity))]


def columns_of(frames: int) -> NDArray[np.int64]:
    """Give the column of each frame of a video, int64 (frames,), from 0, never falling.

    As many columns as frames if they fit; else all columns of nearly the same number of frames.
    """
    return np.arange(frames, dtype=np.int64) * min(frames, _COLUMNS) // max(frames, 1)


def marks_of(
    issues: pa.Table, columns: Mapping[str, int], severities: Mapping[str, str]
) -> tuple[Mark, ...]:
    """Gather the errors and warnings of one video by column; notes are nothing to look at.

    Args:
        issues: of `ISSUE_SCHEMA`, of this video; those without a frame are left out.
        columns: by frame id.
        severities: by code, as in the report; the codes' own where it does not say.
    """
    codes: defaultdict[int, Counter[str]] = defaultdict(Counter)
    objects: defaultdict[int, set[int]] = defaultdict(set)
    for row in issues.select(["code", "frame_id", "object_id"]).to_pylist():
        column = columns.get(row["frame_id"])
        if column is not None and _rank(row["code"], severities) < _RANK[Severity.NOTE]:
            codes[column][row["code"]] += 1
            if row["object_id"] is not None:
                objects[column].add(row["object_id"])
    names = [str(severity) for severity in _RANK]
    return tuple(
        Mark(
            column=column,
            severity=names[min(_rank(code, severities) for code in codes[column])],
            codes=tuple(sorted(codes[column].items())),
            objects=tuple(sorted(objects[column])),
        )
        for column in sorted(codes)
    )


def timeline(
    video_id: str,
    indices: Sequence[int | None],
    visible: _Visible,
    marks: tuple[Mark, ...],
    findings: int,
) -> Timeline:
    """Lay out one video.

    Args:
        video_id: of the video.
        indices: frame index of each frame, in order; None where a frame has none.
        visible: which object is visible where.
        marks: as `marks_of` gives them.
        findings: in this video.
    """
    columns = columns_of(len(indices))
    count = int(columns[-1]) + 1 if len(columns) else 0
    in_column = np.bincount(columns, minlength=count)
    starts, stops = (np.searchsorted(columns, np.arange(count), side) for side in _SIDES)
    seen: defaultdict[tuple[int, str], dict[int, int]] = defaultdict(dict)
    for (object_id, label, column), frames in visible.items():
        seen[object_id, label][column] = frames
    about = Counter(i for mark in marks for i in mark.objects)
    order = sorted(seen, key=lambda key: (-about[key[0]], -sum(seen[key].values()), key))
    return Timeline(
        video_id=video_id,
        frames=len(indices),
        indices=tuple((indices[a], indices[b - 1]) for a, b in zip(starts, stops, strict=True)),
        tracks=tuple(
            Track(
                object_id=key[0],
                label=key[1],
                whole=_stretches(c for c, n in seen[key].items() if n == in_column[c]),
                partly=_stretches(c for c, n in seen[key].items() if n < in_column[c]),
                frames=sum(seen[key].values()),
            )
            for key in sorted(order[:_TRACKS])
        ),
        tracks_omitted=max(0, len(order) - _TRACKS),
        marks=marks,
        findings=findings,
    )


def _stretches(columns: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Join columns that touch to half-open stretches."""
    found: list[tuple[int, int]] = []
    for column in sorted(columns):
        if found and found[-1][1] == column:
            found[-1] = (found[-1][0], column + 1)
        else:
            found.append((column, column + 1))
    return tuple(found)
