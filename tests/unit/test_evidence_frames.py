"""Which frames are looked at for evidence, and that an image is decoded once for all of it."""

import itertools
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import evidence_frames, looks
from engine.config import Config
from engine.evidence_frames import choose_evidence, fill_gaps
from engine.export import cut_export
from engine.looks import choose_frames
from engine.opening import open_members
from engine.pairing import ImageIndex
from engine.sample_export import write_sample_export
from engine.survey import OpenTask, open_export

SMALL = {"frames": 40, "width": 64, "height": 48, "truth": False}


def chosen(tmp_path, **keywords):
    return evidence_of(write_sample_export(tmp_path / "a.zip", **SMALL | keywords).path)


def evidence_of(path):
    members = open_members(str(path))
    cut = cut_export(
        members, ImageIndex.of(members.values()), image_source=members.location,
        staging=str(path.parent / "ranges"), frames_per_range=7,
    )  # fmt: skip
    return cut, [frame.frame_index for frame in choose_evidence(cut)]


def rewrite(source, target, change=lambda document: None, renamed=lambda name: name):
    """Write an export again, its annotations changed in place and its images renamed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "annotations.json":
                document = json.loads(data)
                change(document)
                data = json.dumps(document).encode()
            new.writestr(renamed(name) if name.endswith(".png") else name, data)


def opened(path, **configured):
    staging = path.parent / f"{path.stem}-{len(configured)}"
    return open_export(OpenTask.of(str(path), str(staging), Config(**configured), 1))


def lettered(name):
    """Without a digit, so that images are paired by position or not at all."""
    return name.translate(str.maketrans("0123456789", "abcdefghij"))


def test_frames_without_a_declared_order_are_those_of_the_looks(tmp_path):
    cut, frames = chosen(tmp_path)
    assert frames == choose_frames(cut.pictured)
    assert len(frames) == 12
    assert {min(cut.sampleable), max(cut.sampleable)} < set(frames)


def test_and_some_more_where_these_leave_wide_gaps(tmp_path):
    """The multiples of high powers of two are all in the first part of the video."""
    cut, frames = uneven(tmp_path)
    assert set(choose_frames(cut.pictured)) < set(frames)
    assert 12 < len(frames) <= 16
    assert widest_gap(cut, frames) <= 0.2 < widest_gap(cut, choose_frames(cut.pictured))


def uneven(tmp_path):
    path = write_sample_export(tmp_path / "a.zip", **SMALL).path

    def moved(number):
        return number // 6 * 1024 if number < 90 else 16 * 1024 + 1 + number

    def move(document):
        for frame in document["annotations"]:
            frame["frame_index"] = moved(frame["frame_index"])

    rewrite(path, tmp_path / "b.zip", move, lambda n: f"images/{moved(int(n[-10:-4])):06d}.png")
    return evidence_of(tmp_path / "b.zip")


def widest_gap(cut, frames):
    """The longest stretch of sampleable frames without a chosen one, as a share of them."""
    ordered = sorted(cut.sampleable)
    places = [-1, *map(ordered.index, frames), len(ordered)]
    return max(b - a - 1 for a, b in itertools.pairwise(places)) / len(ordered)


@pytest.mark.parametrize("dialect", ["real", "coco"])
@pytest.mark.parametrize("first", [0, 1, 101])
def test_no_long_stretch_of_the_video_is_left_out(tmp_path, first, dialect):
    """With odd indices and an even step the looks may lie anywhere; the evidence does not."""
    path = tmp_path / "a.zip"
    write_sample_export(path, **SMALL | {"frames": 100, "dialect": dialect})

    def moved(number):
        return first + number // 6 * 30

    def move(document):
        for frame in document["annotations"]:
            frame["frame_index"] = moved(frame["frame_index"])

    rewrite(path, tmp_path / "b.zip", move, lambda n: f"images/{moved(int(n[-10:-4])):06d}.png")
    cut, frames = evidence_of(tmp_path / "b.zip")
    assert min(cut.sampleable) == first
    assert widest_gap(cut, frames) <= (0.4 if dialect == "coco" else 0.2)


@given(
    st.sets(st.integers(0, 60), max_size=12), st.integers(0, 30), st.integers(0, 20),
    st.integers(0, 5),
)  # fmt: skip
def test_gaps_are_filled_from_the_widest_on(places, more, extra, further):
    chosen_before = sorted(places)
    n, least = (max(places) + 1 if places else 0) + more, len(places) + extra
    found = fill_gaps(chosen_before, n, least, least + further)
    assert found == sorted(set(found))
    assert set(found) >= places
    assert min(n, least) <= len(found) <= least + further
    assert all(0 <= place < n for place in found)
    gaps = np.diff([-1, *found, n])
    if not places and found:
        assert gaps.max() <= 2 * gaps.min() + 1
    if len(found) > max(len(places), min(n, least)):
        fewer = fill_gaps(chosen_before, n, least, len(found) - 1)
        assert np.diff([-1, *fewer, n]).max() - 1 > n / 5
    if len(found) < min(n, least + further):
        assert gaps.max() - 1 <= n / 5


def test_six_of_the_looks_frames_show_paint(tmp_path):
    cut, frames = chosen(tmp_path, dialect="coco")
    assert len(frames) == 6
    assert {min(cut.sampleable), max(cut.sampleable)} < set(frames)
    assert set(frames) < set(choose_frames(cut.pictured))


def test_all_frames_of_a_short_video(tmp_path):
    assert chosen(tmp_path, frames=5)[1] == [0, 6, 12, 18, 24]


@pytest.mark.parametrize(
    ("keywords", "decoded"),
    [
        ({"image_format": "png"}, 12),
        ({"image_format": "png", "dialect": "coco"}, 12),
        ({"image_format": "jpg"}, 12 + 12),
        ({"image_format": "jpg", "dialect": "coco"}, 6 + 12),
    ],
)
def test_a_png_is_decoded_once(tmp_path, monkeypatch, keywords, decoded):
    truth = write_sample_export(tmp_path / "a.zip", **SMALL | keywords)
    calls = []
    for module in (evidence_frames, looks):
        whole = module.decode_rgb

        def counted(data, whole=whole, **how):
            calls.append(1)
            return whole(data, **how)

        monkeypatch.setattr(module, "decode_rgb", counted)
    found = opened(truth.path)
    assert len(calls) == decoded
    assert len(found.looks) == 12


def test_clean_frames_have_looks_of_their_own(tmp_path):
    painted = write_sample_export(tmp_path / "a.zip", **SMALL)
    clean = write_sample_export(tmp_path / "clean.zip", paint=False, **SMALL)
    found = opened(painted.path, frames=str(clean.path))
    assert found.looks == opened(clean.path).looks
    assert found.dialect["painted"]


def test_images_without_an_index_in_their_names_are_evidence_too(tmp_path):
    """Paired by position: the images of the frames are those that the looks are taken of."""
    truth = write_sample_export(tmp_path / "a.zip", **SMALL)
    clean = write_sample_export(tmp_path / "clean.zip", paint=False, **SMALL)
    rewrite(truth.path, tmp_path / "b.zip", renamed=lettered)
    by_number, by_position = opened(truth.path), opened(tmp_path / "b.zip")
    assert [issue.code for issue in by_position.issues] == [
        "images_paired_by_position", "overlay_burned_in",
    ]  # fmt: skip
    assert by_position.dialect["evidence"] == by_number.dialect["evidence"]
    assert by_position.looks == by_number.looks
    with_clean = opened(tmp_path / "b.zip", frames=str(clean.path))
    assert with_clean.dialect["evidence"] == by_number.dialect["evidence"]
    assert with_clean.issues == ()


def test_masks_are_held_against_the_image_of_their_own_record(tmp_path):
    """A frame index may occur twice, first without objects and with another image."""
    truth = write_sample_export(tmp_path / "a.zip", **SMALL)
    with zipfile.ZipFile(truth.path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))

    def twice(document):
        records = document["annotations"]
        others = [
            {"frame_index": record["frame_index"], "objects": [], "image": names[n - 20]}
            for n, record in enumerate(records)
        ]
        document["annotations"] = others + records

    rewrite(truth.path, tmp_path / "b.zip", twice)
    assert opened(tmp_path / "b.zip").dialect["evidence"] == opened(truth.path).dialect["evidence"]
