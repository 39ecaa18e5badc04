"""Stretches of time: order, gap and sizes, checked frame by frame."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.segments import cut_segments
from engine.split_input import SplitInput
from tests.split_inputs import filmed

USUAL = (Fraction(8, 10), Fraction(1, 10), Fraction(1, 10))


def clip(count, fps=10.0):
    return [index / fps for index in range(count)]


@given(
    steps=st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=60), min_size=1, max_size=5),
    gap=st.sampled_from([0.0, 0.3, 1.0, 2.5]),
    shares=st.sampled_from([USUAL, (Fraction(1, 2), Fraction(0), Fraction(1, 2))]),
    seed=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_stretches_are_in_order_and_apart_and_nothing_else_is_left_out(steps, gap, shares, seed):
    times = [(np.cumsum(each) / 10).tolist() for each in steps]
    data = filmed(times)
    codes = cut_segments(data, shares, gap_sec=gap, seed=seed)
    for video in range(len(times)):
        own = codes[data.video == video]
        kept = [(time, code) for time, code in zip(times[video], own.tolist(), strict=True)
                if code >= 0]  # fmt: skip
        assert [code for _, code in kept] == sorted(code for _, code in kept)
        assert kept, "no video is left out as a whole"
        for (before, one), (after, other) in pairwise(kept):
            assert one == other or after - before >= gap - 1e-6
        for place in np.flatnonzero(own < 0).tolist():
            last = max(p for p in range(place) if own[p] >= 0)
            assert times[video][place] - times[video][last] < gap
    assert not any((codes == split).any() for split, share in enumerate(shares) if not share)


def test_one_video_is_cut_in_proportion():
    codes = cut_segments(filmed([clip(100)]), USUAL, gap_sec=0, seed=0)
    assert codes.tolist() == [0] * 80 + [1] * 10 + [2] * 10
    # Twice nine frames lie less than a second after the last of the stretch before: 82 remain.
    codes = cut_segments(filmed([clip(100)]), USUAL, gap_sec=1.0, seed=0)
    assert np.bincount(codes[codes >= 0]).tolist() == [66, 8, 8]
    assert (codes < 0).sum() == 18
    assert codes.tolist() == [0] * 66 + [-1] * 9 + [1] * 8 + [-1] * 9 + [2] * 8


def test_short_videos_even_each_other_out():
    codes = cut_segments(filmed([clip(5)] * 40), USUAL, gap_sec=0, seed=1)
    assert np.bincount(codes).tolist() == [160, 20, 20]


def test_times_that_fall_back_count_as_the_latest_so_far():
    times = [0.0, 1.0, 5.0, 2.0, 3.0, 6.5, 7.0, 8.0]
    halves = (Fraction(1, 2), Fraction(1, 2))
    codes = cut_segments(filmed([times]), halves, gap_sec=1.0, seed=0)
    for one in np.flatnonzero(codes == 0):
        for other in np.flatnonzero(codes == 1):
            assert times[other] - times[one] >= 1.0


def test_the_order_of_the_input_does_not_matter():
    data = filmed([clip(37), clip(11), clip(50)])
    codes = cut_segments(data, USUAL, gap_sec=0.5, seed=4)
    mixed = np.random.default_rng(0).permutation(len(data))
    turned = SplitInput(
        ids=data.ids.take(pa.array(mixed)), video=2 - data.video[mixed],
        video_names=data.video_names[::-1], frame_index=data.frame_index[mixed],
        indptr=data.indptr, classes=data.classes, counts=data.counts, class_names=(),
        timestamps=data.timestamps[mixed],
    )  # fmt: skip
    assert cut_segments(turned, USUAL, gap_sec=0.5, seed=4).tolist() == codes[mixed].tolist()


def test_frames_without_a_time_are_named():
    data = filmed([[0.0, None, 0.2, None, None, None]])
    with pytest.raises(UsageError) as caught:
        cut_segments(data, USUAL, gap_sec=1.0, seed=0)
    assert "which 4 of 6 frames lack: got v00/000001, v00/000003, v00/000004, ..." in str(
        caught.value
    )
    assert "--gap-sec 0" in str(caught.value)
    assert cut_segments(data, USUAL, gap_sec=0, seed=0).min() == 0
