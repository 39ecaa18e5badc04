"""The assignment as text: there and back, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import Config
from engine.errors import ConfigError
from engine.split_file import (
    ASSIGNED,
    check_split_file,
    format_ranges,
    parse_ranges,
    read_assignment,
    write_assignment,
)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], ""),
        ([4], "4"),
        ([0, 1, 2, 3, 4, 5, 7, 9, 10], "0-5,7,9-10"),
        ([0, 6, 12, 18, 19, 40], "0-18:6,19,40"),
        ([0, 6, 12, 13, 14, 15], "0-12:6,13-15"),
        ([1, 3], "1,3"),
        ([1, 3, 5, 6, 7, 8], "1-5:2,6-8"),
        ([0, 2, 3, 5], "0,2-3,5"),
    ],
)
def test_stretches_read_well(values, text):
    assert format_ranges(np.array(values, dtype=np.int64)) == text
    assert parse_ranges(text).tolist() == values


@given(values=st.sets(st.integers(0, 300) | st.integers(0, 10**9), max_size=80))
@settings(max_examples=200)
def test_there_and_back(values):
    rising = sorted(values)
    text = format_ranges(np.array(rising, dtype=np.int64))
    assert parse_ranges(text).tolist() == rising
    assert text.count(",") < max(len(rising), 1)


@pytest.mark.parametrize(
    "text", ["a", "1-", "5-3", "1-9:0", "1,,2", "0-99999999999", "1;2", "9" * 30]
)
def test_what_is_no_stretch_is_refused(text):
    with pytest.raises(ConfigError):
        parse_ranges(text)


@given(
    codes=st.lists(st.lists(st.integers(-1, 3), max_size=30), min_size=1, max_size=4),
)
def test_an_assignment_is_what_was_written(codes):
    videos = np.array([f"v{v}" for v, own in enumerate(codes) for _ in own], dtype=object)
    frames = np.array([3 * i for own in codes for i in range(len(own))], dtype=np.int64)
    flat = np.array([code for own in codes for code in own], dtype=np.int8)
    table = write_assignment(videos, frames, flat)
    read = read_assignment([table])
    assert set(read) == {f"v{v}" for v, own in enumerate(codes) if set(own) - {-1}}
    for video, (indices, held) in read.items():
        own = codes[int(video[1:])]
        assert indices.tolist() == [3 * i for i, code in enumerate(own) if code >= 0]
        assert held.tolist() == [code for code in own if code >= 0]


def test_a_frame_named_twice_is_refused():
    for tables in (
        [{"v": {"train": "0-5", "test": "5"}}],
        [{"v": {"train": "0-5"}}, {"v": {"train": "3"}}],
    ):
        with pytest.raises(ConfigError, match="named twice"):
            read_assignment(tables)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"assignment": []},
        {"assignment": {"v": "0-5"}},
        {"assignment": {"v": {"train": [0, 1]}}},
        {"assignment": {"v": {"trian": "0"}}},
        {"assignment": {}, "set_aside": 3},
        {"assignment": {}, "strategy": "best"},
        {"assignment": {}, "group_by": ["video"]},
        {"assignment": {}, "seed": "x"},
        {"assignment": {}, "folds": {"assignment": {}}},
        {"assignment": {}, "folds": {"count": 10**6}},
        {"assignment": {}, "folds": {"count": 2, "assignment": {"v": {"0": 1}}}},
        {"assignment": {}, "ratios": {"train": 0.5}},
        {"assignment": {}, "ratios": [1, 2, 3]},
    ],
)
def test_what_is_no_split_file_is_refused_before_anything_is_read(document):
    with pytest.raises(ConfigError):
        Config(split_file=document)


def test_a_file_says_the_rest_and_contradictions_are_refused():
    document = {
        "assignment": {}, "strategy": "temporal", "group_by": "video",
        "ratios": {"train": 0.7, "validation": 0.2, "test": 0.1}, "seed": 9,
    }  # fmt: skip
    check_split_file(document)
    Config(split_file=document)
    Config(split_file=document, split="temporal", ratios=(0.7, 0.2, 0.1), group_by="video", seed=3)
    for other in (
        {"split": "random"}, {"ratios": (0.5, 0.25, 0.25)}, {"group_by": "content"},
        {"temporal_segments": True}, {"gap_sec": 2.0},
    ):  # fmt: skip
        with pytest.raises(ConfigError, match="contradicts the split file"):
            Config(split_file=document, **other)
    assert ASSIGNED[:3] == ("train", "validation", "test")


@pytest.mark.parametrize(
    "values",
    [
        {"temporal_segments": True},
        {"temporal_segments": True, "split": "temporal", "group_by": "video"},
        {"temporal_segments": True, "split": "temporal", "group_by": "content"},
        {"split": "temporal", "group_by": "none"},
        {"gap_sec": 2.0},
        {"folds": 101},
    ],
)
def test_options_that_do_not_fit_each_other_are_refused(values):
    with pytest.raises(ConfigError):
        Config(**values)
    Config(split="temporal", group_by="content")
    Config(split="temporal", temporal_segments=True, gap_sec=0)
