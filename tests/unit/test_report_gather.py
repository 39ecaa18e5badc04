"""Real exports, scanned; what is gathered of them is counted again from their row files."""

import io
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image

from engine import Config, Execution
from engine.frame_index import gather
from engine.intake import take_in
from engine.picture_choice import MAX_PICTURES, choose_pictures
from engine.quality import judge
from engine.records import FRAME_SCHEMA, issue_table
from engine.report import render_page, validation_document
from engine.report_gather import gather_material
from engine.sample_export import write_sample_export
from engine.tables import read_table, write_table
from engine.work import start_work

SMALL = {"width": 96, "height": 64, "truth": False}
CLEAN = SMALL | {"dialect": "coco"}


@contextmanager
def taken(tmp_path, *sources, frames_per_range=500):
    execution = Execution(runner="local", frames_per_range=frames_per_range)
    places = [str(source) for source in sources]
    with start_work(execution, places) as work:
        intake = take_in(places, str(tmp_path / "st"), Config(), work, check_images="structure")
        document = validation_document(intake.exports, intake.judge(Config()), Config())
        yield intake, document, work


def material_of(tmp_path, *sources, kept=None, **how):
    with taken(tmp_path, *sources, **how) as (intake, document, work):
        material = gather_material(intake.index, intake.issues, document, work, kept=kept)
        return intake, document, material


def rows_of(intake):
    return [row for file in intake.index.files for row in read_table(file).to_pylist()]


@pytest.fixture
def two(tmp_path):
    write_sample_export(
        tmp_path / "a.zip", frames=20, labels=("cat", "dog", "cat"), filename="a.mp4", seed=1,
        mask_truncated=[3, 4], bbox_off={6: 4, 7: 9}, **CLEAN,
    )  # fmt: skip
    write_sample_export(
        tmp_path / "b.zip", frames=31, labels=("cat", "car"), filename="b.mp4", seed=2,
        area_jump={15: 3.5}, **CLEAN,
    )  # fmt: skip
    return tmp_path / "a.zip", tmp_path / "b.zip"


def test_the_figures_count_what_the_rows_hold(tmp_path, two):
    intake, _, material = material_of(tmp_path, *two)
    rows = rows_of(intake)
    assert material.tally.frames == len(rows) == 51
    assert material.tally.instances == sum(len(row["areas"]) for row in rows)
    videos = Counter(row["video_id"] for row in rows)
    assert dict(material.frames_by_video) == videos
    assert [n for _, n in material.frames_by_video] == [31, 20]
    visible = Counter(len(row["labels"]) for row in rows)
    assert {n: f for n, f in enumerate(material.objects_per_frame) if f} == visible
    together = material.together
    assert together.labels == ("cat", "car", "dog")
    for i, one in enumerate(together.labels):
        for j, other in enumerate(together.labels):
            expected = sum({one, other} <= set(row["labels"]) for row in rows)
            assert together.frames[i][j] == expected


def test_what_was_set_aside_is_in_no_figure_and_in_the_timeline(tmp_path, two):
    with taken(tmp_path, *two) as (intake, document, work):
        kept = ~np.asarray(pc.equal(intake.index.table["frame_index"], 18).to_numpy())
        material = gather_material(intake.index, intake.issues, document, work, kept=kept)
    assert (~kept).sum() == 2
    rows = [row for row in rows_of(intake) if row["frame_index"] != 18]
    assert material.tally.frames == sum(material.objects_per_frame) == 49
    assert material.tally.instances == sum(len(row["areas"]) for row in rows)
    assert sum(n for _, n in material.frames_by_video) == 49
    assert material.together.frames[0][0] == sum("cat" in row["labels"] for row in rows)
    assert sorted(t.frames for t in material.timelines) == [20, 31]


def test_a_timeline_shows_who_is_where(tmp_path, two):
    intake, _, material = material_of(tmp_path, *two, frames_per_range=7)
    first, second = material.timelines
    assert first.video_id.startswith("a-")  # it has the errors
    rows = [row for row in rows_of(intake) if row["video_id"] == first.video_id]
    rows.sort(key=lambda row: row["frame_index"])
    for track in first.tracks:
        columns = {c for start, stop in track.whole for c in range(start, stop)}
        assert columns == {c for c, r in enumerate(rows) if track.object_id in r["object_ids"]}
        assert not track.partly
    assert [mark.column for mark in first.marks] == [3, 4, 6, 7]
    assert [mark.severity for mark in first.marks] == ["error"] * 2 + ["warning"] * 2
    assert [mark.objects for mark in first.marks] == [(0,)] * 4
    assert [mark.column for mark in second.marks] == [15]
    assert material.places[f"{first.video_id}/{18:06d}"] == (0, 3)
    assert material.places[f"{second.video_id}/{90:06d}"] == (1, 15)
    assert len(material.places) == 5


def test_every_finding_of_a_frame_is_pictured_the_worst_first(tmp_path, two):
    intake, document, material = material_of(tmp_path, *two)
    assert set(material.pictures) == {finding["code"] for finding in document["findings"]}
    boxes = material.pictures["bbox_mismatch"]
    assert [p.frame_id[-6:] for p in boxes] == ["000042", "000036"]  # off by 9, by 4
    assert all(p.object_ids == (0,) and p.kind == "case" for p in boxes)
    before, here = material.pictures["area_jump"]
    assert (before.kind, before.frame_id[-6:]) == ("before", "000084")
    assert (here.kind, here.frame_id[-6:]) == ("case", "000090")
    for shown in material.pictures.values():
        for picture in shown:
            image = Image.open(io.BytesIO(picture.data))
            assert image.size == (picture.width, picture.height) == (96, 64)
    assert len(choose(intake, document)) == sum(len(p) for p in material.pictures.values())


def choose(intake, document, kept=None):
    kept = np.ones(len(intake.index), bool) if kept is None else kept
    return choose_pictures(intake.index, intake.issues, document, kept)


def pink(picture):
    pixels = np.asarray(Image.open(io.BytesIO(picture.data)).convert("RGB")).astype(int)
    return (pixels[..., 0] - pixels[..., 1] > 100) & (pixels[..., 2] - pixels[..., 1] > 40)


def test_a_malformed_mask_has_the_bare_image_and_a_good_one_its_outline(tmp_path, two):
    _, _, material = material_of(tmp_path, *two)
    bad, box = material.pictures["mask_malformed"][0], material.pictures["bbox_mismatch"][0]
    assert pink(box).sum() > 40
    assert pink(bad).sum() < pink(box).sum() / 4


def test_paint_is_shown_as_it_is_and_outlined(tmp_path):
    write_sample_export(tmp_path / "p.zip", frames=12, **SMALL)
    _, document, material = material_of(tmp_path, tmp_path / "p.zip")
    assert "overlay_burned_in" in {f["code"] for f in document["findings"]}
    bare, outlined = material.pictures["overlay_burned_in"]
    assert (bare.kind, outlined.kind) == ("bare", "case")
    assert bare.frame_id == outlined.frame_id
    assert pink(outlined).sum() > 2 * pink(bare).sum() + 40


def test_findings_about_labels_are_pictured_by_frames_that_hold_them(tmp_path):
    counts = {"person": 40, "cat": 2, "object_7": 20}
    write_sample_export(tmp_path / "a.zip", frames=40, class_counts=counts, **CLEAN)
    intake, _, material = material_of(tmp_path, tmp_path / "a.zip")
    rows = {row["id"]: row["labels"] for row in rows_of(intake)}
    assert len(material.pictures["class_imbalance"]) == 2
    assert all(pink(p).sum() > 40 for p in material.pictures["class_imbalance"])
    bare = pink(material.pictures["label_placeholder"][0]).sum()
    assert bare > 40
    assert all("cat" in rows[p.frame_id] for p in material.pictures["class_imbalance"])
    assert len(material.pictures["label_placeholder"]) == 6
    assert all("object_7" in rows[p.frame_id] for p in material.pictures["label_placeholder"])


def test_labels_are_pictured_by_frames_that_are_kept(tmp_path):
    write_sample_export(tmp_path / "a.zip", frames=20, labels=("object_7", "cat"), **CLEAN)
    with taken(tmp_path, tmp_path / "a.zip") as (intake, document, _):
        kept = np.arange(20) >= 15
        wanted = choose(intake, document, kept)
    assert [w.place for w in wanted if w.code == "label_placeholder"] == [15, 16, 17, 18, 19]


def test_a_video_is_pictured_by_its_first_frame_with_the_most_objects(tmp_path):
    hidden = {0: [0], 1: [0, 1], 2: [1]}
    write_sample_export(tmp_path / "p.zip", frames=12, hidden=hidden, **SMALL)
    _, _, material = material_of(tmp_path, tmp_path / "p.zip")
    assert material.pictures["overlay_burned_in"][0].frame_id.endswith("/000018")


def test_a_column_of_frames_in_several_files_is_added_up(tmp_path):
    write_sample_export(
        tmp_path / "a.zip", frames=330, labels=("cat",), distinct_images=4, **CLEAN
    )  # fmt: skip
    _, _, material = material_of(tmp_path, tmp_path / "a.zip", frames_per_range=7)
    (line,) = material.timelines
    (track,) = line.tracks
    assert len(line.indices) == 160
    assert track.whole == ((0, 160),)
    assert track.frames == 330


def test_classes_beyond_the_table_do_not_disturb_it(tmp_path):
    counts = {f"c{i:02d}": 8 + i for i in range(18)}
    write_sample_export(tmp_path / "a.zip", frames=40, class_counts=counts, **CLEAN)
    intake, _, material = material_of(tmp_path, tmp_path / "a.zip")
    together, rows = material.together, rows_of(intake)
    assert together.labels == tuple(f"c{i:02d}" for i in range(17, 3, -1))
    assert together.omitted == 4
    for i, one in enumerate(together.labels):
        for j, other in enumerate(together.labels):
            expected = sum({one, other} <= set(row["labels"]) for row in rows)
            assert together.frames[i][j] == expected


def test_an_object_without_an_id_is_in_no_track(tmp_path, two):
    with taken(tmp_path, *two) as (intake, document, work):
        file = intake.index.files[0]
        rows = read_table(file).to_pylist()
        rows[2]["object_ids"][0] = None
        write_table(file, pa.Table.from_pylist(rows, schema=FRAME_SCHEMA))
        material = gather_material(intake.index, intake.issues, document, work)
    assert {t.object_id for line in material.timelines for t in line.tracks} == {0, 1, 2}


def test_where_nothing_can_be_shown_the_reason_is_given(tmp_path):
    write_sample_export(
        tmp_path / "a.zip", frames=12, frames_without_image=[2], image_crc_flip=[4],
        image_zero_bytes=[6], image_truncated=[8], **CLEAN,
    )  # fmt: skip
    _, document, material = material_of(tmp_path, tmp_path / "a.zip")
    reasons = {
        (code, p.frame_id[-6:], p.missing) for code, shown in material.pictures.items()
        for p in shown
    }  # fmt: skip
    assert reasons == {
        ("image_missing", "000012", "there is no image"),
        ("image_unreadable", "000024", "the image cannot be read"),
        ("image_unreadable", "000036", "the image cannot be decoded"),
        ("image_truncated", "000048", "the image cannot be decoded"),
    }
    page = render_page(document, None, material)
    assert "<img" not in page
    assert "there is no image." in page


def test_both_rows_of_a_conflict_are_shown(tmp_path):
    same = {"filename": "s.mp4", "frames": 8, "total_frames": 48, "duration_sec": 2.0}
    for name, seed in (("a", 1), ("b", 1)):
        labels = ("cat", "dog") if name == "a" else ("cat", "car")
        write_sample_export(tmp_path / f"{name}.zip", labels=labels, seed=seed, **same, **CLEAN)
    _, document, material = material_of(tmp_path, tmp_path / "a.zip", tmp_path / "b.zip")
    codes = {f["code"] for f in document["findings"]}
    assert "frame_conflict" in codes
    shown = material.pictures["frame_conflict"]
    assert [p.frame_id for p in shown[:2]] == [shown[0].frame_id] * 2


def test_published_findings_are_not_pictured_by_what_was_set_aside(tmp_path, two):
    with taken(tmp_path, *two) as (intake, document, _):
        kept = ~np.asarray(pc.equal(intake.index.table["frame_index"], 42).to_numpy())
        wanted = choose(intake, document, kept)
        shown = [w.frame_id[-6:] for w in wanted if w.code == "bbox_mismatch"]
        assert shown == ["000036"]
        # As a finding of the sources alone it is pictured by all.
        own = [f for f in document["findings"] if f["code"] == "bbox_mismatch"]
        sources = {"findings": own}
        rest = [f for f in document["findings"] if f["code"] != "bbox_mismatch"]
        wanted = choose(intake, document | {"findings": rest, "sources": sources}, kept)
        shown = [w.frame_id[-6:] for w in wanted if w.code == "bbox_mismatch"]
        assert shown == ["000042", "000036"]


def test_the_page_does_not_depend_on_how_frames_lie_in_files(tmp_path, two):
    pages = []
    for number, frames_per_range in enumerate((500, 7, 1)):
        place = tmp_path / str(number)
        _, document, material = material_of(place, *two, frames_per_range=frames_per_range)
        pages.append(render_page(document, None, material))
    assert pages[0] == pages[1] == pages[2]
    _, document, material = material_of(tmp_path / "r", *two[::-1])
    assert render_page(document, None, material) == pages[0]
    assert str(tmp_path) not in pages[0]


def test_nothing_at_all_has_material(tmp_path):
    index = gather([])
    with start_work(Execution(runner="local"), []) as work:
        issues = issue_table([])
        document = validation_document([], judge(index.table, issues, 9.0, exports=0), Config())
        material = gather_material(index, issues, document, work)
    assert material.tally.frames == 0
    assert material.timelines == ()
    assert "There are no frames to draw figures of." in render_page(document, None, material)


def test_the_pictures_of_all_findings_share_one_budget(tmp_path, two):
    with taken(tmp_path, *two) as (intake, document, _):
        one = next(f for f in document["findings"] if f["code"] == "bbox_mismatch")
        ids = intake.index.table["id"].to_pylist()
        many = [one | {"code": f"code_{i}", "frames": ids} for i in range(70)]
        empty = pa.table(intake.issues.schema.empty_table())
        wanted = choose_pictures(
            intake.index, empty, document | {"findings": many}, np.ones(len(ids), bool)
        )
    counts = Counter(each.code for each in wanted)
    assert len(wanted) <= MAX_PICTURES
    assert len(counts) == 70
    assert set(counts.values()) == {2}
