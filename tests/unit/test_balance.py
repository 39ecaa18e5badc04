"""What is missing, where it could be found, and weights: against brute force and the paper."""

import json
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine import Config, Execution
from engine.balance import (
    class_advice,
    missing_instances,
    repeat_factors,
    row_weights,
    weights_document,
)
from engine.quality import imbalance_of
from engine.sample_export import write_sample_export

HERE = Execution(runner="local")
LABELS = st.lists(st.lists(st.sampled_from(["a", "b", "c", 'd"\n']), max_size=5), max_size=30)


def array(rows):
    return pa.array(rows, pa.list_(pa.string()))


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.floats(1.01, 100))
def test_the_missing_instances_are_just_enough(largest, count, threshold):
    missing = missing_instances(largest, count, threshold)
    assert missing >= 0
    assert not largest >= threshold * (count + missing)
    assert missing == 0 or largest >= threshold * (count + missing - 1)
    # The same in whole numbers, where floats cannot be a hair off.
    exact = max(0, math.floor(Fraction(largest) / Fraction(threshold)) + 1 - count)
    assert abs(missing - exact) <= 1


def test_the_missing_instances_of_the_specification():
    assert missing_instances(2800, 300, 9.0) == 12  # 2800 / 312 = 8.97
    assert missing_instances(900, 100, 9.0) == 1
    assert missing_instances(899, 100, 9.0) == 0


@given(LABELS.filter(lambda rows: len({x for row in rows for x in row}) > 1))
def test_the_advice_is_that_of_counting_by_hand(rows):
    videos = [f"v{i % 3}" for i in range(len(rows))]
    counts = Counter(label for row in rows for label in row)
    imbalance = imbalance_of(dict(counts), 1.5)
    if not imbalance["severe"]:
        return
    table = pa.table({"labels": array(rows), "video_id": videos})
    advice = class_advice(table, counts, imbalance)
    assert [each["label"] for each in advice] == sorted(
        imbalance["minority"], key=lambda label: (counts[label], label)
    )
    for each in advice:
        held = Counter(
            video
            for row, video in zip(rows, videos, strict=True)
            for x in row
            if x == each["label"]
        )
        wanted = sorted(held.items(), key=lambda item: (-item[1], item[0]))
        assert [(v["video_id"], v["instances"]) for v in each["videos"]] == wanted
        assert each["videos_in_all"] == len(held)
        assert each["instances"] + each["missing"] == min(
            n for n in range(1, 200) if max(counts.values()) < 1.5 * n
        )


def test_the_advice_is_bounded():
    rows = [["big"] * 200, *([f"rare {i:03d}"] for i in range(300))]
    counts = Counter(label for row in rows for label in row)
    table = pa.table({"labels": array(rows), "video_id": [f"v{i}" for i in range(301)]})
    assert len(class_advice(table, counts, imbalance_of(dict(counts), 9.0))) == 100
    rows = [["big"] * 500, *(["rare"] for _ in range(50))]
    counts = Counter(label for row in rows for label in row)
    table = pa.table({"labels": array(rows), "video_id": [f"v{i}" for i in range(51)]})
    (rare,) = class_advice(table, counts, imbalance_of(dict(counts), 9.0))
    assert (len(rare["videos"]), rare["videos_in_all"]) == (20, 50)


def lvis(rows):
    """The paper's formula, a row at a time, with t as the share of the most frequent class."""
    frames = Counter(label for row in rows for label in set(row))
    share = {label: n / len(rows) for label, n in frames.items()}
    t = max(share.values(), default=0)
    return [max([1.0, *(max(1, math.sqrt(t / share[x])) for x in row)]) for row in rows]


@given(LABELS)
def test_weights_are_those_of_the_paper_in_row_order(rows):
    document = weights_document(array(rows))
    weights = np.repeat(document["values"], document["counts"])
    assert weights.shape == (len(rows),)
    assert np.allclose(weights, lvis(rows), atol=1e-4)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["rows"] == len(rows)
    instances = Counter(label for row in rows for label in row)
    assert {k: v["instances"] for k, v in document["classes"].items()} == instances
    assert list(document["classes"]) == sorted(instances)


def test_runs_are_as_long_as_they_can_be():
    document = weights_document(array([["a"], ["a"], ["a", "b"], ["a"], [], ["a"]]))
    assert document["counts"] == [2, 1, 3]
    assert document["values"] == [1.0, round(math.sqrt(5), 4), 1.0]


def test_a_slice_of_a_larger_table_is_weighed_as_itself():
    rows = array([["x"], ["a"], ["a", "b"], ["x"]]).slice(1, 2)
    assert row_weights(rows, {"a": 1.0, "b": 2.0}).tolist() == [1.0, 2.0]
    assert weights_document(rows)["counts"] == [1, 1]
    assert repeat_factors({}, 0) == {}


def test_a_million_rows_stay_small():
    rows = pa.array([["person"], ["person", "dog"]] * 500, pa.list_(pa.string()))
    rows = pa.concat_arrays([rows] * 1000)
    assert len(json.dumps(weights_document(rows))) < 12_000_000  # runs of one row: the worst case


def test_the_file_fits_the_dataset_row_by_row(tmp_path):
    counts = {"person": 60, "car": 20, "dog": 4}
    truth = write_sample_export(
        tmp_path / "a.zip", frames=60, width=24, height=16, dialect="coco", class_counts=counts,
        truth=False,
    )  # fmt: skip
    out = tmp_path / "out"
    config = Config(rows_per_shard=7)
    summary = engine.prepare([str(truth.path)], str(out), config, HERE)
    assert summary["status"] == "PASSED_WITH_WARNINGS"
    from datasets import load_from_disk

    train = load_from_disk(str(out / "hf"))["train"]
    document = json.loads((out / "report/sampling_weights.json").read_text())
    weights = np.repeat(document["values"], document["counts"])
    assert np.allclose(weights, lvis(train["labels"][:]), atol=1e-4)
    assert len(set(weights.tolist())) > 1
    manifest = json.loads((out / "manifest.json").read_text())
    assert "report/sampling_weights.json" in {file["path"] for file in manifest["files"]}


def test_weights_follow_rows_that_move_or_drop_out_while_shards_are_written(tmp_path):
    """Frames without objects come first in this video, and an image turns out to be bad."""
    truth = write_sample_export(
        tmp_path / "a.zip", frames=20, width=96, height=64, truth=False, flicker=range(5, 15),
        hidden={0: (0, 1), 1: (0, 1)}, image_truncated=[4],
    )  # fmt: skip
    out = tmp_path / "out"
    config = Config(ratios=(1.0, 0.0, 0.0), validation="standard")
    assert engine.prepare([str(truth.path)], str(out), config, HERE)["total_samples"] == 19
    from datasets import load_from_disk

    train = load_from_disk(str(out / "hf"))["train"]
    document = json.loads((out / "report/sampling_weights.json").read_text())
    weights = np.repeat(document["values"], document["counts"])
    assert np.allclose(weights, lvis(train["labels"][:]), atol=1e-4)
    assert document["rows"] == len(train) == 19
    assert set(weights.tolist()) == {1.0, max(weights)} != {1.0}


def test_a_sampler_takes_the_weights():
    torch = pytest.importorskip("torch")
    document = weights_document(array([["a"], ["a"], ["a", "b"]]))
    weights = np.repeat(document["values"], document["counts"])
    sampler = torch.utils.data.WeightedRandomSampler(weights, num_samples=3)
    assert set(sampler) <= {0, 1, 2}
