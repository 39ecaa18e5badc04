"""Listing what is in one export, a ZIP in place or a folder, and refusing what must not be read.

The central directory is read by the standard library's `zipfile` (zip64, cp437 and UTF-8 names);
nothing is ever extracted, so a hostile name cannot write anywhere, but a name with `..` or a drive
letter also never comes from an honest exporter, and a reader of the dataset might extract by it.
Files that operating systems leave in archives are no part of the export, whatever is wrong with
them.

Trade-off: an export is refused as a whole for one bad entry of its directory. That is a broken
archive, not a broken frame: which frames it would cost cannot be known. What is wrong inside a
member is found when it is read (`engine.members`) and costs that member only.
"""

import errno
import io
import os
import re
import stat
import struct
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

from engine.byte_ranges import local_path, read_range, url_filesystem
from engine.caps import Caps
from engine.errors import ExportError, cannot_be_read
from engine.listing import files_below, kind_of
from engine.members import Member, Members

__all__ = ["below_root", "find_root", "open_images", "open_members"]

_NEVER_PART_OF_IT = {"__macosx", "thumbs.db", "desktop.ini"}
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_LEAST_END_BYTES, _MOST_END_BYTES = 2**16, 2**18  # the directory of 500 members, of 2,000
_DRIVE = re.compile(r"^[A-Za-z]:")
# Nearly every name is one of these, and none of them is what `_name_problem` refuses.
_PLAIN_NAME = re.compile(r"\w[\w-]*(?:[./]\w[\w-]*)*", re.ASCII)
_METHODS = {1: "shrink", 6: "implode", 9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstd",
            95: "xz", 98: "ppmd", 99: "AES"}  # fmt: skip
_BAD_ARCHIVE = (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OverflowError,
                EOFError)  # fmt: skip


_DEFAULT_CAPS = Caps()


def open_members(location: str, *, caps: Caps = _DEFAULT_CAPS) -> Members:
    """List the files of one export; reads the ZIP's central directory, or lists the folder, once.

    Args:
        location: a ZIP or a folder, a local path or an fsspec URL of one.
        caps: limits.

    Returns:
        The members below the folder that holds `annotations.json`, in archive order (in a folder:
        sorted by name), without dot-files, `__MACOSX/`, `Thumbs.db` and directories.

    Raises:
        ExportError: nothing is there; it is no ZIP, cut off, encrypted, compressed in another way
            than deflate; it holds two members of one name (or of names that differ only in case), a
            name that leads out of it, a symbolic link, overlapping members; it exceeds a cap; no or
            more than one `annotations.json`.
    """
    return below_root(open_images(location, caps=caps), max_enclosing=caps.max_enclosing)


def below_root(listed: Members, *, max_enclosing: int = _DEFAULT_CAPS.max_enclosing) -> Members:
    """Take the enclosing folder off what `open_images` listed.

    Args:
        listed: all files of one place.
        max_enclosing: the most folders around `annotations.json`.

    Raises:
        ExportError: no or more than one `annotations.json`.
    """
    root = find_root(listed, where=listed.location, max_enclosing=max_enclosing)
    by_name = {
        name.removeprefix(root): _renamed(member, name.removeprefix(root))
        for name, member in listed.items()
        if name.startswith(root)
    }
    outside = tuple(name for name in listed if not name.startswith(root))
    return Members(location=listed.location, root=root, by_name=by_name, outside=outside)


def open_images(location: str, *, caps: Caps = _DEFAULT_CAPS) -> Members:
    """List a folder or ZIP of frame images that need not be an export (clean frames, SA-V).

    Args:
        location: as for `open_members`.
        caps: limits.

    Returns:
        All files but those that are ignored there too, by their names below `location`.

    Raises:
        ExportError: as `open_members`, but for `annotations.json`, which is not looked for.
    """
    by_name = {
        name: _renamed(member, name) for name, member in _all_members(location, caps).items()
    }
    return Members(location=location, root="", by_name=by_name)


def find_root(
    names: Iterable[str],
    *,
    where: str,
    marker: str = "annotations.json",
    max_enclosing: int = 3,
) -> str:
    """Find the folder that holds the marker file.

    Args:
        names: of all files, with forward slashes.
        where: the export, for the error's text.
        marker: the file that makes a folder an export.
        max_enclosing: the most folders around it.

    Returns:
        "" or the folder with its slash at the end.

    Raises:
        ExportError: no or more than one marker.
    """
    names = list(names)
    roots = sorted(
        name.removesuffix(marker)
        for name in names
        if (name == marker or name.endswith(f"/{marker}")) and name.count("/") <= max_enclosing
    )
    if len(roots) == 1:
        return roots[0]
    if roots:
        raise ExportError(
            where,
            f"holds {len(roots)} exports",
            got=" and ".join(f"{root}{marker}" for root in roots[:4]),
            expected=f"one {marker}",
            advice="give each of these folders by itself",
        )
    shown = ", ".join(sorted(names)[:4]) or "no files"
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    if any(name.lower().endswith(".zip") for name in names):
        advice = "it holds ZIPs: unpack it and give the folder"
    else:
        advice = "give the ZIP or the folder that the annotation tool exported"
    raise ExportError(where, f"no {marker}", got=shown + more, advice=advice)


def _all_members(location: str, caps: Caps) -> dict[str, Member]:
    """Every file that is not ignored, by its name in there."""
    try:
        path = local_path(location)
        found = _open_url(location, caps) if path is None else _open_local(location, path, caps)
    except OSError as error:
        raise cannot_be_read(location, error) from error
    if len(found) > caps.max_members:
        raise ExportError(
            location, "has too many files", got=len(found), expected=f"at most {caps.max_members}"
        )
    return _named(location, found)


def _open_local(location: str, path: Path, caps: Caps) -> list[Member]:
    if path.is_dir():
        return [_file(location, name, size, caps) for name, size in sorted(_walk(path))]
    if not path.exists():
        raise ExportError(location, "no such file or folder")
    with path.open("rb") as stream:
        return _read_directory(location, stream, caps)


def _open_url(location: str, caps: Caps) -> list[Member]:
    filesystem, inner = url_filesystem(location)
    if kind_of(filesystem, inner) == "file":
        size = filesystem.info(inner)["size"]
        if size is None:
            raise ExportError(location, "the server does not say how large it is")
        with _EndFirst(location, int(size)) as stream:
            return _read_directory(location, cast(BinaryIO, stream), caps)
    found = files_below(filesystem, inner)
    if not found:
        raise ExportError(location, "no such file or folder")
    names = sorted((name, int(about["size"])) for name, about in found.items())
    return [_file(location, name, size, caps) for name, size in names if not _ignored(name)]


class _EndFirst(io.RawIOBase):
    """An archive behind a URL as `zipfile` reads it: its end, and its directory just before that.

    The end is fetched at once, large enough for nearly every directory, and small beside the rest.
    """

    def __init__(self, location: str, size: int) -> None:
        self._location, self._size, self._at = location, size, 0
        length = min(max(size // 64, _LEAST_END_BYTES), _MOST_END_BYTES, size)
        self._start = size - length
        self._end = read_range(location, self._start, size)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, "seek before the start")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        end = self._size if size is None or size < 0 else min(self._at + size, self._size)
        if self._at >= self._start:
            data = self._end[self._at - self._start : max(end - self._start, 0)]
        else:
            data = read_range(self._location, self._at, end)
        self._at += len(data)
        return data


def _walk(folder: Path) -> Iterator[tuple[str, int]]:
    """All files below a folder that are not ignored, with sizes; follows links, but no circle."""
    seen: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=_fail):
        status = Path(parent).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not _ignored(name))
        for name in files:
            if not _ignored(name):
                file = Path(parent, name)
                yield file.relative_to(folder).as_posix(), file.stat().st_size


def _fail(error: OSError) -> None:
    raise error  # os.walk would leave an unreadable folder out without a word


def _file(location: str, name: str, size: int, caps: Caps) -> Member:
    member = Member(
        name=name, stored_name=name, offset=None, compressed_size=size, size=size,
        method=0, crc32=None,
    )  # fmt: skip
    _check(location, name, _name_problem(name) or _size_problem(member, caps))
    return member


def _read_directory(location: str, stream: BinaryIO, caps: Caps) -> list[Member]:
    damaged = "cut off or damaged: the central directory cannot be read"
    again = "copy or export it again"
    try:  # is_zipfile raises, too: on a zip64 locator that speaks of several disks
        if not zipfile.is_zipfile(stream):
            raise ExportError(
                location,
                "cut off or not a ZIP: no end-of-central-directory record",
                got=f"{stream.seek(0, os.SEEK_END)} bytes",
                advice=again,
            )
        with zipfile.ZipFile(stream) as archive:
            entries = [info for info in archive.infolist() if not _ignored(info.orig_filename)]
            directory_start = archive.start_dir
    except _BAD_ARCHIVE as error:
        raise ExportError(location, damaged, got=error, advice=again) from error
    members = [_entry(location, info, caps) for info in entries]
    _check_layout(location, members, directory_start)
    return members


def _entry(location: str, info: zipfile.ZipInfo, caps: Caps) -> Member:
    member = Member(
        name=info.orig_filename,
        stored_name=info.orig_filename,
        offset=info.header_offset,
        compressed_size=info.compress_size,
        size=info.file_size,
        method=info.compress_type,
        crc32=info.CRC,
    )
    problem = _name_problem(member.name)
    if problem is None and info.flag_bits & 0x2041:  # encrypted, strongly, or its directory entry
        problem = "is encrypted"
    if problem is None and stat.S_ISLNK(info.external_attr >> 16):
        problem = "is a symbolic link"
    if problem is None and member.method not in (0, 8):
        named = _METHODS.get(member.method, "unknown")
        problem = f"is compressed by method {member.method} ({named}), not stored or deflated"
    if problem is None and member.method == 0 and member.size != member.compressed_size:
        problem = f"is stored, but of {member.size} bytes in {member.compressed_size}"
    _check(location, member.name, problem or _size_problem(member, caps))
    return member


def _check(location: str, name: str, problem: str | None) -> None:
    if problem is not None:
        raise ExportError(f"{location}: {name!r}", problem, advice="export it again")


def _renamed(member: Member, name: str) -> Member:
    return member if member.name == name else replace(member, name=name)


def _name_problem(name: str) -> str | None:
    if _PLAIN_NAME.fullmatch(name):
        return None
    parts = name.split("/")
    # A drive letter in the middle too: a part of the name may be used as a name by itself.
    absolute = name.startswith("/") or any(_DRIVE.match(part) for part in parts)
    problems = (
        ("\0" in name, "has a NUL in its name"),
        (any(c < " " or c == "\x7f" for c in name), "has a control character in its name"),
        ("\\" in name, "has a backslash in its name"),
        (absolute, "has an absolute name"),
        (".." in parts, "has a name that leads out of the export"),
        (any("\ud800" <= c <= "\udfff" for c in name), "has a name that is not UTF-8"),
    )
    return next((problem for found, problem in problems if found), None)


def _size_problem(member: Member, caps: Caps) -> str | None:
    name = member.name.lower()
    cap = None
    if name.endswith(".json"):
        cap = caps.max_json_bytes
    elif name.endswith(_IMAGE_SUFFIXES):
        cap = caps.max_image_bytes
    if cap is not None and member.size > cap:
        return f"is of {member.size} bytes, more than {cap}"
    # 64 bytes of grace: the ratio is meant for long runs, not for the end of a stream.
    if member.size > caps.max_ratio * (member.compressed_size + 64):
        return f"claims {member.size} bytes in {member.compressed_size}, which deflate cannot do"
    return None


def _ignored(name: str) -> bool:
    """Say whether a file is a directory entry or something an operating system left behind."""
    parts = name.split("/")
    hidden = any(part.startswith(".") and part not in (".", "..") for part in parts)
    return name.endswith("/") or hidden or any(p.lower() in _NEVER_PART_OF_IT for p in parts)


def _named(location: str, members: list[Member]) -> dict[str, Member]:
    """The members by their stored names without `./`, each name once.

    JSON and images whose names differ only in case or Unicode form are refused too: macOS and
    Windows would make one file of them, so the export and its extracted folder would not agree.
    """
    by_name: dict[str, Member] = {}
    folded: dict[str, str] = {}
    for member in members:
        name = "/".join(part for part in member.stored_name.split("/") if part not in ("", "."))
        if name in by_name:
            _check(location, name, "is there twice")
        if name.lower().endswith((".json", *_IMAGE_SUFFIXES)):
            same = folded.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
            if same != name:
                what = f"differs from {same!r} only in case or Unicode form"
                _check(location, name, what)
        by_name[name] = member
    return by_name


def _check_layout(location: str, members: list[Member], directory_start: int) -> None:
    """Refuse members that lie outside the archive or over each other (a way to build a bomb)."""
    end = 0
    before = ""
    for member in sorted(members, key=lambda m: (m.offset or 0, m.name)):
        start = member.offset or 0
        if start < end:
            what = f"overlaps with {before!r}" if before else "lies before the archive's start"
            _check(location, member.name, what)
        end = start + 30 + len(member.stored_name) + member.compressed_size
        before = member.name
        if end > directory_start:
            _check(location, member.name, "reaches beyond its archive, which is cut off or damaged")
