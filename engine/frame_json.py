"""One element of `annotations`, in any spelling that exports use, as a checked record.

The names accepted are those of real writers: the SAM 2 demo exporter, the COCO-like variants of the
specification, and SA-V, whose records are bare lists of masks. Everything is judged here once: what
a later module gets is typed. A record that cannot be used carries its problem instead of a value,
so that one bad object costs one frame and not the export.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

from engine.rle_text import (
    Parsed,
    looks_decimal,
    parse_compressed,
    parse_counts,
    parse_decimal,
)

__all__ = [
    "MaskNotation",
    "Masklets",
    "RawFrame",
    "RawObject",
    "as_written",
    "meant_index",
    "parse_masks",
    "peek",
    "read_frame",
]

MaskNotation = Literal["decimal", "counts", "compressed"]

_MASK_KEYS = ("mask_rle", "segmentation", "mask", "rle")
_LABEL_KEYS = ("label", "class", "class_name", "category")
_IMAGE_KEYS = ("image", "file_name", "image_path")

_MOST = 2**63 - 1  # the columns of frame indices and object ids have 64 bits
_DIGITS = 20  # and a sign: more than 64 bits have


@dataclass(frozen=True, kw_only=True, slots=True)
class Masklets:
    """What an SA-V file says once for all its frames; an entry alone is a list of masks.

    Args:
        object_ids: of the objects, in the order of each entry; None: not given, their places.
        label: of all objects; None: each is `object_<id>`.
        step: video frames from one entry to the next.
        kind: "manual" or "auto", by the file's name; None: it says neither.
    """

    object_ids: tuple[int, ...] | None
    label: str | None
    step: int
    kind: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RawObject:
    """One object record.

    Args:
        object_id: the track's number in its video, if given.
        label: as written.
        notation: how the mask is written: "decimal" text runs, a "counts" list, or "compressed"
            COCO counts; None if there is no usable mask.
        counts: the mask's runs in that notation.
        size: (height, width) written beside the runs; None if left out.
        bbox: declared box, x, y, width, height in the writer's own pixels; None if not declared.
        area: declared area in the writer's own pixels; None if not declared.
        confidence: as declared.
        problems: (finding code, what is wrong) of this record.
        absent: written as an object that is not visible in the frame, without a mask.
    """

    object_id: int | None
    label: str
    notation: MaskNotation | None
    counts: Any
    size: tuple[int, int] | None
    bbox: tuple[float, float, float, float] | None
    area: float | None
    confidence: float | None
    problems: tuple[tuple[str, str], ...]
    absent: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RawFrame:
    """One frame record.

    Args:
        frame_index: place in the video, from 0.
        timestamp_sec: seconds from the video's start, if given.
        image_name: the image the record names, if it names one.
        objects: in the order written; the exporter's palette goes by this order.
        problems: (finding code, what is wrong) of this record, without those of its objects.
    """

    frame_index: int
    timestamp_sec: float | None
    image_name: str | None
    objects: tuple[RawObject, ...]
    problems: tuple[tuple[str, str], ...] = ()


def read_frame(
    element: object, *, ordinal: int = 0, masklets: Masklets | None = None
) -> RawFrame | str:
    """Read one element of `annotations`; a sentence instead if it is no frame record at all.

    Args:
        element: the parsed JSON.
        ordinal: its place in the list, which is all that tells an SA-V entry's frame.
        masklets: of an SA-V file; None for any other.
    """
    if masklets is not None:
        return _read_entry(element, ordinal, masklets)
    if not isinstance(element, Mapping):
        return f"the record is {_kind(element)}, expected an object"
    index = element.get("frame_index")
    if not _is_whole(index) or not 0 <= index <= _MOST:
        return f"frame_index is {_show(index)}, expected a whole number from 0 to {_MOST}"
    objects = element.get("objects")
    if objects is None:
        objects = []
    if not isinstance(objects, list):
        return f"objects is {_kind(objects)}, expected a list"
    image = _first(element, _IMAGE_KEYS)
    written = element.get("timestamp_sec")
    timestamp = _number(written)
    return RawFrame(
        frame_index=int(index),
        timestamp_sec=timestamp,
        image_name=image if isinstance(image, str) and image else None,
        objects=tuple(_read_object(record) for record in objects),
        problems=(_no_number("timestamp_sec", written),)
        if timestamp is None and written is not None
        else (),
    )


def _read_entry(element: object, ordinal: int, masklets: Masklets) -> RawFrame | str:
    """Read one entry of `masklet`: one mask an object, in the order of `masklet_id`."""
    if not isinstance(element, list):
        return f"the entry is {_kind(element)}, expected a list of masks"
    ids = masklets.object_ids
    if ids is not None and len(element) != len(ids):
        return f"the entry has {len(element)} masks, expected {len(ids)} as masklet_id"
    return RawFrame(
        frame_index=masklets.step * ordinal,
        timestamp_sec=None,
        image_name=None,
        objects=tuple(
            _read_masklet(value, ids[place] if ids else place, masklets.label)
            for place, value in enumerate(element)
        ),
    )


def _read_masklet(value: object, object_id: int, label: str | None) -> RawObject:
    notation, counts, size, problem = _read_mask(value)
    return RawObject(
        object_id=object_id, label=label or f"object_{object_id}", notation=notation,
        counts=counts, size=size, bbox=None, area=None, confidence=None,
        problems=(problem,) if problem and value is not None else (), absent=value is None,
    )  # fmt: skip


def _read_object(record: object) -> RawObject:
    if not isinstance(record, Mapping):
        return _unusable(f"the record is {_kind(record)}, expected an object")
    problems: list[tuple[str, str]] = []
    object_id = record.get("object_id")
    if isinstance(object_id, str) and object_id.isascii() and object_id.isdecimal():
        object_id = int(object_id)
    if object_id is not None and not (_is_whole(object_id) and abs(object_id) <= _MOST):
        expected = f"expected a whole number from {-_MOST} to {_MOST}"
        problems.append(("object_malformed", f"object_id is {_show(object_id)}, {expected}"))
        object_id = None
    label = _first(record, _LABEL_KEYS)
    if not isinstance(label, str) or not label.strip():
        problems.append(("object_malformed", f"label is {_show(label)}, expected a name"))
        label = ""
    notation, counts, size, problem = _read_mask(_first(record, _MASK_KEYS))
    if problem:
        problems.append(problem)
    bbox = _box(record.get("bbox"))
    if bbox is None and record.get("bbox") is not None:
        problems.append(
            ("bbox_mismatch", f"bbox is {_show(record['bbox'])}, expected [x, y, width, height]")
        )
    area = record.get("area")
    if area is not None and _number(area) is None:
        problems.append(("mask_area_mismatch", f"area is {_show(area)}, expected a number"))
    written = record.get("confidence")
    confidence = _number(written)
    if confidence is None and written is not None:
        problems.append(_no_number("confidence", written))
    return RawObject(
        object_id=object_id,
        label=label,
        notation=notation,
        counts=counts,
        size=size,
        bbox=bbox,
        area=_number(area),
        confidence=confidence,
        problems=tuple(problems),
    )


_Mask = tuple[MaskNotation | None, Any, tuple[int, int] | None, tuple[str, str] | None]


def _read_mask(value: object) -> _Mask:
    size: tuple[int, int] | None = None
    if value is None:
        return None, None, None, ("object_malformed", "the record has no mask")
    if isinstance(value, Mapping):
        written = value.get("size")
        if written is not None:
            if (
                not isinstance(written, list)
                or len(written) != 2
                or not all(_is_whole(side) and 0 < side < 2**31 for side in written)
            ):
                return _malformed(f"size is {_show(written)}, expected [height, width]")
            size = (int(written[0]), int(written[1]))
        value = value.get("counts")
    if isinstance(value, str):
        decimal = looks_decimal(value, size[0] * size[1] if size else None)
        return ("decimal" if decimal else "compressed"), value, size, None
    if isinstance(value, list):
        if value and isinstance(value[0], list):
            return _malformed("polygons, expected run lengths")
        return "counts", value, size, None
    return _malformed(f"counts are {_kind(value)}, expected run lengths as text or list")


def _malformed(text: str) -> _Mask:
    return None, None, None, ("mask_malformed", text)


def _unusable(text: str) -> RawObject:
    return RawObject(
        object_id=None, label="", notation=None, counts=None, size=None, bbox=None, area=None,
        confidence=None, problems=(("object_malformed", text),),
    )  # fmt: skip


def _first(record: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((record[key] for key in keys if record.get(key) is not None), None)


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _no_number(key: str, value: object) -> tuple[str, str]:
    return "number_malformed", f"{key} is {_show(value)}, expected a number"


def _box(value: object) -> tuple[float, float, float, float] | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    sides = [_number(side) for side in value]
    if any(side is None for side in sides):
        return None
    x, y, width, height = (float(side or 0) for side in sides)
    return (x, y, width, height)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value"}
    return names.get(type(value), "null" if value is None else "a number")


def _show(value: object) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class _Written(float):
    """A number that is shown as it is written."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> "_Written":
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __repr__(self) -> str:
        return self.text


def as_written(text: bytes, element: object) -> object:
    """Parse a record again for what is to be said of it: 10**20 as such, and not as 1e+20.

    Slower than orjson, which reads whole numbers beyond 64 bits as floats.

    Args:
        text: JSON that orjson takes.
        element: what it made of it, which must do where the brackets are too deep for `json`.
    """

    def whole(digits: str) -> int | float:
        return int(digits) if len(digits) <= _DIGITS else _Written(digits)

    try:
        found: object = json.loads(text, parse_int=whole, parse_float=_Written)
    except RecursionError:
        return element
    return found


def meant_index(element: object) -> int | None:
    """Give the frame that a record means whose frame_index is no whole number: "3" or 3.0.

    Such a record still cannot be read. But its image is not one without a record, and its frame is
    not one that was not exported: one problem is told once.
    """
    index = element.get("frame_index") if isinstance(element, Mapping) else None
    if isinstance(index, str) and index.isascii() and index.isdecimal() and len(index) < _DIGITS:
        index = int(index)
    if isinstance(index, float) and index.is_integer():
        index = int(index)
    return index if _is_whole(index) and 0 <= index <= _MOST else None


def parse_masks(notation: str, counts: Sequence[object]) -> Parsed:
    """Parse the masks of records of one notation.

    Args:
        notation: a `MaskNotation`.
        counts: of records with it.
    """
    if notation == "compressed":
        return parse_compressed([str(text) for text in counts])
    if notation == "decimal":
        return parse_decimal([str(text) for text in counts])
    return parse_counts([list(c) if isinstance(c, list) else [c] for c in counts])


def peek(
    element: object, *, ordinal: int = 0, step: int | None = None
) -> tuple[int | None, str | None, bool]:
    """Give frame index, named image and whether there are objects, without judging the objects.

    Cutting an export into ranges needs no more, and pays for no more.

    Args:
        element: the parsed JSON.
        ordinal: its place in the list.
        step: of an SA-V file, video frames from one entry to the next; None for any other.
    """
    if step is not None:
        has_objects = isinstance(element, list) and any(mask is not None for mask in element)
        return step * ordinal, None, has_objects
    if not isinstance(element, Mapping):
        return None, None, False
    index = element.get("frame_index")
    image = _first(element, _IMAGE_KEYS)
    return (
        int(index) if _is_whole(index) and 0 <= index < 2**63 else None,
        image if isinstance(image, str) and image else None,
        bool(element.get("objects")),
    )
