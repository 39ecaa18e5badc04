"""The sample export, read back with zipfile, json, PIL and pycocotools alone."""

import hashlib
import io
import itertools
import json
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco

from engine.errors import UsageError
from engine.sample_export import demo_exports, write_sample_export
from engine.sample_scene import PAINT_PALETTE, Scene, paint_masks
from engine.sample_spec import SampleSpec, cast_of

SMALL = {"frames": 6, "width": 96, "height": 64}
CELLS = 256 * 256


class Export:
    """A written export as plain data."""

    def __init__(self, path: Path, **keywords) -> None:
        self.truth = write_sample_export(path, **keywords)
        self.path = self.truth.path
        with zipfile.ZipFile(self.path) as archive:
            self.infos = archive.infolist()
            self.names = archive.namelist()
            self.raw = {}
            for name in self.names:
                try:
                    self.raw[name] = archive.read(name)
                except zipfile.BadZipFile as error:
                    self.raw[name] = error
        folder = next(n for n in self.names if n.endswith("annotations.json"))[:-16]
        self.json = json.loads(self.raw[folder + "annotations.json"])
        meta = self.raw.get(folder + "metadata.json")
        self.metadata = json.loads(meta) if meta else None

    @property
    def frames(self):
        return self.json["annotations"]

    def image(self, name: str) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.raw[name])).convert("RGB"))


@pytest.fixture
def export(tmp_path):
    def make(**keywords):
        return Export(tmp_path / "e.zip", **{**SMALL, **keywords})

    return make


def dense(text: str, height: int, width: int, order: str) -> np.ndarray:
    """Decimal runs, by numpy's own repeat."""
    runs = np.array([int(run) for run in text.split(" ")])
    flat = np.repeat(np.arange(runs.size) % 2 == 1, runs)
    return flat.reshape(height, width, order=order)


def nearest(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    """One pixel at a time, as the exporter's rule is written down."""
    rows, columns = grid.shape
    out = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            out[y, x] = grid[int(y * rows / height), int(x * columns / width)]
    return out


def box_of(mask: np.ndarray) -> list[int]:
    y, x = np.nonzero(mask)
    if not y.size:
        return [0, 0, 0, 0]
    return [x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1]


def boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels of the mask with a 4-neighbour outside; beyond the picture is outside."""
    room = np.pad(mask, 1)
    core = room[:-2, 1:-1] & room[2:, 1:-1] & room[1:-1, :-2] & room[1:-1, 2:]
    return mask & ~core


def pairs(export: Export):
    """(record, truth) of every object, in order."""
    assert len(export.frames) == len(export.truth.frames)
    for frame, truth in zip(export.frames, export.truth.frames, strict=True):
        assert frame["frame_index"] == truth.frame_index
        yield from zip(frame["objects"], truth.objects, strict=True)


def share_in_paint(image: np.ndarray, mask: np.ndarray, colour: tuple[int, ...]) -> float:
    return float((image[boundary(mask)] == colour).all(axis=1).mean())


# The dialect of the real exporter.


@pytest.mark.parametrize("seed", range(6))
def test_real_masks_are_row_major_on_the_grid(export, seed):
    made = export(seed=seed, objects_per_frame=1 + seed % 4)
    for record, truth in pairs(made):
        by_row = dense(record["mask_rle"], 256, 256, "C")
        by_column = dense(record["mask_rle"], 256, 256, "F")
        assert np.array_equal(nearest(by_row, 64, 96), truth.mask)
        transposed = nearest(by_column, 64, 96)
        union = (transposed | truth.mask).sum()
        assert (transposed & truth.mask).sum() / union < 0.75
        # Box and area: what a reader of column-major runs computes.
        assert record["bbox"] == box_of(by_column) != box_of(by_row)
        assert record["area"] == by_row.sum()


def test_truth_is_in_image_pixels(export):
    made = export(hidden={2: [1]})
    seen = []
    for _, truth in pairs(made):
        assert truth.mask.dtype == bool
        assert truth.mask.shape == (64, 96)
        assert list(truth.bbox) == box_of(truth.mask)
        assert truth.area == truth.mask.sum()
        assert truth.visible == (truth.area > 0)
        seen.append((truth.object_id, truth.label, truth.visible))
    assert Counter(seen) == {(0, "person", True): 6, (1, "dog", True): 5, (1, "dog", False): 1}


def test_real_frames_are_painted(export):
    made = export(width=640, height=360, labels=("person", "dog", "car"), frames=3)
    straight, transposed = [], []
    for frame, truth in zip(made.frames, made.truth.frames, strict=True):
        image = made.image(truth.image)
        for place, (record, thing) in enumerate(zip(frame["objects"], truth.objects, strict=True)):
            wrong = nearest(dense(record["mask_rle"], 256, 256, "F"), 360, 640)
            straight.append(share_in_paint(image, thing.mask, PAINT_PALETTE[place]))
            transposed.append(share_in_paint(image, wrong, PAINT_PALETTE[place]))
    assert min(straight) > 0.9
    assert max(transposed) < 0.2


def test_paint_is_tint_contour_and_label(export):
    painted = export(width=640, height=360, frames=1, labels=("person",))
    clean = export(width=640, height=360, frames=1, labels=("person",), paint=False)
    (thing,) = clean.truth.frames[0].objects
    before = clean.image("images/frame_000000.png").astype(float)
    after = painted.image("images/frame_000000.png").astype(float)
    inside = thing.mask.copy()
    for _ in range(3):
        inside &= ~boundary(inside)
    tint = 0.7 * before[inside] + 0.3 * np.array(PAINT_PALETTE[0])
    assert np.abs(after[inside] - tint).max() <= 1
    # One pixel outside the mask belongs to the contour, the third does not.
    x, y, _, _ = thing.bbox
    top = int(np.flatnonzero(thing.mask[y])[0])
    assert (after[y - 1, top] == PAINT_PALETTE[0]).all()
    assert (after[y - 2, top] == before[y - 2, top]).all()
    changed = (after != before).any(axis=2)
    plate = changed[: y - 2]
    rows, columns = np.flatnonzero(plate.any(axis=1)), np.flatnonzero(plate.any(axis=0))
    assert columns[0] == x
    assert rows[-1] == y - 6
    label = after[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].reshape(-1, 3)
    assert {tuple(pixel) for pixel in label.tolist()} == {(0, 0, 0), (255, 255, 255)}


def test_contour_of_a_rectangle_at_the_border():
    mask = np.zeros((8, 9), bool)
    mask[2:6, 0:4] = True
    colour = PAINT_PALETTE[1]
    painted = paint_masks(np.zeros((8, 9, 3), np.uint8), [None, mask], ["a", "b"])
    contour = (painted == colour).all(axis=2)
    assert ["".join(".#"[int(c)] for c in row) for row in contour] == [
        ".........",
        "####.....",
        "#####....",
        "#####....",
        "#####....",
        "#####....",
        "####.....",
        ".........",
    ]


def test_colours_follow_the_order_of_objects_and_go_round():
    masks = [np.zeros((40, 200), bool) for _ in range(10)]
    for k, mask in enumerate(masks):
        mask[10:30, 20 * k + 4 : 20 * k + 14] = True
    painted = paint_masks(np.zeros((40, 200, 3), np.uint8), masks, ["x"] * 10)
    for k in range(10):
        assert tuple(painted[20, 20 * k + 4]) == PAINT_PALETTE[k % 8]


def test_real_document_is_the_real_exporters(export):
    made = export(seed=3)
    video, config = made.json["video"], made.json["export_config"]
    assert list(made.json) == ["video", "export_config", "annotations"]
    assert video == {
        "filename": made.truth.filename,
        "width": 96,
        "height": 64,
        "source_fps": 30.0,
        "total_frames": 36,
        "duration_sec": 1.2,
    }
    assert made.truth.filename.startswith("session_")
    assert made.truth.filename.endswith(".mp4")
    assert list(config) == [
        "target_fps",
        "total_exported_frames",
        "frame_indices",
        "export_timestamp",
        "exporter_version",
    ]
    assert config["frame_indices"] == [0, 6, 12, 18, 24, 30] == list(made.truth.frame_indices)
    assert (config["target_fps"], config["exporter_version"]) == (5.0, "1.0.0")
    assert [frame["timestamp_sec"] for frame in made.frames] == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert list(made.frames[0]) == ["frame_index", "timestamp_sec", "objects"]
    keys = ["object_id", "label", "mask_rle", "bbox", "area", "confidence"]
    assert all(list(record) == keys for record, _ in pairs(made))
    assert made.raw["annotations.json"].startswith(b'{\n  "video": {\n    "filename"')
    assert made.metadata["export_info"]["exporter"] == "SAM2 Demo Export Tool"
    assert made.metadata["export_info"]["format_version"] == "1.0"
    assert made.metadata["video"]["fps"] == 30.0
    assert "source_fps" not in made.metadata["video"]
    assert made.metadata["statistics"] == {
        "total_frames": 6,
        "total_objects": 12,
        "unique_objects": 2,
        "objects_per_frame": 2.0,
    }
    images = [f"images/frame_{index:06d}.png" for index in config["frame_indices"]]
    assert made.names == ["annotations.json", "metadata.json", *images]
    assert [frame.image for frame in made.truth.frames] == images


def test_real_hidden_objects_and_empty_frames(export):
    made = export(hidden={1: [0], 4: [0, 1]}, frames_without_objects=[2])
    first = made.frames[1]["objects"][0]
    assert first["mask_rle"] == str(CELLS)
    assert (first["area"], first["bbox"]) == (0, [0, 0, 0, 0])
    assert made.frames[1]["objects"][1]["area"] > 0
    assert [o["mask_rle"] for o in made.frames[4]["objects"]] == [str(CELLS)] * 2
    assert made.frames[2]["objects"] == []
    assert "images/frame_000012.png" not in made.names
    assert made.truth.frames[2].image is None
    assert len(made.names) == 2 + 5


def test_unicode_labels_survive(export):
    made = export(labels=("théière", "犬"))
    assert {record["label"] for record, _ in pairs(made)} == {"théière", "犬"}
    assert made.raw["annotations.json"].isascii()


# The dialect of the specification.


@pytest.mark.parametrize("seed", range(5))
def test_coco_masks_decode_to_the_truth(export, seed):
    made = export(dialect="coco", seed=seed, objects_per_frame=1 + seed % 4)
    for record, truth in pairs(made):
        rle = record["mask_rle"]
        assert rle["size"] == [64, 96]
        assert np.array_equal(coco.decode(rle).astype(bool), truth.mask)
        assert record["bbox"] == coco.toBbox(rle).astype(int).tolist() == list(truth.bbox)
        assert record["area"] == int(coco.area(rle)) == truth.area


def test_coco_frames_are_clean_and_not_signed(export):
    made = export(dialect="coco", width=320, height=180)
    assert made.metadata["export_info"]["exporter"] != "SAM2 Demo Export Tool"
    for frame in made.truth.frames:
        image = made.image(frame.image)
        for place, thing in enumerate(frame.objects):
            assert share_in_paint(image, thing.mask, PAINT_PALETTE[place]) == 0.0
    empty = export(dialect="coco", frames_without_objects=[1])
    assert empty.truth.frames[1].image in empty.names


# One keyword, one change.


def test_paint_keyword(export):
    assert (
        export(paint=False).raw["images/frame_000000.png"]
        == (export(paint=False, order="column").raw["images/frame_000000.png"])
    )
    assert export(paint=True).raw["annotations.json"] == export(paint=False).raw["annotations.json"]
    made = export(dialect="coco", paint=True, width=320, height=180)
    frame = made.truth.frames[0]
    assert share_in_paint(made.image(frame.image), frame.objects[1].mask, (0, 0, 255)) > 0.9


def test_order_keyword(export):
    for record, truth in pairs(export(order="column")):
        mask = dense(record["mask_rle"], 256, 256, "F")
        assert np.array_equal(nearest(mask, 64, 96), truth.mask)
        assert record["bbox"] == box_of(mask)
    for record, truth in pairs(export(dialect="coco", order="row", notation="text")):
        assert np.array_equal(dense(record["mask_rle"], 64, 96, "C"), truth.mask)
        assert record["bbox"] == list(truth.bbox)


@pytest.mark.parametrize(("grid", "cells"), [(64, (64, 64)), (144, (144, 144)), (0, (64, 96))])
def test_grid_keyword(export, grid, cells):
    for record, truth in pairs(export(grid=grid)):
        assert np.array_equal(nearest(dense(record["mask_rle"], *cells, "C"), 64, 96), truth.mask)


@pytest.mark.parametrize("notation", ["text", "size+counts", "size+list", "list", "compressed"])
def test_notation_keyword(export, notation):
    for record, truth in pairs(export(dialect="coco", notation=notation)):
        value, size = record["mask_rle"], [64, 96]
        match notation:
            case "text":
                mask = dense(value, *size, "F")
            case "size+list":
                assert value["size"] == size
                mask = coco.decode(coco.frPyObjects(value, *size))
            case "list":
                mask = coco.decode(coco.frPyObjects({"size": size, "counts": value}, *size))
            case "compressed":
                mask = coco.decode({"size": size, "counts": value})
            case "size+counts":
                assert list(value) == ["size", "counts"]
                mask = coco.decode(value)
        assert np.array_equal(mask.astype(bool), truth.mask)


def test_key_keywords(export):
    made = export(mask_key="segmentation", label_key="category", annotations_key="frames")
    assert list(made.json) == ["video", "export_config", "frames"]
    record = made.json["frames"][0]["objects"][0]
    keys = ["object_id", "category", "segmentation", "bbox", "area", "confidence"]
    assert list(record) == keys
    made = export(annotations_first=True, fps_key="fps", indent=None)
    assert list(made.json) == ["annotations", "video", "export_config"]
    assert made.json["video"]["fps"] == 30.0
    assert "source_fps" not in made.json["video"]
    assert b"\n" not in made.raw["annotations.json"]
    made = export(omit_keys=("area", "bbox", "total_frames", "timestamp_sec"))
    assert "total_frames" not in made.json["video"]
    assert list(made.frames[0]) == ["frame_index", "objects"]
    assert list(made.frames[0]["objects"][0]) == ["object_id", "label", "mask_rle", "confidence"]


@pytest.mark.parametrize("key", ["image", "file_name", "image_path"])
def test_image_key_keyword(export, key):
    made = export(image_key=key, images_folder="data")
    prefix = "" if key == "image_path" else "data/"
    assert [prefix + frame[key] for frame in made.frames] == made.names[2:]


@pytest.mark.parametrize(
    ("keywords", "name"),
    [
        ({"images_folder": "frames"}, "frames/frame_000030.png"),
        ({"images_folder": ""}, "frame_000030.png"),
        ({"image_pattern": "%04d"}, "images/0030.png"),
        ({"image_pattern": "frame_%04d", "image_format": "jpeg"}, "images/frame_0030.jpeg"),
        ({"image_numbers": range(1001, 1007)}, "images/frame_001006.png"),
        ({"frame_step": 4}, "images/frame_000020.png"),
        ({"enclosing_folder": "export_7"}, "export_7/images/frame_000030.png"),
    ],
)
def test_file_name_keywords(export, keywords, name):
    made = export(**keywords)
    assert made.names[-1] == name
    assert made.image(name).shape == (64, 96, 3)


def test_video_keywords(export):
    made = export(filename="cat.mp4", total_frames=99, duration_sec=3.3004, exporter="Other 2")
    assert made.json["video"]["filename"] == made.metadata["video"]["filename"] == "cat.mp4"
    assert made.truth.filename == "cat.mp4"
    assert (made.json["video"]["total_frames"], made.json["video"]["duration_sec"]) == (99, 3.3)
    assert made.metadata["video"]["duration_sec"] == 3.3004
    assert made.metadata["export_info"]["exporter"] == "Other 2"
    assert export(metadata=False).metadata is None
    assert export(truth=False).truth.frames is None


def test_macosx_keyword(export):
    made = export(macosx=True, enclosing_folder="take")
    junk = [n for n in made.names if n.startswith("__MACOSX/")]
    real = [n for n in made.names if n.startswith("take/") and not n.endswith(".DS_Store")]
    assert "take/.DS_Store" in made.names
    assert "__MACOSX/take/._annotations.json" in junk
    assert "__MACOSX/take/images/._frame_000000.png" in junk
    assert len(junk) == len(real) == 8


def test_folder_holds_the_files_of_the_zip(export, tmp_path):
    made = export(enclosing_folder="in")
    truth = write_sample_export(tmp_path / "folder", as_folder=True, enclosing_folder="in", **SMALL)
    files = {
        path.relative_to(truth.path).as_posix(): path.read_bytes()
        for path in truth.path.rglob("*")
        if path.is_file()
    }
    assert files == made.raw


def test_compression_keyword(export):
    assert {info.compress_type for info in export().infos} == {zipfile.ZIP_DEFLATED}
    assert {info.compress_type for info in export(compression="store").infos} == {
        zipfile.ZIP_STORED
    }


def test_jpeg_keywords(export):
    made = export(image_format="jpg", width=640, height=360)
    assert made.raw["images/frame_000000.jpg"][:3] == b"\xff\xd8\xff"
    frame = made.truth.frames[0]
    image = made.image(frame.image).astype(int)
    near = np.abs(image[boundary(frame.objects[0].mask)] - PAINT_PALETTE[0]).max(axis=1) < 64
    assert near.mean() > 0.9
    aimed = export(image_format="jpg", image_bytes=60_000, width=640, height=360, frames=2)
    assert all(abs(len(aimed.raw[name]) - 60_000) < 9_000 for name in aimed.names[2:])


def test_class_counts_are_exact(export):
    wanted = {"person": 37, "car": 12, "dog": 5}
    made = export(frames=20, class_counts=wanted, width=32, height=24, dialect="coco")
    found = Counter(record["label"] for record, _ in pairs(made))
    assert found == wanted
    assert all(frame["objects"] for frame in made.frames)
    assert all(truth.visible and truth.area for _, truth in pairs(made))
    labels, _ = cast_of(SampleSpec(frames=20, class_counts={**wanted, "bus": 20}))
    assert labels == ["person", "person", "car", "dog", "bus"]
    spread = export(frames=20, class_counts={"a": 11, "b": 9}, width=32, height=24)
    assert [len(frame["objects"]) for frame in spread.frames] == [1] * 20


def test_objects_per_frame_keyword(export):
    made = export(objects_per_frame=5)
    labels = [record["label"] for record in made.frames[0]["objects"]]
    assert labels == ["person", "dog", "person", "dog", "person"]
    assert [record["object_id"] for record in made.frames[0]["objects"]] == [0, 1, 2, 3, 4]


def test_distinct_images_repeat_and_masks_stay_exact(export):
    made = export(frames=7, distinct_images=3, hidden={4: [0]})
    images = [hashlib.sha256(made.raw[name]).hexdigest() for name in made.names[2:]]
    assert images[0] == images[3] == images[6] != images[1]
    assert images[4] != images[1]  # an object is hidden there
    assert len(set(images)) == 4
    for record, truth in pairs(made):
        grid = dense(record["mask_rle"], 256, 256, "C")
        assert np.array_equal(nearest(grid, 64, 96), truth.mask)
        assert record["area"] == grid.sum()


# Defects: what is struck is broken in the one way, and nothing else changes.


def differing(one: Export, other: Export) -> set[str]:
    names = set(one.names) | set(other.names)
    return {n for n in names if repr(one.raw.get(n)) != repr(other.raw.get(n))}


def changed_records(one: Export, other: Export) -> dict[tuple[int, int], set[str]]:
    """(position, object) -> keys whose values differ."""
    changes = {}
    for p, (a, b) in enumerate(zip(one.frames, other.frames, strict=True)):
        for k, (x, y) in enumerate(zip(a["objects"], b["objects"], strict=True)):
            keys = {key for key in x if x[key] != y[key]}
            if keys:
                changes[p, k] = keys
    return changes


@pytest.mark.parametrize("dialect", ["real", "coco"])
@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"mask_sum_off_by": {3: -1}}, {(3, 0): {"mask_rle"}}),
        ({"mask_truncated": [2, 5]}, {(2, 0): {"mask_rle"}, (5, 0): {"mask_rle"}}),
        ({"mask_empty": [1]}, {(1, 0): {"mask_rle", "bbox", "area"}}),
        ({"area_off": {0: 5}}, {(0, 0): {"area"}}),
        ({"bbox_off": {4: 3}}, {(4, 0): {"bbox"}}),
    ],
)
def test_mask_defects_strike_one_record(export, dialect, keywords, expected):
    sound, struck = export(dialect=dialect), export(dialect=dialect, **keywords)
    assert changed_records(sound, struck) == expected
    assert differing(sound, struck) == {"annotations.json"}
    for (_, one), (_, other) in zip(pairs(sound), pairs(struck), strict=True):
        assert np.array_equal(one.mask, other.mask)


def test_mask_defects_are_what_they_are_called(export):
    def first(p, **keywords):
        return export(**keywords).frames[p]["objects"][0]

    def total(text):
        return sum(int(run) for run in text.split())

    assert total(first(3, mask_sum_off_by={3: 7})["mask_rle"]) == CELLS + 7
    sound = first(2)
    assert sound["mask_rle"].startswith(first(2, mask_truncated=[2])["mask_rle"])
    assert total(first(2, mask_truncated=[2])["mask_rle"]) < CELLS
    assert first(2, area_off={2: -4})["area"] == sound["area"] - 4
    x, y, width, height = sound["bbox"]
    assert first(2, bbox_off={2: 9})["bbox"] == [x + 9, y, width, height]
    empty = first(1, mask_empty=[1], dialect="coco")
    assert coco.area(empty["mask_rle"]) == empty["area"] == 0
    cut = first(1, mask_truncated=[1], dialect="coco")["mask_rle"]
    assert first(1, dialect="coco")["mask_rle"]["counts"].startswith(cut["counts"])
    listed = first(0, mask_sum_off_by={0: -2}, dialect="coco", notation="size+list")["mask_rle"]
    assert sum(listed["counts"]) == 64 * 96 - 2


def test_compressed_counts_carry_a_wrong_sum(export):
    """Decoded by hand, since pycocotools takes them for sound."""
    made = export(dialect="coco", mask_sum_off_by={0: -3})
    runs, value, shift = [], 0, 0
    for letter in made.frames[0]["objects"][0]["mask_rle"]["counts"].encode():
        bits = letter - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value, shift = 0, 0
    assert sum(runs) == 64 * 96 - 3


def test_size_swapped_keyword(export):
    sound, struck = export(dialect="coco"), export(dialect="coco", size_swapped=[2])
    assert [o["mask_rle"]["size"] for o in struck.frames[2]["objects"]] == [[96, 64]] * 2
    assert struck.frames[1] == sound.frames[1]
    for one, other in zip(sound.frames[2]["objects"], struck.frames[2]["objects"], strict=True):
        assert one["mask_rle"]["counts"] == other["mask_rle"]["counts"]


@pytest.mark.parametrize("image_format", ["png", "jpg"])
def test_image_defects_strike_one_file(export, image_format):
    def name(p):
        return f"images/frame_{6 * p:06d}.{image_format}"

    def make(**keywords):
        return export(image_format=image_format, **keywords)

    sound = make()
    cut = make(image_truncated=[1])
    assert differing(sound, cut) == {name(1)}
    assert sound.raw[name(1)].startswith(cut.raw[name(1)])
    with pytest.raises(OSError, match=r"truncated|broken|incomplete"):
        cut.image(name(1))
    void = make(image_zero_bytes=[0, 5])
    assert differing(sound, void) == {name(0), name(5)}
    assert void.raw[name(0)] == b""
    half = make(image_wrong_size=[2])
    assert differing(sound, half) == {name(2)}
    assert half.image(name(2)).shape == (32, 48, 3)
    black = make(black_frames=[3])
    assert differing(sound, black) == {name(3)}
    assert black.image(name(3)).max() == 0
    flipped = make(image_crc_flip=[4])
    assert differing(sound, flipped) == {name(4)}
    assert "CRC" in str(flipped.raw[name(4)])
    missing = make(frames_without_image=[2])
    assert differing(sound, missing) == {name(2)}
    assert missing.truth.frames[2].image is None


def test_crc_flip_changes_exactly_one_byte(export):
    made = export(image_crc_flip=[1], enclosing_folder="é")
    sound = export(enclosing_folder="é").raw["é/images/frame_000006.png"]
    info = next(i for i in made.infos if i.filename.endswith("_000006.png"))
    made = export(image_crc_flip=[1], enclosing_folder="é")
    stored = made.path.read_bytes()
    start = info.header_offset + 30 + len(info.filename.encode())
    data = stored[start : start + len(sound)]
    assert sum(a != b for a, b in zip(data, sound, strict=True)) == 1


def test_frames_not_exported_keyword(export):
    made = export(frames_not_exported=[1, 4])
    assert made.json["export_config"]["frame_indices"] == [0, 6, 12, 18, 24, 30]
    assert [frame["frame_index"] for frame in made.frames] == [0, 12, 18, 30]
    assert len(made.names) == 2 + 4
    assert [frame.frame_index for frame in made.truth.frames] == [0, 12, 18, 30]


def test_orphan_images_keyword(export):
    made = export(orphan_images=2)
    assert made.names[-2:] == ["images/frame_000036.png", "images/frame_000042.png"]
    assert len(made.frames) == 6
    assert made.image(made.names[-1]).shape == (64, 96, 3)
    assert made.json["video"]["total_frames"] == 48


def test_duplicate_frames_keyword(export):
    made = export(duplicate_frames=[3, 4])
    images = [made.raw[name] for name in made.names[2:]]
    assert images[2] == images[3] == images[4]
    assert len(set(images)) == 4
    assert made.frames[2]["objects"] == made.frames[3]["objects"]
    assert made.frames[4]["objects"] != made.frames[5]["objects"]


def test_keywords_that_change_the_first_objects_mask(export):
    plain = export()
    for keywords in ({"area_jump": {2: 3.0}}, {"centroid_jump": {2: 0.4}}, {"frozen_masks": [2]}):
        made = export(**keywords)
        assert [made.raw[n] for n in made.names[2:]] == [plain.raw[n] for n in plain.names[2:]]
        for place, (frame, before) in enumerate(zip(made.frames, plain.frames, strict=True)):
            assert (frame["objects"][0] != before["objects"][0]) == (place == 2)
            assert frame["objects"][1:] == before["objects"][1:]
    assert made.frames[2]["objects"][0] == plain.frames[1]["objects"][0]
    first = plain.frames[2]["objects"][0]
    grown = export(area_jump={2: 3.0}).frames[2]["objects"][0]
    assert 2.5 * first["area"] < grown["area"] < 3.5 * first["area"]
    moved = export(centroid_jump={2: 0.4}).frames[2]["objects"][0]
    assert moved["area"] == first["area"]


def test_keywords_of_tracks(export):
    plain = export()
    assert [len(f["objects"]) for f in export(flicker=[2]).frames] == [2, 2, 1, 2, 2, 2]
    labels = [f["objects"][0]["label"] for f in export(label_change={2: "cat"}).frames]
    assert labels == ["person", "person", "cat", "person", "person", "person"]
    late = [f["timestamp_sec"] for f in export(timestamp_off={2: 0.25}).frames]
    assert late == [0.0, 0.2, 0.65, 0.6, 0.8, 1.0]
    made = export(repeated_images=[2, 3])
    images, others = ([m.raw[name] for name in m.names[2:]] for m in (made, plain))
    assert images[1] == images[2] == images[3]
    assert [*images[:2], *images[4:]] == [*others[:2], *others[4:]]
    assert made.frames == plain.frames


@pytest.mark.parametrize(
    "keywords",
    [
        {"black_frames": [6]},
        {"area_jump": {6: 2.0}},
        {"area_off": {-1: 3}},
        {"hidden": {9: [0]}},
        {"image_bytes": 1000},
        {"image_numbers": [1, 2]},
    ],
)
def test_keywords_out_of_range_are_refused(export, keywords):
    with pytest.raises(UsageError, match=next(iter(keywords))):
        export(**keywords)


def test_unreachable_image_size_and_unknown_keyword_are_refused(export):
    with pytest.raises(UsageError, match="image_bytes"):
        export(image_format="jpg", image_bytes=5_000_000)
    with pytest.raises(TypeError, match="mask_hidden"):
        export(mask_hidden=[1])


# Bytes, seeds, scene, demo.


@pytest.mark.parametrize("dialect", ["real", "coco"])
def test_same_seed_same_bytes_other_seed_other_video(tmp_path, dialect):
    def digest(name, **keywords):
        truth = write_sample_export(tmp_path / name, dialect=dialect, **SMALL, **keywords)
        return hashlib.sha256(truth.path.read_bytes()).hexdigest(), truth.filename

    assert digest("a.zip", seed=4) == digest("b.zip", seed=4)
    assert digest("a.zip", seed=4)[0] != digest("a.zip", seed=5)[0]
    assert digest("a.zip", seed=4)[1] != digest("a.zip", seed=5)[1]


def test_bytes_do_not_depend_on_the_clock_or_the_system(export):
    for info in export(image_crc_flip=[1], macosx=True).infos:
        assert info.date_time == (2025, 11, 16, 7, 4, 4)
        assert (info.create_system, info.external_attr) == (3, 0o100644 << 16)


def test_frames_of_a_video_all_differ(export):
    made = export(frames=30, objects_per_frame=0, dialect="coco")
    assert len({made.raw[name] for name in made.names[2:]}) == 30


@settings(max_examples=60, deadline=None)
@given(
    objects=st.integers(1, 8),
    seed=st.integers(0, 10_000),
    moment=st.integers(0, 20_000),
    height=st.integers(24, 300),
    width=st.integers(32, 300),
)
def test_objects_keep_apart_and_away_from_the_corners(objects, seed, moment, height, width):
    scene = Scene(objects=objects, seed=seed)
    masks = [scene.mask(k, moment, height, width) for k in range(objects)]
    assert all(mask.any() for mask in masks)
    assert np.sum(masks, axis=0).max() == 1
    # A run list that ends in background, and begins with it, under either reading.
    assert not any(mask[0, 0] or mask[-1, -1] for mask in masks)


def test_objects_move_smoothly():
    scene = Scene(objects=2, seed=1)
    masks = [scene.mask(0, moment, 180, 320) for moment in range(60)]
    overlaps = [(a & b).sum() / (a | b).sum() for a, b in itertools.pairwise(masks)]
    assert min(overlaps) > 0.6
    assert (masks[0] & masks[30]).sum() / (masks[0] | masks[30]).sum() < 0.9


def test_demo_is_three_sound_videos(tmp_path):
    paths = demo_exports(tmp_path / "demo")
    assert len({path.name for path in paths}) == 3
    counts, names = Counter(), set()
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            document = json.loads(archive.read("annotations.json"))
            images = {n for n in archive.namelist() if n.startswith("images/")}
        names.add(document["video"]["filename"])
        assert (document["video"]["width"], document["video"]["height"]) == (640, 360)
        indices = [frame["frame_index"] for frame in document["annotations"]]
        assert indices == document["export_config"]["frame_indices"]
        assert images == {f"images/frame_{index:06d}.png" for index in indices}
        for frame in document["annotations"]:
            assert any(record["area"] for record in frame["objects"])
            for record in frame["objects"]:
                assert sum(int(run) for run in record["mask_rle"].split()) == CELLS
                counts[record["label"]] += record["area"] > 0
    assert len(names) == 3
    assert {"person", "dog", "car"} < set(counts)
    assert 2 < max(counts.values()) / min(counts.values()) < 9
