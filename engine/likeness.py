"""What an export's frames look like: a few hashes, to tell whether two exports show one video."""

import hashlib
from typing import Any

import orjson

from engine import identity, images
from engine.frame_check import image_member
from engine.frame_json import peek
from engine.members import MemberError, read_member
from engine.records import OpenedExport
from engine.tables import read_table

__all__ = ["image_hashes"]

# How many frames are compared to tell whether two exports of one name show the same video.
_HASHED_FRAMES = 16


def image_hashes(export: OpenedExport) -> dict[int, int]:
    """Hash some of an export's images, to tell whether another export shows the same video.

    Args:
        export: as it was opened.

    Returns:
        Perceptual hash by frame index. The frames are chosen by a digest of their index, so that
        exports of overlapping parts of a video choose the same ones.
    """
    places: dict[int, dict[str, Any]] = {}
    step = export.masklets.step if export.masklets else None
    for file in export.ranges:
        for row in read_table(file.path).to_pylist():
            index = row["frame_index_of_image"]
            if row["frame_json"] is not None:
                record = orjson.loads(row["frame_json"])
                index, _, _ = peek(record, ordinal=row["ordinal"], step=step)
            if index is not None and row["images_found"] == 1:
                places[index] = row
    chosen = sorted(places, key=lambda i: hashlib.sha256(str(i).encode()).digest())
    hashes: dict[int, int] = {}
    for index in chosen[:_HASHED_FRAMES]:
        row = places[index]
        try:
            pixels = images.decode_rgb(read_member(row["image_source"], image_member(row)))
        except MemberError:
            continue
        if pixels is not None:
            hashes[index] = identity.phash(pixels)
    return hashes
