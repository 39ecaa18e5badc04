"""SA-V files from disk to dataset: masks, ids and labels are those the builder drew.

The masks are written by pycocotools and read back from the dataset by pycocotools; the truth is the
builder's dense arrays.
"""

import json
import shutil
import zipfile

import datasets
import numpy as np
import pytest
from click.testing import CliRunner
from pycocotools import mask as coco

import engine
from engine import Config, Execution
from engine.errors import ExportError, UsageError
from engine.sample_export import write_sample_export
from jobs.cli import main

HERE = Execution(runner="local", frames_per_range=4)
SAV = {"dialect": "sav", "frames": 10, "width": 96, "height": 64, "as_folder": True}
IDS = (7, 3)


def write(folder, **keywords):
    """Write a video into a folder that may hold others; its truth."""
    return write_sample_export(folder, **(SAV | {"filename": "sav_000001", "seed": 1} | keywords))


def zipped(folder):
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder.parent))
    return str(path)


def validate(*sources, **config):
    return engine.validate([str(s) for s in sources], None, Config(**config), HERE)


def findings(document):
    return {finding["code"]: finding["count"] for finding in document["findings"]}


def prepared(sources, out, **config):
    """The dataset's rows by id, with the images' bytes."""
    summary = engine.prepare([str(s) for s in sources], str(out), Config(**config), HERE)
    loaded = datasets.load_from_disk(str(out / "hf"))
    rows = {}
    for part in loaded.values():
        for row in part.cast_column("image", datasets.Image(decode=False)):
            rows[row["id"]] = row
    assert len(rows) == summary["total_samples"]
    return rows


def check(rows, truth, folder, ids=(0, 1), *, label=None, number=lambda index: index):
    """Hold every row of one video against what was drawn."""
    by_index = {row["frame_index"]: row for row in rows}
    assert sorted(by_index) == [frame.frame_index for frame in truth.frames]
    for frame in truth.frames:
        row = by_index[frame.frame_index]
        seen = [item for item in frame.objects if item.visible]
        assert row["object_ids"] == [ids[item.object_id] for item in seen]
        assert row["labels"] == [label or f"object_{ids[item.object_id]}" for item in seen]
        assert [tuple(box) for box in row["bounding_boxes"]] == [item.bbox for item in seen]
        for rle, item in zip(row["masks"], seen, strict=True):
            assert np.array_equal(coco.decode(rle).astype(bool), item.mask)
        image = folder / truth.filename / f"{number(frame.frame_index):05d}.jpg"
        assert row["image"]["bytes"] == image.read_bytes()
        assert row["timestamp_sec"] is None


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("keywords", [{}, {"annotations_first": True}, {"sav_every_image": True}])
def test_a_video_comes_through_as_it_was_drawn(tmp_path, packed, keywords):
    hidden = {2: (1,), 5: (0, 1)}
    truth = write(tmp_path / "sav", sav_ids=IDS, hidden=hidden, **keywords)
    source = zipped(tmp_path / "sav") if packed else tmp_path / "sav"
    rows = prepared([source], tmp_path / "out")
    check(rows.values(), truth, tmp_path / "sav", IDS)
    report = json.loads((tmp_path / "out/report/validation.json").read_text())
    expected = {
        "object_hidden": 3, "frame_all_hidden": 1, "label_placeholder": 2, "split_leakage": 1
    }  # fmt: skip
    if "sav_every_image" in keywords:
        expected["images_between_frames"] = 1
        note = next(f for f in report["findings"] if f["code"] == "images_between_frames")
        assert note["severity"] == "note"
        assert note["examples"][0].endswith("30 images are not used")
    assert findings(report) == expected
    assert report["status"] == "PASSED_WITH_WARNINGS"
    (export,) = report["exports"]
    assert export["dialect"]["order_by"] == "size"
    assert export["video"]["filename"] == "sav_000001"
    assert export["video_id"].startswith("sav_000001-")


def test_inspect_calls_a_note_a_note(tmp_path):
    write(tmp_path / "sav", sav_every_image=True)
    result = CliRunner().invoke(main, ["inspect", str(tmp_path / "sav")])
    found = [line.split(None, 1) for line in result.stdout.splitlines() if "_between_" in line]
    assert [(severity, text.partition(":")[0]) for severity, text in found] == [
        ("note", "images_between_frames")
    ]


def test_a_zip_and_its_folder_are_the_same_input(tmp_path):
    write(tmp_path / "sav")
    archive = zipped(tmp_path / "sav")
    digests = []
    for place, source in enumerate([archive, str(tmp_path / "sav")]):
        summary = engine.prepare([source], str(tmp_path / f"out{place}"), Config(), HERE)
        digests.append(summary["inputs"][0]["content_digest"])
        again = engine.prepare([source], str(tmp_path / f"out{place}"), Config(), HERE)
        assert again["nothing_to_do"]
    assert digests[0] == digests[1]
    assert validate(archive, tmp_path / "sav")["frames"] == 10


def test_null_is_an_object_that_is_not_visible(tmp_path):
    truth = write(tmp_path / "sav", hidden={2: (1,), 5: (0, 1)}, sav_null_hidden=True)
    check(prepared([tmp_path / "sav"], tmp_path / "out").values(), truth, tmp_path / "sav")
    found = findings(validate(tmp_path / "sav"))
    assert found == {"object_hidden": 3, "frame_all_hidden": 1, "label_placeholder": 2}


@pytest.mark.parametrize("packed", [False, True])
def test_several_videos_in_one_place(tmp_path, packed):
    sav = tmp_path / "sav"
    truths = [
        write(sav, filename=f"sav_00000{n}", seed=n, frames=4 + n, sav_ids=(n, n + 10))
        for n in (1, 2, 3)
    ]
    source = zipped(sav) if packed else sav
    rows = prepared([source], tmp_path / "out", label="thing")
    assert len({row["video_id"] for row in rows.values()}) == 3
    for n, truth in zip((1, 2, 3), truths, strict=True):
        own = [row for row in rows.values() if row["video_id"].startswith(f"{truth.filename}-")]
        check(own, truth, sav, (n, n + 10), label="thing")
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["class_counts"] == {"thing": 36}
    names = sorted(entry["source"] for entry in summary["inputs"])
    assert names == [f"sav_00000{n}_manual.json" for n in (1, 2, 3)]
    one = f"{source}/sav/sav_000002_manual.json" if packed else f"{sav}/sav_000002_manual.json"
    assert validate(one)["frames"] == 6
    assert validate(source, video_ids={one: "second"})["exports"][-1]["video_id"] == "second"


@pytest.mark.parametrize("packed", [False, True])
def test_manual_and_automatic_masklets_of_one_video_are_refused(tmp_path, packed):
    sav = tmp_path / "sav"
    write(sav)
    write(sav, sav_kind="auto", labels=("a", "b", "c"))
    source = zipped(sav) if packed else str(sav)
    with pytest.raises(UsageError, match=r"is of the same video as .*sav_000001_auto\.json"):
        validate(source)
    inner = "sav/" if packed else ""
    assert validate(f"{source}/{inner}sav_000001_auto.json")["objects"] == 30
    assert validate(f"{source}/{inner}*_manual.json")["objects"] == 20


def test_one_label_for_all(tmp_path):
    write(tmp_path / "sav")
    assert findings(validate(tmp_path / "sav")) == {"label_placeholder": 2}
    document = validate(tmp_path / "sav", label="théière")
    assert (document["status"], document["findings"]) == ("PASSED", [])
    assert document["class_counts"] == {"théière": 20}


def test_a_video_without_frames_says_what_to_do(tmp_path):
    write(tmp_path / "sav", frames_without_image=range(10))
    (tmp_path / "sav" / "sav_000001.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    document = validate(tmp_path / "sav", label="thing")
    (finding,) = document["findings"]
    assert (finding["code"], finding["count"], document["status"]) == (
        "image_missing",
        10,
        "FAILED",
    )
    assert "ffmpeg" in finding["recommendation"]
    assert "--frames" in finding["recommendation"]


def test_frames_that_lie_elsewhere(tmp_path):
    truth = write(tmp_path / "sav", sav_every_image=True)
    (tmp_path / "frames").mkdir()
    shutil.move(tmp_path / "sav/sav_000001", tmp_path / "frames/sav_000001")
    rows = prepared([tmp_path / "sav"], tmp_path / "out", frames=str(tmp_path / "frames"))
    check(rows.values(), truth, tmp_path / "frames")


def test_missing_frames_are_named_by_their_index(tmp_path):
    write(tmp_path / "sav", frames_without_image=[2, 5])
    document = validate(tmp_path / "sav", label="thing")
    assert findings(document) == {"image_missing": 2}
    video_id = document["exports"][0]["video_id"]
    assert document["findings"][0]["frames"] == [f"{video_id}/000008", f"{video_id}/000020"]


def test_an_image_on_a_4th_frame_without_an_entry_is_an_orphan(tmp_path):
    write(tmp_path / "sav", orphan_images=1, total_frames=40)
    document = validate(tmp_path / "sav", label="thing")
    assert findings(document) == {"missing_annotations": 1}
    assert document["frames"] == 11


@pytest.mark.parametrize(
    "number", [lambda i: i // 4, lambda i: i // 4 + 1, lambda i: i + 1], ids=["from 0", "1", "4i+1"]
)
def test_images_numbered_one_after_the_other(tmp_path, number):
    numbers = [number(4 * position) for position in range(10)]
    truth = write(tmp_path / "sav", image_numbers=numbers)
    rows = prepared([tmp_path / "sav"], tmp_path / "out", label="thing")
    check(rows.values(), truth, tmp_path / "sav", label="thing", number=number)
    assert findings(validate(tmp_path / "sav", label="thing")) == {"images_paired_by_position": 1}


def test_a_whole_video_numbered_from_1(tmp_path):
    truth = write(tmp_path / "sav", sav_every_image=True)
    frames = tmp_path / "sav/sav_000001"
    for image in sorted(frames.iterdir(), reverse=True):
        image.rename(frames / f"{int(image.stem) + 1:05d}.jpg")
    rows = prepared([tmp_path / "sav"], tmp_path / "out")
    check(rows.values(), truth, tmp_path / "sav", number=lambda index: index + 1)


def edit(folder, change):
    path = folder / "sav_000001_manual.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: d["masklet"][2].pop(), {"frame_malformed": 1}),
        (lambda d: d["masklet"].__setitem__(2, None), {"frame_malformed": 1}),
        (lambda d: d["masklet"].__setitem__(2, {"0": 1}), {"frame_malformed": 1}),
        (lambda d: d["masklet"][2].__setitem__(0, 5), {"mask_malformed": 1}),
        (lambda d: d["masklet"][2][0].update(counts="~~"), {"mask_malformed": 1}),
        (lambda d: d["masklet"][2][0].update(size=[96, 64]), {"mask_size_mismatch": 1}),
        (lambda d: [d.pop("masklet_id"), [f.clear() for f in d["masklet"][2:3]]],
         {"missing_annotations": 1}),
        (lambda d: d.pop("masklet_id"), {}),
        (lambda d: d.update(video_height=63.0),
         {"image_size_mismatch": 10}),
    ],
)  # fmt: skip
def test_a_defect_costs_its_frame_only(tmp_path, change, expected):
    write(tmp_path / "sav")
    edit(tmp_path / "sav", change)
    assert findings(validate(tmp_path / "sav", label="thing")) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(masklet_id=[0, 0]), "masklet_id: does not name the objects"),
        (lambda d: d.update(video_frame_count=400.0), "10 entries for 400 frames"),
        (lambda d: d.update(video_width=0.5), "video.width: is no size"),
        (lambda d: d.update(masklet={}), "`masklet` is not a list"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused(tmp_path, change, message):
    write(tmp_path / "sav")
    edit(tmp_path / "sav", change)
    with pytest.raises(ExportError, match=message):
        validate(tmp_path / "sav")


def test_the_command_line_shows_and_labels_it(tmp_path):
    write(tmp_path / "sav", sav_kind="auto")
    source = str(tmp_path / "sav")
    shown = CliRunner().invoke(main, ["inspect", source]).output
    assert "sav_000001_auto.json" in shown
    assert "masklets    SA-V, auto, every 4th frame of the video" in shown
    assert "10 records, 10 images, 40 frames declared" in shown
    done = CliRunner().invoke(main, ["validate", source, "--json", "--label", "cup"])
    assert json.loads(done.stdout)["class_counts"] == {"cup": 20}
    out = str(tmp_path / "out")
    done = CliRunner().invoke(main, ["prepare", source, "--out", out, "--json", "--label", "cup"])
    assert json.loads(done.stdout)["classes"] == ["cup"]
    assert CliRunner().invoke(main, ["validate", source, "--label", " "]).exit_code == 2
