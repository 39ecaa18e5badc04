"""Which frames are looked at for evidence, and that an image is decoded once for all of it."""

import json
import zipfile

import pytest

from engine import evidence_frames, looks
from engine.config import Config
from engine.evidence_frames import choose_evidence
from engine.export import cut_export
from engine.looks import choose_frames
from engine.opening import open_members
from engine.pairing import ImageIndex
from engine.sample_export import write_sample_export
from engine.survey import OpenTask, open_export

SMALL = {"frames": 40, "width": 64, "height": 48, "truth": False}


def chosen(tmp_path, **keywords):
    truth = write_sample_export(tmp_path / "a.zip", **SMALL | keywords)
    members = open_members(str(truth.path))
    cut = cut_export(
        members, ImageIndex.of(members.values()), image_source=members.location,
        staging=str(tmp_path / "ranges"), frames_per_range=7,
    )  # fmt: skip
    return cut, [frame.frame_index for frame in choose_evidence(cut)]


def test_frames_without_a_declared_order_are_those_of_the_looks_and_some_more(tmp_path):
    cut, frames = chosen(tmp_path)
    assert len(frames) == 16
    assert {min(cut.sampleable), max(cut.sampleable)} < set(frames)
    assert set(choose_frames(cut.pictured)) < set(frames)


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
        ({"image_format": "png"}, 16),
        ({"image_format": "png", "dialect": "coco"}, 12),
        ({"image_format": "jpg"}, 16 + 12),
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
    found = open_export(OpenTask.of(str(truth.path), str(tmp_path / "staging"), Config(), 1))
    assert len(calls) == decoded
    assert len(found.looks) == 12


def test_clean_frames_have_looks_of_their_own(tmp_path):
    painted = write_sample_export(tmp_path / "a.zip", **SMALL)
    clean = write_sample_export(tmp_path / "clean.zip", paint=False, **SMALL)
    of_clean = OpenTask.of(str(clean.path), str(tmp_path / "1"), Config(), 1)
    mixed = Config(frames=str(clean.path))
    of_mixed = OpenTask.of(str(painted.path), str(tmp_path / "2"), mixed, 1)
    found = open_export(of_mixed)
    assert found.looks == open_export(of_clean).looks
    assert found.dialect["painted"]


def test_images_without_an_index_in_their_names_are_evidence_too(tmp_path):
    """Paired by position: the images of the frames are those that the looks are taken of."""
    truth = write_sample_export(tmp_path / "a.zip", **SMALL)
    letters = str.maketrans("0123456789", "abcdefghij")
    with zipfile.ZipFile(truth.path) as old, zipfile.ZipFile(tmp_path / "b.zip", "w") as new:
        for name in old.namelist():
            image = name.endswith(".png")
            data = old.read(name)
            if name == "annotations.json":
                document = json.loads(data)
                for frame in document["annotations"]:
                    for key in [key for key in frame if isinstance(frame[key], str)]:
                        del frame[key]
                data = json.dumps(document).encode()
            new.writestr(name.translate(letters) if image else name, data)
    numbered, lettered = (
        open_export(OpenTask.of(str(path), str(tmp_path / path.name[0]), Config(), 1))
        for path in (truth.path, tmp_path / "b.zip")
    )
    assert [issue.code for issue in lettered.issues] == [
        "images_paired_by_position", "overlay_burned_in",
    ]  # fmt: skip
    assert lettered.dialect["evidence"] == numbered.dialect["evidence"]
    assert lettered.looks == numbered.looks
