"""Masks in every notation, size and order against dense numpy masks and pycocotools.

A mask here is drawn as an array, written by pycocotools or by plain numpy, and must come back as
the same array; a damaged one must come back as a problem, never as another mask.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from engine.frame_json import RawObject, read_frame
from engine.mask_check import MaskReading, MaskToCheck, check_masks

RNG = np.random.default_rng(5)
SIZES = [(1, 1), (1, 7), (7, 1), (5, 9), (64, 48), (37, 91)]


def drawn(size, seed=0):
    """A mask of a few blobs, neither empty nor symmetric."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, bool)
    for _ in range(3):
        y, x = rng.integers(size[0]), rng.integers(size[1])
        mask[y : y + 1 + rng.integers(size[0]), x : x + 1 + rng.integers(size[1])] ^= True
    if not mask.any():
        mask[0, 0] = True
    return mask


def runs_of(mask, order):
    flat = mask.ravel(order="C" if order == "row" else "F")
    runs = [len(list(group)) for _, group in itertools.groupby(flat)]
    return [0, *runs] if flat[0] else runs


def box_of(mask):
    if not mask.any():
        return (0, 0, 0, 0)
    ys, xs = np.nonzero(mask)
    return (int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1)


def compressed(mask):
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


def record(counts, notation, *, size=None, bbox=None, area=None):
    return RawObject(
        object_id=0, label="dog", notation=notation, counts=counts, size=size,
        bbox=bbox, area=area, confidence=None, problems=(),
    )  # fmt: skip


def reading(*, grid=None, order="column", known_exporter=False):
    return MaskReading(grid=grid, order=order, known_exporter=known_exporter)


def check(raw, size, how=None):
    (outcome,) = check_masks([MaskToCheck(raw=raw, size=size)], how or reading())
    return outcome


def decode(outcome, size):
    return coco.decode({"size": list(size), "counts": outcome.counts}).astype(bool)


def written(mask, notation, order):
    if notation == "compressed":
        # Row-major runs in COCO's letters: pycocotools only looks at the numbers.
        runs = runs_of(mask, order)
        rle = coco.frPyObjects({"size": list(mask.shape), "counts": runs}, *mask.shape)
        return rle["counts"].decode()
    return (
        runs_of(mask, order) if notation == "counts" else " ".join(map(str, runs_of(mask, order)))
    )


# Good masks.


@pytest.mark.parametrize("notation", ["decimal", "counts", "compressed"])
@pytest.mark.parametrize("order", ["row", "column"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sized", [True, False])
def test_a_mask_in_its_images_pixels(notation, order, size, sized):
    mask = drawn(size, seed=sum(size))
    raw = record(
        written(mask, notation, order), notation, size=size if sized else None,
        bbox=tuple(map(float, box_of(mask))), area=float(mask.sum()),
    )  # fmt: skip
    found = check(raw, size, reading(order=order))
    assert found.problems == ()
    assert not found.hidden
    np.testing.assert_array_equal(decode(found, size), mask)
    assert (found.box, found.area) == (box_of(mask), int(mask.sum()))
    assert found.counts == compressed(mask)


@pytest.mark.parametrize("order", ["row", "column"])
@pytest.mark.parametrize(
    ("grid", "size"), [((8, 8), (12, 20)), ((16, 16), (9, 7)), ((5, 3), (5, 6))]
)
def test_a_mask_on_a_grid_is_stretched_by_the_nearest_cell(order, grid, size):
    mask = drawn(grid, seed=4)
    rows = np.arange(size[0]) * grid[0] // size[0]
    columns = np.arange(size[1]) * grid[1] // size[1]
    expected = mask[rows[:, None], columns]
    raw = record(written(mask, "decimal", order), "decimal", area=float(mask.sum()))
    found = check(raw, size, reading(grid=grid, order=order))
    assert found.problems == ()
    np.testing.assert_array_equal(decode(found, size), expected)
    assert (found.box, found.area) == (box_of(expected), int(expected.sum()))


@settings(max_examples=60, deadline=None)
@given(
    mask=arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))),
    order=st.sampled_from(["row", "column"]),
    notation=st.sampled_from(["decimal", "counts", "compressed"]),
)
def test_any_mask_comes_back_or_is_empty(mask, order, notation):
    found = check(
        record(written(mask, notation, order), notation), mask.shape, reading(order=order)
    )
    if mask.any():
        np.testing.assert_array_equal(decode(found, mask.shape), mask)
        assert found.problems == ()
    else:
        assert [code for code, _ in found.problems] == ["mask_empty"]
        assert found.counts is None


def test_outcomes_are_in_the_order_of_the_records():
    """A mix of notations, sizes and defects, over the bound of one pass."""
    masks = [drawn(size, seed=k) for k, size in enumerate(SIZES * 3)]
    kinds = itertools.cycle(["decimal", "counts", "compressed", "short"])
    records, expected = [], []
    for mask, kind in zip(masks, kinds, strict=False):
        runs = runs_of(mask, "column")
        short = [*runs[:-1], runs[-1] + 1]
        counts = short if kind == "short" else written(mask, kind, "column")
        raw = record(counts, "counts" if kind == "short" else kind)
        records.append(MaskToCheck(raw=raw, size=mask.shape))
        expected.append(None if kind == "short" else compressed(mask))
    many = check_masks(records * 120, reading())
    assert len(many) > 2000
    assert [outcome.counts for outcome in many] == expected * 120
    assert check_masks([], reading()) == []


# Wrong sums, wrong sizes.


@pytest.mark.parametrize("notation", ["decimal", "counts", "compressed"])
@pytest.mark.parametrize("off", [-3, -1, 1, 2])
@pytest.mark.parametrize("sized", [True, False])
def test_a_wrong_sum_is_found(notation, off, sized):
    mask = np.zeros((9, 11), bool)
    mask[2:4, 3:8] = True
    runs = runs_of(mask, "column")
    runs[-1] += off
    rle = coco.frPyObjects({"size": [9, 11], "counts": runs}, 9, 11)["counts"].decode()
    counts = {"decimal": " ".join(map(str, runs)), "counts": runs, "compressed": rle}[notation]
    found = check(record(counts, notation, size=(9, 11) if sized else None), (9, 11))
    code = "mask_malformed" if sized else "mask_size_mismatch"
    assert found.problems == ((code, f"runs sum to {99 + off}, expected 99 (9*11)"),)
    assert found.counts is None


def test_no_truncation_of_a_mask_is_believed():
    mask = drawn((60, 80), seed=8)
    text = compressed(mask)
    decimal = written(mask, "decimal", "column")
    for whole, notation in ((text, "compressed"), (decimal, "decimal")):
        for end in range(len(whole)):
            found = check(record(whole[:end], notation, size=(60, 80)), (60, 80))
            assert found.counts is None, end
            assert {code for code, _ in found.problems} <= {"mask_malformed", "mask_empty"}


def test_no_changed_character_passes_where_area_and_box_are_declared():
    mask = np.zeros((40, 50), bool)
    yy, xx = np.mgrid[:40, :50]
    mask[(yy - 18) ** 2 + (xx - 30) ** 2 < 90] = True
    text = compressed(mask)
    box, area = tuple(map(float, box_of(mask))), float(mask.sum())
    good = check(record(text, "compressed", size=(40, 50), bbox=box, area=area), (40, 50))
    assert good.problems == ()
    for at in range(len(text)):
        for letter in "0AOo_":
            if letter == text[at]:
                continue
            changed = text[:at] + letter + text[at + 1 :]
            found = check(
                record(changed, "compressed", size=(40, 50), bbox=box, area=area), (40, 50)
            )
            assert found.problems, (at, letter)


@pytest.mark.parametrize("written_size", [(11, 9), (18, 22), (9, 12), (2**30, 2**30)])
def test_a_size_that_is_not_the_images_is_never_resampled(written_size):
    found = check(record([99], "counts", size=written_size), (9, 11))
    assert [code for code, _ in found.problems] == ["mask_size_mismatch"]
    assert str(list(written_size)) in found.problems[0][1]
    assert "[9, 11]" in found.problems[0][1]


def test_a_sizeless_list_or_string_is_in_image_pixels_whatever_the_grid():
    """Only decimal runs may be on another grid."""
    mask = drawn((9, 11), seed=2)
    how = reading(grid=(4, 4))
    for notation in ("counts", "compressed"):
        found = check(record(written(mask, notation, "column"), notation), (9, 11), how)
        np.testing.assert_array_equal(decode(found, (9, 11)), mask)
    off_grid = check(record(written(mask, "decimal", "column"), "decimal"), (9, 11), how)
    assert [code for code, _ in off_grid.problems] == ["mask_size_mismatch"]
    assert "99" in off_grid.problems[0][1]
    assert "16 (4*4)" in off_grid.problems[0][1]


def test_a_monstrous_size_is_refused_before_memory_is_asked_for():
    found = check(record([10**10], "counts", size=(10**5, 10**5)), (10**5, 10**5))
    assert [code for code, _ in found.problems] == ["mask_size_mismatch"]


@pytest.mark.parametrize(
    ("counts", "notation"),
    [
        ("1 x 3", "decimal"),
        ("-1 100", "decimal"),
        ("", "decimal"),
        ("99999999999999999999999", "decimal"),
        ("~", "compressed"),
        ("\u00e9", "compressed"),
        ("", "compressed"),
        ([-1, 100], "counts"),
        ([98.5, 0.5], "counts"),
        ([True, 98], "counts"),
        (["99"], "counts"),
        ([None], "counts"),
        ([], "counts"),
        ([2**70], "counts"),
        ([[1, 2]], "counts"),
    ],
)
def test_what_is_no_run_length_is_a_problem(counts, notation):
    found = check(record(counts, notation), (9, 11))
    assert found.counts is None
    assert len(found.problems) == 1
    assert found.problems[0][0] in {"mask_malformed", "mask_size_mismatch"}


# Declared area and box.


def test_a_declared_area_must_be_the_masks():
    mask = drawn((9, 11), seed=2)
    good, off = float(mask.sum()), float(mask.sum() + 1)
    raw = written(mask, "counts", "column")
    assert check(record(raw, "counts", area=good), (9, 11)).problems == ()
    found = check(record(raw, "counts", area=off), (9, 11))
    assert [code for code, _ in found.problems] == ["mask_area_mismatch"]
    assert found.counts is None
    assert f"{off:g}" in found.problems[0][1]
    assert f"{good:g}" in found.problems[0][1]


@pytest.mark.parametrize("side", range(4))
@pytest.mark.parametrize(("off", "wrong"), [(1, False), (-1, False), (2, True), (1.5, True)])
def test_a_declared_box_may_be_off_by_one_pixel(side, off, wrong):
    mask = np.zeros((40, 50), bool)
    mask[10:20, 20:45] = True
    box = [20.0, 10.0, 25.0, 10.0]
    box[side] += off
    raw = record(written(mask, "counts", "column"), "counts", bbox=tuple(box))
    found = check(raw, (40, 50))
    assert [code for code, _ in found.problems] == (["bbox_mismatch"] if wrong else [])
    assert found.counts == compressed(mask)  # a warning: the mask is good
    assert found.box == (20, 10, 25, 10)


@pytest.mark.parametrize(
    ("grid", "bbox", "fits"),
    [
        ((40, 50), (20, 10, 45, 20), True),
        ((40, 50), (20, 10, 44, 19), True),  # of the last pixel, as some write it
        ((40, 50), (20, 10, 47, 20), False),
        ((40, 50), (20, 10, 25, 14), False),
        ((80, 100), (20, 10, 45, 20), True),  # in pixels of the grid
        ((80, 100), (40, 20, 90, 40), True),  # in pixels of the image
    ],
)
def test_a_box_that_fits_as_corners_is_called_so(grid, bbox, fits):
    mask = np.zeros((40, 50), bool)
    mask[10:20, 20:45] = True
    raw = record(written(mask, "decimal", "column"), "decimal", bbox=tuple(map(float, bbox)))
    ((code, what),) = check(raw, grid, reading(grid=(40, 50))).problems
    assert code == "bbox_mismatch"
    shown = "[20, 10, 25, 10]" if grid == (40, 50) else "[40, 20, 50, 20]"
    hint = "; as corners x1, y1, x2, y2 it fits: write x, y, width, height"
    assert what == f"bbox is declared as {list(bbox)}, the mask's is {shown}{hint if fits else ''}"


def test_on_a_grid_area_and_box_may_be_declared_in_grid_or_image_pixels():
    grid, size = (8, 8), (16, 24)
    mask = np.zeros(grid, bool)
    mask[1:3, 4:7] = True
    how = reading(grid=grid, order="row")
    text = written(mask, "decimal", "row")
    in_grid = record(text, "decimal", area=6.0, bbox=(4.0, 1.0, 3.0, 2.0))
    in_image = record(text, "decimal", area=36.0, bbox=(12.0, 2.0, 9.0, 4.0))
    for raw in (in_grid, in_image):
        found = check(raw, size, how)
        assert found.problems == ()
        assert (found.box, found.area) == ((12, 2, 9, 4), 36)
    assert [c for c, _ in check(record(text, "decimal", area=7.0), size, how).problems] == [
        "mask_area_mismatch"
    ]


def test_the_known_exporters_box_of_the_wrong_reading_is_no_finding():
    """It reads its own row-major runs column by column, so the declared box is the transposed."""
    grid, size = (16, 16), (32, 48)
    mask = np.zeros(grid, bool)
    mask[2:5, 8:15] = True
    runs = runs_of(mask, "row")
    naive = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(grid, order="F")
    assert box_of(naive) == (2, 8, 3, 7)
    how = reading(grid=grid, order="row", known_exporter=True)
    text = written(mask, "decimal", "row")
    found = check(record(text, "decimal", bbox=(2.0, 8.0, 3.0, 7.0), area=21.0), size, how)
    assert found.problems == ()
    assert found.box == (24, 4, 21, 6)
    off = check(record(text, "decimal", bbox=(4.0, 8.0, 3.0, 7.0), area=21.0), size, how)
    assert [code for code, _ in off.problems] == ["bbox_mismatch"]


# Empty and hidden.


@pytest.mark.parametrize(
    ("known", "notation", "bbox", "area", "hidden"),
    [
        (True, "decimal", (0.0, 0.0, 0.0, 0.0), 0.0, True),
        (False, "decimal", (0.0, 0.0, 0.0, 0.0), 0.0, False),
        (True, "decimal", (1.0, 0.0, 0.0, 0.0), 0.0, False),
        (True, "decimal", (0.0, 0.0, 0.0, 0.0), 5.0, False),
        (True, "decimal", None, 0.0, False),
        (True, "decimal", (0.0, 0.0, 0.0, 0.0), None, False),
        (True, "counts", (0.0, 0.0, 0.0, 0.0), 0.0, False),
    ],
)
def test_hidden_is_what_the_known_exporter_declares_hidden(known, notation, bbox, area, hidden):
    counts = "256" if notation == "decimal" else [256]
    size = (16, 16)
    how = reading(grid=(16, 16), order="row", known_exporter=known)
    found = check(record(counts, notation, bbox=bbox, area=area), size, how)
    assert found.hidden is hidden
    assert [code for code, _ in found.problems] == ["object_hidden" if hidden else "mask_empty"]
    assert (found.counts, found.box, found.area) == (None, (0, 0, 0, 0), 0)


def test_a_mask_that_falls_between_the_images_pixels_is_empty():
    """Its one cell is not the nearest one of any pixel: there is nothing to train on."""
    grid, size = (16, 16), (4, 4)
    mask = np.zeros(grid, bool)
    mask[1, 1] = True
    found = check(
        record(written(mask, "decimal", "row"), "decimal"), size, reading(grid=grid, order="row")
    )
    assert [code for code, _ in found.problems] == ["mask_empty"]
    assert "1 pixels on the 16*16 grid" in found.problems[0][1]


@settings(max_examples=80, deadline=None)
@given(
    counts=st.one_of(
        st.text(max_size=20),
        st.lists(st.one_of(st.integers(), st.floats(), st.none(), st.text(max_size=2)), max_size=6),
    ),
    size=st.none() | st.lists(st.integers(-1, 12), max_size=3),
)
def test_no_mask_of_a_record_raises_and_none_is_wrong_in_silence(counts, size):
    frame = read_frame(
        {"frame_index": 0, "objects": [{"label": "a", "mask": {"size": size, "counts": counts}}]}
    )
    raw = frame.objects[0]
    if raw.notation is None:
        return
    found = check(raw, (9, 11))
    if found.counts is None:
        assert found.problems
    else:
        assert int(decode(found, (9, 11)).sum()) == found.area
