"""Identity: ids against hashlib and hostile names, hashes against PIL, names in every order."""

import hashlib
import io
import itertools
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.identity import distance, phash, resolve_names, same_scene, video_id

SAFE = re.compile(r"[a-z0-9_][a-z0-9._-]*-[0-9a-f]{6}")


def an_id(filename, **facts):
    return video_id(
        **{
            "filename": filename,
            "width": 640,
            "height": 360,
            "total_frames": 90,
            "duration_sec": 3.0,
            **facts,
        }
    )


# ---------------------------------------------------------------- video_id


def test_the_hex_is_sha256_of_the_canonical_json():
    text = '{"duration_sec":3,"filename":"kettle.mp4","height":360,"total_frames":90,"width":640}'
    assert an_id("kettle.mp4") == f"kettle-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def test_absence_is_null():
    facts = dict.fromkeys(("duration_sec", "filename", "height", "total_frames", "width"))
    text = json.dumps(facts, separators=(",", ":"))
    assert video_id(**facts) == f"video-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def test_each_fact_changes_the_id_and_a_number_has_one_form():
    ids = {
        an_id("a.mp4"),
        an_id("b.mp4"),
        an_id("a.mp4", width=641),
        an_id("a.mp4", height=361),
        an_id("a.mp4", total_frames=91),
        an_id("a.mp4", duration_sec=3.5),
        an_id("a.mp4", duration_sec=None),
        an_id("a.mp4", width=360, height=640),
    }
    assert len(ids) == 8
    assert an_id("a.mp4", duration_sec=3) == an_id("a.mp4", duration_sec=3.0)
    assert an_id("a.mp4", width=640.0) == an_id("a.mp4")
    assert an_id("a.mp4", duration_sec=float("nan")) == an_id("a.mp4", duration_sec=None)
    assert an_id("a.mp4", duration_sec=float("inf")) == an_id("a.mp4", duration_sec=None)


@pytest.mark.parametrize(
    ("filename", "slug"),
    [
        ("kettle.mp4", "kettle"),
        ("Session_4FD6.v2.mp4", "session_4fd6.v2"),
        ("a b.mp4", "a-b"),
        ("../../etc/passwd", "passwd"),
        ("C:\\videos\\..\\x.mp4", "x"),
        ("..", "video"),
        ("...", "video"),
        ("....mp4", "video"),
        ("", "video"),
        (".mp4", "mp4"),
        ("会议.mp4", "video"),
        ("Théière à thé.mov", "theiere-a-the"),
        ("-rf.mp4", "rf"),
        ("a\x00b\n.mp4", "a-b"),
        ("videos/", "video"),
        ("\ud800.mp4", "video"),
    ],
)
def test_slugs(filename, slug):
    assert an_id(filename)[:-7] == slug


def test_a_long_name_is_cut_and_still_distinct():
    one, other = an_id("x" * 300 + "1.mp4"), an_id("x" * 300 + "2.mp4")
    assert one != other
    assert len(one) == len(other) == 64 + 7
    assert one[:64] == other[:64]


@given(st.text(st.characters(), max_size=80))
def test_any_name_gives_a_safe_id(filename):
    name = an_id(filename)
    assert SAFE.fullmatch(name)
    assert ".." not in name
    assert name == an_id(filename)


# ---------------------------------------------------------------- phash


def scene(seed, height=270, width=480):
    """A picture of large soft forms, as photographs are."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8))
    soft = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    return np.clip(soft + rng.normal(0, 6, soft.shape), 0, 255).astype(np.uint8)


def jpeg(pixels, quality):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def paint(pixels, seed):
    """A tinted, outlined object over a seventh of the frame, and a label's box."""
    rng = np.random.default_rng(seed)
    height, width = pixels.shape[:2]
    y, x = np.mgrid[:height, :width]
    radius = np.hypot(y / height - rng.uniform(0.3, 0.7), (x / width - rng.uniform(0.3, 0.7)) * 1.2)
    out = pixels.astype(float)
    out[radius < 0.23] = 0.7 * out[radius < 0.23] + 0.3 * np.array((0, 255, 0))
    out[np.abs(radius - 0.23) < 0.006] = (0, 255, 0)
    out[:16, :80] = 0
    return out.round().astype(np.uint8)


def brute_hash(pixels):
    """PIL's box filter does the averaging; sides are multiples of the cells, so both are exact."""
    bits = ""
    grey = pixels.astype(np.float64) @ [0.299, 0.587, 0.114]
    cells = np.asarray(
        Image.fromarray(grey.astype(np.float32)).resize((9, 8), Image.Resampling.BOX)
    )
    for row, column in itertools.product(range(8), range(8)):
        bits += "1" if float(cells[row, column + 1]) - float(cells[row, column]) > 1.5 else "0"
    return int(bits, 2)


@pytest.mark.parametrize("seed", range(6))
def test_the_hash_is_that_of_pil_cells(seed):
    pixels = scene(seed, height=8 * 11, width=9 * 13)
    assert phash(pixels) == brute_hash(pixels)


def test_a_ramp_and_its_mirror():
    ramp = np.tile(np.arange(90, dtype=np.uint8) * 2, (16, 1))
    assert phash(ramp) == 2**64 - 1
    assert phash(ramp[:, ::-1]) == 0
    half = np.concatenate([ramp, ramp[:, ::-1]])
    assert phash(half) == (2**32 - 1) << 32
    assert phash(np.repeat(half[..., None], 3, axis=2)) == phash(half)


def test_flat_frames_are_equal_whatever_their_colour_and_noise():
    rng = np.random.default_rng(0)
    noisy = np.clip(rng.normal(90, 3, (180, 320, 3)), 0, 255).astype(np.uint8)
    assert phash(np.zeros((180, 320, 3), dtype=np.uint8)) == 0
    assert phash(noisy) == phash(jpeg(noisy, 75)) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (5, 3, 3), (8, 9), (7, 700, 3)])
def test_small_frames_have_a_hash(shape):
    assert 0 <= phash(np.full(shape, 7, dtype=np.uint8)) < 2**64


@pytest.mark.parametrize("shape", [(4,), (4, 4, 4), (0, 4), (4, 0, 3), (2, 4, 4, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="pixels of shape"):
        phash(np.zeros(shape, dtype=np.uint8))


def test_distance_counts_bits():
    assert distance(0, 2**64 - 1) == 64
    assert distance(0b1011, 0b0010) == 2
    assert distance(5, 5) == 0


def test_paint_and_compression_stay_one_scene_and_others_do_not():
    plain = [phash(scene(seed)) for seed in range(24)]
    stored = [phash(jpeg(paint(scene(seed), seed), 60)) for seed in range(24)]
    for seed in range(24):
        assert same_scene({0: plain[seed]}, {0: stored[seed]}), distance(plain[seed], stored[seed])
    for a, b in itertools.combinations(range(24), 2):
        assert not same_scene({0: plain[a]}, {0: plain[b]})
        assert not same_scene({0: plain[a]}, {0: stored[b]})


def test_only_shared_frames_are_compared_and_by_their_median():
    a, b = phash(scene(1)), phash(scene(2))
    assert same_scene({}, {})
    assert same_scene({0: a}, {1: b})
    assert not same_scene({0: a, 1: a}, {1: b, 7: a})
    assert same_scene({0: a, 1: a, 2: a}, {0: a, 1: b, 2: a})  # one frame was unreadable: black
    assert not same_scene({0: a, 1: a, 2: a}, {0: a, 1: b, 2: b})


# ---------------------------------------------------------------- resolve_names

A, B, C = (phash(scene(seed)) for seed in (1, 2, 3))


def test_different_scenes_of_one_name_are_told_apart_whatever_the_order():
    entries = [
        ("cup-aaaaaa", "90" * 32, {0: A, 6: A}),  # another export of 11...
        ("cup-aaaaaa", "11" * 32, {0: A, 6: A}),
        ("cup-aaaaaa", "55" * 32, {0: B, 6: B}),
        ("cup-aaaaaa", "77" * 32, {6: B, 12: B}),  # another part of 55...
        ("cup-aaaaaa", "33" * 32, {0: C, 6: C}),
        ("jug-bbbbbb", "22" * 32, {0: B}),  # another name: never compared
        ("cup-aaaaaa", "99" * 32, {600: C}),  # shares no frame with any: nothing contradicts
    ]
    expected = {
        "90": "cup-aaaaaa",
        "11": "cup-aaaaaa",
        "55": "cup-aaaaaa-555555",
        "77": "cup-aaaaaa-555555",
        "33": "cup-aaaaaa-333333",
        "22": "jug-bbbbbb",
        "99": "cup-aaaaaa",
    }
    for order in itertools.permutations(entries):
        assert resolve_names(order) == [expected[digest[:2]] for _, digest, _ in order]


def test_a_part_joins_the_video_it_shares_frames_with():
    entries = [
        ("v-000000", "1" * 64, {0: A}),
        ("v-000000", "2" * 64, {0: B, 6: B}),
        ("v-000000", "3" * 64, {6: B}),  # fits the first too, which has no frame 6
    ]
    assert resolve_names(entries) == ["v-000000", "v-000000-222222", "v-000000-222222"]


def test_suffixes_are_lengthened_until_unique():
    entries = [
        ("v-000000", "1" * 64, {0: A}),
        ("v-000000", "2222228" + "0" * 57, {0: B}),
        ("v-000000", "2222229" + "0" * 57, {0: C}),
        ("w-000000-222222", "5" * 64, {0: A}),
        ("w-000000", "1" * 64 + "0", {0: A}),
        ("w-000000", "222222" + "7" * 58, {0: B}),
    ]
    names = resolve_names(entries)
    assert names == [
        "v-000000",
        "v-000000-222222",
        "v-000000-2222229",
        "w-000000-222222",
        "w-000000",
        "w-000000-2222227",
    ]


def test_a_settled_name_stays_and_the_newcomer_gets_the_suffix():
    old, new, later = "9" * 64, "1" * 64, "0" * 64
    entries = [("v-000000", old, {0: A}), ("v-000000", new, {0: B})]
    assert resolve_names(entries) == ["v-000000-999999", "v-000000"]
    settled = {old: "v-000000"}
    assert resolve_names(entries, settled=settled) == ["v-000000", "v-000000-111111"]
    settled[new] = "v-000000-111111"
    entries += [("v-000000", later, {0: C}), ("v-000000", "4" * 64, {0: B})]
    for order in itertools.permutations(entries):
        names = dict(
            zip([d for _, d, _ in order], resolve_names(order, settled=settled), strict=True)
        )
        assert names == {
            old: "v-000000",
            new: "v-000000-111111",
            later: "v-000000-000000",
            "4" * 64: "v-000000-111111",
        }


def test_nothing_and_one():
    assert resolve_names([]) == []
    assert resolve_names([("v-000000", "1" * 64, {})]) == ["v-000000"]
    assert resolve_names([("v-000000", "1" * 64, {0: A})] * 2) == ["v-000000"] * 2
