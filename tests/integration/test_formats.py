"""Several formats of one run, from export to the readers: the same rows in all of them."""

import hashlib
import json
import uuid
import zipfile
from pathlib import Path

import datasets
import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as coco
from pycocotools.coco import COCO

import engine
from engine.choices import FORMATS
from engine.sample_export import write_sample_export
from engine.storage import list_files, read_bytes
from tests.reading_revos import read_revos

ALL = FORMATS
WORDS = {"train": "train", "validation": "valid", "test": "test"}


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield


def prepare(sources, out, **config):
    execution = engine.Execution(runner="local")
    config = {"validation": "standard", "rows_per_shard": 9} | config
    return engine.prepare(list(map(str, sources)), str(out), engine.Config(**config), execution)


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """Two videos: one with bad frames, a hidden object and two of a class; one of placeholders."""
    place = tmp_path_factory.mktemp("exports")
    size = {"width": 64, "height": 48, "paint": False}
    street = write_sample_export(
        place / "street.zip", frames=30, labels=("person", "dog", "person"),
        hidden={4: [1], 7: [0, 1, 2]}, mask_truncated=[9], image_crc_flip=[12], seed=5, **size,
    )  # fmt: skip
    room = write_sample_export(
        place / "room.zip", frames=12, labels=("object_1", "object_2"), dialect="coco", seed=6,
        image_format="jpg", filename="room.mp4", **size,
    )  # fmt: skip
    return street, room


@pytest.fixture(scope="module")
def out(exports, tmp_path_factory):
    place = tmp_path_factory.mktemp("prepared") / "out"
    prepare([truth.path for truth in exports], place, formats=ALL)
    return place


@pytest.fixture(scope="module")
def rows(out):
    """Every row of `hf`, which other tests hold against the export, by split and id."""
    loaded = datasets.load_from_disk(str(out / "hf"))
    return {name: {row["id"]: row for row in split} for name, split in loaded.items()}


def test_it_is_worth_comparing(rows):
    assert sum(map(len, rows.values())) == 40
    assert min(map(len, rows.values())) > 1
    assert [row["id"] for row in rows["train"].values() if not row["labels"]], "all hidden"


def test_coco_holds_the_same_rows(out, rows):
    for split, expected in rows.items():
        loaded = COCO(str(out / "coco" / "annotations" / f"instances_{split}.json"))
        assert len(loaded.imgs) == len(expected)
        for number, image in loaded.imgs.items():
            folder, _, _ = image["file_name"].partition("/")
            row = expected[f"{folder}/{image['frame_index']:06d}"]
            path = out / "coco" / "images" / image["file_name"]
            np.testing.assert_array_equal(
                np.asarray(datasets.Image().decode_example({"bytes": None, "path": str(path)})),
                np.asarray(row["image"]),
            )
            annotations = loaded.loadAnns(loaded.getAnnIds(imgIds=[number]))
            assert [a["object_id"] for a in annotations] == row["object_ids"]
            assert [loaded.cats[a["category_id"]]["name"] for a in annotations] == row["labels"]
            assert [a["bbox"] for a in annotations] == row["bounding_boxes"]
            for annotation, mask in zip(annotations, row["masks"], strict=True):
                np.testing.assert_array_equal(loaded.annToMask(annotation), coco.decode(mask))


def test_revos_holds_the_same_masks(out, rows):
    for split, expected in rows.items():
        samples, videos, _ = read_revos(out / "revos", WORDS[split])
        frames = {f"{video}/{name}" for video, entry in videos.items() for name in entry["frames"]}
        assert frames == set(expected)
        for sample in samples:
            words = {"all people": {"person"}, "the dog": {"dog"}}
            words |= {"all tracked objects": {"object_1", "object_2"}}
            for mask, name in zip(sample.masks, sample.frames, strict=True):
                row = expected[f"{sample.video}/{name}"]
                union = np.zeros((48, 64), np.uint8)
                for label, each in zip(row["labels"], row["masks"], strict=True):
                    if label in words[sample.question]:
                        union |= coco.decode(each)
                np.testing.assert_array_equal(mask, union)
    train = {s.question for s in read_revos(out / "revos")[0]}
    assert train == {"all people", "the dog", "all tracked objects"}


def test_every_file_is_in_the_manifest_or_a_digest_shard(out):
    manifest = json.loads((out / "manifest.json").read_text())
    named = {file["path"]: file["sha256"] for file in manifest["files"]}
    for path in list(named):
        if path.startswith("digests/"):
            table = pq.read_table(out / path).to_pylist()
            named |= {entry["path"]: entry["sha256"] for entry in table}
    found = {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.rglob("*")
        if path.is_file() and path not in (out / "manifest.json", out / "summary.json")
    }
    assert named == found
    assert not (out / ".staging").exists()
    assert not (out / "parts").exists()


def test_the_index_names_what_holds_the_image(exports, out, tmp_path):
    prepare([exports[0].path], tmp_path / "parquet", formats=("parquet", "coco"))
    index = pq.read_table(tmp_path / "parquet" / "index").to_pylist()
    places = {row["shard"] for row in index if row["status"] == "kept"}
    assert "parquet/train-00000.parquet" in places
    row = next(row for row in index if row["split"] == "train" and row["row"] == 5)
    held = pq.read_table(tmp_path / "parquet" / row["shard"]).slice(5, 1).to_pylist()[0]
    assert held["id"] == row["id"]


@pytest.mark.parametrize("formats", [("coco",), ("revos",), ("parquet", "revos")])
def test_a_format_is_the_same_with_and_without_the_others(formats, exports, out, tmp_path):
    prepare([truth.path for truth in reversed(exports)], tmp_path / "out", formats=formats)
    assert not (tmp_path / "out" / "hf").exists()
    for name in formats:
        files = list_files(str(out / name))
        assert list_files(str(tmp_path / "out" / name)) == files
        for file in files:
            one, two = (place / name / file for place in (out, tmp_path / "out"))
            assert one.read_bytes() == two.read_bytes(), file


def test_an_object_store_gets_the_same_files(exports, out):
    place = f"memory://test_formats/{uuid.uuid4().hex}/out"
    prepare([truth.path for truth in exports], place, formats=ALL)
    files = list_files(place)
    assert files == list_files(str(out))
    for file in files:
        if file not in ("summary.json", "manifest.json"):
            assert read_bytes(f"{place}/{file}") == (out / file).read_bytes(), file
    fsspec.filesystem("memory").rm("/test_formats", recursive=True)


def test_an_empty_split_is_left_out_everywhere(exports, tmp_path):
    prepare([exports[0].path], tmp_path / "out", formats=ALL, ratios=(1.0, 0.0, 0.0))
    names = {path for path in list_files(str(tmp_path / "out")) if "images" not in path.lower()}
    assert not [path for path in names if "valid" in Path(path).stem.split("_")]
    assert not [path for path in names if "test" in path]
    assert "coco/annotations/instances_train.json" in names
    assert "revos/meta_expressions_train_.json" in names


def test_hostile_labels_reach_no_reader_as_structure(tmp_path):
    labels = ('"},{"id":0', "<image>", "犬\u2028")
    truth = write_sample_export(
        tmp_path / "odd.zip", frames=8, labels=labels, width=64, height=48, paint=False,
        dialect="coco",
    )  # fmt: skip
    prepare([truth.path], tmp_path / "out", formats=ALL, ratios=(1.0, 0.0, 0.0))
    loaded = COCO(str(tmp_path / "out/coco/annotations/instances_train.json"))
    assert [c["name"] for c in loaded.dataset["categories"]] == sorted(labels)
    samples, *_ = read_revos(tmp_path / "out/revos")
    assert len(samples) == 3
    assert not [s for s in samples if "<image>" in s.question]
    train = datasets.load_dataset(str(tmp_path / "out"), split="train")
    assert set(train[0]["labels"]) == set(labels)


def test_an_image_that_revos_cannot_encode_is_set_aside_like_any_other(tmp_path):
    """Revos decodes every PNG; a damaged one must be a finding, not the end of the run."""
    truth = write_sample_export(
        tmp_path / "a.zip", frames=10, width=64, height=48, paint=False, dialect="coco"
    )
    broken = tmp_path / "broken.zip"
    with zipfile.ZipFile(truth.path) as old, zipfile.ZipFile(broken, "w") as new:
        for member in old.infolist():
            data = old.read(member)
            if member.filename == truth.frames[3].image:
                place = data.index(b"IDAT") + 4
                damage = bytes(b ^ 255 for b in data[place + 20 : place + 60])
                data = data[: place + 20] + damage + data[place + 60 :]
            new.writestr(member.filename, data)
    summary = prepare([broken], tmp_path / "out", formats=("revos",), ratios=(1.0, 0.0, 0.0))
    assert summary["accounting"]["quarantined"] == 1
    samples, videos, _ = read_revos(tmp_path / "out/revos")
    assert sum(len(entry["frames"]) for entry in videos.values()) == 9
    assert samples


def test_hard_links_hold_what_two_formats_share(exports, out):
    """The room's frames are JPEG, so that coco and revos have the same files."""
    pairs = [
        (path, out / "revos" / "JPEGImages" / path.relative_to(out / "coco" / "images"))
        for path in (out / "coco" / "images").rglob("*.jpg")
    ]
    assert len(pairs) == 12
    assert all(one.samefile(two) for one, two in pairs)


@pytest.mark.parametrize("column", ["images", "both"])
def test_a_list_of_one_image_may_be_a_path(column, exports, tmp_path):
    prepare(
        [exports[1].path], tmp_path / "out", formats=("hf", "coco"), images="path",
        hf_image_column=column,
    )  # fmt: skip
    train = datasets.load_from_disk(str(tmp_path / "out" / "hf"))["train"]
    with zipfile.ZipFile(exports[1].path) as archive:
        members = {f.frame_index: archive.read(f.image) for f in exports[1].frames}
    undecoded = train.cast_column("images", datasets.List(datasets.Image(decode=False)))
    for row, decoded in zip(undecoded, train, strict=True):
        (image,) = row["images"]
        assert image["bytes"] is None
        assert Path(image["path"]).read_bytes() == members[row["frame_index"]]
        assert decoded["images"][0].size == (64, 48)
