"""One frame from its raw record to a row: what is said of it, and what is kept of it."""

import hashlib
import json

import pytest

from engine.frame_check import FrameCheck, image_member, image_problem
from engine.label_map import LabelMap
from engine.mask_check import CheckedMask
from engine.opening import open_members
from engine.pairing import ImageIndex
from engine.records import FRAME_SCHEMA
from engine.sample_export import write_sample_export

GOOD = CheckedMask(
    counts="PPYo0", box=(1, 2, 3, 4), area=9, centroid=(2.0, 3.5), hidden=False, problems=()
)
HIDDEN = CheckedMask(
    counts=None,
    box=(0, 0, 0, 0),
    area=0,
    centroid=None,
    hidden=True,
    problems=(("object_hidden", "so declared"),),
)
BAD = CheckedMask(
    counts=None,
    box=(0, 0, 0, 0),
    area=0,
    centroid=None,
    hidden=False,
    problems=(("mask_malformed", "at 3"),),
)
OBJECTS = [
    {"object_id": 4, "label": "dog", "mask_rle": "1 2 3", "confidence": 0.5},
    {"object_id": 7, "label": "cat", "mask_rle": "1 2 3"},
]


def range_row(element, **image):
    data = None if element is None else json.dumps(element).encode()
    row = dict.fromkeys(
        ["image_source", "image_name", "image_offset", "image_compressed_bytes", "image_bytes",
         "image_method", "image_crc32"]
    )  # fmt: skip
    given = {"ordinal": 3, "frame_json": data, "frame_index_of_image": None, "images_found": 0}
    return row | given | image


def check(element, size=(16, 24), **image):
    return FrameCheck(range_row(element, **image), source="a.zip", video_id="v", video_size=size)


def frame(*objects, **keys):
    return {"frame_index": 12, "timestamp_sec": 0.4, "objects": list(objects), **keys}


def codes(checked):
    return [issue.code for issue in checked.issues]


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    path = tmp_path_factory.mktemp("frame_check") / "a.zip"
    return write_sample_export(
        path, frames=6, width=96, height=64, dialect="coco",
        image_truncated=[1], image_zero_bytes=[2], image_wrong_size=[3], image_crc_flip=[4],
    )  # fmt: skip


def with_image(export, position, size=(64, 96)):
    members = open_members(str(export.path))
    (image,) = ImageIndex.of(members.values()).find(position * 6, None)
    return check(
        frame(*OBJECTS), size=size, images_found=1, image_source=str(export.path),
        image_name=image.stored_name, image_offset=image.offset, image_bytes=image.size,
        image_compressed_bytes=image.compressed_size, image_method=image.method,
        image_crc32=image.crc32,
    )  # fmt: skip


def test_a_good_frame_is_a_row_of_the_schema():
    checked = check(frame(*OBJECTS))
    assert [place for place, _ in checked.masks_to_check()] == [0, 1]
    for place in (0, 1):
        checked.take_mask(place, GOOD)
    row = checked.row()
    assert set(row) == set(FRAME_SCHEMA.names) - {"export_digest"}
    assert row["id"] == "v/000012"
    assert (row["frame_index"], row["timestamp_sec"]) == (12, 0.4)
    assert (row["labels"], row["object_ids"]) == (["dog", "cat"], [4, 7])
    assert row["masks"] == [{"size": [16, 24], "counts": "PPYo0"}] * 2
    assert (row["bounding_boxes"], row["areas"]) == ([[1, 2, 3, 4]] * 2, [9, 9])
    assert row["confidences"] == [0.5, None]
    assert (row["objects_declared"], row["objects_hidden"], row["errors"]) == (2, 0, 0)
    assert checked.issues == []


def test_hidden_objects_are_left_out_of_every_column():
    checked = check(frame(*OBJECTS))
    checked.take_mask(0, HIDDEN)
    checked.take_mask(1, GOOD)
    row = checked.row()
    parallel = ("labels", "masks", "bounding_boxes", "object_ids", "areas", "confidences")
    assert {len(row[name]) for name in parallel} == {1}
    assert row["labels"] == ["cat"]
    assert (row["hidden_object_ids"], row["hidden_labels"]) == ([4], ["dog"])
    assert (row["objects_declared"], row["objects_hidden"], row["errors"]) == (2, 1, 0)
    assert codes(checked) == ["object_hidden"]


def test_labels_are_renamed_before_anything_is_said_of_them():
    names = LabelMap.of({"dog": "wolf", "v/cat": "lynx", "w/cat": "x", "cat": "y", "cow": "z"})
    element = range_row(frame(*OBJECTS))
    renamed = FrameCheck(
        element, source="a.zip", video_id="v", video_size=(16, 24), label_map=names
    )
    renamed.take_mask(0, HIDDEN)
    renamed.take_mask(1, GOOD)
    row = renamed.row()
    assert (row["labels"], row["hidden_labels"]) == (["lynx"], ["wolf"])
    assert renamed.keys_used == {"dog", "v/cat"}
    plain = check(frame(*OBJECTS))
    plain.take_mask(0, HIDDEN)
    plain.take_mask(1, GOOD)
    assert plain.row()["annotation_digest"] != row["annotation_digest"]
    assert plain.keys_used == set()


def test_a_frame_with_hidden_objects_only_says_so():
    checked = check(frame(*OBJECTS))
    for place in (0, 1):
        checked.take_mask(place, HIDDEN)
    assert checked.row()["masks"] == []
    assert codes(checked) == ["object_hidden", "object_hidden", "frame_all_hidden"]


def test_a_bad_mask_beside_a_hidden_one_is_not_all_hidden():
    checked = check(frame(*OBJECTS))
    checked.take_mask(0, BAD)
    checked.take_mask(1, HIDDEN)
    assert checked.row()["errors"] == 1
    assert codes(checked) == ["mask_malformed", "object_hidden"]


def test_an_issue_says_which_object():
    checked = check(frame(OBJECTS[0], OBJECTS[1] | {"object_id": None}))
    checked.take_mask(0, BAD)
    checked.take_mask(1, BAD)
    named, unnamed = checked.issues
    assert (named.object_id, named.message) == (4, "at 3")
    assert (unnamed.object_id, unnamed.message) == (None, "objects[1]: at 3")
    assert {(i.frame_id, i.video_id, i.source) for i in checked.issues} == {
        ("v/000012", "v", "a.zip")
    }


def test_a_frame_without_objects():
    checked = check(frame())
    assert codes(checked) == ["missing_annotations"]
    checked.look_at_image("structure")  # and so raises no image_missing
    assert codes(checked) == ["missing_annotations"]
    assert checked.masks_to_check() == []
    assert checked.row()["errors"] == 1


def test_an_image_without_a_record():
    checked = check(None, frame_index_of_image=30, image_name="images/frame_000030.png")
    assert codes(checked) == ["missing_annotations"]
    assert checked.frame_id == "v/000030"
    assert (checked.row()["frame_index"], checked.row()["objects_declared"]) == (30, 0)


def test_a_record_without_an_index_is_a_frame_by_its_place():
    checked = check({"objects": []})
    assert codes(checked) == ["frame_malformed"]
    row = checked.row()
    assert (row["id"], row["frame_index"], row["errors"]) == ("v/record-000003", None, 1)


def test_a_record_with_an_index_keeps_it_whatever_else_is_wrong():
    checked = check({"frame_index": 12, "objects": "none"})
    assert codes(checked) == ["frame_malformed"]
    assert (checked.row()["id"], checked.row()["frame_index"]) == ("v/000012", 12)


@pytest.mark.parametrize(("claims", "code"), [(0, "image_missing"), (2, "image_ambiguous")])
def test_no_image_and_two_images(claims, code):
    checked = check(frame(*OBJECTS), images_found=claims)
    checked.look_at_image("header")
    assert codes(checked) == [code]
    assert [mask.size for _, mask in checked.masks_to_check()] == [(16, 24)] * 2


def test_without_any_size_masks_wait():
    checked = check(frame(*OBJECTS), size=None)
    checked.look_at_image("header")
    assert checked.masks_to_check() == []
    assert (checked.row()["width"], checked.row()["height"]) == (None, None)


@pytest.mark.parametrize(
    ("position", "check_images", "found"),
    [
        (0, "header", []),
        (0, "structure", []),
        (0, "decode", []),
        (1, "structure", ["image_truncated"]),
        (1, "decode", ["image_truncated"]),
        (2, "header", ["image_unreadable"]),
        (2, "structure", ["image_unreadable"]),
        (3, "header", ["image_size_mismatch"]),
        (3, "structure", ["image_size_mismatch"]),
        (4, "structure", ["image_unreadable"]),
        (4, "decode", ["image_unreadable"]),
    ],
)
def test_images_are_looked_at_as_far_as_asked(export, position, check_images, found):
    checked = with_image(export, position)
    checked.look_at_image(check_images)
    assert codes(checked) == found


def test_an_empty_image_has_one_code_however_far_it_is_looked_at(export):
    """The code is stable: it must not depend on which pass came across the file first."""
    seen = []
    for check_images in ("header", "structure", "decode"):
        checked = with_image(export, 2)
        checked.look_at_image(check_images)
        seen.append(codes(checked))
    assert seen[0] == seen[1] == seen[2]


def test_masks_are_in_the_pixels_of_the_image_itself(export):
    checked = with_image(export, 3)
    checked.look_at_image("header")
    assert [mask.size for _, mask in checked.masks_to_check()] == [(32, 48)] * 2
    undeclared = with_image(export, 0, size=None)
    undeclared.look_at_image("header")
    assert undeclared.issues == []
    assert (undeclared.row()["width"], undeclared.row()["height"]) == (96, 64)


def digest(element, outcome=GOOD):
    checked = check(element)
    for place, _ in checked.masks_to_check():
        checked.take_mask(place, outcome)
    return checked.row()["annotation_digest"]


def test_the_digest_is_of_what_is_annotated_not_of_how_it_is_written():
    same = [
        frame(*OBJECTS),
        frame(*OBJECTS) | {"timestamp_sec": 9.0, "note": "x"},
        frame(*({**item, "class": item["label"]} for item in OBJECTS)),
        frame(*(dict(reversed(item.items())) for item in OBJECTS)),
    ]
    assert len({digest(element) for element in same}) == 1
    other = [
        frame(*OBJECTS[::-1]),
        frame(OBJECTS[0]),
        frame(OBJECTS[0], OBJECTS[1] | {"label": "Cat"}),
        frame(OBJECTS[0], OBJECTS[1] | {"object_id": 8}),
    ]
    digests = {digest(element) for element in [same[0], *other]}
    digests |= {digest(same[0], HIDDEN), digest(same[0], BAD)}
    assert len(digests) == 7


def test_frames_that_cannot_be_read_are_compared_as_written():
    one, two = frame(*OBJECTS), frame(*OBJECTS, note="x")
    assert digest(one, BAD) != digest(two, BAD)
    assert digest(one, BAD) == digest(one, BAD)


def test_an_image_can_be_found_again_by_its_row(export):
    members = open_members(str(export.path))
    for image in ImageIndex.of(members.values()).in_order:
        row = range_row(
            None, image_name=image.stored_name, image_offset=image.offset, image_bytes=image.size,
            image_compressed_bytes=image.compressed_size, image_method=image.method,
            image_crc32=image.crc32,
        )  # fmt: skip
        again = image_member(row)
        assert (again.offset, again.size, again.crc32) == (image.offset, image.size, image.crc32)
        assert again.stored_name == image.stored_name


def test_the_digest_is_not_the_hash_of_a_process():
    assert digest(frame()) == digest(frame())
    assert len(digest(frame())) == len(hashlib.sha256().hexdigest()) // 2


@pytest.mark.parametrize("check_images", ["structure", "decode"])
def test_what_is_no_image_is_a_problem(check_images):
    assert image_problem(b"not an image", check_images)[0] == "image_unreadable"
    assert image_problem(b"", check_images)[0] == "image_unreadable"
    assert image_problem(b"anything", "header") is None
