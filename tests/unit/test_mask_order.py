"""The order of masks: which evidence goes before which, and what contradicts a decision."""

import json
import re
from dataclasses import replace
from importlib import resources
from typing import get_args, get_type_hints

import pytest

from engine.declared_boxes import BoxFits
from engine.dialect import Evidence
from engine.mask_order import OrderDecision, decide_order


def decide(evidence, **given):
    facts = {"user": None, "declared_column": False, "exporter_signature": False}
    return decide_order(**{**facts, **given}, evidence=evidence)


NOTHING = Evidence(
    frames_looked=8, boundary_row=900, boundary_column=900, contested_row=900, contested_column=900,
    paint_row=0.01, paint_column=0.02, line_row=0.0, line_column=0.0, frames_for_row=0,
    frames_for_column=0, gradient_row=1.0, gradient_column=1.1, edge_frames_for_row=0,
    edge_frames_for_column=0,
)  # fmt: skip
PAINTED_ROW = replace(NOTHING, paint_row=0.96, line_row=0.9, frames_for_row=8)
PAINTED_COLUMN = replace(NOTHING, paint_column=0.96, line_column=0.9, frames_for_column=8)
EDGES_ROW = replace(NOTHING, gradient_row=5.0, edge_frames_for_row=8)
EDGES_COLUMN = replace(NOTHING, gradient_column=5.0, edge_frames_for_column=8)
SOME_AGAINST = replace(EDGES_ROW, edge_frames_for_column=1)
FEW_FRAMES = replace(EDGES_ROW, edge_frames_for_row=3)
PAINT_AGAINST_EDGES = replace(PAINTED_COLUMN, edge_frames_for_row=8)
TWO_FRAMES = replace(EDGES_ROW, frames_looked=2, edge_frames_for_row=2)


@pytest.mark.parametrize(
    ("given_facts", "evidence", "order", "by", "contradicts"),
    [
        ({"user": "row"}, PAINTED_COLUMN, "row", "user", True),
        ({"user": "column", "declared_column": True}, PAINTED_COLUMN, "column", "user", False),
        ({"declared_column": True}, PAINTED_ROW, "column", "size", True),
        ({"declared_column": True}, PAINTED_COLUMN, "column", "size", False),
        ({"user": "column"}, PAINTED_ROW, "column", "user", True),
        ({"user": "column"}, EDGES_ROW, "column", "user", True),
        ({"user": "row"}, EDGES_ROW, "row", "user", False),
        ({"declared_column": True}, EDGES_ROW, "column", "size", True),
        ({"declared_column": True}, EDGES_COLUMN, "column", "size", False),
        ({"declared_column": True}, SOME_AGAINST, "column", "size", False),
        ({"declared_column": True}, FEW_FRAMES, "column", "size", False),
        ({"declared_column": True}, TWO_FRAMES, "column", "size", False),
        ({"declared_column": True}, PAINT_AGAINST_EDGES, "column", "size", False),
        ({"exporter_signature": True}, EDGES_ROW, "row", "signature", False),
        ({"exporter_signature": True}, EDGES_COLUMN, "row", "signature", True),
        ({"exporter_signature": True}, PAINTED_COLUMN, "column", "paint", False),
        ({"exporter_signature": True}, NOTHING, "row", "signature", False),
        ({"exporter_signature": True}, None, "row", "signature", False),
        ({}, PAINTED_ROW, "row", "paint", False),
        ({}, EDGES_ROW, "row", "gradient", False),
        ({}, NOTHING, "column", "unproven", False),
        ({}, None, "column", "unproven", False),
        ({}, SOME_AGAINST, "column", "unproven", False),
        ({}, FEW_FRAMES, "column", "unproven", False),
        ({}, TWO_FRAMES, "column", "unproven", False),
        ({}, replace(PAINTED_ROW, frames_for_column=4), "column", "unproven", False),
        ({}, replace(PAINTED_ROW, frames_for_row=1), "column", "unproven", False),
    ],
)  # fmt: skip
def test_the_strongest_evidence_decides(given_facts, evidence, order, by, contradicts):
    decision = decide(evidence, **given_facts)
    assert (decision.order, decision.by, decision.contradicts) == (order, by, contradicts)
    assert decision.sentence.startswith(f"{order}-major: ")
    assert (", but " in decision.sentence) is contradicts
    if by in ("paint", "gradient") or contradicts:
        painted = evidence in (PAINTED_ROW, PAINTED_COLUMN)
        assert ("96.0 %" if painted else "5.0 times") in decision.sentence
        assert "8 of 8 frames" in decision.sentence


BY_ROW = BoxFits(declared=6, row=6, row_unswapped=6)
BY_ROW_OR_SWAPPED = BoxFits(declared=6, row=6)
BY_COLUMN = BoxFits(declared=6, column=6)


@pytest.mark.parametrize(
    ("boxes", "order", "by", "said"),
    [
        (BY_ROW, "row", "boxes", "boxes of 6 of 6 masks fit row-major, of 0 column-major"),
        (BY_COLUMN, "column", "unproven", "of 0 of 6 masks fit row-major, of 6 column-major, but"),
        (BY_ROW_OR_SWAPPED, "column", "unproven", "x and y exchanged"),
        (BoxFits(declared=6, row=3, column=3), "column", "unproven", "nothing at hand proves it"),
        (None, "column", "unproven", "nothing at hand proves it"),
    ],
)
def test_boxes_decide_for_the_rows_where_nothing_else_does(boxes, order, by, said):
    for evidence in (NOTHING, None):
        decision = decide(evidence, boxes=boxes)
        assert (decision.order, decision.by, decision.contradicts) == (order, by, False)
        assert said in decision.sentence
        assert ("nothing at hand proves it" in decision.sentence) == (by == "unproven")


@pytest.mark.parametrize(
    ("given_facts", "evidence", "by"),
    [
        ({"user": "column"}, NOTHING, "user"),
        ({"declared_column": True}, NOTHING, "size"),
        ({}, PAINTED_COLUMN, "paint"),
        ({}, EDGES_COLUMN, "gradient"),
    ],
)
def test_boxes_go_after_all_else(given_facts, evidence, by):
    decision = decide(evidence, boxes=BY_ROW, **given_facts)
    assert (decision.order, decision.by) == ("column", by)
    assert "boxes" not in decision.sentence


def test_schema_and_report_know_what_may_decide():
    kinds = set(get_args(get_type_hints(OrderDecision)["by"]))
    engine = resources.files("engine")
    schema = json.loads(engine.joinpath("validation.schema.json").read_text())
    assert set(find(schema, "order_by")["enum"]) == kinds
    words = engine.joinpath("report.html").read_text().partition("evidence_words = {")[2]
    assert set(re.findall(r'"(\w+)": "', words.partition("}")[0])) == kinds


def find(node, key):
    """The schema of a property, wherever it is."""
    for name, value in node.items() if isinstance(node, dict) else ():
        found = value if name == key else find(value, key)
        if found is not None:
            return found
    return None
