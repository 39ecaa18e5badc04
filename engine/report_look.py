"""One look at a row file for the report: counts, who is visible when, and some pictures.

A task of its own at the end of a run, because only then is it known which frames are published and
which findings there are. Everything a page needs of rows and images is read here, so that neither
travels through the driver; what comes back is a few counts and pictures of bounded size.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.apart import Care, each_apart
from engine.frame_tally import TALLY_COLUMNS, Tally, tally
from engine.image_files import as_jpeg
from engine.members import MemberError
from engine.pixels import is_jpeg
from engine.prepared_rows import read_image, take_rows
from engine.tables import read_table
from engine.thumbnails import DrawnMask, thumbnail

__all__ = ["LookTask", "Looked", "Shot", "Shown", "look_at_rows"]

_NO_IMAGE = "there is no image"


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One picture to be made.

    Args:
        number: tells it from the others of the run.
        row: of the row file.
        object_ids: to be outlined strongly; the frame's other objects are outlined faintly.
        labels: of objects to be outlined strongly; without ids and labels, all are.
        bare: nothing is to be drawn.
        jpeg: the dataset holds the image as a JPEG made of it.
    """

    number: int
    row: int
    object_ids: tuple[int, ...] = ()
    labels: frozenset[str] = frozenset()
    bare: bool = False
    jpeg: bool = False


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A picture that was made, or why it could not be.

    Args:
        data: WebP; None where nothing can be shown.
        width: px.
        height: px.
        missing: why there is nothing; None if there is.
    """

    data: bytes | None
    width: int = 0
    height: int = 0
    missing: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class LookTask:
    """One row file to be looked at.

    Args:
        path: a Parquet file of `FRAME_SCHEMA`, or one of `OUT/index`.
        counted: rows that the figures are about.
        rows: rows that are in a timeline.
        videos: the timeline of each of `rows`.
        columns: the column of each of `rows` in it.
        shots: pictures to be made.
        care: for one that has killed workers.
    """

    path: str
    counted: NDArray[np.int64]
    rows: NDArray[np.int64]
    videos: NDArray[np.int64]
    columns: NDArray[np.int64]
    shots: tuple[Shot, ...]
    care: Care = Care.NONE


@dataclass(frozen=True, kw_only=True, eq=False)
class Looked:
    """What was seen.

    Args:
        tally: over `counted`.
        visible: frames by (timeline, object id, label, column) in which that object is visible.
        shown: pictures by their number.
    """

    tally: Tally
    visible: Mapping[tuple[int, int, str, int], int]
    shown: Mapping[int, Shown]


def look_at_rows(task: LookTask) -> Looked:
    """Count, follow and picture the frames of one row file."""
    columns = [*TALLY_COLUMNS, "object_ids", "labels"]
    frames = read_table(task.path, columns)
    return Looked(
        tally=tally(frames.select(TALLY_COLUMNS).take(pa.array(task.counted))),
        visible=_visible(task, frames.select(["object_ids", "labels"])),
        shown=_shown(task),
    )


def _visible(task: LookTask, frames: pa.Table) -> dict[tuple[int, int, str, int], int]:
    seen: Counter[tuple[int, int, str, int]] = Counter()
    wanted = frames.take(pa.array(task.rows)).to_pylist()
    for row, video, column in zip(wanted, task.videos, task.columns, strict=True):
        ids, labels = row["object_ids"] or (), row["labels"] or ()
        seen.update(
            {
                (int(video), object_id, label, int(column))
                for object_id, label in zip(ids, labels, strict=True)
                if object_id is not None and label is not None  # a finding says so
            }
        )
    return dict(seen)


def _shown(task: LookTask) -> dict[int, Shown]:
    if not task.shots:
        return {}
    rows = take_rows(task.path, np.array([shot.row for shot in task.shots])).to_pylist()
    wanted = zip(task.shots, rows, strict=True)
    made: Iterable[Any]
    if task.care is Care.UNREAD:
        made = [None] * len(rows)
    else:
        made = (map if task.care is Care.NONE else each_apart)(_picture, wanted)
    crashed = Shown(data=None, missing="the image cannot be decoded")
    return {
        shot.number: shown if isinstance(shown, Shown) else crashed
        for shot, shown in zip(task.shots, made, strict=True)
    }


def _picture(item: tuple[Shot, Mapping[str, Any]]) -> Shown:
    shot, row = item
    if row["image_source"] is None:
        return Shown(data=None, missing=_NO_IMAGE)
    try:
        data = read_image(row)
    except MemberError:
        data = None
    if data is None:
        return Shown(data=None, missing="the image cannot be read")
    if shot.jpeg and not is_jpeg(data):
        data = as_jpeg(data, row["id"])
    made = thumbnail(data, [] if shot.bare else _masks(shot, row))
    if made is None:
        return Shown(data=None, missing="the image cannot be decoded")
    return Shown(data=made[0], width=made[1], height=made[2])


def _masks(shot: Shot, row: Mapping[str, Any]) -> list[DrawnMask]:
    everything = not shot.object_ids and not shot.labels
    return [
        DrawnMask(
            counts=mask["counts"], size=tuple(mask["size"]),
            accent=everything or object_id in shot.object_ids or label in shot.labels,
        )
        for mask, object_id, label in zip(
            row["masks"], row["object_ids"], row["labels"], strict=True
        )
    ]  # fmt: skip
