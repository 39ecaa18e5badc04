"""Videos with expressions and masks, as Sa2VA's video datasets read ReVOS and MeViS.

    JPEGImages/<video>/<frame>.jpg
    meta_expressions_train_.json    {"videos": {video: {"frames": [frame, ...], "expressions":
    meta_expressions_valid_.json        {"0": {"exp": text, "obj_id": [...], "anno_id": [...]}}}}}
    meta_expressions_test_.json
    mask_dict.json                  {anno_id: [RLE or null, one for each of the sorted frames]}

The loader (`Sa2VA03RefVOS`, formerly `VideoReVOSDataset`) sorts the frame names as text, takes some
of them, looks up each `anno_id` as text, unites the masks of an expression frame by frame, and
opens `<folder>/<video>/<frame>.jpg`: so images are JPEG here, whatever `--image-format` says. The
names are those of ReVOS, which evaluation programs expect; one `mask_dict.json` serves all splits.
Where a split takes single frames, the frames that a video has in it are the video.

An expression has to mean its masks and no others, so there is one for a class and video: "the dog"
where one object is called so, else "all dogs" with the masks of all. Labels that sound the same
("dog", "Dogs") are one class, since the loader writes expressions in small letters. An object that
nobody named (`object_<id>`) has no word; only in a video without any named one "the tracked object"
or "all tracked objects" stand for them, which is true of them and of nothing else. A video
without visible objects has no expression, and the loader passes it over.

A worker leaves one line a frame; the driver joins them one video at a time.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import orjson

from engine.ascii_json import ascii_json
from engine.english import Noun, noun
from engine.image_files import video_folder, write_images
from engine.label_text import clean_label
from engine.line_files import joined_lines, open_piece
from engine.samples import Part, Samples, SplitParts
from engine.storage import AtomicFile, FileDigest, join

__all__ = ["finish", "open_part"]

_IMAGES = "revos/JPEGImages"
_PIECE = "revos-frames"
_COLUMNS = ["video_id", "width", "height", "masks", "labels", "object_ids"]
_SPLIT_WORDS = {"train": "train", "validation": "valid", "test": "test"}

# One object under one label: label, id, and which of those without an id in its frame it is.
_Track = tuple[str, int | None, int]


@contextmanager
def open_part(part: Part) -> Iterator[Callable[[Samples], None]]:
    """Write a shard's images and its piece; what is yielded takes its rows."""
    with open_piece(part, _PIECE) as sink:

        def write(samples: Samples) -> None:
            files = write_images(part, samples, _IMAGES, image_format="jpg")
            frames = samples.frames.select(_COLUMNS).to_pylist()
            sink.write(b"".join(map(_frame_line, frames, files)))

        yield write


def _frame_line(frame: dict[str, Any], file: FileDigest) -> bytes:
    name = file.path.rsplit("/", 1)[-1].removesuffix(".jpg")
    objects = zip(frame["labels"], frame["object_ids"], frame["masks"], strict=True)
    line = {
        "video": video_folder(frame["video_id"]),
        "frame": name,
        "size": [frame["width"], frame["height"]],
        "objects": [list(each) for each in objects],
    }
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def finish(staging: str, splits: Sequence[SplitParts]) -> list[FileDigest]:
    """Join the pieces to `mask_dict.json` and one file of expressions a split that has rows.

    Args:
        staging: folder in which OUT grows.
        splits: all of them.
    """
    present = [split for split in splits if split.rows]
    if not present:
        return []
    files: list[FileDigest] = []
    name = "revos/mask_dict.json"
    with AtomicFile(join(staging, name), name=name) as sink:
        masks = _Entries(sink, b"{", b"}\n")
        for split in present:
            files.append(_write_split(staging, split, masks))
        masks.close()
    return [*files, sink.digest()]


class _Entries:
    """A JSON object written key by key; its keys are different, which the caller sees to.

    Args:
        sink: where to.
        head: what stands before the first key.
        tail: what stands after the last value.
    """

    def __init__(self, sink: AtomicFile, head: bytes, tail: bytes) -> None:
        self._sink = sink
        self._between, self._tail = head + b"\n", tail
        self.written = 0

    def add(self, key: str, value: Any) -> None:
        """Write one more."""
        self._sink.write(self._between + ascii_json(key) + b":" + ascii_json(value))
        self._between = b",\n"
        self.written += 1

    def close(self) -> None:
        """Write the end."""
        if not self.written:
            self._sink.write(self._between)
        self._sink.write(b"\n" + self._tail)


def _write_split(staging: str, split: SplitParts, masks: _Entries) -> FileDigest:
    name = f"revos/meta_expressions_{_SPLIT_WORDS[split.split]}_.json"
    with AtomicFile(join(staging, name), name=name) as sink:
        videos = _Entries(sink, b'{"videos":{', b"}}\n")
        for video, frames in _videos(map(orjson.loads, joined_lines(split.pieces(_PIECE)))):
            videos.add(video, _video_entry(frames, masks))
        videos.close()
    return sink.digest()


def _videos(frames: Iterator[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Gather the frames of each video.

    The plan sorts rows by video, but for the first: it is the first that has objects, and belongs
    to a video that may begin later.
    """
    first = next(frames, None)
    for video, group in groupby(frames, key=lambda frame: str(frame["video"])):
        gathered = list(group)
        if first is not None and first["video"] == video:
            gathered.append(first)
            first = None
        yield video, gathered
    if first is not None:
        yield first["video"], [first]


def _video_entry(frames: list[dict[str, Any]], masks: _Entries) -> dict[str, Any]:
    """Give a video's entry, and write the masks that its expressions name."""
    frames = sorted(frames, key=lambda frame: str(frame["frame"]))  # as the loader sorts them
    tracks: defaultdict[_Track, dict[int, Any]] = defaultdict(dict)
    for place, frame in enumerate(frames):
        seen: Counter[tuple[str, int | None]] = Counter()
        for label, object_id, mask in frame["objects"]:
            tracks[label, object_id, seen[label, object_id]][place] = mask
            seen[label, object_id] += 1
    expressions = {}
    for number, (text, members) in enumerate(_expressions(list(tracks))):
        annotations = []
        for track in members:
            annotations.append(masks.written)
            shown = tracks[track]
            masks.add(str(masks.written), [shown.get(place) for place in range(len(frames))])
        ids = sorted({object_id for _, object_id, _ in members if object_id is not None})
        expressions[str(number)] = {"exp": text, "obj_id": ids, "anno_id": annotations}
    width, height = frames[0]["size"]
    return {
        "frames": [frame["frame"] for frame in frames],
        "height": height,
        "width": width,
        "expressions": expressions,
    }


def _expressions(tracks: Sequence[_Track]) -> Iterator[tuple[str, list[_Track]]]:
    """Give each expression with the tracks it means, in the order of the words."""
    unnamed: list[_Track] = []
    classes: defaultdict[str, list[_Track]] = defaultdict(list)
    for track in sorted(tracks, key=lambda each: (each[0], each[1] is None, each[1] or 0, each[2])):
        word = _spoken(track[0])
        members = unnamed if word is None else classes[word.bare_many.lower()]
        members.append(track)
    for _, members in sorted(classes.items()):
        word = _spoken(members[0][0])
        if word is not None:
            alone = _objects(members) == 1
            yield (f"the {word.bare_one}" if alone else f"all {word.bare_many}"), members
    if unnamed and not classes:
        alone = _objects(unnamed) == 1
        yield ("the tracked object" if alone else "all tracked objects"), unnamed


def _spoken(label: str) -> Noun | None:
    """How a label is spoken of; None where it names nothing.

    The loader takes what has a question mark for a whole question, and full stops out of the rest.
    """
    name = clean_label(clean_label(label).replace("?", " ").replace(".", ""))
    return noun(name) if name else None


def _objects(tracks: Sequence[_Track]) -> int:
    """Count the objects behind tracks: one with an id may have gone by several labels."""
    return len(
        {(label if object_id is None else object_id, number) for label, object_id, number in tracks}
    )
