"""One frame from its raw record to a checked row.

Everything that can be said of a frame by itself is said here: its record, its image's real size,
its masks. The masks of a whole range are checked together (`engine.mask_check`), which is why a
frame hands them out and takes the outcomes back.
"""

import hashlib
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from engine import black, images
from engine.byte_ranges import ByteRange, local_path
from engine.dialect import PALETTE
from engine.findings import Severity
from engine.frame_json import Masklets, RawFrame, RawObject, as_written, peek, read_frame
from engine.label_map import LabelMap
from engine.mask_check import CheckedMask, MaskToCheck
from engine.members import Member, MemberError, range_of, read_head, read_member
from engine.pixels import decode_rgb
from engine.policy import Policy
from engine.records import Issue
from engine.thresholds import Thresholds

__all__ = ["FrameCheck", "image_member", "image_problem"]

# Most JPEG and PNG headers end well before this; a longer one costs a second read.
_HEAD_BYTES = 4096
_LEAST_HEAD_BYTES = 768  # a JPEG as most encoders write it, its four Huffman tables too

_FORMAT_OF = {
    ".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp", ".bmp": "bmp", ".gif": "gif",
    ".tif": "tiff", ".tiff": "tiff",
}  # fmt: skip

_POLICY = Policy()

_Problem = tuple[str, str]

_ABSENT = CheckedMask(
    counts=None, box=(0, 0, 0, 0), area=0, centroid=None, hidden=True,
    problems=(("object_hidden", "it has no mask in this frame"),),
)  # fmt: skip


def image_member(row: Mapping[str, Any]) -> Member:
    """Make the member again that the image columns of a row describe."""
    return Member(
        name=row["image_name"],
        stored_name=row["image_name"],
        offset=row["image_offset"],
        compressed_size=row["image_compressed_bytes"],
        size=row["image_bytes"],
        method=row["image_method"],
        crc32=row["image_crc32"],
    )


def image_problem(data: bytes, check_images: str) -> _Problem | None:
    """Judge an image's bytes as far as `check_images` asks.

    Args:
        data: the whole file; its CRC has been checked.
        check_images: "header" asks no more; "structure" for a whole file; "decode" for every pixel.

    Returns:
        (finding code, what is wrong), or None.
    """
    if check_images == "decode":
        return images.check_decode(data)
    return images.check_structure(data) if check_images == "structure" else None


class FrameCheck:
    """One frame on its way from a raw record to a row.

    A record that cannot be read still is a frame: it is counted, and set aside.

    Args:
        record: a row of `RANGE_SCHEMA`.
        source: the export, for issues.
        video_id: final id of the video.
        video_size: (height, width) as declared; None where it is not.
        masklets: of an SA-V file; None for any other.
        label_map: the user's names for labels; None: they stay as they are.
        policy: what is an error.
        black_level: of 255, what counts as black.
    """

    def __init__(
        self,
        record: dict[str, Any],
        *,
        source: str,
        video_id: str,
        video_size: tuple[int, int] | None,
        masklets: Masklets | None = None,
        label_map: LabelMap | None = None,
        policy: Policy = _POLICY,
        black_level: int = Thresholds.black_level,
    ) -> None:
        self._policy = policy
        self._black_level = black_level
        self._record = record
        self._label_map = label_map or LabelMap()
        self.keys_used: set[str] = set()
        self._masklets = masklets
        self._source = source
        self._video_id = video_id
        self._video_size = video_size
        self._size = video_size
        self._index: int | None = record["frame_index_of_image"]
        self._raw: RawFrame | None = None
        self._masks: dict[int, CheckedMask] = {}
        self.issues: list[Issue] = []
        self._read_record()

    def _read_record(self) -> None:
        if self._record["frame_json"] is None:
            self._find("missing_annotations", f"{self._record['image_name']} has no frame record")
            return
        element = orjson.loads(self._record["frame_json"])
        ordinal, masklets = self._record["ordinal"], self._masklets
        raw = read_frame(element, ordinal=ordinal, masklets=masklets)
        if isinstance(raw, str) or _has_odd_object(raw):
            element = as_written(self._record["frame_json"], element)
            raw = read_frame(element, ordinal=ordinal, masklets=masklets)
        if isinstance(raw, str):
            step = masklets.step if masklets else None
            self._index, _, _ = peek(element, ordinal=ordinal, step=step)
            name = "masklet" if masklets else "annotations"
            self._find("frame_malformed", f"{name}[{ordinal}]: {raw}")
            return
        self._raw, self._index = self._renamed(raw), raw.frame_index
        if not raw.objects:
            self._find("missing_annotations", "the frame record has no objects")
        for code, message in raw.problems:
            self._find(code, message)
        for place, item in enumerate(raw.objects):
            for code, message in item.problems:
                self._find(code, message, place)
            if item.absent:
                self.take_mask(place, _ABSENT)

    def _renamed(self, raw: RawFrame) -> RawFrame:
        """Give the objects the names of the label map, before anything is said of them."""
        objects = []
        for item in raw.objects:
            key = self._label_map.find(self._video_id, item.label)
            if key is None:
                objects.append(item)
            else:
                self.keys_used.add(key)
                objects.append(replace(item, label=self._label_map.names[key]))
        return replace(raw, objects=tuple(objects)) if self.keys_used else raw

    @property
    def frame_id(self) -> str:
        """The frame's id; of a record without an index, its place in the export."""
        if self._index is None:
            return f"{self._video_id}/record-{self._record['ordinal']:06d}"
        return f"{self._video_id}/{self._index:06d}"

    def _find(self, code: str, message: str, place: int | None = None) -> None:
        object_id = None
        if place is not None and self._raw is not None:
            object_id = self._raw.objects[place].object_id
            if object_id is None:
                message = f"objects[{place}]: {message}"
        self.issues.append(
            Issue(
                code=code, source=self._source, video_id=self._video_id, frame_id=self.frame_id,
                frame_index=self._index, object_id=object_id, message=message,
            )
        )  # fmt: skip

    def image_range(self, check_images: str) -> ByteRange | None:
        """Say what `look_at_image` is going to read first; None: nothing, or a local file."""
        record = self._record
        if self._raw is None or not self._raw.objects or record["images_found"] != 1:
            return None
        source = record["image_source"]
        if local_path(source) is not None:
            return None
        member = image_member(record)
        whole = check_images != "header"
        return range_of(source, member, None if whole else _head_bytes(source, member))

    def look_at_image(self, check_images: str) -> None:
        """Find the image's real size, and compare it with the video's.

        Args:
            check_images: "header" reads no more of the image than its size needs.
        """
        if self._raw is None or not self._raw.objects:
            return
        claims = self._record["images_found"]
        if claims != 1:
            if claims:
                self._find("image_ambiguous", f"{claims} images claim frame_index {self._index}")
            else:
                self._find("image_missing", f"no image for frame_index {self._index}")
            return
        seen = _look(self._record, check_images, self._black_level)
        if isinstance(seen, tuple):
            self._find(*seen)
            return
        for code, message in _remarks(seen.info, self._record["image_name"]):
            self._find(code, message)
        if seen.black:
            self._find("image_black", "no pixel shows anything but black and painted masks")
        size = (seen.info.height, seen.info.width)
        if self._video_size not in (None, size):
            height, width = self._video_size or size
            self._find(
                "image_size_mismatch",
                f"the image is {size[1]}x{size[0]}, expected {width}x{height} as the video",
            )
        self._size = size

    def leave_unread(self, why: str) -> None:
        """Take the frame as one that cannot be looked at; instead of the other checks."""
        self._find("frame_crashed", why)

    def masks_to_check(self) -> list[tuple[int, MaskToCheck]]:
        """Give the objects with a mask in a known notation, by their place in the record."""
        if self._raw is None or self._size is None:
            return []
        return [
            (place, MaskToCheck(raw=item, size=self._size))
            for place, item in enumerate(self._raw.objects)
            if item.notation is not None
        ]

    def take_mask(self, place: int, mask: CheckedMask) -> None:
        """Take the outcome for the object at `place`."""
        self._masks[place] = mask
        for code, message in mask.problems:
            self._find(code, message, place)

    def _find_repeated(self, objects: Sequence[RawObject]) -> None:
        """Say which objects have the id of one before them; or, without ids, its label and mask."""
        masks = [self._masks[i].counts if i in self._masks else None for i in range(len(objects))]
        first: dict[object, int] = {}
        for place, item in enumerate(objects):
            if item.object_id is None:
                if masks[place] is not None:  # what cannot be read or is hidden is told as that
                    before = first.setdefault((item.label, masks[place]), place)
                    if before != place:
                        what = f"its label and mask are those of objects[{before}]"
                        self._find("object_repeated", what, place)
                continue
            before = first.setdefault(item.object_id, place)
            if before != place:
                other = objects[before]
                of_label = "the same" if item.label == other.label else "another"
                same = (masks[place] or item.counts) == (masks[before] or other.counts)
                of_mask = "the same" if same else "another"
                what = f"objects[{place}] has the object_id of objects[{before}]"
                self._find("object_repeated", f"{what}, {of_label} label, {of_mask} mask", place)

    def row(self) -> dict[str, Any]:
        """Give the frame as a row of `FRAME_SCHEMA`; call once, after the masks were taken."""
        objects = self._raw.objects if self._raw else ()
        if len({item.object_id for item in objects}) < len(objects):
            self._find_repeated(objects)
        hidden = [objects[place] for place, mask in self._masks.items() if mask.hidden]
        if objects and len(hidden) == len(objects):
            self._find("frame_all_hidden", f"hidden objects: all {len(hidden)}")
        visible = [
            (item, self._masks[place])
            for place, item in enumerate(objects)
            if place in self._masks and self._masks[place].counts is not None and item.label
        ]
        height, width = self._size or (None, None)
        row = {
            "id": self.frame_id,
            "video_id": self._video_id,
            "frame_index": self._index,
            "timestamp_sec": self._raw.timestamp_sec if self._raw else None,
            "width": width,
            "height": height,
            "masks": [{"size": [height, width], "counts": mask.counts} for _, mask in visible],
            "bounding_boxes": [list(mask.box) for _, mask in visible],
            "labels": [item.label for item, _ in visible],
            "object_ids": [item.object_id for item, _ in visible],
            "areas": [mask.area for _, mask in visible],
            "centroids": [mask.centroid for _, mask in visible],
            "confidences": [item.confidence for item, _ in visible],
            "objects_declared": len(objects),
            "objects_hidden": len(hidden),
            "hidden_object_ids": [item.object_id for item in hidden],
            "hidden_labels": [item.label for item in hidden],
            "errors": sum(
                self._policy.severity(issue.code) is Severity.ERROR for issue in self.issues
            ),
        }
        row["annotation_digest"] = self._digest(row)
        return row | {name: value for name, value in self._record.items() if name in _LOCATOR}

    def _digest(self, row: dict[str, Any]) -> str:
        """Digest what is annotated, the same however the JSON is laid out."""
        seen = [row[k] for k in ("masks", "labels", "object_ids", "objects_declared", "errors")]
        if row["errors"]:  # what cannot be read is compared as it is written
            seen.append((self._record["frame_json"] or b"").decode("utf-8", "replace"))
        return hashlib.sha256(orjson.dumps(seen)).hexdigest()[:32]


_LOCATOR = frozenset(
    f"image_{part}"
    for part in ("source", "name", "offset", "compressed_bytes", "bytes", "method", "crc32")
)


def _has_odd_object(raw: RawFrame) -> bool:
    return any(code == "object_malformed" for item in raw.objects for code, _ in item.problems)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """What was seen of an image: its header, and whether it is black."""

    info: images.ImageInfo
    black: bool


def _head_bytes(source: str, member: Member) -> int:
    """How much of an image shows its header; behind a URL, bytes of small images are spared."""
    if local_path(source) is not None:
        return _HEAD_BYTES
    return min(max(member.size // 32, _LEAST_HEAD_BYTES), _HEAD_BYTES)


def _look(record: Mapping[str, Any], check_images: str, black_level: int) -> _Seen | _Problem:
    """Read as much of an image as is asked for, and say its size or what is wrong with it."""
    source, member = record["image_source"], image_member(record)
    if not member.size:
        return "image_unreadable", "the file is empty (0 bytes)"
    try:
        if check_images != "header":
            data = read_member(source, member)
            problem = image_problem(data, check_images)
            if problem is not None:
                return problem
        else:
            data = read_head(source, member, _head_bytes(source, member))
        info = images.read_header(data)
        unsure = info is None or (isinstance(info, images.ImageInfo) and _wants_all(info, member))
        if unsure and len(data) < member.size:
            data = read_member(source, member)
            info = images.read_header(data)
    except MemberError as error:
        return "image_unreadable", error.complaint
    if info is None:
        return "image_truncated", f"the file ends within its header, after {member.size} bytes"
    if isinstance(info, str):
        return "image_unreadable", info
    return _Seen(info=info, black=_wants_all(info, member) and _is_black(data, info, black_level))


def _wants_all(info: images.ImageInfo, member: Member) -> bool:
    """Say whether the header is not enough: to see more pictures, or whether all is black."""
    if info.format not in ("png", "jpeg"):
        return True
    return black.may_be_black(member.size, info.width, info.height)


def _is_black(data: bytes, info: images.ImageInfo, level: int) -> bool:
    # A JPEG's blocks are enough: decoding only their means is several times faster.
    side = max(info.width, info.height) // 8 if info.format == "jpeg" else None
    pixels = decode_rgb(data, max_side=side or None)
    return pixels is not None and black.is_black(pixels, PALETTE, level)


def _remarks(info: images.ImageInfo, name: str) -> Iterator[_Problem]:
    """Yield what readers make of a whole image that is not what it seems."""
    if info.orientation != 1:
        yield "image_orientation", f"Exif orientation {info.orientation}, expected 1"
    suffix = posixpath.splitext(name)[1].lower()
    if _FORMAT_OF.get(suffix, info.format) != info.format:
        yield "image_extension_mismatch", f"{posixpath.basename(name)} is a {info.format.upper()}"
    mode = info.mode or ""
    if mode.startswith("I") or mode == "F":
        yield "image_bit_depth", f"its pixels are {mode}; converted to RGB they are clipped to 255"
    elif mode == "CMYK":
        yield "image_mode", "its pixels are CMYK, expected RGB or grey"
    if info.animated:
        yield "image_animated", "it holds several pictures, of which readers see the first"
