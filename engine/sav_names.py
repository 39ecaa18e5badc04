"""How files of SA-V, the SAM 2 dataset, are named, and how one of several in a place is addressed.

A video's masklets are `<video_id>_manual.json` or `<video_id>_auto.json`, its frames a folder
`<video_id>` of JPEGs. A folder or ZIP usually holds many videos, so the address of an export is
that of its JSON file, in a ZIP as if the ZIP were a folder: `sav.zip/train/sav_000001_manual.json`.
"""

import re

__all__ = ["sav_kind", "sav_video", "split_address"]

_NAME = re.compile(r"(?:.*/)?([^/]+)_(manual|auto)\.json")
_IN_ZIP = re.compile(r"(.*?\.zip)/(.+)", re.IGNORECASE)


def sav_video(name: str) -> str | None:
    """Give the video's id if a file is called as SA-V calls its masklets; else None."""
    match = _NAME.fullmatch(name)
    return match[1] if match else None


def sav_kind(name: str) -> str | None:
    """Say "manual" or "auto" of a file that is called as SA-V calls its masklets; else None."""
    match = _NAME.fullmatch(name)
    return match[2] if match else None


def split_address(location: str) -> tuple[str, str] | None:
    """Split the address of one SA-V file.

    Args:
        location: a path or URL.

    Returns:
        (the ZIP or the folder, the JSON file's name in there, which may be a pattern in a ZIP), or
        None if no such file is addressed.
    """
    if sav_video(location) is None:
        return None
    in_zip = _IN_ZIP.fullmatch(location)
    if in_zip:
        return in_zip[1], in_zip[2]
    folder, slash, name = location.rpartition("/")
    return (folder or slash or "."), name
