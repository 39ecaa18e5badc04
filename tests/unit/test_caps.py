"""The limits: their defaults hold for honest exports, and none is beyond what it may be set to."""

import dataclasses

import pytest

from engine.caps import LARGEST_CAPS, Caps


def test_every_bound_is_one_of_a_cap_and_no_default_exceeds_it():
    defaults = dataclasses.asdict(Caps())
    assert set(LARGEST_CAPS) < set(defaults)
    assert all(defaults[name] <= most for name, most in LARGEST_CAPS.items())


def test_the_defaults_let_the_largest_honest_export_through():
    caps = Caps()
    assert caps.max_members > 24 * 3600 * 30  # a day of video
    assert caps.max_json_bytes > 2 * 2**30
    assert caps.max_image_bytes > 7680 * 4320 * 3 * 2  # 8K, raw, 16 bits
    assert caps.max_grid_pixels > 7680 * 4320
    with pytest.raises(dataclasses.FrozenInstanceError):
        caps.max_depth = 3
