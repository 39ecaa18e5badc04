"""What workers do with frames: scan a range of an export, write a shard of the dataset.

Plain functions of plain records, without Ray: they run the same in this process, on a laptop's
cores and on a cluster. Each writes its result to storage and returns a small record, so that no
mask and no image ever travels through the driver. A data problem becomes an `Issue`; only an
export that cannot be read at all raises.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.conversations import VisibleObject, converse, messages
from engine.frame_check import FrameCheck, image_member, image_problem
from engine.frame_json import Masklets
from engine.hf_layout import COLUMNS, QUARANTINE_COLUMNS, arrow_schema, row_batch
from engine.mask_check import MaskReading, check_masks
from engine.members import MemberError, read_member
from engine.policy import Policy
from engine.records import FRAME_SCHEMA, Issue, RangeFile, issue_table
from engine.storage import AtomicFile, FileDigest, file_name
from engine.tables import read_table, write_table
from engine.thresholds import Thresholds

__all__ = [
    "ScanResult",
    "ScanTask",
    "ShardResult",
    "ShardTask",
    "scan_range",
    "write_shard",
]

# One record batch: small enough for a shard to be written in bounded memory.
_BATCH_BYTES = 16 * 2**20
_BATCH_ROWS = 256


@dataclass(frozen=True, kw_only=True)
class ScanTask:
    """One range of an export's frames to be checked.

    Args:
        range: the frame records.
        source: the export, for issues.
        video_id: final id of the video.
        video_size: (height, width) as declared; None where it is not.
        reading: grid and order of its masks.
        check_images: "header" leaves the rest to the writing; "structure" and "decode" read all.
        rows_path: where the row file goes.
        issues_path: where the issue file goes.
        masklets: of an SA-V file; None for any other.
        policy: what is an error.
        black_level: of 255, what counts as black.
    """

    range: RangeFile
    source: str
    video_id: str
    video_size: tuple[int, int] | None
    reading: MaskReading
    check_images: str
    rows_path: str
    issues_path: str
    masklets: Masklets | None = None
    policy: Policy = field(default_factory=Policy)
    black_level: int = Thresholds.black_level


@dataclass(frozen=True, kw_only=True)
class ScanResult:
    """What a scan left behind.

    Args:
        rows_path: a Parquet file of `FRAME_SCHEMA`.
        issues_path: a Parquet file of `ISSUE_SCHEMA`.
        frames: rows written.
    """

    rows_path: str
    issues_path: str
    frames: int


def scan_range(task: ScanTask) -> ScanResult:
    """Check a range of frame records and write one row a frame, with what was found."""
    frames = [
        FrameCheck(
            record, source=task.source, video_id=task.video_id, video_size=task.video_size,
            masklets=task.masklets, policy=task.policy, black_level=task.black_level,
        )
        for record in read_table(task.range.path).to_pylist()
    ]  # fmt: skip
    for frame in frames:
        frame.look_at_image(task.check_images)
    wanted = [(frame, *one) for frame in frames for one in frame.masks_to_check()]
    checked = check_masks([mask for _, _, mask in wanted], task.reading)
    for (frame, place, _), outcome in zip(wanted, checked, strict=True):
        frame.take_mask(place, outcome)
    rows = [frame.row() for frame in frames]
    issues = issue_table([issue for frame in frames for issue in frame.issues])
    write_table(task.rows_path, pa.Table.from_pylist(rows, schema=FRAME_SCHEMA), durable=False)
    write_table(task.issues_path, issues, durable=False)
    return ScanResult(rows_path=task.rows_path, issues_path=task.issues_path, frames=len(rows))


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """One output file to be written.

    Args:
        path: where it goes.
        name: its name in the manifest.
        rows: (row file, rows in it) in the order of the shard.
        seed: of the texts.
        box_style: how texts write boxes.
        check_images: "header", "structure" or "decode".
        reasons: for a quarantine shard, why each row was set aside; None for a shard to train on.
    """

    path: str
    name: str
    rows: tuple[tuple[str, np.ndarray[Any, Any]], ...]
    seed: int
    box_style: str
    check_images: str
    reasons: tuple[tuple[str, ...], ...] | None = None


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """What the writing of a shard came to.

    Args:
        digest: of the file.
        rows: written.
        objects: visible instances in them.
        left_out: places in the shard whose image turned out bad; always empty in a quarantine.
        issues: why.
        image_bytes: taken over.
    """

    digest: FileDigest
    rows: int
    objects: int
    left_out: tuple[int, ...]
    issues: tuple[Issue, ...]
    image_bytes: int


def write_shard(task: ShardTask) -> ShardResult:
    """Write one Arrow file: rows in the plan's order, image bytes unchanged.

    An image whose CRC, end or (where asked for) pixels are bad is left out and reported; in a
    quarantine its row stays, without the image. The file is not waited for to be on the disk.
    """
    frames = pa.concat_tables(
        [read_table(file).take(pa.array(rows)) for file, rows in task.rows]
    ).combine_chunks()
    keep_all = task.reasons is not None
    schema = arrow_schema(QUARANTINE_COLUMNS if keep_all else COLUMNS)
    issues: list[Issue] = []
    left_out: list[int] = []
    image_bytes = objects = 0
    with (
        AtomicFile(task.path, name=task.name, durable=False) as sink,
        pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), schema) as stream,
    ):
        for images in _image_batches(task, frames):
            issues += [image.issue for image in images if image.issue]
            left_out += [image.place for image in images if image.data is None]
            kept = [image for image in images if keep_all or image.data is not None]
            batch = frames.take(pa.array([image.place for image in kept], pa.int64()))
            texts = _texts(task, batch, kept)
            pairs = [(image.data, image.name) for image in kept]
            if kept:
                stream.write_batch(row_batch(schema, batch, pairs, texts))
                objects += pc.sum(pc.list_value_length(batch["labels"])).as_py() or 0
            image_bytes += sum(len(image.data or b"") for image in kept)
    return ShardResult(
        digest=sink.digest(),
        rows=len(frames) - (0 if keep_all else len(left_out)),
        objects=objects,
        left_out=() if keep_all else tuple(left_out),
        issues=tuple(issues),
        image_bytes=image_bytes,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Image:
    """An image read for a row: its bytes, or None and why not."""

    place: int
    data: bytes | None
    name: str | None
    issue: Issue | None = None


def _image_batches(task: ShardTask, frames: pa.Table) -> Iterator[list[_Image]]:
    """Read the images of a shard, as many at a time as make one record batch."""
    columns = [name for name in FRAME_SCHEMA.names if name.startswith("image_")]
    rows = frames.select(["id", "video_id", "frame_index", *columns]).to_pylist()
    batch: list[_Image] = []
    n_bytes = 0
    for place, row in enumerate(rows):
        image = _read_image(task, place, row)
        batch.append(image)
        n_bytes += len(image.data or b"")
        if n_bytes >= _BATCH_BYTES or len(batch) == _BATCH_ROWS:
            yield batch
            batch, n_bytes = [], 0
    if batch:
        yield batch


def _read_image(task: ShardTask, place: int, row: dict[str, Any]) -> _Image:
    if row["image_source"] is None:  # only a quarantined row has no image
        return _Image(place=place, data=None, name=None)
    name = row["image_name"].rsplit("/", 1)[-1]
    try:
        data = read_member(row["image_source"], image_member(row))
        problem = image_problem(data, task.check_images)
    except MemberError as error:
        problem = ("image_unreadable", error.complaint)
    if problem is None:
        return _Image(place=place, data=data, name=name)
    code, message = problem
    if task.reasons is not None and any(r.startswith(f"{code}:") for r in task.reasons[place]):
        return _Image(place=place, data=None, name=name)
    issue = Issue(
        code=code, source=file_name(row["image_source"]), video_id=row["video_id"],
        frame_id=row["id"], frame_index=row["frame_index"], message=message,
    )  # fmt: skip
    return _Image(place=place, data=None, name=name, issue=issue)


def _texts(task: ShardTask, frames: pa.Table, images: list[_Image]) -> dict[str, list[Any]]:
    """Make the columns that are neither in the frame rows nor the image."""
    if task.reasons is not None:
        found = [[image.issue] if image.issue else [] for image in images]
        reasons = [
            [*task.reasons[image.place], *(f"{issue.code}: {issue.message}" for issue in issues)]
            for image, issues in zip(images, found, strict=True)
        ]
        return {"reasons": reasons}
    columns = ["id", "width", "height", "labels", "bounding_boxes", "areas"]
    turns = [
        converse(
            seed=task.seed,
            frame_id=row["id"],
            width=row["width"],
            height=row["height"],
            objects=[
                VisibleObject(label=label, box=tuple(box), area=area)
                for label, box, area in zip(
                    row["labels"], row["bounding_boxes"], row["areas"], strict=True
                )
            ],
            box_style=task.box_style,
        )
        for row in frames.select(columns).to_pylist()
    ]
    return {"conversations": turns, "messages": [messages(each) for each in turns]}
