"""Black frames: every way to store one is found, and no picture is taken for one."""

import io

import numpy as np
import pytest
from PIL import Image

from engine.black import is_black, may_be_black
from engine.dialect import PALETTE
from engine.sample_scene import Scene, paint_masks

SIZES = [(64, 96), (360, 640), (720, 1280), (1080, 1920)]
WAYS = [
    ("PNG", {}), ("PNG", {"compress_level": 1}), ("PNG", {"compress_level": 9}),
    ("JPEG", {"quality": 75}), ("JPEG", {"quality": 95, "subsampling": 0}),
    ("JPEG", {"quality": 100, "subsampling": 0}), ("JPEG", {"progressive": True}), ("WEBP", {}),
]  # fmt: skip


def stored(pixels, kind, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def mask(size, rng):
    made = np.zeros(size, bool)
    y, x = (int(rng.integers(4, side // 2)) for side in size)
    made[y : y + size[0] // 3, x : x + size[1] // 3] = True
    return made


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kind", "options"), WAYS)
def test_a_black_frame_is_a_small_file_and_black(size, kind, options):
    data = stored(np.zeros((*size, 3), np.uint8), kind, **options)
    assert may_be_black(len(data), size[1], size[0])
    with Image.open(io.BytesIO(data)) as image:
        assert is_black(np.asarray(image.convert("RGB")), PALETTE)


@pytest.mark.parametrize("size", SIZES[:3])
@pytest.mark.parametrize("objects", [1, 2, 8])
def test_a_black_frame_with_paint_is_black(size, objects):
    rng = np.random.default_rng(objects)
    masks = [None] * (objects - 1) + [mask(size, rng)]
    labels = [f"object {k}" for k in range(objects)]
    pixels = paint_masks(np.zeros((*size, 3), np.uint8), masks, labels)
    assert pixels.max() == 255
    assert may_be_black(len(stored(pixels, "PNG", compress_level=1)), size[1], size[0])
    assert is_black(pixels, PALETTE)


def test_a_picture_is_not_black_however_dark():
    rng = np.random.default_rng(3)
    height, width = size = (72, 128)
    lamp = np.zeros((*size, 3), np.uint8)
    lamp[10, 10] = 3
    grey = np.zeros((*size, 3), np.uint8)
    grey[20:40, 20:60] = 120  # a grey thing at night
    flat = np.zeros((*size, 3), np.uint8)
    flat[20:40, 20:60] = PALETTE[0]  # a drawing in the overlay's colour, without its tint
    night = rng.integers(0, 12, (*size, 3), dtype=np.uint8)
    scene = Scene(objects=2, seed=1).picture(0, {}, size)
    for pixels in (lamp, grey, flat, night, scene, scene // 8):
        assert not is_black(pixels, PALETTE)
    painted = paint_masks(scene // 8, [mask(size, rng)], ["dog"])
    assert not is_black(painted, PALETTE)
    assert not may_be_black(len(stored(scene, "PNG")), width, height)
    assert not may_be_black(len(stored(scene, "JPEG", quality=75)) * 100, width, height)


def test_photographs_are_not_even_decoded():
    """A 1280x720 frame of 60 KB, poor for a photograph, is none to look at."""
    assert not may_be_black(60_000, 1280, 720)
    assert may_be_black(0, 1280, 720)
