"""What the report page shows of a dataset's texts: how varied they are, and what they give away.

The text report has every figure and lists of up to a hundred classes; a page has room for the most
frequent wordings, every kind of question, and a dozen classes. The sentences say what a figure
means for training, for nobody knows by heart what an entropy of 0.4 is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

__all__ = ["Cell", "Kind", "KindsOfClass", "kinds", "kinds_of_classes", "told_sentence"]

_CLASSES = 14
_LEVELS = 5
_LEAST_TOLD_BITS = 0.05  # below it an answer is guessed no better than by its frequency


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of question.

    Args:
        name: of the kind.
        turns: question and answer pairs of it.
        share: of all turns, 0 to 1.
        length: of its bar, 0 to 100; the longest has 100.
    """

    name: str
    turns: int
    share: float
    length: float


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Turns of one kind about one class.

    Args:
        turns: how many.
        level: of its tint, 0 to 5, by their share of the class's turns.
    """

    turns: int
    level: int


@dataclass(frozen=True, kw_only=True)
class KindsOfClass:
    """One class, and what is asked about it.

    Args:
        label: of the class; None for turns about no class, or about objects nobody named.
        cells: one a kind, in the order of `kinds`.
    """

    label: str | None
    cells: tuple[Cell, ...]


def kinds(texts: Mapping[str, Any]) -> list[Kind]:
    """Lay out the kinds of questions, the most frequent first.

    Args:
        texts: as `text_report.document` makes it.
    """
    turns = texts["families"]
    total, most = max(1, texts["turns"]), max(turns.values(), default=1)
    return [
        Kind(
            name=name, turns=turns[name], share=turns[name] / total,
            length=round(max(100 * turns[name] / most, 0.6), 1),
        )
        for name in sorted(turns, key=lambda name: (-turns[name], name))
    ]  # fmt: skip


def kinds_of_classes(texts: Mapping[str, Any]) -> tuple[list[KindsOfClass], int]:
    """Lay out the kinds of questions by class, the classes with the most turns first.

    Args:
        texts: as `text_report.document` makes it.

    Returns:
        The first classes, and how many more the text report has.
    """
    held = texts["families_by_class"]
    totals = {label: sum(turns.values()) for label, turns in held.items()}
    order = sorted(held, key=lambda label: (-totals[label], label))
    names = [kind.name for kind in kinds(texts)]
    rows = [
        KindsOfClass(
            label=label or None,
            cells=tuple(_cell(held[label].get(name, 0), totals[label]) for name in names),
        )
        for label in order[:_CLASSES]
    ]
    return rows, len(order) - len(rows)


def _cell(turns: int, total: int) -> Cell:
    return Cell(turns=turns, level=ceil(_LEVELS * sqrt(turns / total)) if total else 0)


def told_sentence(yes_no: Mapping[str, Any]) -> str:
    """Say whether questions with the answer yes or no give their answers away.

    Args:
        yes_no: of the text report.
    """
    told, chance = yes_no["mutual_information_bits"], yes_no["by_chance_bits"]
    if told is None:
        return "There is one answer only, so a model can learn it without looking."
    figures = f"{told:.2f} bits of at most 1; chance alone would give {chance:.2f}"
    if told - chance < _LEAST_TOLD_BITS:
        return f"A question does not tell its answer: {figures}."
    return f"A question tells something of its answer before the image is seen: {figures}."
