"""Texts at rest: the turns of each row as an Arrow column, so that they can be read back whole.

A row's texts are written once. When more exports join a dataset its line files are made anew, and
the rows that were there keep the texts that they have, whatever this program would write now.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from engine.phrases import Turn

__all__ = ["TURN_TYPE", "turns_column", "turns_of"]

TURN_TYPE = pa.struct(
    [
        ("kind", pa.string()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("classes", pa.list_(pa.string())),
        ("yes", pa.bool_()),
        ("words", pa.list_(pa.string())),
    ]
)  # as `phrases.Turn`


def turns_column(rows: Sequence[Sequence[Turn]]) -> pa.Array:
    """Bring the turns of n rows to a column: list<TURN_TYPE> (n,)."""
    turns = [turn for row in rows for turn in row]
    columns = {
        "kind": [turn.kind for turn in turns],
        "question": [turn.question for turn in turns],
        "answer": [turn.answer for turn in turns],
        "classes": [turn.classes for turn in turns],
        "yes": [turn.yes for turn in turns],
        "words": [sorted(turn.words) for turn in turns],
    }
    arrays = [pa.array(columns[field.name], field.type) for field in TURN_TYPE]
    flat = pa.StructArray.from_arrays(arrays, fields=list(TURN_TYPE))
    ends = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), flat, type=pa.list_(TURN_TYPE))


def turns_of(column: pa.ChunkedArray | pa.Array) -> list[list[Turn] | None]:
    """Read a column back; None of a row that has no texts."""
    return [
        None
        if turns is None
        else [
            Turn(**each | {"classes": tuple(each["classes"]), "words": frozenset(each["words"])})
            for each in turns
        ]
        for turns in column.to_pylist()
    ]
