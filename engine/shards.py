"""Writing a shard: its rows to every format at once, each image read and checked once.

A plain function of a plain record, without Ray. Beside the formats every shard writes its part of
`OUT/index`: the checked rows as they are, without texts and images, and where each has gone. From
them a dataset can be split anew and checked without reading an export again.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine import hf_layout, parquet_layout
from engine.apart import UNREAD, Care, each_apart
from engine.byte_ranges import reading_ahead
from engine.child_process import Died
from engine.config import Config
from engine.conversations import TextRules, VisibleObject, compose, dialogue
from engine.formats import open_part
from engine.frame_check import image_problem
from engine.image_files import write_digests
from engine.index_files import IndexPart, index_name, write_index
from engine.measures import note, note_findings
from engine.members import MemberError
from engine.phrases import Turn
from engine.pixels import is_jpeg
from engine.prepared_rows import image_origin, image_ranges, read_image, take_rows, take_turns
from engine.records import FRAME_SCHEMA, Issue
from engine.samples import ImageFile, Part, PartResult, Samples
from engine.storage import FileDigest, file_name, join, remove, temporary_folder
from engine.text_report import TextTally, read_tally, tally, write_tally

__all__ = ["ShardResult", "ShardTask", "check_level", "write_shard"]

# One record batch: small enough for a shard to be written in bounded memory.
_BATCH_BYTES = 16 * 2**20
_BATCH_ROWS = 256


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """One shard to be written.

    Args:
        staging: folder in which OUT grows.
        out: where it will be.
        split: name of the split, or "quarantine".
        number: of the shard in its split, from 0.
        rows: (row file, rows in it) in the order of the shard.
        config: of the run.
        texts: what holds for all texts of the run.
        reasons: for a quarantine shard, why each row was set aside; None for a shard to train on.
        folds: int8, cross-validation fold of each row, -1 for none; None without folds.
        keep_texts: rows that have texts already keep them.
        care: for a shard that has killed workers.
    """

    staging: str
    out: str
    split: str
    number: int
    rows: tuple[tuple[str, np.ndarray[Any, Any]], ...]
    config: Config
    texts: TextRules
    reasons: tuple[tuple[str, ...], ...] | None = None
    folds: np.ndarray[Any, Any] | None = None
    keep_texts: bool = False
    care: Care = Care.NONE

    @property
    def formats(self) -> tuple[str, ...]:
        """Names of the formats that the shard is written in."""
        return self.config.formats if self.reasons is None else ("quarantine",)


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """What the writing of a shard came to.

    Args:
        parts: of each format, by its name.
        index: the shard's file in `OUT/index`.
        digests: files in `OUT/digests`: what the formats extracted.
        rows: written.
        objects: visible instances in them.
        left_out: places in the shard whose image turned out bad; always empty in a quarantine.
        issues: why.
        image_bytes: taken over.
        texts_path: file of what the texts are like.
    """

    parts: dict[str, PartResult]
    index: FileDigest
    digests: tuple[FileDigest, ...]
    rows: int
    objects: int
    left_out: tuple[int, ...]
    issues: tuple[Issue, ...]
    image_bytes: int
    texts_path: str

    @property
    def texts(self) -> TextTally:
        """What the texts are like; read anew each time, so that results stay small."""
        return read_tally(self.texts_path)

    @property
    def files(self) -> list[FileDigest]:
        """Every file of the dataset that was written."""
        formats = (file for part in self.parts.values() for file in part.files)
        return [self.index, *self.digests, *formats]


def write_shard(task: ShardTask) -> ShardResult:
    """Write one shard: rows in the plan's order, image bytes unchanged.

    An image whose CRC, end or (where asked for) pixels are bad is left out and reported; in a
    quarantine its row stays, without the image. The files are not waited for to be on the disk.
    """
    frames = pa.concat_tables([take_rows(file, rows) for file, rows in task.rows])
    frames = frames.combine_chunks()
    keep_all = task.reasons is not None
    written: list[list[Turn] | None] = [None] * len(frames)
    if task.keep_texts:
        written = [turns for file, rows in task.rows for turns in take_turns(file, rows)]
    issues: list[Issue] = []
    left_out: list[int] = []
    places: list[str] = []
    turns: list[list[Turn]] = []
    image_bytes = 0
    parts = {
        name: Part(
            staging=task.staging, out=task.out, split=task.split, number=task.number,
            config=task.config,
        )
        for name in task.formats
    }  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(reading_ahead(image_ranges(frames)))
        writers = [stack.enter_context(_open(name, part)) for name, part in parts.items()]
        for images in _image_batches(task, frames, written):
            issues += [image.issue for image in images if image.issue]
            left_out += [image.place for image in images if image.data is None]
            kept = [image for image in images if keep_all or image.data is not None]
            if kept:
                samples = _samples(task, frames, kept, turns, written)
                for write in writers:
                    write(samples)
                places += _first_files(samples)
            image_bytes += sum(len(image.data or b"") for image in kept)
    folds = task.folds
    if not keep_all and left_out:
        stay = np.delete(np.arange(len(frames)), left_out)
        frames = frames.take(pa.array(stay))
        folds = None if folds is None else folds[stay]
    texts_path = join(task.staging, "parts", f"texts-{task.split}-{task.number:05d}.json")
    write_tally(texts_path, tally(turns))
    note("samples_written", len(frames))
    note_findings(issue.code for issue in issues)
    return ShardResult(
        parts={name: part.result() for name, part in parts.items()},
        index=_write_index(task, frames, places, folds, turns),
        digests=tuple(
            file for name, part in parts.items() if (file := write_digests(part, name)) is not None
        ),
        rows=len(frames),
        objects=pc.sum(pc.list_value_length(frames["labels"])).as_py() or 0,
        left_out=() if keep_all else tuple(left_out),
        issues=tuple(issues),
        image_bytes=image_bytes,
        texts_path=texts_path,
    )


def _open(name: str, part: Part) -> Any:
    return hf_layout.open_quarantine(part) if name == "quarantine" else open_part(name, part)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Image:
    """An image read for a row: its bytes, or None and why not."""

    place: int
    data: bytes | None
    name: str | None
    issue: Issue | None = None
    origin: str | None = None


def _image_batches(
    task: ShardTask, frames: pa.Table, written: list[list[Turn] | None]
) -> Iterator[list[_Image]]:
    """Read the images of a shard, as many at a time as make one record batch."""
    batch: list[_Image] = []
    n_bytes = 0
    for image in _images(task, frames, written):
        batch.append(image)
        n_bytes += len(image.data or b"")
        if n_bytes >= _BATCH_BYTES or len(batch) == _BATCH_ROWS:
            yield batch
            batch, n_bytes = [], 0
    if batch:
        yield batch


def _images(
    task: ShardTask, frames: pa.Table, written: list[list[Turn] | None]
) -> Iterator[_Image]:
    """Read every image; with care, rows that kill who reads or writes them are left out."""
    columns = [name for name in FRAME_SCHEMA.names if name.startswith("image_")]
    rows = frames.select(["id", "video_id", "frame_index", *columns]).to_pylist()
    if task.care is not Care.APART:
        yield from map(partial(_read_image, task), enumerate(rows))
        return
    scratch = temporary_folder("sam2prep-")  # here: who is killed cannot remove it
    try:
        items = (
            _Alone(place=n, row=row, frame=frames.take(pa.array([n])), written=written[n])
            for n, row in enumerate(rows)
        )
        attempt = partial(_read_and_write_alone, replace(task, staging=scratch))
        for place, outcome in enumerate(each_apart(attempt, items)):
            if isinstance(outcome, Died):
                yield _bad_image(task, place, rows[place], "frame_crashed", outcome.sentence)
            else:
                yield outcome
    finally:
        remove(scratch)


@dataclass(frozen=True, kw_only=True)
class _Alone:
    """A row to be tried by itself: its place in the shard, what it says, its texts if it has."""

    place: int
    row: dict[str, Any]
    frame: pa.Table
    written: list[Turn] | None


def _read_and_write_alone(task: ShardTask, item: _Alone) -> _Image:
    """Read an image and write its row to a scratch folder: whether both can be survived."""
    image = _read_image(task, (item.place, item.row))
    if image.data is None and task.reasons is None:
        return image
    reasons = None if task.reasons is None else (task.reasons[item.place],)
    alone = replace(task, reasons=reasons)
    samples = _samples(alone, item.frame, [replace(image, place=0)], [], [item.written])
    for name in task.formats:
        part = Part(
            staging=task.staging, out=task.out, split=task.split, number=task.number,
            config=task.config,
        )  # fmt: skip
        with _open(name, part) as write:
            write(samples)
    return image


def _read_image(task: ShardTask, item: tuple[int, dict[str, Any]]) -> _Image:
    place, row = item
    if row["image_source"] is None:  # only a quarantined row has no image
        return _Image(place=place, data=None, name=None)
    if _is_known(task, place, "frame_crashed"):
        return _Image(place=place, data=None, name=_name(row))
    if task.care is Care.UNREAD:
        return _bad_image(task, place, row, "frame_crashed", UNREAD)
    try:
        data = read_image(row)
        if data is None:  # set aside without it before
            return _Image(place=place, data=None, name=_name(row))
        problem = image_problem(data, check_level(task.config, data))
    except MemberError as error:
        problem = ("image_unreadable", error.complaint)
    if problem is None:
        return _Image(place=place, data=data, name=_name(row), origin=image_origin(row))
    return _bad_image(task, place, row, *problem)


def _bad_image(task: ShardTask, place: int, row: dict[str, Any], code: str, message: str) -> _Image:
    """A row without its image, and why, unless that is among its reasons already."""
    if _is_known(task, place, code):
        return _Image(place=place, data=None, name=_name(row))
    issue = Issue(
        code=code, source=file_name(row["image_source"]), video_id=row["video_id"],
        frame_id=row["id"], frame_index=row["frame_index"], message=message,
    )  # fmt: skip
    return _Image(place=place, data=None, name=_name(row), issue=issue)


def _is_known(task: ShardTask, place: int, code: str) -> bool:
    return task.reasons is not None and any(
        reason.startswith(f"{code}:") for reason in task.reasons[place]
    )


def _name(row: dict[str, Any]) -> str:
    return str(row["image_name"].rsplit("/", 1)[-1])


def check_level(config: Config, data: bytes) -> str:
    """Say how far an image is checked: one that may be encoded anew has to be decodable.

    Args:
        config: of the run.
        data: the image file, or its beginning.
    """
    wanted = config.image_format == "jpg" or "revos" in config.formats
    anew = wanted and not is_jpeg(data)
    return "decode" if anew else config.check_images


def _samples(
    task: ShardTask,
    frames: pa.Table,
    kept: list[_Image],
    turns: list[list[Turn]],
    written: list[list[Turn] | None],
) -> Samples:
    """Put the rows of one batch together with their images and texts; the latter join `turns`."""
    batch = frames.take(pa.array([image.place for image in kept], pa.int64()))
    images = [ImageFile(data=image.data, name=image.name, origin=image.origin) for image in kept]
    if task.reasons is None:
        composed = _compose(task, batch, [written[image.place] for image in kept])
        turns += composed
        conversations = [dialogue(each) for each in composed]
        return Samples(frames=batch, images=images, conversations=conversations)
    reasons = [[*task.reasons[image.place], *_found(image)] for image in kept]
    return Samples(frames=batch, images=images, reasons=reasons)


def _found(image: _Image) -> list[str]:
    return [f"{image.issue.code}: {image.issue.message}"] if image.issue else []


def _compose(
    task: ShardTask, frames: pa.Table, written: list[list[Turn] | None]
) -> list[list[Turn]]:
    """Compose the texts of rows that have none yet."""
    columns = ["id", "width", "height", "labels", "bounding_boxes", "areas", "hidden_labels"]
    return [
        before
        if before is not None
        else compose(
            task.texts,
            frame_id=row["id"],
            width=row["width"],
            height=row["height"],
            objects=[
                VisibleObject(label=label, box=tuple(box), area=area)
                for label, box, area in zip(
                    row["labels"], row["bounding_boxes"], row["areas"], strict=True
                )
            ],
            hidden=row["hidden_labels"],
        )
        for row, before in zip(frames.select(columns).to_pylist(), written, strict=True)
    ]


def _first_files(samples: Samples) -> list[str]:
    """Of each row the image file with its bytes unchanged, if there is one; empty if none is."""
    first: dict[int, str] = {}
    for (row, _), file in sorted(samples.stored.items(), key=lambda item: item[0]):
        first.setdefault(row, file.path)
    return [first[row] for row in sorted(first)]


def _write_index(
    task: ShardTask, frames: pa.Table, files: list[str], folds: Any, turns: list[list[Turn]]
) -> FileDigest:
    shard = _image_shard(task)
    kept = task.reasons is None
    part = IndexPart(
        split=task.split if kept else None,
        status="kept" if kept else "quarantined",
        shard=shard if shard else files or None,
        folds=folds,
        turns=turns,
    )
    return write_index(task.staging, index_name(task.split, task.number), frames, part)


def _image_shard(task: ShardTask) -> str | None:
    """The file of OUT that holds the images of a shard; None if each is a file of its own."""
    if task.reasons is not None:
        return hf_layout.quarantine_name(task.number)
    if "hf" in task.formats and task.config.images == "embed":
        return hf_layout.shard_name(task.split, task.number)
    embeds = "parquet" in task.formats
    return parquet_layout.parquet_name(task.split, task.number) if embeds else None
