"""What holds for a whole video, found by evidence and held against what the builder wrote."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest

import engine
from engine.clean_frames import from_zero
from engine.config import Config, Execution
from engine.errors import ExportError
from engine.members import Member
from engine.pairing import ImageIndex
from engine.sample_export import write_sample_export
from engine.survey import OpenTask, digests_of, open_export
from engine.tables import read_table
from engine.thresholds import Thresholds

SMALL = {"frames": 8, "width": 160, "height": 90}


def opened(tmp_path, truth, *, sources=1, **config):
    task = OpenTask.of(str(truth.path), str(tmp_path / "staging"), Config(**config), sources)
    return open_export(task)


def export(path, name="a.zip", **keywords):
    return write_sample_export(path / name, **SMALL | keywords)


def codes(found):
    return [issue.code for issue in found.issues]


@pytest.mark.parametrize(
    ("keywords", "grid", "reading", "painted"),
    [
        ({}, (256, 256), "row by paint", True),
        ({"paint": False}, (256, 256), "row by signature", False),
        ({"grid": 0}, (90, 160), "row by paint", True),
        ({"order": "column"}, (256, 256), "column by paint", True),
        ({"order": "column", "grid": 0}, (90, 160), "column by paint", True),
        ({"grid": 64, "paint": False}, (64, 64), "row by signature", False),
        ({"dialect": "coco"}, None, "column by size", False),
        ({"dialect": "coco", "notation": "compressed"}, None, "column by size", False),
        ({"dialect": "coco", "notation": "size+list"}, None, "column by size", False),
    ],
)
def test_grid_order_and_paint_are_found(tmp_path, keywords, grid, reading, painted):
    found = opened(tmp_path, export(tmp_path, **keywords))
    assert found.grid == grid
    assert f"{found.order} by {found.dialect['order_by']}" == reading
    assert found.dialect["painted"] is painted
    assert found.dialect["grid"] == (list(grid) if grid else None)
    assert codes(found) == (["overlay_burned_in"] if painted else [])


def test_the_users_word_goes_before_everything(tmp_path):
    found = opened(tmp_path, export(tmp_path), mask_order="column")
    assert (found.order, found.dialect["order_by"]) == ("column", "user")
    assert codes(found) == ["overlay_burned_in", "mask_order_contradicted"]
    assert codes(opened(tmp_path, export(tmp_path), mask_order="row")) == ["overlay_burned_in"]


@pytest.mark.parametrize("order", ["row", "column"])
def test_the_share_of_paint_is_that_of_the_reading_that_shows_it(tmp_path, order):
    truth = export(tmp_path, order=order)
    for word in ("row", "column"):
        found = opened(tmp_path, truth, mask_order=word)
        (paint,) = (i.message for i in found.issues if i.code == "overlay_burned_in")
        share = 100 * found.dialect["evidence"][f"paint_{order}"]
        assert share > 70
        assert paint.startswith(f"{share:.1f}% of the masks' boundary pixels, read {order}-major,")


@pytest.mark.parametrize("notation", ["size+list", "size+counts", "compressed"])
def test_edges_contradict_a_declared_order_that_is_wrong(tmp_path, notation):
    wrong = export(tmp_path, dialect="coco", order="row", notation=notation, width=320, height=180)
    found = opened(tmp_path, wrong)
    assert (found.order, found.dialect["order_by"]) == ("column", "size")
    assert codes(found) == ["mask_order_contradicted"]
    frames = 8 if notation == "compressed" else 6
    assert f"{frames} of {frames} frames say row-major" in found.issues[0].message


@pytest.mark.parametrize(("seed", "image_format"), [(0, "png"), (1, "jpg"), (2, "png"), (3, "jpg")])
@pytest.mark.parametrize("paint", [False, True])
def test_a_declared_order_that_is_right_raises_no_alarm(tmp_path, seed, image_format, paint):
    for size in ((320, 180), (180, 320), (160, 160)):
        right = export(
            tmp_path, f"{size}.zip", dialect="coco", paint=paint, seed=seed, truth=False,
            image_format=image_format, width=size[0], height=size[1],
        )  # fmt: skip
        assert codes(opened(tmp_path, right)) == ["overlay_burned_in"] * paint


@pytest.mark.parametrize("images", ["frames_without_image", "black_frames"])
@pytest.mark.parametrize("notation", ["text", "list"])
@pytest.mark.parametrize(
    ("dialect", "order"), [("coco", "row"), ("coco", "column"), ("real", "row")]
)
def test_boxes_decide_where_frames_do_not(tmp_path, images, notation, dialect, order):
    """Another exporter's true boxes; and those of one that reads its own rows as columns."""
    found = opened(
        tmp_path,
        export(
            tmp_path, dialect=dialect, order=order, notation=notation, grid=0, exporter="Other",
            **{images: range(8)},
        ),
    )  # fmt: skip
    rows = (dialect, order) == ("coco", "row")
    by = f"{found.order} by {found.dialect['order_by']}"
    assert by == ("row by boxes" if rows else "column by unproven")
    assert codes(found) == ([] if rows else ["mask_order_unproven"])
    row, column = (16, 0) if rows else (0, 16)
    said = f"boxes of {row} of 16 masks fit row-major, of {column} column-major"
    assert said in found.dialect["order_sentence"]


def test_a_box_may_be_off_by_what_is_configured(tmp_path):
    word = {"dialect": "coco", "order": "row", "notation": "text", "labels": ("cup",)}
    truth = export(tmp_path, bbox_off=dict.fromkeys(range(8), 3), black_frames=range(8), **word)
    for bbox_px, by in ((1.0, "unproven"), (3.0, "boxes")):
        found = opened(tmp_path, truth, thresholds=Thresholds(bbox_px=bbox_px))
        assert found.dialect["order_by"] == by


def test_one_damaged_text_does_not_make_a_video_coco(tmp_path):
    truth = export(tmp_path, paint=False, as_folder=True)
    place = truth.path / "annotations.json"
    document = json.loads(place.read_text())
    document["annotations"][2]["objects"][0]["mask_rle"] = "65500 x 36"
    place.write_text(json.dumps(document))
    found = opened(tmp_path, truth)
    assert (found.order, found.dialect["order_by"]) == ("row", "signature")
    assert codes(found) == []


def test_what_the_export_is(tmp_path):
    truth = export(tmp_path)
    found = opened(tmp_path, truth)
    assert (found.source, found.name) == (str(truth.path), "a.zip")
    assert found.exporter_signature
    assert (found.frame_records, found.images) == (8, 8)
    with zipfile.ZipFile(truth.path) as archive:
        sizes = [i.compress_size for i in archive.infolist() if i.filename.endswith(".png")]
    assert found.image_bytes == sum(sizes)
    assert found.video.size == (90, 160)
    assert found.video_id.startswith("session_")
    assert not opened(tmp_path, export(tmp_path, "b.zip", dialect="coco")).exporter_signature


def test_one_video_has_one_id_and_one_digest_however_it_is_packed(tmp_path):
    packed = export(tmp_path, enclosing_folder="deep", macosx=True)
    stored = export(tmp_path, "other.zip", compression="store")
    folder = export(tmp_path, "folder", as_folder=True)
    found = [opened(tmp_path, truth) for truth in (packed, stored, folder)]
    assert len({each.video_id for each in found}) == 1
    assert len({each.content_digest for each in found}) == 1
    assert [digests_of(each.source) for each in found] == [[each.content_digest] for each in found]
    assert found[0].looks
    assert [each.looks for each in found][1:] == [found[0].looks] * 2


@pytest.mark.parametrize(
    "keywords",
    [{"filename": "b.mp4"}, {"width": 164}, {"total_frames": 999}, {"duration_sec": 9.0}],
)
def test_other_facts_are_another_video(tmp_path, keywords):
    one = opened(tmp_path, export(tmp_path, filename="a.mp4"))
    two = opened(tmp_path, export(tmp_path, "b.zip", **{"filename": "a.mp4"} | keywords))
    assert one.video_id != two.video_id


def test_a_changed_member_is_another_digest(tmp_path):
    truth = export(tmp_path)
    before = digests_of(str(truth.path))
    with zipfile.ZipFile(truth.path, "a") as archive:
        archive.writestr("readme.txt", "x")
    assert digests_of(str(truth.path)) != before


def test_without_a_file_name_the_exports_own_is_taken(tmp_path):
    truth = export(
        tmp_path, "My Export.zip", dialect="coco", omit_keys=["filename"], metadata=False
    )
    assert opened(tmp_path, truth).video_id.startswith("my-export-")


def test_names_by_hand_go_by_place_or_by_name(tmp_path):
    truth = export(tmp_path)
    for key in ("a.zip", str(truth.path)):
        assert opened(tmp_path, truth, video_ids={key: "kitchen"}).video_id == "kitchen"
    assert opened(tmp_path, truth, video_ids={"b.zip": "kitchen"}).video_id != "kitchen"


def test_frames_that_were_not_exported_are_named(tmp_path):
    found = opened(tmp_path, export(tmp_path, dialect="coco", frames_not_exported=[2, 5]))
    assert codes(found) == ["frames_not_exported"] * 2
    assert [issue.frame_index for issue in found.issues] == [12, 30]
    assert found.issues[0].frame_id == f"{found.video_id}/000012"


def test_frames_without_pictures_are_opened_all_the_same(tmp_path):
    found = opened(tmp_path, export(tmp_path, frames_without_image=range(8)))
    assert (found.grid, found.order) == ((256, 256), "row")
    assert found.dialect["order_by"] == "signature"
    assert found.looks == ()


def test_damaged_pictures_are_left_to_the_scan(tmp_path):
    found = opened(tmp_path, export(tmp_path, image_crc_flip=[0], image_zero_bytes=[7]))
    assert (found.order, found.dialect["order_by"]) == ("row", "paint")
    assert [look.frame_index for look in found.looks] == [6 * k for k in range(1, 7)]


def test_hashes_see_another_scene_and_not_the_paint(tmp_path):
    def distances(one, two):
        return [(one[k] ^ two[k]).bit_count() for k in one]

    painted, clean, other = (
        {
            look.frame_index: look.phash
            for look in opened(tmp_path / name, export(tmp_path, f"{name}.zip", **keywords)).looks
        }
        for name, keywords in {
            "painted": {}, "clean": {"paint": False}, "other": {"seed": 5},
        }.items()
    )  # fmt: skip
    assert sorted(painted) == sorted(clean) == sorted(other) == [6 * k for k in range(8)]
    assert max(distances(painted, clean)) < min(distances(painted, other))


def test_clean_frames_are_taken_from_their_folder(tmp_path):
    truth = export(tmp_path)
    clean = export(tmp_path, "clean", paint=False, as_folder=True)
    found = opened(tmp_path, truth, frames=str(clean.path / "images"))
    assert found.dialect["painted"]  # the export's own frames still prove the order
    assert (found.order, codes(found)) == ("row", [])
    assert found.images == 8


def test_clean_frames_by_the_name_of_export_or_video(tmp_path):
    truth = export(tmp_path, filename="my clip.mp4")
    clean = export(tmp_path, "clean", paint=False, as_folder=True)
    for name in ("a", "my clip"):
        place = tmp_path / f"frames of {name}"
        shutil.copytree(clean.path / "images", place / name)
        assert opened(tmp_path, truth, sources=2, frames=str(place)).images == 8
    with pytest.raises(ExportError, match=r"holds no frames for a\.zip"):
        opened(tmp_path, truth, sources=2, frames=str(clean.path / "images"))


def test_a_folder_without_images_is_refused(tmp_path):
    truth = export(tmp_path)
    (tmp_path / "none").mkdir()
    (tmp_path / "none/readme.txt").write_text("x")
    with pytest.raises(ExportError, match="holds no images"):
        opened(tmp_path, truth, frames=str(tmp_path / "none"))


def test_an_export_with_no_object_at_all(tmp_path):
    found = opened(tmp_path, export(tmp_path, frames_without_objects=range(8)))
    assert (found.grid, found.frame_records, found.images) == (None, 8, 0)
    assert codes(found) == []


def test_frames_given_for_the_whole_video_are_used_where_a_record_names_them(tmp_path):
    """As ffmpeg extracts them: no row for a frame between the annotated ones, and no error."""
    truth = export(tmp_path)
    whole = export(tmp_path, "whole", paint=False, as_folder=True, frames=43, frame_step=1)
    found = opened(tmp_path, truth, frames=str(whole.path / "images"))
    assert sum(file.frames for file in found.ranges) == found.images == 8
    assert codes(found) == ["images_between_frames"]
    assert found.issues[0].message == "35 images are not used"
    document = engine.validate([str(truth.path)], None, Config(frames=str(whole.path / "images")),
                               Execution(runner="local"))  # fmt: skip
    assert document["frames"] == 8
    assert [finding["code"] for finding in document["findings"]] == ["images_between_frames"]
    assert document["status"] == "PASSED"


def test_an_exports_own_image_without_a_record_stays_a_row(tmp_path):
    found = opened(tmp_path, export(tmp_path, orphan_images=2))
    assert sum(file.frames for file in found.ranges) == 10
    assert "images_between_frames" not in codes(found)


def member(name):
    return Member(
        name=name, stored_name=name, offset=0, compressed_size=1, size=1, method=0, crc32=0
    )


def numbered(tmp_path, first, frames=48, name="{:05d}.png"):
    """All frames of the video of the small export, numbered from `first`."""
    whole = export(tmp_path, f"whole {first}", paint=False, as_folder=True, frames=48, frame_step=1)
    folder = tmp_path / f"numbered {first} {frames}"
    folder.mkdir()
    for index in range(frames):
        shutil.copy(
            whole.path / f"images/frame_{index:06d}.png", folder / name.format(index + first)
        )
    return folder


def pairs(found):
    rows = [row for file in found.ranges for row in read_table(file.path).to_pylist()]
    return {
        json.loads(row["frame_json"])["frame_index"]: row["image_name"]
        and int(Path(row["image_name"]).stem)
        for row in rows
    }


@pytest.mark.parametrize("first", [0, 1])
def test_frames_given_for_the_whole_video_may_be_numbered_from_1(tmp_path, first):
    truth = export(tmp_path)
    found = opened(tmp_path, truth, frames=str(numbered(tmp_path, first)))
    assert found.video.total_frames_declared == 48
    assert pairs(found) == {6 * k: 6 * k + first for k in range(8)}
    renumbered = [i.message for i in found.issues if i.code == "images_paired_by_position"]
    assert renumbered == [
        "images are numbered 1 to 48, one for each frame of the video; the first is frame 0"
    ] * first  # fmt: skip
    assert sum(file.frames for file in found.ranges) == found.images == 8


def test_names_in_the_records_are_those_of_the_exports_own_images(tmp_path):
    """The record of frame 6 names 000006.png: among frames numbered from 1 that is frame 5."""
    truth = export(tmp_path, image_key="file_name", image_pattern="%06d")
    frames = numbered(tmp_path, 1, name="{:06d}.png")
    assert pairs(opened(tmp_path, truth, frames=str(frames))) == {
        6 * k: 6 * k + 1 for k in range(8)
    }


@pytest.mark.parametrize(
    ("keywords", "frames", "first"),
    [
        ({}, 47, 1),  # one is missing: 1 to 47 may be frame indices
        ({"total_frames": 49}, 48, 1),
        ({"total_frames": 47}, 48, 1),
        ({"total_frames": 40}, 40, 1),  # a record lies behind the declared end: the end is wrong
        ({"omit_keys": ["total_frames"], "metadata": False}, 48, 1),
        ({}, 48, 2),
    ],
)
def test_numbers_that_may_be_frame_indices_are_taken_as_such(tmp_path, keywords, frames, first):
    found = opened(
        tmp_path, export(tmp_path, **keywords), frames=str(numbered(tmp_path, first, frames))
    )
    there = range(first, first + frames)
    assert pairs(found) == {6 * k: 6 * k if 6 * k in there else None for k in range(8)}
    assert "images_paired_by_position" not in codes(found)


def test_an_exports_own_numbers_are_taken_as_they_are(tmp_path):
    """Nobody gave them: what an exporter writes is the frame index."""
    truth = export(tmp_path, frames=8, frame_step=1, image_numbers=range(1, 9))
    found = opened(tmp_path, truth)
    assert found.video.total_frames_declared == 8
    assert "images_paired_by_position" not in codes(found)


@pytest.mark.parametrize(("indices", "moved"), [(range(0, 5, 2), True), (range(1, 5, 2), False)])
def test_records_that_may_count_from_1_prove_nothing(indices, moved):
    frames = [member(f"{number:05d}.png") for number in range(1, 6)]
    found = from_zero(ImageIndex.of(frames), indices, 5)
    assert (found is not None) is moved
    if found:
        assert {k: image.name for k, (image,) in found[0].by_index.items()} == {
            number - 1: f"{number:05d}.png" for number in range(1, 6)
        }
