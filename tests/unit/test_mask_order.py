"""The order of masks: which evidence goes before which, and what contradicts a decision."""

from dataclasses import replace

import pytest

from engine.dialect import Evidence
from engine.mask_order import decide_order


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
