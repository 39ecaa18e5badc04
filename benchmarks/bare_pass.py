"""The physical limit: read every member of ZIPs, and write its bytes once into Arrow files.

With as many processes as the engine has workers: one read a member into a buffer that stays (new
memory for each would cost a sixth of the whole), inflated and summed by the library the engine
uses, written through pyarrow's IPC stream writer in batches that fit the processor's cache, no
digest, no fsync, no check but the CRC. Nothing that makes a dataset of the same bytes can do less.

Two passes more show what lies between it and a dataset: `--digest` takes the SHA-256 of every
byte, as a manifest needs it; `--zipfile` reads by Python's own `zipfile`, as one would write it.
`--decode` instead decodes every image with Pillow and writes nothing: the limit of a check of every
pixel; `--read-only` ends behind the CRC.
"""

import hashlib
import json
import multiprocessing
import os
import struct
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import click
import pyarrow as pa
from zlib_ng import zlib_ng

from benchmarks.export_pieces import Entry, Piece, pieces_of

__all__ = ["bare_pass", "main"]

Mode = Literal["write", "digest", "zipfile", "read", "decode"]
_ReadRange = Callable[[Entry, int, int], memoryview]

_SCHEMA = pa.schema([("name", pa.string()), ("bytes", pa.binary())])
_BATCH_BYTES = 4 * 2**20  # in the second-level cache the bytes are still warm when they are written
_LOCAL_HEADER_BYTES = 30
_ROOM_BYTES = 128  # for the local header's extra field, which the directory does not know
_LONGEST_EXTRA_BYTES = 2**17  # name and extra field have lengths of 16 bits
_IMAGES = (".jpg", ".jpeg", ".png")


def bare_pass(
    pieces: Sequence[Piece], out: Path, processes: int, *, mode: Mode = "write"
) -> dict[str, Any]:
    """Pass over all pieces.

    Args:
        pieces: of `pieces_of`.
        out: folder for an Arrow file a piece, made if it is not there; nothing is written into it
            by the modes "read" and "decode".
        processes: at once; with one, everything is done in this process.
        mode: who reads, and what becomes of the bytes behind the CRC.

    Returns:
        Members, `stored_bytes` read, `size_bytes` of content, images decoded; `seconds` on the
        clock, and of them, summed over the processes, those of reading, inflating (with the CRC),
        writing, decoding and of digests.

    Raises:
        ValueError: a member is not what the directory says.
        zipfile.BadZipFile: the same, said by `zipfile`.
    """
    out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    jobs = [(piece, out / f"piece-{n:05d}.arrow", mode) for n, piece in enumerate(pieces)]
    counts: Counter[str] = Counter()
    if processes == 1:
        for job in jobs:
            counts.update(_pass(job))
    else:
        # Clients of object stores run threads, which a fork leaves behind.
        method = "spawn" if any("://" in piece.source for piece in pieces) else "fork"
        with multiprocessing.get_context(method).Pool(processes) as pool:
            for found in pool.imap_unordered(_pass, jobs):
                counts.update(found)
    names = ("members", "stored_bytes", "size_bytes", "images")
    clocks = ("read_sec", "inflate_sec", "write_sec", "decode_sec", "digest_sec")
    seconds = {"seconds": time.perf_counter() - start} | {k: counts[k] / 1e9 for k in clocks}
    return {k: counts[k] for k in names} | {k: round(v, 4) for k, v in seconds.items()}


def _pass(job: tuple[Piece, Path, Mode]) -> Counter[str]:
    """Read a piece, and do with it what the mode says; times in nanoseconds."""
    piece, path, mode = job
    counts: Counter[str] = Counter(members=len(piece.entries))
    if mode in ("write", "digest", "zipfile"):
        digest = hashlib.sha256()
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, _SCHEMA) as stream:
            for names, contents in _batches(piece, counts, by_zipfile=mode == "zipfile"):
                begin = time.perf_counter_ns()
                for content in contents if mode == "digest" else ():
                    digest.update(content)
                between = time.perf_counter_ns()
                columns = [pa.array(names, pa.string()), pa.array(contents, pa.binary())]
                stream.write_batch(pa.record_batch(columns, schema=_SCHEMA))
                counts["digest_sec"] += between - begin
                counts["write_sec"] += time.perf_counter_ns() - between
        return counts
    for names, contents in _batches(piece, counts):
        begin = time.perf_counter_ns()
        for name, content in zip(names, contents, strict=True):
            if mode == "decode" and name.lower().endswith(_IMAGES):
                _decode(content)
                counts["images"] += 1
        counts["decode_sec"] += time.perf_counter_ns() - begin
    return counts


def _batches(
    piece: Piece, counts: Counter[str], *, by_zipfile: bool = False
) -> Iterator[tuple[list[str], list[bytes]]]:
    """Names and contents of a piece, some megabytes at a time."""
    names: list[str] = []
    contents: list[bytes] = []
    held = 0
    read = _read_by_zipfile if by_zipfile else _read
    for entry, content in zip(piece.entries, read(piece, counts), strict=True):
        counts["stored_bytes"] += entry.stored_bytes
        counts["size_bytes"] += entry.size_bytes
        names.append(entry.name)
        contents.append(content)
        held += entry.size_bytes
        if held >= _BATCH_BYTES:
            yield names, contents
            names, contents, held = [], [], 0
    if names:
        yield names, contents


def _read(piece: Piece, counts: Counter[str]) -> Iterator[bytes]:
    """The content of each entry, by one read into a buffer that stays."""
    with _reader(piece) as read:
        for entry in piece.entries:
            begin = time.perf_counter_ns()
            raw = _raw(entry, read)
            between = time.perf_counter_ns()
            content = _inflated(entry, raw)
            counts["read_sec"] += between - begin
            counts["inflate_sec"] += time.perf_counter_ns() - between
            yield content


def _read_by_zipfile(piece: Piece, counts: Counter[str]) -> Iterator[bytes]:
    """The same by Python's own module, which reads while it inflates."""
    archive = _archive(piece.source)
    for entry in piece.entries:
        begin = time.perf_counter_ns()
        content = archive.read(entry.name)
        counts["inflate_sec"] += time.perf_counter_ns() - begin
        yield content


@lru_cache(maxsize=1)  # the pieces of an export follow each other
def _archive(source: str) -> zipfile.ZipFile:
    return zipfile.ZipFile(source)


@contextmanager
def _reader(piece: Piece) -> Iterator[_ReadRange]:
    """What reads bytes [start, end) of the export; what it gave before is then gone."""
    source = None if "://" in piece.source else Path(piece.source)
    if source is None or not source.is_file():
        yield partial(_read_by_engine, piece.source)
        return
    buffer = memoryview(bytearray(max(map(_room, piece.entries)) + _LONGEST_EXTRA_BYTES))
    descriptor = os.open(source, os.O_RDONLY)

    def read(_entry: Entry, start: int, end: int) -> memoryview:
        return buffer[: os.preadv(descriptor, [buffer[: end - start]], start)]

    try:
        yield read
    finally:
        os.close(descriptor)


def _read_by_engine(source: str, entry: Entry, start: int, end: int) -> memoryview:
    from engine.byte_ranges import read_range

    place = source if entry.offset is not None else f"{source.rstrip('/')}/{entry.name}"
    return memoryview(read_range(place, start, end))


def _room(entry: Entry) -> int:
    """Bytes from the local header to the end of the data, nearly always."""
    return _LOCAL_HEADER_BYTES + len(entry.name.encode()) + _ROOM_BYTES + entry.stored_bytes


def _raw(entry: Entry, read: _ReadRange) -> memoryview:
    """A member's bytes as stored, by one read; by two where its local header is unusually long."""
    if entry.offset is None:
        return read(entry, 0, entry.stored_bytes)
    raw = read(entry, entry.offset, entry.offset + _room(entry))
    name_bytes, extra_bytes = struct.unpack_from("<HH", raw, 26)
    start = _LOCAL_HEADER_BYTES + name_bytes + extra_bytes
    if len(raw) < start + entry.stored_bytes:
        raw = read(entry, entry.offset, entry.offset + start + entry.stored_bytes)
    return raw[start : start + entry.stored_bytes]


def _inflated(entry: Entry, raw: memoryview) -> bytes:
    """A member's content, its CRC checked."""
    # One byte of room behind the end: without it the buffer grows once more, to twice its size,
    # before the end is seen (0.84 in place of 0.68 ms for a JPEG, 0.54 in place of 0.05 for a PNG).
    room = entry.size_bytes + 1
    content = zlib_ng.decompress(raw, -15, room) if entry.deflated else bytes(raw)
    if entry.crc32 is not None and zlib_ng.crc32(content) != entry.crc32:
        raise ValueError(f"{entry.name}: the CRC-32 is wrong")
    if len(content) != entry.size_bytes:
        raise ValueError(f"{entry.name}: {len(content)} bytes, expected {entry.size_bytes}")
    return content


def _decode(content: bytes) -> None:
    import io

    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        image.load()


@click.command()
@click.argument("sources", nargs=-1, required=True)
@click.option("--out", required=True, help="Folder for the Arrow files.")
@click.option("--processes", default=2, show_default=True, help="At once.")
@click.option("--digest", "mode", flag_value="digest", help="Take the SHA-256 of all bytes, too.")
@click.option("--zipfile", "mode", flag_value="zipfile", help="Read by Python's zipfile (ZIPs).")
@click.option("--decode", "mode", flag_value="decode", help="Decode images, write nothing.")
@click.option("--read-only", "mode", flag_value="read", help="End behind the CRC, write nothing.")
def main(sources: tuple[str, ...], out: str, processes: int, mode: Mode | None) -> None:
    """Read every member of ZIPs once, and write it once."""
    pieces = pieces_of(sources, processes)
    click.echo(json.dumps(bare_pass(pieces, Path(out), processes, mode=mode or "write")))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.bare_pass")
