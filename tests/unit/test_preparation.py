"""From an export to a dataset and back: what the builder drew is what the dataset's readers read.

The oracle is the truth of the sample export (dense numpy masks, written without the engine's own
run-length code), `zipfile` for the images, and `datasets` and pycocotools as the dataset's readers.
"""

import dataclasses
import io
import json
import re
import shutil
import zipfile

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pycocotools import mask as coco

import engine
from engine import Config, Execution
from engine.arrivals import find_sources
from engine.errors import ExportError, OutputError, RunError, UsageError
from engine.sample_export import write_sample_export
from engine.shards import write_shard
from tests.digests import tree

HERE = Execution(runner="local")
SMALL = {"frames": 6, "width": 96, "height": 64}
CLEAN = SMALL | {"dialect": "coco"}
HIDDEN = {2: (1,), 4: (0, 1)}
SPLITS = ["train", "validation", "test"]


def prepare(sources, out, **config):
    return engine.prepare([str(s) for s in sources], str(out), Config(**config), HERE)


def validate(*sources, **config):
    return engine.validate([str(s) for s in sources], None, Config(**config), HERE)


def codes(document):
    return {finding["code"] for finding in document["findings"]}


def load(folder):
    """All rows with the images' bytes, and the name of each row's split."""
    loaded = datasets.load_from_disk(str(folder))
    parts = loaded if isinstance(loaded, datasets.DatasetDict) else {"all": loaded}
    rows = {}
    for split, part in parts.items():
        for row in part.cast_column("image", datasets.Image(decode=False)):
            assert row["id"] not in rows
            rows[row["id"]] = row | {"split": split}
    return rows


def id_at(out, row):
    """The id that the dataset holds where a row of the index says the frame is."""
    shard = datasets.Dataset.from_file(str(out / row["shard"])).select_columns(["id"])
    return shard[row["row"]]["id"]


def rewrite(path, edit=None, *, add=None):
    """Write a ZIP anew with an edited `annotations.json` and further members."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    if edit is not None:
        document = json.loads(members["annotations.json"])
        edit(document)
        members["annotations.json"] = json.dumps(document).encode()
    members |= add or {}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("preparation")


@pytest.fixture(scope="module", params=["real", "coco"])
def prepared(request, folder):
    """A dataset of one export in each dialect, with hidden objects where the dialect has them."""
    dialect = request.param
    hidden = HIDDEN if dialect == "real" else None
    truth = write_sample_export(
        folder / f"{dialect}.zip", dialect=dialect, hidden=hidden, **SMALL | {"frames": 10}
    )
    out = folder / dialect
    return truth, out, prepare([truth.path], out)


# What is in the dataset.


def test_masks_boxes_areas_and_labels_are_the_truth(prepared):
    truth, out, _ = prepared
    rows = {row["frame_index"]: row for row in load(out / "hf").values()}
    assert sorted(rows) == [frame.frame_index for frame in truth.frames]
    for frame in truth.frames:
        row = rows[frame.frame_index]
        visible = [item for item in frame.objects if item.visible]
        assert row["labels"] == [item.label for item in visible]
        assert row["object_ids"] == [item.object_id for item in visible]
        assert row["areas"] == [item.area for item in visible]
        assert row["bounding_boxes"] == [list(item.bbox) for item in visible]
        assert row["confidences"] == [0.95] * len(visible)
        assert len(row["masks"]) == len(visible)
        for rle, item in zip(row["masks"], visible, strict=True):
            assert rle["size"] == [truth.height, truth.width]
            np.testing.assert_array_equal(coco.decode(rle).astype(bool), item.mask)
        assert (row["width"], row["height"]) == (truth.width, truth.height)
        assert row["timestamp_sec"] == frame.timestamp_sec


def test_image_bytes_are_the_members_of_the_zip(prepared):
    truth, out, _ = prepared
    images = {frame.frame_index: frame.image for frame in truth.frames}
    with zipfile.ZipFile(truth.path) as archive:
        for row in load(out / "hf").values():
            assert row["image"]["bytes"] == archive.read(images[row["frame_index"]])
            assert row["image"]["path"] == images[row["frame_index"]].rpartition("/")[2]


def test_ids_columns_features_and_pictures(prepared):
    truth, out, summary = prepared
    loaded = datasets.load_from_disk(str(out / "hf"))
    assert isinstance(loaded, datasets.DatasetDict)
    assert list(loaded) == SPLITS
    video_id = summary["inputs"][0]["video_id"]
    stem, _, digits = video_id.rpartition("-")
    assert stem == truth.filename.removesuffix(".mp4").replace("_", "_").lower()
    assert len(digits) == 6
    assert set(digits) <= set("0123456789abcdef")
    for part in loaded.values():
        assert part.column_names == [
            "id", "image", "conversations", "messages", "masks", "bounding_boxes", "labels",
            "object_ids", "areas", "confidences", "video_id", "frame_index", "timestamp_sec",
            "width", "height",
        ]  # fmt: skip
        assert isinstance(part.features["image"], datasets.Image)
        row = part[0]
        assert row["id"] == f"{video_id}/{row['frame_index']:06d}"
        assert row["video_id"] == video_id
        assert isinstance(row["image"], Image.Image)
        assert row["image"].size == (truth.width, truth.height)
        wide = row["image"].convert("RGB")
        raw = part.cast_column("image", datasets.Image(decode=False))[0]["image"]["bytes"]
        with Image.open(io.BytesIO(raw)) as own:
            assert wide.tobytes() == own.convert("RGB").tobytes()


def test_texts_are_pairs_that_name_what_is_visible_only(prepared):
    truth, out, _ = prepared
    labels = {item.label for frame in truth.frames for item in frame.objects}
    for row in load(out / "hf").values():
        turns = row["conversations"]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
        assert turns[0]["value"].startswith("<image>\n")
        text = "".join(turn["value"] for turn in turns)
        assert text.count("<image>") == 1
        for label in labels - set(row["labels"]):  # denied at most
            assert not re.search(rf"\d+ {label}|{label}s? (\[|at\b)", text)
        roles = [message["role"] for message in row["messages"]]
        assert roles == ["user", "assistant"] * (len(turns) // 2)
        blocks = [block for message in row["messages"] for block in message["content"]]
        assert [b["type"] for b in blocks].count("image") == 1
        assert "<image>" not in "".join(block["text"] or "" for block in blocks)
        assert all(turn["value"].strip() for turn in turns)


def test_hidden_objects_are_counted_nowhere(folder):
    truth = write_sample_export(folder / "hidden.zip", hidden=HIDDEN, paint=False, **SMALL)
    summary = prepare([truth.path], folder / "hidden")
    assert summary["class_counts"] == {"dog": 4, "person": 5}
    report = json.loads((folder / "hidden/report/validation.json").read_text())
    found = {finding["code"]: finding for finding in report["findings"]}
    assert set(found) == {"object_hidden", "frame_all_hidden", "split_leakage"}
    assert found["object_hidden"]["count"] == 3
    assert found["object_hidden"]["fraction"] == 3 / 12
    assert found["frame_all_hidden"]["frames"] == [f"{summary['inputs'][0]['video_id']}/000024"]
    empty = load(folder / "hidden/hf")[found["frame_all_hidden"]["frames"][0]]
    assert empty["masks"] == []
    assert empty["conversations"][1]["value"].strip()


def test_index_split_and_summary_agree_with_the_dataset(prepared):
    _, out, summary = prepared
    rows = load(out / "hf")
    index = pq.read_table(out / "index").to_pylist()
    assert {row["id"] for row in index} == set(rows)
    for row in index:
        assert row["status"] == "kept"
        assert row["split"] == rows[row["id"]]["split"]
        assert row["labels"] == rows[row["id"]]["labels"]
        assert id_at(out, row) == row["id"]
    split = json.loads((out / "split.json").read_text())
    sizes = {name: sum(row["split"] == name for row in rows.values()) for name in SPLITS}
    assert split["sizes"] == summary["splits"] == sizes == {"train": 8, "validation": 1, "test": 1}
    assert summary["total_samples"] == len(rows) == 10
    assert summary == json.loads((out / "summary.json").read_text())


def test_manifest_names_every_file_with_its_digest(prepared):
    truth, out, _ = prepared
    manifest = json.loads((out / "manifest.json").read_text())
    listed = {file["path"]: file["sha256"] for file in manifest["files"]}
    assert listed == tree(out, without=("summary.json", "manifest.json"))
    assert all((out / f["path"]).stat().st_size == f["size_bytes"] for f in manifest["files"])
    assert manifest["inputs"][0]["source"] == truth.path.name
    assert not (out / ".staging").exists()
    # Nothing of this machine but in summary.json: the dataset can be given away.
    texts = [path.read_bytes() for path in out.rglob("*") if path.suffix in (".json", ".jsonl")]
    assert sum(str(out.parent).encode() in text for text in texts) == 1


def test_an_empty_split_is_left_out(folder):
    truth = write_sample_export(folder / "twice.zip", **CLEAN)
    summary = prepare([truth.path], folder / "no-test", ratios=(0.5, 0.5, 0.0))
    assert summary["splits"] == {"train": 3, "validation": 3, "test": 0}
    assert list(datasets.load_from_disk(str(folder / "no-test/hf"))) == ["train", "validation"]
    assert not (folder / "no-test/hf/test").exists()


def test_small_shards_hold_the_same_rows(folder):
    truth = write_sample_export(folder / "shards.zip", **CLEAN)
    prepare([truth.path], folder / "one-shard")
    prepare([truth.path], folder / "many-shards", rows_per_shard=2)
    prepare([truth.path], folder / "small-shards", shard_bytes=1)
    assert len(list((folder / "many-shards/hf").rglob("*.arrow"))) == 4  # 5 and 1 rows
    assert len(list((folder / "small-shards/hf").rglob("*.arrow"))) == 6
    whole = load(folder / "one-shard/hf")
    assert whole == load(folder / "many-shards/hf") == load(folder / "small-shards/hf")


# Strict and standard.


BAD = {
    "mask_truncated": [0],
    "frames_without_objects": [3],
    "frames_without_image": [5],
    "image_truncated": [7],
    "image_crc_flip": [9],
}
REASONS = {
    0: "mask_malformed",
    3: "missing_annotations",
    5: "image_missing",
    7: "image_truncated",
    9: "image_unreadable",
}


@pytest.fixture(scope="module")
def bad(folder):
    return write_sample_export(folder / "bad.zip", **CLEAN | {"frames": 16}, **BAD)


def files_of(out):
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


REPORT_ONLY = [
    "report/issues.jsonl",
    "report/report.html",
    "report/summary.md",
    "report/validation.json",
    "summary.json",
]


def test_strict_failure_leaves_the_report_only(folder, bad):
    out = folder / "strict"
    summary = prepare([bad.path], out)
    assert summary["status"] == "FAILED"
    assert summary["total_samples"] == 0
    assert files_of(out) == REPORT_ONLY
    assert json.loads((out / "report/validation.json").read_text())["status"] == "FAILED"


def test_standard_sets_frames_aside_with_their_reasons(folder, bad):
    out = folder / "standard"
    summary = prepare([bad.path], out, validation="standard")
    report = json.loads((out / "report/validation.json").read_text())
    assert (summary["status"], summary["sources_status"]) == ("PASSED_WITH_WARNINGS", "FAILED")
    assert report["status"] == "PASSED_WITH_WARNINGS"
    assert report["sources"]["status"] == "FAILED"
    assert codes(report) == {"quarantined", "split_leakage"}
    assert codes(report["sources"]) == set(REASONS.values())
    assert summary["accounting"] == {
        "frames_in": 16, "kept": 11, "quarantined": 5, "excluded_duplicates": 0,
        "objects_in": 30, "objects_kept": 22, "objects_hidden": 0,
        "objects_quarantined": 8, "objects_excluded_duplicates": 0,
    }  # fmt: skip
    kept, aside = load(out / "hf"), load(out / "quarantine")
    video_id = summary["inputs"][0]["video_id"]
    ids = {position: f"{video_id}/{position * 6:06d}" for position in range(16)}
    assert set(kept) == {ids[p] for p in range(16) if p not in REASONS}
    assert set(aside) == {ids[p] for p in REASONS}
    for position, code in REASONS.items():
        assert [reason.split(":")[0] for reason in aside[ids[position]]["reasons"]] == [code]
    assert report["frames"] == 11
    assert report["class_counts"] == {"dog": 11, "person": 11}
    quarantined = next(f for f in report["findings"] if f["code"] == "quarantined")
    assert quarantined["frames"] == sorted(aside)
    status = pq.read_table(out / "index").sort_by("id").to_pylist()
    assert {r["id"] for r in status if r["status"] == "quarantined"} == set(aside)
    assert {r["id"] for r in status if r["status"] == "kept"} == set(kept)
    for row in status:
        assert (row["split"] is None) == (row["id"] in aside)
        assert id_at(out, row) == row["id"]
    assert engine.require_trainable(str(out)) == report


def test_quarantine_keeps_what_there_is_of_a_frame(folder, bad):
    out = folder / "evidence"
    prepare([bad.path], out, validation="standard")
    rows = {row["frame_index"] // 6: row for row in load(out / "quarantine").values()}
    with zipfile.ZipFile(bad.path) as archive:
        assert rows[0]["image"]["bytes"] == archive.read(bad.frames[0].image)
    assert rows[0]["labels"] == ["dog"]  # the person's mask is the broken one
    assert (rows[5]["image"] or {}).get("bytes") is None
    assert rows[5]["labels"] == ["person", "dog"]
    # Every row can be looked at, the one with a broken picture too.
    seen = {
        row["frame_index"] // 6: row for row in datasets.load_from_disk(str(out / "quarantine"))
    }
    pictures = {place for place, row in seen.items() if row["image"] is not None}
    assert pictures == {0, 3}


@pytest.mark.parametrize("check_images", ["header", "structure", "decode"])
def test_damage_found_while_writing_stops_a_strict_run(folder, check_images):
    truth = write_sample_export(
        folder / f"flip-{check_images}.zip",
        image_crc_flip=[4], **CLEAN | {"width": 320, "height": 240, "image_format": "jpg"},
    )  # fmt: skip
    with zipfile.ZipFile(truth.path) as archive:  # the header is whole, the damage behind it
        assert archive.getinfo(truth.frames[4].image).file_size > 4096 + 2000
    out = folder / f"flip-{check_images}"
    summary = prepare([truth.path], out, check_images=check_images)
    assert summary["status"] == "FAILED"
    assert files_of(out) == REPORT_ONLY
    report = json.loads((out / "report/validation.json").read_text())
    assert codes(report) == {"image_unreadable"}
    assert report["findings"][0]["frames"] == [f"{summary['inputs'][0]['video_id']}/000024"]
    assert "CRC" in report["findings"][0]["examples"][0]


def test_nothing_good_left_publishes_no_dataset(folder):
    truth = write_sample_export(folder / "all-bad.zip", mask_truncated=range(6), **CLEAN)
    summary = prepare([truth.path], folder / "all-bad", validation="standard")
    assert summary["status"] == "FAILED"
    assert files_of(folder / "all-bad") == REPORT_ONLY


def test_a_frame_lost_on_the_way_is_no_dataset(folder, monkeypatch):
    """The accounting is checked before anything is published."""
    truth = write_sample_export(folder / "lost.zip", **CLEAN)

    def forget(task):
        return dataclasses.replace(write_shard(task), rows=1)

    monkeypatch.setattr("engine.shard_writer.write_shard", forget)
    with pytest.raises(RunError, match="frames were lost"):
        prepare([truth.path], folder / "lost")
    assert not (folder / "lost").exists()


def test_an_object_lost_on_the_way_is_no_dataset(folder, monkeypatch):
    truth = write_sample_export(folder / "lost-object.zip", **CLEAN)

    def forget(task):
        result = write_shard(task)
        return dataclasses.replace(result, objects=result.objects - 1)

    monkeypatch.setattr("engine.shard_writer.write_shard", forget)
    with pytest.raises(RunError, match="objects were lost"):
        prepare([truth.path], folder / "lost-object")
    assert not (folder / "lost-object").exists()


# One video in several exports, several videos of one name.


def test_the_same_export_twice_is_counted_once(folder):
    truth = write_sample_export(folder / "once.zip", **CLEAN)
    shutil.copy(truth.path, folder / "again.zip")
    summary = prepare([truth.path, folder / "again.zip"], folder / "both")
    assert summary["status"] == "PASSED_WITH_WARNINGS"
    assert summary["accounting"] == {
        "frames_in": 12, "kept": 6, "quarantined": 0, "excluded_duplicates": 6,
        "objects_in": 24, "objects_kept": 12, "objects_hidden": 0, "objects_quarantined": 0,
        "objects_excluded_duplicates": 12,
    }  # fmt: skip
    report = json.loads((folder / "both/report/validation.json").read_text())
    assert codes(report) == {"frame_duplicate", "split_leakage"}
    prepare([truth.path], folder / "single")
    assert load(folder / "both/hf") == load(folder / "single/hf")


def test_other_annotations_of_one_frame_are_a_conflict(folder):
    first = write_sample_export(folder / "first.zip", **CLEAN)
    shutil.copy(first.path, folder / "second.zip")

    def rename(document):
        document["annotations"][1]["objects"][0]["label"] = "cat"

    second = rewrite(folder / "second.zip", rename)
    strict = prepare([first.path, second], folder / "conflict-strict")
    assert strict["status"] == "FAILED"
    summary = prepare([first.path, second], folder / "conflict", validation="standard")
    assert summary["accounting"] == {
        "frames_in": 12, "kept": 5, "quarantined": 2, "excluded_duplicates": 5,
        "objects_in": 24, "objects_kept": 10, "objects_hidden": 0, "objects_quarantined": 4,
        "objects_excluded_duplicates": 10,
    }  # fmt: skip
    aside = datasets.load_from_disk(str(folder / "conflict/quarantine"))
    assert sorted(labels[0] for labels in aside["labels"]) == ["cat", "person"]
    assert set(aside["frame_index"]) == {6}
    assert 6 not in {row["frame_index"] for row in load(folder / "conflict/hf").values()}


def test_findings_of_a_video_go_by_its_final_name(tmp_path):
    for seed in (1, 2):  # two videos share a name: one gets a suffix after it was opened
        write_sample_export(
            tmp_path / f"{seed}.zip",
            filename="clip.mp4",
            seed=seed,
            frames_not_exported=[2],
            **CLEAN,
        )
    report = validate(*sorted(tmp_path.glob("*.zip")))
    ids = sorted(entry["video_id"] for entry in report["exports"])
    (finding,) = [f for f in report["findings"] if f["code"] == "frames_not_exported"]
    assert len(set(ids)) == 2
    assert finding["videos"] == ids
    assert finding["frames"] == sorted(f"{video_id}/000012" for video_id in ids)


def test_two_videos_of_one_name_stay_two(folder):
    one, two = (
        write_sample_export(folder / f"named-{seed}.zip", filename="clip.mp4", seed=seed, **CLEAN)
        for seed in (1, 2)
    )
    summary = prepare([one.path, two.path], folder / "named")
    assert summary["total_samples"] == 12
    names = sorted(entry["video_id"] for entry in summary["inputs"])
    assert names[1].startswith(names[0] + "-")
    by_video = {name: {} for name in names}
    for row in load(folder / "named/hf").values():
        by_video[row["video_id"]][row["frame_index"]] = row["bounding_boxes"]
    expected = [{f.frame_index: [list(o.bbox) for o in f.objects] for f in t.frames}
                for t in (one, two)]  # fmt: skip
    assert sorted(by_video.values(), key=str) == sorted(expected, key=str)


def test_a_video_named_by_hand(folder):
    truth = write_sample_export(folder / "byhand.zip", **CLEAN)
    summary = prepare([truth.path], folder / "byhand", video_ids={"byhand.zip": "kitchen"})
    assert summary["inputs"][0]["video_id"] == "kitchen"
    assert min(load(folder / "byhand/hf")) == "kitchen/000000"


# How it is called.


def test_every_verb_takes_path_objects_and_a_single_source(folder):
    source = write_sample_export(folder / "called.zip", **CLEAN).path
    more = write_sample_export(folder / "more.zip", **CLEAN | {"seed": 9}).path
    out, config = folder / "called", Config()
    first = engine.prepare(str(source), out, config, HERE)
    assert first["out"] == str(out)
    assert engine.prepare([source], str(out), config, HERE)["nothing_to_do"]
    assert engine.split(out, {"seed": 7}, HERE)["status"] == "PASSED"
    assert engine.add(out, more, None, HERE)["total_samples"] == 12
    assert engine.verify(out, HERE)["status"] == "VERIFIED"
    assert engine.require_trainable(out)["videos"] == 2
    assert len(engine.history(out)["versions"]) == 3
    assert len(engine.open_dataset(out)["train"]) == first["splits"]["train"] + 5
    assert engine.clean(out)["removed"] == []
    document = engine.validate(source, folder / "called report", config, HERE)
    assert document["status"] == "PASSED"
    assert (folder / "called report/validation.json").exists()
    (entry,) = engine.inspect(source, config, folder / "drawn")["exports"]
    assert (folder / "drawn" / entry["drawing"]).exists()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: engine.prepare("a.zip", "out", {"seed": 7}), "config: of the wrong kind: got {'s"),
        (
            lambda: engine.validate("a.zip", config={}),
            "config: of the wrong kind: got {}, expected",
        ),
        (lambda: engine.inspect("a.zip", 7), "config: of the wrong kind: got 7"),
        (lambda: engine.verify("out", {"workers": 2}), "execution: of the wrong kind: got {'work"),
        (
            lambda: engine.add("out", "a.zip", Config()),
            r"changes: of the wrong .* got Config\(.*\.\.",
        ),
        (lambda: engine.split("out", Config()), "changes: of the wrong kind"),
        (lambda: engine.prepare(3, "out"), "SRC: of the wrong kind: got 3, expected a path"),
        (lambda: engine.prepare([3], "out"), "SRC: is no location: got int"),
        (lambda: engine.prepare("a.zip", None), "out: is no location: got NoneType"),
        (lambda: engine.open_dataset("s3://"), "s3://: names no place"),
    ],
)
def test_an_argument_of_another_kind_is_a_usage_error(call, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        call()
    assert list(tmp_path.iterdir()) == []


# What OUT may hold.


def test_a_finished_dataset_is_left_alone(folder):
    truth = write_sample_export(folder / "done.zip", **CLEAN)
    out = folder / "done"
    first = prepare([truth.path], out)
    before = tree(out, without=())
    again = prepare([truth.path], out)
    assert again == first | {"nothing_to_do": True}
    assert tree(out, without=()) == before
    other = write_sample_export(folder / "other.zip", **CLEAN | {"seed": 9})
    for sources, config in (
        ([truth.path], {"seed": 1}),
        ([other.path], {}),
        ([truth.path, other.path], {}),
    ):
        with pytest.raises(OutputError, match="holds 6 samples; use: sam2prep add"):
            prepare(sources, out, **config)
    assert tree(out, without=()) == before


def test_a_repaired_export_is_not_the_one_that_is_there(folder):
    """Its ZIP lists the same names, sizes and CRCs."""
    path, out = folder / "repaired.zip", folder / "repaired"
    write_sample_export(path, **CLEAN | {"image_crc_flip": [2]})
    prepare([path], out, validation="standard")
    before = tree(out, without=())
    assert prepare([path], out, validation="standard")["nothing_to_do"]
    write_sample_export(path, **CLEAN)
    with pytest.raises(OutputError, match=r"holds 5 samples; use: sam2prep add .*repaired \.\.\."):
        prepare([path], out, validation="standard")
    assert tree(out, without=()) == before


def test_what_is_asked_otherwise_of_the_same_exports_is_named(folder):
    one, other = (
        write_sample_export(folder / f"otherwise{n}.zip", **CLEAN | {"seed": n}).path
        for n in (1, 2)
    )
    out = folder / "otherwise"
    prepare([one, other], out)

    def said(*sources, **config):
        with pytest.raises(OutputError) as caught:
            prepare(sources, out, **config)
        return str(caught.value).partition("for other exports; these are in it")[2]

    again = f"; use: sam2prep split {out} ..., or another --out"
    assert said(one, other, seed=1) == f", made with seed 42, not 1{again}"
    split = said(one, other, ratios=(0.5, 0.25, 0.25), group_by="video")
    assert split == (
        f", made with group_by None, not video, ratios 0.8/0.1/0.1, not 0.5/0.25/0.25{again}"
    )
    assert said(one, other, seed=1, formats=("hf", "llava"), label_map={"dog": "wolf"}) == (
        ", made with formats hf, not hf/llava, another label_map, seed 42, not 1; "
        "use: another --out"
    )
    assert said(one) == " beside others"
    third = write_sample_export(folder / "other3.zip", **CLEAN | {"seed": 3}).path
    assert said(one, third, seed=1) == ""  # these can be added


def test_what_a_run_left_that_died_when_it_was_done_is_cleaned_up(folder):
    truth = write_sample_export(folder / "swept.zip", **CLEAN)
    out = folder / "swept"
    prepare([truth.path], out)
    before = tree(out, without=())
    (out / ".staging/rows").mkdir(parents=True)
    (out / ".staging/rows/scan.parquet").write_bytes(b"old")
    (out / ".lock").write_bytes(b"{}")
    assert prepare([truth.path], out)["nothing_to_do"]
    assert tree(out, without=()) == before
    assert not (out / ".staging").exists()


def test_a_failed_output_is_replaced(folder):
    bad = write_sample_export(folder / "replace-bad.zip", mask_truncated=[2], **CLEAN)
    good = write_sample_export(folder / "replace-good.zip", **CLEAN)
    out = folder / "replaced"
    assert prepare([bad.path], out)["status"] == "FAILED"
    assert prepare([bad.path], out)["status"] == "FAILED"
    assert prepare([good.path], out)["status"] == "PASSED"
    fresh = folder / "fresh"
    prepare([good.path], fresh)
    assert tree(out) == tree(fresh)


@pytest.mark.parametrize("validation", ["strict", "standard"])
def test_leftovers_of_a_run_that_died_while_publishing_are_replaced(folder, validation):
    """The folders are there, the manifest is not: the next run's files are all that stays."""
    bad = write_sample_export(folder / "died.zip", mask_truncated=[2], **CLEAN)
    out, fresh = folder / f"died-{validation}", folder / f"undead-{validation}"
    prepare([bad.path], out, validation="standard")
    (out / "manifest.json").unlink()
    (out / "summary.json").unlink()
    (out / ".staging/rows").mkdir(parents=True)
    (out / ".staging/rows/scan.parquet").write_bytes(b"half")
    prepare([bad.path], out, validation=validation)
    prepare([bad.path], fresh, validation=validation)
    assert tree(out) == tree(fresh)


def test_folders_that_are_only_called_like_ours_are_not_ours_to_remove(folder):
    """Theirs may be called as ours are: images, index, report."""
    truth = write_sample_export(folder / "dear.zip", **CLEAN)
    out = folder / "dear"
    (out / "images").mkdir(parents=True)
    (out / "images/mine.png").write_bytes(b"mine")
    (out / "README.md").write_text("mine")
    with pytest.raises(OutputError, match="no prepared dataset"):
        prepare([truth.path], out)
    assert files_of(out) == ["README.md", "images/mine.png"]


def test_a_foreign_folder_is_refused(folder):
    truth = write_sample_export(folder / "foreign.zip", **CLEAN)
    out = folder / "foreign"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="no prepared dataset"):
        prepare([truth.path], out)
    assert files_of(out) == ["thesis.txt"]
    file = folder / "a-file"
    file.write_text("mine")
    with pytest.raises(OutputError):
        prepare([truth.path], file)
    assert file.read_text() == "mine"


def test_an_unreadable_export_leaves_nothing(folder):
    good = write_sample_export(folder / "readable.zip", **CLEAN)
    broken = folder / "broken.zip"
    broken.write_bytes(good.path.read_bytes()[:-40])
    out = folder / "never"
    with pytest.raises(ExportError, match=r"broken\.zip"):
        prepare([good.path, broken], out)
    assert not out.exists()
    with pytest.raises(UsageError):
        prepare([], out)
    with pytest.raises(ExportError):
        prepare([folder / "nowhere.zip"], out)
    assert not out.exists()


def test_a_full_disk_is_an_error_of_the_tree(folder, monkeypatch):
    truth = write_sample_export(folder / "full.zip", **CLEAN)
    out = folder / "full"

    def full(*_args, **_keywords):
        raise OSError(28, "No space left on device", "data-00000.arrow")

    with monkeypatch.context() as patched:
        patched.setattr("engine.dataset_build.finish", full)
        with pytest.raises(RunError, match=r"No space left.*kept in .*same command continues"):
            prepare([truth.path], out)
    assert [path.name for path in out.iterdir()] == [".staging"]
    assert prepare([truth.path], out)["resumed"]["taken_over"] > 3
    assert not (out / ".staging").exists()


# The same bytes.


def test_bytes_do_not_depend_on_the_order_of_the_sources(folder):
    paths = [
        write_sample_export(folder / f"order-{seed}.zip", seed=seed, **CLEAN).path
        for seed in range(3)
    ]
    same = folder / "order-copy.zip"
    shutil.copy(paths[0], same)
    outs = [folder / "order-a", folder / "order-b"]
    prepare([*paths, same], outs[0])
    prepare([same, *paths[::-1]], outs[1])
    assert tree(outs[0]) == tree(outs[1])


def test_bytes_do_not_depend_on_where_the_export_lies(folder, bad):
    """Neither the exports' place nor OUT's is in any file but summary.json."""
    outs = [folder / "place-a", folder / "elsewhere/place-b"]
    elsewhere = folder / "elsewhere/exports" / bad.path.name
    elsewhere.parent.mkdir(parents=True)
    shutil.copy(bad.path, elsewhere)
    for source, out in zip((bad.path, elsewhere), outs, strict=True):
        prepare([source], out, validation="standard")
    assert tree(outs[0]) == tree(outs[1])


@pytest.mark.parametrize("dialect", ["real", "coco"])
def test_zip_and_folder_give_the_same_dataset(folder, dialect):
    keywords = SMALL | {"dialect": dialect, "mask_truncated": [3]}
    packed = write_sample_export(
        folder / f"packed-{dialect}.zip", enclosing_folder="x", macosx=True, **keywords
    )
    unpacked = write_sample_export(folder / f"unpacked-{dialect}", as_folder=True, **keywords)
    outs = []
    for truth in (packed, unpacked):
        outs.append(folder / f"out-{truth.path.name}")
        prepare([truth.path], outs[-1], validation="standard")
    without = ("summary.json", "manifest.json", "report", "hf/README.md")  # they name the source
    assert tree(outs[0], without=without) == tree(outs[1], without=without)
    reports = [json.loads((out / "report/validation.json").read_text()) for out in outs]
    assert reports[0]["findings"] == reports[1]["findings"]
    manifests = [json.loads((out / "manifest.json").read_text()) for out in outs]
    ids = [m["inputs"][0]["video_id"] for m in manifests]
    assert ids[0] == ids[1]


def test_bytes_do_not_depend_on_the_ranges(folder):
    truth = write_sample_export(
        folder / "ranges.zip", mask_truncated=[3], area_off={7: 2}, orphan_images=2,
        **CLEAN | {"frames": 12},
    )  # fmt: skip
    outs = []
    for frames_per_range in (1, 5, 500):
        outs.append(folder / f"ranges-{frames_per_range}")
        here = Execution(runner="local", frames_per_range=frames_per_range)
        engine.prepare([str(truth.path)], str(outs[-1]), Config(validation="standard"), here)
    without = ("summary.json", "manifest.json")  # they hold the configuration
    first = tree(outs[0], without=without)
    assert first == tree(outs[1], without=without) == tree(outs[2], without=without)


def test_the_seed_moves_frames_between_splits(folder):
    truth = write_sample_export(folder / "seeds.zip", **CLEAN | {"frames": 20})
    prepare([truth.path], folder / "seed-1", seed=1, split="random")
    prepare([truth.path], folder / "seed-2", seed=2, split="random")
    one, two = load(folder / "seed-1/hf"), load(folder / "seed-2/hf")
    assert set(one) == set(two)
    assert {k for k in one if one[k]["split"] != two[k]["split"]}


# Sources.


def test_sources_are_expanded_each_once_in_the_order_named(tmp_path):
    one, two = (
        str(write_sample_export(tmp_path / f"exports/{name}.zip", **CLEAN).path) for name in "ab"
    )
    place = write_sample_export(tmp_path / "exports/c", as_folder=True, **CLEAN).path
    assert find_sources([two, one, two]) == [two, one]
    assert find_sources([str(tmp_path / "exports")]) == [one, two, str(place)]
    assert find_sources([two, str(tmp_path / "exports/*.zip")]) == [two, one]
    with pytest.raises(UsageError, match="no export is given"):
        find_sources([])
    with pytest.raises(ExportError, match="matches nothing"):
        find_sources([one, str(tmp_path / "*.zip")])


# Clean frames.


def test_clean_frames_replace_the_painted_ones(folder):
    painted = write_sample_export(folder / "painted.zip", **SMALL)
    clean = write_sample_export(folder / "clean", paint=False, as_folder=True, **SMALL)
    summary = prepare([painted.path], folder / "replaced-frames", frames=str(clean.path / "images"))
    assert summary["status"] == "PASSED"
    rows = {row["frame_index"]: row for row in load(folder / "replaced-frames/hf").values()}
    for frame in painted.frames:
        row = rows[frame.frame_index]
        assert row["image"]["bytes"] == (clean.path / frame.image).read_bytes()
        for rle, item in zip(row["masks"], frame.objects, strict=True):
            np.testing.assert_array_equal(coco.decode(rle).astype(bool), item.mask)


def test_clean_frames_of_several_exports_lie_in_folders_of_their_names(folder):
    exports = [write_sample_export(folder / f"p{seed}.zip", seed=seed, **SMALL) for seed in (1, 2)]
    place = folder / "clean-frames"
    for seed in (1, 2):
        source = write_sample_export(
            folder / f"c{seed}", seed=seed, paint=False, as_folder=True, **SMALL
        )
        shutil.copytree(source.path / "images", place / f"p{seed}")
    prepare([e.path for e in exports], folder / "clean-both", frames=str(place))
    got = {row["image"]["bytes"] for row in load(folder / "clean-both/hf").values()}
    assert got == {path.read_bytes() for path in place.rglob("*.png")}
    shutil.rmtree(place / "p2")
    with pytest.raises(ExportError, match=r"holds no frames for p2\.zip"):
        prepare([e.path for e in exports], folder / "clean-one", frames=str(place))


def test_names_and_sentences_of_the_user_reach_every_part(tmp_path):
    """As they come from files: one object renamed for its video, one everywhere, with a plural."""
    truth = write_sample_export(
        tmp_path / "a.zip", frames=8, width=96, height=64, dialect="coco",
        labels=("object_0", "object_1", "object_2"),
    )  # fmt: skip
    given = {
        "object_0": {"name": "ox", "plural": "oxes"}, "object_2": {"name": "ox", "plural": "oxes"},
        "farm/object_1": "kettle", "object_1": "pan",
    }  # fmt: skip
    config = Config(
        label_map=given, video_ids={"a.zip": "farm"}, box_style="loc1024",
        templates={"questions": {"segment_all": ["Segment everything: {target}."]}},
    )  # fmt: skip
    summary = engine.prepare([str(truth.path)], str(tmp_path / "out"), config)
    assert summary["class_counts"] == {"kettle": 8, "ox": 16}
    assert not any("label_placeholder" in line for line in summary["findings"])
    assert any("label_map_unused" in line for line in summary["findings"])  # object_1: farm's wins
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["config"]["label_map"] == given
    index = pq.read_table(tmp_path / "out" / "index")
    assert set(index["labels"].to_pylist()[0]) == {"ox", "kettle"}
    rows = [
        row for split in datasets.load_from_disk(tmp_path / "out" / "hf").values() for row in split
    ]
    assert all(set(row["labels"]) == {"ox", "kettle"} for row in rows)
    text = " ".join(turn["value"] for row in rows for turn in row["conversations"])
    assert "2 oxes" in text
    assert "object_" not in text
    assert re.search(r"kettle <loc\d{4}><loc", text)
    assert re.search("Segment everything: (all|every|the) ", text)
