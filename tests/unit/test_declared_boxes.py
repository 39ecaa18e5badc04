"""Which reading declared boxes fit, held against boxes and runs that numpy makes."""

import itertools

import numpy as np
import pytest

from engine.declared_boxes import BoxFits, fit_boxes
from engine.frame_json import RawObject
from engine.masks import from_dense

WIDE, SQUARE = (90, 160), (120, 120)


def blob(k, grid):
    """Bool (height, width): a box with a corner cut off, another one for each k."""
    pixels = np.zeros(grid, dtype=np.bool_)
    pixels[10 + k : 30 + 2 * k, 20 + 3 * k : 75 + k] = True
    pixels[10 + k : 14 + k, 20 + 3 * k : 26 + 3 * k] = False
    return pixels


def box_of(pixels):
    y, x = np.nonzero(pixels)
    return (x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1)


def record(runs, bbox, *, notation="decimal", size=None):
    counts = " ".join(map(str, runs)) if notation == "decimal" else list(map(int, runs))
    return RawObject(
        object_id=0, label="cup", notation=notation, counts=counts, size=size,
        bbox=None if bbox is None else tuple(map(float, bbox)), area=None, confidence=None,
        problems=(),
    )  # fmt: skip


def stretched(pixels, size):
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, pixels.shape, strict=True))
    return pixels[rows][:, columns]


def fits(grid, *, order, read=None, image=None, n=5, notation="decimal", swap=False, off=0):
    """Compare true boxes, or with `read` those of that reading, of n masks written in `order`."""
    records = []
    for k in range(n):
        runs = from_dense(blob(k, grid), order)
        flat = np.repeat(np.arange(runs.size) % 2 == 1, runs)
        seen = flat.reshape(grid, order="F" if (read or order) == "column" else "C")
        x, y, w, h = box_of(seen if image is None else stretched(seen, image))
        box = (y, x, h, w) if swap else (x + off, y, w, h)
        records.append((record(runs, box, notation=notation), image or WIDE))
    return fit_boxes(records, grid, 1.0)


@pytest.mark.parametrize("notation", ["decimal", "counts"])
@pytest.mark.parametrize("order", ["row", "column"])
@pytest.mark.parametrize(
    ("grid", "image"), [(WIDE, None), ((256, 256), (180, 320)), ((64, 64), (90, 160))]
)
def test_true_boxes_fit_the_order_of_the_masks_alone(notation, order, grid, image):
    found = fits(grid, order=order, image=image, notation=notation)
    assert found.reading == order
    assert (found.declared, getattr(found, order), found.both) == (5, 5, 0)
    assert found.row + found.column == 5
    assert found.prove_row == (order == "row")
    assert fits(grid, order=order, image=image, off=1).reading == order
    assert fits(grid, order=order, image=image, off=2) == BoxFits(declared=5)


@pytest.mark.parametrize("grid", [WIDE, SQUARE])
def test_the_known_exporters_boxes_prove_nothing(grid):
    found = fits(grid, order="row", read="column")
    assert (found.reading, found.prove_row) == ("column", False)


@pytest.mark.parametrize("order", ["row", "column"])
def test_on_a_square_grid_boxes_with_x_and_y_exchanged_fit_the_other_reading(order):
    found = fits(SQUARE, order=order, swap=True)
    assert found.reading != order
    assert not found.prove_row
    assert not fits(SQUARE, order="row").prove_row  # in itself it looks the same
    assert fits(WIDE, order=order, swap=True).reading is None


def test_boxes_in_pixels_of_an_image_that_is_not_square_are_no_exchange():
    assert fits((64, 64), order="row", image=(90, 160)).prove_row
    assert not fits((64, 64), order="row", image=(128, 128)).prove_row


def test_what_is_no_mask_on_the_grid_or_declares_nothing_is_passed_over():
    runs = from_dense(blob(0, WIDE), "row")
    box = box_of(blob(0, WIDE))
    whole = WIDE[0] * WIDE[1]
    others = [
        record(runs, None), record(runs, box, size=WIDE), record([*runs, 1], box),
        record([whole], (0, 0, 0, 0)), record([10, whole], box),
    ]  # fmt: skip
    assert fit_boxes([(each, WIDE) for each in others], WIDE, 1.0) == BoxFits()
    assert fit_boxes([], WIDE, 1.0) == BoxFits()
    one = [(each, WIDE) for each in (*others, record(runs, box))]
    assert fit_boxes(one, WIDE, 1.0) == BoxFits(declared=1, row=1, row_unswapped=1)


def test_a_mask_that_has_one_box_in_both_readings_says_nothing():
    runs = from_dense(np.ones(WIDE, dtype=np.bool_), "row")
    found = fit_boxes([(record(runs, (0, 0, 160, 90)), WIDE)] * 9, WIDE, 1.0)
    assert found == BoxFits(declared=9, row=9, column=9, both=9)
    assert found.reading is None


def test_a_side_beyond_reason_is_compared_on_the_grid_alone():
    long = (1, 2**20 + 1)
    found = fit_boxes([(record([5, 3, 2**20 - 7], (5, 0, 3, 1)), WIDE)], long, 1.0)
    assert found == BoxFits(declared=1, row=1, column=1, both=1)


@pytest.mark.parametrize(
    ("row", "column", "both", "neither", "reading"),
    [
        (3, 0, 0, 0, "row"), (2, 0, 0, 0, None), (2, 0, 50, 0, None), (3, 0, 50, 0, "row"),
        (9, 0, 0, 1, "row"), (9, 1, 0, 0, "row"), (9, 1, 0, 1, None), (8, 0, 0, 1, None),
        (0, 3, 0, 0, "column"), (5, 5, 0, 0, None), (0, 0, 9, 0, None), (0, 0, 0, 0, None),
    ],
)  # fmt: skip
def test_three_and_nine_in_ten_are_enough(row, column, both, neither, reading):
    found = BoxFits(
        declared=row + column + both + neither, row=row + both, column=column + both, both=both,
        row_unswapped=row,
    )  # fmt: skip
    assert found.reading == reading
    assert found.prove_row == (reading == "row")


def test_the_order_of_records_does_not_matter():
    mixed = [
        (record(from_dense(blob(k, WIDE), "row"), box_of(blob(k, WIDE))), image)
        for k, image in enumerate((WIDE, (180, 320), None))
    ]
    found = [fit_boxes(each, WIDE, 1.0) for each in itertools.permutations(mixed)]
    assert found == [BoxFits(declared=3, row=3, row_unswapped=3)] * 6
