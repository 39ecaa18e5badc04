"""Shards that a dataset holds and keeps: linked into the next version, never written again.

An added export makes new shards; those that were there stay as they are, to the byte. Only what
holds the rows of a whole split in one file (lines, COCO, ReVOS) is made anew, from the index: it
has the rows with their texts, and the digest shards name the image files. So no image is read, and
a row keeps its texts whatever this program would write now.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.byte_ranges import local_path
from engine.config import Config
from engine.conversations import dialogue
from engine.formats import open_part, shard_file
from engine.image_files import digest_name
from engine.index_files import index_name
from engine.phrases import Turn
from engine.plan import Shard
from engine.samples import ImageFile, Part, Samples
from engine.shards import ShardResult
from engine.storage import FileDigest, copy_file, join, link_file
from engine.tables import read_table
from engine.text_report import tally, write_tally
from engine.turn_rows import turns_of

__all__ = ["HeldDataset", "HeldShardTask", "keep_files", "keep_shard"]

_BATCH_ROWS = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldDataset:
    """What the next version of a dataset keeps of this one; arrays go by the frames of both.

    Args:
        files: of the manifest, by name.
        shards: those that are kept, quarantined ones too, by split and number.
        excluded: files of the index that hold frames left out by the split, and are kept.
        intact: bool (n,), frames that lie in these shards and files.
        newcomers: bool (n,), frames that are not in the dataset yet.
        codes: int8 (n,), split of frames that have one; -1 for the others.
        left_out: int8 (n,), place in `division.EXCLUSIONS` of frames that were left out; else -1.
        folds: int8 (n,), cross-validation fold; -1 for the others.
        next_number: of the first new shard, by split (and by what index files are called after).
    """

    files: Mapping[str, FileDigest]
    shards: tuple[Shard, ...]
    excluded: tuple[FileDigest, ...]
    intact: NDArray[np.bool_]
    newcomers: NDArray[np.bool_]
    codes: NDArray[np.int8]
    left_out: NDArray[np.int8]
    folds: NDArray[np.int8]
    next_number: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class HeldShardTask:
    """One shard to be kept.

    Args:
        staging: folder in which the next version grows.
        out: the dataset.
        split: name of the split, or "quarantine".
        number: of the shard in its split.
        config: of the dataset.
        files: of the manifest that are this shard's, by name.
    """

    staging: str
    out: str
    split: str
    number: int
    config: Config
    files: Mapping[str, FileDigest]

    @classmethod
    def of(
        cls, shard: Shard, held: HeldDataset, *, staging: str, out: str, config: Config
    ) -> "HeldShardTask":
        """Make the task for one shard of a dataset."""
        names = [index_name(shard.split, shard.number)]
        for name in _formats(shard.split, config):
            own = shard_file(name, shard.split, shard.number)
            names += [own] if own else []
            names.append(digest_name(name, shard.split, shard.number))
        files = {name: held.files[name] for name in names if name in held.files}
        return cls(
            staging=staging, out=out, split=shard.split, number=shard.number, config=config,
            files=files,
        )  # fmt: skip


def _formats(split: str, config: Config) -> tuple[str, ...]:
    return ("quarantine",) if split == "quarantine" else config.formats


def keep_shard(task: HeldShardTask) -> ShardResult:
    """Take one shard over into the next version."""
    index = index_name(task.split, task.number)
    digests = {
        name: task.files[shard]
        for name in _formats(task.split, task.config)
        if (shard := digest_name(name, task.split, task.number)) in task.files
    }
    images = {name: _images(task.out, digest.path) for name, digest in digests.items()}
    keep_files(task.out, task.staging, [*task.files, *(i.path for n in images.values() for i in n)])
    rows = read_table(join(task.out, index))
    turns = [each or [] for each in turns_of(rows["turns"])]
    parts = {
        name: Part(
            staging=task.staging, out=task.out, split=task.split, number=task.number,
            config=task.config,
        )
        for name in _formats(task.split, task.config)
    }  # fmt: skip
    for name, part in parts.items():
        own = shard_file(name, task.split, task.number)
        if own is not None:
            part.files.append(task.files[own])
            continue
        with open_part(name, part) as write:
            for samples in _batches(rows, turns, images.get(name, [])):  # all may be bad
                write(samples)
    texts_path = join(task.staging, "parts", f"texts-{task.split}-{task.number:05d}.json")
    write_tally(texts_path, tally(turns if task.split != "quarantine" else []))
    return ShardResult(
        parts={name: part.result() for name, part in parts.items()},
        index=task.files[index],
        digests=tuple(digests.values()),
        rows=len(rows),
        objects=pc.sum(pc.list_value_length(rows["labels"])).as_py() or 0,
        left_out=(),
        issues=(),
        image_bytes=0,
        texts_path=texts_path,
    )


def keep_files(out: str, staging: str, names: list[str]) -> None:
    """Let files of a dataset be in its next version too.

    On an object store they stay where they are, for its publication replaces no whole folder; on a
    file system without hard links they are copied.
    """
    if local_path(out) is None:
        return
    for name in names:
        source, target = join(out, name), join(staging, name)
        if not link_file(source, target):
            copy_file(source, target)


def _images(out: str, name: str) -> list[FileDigest]:
    rows: list[dict[str, Any]] = read_table(join(out, name)).to_pylist()
    return [FileDigest(**row) for row in rows]


def _batches(
    rows: pa.Table, turns: list[list[Turn]], images: list[FileDigest]
) -> Iterator[Samples]:
    for start in range(0, len(rows), _BATCH_ROWS):
        stop = start + _BATCH_ROWS
        yield Samples(
            frames=rows.slice(start, _BATCH_ROWS),
            images=[ImageFile(data=None, name=None, stored=file) for file in images[start:stop]],
            conversations=[dialogue(each) for each in turns[start:stop]],
        )
