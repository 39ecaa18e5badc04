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

__all__ = ["is_black", "may_be_black"]

_BYTES_PER_PIXEL, _BYTES_OF_TABLES = 0.035, 1500
_BLACK = 2  # of 255: what rounding makes of black
_TINT = 0.3  # the exporter's share of the mask's colour inside its contour


def may_be_black(n_bytes: int, width: int, height: int) -> bool:
    """Say whether a compressed image is so small a file that its pixels are worth a look.

    Args:
        n_bytes: the file's size.
        width: in pixels.
        height: in pixels.
    """
    return n_bytes <= _BYTES_OF_TABLES + _BYTES_PER_PIXEL * width * height


def is_black(pixels: NDArray[np.uint8], palette: Sequence[tuple[int, int, int]]) -> bool:
    """Say whether a frame shows nothing: all black, or black with masks painted on it.

    Args:
        pixels: uint8 (height, width, 3), RGB.
        palette: the overlay's colours, RGB.
    """
    lit = pixels[pixels.max(axis=2) > _BLACK].astype(np.int16)
    if not len(lit):
        return True
    sample = lit[:: max(1, len(lit) // 500)]  # a picture is told from paint by a few of its pixels
    return _is_overlay(sample, palette) and _is_overlay(lit, palette)


def _is_overlay(lit: NDArray[np.int16], palette: Sequence[tuple[int, int, int]]) -> bool:
    """Say whether colours, int16 (n, 3), are those of masks painted on black: tint, line, text."""
    grey = np.ptp(lit, axis=1) <= _BLACK  # the label, white and smoothed, in its black box
    line, tint = np.zeros((2, len(lit)), dtype=np.bool_)
    for colour in palette:
        line |= np.abs(lit - np.array(colour, np.int16)).max(axis=1) <= _BLACK
        tinted = np.array([round(_TINT * channel) for channel in colour], np.int16)
        tint |= np.abs(lit - tinted).max(axis=1) <= _BLACK
    return bool(tint.any() and grey.mean() <= 0.5 and (grey | line | tint).all())
