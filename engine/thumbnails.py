"""Small pictures for the report: a frame with its masks drawn on it, as we decoded them.

The mask is drawn in the thumbnail's own pixels: each shows the image pixel under its centre, so no
mask is ever dense at the size of the image, whose pixels can be hundreds of megabytes. What the
check objects to gets a strong outline, the rest of the frame a faint one. Pictures are WebP, about
half the bytes of a JPEG that looks the same, and each has an upper bound of bytes: a page with all
of them stays small. (A picture of noise is brought under the bound by quality first, then by size.)
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.images import ImageInfo, read_header
from engine.masks import boundary
from engine.pixels import decode_rgb
from engine.rle_text import parse_compressed

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["MAX_BYTES", "MAX_SIDE_PX", "DrawnMask", "thumbnail"]

MAX_SIDE_PX = 320
MAX_BYTES = 12_000

_QUALITIES = (66, 35, 10)
# No palette of an overlay has this pink, and few scenes do.
_ACCENT, _OTHER = (255, 40, 150), (255, 255, 255)
_TINT = 0.22  # of the accent over what a finding is about: what lies under it can be seen


@dataclass(frozen=True, kw_only=True)
class DrawnMask:
    """One mask to be drawn.

    Args:
        counts: COCO compressed counts.
        size: (height, width) of the mask in image pixels.
        accent: it is what the finding is about.
    """

    counts: str
    size: tuple[int, int]
    accent: bool


def thumbnail(data: bytes, drawn: Sequence[DrawnMask]) -> tuple[bytes, int, int] | None:
    """Make a small picture of a frame.

    Args:
        data: the image file.
        drawn: masks in the pixels of the image, drawn in this order, those with accent last.

    Returns:
        (WebP of at most `MAX_BYTES`, width, height in px); None if the image cannot be decoded.
    """
    decoded = decode_rgb(data, max_side=MAX_SIDE_PX)
    if decoded is None:
        return None
    pixels = decoded
    header = read_header(data)
    height, width, _ = decoded.shape
    size = (header.height, header.width) if isinstance(header, ImageInfo) else (height, width)
    for mask in sorted(drawn, key=lambda each: each.accent):
        pixels = _draw(pixels, mask, size)
    return _encoded(pixels)


def _draw(pixels: NDArray[np.uint8], mask: DrawnMask, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Tint what the mask covers and outline it, in the pixels of the thumbnail."""
    covered = _at(mask, pixels.shape[:2], size)
    if covered is None:
        return pixels
    drawn = pixels.astype(np.float32)
    colour = np.array(_ACCENT if mask.accent else _OTHER, np.float32)
    if mask.accent:
        drawn[covered] += (colour - drawn[covered]) * _TINT
    line = boundary(covered)
    if mask.accent:
        # Two pixels wide, and a dark seam outside keeps it apart from a scene of its colour.
        drawn[_grown(covered) & ~covered] *= 0.3
        drawn[line | boundary(covered & ~line)] = colour
    else:
        drawn[line] += (colour - drawn[line]) * 0.6
    return np.asarray(np.rint(drawn), dtype=np.uint8)


def _at(mask: DrawnMask, shape: tuple[int, ...], size: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Read a mask at the centres of a thumbnail's pixels; None where it cannot be read.

    A pixel of column-major place p is foreground if an odd number of runs ends at or before p. A
    mask of another size than its image is not stretched: its pixels are those of the image.
    """
    parsed = parse_compressed([mask.counts])
    if parsed.problems[0]:
        return None
    (height, width), (rows, columns) = mask.size, shape
    y = ((2 * np.arange(rows) + 1) * size[0] // (2 * rows))[:, None]
    x = ((2 * np.arange(columns) + 1) * size[1] // (2 * columns))[None, :]
    places = x * height + y
    ends = np.cumsum(parsed.runs.mask(0))
    found: NDArray[np.bool_] = np.searchsorted(ends, places, side="right") % 2 == 1
    return found & (y < height) & (x < width)


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown


def _encoded(pixels: NDArray[np.uint8]) -> tuple[bytes, int, int]:
    from PIL import Image

    image = Image.fromarray(pixels)
    while True:
        for quality in _QUALITIES:
            data = _webp(image, quality)
            if len(data) <= MAX_BYTES:
                return data, image.width, image.height
        image = image.resize((max(1, image.width * 2 // 3), max(1, image.height * 2 // 3)))


def _webp(image: "Image.Image", quality: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=quality, method=4)
    return stream.getvalue()
