"""Rows on their way to the output formats: what every format gets, and what it gives back.

A shard of the plan is written once, for all formats together: each image is read and checked once.
A format is a module with two functions: `open_part` writes its share of one shard on a worker,
`finish` makes the whole of all shares on the driver.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from engine.config import Config
from engine.storage import FileDigest, join

__all__ = ["ImageFile", "Part", "PartResult", "Samples", "SplitParts", "Turns"]

Turns = list[dict[str, str]]
"""A conversation: {"from": "human" or "gpt", "value": text}, in pairs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFile:
    """An image as it was read.

    Args:
        data: the file's bytes, unchanged; None only in a quarantine.
        name: its name in the export, without folders; None where there is no image.
        path: where a file with these bytes will be, for a dataset that names it instead of holding
            it; None for one that holds it.
        origin: a file of an earlier version of the dataset with just these bytes; None elsewhere.
        stored: the file in OUT that a format has of it already; None: it has to be written.
    """

    data: bytes | None
    name: str | None
    path: str | None = None
    origin: str | None = None
    stored: FileDigest | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Some consecutive rows of a shard.

    Args:
        frames: n rows of `FRAME_SCHEMA`.
        images: n, in the order of the rows.
        conversations: n, likewise; empty for rows that were set aside.
        reasons: n lists of findings, for rows that were set aside; else empty.
        stored: image files written so far, by (row, encoded anew): the next format links them.
    """

    frames: pa.Table
    images: Sequence[ImageFile]
    conversations: Sequence[Turns] = ()
    reasons: Sequence[Sequence[str]] = ()
    stored: dict[tuple[int, bool], FileDigest] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PartResult:
    """What one format's share of one shard left behind.

    Args:
        files: of the dataset, in place below the staging folder.
        pieces: paths of what the driver joins to larger files, by a name that the format knows.
    """

    files: tuple[FileDigest, ...]
    pieces: dict[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One format's share of one shard, while it is written.

    Args:
        staging: folder in which OUT grows.
        out: where it will be.
        split: name of the split.
        number: of the shard in its split, from 0.
        config: of the run.
        files: what the format has written of the dataset.
        pieces: what it has written for the driver to join.
        extracted: image files it has written: too many for the manifest to name.
    """

    staging: str
    out: str
    split: str
    number: int
    config: Config
    files: list[FileDigest] = field(default_factory=list)
    pieces: dict[str, str] = field(default_factory=dict)
    extracted: list[FileDigest] = field(default_factory=list)

    def path(self, name: str) -> str:
        """Say where a file of this name in OUT is to be written."""
        return join(self.staging, name)

    def piece(self, name: str) -> str:
        """Say where a piece for the driver is to be written: it is not published."""
        return join(self.staging, "parts", f"{name}-{self.split}-{self.number:05d}")

    def result(self) -> PartResult:
        """Give what was left behind."""
        return PartResult(files=tuple(self.files), pieces=dict(self.pieces))


@dataclass(frozen=True, kw_only=True)
class SplitParts:
    """All shares of one format in one split.

    Args:
        split: its name.
        rows: in all of them.
        parts: in the order of the plan.
    """

    split: str
    rows: int
    parts: tuple[PartResult, ...]

    @property
    def files(self) -> list[FileDigest]:
        """Files of the dataset that the workers wrote, in the order of the plan."""
        return [file for part in self.parts for file in part.files]

    def pieces(self, name: str) -> list[str]:
        """Paths of the pieces of one name, in the order of the plan."""
        return [part.pieces[name] for part in self.parts]
