"""What a sample export shall hold, and the truth about what it holds.

Many keywords in one flat record, against the house's habit of small ones: a test names the one
thing it wants otherwise, `write_sample_export(path, mask_truncated=[3])`, and the record is the one
place where all of them can be read. The dialects and the defects are those of real exports.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError

__all__ = [
    "FrameTruth",
    "ObjectTruth",
    "PlannedFrame",
    "SampleSpec",
    "SampleTruth",
    "cast_of",
    "plan_frames",
]

_LOW_RESOLUTION_GRID = 256  # SAM 2's mask logits, whatever the video's size

# The fields of SampleSpec whose elements, or keys, are positions.
_POSITIONS = (
    "area_jump",
    "area_off",
    "bbox_off",
    "black_frames",
    "centroid_jump",
    "duplicate_frames",
    "flicker",
    "frames_not_exported",
    "frames_without_image",
    "frames_without_objects",
    "frozen_masks",
    "hidden",
    "image_crc_flip",
    "image_truncated",
    "image_wrong_size",
    "image_zero_bytes",
    "label_change",
    "mask_empty",
    "mask_sum_off_by",
    "mask_truncated",
    "repeated_images",
    "size_swapped",
    "timestamp_off",
)


@dataclass(frozen=True, kw_only=True)
class SampleSpec:
    """What an export shall hold; the keywords of `write_sample_export`.

    A position is a frame's place in `export_config.frame_indices`, from 0. Mask, area and box
    defects strike the first object of the frame.
    """

    frames: int = 24  # positions
    width: int = 320  # px
    height: int = 180  # px
    labels: Sequence[str] = ("person", "dog")  # one object each
    seed: int = 0
    dialect: Literal["real", "coco", "sav"] = "real"
    truth: bool = True  # False: SampleTruth.frames is None, which saves the memory of the masks

    # What happens in the video.
    frame_step: int = 6  # the export holds every 6th frame of a video of 30 frames/s
    objects_per_frame: int | None = None  # that many objects, the labels in turn
    class_counts: Mapping[str, int] | None = None  # exactly so many instances; replaces labels
    hidden: Mapping[int, Collection[int]] | None = None  # position -> object ids: empty masks
    frames_without_objects: Collection[int] = ()  # "real" writes no image for them
    frames_not_exported: Collection[int] = ()  # in frame_indices, but no record and no image
    duplicate_frames: Collection[int] = ()  # the video stands still: picture and masks again
    distinct_images: int | None = None  # the video repeats after so many frames: fast

    # How it is written. None: as the dialect has it.
    order: Literal["row", "column"] | None = None  # of the runs; "coco" boxes stay true
    grid: int | None = None  # side of the masks' square grid; 0: the image's own size
    # text: decimal runs; compressed: COCO's string alone; size+counts: the same with its size
    notation: Literal["text", "size+counts", "size+list", "list", "compressed"] | None = None
    mask_key: str = "mask_rle"
    label_key: str = "label"
    annotations_key: str = "annotations"
    annotations_first: bool = False
    fps_key: str = "source_fps"
    image_key: str | None = None  # image_path: with the folder; any other: the bare name
    omit_keys: Collection[str] = ()  # left out of annotations.json: video, frames, objects
    indent: int | None = 2
    filename: str | None = None
    total_frames: int | None = None
    duration_sec: float | None = None
    exporter: str | None = None
    metadata: bool = True  # write metadata.json

    # SA-V only; its file and image names come from `sample_notations.sav_keywords`.
    sav_kind: Literal["manual", "auto"] = "manual"
    sav_ids: Sequence[int] | None = None  # masklet_id
    sav_null_hidden: bool = False  # null in place of an empty mask
    sav_every_image: bool = False  # images of the frames between the annotated ones, too

    # The files.
    image_format: Literal["png", "jpg", "jpeg"] = "png"
    image_bytes: int | None = None  # size of a JPEG to aim at
    paint: bool | None = None  # masks painted on the images
    images_folder: str = "images"
    image_pattern: str = "frame_%06d"
    image_numbers: Sequence[int] | None = None  # per position, in place of the frame index
    enclosing_folder: str | None = None
    macosx: bool = False  # what macOS adds to an archive
    as_folder: bool = False
    compression: Literal["deflate", "store"] = "deflate"

    # Defects of images.
    frames_without_image: Collection[int] = ()
    orphan_images: int = 0  # images after the last frame, with no record
    black_frames: Collection[int] = ()
    image_truncated: Collection[int] = ()
    image_zero_bytes: Collection[int] = ()
    image_wrong_size: Collection[int] = ()  # half as wide and half as high
    image_crc_flip: Collection[int] = ()  # one byte changed in the archive, the CRC not

    # Defects of masks.
    mask_sum_off_by: Mapping[int, int] | None = None  # position -> cells added to the last run
    mask_truncated: Collection[int] = ()  # the last third of the counts is missing
    mask_empty: Collection[int] = ()  # no cell, and so declared; the object is in the picture
    area_off: Mapping[int, int] | None = None  # position -> added to the declared area
    bbox_off: Mapping[int, int] | None = None  # position -> added to the declared x
    size_swapped: Collection[int] = ()  # size is [w, h], for all objects of the frame

    # Defects of tracks, of the first object: each frame by itself is as it should be.
    area_jump: Mapping[int, float] | None = None  # position -> factor of the area
    centroid_jump: Mapping[int, float] | None = None  # position -> share of the width to move
    flicker: Collection[int] = ()  # no record, though it is in the picture
    label_change: Mapping[int, str] | None = None  # position -> its label there
    frozen_masks: Collection[int] = ()  # the mask of the position before
    timestamp_off: Mapping[int, float] | None = None  # position -> added, seconds
    repeated_images: Collection[int] = ()  # the image of the position before

    def __post_init__(self) -> None:
        for name in _POSITIONS:
            wrong = [place for place in getattr(self, name) or () if not 0 <= place < self.frames]
            if wrong:
                raise UsageError(
                    name, "no such position", got=wrong[0], expected=f"0..{self.frames - 1}"
                )
        if self.image_bytes is not None and self.image_format == "png":
            raise UsageError("image_bytes", "only a JPEG's size can be chosen", got="png")
        if self.image_numbers is not None and len(self.image_numbers) != self.frames:
            raise UsageError(
                "image_numbers",
                "one number for each position",
                got=len(self.image_numbers),
                expected=self.frames,
            )

    @property
    def cells(self) -> tuple[int, int]:
        """(height, width) of the masks as written: the grid, or the image's own size."""
        grid = self.grid
        if grid is None:
            grid = _LOW_RESOLUTION_GRID if self.dialect == "real" else 0
        return (grid, grid) if grid else (self.height, self.width)

    @property
    def by_row(self) -> bool:
        """Whether the runs are row-major."""
        return self.order == "row" if self.order else self.dialect == "real"

    @property
    def painted(self) -> bool:
        """Whether the masks are painted on the images."""
        return self.dialect == "real" if self.paint is None else self.paint

    def image_name(self, number: int) -> str:
        """Return the name, below the enclosing folder, of the image with this number."""
        name = f"{self.image_pattern % number}.{self.image_format}"
        return f"{self.images_folder}/{name}" if self.images_folder else name


@dataclass(frozen=True, kw_only=True)
class PlannedFrame:
    """One position: what is in it, not yet how it is written.

    Args:
        moment: the number of the scene's frame that is shown.
        objects: the objects with a record, hidden ones too; the object's number is its id.
        image: the image's name without the enclosing folder, None if there is none.
    """

    position: int
    frame_index: int
    moment: int
    objects: tuple[int, ...]
    hidden: frozenset[int]
    image: str | None


@dataclass(frozen=True, kw_only=True)
class ObjectTruth:
    """One object of a frame as it is in the picture, whatever defect the export carries.

    Args:
        mask: bool (height, width) of the image; all False where the object is hidden.
        bbox: (x, y, width, height) in image px; all 0 where the object is hidden.
        area: image px.
    """

    object_id: int
    label: str
    visible: bool
    mask: NDArray[np.bool_]
    bbox: tuple[int, int, int, int]
    area: int


@dataclass(frozen=True, kw_only=True)
class FrameTruth:
    """One frame record of the export.

    Args:
        image: its image's name without the enclosing folder, None if there is none.
    """

    position: int
    frame_index: int
    timestamp_sec: float
    image: str | None
    objects: tuple[ObjectTruth, ...]


@dataclass(frozen=True, kw_only=True)
class SampleTruth:
    """What a right reader finds in the export.

    Args:
        frame_indices: as in `export_config`, so with the frames that were not exported.
        frames: one for each frame record, in order; None if `truth=False`.
    """

    path: Path
    filename: str
    width: int
    height: int
    frame_indices: tuple[int, ...]
    frames: tuple[FrameTruth, ...] | None


def plan_frames(spec: SampleSpec) -> Iterator[PlannedFrame]:
    """Settle what is in every position, those not exported included.

    Args:
        spec: the export.

    Yields:
        One frame for each position, in order.
    """
    _, presence = cast_of(spec)
    moment = 0
    for position in range(spec.frames):
        moment = moment if position in spec.duplicate_frames else position
        index = position * spec.frame_step
        objects = tuple(k for k, places in enumerate(presence) if position in places)
        if position in spec.frames_without_objects:
            objects = ()
        number = index if spec.image_numbers is None else spec.image_numbers[position]
        without = position in spec.frames_without_image or (spec.dialect == "real" and not objects)
        yield PlannedFrame(
            position=position,
            frame_index=index,
            moment=moment % spec.distinct_images if spec.distinct_images else moment,
            objects=objects,
            hidden=frozenset((spec.hidden or {}).get(position, ())),
            image=None if without else spec.image_name(number),
        )


def cast_of(spec: SampleSpec) -> tuple[list[str], list[frozenset[int]]]:
    """Return who is in the video, and when.

    With `class_counts` each track follows on the one before, round and round the video: that covers
    every frame as soon as there are as many instances as frames.

    Args:
        spec: the export.

    Returns:
        Two lists over the objects: the label, and the positions at which the object has a record
        (before `frames_without_objects`).
    """
    if spec.class_counts is None:
        count = len(spec.labels) if spec.objects_per_frame is None else spec.objects_per_frame
        everywhere = frozenset(range(spec.frames))
        return [spec.labels[k % len(spec.labels)] for k in range(count)], [everywhere] * count
    labels, presence, start = [], [], 0
    for label, instances in spec.class_counts.items():
        for first in range(0, instances, spec.frames):
            end = start + min(spec.frames, instances - first)
            labels.append(label)
            presence.append(frozenset(place % spec.frames for place in range(start, end)))
            start = end
    return labels, presence
