"""Each finding code comes from an export with exactly that defect, and from no clean one."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

import engine
from engine import Config, Execution
from engine.findings import CODES, Severity, sentence
from engine.sample_export import write_sample_export

HERE = Execution(runner="local")
COCO = {"frames": 6, "width": 96, "height": 64, "dialect": "coco"}
# As the known exporter writes it, but without its paint, which is a finding of its own.
REAL = COCO | {"dialect": "real", "paint": False}
MOVING = COCO | {"width": 640, "height": 360, "frames": 24}


def rewrite(path, edit, add, new=()):
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    document = json.loads(members["annotations.json"])
    edit(document["annotations"])
    members["annotations.json"] = json.dumps(document).encode()
    members |= {copy: members[old] for copy, old in add.items()} | dict(new)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def validate(path, keywords, edit=None, add=None, **config):
    path = path / "export.zip"
    write_sample_export(path, **keywords)
    if edit or add:
        rewrite(path, edit or (lambda frames: None), add or {})
    return engine.validate([str(path)], None, Config(**config), HERE)


def set_label(text):
    return lambda frames: frames[2]["objects"][0].update(label=text)


def set_mask(value):
    return lambda frames: frames[2]["objects"][0].update(mask_rle=value)


def set_objects(value):
    return lambda frames: frames[2].update(objects=value)


def set_index(value):
    return lambda frames: frames[2].update(frame_index=value)


def drop(key):
    return lambda frames: frames[2]["objects"][0].pop(key)


def repeat(label=None):
    def edit(frames):
        copy = json.loads(json.dumps(frames[2]))
        copy["objects"][0]["label"] = label or copy["objects"][0]["label"]
        frames.append(copy)

    return edit


def set_object(**keys):
    return lambda frames: frames[2]["objects"][0].update(keys)


def repeat_object(**keys):
    return lambda frames: frames[2]["objects"].append(frames[2]["objects"][0] | keys)


def repeat_unnamed(**keys):
    def edit(frames):
        frames[2]["objects"].append(frames[2]["objects"][0] | keys)
        for item in frames[2]["objects"]:
            del item["object_id"]

    return edit


CLEAN = {
    "coco": COCO,
    "coco list": COCO | {"notation": "list"},
    "coco size and list": COCO | {"notation": "size+list"},
    "coco string": COCO | {"notation": "compressed"},
    "real": REAL,
    "real on the image's grid": REAL | {"grid": 0},
    "jpg": COCO | {"image_format": "jpg"},
    "other keys": COCO
    | {"mask_key": "segmentation", "label_key": "category", "annotations_key": "frames"},
    "annotations first": COCO | {"annotations_first": True, "indent": None},
    "no metadata": COCO | {"metadata": False},
    "named images": COCO | {"image_key": "file_name", "image_pattern": "shot_%d"},
    "stored, in a folder, from a Mac": COCO
    | {"compression": "store", "enclosing_folder": "export", "macosx": True},
}

# code -> (keywords, edit of the records, members to add, how many units, of how many)
DEFECTS = [
    ("missing_annotations", COCO | {"frames_without_objects": [2]}, None, None, 1, 6),
    ("missing_annotations", REAL | {"frames_without_objects": [2]}, None, None, 1, 6),
    ("missing_annotations", COCO | {"orphan_images": 2}, None, None, 2, 8),
    ("mask_malformed", COCO | {"mask_truncated": [2]}, None, None, 1, 12),
    ("mask_malformed", COCO | {"mask_sum_off_by": {2: -1}}, None, None, 1, 12),
    ("mask_malformed", COCO, set_mask([[1, 2, 3, 4, 5, 6]]), None, 1, 12),
    ("mask_malformed", COCO, set_mask({"size": [64, 96], "counts": "~~~"}), None, 1, 12),
    ("mask_malformed", REAL, set_mask("65500 x 36"), None, 1, 12),
    ("mask_size_mismatch", COCO | {"size_swapped": [2]}, None, None, 2, 12),
    ("mask_size_mismatch", REAL | {"mask_sum_off_by": {2: 1}}, None, None, 1, 12),
    ("mask_empty", COCO | {"mask_empty": [2]}, None, None, 1, 12),
    ("mask_area_mismatch", COCO | {"area_off": {2: 1}}, None, None, 1, 12),
    ("mask_area_mismatch", REAL | {"area_off": {2: -1}}, None, None, 1, 12),
    ("bbox_mismatch", COCO | {"bbox_off": {2: 2}}, None, None, 1, 12),
    ("bbox_mismatch", REAL | {"bbox_off": {2: -2}}, None, None, 1, 12),
    ("object_malformed", COCO, set_label(""), None, 1, 12),
    ("object_malformed", COCO, drop("mask_rle"), None, 1, 12),
    ("frame_malformed", COCO, set_objects(3), None, 1, 6),
    ("frame_malformed", COCO, set_objects({"0": "person"}), None, 1, 6),
    ("object_repeated", COCO, repeat_object(), None, 1, 13),
    ("object_repeated", COCO, repeat_object(label="dog"), None, 1, 13),
    ("object_repeated", COCO, repeat_object(object_id="0"), None, 1, 13),
    ("object_repeated", COCO, repeat_unnamed(), None, 1, 13),
    ("number_malformed", COCO, set_object(confidence="high"), None, 1, 6),
    ("number_malformed", COCO, lambda frames: frames[2].update(timestamp_sec="x"), None, 1, 6),
    ("export_empty", COCO | {"frames": 0}, None, None, 1, 1),
    ("frame_conflict", COCO, repeat("cat"), None, 1, 7),
    ("frame_duplicate", COCO, repeat(), None, 1, 6),
    ("frames_not_exported", COCO | {"frames_not_exported": [2, 3]}, None, None, 2, 6),
    ("object_hidden", REAL | {"hidden": {2: (1,)}}, None, None, 1, 12),
    ("image_missing", COCO | {"frames_without_image": [2]}, None, None, 1, 6),
    ("image_ambiguous", COCO, None, {"images/f_12.png": "images/frame_000012.png"}, 1, 6),
    ("image_unreadable", COCO | {"image_zero_bytes": [2]}, None, None, 1, 6),
    ("image_unreadable", COCO | {"image_crc_flip": [2]}, None, None, 1, 6),
    ("image_truncated", COCO | {"image_truncated": [2]}, None, None, 1, 6),
    ("image_truncated", COCO | {"image_truncated": [2], "image_format": "jpg"}, None, None, 1, 6),
    ("image_size_mismatch", REAL | {"image_wrong_size": [2]}, None, None, 1, 6),
    ("images_paired_by_position", COCO | {"image_numbers": range(901, 907)}, None, None, 1, 1),
    ("overlay_burned_in", REAL | {"paint": True}, None, None, 1, 1),
    ("label_placeholder", COCO | {"labels": ("object_0", "dog", "object_12")}, None, None, 2, 3),
    ("label_variants", COCO | {"labels": ("traffic light", "Traffic  Light")}, None, None, 1, 2),
    ("class_imbalance", COCO | {"class_counts": {"person": 9, "dog": 1}, "frames": 9},
     None, None, 1, 2),
    ("image_black", COCO | {"black_frames": [2]}, None, None, 1, 6),
    ("image_black", REAL | {"black_frames": [2], "image_format": "jpg"}, None, None, 1, 6),
    ("area_jump", COCO | {"area_jump": {2: 3.0}}, None, None, 1, 12),
    ("area_jump", REAL | {"area_jump": {2: 0.3}}, None, None, 1, 12),
    ("centroid_jump", COCO | {"centroid_jump": {2: 0.5}}, None, None, 1, 12),
    ("object_flicker", COCO | {"flicker": [2]}, None, None, 1, 11),
    ("label_change", COCO | {"label_change": {2: "cat"}}, None, None, 1, 12),
    ("mask_frozen", MOVING | {"frozen_masks": [2, 3, 4, 5]}, None, None, 1, 48),
    ("timestamp_mismatch", COCO | {"timestamp_off": {2: 0.1, 4: -0.1}}, None, None, 2, 6),
    ("image_repeated", COCO | {"repeated_images": [2, 3]}, None, None, 2, 6),
    ("image_repeated", COCO | {"duplicate_frames": [2, 3]}, None, None, 2, 6),
    ("image_repeated", COCO | {"repeated_images": [2], "as_folder": True}, None, None, 1, 6),
]  # fmt: skip

# A defect that cannot be had without another.
NO_IMAGE = COCO | {"frames_without_image": [2]}
PAIRS = [
    ("frame_all_hidden", REAL | {"hidden": {2: (0, 1)}}, None, {"object_hidden"}),
    (
        "mask_order_contradicted",
        REAL | {"paint": True, "grid": 0, "notation": "size+list"},
        None,
        {"overlay_burned_in"},
    ),
    ("frame_malformed", COCO, set_index("12"), set()),
    ("frame_malformed", COCO, set_index(12.0), set()),
    # Which frame a record without a number means is not known, so its image has none.
    ("frame_malformed", COCO, set_index(12.5), {"frames_not_exported", "missing_annotations"}),
    (
        "mask_order_unproven",
        COCO | {"notation": "text", "black_frames": range(6)},
        None,
        {"image_black", "image_repeated"},
    ),
    ("frame_malformed", NO_IMAGE, set_index(-12), {"frames_not_exported"}),
    ("frame_malformed", NO_IMAGE, set_index(2**63), {"frames_not_exported"}),
    ("frame_malformed", COCO, set_index(None), {"frames_not_exported", "missing_annotations"}),
]


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_export_has_no_finding(tmp_path, name):
    document = validate(tmp_path, CLEAN[name])
    assert document["findings"] == []
    assert document["status"] == "PASSED"
    assert document["class_counts"] == {"dog": 6, "person": 6}


@pytest.mark.parametrize("case", DEFECTS, ids=lambda case: case[0])
def test_a_defect_has_its_finding_and_no_other(tmp_path, case):
    code, keywords, edit, add, count, total = case
    document = validate(tmp_path, keywords, edit, add)
    assert {finding["code"] for finding in document["findings"]} == {code}
    (finding,) = document["findings"]
    known = CODES[code]
    assert finding["severity"] == known.severity
    assert finding["count"] == count
    assert finding["fraction"] == pytest.approx(count / total)
    assert finding["recommendation"].startswith(known.recommendation)
    if code != "class_imbalance":
        assert finding["message"] == sentence(code, count, total)
        assert finding["message"].startswith(f"{count} ")
        assert len(finding["examples"]) == min(len(finding["examples"]) or 1, 5)
    status = {"error": "FAILED", "warning": "PASSED_WITH_WARNINGS"}[known.severity]
    assert document["status"] == status
    if known.unit in ("frame", "object"):
        video_id = document["exports"][0]["video_id"]
        assert f"{video_id}/000012" in finding["frames"] or code == "missing_annotations"
        assert all(frame.startswith(f"{video_id}/") for frame in finding["frames"])


@pytest.mark.parametrize(("code", "keywords", "edit", "beside"), PAIRS)
def test_a_defect_that_comes_with_another(tmp_path, code, keywords, edit, beside):
    document = validate(tmp_path, keywords, edit)
    assert {finding["code"] for finding in document["findings"]} == {code} | beside
    failed = any(CODES[each].severity is Severity.ERROR for each in {code} | beside)
    assert document["status"] == ("FAILED" if failed else "PASSED_WITH_WARNINGS")
    count = next(f["count"] for f in document["findings"] if f["code"] == code)
    assert count == 1


def test_a_frame_whose_record_cannot_be_read_is_told_once(tmp_path):
    """Where the record says whose it is, or names its image."""

    def as_text(frames):
        for frame in frames:
            frame["frame_index"] = str(frame["frame_index"])

    document = validate(tmp_path, COCO, as_text)
    (finding,) = document["findings"]
    assert finding["message"] == "6 frame records (100.0%) are not readable"
    assert finding["examples"][1].endswith(
        "/record-000001: annotations[1]: frame_index is '6', expected a whole number from 0 to "
        "9223372036854775807"
    )
    named = validate(tmp_path, COCO | {"image_key": "file_name"}, set_index(None))
    found = {finding["code"]: finding["count"] for finding in named["findings"]}
    assert found == {"frame_malformed": 1, "frames_not_exported": 1}


@pytest.mark.parametrize(
    ("edit", "what", "named"),
    [
        (repeat_object(),
         "objects[2] has the object_id of objects[0], the same label, the same mask", True),
        (repeat_object(label="cat"),
         "objects[2] has the object_id of objects[0], another label, the same mask", True),
        (lambda frames: frames[2]["objects"][1].update(object_id=0),
         "objects[1] has the object_id of objects[0], another label, another mask", True),
        (repeat_unnamed(), "objects[2]: its label and mask are those of objects[0]", False),
    ],
)  # fmt: skip
def test_an_object_that_is_twice_in_a_frame_is_named_with_what_is_equal(
    tmp_path, edit, what, named
):
    found = validate(tmp_path, COCO, edit)["findings"]
    (finding,) = [each for each in found if each["code"] == "object_repeated"]
    (video_id,) = finding["videos"]
    object_id = ", object 0" if named else ""
    assert finding["examples"] == [f"{video_id}/000012{object_id}: {what}"]


def test_numbers_beyond_64_bits_are_shown_as_they_are_written(tmp_path):
    def large(frames):
        frames[1]["frame_index"] = 10**20
        frames[2]["objects"][0]["object_id"] = 2**70

    found = {f["code"]: f for f in validate(tmp_path, COCO, large)["findings"]}
    (of_frame,) = found["frame_malformed"]["examples"]
    assert "frame_index is 100000000000000000000, expected a whole number from 0 to " in of_frame
    (of_object,) = found["object_malformed"]["examples"]
    assert "object_id is 1180591620717411303424, expected a whole number from -" in of_object


def test_keys_of_the_label_map_that_name_nothing(tmp_path):
    """The map names by label and by video; the findings see the names only."""
    given = {"person": "rider", "cow": "x", "cat": {"name": "y"}, "v/dog": "bus", "w/dog": "car"}
    document = validate(tmp_path, COCO, label_map=given, video_ids={"export.zip": "v"})
    (finding,) = document["findings"]
    assert (finding["code"], finding["count"], finding["fraction"]) == ("label_map_unused", 3, 0.6)
    assert finding["message"] == "3 keys (60.0%) of the label map match no label"
    assert finding["examples"] == [f"{key!r} names no object" for key in ("cat", "cow", "w/dog")]
    assert document["class_counts"] == {"bus": 6, "rider": 6}
    assert document["status"] == "PASSED_WITH_WARNINGS"


def test_labels_declared_exhaustive_that_no_object_has(tmp_path):
    """As they read after renaming; a hidden object's label is one, a placeholder is none."""
    hidden = REAL | {
        "labels": ("person", "dog", "object_2"),
        "hidden": dict.fromkeys(range(6), (1,)),
    }
    document = validate(
        tmp_path, hidden, label_map={"person": "rider"},
        exhaustive=("person", "rider", "dog", "Rider", "object_2"),
    )  # fmt: skip
    found = {finding["code"]: finding for finding in document["findings"]}
    finding = found["exhaustive_unused"]
    assert finding["message"] == "3 labels (60.0%) declared exhaustive are those of no object"
    assert finding["examples"] == [
        f"{label!r} is the label of no object" for label in ("Rider", "object_2", "person")
    ]
    known = validate(tmp_path, COCO, exhaustive=("dog", "person"))
    assert known["findings"] == []


def test_a_label_map_names_placeholders_and_joins_variants(tmp_path):
    labels = COCO | {"labels": ("object_0", "Dog", "dog")}
    found = validate(tmp_path, labels, label_map={"object_0": "kettle", "Dog": "dog"})
    assert found["findings"] == []
    assert found["class_counts"] == {"dog": 12, "kettle": 6}


def test_a_hidden_objects_label_counts_as_named(tmp_path):
    hidden = REAL | {"hidden": dict.fromkeys(range(6), (1,))}
    found = validate(tmp_path, hidden, label_map={"dog": "cat"})
    assert {finding["code"] for finding in found["findings"]} == {"object_hidden"}


def test_an_empty_export_is_one_of_all_exports(tmp_path):
    empty = write_sample_export(tmp_path / "empty.zip", **COCO | {"frames": 0})
    good = write_sample_export(tmp_path / "good.zip", **COCO)
    document = engine.validate([str(empty.path), str(good.path)], None, Config(), HERE)
    (finding,) = document["findings"]
    assert (finding["code"], finding["count"], finding["fraction"]) == ("export_empty", 1, 0.5)


@pytest.mark.parametrize("orientation", [1, 6, 3])
def test_an_image_that_asks_to_be_turned(tmp_path, orientation):
    path, name = tmp_path / "export.zip", "images/frame_000012.jpg"
    write_sample_export(path, **COCO | {"image_format": "jpg"})
    with zipfile.ZipFile(path) as archive, Image.open(archive.open(name)) as image:
        exif, turned = Image.Exif(), io.BytesIO()
        exif[0x0112] = orientation
        image.save(turned, "JPEG", exif=exif)
    rewrite(path, lambda frames: None, {}, {name: turned.getvalue()})
    document = engine.validate([str(path)], None, Config(), HERE)
    expected = [] if orientation == 1 else ["image_orientation"]
    assert [finding["code"] for finding in document["findings"]] == expected


def recoded(mode, kind, **options):
    def change(image):
        if mode == "I;16":
            return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
        return image.convert(mode)

    def encode(image):
        stream = io.BytesIO()
        change(image).save(stream, kind, **options)
        return stream.getvalue()

    return encode


OTHER = Image.new("RGB", (96, 64), (40, 80, 20))
# code -> what is made of the image of a frame, and under which name
IMAGES = [
    ("image_bit_depth", ".png", recoded("I;16", "PNG")),
    ("image_bit_depth", ".tif", recoded("I", "TIFF")),
    ("image_bit_depth", ".tif", recoded("F", "TIFF")),
    ("image_mode", ".jpg", recoded("CMYK", "JPEG")),
    ("image_mode", ".tif", recoded("CMYK", "TIFF")),
    ("image_animated", ".png", recoded("RGB", "PNG", save_all=True, append_images=[OTHER])),
    ("image_animated", ".gif", recoded("RGB", "GIF", save_all=True, append_images=[OTHER])),
    ("image_animated", ".tiff", recoded("RGB", "TIFF", save_all=True, append_images=[OTHER])),
    ("image_extension_mismatch", ".png", recoded("RGB", "JPEG")),
    ("image_extension_mismatch", ".jpg", recoded("RGB", "WEBP")),
    (None, ".png", recoded("RGBA", "PNG")),
    (None, ".png", recoded("L", "PNG")),
    (None, ".jpeg", recoded("L", "JPEG")),
    (None, ".bmp", recoded("RGB", "BMP")),
    (None, ".webp", recoded("RGB", "WEBP")),
    (None, ".tif", recoded("RGB", "TIFF")),
    (None, ".gif", recoded("P", "GIF")),
]


@pytest.mark.parametrize("check_images", ["header", "structure", "decode"])
@pytest.mark.parametrize(("code", "suffix", "make"), IMAGES)
def test_an_image_that_readers_do_not_see_as_it_is(tmp_path, code, suffix, make, check_images):
    path, name = tmp_path / "export.zip", "images/frame_000012.png"
    write_sample_export(path, **COCO)
    with zipfile.ZipFile(path) as archive, Image.open(archive.open(name)) as image:
        data = make(image)
        members = {i.filename: archive.read(i) for i in archive.infolist() if i.filename != name}
    with zipfile.ZipFile(path, "w") as archive:
        for each, content in (members | {name.removesuffix(".png") + suffix: data}).items():
            archive.writestr(each, content)
    document = engine.validate([str(path)], None, Config(check_images=check_images), HERE)
    assert [finding["code"] for finding in document["findings"]] == ([code] if code else [])


def test_pillow_clips_what_has_more_than_8_bits():
    """Why it is an error: of a middle grey, the reader's own conversion makes white."""
    for pixels in (np.full((2, 2), 100 * 257, np.uint16), np.full((2, 2), 25_700, np.int32)):
        assert np.asarray(Image.fromarray(pixels).convert("RGB")).min() == 255


def test_every_code_is_produced_by_a_test():
    # `conflict_resolved` is in test_add.py: only a dataset that is there can be contradicted.
    # `quarantined` and `split_leakage` are in test_preparation.py and test_division.py: only a
    # dataset has them. `frames_differ` is in test_used_frames.py; test_sav.py, test_label_map.py
    # and test_crashes.py have the last ones.
    elsewhere = {
        "conflict_resolved", "frames_differ", "quarantined", "split_leakage", "image_orientation",
        "images_between_frames", "label_map_unused", "exhaustive_unused", "export_crashed",
        "export_left_out", "frame_crashed",
    }  # fmt: skip
    produced = {case[0] for case in (*DEFECTS, *PAIRS, *IMAGES) if case[0]}
    assert produced | elsewhere == set(CODES)


@pytest.mark.parametrize(
    ("keywords", "edit"),
    [
        (COCO | {"bbox_off": {2: 1}}, None),
        (COCO | {"bbox_off": {2: -1}}, None),
        (COCO | {"omit_keys": ["bbox", "area", "confidence"]}, None),
        (COCO, lambda frames: frames[2]["objects"][0].update(bbox=None, area=None)),
        (REAL, lambda frames: frames[2]["objects"][0].update(object_id="0")),
        (COCO | {"class_counts": {"person": 8, "dog": 1}}, None),
        (COCO, lambda frames: frames[2]["objects"][0].pop("object_id")),
        (COCO, repeat_unnamed(label="cat")),
        (COCO, lambda frames: [item.pop("object_id") for item in frames[2]["objects"]]),
        (COCO, set_object(confidence=None)),
        (COCO, lambda frames: frames[2].update(timestamp_sec=None)),
    ],
)
def test_what_is_no_defect(tmp_path, keywords, edit):
    assert validate(tmp_path, keywords, edit)["findings"] == []


def test_an_empty_mask_without_the_exporters_signature_is_no_hidden_object(tmp_path):
    document = validate(tmp_path, REAL | {"hidden": {2: (1,)}, "exporter": "Somebody's Tool"})
    errors = {f["code"] for f in document["findings"] if f["severity"] == "error"}
    assert errors == {"mask_empty"}


def test_a_clean_export_is_not_painted_however_it_is_lit(tmp_path):
    """A label's colours in the scene are no paint, and paint is found in a JPEG too."""
    painted = validate(tmp_path, REAL | {"paint": True, "image_format": "jpg", "width": 320,
                                         "height": 180})  # fmt: skip
    assert {finding["code"] for finding in painted["findings"]} == {"overlay_burned_in"}


def test_a_message_says_where_what_got_and_expected(tmp_path):
    (finding,) = validate(tmp_path, REAL | {"mask_sum_off_by": {2: 1}})["findings"]
    video_id = finding["videos"][0]
    assert finding["examples"] == [
        f"{video_id}/000012, object 0: runs sum to 65537, expected 65536 (256*256)"
    ]


@pytest.mark.parametrize("code", CODES)
def test_sentences_agree_in_number_and_have_no_gaps(code):
    one = sentence(code, 1, 8, detail="a/b = 9.0:1")
    many = sentence(code, 3, 8, detail="a/b = 9.0:1")
    for text in (one, many):
        assert not set("{}") & set(text)
        assert text == " ".join(text.split())
    if CODES[code].unit != "class":
        assert one.startswith("1 ")
        assert "12.5%" in one
        assert many.startswith("3 ")
        assert "37.5%" in many
        assert one[2:] != many[2:]
    assert CODES[code].recommendation.endswith(".")


def test_the_specifications_sentences():
    assert sentence("missing_annotations", 15, 1000) == "15 frames (1.5%) have no annotations"
    assert (
        sentence("class_imbalance", 1, 3, detail="person/dog = 9.3:1")
        == "Severe class imbalance detected: person/dog = 9.3:1"
    )


def test_severities_are_those_of_the_contract():
    errors = {code for code, known in CODES.items() if known.severity is Severity.ERROR}
    assert errors >= {
        "missing_annotations", "mask_malformed", "mask_size_mismatch", "mask_empty",
        "mask_area_mismatch", "image_missing", "image_unreadable", "image_truncated",
        "image_size_mismatch",
    }  # fmt: skip
    assert not errors & {
        "bbox_mismatch", "class_imbalance", "frame_all_hidden", "label_placeholder",
        "label_variants", "mask_order_unproven", "object_hidden", "overlay_burned_in",
        "quarantined",
    }  # fmt: skip
