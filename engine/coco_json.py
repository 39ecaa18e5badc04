"""COCO instances: `annotations/instances_<split>.json` with compressed RLE, and images as files.

The layout is that of the COCO data format (cocodataset.org, "Data format"), with what video readers
add to it (CocoVID, TAO): `videos`, and in an image `video_id` and `frame_index`, in an annotation
`track_id`. A mask is the dictionary that `pycocotools` takes for compressed RLE; `iscrowd` stays 0,
which says how a mask is matched, not how it is written. Images without objects stay: a detector
needs them as much.

Ids are unique over all splits and count from 1: categories by name, videos and tracks by sorted
name, so that a number means the same in every file; images and annotations as they come. So the
driver gives them. Workers leave three pieces a shard: images, annotations, and the names in them.
The driver reads the names of all shards, then streams the rest, a shard at a time; what it holds
throughout is one entry a class, video and track.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson

from engine.ascii_json import ascii_json
from engine.image_files import video_folder, write_images
from engine.line_files import open_piece
from engine.samples import Part, Samples, SplitParts
from engine.storage import AtomicFile, FileDigest, join, read_bytes

__all__ = ["finish", "open_part"]

_IMAGES = "coco/images"
_ENTRIES, _MASKS, _NAMES = "coco-images", "coco-annotations", "coco-names"
_COLUMNS = [
    "video_id", "frame_index", "width", "height", "masks", "bounding_boxes", "labels", "object_ids",
    "areas",
]  # fmt: skip


@contextmanager
def open_part(part: Part) -> Iterator[Callable[[Samples], None]]:
    """Write a shard's images and pieces; what is yielded takes its rows."""
    names = _Names()
    with open_piece(part, _ENTRIES) as images, open_piece(part, _MASKS) as annotations:
        rows = 0

        def write(samples: Samples) -> None:
            nonlocal rows
            files = write_images(part, samples, _IMAGES)
            frames = samples.frames.select(_COLUMNS).to_pylist()
            images.write(b"".join(map(_image_line, frames, files)))
            for row, frame in enumerate(frames, start=rows):
                names.add(frame)
                annotations.write(b"".join(_annotation_lines(row, frame)))
            rows += len(frames)

        yield write
    with open_piece(part, _NAMES) as sink:
        sink.write(orjson.dumps(names.lists()))


def _image_line(frame: dict[str, Any], file: FileDigest) -> bytes:
    image = {
        "file_name": file.path.removeprefix(f"{_IMAGES}/"),
        "width": frame["width"],
        "height": frame["height"],
        "video_id": frame["video_id"],
        "frame_index": frame["frame_index"],
    }
    return orjson.dumps(image, option=orjson.OPT_APPEND_NEWLINE)


def _annotation_lines(row: int, frame: dict[str, Any]) -> Iterator[bytes]:
    """Lines of one frame: the row in the shard for the image, names where there will be ids."""
    keys = ("masks", "bounding_boxes", "labels", "object_ids", "areas")
    for mask, box, label, object_id, area in zip(*(frame[key] for key in keys), strict=True):
        annotation = {
            "image_id": row,
            "category_id": label,
            "track_id": frame["video_id"],
            "object_id": object_id,
            "bbox": box,
            "area": area,
            "segmentation": mask,
            "iscrowd": 0,
        }
        yield orjson.dumps(annotation, option=orjson.OPT_APPEND_NEWLINE)


class _Names:
    """The names that need ids, of a shard or of all shards."""

    def __init__(self) -> None:
        self._labels: set[str] = set()
        self._videos: dict[str, tuple[int, int]] = {}
        self._tracks: set[tuple[str, int]] = set()

    def add(self, frame: dict[str, Any]) -> None:
        """Take the names of one frame."""
        video = frame["video_id"]
        self._labels.update(frame["labels"])
        self._videos[video] = (frame["width"], frame["height"])
        self._tracks.update((video, each) for each in frame["object_ids"] if each is not None)

    def join(self, lists: dict[str, Any]) -> None:
        """Take the names of a shard, as `lists` gives them."""
        self._labels.update(lists["labels"])
        self._videos.update({video: (width, height) for video, width, height in lists["videos"]})
        self._tracks.update((video, each) for video, each in lists["tracks"])

    def lists(self) -> dict[str, list[Any]]:
        """Give them as JSON types, sorted."""
        return {
            "labels": sorted(self._labels),
            "videos": [[video, *size] for video, size in sorted(self._videos.items())],
            "tracks": [list(track) for track in sorted(self._tracks)],
        }


def finish(staging: str, splits: Sequence[SplitParts]) -> list[FileDigest]:
    """Join the pieces to one file a split; a split without rows is left out.

    Args:
        staging: folder in which OUT grows.
        splits: all of them.
    """
    names = _Names()
    for split in splits:
        for piece in split.pieces(_NAMES):
            names.join(orjson.loads(read_bytes(piece)))
    numbering = _Numbering(names.lists())
    files: list[FileDigest] = []
    for split in splits:
        if split.rows:
            name = f"coco/annotations/instances_{split.split}.json"
            with AtomicFile(join(staging, name), name=name) as sink:
                _write_split(sink, split, numbering)
            files.append(sink.digest())
    return files


class _Numbering:
    """Turns names into ids, and counts images and annotations through all splits.

    Args:
        lists: all names, as `_Names.lists` gives them.
    """

    def __init__(self, lists: dict[str, list[Any]]) -> None:
        self._categories = {label: number for number, label in enumerate(lists["labels"], 1)}
        self._sizes = {video: tuple(size) for video, *size in lists["videos"]}
        self._videos = {video: number for number, video in enumerate(self._sizes, 1)}
        self._tracks = {tuple(track): number for number, track in enumerate(lists["tracks"], 1)}
        self._images = 0
        self._annotations = 0

    def categories(self) -> list[bytes]:
        """Entries of all classes."""
        return [
            ascii_json({"id": number, "name": label, "supercategory": ""})
            for label, number in self._categories.items()
        ]

    def videos(self) -> list[bytes]:
        """Entries of all videos; `name` is that of the folder."""
        entries = []
        for video, number in self._videos.items():
            width, height = self._sizes[video]
            entry = {"id": number, "name": video_folder(video), "width": width, "height": height}
            entries.append(ascii_json(entry))
        return entries

    def images(self, piece: str, starts: list[int]) -> list[bytes]:
        """Entries of a shard's images; what was counted before them is put to `starts`."""
        starts.append(self._images)
        entries = []
        for line in read_bytes(piece).splitlines():
            self._images += 1
            image = orjson.loads(line)
            image["video_id"] = self._videos[image["video_id"]]
            entries.append(ascii_json({"id": self._images} | image))
        return entries

    def annotations(self, piece: str, start: int) -> list[bytes]:
        """Entries of a shard's annotations; `start` images were counted before its own."""
        entries = []
        for line in read_bytes(piece).splitlines():
            self._annotations += 1
            annotation = orjson.loads(line)
            track = (annotation["track_id"], annotation["object_id"])
            annotation["image_id"] += start + 1
            annotation["category_id"] = self._categories[annotation["category_id"]]
            annotation["track_id"] = self._tracks.get(track)  # nobody followed an object without id
            entries.append(ascii_json({"id": self._annotations} | annotation))
        return entries


def _write_split(sink: AtomicFile, split: SplitParts, numbering: _Numbering) -> None:
    """Write one file, an entry a line, so that gigabytes can be looked into with `head`."""
    about = {"description": f"{split.split} split, prepared by sam2prep"}
    sink.write(b'{"info":' + ascii_json(about) + b',\n"licenses":[]')
    _write_list(sink, b"categories", [numbering.categories()])
    _write_list(sink, b"videos", [numbering.videos()])
    starts: list[int] = []
    _write_list(
        sink, b"images", (numbering.images(piece, starts) for piece in split.pieces(_ENTRIES))
    )
    shards = zip(split.pieces(_MASKS), starts, strict=True)
    _write_list(
        sink, b"annotations", (numbering.annotations(piece, start) for piece, start in shards)
    )
    sink.write(b"}\n")


def _write_list(sink: AtomicFile, key: bytes, batches: Iterable[list[bytes]]) -> None:
    """Write a further key with an array of encoded entries, a batch of them at a time."""
    sink.write(b',\n"' + key + b'":[')
    between = b"\n"
    for entries in batches:
        if entries:
            sink.write(between + b",\n".join(entries))
            between = b",\n"
    sink.write(b"\n]")
