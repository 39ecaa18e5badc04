"""Which image belongs to which frame: by name, by index, and by position not here."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.members import Member
from engine.pairing import IMAGE_SUFFIXES, ImageIndex


def members(*names):
    return [
        Member(
            name=name, stored_name=name, offset=None, compressed_size=1, size=1, method=0, crc32=0
        )
        for name in names
    ]


def names(found):
    return [image.name for image in found]


def index_of(*listed):
    return ImageIndex.of(members(*listed))


@pytest.mark.parametrize(
    "pattern",
    [
        "images/frame_%06d.png", "images/frame_%04d.jpg", "frames/%04d.jpeg", "data/%d.JPG",
        "%08d.webp", "images/cam2_take3_frame%03d.png", "images/frame-%05d.final.png",
    ],
)  # fmt: skip
def test_by_the_last_number_in_the_name(pattern):
    index = index_of(*(pattern % n for n in (0, 6, 12)))
    for n in (0, 6, 12):
        assert names(index.find(n, None)) == [pattern % n]
    assert index.find(3, None) == ()


@given(st.lists(st.integers(0, 10**9), unique=True, max_size=20), st.integers(1, 12))
def test_every_frame_finds_its_own_image_and_no_other(numbers, width):
    index = index_of(*(f"images/frame_{n:0{width}d}.png" for n in numbers))
    for n in numbers:
        assert names(index.find(n, None)) == [f"images/frame_{n:0{width}d}.png"]
    assert names(index.in_order) == [f"images/frame_{n:0{width}d}.png" for n in sorted(numbers)]


def test_names_are_in_the_order_of_their_numbers():
    ordered = ["a01.png", "a1.png", "a2.png", "a2b9.png", "a2b10.png", "a10.png", "a.png", "b0.png"]
    ordered += [f"b{'9' * 5000}.png", "b1" + "0" * 5000 + ".png"]
    for shuffled in (ordered[::-1], sorted(ordered)):
        assert names(index_of(*shuffled).in_order) == ordered


def test_two_images_of_one_index_are_both_given():
    index = index_of("images/frame_012.png", "images/f_12.jpg", "images/f_13.jpg")
    assert names(index.find(12, None)) == ["images/f_12.jpg", "images/frame_012.png"]


def test_the_name_a_record_gives_comes_first():
    index = index_of("images/shot_a.png", "images/frame_000007.png", "images/shot_b.png")
    assert names(index.find(7, "images/shot_a.png")) == ["images/shot_a.png"]
    assert names(index.find(7, "shot_b.png")) == ["images/shot_b.png"]
    assert names(index.find(7, "./images/shot_a.png")) == ["images/shot_a.png"]
    assert names(index.find(None, "shot_b.png")) == ["images/shot_b.png"]
    assert names(index.find(None, "frame_7.png")) == names(index.find(None, None)) == []
    assert names(index.find(7, "images\\shot_a.png")) == ["images/shot_a.png"]
    assert names(index.find(7, "export/images/shot_a.png")) == ["images/shot_a.png"]


def test_a_name_that_is_not_there_leaves_the_index():
    index = index_of("images/frame_000007.png")
    assert names(index.find(7, "lost.png")) == ["images/frame_000007.png"]
    assert index.find(8, "lost.png") == ()


def test_a_bare_name_in_two_folders_is_not_guessed():
    index = index_of("images/a/x.png", "images/b/x.png", "images/b/y.png")
    assert index.find(99, "x.png") == ()
    assert names(index.find(99, "images/a/x.png")) == ["images/a/x.png"]


def test_thumbnails_and_mask_pictures_are_no_frames():
    frames = [f"images/frame_{n:03d}.jpg" for n in range(3)]
    others = [f"masks/frame_{n:03d}.png" for n in range(9)] + ["cover_001.png"]
    index = index_of(*others, *frames)
    assert names(index.in_order) == frames
    assert names(index.find(1, None)) == ["images/frame_001.jpg"]


def test_without_a_known_folder_the_fullest_one_holds_the_frames():
    index = index_of("a/1.png", "b/1.png", "b/2.png", "c.png")
    assert names(index.in_order) == ["b/1.png", "b/2.png"]
    assert names(index_of("b/1.png", "a/1.png").in_order) == ["a/1.png"]


def test_only_images_count():
    index = index_of("annotations.json", "images/frame_1.txt", "images/frame_1.PNG", "7")
    assert names(index.in_order) == ["images/frame_1.PNG"]
    assert all(index_of(f"images/1{suffix}").in_order for suffix in IMAGE_SUFFIXES)


def test_an_export_without_images():
    index = index_of("annotations.json")
    assert index.in_order == ()
    assert index.find(0, None) == ()
    assert index.find(0, "a.png") == ()


def test_names_without_a_number_are_found_by_name_or_position_only():
    index = index_of("images/first.png", "images/second.png")
    assert index.by_index == {}
    assert names(index.in_order) == ["images/first.png", "images/second.png"]


def test_a_number_too_long_for_a_frame_index_is_none():
    assert index_of(f"images/{'9' * 40}.png").by_index == {}


def test_the_order_of_the_listing_does_not_show():
    listed = [f"images/frame_{n}.png" for n in (3, 1, 2)] + ["data/frame_1.png"]
    assert index_of(*listed) == index_of(*listed[::-1])
