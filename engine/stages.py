"""What workers do with frames first: scan a range of an export.

A plain function of plain records, without Ray: it runs the same in this process, on a laptop's
cores and on a cluster. It writes its result to storage and returns a small record, so that no
mask and no image ever travels through the driver. A data problem becomes an `Issue`; only an
export that cannot be read at all raises.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from engine.apart import UNREAD, Care, each_apart
from engine.byte_ranges import reading_ahead
from engine.child_process import Died
from engine.frame_check import FrameCheck
from engine.frame_json import Masklets
from engine.label_map import LabelMap
from engine.mask_check import MaskReading, check_masks
from engine.measures import note, note_findings
from engine.pixels import UNREADABLE
from engine.policy import Policy
from engine.records import FRAME_SCHEMA, RangeFile, issue_table
from engine.tables import read_table, write_table
from engine.thresholds import Thresholds

__all__ = ["ScanResult", "ScanTask", "all_readable", "scan_range"]


@dataclass(frozen=True, kw_only=True)
class ScanTask:
    """One range of an export's frames to be checked.

    Args:
        range: the frame records.
        source: the export, for issues.
        export_digest: of its content.
        video_id: final id of the video.
        video_size: (height, width) as declared; None where it is not.
        reading: grid and order of its masks.
        check_images: "header" leaves the rest to the writing; "structure" and "decode" read all.
        rows_path: where the row file goes.
        issues_path: where the issue file goes.
        masklets: of an SA-V file; None for any other.
        label_map: the user's names for labels.
        policy: what is an error.
        black_level: of 255, what counts as black.
        care: for a range that has killed workers.
    """

    range: RangeFile
    source: str
    export_digest: str
    video_id: str
    video_size: tuple[int, int] | None
    reading: MaskReading
    check_images: str
    rows_path: str
    issues_path: str
    masklets: Masklets | None = None
    label_map: LabelMap = field(default_factory=LabelMap)
    policy: Policy = field(default_factory=Policy)
    black_level: int = Thresholds.black_level
    care: Care = Care.NONE


@dataclass(frozen=True, kw_only=True)
class ScanResult:
    """What a scan left behind.

    Args:
        rows_path: a Parquet file of `FRAME_SCHEMA`.
        issues_path: a Parquet file of `ISSUE_SCHEMA`.
        frames: rows written.
        map_keys: of the label map that named an object, sorted.
    """

    rows_path: str
    issues_path: str
    frames: int
    map_keys: tuple[str, ...] = ()


def scan_range(task: ScanTask) -> ScanResult:
    """Check a range of frame records and write one row a frame, with what was found."""
    records = read_table(task.range.path).to_pylist()
    careful = task.care is not Care.NONE
    frames = list(_with_care(task, records)) if careful else _checked(task, records)
    rows = [frame.row() | {"export_digest": task.export_digest} for frame in frames]
    issues = issue_table([issue for frame in frames for issue in frame.issues])
    note("frames_checked", len(rows))
    note_findings(issue.code for frame in frames for issue in frame.issues)
    write_table(task.rows_path, pa.Table.from_pylist(rows, schema=FRAME_SCHEMA), durable=False)
    write_table(task.issues_path, issues, durable=False)
    keys = sorted(set().union(*(frame.keys_used for frame in frames)))
    return ScanResult(
        rows_path=task.rows_path, issues_path=task.issues_path, frames=len(rows),
        map_keys=tuple(keys),
    )  # fmt: skip


def all_readable(_task: ScanTask, result: ScanResult) -> bool:
    """Say whether every image could be read; such a one may be repaired since then."""
    codes = read_table(result.issues_path, ["code"])["code"].to_pylist()
    return UNREADABLE not in codes


def _checked(task: ScanTask, records: Iterable[dict[str, Any]]) -> list[FrameCheck]:
    frames = [_begun(task, record) for record in records]
    ranges = (frame.image_range(task.check_images) for frame in frames)
    with reading_ahead([each for each in ranges if each is not None]):
        for frame in frames:
            frame.look_at_image(task.check_images)
    wanted = [(frame, *one) for frame in frames for one in frame.masks_to_check()]
    note("masks_checked", len(wanted))
    checked = check_masks([mask for _, _, mask in wanted], task.reading)
    for (frame, place, _), outcome in zip(wanted, checked, strict=True):
        frame.take_mask(place, outcome)
    return frames


def _begun(task: ScanTask, record: dict[str, Any]) -> FrameCheck:
    return FrameCheck(
        record, source=task.source, video_id=task.video_id, video_size=task.video_size,
        masklets=task.masklets, label_map=task.label_map, policy=task.policy,
        black_level=task.black_level,
    )  # fmt: skip


def _with_care(task: ScanTask, records: list[dict[str, Any]]) -> Iterator[FrameCheck]:
    """Check each frame in a process of its own, or none: one that kills it stays unread."""
    if task.care is Care.UNREAD:
        outcomes: Iterable[Any] = [None] * len(records)
    else:
        outcomes = each_apart(partial(_checked, task), ([record] for record in records))
    for record, outcome in zip(records, outcomes, strict=True):
        if outcome is not None and not isinstance(outcome, Died):
            yield outcome[0]
            continue
        frame = _begun(task, record)
        frame.leave_unread(outcome.sentence if outcome else UNREAD)
        yield frame
