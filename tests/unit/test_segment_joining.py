"""Newcomers of cut videos, judged frame by frame and pair by pair."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.segment_joining import join_segments
from engine.segments import cut_segments
from tests.split_inputs import filmed

USUAL = (Fraction(8, 10), Fraction(1, 10), Fraction(1, 10))


def joined(videos, held, gap_sec=0.0, shares=USUAL):
    codes = np.array([code for video in held for code in video], dtype=np.int8)
    return join_segments(filmed(videos), codes, shares, gap_sec=gap_sec, seed=1)


def expected(times, held, gap_sec):
    """What becomes of one video with settled frames, in plain loops."""
    wish = list(held)
    for place, code in enumerate(held):
        if code < 0:
            before = [other for other in held[:place] if other >= 0][-1:]
            after = [other for other in held[place:] if other >= 0][:1]
            sides = set(before + after)
            wish[place] = sides.pop() if len(sides) == 1 else -1
    kept = list(wish)
    for place, code in enumerate(held):
        others = [times[p] for p, c in enumerate(wish) if c >= 0 and c != wish[place]]
        near = any(abs(times[place] - other) < gap_sec - 1e-6 for other in others)
        if code < 0 and near:
            kept[place] = -1
    return kept


@given(
    videos=st.lists(
        st.lists(st.tuples(st.integers(0, 9), st.integers(-2, 2)), min_size=1, max_size=30),
        min_size=1, max_size=4,
    ),
    gap=st.sampled_from([0.0, 0.3, 1.0]),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_every_newcomer_is_where_its_neighbours_are_and_far_from_others(videos, gap):
    times = [(np.cumsum([step for step, _ in video]) / 10).tolist() for video in videos]
    held = [[max(code, -1) for _, code in video] for video in videos]
    codes = joined(times, held, gap)
    start = 0
    for time, before in zip(times, held, strict=True):
        after = codes[start : start + len(time)].tolist()
        start += len(time)
        if max(before) < 0:
            continue
        assert after == expected(time, before, gap)
        for place, code in enumerate(after):
            if before[place] >= 0 or code < 0:
                continue
            for other, theirs in enumerate(after):
                assert theirs in (-1, code) or abs(time[place] - time[other]) >= gap - 1e-6


def test_a_stretch_grows_inside_and_at_the_ends_and_the_gap_stays_empty():
    times = [[index / 10 for index in range(12)]]
    held = [[-1, 0, -1, 0, -1, -1, 1, -1, 1, -1, 2, -1]]
    assert joined(times, held).tolist() == [0, 0, 0, 0, -1, -1, 1, 1, 1, -1, 2, 2]
    # A gap of 0.35 s: what is nearer to another split is left out, settled frames are not.
    assert joined(times, held, 0.35).tolist() == [0, 0, 0, 0, -1, -1, 1, -1, 1, -1, 2, -1]
    assert joined([[0.0, 0.3, 0.6]], [[0, -1, 1]], 0.3).tolist() == [0, -1, 1]
    # 0.4 - 0.1 is less than 0.3 in binary, and as far apart.
    assert joined([[0.1, 0.2, 0.4]], [[0, 1, -1]], 0.3).tolist() == [0, 1, 1]


def test_the_frames_between_those_of_a_first_cut_fit_in():
    data = filmed([[index / 10 for index in range(200)], [index / 5 for index in range(90)]])
    even = data.frame_index % 2 == 0
    held = np.full(len(data), -1, dtype=np.int8)
    held[even] = cut_segments(data.where(even), USUAL, gap_sec=1.0, seed=3)
    codes = join_segments(data, held, USUAL, gap_sec=1.0, seed=3)
    assert (codes[held >= 0] == held[held >= 0]).all()
    for video in range(2):
        own = codes[data.video == video]
        kept = own[own >= 0]
        assert (np.diff(kept) >= 0).all()
        assert set(kept.tolist()) == {0, 1, 2}
        time = data.timestamps[data.video == video]
        for split in range(3):
            one, other = time[own == split], time[(own >= 0) & (own != split)]
            assert np.abs(one[:, None] - other[None, :]).min() >= 1.0 - 1e-6
    assert (codes >= 0).sum() > 0.85 * len(data)


def test_new_videos_make_up_for_what_is_lacking():
    clip = [index / 10 for index in range(100)]
    codes = joined([clip, clip], [[0] * 100, [-1] * 100])
    assert codes[100:].tolist() == [0] * 60 + [1] * 20 + [2] * 20
    # What joins a video counts too: 50 more frames of train.
    codes = joined([clip, clip], [[0] * 50 + [-1] * 50, [-1] * 100])
    assert np.bincount(codes).tolist() == [160, 20, 20]
    codes = joined([clip, clip], [[0] * 40 + [1] * 60, [-1] * 100])
    assert np.bincount(codes, minlength=3).tolist()[1] == 60, "too many there: none are added"


def test_frames_without_a_time_are_named_only_where_it_matters():
    clip = [index / 10 for index in range(20)]
    assert joined([[None, None], clip], [[0, 1], [0] * 19 + [-1]], 1.0).tolist()[-1] == 0
    for held in ([[0, -1], [0] * 20], [[-1, -1], [0] * 20]):
        with pytest.raises(UsageError, match="a gap in seconds needs timestamp_sec"):
            joined([[None, None], clip], held, 1.0)
        assert joined([[None, None], clip], held).min() >= 0
