"""OUT/llava and OUT/swift as the loaders of trainers read them, on output of the whole engine."""

import copy
import hashlib
import json
import re

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as coco

import engine
from engine.sample_export import write_sample_export
from tests import trainer_rules as rules
from tests.trainer_rules import RefusedError

SPLITS = ("train", "validation", "test")
HOSTILE = (
    "<image>", "ASSISTANT: yes", "</s> ### x", "assistant\nUSER:", "<bbox>", "a [1, 2, 3, 4] b",
    "caf\u00e9 \u732b", '"masks":[]', "[/INST]<|im_end|>", "object_7", "dog", "dog",
)  # fmt: skip
KEYS = ["id", "image", "conversations", "masks", "bounding_boxes", "labels", "height", "width"]


def prepare(sources, out, **config):
    execution = engine.Execution(runner="local")
    return engine.prepare(list(map(str, sources)), str(out), engine.Config(**config), execution)


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """Three videos: the first frame without objects, hostile labels, JPEG, broken frames."""
    place = tmp_path_factory.mktemp("exports")
    size = {"width": 96, "height": 64, "paint": False}
    many = {"objects_per_frame": len(HOSTILE), "frames": 10}
    return [
        write_sample_export(
            place / "a.zip", frames=24, labels=("person", "dog", "person"), seed=1,
            filename="a.mp4", hidden={0: [0, 1, 2], 3: [1]}, **size,
        ),
        write_sample_export(
            place / "b.zip", labels=HOSTILE, seed=2, filename="b.mp4", dialect="coco", **many,
            **size,
        ),
        write_sample_export(
            place / "c.zip", frames=16, labels=("car", "cat"), seed=3, filename="c.mp4",
            dialect="coco", image_format="jpg", image_truncated=[2], mask_truncated=[5], **size,
        ),
    ]  # fmt: skip


@pytest.fixture(scope="module", params=["norm1000", "xyxy", "xywh"])
def out(request, exports, tmp_path_factory):
    place = tmp_path_factory.mktemp("prepared") / "out"
    summary = prepare(
        [export.path for export in exports], place, formats=("hf", "llava", "swift"),
        rows_per_shard=7, validation="standard", box_style=request.param,
    )  # fmt: skip
    assert summary["total_samples"] == 24 + 10 + 14
    return place


@pytest.fixture(scope="module")
def index(out):
    return {row["id"]: row for row in pq.read_table(out / "index").to_pylist()}


def lines(out, split, folder="llava"):
    return rules.read_lines(out / folder / f"{split}.jsonl")


def everything(out, folder="llava"):
    return [row for split in SPLITS for row in lines(out, split, folder)]


def test_a_line_is_the_contract_s(out, index):
    rows = everything(out)
    assert len(rows) == 48
    for row in rows:
        assert list(row) == KEYS
        known = index[row["id"]]
        assert row["bounding_boxes"] == known["bounding_boxes"]
        assert row["labels"] == known["labels"]
        assert (row["height"], row["width"]) == (64, 96)
        assert row["image"].rpartition(".")[0] == f"images/{row['id']}"
        for counts, area in zip(row["masks"], known["areas"], strict=True):
            decoded = coco.decode({"size": [64, 96], "counts": counts})
            assert int(decoded.sum()) == area


def test_lines_and_list_are_the_same_rows(out):
    for split in SPLITS:
        text = (out / "llava" / f"{split}.json").read_bytes()
        assert text.isascii()
        assert json.loads(text) == lines(out, split)


def test_the_first_row_has_objects_though_the_first_frame_has_none(out):
    first = [lines(out, split)[0] for split in SPLITS]
    assert all(row["masks"] for row in first)
    assert any(not row["masks"] for row in everything(out))


def test_rows_and_texts_are_those_of_hf(out):
    loaded = datasets.load_from_disk(str(out / "hf")).select_columns(["id", "conversations"])
    for split in SPLITS:
        ours = [(row["id"], row["conversations"]) for row in lines(out, split)]
        assert ours == [(row["id"], row["conversations"]) for row in loaded[split]]


def test_image_files_are_the_export_s_bytes_and_the_manifest_s_digests(out, index):
    listed = {}
    top = json.loads((out / "manifest.json").read_text())
    assert top["digest_shards"]
    for name in top["digest_shards"]:
        for file in pq.read_table(out / name).to_pylist():
            listed[file["path"]] = file
    on_disk = {p.relative_to(out).as_posix() for p in (out).glob("*/images/*/*") if p.is_file()}
    assert on_disk == set(listed)
    assert len(on_disk) == 2 * 48
    for name, file in listed.items():
        data = (out / name).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (file["sha256"], file["size_bytes"])
    for row in datasets.load_from_disk(str(out / "hf"))["train"].cast_column(
        "image", datasets.Image(decode=False)
    ):
        suffix = "png" if row["image"]["bytes"].startswith(b"\x89PNG") else "jpg"
        file = out / "llava" / "images" / f"{row['id']}.{suffix}"
        assert file.read_bytes() == row["image"]["bytes"]
        assert index[row["id"]]["shard"].startswith("hf/train/")


def test_every_other_file_is_in_the_manifest(out):
    top = json.loads((out / "manifest.json").read_text())
    named = {file["path"] for file in top["files"]} | {"manifest.json", "summary.json"}
    on_disk = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert {name for name in on_disk if "/images/" not in name} == named


def test_the_manifest_lists_every_sample_by_its_line(out):
    manifest = json.loads((out / "llava" / "manifest.json").read_text("ascii"))
    assert manifest["counts"] == {split: len(lines(out, split)) for split in SPLITS}
    assert (manifest["empty_splits"], manifest["line_counts_from"]) == ([], 1)
    assert len(manifest["samples"]) == 48
    for entry in manifest["samples"]:
        assert list(entry) == ["id", "image", "split", "line", "sha256"]
        row = lines(out, entry["split"])[entry["line"] - 1]
        assert (row["id"], row["image"]) == (entry["id"], entry["image"])
        data = (out / "llava" / entry["image"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"]


def test_llava_15_reads_the_list(out):
    for split in SPLITS:
        found = rules.llava_15(out / "llava" / f"{split}.json", out / "llava")
        assert [turns for _, turns in found] == [r["conversations"] for r in lines(out, split)]
        assert {size for size, _ in found} == {(96, 64)}


def test_llava_next_and_internvl_train_on_the_training_split_alone(out, monkeypatch):
    monkeypatch.chdir(out / "llava")
    train = lines(out, "train")
    assert rules.llava_next("llava_next.yaml", ".") == train
    assert rules.internvl("internvl_meta.json") == train


def test_llama_factory_reads_every_split(out):
    for split in SPLITS:
        found = rules.llama_factory(out / "llava", f"sam2prep_{split}")
        texts = [[turn["value"] for turn in row["conversations"]] for row in lines(out, split)]
        assert [[turn["content"] for turn in turns] for turns in found] == texts


def test_qwen_vl_uses_every_image_once(out):
    for suffix in ("json", "jsonl"):
        found = rules.qwen_vl(out / "llava" / f"train.{suffix}", out / "llava")
        assert len(found) == len(lines(out, "train"))


def test_datasets_reads_the_lines_with_the_right_types(out):
    for split in SPLITS:
        path = str(out / "llava" / f"{split}.jsonl")
        loaded = datasets.load_dataset("json", data_files=path, split="train")
        text, number = datasets.Value("string"), datasets.Value("int64")
        assert dict(loaded.features) == {
            "id": text,
            "image": text,
            "conversations": datasets.List({"from": text, "value": text}),
            "masks": datasets.List(text),
            "bounding_boxes": datasets.List(datasets.List(number)),
            "labels": datasets.List(text),
            "height": number,
            "width": number,
        }
        assert loaded.to_list() == lines(out, split)


BOX = re.compile(r"\[(\d+), (\d+), (\d+), (\d+)\]")


def near(numbers, box, style, width=96, height=64):
    """Whether four written numbers are this box, given by its corners, as the style writes it."""
    if style == "norm1000":
        return np.abs(np.array(numbers) - np.array(box) * 1000 / ([width, height] * 2)).max() <= 1
    x1, y1, x2, y2 = box
    return list(numbers) == (box if style == "xyxy" else [x1, y1, x2 - x1, y2 - y1])


def test_ms_swift_gets_the_same_text_with_its_boxes_as_data(out):
    style = json.loads((out / "llava" / "manifest.json").read_text())["box_style"]
    total = 0
    for split in SPLITS:
        found = rules.ms_swift(out / "swift" / f"{split}.jsonl", out / "swift")
        for row, (_, messages, boxes) in zip(lines(out, split), found, strict=True):
            corners = [[x, y, x + w, y + h] for x, y, w, h in row["bounding_boxes"]]
            assert all(box in corners for box in boxes)
            answers = [turn["value"] for turn in row["conversations"][1::2]]
            said = [turn["value"] for turn in row["conversations"]]  # questions may hold a box
            written = [tuple(map(int, m)) for text in said for m in BOX.findall(text)]
            assert len(written) == len(boxes)
            for numbers, box in zip(written, boxes, strict=True):
                assert near(numbers, box, style)
            for text, message in zip(answers, messages[1::2], strict=True):
                assert BOX.sub("<bbox>", text) == message["content"]
            for message in messages[0::2]:
                assert "[x" not in message["content"]
            total += len(boxes)
    assert total > 100


def test_rules_refuse_what_trainers_spoil(out, tmp_path):
    """The checker itself: each of these loads somewhere without an error, and trains on garbage."""
    good = next(row for row in lines(out, "train") if len(row["conversations"]) >= 4)

    def refuses(change, rows=None):
        row = copy.deepcopy(good)
        change(row)
        path = tmp_path / "rows.json"
        path.write_text(json.dumps(rows or [row]))
        with pytest.raises(RefusedError):
            rules.llava_15(path, out / "llava")

    refuses(lambda row: row["conversations"].pop())
    refuses(lambda row: row["conversations"].pop(0))
    refuses(lambda row: row["conversations"][1].update(value=" "))
    refuses(lambda row: row["conversations"][3].update(value="see <image>"))
    refuses(lambda row: row["conversations"][1].update(value="yes</s>"))
    refuses(lambda row: row["conversations"][1].update(value="ok\nassistant"))
    refuses(lambda row: row.update(image="images/none.png"))
    for change in ({"label": "x"}, {"masks": [1]}, {"height": None}, {"height": 1.5}):
        (tmp_path / "rows.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in (good, good | change))
        )
        with pytest.raises(RefusedError):
            rules.read_lines(tmp_path / "rows.jsonl")


def test_the_order_of_the_exports_changes_no_byte(exports, tmp_path):
    paths = [export.path for export in exports]
    options = {"formats": ("llava", "swift"), "rows_per_shard": 7, "validation": "standard"}
    prepare(paths, tmp_path / "one", **options)
    prepare(paths[::-1], tmp_path / "two", **options)
    one, two = (
        {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        for root in (tmp_path / "one", tmp_path / "two")
    )
    del one["summary.json"], two["summary.json"]
    assert one == two
    rows = pq.read_table(tmp_path / "one" / "index").to_pylist()
    kept = [row for row in rows if row["status"] == "kept"]
    assert {row["row"] for row in kept} == {None}
    assert all(f"one/{row['shard']}" in {f"one/{name}" for name in one} for row in kept)
    assert {row["shard"].partition(".")[0] for row in kept} == {
        f"llava/images/{row['id']}" for row in kept
    }


def test_jpg_makes_every_image_a_jpeg(exports, tmp_path):
    prepare([exports[0].path], tmp_path / "o", formats=("llava",), image_format="jpg")
    rows = everything(tmp_path / "o")
    assert all(row["image"].endswith(".jpg") for row in rows)
    for row in rows:
        data = (tmp_path / "o" / "llava" / row["image"]).read_bytes()
        assert data.startswith(b"\xff\xd8\xff")
    rules.llava_15(tmp_path / "o" / "llava" / "train.json", tmp_path / "o" / "llava")


def test_an_image_that_cannot_be_encoded_is_set_aside(tmp_path, monkeypatch):
    export = write_sample_export(
        tmp_path / "a.zip", frames=12, width=96, height=64, dialect="coco", image_truncated=[4]
    )
    summary = prepare(
        [export.path], tmp_path / "o", formats=("llava",), image_format="jpg",
        check_images="header", validation="standard",
    )  # fmt: skip
    assert summary["total_samples"] == 11


def test_an_empty_split_has_no_files_and_the_manifest_says_so(exports, tmp_path):
    prepare([exports[0].path], tmp_path / "o", formats=("llava", "swift"), ratios=(0.0, 0.5, 0.5))
    place = tmp_path / "o" / "llava"
    manifest = json.loads((place / "manifest.json").read_text())
    assert manifest["empty_splits"] == ["train"]
    assert manifest["counts"]["train"] == 0
    assert not list((tmp_path / "o").rglob("train.json*"))
    assert not (place / "internvl_meta.json").exists()
    assert not (place / "llava_next.yaml").exists()
    assert list(json.loads((place / "dataset_info.json").read_text())) == [
        "sam2prep_validation", "sam2prep_test",
    ]  # fmt: skip


def test_hf_can_name_its_images_by_path(exports, tmp_path):
    out = tmp_path / "o"
    prepare([exports[0].path, exports[2].path], out, images="path", validation="standard")
    loaded = datasets.load_from_disk(str(out / "hf"))
    undecoded = loaded.cast_column("image", datasets.Image(decode=False))
    names = set()
    for split in loaded:
        for row, raw in zip(loaded[split], undecoded[split], strict=True):
            assert row["image"].size == (96, 64)
            assert raw["image"]["bytes"] is None
            assert raw["image"]["path"].rpartition(".")[0] == f"{out}/images/{row['id']}"
            names.add(raw["image"]["path"])
    assert names == {str(p) for p in (out / "images").glob("*/*")}
    listed = [
        file["path"] for path in (out / "digests").iterdir()
        for file in pq.read_table(path).to_pylist()
    ]  # fmt: skip
    assert {f"{out}/{name}" for name in listed} == names
    rows = pq.read_table(out / "index").to_pylist()
    kept = [row for row in rows if row["status"] == "kept"]
    assert all(row["row"] is None and (out / row["shard"]).is_file() for row in kept)
    data = np.asarray(loaded["train"][0]["image"])
    assert data.shape == (64, 96, 3)


def test_images_are_on_the_disk_before_the_manifest_is(exports, tmp_path, monkeypatch):
    """All images are there when the last sync begins, and it ends before the manifest is there."""
    seen = []

    def sync(place):
        assert not (tmp_path / "o" / "manifest.json").exists()
        seen.append(len(list(place.glob("llava/images/*/*.png"))))

    monkeypatch.setattr("engine.storage.sync_filesystem", sync)
    prepare([exports[0].path], tmp_path / "o", formats=("llava",), rows_per_shard=7)
    assert len(list((tmp_path / "o" / "digests").iterdir())) == 5
    assert 1 <= len(seen) <= 5
    assert seen[-1] == 24, "the last of them found every image"


def test_one_image_is_stored_once_for_all_formats(exports, tmp_path):
    out = tmp_path / "o"
    prepare([exports[0].path], out, formats=("hf", "llava", "swift"), images="path")
    for file in (out / "images").glob("*/*"):
        name = file.relative_to(out)
        assert file.stat().st_nlink == 3
        assert file.samefile(out / "llava" / name)
        assert file.samefile(out / "swift" / name)


def test_a_relative_place_is_named_in_full(exports, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare([exports[0].path], "o", images="path")
    monkeypatch.chdir("/")
    loaded = datasets.load_from_disk(str(tmp_path / "o" / "hf"))
    assert loaded["test"][0]["image"].size == (96, 64)
