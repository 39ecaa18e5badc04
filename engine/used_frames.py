"""Frames given with `--frames`: whether they are clean, and show what the export shows.

The order of masks and their grid are settled by the export's own images, which the masks were drawn
for. What a model is trained on are the frames given, so these are looked at as well: the folder of
the painted images is a likely mistake, and so is that of another video.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from engine import dialect
from engine.dialect import Evidence
from engine.evidence_frames import FOR_PAINT, evidence_images, first_size, sample_masks
from engine.export import CutExport
from engine.frame_json import RawFrame
from engine.identity import distance
from engine.looks import choose_frames, compare, take_looks
from engine.records import Look

__all__ = ["differing", "measure_paint", "paint_figures", "pictures_differ"]

# Drawn videos of 8 frames, one to four objects, own images painted. Right clean frames, 316 videos
# each (64x48 to 640x360) as PNG, as JPEG 50, at a third to double the size, by the other matrix of
# colours, to the other range of levels: with 10 bits none of 20,000 frames differs, and with 8 none
# of 11,500 of the small sizes. Of 2,610 pairs with another video 2,609 are said; noise always.
_FEW_EQUAL = 0.12  # of the cells
_SAME_BITS = 8  # of 64
_HARDLY_ANY = 0.9  # differ, of those that are compared
_LEAST_COMPARED = 2

_PLAIN_SHARE = 0.4  # of the cells that have one colour: paint leaves half of a black frame black
_PLAIN_LEVELS, _UNIFORM_LEVELS = 4, 1  # grey levels from the median; the mean of noise is off by 2


def measure_paint(
    frames: Sequence[RawFrame], cut: CutExport, location: str, grid: tuple[int, int] | None
) -> Evidence | None:
    """Look for paint on the frames given.

    Args:
        frames: that the evidence was taken of.
        cut: of the export, with the frames given.
        location: where these lie.
        grid: (height, width) of the masks; None: that of the images.

    Returns:
        What a few of them show; None if none can be looked at.
    """
    there = [frame for frame in frames if frame.frame_index in cut.pictured]
    few = [there[place] for place in dialect.sample_indices(len(there), FOR_PAINT)]
    images = evidence_images(location, few, cut.pictured)
    size = grid or first_size(images.values())
    return dialect.measure(sample_masks(few, images, size), size) if size else None


def paint_figures(evidence: Evidence) -> str:
    """Say how much of the masks' boundaries carries the overlay's colour, read as shows most."""
    share, order = max((evidence.paint_row or 0.0, "row"), (evidence.paint_column or 0.0, "column"))
    return (
        f"{100 * share:.1f}% of the masks' boundary pixels, read {order}-major, in "
        f"{evidence.frames_looked} frames carry the overlay's colour"
    )


def pictures_differ(
    own: tuple[str, CutExport],
    given: tuple[str, CutExport],
    *,
    decoded: Mapping[int, NDArray[np.uint8]],
    looks: Sequence[Look],
) -> str | None:
    """Compare the export's own images with the frames given, at the same frame indices.

    Args:
        own: where the export lies, and its cut with its own images.
        given: where the frames given lie, and the cut with them.
        decoded: pixels of own images, as `take_looks` takes them.
        looks: of some of the frames given.

    Returns:
        How many differ, if hardly any shows the same picture; else None, and where there is nothing
        to compare.

    Raises:
        ExportError: the storage cannot be read.
    """
    chosen = choose_frames(own[1].pictured.keys() & given[1].pictured.keys())
    known = {look.frame_index: look for look in looks}
    more = {index: given[1].pictured[index] for index in chosen if index not in known}
    known |= {look.frame_index: look for look in take_looks(given[0], more)}
    owned = take_looks(own[0], {index: own[1].pictured[index] for index in chosen}, decoded)
    pairs = [(look, known[look.frame_index]) for look in owned if look.frame_index in known]
    count, compared = differing(pairs)
    if compared < min(_LEAST_COMPARED, len(pairs)) or count < max(1, _HARDLY_ANY * compared):
        return None
    return f"{count} of {compared} compared frames show another picture than the export's own image"


def differing(pairs: Sequence[tuple[Look, Look]]) -> tuple[int, int]:
    """Count the frames that show another picture; painted and encoded anew is no other one.

    Args:
        pairs: looks of an own image, which may be painted, and of the frame given.

    Returns:
        (frames that differ, frames compared). Where the own image is plain but for paint (the
        exporter could not read the frame), or the frame given is of one colour, there is nothing to
        compare.
    """
    cells = np.array([[list(look.cells) for look in pair] for pair in pairs], dtype=np.uint8)
    cells = cells.reshape(-1, 2, 256, 3)
    apart = np.abs(cells - np.median(cells, axis=2, keepdims=True)).max(axis=3)
    plain = (apart[:, 0] <= _PLAIN_LEVELS).mean(axis=1) >= _PLAIN_SHARE
    uniform = (apart[:, 1] <= _UNIFORM_LEVELS).all(axis=1)
    first = 2 * np.arange(len(pairs))
    few_equal = compare(cells.reshape(-1, 256, 3), first, first + 1).equal < _FEW_EQUAL
    bits = np.array([distance(a.phash, b.phash) for a, b in pairs], dtype=np.int64)
    compared = ~plain & ~uniform
    return int((compared & few_equal & (bits > _SAME_BITS)).sum()), int(compared.sum())
