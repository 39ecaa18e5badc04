"""Exports added to a prepared dataset: nothing that is there is harmed, and nothing is lost."""

import json
import random
import shutil
import zipfile
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import engine
from engine import addition, arrivals, shards
from engine.choices import FORMATS
from engine.errors import ConfigError, OutputError, UsageError
from engine.sample_export import write_sample_export
from engine.split_file import read_assignment
from engine.storage import read_bytes
from jobs.cli import main
from tests.digests import tree
from tests.small_exports import FOUR_VIDEOS, SMALL, write_videos
from tests.unit.test_preparation import rewrite

HERE = engine.Execution(runner="local")
ALL = {"formats": FORMATS, "validation": "standard", "rows_per_shard": 5}
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Five videos; what is wrong with the last one is seen when its images are read."""
    unseen = {"seed": 5, "dialect": "coco", "image_crc_flip": [3]}
    return write_videos(tmp_path_factory.mktemp("exports"), [*FOUR_VIDEOS, unseen])


def prepare(sources, out, **config):
    return engine.prepare([str(s) for s in sources], str(out), engine.Config(**ALL | config), HERE)


def add(out, *sources, changes=None, **how):
    return engine.add(str(out), [str(s) for s in sources], changes, HERE, **how)


def rows(out, *columns):
    """All rows of the index, by id."""
    names = ["id", "split", "status", *columns]
    return {
        row["id"]: row
        for file in sorted(Path(out).glob("index/*.parquet"))
        for row in pq.read_table(file, columns=names).to_pylist()
    }


def texts(out):
    """The conversations of every row, as each format that has them tells them."""
    found = defaultdict(dict)
    for name, split in datasets.load_from_disk(str(Path(out) / "hf")).items():
        for row in split.select_columns(["id", "conversations"]):
            found[row["id"]]["hf"] = (name, row["conversations"])
    for name in SPLITS:
        lines = Path(out) / f"llava/{name}.jsonl"
        for line in lines.read_text().splitlines() if lines.exists() else ():
            row = json.loads(line)
            found[row["id"]]["llava"] = (name, row["conversations"])
    return dict(found)


SPLITTINGS = [
    {},
    {"split": "temporal", "ratios": (0.5, 0.25, 0.25)},
    {"split": "random", "seed": 7, "folds": 2},
    {"group_by": "content", "ratios": (0.5, 0.5, 0.0)},
    {"label_map": {"dog": "hound", "nothing": "x"}, "exhaustive": ("hound", "unseen")},
]


@pytest.mark.parametrize("config", SPLITTINGS)
def test_divided_anew_it_is_what_prepare_would_have_written(sources, tmp_path, config):
    prepare(sources[:3], tmp_path / "out", **config)
    summary = add(tmp_path / "out", *sources[3:], resplit=True)
    fresh = prepare(sources, tmp_path / "fresh", **config)
    # An image that turned out bad when it was written is known from the start the next time.
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")
    for name in ("status", "splits", "accounting", "class_counts", "findings", "inputs", "texts"):
        assert summary[name] == fresh[name], name
    assert not (tmp_path / "out/.staging").exists()


def test_the_order_of_additions_leaves_no_trace(sources, tmp_path):
    prepare([sources[3]], tmp_path / "out")
    for source in (sources[1], sources[0], sources[2]):
        add(tmp_path / "out", source, resplit=True)
    prepare(sources[:4], tmp_path / "fresh")
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")


def test_no_more_evidence_is_drawn_than_in_one_run(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(arrivals, "DRAWN", 1)
    prepare([sources[3]], tmp_path / "out", formats=("hf",))
    add(tmp_path / "out", sources[0], resplit=True)
    prepare([sources[0], sources[3]], tmp_path / "fresh", formats=("hf",))
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")
    drawn = pq.read_table(tmp_path / "out/exports.parquet")["evidence_image"]
    assert [picture is not None for picture in drawn.to_pylist()] == [True, False]


def test_frames_of_one_video_in_two_exports_are_united(tmp_path):
    """Overlapping halves: findings about tracks are made for the whole, equal frames once."""
    whole = tmp_path / "whole.zip"
    write_sample_export(whole, filename="one.mp4", **SMALL | {"frames": 30, "dialect": "coco"})
    halves = [
        part_of(whole, tmp_path / f"half{number}.zip", frames)
        for number, frames in enumerate((range(16), range(12, 30)))
    ]
    for first, second in (halves, halves[::-1]):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        prepare([first], tmp_path / "out")
        add(tmp_path / "out", second, resplit=True)
        shutil.rmtree(tmp_path / "fresh", ignore_errors=True)
        prepare(halves, tmp_path / "fresh")
        assert tree(tmp_path / "out") == tree(tmp_path / "fresh")


@pytest.mark.parametrize("config", SPLITTINGS)
def test_what_is_there_stays_as_it_is(sources, tmp_path, config):
    out = tmp_path / "out"
    prepare(sources[:3], out, **config)
    before, there, told = tree(out), rows(out, "fold"), texts(out)
    summary = add(out, *sources[3:])
    after, now = tree(out), rows(out, "fold")
    kept = ("/data-", "index/", "digests/", "parquet/", "/images/")
    held = {name for name in before if any(part in f"/{name}" for part in kept)}
    assert {name: after.get(name) for name in held} == {name: before[name] for name in held}
    assert {name: row for name, row in now.items() if name in there} == there
    assert {name: text for name, text in texts(out).items() if name in told} == told
    assert engine.verify(str(out))["status"] == "VERIFIED"
    assert engine.require_trainable(str(out))
    read = prepare(sources, tmp_path / "fresh", **config)
    for name in ("accounting", "class_counts"):
        assert summary[name] == read[name], name
    assert {id_: row["status"] for id_, row in now.items()} == {
        id_: row["status"] for id_, row in rows(tmp_path / "fresh").items()
    }
    assert summary["texts"]["rows"] == summary["total_samples"]
    assert not (out / ".staging").exists()


def test_all_formats_hold_the_same_rows(sources, tmp_path):
    out = tmp_path / "out"
    prepare(sources[:2], out)
    add(out, *sources[2:4])
    add(out, sources[4])
    held = datasets.load_from_disk(str(out / "hf"))
    wanted = {name: sorted(split["id"]) for name, split in held.items()}
    parquet = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert {name: sorted(split["id"]) for name, split in parquet.items()} == wanted
    for name, ids in wanted.items():
        for folder in ("llava", "swift"):
            lines = [json.loads(x) for x in (out / folder / f"{name}.jsonl").open()]
            assert sorted(line["id"] for line in lines) == ids
            images = [line.get("image") or line["images"][0] for line in lines]
            assert all((out / folder / image).is_file() for image in images)
        coco = json.loads((out / f"coco/annotations/instances_{name}.json").read_text())
        assert len(coco["images"]) == len(ids)
        objects = sum(len(labels) for labels in held[name]["labels"])
        assert len(coco["annotations"]) == objects
        names = [category["name"] for category in coco["categories"]]
        assert names == sorted({label for s in held.values() for r in s["labels"] for label in r})
        listed = json.loads((out / "llava/manifest.json").read_text())["samples"]
        assert sorted(s["id"] for s in listed if s["split"] == name) == ids
    fingerprints = {json.loads(p.read_text())["_fingerprint"] for p in out.glob("hf/*/state.json")}
    assert len(fingerprints) == 3


def test_the_fingerprint_of_a_split_with_new_rows_is_new(sources, tmp_path):
    prepare([sources[0]], tmp_path / "out")
    state = tmp_path / "out/hf/train/state.json"
    before = json.loads(state.read_text())
    add(tmp_path / "out", sources[3])
    after = json.loads(state.read_text())
    assert after["_fingerprint"] != before["_fingerprint"]
    assert after["_data_files"][: len(before["_data_files"])] == before["_data_files"]


def test_the_same_export_again_changes_nothing(sources, tmp_path):
    out = tmp_path / "out"
    prepare(sources[:2], out)
    before = tree(out, without=())
    folder = tmp_path / "unpacked"
    shutil.unpack_archive(sources[0], folder)
    for again in ([sources[0]], [sources[1], sources[0]], [folder]):
        summary = add(out, *again)
        assert summary["nothing_to_do"]
        assert tree(out, without=()) == before
    result = CliRunner().invoke(main, ["add", str(out), sources[0]])
    assert result.exit_code == 0
    assert "already in" in result.output
    assert CliRunner().invoke(main, ["add", str(out), sources[0], "--json"]).exit_code == 0
    summary = add(out, sources[0], sources[3])
    assert [entry["source"] for entry in summary["history"][-1]["inputs"]] == ["v3.zip"]
    assert summary["history"][-1]["already_in"] == 1
    told = CliRunner().invoke(main, ["history", str(out)]).output
    assert "already_in=1" in told
    assert "resplit" not in told  # as usual
    result = CliRunner().invoke(main, ["add", str(out), sources[1], sources[4]])
    assert "Already in  1 of the exports given" in result.output


def part_of(source, target, frames):
    """An export of some of the frames, by their places."""
    with zipfile.ZipFile(source) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    document, metadata = (json.loads(members[f"{n}.json"]) for n in ("annotations", "metadata"))
    indices = [document["annotations"][at]["frame_index"] for at in frames]
    document["annotations"] = [document["annotations"][at] for at in frames]
    for each in (document, metadata):
        each["export_config"]["frame_indices"] = indices
    members |= {"annotations.json": json.dumps(document), "metadata.json": json.dumps(metadata)}
    named = {f"images/frame_{index:06d}.png" for index in indices}
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            if not name.startswith("images/") or name in named:
                archive.writestr(name, data)
    return target


def renamed(source, target, filename):
    """The same export of a video that goes by another name."""
    with zipfile.ZipFile(source) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    for name in ("annotations.json", "metadata.json"):
        document = json.loads(members[name])
        document["video"]["filename"] = filename
        members[name] = json.dumps(document)
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target


def relabelled(source, target, frames, label="wolf"):
    """The same export with another label in some frames."""
    shutil.copy(source, target)

    def change(document):
        for record in document["annotations"]:
            if record["frame_index"] in frames:
                record["objects"][0]["label"] = label

    rewrite(target, change)
    return target


def frame_indices(out, video):
    return sorted(int(i.rsplit("/", 1)[1]) for i in rows(out) if i.startswith(video))


@pytest.mark.parametrize("validation", ["strict", "standard"])
def test_a_frame_that_is_contradicted_stops_the_addition(sources, tmp_path, validation):
    out = tmp_path / "out"
    prepare([sources[0], sources[3]], out, validation=validation)
    before = tree(out, without=())
    shown = frame_indices(out, "v3")
    other = relabelled(sources[3], tmp_path / "v3.zip", shown[2:4])
    summary = add(out, other)
    assert summary["status"] == "FAILED"
    rejected = {n: d for n, d in tree(out, without=()).items() if n.startswith("rejected/")}
    assert tree(out, without=()) == before | rejected
    document = json.loads(Path(summary["report"], "validation.json").read_text())
    (conflict,) = [f for f in document["findings"] if f["code"] == "frame_conflict"]
    assert conflict["count"] == 2
    assert [int(i.rsplit("/", 1)[1]) for i in conflict["frames"]] == shown[2:4]
    assert engine.verify(str(out))["status"] == "VERIFIED"
    assert engine.verify(str(out))["unknown_files"] == []
    result = CliRunner().invoke(main, ["add", str(out), str(other)])
    assert result.exit_code == 1
    assert "--on-conflict keep" in result.output
    assert "--validation standard" not in result.output  # which would decide nothing
    assert len(list((out / "rejected").iterdir())) == 1
    assert not (out / ".staging").exists()


@pytest.mark.parametrize("resplit", [False, True])
def test_a_refused_addition_counts_every_frame_once(sources, tmp_path, resplit):
    out = tmp_path / "out"
    there = prepare([sources[0], sources[3]], out)
    other = relabelled(sources[3], tmp_path / "v3.zip", frame_indices(out, "v3")[2:4])
    summary = add(out, other, resplit=resplit)
    assert summary["status"] == "FAILED"
    assert summary["class_counts"] == there["class_counts"]
    document = json.loads(Path(summary["report"], "validation.json").read_text())
    assert document["frames"] == 24
    (conflict,) = [f for f in document["findings"] if f["code"] == "frame_conflict"]
    assert (conflict["count"], conflict["fraction"]) == (2, 2 / 24)


@pytest.mark.parametrize(
    ("lost", "refused"),
    [
        ("hf/train/data-00000.arrow", True),
        ("report/validation.json", True),
        ("index/train-00000.parquet", True),
        ("hf/README.md", False),  # it is written anew
    ],
)
def test_a_file_that_is_gone_is_said_before_anything_is_read(sources, tmp_path, lost, refused):
    out = tmp_path / "out"
    prepare([sources[0]], out, formats=("hf",))
    (out / lost).unlink()
    result = CliRunner().invoke(main, ["add", str(out), sources[3]])
    assert result.exit_code == (3 if refused else 0)
    if refused:
        assert f"{out}/{lost}: is missing; put it back" in result.output
        assert f"sam2prep verify {out}" in result.output
        assert "continues" not in result.output
        assert not (out / ".staging").exists()


def test_a_record_that_gave_way_is_not_called_replaced(sources, tmp_path):
    out = tmp_path / "out"
    prepare([sources[0], sources[3]], out)
    other = relabelled(sources[3], tmp_path / "v3.zip", frame_indices(out, "v3")[2:4])
    result = CliRunner().invoke(main, ["add", str(out), str(other), "--on-conflict", "keep"])
    assert "2 gave way to another record" in result.output
    assert "replaced" not in result.output


def test_what_is_there_is_kept_on_a_conflict(sources, tmp_path):
    out = tmp_path / "out"
    prepare([sources[0], sources[3]], out)
    shown = frame_indices(out, "v3")
    other = relabelled(sources[3], tmp_path / "v3.zip", shown[2:4])
    there, before = rows(out, "labels"), tree(out)
    summary = add(out, other, on_conflict="keep")
    assert rows(out, "labels") == there
    assert summary["accounting"]["excluded_replaced"] == 2
    assert summary["accounting"]["excluded_duplicates"] == 10
    assert any("conflict_resolved" in line for line in summary["findings"])
    after = tree(out)
    assert {n: after[n] for n in before if n.startswith("hf/") and n.endswith(".arrow")} == {
        n: d for n, d in before.items() if n.startswith("hf/") and n.endswith(".arrow")
    }


@pytest.mark.parametrize(("first", "then"), [("keep", "replace"), ("replace", "keep")])
def test_an_export_that_is_in_already_is_not_decided_otherwise(sources, tmp_path, first, then):
    out = tmp_path / "out"
    prepare([sources[0], sources[3]], out)
    other = relabelled(sources[3], tmp_path / "v3.zip", frame_indices(out, "v3")[2:4])
    add(out, other, on_conflict=first)
    before = tree(out)
    result = CliRunner().invoke(main, ["add", str(out), str(other), "--on-conflict", then])
    assert result.exit_code == 0
    assert f"decided by --on-conflict {first} when it was added, and left so" in result.output
    assert f"and add this to it with --on-conflict {then}" in result.output
    assert tree(out) == before
    for again in (first, "fail"):
        assert "decided_before" not in add(out, other, on_conflict=again)
    assert "decided_before" not in add(out, sources[0], on_conflict=then)


def test_an_export_whose_frames_were_replaced_since_is_told_so(sources, tmp_path):
    out = tmp_path / "out"
    prepare([sources[0], sources[3]], out)
    other = relabelled(sources[3], tmp_path / "v3.zip", frame_indices(out, "v3")[2:4])
    add(out, other, on_conflict="keep")
    assert "replaced_since" not in add(out, sources[3])
    shutil.rmtree(out)
    prepare([sources[0], sources[3]], out)
    add(out, other, on_conflict="replace")
    before = tree(out)
    for how in (["--on-conflict", "replace"], []):
        result = CliRunner().invoke(main, ["add", str(out), sources[3], *how])
        assert result.exit_code == 0
        assert "Replaced    2 frames of the same video since" in result.output
        assert "prepare another dataset of the other exports" in result.output
    assert add(out, sources[3])["replaced_since"] == 2
    assert "replaced_since" not in add(out, other)  # which has replaced them
    assert "replaced_since" not in add(out, sources[0])
    assert tree(out) == before


def test_options_that_read_nothing_are_named(sources, tmp_path):
    out = tmp_path / "out"
    prepare(sources[:2], out)
    (tmp_path / "map.toml").write_text('cat = "tabby"')
    given = ["--frames", "nowhere", "--video-id", "a=b", "--label-map", str(tmp_path / "map.toml")]
    result = CliRunner().invoke(main, ["add", str(out), sources[0], *given])
    assert result.exit_code == 0
    assert "Not applied --frames, --label-map, --video-id: nothing was added" in result.output
    assert add(out, sources[0], changes={"label": "x"})["not_applied"] == ["label"]
    assert "not_applied" not in add(out, sources[0])
    given = ["--label-map", str(tmp_path / "map.toml"), "--validation", "standard"]
    result = CliRunner().invoke(main, ["add", str(out), sources[0], sources[3], *given])
    assert "Already in  1 of the exports given; --label-map not applied to them" in result.output


@pytest.mark.parametrize("given", ["toml", "json", "config", "table"])
def test_a_label_map_is_read_as_prepare_reads_it(sources, tmp_path, given):
    out, place = tmp_path / "out", tmp_path / f"map.{given}"
    prepare(sources[:1], out)
    place.write_text(json.dumps({"cat": "tabby"}) if given == "json" else 'cat = "tabby"')
    options = ["--label-map", str(place)]
    if given == "config":  # as options are spelled there
        place.write_text("label-map = {cat = 'tabby'}\nmask-order = 'auto'\n[video-id]\n'x'='y'")
        options = ["--config", str(place)]
    if given == "table":
        add(out, sources[3], changes={"label_map": {"cat": "tabby"}, "label": None})
    else:
        result = CliRunner().invoke(main, ["add", str(out), sources[3], *options])
        assert result.exit_code == 0, result.output
    assert any("tabby" in row["labels"] for row in rows(out, "labels").values())
    last = engine.history(str(out))["versions"][-1]
    assert last["label_map"] == {"cat": "tabby"}


def test_what_is_there_is_replaced_on_a_conflict(sources, tmp_path):
    out = tmp_path / "out"
    prepare([sources[0], sources[3]], out)
    shown = frame_indices(out, "v3")
    other = relabelled(sources[3], tmp_path / "v3.zip", shown[2:4])
    there, told, before = rows(out, "labels"), texts(out), tree(out)
    summary = add(out, other, on_conflict="replace")
    now, now_told = rows(out, "labels"), texts(out)
    changed = {i for i in now if now[i]["labels"] != there[i]["labels"]}
    assert {int(i.rsplit("/", 1)[1]) for i in changed} == set(shown[2:4])
    assert all("wolf" in now[i]["labels"] for i in changed)
    assert {i: row["split"] for i, row in now.items()} == {i: r["split"] for i, r in there.items()}
    assert {i for i in told if told[i] != now_told[i]} <= changed
    assert all(now_told[i]["hf"] == now_told[i]["llava"] for i in now_told)
    assert summary["class_counts"]["wolf"] == 2
    assert summary["texts"]["rows"] == summary["total_samples"]
    assert engine.verify(str(out))["status"] == "VERIFIED"
    after = tree(out)
    arrow = {n for n in before if n.startswith("hf/") and n.endswith(".arrow")}
    gone = arrow - set(after)
    assert 1 <= len(gone) <= 2  # the shards that held these rows
    assert all(after[name] == before[name] for name in arrow - gone)
    assert summary["splits"] == dict(Counter(r["split"] for r in there.values() if r["split"]))


def test_a_repaired_export_brings_back_what_was_set_aside(sources, tmp_path):
    out = tmp_path / "out"
    write_sample_export(
        tmp_path / "bad.zip", filename="v.mp4", mask_truncated=[2, 7], dialect="coco", seed=9,
        **SMALL,
    )  # fmt: skip
    write_sample_export(tmp_path / "good.zip", filename="v.mp4", dialect="coco", seed=9, **SMALL)
    prepare([tmp_path / "bad.zip"], out)
    assert Counter(row["status"] for row in rows(out).values()) == {"kept": 10, "quarantined": 2}
    summary = add(out, tmp_path / "good.zip")
    assert Counter(row["status"] for row in rows(out).values()) == {"kept": 12}
    assert not (out / "quarantine").exists()
    assert summary["accounting"]["excluded_replaced"] == 2
    assert not any("mask_malformed" in line for line in summary["findings"])
    assert engine.verify(str(out))["status"] == "VERIFIED"


def damaged(path, *places, **more):
    """An export of one content, as its ZIP declares it, with some of its images damaged."""
    write_sample_export(
        path, filename="v.mp4", dialect="coco", seed=9, image_crc_flip=list(places), **SMALL | more
    )  # fmt: skip
    return path


def statuses(out):
    return Counter(row["status"] for row in rows(out).values())


@pytest.mark.parametrize("resplit", [False, True])
def test_images_that_were_damaged_on_the_way_come_back_whole(sources, tmp_path, resplit):
    """The digest of the content is the same, for a ZIP lists its CRCs apart from the bytes."""
    out, good = tmp_path / "out", damaged(tmp_path / "v.zip")
    shutil.unpack_archive(good, tmp_path / "unpacked")
    for given in (good, tmp_path / "unpacked"):
        shutil.rmtree(out, ignore_errors=True)
        prepare([damaged(tmp_path / "bad.zip", 2, 7), sources[0]], out)
        assert statuses(out) == {"kept": 22, "quarantined": 2}
        summary = add(out, given, resplit=resplit)
        assert statuses(out) == {"kept": 24}
        assert summary["total_samples"] == 24
        assert not any("image_unreadable" in line for line in summary["findings"])
        held = datasets.load_from_disk(str(out / "hf"))
        ids = [frame for split in held.values() for frame in split["id"]]
        assert len(ids) == len(set(ids)) == 24
        assert engine.verify(str(out))["status"] == "VERIFIED"
        after = tree(out, without=())
        assert add(out, given, resplit=resplit)["nothing_to_do"]
        assert tree(out, without=()) == after


def test_damaged_images_that_come_again_change_nothing(sources, tmp_path):
    out, bad = tmp_path / "out", damaged(tmp_path / "bad.zip", 2, 7)
    prepare([bad, sources[0]], out)
    before = tree(out, without=())
    assert add(out, bad)["nothing_to_do"]
    assert tree(out, without=()) == before
    half = add(out, damaged(tmp_path / "half.zip", 7))  # one of the two is whole now
    assert (half["total_samples"], half["accounting"]["quarantined"]) == (23, 1)
    after = tree(out, without=())
    for again in (bad, tmp_path / "half.zip"):
        assert add(out, again)["nothing_to_do"]
    assert tree(out, without=()) == after
    assert add(out, damaged(tmp_path / "good.zip"))["total_samples"] == 24
    assert engine.verify(str(out))["status"] == "VERIFIED"


def test_an_export_made_anew_with_the_same_images_brings_them_back(tmp_path):
    """Another content, for the time of the export is in it, and the same declared CRCs."""
    out = tmp_path / "out"
    prepare([damaged(tmp_path / "bad.zip", 2)], out)
    anew = rewrite(damaged(tmp_path / "anew.zip"), lambda d: d.update(made="later"))
    assert add(out, anew)["total_samples"] == 12
    assert statuses(out) == {"kept": 12}


def test_two_videos_that_share_a_name_never_collide(tmp_path):
    out = tmp_path / "out"
    same = {"filename": "cam.mp4", "paint": False, "dialect": "coco", **SMALL}
    write_sample_export(tmp_path / "a.zip", seed=1, **same)
    write_sample_export(tmp_path / "b.zip", seed=77, **same)
    digests = {
        name: engine.inspect([str(tmp_path / f"{name}.zip")])["exports"][0]["video_id"]
        for name in "ab"
    }
    assert digests["a"] == digests["b"]
    for first, second in ("ab", "ba"):
        shutil.rmtree(out, ignore_errors=True)
        prepare([tmp_path / f"{first}.zip"], out)
        there = rows(out)
        add(out, tmp_path / f"{second}.zip")
        now = rows(out)
        assert len(now) == 24
        assert there.items() <= now.items()
        new = {i.rsplit("/", 1)[0] for i in set(now) - set(there)}
        assert len(new) == 1
        assert new.pop().startswith(f"{digests['a']}-")


def test_an_addition_that_fails_changes_nothing(sources, tmp_path):
    out = tmp_path / "out"
    prepare([sources[3]], out, validation="strict")
    before = tree(out, without=())
    summary = add(out, sources[1])
    assert summary["status"] == "FAILED"
    run = Path(summary["report"]).parent
    assert run.parent == out / "rejected"
    assert (run / "report/report.html").exists()
    now = tree(out, without=())
    assert {name: now[name] for name in now if not name.startswith("rejected/")} == before
    # Another report is made in the same place, and setting these frames aside helps.
    assert add(out, sources[1])["report"] == summary["report"]
    assert add(out, sources[1], changes={"validation": "standard"})["status"] != "FAILED"
    assert engine.verify(str(out))["unknown_files"] == []


def test_an_image_that_cannot_be_read_is_found_while_it_is_written(sources, tmp_path):
    out = tmp_path / "strict"
    prepare([sources[3]], out, validation="strict")
    before = tree(out)
    assert add(out, sources[4])["status"] == "FAILED"
    assert {n: d for n, d in tree(out).items() if not n.startswith("rejected/")} == before
    prepare([sources[3]], tmp_path / "out")
    summary = add(tmp_path / "out", sources[4])
    assert summary["accounting"]["quarantined"] == 1
    assert engine.verify(str(tmp_path / "out"))["status"] == "VERIFIED"


@pytest.mark.parametrize("config", [{}, {"split": "random", "folds": 2}])
def test_images_that_turned_out_bad_leave_no_trace_in_a_division_anew(tmp_path, config):
    """A first run knows of them only when it has planned: the same plan is made again."""
    pool = []
    for number, bad in enumerate(([3, 7], [], [0])):
        path = tmp_path / f"v{number}.zip"
        write_sample_export(
            path, filename=f"v{number}.mp4", seed=number, dialect="coco", image_crc_flip=bad,
            **SMALL,
        )  # fmt: skip
        pool.append(path)
    out = tmp_path / "out"
    # One row a shard: the one of a bad image holds none, and is kept.
    prepare(pool[:1], out, rows_per_shard=1, **config)
    add(out, pool[1])
    add(out, pool[2], resplit=True)
    prepare(pool, tmp_path / "fresh", rows_per_shard=1, **config)
    assert tree(out) == tree(tmp_path / "fresh")


@pytest.mark.parametrize(
    "config",
    [
        {"formats": ("revos", "coco")},
        {"formats": ("revos",)},
        {"formats": ("llava",), "image_format": "jpg"},
    ],
)
def test_where_images_become_jpegs_the_bytes_are_the_same(tmp_path, config):
    """Also those of the report, which shows what the dataset holds."""
    pool = []
    for number in range(2):
        path = tmp_path / f"v{number}.zip"
        write_sample_export(
            path, filename=f"v{number}.mp4", seed=number, dialect="coco", paint=False,
            area_jump={5: 3.0}, **SMALL,
        )  # fmt: skip
        pool.append(path)
    prepare(pool[:1], tmp_path / "out", **config)
    add(tmp_path / "out", pool[1], resplit=True)
    prepare(pool, tmp_path / "fresh", **config)
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")


@pytest.mark.parametrize("resplit", [False, True])
def test_a_sample_never_gives_way_to_an_image_that_cannot_be_read(tmp_path, resplit):
    same = {"filename": "v.mp4", "seed": 1, "dialect": "coco", **SMALL}
    write_sample_export(tmp_path / "good.zip", **same)
    write_sample_export(tmp_path / "bad.zip", labels=("person", "wolf"), image_crc_flip=[3], **same)
    out = tmp_path / "out"
    prepare([tmp_path / "good.zip"], out)
    before = tree(out, without=())
    summary = add(out, tmp_path / "bad.zip", on_conflict="replace", resplit=resplit)
    assert summary["status"] == "FAILED"
    assert any("image_unreadable" in line for line in summary["findings"])
    now = tree(out, without=())
    assert {name: now[name] for name in now if not name.startswith("rejected/")} == before


@pytest.mark.parametrize("resplit", [False, True])
def test_two_that_would_replace_one_frame_have_to_agree(sources, tmp_path, resplit):
    out = tmp_path / "out"
    prepare([sources[0], sources[3]], out)
    before = rows(out, "labels")
    shown = frame_indices(out, "v3")
    others = [
        relabelled(sources[3], tmp_path / f"{label}.zip", shown[2:3], label)
        for label in ("wolf", "bear")
    ]
    summary = add(out, *others, on_conflict="replace", resplit=resplit)
    assert summary["status"] == "FAILED"
    assert any("frame_conflict" in line for line in summary["findings"])
    assert rows(out, "labels") == before


def test_manual_and_automatic_masklets_do_not_meet_in_a_dataset_either(tmp_path):
    for kind in ("manual", "auto"):
        write_sample_export(
            tmp_path / kind, dialect="sav", sav_kind=kind, as_folder=True, seed=3,
            **SMALL | {"frames": 4},
        )  # fmt: skip
    out = tmp_path / "out"
    prepare([tmp_path / "manual"], out)
    before = tree(out, without=())
    with pytest.raises(UsageError) as caught:
        add(out, tmp_path / "auto")
    assert "either manual or automatic" in str(caught.value)
    assert tree(out, without=()) == before


@pytest.mark.parametrize("scheme", ["memory", "local"])
def test_on_a_url_the_bytes_are_those_on_a_disk(sources, tmp_path, scheme):
    """Also where shards are dissolved, and where a store has to be told of its folders."""
    place = f"local://{tmp_path}/url" if scheme == "local" else f"memory://{tmp_path.name}"
    other = tmp_path / "v3.zip"
    for out in (place, str(tmp_path / "disk")):
        prepare([sources[0], sources[3]], out)
        index = [int(i.rsplit("/", 1)[1]) for i in ids_of(out) if i.startswith("v3")]
        relabelled(sources[3], other, index[2:4])
        add(out, other, on_conflict="replace")
        add(out, sources[1])
        add(out, sources[2], resplit=True)
    assert tree(place) == tree(tmp_path / "disk")
    found = engine.verify(place)
    assert (found["status"], found["unknown_files"]) == ("VERIFIED", [])


def ids_of(out):
    """Ids of all frames of a dataset, sorted."""
    document = json.loads(read_bytes(f"{out}/split.json"))
    return sorted(
        f"{video}/{frame:06d}"
        for video, (frames, _) in read_assignment([document["assignment"]]).items()
        for frame in frames.tolist()
    )


def test_few_bytes_are_written_for_few_samples(tmp_path, monkeypatch):
    """Against a dataset twenty times as large: shards are linked, not written."""
    big, small = tmp_path / "big.zip", tmp_path / "small.zip"
    wide = {"width": 320, "height": 240, "truth": False, "dialect": "coco", "paint": False}
    write_sample_export(big, frames=100, filename="big.mp4", seed=1, **wide)
    write_sample_export(small, frames=5, filename="small.mp4", seed=2, **wide)
    out = tmp_path / "out"
    prepare([big], out, formats=("hf", "llava"), rows_per_shard=20)
    inodes = {p: p.stat().st_ino for p in out.rglob("*") if p.suffix in (".arrow", ".png")}
    read = []
    original = shards.read_image
    monkeypatch.setattr(shards, "read_image", lambda row: read.append(row["id"]) or original(row))
    add(out, small)
    assert len(read) == 5
    assert {p: p.stat().st_ino for p in inodes} == inodes


@pytest.mark.long
@pytest.mark.parametrize("formats", [("hf",), ("hf", "llava")])
def test_a_hundredth_costs_less_than_a_fiftieth(tmp_path, formats):
    """100 samples to 10,000: of `hf` and of images, counted by the files that are new."""
    small = {
        "width": 64, "height": 48, "truth": False, "dialect": "coco", "paint": False,
        "distinct_images": 16, "compression": "store",
    }  # fmt: skip
    for number, frames in enumerate((5000, 5000, 100)):
        write_sample_export(
            tmp_path / f"v{number}.zip", filename=f"v{number}.mp4", seed=number, frames=frames,
            **small,
        )  # fmt: skip
    out = tmp_path / "out"
    prepare([tmp_path / "v0.zip", tmp_path / "v1.zip"], out, formats=formats, rows_per_shard=1000)

    def files():
        found = (p for p in out.rglob("*") if p.is_file())
        return {(s := p.stat()).st_ino: (p.relative_to(out), s.st_size) for p in found}

    before = files()
    assert add(out, tmp_path / "v2.zip")["total_samples"] == 10_100
    written = [entry for inode, entry in files().items() if inode not in before]
    size = sum(n for name, n in before.values() if name.parts[0] == "hf")
    assert 0 < sum(n for name, n in written if name.parts[0] == "hf") < size / 50
    images = [name for name, _ in written if "images" in name.parts]
    assert len(images) == (100 if "llava" in formats else 0)
    if formats == ("hf",):  # reports, indexes and the manifest too
        assert sum(n for _, n in written) < size / 20


@pytest.mark.long
def test_on_ray_an_addition_gives_the_same_bytes(sources, tmp_path):
    ray = engine.Execution(runner="ray", workers=2)
    given = [str(source) for source in sources]
    for name, how in (("local", HERE), ("ray", ray)):
        out = str(tmp_path / name)
        engine.prepare(given[:2], out, engine.Config(**ALL), HERE)
        engine.add(out, given[2:4], None, how)
        engine.add(out, given[4:], None, how, resplit=True)
    assert tree(tmp_path / "ray") == tree(tmp_path / "local")
    prepare(sources, tmp_path / "fresh")
    assert tree(tmp_path / "ray") == tree(tmp_path / "fresh")


@pytest.mark.parametrize(
    ("changes", "how", "says"),
    [
        ({"formats": ("llava",)}, {}, "is of the dataset"),
        ({}, {"on_conflict": "ask"}, "fail | keep | replace"),
        ({"validation": "lax"}, {}, "strict"),
    ],
)
def test_wrong_usage(sources, tmp_path, changes, how, says):
    prepare([sources[3]], tmp_path / "out")
    before = tree(tmp_path / "out", without=())
    with pytest.raises(ConfigError) as caught:
        add(tmp_path / "out", sources[0], changes=changes, **how)
    assert says in str(caught.value)
    assert tree(tmp_path / "out", without=()) == before


class _AskedError(Exception):
    """Ends a run where its workers would start."""


def test_workers_are_asked_for_the_frames_of_the_new_exports(sources, tmp_path, monkeypatch):
    prepare(sources[:1], tmp_path / "out")
    asked = []

    def started(*args, places, **how):
        asked.extend(places)
        raise _AskedError

    monkeypatch.setattr(addition, "start_work", started)
    with pytest.raises(_AskedError):
        add(tmp_path / "out", sources[1], changes={"frames": str(tmp_path)})
    assert asked == [str(tmp_path / "out"), str(tmp_path)]


def test_there_has_to_be_a_dataset(sources, tmp_path):
    with pytest.raises(OutputError) as caught:
        add(tmp_path / "nothing", sources[0])
    assert "prepare" in str(caught.value)
    assert not (tmp_path / "nothing").exists()


def test_a_dataset_divided_by_a_file_is_divided_on_by_its_rule(sources, tmp_path):
    prepare(sources[:3], tmp_path / "first", group_by="video", ratios=(0.5, 0.25, 0.25))
    file = json.loads((tmp_path / "first/split.json").read_text())
    out = tmp_path / "out"
    prepare(sources[:3], out, split_file=file)
    there = rows(out)
    with pytest.raises(UsageError):
        add(out, sources[3], resplit=True)
    add(out, sources[3])
    assert there.items() <= rows(out).items()
    document = json.loads((out / "split.json").read_text())
    assert (document["strategy"], document["group_by"]) == ("stratified", "video")
    engine.split(str(out), {"seed": 3}, HERE)


def test_videos_that_are_cut_in_time(tmp_path):
    """More frames of a video that is cut keep their distance from the other splits."""
    out = tmp_path / "out"
    several = {"filename": "long.mp4", "dialect": "coco", **SMALL | {"frames": 40}}
    write_sample_export(tmp_path / "long.zip", **several)
    part_of(tmp_path / "long.zip", tmp_path / "even.zip", range(0, 40, 2))
    part_of(tmp_path / "long.zip", tmp_path / "odd.zip", range(1, 40, 2))
    cut = {"split": "temporal", "temporal_segments": True, "gap_sec": 0.3}
    prepare([tmp_path / "even.zip"], out, **cut)
    there = rows(out)
    add(out, tmp_path / "odd.zip")
    now = rows(out, "timestamp_sec", "excluded_because")
    assert {i: (r["split"], r["status"]) for i, r in there.items()} == {
        i: (now[i]["split"], now[i]["status"]) for i in there
    }
    kept = sorted((r["timestamp_sec"], r["split"]) for r in now.values() if r["split"])
    for (time, split), (later, other) in pairwise(kept):
        assert split == other or later - time >= 0.3 - 1e-9
    assert {r["excluded_because"] for r in now.values() if not r["split"]} == {"temporal_gap"}
    assert engine.verify(str(out))["status"] == "VERIFIED"


def of_video(row_id):
    return row_id.rsplit("/", 1)[0]


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_random_additions(tmp_path, seed):
    """Duplicates, conflicts, and the same video under another name, in any order."""
    rng = random.Random(seed)
    group_by = rng.choice(["video", "content", "none"])
    pool = []
    for number in range(8):
        path = tmp_path / f"v{number}.zip"
        write_sample_export(
            path, filename=f"v{number}.mp4", seed=number, dialect="coco", paint=False,
            labels=rng.sample(["dog", "cat", "car", "person"], 2),
            **SMALL | {"frames": rng.randrange(4, 14)},
        )  # fmt: skip
        pool.append(path)
    for number in (1, 5):  # the same video, under another name
        path = tmp_path / f"again{number}.zip"
        pool.append(renamed(pool[number], path, f"again{number}.mp4"))
    out = tmp_path / "out"
    config = {"formats": ("hf",), "group_by": group_by, "validation": "strict"}
    start = rng.sample(pool[:8], 4)
    prepare(start, out, **config, ratios=(0.6, 0.2, 0.2))
    there = rows(out)
    for step in range(5):
        batch = rng.sample(pool, rng.randrange(1, 4))
        if step == 3:  # some frames come with other annotations
            batch.append(relabelled(start[0], tmp_path / f"other{step}.zip", range(0, 9)))
        how = {"on_conflict": rng.choice(["keep", "replace"])}
        summary = add(out, *batch, **how)
        assert summary["status"] != "FAILED", summary["findings"]
        now = rows(out)
        assert all(now[i]["split"] == row["split"] for i, row in there.items())
        there = now
        accounting = summary["accounting"]
        if not summary.get("nothing_to_do"):
            assert accounting["frames_in"] == sum(
                n for name, n in accounting.items()
                if not name.startswith("objects") and name != "frames_in"
            )  # fmt: skip
        document = json.loads((out / "split.json").read_text())
        assert "max_deviation_points" in json.dumps(document["certificate"])
    assert engine.verify(str(out))["status"] == "VERIFIED"
    if group_by != "none":
        split_of = defaultdict(set)
        for row_id, row in there.items():
            name = of_video(row_id)
            if group_by == "content":  # both names of one video
                name = name.split("-")[0].replace("again", "v")
            split_of[name].add(row["split"])
        assert all(len(splits) == 1 for splits in split_of.values()), split_of
