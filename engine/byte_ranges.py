"""A range of bytes of a file, local or behind an fsspec URL, in one call.

Trade-off: a file object has a position, so it cannot be shared between threads, and buffers what
nobody will read. `pread` needs neither; the descriptors of a few files stay open, because opening
costs more than reading an image that is in the page cache. Local paths never go through fsspec.
Needs `os.pread`: Linux and macOS. All failures are `OSError`, for the caller to give a place to.
"""

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["local_path", "read_range", "sha256_of", "url_filesystem"]

_OPEN_FILES = 16  # enough for the exports that one task mixes, far below any limit of descriptors
_PIECE_BYTES = 8 * 2**20


def local_path(location: str) -> Path | None:
    """Give the path of a local location; None if it is a URL of another file system."""
    if location.startswith("file://"):
        return Path(location.removeprefix("file://"))
    return None if "://" in location else Path(location)


def url_filesystem(location: str) -> tuple[Any, str]:
    """Give the fsspec file system of a URL and the path in it.

    Raises:
        OSError: the protocol is unknown or its package is not installed.
    """
    import fsspec  # a URL is rare, and fsspec costs start-up time

    try:
        filesystem, path = fsspec.core.url_to_fs(location)
    except (ImportError, ValueError) as error:
        hint = "s3:// needs s3fs, gs:// needs gcsfs, abfs:// needs adlfs"
        raise OSError(f"{error} ({hint})") from error
    return filesystem, str(path)


def read_range(location: str, start: int, end: int) -> bytes:
    """Read bytes [start, end) of a file; fewer where the file ends before, none for an empty range.

    Raises:
        OSError: there is no such file, or the storage fails.
    """
    if start >= end:
        return b""
    path = local_path(location)
    if path is None:
        filesystem, inner = url_filesystem(location)
        return bytes(filesystem.cat_file(inner, start=start, end=end))
    status = path.stat()
    return _open_file(path, status.st_dev, status.st_ino).read(start, end)


def sha256_of(location: str) -> tuple[int, str]:
    """Read a whole file in pieces, and give its size in bytes and its hexadecimal sha256.

    Raises:
        OSError: there is no such file, or the storage fails.
    """
    path, at = local_path(location), 0
    if path is not None:  # read once: no descriptor of it is to stay open
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            return file.tell(), digest.hexdigest()
    digest = hashlib.sha256()
    while piece := read_range(location, at, at + _PIECE_BYTES):
        digest.update(piece)
        at += len(piece)
    return at, digest.hexdigest()


class _OpenFile:
    """A descriptor that lives as long as someone reads from it: eviction cannot close it before."""

    def __init__(self, path: Path) -> None:
        self._fd = -1
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def read(self, start: int, end: int) -> bytes:
        """Bytes [start, end), fewer at the end of the file; one `pread` moves at most 2 GiB."""
        parts: list[bytes] = []
        while start < end:
            part = os.pread(self._fd, end - start, start)
            if not part:
                break
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


@lru_cache(maxsize=_OPEN_FILES)
def _open_file(path: Path, device: int, inode: int) -> _OpenFile:
    """Keyed by the inode too: a file that was replaced under its name is opened anew."""
    del device, inode
    return _OpenFile(path)
