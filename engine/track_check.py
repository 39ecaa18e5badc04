"""One video from its row files to the findings of its tracks: a task of its own after the scan.

A track goes over range and export borders, so the scan cannot see it. What is read again is narrow:
masks are replaced by digests file by file, and of images only what tells equal ones apart.
"""

import hashlib
from dataclasses import dataclass, field

import pyarrow as pa

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
        files: (row file, name of its export) of all exports of the video.
        rate: frames a second of the video, as declared.
        export_rate: frames a second of the export, as declared.
        issues_path: where the issue file goes.
        thresholds: from which a jump is one.
    """

    files: tuple[tuple[str, str], ...]
    rate: float | None
    export_rate: float | None
    issues_path: str
    thresholds: Thresholds = field(default_factory=Thresholds)


def check_video(task: TrackTask) -> str:
    """Check the tracks of a video.

    Returns:
        The place of a Parquet file of `ISSUE_SCHEMA`.
    """
    frames = pa.concat_tables([_narrow(path, source) for path, source in task.files])
    found = track_issues(
        frames.select(TRACK_SCHEMA.names), task.rate, task.export_rate, task.thresholds
    )
    write_table(task.issues_path, issue_table(found))
    return task.issues_path


def _narrow(path: str, source: str) -> pa.Table:
    """Read of a row file what tracks are judged by; equal images are known by size and CRC."""
    table = read_table(path, [*_AS_THEY_ARE, "masks", *_IMAGE])
    masks = [[_digest(mask["counts"]) for mask in row] for row in table["masks"].to_pylist()]
    table = table.drop_columns("masks")
    table = table.append_column("masks", pa.array(masks, TRACK_SCHEMA.field("masks").type))
    images = [
        None if crc32 is None else f"{n_bytes} bytes, {crc32:08x}"
        for n_bytes, crc32 in zip(*(table[name].to_pylist() for name in _IMAGE), strict=True)
    ]
    table = table.append_column("image", pa.array(images, pa.string()))
    return table.append_column("source", pa.array([source] * len(table), pa.string()))


def _digest(counts: str) -> int:
    """Make 64 bits of a mask: two of a track are compared, so none will ever be equal by chance."""
    digest = hashlib.blake2b(counts.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
