"""One video under two names is found, other videos are not: from the pictures to the links.

The builder draws only the objects it labels, so two exports that label different objects of one
picture are drawn here: every object is in the picture, some are painted. CONTRIBUTING.md has the
figures of more videos.
"""

import itertools
import json

import numpy as np
import pytest
from PIL import Image

import engine
from engine.config import Config
from engine.content_links import find_links, group_of_video, looks_of_videos
from engine.looks import SIDE_PX, choose_frames, look_at
from engine.pixels import decode_rgb
from engine.sample_export import write_sample_export
from engine.sample_scene import Scene, encode_picture, paint_masks
from engine.survey import OpenTask, open_export

SIZES = [(180, 320), (320, 180), (240, 240), (360, 640)]
LABELS = ("person", "dog", "a car with a long name", "cup")
FRAMES, STEP = 24, 6


def looks(seed, size, painted, *, image_format="png", start=0, actors=None, camera=None, scale=1.0):
    """Look at a drawn video with three objects.

    Args:
        painted: objects that are painted on, in order.
        start: of the video's moments, the first one of the export.
        actors: seed of the objects; None: as the scene.
        camera: a moment at which the camera stands still; None: it moves.
    """
    scene, cast = Scene(objects=3, seed=seed), Scene(objects=3, seed=actors or seed)
    found = []
    for place in (index // STEP for index in choose_frames(range(0, FRAMES * STEP, STEP))):
        moment = start + place
        masks = {k: cast.mask(k, moment, *size) for k in range(3)}
        pixels = scene.picture(moment if camera is None else camera, masks, size)
        pixels = paint_masks(pixels, [masks[k] for k in painted], [LABELS[k] for k in painted])
        if scale != 1.0:
            small = (round(size[1] * scale), round(size[0] * scale))
            pixels = np.asarray(Image.fromarray(pixels).resize(small, Image.Resampling.BICUBIC))
        data = encode_picture(pixels, image_format)
        found.append(look_at(place * STEP, decode_rgb(data, max_side=SIDE_PX)))
    return found


def same_video(seed, size, formats):
    """Pairs of looks at one video, by what differs between the exports."""
    one, other = formats
    first = looks(seed, size, (0, 1), image_format=one)
    yield "other objects painted", first, looks(seed, size, (2,), image_format=other)
    yield "other colours and labels", first, looks(seed, size, (2, 1, 0), image_format=other)
    yield "painted and clean", first, looks(seed, size, (), image_format=other)
    yield "three quarters the size", first, looks(seed, size, (2,), image_format=other, scale=0.75)
    yield "second half overlaps", first, looks(seed, size, (2,), image_format=other, start=12)
    yield "cut in two", first, looks(seed, size, (2,), image_format=other, start=FRAMES)


def takes(seed, size, formats):
    """Pairs of looks at two videos that look alike."""
    one, other = formats
    again = {"image_format": other, "actors": seed + 5000}
    yield (
        "take, camera moves alike",
        looks(seed, size, (0, 1), image_format=one),
        looks(seed, size, (0, 1), **again),
    )
    yield (
        "take, camera stands still",
        looks(seed, size, (0, 1), image_format=one, camera=3),
        looks(seed, size, (0, 1), **again, camera=3),
    )


def are_linked(one, other):
    return bool(find_links({"a": one, "b": other}, None).links)


@pytest.mark.parametrize("size", SIZES)
def test_one_video_in_two_exports(size):
    for kind, one, other in same_video(7, size, ("png", "jpg")):
        assert are_linked(one, other), kind


def test_other_videos():
    seen = {f"v{seed}": looks(seed, SIZES[seed % 4], (0, 1)) for seed in range(12)}
    assert find_links(seen, None).links == ()


@pytest.mark.long
def test_rates_over_many_videos():
    """Takes are counted, and promised nothing."""
    hits, videos = {}, {}
    cases = itertools.product(SIZES, itertools.product(("png", "jpg"), repeat=2), range(3))
    for seed, (size, formats, _) in enumerate(cases, start=100):
        for kind, one, other in [*same_video(seed, size, formats), *takes(seed, size, formats)]:
            hits.setdefault(kind, []).append(are_linked(one, other))
            videos[f"{seed}"] = one
    false = len(find_links(videos, None).links)
    assert false == 0
    for kind, found in hits.items():
        assert kind.startswith("take") or sum(found) >= 0.95 * len(found), (kind, sum(found))


def opened(tmp_path, name, *, frames=None, **keywords):
    keywords = {"frames": 16, "width": 320, "height": 180, "truth": False} | keywords
    truth = write_sample_export(tmp_path / name, **keywords)
    staging = str(tmp_path / "staging" / name)
    return open_export(OpenTask.of(str(truth.path), staging, Config(frames=frames), 1))


def test_exports_are_grouped(tmp_path):
    """Under other names, with other paint, another encoder and another number of objects drawn."""
    exports = [
        opened(tmp_path, "a.zip", seed=1, filename="a.mp4"),
        opened(
            tmp_path, "b.zip", seed=1, filename="b.mp4", image_format="jpg", labels=("cat", "x")
        ),
        opened(tmp_path, "c.zip", seed=2, filename="c.mp4"),
        opened(tmp_path, "d", seed=1, filename="d.mp4", paint=False, as_folder=True),
        opened(tmp_path, "black.zip", seed=3, filename="k.mp4", black_frames=range(16)),
        opened(tmp_path, "black too.zip", seed=4, filename="l.mp4", black_frames=range(16)),
    ]
    found = looks_of_videos(exports)
    groups = group_of_video(found, find_links(found, None))
    a, b, c, d, black, too = (export.video_id for export in exports)
    assert groups == {a: a, b: a, c: c, d: a, black: black, too: too}


def test_clean_frames_are_looked_at(tmp_path):
    clean = opened(tmp_path, "clean", seed=1, paint=False, as_folder=True)
    own = opened(tmp_path, "own.zip", seed=1)
    given = opened(tmp_path, "given.zip", seed=1, frames=str(tmp_path / "clean/images"))
    assert own.looks != given.looks
    assert given.looks == clean.looks


def test_the_report_says_which_videos_are_one(tmp_path):
    other = {"labels": ("cat", "dog"), "image_format": "jpg"}
    for name, more in {"a": {}, "b": other, "c": {"seed": 5}}.items():
        write_sample_export(tmp_path / f"{name}.zip", frames=12, filename=f"{name}.mp4", **more)
    sources = [str(tmp_path / f"{name}.zip") for name in "abc"]
    found = engine.validate(sources)["same_content"]
    (a, b) = sorted(e["video_id"] for e in engine.inspect(sources[:2])["exports"])
    assert [link["videos"] for link in found] == [[a, b]]
    assert (found[0]["equal_images"], found[0]["sampled_frames"]) == (0, [12, 12])
    assert engine.inspect(sources)["same_content"] == found


def test_equal_images_tie_videos_together(tmp_path):
    for name in "ab":
        common = {"paint": False, "truth": False}
        write_sample_export(tmp_path / f"{name}.zip", **common, filename=f"{name}.mp4")
    (link,) = engine.validate([str(tmp_path / "a.zip"), str(tmp_path / "b.zip")])["same_content"]
    assert (link["equal_images"], link["images"], link["alike_frames"]) == (24, [24, 24], 12)


def test_a_copy_under_another_name_is_one_group_or_a_note(tmp_path):
    """Copies may lie in different splits, unless what shows one video is one group."""
    other = {"labels": ("cat", "dog"), "image_format": "jpg"}
    kinds = {"a": {}, "b": other, "c": {"seed": 5}, "d": {"seed": 6}, "e": {"seed": 7}}
    for name, more in kinds.items():
        write_sample_export(tmp_path / f"{name}.zip", frames=12, filename=f"{name}.mp4", **more)
    sources = [str(tmp_path / f"{name}.zip") for name in kinds]
    copies = tuple(sorted(e["video_id"] for e in engine.inspect(sources[:2])["exports"]))

    def prepared(name, **config):
        out = tmp_path / name
        options = {"ratios": (0.4, 0.3, 0.3), "split": "temporal"} | config
        engine.prepare(sources, str(out), Config(**options))
        split = json.loads((out / "split.json").read_text())
        report = json.loads((out / "report/validation.json").read_text())
        notes = [f for f in report["findings"] if f["code"] == "split_leakage"]
        where = [set(split["assignment"][video]) for video in copies]
        return where, split["certificate"]["near_duplicates"], notes

    where, pairs, notes = prepared("grouped", group_by="content")
    assert where[0] == where[1]
    assert len(where[0]) == 1
    assert (pairs["near_pairs"], notes) == (0, [])

    together = [prepared(f"seed-{seed}", seed=seed) for seed in range(6)]
    apart = [found for found in together if found[0][0] != found[0][1]]
    assert apart, "some seed divides the copies"
    for _, pairs, notes in apart:
        assert pairs["near_pairs"] > 0
        (note,) = notes
        assert note["severity"] == "note"
        assert all(video in str(note["examples"]) for video in copies)
    prepared("by-frame", split="random")
    issues = (tmp_path / "by-frame/report/issues.jsonl").read_text().splitlines()
    assert any(all(video in line for video in copies) for line in issues if "split_leakage" in line)
