"""One video from its row files to the findings of its tracks: a task of its own after the scan.

A track goes over range and export borders, so the scan cannot see it. What is read again is narrow:
masks are replaced by digests file by file, and of images only what tells equal ones apart.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.measures import note_findings
from engine.records import issue_table
from engine.tables import read_table, write_table
from engine.thresholds import Thresholds
from engine.tracks import TRACK_SCHEMA, track_issues

__all__ = ["TrackTask", "check_video"]

_AS_THEY_ARE = [name for name in TRACK_SCHEMA.names if name not in ("source", "masks", "image")]
_IMAGE = ["image_bytes", "image_crc32"]


@dataclass(frozen=True, kw_only=True)
class TrackTask:
    """One video whose frames have been scanned.

    Args:
        files: where its frames are: (row file, rows in it).
        sources: names of their exports, by content digest.
        rate: frames a second of the video, as declared.
        export_rate: frames a second of the export, as declared.
        issues_path: where the issue file goes.
        thresholds: from which a jump is one.
    """

    files: tuple[tuple[str, NDArray[np.int64]], ...]
    sources: Mapping[str, str]
    rate: float | None
    export_rate: float | None
    issues_path: str
    thresholds: Thresholds = field(default_factory=Thresholds)


def check_video(task: TrackTask) -> str:
    """Check the tracks of a video.

    Returns:
        The place of a Parquet file of `ISSUE_SCHEMA`.
    """
    frames = pa.concat_tables([_narrow(path, rows, task.sources) for path, rows in task.files])
    found = track_issues(
        frames.select(TRACK_SCHEMA.names), task.rate, task.export_rate, task.thresholds
    )
    note_findings(issue.code for issue in found)
    write_table(task.issues_path, issue_table(found))
    return task.issues_path


def _narrow(path: str, rows: NDArray[np.int64], sources: Mapping[str, str]) -> pa.Table:
    """Read of a row file what tracks are judged by; equal images are known by size and CRC."""
    columns = [*_AS_THEY_ARE, "masks", *_IMAGE, "export_digest"]
    table = read_table(path, columns).take(pa.array(rows))
    masks = [[_digest(mask["counts"]) for mask in row] for row in table["masks"].to_pylist()]
    table = table.drop_columns("masks")
    table = table.append_column("masks", pa.array(masks, TRACK_SCHEMA.field("masks").type))
    images = [
        None if crc32 is None else f"{n_bytes} bytes, {crc32:08x}"
        for n_bytes, crc32 in zip(*(table[name].to_pylist() for name in _IMAGE), strict=True)
    ]
    table = table.append_column("image", pa.array(images, pa.string()))
    names = [sources.get(digest, "") for digest in table["export_digest"].to_pylist()]
    return table.append_column("source", pa.array(names, pa.string()))


def _digest(counts: str) -> int:
    """Make 64 bits of a mask: two of a track are compared, so none will ever be equal by chance."""
    digest = hashlib.blake2b(counts.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
