"""Centroids from runs against the mean of dense pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engine.centroids import centroids
from engine.frame_json import read_frame
from engine.mask_check import MaskReading, MaskToCheck, check_masks
from engine.masks import from_dense
from engine.rle_text import Runs


def mean_place(mask):
    y, x = np.nonzero(mask)
    return [x.mean(), y.mean()] if len(x) else [np.nan, np.nan]


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(1, 12), st.integers(1, 12), st.integers(0, 6))
def test_as_dense_pixels(data, height, width, count):
    masks = [data.draw(arrays.arrays(bool, (height, width))) for _ in range(count)]
    got = centroids(Runs.of([from_dense(mask) for mask in masks]), height)
    assert got.shape == (count, 2)
    np.testing.assert_allclose(got, np.reshape([mean_place(m) for m in masks], (-1, 2)), atol=1e-12)


def test_runs_that_are_not_canonical_and_masks_without_runs():
    runs = Runs.of([np.array(r, np.int64) for r in ([0, 0, 2, 3, 0, 1], [], [6], [0, 6])])
    got = centroids(runs, 3)
    np.testing.assert_array_equal(got[1:], [[np.nan, np.nan], [np.nan, np.nan], [0.5, 1.0]])
    np.testing.assert_allclose(got[0], [3 / 4, 5 / 4])


def test_the_largest_mask_is_exact():
    side = 16384
    runs = Runs.of([np.array([0, side * side]), np.array([side * side - 1, 1])])
    np.testing.assert_array_equal(
        centroids(runs, side), [[(side - 1) / 2] * 2, [side - 1.0, side - 1.0]]
    )


@pytest.mark.parametrize("order", ["row", "column"])
def test_a_checked_mask_has_the_centroid_of_its_image_pixels(order):
    cells = np.zeros((8, 8), bool)
    cells[1:3, 2:7] = cells[5, 0] = True
    counts = " ".join(map(str, from_dense(cells, order)))
    frame = read_frame(
        {"frame_index": 0, "objects": [{"object_id": 1, "label": "a", "mask_rle": counts}]}
    )
    reading = MaskReading(grid=(8, 8), order=order, known_exporter=False)
    (checked,) = check_masks([MaskToCheck(raw=frame.objects[0], size=(20, 30))], reading)
    image = cells[np.arange(20)[:, None] * 8 // 20, np.arange(30)[None, :] * 8 // 30]
    np.testing.assert_allclose(checked.centroid, mean_place(image), rtol=1e-12)
