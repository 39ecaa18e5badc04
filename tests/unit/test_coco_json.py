"""COCO files, read by pycocotools itself and held against the masks they were made of."""

import hashlib
import json
import random

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from engine import coco_json
from engine.image_files import video_folder
from tests.written_samples import HEIGHT, WIDTH, blob, frame, image, nothing, written

HOSTILE = ['"},{"id":1', "犬", "a\nb", "\\", "</script>", "null", "\u2028", "dog"]


def rows(video, indices, labels=("dog", "cat"), first_id=7):
    return [
        frame(
            video, n,
            [(label, first_id + k, blob(100 * n + k)) for k, label in enumerate(labels)][: n % 3],
        )
        for n in indices
    ]  # fmt: skip


def load(root, split="train"):
    return COCO(str(root / "coco" / "annotations" / f"instances_{split}.json"))


def test_pycocotools_gives_back_the_masks(tmp_path):
    shards = [rows("a", [2, 0, 1]), rows("a", [3, 4]) + rows("b", [5, 2])]
    coco_json.finish(str(tmp_path), [written(coco_json, tmp_path, shards)])
    loaded = load(tmp_path)
    given = {(row["video_id"], row["frame_index"]): row for shard in shards for row in shard}
    assert len(loaded.imgs) == len(given) == 7
    videos = {video["id"]: video["name"] for video in loaded.dataset["videos"]}
    for number, entry in loaded.imgs.items():
        row = given[videos[entry["video_id"]], entry["frame_index"]]
        found = loaded.loadAnns(loaded.getAnnIds(imgIds=[number]))
        assert len(found) == len(row["labels"]) == entry["frame_index"] % 3
        for k, annotation in enumerate(found):
            expected = blob(100 * entry["frame_index"] + k)
            np.testing.assert_array_equal(loaded.annToMask(annotation), expected)
            assert annotation["area"] == expected.sum()
            ys, xs = np.nonzero(expected)
            assert annotation["bbox"] == [
                xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1
            ]  # fmt: skip
            assert loaded.cats[annotation["category_id"]]["name"] == row["labels"][k]
            assert annotation["object_id"] == row["object_ids"][k]
            assert annotation["iscrowd"] == 0
            assert isinstance(annotation["segmentation"]["counts"], str)


def test_images_lie_where_the_file_says(tmp_path):
    coco_json.finish(str(tmp_path), [written(coco_json, tmp_path, [rows("a", [0, 4])])])
    for entry in load(tmp_path).imgs.values():
        place = tmp_path / "coco" / "images" / entry["file_name"]
        assert place.read_bytes() == image(entry["frame_index"])
        with Image.open(place) as opened:
            assert opened.size == (entry["width"], entry["height"]) == (WIDTH, HEIGHT)


def test_ids_mean_the_same_in_every_split(tmp_path):
    """Categories and videos of which a split has nothing are there all the same."""
    splits = [
        written(coco_json, tmp_path, [rows("b", [1, 2], ["dog"]), rows("a", [5], ["cat", "ox"])]),
        written(coco_json, tmp_path, [rows("b", [4, 8], ["dog", "ant"])], split="validation"),
        written(coco_json, tmp_path, [rows("a", [11], ["cat", "ox"])], split="test"),
    ]
    coco_json.finish(str(tmp_path), splits)
    files = [load(tmp_path, split) for split in ("train", "validation", "test")]
    names = [{c["id"]: c["name"] for c in file.dataset["categories"]} for file in files]
    assert names == [{1: "ant", 2: "cat", 3: "dog", 4: "ox"}] * 3
    assert [file.dataset["videos"] for file in files] == [files[0].dataset["videos"]] * 3
    for kind in ("images", "annotations"):
        ids = [entry["id"] for file in files for entry in file.dataset[kind]]
        assert ids == list(range(1, len(ids) + 1)), "unique over the splits"
    tracks = {}
    for file in files:
        for annotation in file.anns.values():
            video = file.imgs[annotation["image_id"]]["video_id"]
            tracks.setdefault(annotation["track_id"], set()).add((video, annotation["object_id"]))
    assert all(len(objects) == 1 for objects in tracks.values())
    assert len({next(iter(objects)) for objects in tracks.values()}) == len(tracks) == 4


def test_an_object_without_an_id_has_no_track(tmp_path):
    objects = [("dog", None, blob(1)), ("dog", None, blob(2)), ("dog", 0, blob(3))]
    coco_json.finish(
        str(tmp_path), [written(coco_json, tmp_path, [[frame("a", n, objects) for n in (0, 1)]])]
    )
    found = list(load(tmp_path).anns.values())
    assert [annotation["track_id"] for annotation in found] == [None, None, 1] * 2
    assert [annotation["object_id"] for annotation in found] == [None, None, 0] * 2


def test_frames_without_objects_are_images(tmp_path):
    coco_json.finish(str(tmp_path), [written(coco_json, tmp_path, [rows("a", [0, 3])])])
    loaded = load(tmp_path)
    assert len(loaded.imgs) == 2
    assert loaded.anns == {}
    assert loaded.dataset["categories"] == []


def test_a_split_without_rows_has_no_file(tmp_path):
    one = written(coco_json, tmp_path, [rows("a", [1])], split="validation")
    files = coco_json.finish(str(tmp_path), [nothing("train"), one, nothing("test")])
    assert [file.path for file in files] == ["coco/annotations/instances_validation.json"]
    assert coco_json.finish(str(tmp_path), [nothing("train")]) == []


def test_a_shard_of_which_nothing_is_left(tmp_path):
    """All its images turned out bad; the images of the next are counted on rightly."""
    shards = [rows("a", [1]), [], rows("a", [2, 5]), []]
    coco_json.finish(str(tmp_path), [written(coco_json, tmp_path, shards)])
    loaded = load(tmp_path)
    frames = {number: entry["frame_index"] for number, entry in loaded.imgs.items()}
    assert frames == {1: 1, 2: 2, 3: 5}
    assert [a["image_id"] for a in loaded.anns.values()] == [1, 2, 2, 3, 3]


def test_hostile_labels_and_names(tmp_path):
    video = 'v"},[犬'
    given = [frame(video, 0, [(label, k, blob(k)) for k, label in enumerate(HOSTILE)])]
    coco_json.finish(str(tmp_path), [written(coco_json, tmp_path, [given])])
    path = tmp_path / "coco" / "annotations" / "instances_train.json"
    assert path.read_bytes().isascii()
    loaded = load(tmp_path)
    names = [loaded.cats[a["category_id"]]["name"] for a in loaded.anns.values()]
    assert names == HOSTILE
    assert [c["name"] for c in loaded.dataset["categories"]] == sorted(HOSTILE)
    (entry,) = loaded.imgs.values()
    assert entry["file_name"].split("/")[0] == video_folder(video)
    assert loaded.dataset["videos"][0]["name"] == video_folder(video)


def test_digests_are_those_of_the_files(tmp_path):
    splits = [written(coco_json, tmp_path, [rows("a", [1, 2])])]
    for file in coco_json.finish(str(tmp_path), splits):
        data = (tmp_path / file.path).read_bytes()
        assert (file.sha256, file.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_the_files_do_not_show_how_the_rows_came(batch, tmp_path):
    shards = [rows("a", range(7)), rows("b", range(4))]
    whole = coco_json.finish(str(tmp_path / "1"), [written(coco_json, tmp_path / "1", shards)])
    parts = written(coco_json, tmp_path / "2", shards, batch=batch)
    assert coco_json.finish(str(tmp_path / "2"), [parts]) == whole


def test_no_more_than_a_shard_is_in_memory(tmp_path, monkeypatch):
    """Each piece is read when its entries are written, one after the other."""
    shards = [rows("a", range(10 * k, 10 * k + 9)) for k in range(6)]
    parts = written(coco_json, tmp_path, shards)
    read, held = coco_json.read_bytes, []
    largest = 0

    def counted(path):
        data = read(path)
        held.append(len(data))
        return data

    write = coco_json.AtomicFile.write

    def watched(self, data):
        nonlocal largest
        largest = max(largest, len(data))
        return write(self, data)

    monkeypatch.setattr(coco_json, "read_bytes", counted)
    monkeypatch.setattr(coco_json.AtomicFile, "write", watched)
    coco_json.finish(str(tmp_path), [parts])
    assert len(held) == 18, "three pieces a shard, each once"
    assert largest < 2 * max(held)


def test_loadres_takes_it_as_ground_truth(tmp_path):
    """What an evaluation does: our own annotations as results score perfectly."""
    from pycocotools.cocoeval import COCOeval

    shards = [rows("a", random.Random(3).sample(range(40), 20))]
    coco_json.finish(str(tmp_path), [written(coco_json, tmp_path, shards)])
    truth = load(tmp_path)
    results = [
        {key: a[key] for key in ("image_id", "category_id", "segmentation")} | {"score": 0.9}
        for a in json.loads(json.dumps(truth.dataset["annotations"]))
    ]
    evaluation = COCOeval(truth, truth.loadRes(results), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)
