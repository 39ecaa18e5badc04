"""Limits beyond which an input is refused: what keeps time and memory bounded on any bytes.

Trade-off: a cap that is too low refuses an honest export, one that is too high lets a hostile one
eat the worker's memory. The defaults are several times what the largest honest export needs, and
each can be set (`[caps]` in the configuration file): they decide what is accepted, so they belong
to the configuration that a dataset is saved with.
"""

from dataclasses import dataclass

__all__ = ["LARGEST_CAPS", "Caps"]

_ARROW_BYTES = 2**31 - 1  # the most that one value of a binary column holds

LARGEST_CAPS = {
    "max_depth": 1024,  # orjson's own limit: a deeper record would only be called malformed
    "max_element_bytes": _ARROW_BYTES,
    "max_head_bytes": _ARROW_BYTES,
    "max_image_bytes": _ARROW_BYTES,
    "max_grid_pixels": 2**31 - 1,  # COCO's C code counts pixels in 32 bits
}
"""What some caps can be set to at most; the others are bounded by the machine alone."""


@dataclass(frozen=True, kw_only=True)
class Caps:
    """Limits of one run; `Config` checks their ranges.

    Args:
        max_members: entries of an archive or files of a folder. A day of video at 30 fps has 2.6
            million frames; the directory of 5 million takes some 3 GB of memory while it is read.
        max_json_bytes: content of a JSON file. 10,000 frames of three objects are at most 500 MB;
            annotations are streamed, so this bounds time, not memory.
        max_image_bytes: content of an image, which is held in memory whole. An 8K frame as raw
            16-bit RGB is 200 MB.
        max_ratio: content bytes per compressed byte. Deflate cannot do better than 1032 (RFC 1951:
            258 bytes for 2 bits): more than that is a lie in the directory.
        max_enclosing: folders around `annotations.json`.
        max_depth: JSON brackets open at once. A frame record needs 6.
        max_element_bytes: one frame record. 1,000 objects with masks of 30 KB are half of it.
        max_head_bytes: everything in a JSON file but the frame records, held in memory whole;
            `frame_indices` of a day of video are 25 MB.
        max_grid_pixels: of a mask's grid and of the image it belongs to. 2**28 is 16384 x 16384:
            far above a video frame, and a dense mask of it still fits into memory.
    """

    max_members: int = 5_000_000
    max_json_bytes: int = 4 * 2**30
    max_image_bytes: int = 512 * 2**20
    max_ratio: int = 1032
    max_enclosing: int = 3
    max_depth: int = 64
    max_element_bytes: int = 64 * 2**20
    max_head_bytes: int = 256 * 2**20
    max_grid_pixels: int = 2**28
