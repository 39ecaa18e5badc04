"""JSON that is read the same under any encoding a machine may have by default."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ascii_json import ascii_json, json_line

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])), inner
    ),
)  # fmt: skip


@given(VALUES)
def test_it_is_ascii_and_says_the_same(value):
    data = ascii_json(value)
    assert data.isascii()
    assert b"\n" not in data
    assert json.loads(data) == value


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8", "ascii"])
def test_any_encoding_reads_it(encoding):
    assert json.loads(ascii_json({"犬": "théière"}).decode(encoding)) == {"犬": "théière"}


def test_keys_keep_their_order():
    assert ascii_json({"b": 1, "a": "é"}) == b'{"b":1,"a":"\\u00e9"}'
    assert ascii_json({"b": 1, "a": "e"}) == b'{"b":1,"a":"e"}'


@given(VALUES)
def test_a_line_is_one_line(value):
    assert json_line(value) == ascii_json(value) + b"\n"
    assert json_line(value).splitlines() == [ascii_json(value)]
