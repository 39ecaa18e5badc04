"""What a video is: an id from what its export declares, corrected by what its frames show.

The known exporter names every file after a session, so the same video comes under several names and
one name is no proof of one video. The id is therefore a digest of the declared facts, the same for
ZIP and folder and on every machine; and where two sources with one id show different scenes at the
same frame indices, they are told apart by a suffix from their content.

Scenes are compared by a difference hash (N. Krawetz, "Kind of Like That", 2013): is each cell of a
9x8 grid brighter than its neighbour to the left. It depends on brightness order only: a tint over
an object keeps the order inside it, so paint changes the bits along its outline alone, where a hash
by frequencies changes everywhere. The price: 64 bits do not see a small object that differs on an
equal background, and such videos count as one; frames that contradict then show as conflicts.
"""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["distance", "mean_cells", "phash", "resolve_names", "same_scene", "video_id"]

_Floats: TypeAlias = NDArray[np.float64]

_LONGEST_SLUG = 64  # of the 255 bytes a file name may have, with room for suffixes and frame names
_ID_HEX = 6  # fixed by the contract; 16 million names a slug
# Measured, in bits of 64: JPEG at quality 50 changes at most 2, three painted objects at most 12 on
# real frames and photographs; different photographs are 23 and more apart, drawn scenes 11 and more
# (19 in 20 of them 20), flat scenes that differ in a small object alone 6 and more.
_SAME_BITS = 12
_STEP = 1.5  # grey levels of 255: less is equal, so that JPEG noise on a flat region sets no bits


def video_id(
    *,
    filename: str | None,
    width: int | None,
    height: int | None,
    total_frames: int | None,
    duration_sec: float | None,
) -> str:
    """The id of a video, from what its export declares.

    Args:
        filename: the video's file name, with or without a path.
        width: in px.
        height: in px.
        total_frames: frames of the video, not of the export.
        duration_sec: in seconds. Anything not declared is None, and 10 equals 10.0.

    Returns:
        "<slug>-<6 hex>", of a-z, 0-9, ".", "_" and "-" only: fit for a file name anywhere.
    """
    facts = {
        "filename": filename,
        "width": _plain(width),
        "height": _plain(height),
        "total_frames": _plain(total_frames),
        "duration_sec": _plain(duration_sec),
    }
    # ASCII escapes, so that a lone surrogate in a file name has a digest too.
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    digest = hashlib.sha256(text.encode("ascii")).hexdigest()
    return f"{_slug(filename or '')}-{digest[:_ID_HEX]}"


def phash(pixels: NDArray[np.uint8]) -> int:
    """Perceptual hash of a frame.

    Args:
        pixels: uint8 (height, width) or (height, width, 3), RGB; each side at least 1 px.

    Returns:
        64 bits, in [0, 2**64): bit 8 * row + column of a 9x8 grid of mean brightness (the first bit
        is the highest) says whether the cell to the right is brighter.

    Raises:
        ValueError: an array of another shape.
    """
    cells = mean_cells(pixels, 8, 9)
    if cells.ndim == 3:
        cells = cells @ np.array((0.299, 0.587, 0.114))  # ITU-R BT.601, as JPEG's own brightness
    bits = np.diff(cells, axis=1) > _STEP
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def mean_cells(pixels: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.float64]:
    """Mean brightness or colour of the cells of a grid laid over a frame.

    Args:
        pixels: uint8 (height, width) or (height, width, 3); each side at least 1 px.
        rows: of the grid.
        columns: of the grid.

    Returns:
        float64 (rows, columns) or (rows, columns, 3), 0 to 255.

    Raises:
        ValueError: an array of another shape.
    """
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3) or not pixels.size:
        raise ValueError(f"pixels of shape {pixels.shape}: expected (h, w) or (h, w, 3), not empty")
    strips = _cells(pixels, rows, np.uint32)
    return _cells(strips.swapaxes(0, 1), columns, np.float64).swapaxes(0, 1)


def distance(a: int, b: int) -> int:
    """Number of bits, 0 to 64, in which two hashes differ."""
    return (a ^ b).bit_count()


def same_scene(hashes_a: Mapping[int, int], hashes_b: Mapping[int, int]) -> bool:
    """Whether two sources of one name show the same video.

    Args:
        hashes_a: `phash` by frame index.
        hashes_b: the same of the other source.

    Returns:
        True if the median distance over the frame indices both have is at most 12 bits, and if they
        share none: then nothing contradicts the name.
    """
    shared = hashes_a.keys() & hashes_b.keys()
    return not shared or median(distance(hashes_a[i], hashes_b[i]) for i in shared) <= _SAME_BITS


def resolve_names(
    entries: Sequence[tuple[str, str, Mapping[int, int]]],
    *,
    settled: Mapping[str, str] | None = None,
) -> list[str]:
    """Tell apart sources that share an id but not a scene.

    The sources of one id are taken by content digest. One that fits a video found so far (the one
    it shares most frames with) belongs to it; the others are further videos, whose names get a
    suffix from the digest of their first source. So the result does not depend on the order given.

    Args:
        entries: of each source its `video_id`, the digest of its content (hex), and `phash` by
            frame index.
        settled: names already given, by content digest: they stay, and so the newcomer gets the
            suffix.

    Returns:
        The final id of each entry, in the order given.
    """
    names = dict(settled or {})
    taken = {name for name, _, _ in entries} | set(names.values())
    known = sorted(range(len(entries)), key=lambda i: _precedence(entries[i], names))
    final: dict[int, str] = {}
    videos: dict[str, dict[str, list[Mapping[int, int]]]] = {}
    for i in known:
        base, digest, hashes = entries[i]
        found = videos.setdefault(base, {})
        name = names.get(digest) or _fitting(found, hashes)
        if name is None:
            name = _suffixed(base, digest, taken) if found else base
            taken.add(name)
        names.setdefault(digest, name)
        found.setdefault(name, []).append(hashes)
        final[i] = name
    return [final[i] for i in range(len(entries))]


def _plain(value: float | None) -> float | None:
    """A number as JSON writes it in one way only; None for what is no finite number."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if value == int(value) else float(value)


def _slug(filename: str) -> str:
    """The stem of a file name in letters every file system takes, "video" if none are left."""
    name = re.split(r"[/\\]", filename)[-1]
    stem = name.rpartition(".")[0] or name
    text = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode("ascii").lower()
    slug = re.sub(r"[^a-z0-9._]+", "-", text)
    return re.sub(r"\.{2,}", ".", slug)[:_LONGEST_SLUG].strip("-._") or "video"


def _cells(values: NDArray[np.generic], count: int, sums: type[np.generic]) -> _Floats:
    """Means of `count` near-equal parts of the first axis, by repetition if it is shorter."""
    length = values.shape[0]
    bounds = [i * length // count for i in range(count + 1)]
    parts = [values[a : max(a + 1, b)] for a, b in pairwise(bounds)]
    # Whole numbers first: exact, and ten times as fast as means over the bytes of an image.
    return np.stack([part.sum(axis=0, dtype=sums) / len(part) for part in parts])


def _precedence(
    entry: tuple[str, str, Mapping[int, int]], names: Mapping[str, str]
) -> tuple[bool, bool, str, list[tuple[int, int]]]:
    """Settled names first, among them the one without a suffix; then by digest."""
    base, digest, hashes = entry
    return digest not in names, names.get(digest) != base, digest, sorted(hashes.items())


def _fitting(
    found: Mapping[str, Sequence[Mapping[int, int]]], hashes: Mapping[int, int]
) -> str | None:
    """The video that a source belongs to: none of its sources differs, and most frames agree."""
    fits = {
        name: sum(len(hashes.keys() & source.keys()) for source in sources)
        for name, sources in found.items()
        if all(same_scene(hashes, source) for source in sources)
    }
    return max(fits, key=lambda name: fits[name]) if fits else None  # a tie: the earlier one


def _suffixed(base: str, digest: str, taken: set[str]) -> str:
    """The id with as much of the digest as makes it unique, 6 characters at least."""
    names = (f"{base}-{digest[:n]}" for n in range(_ID_HEX, len(digest)))
    return next((name for name in names if name not in taken), f"{base}-{digest}")
