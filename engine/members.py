"""The files of one export, and the bytes of each: one read, then every check the ZIP format allows.

Trade-off: `zipfile` could read members too, but through one shared file position and with a small
read of the local header before each read of data, which on an object store is a second round trip
per image. Here the central directory has been read once (see `engine.opening`), a `Member` is a
plain record that travels to a worker, and one range brings header and data together.

A `MemberError` is a verdict on the bytes, the same for every reader at any time, so that a caller
may turn it into a finding. Storage that fails (permission, network, a file gone since it was
listed) is an `ExportError` instead: it stops or repeats the task, and never condemns a frame.

Source of the layout: PKWARE APPNOTE.TXT 6.3.10, sections 4.3.7 (local header) and 4.4.
"""

import dataclasses
import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from zlib_ng import zlib_ng as zlib

from engine.byte_ranges import ByteRange, read_range
from engine.errors import ExportError, cannot_be_read
from engine.measures import note

__all__ = [
    "Member",
    "MemberError",
    "Members",
    "content_digest",
    "iter_member",
    "range_of",
    "read_head",
    "read_member",
    "with_crc",
    "with_crcs",
]

_DeflateError: type[Exception] = zlib.error  # type: ignore[assignment]  # stubs: an instance
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
# The local extra field is not the central one (zip64 sizes 20 bytes, times 28, alignment up to 64):
# with this much slack nearly every member takes one read; a longer one costs a second.
_EXTRA_SLACK = 128
# What one value of an Arrow column holds; what a run takes is bounded by `Caps`, at the listing.
_READ_CAP = 2**31 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One file of an export.

    Args:
        name: forward slashes, relative to the export's root (enclosing folder taken off).
        stored_name: the name in the archive, or relative to the folder given as location.
        offset: of the local header in the archive, in bytes; None in a folder.
        compressed_size: bytes in the archive; equal to `size` in a folder.
        size: bytes of the content.
        method: 0 stored, 8 deflated; 0 in a folder.
        crc32: of the content; None in a folder until `with_crc`.
    """

    name: str
    stored_name: str
    offset: int | None
    compressed_size: int
    size: int
    method: int
    crc32: int | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Members(Mapping[str, Member]):
    """The files of one export by their names, in archive order (in a folder: sorted by name).

    Args:
        location: the ZIP or the folder, as it was given; first argument of the reading functions.
        root: the enclosing folder that was taken off the names, with its slash; "" if none.
        by_name: the members below the root.
        outside: stored names of files beside the enclosing folder; not part of the export.
        annotations: name of the file with the frame records.
    """

    location: str
    root: str
    by_name: dict[str, Member]
    outside: tuple[str, ...] = ()
    annotations: str = "annotations.json"

    def __getitem__(self, name: str) -> Member:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)


class MemberError(ExportError):
    """The bytes of one member are not what the export says they are."""


def content_digest(members: Iterable[Member]) -> str:
    """Digest names, sizes and CRCs: the same for a ZIP and its extracted folder, in any order.

    Args:
        members: with their `crc32` filled in (`with_crc`).

    Returns:
        SHA-256 in hexadecimal.

    Raises:
        ValueError: a member has no CRC-32 yet.
    """
    digest = hashlib.sha256()
    for member in sorted(members, key=lambda m: m.name):
        if member.crc32 is None:
            raise ValueError(f"{member.name} has no CRC-32 yet: use with_crc")
        digest.update(f"{member.name}\0{member.size}\0{member.crc32:08x}\n".encode())
    return digest.hexdigest()


def with_crc(location: str, member: Member) -> Member:
    """Fill in a member's CRC-32; reads a folder's file once, a ZIP's not at all.

    Raises:
        MemberError: the file has not the size it was listed with.
        ExportError: the storage cannot be read.
    """
    if member.crc32 is not None:
        return member
    crc32 = 0
    for chunk in iter_member(location, member):
        crc32 = zlib.crc32(chunk, crc32)
    return dataclasses.replace(member, crc32=crc32)


def with_crcs(members: Members) -> Members:
    """Fill in what a folder does not say, so that folder and ZIP are the same from here on.

    Raises:
        MemberError: a file has not the size it was listed with.
        ExportError: the storage cannot be read.
    """
    by_name = {name: with_crc(members.location, member) for name, member in members.items()}
    return dataclasses.replace(members, by_name=by_name)


def read_member(location: str, member: Member, *, cap: int = _READ_CAP) -> bytes:
    """Read the whole content of a member, by one read of its bytes.

    Args:
        location: the ZIP or the folder, a local path or an fsspec URL.
        member: as listed there.
        cap: the most bytes to hold, of content and of compressed data each.

    Raises:
        MemberError: larger than the cap, or local header, deflate stream, size or CRC-32 is wrong.
        ExportError: the storage cannot be read.
    """
    if max(member.size, member.compressed_size) > cap:
        raise _bad(location, member, "is too large", got=member.size, expected=f"at most {cap}")
    if member.offset is None:
        # One byte more than listed, so that a file that has grown since is noticed.
        content = _read(location, member, 0, member.size + 1) if member.size else b""
    else:
        raw = _first_compressed(location, member, member.compressed_size)
        content = _inflate(location, member, raw) if member.method else bytes(raw)
    _check_content(location, member, len(content), zlib.crc32(content))
    return content


def range_of(location: str, member: Member, n_bytes: int | None = None) -> ByteRange:
    """Say what `read_member` reads first, for `engine.byte_ranges.reading_ahead`.

    Args:
        location: the ZIP or the folder.
        member: as listed there.
        n_bytes: what `read_head` is asked for; None for the whole.
    """
    if member.offset is None:
        end = member.size + 1 if n_bytes is None else min(n_bytes, member.size)
        return f"{location.rstrip('/')}/{member.stored_name}", 0, end
    wanted = member.compressed_size
    if n_bytes is not None:
        wanted = min(_compressed_guess(n_bytes) if member.method else n_bytes, wanted)
    return location, member.offset, member.offset + _room(member) + wanted


def read_head(location: str, member: Member, n_bytes: int) -> bytes:
    """Read the first `n_bytes` of a member's content (all of it if it is shorter).

    Reads and inflates a prefix only, so neither CRC nor size can be checked: whoever uses more than
    a header must use `read_member`.

    Raises:
        MemberError: the local header or the deflate stream is wrong, or ends before `n_bytes`.
        ExportError: the storage cannot be read.
    """
    n_bytes = min(n_bytes, member.size)
    if n_bytes <= 0:
        return b""
    if not member.method:
        return bytes(_first_compressed(location, member, n_bytes))
    # Other writers than zlib may do worse than the guess: double.
    n_compressed = _compressed_guess(n_bytes)
    while True:
        n_compressed = min(n_compressed, member.compressed_size)
        raw = _first_compressed(location, member, n_compressed)
        try:
            head = zlib.decompressobj(-15).decompress(raw, n_bytes)
        except _DeflateError as error:
            raise _bad(location, member, "compressed data is damaged", got=error) from error
        if len(head) == n_bytes:
            return head
        if n_compressed == member.compressed_size:
            raise _bad(location, member, "compressed data ends early", got=len(head))
        n_compressed *= 2


def iter_member(location: str, member: Member, *, chunk_bytes: int = 4 * 2**20) -> Iterator[bytes]:
    """Give the content of a member of any size, in order, in pieces of at most `chunk_bytes`.

    Holds two pieces at a time. Size and CRC-32 can be checked only behind the last piece: what was
    yielded before is not proven until the iterator ends without an error.

    Raises:
        MemberError: local header, deflate stream, size or CRC-32 is wrong.
        ExportError: the storage cannot be read.
    """
    n_bytes = 0
    crc32 = 0
    raw_chunks = _compressed_chunks(location, member, chunk_bytes)
    chunks = _inflated(location, member, raw_chunks, chunk_bytes) if member.method else raw_chunks
    for chunk in chunks:
        n_bytes += len(chunk)
        if n_bytes > member.size:
            break
        crc32 = zlib.crc32(chunk, crc32)
        yield chunk
    _check_content(location, member, n_bytes, crc32)


def _bad(
    location: str, member: Member, what: str, *, got: object = None, expected: object = None
) -> MemberError:
    return MemberError(f"{location}: {member.name}", what, got=got, expected=expected)


def _check_content(location: str, member: Member, n_bytes: int, crc32: int) -> None:
    if n_bytes != member.size:
        got = f"more than {member.size}" if n_bytes > member.size else n_bytes
        raise _bad(location, member, "size in bytes is wrong", got=got, expected=member.size)
    if member.crc32 is not None and crc32 != member.crc32:
        got, expected = f"{crc32:08x}", f"{member.crc32:08x}"
        what = "CRC-32 is wrong, the content is damaged"
        raise _bad(location, member, what, got=got, expected=expected)


def _inflate(location: str, member: Member, raw: memoryview) -> bytes:
    inflater = zlib.decompressobj(-15)
    try:
        # One byte of room behind the end: enough to see that there is more, never a bomb.
        content = inflater.decompress(raw, member.size + 1)
    except _DeflateError as error:
        raise _bad(location, member, "compressed data is damaged", got=error) from error
    if not inflater.eof and len(content) <= member.size:
        raise _bad(location, member, "compressed data ends early", got=len(content))
    return content


def _inflated(
    location: str, member: Member, raw_chunks: Iterator[bytes], chunk_bytes: int
) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-15)
    for chunk in raw_chunks:
        raw = chunk
        while True:
            try:
                content = inflater.decompress(raw, chunk_bytes)
            except _DeflateError as error:
                raise _bad(location, member, "compressed data is damaged", got=error) from error
            raw = inflater.unconsumed_tail
            if content:
                yield content
            # A full piece may leave output inside zlib although all input is taken: ask again.
            if inflater.eof or (not raw and len(content) < chunk_bytes):
                break
        if inflater.eof:
            return
    raise _bad(location, member, "compressed data ends early")


def _compressed_guess(n_bytes: int) -> int:
    """How much to read for so many bytes: incompressible data grows by 5 per 16 KiB in zlib."""
    return n_bytes + n_bytes // 512 + 256


def _room(member: Member) -> int:
    """How far behind the local header's start the data begins at most, nearly always."""
    return _LOCAL_HEADER.size + len(member.stored_name.encode()) + _EXTRA_SLACK


def _first_compressed(location: str, member: Member, n_bytes: int) -> memoryview:
    """Read the first `n_bytes` of a member's data as stored; a folder's file is stored as is."""
    if member.offset is None:
        raw = _read(location, member, 0, n_bytes)
        start = 0
    else:
        raw = _read(location, member, member.offset, member.offset + _room(member) + n_bytes)
        start = _data_start(location, member, raw)
        if start + n_bytes > len(raw) > n_bytes:
            end = member.offset + start + n_bytes
            raw += _read(location, member, member.offset + len(raw), end)
    data = memoryview(raw)[start : start + n_bytes]  # a slice of bytes would be a copy
    if len(data) < n_bytes:
        raise _bad(location, member, "is cut off", got=f"{len(data)} bytes", expected=n_bytes)
    return data


def _compressed_chunks(location: str, member: Member, chunk_bytes: int) -> Iterator[bytes]:
    position = 0
    if member.offset is not None:
        end = member.offset + _LOCAL_HEADER.size
        header = _read(location, member, member.offset, end)
        position = member.offset + _data_start(location, member, header)
    end = position + member.compressed_size
    while position < end:
        chunk = _read(location, member, position, min(position + chunk_bytes, end))
        if not chunk:
            raise _bad(location, member, "is cut off", got=f"{end - position} bytes too few")
        position += len(chunk)
        yield chunk


def _data_start(location: str, member: Member, raw: bytes) -> int:
    """Where the data begins, in bytes from the first byte of the local header."""
    if len(raw) < _LOCAL_HEADER.size:
        raise _bad(location, member, "is cut off in its local header")
    signature, _, _, method, _, _, _, _, _, n_name, n_extra = _LOCAL_HEADER.unpack_from(raw)
    if signature != b"PK\x03\x04":
        raise _bad(location, member, "has no local header where the central directory points")
    if method != member.method:
        what = "compression method is wrong"
        raise _bad(location, member, what, got=method, expected=member.method)
    return _LOCAL_HEADER.size + int(n_name) + int(n_extra)


def _read(location: str, member: Member, start: int, end: int) -> bytes:
    """Read bytes [start, end) of the archive, or of the member's own file in a folder."""
    file = location
    if member.offset is None:
        file = f"{location.rstrip('/')}/{member.stored_name}"
    try:
        data = read_range(file, start, end)
    except OSError as error:
        raise cannot_be_read(f"{location}: {member.name}", error) from error
    note("bytes_read", len(data))
    return data
