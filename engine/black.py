"""Telling an all-black frame: how the known exporter writes a frame that it could not read.

Trade-off: blackness is in the pixels, and decoding every frame would cost a run more than all its
other checks together. But nothing compresses like black: such a file is a few hundredths of a byte
a pixel, where a photograph has ten times that and more. So only files that small are decoded, and
small files decode fast. Not seen: black stored without compression inside a PNG.

The exporter may paint its masks on the black frame. That is still no picture of anything, so black
with nothing but the overlay's own colours counts too; colours are exact in a PNG, not in a JPEG.

Measured with Pillow and OpenCV's settings, 64x96 to 1280x720: black PNG 0.003 to 0.026 bytes a
pixel, black JPEG 0.016 to 0.028 and 600 bytes of tables; a 1280x720 frame of a street as a JPEG of
quality 75 has 0.1 or more.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.thresholds import Thresholds

__all__ = ["is_black", "may_be_black"]

_BYTES_PER_PIXEL, _BYTES_OF_TABLES = 0.035, 1500
_SAME = 2  # of 255: what rounding makes of a colour
_TINT = 0.3  # the exporter's share of the mask's colour inside its contour


def may_be_black(n_bytes: int, width: int, height: int) -> bool:
    """Say whether a compressed image is so small a file that its pixels are worth a look.

    Args:
        n_bytes: the file's size.
        width: in pixels.
        height: in pixels.
    """
    return n_bytes <= _BYTES_OF_TABLES + _BYTES_PER_PIXEL * width * height


def is_black(
    pixels: NDArray[np.uint8],
    palette: Sequence[tuple[int, int, int]],
    level: int = Thresholds.black_level,
) -> bool:
    """Say whether a frame shows nothing: all black, or black with masks painted on it.

    Args:
        pixels: uint8 (height, width, 3), RGB.
        palette: the overlay's colours, RGB.
        level: of 255, what still counts as black.
    """
    if pixels.max() <= level:
        return True
    flat = pixels.reshape(-1, 3)
    # A picture is told from paint by a few of its pixels, taken at a step that fits no width.
    few = flat[:: max(1, len(flat) // 1000) | 1]
    return _is_overlay(few, palette, level, tinted=False) and _is_overlay(
        flat, palette, level, tinted=True
    )


def _is_overlay(
    pixels: NDArray[np.uint8], palette: Sequence[tuple[int, int, int]], level: int, *, tinted: bool
) -> bool:
    """Say whether all colours are those of masks painted on black: tint, contour, label.

    Args:
        pixels: uint8 (n, 3).
        palette: the overlay's colours.
        level: what counts as black.
        tinted: there has to be a tint, or it is a drawing that happens to have these colours.
    """
    lit = pixels[(pixels > level).any(axis=1)].astype(np.uint32)
    packed, times = np.unique(lit @ np.array([65536, 256, 1], np.uint32), return_counts=True)
    colours = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1).astype(np.int16)
    grey = np.ptp(colours, axis=1) <= _SAME  # the label, white and smoothed, in its black box
    line, tint = np.zeros((2, len(colours)), dtype=np.bool_)
    for colour in palette:
        line |= np.abs(colours - np.array(colour, np.int16)).max(axis=1) <= _SAME
        faint = np.array([round(_TINT * channel) for channel in colour], np.int16)
        tint |= np.abs(colours - faint).max(axis=1) <= _SAME
    labels_only = times[grey].sum() > 0.75 * times.sum()
    return bool((grey | line | tint).all() and not labels_only and (tint.any() or not tinted))
