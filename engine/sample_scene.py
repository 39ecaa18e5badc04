"""A drawn video: objects that move over a textured background, and their exact masks.

The sample export needs pictures whose masks are known for certain, so they are drawn, not filmed.
Trade-offs: an object is an ellipse or a polygon, and keeps to an upright strip of the picture of
its own, so that objects never cover one another and a mask is the whole object; its width and
height differ clearly, so that a mask read transposed never fits. Paths are sine curves of the frame
number: any frame is drawn without the ones before it, the same for the same seed.

The paint is that of SAM2 Demo Export Tool 1.0.0, measured on its frames: a tint of 30 %, then every
pixel of the mask's edge (a pixel with any of its 8 neighbours outside) and its 4 neighbours in the
pure colour, which is what OpenCV makes of a line of 2 px, then the label in white on a black box,
5 px above. (The real one leaves the rims of holes unpainted; the objects here have no holes.)
"""

import functools
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError

__all__ = ["PAINT_PALETTE", "Scene", "encode_picture", "jpeg_quality_for", "paint_masks"]

_BoolArray = NDArray[np.bool_]
_Pixels = NDArray[np.uint8]

PAINT_PALETTE: tuple[tuple[int, int, int], ...] = (
    (0, 255, 0),
    (0, 0, 255),
    (255, 0, 0),
    (0, 255, 255),
    (255, 0, 255),
    (255, 255, 0),
    (0, 255, 128),
    (0, 128, 255),
)
_TINT = 0.3
_LABEL_GAP_PX = 5
_LABEL_FONT_PX = 20
# Below this a label cannot be read, and its box would hide the small picture.
_SMALLEST_FONT_PX = 7

# Far from the background's middle tones in at least two channels, and from the palette in all.
_OBJECT_COLOURS = (
    (226, 188, 152),
    (58, 40, 32),
    (34, 52, 92),
    (232, 228, 214),
    (168, 52, 46),
    (38, 66, 44),
    (244, 206, 96),
    (112, 36, 104),
)
_SIDES = (0, 5, 3, 6, 4)  # of the polygon; 0 is an ellipse


@dataclass(frozen=True, kw_only=True)
class _Track:
    """One object's path and form; lengths as shares of the picture's width and height."""

    x: float
    y: float
    sway: float
    bob: float
    radius_x: float
    radius_y: float
    speed: float
    start: float
    spin: float
    sides: int
    colour: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A video that can be drawn frame by frame, at any size.

    Args:
        objects: how many objects there are, >= 0; object k is number k everywhere.
        seed: another seed is another video.
        grain: standard deviation of the background's grain, in grey levels.
    """

    objects: int
    seed: int
    grain: float = 2.0

    def mask(self, number: int, moment: int, height: int, width: int) -> _BoolArray:
        """Return which cells of a grid one object covers.

        Args:
            number: the object, in [0, objects).
            moment: the frame's number in the video.
            height: rows of the grid, laid over the whole picture.
            width: columns of the grid.

        Returns:
            Bool (height, width), never empty: a cell belongs to the object if its centre does.
        """
        track = self._tracks[number]
        turn = track.speed * moment + track.start
        centre_x = track.x + track.sway * np.sin(turn)
        centre_y = track.y + track.bob * np.cos(0.7 * turn)
        left, right = _window(centre_x, track.radius_x, width)
        top, bottom = _window(centre_y, track.radius_y, height)
        u = ((np.arange(left, right) + 0.5) / width - centre_x) / track.radius_x
        v = ((np.arange(top, bottom) + 0.5) / height - centre_y) / track.radius_y
        mask = np.zeros((height, width), dtype=np.bool_)
        mask[top:bottom, left:right] = _inside(u[None, :], v[:, None], track, moment)
        # On a grid too coarse for the object its centre is left of it.
        mask[int(centre_y * height), int(centre_x * width)] = True
        return mask

    def picture(
        self, moment: int, masks: Mapping[int, _BoolArray], size: tuple[int, int]
    ) -> _Pixels:
        """Draw one frame, without paint.

        Args:
            moment: the frame's number in the video.
            masks: object number -> its mask, bool (height, width); only these objects are drawn.
            size: (height, width) of the picture, px.

        Returns:
            RGB, uint8 (height, width, 3).
        """
        background = _background(self.seed, self.grain, *size)
        # The camera turns by 1 px a frame: no two frames are equal, not even without objects.
        pixels = np.roll(background, moment % size[1], axis=1)
        for number, mask in masks.items():
            colour = np.array(self._tracks[number].colour, dtype=np.float32)
            body = colour + 0.25 * (pixels[mask].astype(np.float32) - 128)
            pixels[mask] = np.clip(body, 0, 255).astype(np.uint8)
        return pixels

    @functools.cached_property
    def _tracks(self) -> tuple[_Track, ...]:
        return tuple(_track(self.seed, number, self.objects) for number in range(self.objects))


def paint_masks(
    pixels: _Pixels, masks: Sequence[_BoolArray | None], labels: Sequence[str]
) -> _Pixels:
    """Paint masks on a picture the way the real exporter does.

    Args:
        pixels: RGB, uint8 (height, width, 3); left as it is.
        masks: bool (height, width) in the order of the frame's objects, which fixes the colours;
            None where the object is hidden.
        labels: the objects' labels, parallel to `masks`.

    Returns:
        A painted copy, uint8 (height, width, 3).
    """
    painted = pixels.copy()
    for place, (mask, label) in enumerate(zip(masks, labels, strict=True)):
        if mask is None or not mask.any():
            continue
        colour = np.array(PAINT_PALETTE[place % len(PAINT_PALETTE)], dtype=np.float32)
        tinted = (1 - _TINT) * painted[mask].astype(np.float32) + _TINT * colour
        painted[mask] = np.round(tinted).astype(np.uint8)
        top, left = _paint_contour(painted, mask, colour)
        _paint_label(painted, label, top, left)
    return painted


def encode_picture(pixels: _Pixels, image_format: str, quality: int = 92) -> bytes:
    """Encode a picture as an image file.

    Args:
        pixels: RGB, uint8 (height, width, 3).
        image_format: "png", "jpg" or "jpeg".
        quality: of the JPEG, in [1, 100]. Chroma is not subsampled: that would wash out the paint.

    Returns:
        The file's bytes, the same for the same pixels.
    """
    from PIL import Image

    target = io.BytesIO()
    image = Image.fromarray(pixels)
    if image_format == "png":
        image.save(target, "PNG", compress_level=2)
    else:
        image.save(target, "JPEG", quality=quality, subsampling=0)
    return target.getvalue()


def jpeg_quality_for(pixels: _Pixels, size_bytes: int) -> int:
    """Find the JPEG quality whose file comes nearest to a size.

    Args:
        pixels: RGB, uint8 (height, width, 3), typical of the pictures to be encoded.
        size_bytes: the size wished for, in bytes.

    Returns:
        The quality, in [1, 98].

    Raises:
        UsageError: no quality comes within a quarter of the size.
    """
    low, high = 1, 98
    while low < high:
        middle = (low + high) // 2
        if len(encode_picture(pixels, "jpg", middle)) < size_bytes:
            low = middle + 1
        else:
            high = middle
    sizes = {q: len(encode_picture(pixels, "jpg", q)) for q in {low, max(1, low - 1)}}
    best = min(sizes, key=lambda q: (abs(sizes[q] - size_bytes), q))
    if abs(sizes[best] - size_bytes) > size_bytes / 4:
        raise UsageError(
            "image_bytes",
            f"a JPEG of {pixels.shape[1]}x{pixels.shape[0]} px cannot have this size",
            got=size_bytes,
            expected=f"about {sizes[best]}",
        )
    return best


def _track(seed: int, number: int, objects: int) -> _Track:
    """One object within its strip: |x - strip centre| + sway + radius stays below half a strip."""
    rng = np.random.default_rng([seed, 2, number])
    half = 0.5 / objects
    alone = objects == 1
    return _Track(
        x=(2 * number + 1) * half,
        y=rng.uniform(0.45, 0.55),
        sway=0.25 * half,
        bob=rng.uniform(0.1, 0.15),
        # Alone it lies, beside others it stands: both far from as high as wide.
        radius_x=half * rng.uniform(0.5, 0.65),
        radius_y=rng.uniform(0.1, 0.14) if alone else rng.uniform(0.2, 0.28),
        speed=2 * np.pi / rng.uniform(40, 90),
        start=rng.uniform(0, 2 * np.pi),
        spin=rng.uniform(0.01, 0.05),
        sides=_SIDES[(seed + number) % len(_SIDES)],
        colour=_OBJECT_COLOURS[(seed + number) % len(_OBJECT_COLOURS)],
    )


def _window(centre: float, radius: float, cells: int) -> tuple[int, int]:
    """The cells [start, end) that can lie within `radius` of `centre`."""
    start = int(np.floor((centre - radius) * cells))
    return max(0, start), min(cells, int(np.ceil((centre + radius) * cells)) + 1)


def _inside(
    u: NDArray[np.float64], v: NDArray[np.float64], track: _Track, moment: int
) -> _BoolArray:
    """Whether points, in units of the radii, lie in the unit circle or the polygon within it."""
    if track.sides == 0:
        return u * u + v * v <= 1.0
    inside = np.ones((v.shape[0], u.shape[1]), dtype=np.bool_)
    for side in range(track.sides):
        angle = 2 * np.pi * side / track.sides + track.start + track.spin * moment
        inside &= u * np.cos(angle) + v * np.sin(angle) <= np.cos(np.pi / track.sides)
    return inside


@functools.lru_cache(maxsize=4)
def _background(seed: int, grain: float, height: int, width: int) -> _Pixels:
    """Middle tones: waves that close on themselves sideways, soft blotches, grain."""
    from PIL import Image

    rng = np.random.default_rng([seed, 1])
    y = (np.arange(height) / height)[:, None, None]
    x = (np.arange(width) / width)[None, :, None]
    field = rng.uniform(100, 145, size=3) * np.ones((height, width, 1))
    for waves in (1, 2):
        down, shift = rng.uniform(-1, 1), rng.uniform(0, 1, size=3)
        field += 9.0 * np.cos(2 * np.pi * (waves * x + down * y + shift))
    coarse = rng.uniform(-8, 8, size=(height // 16 + 2, width // 16 + 2)).astype(np.float32)
    blotches = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    field += np.asarray(blotches)[:, :, None]
    field += rng.normal(0.0, grain, size=(height, width, 1))
    pixels: _Pixels = np.clip(np.round(field), 0, 255).astype(np.uint8)
    pixels.setflags(write=False)
    return pixels


def _paint_contour(
    painted: _Pixels, mask: _BoolArray, colour: NDArray[np.float32]
) -> tuple[int, int]:
    """Draw the contour in place; return the mask's top row and left column."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    cut = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    # Room for the contour's outer pixel, and for the neighbours that decide on it.
    room = np.pad(cut, 2)
    wide = room[:, :-2] & room[:, 1:-1] & room[:, 2:]
    core = np.zeros_like(room)
    core[1:-1, 1:-1] = wide[:-2] & wide[1:-1] & wide[2:]
    edge = room & ~core
    line = edge.copy()
    line[1:] |= edge[:-1]
    line[:-1] |= edge[1:]
    line[:, 1:] |= edge[:, :-1]
    line[:, :-1] |= edge[:, 1:]
    y, x = np.nonzero(line)
    y, x = y + top - 2, x + left - 2
    seen = (y >= 0) & (x >= 0) & (y < mask.shape[0]) & (x < mask.shape[1])
    painted[y[seen], x[seen]] = colour.astype(np.uint8)
    return top, left


def _paint_label(painted: _Pixels, label: str, top: int, left: int) -> None:
    """Put the label above the mask, in place; at the upper border it is pushed into the picture."""
    font_px = min(_LABEL_FONT_PX, painted.shape[0] // 18)
    if font_px < _SMALLEST_FONT_PX:
        return
    # OpenCV's fonts know ASCII only.
    plate = _label_plate(label.encode("ascii", "replace").decode("ascii"), font_px)
    first = max(1, top - _LABEL_GAP_PX - plate.shape[0])
    space = painted[first : first + plate.shape[0], left : left + plate.shape[1]]
    space[:] = plate[: space.shape[0], : space.shape[1]]


@functools.lru_cache(maxsize=256)
def _label_plate(label: str, font_px: int) -> _Pixels:
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(font_px)
    x0, y0, x1, y1 = (int(edge) for edge in font.getbbox(label))
    plate = Image.new("RGB", (x1 - x0 + 3, y1 - y0 + 6))
    draw = ImageDraw.Draw(plate)
    draw.fontmode = "1"
    draw.text((1 - x0, 3 - y0), label, fill=(255, 255, 255), font=font)
    return np.asarray(plate)
