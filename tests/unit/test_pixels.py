"""Pixels are Pillow's, and a check finds what a decode would stumble over, without an array."""

import io

import numpy as np
import pytest
from PIL import Image

from engine import pixels
from engine.pixels import check_pixels, decode_rgb

PICTURE = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def encoded(mode, kind):
    file = io.BytesIO()
    Image.fromarray(PICTURE).convert(mode).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG"), ("P", "PNG"), ("1", "PNG"),
     ("RGBA", "PNG"), ("RGB", "WEBP"), ("P", "GIF"), ("RGB", "BMP"), ("RGB", "TIFF")],
)  # fmt: skip
def test_check_and_decode_agree_with_pillow(mode, kind):
    data = encoded(mode, kind)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.array(image.convert("RGB"))
    np.testing.assert_array_equal(decode_rgb(data), expected)
    assert check_pixels(data) is None
    cut = data[: len(data) // 2]
    assert (check_pixels(cut) is None) == (decode_rgb(cut) is not None)


def test_a_check_makes_no_copy_of_the_usual_pixels(monkeypatch):
    monkeypatch.setattr(pixels, "_to_rgb", None)  # to call it would be an error
    assert check_pixels(encoded("RGB", "JPEG")) is None
