"""What an image's bytes say: size and orientation, and whether they are whole.

Trade-off: most frames are JPEG or PNG, and a run looks at every one of them, so these two are
walked here without decoding (microseconds, and an exact word on where a file ends). Every other
format is left to Pillow, which decodes it whole.

What cannot be seen: PNG pixels have CRCs, JPEG pixels have none. A flipped bit among them passes
the structure check, and mostly the decoder too: libjpeg mends what it can, fills what is missing in
front of an end-of-image marker with grey, and only warns. The CRC of the ZIP member is what guards
a JPEG.

Sources: PNG, W3C Recommendation (third edition), section 5; JPEG, ITU-T T.81, annex B; orientation:
Exif 2.32 (CIPA DC-008), tag 0x0112, in a TIFF 6.0 directory.
"""

import re
import struct
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np
from zlib_ng import zlib_ng

from engine.pixels import (
    JPEG,
    MAX_PIXELS,
    TRUNCATED,
    UNREADABLE,
    check_pixels,
    is_jpeg,
    open_image,
    pillow_bombs,
    pillow_errors,
)

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ImageInfo", "check_decode", "check_structure", "read_header"]

_PNG = b"\x89PNG\r\n\x1a\n"
# Beginnings of what Pillow may open, so that "need more bytes" and "no image" can be told apart.
_OTHERS = (b"RIFF", b"BM", b"GIF8", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# A marker: not a stuffed 00, not a restart; of fill bytes before it, the last one counts.
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7\x01])")
_SOI, _EOI, _SOS, _APP1 = 0xD8, 0xD9, 0xDA, 0xE1
# Behind where pixels begin a start-of-image marker means nothing, and may be there a million times.
_IS_MARKER = np.array(
    [code != _SOI and _MARKER.match(bytes((0xFF, code))) is not None for code in range(256)]
)
_WINDOW = 2**20  # bytes looked at at once
_FRAME_HEADERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
_PNG_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
_Segment = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageInfo:
    """What the header of an image says.

    Args:
        format: Pillow's name in lower case: "jpeg", "png", "webp", "bmp", "gif", "tiff".
        width: in pixels as stored, before any orientation.
        height: in pixels as stored.
        orientation: the Exif tag, 1 to 8; 1 where there is none or it is out of range. In a PNG,
            only if it stands before the pixels.
        animated: it holds more pictures than the first, which is all that readers look at; of a
            GIF, a WebP or a TIFF only if `head` was the whole file.
        mode: Pillow's name for the kind of pixels as far as the header tells ("1", "L", "LA", "P",
            "RGB", "RGBA", "CMYK", "I;16"); None for a number of channels without a name.
    """

    format: str
    width: int
    height: int
    orientation: int
    mode: str | None
    animated: bool = False


def read_header(head: bytes) -> ImageInfo | str | None:
    """Read size and orientation from the first bytes of an image.

    Args:
        head: the beginning of the file, of any length, or all of it.

    Returns:
        The facts; or a sentence about what is wrong with the bytes; or None if `head` ends too
        early to say (if it is the whole file, then the image is truncated).
    """
    if not head or _PNG.startswith(head) or JPEG.startswith(head):
        return None
    if head.startswith(_PNG):
        return _sized(_png_header(head))
    if is_jpeg(head):
        return _sized(_jpeg_header(head, _jpeg_segments(head)))
    return _sized(_other_header(head))


def check_structure(data: bytes) -> tuple[str, str] | None:
    """Check that an image is whole, without decoding JPEG or PNG; other formats are decoded.

    Args:
        data: the whole file. Bytes behind the end of the image are allowed: cameras and padding
            tools put some there, and every decoder stops before them.

    Returns:
        None if it is whole; else ("image_unreadable", "image_truncated" or, where its metadata asks
        for a turn that the header does not show, "image_orientation"; a sentence).
    """
    if not data:
        return UNREADABLE, "the file is empty (0 bytes)"
    if is_jpeg(data):
        return _check_jpeg(data)
    info = read_header(data)
    if isinstance(info, str):
        return UNREADABLE, info
    if data.startswith(_PNG):
        return _check_png(data) or _check_orientation(data, info, turns=_png_may_turn(data))
    if info is None:
        return TRUNCATED, f"the file ends inside the image's header ({len(data)} bytes)"
    return check_pixels(data)


def check_decode(data: bytes) -> tuple[str, str] | None:
    """Check an image by its structure and by decoding every pixel (of an animation, the first).

    Returns:
        As `check_structure`.
    """
    return check_structure(data) or check_pixels(data)


def _check_orientation(
    data: bytes, info: ImageInfo | str | None, *, turns: bool
) -> tuple[str, str] | None:
    """Look for an orientation where only Pillow looks for it: in XMP, or behind a PNG's pixels.

    `turns` says whether there is metadata in which it may find one, and so `datasets` too.
    """
    if not turns or not isinstance(info, ImageInfo) or info.orientation != 1:
        return None
    try:
        with warnings.catch_warnings(action="ignore"), open_image(data) as image:
            image.load()
            orientation = image.getexif().get(0x0112, 1)
    except pillow_errors():
        return None
    if orientation in range(2, 9):
        return "image_orientation", f"orientation {orientation} in its metadata, expected 1"
    return None


def _png_may_turn(data: bytes) -> bool:
    texts = (b"XML:com.adobe.xmp", b"Raw profile type")
    return any(
        kind == b"eXIf" or data.startswith(texts, first) for kind, first, _ in _png_chunks(data)
    )


def _jpeg_may_turn(data: bytes, segments: Iterable[_Segment]) -> bool:
    return any(
        marker == _APP1 and data.find(b"tiff:Orientation", first, end) >= 0
        for marker, first, end in takewhile(lambda segment: segment[0] != _SOS, segments)
    )


def _sized(info: ImageInfo | str | None) -> ImageInfo | str | None:
    if not isinstance(info, ImageInfo):
        return info
    declared = f"the header declares {info.width} x {info.height} pixels"
    if info.width * info.height > MAX_PIXELS:
        return f"{declared}, more than {MAX_PIXELS}: a decompression bomb"
    return info if info.width and info.height else declared


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(type, first, end) of the content of each chunk whose length is there; `end` may lie beyond.

    A chunk's CRC is the 4 bytes from `end`.
    """
    position = len(_PNG)
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        first = position + 8
        yield kind, first, first + length
        position = first + length + 4


def _png_header(head: bytes) -> ImageInfo | str | None:
    orientation = 1
    animated = False
    size: tuple[int, int, int, int] | None = None
    for kind, first, end in _png_chunks(head):
        if size is None:
            if kind != b"IHDR" or end - first != 13:
                return "the PNG does not begin with its header chunk"
            if end > len(head):
                return None
            size = struct.unpack(">IIBB", head[first : first + 10])
        elif kind == b"eXIf":
            orientation = _orientation(head[first:end])
        animated = animated or kind == b"acTL"
        if kind in (b"IDAT", b"IEND"):
            width, height, bits, color = size
            mode = _PNG_MODES.get(color)
            if color == 0 and bits in (1, 16):
                mode = "1" if bits == 1 else "I;16"
            return ImageInfo(
                format="png", width=width, height=height, orientation=orientation, mode=mode,
                animated=animated,
            )  # fmt: skip
        if end > len(head):
            return None
    return None


def _check_png(data: bytes) -> tuple[str, str] | None:
    has_pixels = False
    for kind, first, end in _png_chunks(data):
        name = repr(kind)[2:-1]
        if not kind.isalpha():
            return UNREADABLE, f"the PNG has no chunk where one must begin, at byte {first - 8}"
        if end + 4 > len(data):
            return TRUNCATED, f"the PNG ends inside its chunk {name} at byte {first - 8}"
        declared = int.from_bytes(data[end : end + 4], "big")
        if zlib_ng.crc32(memoryview(data)[first - 4 : end]) != declared:
            return UNREADABLE, f"the PNG chunk {name} at byte {first - 8} has a wrong CRC"
        has_pixels = has_pixels or kind == b"IDAT"
        if kind == b"IEND":
            return None if has_pixels else (UNREADABLE, "the PNG has no pixels")
    return TRUNCATED, f"the PNG has no end chunk in its {len(data)} bytes"


def _jpeg_segments(data: bytes) -> Iterator[_Segment]:
    """(marker, first, end) of the content of each segment up to the end-of-image marker.

    Ends early where the bytes do. What stands between segments, pixels above all, is passed over.
    """
    position = 2
    behind: Iterator[int] | None = None  # places of markers, once pixels have begun
    while True:
        if behind is None:
            match = _MARKER.search(data, position)
            place = match.end() - 1 if match else None
        else:
            place = next((each for each in behind if each > position), None)
        if place is None:
            return
        marker = data[place]
        position = place + 1
        if marker == _EOI:
            yield marker, position, position
            return
        if marker == _SOI:
            continue
        first, end = position + 2, position + int.from_bytes(data[position : position + 2], "big")
        if first > len(data) or end > len(data):
            return
        yield marker, first, max(first, end)
        position = max(first, end)
        if marker == _SOS and behind is None:
            behind = _markers_from(data, position)


def _markers_from(data: bytes, start: int) -> Iterator[int]:
    """Where markers stand from a place on, as `_MARKER` finds them, at half of its cost."""
    for first in range(start, len(data) - 1, _WINDOW):
        size = min(_WINDOW + 1, len(data) - first)
        values = np.frombuffer(data, np.uint8, size, first)
        filled = np.flatnonzero(values[:-1] == 0xFF) + 1
        yield from (filled[_IS_MARKER[values[filled]]] + first).tolist()


def _jpeg_header(head: bytes, segments: Iterable[_Segment]) -> ImageInfo | str | None:
    orientation: int | None = None
    size: tuple[int, int, int, int] | None = None
    for marker, first, end in segments:
        if marker == _APP1 and head.startswith(b"Exif\0\0", first) and orientation is None:
            orientation = _orientation(head[first + 6 : end])
        elif marker in _FRAME_HEADERS and size is None:
            if end - first < 6:
                return "the JPEG's frame header is too short"
            size = struct.unpack(">BHHB", head[first : first + 6])
        elif marker in (_SOS, _EOI):
            if size is None:
                return "the JPEG has no frame header before its pixels"
            bits, height, width, channels = size
            if bits != 8:
                return f"the JPEG has {bits} bits a channel, which common decoders cannot read"
            return ImageInfo(
                format="jpeg", width=width, height=height, orientation=orientation or 1,
                mode=_JPEG_MODES.get(channels),
            )  # fmt: skip
    return None


def _check_jpeg(data: bytes) -> tuple[str, str] | None:
    segments = _jpeg_segments(data)
    header: list[_Segment] = []
    for segment in segments:
        header.append(segment)
        if segment[0] in (_SOS, _EOI):
            break
    info = _sized(_jpeg_header(data, header))
    if isinstance(info, str):
        return UNREADABLE, info
    marker = header[-1][0] if header else None
    if marker == _EOI:
        return UNREADABLE, "the JPEG has no pixels"
    if marker == _SOS and any(each == _EOI for each, *_ in segments):
        return _check_orientation(data, info, turns=_jpeg_may_turn(data, header))
    return TRUNCATED, f"the JPEG has no end-of-image marker in its {len(data)} bytes"


def _orientation(tiff: bytes) -> int:
    """The orientation in an Exif block; 1 where it has none or is damaged."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (n_entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for i in range(n_entries):
            entry = struct.unpack_from(f"{order}HHIH", tiff, directory + 2 + 12 * i)
            if entry[:3] == (0x0112, 3, 1):
                return int(entry[3]) if 1 <= entry[3] <= 8 else 1
    except struct.error:
        return 1
    return 1


def _other_header(head: bytes) -> ImageInfo | str | None:
    try:
        with warnings.catch_warnings(action="ignore"), open_image(head) as image:
            name = (image.format or "").lower()
            orientation = image.getexif().get(0x0112, 1)
            width, height = image.size
            mode = image.mode
            animated = _pictures(image) > 1
    except pillow_bombs() as error:
        return " ".join(str(error).split())
    except pillow_errors():
        known = any(head.startswith(mark[: len(head)]) for mark in _OTHERS)
        return None if known else "the file is no image of a known format"
    good = isinstance(orientation, int) and 1 <= orientation <= 8
    return ImageInfo(
        format=name, width=width, height=height, orientation=orientation if good else 1, mode=mode,
        animated=animated,
    )  # fmt: skip


def _pictures(image: "Image.Image") -> int:
    """How many pictures there are; 1 where the bytes end before that can be said."""
    try:
        return int(getattr(image, "n_frames", 1))
    except pillow_errors():
        return 1
