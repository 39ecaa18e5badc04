"""The books of a run: they close, or the run ends."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from engine.accounting import account
from engine.errors import RunError
from engine.intake import Intake
from engine.records import issue_table
from tests.unit.test_frame_index import index_of, row

KEPT = np.array([True, True, False, False])
ASIDE = np.array([False, False, True, False])


def books(tmp_path, *, rows=2, objects=3, frames_read=7, objects_read=13, **changes):
    """Four frames: two kept, one set aside, one in a gap; two repeated, one replaced."""
    index = index_of(
        tmp_path, row("a", 0, ("x", "y")), row("a", 1, ("x", "y"), objects_hidden=1),
        row("a", 2), row("a", 3, ("x", "x", "x")),
    )  # fmt: skip
    repeated = {"duplicates": 2, "duplicate_objects": 4, "replaced": 1, "replaced_objects": 1}
    index = replace(index, **repeated | changes)
    intake = Intake(
        exports=(), index=index, issues=issue_table([]), frames_read=frames_read,
        objects_read=objects_read,
    )  # fmt: skip
    gap = np.array([False, False, False, True])
    writer = SimpleNamespace(
        division=SimpleNamespace(exclusions=lambda: {"temporal_gap": gap}), staging=str(tmp_path)
    )
    results = [
        SimpleNamespace(rows=1, objects=1),
        SimpleNamespace(rows=rows - 1, objects=objects - 1),
    ]
    return account(intake, writer, kept=KEPT, aside=ASIDE, results=results)


def test_every_frame_and_object_has_one_place(tmp_path):
    assert books(tmp_path) == {
        "frames_in": 7, "kept": 2, "quarantined": 1, "excluded_duplicates": 2,
        "excluded_temporal_gap": 1, "excluded_replaced": 1, "objects_in": 13, "objects_kept": 3,
        "objects_hidden": 1, "objects_quarantined": 1, "objects_excluded_duplicates": 4,
        "objects_excluded_temporal_gap": 3, "objects_excluded_replaced": 1,
    }  # fmt: skip


def test_nothing_is_said_of_replaced_frames_where_there_are_none(tmp_path):
    found = books(tmp_path, replaced=0, replaced_objects=0, frames_read=6, objects_read=12)
    assert not any("replaced" in name for name in found)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"rows": 1}, "frames were lost"),
        ({"frames_read": 8}, "frames were lost"),
        ({"duplicates": 1}, "frames were lost"),
        ({"objects": 2}, "objects were lost"),
        ({"objects_read": 14}, "objects were lost"),
        ({"replaced_objects": 0}, "objects were lost"),
    ],
)
def test_books_that_do_not_close_end_the_run(tmp_path, wrong, says):
    with pytest.raises(RunError) as caught:
        books(tmp_path, **wrong)
    assert says in str(caught.value)
