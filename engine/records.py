"""The records that flow through the house, and the Arrow schemas they have at rest.

A record is frozen. Absence is None in its slot: no frame rate, no size and no time is ever made up.
Tables are Arrow, so that a range of frames is checked in columns and the driver can read the narrow
columns alone.
"""

from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from engine.frame_json import Masklets
from engine.storage import file_name

__all__ = [
    "FRAME_SCHEMA",
    "ISSUE_SCHEMA",
    "RANGE_SCHEMA",
    "Issue",
    "Look",
    "OpenedExport",
    "RangeFile",
    "Video",
    "issue_table",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Video:
    """A video as its export declares it.

    Args:
        filename: the video file's name in the export's words.
        width: pixels, as declared.
        height: pixels, as declared.
        fps_declared: frames a second; the real exporter always writes 30.
        total_frames_declared: frames of the video, not of the export.
        duration_sec_declared: seconds.
        target_fps_declared: frames a second of the export, which may hold every n-th frame.
    """

    filename: str | None
    width: int | None
    height: int | None
    fps_declared: float | None
    total_frames_declared: int | None
    duration_sec_declared: float | None
    target_fps_declared: float | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) in pixels, or None where one of them is not declared."""
        return (self.height, self.width) if self.height and self.width else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Issue:
    """One data problem at one place.

    Args:
        code: a key of `findings.CODES`.
        source: the export, as its file is named.
        video_id: the video, once it has an id.
        frame_id: the frame, if the problem is one frame's.
        frame_index: its index in the video.
        object_id: the object, if the problem is one object's.
        message: what, got, expected.
    """

    code: str
    source: str
    video_id: str | None = None
    frame_id: str | None = None
    frame_index: int | None = None
    object_id: int | None = None
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """One frame, to be compared with others.

    Args:
        frame_index: of the frame in its export.
        phash: `identity.phash` of it.
        cells: 768 bytes, uint8 (16, 16, 3): mean red, green, blue of a 16x16 grid, row by row.
    """

    frame_index: int
    phash: int
    cells: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class RangeFile:
    """A stretch of an export's frame records, cut out and stored for one scan task.

    Args:
        path: an Arrow file of `RANGE_SCHEMA`.
        frames: number of its rows.
        sha256: of the file: what a scan found holds for these very records.
    """

    path: str
    frames: int
    sha256: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedExport:
    """What holds for a whole export, settled before its rows exist.

    Args:
        source: its place, a path or an fsspec URL.
        video: as declared.
        video_id: from its metadata; may get a suffix when another video has the same name.
        named_id: the id without such a suffix.
        content_digest: sha256 over names, sizes and CRCs of its members.
        exporter_signature: `metadata.json` names the known exporter and format.
        frame_records: number of elements of its `annotations` with a frame index.
        ranges: where they were stored, in order.
        grid: (height, width) that decimal runs without a size are on; None if there are none.
        order: "row" or "column": how runs without a size are read.
        dialect: the evidence for grid, order and paint, JSON types.
        issues: findings that concern the whole video.
        images: number of its images, paired or not.
        image_bytes: their size as stored.
        masklets: of an SA-V file; None for any other.
        evidence_image: both readings of a frame's masks as a picture file, where it was asked for.
        looks: of a sample of its frames, by frame index.
    """

    source: str
    video: Video
    video_id: str
    named_id: str
    content_digest: str
    exporter_signature: bool
    frame_records: int
    ranges: tuple[RangeFile, ...]
    grid: tuple[int, int] | None
    order: Literal["row", "column"]
    dialect: dict[str, Any]
    issues: tuple[Issue, ...]
    images: int
    image_bytes: int
    masklets: Masklets | None = None
    evidence_image: bytes | None = None
    looks: tuple[Look, ...] = ()

    @property
    def name(self) -> str:
        """The export's name as reports show it: without the place, which is this machine's."""
        return file_name(self.source)


# Where an image's bytes lie: enough to read it with one seek, without the central directory.
_IMAGE_LOCATOR = [
    pa.field("image_source", pa.string()),
    pa.field("image_name", pa.string()),
    pa.field("image_offset", pa.int64()),  # of the local header; null in a folder
    pa.field("image_compressed_bytes", pa.int64()),
    pa.field("image_bytes", pa.int64()),
    pa.field("image_method", pa.int16()),
    pa.field("image_crc32", pa.uint32()),
]

RANGE_SCHEMA = pa.schema(
    [
        pa.field("ordinal", pa.int64()),  # place in `annotations`; after its end: orphan images
        pa.field("frame_json", pa.binary()),  # null: an image without a frame record
        pa.field("frame_index_of_image", pa.int64()),
        pa.field("images_found", pa.int32()),  # images that claim this frame
        *_IMAGE_LOCATOR,
    ]
)

# COCO RLE: size is [height, width], counts are compressed.
_MASK = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])

FRAME_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("video_id", pa.string()),
        pa.field("frame_index", pa.int64()),
        pa.field("timestamp_sec", pa.float64()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("masks", pa.list_(_MASK)),
        pa.field("bounding_boxes", pa.list_(pa.list_(pa.int32()))),
        pa.field("labels", pa.list_(pa.string())),
        pa.field("object_ids", pa.list_(pa.int64())),
        pa.field("areas", pa.list_(pa.int64())),
        pa.field("centroids", pa.list_(pa.list_(pa.float64()))),  # x, y of pixel centres, in px
        pa.field("confidences", pa.list_(pa.float64())),
        pa.field("objects_declared", pa.int32()),  # object records of the frame, hidden ones too
        pa.field("objects_hidden", pa.int32()),
        pa.field("hidden_object_ids", pa.list_(pa.int64())),
        pa.field("hidden_labels", pa.list_(pa.string())),  # parallel; empty where there is none
        pa.field("errors", pa.int32()),  # error findings of the frame and its objects
        pa.field("annotation_digest", pa.string()),
        pa.field("export_digest", pa.string()),  # of the content of the export it comes from
        *_IMAGE_LOCATOR,
    ]
)  # fmt: skip

ISSUE_SCHEMA = pa.schema(
    [
        pa.field("code", pa.string()),
        pa.field("source", pa.string()),
        pa.field("video_id", pa.string()),
        pa.field("frame_id", pa.string()),
        pa.field("frame_index", pa.int64()),
        pa.field("object_id", pa.int64()),
        pa.field("message", pa.string()),
    ]
)


def issue_table(issues: list[Issue]) -> pa.Table:
    """Put issues into a table of `ISSUE_SCHEMA`, in the order given."""
    columns = {name: [getattr(issue, name) for issue in issues] for name in ISSUE_SCHEMA.names}
    return pa.table(columns, schema=ISSUE_SCHEMA)
