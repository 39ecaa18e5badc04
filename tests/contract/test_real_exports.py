"""Two exports that the real exporter wrote, and what a right reader makes of them.

They are not part of this project; where they do not lie beside it, nothing is tested.
"""

import base64
import json
import re
import zipfile
from io import BytesIO
from pathlib import Path

import datasets
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from pycocotools import mask as coco

from jobs.cli import main

EXPORTS = Path(__file__).resolve().parents[2].parent / "shared" / "exports"
KETTLE = EXPORTS / "kettle_48_frames.zip"
NO_OBJECTS = EXPORTS / "no_objects_17_frames.zip"
PAINT = (0, 255, 0)  # of the first object's contour

if not EXPORTS.is_dir():
    pytest.skip("the real exports do not lie beside the project", allow_module_level=True)


def prepared(source, out):
    result = CliRunner().invoke(main, ["prepare", str(source), "--out", str(out)])
    assert isinstance(result.exception, SystemExit | None)
    return result


@pytest.fixture(scope="module")
def kettle(tmp_path_factory):
    out = tmp_path_factory.mktemp("kettle") / "out"
    result = prepared(KETTLE, out)
    assert result.exit_code == 0, result.stderr
    return out


@pytest.fixture(scope="module")
def rows(kettle):
    """All rows by frame index; masks decoded, images as arrays."""
    found = {}
    for split in datasets.load_from_disk(str(kettle / "hf")).values():
        for row in split:
            masks = [coco.decode(rle) for rle in row["masks"]]
            found[row["frame_index"]] = row | {
                "masks": masks, "image": np.asarray(row["image"]),
            }  # fmt: skip
    return found


@pytest.fixture(scope="module")
def records():
    """The export's own frame records by index."""
    with zipfile.ZipFile(KETTLE) as archive:
        name = next(n for n in archive.namelist() if n.endswith("annotations.json"))
        document = json.loads(archive.read(name))
    return {record["frame_index"]: record for record in document["annotations"]}


def boundary(mask):
    """Pixels of the mask with a 4-neighbour outside of it; the frame's edge is no boundary."""
    padded = np.pad(mask.astype(bool), 1, mode="edge")
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask.astype(bool) & ~inside


def painted(pairs):
    """Share of all boundary pixels that have exactly the contour's colour."""
    of_boundary = [(image == PAINT).all(axis=2)[boundary(mask)] for image, mask in pairs]
    return np.concatenate(of_boundary).mean()


def stretched(text, order):
    """Read runs on the square grid, and stretch it to the frame by nearest neighbour."""
    runs = np.array(text.split(), dtype=np.int64)
    side = int(np.sqrt(runs.sum()))
    assert side * side == runs.sum()
    cells = np.repeat(np.arange(len(runs)) % 2, runs).reshape((side, side), order=order)
    return cells[(np.arange(720) * side // 720)[:, None], np.arange(1280) * side // 1280]


def test_every_frame_is_a_sample(kettle, rows, records):
    summary = json.loads((kettle / "summary.json").read_text())
    assert summary["total_samples"] == len(rows) == 48
    assert summary["class_counts"] == {"object_0": 48}
    assert rows.keys() == records.keys()
    assert all(row["labels"] == ["object_0"] for row in rows.values())


def test_grid_and_order_are_found_by_evidence(kettle):
    report = json.loads((kettle / "report" / "validation.json").read_text())
    (export,) = report["exports"]
    dialect = export["dialect"]
    assert dialect["grid"] == [256, 256]
    assert (dialect["order"], dialect["order_by"]) == ("row", "paint")
    assert dialect["evidence"]["paint_row"] > 0.9
    assert dialect["evidence"]["paint_column"] < 0.05


def test_masks_are_in_image_pixels_and_lie_on_the_paint(rows):
    for row in rows.values():
        (mask,) = row["masks"]
        assert mask.shape == row["image"].shape[:2] == (row["height"], row["width"]) == (720, 1280)
        assert row["areas"] == [int(mask.sum())]
        assert painted([(row["image"], mask)]) >= 0.8, row["id"]
    assert painted([(row["image"], row["masks"][0]) for row in rows.values()]) >= 0.9


def test_masks_are_the_runs_read_by_row_and_stretched(rows, records):
    for index, row in rows.items():
        (written,) = records[index]["objects"]
        np.testing.assert_array_equal(row["masks"][0], stretched(written["mask_rle"], "C"))


def test_read_by_column_they_would_miss_the_paint(rows, records):
    pairs = [
        (row["image"], stretched(records[index]["objects"][0]["mask_rle"], "F"))
        for index, row in rows.items()
    ]
    assert painted(pairs) < 0.05


def test_boxes_enclose_their_masks(rows):
    for row in rows.values():
        ys, xs = np.nonzero(row["masks"][0])
        x, y, width, height = row["bounding_boxes"][0]
        assert (x, y, x + width - 1, y + height - 1) == (xs.min(), ys.min(), xs.max(), ys.max())


def test_images_are_the_export_s_own_bytes(kettle):
    with zipfile.ZipFile(KETTLE) as archive:
        images = {archive.read(n) for n in archive.namelist() if n.endswith(".png")}
    dataset = datasets.load_from_disk(str(kettle / "hf"))
    found = [
        row["bytes"]
        for split in dataset.values()
        for row in split.cast_column("image", datasets.Image(decode=False))["image"]
    ]
    assert len(found) == 48
    assert set(found) == images
    assert Image.open(BytesIO(found[0])).size == (1280, 720)


def test_status_and_findings(kettle):
    report = json.loads((kettle / "report" / "validation.json").read_text())
    assert report["status"] == "PASSED_WITH_WARNINGS"
    findings = {finding["code"]: finding for finding in report["findings"]}
    notes = {code for code, finding in findings.items() if finding["severity"] == "note"}
    assert findings.keys() - notes == {"overlay_burned_in", "label_placeholder"}
    assert notes == {"split_leakage"}
    assert {finding["severity"] for finding in findings.values()} == {"warning", "note"}
    assert "--frames" in findings["overlay_burned_in"]["recommendation"]
    assert not (kettle / "quarantine").exists()


def test_the_page_shows_the_paint_the_order_and_the_split(kettle, rows):
    html = (kettle / "report" / "report.html").read_text(encoding="utf-8")
    (paint,) = re.findall(r'<article class="finding warning"[^>]*"overlay_burned_in".*?</article>',
                          html, re.DOTALL)  # fmt: skip
    pictures = [
        np.asarray(Image.open(BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)
        for data in re.findall(r'src="data:image/webp;base64,([^"]+)"', paint)
    ]
    bare, outlined = pictures
    frame = int(re.search(r'#?"p-overlay_burned_in-0".*?<bdi>(\d+)</bdi>', paint, re.DOTALL)[1])
    image = Image.fromarray(rows[frame]["image"]).resize(bare.shape[1::-1])
    assert abs(np.asarray(image).astype(int) - bare).mean() < 6
    (mask,) = (
        Image.fromarray(255 * each).resize(bare.shape[1::-1]) for each in rows[frame]["masks"]
    )
    changed = abs(outlined - bare).sum(axis=-1) > 60
    assert changed[np.asarray(mask) > 200].mean() > 0.6
    assert changed[np.asarray(mask) < 20].mean() < 0.05
    assert re.search(r"row-major: 9\d\.\d % of the mask boundary is in the overlay", html)
    (splits,) = re.findall(r'<table class="splits".*?</table>', html, re.DOTALL)
    assert re.findall(r'<th scope="row">(\w+)</th>', splits) == ["Train", "Validation", "Test"]


def test_an_export_without_objects_fails(tmp_path):
    out = tmp_path / "out"
    result = prepared(NO_OBJECTS, out)
    assert (result.exit_code, result.stderr) == (1, "")
    assert "17 frames (100.0%) have no annotations" in result.stdout
    report = json.loads((out / "report" / "validation.json").read_text())
    assert report["status"] == "FAILED"
    (finding,) = report["findings"]
    assert finding["code"] == "missing_annotations"
    assert finding["message"] == "17 frames (100.0%) have no annotations"
    with zipfile.ZipFile(NO_OBJECTS) as archive:
        document = json.loads(archive.read("annotations.json"))
    indices = [record["frame_index"] for record in document["annotations"]]
    (export,) = report["exports"]
    assert len(indices) == 17
    assert finding["frames"] == [f"{export['video_id']}/{index:06d}" for index in indices]
    assert sorted(path.name for path in out.iterdir()) == ["report", "summary.json"]


def test_validate_says_the_same(tmp_path):
    result = CliRunner().invoke(main, ["validate", str(NO_OBJECTS)])
    assert (result.exit_code, result.stderr) == (1, "")
    assert "error missing_annotations: 17 frames (100.0%) have no annotations" in result.stdout
