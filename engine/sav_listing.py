"""The exports in one place: usually one, several where a ZIP holds SA-V files of many videos.

SA-V keeps a video's masklets and its frames apart. Which images belong to a video is decided by the
folder's name, `<video_id>`, beside the JSON file or below a neighbouring folder
(`JPEGImages_24fps/<video_id>`); only where a single video is there may the folder be called
anything. JPEGs are preferred to the PNGs of the same folders, which are masks.

Trade-off: a ZIP of many videos is listed once and opened by one task. A folder of many is expanded
by `engine.sources`, so that they are opened in parallel, and each lists its own folder only.
"""

import fnmatch
import posixpath
from collections.abc import Iterable
from dataclasses import replace

from engine.caps import Caps
from engine.errors import ExportError
from engine.members import Member, Members
from engine.opening import below_root, open_images
from engine.pairing import IMAGE_SUFFIXES
from engine.sav_names import sav_video, split_address
from engine.sources import folder_names
from engine.storage import exists, is_file, join, stored_bytes

__all__ = ["list_exports"]

_MARKER = "annotations.json"
_DEFAULT_CAPS = Caps()


def list_exports(location: str, *, caps: Caps = _DEFAULT_CAPS) -> list[Members]:
    """List the files of every export in one place.

    Args:
        location: a ZIP or folder of one export, a ZIP of SA-V files, or the address of one of
            these.
        caps: limits.

    Returns:
        The files of each export, below the folder of its annotations, sorted by their name.

    Raises:
        ExportError: as `engine.opening.open_members`; no such SA-V file.
    """
    address = split_address(location)
    if address and not _is_archive(address[0]):
        return [_in_folder(location, *address, caps)]
    listed = open_images(address[0] if address else location, caps=caps)
    found = sorted(name for name in listed if sav_video(name))
    if address is None and (not found or _has_marker(listed)):
        return [below_root(listed, max_enclosing=caps.max_enclosing)]
    wanted = [n for n in found if address is None or fnmatch.fnmatchcase(n, address[1])]
    if not wanted:
        raise ExportError(
            location, "no such file in the ZIP", got=", ".join(found[:4]) or "no SA-V file"
        )
    alone = len({sav_video(name) for name in found}) == 1
    return [_of_video(listed, name, alone=alone) for name in wanted]


def _has_marker(names: Iterable[str]) -> bool:
    return any(posixpath.basename(name) == _MARKER for name in names)


def _is_archive(place: str) -> bool:
    return place.lower().endswith(".zip") and is_file(place)


def _of_video(listed: Members, json_name: str, *, alone: bool) -> Members:
    """Choose one SA-V file and its images among all files of a place."""
    root = json_name.rpartition("/")[0]
    root += "/" if root else ""
    images = _images_of(sav_video(json_name) or "", listed, root, alone=alone)
    by_name = {
        name.removeprefix(root): replace(listed[name], name=name.removeprefix(root))
        for name in [json_name, *images]
    }
    return Members(
        location=listed.location, root=root, by_name=by_name,
        annotations=json_name.removeprefix(root),
    )  # fmt: skip


def _images_of(video: str, names: Iterable[str], root: str, *, alone: bool) -> list[str]:
    images = sorted(name for name in names if name.lower().endswith(IMAGE_SUFFIXES))
    beside = [n for n in images if posixpath.dirname(n) == f"{root}{video}"]
    named = [n for n in images if posixpath.basename(posixpath.dirname(n)) == video]
    below = [n for n in images if video in posixpath.dirname(n).split("/")]
    found = beside or named or below or (images if alone else [])
    return [n for n in found if n.lower().endswith((".jpg", ".jpeg"))] or found


def _in_folder(location: str, folder: str, json_name: str, caps: Caps) -> Members:
    """List one SA-V file of a folder and its images, without listing those of other videos."""
    if not is_file(location):
        raise ExportError(location, "no such file or folder")
    video = sav_video(json_name) or ""
    size = stored_bytes(location)
    if size > caps.max_json_bytes:
        raise ExportError(location, f"is of {size} bytes, more than {caps.max_json_bytes}")
    files, folders = folder_names(folder)
    nested = [] if video in folders else [f"{f}/{video}" for f in folders]
    places = [video] * (video in folders) + [p for p in nested if exists(join(folder, p))]
    alone = len({sav_video(name) for name in files} - {None}) == 1
    if places or not alone:
        by_name = {k: v for place in places for k, v in _prefixed(folder, place, caps).items()}
    else:
        by_name = open_images(folder, caps=caps).by_name
    json_member = Member(
        name=json_name, stored_name=json_name, offset=None, compressed_size=size, size=size,
        method=0, crc32=None,
    )  # fmt: skip
    listed = Members(location=folder, root="", by_name=by_name | {json_name: json_member})
    return _of_video(listed, json_name, alone=alone)


def _prefixed(folder: str, place: str, caps: Caps) -> dict[str, Member]:
    """List the files of a folder by names relative to the one it lies in."""
    return {
        f"{place}/{name}": replace(
            member, name=f"{place}/{name}", stored_name=f"{place}/{member.stored_name}"
        )
        for name, member in open_images(join(folder, place), caps=caps).items()
    }
