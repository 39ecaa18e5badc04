"""The splits that were asked for, counted in the datasets, not in what is said of them."""

import itertools
import json
from collections import Counter, defaultdict

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.sample_export import write_sample_export

SPLITS = ("train", "validation", "test")
SMALL = {"width": 32, "height": 24, "dialect": "coco", "truth": False}


def prepared(sources, out, **config):
    execution = engine.Execution(runner="local")
    summary = engine.prepare(
        [str(s) for s in sources], str(out), engine.Config(**config), execution
    )
    assert summary["status"] != "FAILED", summary["findings"]
    return datasets.load_from_disk(str(out / "hf"))


def read(dataset, name):
    return dataset.select_columns([name]).with_format("arrow")[:][name].to_pylist()


@pytest.fixture(scope="module")
def balanced(tmp_path_factory):
    """1500 frames of one object each: 60 % person, 30 % dog, 10 % car."""
    place = tmp_path_factory.mktemp("stratified")
    counts = {"person": 900, "dog": 450, "car": 150}
    truth = write_sample_export(
        place / "street.zip", frames=1500, class_counts=counts, seed=3, **SMALL | {"truth": True}
    )
    assert Counter(o.label for f in truth.frames for o in f.objects) == counts
    assert all(len(frame.objects) == 1 for frame in truth.frames)
    return place / "out", prepared([place / "street.zip"], place / "out", ratios=(0.8, 0.1, 0.1))


@pytest.fixture(scope="module")
def by_video(tmp_path_factory):
    """900 frames of three videos."""
    place = tmp_path_factory.mktemp("temporal")
    sources = [place / f"{number}.zip" for number in range(3)]
    for number, source in enumerate(sources):
        write_sample_export(source, frames=300, seed=number, **SMALL)
    return place / "out", prepared(sources, place / "out", split="temporal")


def test_sizes_are_exact(balanced):
    _, dataset = balanced
    assert {name: len(dataset[name]) for name in dataset} == {
        "train": 1200, "validation": 150, "test": 150,
    }  # fmt: skip


def test_every_class_is_within_a_point_of_its_share_in_every_split(balanced):
    _, dataset = balanced
    wanted = {"person": 60.0, "dog": 30.0, "car": 10.0}
    for name in SPLITS:
        counts = Counter(label for labels in read(dataset[name], "labels") for label in labels)
        assert counts.keys() == wanted.keys()
        for label, share in wanted.items():
            assert abs(100 * counts[label] / counts.total() - share) <= 1, (name, label, counts)


def test_every_frame_is_in_one_split_once(balanced):
    _, dataset = balanced
    ids = [frame_id for name in SPLITS for frame_id in read(dataset[name], "id")]
    assert len(ids) == len(set(ids)) == 1500


def test_no_video_is_in_two_splits_and_every_split_has_one(by_video):
    _, dataset = by_video
    videos = {name: set(read(dataset[name], "video_id")) for name in SPLITS}
    assert all(videos.values())
    assert sum(len(each) for each in videos.values()) == len(set.union(*videos.values())) == 3
    assert sum(len(dataset[name]) for name in SPLITS) == 900


@pytest.mark.parametrize("which", ["balanced", "by_video"])
def test_the_index_says_where_every_frame_is(which, request):
    out, dataset = request.getfixturevalue(which)
    index = pq.read_table(out / "index").to_pylist()
    shards = {}
    for path in sorted((out / "hf").glob("*/*.arrow")):
        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
            shards[path.relative_to(out).as_posix()] = stream.read_all()["id"].to_pylist()
    assert {row["shard"] for row in index} == shards.keys()
    for row in index:
        assert row["status"] == "kept"
        assert row["shard"].split("/")[1] == row["split"]
        assert shards[row["shard"]][row["row"]] == row["id"]
    assert len(index) == sum(len(ids) for ids in shards.values())

    split = json.loads((out / "split.json").read_text())
    by_split = defaultdict(set)
    for row in index:
        by_split[row["split"]].add(row["id"])
    assert split["sizes"] == {name: len(by_split[name]) for name in SPLITS}
    for name in SPLITS:
        assert by_split[name] == set(read(dataset[name], "id"))


def test_the_certificate_says_what_the_datasets_show(balanced):
    out, dataset = balanced
    certificate = json.loads((out / "split.json").read_text())["certificate"]
    for label, said in certificate["classes"].items():
        counts = {
            name: sum(x.count(label) for x in read(dataset[name], "labels")) for name in SPLITS
        }
        assert said["instances"] == counts
        total = sum(counts.values())
        for name, ratio in zip(SPLITS, (0.8, 0.1, 0.1), strict=True):
            points = 100 * (counts[name] / total - ratio)
            assert said["deviation_points"][name] == pytest.approx(points, abs=1e-5)


def test_random_has_exact_sizes_too(tmp_path):
    write_sample_export(tmp_path / "a.zip", frames=97, **SMALL)
    dataset = prepared(
        [tmp_path / "a.zip"], tmp_path / "out", split="random", ratios=(0.7, 0.2, 0.1)
    )
    assert [len(dataset[name]) for name in SPLITS] == [68, 19, 10]
    indices = [read(dataset[name], "frame_index") for name in SPLITS]
    assert sorted(itertools.chain(*indices)) == list(range(0, 97 * 6, 6))
    assert indices[2] != list(range(87 * 6, 97 * 6, 6)), "random, not the tail of the video"
