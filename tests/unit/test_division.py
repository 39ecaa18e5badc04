"""Splits, folds and split files through `prepare`, counted in what it leaves behind."""

import itertools
import json
from collections import Counter, defaultdict

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.dividing import divide
from engine.errors import ConfigError, UsageError
from engine.frame_index import FrameIndex
from engine.sample_export import write_sample_export
from engine.split_file import parse_ranges

SPLITS = ("train", "validation", "test")
SMALL = {"width": 32, "height": 24, "dialect": "coco", "truth": False}


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """Eight videos of 7 to 14 frames, each sixth frame of 30 a second."""
    place = tmp_path_factory.mktemp("exports")
    for number in range(8):
        labels = ("person", "dog") if number % 2 else ("person", "car")
        write_sample_export(
            place / f"{number}.zip", frames=7 + number, seed=number, labels=labels, **SMALL
        )
    return sorted(place.glob("*.zip"))


def prepared(sources, out, **config):
    execution = engine.Execution(runner="local")
    summary = engine.prepare(
        [str(source) for source in sources], str(out), engine.Config(**config), execution
    )
    assert summary["status"] != "FAILED", summary["findings"]
    return summary


def index_of(out):
    rows = pq.read_table(out / "index").to_pylist()
    return sorted(rows, key=lambda row: (row["video_id"], row["frame_index"], row["id"]))


def split_of(out):
    return json.loads((out / "split.json").read_text())


def found_in(out):
    document = json.loads((out / "report/validation.json").read_text())
    return {finding["code"]: finding for finding in document["findings"]}


def unfolded(table):
    """{(video, frame_index): name} of an assignment."""
    return {
        (video, frame): name
        for video, row in table.items()
        for name, text in row.items()
        for frame in parse_ranges(text).tolist()
    }


def splits_by_video(out):
    splits = defaultdict(set)
    for row in index_of(out):
        if row["split"]:
            splits[row["video_id"]].add(row["split"])
    return splits


@pytest.mark.parametrize("split", ["stratified", "random"])
@pytest.mark.parametrize("group_by", ["video", "content"])
def test_whole_videos_stay_whole(exports, tmp_path, split, group_by):
    summary = prepared(exports, tmp_path, split=split, group_by=group_by, ratios=(0.6, 0.2, 0.2))
    splits = splits_by_video(tmp_path)
    assert all(len(each) == 1 for each in splits.values())
    assert set.union(*splits.values()) == set(SPLITS)
    document = split_of(tmp_path)
    assert document["group_by"] == group_by
    paper = document["certificate"]
    assert paper["neighbours"] is None
    assert paper["smallest_distance_frames"] is None
    assert paper["videos_in_several_splits"] == paper["groups_in_several_splits"] == 0
    assert (paper["solver"]["name"], paper["solver"]["optimal"]) == ("enumeration", True)
    counted = Counter(next(iter(each)) for each in splits.values())
    assert paper["groups"] == dict(sorted(counted.items()))
    assert "split_leakage" not in found_in(tmp_path)
    assert sum(summary["splits"].values()) == 84


def test_a_frame_level_split_is_noted_and_does_not_change_the_status(exports, tmp_path):
    summary = prepared(exports[:2], tmp_path, ratios=(0.5, 0.25, 0.25))
    assert summary["status"] == "PASSED"
    finding = found_in(tmp_path)["split_leakage"]
    assert finding["severity"] == "note"
    assert finding["message"] == (
        "2 videos (100.0%) have neighbouring, equal or similar frames in more than one split"
    )
    assert "--group-by video" in finding["recommendation"]
    assert "--split temporal" in finding["recommendation"]
    rows = index_of(tmp_path)
    for video, example in zip(finding["videos"], finding["examples"], strict=True):
        own = sorted((r["frame_index"], r["split"]) for r in rows if r["video_id"] == video)
        apart = [b[0] - a[0] for a, b in itertools.pairwise(own) if a[1] != b[1]]
        assert example == (
            f"{video}: {len(apart)} of {len(own) - 1} pairs of neighbouring frames lie in "
            f"different splits, the nearest {min(apart)} frames apart"
        )
    paper = split_of(tmp_path)["certificate"]
    assert paper["smallest_distance_frames"] == 6
    lines = (tmp_path / "report/issues.jsonl").read_text().splitlines()
    assert [json.loads(line)["code"] for line in lines] == ["split_leakage"] * 2


def test_segments_leave_a_gap_that_is_accounted_for(tmp_path):
    source = tmp_path / "one.zip"
    write_sample_export(source, frames=60, seed=1, **SMALL)  # 5 frames a second
    out = tmp_path / "out"
    summary = prepared([source], out, split="temporal", temporal_segments=True, gap_sec=1.0)
    rows = sorted(index_of(out), key=lambda row: row["frame_index"])
    left_out = [row for row in rows if row["status"] == "excluded"]
    # Four frames lie within a second after the last one of a stretch, at two cuts.
    assert len(left_out) == 8
    assert {row["excluded_because"] for row in left_out} == {"temporal_gap"}
    assert all(row["split"] is row["shard"] is row["row"] is None for row in left_out)
    assert {row["status"] for row in rows if row not in left_out} == {"kept"}
    kept = [row for row in rows if row["split"]]
    assert [SPLITS.index(row["split"]) for row in kept] == sorted(
        SPLITS.index(row["split"]) for row in kept
    )
    for one, other in itertools.pairwise(kept):
        assert one["split"] == other["split"] or other["frame_index"] - one["frame_index"] >= 30
    account = summary["accounting"]
    assert account["frames_in"] == 60 == account["kept"] + account["excluded_temporal_gap"]
    assert account["objects_in"] == 120
    assert account["objects_excluded_temporal_gap"] == 16
    document = split_of(out)
    assert document["excluded"] == {"temporal_gap": 8}
    assert document["certificate"]["smallest_distance_frames"] == 30
    named = unfolded(document["assignment"])
    assert {frame for (_, frame), name in named.items() if name == "excluded"} == {
        row["frame_index"] for row in left_out
    }
    assert "split_leakage" not in found_in(out)
    assert summary["splits"] == {"train": 42, "validation": 5, "test": 5}

    without = tmp_path / "no gap"
    prepared([source], without, split="temporal", temporal_segments=True, gap_sec=0)
    assert found_in(without)["split_leakage"]["count"] == 1
    assert (
        "excluded_temporal_gap"
        not in json.loads((without / "summary.json").read_text())["accounting"]
    )


def test_temporal_with_too_few_videos_and_videos_too_short_are_refused(exports, tmp_path):
    with pytest.raises(UsageError, match="2 videos, expected at least 3; use --temporal-segments"):
        prepared(exports[:2], tmp_path / "out", split="temporal")
    with pytest.raises(UsageError, match=r"too short .* gap of 5 s"):
        prepared(exports[:1], tmp_path / "out", split="temporal", temporal_segments=True, gap_sec=5)
    with pytest.raises(UsageError, match=r"--group-by: each split .* got 2 videos"):
        prepared(exports[:2], tmp_path / "out", group_by="video")
    with pytest.raises(UsageError, match=r"--folds 9: .* got 8 videos"):
        prepared(exports, tmp_path / "out", group_by="video", folds=9, ratios=(1.0, 0.0, 0.0))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"split": "random"},
        {"group_by": "video"},
        {"split": "temporal"},
        {"split": "temporal", "temporal_segments": True, "gap_sec": 0.3},
    ],
)
def test_folds_share_out_train_and_validation(exports, tmp_path, how):
    prepared(exports, tmp_path, folds=3, **how)
    rows = index_of(tmp_path)
    document = split_of(tmp_path)
    folds = document["folds"]
    whole = how.get("group_by") == "video" or how == {"split": "temporal"}
    segments = "temporal_segments" in how
    for row in rows:
        inside = row["split"] in ("train", "validation")
        if segments and inside:
            assert row["fold"] in (None, 0, 1, 2)
        else:
            assert (row["fold"] is not None) == inside
    counts = Counter(row["fold"] for row in rows if row["fold"] is not None)
    assert {name: each["achieved"] for name, each in folds["certificate"]["sizes"].items()} == {
        str(fold): counts[fold] for fold in range(3)
    }
    if not whole and not segments:
        assert max(counts.values()) - min(counts.values()) <= 1
    of_video = defaultdict(set)
    for row in rows:
        of_video[row["video_id"]].add(row["fold"])
    divided = [video for video, found in of_video.items() if len(found - {None}) > 1]
    assert folds["certificate"]["groups_in_several_folds"] == len(divided)
    assert bool(divided) is not whole
    if segments:
        for video in of_video:
            own = sorted(
                (r["frame_index"], r["fold"]) for r in rows
                if r["video_id"] == video and r["fold"] is not None
            )  # fmt: skip
            for one, other in itertools.pairwise(own):
                assert one[1] == other[1] or other[0] - one[0] >= 9

    data = datasets.load_from_disk(str(tmp_path / "hf"))
    ids = {name: data[name]["id"] for name in data}
    used = Counter()
    for fold in range(3):
        file = json.loads((tmp_path / f"folds/fold-{fold}.json").read_text())
        selected = {
            side: {
                ids[name][row]
                for name, text in file["rows"][side].items()
                for row in parse_ranges(text).tolist()
            }
            for side in ("train", "validation")
        }
        assert selected["validation"] == {row["id"] for row in rows if row["fold"] == fold}
        assert selected["train"] == {row["id"] for row in rows if row["fold"] not in (None, fold)}
        named = unfolded(file["assignment"])
        for side in ("train", "validation"):
            assert selected[side] == {f"{v}/{i:06d}" for (v, i), s in named.items() if s == side}
            assert file["sizes"][side] == len(selected[side])
        used.update(selected["validation"])
    assert set(used.values()) == {1}
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert {f"folds/fold-{fold}.json" for fold in range(3)} <= {
        file["path"] for file in manifest["files"]
    }


def test_folds_select_rows_as_they_were_written(tmp_path):
    # The first frames have no objects, so the row that has comes before them in its file.
    write_sample_export(
        tmp_path / "a.zip",
        frames=40,
        labels=("person", "dog"),
        hidden=dict.fromkeys(range(12), (0, 1)),
        **SMALL,
    )
    prepared([tmp_path / "a.zip"], tmp_path / "out", folds=4, warn_on=("mask_empty",))
    data = datasets.load_from_disk(str(tmp_path / "out/hf"))
    rows = index_of(tmp_path / "out")
    assert data["train"]["frame_index"] != sorted(data["train"]["frame_index"])
    for row in rows:
        if row["split"]:
            assert data[row["split"]][row["row"]]["id"] == row["id"]
    for fold in range(4):
        file = json.loads((tmp_path / f"out/folds/fold-{fold}.json").read_text())
        chosen = {
            data[name][place]["id"]
            for name, text in file["rows"]["validation"].items()
            for place in parse_ranges(text).tolist()
        }
        assert chosen == {row["id"] for row in rows if row["fold"] == fold}


def test_what_was_proved_is_not_claimed_of_fewer_frames():
    videos = [f"v{place // 7}" for place in range(42)]
    frames = [place % 7 for place in range(42)]
    table = pa.table({
        "id": [f"{video}/{frame:06d}" for video, frame in zip(videos, frames, strict=True)],
        "video_id": videos, "frame_index": frames, "timestamp_sec": [0.1 * n for n in frames],
        "labels": [["dog"] if int(video[1]) % 2 else ["cat"] for video in videos],
    })  # fmt: skip
    index = FrameIndex(files=(), table=table)
    division = divide(index, np.ones(42, dtype=bool), engine.Config(group_by="video", folds=2))
    fewer = division.assignment.copy()
    for assignment, optimal in ((division.assignment, True), (fewer, None)):
        fewer[0] = -1
        document = division.document(assignment)
        for paper in (document["certificate"], document["folds"]["certificate"]):
            assert paper["solver"]["name"] == "enumeration"
            assert paper["solver"]["optimal"] is optimal
            assert ("the best is off by" in (paper["goal"]["reason"] or "")) is bool(optimal)


def test_without_folds_there_are_none(exports, tmp_path):
    prepared(exports, tmp_path)
    assert not (tmp_path / "folds").exists()
    assert {row["fold"] for row in index_of(tmp_path)} == {None}
    assert "folds" not in split_of(tmp_path)


@pytest.mark.parametrize(
    "how",
    [
        {"seed": 5},
        {"group_by": "video", "folds": 3},
        {"split": "temporal", "temporal_segments": True, "gap_sec": 0.4},
        {"split": "random", "ratios": (0.5, 0.5, 0.0)},
    ],
)
def test_a_split_file_gives_the_same_split(exports, tmp_path, how):
    prepared(exports, tmp_path / "first", **how)
    first = split_of(tmp_path / "first")
    seed = {"seed": how["seed"]} if "seed" in how else {}
    prepared(exports[::-1], tmp_path / "second", split_file=first, **seed)
    second = split_of(tmp_path / "second")
    for key in first.keys() - {"certificate", "folds", "excluded"}:
        assert first[key] == second[key], key
    assert sum(first["excluded"].values()) == sum(second["excluded"].values())
    assert second["certificate"]["solver"]["name"] == "split_file"
    assert second["certificate"]["classes"] == first["certificate"]["classes"]
    same = ("id", "split", "shard", "row", "status", "fold")
    one, two = (
        [[row[name] for name in same] for row in index_of(tmp_path / out)]
        for out in ("first", "second")
    )
    assert one == two
    for folder in ("hf", "folds"):
        for path in sorted((tmp_path / "first" / folder).rglob("*")):
            if path.is_file():
                other = tmp_path / "second" / path.relative_to(tmp_path / "first")
                assert path.read_bytes() == other.read_bytes()


def test_a_split_file_does_not_hang_on_the_algorithm(exports, tmp_path, monkeypatch):
    prepared(exports[:3], tmp_path / "first")
    first = split_of(tmp_path / "first")
    monkeypatch.setattr("engine.dividing.divide_frames", None)
    prepared(exports[:3], tmp_path / "second", split_file=first)
    assert split_of(tmp_path / "second")["assignment"] == first["assignment"]


def test_an_edited_split_file_is_certified_for_what_it_is(exports, tmp_path):
    prepared(exports, tmp_path / "first", group_by="video")
    document = split_of(tmp_path / "first")
    video, row = next(iter(document["assignment"].items()))
    frames = parse_ranges(next(iter(row.values()))).tolist()
    document["assignment"][video] = {
        "train": ",".join(map(str, frames[::2])), "test": ",".join(map(str, frames[1::2])),
    }  # fmt: skip
    prepared(exports, tmp_path / "second", split_file=document)
    paper = split_of(tmp_path / "second")["certificate"]
    assert paper["videos_in_several_splits"] == 1
    assert paper["neighbours"]["pairs_on_different_sides"] == len(frames) - 1
    assert found_in(tmp_path / "second")["split_leakage"]["videos"] == [video]


def test_a_split_file_that_does_not_fit_is_refused(exports, tmp_path):
    prepared(exports[:3], tmp_path / "first")
    document = split_of(tmp_path / "first")
    with pytest.raises(UsageError) as caught:
        prepared(exports[:4], tmp_path / "more", split_file=document)
    assert "10 frames are not in it" in str(caught.value)
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError) as caught:
        prepared(exports[:2], tmp_path / "fewer", split_file=document)
    assert "9 frames are in it not there" in str(caught.value)
    video = sorted(document["assignment"])[0]
    document["assignment"][video].popitem()
    with pytest.raises(UsageError, match=f"not in it .{video}/0000"):
        prepared(exports[:3], tmp_path / "less", split_file=document)
    with pytest.raises(ConfigError, match="contradicts the split file"):
        prepared(exports[:3], tmp_path / "other", split_file=document, split="random")
    assert not any((tmp_path / name).exists() for name in ("more", "fewer", "less", "other"))


def test_frames_that_drop_out_while_they_are_written_keep_their_place(tmp_path):
    bad = tmp_path / "bad.zip"
    write_sample_export(bad, frames=20, seed=3, image_crc_flip=[4], mask_empty=[9], **SMALL)
    summary = prepared([bad], tmp_path / "first", validation="standard", folds=2)
    assert summary["accounting"]["kept"] == 18
    first = split_of(tmp_path / "first")
    # Frame 9 was bad from the beginning; frame 4 had a place before its image was read.
    assert {frame for _, frame in unfolded(first["set_aside"])} == {24}
    assert {24, 54} & {frame for _, frame in unfolded(first["assignment"])} == set()
    again = tmp_path / "again"
    prepared([bad], again, validation="standard", split_file=first)
    second = split_of(again)
    assert (second["assignment"], second["set_aside"]) == (first["assignment"], first["set_aside"])
    assert index_of(again) == index_of(tmp_path / "first")
    assert [row["fold"] for row in index_of(again) if row["frame_index"] in (24, 54)] == [None] * 2

    # The same frames of an export that was mended: the one with a place takes it.
    good = tmp_path / "mended" / "bad.zip"
    write_sample_export(good, frames=20, seed=3, mask_empty=[9], **SMALL)
    prepared([good], tmp_path / "mended/out", validation="standard", split_file=first)
    mended = unfolded(split_of(tmp_path / "mended/out")["assignment"])
    assert {frame: name for (_, frame), name in mended.items() if frame == 24} == {
        24: unfolded(first["set_aside"]).popitem()[1]
    }
    # And one that it says nothing of has none.
    whole = tmp_path / "whole" / "bad.zip"
    write_sample_export(whole, frames=20, seed=3, **SMALL)
    with pytest.raises(UsageError, match=r"1 frame is not in it .*000054"):
        prepared([whole], tmp_path / "whole/out", validation="standard", split_file=first)


def test_one_frame_is_for_training(tmp_path):
    write_sample_export(tmp_path / "one.zip", frames=1, **SMALL)
    summary = prepared([tmp_path / "one.zip"], tmp_path / "out")
    assert summary["splits"] == {"train": 1, "validation": 0, "test": 0}
    paper = split_of(tmp_path / "out")["certificate"]
    assert paper["empty_splits"] == {
        "test": "1 frame at a ratio of 0.1 leaves none for it",
        "validation": "1 frame at a ratio of 0.1 leaves none for it",
    }
    assert "split_leakage" not in found_in(tmp_path / "out")


def test_bytes_do_not_depend_on_the_order_of_sources(exports, tmp_path):
    how = {"group_by": "video", "folds": 2}
    prepared(exports, tmp_path / "one", **how)
    prepared(exports[::-1], tmp_path / "two", **how)
    indexes = sorted(path.name for path in (tmp_path / "one/index").iterdir())
    assert indexes == sorted(path.name for path in (tmp_path / "two/index").iterdir())
    indexes = [f"index/{name}" for name in indexes]
    for name in ("split.json", "folds/fold-0.json", "folds/fold-1.json", *indexes):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
