"""The oracle is `json.loads` of the whole text: what is cut must be what is there."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.caps import Caps
from engine.errors import ExportError
from engine.json_ranges import Cutter, parse_json

NASTY = st.text(st.sampled_from('"\\[]{},: \n\t\x00é中😀aou/') | st.characters(), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | NASTY
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NASTY, inner, max_size=3),
    max_leaves=8,
)


def cut(raw, sizes=(1 << 20,), **options):
    """Feed `raw` in pieces of these sizes, over and over; give elements and head."""
    cutter = Cutter(where="x.json", **options)
    elements = []
    position = 0
    while position < len(raw):
        for size in sizes:
            elements += cutter.feed(raw[position : position + size])
            position += size
    return elements, cutter.finish(), cutter


@settings(max_examples=80, deadline=None)
@given(
    before=st.dictionaries(NASTY, VALUES, max_size=3),
    after=st.dictionaries(NASTY, VALUES, max_size=3),
    key=st.sampled_from(["annotations", "frames", "masklet"]),
    elements=st.lists(VALUES, max_size=6),
    indent=st.sampled_from([None, 0, 2]),
    compact=st.booleans(),
    ascii_only=st.booleans(),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    bom=st.booleans(),
)
def test_elements_and_head_are_what_json_reads(
    *, before, after, key, elements, indent, compact, ascii_only, sizes, bom
):
    for other in ("annotations", "frames", "masklet"):
        before.pop(other, None)
        after.pop(other, None)
    document = {**before, key: elements}
    document |= {name: value for name, value in after.items() if name not in document}
    separators = (",", ":") if compact and indent is None else None
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only, separators=separators)
    raw = text.encode("utf-8", "surrogatepass")
    found, head, cutter = cut(b"\xef\xbb\xbf" * bom + raw, sizes)
    assert [json.loads(e.decode("utf-8", "surrogatepass")) for e in found] == elements
    assert json.loads(head.decode("utf-8", "surrogatepass")) == {**document, key: []}
    assert cutter.key == key
    assert cutter.n_elements == len(elements)
    assert all(element == element.strip() for element in found)


@settings(max_examples=60, deadline=None)
@given(
    elements=st.lists(VALUES, min_size=1, max_size=5),
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    data=st.data(),
)
def test_every_prefix_is_refused(elements, sizes, data):
    raw = json.dumps({"a": "]}", "annotations": elements, "z": [1, {}]}).encode()
    end = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(ExportError, match=r"ends early|is empty"):
        cut(raw[:end], sizes)


@settings(max_examples=150, deadline=None)
@given(
    elements=st.lists(VALUES, max_size=4),
    indent=st.sampled_from([None, 2]),
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    seed=st.integers(0, 2**32),
)
def test_one_wrong_character_never_changes_elements_silently(elements, indent, sizes, seed):
    """Whatever JSON refuses is refused by the cutter, or by parsing its elements and its head."""
    document = {"a": [1, "x"], "annotations": elements, "z": {"b": [2]}}
    text = bytearray(json.dumps(document, indent=indent).encode())
    rng = random.Random(seed)
    at = rng.randrange(len(text))
    text[at : at + rng.choice([0, 1])] = rng.choice(b',"\\[]{}: x1').to_bytes()
    try:
        expected = json.loads(bytes(text))
    except ValueError:
        expected = None
    try:
        found, head, _ = cut(bytes(text), sizes)
        cut_document = json.loads(head)
        cut_document["annotations"] = [json.loads(element) for element in found]
    except (ExportError, ValueError):
        cut_document = None
    good = isinstance(expected, dict) and isinstance(expected.get("annotations"), list)
    if good:
        pairs = json.loads(bytes(text), object_pairs_hook=lambda pairs: [k for k, _ in pairs])
        good = pairs.count("annotations") == 1
    assert cut_document == (expected if good else None)


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_text_across_the_working_pieces(size):
    """Longer than the pieces the cutter itself works in, with escapes on every border."""
    elements = [{"mask_rle": '\\"[{' * 450_000, "n": i} for i in range(2)] + ["é中" * 300_000] * 3
    document = {"annotations": elements, "video": {"name": "]\\"}}
    raw = json.dumps(document, ensure_ascii=False).encode()
    found, head, _ = cut(raw, (4 * 2**20 + size, 5 * 2**20 - size))
    assert [json.loads(element) for element in found] == elements
    assert json.loads(head) == {**document, "annotations": []}


def test_elements_come_as_soon_as_they_end():
    cutter = Cutter(where="x")
    assert cutter.feed(b'{"annotations": [{"a": 1}, {"b"') == [b'{"a": 1}']
    assert cutter.feed(b": [2]}") == [b'{"b": [2]}']
    assert cutter.feed(b', "x", 3') == [b'"x"']
    assert cutter.feed(b"4, [5]]") == [b"34", b"[5]"]
    assert cutter.feed(b"}") == []
    assert cutter.finish() == b'{"annotations": []}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n\t ", "is empty"),
        ("[]", "no JSON object at byte 0: got '[', expected '{'"),
        ("  12345", "no JSON object at byte 2"),
        ('{"annotations": [{"a": 1}, {"b": [', "ends early, at byte 34, inside element 1 of `ann"),
        ('{"annotations": [{"a": 1}', "ends early, at byte 25, after element 0 of `ann"),
        ('{"annotations": [{"a": 1}, ', "ends early, at byte 27, inside element 1 of `ann"),
        ('{"annotations": [], "b": "x', "ends early, at byte 27"),
        ('{"annotations": []} x', "text after the end at byte 20"),
        ('{"annotations": []}}', "text after the end at byte 19"),
        ('{"annotations": [{"a": 1]]}', "brackets do not match at byte 24: got ], expected }"),
        ('{"annotations": [1}}', "brackets do not match at byte 18: got }, expected ]"),
        ('{"annotations": []]', "brackets do not match at byte 18: got ], expected }"),
        ('{"annotations": [1,,2]}', "nothing before ',' at byte 19"),
        ('{"annotations": [,1]}', "nothing before ',' at byte 17"),
        ('{"annotations": [1,]}', "nothing between ',' and ']' at byte 19"),
        ('{"annotations": [{},]}', "nothing between ',' and ']' at byte 20"),
        ('{"annotations": [{} {}]}', "no comma before element 1 of `annotations` at byte 20"),
        ('{"annotations": [{}{}]}', "no comma before element 1 of `annotations` at byte 19"),
        ('{"annotations": [1 2]}', "no comma before element 1 of `annotations` at byte 19"),
        ('{"annotations": [1 {}]}', "no comma before element 1 of `annotations` at byte 19"),
        ('{"annotations": [{}, {} 1]}', "no comma before element 2 of `annotations` at byte 24"),
        ('{"annotations": [],  "annotations": []}', "`annotations` is there twice, the second at"),
        ('{"annotations": [],  "annotations": 5}', "`annotations` is there 2 times"),
        ('{"annotations": 5,  "annotations": []}', "`annotations` is there 2 times"),
        ('{"annotations": [], "frames": []}', "`annotations` and `frames` are both lists"),
        ('{"annotations": {"a": []}}', "`annotations` is not a list"),
        ('{"annotations": null}', "`annotations` is not a list"),
        ('{"a": {"annotations": []}, "b\\u0063": 1}', "no frame records: got `a`, `bc`, expected"),
        ('{"a": ["annotations", []]}', "no frame records: got `a`"),
        ("{}", "no frame records: got no keys, expected `annotations` or `frames` or `masklet`"),
        ('{"x\\"annotations": [1]}', 'no frame records: got `x"annotations`'),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 100])
def test_what_is_wrong_is_said(text, message, size):
    with pytest.raises(ExportError) as caught:
        cut(text.encode(), (size,))
    assert str(caught.value).startswith(f"x.json: {message}")


def test_an_escaped_key_is_the_same_key():
    found, head, cutter = cut(b'{"annot\\u0061tions" : \n [7]}')
    assert (found, cutter.key, json.loads(head)) == ([b"7"], "annotations", {"annotations": []})


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_other_encodings_are_named(encoding):
    with pytest.raises(ExportError, match=r"is UTF-(16|32).* text: expected UTF-8"):
        cut('{"annotations": []}'.encode(encoding), (1,))


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_caps(size):
    caps = Caps(max_depth=5, max_element_bytes=20, max_head_bytes=60)
    good = {"annotations": [[[["x"]]], "a" * 18, [1234567890, 12345]], "a": "b" * 20}
    assert len(cut(json.dumps(good).encode(), (size,), caps=caps)[0]) == 3
    for bad, message in [
        ({"annotations": [[[[["x"]]]]]}, "more than 5 brackets are open at byte 20"),
        ({"a": [[[[[]]]]]}, "more than 5 brackets are open at byte 10"),
        ({"annotations": [1, ["a" * 17]]}, "element 1 of `annotations` is too large"),
        ({"annotations": [1, "a" * 400]}, "element 1 of `annotations` is too large"),
        ({"a": "b" * 60, "annotations": []}, "what stands outside of `annotations`"),
        ({"annotations": [], "a": "b" * 60}, "what stands outside of `annotations`"),
    ]:
        with pytest.raises(ExportError, match=message):
            cut(json.dumps(bad).encode(), (size,), caps=caps)


def test_memory_is_that_of_an_element_not_of_the_list():
    cutter = Cutter(where="x")
    cutter.feed(b'{"annotations": [')
    for _ in range(2000):
        cutter.feed(b'{"mask": "' + b"1 2 3 " * 100 + b'"}, 17, ')
    held = [v for v in vars(cutter).values() if isinstance(v, bytes | bytearray)]
    assert sum(map(len, held)) < 1000
    assert cutter.n_elements == 4000


def test_the_lists_name_may_be_given():
    raw = b'{"frames": ["a.jpg"], "annotations": [1]}'
    found, head, _ = cut(raw, array_keys=("annotations",))
    assert (found, json.loads(head)) == ([b"1"], {"frames": ["a.jpg"], "annotations": []})


def test_parse_json_says_where():
    assert parse_json(b'\xef\xbb\xbf{"a": "\xc3\xa9"}', "x") == {"a": "é"}
    with pytest.raises(ExportError, match=r"^y: is not JSON at line 2, column 3 \(byte 9\): got"):
        parse_json('["é",\n1 x]'.encode() + b" ", "y")
    with pytest.raises(ExportError, match=r"^y: is not UTF-8 at byte 2: got 0xff"):
        parse_json(b'["\xff"]', "y")
    for wrong in (b"", b"{", b"[NaN]", b'"\\ud800"', b"[" * 100_000):
        with pytest.raises(ExportError, match="is not JSON at line"):
            parse_json(wrong, "y")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_what_python_writes_and_json_does_not_have_is_named(value):
    raw = json.dumps({"é": 1, "b": float(value)}, indent=1, ensure_ascii=False).encode()
    with pytest.raises(ExportError) as caught:
        parse_json(raw, "y")
    place = f"line 3, column 7 (byte {raw.index(value.encode())})"
    assert str(caught.value) == (
        f"y: is not JSON at {place}: got {value}, expected a number: JSON has no such value; "
        "export null in its place; Python finds where it comes from with "
        "json.dumps(..., allow_nan=False)"
    )
    for other in (b"[NaNs]", b'{"NaN": x}', b"[nan]", b"[-x]"):
        with pytest.raises(ExportError) as caught:
            parse_json(other, "y")
        assert "allow_nan" not in str(caught.value)


@pytest.mark.parametrize("size", [1, 2, 5, 11, 1000])
@pytest.mark.parametrize("start", ["", "\ufeff", " \n "])
def test_places_are_those_of_the_file(size, start):
    """Of records, of scalars between them, and of what stands before and after the list."""
    text = start + '{"é": 1, "annotations": [ {"a": "é"},\n 17, "é" ,[2], null], "b": [3]}'
    raw = text.encode()
    cutter = Cutter(where="x")
    elements, starts = [], []
    for i in range(0, len(raw), size):
        elements += cutter.feed(raw[i : i + size])
        starts += cutter.starts
        assert len(starts) == len(elements) == cutter.n_elements
    assert [raw[at : at + len(each)] for at, each in zip(starts, elements, strict=True)] == elements
    head = cutter.finish()
    for mark in (b'"annotations"', b'"b"', b"3"):
        wrong = head.replace(mark, b"?", 1)
        with pytest.raises(ExportError, match=f"JSON at byte {raw.index(mark)} of the file: got"):
            parse_json(wrong, "x", starts=cutter.head_starts)
    with pytest.raises(ExportError, match=r"^x: record 4: is not JSON at byte 105 of the file"):
        parse_json(b'["\xc3\xa9", ?]', "x: record 4", starts=((0, 98),))
    with pytest.raises(ExportError, match=r"^x: is not UTF-8 at byte 100 of the file: got 0xff"):
        parse_json(b'["\xff"]', "x", starts=((0, 98),))
