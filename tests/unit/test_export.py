"""One pass over an export: every record once, in order, each with its own image."""

import json
import zipfile
from dataclasses import replace

import pytest

from engine.errors import ExportError
from engine.export import (
    cut_export,
    is_known_exporter,
    locate_image,
    read_metadata,
    read_video,
    sample_frames,
)
from engine.opening import open_members
from engine.pairing import ImageIndex
from engine.records import RANGE_SCHEMA
from engine.sample_export import write_sample_export
from engine.tables import read_table

SMALL = {"frames": 9, "width": 24, "height": 16, "dialect": "coco"}
KNOWN = {"export_info": {"exporter": "SAM2 Demo Export Tool", "format_version": "1.0"}}
VIDEO = {"filename": "clip.mp4", "width": 24, "height": 16, "source_fps": 30.0,
         "total_frames": 54, "duration_sec": 1.8}  # fmt: skip


def cut(tmp_path, truth, frames_per_range=500):
    members = open_members(str(truth.path))
    return cut_export(
        members,
        ImageIndex.of(members.values()),
        image_source=members.location,
        staging=str(tmp_path / "ranges"),
        frames_per_range=frames_per_range,
    )


def rows(found):
    return [row for file in found.ranges for row in read_table(file.path).to_pylist()]


def annotations(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("annotations.json"))


@pytest.mark.parametrize("frames_per_range", [1, 2, 4, 9, 500])
@pytest.mark.parametrize("annotations_first", [False, True])
def test_every_record_is_in_one_range_in_order(tmp_path, frames_per_range, annotations_first):
    truth = write_sample_export(tmp_path / "a.zip", annotations_first=annotations_first, **SMALL)
    found = cut(tmp_path, truth, frames_per_range)
    document = annotations(truth.path)
    assert [json.loads(row["frame_json"]) for row in rows(found)] == document["annotations"]
    assert [row["ordinal"] for row in rows(found)] == list(range(9))
    assert [file.frames for file in found.ranges] == [
        min(frames_per_range, 9 - start) for start in range(0, 9, frames_per_range)
    ]
    assert found.head["video"] == document["video"]
    assert found.head["export_config"] == document["export_config"]
    assert found.frame_indices == [frame.frame_index for frame in truth.frames]
    assert found.sampleable == {frame.frame_index: n for n, frame in enumerate(truth.frames)}
    assert all(read_table(f.path).schema.equals(RANGE_SCHEMA) for f in found.ranges)


def test_each_record_has_the_place_of_its_own_image(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", **SMALL)
    with zipfile.ZipFile(truth.path) as archive:
        for row, frame in zip(rows(cut(tmp_path, truth)), truth.frames, strict=True):
            info = archive.getinfo(frame.image)
            assert row["image_source"] == str(truth.path)
            assert row["image_name"] == info.filename
            assert row["image_offset"] == info.header_offset
            assert row["image_bytes"] == info.file_size
            assert row["image_compressed_bytes"] == info.compress_size
            assert row["image_method"] == info.compress_type
            assert row["image_crc32"] == info.CRC
            assert row["images_found"] == 1


def test_missing_and_orphan_images(tmp_path):
    truth = write_sample_export(
        tmp_path / "a.zip", frames_without_image=[2], orphan_images=2, **SMALL
    )
    found = cut(tmp_path, truth, 4)
    listed = rows(found)
    assert [row["images_found"] for row in listed] == [1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1]
    assert listed[2]["image_name"] is None
    orphans = [row for row in listed if row["frame_json"] is None]
    assert [row["frame_index_of_image"] for row in orphans] == [54, 60]
    assert list(found.sampleable.values()) == [0, 1, 3, 4, 5, 6, 7, 8]
    assert found.images == 10
    assert not found.by_position


def test_frames_without_objects_are_not_looked_at_for_evidence(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", frames_without_objects=[0, 8], **SMALL)
    assert list(cut(tmp_path, truth).sampleable.values()) == [1, 2, 3, 4, 5, 6, 7]


def test_by_position_only_if_no_index_matches_and_the_counts_agree(tmp_path):
    other = write_sample_export(tmp_path / "a.zip", image_numbers=range(901, 910), **SMALL)
    found = cut(tmp_path, other)
    assert found.by_position
    assert [row["image_name"] for row in rows(found)] == [f.image for f in other.frames]
    assert len(rows(found)) == 9
    for name, keywords in {
        "one match": {"image_numbers": [0, *range(902, 910)]},
        "too few": {"image_numbers": range(901, 910), "frames_without_image": [4]},
        "too many": {"image_numbers": range(901, 910), "orphan_images": 1},
    }.items():
        truth = write_sample_export(tmp_path / f"{name}.zip", **keywords, **SMALL)
        assert not cut(tmp_path / name, truth).by_position, name


def test_images_that_the_records_name_are_not_paired_by_position(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", **SMALL)
    words = ["hotel", "alpha", "india", "golf", "bravo", "foxtrot", "charlie", "echo", "delta"]
    with zipfile.ZipFile(truth.path) as old, zipfile.ZipFile(tmp_path / "b.zip", "w") as new:
        document = json.loads(old.read("annotations.json"))
        for frame, record, word in zip(truth.frames, document["annotations"], words, strict=True):
            record["image"] = f"{word}.jpg"
            new.writestr(f"images/{word}.jpg", old.read(frame.image))
        new.writestr("annotations.json", json.dumps(document))
    found = cut(tmp_path, replace(truth, path=tmp_path / "b.zip"))
    assert not found.by_position
    assert [row["image_name"] for row in rows(found)] == [f"images/{word}.jpg" for word in words]


def test_by_position_nine_comes_before_ten(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", image_numbers=range(1005, 1014), **SMALL)
    names = [f"images/shot{n}.jpg" for n in range(995, 1004)]
    with zipfile.ZipFile(truth.path) as old, zipfile.ZipFile(tmp_path / "b.zip", "w") as new:
        new.writestr("annotations.json", old.read("annotations.json"))
        for frame, name in reversed(list(zip(truth.frames, names, strict=True))):
            new.writestr(name, old.read(frame.image))
    found = cut(tmp_path, replace(truth, path=tmp_path / "b.zip"))
    assert found.by_position
    assert [row["image_name"] for row in rows(found)] == names


def test_an_export_without_images_is_cut_all_the_same(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", frames_without_image=range(9), **SMALL)
    found = cut(tmp_path, truth)
    assert [row["images_found"] for row in rows(found)] == [0] * 9
    assert (found.images, found.image_bytes, found.by_position) == (0, 0, False)


def test_frames_can_be_read_back(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", **SMALL)
    found = cut(tmp_path, truth, 2)
    read = sample_frames(found, [0, 3, 8])
    assert [frame.frame_index for frame, _ in read] == [0, 18, 48]
    assert [image["image_name"] for _, image in read] == [truth.frames[k].image for k in (0, 3, 8)]
    assert sample_frames(found, []) == []


def test_metadata(tmp_path):
    with_it = write_sample_export(tmp_path / "a.zip", dialect="real", frames=1)
    without = write_sample_export(tmp_path / "b.zip", metadata=False, **SMALL)
    read = read_metadata(open_members(str(with_it.path)))
    with zipfile.ZipFile(with_it.path) as archive:
        assert read == json.loads(archive.read("metadata.json"))
    assert is_known_exporter(read)
    assert read_metadata(open_members(str(without.path))) == {}


@pytest.mark.parametrize("content", ["[]", "{", "3"])
def test_metadata_that_is_none(tmp_path, content):
    truth = write_sample_export(tmp_path / "a.zip", metadata=False, **SMALL)
    with zipfile.ZipFile(truth.path, "a") as archive:
        archive.writestr("metadata.json", content)
    with pytest.raises(ExportError, match=r"a\.zip: metadata\.json"):
        read_metadata(open_members(str(truth.path)))


@pytest.mark.parametrize(
    "metadata",
    [
        {}, {"export_info": None}, {"export_info": []}, {"export_info": {}},
        {"export_info": KNOWN["export_info"] | {"exporter": "sam2 demo export tool"}},
        {"export_info": KNOWN["export_info"] | {"format_version": "2.0"}},
        {"export_info": KNOWN["export_info"] | {"format_version": 1.0}},
    ],
)  # fmt: skip
def test_other_signatures_are_not_the_known_exporters(metadata):
    assert is_known_exporter(KNOWN)
    assert not is_known_exporter(metadata)


def test_the_videos_declaration():
    video = read_video({"video": VIDEO}, {}, "a.zip")
    assert (video.filename, video.size) == ("clip.mp4", (16, 24))
    assert (video.fps_declared, video.total_frames_declared) == (30.0, 54)
    assert video.duration_sec_declared == 1.8


def test_the_annotations_come_before_the_metadata():
    metadata = {"video": VIDEO | {"filename": "other.mp4", "fps": 24.0}}
    video = read_video({"video": {"filename": "clip.mp4", "width": None}}, metadata, "a.zip")
    assert (video.filename, video.width, video.fps_declared) == ("clip.mp4", 24, 30.0)
    assert read_video({}, {"video": {"fps": 24.0}}, "a.zip").fps_declared == 24.0


@pytest.mark.parametrize("head", [{}, {"video": None}, {"video": []}, {"video": {}}])
def test_what_is_not_declared_is_not_made_up(head):
    video = read_video(head, {}, "a.zip")
    assert video.size is None
    assert {video.filename, video.width, video.height, video.fps_declared} == {None}
    assert {video.total_frames_declared, video.duration_sec_declared} == {None}
    assert read_video({"video": {"width": 24}}, {}, "a.zip").size is None


@pytest.mark.parametrize("value", ["24", 24.5, 0, -24, True, 2**31, [24]])
@pytest.mark.parametrize("side", ["width", "height"])
def test_a_size_that_is_none_stops_the_export(side, value):
    with pytest.raises(ExportError, match=rf"a\.zip: video\.{side}: is no size"):
        read_video({"video": VIDEO | {side: value}}, {}, "a.zip")


@pytest.mark.parametrize("value", ["30", True, -1, None, []])
def test_other_numbers_that_are_none_are_left_out(value):
    keys = ("source_fps", "total_frames", "duration_sec")
    video = read_video({"video": VIDEO | dict.fromkeys(keys, value)}, {}, "a.zip")
    assert {video.fps_declared, video.total_frames_declared, video.duration_sec_declared} == {None}
    assert video.size == (16, 24)


def test_the_place_of_an_image_has_the_columns_of_a_range(tmp_path):
    truth = write_sample_export(tmp_path / "a.zip", **SMALL)
    members = open_members(str(truth.path))
    image = ImageIndex.of(members.values()).in_order[0]
    assert set(locate_image("a.zip", image)) == {
        name for name in RANGE_SCHEMA.names if name.startswith("image_")
    }


def test_images_given_beside_the_export_that_no_record_names_are_no_rows(tmp_path):
    truth = write_sample_export(
        tmp_path / "a.zip", frames_without_objects=[3], orphan_images=2, **SMALL
    )
    members = open_members(str(truth.path))
    given = write_sample_export(tmp_path / "given.zip", **SMALL | {"frames": 54, "frame_step": 1})
    images = ImageIndex.of(open_members(str(given.path)).values())
    found = cut_export(
        members, images, image_source=str(given.path), staging=str(tmp_path / "ranges"),
        frames_per_range=4, keep_orphans=False,
    )  # fmt: skip
    listed = rows(found)
    assert [row["image_name"] for row in listed] == [
        f"images/frame_{6 * k:06d}.png" for k in range(9)
    ]
    assert all(row["frame_json"] for row in listed)
    assert (found.images, found.between) == (9, 54 - 9)
