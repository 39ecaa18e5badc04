"""From what a person typed as SRC to the exports it means.

A folder is one export if it, or the only such folder below it, holds `annotations.json`; else it is
a folder of ZIPs, export folders and SA-V files, each of which is an export. Only folders are listed
here, level by level and never below an export, so that a bucket with millions of frames costs a few
requests. Whether a ZIP is an export, and of how many videos, is for `engine.sav_listing` to say.
"""

import glob
import os
import stat
from pathlib import Path

from engine.byte_ranges import local_path, url_filesystem
from engine.errors import ExportError, cannot_be_read
from engine.listing import kind_of
from engine.sav_names import sav_video, split_address

__all__ = ["find_exports", "folder_names"]

_MARKER = "annotations.json"
_ENCLOSING = 3  # as many folders around an export as `engine.opening` takes off
_ADVICE = "give a ZIP, a folder holding annotations.json, or a folder or glob of ZIPs"


def find_exports(source: str) -> list[str]:
    """Expand one SRC.

    Args:
        source: a ZIP, a folder holding one export, a folder of ZIPs and of export folders, an SA-V
            file or a folder of them, a glob of these (`**` for any depth), an SA-V file in a ZIP
            (`sav.zip/sav_000001_manual.json`), or an fsspec URL of any of them.

    Returns:
        Locations for `list_exports`, sorted, each once. A local path stays relative if it was given
        so; a name that exists is never taken as a glob.

    Raises:
        ExportError: nothing is there, the glob matches nothing, or no export is in there.
        RunError: the storage does not answer.
    """
    try:
        kind = _kind(source)
        address = split_address(source)
        if kind == "file" or (address and _is_zip(address[0]) and _kind(address[0]) == "file"):
            return [source]
        if kind == "folder":
            found = _in_folder(source)
            if not found:
                raise ExportError(source, "no exports found in this folder", advice=_ADVICE)
            return found
        if not glob.has_magic(source):
            raise ExportError(source, "no such file or folder")
        return _in_glob(source)
    except OSError as error:
        raise cannot_be_read(source, error) from error


def _in_glob(pattern: str) -> list[str]:
    if local_path(pattern) is not None:
        # pathlib's glob takes no absolute pattern
        matches = glob.glob(str(local_path(pattern)), recursive=True)  # noqa: PTH207
    else:
        filesystem, inner = url_filesystem(pattern)
        matches = [str(filesystem.unstrip_protocol(name)) for name in filesystem.glob(inner)]
    if not matches:
        raise ExportError(pattern, "no such file: the pattern matches nothing")
    found: set[str] = set()
    for match in matches:
        if not _visible([Path(match).name]):
            continue
        if _is_zip(match) or sav_video(match):
            found.add(match)
        elif _kind(match) == "folder":
            found.update(_in_folder(match))
    if not found:
        got = f"{len(matches)} matches, none of them a ZIP or an export folder"
        raise ExportError(pattern, "no exports found", got=got, advice=_ADVICE)
    return sorted(found)


def _in_folder(folder: str) -> list[str]:
    folder = folder.rstrip("/") or "/"
    files, folders = folder_names(folder)
    if _MARKER in files:
        return [folder]
    single = [_below(folder, name) for name in files if _is_zip(name) or sav_video(name)]
    videos = {sav_video(name) for name in files}
    below = [_below(folder, name) for name in folders if name not in videos]
    exports = [export for child in below for export in _export_folders(child, _ENCLOSING - 1)]
    if len(exports) == 1 and not single and not sav_video(exports[0]):
        return [folder]
    return sorted([*single, *exports])


def _export_folders(folder: str, levels: int) -> list[str]:
    files, folders = folder_names(folder)
    if _MARKER in files:
        return [folder]
    found = [_below(folder, name) for name in files if sav_video(name)]
    if found or not levels:
        return found
    below = [_below(folder, name) for name in folders]
    return [export for child in below for export in _export_folders(child, levels - 1)]


def _is_zip(name: str) -> bool:
    return name.lower().endswith(".zip")


def _below(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"


def _kind(location: str) -> str | None:
    """Say "file", "folder", or None where nothing is."""
    path = local_path(location)
    if path is not None:
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        return "folder" if stat.S_ISDIR(mode) else "file"
    filesystem, inner = url_filesystem(location)
    return {"file": "file", "directory": "folder"}.get(kind_of(filesystem, inner) or "")


def folder_names(folder: str) -> tuple[list[str], list[str]]:
    """Names of the files and of the folders in a folder; hidden ones are not looked at."""
    files: list[str] = []
    folders: list[str] = []
    path = local_path(folder)
    if path is not None:
        with os.scandir(path) as entries:
            for entry in entries:
                (folders if entry.is_dir() else files).append(entry.name)
    else:
        filesystem, inner = url_filesystem(folder)
        for entry in filesystem.ls(inner, detail=True):
            name = Path(str(entry["name"])).name
            (folders if entry["type"] == "directory" else files).append(name)
    return _visible(files), _visible(folders)


def _visible(names: list[str]) -> list[str]:
    return sorted(name for name in names if not name.startswith((".", "__MACOSX")))
