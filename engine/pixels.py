"""An image's pixels, by Pillow: decoded to be looked at, or only to see that they can be.

Whoever checks an image wants no array of it: the conversion and the copy would cost a fifth of the
decoding itself.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "DAMAGED",
    "JPEG",
    "MAX_PIXELS",
    "TRUNCATED",
    "UNREADABLE",
    "check_pixels",
    "decode_rgb",
    "is_jpeg",
    "open_image",
    "pillow_bombs",
    "pillow_errors",
    "shrink_rgb",
]

UNREADABLE, TRUNCATED = "image_unreadable", "image_truncated"
DAMAGED = (TRUNCATED, UNREADABLE)
"""Findings of bytes that cannot be read, and may be another time: an export may come repaired."""

JPEG = b"\xff\xd8\xff"
"""How every JPEG begins."""

# Pillow's own limit against decompression bombs, 3 bytes a pixel of it being 512 MiB.
MAX_PIXELS = 512 * 2**20 // 3

# No others: Pillow also opens PostScript, by running Ghostscript on it.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")

_T = TypeVar("_T")


def check_pixels(data: bytes) -> tuple[str, str] | None:
    """Decode every pixel of an image (of an animation, the first picture), and keep none.

    Returns:
        None if that can be done; else ("image_unreadable" or "image_truncated"; a sentence).
    """
    decoded = _decoded(data, _load)
    return decoded if isinstance(decoded, tuple) else None


def decode_rgb(data: bytes, *, max_side: int | None = None) -> npt.NDArray[np.uint8] | None:
    """Decode an image to RGB as stored: no Exif rotation, alpha dropped, 16 bits cut to 8.

    Args:
        data: the whole file.
        max_side: shrink to at most so many pixels on the longer side, never enlarge; a JPEG is then
            decoded at the nearest larger of its own scales (1/2, 1/4, 1/8), several times faster.

    Returns:
        (height, width, 3) uint8; None if it cannot be decoded (`images.check_decode` says why).
    """
    decoded = _decoded(data, partial(_pixels, max_side=max_side))
    return None if isinstance(decoded, tuple) else decoded


def shrink_rgb(pixels: npt.NDArray[np.uint8], max_side: int) -> npt.NDArray[np.uint8]:
    """Shrink what `decode_rgb` gave to what it gives with `max_side`, unless it was a JPEG.

    Args:
        pixels: uint8 (height, width, 3), RGB.
        max_side: px, of the longer side.
    """
    from PIL import Image

    return _small(Image.fromarray(pixels), max_side)


def is_jpeg(data: bytes) -> bool:
    """Say whether an image begins as a JPEG does, whatever its name says."""
    return data.startswith(JPEG)


def open_image(data: bytes) -> "Image.Image":
    """Open an image of one of the known formats; raises one of `pillow_errors`."""
    from PIL import Image  # costs start-up time

    return Image.open(io.BytesIO(data), formats=_FORMATS)


def pillow_bombs() -> type[Exception]:
    """What Pillow raises on an image that is too large to be meant well."""
    from PIL import Image  # costs start-up time

    return Image.DecompressionBombError


def pillow_errors() -> tuple[type[Exception], ...]:
    """What Pillow raises on bad bytes: its plug-ins let through what their parsing runs into."""
    from PIL import Image  # costs start-up time

    bomb = Image.DecompressionBombError
    return (bomb, OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError,
            OverflowError, RuntimeError, struct.error, zlib.error)  # fmt: skip


def _decoded(data: bytes, take: Callable[["Image.Image"], _T]) -> _T | tuple[str, str]:
    """Give what is taken of an opened image, or a finding's code and a sentence."""
    try:
        with warnings.catch_warnings(action="ignore"), open_image(data) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                return UNREADABLE, f"{width} x {height} pixels are more than {MAX_PIXELS}"
            return take(image)
    except pillow_errors() as error:
        sentence = " ".join(str(error).split())
        code = TRUNCATED if "truncated" in sentence.lower() else UNREADABLE
        return code, f"the image cannot be decoded: {sentence}"


def _load(image: "Image.Image") -> None:
    image.load()
    if image.mode != "RGB":  # readers convert it, and not every kind of pixels can be
        _to_rgb(image)


def _pixels(image: "Image.Image", max_side: int | None) -> npt.NDArray[np.uint8]:
    if max_side is not None:
        image.draft("RGB", (max_side, max_side))
    return _small(_to_rgb(image), max_side)


def _small(rgb: "Image.Image", max_side: int | None) -> npt.NDArray[np.uint8]:
    if max_side is not None:
        rgb.thumbnail((max_side, max_side), reducing_gap=None)
    return np.array(rgb, dtype=np.uint8)


def _to_rgb(image: "Image.Image") -> "Image.Image":
    from PIL import Image  # costs start-up time

    if image.mode.startswith("I;16"):  # Pillow would clip all above 255 to white
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")
