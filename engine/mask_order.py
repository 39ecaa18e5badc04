"""In which order a video's masks are written: decided by the strongest evidence at hand.

What the user or the records say goes before what the frames show, and may still be wrong: where the
frames speak clearly against it, the decision says so, and stands.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from engine.declared_boxes import BoxFits
from engine.dialect import Evidence, painted
from engine.masks import Order

__all__ = ["OrderDecision", "decide_order"]

_By: TypeAlias = Literal[
    "user", "size", "paint", "signature", "gradient", "boxes", "unproven"
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class OrderDecision:
    """Which way a video's runs go, and why.

    Args:
        order: "row" or "column".
        by: the evidence that decided.
        sentence: the same for a person, with figures.
        contradicts: the frames show the other order than the one that was said or declared.
    """

    order: Order
    by: _By
    sentence: str
    contradicts: bool


def decide_order(
    *,
    user: Order | None,
    declared_column: bool,
    exporter_signature: bool,
    evidence: Evidence | None,
    boxes: BoxFits | None = None,
) -> OrderDecision:
    """The order of a video's runs, by the strongest evidence at hand.

    Args:
        user: what the user said, or None to find out.
        declared_column: a record has a size, or COCO-compressed counts.
        exporter_signature: the known exporter's metadata, and counts as decimal text.
        evidence: what the frames show; None if there are none to look at.
        boxes: which reading the declared boxes fit; None if they were not compared.

    Returns:
        The decision; column-major, "unproven", where nothing proves either.
    """
    paint = _paint_verdict(evidence) if evidence else None
    edge = _edge_verdict(evidence) if evidence else None
    order: Order
    by: _By
    if user is not None:
        order, by, why = user, "user", "as the user says"
    elif declared_column:
        order, by, why = "column", "size", "a record has a size or COCO-compressed counts"
    elif evidence and paint:
        order, by, why = paint, "paint", _sentence(evidence, paint, "paint")
    elif exporter_signature:
        order, by, why = "row", "signature", "the known exporter writes decimal runs that way"
    elif evidence and edge:
        order, by, why = edge, "gradient", _sentence(evidence, edge, "gradient")
    elif boxes and boxes.prove_row:
        order, by, why = "row", "boxes", _fitting(boxes)
    else:
        why = "assumed, as COCO does; nothing at hand proves it" + _doubt(boxes)
        order, by = "column", "unproven"
    against = _against(order, evidence, paint, edge) if evidence else None
    return OrderDecision(
        order=order,
        by=by,
        sentence=f"{order}-major: {why}" + (f", but {against}" if against else ""),
        contradicts=against is not None,
    )


def _against(order: Order, e: Evidence, paint: Order | None, edge: Order | None) -> str | None:
    """What the frames say against an order; edges have a say only where paint has none.

    Drawn exports (8 sizes, PNG and JPEG, painted and clean, 6 or 8 frames looked at): of 2,212 that
    are read rightly by size, COCO counts or signature none is contradicted; of 128 clean ones that
    go by rows and are read by columns 88 are, of as many painted ones all.
    """
    if paint:
        return _sentence(e, paint, "paint") if paint != order and painted(e) else None
    return _sentence(e, edge, "gradient") if edge and edge != order else None


def _verdict(row: int, column: int, *, least: float, against: float) -> Order | None:
    """The order with the most frames, if they are enough and few enough speak against it."""
    most, fewest = max(row, column), min(row, column)
    if most < max(least, 1) or fewest > against * most:
        return None
    return "row" if row > column else "column"


def _paint_verdict(e: Evidence) -> Order | None:
    least = e.frames_looked / 4  # the others may be hidden, symmetric, or of the colour's own scene
    return _verdict(e.frames_for_row, e.frames_for_column, least=least, against=1 / 3)


def _edge_verdict(e: Evidence) -> Order | None:
    least = max(3, e.frames_looked / 2)  # a scene may fool one frame, not most of a moving one
    return _verdict(e.edge_frames_for_row, e.edge_frames_for_column, least=least, against=0)


def _sentence(e: Evidence, order: Order, by: Literal["paint", "gradient"]) -> str:
    frames = (e.frames_for_row, e.frames_for_column)
    text = (
        f"{(e.paint_row or 0) * 100:.1f} % of the mask boundary is in the overlay's colour read "
        f"row-major, {(e.paint_column or 0) * 100:.1f} % read column-major"
    )
    if by == "gradient":
        frames = (e.edge_frames_for_row, e.edge_frames_for_column)
        text = (
            f"the image's gradient at the mask boundary is {e.gradient_row or 0:.1f} times the "
            f"mean read row-major, {e.gradient_column or 0:.1f} times read column-major"
        )
    said = frames[0 if order == "row" else 1]
    return f"{text}; {said} of {e.frames_looked} frames say {order}-major"


def _fitting(boxes: BoxFits) -> str:
    return (
        f"the declared boxes of {boxes.row} of {boxes.declared} masks fit row-major, of "
        f"{boxes.column} column-major"
    )


def _doubt(boxes: BoxFits | None) -> str:
    """What declared boxes suggest, and why that is no proof; nothing where they suggest nothing."""
    if boxes is None or boxes.reading is None:
        return ""
    if boxes.reading == "row":
        return f"; {_fitting(boxes)}, but with x and y exchanged those of column-major masks do so"
    return f"; {_fitting(boxes)}, but so do those of an exporter that reads its own rows as columns"
