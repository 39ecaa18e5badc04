"""Counts over frames, against counting one instance after the other."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.frame_tally import AREA_EDGES, GRID, TALLY_COLUMNS, Tally, merge, tally
from engine.records import FRAME_SCHEMA

SCHEMA = pa.schema([FRAME_SCHEMA.field(name) for name in TALLY_COLUMNS])


@st.composite
def frames(draw):
    width, height = draw(st.integers(1, 60)), draw(st.integers(1, 40))
    boxes = []
    for _ in range(draw(st.integers(0, 4))):
        x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        boxes.append([x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y))])
    areas = [draw(st.integers(1, box[2] * box[3])) for box in boxes]
    return {"width": width, "height": height, "areas": areas, "bounding_boxes": boxes}


def table(rows):
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def by_hand(rows):
    """Every instance by itself, with floats for the place and the list of edges for the area."""
    areas, centres = np.zeros(len(AREA_EDGES), int), np.zeros(GRID, int)
    for row in rows:
        for area, (x, y, w, h) in zip(row["areas"], row["bounding_boxes"], strict=True):
            share = area / (row["width"] * row["height"])
            place = sum(edge <= share for edge in AREA_EDGES)
            areas[min(place, len(AREA_EDGES) - 1)] += 1
            down = (y + h / 2) / row["height"] * GRID[0]
            right = (x + w / 2) / row["width"] * GRID[1]
            # A centre on a border belongs to the cell after it; the float must not decide.
            down, right = (round(v) if abs(v - round(v)) < 1e-9 else v for v in (down, right))
            centres[min(int(down), GRID[0] - 1), min(int(right), GRID[1] - 1)] += 1
    return areas, centres


def same(one: Tally, other: Tally):
    assert (one.frames, one.width_px, one.height_px) == (
        other.frames, other.width_px, other.height_px,
    )  # fmt: skip
    assert one.areas.tolist() == other.areas.tolist()
    assert one.centres.tolist() == other.centres.tolist()


@given(st.lists(frames(), max_size=8))
def test_every_instance_is_in_its_bin_and_its_cell(rows):
    found = tally(table(rows))
    areas, centres = by_hand(rows)
    assert found.areas.tolist() == areas.tolist()
    assert found.centres.tolist() == centres.tolist()
    assert found.instances == sum(len(row["areas"]) for row in rows)
    assert found.frames == len(rows)
    assert found.width_px == sum(row["width"] for row in rows)
    assert found.height_px == sum(row["height"] for row in rows)


@given(st.lists(frames(), max_size=10), st.integers(0, 10), st.randoms())
def test_neither_cuts_nor_order_change_a_count(rows, cut, random):
    shuffled = random.sample(rows, len(rows))
    parts = [tally(table(part)) for part in (shuffled[cut:], shuffled[:cut])]
    same(merge(parts), tally(table(rows)))


def test_nothing_makes_a_tally_of_nothing():
    same(merge([]), tally(table([])))
    assert merge([]).instances == 0


def test_a_frame_without_a_size_is_counted_and_has_no_instances():
    rows = [{"width": None, "height": None, "areas": [], "bounding_boxes": []}]
    assert tally(table(rows)).frames == 1
    assert tally(table(rows)).instances == 0


@pytest.mark.parametrize("share", [1.0, 10**-0.25, 0.1, 0.01, 0.00001, 0.000001])
def test_an_edge_belongs_to_the_bin_above_it(share):
    side = 1000
    area = round(share * side * side)
    row = {"width": side, "height": side, "areas": [area], "bounding_boxes": [[0, 0, side, side]]}
    (place,) = np.flatnonzero(tally(table([row])).areas)
    low = 0.0 if place == 0 else AREA_EDGES[place - 1]
    high = AREA_EDGES[place] if place < len(AREA_EDGES) - 1 else 1.0 + 1e-9
    assert low <= area / side**2 < high


def test_rows_of_a_slice_are_counted_and_no_others():
    row = {"width": 8, "height": 4, "areas": [1, 2], "bounding_boxes": [[0, 0, 1, 1]] * 2}
    other = {"width": 80, "height": 40, "areas": [32 * 40], "bounding_boxes": [[40, 20, 32, 20]]}
    whole = table([row, other, row])
    same(tally(whole.slice(1, 1)), tally(table([other])))
    same(tally(whole.take(pa.array([2, 0]))), tally(table([row, row])))
