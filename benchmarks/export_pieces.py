"""Exports cut into pieces of about equal size, so that processes which share them end together.

The members of a piece lie behind one another: a disk sees large steps forward. Local ZIPs are
listed by `zipfile`, at a fifth of the time the engine's checks of a listing take; what is no local
ZIP (a folder, a URL) by the engine.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Entry", "Piece", "list_entries", "pieces_of", "sample_of"]

_PIECE_BYTES = 128 * 2**20
_PIECES_A_PROCESS = 8  # at least: the last ones end nearly together


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One member of an export.

    Args:
        name: as stored.
        offset: of its local header, in bytes; None: a file of its own in a folder.
        stored_bytes: in the archive.
        size_bytes: of the content.
        deflated: or stored as it is.
        crc32: of the content; None: unknown.
    """

    name: str
    offset: int | None
    stored_bytes: int
    size_bytes: int
    deflated: bool
    crc32: int | None


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Members of one export, for one process and one Arrow file.

    Args:
        source: the export.
        entries: in the archive's order.
    """

    source: str
    entries: tuple[Entry, ...]


def list_entries(source: str) -> list[Entry]:
    """List what an export holds, in its order, without folders.

    Raises:
        Sam2PrepError: it is no local ZIP and cannot be listed.
        zipfile.BadZipFile: it is a damaged one.
    """
    if "://" not in source and Path(source).is_file():
        with zipfile.ZipFile(source) as archive:
            return [
                Entry(
                    name=info.filename, offset=info.header_offset, stored_bytes=info.compress_size,
                    size_bytes=info.file_size, deflated=info.compress_type != zipfile.ZIP_STORED,
                    crc32=info.CRC,
                )
                for info in archive.infolist() if not info.is_dir()
            ]  # fmt: skip
    from engine.opening import open_members

    return [
        Entry(
            name=found.stored_name, offset=found.offset, stored_bytes=found.compressed_size,
            size_bytes=found.size, deflated=found.method != 0, crc32=found.crc32,
        )
        for found in open_members(source).values()
    ]  # fmt: skip


def pieces_of(sources: Sequence[str], processes: int) -> list[Piece]:
    """Cut exports into pieces of about equal size, at least some for each process.

    Args:
        sources: local ZIPs, or what `engine.opening` opens.
        processes: that will take them.
    """
    listed = [(source, list_entries(source)) for source in sources]
    total = sum(entry.size_bytes for _, entries in listed for entry in entries)
    most = min(_PIECE_BYTES, total // (processes * _PIECES_A_PROCESS) + 1)
    pieces = []
    for source, entries in listed:
        held: list[Entry] = []
        size = 0
        for entry in entries:
            held.append(entry)
            size += entry.size_bytes
            if size >= most:
                pieces.append(Piece(source=source, entries=tuple(held)))
                held, size = [], 0
        if held:
            pieces.append(Piece(source=source, entries=tuple(held)))
    return pieces


def sample_of(pieces: Sequence[Piece], size_bytes: int) -> list[Piece]:
    """Take pieces evenly from all, of about so many bytes of content, at least one.

    Args:
        pieces: all.
        size_bytes: as much as is wished for; of fewer, all are taken.
    """
    total = sum(entry.size_bytes for piece in pieces for entry in piece.entries)
    step = max(1.0, total / max(1, size_bytes))
    return [pieces[int(number * step)] for number in range(int(-(-len(pieces) // step)))]
