"""What an SA-V file says once: ids, the frames of its entries, the numbers of its images."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ExportError
from engine.masklets import find_step, image_numbers, read_masklets


def ids_of(head):
    return read_masklets(head, kind="manual", label=None, step=4, where="v.json").object_ids


def test_ids_are_those_of_the_file():
    assert ids_of({"masklet_id": [3, 0, 12]}) == (3, 0, 12)
    assert ids_of({"masklet_id": [3.0, 0.0]}) == (3, 0)
    assert ids_of({"masklet_id": []}) == ()
    assert ids_of({}) is None
    assert ids_of({"masklet_id": None}) is None


@pytest.mark.parametrize("wrong", ["012", [0, 0], [0, "1"], [0.5], [True], [None], [[0]], 3, {}])
def test_ids_that_name_nothing_are_refused(wrong):
    with pytest.raises(ExportError, match="masklet_id"):
        ids_of({"masklet_id": wrong})


# The example of the dataset's own repository: 483 frames, 121 entries.
@pytest.mark.parametrize(
    ("entries", "frames", "step"),
    [(121, 483, 4), (121, 484, 4), (121, 481, 4), (120, 483, 4), (122, 483, 4), (6, None, 4),
     (483, 483, 1), (1, 1, 4), (2, 2, 1), (3, 3, 1), (0, 0, 4), (2, 8, 4)],
)  # fmt: skip
def test_entries_lie_on_every_4th_frame_or_on_each(entries, frames, step):
    assert find_step(entries, frames, "v.json") == step


@pytest.mark.parametrize(("entries", "frames"), [(60, 483), (242, 483), (484, 483), (8, 80)])
def test_a_count_that_fits_neither_is_refused(entries, frames):
    with pytest.raises(ExportError, match=f"{entries} entries for {frames} frames"):
        find_step(entries, frames, "v.json")


@pytest.mark.parametrize(
    ("numbers", "entries", "frames", "expected"),
    [
        (range(0, 24, 4), 6, 24, None),  # every 4th frame by its index
        (range(24), 6, 24, None),  # the whole video by index
        (range(6), 6, 24, [0, 4, 8, 12, 16, 20]),  # the annotated ones, one after the other
        (range(1, 7), 6, 24, [0, 4, 8, 12, 16, 20]),
        (range(6), 6, None, [0, 4, 8, 12, 16, 20]),
        (range(1, 25), 6, 24, list(range(24))),  # the whole video as ffmpeg numbers it
        (range(1, 24), 6, 24, None),  # frame 0 is missing, and the others are right
        (range(5), 6, 24, None),
        ([0, 1, 2, 3, 4, 8], 6, 24, None),
        (range(2, 8), 6, 24, None),
        ([0], 1, 4, None),
        ([], 6, 24, None),
    ],
)
def test_numbers_are_frame_indices_unless_they_cannot_be(numbers, entries, frames, expected):
    found = image_numbers(list(numbers), entries=entries, step=4, video_frames=frames)
    assert (found and [found[0][n] for n in numbers]) == expected


def test_a_video_annotated_on_each_frame_and_numbered_from_1():
    assert image_numbers([0, 1, 2], entries=3, step=1, video_frames=3) is None
    moved = image_numbers([1, 2, 3], entries=3, step=1, video_frames=3)
    assert moved and moved[0] == {1: 0, 2: 1, 3: 2}


@given(
    numbers=st.lists(st.integers(0, 40), unique=True).map(sorted),
    entries=st.integers(0, 12),
    step=st.sampled_from([1, 4]),
    frames=st.none() | st.integers(0, 48),
)
def test_renumbering_keeps_order_and_never_doubles_a_frame(numbers, entries, step, frames):
    moved = image_numbers(numbers, entries=entries, step=step, video_frames=frames)
    if moved is not None:
        indices = [moved[0][number] for number in numbers]
        assert indices == sorted(set(indices))
        assert indices[0] == 0
        assert numbers != indices
