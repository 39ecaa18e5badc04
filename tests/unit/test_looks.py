"""Looks against plain loops, and against PIL's own way of making a picture small."""

import io
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine import identity
from engine.looks import LOOKS, choose_frames, compare, look_at, take_looks
from engine.members import Member
from engine.pixels import decode_rgb, is_jpeg, shrink_rgb
from engine.sample_scene import Scene, encode_picture

GREY = (0.299, 0.587, 0.114)


def picture(seed=1, size=(96, 160), moment=0):
    return Scene(objects=0, seed=seed).picture(moment, {}, size)


def cells_of(*looks):
    return np.frombuffer(b"".join(look.cells for look in looks), np.uint8).reshape(-1, 256, 3)


def test_cells_are_means():
    pixels = picture()
    look = look_at(7, pixels)
    small = np.asarray(Image.fromarray(pixels).resize((16, 16), Image.Resampling.BOX))
    assert np.abs(cells_of(look)[0].reshape(16, 16, 3).astype(int) - small).max() <= 1
    assert (look.frame_index, look.phash) == (7, identity.phash(pixels))


def test_a_tiny_picture_has_a_look():
    assert len(look_at(0, np.full((1, 2, 3), 9, np.uint8)).cells) == 768


def plain_compare(a, b):
    a, b = a.tolist(), b.tolist()
    same = [i for i in range(256) if all(abs(a[i][c] - b[i][c]) <= 4 for c in range(3))]
    grey = [sum(GREY[c] * (a[i][c] + b[i][c]) / 2 for c in range(3)) for i in same]
    return len(same) / 256, float(np.std(grey)) if grey else 0.0


def test_comparison_against_plain_loops():
    rng = np.random.default_rng(3)
    near = rng.integers(0, 255, (6, 256, 3))
    cells = np.clip(near[[0, 0, 0, 3, 4, 5]] + rng.integers(-5, 6, (6, 256, 3)), 0, 255)
    cells = cells.astype(np.uint8)
    left, right = np.triu_indices(6, 1)
    found = compare(cells, left, right)
    for place, (i, j) in enumerate(zip(left, right, strict=True)):
        equal, detail = plain_compare(cells[i], cells[j])
        assert found.equal[place] == equal
        assert found.detail[place] == pytest.approx(detail)
    back = compare(cells, right, left)
    assert np.array_equal(back.equal, found.equal)
    assert len(compare(cells, left[:0], right[:0]).equal) == 0


def test_many_pairs_come_in_blocks():
    cells = cells_of(*(look_at(0, picture(seed)) for seed in range(3)))
    left, right = np.tile([0, 0, 1], 1000), np.tile([0, 1, 2], 1000)
    found = compare(cells, left, right)
    assert np.array_equal(found.equal, np.tile(found.equal[:3], 1000))
    assert found.equal[0] == 1


@given(st.sets(st.integers(0, 10**9), max_size=60), st.integers(0, 20))
def test_chosen_frames_are_some_and_the_ends_are_among_them(frames, limit):
    chosen = choose_frames(frames, limit)
    assert len(chosen) == min(limit, len(frames))
    assert chosen == sorted(set(chosen))
    assert set(chosen) <= frames
    ordered = sorted(frames)
    if limit >= 4:
        assert {*ordered[:2], *ordered[-2:]} <= set(chosen)


@pytest.mark.parametrize("step", [1, 5, 6, 24])
def test_at_a_constant_rate_they_are_evenly_spaced(step):
    chosen = choose_frames(range(0, 1000 * step, step))
    inner = np.diff(chosen[2:-2]) / step
    assert len(chosen) == LOOKS
    assert inner.max() <= 250


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (range(0, 2400, 6), range(0, 2400)),  # another rate
        (range(0, 2400, 6), range(0, 2400, 10)),
        (range(0, 2400), range(0, 1200)),  # a part
        (range(0, 2400), [i for i in range(2400) if i % 100 > 40 or i % 3 == 0]),  # other objects
    ],
)
def test_exports_of_one_video_choose_the_same_frames(one, other):
    assert len(set(choose_frames(one)) & set(choose_frames(other))) >= 3


def member(folder, name, data):
    (folder / name).write_bytes(data)
    return Member(
        name=name, stored_name=name, offset=None, compressed_size=len(data), size=len(data),
        method=0, crc32=zlib.crc32(data),
    )  # fmt: skip


def test_looks_are_taken_of_what_can_be_read(tmp_path):
    pictured = {
        i: member(tmp_path, f"{i}.png", encode_picture(picture(i), "png")) for i in range(4)
    }
    pictured[4] = member(tmp_path, "4.png", b"no image at all")
    pictured[5] = member(tmp_path, "5.jpg", encode_picture(picture(5, (720, 1280)), "jpg"))
    (tmp_path / "1.png").write_bytes(b"shorter than it was")
    looks = take_looks(str(tmp_path), pictured)
    assert [look.frame_index for look in looks] == [0, 2, 3, 5]
    assert looks[1] == look_at(2, np.asarray(Image.fromarray(picture(2)).resize((128, 77))))
    whole = cells_of(look_at(5, picture(5, (720, 1280))))
    assert np.abs(cells_of(looks[3]).astype(int) - whole).max() <= 3


def test_at_most_so_many_images_are_read(tmp_path):
    data = encode_picture(picture(), "png")
    pictured = {i: member(tmp_path, f"{i}.png", data) for i in range(40)}
    for i in set(range(40)) - set(choose_frames(range(40))):
        (tmp_path / f"{i}.png").unlink()
    assert len(take_looks(str(tmp_path), pictured)) == LOOKS


@pytest.mark.parametrize("kind", ["png", "webp", "bmp"])
def test_an_image_that_is_decoded_already_has_the_look_it_would_have(tmp_path, kind):
    written = io.BytesIO()
    Image.fromarray(picture(1, (720, 1280))).save(written, kind)
    data = written.getvalue()
    pictured = {0: member(tmp_path, f"0.{kind}", data)}
    (read,) = take_looks(str(tmp_path), pictured)
    assert not is_jpeg(data)
    decoded = {0: decode_rgb(data)}
    (tmp_path / f"0.{kind}").unlink()
    assert take_looks(str(tmp_path), pictured, decoded) == (read,)


def test_a_jpeg_decodes_to_other_pixels_at_a_smaller_size():
    data = encode_picture(picture(1, (720, 1280)), "jpg")
    assert is_jpeg(data)
    assert (decode_rgb(data, max_side=128) != shrink_rgb(decode_rgb(data), 128)).any()
