"""Frames given with --frames: painted ones and those of another video are said, right ones not."""

import shutil

import numpy as np
import pytest
from PIL import Image

from engine.config import Config
from engine.looks import look_at
from engine.sample_export import write_sample_export
from engine.survey import OpenTask, open_export
from engine.thresholds import Thresholds
from engine.used_frames import differing

SMALL = {"frames": 8, "width": 160, "height": 90, "truth": False}
SIZES = [(160, 90), (90, 160), (120, 120), (64, 48)]


def export(path, **keywords):
    return write_sample_export(path, **SMALL | keywords).path


def opened(path, frames, **config):
    staging = path.parent / "staging"
    config = Config(frames=None if frames is None else str(frames), **config)
    return open_export(OpenTask.of(str(path), str(staging), config, 1))


def said(found):
    return {issue.code: issue.message for issue in found.issues}


def redrawn(source, folder, change, name="{stem}.png", **how):
    """Write the frames of an export's folder again, each picture changed."""
    folder.mkdir()
    for path in sorted((source / "images").iterdir()):
        with Image.open(path) as image:
            changed = change(image.convert("RGB"))
        changed.save(folder / name.format(stem=path.stem), **how)
    return folder


def noise(image):
    rng = np.random.default_rng(image.getpixel((0, 0)))
    size = (image.height, image.width, 3)
    return Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8))


def test_the_exports_own_painted_images_are_no_clean_frames(tmp_path):
    painted = export(tmp_path / "a.zip")
    assert "given" not in said(opened(painted, None))["overlay_burned_in"]
    found = opened(painted, painted)
    assert list(said(found)) == ["overlay_burned_in"]
    message = said(found)["overlay_burned_in"]
    assert message.startswith("the frames given with --frames: ")
    assert message.endswith(
        "of the masks' boundary pixels, read row-major, in 6 frames carry the overlay's colour"
    )


@pytest.mark.parametrize("dialect", ["real", "coco"])
def test_the_evidence_stays_that_of_the_exports_own_images(tmp_path, dialect):
    keywords = {"dialect": dialect}
    painted = export(tmp_path / "a.zip", paint=True, **keywords)
    clean = export(tmp_path / "clean.zip", paint=False, **keywords)
    one, other = opened(painted, clean), opened(clean, painted)
    assert (one.dialect["painted"], said(one)) == (True, {})
    assert (other.dialect["painted"], list(said(other))) == (False, ["overlay_burned_in"])
    assert one.dialect["evidence"] == opened(painted, None).dialect["evidence"]
    assert other.dialect == opened(clean, None).dialect


def test_paint_is_found_where_the_export_has_no_images_of_its_own(tmp_path):
    bare = export(tmp_path / "a.zip", frames_without_image=range(8))
    assert list(said(opened(bare, export(tmp_path / "b.zip")))) == ["overlay_burned_in"]
    assert said(opened(bare, export(tmp_path / "clean.zip", paint=False))) == {}


def test_the_threshold_of_paint_is_that_of_the_configuration(tmp_path):
    painted = export(tmp_path / "a.zip")
    assert said(opened(painted, painted, thresholds=Thresholds(painted_share=1.0))) == {}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("image_format", ["png", "jpg"])
def test_right_frames_are_said_nothing_of(tmp_path, size, image_format):
    """Of other sizes and formats too, beside an export that is painted with up to three objects."""
    for seed in range(4):
        keywords = {
            "width": size[0], "height": size[1], "seed": seed,
            "labels": ("person", "dog", "car")[: seed % 3 + 1],
        }  # fmt: skip
        painted = export(tmp_path / f"{seed}.zip", image_format=image_format, **keywords)
        clean = export(tmp_path / f"{seed}", paint=False, as_folder=True, **keywords)
        smaller = redrawn(
            clean, tmp_path / f"{seed} smaller", name="{stem}.jpg", quality=60,
            change=lambda image: image.resize((image.width * 3 // 4, image.height * 3 // 4)),
        )  # fmt: skip
        other_range = redrawn(
            clean, tmp_path / f"{seed} range",
            change=lambda image: image.point(lambda level: 16 + level * 219 // 255),
        )  # fmt: skip
        for frames in (clean / "images", smaller, other_range):
            assert said(opened(painted, frames)) == {}, (seed, frames.name)


@pytest.mark.parametrize("size", SIZES)
def test_frames_of_another_video_are_said(tmp_path, size):
    keywords = {"width": size[0], "height": size[1]}
    painted = [export(tmp_path / f"{n}.zip", seed=n, **keywords) for n in range(4)]
    clean = [export(tmp_path / f"c{n}.zip", seed=n, paint=False, **keywords) for n in range(4)]
    for a, own in enumerate(painted):
        for b, given in enumerate(clean):
            assert list(said(opened(own, given))) == ([] if a == b else ["frames_differ"]), (a, b)
    assert said(opened(painted[0], clean[1]))["frames_differ"] == (
        "8 of 8 compared frames show another picture than the export's own image"
    )


def test_noise_is_another_picture(tmp_path):
    painted = export(tmp_path / "a", as_folder=True)
    assert list(said(opened(painted, redrawn(painted, tmp_path / "wrong", noise)))) == [
        "frames_differ"
    ]


def test_where_there_is_nothing_to_compare_nothing_is_said(tmp_path):
    """Frames of one colour; own images that the exporter could not read; no common frame."""
    painted = export(tmp_path / "a", as_folder=True)
    for name, colour in {"black": (0, 0, 0), "grey": (90, 120, 90)}.items():
        flat = redrawn(
            painted, tmp_path / name, name="{stem}.jpg",
            change=lambda image, colour=colour: Image.new("RGB", image.size, colour),
        )  # fmt: skip
        assert said(opened(painted, flat)) == {}
    clean = export(tmp_path / "clean.zip", paint=False)
    black = export(tmp_path / "black.zip", black_frames=range(8))
    assert said(opened(black, clean)) == {}
    bare = export(tmp_path / "bare.zip", frames_without_image=range(8))
    assert said(opened(bare, clean)) == {}


def test_some_frames_that_differ_are_no_other_video(tmp_path):
    """Where frames were cut out of a video, or it runs faster, others still look alike."""
    painted = export(tmp_path / "a.zip")
    other = export(tmp_path / "other", paint=False, as_folder=True, seed=1)
    mixed = export(tmp_path / "mixed", paint=False, as_folder=True)
    for index in range(0, 42, 6):
        assert said(opened(painted, mixed)) == {}
        name = f"images/frame_{index:06d}.png"
        shutil.copy(other / name, mixed / name)
    assert said(opened(painted, mixed)) == {}  # one of eight is right
    shutil.copy(other / "images/frame_000042.png", mixed / "images/frame_000042.png")
    assert list(said(opened(painted, mixed))) == ["frames_differ"]


def test_frames_are_compared_at_indices_that_both_have(tmp_path):
    """The looks of the frames given may all lie where the export has no image."""
    painted = export(tmp_path / "a.zip", frames=40, frames_without_image=range(0, 40, 2))
    other = export(tmp_path / "other.zip", frames=40, paint=False, seed=1)
    assert said(opened(painted, other))["frames_differ"].startswith("12 of 12 compared frames ")


def test_differing_counts_and_does_not_judge():
    rng = np.random.default_rng(0)
    one, other = (
        look_at(0, rng.integers(0, 256, (16, 16, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1))
        for _ in range(2)
    )
    flat = look_at(0, np.full((128, 128, 3), 7, dtype=np.uint8))
    assert differing([]) == (0, 0)
    assert differing([(one, other), (one, one), (one, flat), (flat, one)]) == (1, 2)


def test_one_frame_that_differs_is_enough_where_there_is_no_other(tmp_path):
    own = export(tmp_path / "a.zip", frames=1)
    assert "frames_differ" in said(opened(own, export(tmp_path / "b.zip", frames=1, seed=1)))
