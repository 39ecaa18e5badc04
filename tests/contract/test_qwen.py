"""Boxes in the style `qwen25` are of the image as Qwen's own utilities resize it."""

import numpy as np
import pytest

pytestmark = pytest.mark.long


def sizes():
    """Sizes of videos, of their crops, and such as lie between two multiples of 28."""
    random = np.random.default_rng(0)
    usual = [(1080, 1920), (720, 1280), (480, 640), (1024, 1024), (28, 28), (42, 70), (14, 300)]
    return usual + [tuple(map(int, pair)) for pair in random.integers(10, 3000, (500, 2))]


@pytest.mark.parametrize("max_pixels", [3136, 401_408, 1_003_520, 12_845_056])
def test_the_resized_image_is_the_same(consumer, max_pixels):
    from engine.box_text import smart_resize

    theirs = consumer("swift").call(
        "ms_swift", "resized", sizes=sizes(), factor=28, max_pixels=max_pixels
    )
    compared = 0
    for (height, width), (high, wide) in zip(sizes(), theirs, strict=True):
        if high and wide:  # for a sliver and a small limit it gives a size of 0
            assert smart_resize(width, height, max_pixels) == (wide, high)
            compared += 1
    assert compared > 300
