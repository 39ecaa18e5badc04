"""Files of JSON lines: pieces written by workers, joined by the driver in bounded memory.

ASCII throughout, since several trainers open such files without saying an encoding. Readers take
the type of every key from the first megabytes, so a row with objects has to come first: the plan
puts one there, and where its image then turned out bad, the next one is moved to the front here.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from engine.byte_ranges import local_path, url_filesystem
from engine.samples import Part
from engine.storage import AtomicFile, FileDigest, join

__all__ = ["first_without", "joined_lines", "open_piece", "write_joined"]

# Lines written in one call: a few megabytes.
_BLOCK_LINES = 1000


@contextmanager
def open_piece(part: Part, name: str) -> Iterator[AtomicFile]:
    """Write one of a shard's pieces, which the driver finds under its name in `part.pieces`."""
    path = part.piece(name)
    with AtomicFile(path, durable=False) as sink:
        yield sink
    part.pieces[name] = path


def joined_lines(pieces: Sequence[str], *, first: int = 0) -> Iterator[bytes]:
    """Read the lines of several pieces, without their line breaks.

    Args:
        pieces: paths or URLs, in order.
        first: number of the line, from 0 over all pieces, that is to come before all others.
    """
    if first:
        yield from islice(_lines(pieces), first, first + 1)
    yield from (line for number, line in enumerate(_lines(pieces)) if number != first or not first)


def _lines(pieces: Sequence[str]) -> Iterator[bytes]:
    for piece in pieces:
        place = local_path(piece)
        if place is None:
            filesystem, inner = url_filesystem(piece)
            opened = filesystem.open(inner, "rb")
        else:
            opened = place.open("rb")
        with opened as file:
            yield from (line.rstrip(b"\n") for line in file)


def first_without(pieces: Sequence[str], mark: bytes) -> int:
    """Give the number of the first line that does not hold `mark`; 0 if every line does."""
    found = (number for number, line in enumerate(_lines(pieces)) if mark not in line)
    return next(found, 0)


def write_joined(
    staging: str, name: str, lines: Iterable[bytes], *, start: bytes = b"", between: bytes = b"\n",
    end: bytes = b"\n",
) -> FileDigest:  # fmt: skip
    """Write a file of many lines, holding only some of them in memory.

    Args:
        staging: folder in which OUT grows.
        name: the file's name in OUT.
        lines: without their line breaks.
        start: what stands before the first of them.
        between: what stands between two.
        end: what stands behind the last.
    """
    rest = iter(lines)
    with AtomicFile(join(staging, name), name=name) as sink:
        sink.write(start)
        separator = b""
        while block := list(islice(rest, _BLOCK_LINES)):
            sink.write(separator + between.join(block))
            separator = between
        sink.write(end)
    return sink.digest()
