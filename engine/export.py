"""One export: its video, and its frame records cut into ranges with the image of each.

`annotations.json` is inflated once, in order, and its elements go into range files as they pass, so
that memory is bounded by a range and every scan task reads its own. The pass also pairs frames with
images, which is why it looks at each record's index. Where the file says "video" after
"annotations", that is known at the end of the pass, and nothing before it depends on it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from engine.caps import Caps
from engine.errors import ExportError
from engine.frame_json import Masklets, RawFrame, meant_index, peek, read_frame
from engine.json_ranges import Cutter, parse_json
from engine.masklets import SAV_STEP, find_step, image_numbers, read_masklets
from engine.members import Member, Members, iter_member, read_member
from engine.pairing import ImageIndex
from engine.records import RANGE_SCHEMA, RangeFile, Video
from engine.sav_names import sav_kind
from engine.storage import join
from engine.tables import read_table, write_table

__all__ = [
    "CutExport",
    "cut_export",
    "is_known_exporter",
    "locate_image",
    "read_metadata",
    "read_video",
    "sample_frames",
]

_METADATA = "metadata.json"

# Our words for what an SA-V file declares; its video has no other name than its id.
_SAV_VIDEO = {
    "filename": "video_id", "width": "video_width", "height": "video_height",
    "total_frames": "video_frame_count", "duration_sec": "video_duration",
}  # fmt: skip

# A range is closed early when its JSON gets this long: frames of hundreds of objects are rare.
_RANGE_BYTES = 32 * 2**20

_DEFAULT_CAPS = Caps()


@dataclass(frozen=True, kw_only=True)
class CutExport:
    """What one pass over an export's annotations found.

    Args:
        head: the document without its frame records.
        ranges: the files they were stored in, in order.
        frame_indices: of all readable records, in file order.
        sampleable: ordinal by frame index of records with objects and one image; where no record
            has an image, of records with objects.
        by_position: images were paired by position.
        images: number of images paired, and of orphan images.
        image_bytes: their size as stored.
        masklets: of an SA-V file; None for any other.
        renumbered: why the numbers in image names are not taken as frame indices; None: they are.
        between: images that lie between annotated frames, or that were given beside the export and
            that no record names; they are not used.
        pictured: the image of each frame whose record has one: of several records, of the one that
            is sampleable, else the first.
        meant: frames whose record cannot be read, but says whose it is.
    """

    head: Mapping[str, Any]
    ranges: tuple[RangeFile, ...]
    frame_indices: list[int]
    sampleable: Mapping[int, int]
    by_position: bool
    images: int
    image_bytes: int
    masklets: Masklets | None = None
    renumbered: str | None = None
    between: int = 0
    pictured: Mapping[int, Member] = field(default_factory=dict)
    meant: frozenset[int] = frozenset()


def read_metadata(members: Members, *, caps: Caps = _DEFAULT_CAPS) -> Mapping[str, Any]:
    """Read `metadata.json`; empty if the export has none.

    Args:
        members: the export's files.
        caps: limits; it is held in memory whole, like the head of the annotations.

    Raises:
        ExportError: it is there and is no JSON object.
    """
    member = members.get(_METADATA)
    if member is None:
        return {}
    where = f"{members.location}: {_METADATA}"
    document = parse_json(read_member(members.location, member, cap=caps.max_head_bytes), where)
    if not isinstance(document, Mapping):
        raise ExportError(where, "is not a JSON object")
    return document


def is_known_exporter(metadata: Mapping[str, Any]) -> bool:
    """Say whether `metadata.json` bears the known exporter's signature."""
    info = metadata.get("export_info")
    return (
        isinstance(info, Mapping)
        and info.get("exporter") == "SAM2 Demo Export Tool"
        and info.get("format_version") == "1.0"
    )


def read_video(head: Mapping[str, Any], metadata: Mapping[str, Any], where: str) -> Video:
    """Read the video's declaration, from the annotations first and the metadata second.

    Args:
        head: `annotations.json` without its records.
        metadata: `metadata.json`, or empty.
        where: for the error's text.

    Raises:
        ExportError: a declared size is no size.
    """

    def declared(*names: str, among: str = "video") -> object:
        places = [d[among] for d in (head, metadata) if isinstance(d.get(among), Mapping)]
        if among == "video" and "masklet" in head:
            places.insert(0, {ours: head.get(theirs) for ours, theirs in _SAV_VIDEO.items()})
        found = (place[n] for place in places for n in names if place.get(n) is not None)
        return next(found, None)

    def number(*names: str, among: str = "video") -> float | None:
        value = declared(*names, among=among)
        good = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if good and 0 <= float(value) < 2**53 else None  # type: ignore[arg-type]

    sizes: dict[str, int | None] = {}
    for side in ("width", "height"):
        value = declared(side)
        if value is not None and (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or value != int(value)
            or not 0 < value < 2**31
        ):
            raise ExportError(f"{where}: video.{side}", "is no size", got=repr(value),
                              expected="a whole number of pixels above 0")  # fmt: skip
        sizes[side] = None if value is None else int(value)
    filename = declared("filename")
    total = number("total_frames")
    return Video(
        filename=filename if isinstance(filename, str) and filename else None,
        width=sizes["width"],
        height=sizes["height"],
        fps_declared=number("source_fps", "fps"),
        total_frames_declared=None if total is None else int(total),
        duration_sec_declared=number("duration_sec"),
        target_fps_declared=number("target_fps", among="export_config"),
    )


def cut_export(
    members: Members,
    images: ImageIndex,
    *,
    image_source: str,
    staging: str,
    frames_per_range: int,
    caps: Caps = _DEFAULT_CAPS,
    label: str | None = None,
    keep_orphans: bool = True,
) -> CutExport:
    """Cut an export's frame records into range files, each with its image's place.

    Args:
        members: the export's files.
        images: its images, or those that are used instead.
        image_source: where these images lie.
        staging: folder for the range files.
        frames_per_range: records a file.
        caps: limits of the annotations.
        label: of objects that have none in the export (SA-V).
        keep_orphans: images that no record names become rows, for the scan to report; else they are
            counted and not used.

    Raises:
        ExportError: `annotations.json` cannot be read.
    """
    way = _Way(members, image_source, staging, frames_per_range, caps, label, keep_orphans)
    cut = _pass(way, images)
    if cut.masklets is not None:
        images, step, why = _settle_frames(way, images, cut)
        if why or step != SAV_STEP:
            cut = replace(_pass(way, images, step=step), renumbered=why)
    unnamed = not cut.pictured and not any(i in images.by_index for i in cut.frame_indices)
    if unnamed and images.in_order and len(images.in_order) == len(cut.frame_indices):
        step = cut.masklets.step if cut.masklets else SAV_STEP
        cut = _pass(way, images, step=step, by_position=True)
    return cut


def _settle_frames(
    way: "_Way", images: ImageIndex, cut: CutExport
) -> tuple[ImageIndex, int, str | None]:
    """Find which frames an SA-V file's entries and images are, once both are counted.

    Returns:
        The images by frame index, the step of the entries, and why numbers are no frame indices.
    """
    entries = len(cut.frame_indices)
    video_frames = read_video(cut.head, {}, way.where).total_frames_declared
    step = find_step(entries, video_frames, way.where)
    unique = all(len(found) == 1 for found in images.by_index.values())
    complete = len(images.by_index) == len(images.in_order)
    numbers = sorted(images.by_index) if unique and complete else []
    moved = image_numbers(numbers, entries=entries, step=step, video_frames=video_frames)
    if moved is None:
        return images, step, None
    by_index = {index: images.by_index[number] for number, index in moved[0].items()}
    return replace(images, by_index=by_index), step, moved[1]


@dataclass(frozen=True)
class _Way:
    """What every pass over one export has in common."""

    members: Members
    image_source: str
    staging: str
    frames_per_range: int
    caps: Caps
    label: str | None
    keep_orphans: bool

    @property
    def where(self) -> str:
        """The file with the frame records, for errors."""
        return f"{self.members.location}: {self.members.annotations}"


@dataclass
class _Ranges:
    """Collects range rows and writes a file whenever enough have come together."""

    staging: str
    image_source: str
    frames_per_range: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    files: list[RangeFile] = field(default_factory=list)
    json_bytes: int = 0
    added: int = 0
    images: int = 0
    image_bytes: int = 0

    def add(self, frame_json: bytes | None, index: int | None, found: tuple[Member, ...]) -> None:
        image = found[0] if len(found) == 1 else None
        row: dict[str, Any] = {
            "ordinal": self.added, "frame_json": frame_json, "frame_index_of_image": index,
            "images_found": len(found),
        }  # fmt: skip
        if image is not None:
            row |= locate_image(self.image_source, image)
            self.images += 1
            self.image_bytes += image.compressed_size
        self.rows.append(row)
        self.added += 1
        self.json_bytes += len(frame_json or b"")
        if len(self.rows) == self.frames_per_range or self.json_bytes > _RANGE_BYTES:
            self.close()

    def close(self) -> None:
        if not self.rows:
            return
        path = join(self.staging, f"range-{len(self.files):06d}.parquet")
        table = pa.Table.from_pylist(self.rows, schema=RANGE_SCHEMA)
        digest = write_table(path, table, durable=False)
        self.files.append(RangeFile(path=path, frames=len(self.rows), sha256=digest.sha256))
        self.rows, self.json_bytes = [], 0


def locate_image(source: str, image: Member) -> dict[str, Any]:
    """Give the columns that say where an image's bytes lie."""
    return {
        "image_source": source,
        "image_name": image.stored_name,
        "image_offset": image.offset,
        "image_compressed_bytes": image.compressed_size,
        "image_bytes": image.size,
        "image_method": image.method,
        "image_crc32": image.crc32,
    }


def _pass(
    way: _Way, images: ImageIndex, *, step: int = SAV_STEP, by_position: bool = False
) -> CutExport:
    members, where = way.members, way.where
    cutter = Cutter(where=where, caps=way.caps)
    ranges = _Ranges(way.staging, way.image_source, way.frames_per_range)
    indices: list[int] = []
    sampleable: dict[int, int] = {}
    without_image: dict[int, int] = {}
    used: set[str] = set()
    pictured: dict[int, Member] = {}
    all_meant: set[int] = set()
    for chunk in iter_member(members.location, members[members.annotations]):
        elements = cutter.feed(chunk)
        for element, start in zip(elements, cutter.starts, strict=True):
            ordinal = ranges.added
            record = parse_json(element, f"{where}: record {ordinal}", starts=((0, start),))
            stride = step if cutter.key == "masklet" else None
            index, name, has_objects = peek(record, ordinal=ordinal, step=stride)
            meant = meant_index(record) if index is None else index
            if by_position:
                found = images.in_order[ordinal : ordinal + 1]
            else:
                found = images.find(meant, name)
            if index is None:
                all_meant.update(() if meant is None else (meant,))
            else:
                indices.append(index)
                if len(found) == 1:
                    if has_objects and index not in sampleable:
                        pictured[index] = found[0]
                    else:
                        pictured.setdefault(index, found[0])
                if has_objects:
                    among = sampleable if len(found) == 1 else without_image
                    among.setdefault(index, ordinal)
            used.update(image.name for image in found)
            ranges.add(element, None, found)
    document = parse_json(cutter.finish(), where, starts=cutter.head_starts)
    head = document if isinstance(document, Mapping) else {}
    masklets = None
    if cutter.key == "masklet":
        kind = sav_kind(members.annotations)
        masklets = read_masklets(head, kind=kind, label=way.label, step=step, where=where)
    between = _add_orphans(way, ranges, images, used, step if masklets else None)
    ranges.close()
    return CutExport(
        head=head,
        ranges=tuple(ranges.files),
        frame_indices=indices,
        sampleable=sampleable or without_image,
        by_position=by_position,
        images=ranges.images,
        image_bytes=ranges.image_bytes,
        masklets=masklets,
        between=between,
        pictured=pictured,
        meant=frozenset(all_meant),
    )


def _add_orphans(
    way: _Way, ranges: _Ranges, images: ImageIndex, used: set[str], step: int | None
) -> int:
    """Give images that no record refers to rows of their own, by name order; count those unused."""
    index_of = {image.name: i for i, found in images.by_index.items() for image in found}
    unused = 0
    for image in images.in_order:
        if image.name in used:
            continue
        index = index_of.get(image.name)
        if not way.keep_orphans or (step is not None and index is not None and index % step):
            unused += 1
        else:
            ranges.add(None, index, (image,))
    return unused


def sample_frames(cut: CutExport, ordinals: Iterable[int]) -> list[tuple[RawFrame, dict[str, Any]]]:
    """Read some records back from the range files, with the place of their image.

    Args:
        cut: the export.
        ordinals: places in `annotations`.

    Returns:
        (record, image columns) of those that are readable frame records.
    """
    wanted = set(ordinals)
    found: list[tuple[RawFrame, dict[str, Any]]] = []
    first = 0
    for file in cut.ranges:
        places = [i for i in range(first, first + file.frames) if i in wanted]
        if places:
            table = read_table(file.path).take([place - first for place in places])
            for row in table.to_pylist():
                element = parse_json(row.pop("frame_json"), file.path)
                frame = read_frame(element, ordinal=row["ordinal"], masklets=cut.masklets)
                if isinstance(frame, RawFrame):
                    found.append((frame, row))
        first += file.frames
    return found
