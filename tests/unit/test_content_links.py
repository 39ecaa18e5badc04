"""Links between videos, against a comparison of everything with everything."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.content_links import (
    Link,
    Links,
    equal_images,
    find_links,
    group_of_video,
    looks_of_videos,
)
from engine.records import Look, OpenedExport, Video

BIG = 200_000  # bytes of an image with something on it
PLAIN = 4_000


def frames(*rows):
    """Rows of (video, frame index, crc or None[, bytes])."""
    full = [(*row, BIG)[:4] for row in rows]
    return pa.table(
        {
            "id": pa.array([f"{video}/{index:06d}" for video, index, _, _ in full], pa.string()),
            "video_id": pa.array([row[0] for row in full], pa.string()),
            "image_crc32": pa.array([row[2] for row in full], pa.uint32()),
            "image_bytes": pa.array([row[3] for row in full], pa.int64()),
            "width": pa.array([1280] * len(full), pa.int32()),
            "height": pa.array([720] * len(full), pa.int32()),
        }
    )


def look(seed, index=0, *, noise=0, flips=0, flat=False, painted=0.0):
    """A look drawn from a seed; `painted`: that share of its cells is something else."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(40, 200, (256, 3))
    if flat:
        cells[:] = 100
    phash = int(rng.integers(0, 2**63))
    other = np.random.default_rng([seed, index, 5])
    cells += other.integers(-noise, noise + 1, cells.shape)
    hidden = other.random(256) < painted
    cells[hidden] = other.integers(0, 255, (int(hidden.sum()), 3))
    for bit in other.choice(63, flips, replace=False):
        phash ^= 1 << int(bit)
    return Look(frame_index=index, phash=phash, cells=cells.astype(np.uint8).tobytes())


def video(*seeds, **more):
    return tuple(look(seed, 10 * place, **more) for place, seed in enumerate(seeds))


def linked(found):
    return [link.videos for link in found.links]


def plain_links(looks, table):
    """Every video with every other, frame by frame, as it is said in the docstrings."""
    rows = [] if table is None else table.to_pylist()
    images = {name: set() for name in looks}
    for row in rows:
        if row["image_crc32"] is not None:
            images.setdefault(row["video_id"], set()).add((row["image_crc32"], row["image_bytes"]))
    for a, b in combinations(sorted({*looks, *images}), 2):
        one, other = images.get(a, set()), images.get(b, set())
        shared = {key for key in one & other if key[1] > 1500 + 0.035 * 1280 * 720}
        pairs = []
        for x in looks.get(a, ()):
            for y in looks.get(b, ()):
                cells = [
                    np.frombuffer(z.cells, np.uint8).reshape(256, 3).astype(int) for z in (x, y)
                ]
                same = (np.abs(cells[0] - cells[1]) <= 4).all(axis=1)
                grey = (cells[0] + cells[1])[same] / 2 @ np.array([0.299, 0.587, 0.114])
                near = (x.phash ^ y.phash).bit_count() <= 16
                if near and same.mean() >= 0.45 and grey.std() >= 2:
                    pairs.append((x.frame_index, y.frame_index))
        alike = min(len({x for x, _ in pairs}), len({y for _, y in pairs}))
        by_image = shared and len(shared) >= min(2, len(one), len(other))
        by_look = pairs and alike >= min(2, len(looks[a]), len(looks[b]))
        if by_image or by_look:
            yield (a, b), len(shared) if by_image else 0, alike if by_look else 0


SEEDS = st.lists(
    st.tuples(
        st.integers(0, 6), st.sampled_from([0, 2, 6]), st.sampled_from([0, 12, 20]), st.booleans(),
        st.sampled_from([0.0, 0.3, 0.7]),
    ), max_size=5,
)  # fmt: skip
ROWS = st.lists(
    st.tuples(
        st.sampled_from("abcde"), st.integers(0, 30), st.one_of(st.none(), st.integers(0, 5)),
        st.sampled_from([BIG, BIG + 1, PLAIN]),
    ), max_size=30,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from("abcde"), SEEDS), ROWS)
def test_links_against_all_pairs(drawn, rows):
    looks = {
        name: tuple(
            look(seed, place, noise=noise, flips=flips, flat=flat, painted=painted)
            for place, (seed, noise, flips, flat, painted) in enumerate(of_video)
        )
        for name, of_video in drawn.items()
    }
    table = frames(*rows)
    found = find_links(looks, table)
    assert [(k.videos, k.equal_images, k.alike) for k in found.links] == list(
        plain_links(looks, table)
    )


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=14))
def test_groups_against_a_closure(pairs):
    pairs = [tuple(sorted((f"v{a:02d}", f"v{b:02d}"))) for a, b in pairs if a != b]
    names = [f"v{i:02d}" for i in range(13)]
    links = Links(links=tuple(link(*pair) for pair in pairs))
    reach = {name: {name} for name in names}
    for _ in names:
        for a, b in pairs:
            reach[a] = reach[b] = reach[a] | reach[b]
            for name in reach[a]:
                reach[name] = reach[a]
    expected = {name: min(reach[name]) for name in names}
    assert group_of_video(names, links) == expected
    backwards = Links(links=tuple(reversed(links.links)))
    assert group_of_video(reversed(names), backwards) == expected


def link(a, b):
    return Link(
        videos=(a, b), equal_images=2, images=(2, 2), alike=0, sampled=(0, 0), examples=((a, b),)
    )


def test_a_group_holds_through_a_video_that_is_gone():
    links = Links(links=(link("a", "b"), link("b", "c")))
    assert group_of_video(["a", "c"], links) == {"a": "a", "c": "a"}


def test_a_shared_black_frame_is_no_evidence():
    black = [("a", 0, 1, PLAIN), ("b", 0, 1, PLAIN), ("a", 6, 2, PLAIN), ("b", 6, 2, PLAIN)]
    assert linked(find_links({}, frames(*black))) == []
    told = [(*row[:3], BIG) for row in black]
    assert linked(find_links({}, frames(*told))) == [("a", "b")]


def test_one_equal_image_is_enough_only_where_there_is_no_other():
    rows = [("a", 0, 1), ("a", 6, 2), ("b", 0, 1), ("b", 6, 3)]
    assert linked(find_links({}, frames(*rows))) == []
    assert linked(find_links({}, frames(*rows[:3]))) == [("a", "b")]


def test_a_frame_without_an_image_equals_none():
    assert linked(find_links({}, frames(("a", 0, None), ("b", 0, None)))) == []
    assert len(equal_images(frames(("a", 0, None), ("b", 0, None))).rows) == 0
    assert find_links({}, frames()).links == ()
    assert find_links({}, None).links == ()


def test_flat_looks_are_no_evidence():
    one, other = video(1, 2, 3, flat=True), video(1, 2, 3, flat=True)
    assert linked(find_links({"a": one, "b": other}, None)) == []
    assert linked(find_links({"a": video(1, 2, 3), "b": video(1, 2, 3)}, None)) == [("a", "b")]


def test_what_a_link_says():
    looks = {"a": video(1, 2, 3, 4), "b": video(9, 2, 3, 8, 7, painted=0.2), "c": video(2)}
    rows = frames(("a", 0, 1), ("a", 6, 2), ("a", 12, 2), ("b", 0, 2), ("b", 6, 1), ("b", 7, 5))
    found = find_links(looks, rows)
    first, second, third = found.to_json()
    assert first == {
        "videos": ["a", "b"], "equal_images": 2, "images": [2, 3], "alike_frames": 2,
        "sampled_frames": [4, 5],
        "examples": first["examples"],
    }  # fmt: skip
    assert len(first["examples"]) == 3
    assert set(map(tuple, first["examples"][:2])) == {
        ("a/000000", "b/000006"), ("a/000006", "b/000000"),
    }  # fmt: skip
    assert (second["videos"], second["equal_images"], second["images"]) == (["a", "c"], 0, None)
    assert third["videos"] == ["b", "c"]
    assert ("a/000010", "c/000000") in found.alike
    assert found.most_sampled == 5


def test_a_crowd_of_equal_videos_is_one_group():
    """More than are compared pair by pair; and rows in another order change nothing."""
    looks = {f"v{n:03d}": video(1, 2, 3) for n in range(90)}
    assert set(group_of_video(looks, find_links(looks, None)).values()) == {"v000"}
    rows = [(f"v{n:03d}", i, i) for n in range(90) for i in range(3)]
    found = find_links({}, frames(*rows))
    assert set(group_of_video(looks, found).values()) == {"v000"}
    assert linked(find_links({}, frames(*reversed(rows)))) == linked(found)


def test_of_a_crowd_the_nearest_looks_are_kept():
    """Forty videos near by hash alone do not hide the one that is equal."""
    crowd = {
        f"b{n:02d}": tuple(
            replace(each, cells=look(1000 + n).cells) for each in video(1, 2, flips=4)
        )
        for n in range(40)
    }
    looks = {"a": video(1, 2), **crowd, "c": video(1, 2)}
    assert ("a", "c") in linked(find_links(looks, None))


def opened(video_id, looks):
    return OpenedExport(
        source="x.zip", video_id=video_id, named_id=video_id, content_digest="",
        exporter_signature=False,
        video=Video(
            filename=None, width=None, height=None, fps_declared=None, total_frames_declared=None,
            duration_sec_declared=None,
        ),
        frame_records=0, ranges=(), grid=None, order="row", dialect={}, issues=(), images=0,
        image_bytes=0, looks=looks,
    )  # fmt: skip


def test_looks_of_several_exports_of_a_video_are_united():
    one, other, late = look(1, 5), look(2, 5), look(3, 0)
    found = looks_of_videos([opened("b", (one,)), opened("a", ()), opened("b", (late, other))])
    assert found == {"b": (late, one)}
