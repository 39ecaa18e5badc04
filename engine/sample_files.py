"""Files of a sample export, as a ZIP or as a folder: same members, same bytes.

A ZIP from `zipfile` carries the clock and the writer's system in every entry; both are fixed here,
so that the bytes depend on the members alone. A wrong CRC cannot be had from `zipfile` either: it
is made afterwards, by changing a byte of a stored member where it lies.
"""

import struct
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["SampleMember", "macos_clutter", "write_folder", "write_zip"]

_ZIP_TIME = (2025, 11, 16, 7, 4, 4)
_APPLE_DOUBLE = b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(96)


class SampleMember(NamedTuple):
    """One file of an export.

    Args:
        name: with its folders, "/" between them.
        data: its bytes, as they should be.
        damaged: whether one byte of them is changed on the way to the disk.
    """

    name: str
    data: bytes
    damaged: bool = False


def macos_clutter(names: Sequence[str], folder: str) -> Iterator[SampleMember]:
    """Make what macOS adds to an archive of these files.

    Args:
        names: the files.
        folder: the enclosing folder with a "/" at its end, or "".

    Yields:
        A .DS_Store, and under __MACOSX/ one resource file for each of them.
    """
    yield SampleMember(f"{folder}.DS_Store", b"\0\0\0\1Bud1" + bytes(56))
    for whole in names:
        parent, slash, name = whole.rpartition("/")
        yield SampleMember(f"__MACOSX/{parent}{slash}._{name}", _APPLE_DOUBLE)


def write_folder(path: Path, members: Iterable[SampleMember]) -> None:
    """Write the members below a folder, which is made if it is not there.

    Args:
        path: the folder; files of the same names are replaced, others stay.
        members: taken one by one, never held.
    """
    for name, data, damaged in members:
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_flipped(data) if damaged else data)


def write_zip(path: Path, members: Iterable[SampleMember], *, store: bool) -> None:
    """Write the members as a ZIP; the folders above it are made.

    Args:
        path: the file; replaced if it is there.
        members: taken one by one, never held, unless damaged (those are stored).
        store: do not compress.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    damages: list[tuple[int, bytes]] = []
    with zipfile.ZipFile(path, "w") as archive:
        for name, data, damaged in members:
            info = zipfile.ZipInfo(name, date_time=_ZIP_TIME)
            info.create_system, info.external_attr = 3, 0o100644 << 16  # Unix, a plain file
            method = zipfile.ZIP_STORED if store or damaged else zipfile.ZIP_DEFLATED
            # Encoded images do not become smaller: a higher level would only take time.
            archive.writestr(info, data, method, 6 if name.endswith(".json") else 1)
            if damaged:
                damages.append((info.header_offset, data))
    with path.open("r+b") as file:
        for header, data in damages:
            file.seek(header + 26)
            name_bytes, extra_bytes = struct.unpack("<HH", file.read(4))
            file.seek(header + 30 + name_bytes + extra_bytes)
            file.write(_flipped(data))


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]
