"""Exports that arrive: whose evidence is drawn, and what is refused."""

import random

import pytest

from engine.arrivals import DRAWN, find_sources, in_precedence, still_drawn
from engine.errors import UsageError
from engine.records import OpenedExport, Video


def export(source, named_id="v", digest="0", picture=b"x"):
    video = Video(
        filename=None, width=None, height=None, total_frames_declared=None, fps_declared=None,
        duration_sec_declared=None,
    )  # fmt: skip
    return OpenedExport(
        source=source, video=video, video_id=named_id, named_id=named_id, content_digest=digest,
        exporter_signature=False, frame_records=0, ranges=(), grid=None, order="column",
        dialect={}, issues=(), images=0, image_bytes=0, evidence_image=picture,
    )  # fmt: skip


def drawn(exports):
    return {each.source for each in exports if each.evidence_image is not None}


def test_the_same_are_drawn_in_however_many_steps_they_come():
    names = [f"{folder}/{letter}.zip" for folder in "ba" for letter in "dcbaefgh"]
    wanted = set(sorted(names, key=lambda name: (name[2:], name))[:DRAWN])
    rng = random.Random(1)
    for _ in range(20):
        rng.shuffle(names)
        first, second = names[:6], names[6:]
        held = still_drawn([export(name) for name in first], second)
        assert drawn(held) == wanted & set(first)
        assert [each.source for each in held] == first


def test_exports_of_one_zip_count_as_their_zip():
    inside = [
        export(f"z/a.zip/sav_{n}_manual.json", picture=b"x" if n == 0 else None) for n in (0, 1)
    ]
    behind, before = ([f"{name}{n}.zip" for n in range(DRAWN)] for name in ("m", "0"))
    assert drawn(still_drawn(inside, behind)) == {inside[0].source}  # as a.zip, not as sav_0
    assert drawn(still_drawn(inside, before)) == set()
    assert drawn(still_drawn(inside, before[1:])) == {inside[0].source}


def test_precedence_goes_by_content_not_by_place():
    a, b, c = export("9", "a", "2"), export("1", "a", "3"), export("0", "b", "1")
    for given in ([a, b, c], [c, b, a], [b, c, a]):
        assert in_precedence(given) == [a, b, c]


def test_a_source_that_is_given_twice_is_one(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"")
    place = str(tmp_path / "a.zip")
    assert find_sources([place, place]) == [place]
    with pytest.raises(UsageError):
        find_sources([])
