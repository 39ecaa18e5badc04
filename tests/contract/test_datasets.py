"""What `datasets` makes of OUT: read, decoded and worked with by the library that trainers use."""

import io
import json
import shutil
import zipfile

import datasets
import numpy as np
import pytest
from datasets import Image, List, Value
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo
from pycocotools import mask as coco

import engine
from engine.images import check_structure, read_header
from engine.sample_export import write_sample_export

FEATURES = datasets.Features(
    {
        "id": Value("string"),
        "image": Image(),
        "conversations": List({"from": Value("string"), "value": Value("string")}),
        "messages": List(
            {
                "role": Value("string"),
                "content": List({"type": Value("string"), "text": Value("string")}),
            }
        ),
        "masks": List({"size": List(Value("int32")), "counts": Value("string")}),
        "bounding_boxes": List(List(Value("int32"))),
        "labels": List(Value("string")),
        "object_ids": List(Value("int64")),
        "areas": List(Value("int64")),
        "confidences": List(Value("float64")),
        "video_id": Value("string"),
        "frame_index": Value("int64"),
        "timestamp_sec": Value("float64"),
        "width": Value("int32"),
        "height": Value("int32"),
    }
)


TEXTS = {"conversations", "messages"}


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    """A cache of its own: what an earlier test run left must not answer for this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def prepare(sources, out, **config):
    execution = engine.Execution(runner="local")
    return engine.prepare(list(map(str, sources)), str(out), engine.Config(**config), execution)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """An export with three objects a frame, one of them hidden for a while."""
    path = tmp_path_factory.mktemp("export") / "street.zip"
    return write_sample_export(
        path, frames=30, width=96, height=54, labels=("person", "dog", "person"), paint=False,
        hidden={4: [1], 7: [0, 1, 2]}, seed=5,
    )  # fmt: skip


@pytest.fixture(scope="module")
def out(written, tmp_path_factory):
    place = tmp_path_factory.mktemp("prepared") / "out"
    assert prepare([written.path], place, rows_per_shard=7)["status"] == "PASSED_WITH_WARNINGS"
    return place


@pytest.fixture(scope="module")
def dataset(out):
    return datasets.load_from_disk(str(out / "hf"))


@pytest.fixture(scope="module")
def rows(dataset):
    return {row["frame_index"]: row for split in dataset.values() for row in split}


def test_splits_and_features_are_the_contract_s(dataset):
    assert list(dataset) == ["train", "validation", "test"]
    assert {name: len(dataset[name]) for name in dataset} == {
        "train": 24, "validation": 3, "test": 3,
    }  # fmt: skip
    for name, split in dataset.items():
        assert split.features == FEATURES
        assert list(split.features) == list(FEATURES), "in this order"
        assert split.split == name


def test_images_are_pillow_images_of_the_source_s_pixels(rows, written):
    with zipfile.ZipFile(written.path) as archive:
        for frame in written.frames:
            image = rows[frame.frame_index]["image"]
            assert isinstance(image, Pillow.Image)
            with Pillow.open(io.BytesIO(archive.read(frame.image))) as source:
                assert image.mode == source.mode == "RGB"
                np.testing.assert_array_equal(np.asarray(image), np.asarray(source))


def test_image_bytes_are_unchanged(dataset, written):
    with zipfile.ZipFile(written.path) as archive:
        images = {frame.frame_index: archive.read(frame.image) for frame in written.frames}
    for split in dataset.values():
        for row in split.cast_column("image", Image(decode=False)):
            assert row["image"]["bytes"] == images[row["frame_index"]]


def test_masks_decode_as_they_are(rows, written):
    for frame in written.frames:
        row = rows[frame.frame_index]
        visible = [thing for thing in frame.objects if thing.visible]
        assert row["labels"] == [thing.label for thing in visible]
        assert row["object_ids"] == [thing.object_id for thing in visible]
        parallel = ("masks", "bounding_boxes", "areas", "confidences")
        assert [len(row[name]) for name in parallel] == [len(visible)] * 4
        for i, thing in enumerate(visible):
            decoded = coco.decode(row["masks"][i])
            assert decoded.dtype == np.uint8
            np.testing.assert_array_equal(decoded, thing.mask)
            assert row["masks"][i]["size"] == [row["height"], row["width"]] == [54, 96]
            assert row["areas"][i] == int(coco.area(row["masks"][i])) == thing.area
            assert row["bounding_boxes"][i] == list(coco.toBbox(row["masks"][i])) == [*thing.bbox]


def test_a_frame_with_everything_hidden_is_kept_and_its_text_names_nothing(rows, written):
    row = rows[written.frames[7].frame_index]
    assert row["masks"] == row["labels"] == row["bounding_boxes"] == []
    text = " ".join(turn["value"] for turn in row["conversations"]).lower()
    assert "person" not in text
    assert "dog" not in text


def test_ids_times_and_texts(rows, written):
    for frame in written.frames:
        row = rows[frame.frame_index]
        assert row["id"] == f"{row['video_id']}/{frame.frame_index:06d}"
        assert row["timestamp_sec"] == pytest.approx(frame.timestamp_sec)
        turns = row["conversations"]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
        assert turns[0]["value"].startswith("<image>\n")
        assert sum(turn["value"].count("<image>") for turn in turns) == 1


def test_messages_say_what_conversations_say(rows):
    roles = {"human": "user", "gpt": "assistant"}
    for row in rows.values():
        for number, (turn, message) in enumerate(
            zip(row["conversations"], row["messages"], strict=True)
        ):
            text = turn["value"].removeprefix("<image>\n")
            blocks = [{"type": "text", "text": text}]
            if number == 0:
                blocks.insert(0, {"type": "image", "text": None})
            assert message == {"role": roles[turn["from"]], "content": blocks}


def test_map_filter_select_and_iteration(dataset, tmp_path):
    train = dataset["train"]
    counted = train.map(lambda row: {"objects": len(row["masks"])})
    assert counted["objects"][:] == [len(labels) for labels in train["labels"]]
    assert counted.features["masks"] == FEATURES["masks"]
    dogs = train.filter(lambda row: "dog" in row["labels"])
    assert 0 < len(dogs) == sum("dog" in labels for labels in train["labels"]) < len(train)
    chosen = train.select([20, 3, 11])
    assert chosen["id"][:] == [train[20]["id"], train[3]["id"], train[11]["id"]]
    assert [row["id"] for row in train] == train["id"][:]
    assert [row["id"] for row in train.to_iterable_dataset(num_shards=2)] == train["id"][:]
    assert train.shuffle(seed=1)["id"][:] != train["id"][:]
    dataset.map(lambda row: {"objects": len(row["masks"])}).save_to_disk(str(tmp_path / "copy"))
    again = datasets.load_from_disk(str(tmp_path / "copy"))
    assert again["train"]["masks"][:] == train["masks"][:]


def test_numpy_format(dataset, written):
    truth = {frame.frame_index: frame for frame in written.frames}
    whole = next(row for row in dataset["train"] if len(row["masks"]) == 3)
    row = dataset["train"].with_format("numpy").filter(
        lambda index: index == whole["frame_index"], input_columns="frame_index"
    )[0]  # fmt: skip
    assert row["image"].shape == (54, 96, 3)
    np.testing.assert_array_equal(row["image"], np.asarray(whole["image"]))
    np.testing.assert_array_equal(
        row["bounding_boxes"], [thing.bbox for thing in truth[whole["frame_index"]].objects]
    )
    np.testing.assert_array_equal(row["areas"], whole["areas"])


def test_a_batch_has_rows_of_different_lengths(dataset):
    batch = dataset["train"][:]
    assert {len(masks) for masks in batch["masks"]} >= {2, 3}
    assert len(batch["image"]) == 24


def test_shards_are_bounded_and_each_is_an_arrow_file_by_itself(out, dataset):
    files = sorted((out / "hf" / "train").glob("data-*.arrow"))
    parts = [datasets.Dataset.from_file(str(file)) for file in files]
    assert [len(part) for part in parts] == [7, 7, 7, 3]
    for part in parts:
        assert part.features == FEATURES, "features are in the file's own schema"
    assert [row for part in parts for row in part["id"]] == dataset["train"]["id"][:]


def test_fingerprints_go_by_content(written, out, dataset, tmp_path):
    def fingerprints(folder):
        loaded = datasets.load_from_disk(str(folder / "hf"))
        return {name: loaded[name]._fingerprint for name in loaded}

    known = fingerprints(out)
    assert len(set(known.values())) == 3
    shutil.copytree(out, tmp_path / "moved")
    assert fingerprints(tmp_path / "moved") == known
    prepare([written.path], tmp_path / "again", rows_per_shard=7)
    assert fingerprints(tmp_path / "again") == known
    prepare([written.path], tmp_path / "seed", rows_per_shard=7, seed=43)
    assert set(fingerprints(tmp_path / "seed").values()).isdisjoint(known.values())


def test_the_cache_of_one_dataset_never_answers_for_another(written, tmp_path):
    """Even where a step's cache files, which `datasets` puts beside the shards, come to lie."""
    copies = []
    for seed, name in ((1, "old"), (2, "new")):
        prepare([written.path], tmp_path / name, seed=seed)
        place = tmp_path / name / "hf" / "train"
        for file in (tmp_path / "old" / "hf" / "train").glob("cache-*"):
            shutil.copy(file, place)
        train = datasets.load_from_disk(str(place))
        copied = train.map(lambda row: {"copy": row["id"]})
        assert list(place.glob("cache-*"))
        assert copied["copy"][:] == train["id"][:]
        copies.append(copied["copy"][:])
    assert copies[0] != copies[1]


def codes(row):
    return {reason.partition(":")[0] for reason in row["reasons"]}


def test_the_quarantine_loads_and_says_why(tmp_path):
    truth = write_sample_export(
        tmp_path / "flawed.zip", frames=24, width=64, height=48, dialect="coco",
        frames_without_objects=[2], mask_truncated=[5], frames_without_image=[8],
        image_truncated=[11],
    )  # fmt: skip
    out = tmp_path / "out"
    summary = prepare([truth.path], out, validation="standard")
    assert summary["accounting"]["quarantined"] == 4
    aside = datasets.load_from_disk(str(out / "quarantine"))
    expected = {key: feature for key, feature in FEATURES.items() if key not in TEXTS}
    assert aside.features == datasets.Features(expected | {"reasons": List(Value("string"))})
    rows = {row["frame_index"]: row for row in aside}
    assert {index: codes(row) for index, row in rows.items()} == {
        2 * 6: {"missing_annotations"},
        5 * 6: {"mask_malformed"},
        8 * 6: {"image_missing"},
        11 * 6: {"image_truncated"},
    }
    assert rows[8 * 6]["image"] is None
    assert rows[11 * 6]["image"] is None
    assert rows[2 * 6]["image"].size == (64, 48)
    kept = datasets.load_from_disk(str(out / "hf"))
    ids = [i for split in kept.values() for i in split["id"]]
    assert len(ids) == 20
    assert not {row["id"] for row in aside} & set(ids)


def test_an_image_that_is_left_out_is_a_reason_whatever_else_is_wrong(tmp_path):
    truth = write_sample_export(
        tmp_path / "flawed.zip", frames=24, width=64, height=48, dialect="coco",
        area_off={3: 4, 11: 4}, image_truncated=[11],
    )  # fmt: skip
    out = tmp_path / "out"
    prepare([truth.path], out, validation="standard")
    aside = {r["frame_index"]: r for r in datasets.load_from_disk(str(out / "quarantine"))}
    assert aside[3 * 6]["image"].size == (64, 48)
    assert codes(aside[3 * 6]) == {"mask_area_mismatch"}
    assert aside[11 * 6]["image"] is None
    assert codes(aside[11 * 6]) == {"mask_area_mismatch", "image_truncated"}


@pytest.mark.parametrize(
    ("ratios", "present", "reason"),
    [((0.9, 0.1, 0.0), ["train", "validation"], "ratio"),
     ((1.0, 0.0, 0.0), ["train"], "ratio")],
)  # fmt: skip
def test_an_empty_split_is_absent_and_said_to_be(ratios, present, reason, written, tmp_path):
    summary = prepare([written.path], tmp_path / "out", ratios=ratios)
    loaded = datasets.load_from_disk(str(tmp_path / "out" / "hf"))
    assert list(loaded) == present
    assert sum(len(split) for split in loaded.values()) == 30
    split = json.loads((tmp_path / "out" / "split.json").read_text())
    absent = {"train", "validation", "test"} - set(present)
    assert split["sizes"] == summary["splits"]
    assert {name for name, size in split["sizes"].items() if size == 0} == absent
    said = split["certificate"]["empty_splits"]
    assert said.keys() == absent
    assert all(reason in sentence for sentence in said.values())
    assert not any((tmp_path / "out" / "hf" / name).exists() for name in absent)


def test_a_split_with_nothing_to_put_there_is_absent_too(tmp_path):
    source = tmp_path / "three.zip"
    write_sample_export(source, frames=3, width=32, height=24, dialect="coco", truth=False)
    prepare([source], tmp_path / "out", ratios=(0.8, 0.1, 0.1))
    loaded = datasets.load_from_disk(str(tmp_path / "out" / "hf"))
    split = json.loads((tmp_path / "out" / "split.json").read_text())
    empty = [name for name, size in split["sizes"].items() if not size]
    assert empty
    assert not set(empty) & set(loaded)
    assert split["certificate"]["empty_splits"].keys() == set(empty)


def test_an_export_of_one_frame_is_a_dataset(tmp_path):
    source = tmp_path / "one.zip"
    write_sample_export(source, frames=1, width=32, height=24, dialect="coco", truth=False)
    prepare([source], tmp_path / "out")
    loaded = datasets.load_from_disk(str(tmp_path / "out" / "hf"))
    assert {name: len(loaded[name]) for name in loaded} == {"train": 1}


def turned(kind, where, orientation):
    """A 40x24 image whose orientation is written in one of the places that readers look at."""
    image = Pillow.fromarray(np.random.default_rng(1).integers(0, 256, (24, 40, 3), np.uint8))
    exif, stream, chunks = Pillow.Exif(), io.BytesIO(), PngInfo()
    exif[0x0112] = orientation
    xmp = f'<rdf:Description tiff:Orientation="{orientation}"/>'
    profile = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    if where == "xmp" and kind == "PNG":
        chunks.add_itxt("XML:com.adobe.xmp", xmp)
    elif where == "profile":
        chunks.add_text("Raw profile type exif", f"\nexif\n{len(profile):8}\n{profile.hex()}\n")
    options = {"exif": exif} if where in ("exif", "late") else {}
    options |= {"pnginfo": chunks} if kind == "PNG" else {}
    options |= {"xmp": xmp.encode()} if where == "xmp" and kind == "JPEG" else {}
    image.save(stream, kind, **options)
    data = stream.getvalue()
    if where == "late":  # behind the pixels
        start = data.index(b"eXIf") - 4
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        data = data[:start] + data[end:-12] + data[start:end] + data[-12:]
    return data


PLACES = [("JPEG", "exif"), ("JPEG", "xmp"), ("PNG", "exif"), ("PNG", "late"), ("PNG", "xmp"),
          ("PNG", "profile")]  # fmt: skip


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "where"), PLACES)
def test_an_image_that_datasets_would_turn_is_never_let_through(kind, where, orientation):
    """The rule: masks hold for pixels as stored, so what a reader turns is set aside."""
    data = turned(kind, where, orientation)
    seen = datasets.Image().decode_example({"bytes": data, "path": None})
    with Pillow.open(io.BytesIO(data)) as stored:
        same = np.array_equal(np.asarray(seen), np.asarray(stored))
    assert same == (orientation == 1)
    problem = check_structure(data)
    found = read_header(data).orientation != 1 or problem is not None
    assert found == (not same)
    assert problem is None or problem[0] == "image_orientation"
