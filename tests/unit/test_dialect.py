"""Dialect: grid, order and paint, held against videos drawn here, whose truth is known."""

import io
import itertools
import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.dialect import (
    PALETTE,
    SampleFrame,
    SampleMask,
    find_grid,
    measure,
    painted,
    sample_indices,
)
from engine.mask_order import decide_order

SIZES = [(180, 320), (320, 180), (240, 240), (360, 480)]
BACKGROUNDS = ("flat", "noise", "texture", "meadow", "patches")


# ---------------------------------------------------------------- a painter of its own


def background(kind, rng, height, width):
    if kind == "flat":
        return np.full((height, width, 3), rng.integers(0, 200, 3), dtype=float)
    if kind == "noise":
        return rng.integers(0, 256, (height, width, 3)).astype(float)
    if kind == "meadow":
        return np.array([60.0, 170, 50]) + rng.normal(0, 20, (height, width, 1))
    if kind == "texture":
        coarse = Image.fromarray(rng.integers(0, 256, (8, 12, 3), dtype=np.uint8))
        soft = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
        return soft + rng.normal(0, 12, soft.shape)
    pixels = np.full((height, width, 3), 90.0)  # patches: blobs of precisely the palette's colours
    y, x = np.mgrid[:height, :width]
    for k in range(18):
        at_y, at_x = rng.integers(0, height), rng.integers(0, width)
        radius = rng.integers(height // 14, height // 5)
        pixels[(y - at_y) ** 2 + (x - at_x) ** 2 < radius**2] = PALETTE[k % 6]
    return pixels


def blob(rng, number):
    """What an object is: its form, place, radii, speed and turn."""
    radius = (rng.uniform(0.2, 0.28), rng.uniform(0.08, 0.14))
    speed, angle = rng.uniform(-0.02, 0.02, 2), rng.uniform(0, np.pi)
    return number % 2, rng.uniform(0.25, 0.75, 2), radius, speed, angle


def covered(shape, t, height, width):
    """Bool (height, width): a turned ellipse or box at its time."""
    boxy, at, radius, speed, angle = shape
    y, x = np.mgrid[:height, :width]
    v = (y + 0.5) / height - at[0] - speed[0] * t
    u = (x + 0.5) / width - at[1] - speed[1] * t
    p = (u * np.cos(angle) + v * np.sin(angle)) / radius[0]
    q = (v * np.cos(angle) - u * np.sin(angle)) / radius[1]
    return (np.maximum(abs(p), abs(q)) if boxy else np.hypot(p, q)) < 1


def paint(pixels, mask, colour):
    """The exporter's way: a 30 % tint, then the boundary and its 4 neighbours outside."""
    out = pixels.copy()
    out[mask] = 0.7 * out[mask] + 0.3 * np.array(colour)
    around = np.pad(mask, 1, mode="edge")
    sides = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:])
    out[mask & ~np.logical_and.reduce(sides)] = colour
    out[~mask & np.logical_or.reduce(sides)] = colour
    return out


def store(pixels, quality):
    image = Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))
    if quality is None:
        return np.asarray(image)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def runs(mask, order):
    counts, value = [0], False
    for bit, group in itertools.groupby(mask.ravel(order="C" if order == "row" else "F").tolist()):
        if bit == value:
            counts[-1] = len(list(group))
        else:
            counts.append(len(list(group)))
        value = bit
    return np.array(counts, dtype=np.int64)


def video(
    seed,
    size,
    *,
    order,
    is_painted,
    quality=None,
    kind="texture",
    objects=2,
    frames=3,
    grid=256,
    palette_objects=False,
):
    """A video's sample frames, and their grid."""
    rng = np.random.default_rng(seed)
    height, width = size
    cells = (grid, grid) if grid else size
    scene = background(kind, rng, height, width)
    shapes = [blob(rng, number) for number in range(objects)]
    colours = [PALETTE[k] if palette_objects else rng.integers(0, 256, 3) for k in range(objects)]
    made = []
    for t in range(frames):
        pixels = scene.copy()
        for shape, colour in zip(shapes, colours, strict=True):
            pixels[covered(shape, t, height, width)] = colour
        low = [covered(shape, t, *cells) for shape in shapes]
        rows, columns = np.arange(height) * cells[0] // height, np.arange(width) * cells[1] // width
        for k, mask in enumerate(low if is_painted else []):
            pixels = paint(pixels, mask[rows][:, columns], PALETTE[k])
        masks = [SampleMask(counts=runs(m, order), position=k) for k, m in enumerate(low)]
        made.append(SampleFrame(frame_index=t, pixels=store(pixels, quality), masks=tuple(masks)))
    return made, cells


def decide(evidence, **given):
    facts = {"user": None, "declared_column": False, "exporter_signature": False}
    return decide_order(**{**facts, **given}, evidence=evidence)


# ---------------------------------------------------------------- measured truth


@pytest.mark.parametrize("quality", [None, 90, 75])
@pytest.mark.parametrize(("place", "kind"), list(enumerate(BACKGROUNDS)))
def test_the_order_of_painted_videos_is_proved(place, kind, quality):
    for seed, order in itertools.product(range(2), ("row", "column")):
        frames, grid = video(
            seed, SIZES[(seed + place) % 4], order=order, is_painted=True, quality=quality,
            kind=kind, objects=1 + (seed + place) % 3, grid=256 if place % 2 else 0,
        )  # fmt: skip
        evidence = measure(frames, grid)
        assert (decide(evidence).order, decide(evidence).by) == (order, "paint")
        assert painted(evidence)


@pytest.mark.parametrize("quality", [None, 75])
@pytest.mark.parametrize("kind", BACKGROUNDS)
@pytest.mark.parametrize("palette_objects", [False, True])
def test_clean_videos_raise_no_alarm_and_are_never_misread(kind, quality, palette_objects):
    proved = 0
    for seed, order in itertools.product(range(3), ("row", "column")):
        frames, grid = video(
            seed, SIZES[seed], order=order, is_painted=False, quality=quality, kind=kind,
            objects=1 + seed, palette_objects=palette_objects,
        )  # fmt: skip
        for frame in frames:
            assert not painted(measure([frame], grid))
        decision = decide(measure(frames, grid))
        proved += decision.by != "unproven"
        assert decision.order == order or decision.by == "unproven"
    assert proved or kind in ("noise", "patches")


def test_a_mask_that_equals_its_transpose_proves_nothing():
    y, x = np.mgrid[:240, :240]
    mask = np.hypot(y - 120, x - 120) < 60
    pixels = store(paint(np.full((240, 240, 3), 80.0), mask, PALETTE[0]), None)
    frames = [
        SampleFrame(
            frame_index=t,
            pixels=pixels,
            masks=(SampleMask(counts=runs(mask, "row"), position=0),),
        )
        for t in range(5)
    ]
    evidence = measure(frames, (240, 240))
    assert painted(evidence)
    assert (evidence.contested_row, evidence.contested_column) == (0, 0)
    assert decide(evidence).by == "unproven"


def test_a_later_object_that_hides_most_of_a_contour_hides_no_evidence():
    below = np.zeros((200, 300), dtype=bool)
    below[60:100, 20:220] = True
    above = np.zeros_like(below)
    above[50:180, 60:240] = True
    pixels = paint(np.full((200, 300, 3), 100.0), below, PALETTE[0])
    pixels = paint(pixels, above, PALETTE[1])
    for order in ("row", "column"):
        masks = tuple(
            SampleMask(counts=runs(m, order), position=k) for k, m in enumerate((below, above))
        )
        frame = SampleFrame(frame_index=0, pixels=store(pixels, 80), masks=masks)
        evidence = measure([frame], (200, 300))
        assert painted(evidence)
        assert decide(evidence).order == order


def test_the_colour_goes_by_the_object_s_place_and_cycles():
    mask = np.zeros((120, 200), dtype=bool)
    mask[30:60, 30:170] = True
    pixels = store(paint(np.full((120, 200, 3), 100.0), mask, PALETTE[2]), None)

    def shown(position):
        masks = (SampleMask(counts=runs(mask, "row"), position=position),)
        return measure([SampleFrame(frame_index=0, pixels=pixels, masks=masks)], (120, 200))

    assert shown(2).paint_row == shown(10).paint_row == 1
    assert shown(0).paint_row == shown(3).paint_row == 0
    assert painted(shown(10))
    assert not painted(shown(0))


def test_one_painted_object_is_enough():
    frames, grid = video(2, (240, 240), order="row", is_painted=False, objects=1)
    masks = frames[0].masks
    cells = np.zeros(grid, dtype=bool)
    cells[20:60, 40:200] = True
    image = cells[np.arange(240) * 256 // 240][:, np.arange(240) * 256 // 240]
    pixels = store(paint(frames[0].pixels.astype(float), image, PALETTE[3]), None)
    clean = tuple(SampleMask(counts=masks[0].counts, position=k) for k in range(3))
    shown = (*clean, SampleMask(counts=runs(cells, "row"), position=3))
    assert painted(measure([SampleFrame(frame_index=0, pixels=pixels, masks=shown)], grid))
    assert not painted(measure([SampleFrame(frame_index=0, pixels=pixels, masks=clean)], grid))


def test_paint_is_seen_under_a_wrong_order_too():
    frames, grid = video(3, (180, 320), order="row", is_painted=True)
    evidence = measure(frames, grid)
    said = decide(evidence, declared_column=True)
    assert (said.order, said.by, said.contradicts) == ("column", "size", True)
    assert "row-major" in said.sentence
    assert painted(evidence)


def test_the_evidence_is_json_and_does_not_depend_on_the_order_of_frames():
    frames, grid = video(1, (180, 320), order="row", is_painted=True, frames=5)
    evidence = measure(frames, grid)
    assert measure(frames[::-1], grid) == evidence
    assert json.loads(json.dumps(asdict(evidence))) == asdict(evidence)
    assert evidence.frames_looked == evidence.frames_for_row == 5
    assert evidence.paint_row > 0.8
    assert evidence.paint_column < 0.1


def test_nothing_to_look_at():
    empty = SampleMask(counts=np.array([256 * 256]), position=0)
    pixels = np.zeros((90, 160, 3), dtype=np.uint8)
    for masks in ((), (empty,)):
        evidence = measure([SampleFrame(frame_index=0, pixels=pixels, masks=masks)], (256, 256))
        assert evidence.frames_looked == 0
        assert evidence.paint_row is evidence.line_row is evidence.gradient_row is None
        assert not painted(evidence)
        assert decide(evidence).by == "unproven"
    assert measure([], (256, 256)).frames_looked == 0


def test_runs_that_do_not_fill_the_grid_are_refused():
    wrong = (SampleMask(counts=np.array([10, 5]), position=0),)
    frame = SampleFrame(frame_index=0, pixels=np.zeros((9, 9, 3), dtype=np.uint8), masks=wrong)
    with pytest.raises(ValueError, match="15"):
        measure([frame], (4, 4))


# ---------------------------------------------------------------- grid and sampling


@pytest.mark.parametrize(
    ("sums", "image", "declared", "expected"),
    [
        ([65536] * 5, (720, 1280), (720, 1280), ((256, 256), "square")),
        ([720 * 1280], (720, 1280), None, ((720, 1280), "image")),
        ([720 * 1280], (720, 1280), (1280, 720), ((720, 1280), "image")),
        ([480 * 640], (720, 1280), (480, 640), ((480, 640), "video")),
        ([65536], (128, 512), None, ((128, 512), "image")),
        ([65536], None, (512, 128), ((512, 128), "video")),
        ([65536], None, None, ((256, 256), "square")),
        ([65536, 65537, 1, 65537, 65537], (720, 1280), None, ((256, 256), "square")),
        ([4096, 65536, 65536], (64, 64), None, ((256, 256), "square")),
        ([4096, 65536], (64, 64), None, ((64, 64), "image")),
        ([4096, 10000], (64, 64), (100, 100), ((64, 64), "image")),
        ([4096, 65536], None, (64, 64), ((64, 64), "video")),
        ([4096, 65536, 4096, 65536], None, (256, 256), ((256, 256), "video")),
        ([4096, 65536], None, None, ((256, 256), "square")),
        ([65535], (720, 1280), (720, 1280), None),
        ([0, 0], (0, 10), None, None),
        ([], (720, 1280), (720, 1280), None),
    ],
)
def test_find_grid(sums, image, declared, expected):
    for order in itertools.islice(itertools.permutations(sums), 24):
        grid = find_grid(order, image_size=image, video_size=declared)
        assert (None if grid is None else (grid.size, grid.by)) == expected


@given(st.integers(0, 5000), st.integers(1, 40))
def test_sampling_is_even_and_has_both_ends(frames, limit):
    chosen = sample_indices(frames, limit)
    assert len(chosen) == min(frames, limit)
    assert chosen == sorted(set(chosen))
    if len(chosen) > 1:
        assert (chosen[0], chosen[-1]) == (0, frames - 1)
        gaps = np.diff(chosen)
        assert gaps.max() - gaps.min() <= 1


def test_sixteen_frames_by_default():
    assert len(sample_indices(10_000, 16)) == 16
    assert sample_indices(3, 16) == [0, 1, 2]
    assert sample_indices(0, 16) == []
