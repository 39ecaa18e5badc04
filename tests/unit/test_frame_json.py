"""Records in all spellings, and anything else that JSON can say: judged, never raised."""

import json

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from engine.frame_json import Masklets, RawFrame, as_written, meant_index, peek, read_frame

BOX = [1, 2, 3.5, 4]
OBJECT = {"object_id": 3, "label": "dog", "mask_rle": "1 2 3", "bbox": BOX, "area": 2,
          "confidence": 0.5}  # fmt: skip
KEYS = [
    "frame_index", "timestamp_sec", "objects", "object_id", "label", "class", "mask_rle", "mask",
    "segmentation", "rle", "bbox", "area", "confidence", "size", "counts", "image", "file_name",
]  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=25,
)


def frame(*objects, **keys):
    found = read_frame({"frame_index": 7, "objects": list(objects), **keys})
    assert isinstance(found, RawFrame)
    return found


def only(record):
    (item,) = frame(record).objects
    return item


def test_the_exporters_own_record():
    found = read_frame({"frame_index": 7, "timestamp_sec": 0.25, "objects": [OBJECT]})
    assert (found.frame_index, found.timestamp_sec, found.image_name) == (7, 0.25, None)
    (item,) = found.objects
    assert (item.object_id, item.label, item.confidence) == (3, "dog", 0.5)
    assert (item.notation, item.counts, item.size) == ("decimal", "1 2 3", None)
    assert (item.bbox, item.area, item.problems) == ((1.0, 2.0, 3.5, 4.0), 2.0, ())


@pytest.mark.parametrize("key", ["mask_rle", "segmentation", "mask", "rle"])
def test_the_masks_spellings(key):
    item = only({"label": "dog", key: {"size": [4, 6], "counts": "PPYo0"}})
    assert (item.notation, item.counts, item.size) == ("compressed", "PPYo0", (4, 6))
    assert item.problems == ()


@pytest.mark.parametrize("key", ["label", "class", "class_name", "category"])
def test_the_labels_spellings(key):
    assert only({key: "th\u00e9i\u00e8re", "mask": [1, 2]}).label == "th\u00e9i\u00e8re"


@pytest.mark.parametrize("key", ["image", "file_name", "image_path"])
def test_the_images_spellings(key):
    assert frame(**{key: "images/a.png"}).image_name == "images/a.png"
    assert frame(**{key: ""}).image_name is None
    assert frame(**{key: 3}).image_name is None


@pytest.mark.parametrize(
    ("value", "notation"),
    [
        ("12 3 4", "decimal"),
        ("65536", "decimal"),
        ("PPYo0", "compressed"),
        ([1, 2, 3], "counts"),
        ({"counts": [1, 2]}, "counts"),
        ({"size": None, "counts": "5 6"}, "decimal"),
    ],
)
def test_the_notations(value, notation):
    item = only({"label": "dog", "mask_rle": value})
    assert (item.notation, item.problems) == (notation, ())


def test_compressed_counts_of_digits_alone_are_known_by_their_size():
    texts = []
    for bits in range(2**12):
        mask = np.array([bits >> i & 1 for i in range(12)], np.uint8).reshape(3, 4)
        texts.append(coco.encode(np.asfortranarray(mask))["counts"].decode())
    texts = [text for text in texts if text.isdigit()]
    assert len(texts) > 700
    for text in texts:
        item = only({"label": "dog", "mask_rle": {"size": [3, 4], "counts": text}})
        assert (item.notation, item.counts) == ("compressed", text)


@pytest.mark.parametrize(
    "value",
    [
        5, True, {}, {"size": [4, 6]}, {"size": [4], "counts": [24]},
        {"size": [4, 0], "counts": [0]}, {"size": [4, -6], "counts": [1]},
        {"size": [4.0, 6], "counts": [24]}, {"size": [True, 6], "counts": [6]},
        {"size": "4x6", "counts": [24]}, {"size": [4, 2**31], "counts": [1]},
        {"size": [4, 6], "counts": 24}, [[1, 2, 3, 4, 5, 6]],
    ],
)  # fmt: skip
def test_masks_that_are_none(value):
    item = only({"label": "dog", "mask_rle": value})
    assert item.notation is None
    assert [code for code, _ in item.problems] == ["mask_malformed"]


def test_a_null_is_as_if_it_were_not_there():
    item = only({"label": None, "class": "cat", "mask_rle": None, "mask": [4], "bbox": None})
    assert (item.label, item.counts, item.bbox, item.problems) == ("cat", [4], None, ())
    assert only({"label": "dog"}).problems == (("object_malformed", "the record has no mask"),)


@pytest.mark.parametrize(
    ("given_id", "read", "problems"),
    [
        (0, 0, 0), (-4, -4, 0), ("12", 12, 0), (None, None, 0), (2**63 - 1, 2**63 - 1, 0),
        (2**63, None, 1), (True, None, 1), (1.5, None, 1), ("a", None, 1), ("-1", None, 1),
        ("\u0663", None, 1), ([], None, 1), ("9" * 40, None, 1),
    ],
)  # fmt: skip
def test_object_ids(given_id, read, problems):
    item = only({"object_id": given_id, "label": "dog", "mask": [4]})
    assert (item.object_id, len(item.problems)) == (read, problems)
    assert not problems or item.problems[0][0] == "object_malformed"


@pytest.mark.parametrize("label", [None, "", " \t", 5, ["dog"]])
def test_labels_that_are_none(label):
    item = only({"label": label, "mask": [4]})
    assert (item.label, item.problems[0][0]) == ("", "object_malformed")


@pytest.mark.parametrize("bbox", [[1, 2, 3], [1, 2, 3, "4"], "1 2 3 4", [1, 2, 3, None], {}, 5])
def test_a_box_that_is_none_is_a_warning(bbox):
    item = only({"label": "dog", "mask": [4], "bbox": bbox})
    assert (item.bbox, [code for code, _ in item.problems]) == (None, ["bbox_mismatch"])


@pytest.mark.parametrize("area", ["12", [], True, float("inf"), float("nan")])
def test_an_area_that_is_none_is_an_error(area):
    item = only({"label": "dog", "mask": [4], "area": area})
    assert (item.area, [code for code, _ in item.problems]) == (None, ["mask_area_mismatch"])


@pytest.mark.parametrize("value", [None, "high", True, float("nan")])
def test_confidence_and_time_are_left_out_where_they_are_no_numbers(value):
    item, whole = (
        only({"label": "dog", "mask": [4], "confidence": value}),
        frame(timestamp_sec=value),
    )
    assert item.confidence is whole.timestamp_sec is None
    told = [] if value is None else ["number_malformed"]
    assert [code for code, _ in item.problems] == [code for code, _ in whole.problems] == told


def test_what_is_said_of_a_number_that_is_none():
    item = only({"label": "dog", "mask": [4], "confidence": "high"})
    assert item.problems == (("number_malformed", "confidence is 'high', expected a number"),)
    found = frame(timestamp_sec=[1])
    assert found.problems == (("number_malformed", "timestamp_sec is [1], expected a number"),)


@pytest.mark.parametrize(
    "text", ["100000000000000000000", "1180591620717411303424", "9223372036854775808", "1e20",
             "123456789012345678901234567890", "-9223372036854775808", "12.50"],
)  # fmt: skip
def test_a_number_beyond_the_limit_is_shown_as_written_with_the_limit(text):
    most = "9223372036854775807"
    raw = f'{{"frame_index": {text}, "objects": []}}'.encode()
    found = read_frame(as_written(raw, None))
    assert found == f"frame_index is {text}, expected a whole number from 0 to {most}"
    raw = raw.replace(b"frame_index", b"object_id")
    (_, what), *_ = only(as_written(raw, None)).problems
    assert what == f"object_id is {text}, expected a whole number from -{most} to {most}"


@settings(max_examples=200, deadline=None)
@given(ANYTHING)
def test_a_record_parsed_again_is_judged_the_same(value):
    text = orjson.dumps(value, default=str) if fits(value) else b"{}"
    record = orjson.loads(text)
    again = as_written(text, None)
    assert isinstance(read_frame(again), str) == isinstance(read_frame(record), str)
    assert peek(again) == peek(record)
    assert again == record


def fits(value):
    """Say whether orjson writes a value: of whole numbers those of 64 bits."""
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def test_brackets_too_deep_to_be_parsed_again_cost_nothing():
    text = b"[" * 100_000 + b"]" * 100_000
    assert as_written(text, "as it was read") == "as it was read"


@pytest.mark.parametrize(
    ("index", "meant"),
    [
        (3, 3), ("3", 3), ("000012", 12), (3.0, 3), (2**63 - 1, 2**63 - 1), (None, None),
        (1.5, None), ("1.5", None), ("-3", None), (-3.0, None), (2**63, None), (1e20, None),
        (True, None), ("\u0663", None), ("9" * 40, None), (float("inf"), None),
        ([3], None), ("", None),
    ],
)  # fmt: skip
def test_which_frame_a_record_means(index, meant):
    assert meant_index({"frame_index": index}) == meant
    assert meant_index({}) is meant_index([3]) is None


@pytest.mark.parametrize("index", [None, "7", 7.0, True, -1, [], 2**63])
def test_a_record_without_a_frame_index_is_no_frame(index):
    found = read_frame({"frame_index": index, "objects": []})
    assert isinstance(found, str)
    assert "frame_index" in found
    assert peek({"frame_index": index})[0] is None


@pytest.mark.parametrize("element", [None, 3, "frame", [], True])
def test_what_is_no_object_is_no_frame(element):
    assert "expected an object" in read_frame(element)
    assert peek(element) == (None, None, False)


@pytest.mark.parametrize("objects", [3, "dog", {"0": {}}, True])
def test_objects_must_be_a_list(objects):
    assert "expected a list" in read_frame({"frame_index": 1, "objects": objects})


def test_no_objects_is_an_empty_list():
    assert read_frame({"frame_index": 1}).objects == ()
    assert read_frame({"frame_index": 1, "objects": None}).objects == ()


def test_an_object_that_is_none_spoils_no_other():
    good, bad, also_good = frame(OBJECT, 5, OBJECT).objects
    assert good == also_good
    assert [code for code, _ in bad.problems] == ["object_malformed"]


def test_a_problem_is_short_however_long_the_value():
    (problem,) = only({"label": "dog", "mask": [4], "bbox": "x" * 10_000}).problems
    assert len(problem[1]) < 150


@settings(max_examples=300, deadline=None)
@given(ANYTHING)
def test_no_json_value_raises(value):
    found = read_frame(value)
    index, image, has_objects = peek(value)
    if isinstance(found, str):
        assert found
        return
    assert index == found.frame_index >= 0
    assert image == found.image_name
    assert has_objects == bool(found.objects)
    for item in found.objects:
        assert item.notation is not None or item.problems
        assert item.label.strip() or any(code == "object_malformed" for code, _ in item.problems)
        json.dumps([item.bbox, item.area, item.confidence], allow_nan=False)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=8))
def test_no_object_record_raises(record):
    (item,) = frame(record).objects
    assert item.notation in (None, "decimal", "counts", "compressed")
    assert (item.notation is None) == (item.counts is None)


def test_an_sav_entry_has_its_frame_by_place_and_its_ids_from_the_file():
    masklets = Masklets(object_ids=(7, 3), label=None, step=4, kind="manual")
    rle = {"size": [2, 3], "counts": "06"}
    found = read_frame([rle, None], ordinal=5, masklets=masklets)
    assert (found.frame_index, found.timestamp_sec, found.image_name) == (20, None, None)
    first, second = found.objects
    assert (first.object_id, first.label, first.size) == (7, "object_7", (2, 3))
    assert (second.object_id, second.label, second.absent) == (3, "object_3", True)
    assert (first.absent, first.problems, second.problems) == (False, (), ())
    assert "3 masks, expected 2" in read_frame([rle] * 3, ordinal=5, masklets=masklets)


@settings(max_examples=200, deadline=None)
@given(ANYTHING, st.none() | st.just("cup"))
def test_no_sav_entry_raises(value, label):
    masklets = Masklets(object_ids=None, label=label, step=4, kind=None)
    found = read_frame(value, ordinal=3, masklets=masklets)
    assert peek(value, ordinal=3, step=4)[:2] == (12, None)
    assert isinstance(found, RawFrame) == isinstance(value, list)
    if isinstance(found, RawFrame):
        assert [item.object_id for item in found.objects] == list(range(len(value)))
        for item in found.objects:
            assert item.label == (label or f"object_{item.object_id}")
            assert item.notation is not None or item.absent or item.problems
