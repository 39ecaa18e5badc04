"""Contours: crossings against a brute-force boundary, lines and edges on drawn scenes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contours import crossings, look, mean_step
from engine.masks import boundary

GREEN = (0, 255, 0)
GREY, DARK = (128, 128, 128), (40, 30, 60)


def stretched(mask, height, width):
    rows = [y * mask.shape[0] // height for y in range(height)]
    columns = [x * mask.shape[1] // width for x in range(width)]
    return mask[rows][:, columns]


@given(st.data())
def test_crossings_are_every_boundary_of_the_stretched_mask(data):
    side = st.integers(1, 9)
    grid = data.draw(st.tuples(side, side))
    size = data.draw(st.tuples(st.integers(1, 24), st.integers(1, 24)))
    cells = data.draw(st.lists(st.booleans(), min_size=grid[0] * grid[1], max_size=100))
    mask = np.array(cells[: grid[0] * grid[1]]).reshape(grid)
    image = stretched(mask, *size)
    expected = set()
    for y in range(size[0]):
        for x in range(size[1]):
            for dy, dx in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                inside = 0 <= y + dy < size[0] and 0 <= x + dx < size[1]
                if image[y, x] and inside and not image[y + dy, x + dx]:
                    expected.add((y, x, dy, dx))
    found = [tuple(row) for row in crossings(mask, size).tolist()]
    assert len(found) == len(set(found))
    assert set(found) == expected
    at = np.zeros(size, dtype=bool)
    for y, x, _, _ in found:
        at[y, x] = True
    assert np.array_equal(at, boundary(image))


def drawn(*, inside=GREY, outside=DARK, shift=0):
    """A square of 60 px, and its mask; the square may lie off the mask."""
    mask = np.zeros((120, 140), dtype=bool)
    mask[30:90, 40:100] = True
    pixels = np.full((120, 140, 3), outside, dtype=np.uint8)
    pixels[30 + shift : 90 + shift, 40 + shift : 100 + shift] = inside
    return pixels, mask


def looked(pixels, mask, colour=GREEN, contested=True):
    at = crossings(mask, pixels.shape[:2])
    return look(pixels, at, np.full(len(at), contested), colour)


def framed(pixels, mask, colour):
    """The boundary and its neighbours outside, by brute force."""
    out = pixels.copy()
    for y, x, dy, dx in crossings(mask, mask.shape).tolist():
        out[y, x] = out[y + dy, x + dx] = colour
    return out


def test_a_line_is_found_on_any_scene_but_one_of_its_colour():
    pixels, mask = drawn()
    seen = looked(framed(pixels, mask, GREEN), mask)
    assert seen.boundary == seen.contested == 240
    assert seen.coloured == 240
    assert seen.line_share > 0.95
    assert looked(framed(pixels, mask, (0, 0, 255)), mask).lines == 0
    meadow, _ = drawn(outside=(70, 160, 60))
    assert looked(framed(meadow, mask, GREEN), mask).line_share > 0.95
    green, _ = drawn(outside=GREEN)
    seen = looked(framed(green, mask, GREEN), mask)
    assert seen.line_share == 0
    assert seen.side_share > 0.95


@pytest.mark.parametrize("shift", [0, 1, 2, -2, 3])
@pytest.mark.parametrize(("inside", "outside"), [(GREEN, DARK), (DARK, GREEN), (GREEN, GREEN)])
def test_a_region_of_the_colour_is_no_line_however_loose_the_mask(inside, outside, shift):
    pixels, mask = drawn(inside=inside, outside=outside, shift=shift)
    assert looked(pixels, mask).line_share < 0.05


def test_an_edge_has_to_show_on_all_sides():
    pixels, mask = drawn()
    assert looked(pixels, mask).edge_share == 1
    assert looked(pixels, mask).step == pytest.approx(np.abs(np.subtract(GREY, DARK)).mean())
    horizon = np.full((120, 140, 3), DARK, dtype=np.uint8)
    horizon[:30] = GREY  # along the mask's upper side
    assert looked(horizon, mask).edge_share == 0
    noise = np.random.default_rng(0).integers(0, 256, (120, 140, 3), dtype=np.uint8)
    assert looked(noise, mask).edge_share < 0.25


def test_too_little_boundary_has_no_say():
    pixels, mask = drawn()
    small = np.zeros_like(mask)
    small[50:58, 50:58] = True
    seen = looked(framed(pixels, small, GREEN), small)
    assert (seen.boundary, seen.line_share, seen.edge_share) == (32, 0, None)
    seen = looked(pixels, mask, contested=False)
    assert (seen.contested, seen.side_share, seen.edge_share) == (0, 0, None)
    band = np.zeros_like(mask)
    band[40:80] = True  # from border to border: it has no left and right side
    assert looked(pixels, band).edge_share is None
    for empty in (np.zeros_like(mask), np.ones_like(mask)):
        assert looked(pixels, empty).boundary == 0


def test_mean_step():
    assert mean_step(np.full((64, 64, 3), 9, dtype=np.uint8)) == 0
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None], (64, 64, 3))
    assert mean_step(ramp) == 3  # 6 across, 0 down
    assert mean_step(np.zeros((6, 6, 3), dtype=np.uint8)) == 0
    assert mean_step(np.zeros((1, 1, 3), dtype=np.uint8)) == 0
