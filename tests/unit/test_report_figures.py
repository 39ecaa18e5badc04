"""The figures' numbers and shapes, drawn again from their paths."""

import re
from base64 import b64decode

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.frame_tally import AREA_EDGES, GRID, Tally
from engine.report_figures import (
    area_histogram,
    evidence,
    example_parts,
    heat_map,
    objects_histogram,
    pairs,
    picture_address,
    places,
    stretches_path,
    track_marks,
    video_rows,
)
from engine.report_material import Mark, Material, Picture, Timeline, Together


def tally_of(areas=None, centres=None, size=(1600, 900)):
    return Tally(
        frames=1, width_px=size[0], height_px=size[1],
        areas=np.zeros(len(AREA_EDGES), np.int64) if areas is None else areas,
        centres=np.zeros(GRID, np.int64) if centres is None else centres,
    )  # fmt: skip


def picture(frame_id="v/000001", data=b"RIFF", kind="case"):
    return Picture(
        frame_id=frame_id, kind=kind, object_ids=(), data=data, width=9, height=9,
        missing=None if data else "there is no image",
    )  # fmt: skip


def material_of(**parts):
    values = {
        "tally": tally_of(), "frames_by_video": (), "objects_per_frame": (),
        "together": Together(labels=(), omitted=0, frames=()), "timelines": (),
        "timelines_omitted": 0, "pictures": {}, "places": {},
    } | parts  # fmt: skip
    return Material(**values)


@given(st.lists(st.integers(0, 9), max_size=300))
def test_every_frame_is_in_a_column(frames):
    h = objects_histogram(frames)
    assert h.total == sum(c.count for c in h.columns) == sum(frames)
    assert 8 <= len(h.columns) <= 25
    assert sum(c.share for c in h.columns) == pytest.approx(1 if sum(frames) else 0)
    assert max(c.height for c in h.columns) == (100 if sum(frames) else 0)
    assert all((c.height > 0) == (c.count > 0) for c in h.columns)
    assert 1 <= sum(bool(c.tick) for c in h.columns) <= 13


def test_objects_per_frame_are_named_and_summed_up():
    h = objects_histogram([1, 2, 0, 1])
    assert [(c.name, c.count) for c in h.columns[:4]] == [("0", 1), ("1", 2), ("2", 0), ("3", 1)]
    assert h.sentence == "1.2 on average, 1 frame without any"
    wide = objects_histogram([0] * 99 + [5])
    assert wide.columns[-1].name == "96 to 99"
    assert wide.columns[-1].count == 5


def test_area_bins_are_named_by_their_edges():
    areas = np.arange(len(AREA_EDGES))
    h = area_histogram(tally_of(areas))
    assert h.columns[0].name == "below 0.001%"
    assert h.columns[1].name == "0.001% to 0.0018%"
    assert h.columns[-1].name == "56% to 100%"
    assert [c.tick for c in h.columns if c.tick] == ["0.001%", "0.01%", "0.1%", "1%", "10%"]
    # Bins 0 to 8 lie below 0.1 %; half of the 210 instances are reached in bin 14.
    assert h.sentence == "the median is 1.8% to 3.2% of the image; 36 below 0.1%"
    assert sum(areas[:14]) < 105 <= sum(areas[:15])


def cells_of(path):
    cells = np.zeros(GRID, bool)
    pieces = re.findall(r"M(\d+) (\d+)h(\d+)v1H(\d+)z", path)
    assert "".join("M{} {}h{}v1H{}z".format(*piece) for piece in pieces) == path
    for x, y, width, back in (map(int, piece) for piece in pieces):
        assert x == back
        cells[y, x : x + width] = True
    return cells


def test_the_map_has_every_cell_once_and_the_fullest_is_darkest():
    rng = np.random.default_rng(5)
    centres = rng.integers(0, 4, GRID) ** 3
    found = heat_map(tally_of(areas=np.array([centres.sum()]), centres=centres))
    layers = np.stack([cells_of(path) for path in found.levels])
    assert (layers.sum(axis=0) == (centres > 0)).all()
    level = (layers * np.arange(1, 6)[:, None, None]).sum(axis=0)
    assert (level[centres == centres.max()] == 5).all()
    order = np.argsort(centres, axis=None)
    assert (np.diff(level.ravel()[order]) >= 0).all()
    assert found.most == centres.max()
    middle = centres[6:12, 10:22].sum() / centres.sum()
    assert found.middle_share == pytest.approx(middle)


@pytest.mark.parametrize(("size", "aspect"), [((1600, 800), 2), ((9, 90), 0.5), ((900, 9), 2.4)])
def test_the_map_has_the_shape_of_the_images(size, aspect):
    assert heat_map(tally_of(size=size)).aspect == aspect


def test_few_videos_are_all_listed_and_many_by_both_ends():
    assert [r.video_id for r in video_rows([("a", 9), ("b", 3)])] == ["a", "b"]
    videos = [(f"v{i:02d}", 100 - i) for i in range(40)]
    rows = video_rows(videos)
    assert [r.video_id for r in rows] == [
        *(v for v, _ in videos[:9]), None, *(v for v, _ in videos[-3:]),
    ]  # fmt: skip
    assert sum(r.frames for r in rows) == sum(n for _, n in videos)
    assert sum(r.videos for r in rows) == 40
    assert rows[0].length == 100
    assert video_rows([]) == []


def test_pairs_are_shares_of_the_rarer_class():
    rows = pairs(
        Together(labels=("a", "b", "c"), omitted=0, frames=((9, 4, 0), (4, 4, 1), (0, 1, 8)))
    )
    assert [len(row) for row in rows] == [1, 2, 3]
    assert [(p.frames, p.share, p.level) for p in rows[1]] == [(4, 1.0, 5), (4, 1.0, 0)]
    assert [(p.frames, p.share) for p in rows[2]] == [(0, 0.0), (1, 0.25), (8, 1.0)]
    assert rows[2][0].level == 0
    assert rows[2][1].level == 3


def test_marks_of_a_track_are_of_its_object():
    def mark(column, severity, *objects):
        return Mark(column=column, severity=severity, codes=(("x", 1),), objects=objects)

    line = Timeline(
        video_id="v", frames=9, indices=(), tracks=(), tracks_omitted=0, findings=3,
        marks=(mark(1, "error", 5), mark(3, "warning", 5, 6), mark(4, "error", 6)),
    )  # fmt: skip
    assert track_marks(line, 5) == [("warning", "M3 0H4V1H3z"), ("error", "M1 0H2V1H1z")]
    assert track_marks(line, 7) == []
    assert stretches_path([(0, 2), (5, 6)]) == "M0 0H2V1H0zM5 0H6V1H5z"


def test_a_frame_is_found_by_its_picture_or_in_its_timeline():
    mark = Mark(column=4, severity="error", codes=(("x", 1),), objects=())
    line = Timeline(
        video_id="v", frames=9, indices=(), tracks=(), tracks_omitted=0, marks=(mark,), findings=1
    )
    known = places(
        material_of(
            timelines=(line,),
            places={"v/000001": (0, 4), "v/000002": (0, 4), "v/000003": (0, 5)},
            pictures={
                "mask_empty": (picture("v/000009", None), picture("v/000001")),
                "x": (picture("v/000001"),),
            },
        )
    )
    assert known == {
        "v/000001": "p-mask_empty-1", "v/000002": "m0-4", "v/000003": "v0",
    }  # fmt: skip
    assert places(None) == {}


def test_an_example_is_parted_only_where_its_frame_is_known():
    known = {"a: b, object 1/000001": "x", "v/000002": "y"}
    assert example_parts("v/000002: what", known) == ("v/000002", ": what")
    assert example_parts("v/000002, object 3: what", known) == ("v/000002", ", object 3: what")
    assert example_parts("v/000003: what", known) == (None, "v/000003: what")
    assert example_parts("what", known) == (None, "what")


def test_addresses_hold_the_bytes():
    assert b64decode(picture_address(picture(data=b"RIFF1")).split(",")[1]) == b"RIFF1"


def test_evidence_is_shown_as_far_as_there_is_room():
    png, jpeg, webp = b"\x89PNG\r\n", b"\xff\xd8\xff\xe0", b"RIFF0000WEBP"
    shown, left = evidence(material_of(evidence_images={"b": jpeg, "a": png, "c": webp}))
    assert [(e.video_id, e.address.split(";")[0]) for e in shown] == [
        ("a", "data:image/png"), ("b", "data:image/jpeg"), ("c", "data:image/webp"),
    ]  # fmt: skip
    assert left == 0
    assert evidence(None) == ([], 0)
    large = {f"{i:02d}": png + bytes(200_000) for i in range(20)} | {"zz": b"<svg>"}
    shown, left = evidence(material_of(evidence_images=large))
    assert len(shown) == 4
    assert left == 17
    assert sum(len(e.address) for e in shown) < 1_300_000
