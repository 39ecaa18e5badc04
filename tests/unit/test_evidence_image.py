"""The picture of both readings: its lines are where pycocotools says the outline is."""

import io

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

import engine
from engine import Config
from engine.dialect import SampleFrame, SampleMask
from engine.evidence_image import draw_evidence, small_evidence, telling_frame
from engine.masks import from_dense
from engine.sample_export import write_sample_export
from engine.survey import OpenTask, open_source

GREY = (120, 120, 120)


def frame(mask, order, size=(64, 96), index=0):
    counts = from_dense(mask, order)
    pixels = np.full((*size, 3), GREY, np.uint8)
    return SampleFrame(
        frame_index=index, pixels=pixels, masks=(SampleMask(counts=counts, position=0),)
    )


def panels(data, size):
    """The two panels of a picture, without titles and captions."""
    picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    width = (picture.shape[1] - 8) // 2
    assert width == size[1]
    top = 33
    area = picture[top : top + size[0]]
    return area[:, :width], area[:, width + 8 :]


def blob(shape):
    mask = np.zeros(shape, bool)
    mask[10:40, 20:30] = True
    mask[30:50, 25:70] = True
    return mask


def outline(mask):
    """Pixels of a mask with a neighbour that is none, by comparing shifted copies."""
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[2:, 1:-1] & padded[:-2, 1:-1] & padded[1:-1, 2:] & padded[1:-1, :-2]
    return mask & ~inner


@pytest.mark.parametrize("order", ["row", "column"])
def test_the_lines_lie_on_each_readings_outline(order):
    shape = (64, 96)
    mask = blob(shape)
    sample = frame(mask, order, shape)
    found = panels(draw_evidence(sample, shape, order=order), shape)
    counts = [int(n) for n in sample.masks[0].counts]
    column = coco.decode(coco.frPyObjects({"size": list(shape), "counts": counts}, *shape))
    turned = coco.frPyObjects({"size": list(shape[::-1]), "counts": counts}, *shape[::-1])
    readings = coco.decode(turned).T.astype(bool), column.astype(bool)  # row, column
    assert np.array_equal(readings[order == "column"], mask)
    for panel, reading in zip(found, readings, strict=True):
        white = (panel == 255).all(axis=2)
        assert white.any()
        assert not (white & ~outline(reading)).any()
        assert white.sum() >= 0.3 * outline(reading).sum()  # dashes: about one half
        assert ((panel == GREY).all(axis=2)[~outline(reading)]).mean() > 0.7


def test_what_lies_beneath_shows_between_the_dashes():
    shape = (64, 96)
    mask = blob(shape)
    sample = frame(mask, "row", shape)
    sample.pixels[outline(mask)] = (0, 255, 0)
    row, _ = panels(draw_evidence(sample, shape, order="row"), shape)
    paint = (row == (0, 255, 0)).all(axis=2)
    assert 0.3 * outline(mask).sum() <= paint.sum() <= 0.7 * outline(mask).sum()


def test_a_large_frame_is_brought_down_and_a_grid_is_stretched():
    mask = blob((64, 64))
    sample = frame(mask, "row", (1080, 1920))
    data = draw_evidence(sample, (64, 64), order="row", captions=["one", "two"])
    assert Image.open(io.BytesIO(data)).size == (2 * 720 + 8, 33 + 405 + 2 * 21 + 12)


def test_the_same_input_gives_the_same_bytes():
    sample = frame(blob((64, 96)), "row")
    assert draw_evidence(sample, (64, 96), order="row", captions=["x"]) == draw_evidence(
        sample, (64, 96), order="row", captions=["x"]
    )
    assert small_evidence(sample, (64, 96), order="row") == small_evidence(
        sample, (64, 96), order="row"
    )


def test_captions_take_any_text():
    sample = frame(blob((64, 96)), "row")
    draw_evidence(sample, (64, 96), order="row", captions=["\u202e犬 \x00\n <b>", "", "x" * 10_000])


def test_the_small_one_fits_or_is_none():
    noise = np.random.default_rng(1).integers(0, 256, (720, 1280, 3)).astype(np.uint8)
    mask = SampleMask(counts=from_dense(blob((64, 64)), "row"), position=0)
    sample = SampleFrame(frame_index=0, pixels=noise, masks=(mask,))
    small = small_evidence(sample, (64, 64), order="row")
    assert len(small) <= 40 * 1024
    assert Image.open(io.BytesIO(small)).format == "JPEG"
    assert small_evidence(sample, (64, 64), order="row", most_bytes=1000) is None


def test_the_frame_with_most_to_see_is_drawn():
    little, much = np.zeros((2, 64, 96), bool)
    little[5:8, 5:8] = True
    much[5:40, 5:40] = True
    full, empty = np.ones((64, 96), bool), np.zeros((64, 96), bool)
    masks = [little, much, full, empty, much]
    frames = [frame(each, "row", index=i) for i, each in enumerate(masks)]
    assert telling_frame(frames, (64, 96)).frame_index == 1
    assert telling_frame(frames[::-1], (64, 96)).frame_index == 1
    assert telling_frame([frames[2], frames[3]], (64, 96)) is None
    assert telling_frame([], (64, 96)) is None


def test_inspect_leaves_one_picture_a_video(tmp_path):
    paths = []
    for name in ("a", "b"):
        place = tmp_path / name
        place.mkdir()
        truth = write_sample_export(place / "a.zip", frames=6, width=320, height=180, paint=True)
        paths.append(str(truth.path))
    bare = write_sample_export(
        tmp_path / "c.zip", frames=3, width=32, height=32, dialect="coco",
        frames_without_objects=range(3),
    )  # fmt: skip
    folder = tmp_path / "drawn"
    document = engine.inspect([*paths, str(bare.path)], None, str(folder))
    names = [entry["drawing"] for entry in document["exports"]]
    video_id = document["exports"][0]["video_id"]
    assert names == [f"{video_id}.png", f"{video_id}-2.png", None]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names[:2])
    picture = Image.open(folder / names[0])
    assert picture.format == "PNG"
    assert picture.size[0] == 2 * 320 + 8
    assert "drawing" not in engine.inspect(paths)["exports"][0]


@pytest.mark.parametrize(("draw", "kind"), [("none", None), ("small", "JPEG"), ("full", "PNG")])
def test_the_open_stage_draws_as_it_is_asked(tmp_path, draw, kind):
    truth = write_sample_export(tmp_path / "a.zip", frames=6, width=320, height=180, paint=True)
    task = OpenTask.of(str(truth.path), str(tmp_path / "staging"), Config(), 1, draw=draw)
    (opened,) = open_source(task)
    if kind is None:
        assert opened.evidence_image is None
    else:
        assert Image.open(io.BytesIO(opened.evidence_image)).format == kind
