"""The drawn mask is the decoded one (pycocotools is the oracle), and no picture is too large."""

import io

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from engine.thumbnails import MAX_BYTES, MAX_SIDE_PX, DrawnMask, thumbnail

GREY = 128


def image_of(height, width, kind="PNG", pixels=None):
    if pixels is None:
        pixels = np.full((height, width, 3), GREY, np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def drawn(mask, accent=True):
    encoded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return DrawnMask(counts=encoded["counts"].decode(), size=mask.shape, accent=accent)


def disc(height, width, y, x, radius):
    rows, columns = np.ogrid[:height, :width]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def decoded(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def pinkness(pixels):
    return pixels[..., 0] - pixels[..., 1]


@pytest.mark.parametrize("size", [(180, 320), (720, 1280), (900, 400), (40, 60)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_mask_is_drawn_where_it_is(size, kind):
    height, width = size
    mask = disc(height, width, height * 0.3, width * 0.6, min(size) * 0.2)
    data, w, h = thumbnail(image_of(height, width, kind), [drawn(mask)])
    assert max(w, h) == min(MAX_SIDE_PX, max(size))
    assert w / h == pytest.approx(width / height, rel=0.03)
    pixels = decoded(data)
    assert pixels.shape == (h, w, 3)
    small = np.asarray(Image.fromarray(mask).resize((w, h), Image.Resampling.NEAREST))
    tinted = pinkness(pixels) > 12
    # Chroma is stored at half the size: the border is known to two pixels.
    inner = disc(h, w, h * 0.3, w * 0.6, min(h, w) * 0.2 - 3)
    outer = disc(h, w, h * 0.3, w * 0.6, min(h, w) * 0.2 + 4)
    assert tinted[inner].mean() > 0.98
    assert tinted[~outer].mean() < 0.015
    assert small[inner].all()
    # The outline is strong, the inside can be looked through.
    edge = small & ~disc(h, w, h * 0.3, w * 0.6, min(h, w) * 0.2 - 2)
    assert pinkness(pixels)[edge].mean() > 2 * pinkness(pixels)[inner].mean()


def test_row_and_column_are_not_exchanged():
    mask = np.zeros((100, 200), bool)
    mask[10:20, 120:190] = True
    data, *_ = thumbnail(image_of(100, 200), [drawn(mask)])
    tinted = pinkness(decoded(data)) > 12
    assert tinted[12:18, 125:185].all()
    assert not tinted[30:].any()
    assert not tinted[:, :110].any()


def test_a_mask_of_another_size_is_not_stretched():
    mask = np.zeros((100, 160), bool)
    mask[50:, 80:] = True
    data, *_ = thumbnail(image_of(200, 320), [drawn(mask)])
    tinted = pinkness(decoded(data)) > 12
    expected = np.zeros((200, 320), bool)
    expected[50:100, 80:160] = True
    assert (tinted != expected).mean() < 0.02
    data, *_ = thumbnail(image_of(60, 90), [drawn(mask)])
    assert (pinkness(decoded(data)) > 12)[54:, 83:].all()


def test_only_what_the_finding_is_about_is_tinted():
    one, other = disc(180, 320, 60, 60, 30), disc(180, 320, 120, 250, 30)
    data, *_ = thumbnail(image_of(180, 320), [drawn(one), drawn(other, accent=False)])
    pixels = decoded(data)
    assert (pinkness(pixels)[disc(180, 320, 60, 60, 25)] > 12).all()
    assert (abs(pixels - GREY)[disc(180, 320, 120, 250, 24)] < 12).all()
    ring = disc(180, 320, 120, 250, 30) & ~disc(180, 320, 120, 250, 28)
    assert (pixels[ring].mean(axis=-1)).mean() > GREY + 15


def test_nothing_is_drawn_without_masks():
    data, *_ = thumbnail(image_of(180, 320), [])
    assert (abs(decoded(data) - GREY) <= 2).all()


def test_masks_at_the_border_of_the_image_and_whole_ones():
    for mask in (np.ones((90, 160), bool), np.eye(90, 160, dtype=bool), np.zeros((90, 160), bool)):
        data, *_ = thumbnail(image_of(90, 160), [drawn(mask)])
        assert (pinkness(decoded(data)) > 12).any() == mask.any()


def test_a_mask_that_cannot_be_read_is_left_out():
    bad = DrawnMask(counts="~~~", size=(90, 160), accent=True)
    data, *_ = thumbnail(image_of(90, 160), [bad])
    assert (abs(decoded(data) - GREY) <= 2).all()


@pytest.mark.parametrize("data", [b"", b"no image", image_of(9, 9)[:40]])
def test_what_cannot_be_decoded_has_no_picture(data):
    assert thumbnail(data, []) is None


@pytest.mark.parametrize("size", [(360, 640), (900, 320), (2000, 2000), (1, 5000)])
def test_noise_keeps_the_bound_of_bytes(size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    data, w, h = thumbnail(image_of(*size, pixels=pixels), [])
    assert len(data) <= MAX_BYTES
    assert w * h > 0


def test_the_same_frame_gives_the_same_bytes():
    noise = np.random.default_rng(1).integers(0, 256, (200, 300, 3), np.uint8)
    image, mask = image_of(200, 300, pixels=noise), disc(200, 300, 90, 90, 50)
    assert thumbnail(image, [drawn(mask)]) == thumbnail(image, [drawn(mask)])
