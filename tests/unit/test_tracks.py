"""What only a whole video shows: every fault is found where it is, and nothing where there is none.

The oracle is the simulator (tests/simulated_tracks.py), which knows what it has put in.
"""

import json
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine import Config, Execution
from engine.findings import CODES, Severity
from engine.frame_times import unfitting_times
from engine.intake import take_in
from engine.records import FRAME_SCHEMA
from engine.sample_export import write_sample_export
from engine.tables import read_table, write_table
from engine.tasks import LocalRunner
from engine.track_check import TrackTask, check_video
from engine.tracks import track_issues
from engine.work import Work
from tests.simulated_tracks import MOTIONS, Video, inject

FAULTS = 120
HERE = Execution(runner="local")
TRACK_CODES = (
    "area_jump", "centroid_jump", "object_flicker", "label_change", "mask_frozen",
    "timestamp_mismatch", "image_repeated",
)  # fmt: skip


def found(video, code=None):
    issues = track_issues(video.table(), video.fps)
    return [(i.code, i.frame_index, i.object_id) for i in issues if code in (None, i.code)]


def film(frames=30, **changes):
    """A rectangle that goes steadily through a 640x480 video, every frame of 30 a second."""
    video = Video(0, motion="still", frames=frames, step=1, noise=0.0, objects=2)
    video.width, video.height, video.fps, video.grid = 640, 480, 30.0, False
    way = np.linspace(0.3, 0.6, frames)
    for path, (side, y) in zip(video.paths, ((0.1, 0.3), (0.2, 0.7)), strict=True):
        path[:] = np.stack([way, np.full(frames, y), *np.full((2, frames), side)], axis=1)
    for k, edit in changes.items():
        getattr(video, k).update(edit)
    video.rows = [video.row(i) for i in range(frames)]
    return video


# Rates.


def rates(code, first_seed, wanted):
    """Count the faults found where they are and the findings that are none, of `wanted` faults."""
    faults = hits = false = 0
    seed = first_seed
    while faults < wanted:
        video = Video(seed, objects=2)
        fault = inject(video, code)
        seed += 1
        if fault is None:
            continue
        faults += 1
        # A mask may have been equal already, one frame before it was frozen.
        slack = video.step if code == "mask_frozen" else 0
        same = found(video, code)
        hit = any(o == fault[1] and abs(f - fault[0]) <= slack for _, f, o in same)
        hits += hit
        false += len(same) - hit
    return hits, false


@pytest.mark.parametrize("code", TRACK_CODES)
def test_faults_are_found_where_they_are(code):
    """Over faults of all motions, rates of sampling and lengths."""
    hits, false = rates(code, 10_000, FAULTS)
    assert hits >= 0.93 * FAULTS  # the long test asks for 0.95; a sample of 120 spreads by 0.02
    assert hits >= 0.9 * (hits + false)


@pytest.mark.long
@pytest.mark.parametrize("code", TRACK_CODES)
def test_recall_and_precision_on_videos_that_nothing_was_tuned_on(code):
    hits, false = rates(code, 3_000_000, 1_000)
    assert hits >= 0.95 * 1_000, (hits, false)
    assert hits >= 0.9 * (hits + false), (hits, false)


@pytest.mark.parametrize("motion", MOTIONS)
def test_ordinary_motion_is_no_finding(motion):
    """At the edges, behind things, at any sampling: one track of a hundred may be taken wrongly."""
    alarms = []
    noise = (
        0.01 if motion == "stop and go" else None
    )  # drawn, it may stop for good: see mask_frozen
    for seed in range(50):
        video = Video(seed, motion=motion, objects=2, noise=noise)
        if seed % 2:
            length = max(3, 4 // video.step + 1)
            video.occlude(0, int(video.rng.integers(video.n)), length, declared=seed % 4 == 1)
        alarms += found(video)[:1]
    assert len(alarms) <= 2


@pytest.mark.parametrize("frames", range(5))
def test_a_few_frames_prove_nothing(frames):
    for seed in range(20):
        if frames:
            video = Video(seed, frames=frames + 1, objects=2)
            video.rows = video.rows[:frames]
            for row in video.rows[1::2]:
                row["objects"].reverse()
            assert found(video) == []
    assert track_issues(Video(1, frames=2).table().slice(0, 0), 30.0) == []


# Single faults, and what is beside them.


def test_a_steady_film_has_no_finding():
    assert found(film()) == []


@pytest.mark.parametrize("at", [0, 1, 12, 28, 29])
@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_one_mask_of_another_size(at, factor):
    video = film()
    x, y, w, h = video.paths[0][at]
    video.put(at, 0, (x, y, w * factor**0.5, h * factor**0.5))
    assert found(video) == [("area_jump", at, 0)]


@pytest.mark.parametrize("at", [0, 1, 12, 28, 29])
def test_one_mask_elsewhere(at):
    video = film()
    x, y, w, h = video.paths[0][at]
    video.put(at, 0, (x + 0.3, y, w, h))
    assert found(video) == [("centroid_jump", at, 0)]


def test_a_jump_that_lasts_is_one_finding():
    video = film()
    for i in range(12, 30):
        x, y, w, h = video.paths[1][i]
        video.put(i, 1, (x, y - 0.5, w / 2, h / 2))
    assert found(video) == [("area_jump", 12, 1), ("centroid_jump", 12, 1)]


def test_two_objects_that_change_places_both_jump():
    video = film()
    for i in range(12, 30):
        for k, y in ((0, 0.75), (1, 0.25)):
            x, _, _, _ = video.paths[k][i]
            video.put(i, k, (x, y, 0.15, 0.15))
    codes = found(video, "centroid_jump")
    assert codes == [("centroid_jump", 12, 0), ("centroid_jump", 12, 1)]


def test_a_jump_says_what_was_expected():
    video = film()
    x, y, w, h = video.paths[0][12]
    video.put(12, 0, (x, y, 2 * w, 2 * h))
    (issue,) = track_issues(video.table(), 30.0)
    assert (issue.frame_id, issue.video_id, issue.source) == ("video/000012", "video", "a.zip")
    assert issue.message == (
        "area is 12288 px, 4 times the 3072 px of frame 11, expected a change as between its other "
        "frames"
    )


@pytest.mark.parametrize(
    ("gap", "declared", "expected"),
    [
        ([12], False, ["object_flicker"]),
        ([12, 13], False, ["object_flicker"]),
        ([12, 13, 14], False, []),  # long enough to have been out of sight
        ([12], True, ["object_flicker"]),  # nothing hides an object for a thirtieth of a second
        (list(range(12, 17)), True, []),
        ([0], False, []),
        ([29], False, []),
    ],
)
def test_flicker(gap, declared, expected):
    video = film()
    for i in gap:
        video.hide(i, 0, declared=declared)
    assert found(video) == [(code, gap[0], 0) for code in expected]


def test_hidden_at_a_low_rate_is_occlusion():
    video = Video(3, motion="still", frames=20, step=6, objects=2, noise=0.0)
    video.hide(7, 0, declared=True)
    assert found(video) == []
    video = Video(3, motion="still", frames=20, step=6, objects=2, noise=0.0)
    video.hide(7, 0, declared=False)
    assert found(video) == [("object_flicker", 42, 0)]


def test_an_object_that_comes_back_elsewhere_or_otherwise_does_not_flicker():
    for new in ((0.7, 0.3, 0.1, 0.1), (0.45, 0.3, 0.2, 0.2)):
        video = film()
        video.hide(14, 0, declared=False)
        for i in range(15, 30):
            video.put(i, 0, new)
        assert found(video, "object_flicker") == []


def test_a_broken_record_is_no_absence():
    video = film()
    video.hide(12, 0, declared=False)
    video.rows[12]["broken"] = 1  # it has an error of its own
    assert found(video) == []


def test_a_frame_without_any_object_is_no_flicker():
    video = film()
    for k in (0, 1):
        video.hide(12, k, declared=False)
    assert found(video) == []


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([12], [12]),
        ([12, 13, 14], [12]),
        (range(12, 30), [12]),
        ([0], [0]),
        (range(1, 30), [1]),
        ([5, 20], [5, 20]),
        ([29], [29]),
    ],
)
def test_label_change(places, expected):
    video = film()
    for i in places:
        video.at(i, 0)["labels"] = "cat"
    if len(places) == 29:
        expected = [0]  # one frame against all others
    assert found(video) == [("label_change", f, 0) for f in expected]


def test_two_records_of_one_id_are_no_track():
    video = film()
    for row in video.rows:
        for number, o in enumerate(row["objects"]):
            o |= {"object_ids": 0, "labels": "dog" if number else "cat"}
    assert found(video) == []


def test_objects_without_an_id_are_no_track():
    video = film()
    for i, row in enumerate(video.rows):
        for o in row["objects"]:
            o |= {"object_ids": None, "labels": str(i)}
    assert found(video) == []


def freeze(video, run):
    for i in run[1:]:
        place = next(p for p, o in enumerate(video.rows[i]["objects"]) if not o["object_ids"])
        video.rows[i]["objects"][place] = dict(video.at(run[0], 0))


def test_a_frozen_mask_is_one_finding_and_no_jump():
    video = film()
    freeze(video, range(12, 17))
    assert found(video) == [("mask_frozen", 13, 0)]


def test_a_mask_frozen_to_the_end():
    video = film()
    freeze(video, range(12, 30))
    assert found(video) == [("mask_frozen", 13, 0)]


def test_equal_masks_on_equal_images_are_not_frozen():
    video = film()
    freeze(video, range(12, 17))
    for i in range(13, 17):
        video.rows[i]["image"] = video.rows[12]["image"]
    assert found(video) == [("image_repeated", i, None) for i in range(13, 17)]


def test_a_parked_object_is_not_frozen_and_may_drive_off():
    video = film()
    freeze(video, range(30))
    assert found(video) == []
    video = film()
    for i in range(12, 30):  # it stops for eight frames and goes on as before
        x, y, w, h = video.paths[0][max(12, i - 8)]
        video.put(i, 0, (x, y, w, h))
    assert found(video) == []


def test_a_frame_of_two_versions_is_not_judged():
    video = film()
    other = video.table()
    video.put(12, 0, (0.8, 0.3, 0.1, 0.1))
    video.at(12, 0)["labels"] = "cat"
    both = pa.concat_tables([other, video.table().slice(12, 1)])
    assert track_issues(both, 30.0) == []
    assert track_issues(video.table(), 30.0) != []


# Timestamps.


@pytest.mark.parametrize(
    ("frames", "times", "rates", "expected"),
    [
        (range(20), [k / 30 for k in range(20)], (30.0, None), []),
        (range(20), [round(k / 30, 3) for k in range(20)], (30.0, None), []),
        (range(20), [round(k / 30, 1) for k in range(20)], (30.0, None), []),
        (range(20), [k / 29.97 for k in range(20)], (30.0, None), []),
        (range(20_000), [k / 29.97 for k in range(20_000)], (30.0, None), []),
        (range(20), [3.5 + k / 30 for k in range(20)], (30.0, None), []),  # it begins later
        (range(20), [k / 24 for k in range(20)], (None, None), []),
        (range(20), [k / 24 for k in range(20)], (0.0, None), []),
        (range(20), [k / 5 for k in range(20)], (30.0, 5.0), []),  # numbered as exported
        (range(0, 120, 6), [k / 5 for k in range(20)], (30.0, 5.0), []),
        (range(0, 120, 6), list(range(20)), (30.0, 1.0), list(range(1, 20))),
        (range(0, 120, 6), [k * 6 / 24 for k in range(20)], (30.0, None), list(range(1, 20))),
        (range(20), [k / 30 + 0.1 * (k == 7) for k in range(20)], (30.0, None), [7]),
        (range(20), [k / 24 + 0.1 * (k == 7) for k in range(20)], (None, None), [7]),
        (range(20), [k / 30 + 5 * (k == 0) for k in range(20)], (30.0, None), [0]),
        (range(20), [k / 30 + 1 * (k >= 15) for k in range(20)], (30.0, None), [*range(15, 20)]),
        (range(20), [0.0] * 20, (30.0, None), list(range(1, 20))),
        ([0, 1, 2], [0.0, 0.4, 2 / 30], (30.0, None), [1]),
        ([0, 9], [0.0, 7.0], (30.0, None), []),
        ([4], [0.0], (30.0, None), []),
        ([], [], (30.0, None), []),
    ],
)
def test_timestamps(frames, times, rates, expected):
    off = unfitting_times(np.array(frames, np.int64), np.array(times, np.float64), *rates)
    assert [place for place, _, _ in off] == expected


def test_a_wandering_rate_widens_the_tolerance():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.02, 0.046, 300))
    assert unfitting_times(np.arange(300), times, 30.0, None) == []


def test_a_timestamp_says_both_what_is_declared_and_what_the_video_has():
    video = film()
    for i, row in enumerate(video.rows):
        row["timestamp_sec"] = i / 24
    first, *rest = track_issues(video.table(), 30.0)
    assert len(rest) == 26  # the first three are within half a frame
    assert first.message.endswith("by 30 frames/s as declared; the video has 24 frames/s")


# Order, exports, ranges.


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 500), st.randoms(use_true_random=False), st.sampled_from(TRACK_CODES))
def test_the_order_of_rows_and_of_objects_does_not_matter(seed, random, code):
    video = Video(seed, frames=24, objects=2)
    inject(video, code)
    straight = track_issues(video.table(), video.fps)
    rows = list(range(24))
    random.shuffle(rows)
    assert track_issues(video.table().take(rows), video.fps) == straight
    for row in video.rows:
        random.shuffle(row["objects"])
    assert set(track_issues(video.table(), video.fps)) == set(straight)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 500), st.floats(0.5, 4), st.sampled_from(TRACK_CODES))
def test_findings_are_the_same_in_a_larger_picture(seed, scale, code):
    """Thresholds are shares of frame and object; a few pixels matter in small pictures alone."""
    video = Video(seed, frames=24, objects=2)
    video.width, video.height, video.grid = 1000, 800, True
    video.rows = [video.row(i) for i in range(24)]
    inject(video, code)
    before = found(video)
    video.width, video.height = video.width * 4, video.height * 4
    for row in video.rows:
        for o in row["objects"]:
            o["areas"] *= 16
            o["centroids"] = [4 * c for c in o["centroids"]]
            o["bounding_boxes"] = [4 * c for c in o["bounding_boxes"]]
    assert found(video) == before


def test_all_codes_are_warnings():
    assert {CODES[code].severity for code in TRACK_CODES} == {Severity.WARNING}


DEFECTS = {
    "area_jump": {"area_jump": {9: 3.5}}, "centroid_jump": {"centroid_jump": {9: 0.4}},
    "object_flicker": {"flicker": [9]}, "label_change": {"label_change": {9: "cat"}},
    "mask_frozen": {"frozen_masks": [9, 10, 11, 12]},
    "timestamp_mismatch": {"timestamp_off": {9: -0.2}}, "image_repeated": {"repeated_images": [9]},
}  # fmt: skip


def export(path, **keywords):
    sizes = {"frames": 24, "width": 640, "height": 360, "truth": False, "image_format": "jpg"}
    return str(write_sample_export(path, **sizes | keywords).path)


def take(path, staging, frames_per_range):
    work = Work(LocalRunner(), frames_per_range=frames_per_range)
    return take_in([path], str(staging), Config(), work, check_images="header")


@pytest.mark.parametrize("dialect", ["real", "coco"])
def test_a_clean_export_has_no_finding_of_a_track(tmp_path, dialect):
    for seed in range(3):
        place = export(tmp_path / f"{seed}.zip", dialect=dialect, seed=seed)
        document = engine.validate([place], None, Config(), HERE)
        assert not {f["code"] for f in document["findings"]} & set(TRACK_CODES)


@pytest.mark.parametrize("dialect", ["real", "coco"])
@pytest.mark.parametrize("code", DEFECTS)
def test_a_defect_of_an_export_is_found_over_the_borders_of_ranges(tmp_path, code, dialect):
    place = export(tmp_path / "a.zip", dialect=dialect, paint=False, **DEFECTS[code])
    seen = []
    for size in (1, 7, 10, 100):
        intake = take(place, tmp_path / str(size), size)
        (issue,) = intake.issues.to_pylist()
        assert (issue["code"], issue["frame_index"], issue["source"]) == (code, 54, "a.zip")
        assert sum(intake.index.table["errors"].to_pylist()) == 0
        seen.append(issue)
    assert seen == [seen[0]] * 4


def test_two_exports_of_one_video_are_one_track(tmp_path):
    place = export(tmp_path / "a.zip", dialect="coco", area_jump={12: 3.5})
    with zipfile.ZipFile(place) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    document = json.loads(members["annotations.json"])
    frames = document["annotations"]
    parts = []
    for half in (0, 1):
        own = frames[half::2]
        names = [f"images/frame_{f['frame_index']:06d}.jpg" for f in own]
        document |= {"annotations": own}
        document["export_config"]["frame_indices"] = [f["frame_index"] for f in own]
        parts.append(str(tmp_path / f"half{half}.zip"))
        with zipfile.ZipFile(parts[-1], "w") as archive:
            archive.writestr("annotations.json", json.dumps(document))
            for name in ("metadata.json", *names):
                archive.writestr(name, members[name])
    report = engine.validate(parts, None, Config(), HERE)
    assert report["videos"] == 1
    (finding,) = report["findings"]
    assert (finding["code"], finding["count"], finding["frames"]) == (
        "area_jump", 1, [f"{finding['videos'][0]}/000072"],
    )  # fmt: skip


def test_images_of_equal_size_in_a_folder_are_told_apart(tmp_path):
    place = export(tmp_path / "a", dialect="coco", as_folder=True)
    images = sorted((tmp_path / "a" / "images").iterdir())
    data = [image.read_bytes() for image in images[:4]]
    longest = max(map(len, data))
    for image, each in zip(images, data, strict=False):
        image.write_bytes(each + bytes(longest - len(each)))
    images[2].write_bytes(images[1].read_bytes())
    intake = take(place, tmp_path / "staging", 5)
    codes = [(i["code"], i["frame_index"]) for i in intake.issues.to_pylist()]
    assert codes == [("image_repeated", 12)]


def test_a_video_without_a_frame_has_no_finding(tmp_path):
    rows = str(tmp_path / "rows.parquet")
    write_table(rows, FRAME_SCHEMA.empty_table())
    task = TrackTask(
        files=((rows, np.zeros(0, np.int64)),), sources={}, rate=None, export_rate=None,
        issues_path=str(tmp_path / "i.parquet"),
    )  # fmt: skip
    assert read_table(check_video(task)).num_rows == 0
