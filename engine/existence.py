"""Which classes a text may deny, and how often it asks whether one is there.

A SAM 2 export is not exhaustive: what nobody tracked may well be in the picture. So a class may be
denied only in a frame where a track of it is declared hidden and none is visible, or if the user
says that every instance of it is annotated.

Trade-off: yes and no are asked equally often of each class (SESAME, CVPR 2024: a model that rarely
sees a denial answers yes by rote), which needs a count over the whole corpus before the first text
is written. A class that can never be denied, or is never there, is never asked about: its answer
would be learnt without looking.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from engine.class_words import spoken_forms
from engine.label_text import clean_label

__all__ = ["Odds", "deniable", "existence_odds", "without_effect"]

# Questions about existence a frame, on average, where there are denials enough.
_WANTED = 0.5
_STEPS = 2**32
_ROWS = 65_536


@dataclass(frozen=True, kw_only=True)
class Odds:
    """How often a class is asked about, in 2**32nds of the frames in question.

    Args:
        visible: of the frames where it is visible.
        absent: of the frames where it may be denied.
    """

    visible: int
    absent: int


def deniable(
    hidden: Iterable[str], visible: Iterable[str], exhaustive: Iterable[str]
) -> tuple[str, ...]:
    """Give the classes that a text about a frame may deny.

    Args:
        hidden: labels declared hidden in the frame, as exported.
        visible: labels of its visible objects, as exported.
        exhaustive: labels of which every instance is annotated.

    Returns:
        Cleaned labels, sorted, each once; none that sounds like one that is visible.
    """
    seen: set[str] = set()
    for label in visible:
        seen |= spoken_forms(clean_label(label))
    asked = {clean_label(label) for label in (*hidden, *exhaustive)} - {""}
    return tuple(sorted(label for label in asked if not spoken_forms(label) & seen))


def without_effect(exhaustive: Iterable[str], frames: pa.Table) -> list[str]:
    """Give the labels declared exhaustive that no object has: they are likely misspelt.

    Args:
        exhaustive: labels, as they read after renaming.
        frames: columns labels and hidden_labels of `FRAME_SCHEMA`.

    Returns:
        Those of them that no text can deny, sorted; so also every `object_<id>`.
    """
    lists = (frames[name] for name in ("labels", "hidden_labels"))
    labels = (each for one in lists for each in pc.unique(pc.list_flatten(one)).to_pylist())
    known = {clean_label(each) for each in labels} - {""}
    return sorted({each for each in exhaustive if clean_label(each) not in known})


def existence_odds(frames: pa.Table, exhaustive: Collection[str] = ()) -> dict[str, Odds]:
    """Count where classes are visible and where they may be denied, and balance the two.

    Args:
        frames: columns labels and hidden_labels of `FRAME_SCHEMA`, of the frames to be written.
            Those without a visible object do not count: their texts name no class.
        exhaustive: labels of which every instance is annotated, as they read after renaming.

    Returns:
        Odds by cleaned label, sorted; only classes with both. For each class as many questions are
        answered yes as no, on average, and all classes together make half a question a frame, or
        as many as the denials allow.
    """
    kinds: Counter[tuple[frozenset[str], frozenset[str]]] = Counter()
    for batch in frames.select(["labels", "hidden_labels"]).to_batches(max_chunksize=_ROWS):
        pairs = zip(batch["labels"].to_pylist(), batch["hidden_labels"].to_pylist(), strict=True)
        kinds.update((frozenset(seen or ()), frozenset(hidden or ())) for seen, hidden in pairs)
    visible: Counter[str] = Counter()
    absent: Counter[str] = Counter()
    for (seen, hidden), count in kinds.items():
        if not seen:  # its text names no class at all
            continue
        for label in {clean_label(each) for each in seen} - {""}:
            visible[label] += count
        for label in deniable(hidden, seen, exhaustive):
            absent[label] += count
    return _balanced(visible, absent, len(frames))


def _balanced(
    visible: Mapping[str, int], absent: Mapping[str, int], frames: int
) -> dict[str, Odds]:
    both = sorted(set(visible) & set(absent))
    pairs = {label: min(visible[label], absent[label]) for label in both}
    questions = 2 * sum(pairs.values())
    # In whole numbers, so that no machine rounds otherwise.
    wanted = min(questions, int(_WANTED * frames))
    return {
        label: Odds(
            visible=_STEPS * pair * wanted // (visible[label] * questions),
            absent=_STEPS * pair * wanted // (absent[label] * questions),
        )
        for label, pair in pairs.items()
    }
