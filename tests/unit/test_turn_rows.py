"""Texts at rest: what is read back is what was written."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.phrases import Turn
from engine.turn_rows import TURN_TYPE, turns_column, turns_of

LETTERS = "qwertzuiopasdfgh"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
TURN = st.builds(
    Turn, kind=TEXT, question=TEXT, answer=TEXT, classes=st.lists(TEXT, max_size=3).map(tuple),
    yes=st.sampled_from([None, True, False]), words=st.frozensets(TEXT, max_size=3),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(TURN, max_size=3), max_size=5))
def test_there_and_back(rows):
    column = turns_column(rows)
    assert column.type == pa.list_(TURN_TYPE)
    assert turns_of(column) == rows
    assert turns_of(pa.chunked_array([column.slice(0, 1), column.slice(1)])) == rows


def test_words_lie_in_one_order_whatever_the_hash_seed():
    turn = Turn(
        kind="k", question="q", answer="a", classes=("b", "a"), yes=None, words=frozenset(LETTERS)
    )
    (written,) = turns_column([[turn]]).to_pylist()
    assert written[0]["words"] == sorted(LETTERS)
    assert written[0]["classes"] == ["b", "a"]


def test_a_row_without_texts_is_none_and_one_with_no_turns_is_empty():
    column = pa.array([None, []], pa.list_(TURN_TYPE))
    assert turns_of(column) == [None, []]
