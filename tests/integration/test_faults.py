"""Every kind of fault an export can have, many at once: exactly what was injected is found.

One export holds all of them, each at a frame of its own, beside frames that have none. What is
found, as a multiset of (code, frame, object), equals what was put in: precision and recall are 1.0,
and no fault hides or causes another.
"""

import io
import json
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import engine
from engine import Config, Execution
from engine.caps import Caps
from engine.errors import ExportError
from engine.findings import CODES, Severity
from engine.sample_export import write_sample_export
from engine.sample_scene import paint_masks

HERE = Execution(runner="local")
WIDTH, HEIGHT = 96, 64
COCO = {"width": WIDTH, "height": HEIGHT, "dialect": "coco"}
DIALECTS = {"coco": COCO, "real": COCO | {"dialect": "real", "paint": False}}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind of fault.

    Args:
        name: what is wrong.
        finds: (code, object id or None); of several, all are found. A code that begins with "-" has
            no frame index.
        keyword: of the builder, and what it takes for this position.
        record: changes the frame record in place, or gives another.
        image: makes (suffix, bytes) of the frame's image.
        more: makes further frame records.
        only: the one dialect that can have it.
    """

    name: str
    finds: tuple[tuple[str, int | None], ...]
    keyword: tuple[str, Any] | None = None
    record: Any = None
    image: Any = None
    more: Any = None
    only: str | None = None


def fault(name, code, object_id=None, **how):
    finds = ((code, object_id),) if isinstance(code, str) else tuple(code)
    return Fault(name=name, finds=finds, **how)


def on_object(edit):
    def change(record):
        edit(record["objects"][0])

    return change


def setting(**keys):
    return on_object(lambda item: item.update(keys))


def dropping(key):
    return on_object(lambda item: item.pop(key))


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def saved(suffix, kind, change=lambda image: image, **options):
    return lambda data: (suffix, encoded(change(Image.open(io.BytesIO(data))), kind, **options))


def turned(data):
    exif = Image.Exif()
    exif[0x0112] = 6
    return ".jpg", encoded(Image.open(io.BytesIO(data)), "JPEG", exif=exif)


def turned_in_xmp(data):
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<rdf:Description tiff:Orientation="8"/>')
    return ".png", encoded(Image.open(io.BytesIO(data)), "PNG", pnginfo=info)


def wrong_crc(data):
    at = data.index(b"IDAT") + 10
    return ".png", data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def bomb(data):
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return ".png", data[:8] + chunk + data[33:]


def black(suffix, kind, **options):
    return lambda _: (suffix, encoded(Image.new("RGB", (WIDTH, HEIGHT)), kind, **options))


def painted_black(_):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[20:50, 30:60] = True
    pixels = paint_masks(np.zeros((HEIGHT, WIDTH, 3), np.uint8), [mask], ["dog"])
    return ".png", encoded(Image.fromarray(pixels), "PNG")


def animation(suffix, kind):
    def make(data):
        first = Image.open(io.BytesIO(data)).convert("RGB")
        other = Image.new("RGB", first.size, (90, 20, 20))
        return suffix, encoded(first, kind, save_all=True, append_images=[other])

    return make


def deep_grey(data):
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(np.uint16) * 257
    return ".png", encoded(Image.fromarray(pixels), "PNG")


def copy_of(record, **keys):
    copy = json.loads(json.dumps(record))
    copy["objects"][0].update(keys)
    return copy


def other_digit(item):
    """One character of the runs is another: the sum, the area or the box betrays it."""
    runs = item["mask_rle"].split(" ")
    runs[2] = str(int(runs[2]) + (1 if runs[2][-1] != "9" else -1))
    item["mask_rle"] = " ".join(runs)


def moved_runs(item):
    """A run takes a pixel from its neighbour: the sum is right, the area is not."""
    runs = [int(n) for n in item["mask_rle"].split(" ")]
    runs[1], runs[2] = runs[1] + 1, runs[2] - 1
    item["mask_rle"] = " ".join(map(str, runs))


# A frame whose record lost its index: its image is nobody's then, and its index was not exported.
LOST = (("-frame_malformed", None), ("frames_not_exported", None), ("missing_annotations", None))
BOTH_HIDDEN = (("object_hidden", 0), ("object_hidden", 1), ("frame_all_hidden", None))

FAULTS = [
    # masks
    fault("compressed counts cut off", "mask_malformed", 0, only="coco",
          keyword=("mask_truncated", None)),
    fault("decimal runs cut off", "mask_size_mismatch", 0, only="real",
          keyword=("mask_truncated", None)),
    fault("sum one too large", "mask_malformed", 0, only="coco", keyword=("mask_sum_off_by", 1)),
    fault("sum one too small", "mask_malformed", 0, only="coco", keyword=("mask_sum_off_by", -1)),
    fault("sum is another grid", "mask_size_mismatch", 0, only="real",
          keyword=("mask_sum_off_by", 3)),
    fault("one digit is another", "mask_size_mismatch", 0, only="real",
          record=on_object(other_digit)),
    fault("a run took a pixel of the next", "mask_area_mismatch", 0, only="real",
          record=on_object(moved_runs)),
    fault("negative run", "mask_malformed", 0, record=setting(mask_rle="65000 -4 540")),
    fault("letters among the runs", "mask_malformed", 0, record=setting(mask_rle="65500 x 36")),
    fault("no COCO characters", "mask_malformed", 0,
          record=setting(mask_rle={"size": [HEIGHT, WIDTH], "counts": "~~~"})),
    fault("fraction of a pixel", "mask_malformed", 0,
          record=setting(mask_rle={"size": [HEIGHT, WIDTH], "counts": [6000.5, 100, 43.5]})),
    fault("polygons", "mask_malformed", 0, record=setting(mask_rle=[[1, 2, 3, 4, 5, 6]])),
    fault("a number as mask", "mask_malformed", 0, record=setting(mask_rle=7)),
    fault("size of three", "mask_malformed", 0,
          record=setting(mask_rle={"size": [HEIGHT, WIDTH, 3], "counts": "PPYo0"})),
    fault("size of nothing", "mask_malformed", 0,
          record=setting(mask_rle={"size": [0, WIDTH], "counts": "PPYo0"})),
    fault("size swapped", [("mask_size_mismatch", 0), ("mask_size_mismatch", 1)], only="coco",
          keyword=("size_swapped", None)),
    fault("size of gigabytes", "mask_size_mismatch", 0,
          record=setting(mask_rle={"size": [100_000, 100_000], "counts": [10_000_000_000]})),
    fault("empty mask", "mask_empty", 0, only="coco", keyword=("mask_empty", None)),
    fault("hidden object", "object_hidden", 1, only="real", keyword=("hidden", (1,))),
    fault("all objects hidden", BOTH_HIDDEN, only="real", keyword=("hidden", (0, 1))),
    fault("area off by one", "mask_area_mismatch", 0, keyword=("area_off", 1)),
    fault("area is text", "mask_area_mismatch", 0, record=setting(area="large")),
    fault("box off", "bbox_mismatch", 0, keyword=("bbox_off", 5)),
    fault("box of three", "bbox_mismatch", 0, record=setting(bbox=[1, 2, 3])),
    # objects
    fault("no mask", "object_malformed", 0, record=dropping("mask_rle")),
    fault("no label", "object_malformed", 0, record=dropping("label")),
    fault("blank label", "object_malformed", 0, record=setting(label=" \t")),
    fault("label is a number", "object_malformed", 0, record=setting(label=4)),
    fault("object_id is a fraction", "object_malformed", None, record=setting(object_id=1.5)),
    fault("object twice", "object_repeated", 0,
          record=lambda record: record["objects"].append(record["objects"][0])),
    fault("object_id twice", "object_repeated", 0,
          record=lambda record: record["objects"].append(record["objects"][1] | {"object_id": 0})),
    fault("confidence is text", "number_malformed", 0, record=setting(confidence="high")),
    fault("timestamp is text", "number_malformed",
          record=lambda record: record.update(timestamp_sec="x")),
    fault("object is null", "object_malformed", None,
          record=lambda record: record["objects"].__setitem__(0, None)),
    # frames
    fault("empty list of objects", "missing_annotations",
          record=lambda record: record.update(objects=[])),
    fault("objects are null", "missing_annotations",
          record=lambda record: record.update(objects=None)),
    fault("objects are a number", "frame_malformed",
          record=lambda record: record.update(objects=3)),
    fault("objects are a mapping", "frame_malformed",
          record=lambda record: record.update(objects={"0": "dog"})),
    fault("record is null", LOST, record=lambda record: "null"),
    fault("record is a list", LOST, record=lambda record: []),
    fault("frame_index is text", "-frame_malformed",
          record=lambda record: record.update(frame_index=str(record["frame_index"]))),
    fault("frame_index has a point", "-frame_malformed",
          record=lambda record: record.update(frame_index=float(record["frame_index"]))),
    fault("frame_index is a fraction", LOST, record=lambda record: record.update(frame_index=1.5)),
    fault("frame_index below 0", LOST, record=lambda record: record.update(frame_index=-12)),
    fault("frame_index beyond 64 bits", LOST,
          record=lambda record: record.update(frame_index=2**63)),
    fault("record twice", "frame_duplicate", more=lambda record: [copy_of(record)]),
    fault("record thrice", [("frame_duplicate", None)] * 2,
          more=lambda record: [copy_of(record)] * 2),
    fault("record again, otherwise", "frame_conflict",
          more=lambda record: [copy_of(record, label="dog")]),
    fault("frame not exported", "frames_not_exported", keyword=("frames_not_exported", None)),
    # images
    fault("no image", "image_missing", keyword=("frames_without_image", None)),
    fault("zero bytes", "image_unreadable", keyword=("image_zero_bytes", None)),
    fault("wrong CRC in the ZIP", "image_unreadable", keyword=("image_crc_flip", None)),
    fault("wrong CRC in the PNG", "image_unreadable", image=wrong_crc),
    fault("text as image", "image_unreadable", image=lambda _: (".png", b"not found\n" * 40)),
    fault("decompression bomb", "image_unreadable", image=bomb),
    fault("PNG ends early", "image_truncated", keyword=("image_truncated", None)),
    fault("JPEG ends early", "image_truncated",
          image=lambda data: (".jpg", saved(".jpg", "JPEG")(data)[1][:-300])),
    fault("another size", "image_size_mismatch", only="real", keyword=("image_wrong_size", None)),
    fault("Exif turns it", "image_orientation", image=turned),
    fault("XMP turns it", "image_orientation", image=turned_in_xmp),
    fault("black PNG", "image_black", image=black(".png", "PNG")),
    fault("black JPEG", "image_black", image=black(".jpg", "JPEG", quality=95)),
    fault("black WebP", "image_black", image=black(".webp", "WEBP")),
    fault("black with paint", "image_black", image=painted_black),
    fault("16 bits of grey", "image_bit_depth", image=deep_grey),
    fault("CMYK", "image_mode", image=saved(".jpg", "JPEG", lambda image: image.convert("CMYK"))),
    fault("JPEG called PNG", "image_extension_mismatch", image=saved(".png", "JPEG")),
    fault("PNG called JPEG", "image_extension_mismatch", image=lambda data: (".jpeg", data)),
    fault("animated PNG", "image_animated", image=animation(".png", "PNG")),
    fault("animated GIF", "image_animated", image=animation(".gif", "GIF")),
    fault("animated WebP", "image_animated", image=animation(".webp", "WEBP")),
]  # fmt: skip
TAKES_A_VALUE = {"mask_sum_off_by", "hidden", "area_off", "bbox_off"}


def inject(path, dialect, faults):
    """Write an export with one fault at every second frame; give what is to be found."""
    places = {2 * k + 1: each for k, each in enumerate(faults)}
    keywords: dict[str, Any] = {}
    for place, each in places.items():
        if each.keyword:
            name, value = each.keyword
            empty: Any = {} if name in TAKES_A_VALUE else []
            given = keywords.setdefault(name, empty)
            given.update({place: value}) if name in TAKES_A_VALUE else given.append(place)
    truth = write_sample_export(
        path, frames=2 * len(faults) + 1, **DIALECTS[dialect], **keywords, truth=False
    )
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: (info, raw(path, info)) for info in archive.infolist()}
        document = json.loads(archive.read("annotations.json"))
        images = {}
        for place, each in places.items():
            if each.image:
                name = f"images/frame_{place * 6:06d}.png"
                suffix, data = each.image(archive.read(name))
                images[name] = (name.removesuffix(".png") + suffix, data)
    apply(document["annotations"], places)
    with zipfile.ZipFile(path, "w") as archive:
        for name, (info, data) in members.items():
            if name == "annotations.json":
                archive.writestr(name, json.dumps(document), zipfile.ZIP_DEFLATED)
            elif name in images:
                archive.writestr(*images[name])
            else:
                archive.writestr(name, data)
                archive.infolist()[-1].CRC = info.CRC  # a wrong one stays wrong
    assert len(truth.frame_indices) == 2 * len(faults) + 1
    return Counter(
        (code.lstrip("-"), None if code.startswith("-") else place * 6, object_id)
        for place, each in places.items()
        for code, object_id in each.finds
    )


def raw(path, info):
    """A member's bytes, its CRC right or not."""
    with zipfile.ZipFile(path) as archive:
        member = archive.open(info)
        member._expected_crc = None
        return member.read()


def apply(records, places):
    by_index = {record["frame_index"]: record for record in records}
    more = []
    for place, each in places.items():
        record = by_index.get(place * 6)
        if each.more:
            more += each.more(record)
        if each.record:
            other = each.record(record)
            if other is not None and not isinstance(other, dict):
                records[records.index(record)] = None if other == "null" else other
    records += more


def found_in(report):
    lines = (report / "issues.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return Counter((row["code"], row["frame_index"], row["object_id"]) for row in rows), rows


def of_dialect(dialect):
    return [each for each in FAULTS if each.only in (None, dialect)]


def test_there_are_many_kinds_each_with_a_name_of_its_own():
    assert len({each.name for each in FAULTS}) == len(FAULTS) >= 60
    assert {code.lstrip("-") for each in FAULTS for code, _ in each.finds} <= set(CODES)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_all_faults_at_once_and_nothing_else_are_found(tmp_path, dialect):
    expected = inject(tmp_path / "e.zip", dialect, of_dialect(dialect))
    document = engine.validate([str(tmp_path / "e.zip")], str(tmp_path / "report"), Config(), HERE)
    found, _ = found_in(tmp_path / "report")
    assert found == expected
    assert {finding["code"] for finding in document["findings"]} == {code for code, *_ in expected}
    assert document["status"] == "FAILED"


@pytest.mark.parametrize("check_images", ["structure", "decode"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_set_aside_is_what_has_an_error_and_the_numbers_close(
    tmp_path, dialect, check_images
):
    faults = of_dialect(dialect)
    expected = inject(tmp_path / "e.zip", dialect, faults)
    config = Config(validation="standard", check_images=check_images)
    summary = engine.prepare([str(tmp_path / "e.zip")], str(tmp_path / "out"), config, HERE)
    found, rows = found_in(tmp_path / "out/report")
    assert found == expected | {("split_leakage", None, None): 1}  # of the split, not the export
    bad = {r["frame_id"] for r in rows if CODES[r["code"]].severity is Severity.ERROR}
    aside = datasets.load_from_disk(str(tmp_path / "out/quarantine"))
    assert set(aside["id"]) == bad
    for row in aside:
        own = {r["code"] for r in rows if r["frame_id"] == row["id"]}
        assert {reason.partition(":")[0] for reason in row["reasons"]} <= own
        assert row["reasons"]
    splits = datasets.load_from_disk(str(tmp_path / "out/hf"))
    kept = [row for split in splits.values() for row in split.remove_columns("image")]
    assert not {row["id"] for row in kept} & bad
    account = summary["accounting"]
    assert account["kept"] == len(kept) == summary["total_samples"]
    assert account["quarantined"] == len(aside)
    repeated = sum(code == "frame_duplicate" for code, *_ in expected.elements())
    assert account["excluded_duplicates"] == repeated
    assert account["frames_in"] == len(kept) + len(aside) + repeated
    assert account["objects_kept"] == sum(len(row["labels"]) for row in kept)
    hidden = sum(code == "object_hidden" for code, *_ in expected.elements())
    assert account["objects_hidden"] == hidden
    assert account["objects_in"] == sum(account[f"objects_{where}"] for where in (
        "kept", "hidden", "quarantined", "excluded_duplicates"))  # fmt: skip
    assert account["objects_in"] == declared_in(tmp_path / "e.zip")


def declared_in(path):
    """Objects as `json` counts them, of records that are frame records."""
    with zipfile.ZipFile(path) as archive:
        records = json.loads(archive.read("annotations.json"))["annotations"]
    return sum(
        len(record["objects"])
        for record in records
        if isinstance(record, dict)
        and isinstance(record["frame_index"], int)
        and 0 <= record["frame_index"] < 2**63
        and isinstance(record["objects"], list)
    )


# What makes the export unreadable as a whole: one line, which says where and what.


def zip_of(path, *names, edit=None, **attributes):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("annotations.json", '{"annotations": []}')
        for name in names:
            info = zipfile.ZipInfo("placeholder")
            info.filename = info.orig_filename = name
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.writestr(info, b"content " * 64)
    if edit:
        path.write_bytes(edit(path.read_bytes()))


def in_directory(offset, value):
    """Overwrite two bytes of the last entry of the central directory."""

    def edit(data):
        at = data.rindex(b"PK\1\2") + offset
        return data[:at] + value + data[at + len(value) :]

    return edit


REFUSED = {
    "encrypted": ({"names": ["a.png"], "edit": in_directory(8, b"\1\0")}, "is encrypted"),
    "AES": ({"names": ["a.png"], "edit": in_directory(10, b"\x63\0")}, r"method 99 \(AES\)"),
    "bzip2": ({"names": ["a.png"], "compress_type": zipfile.ZIP_BZIP2}, r"method 12 \(bzip2\)"),
    "lzma": ({"names": ["a.png"], "compress_type": zipfile.ZIP_LZMA}, r"method 14 \(lzma\)"),
    "parent": ({"names": ["../a.png"]}, "leads out of the export"),
    "parent inside": ({"names": ["images/../../a.png"]}, "leads out of the export"),
    "absolute": ({"names": ["/etc/a.png"]}, "has an absolute name"),
    "drive": ({"names": ["C:/a.png"]}, "has an absolute name"),
    "drive inside": ({"names": ["images/C:a.png"]}, "has an absolute name"),
    "backslash": ({"names": ["images\\a.png"]}, "has a backslash in its name"),
    "NUL": ({"names": ["imagesXa.png"], "edit": lambda d: d.replace(b"imagesXa", b"images\0a")},
            "has a NUL in its name"),
    "line break": ({"names": ["images/a\nb.png"]}, "has a control character in its name"),
    "twice": ({"names": ["a.png", "b.png"], "edit": lambda d: d.replace(b"b.png", b"a.png")},
              "is there twice"),
    "case": ({"names": ["images/a.png", "images/A.PNG"]}, "differs from 'images/a.png' only in"),
    "JSON in another case": ({"names": ["ANNOTATIONS.json"]}, "differs from 'annotations.json'"),
    "Unicode form": ({"names": ["\u00e9.png", "e\u0301.png"]}, "only in case or Unicode form"),
    "symbolic link": ({"names": ["a.png"], "external_attr": (stat.S_IFLNK | 0o777) << 16},
                      "is a symbolic link"),
    "ratio": ({"names": ["a.png"], "compress_type": 8, "edit": in_directory(24, b"\0\0\0\7")},
              "which deflate cannot do"),
    "cut off": ({"names": ["a.png"], "edit": lambda data: data[:-40]}, "cut off or not a ZIP"),
    "two exports": ({"names": ["b/annotations.json"]}, "holds 2 exports"),
}  # fmt: skip


def test_case_in_what_is_no_data_is_nobody_s_business(tmp_path):
    zip_of(tmp_path / "e.zip", "README", "readme", "images/a.png")
    assert engine.inspect([str(tmp_path / "e.zip")])["exports"]


def test_a_folder_is_held_to_the_same_names(tmp_path):
    for name in ("annotations.json", "images/a.png", "images/A.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    if len(list((tmp_path / "images").iterdir())) == 1:
        pytest.skip("this file system ignores case")
    with pytest.raises(ExportError, match=r"differs from 'images/A\.png' only in case"):
        engine.inspect([str(tmp_path)])


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


@pytest.mark.parametrize("name", REFUSED)
def test_an_export_that_must_not_be_read_is_one_line(tmp_path, name):
    how, message = REFUSED[name]
    path = tmp_path / "e.zip"
    zip_of(path, *how["names"], **{k: v for k, v in how.items() if k != "names"})
    for run in (engine.inspect, engine.validate):
        with pytest.raises(ExportError, match=message) as error:
            run([str(path)])
        assert one_line(error).startswith(str(path))


DOCUMENTS = {
    "deep": ({}, b'{"annotations": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
             "more than 64 brackets are open at byte"),
    "deep metadata": ({}, None, "is not JSON at line"),
    "head": ({"max_head_bytes": 50}, b'{"a": "' + b"x" * 60 + b'", "annotations": []}',
             "what stands outside of .* is too large: expected at most 50 bytes"),
    "record": ({"max_element_bytes": 50}, b'{"annotations": [{"a": "' + b"x" * 60 + b'"}]}',
               "element 0 of `annotations` is too large: expected at most 50 bytes"),
    "depth": ({"max_depth": 3}, b'{"annotations": [{"a": {"b": {}}}]}',
              "more than 3 brackets are open"),
    "file": ({"max_json_bytes": 10}, b'{"annotations": []}', "is of 19 bytes, more than 10"),
    "members": ({"max_members": 1}, b'{"annotations": []}', "too many files: got 2"),
    "cut off": ({}, b'{"annotations": [{"frame_index": 0', "ends early, at byte 34"),
    "UTF-16": ({}, '{"annotations": []}'.encode("utf-16"), "is UTF-16 text"),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_annotations_file_that_must_not_be_read_is_one_line(tmp_path, name):
    caps, document, message = DOCUMENTS[name]
    with zipfile.ZipFile(tmp_path / "e.zip", "w") as archive:
        archive.writestr("annotations.json", document or b'{"annotations": []}')
        archive.writestr("metadata.json", b"{}" if document else b"[" * 100_000)
    with pytest.raises(ExportError, match=message) as error:
        engine.validate([str(tmp_path / "e.zip")], None, Config(caps=Caps(**caps)), HERE)
    one_line(error)


def test_the_cap_on_the_grid_is_the_configuration_s(tmp_path):
    path = write_sample_export(tmp_path / "e.zip", frames=2, **COCO).path
    for pixels, codes in ((WIDTH * HEIGHT, []), (WIDTH * HEIGHT - 1, ["mask_size_mismatch"])):
        config = Config(caps=Caps(max_grid_pixels=pixels))
        document = engine.validate([str(path)], None, config, HERE)
        assert [finding["code"] for finding in document["findings"]] == codes


def test_a_name_of_the_export_never_becomes_a_path(tmp_path):
    """The strangest base names that are let in stay text in a column."""
    names = ["~", "$(id)", "%2e%2e%2f", "con", "a'b\"c", "-rf", "\u202egnp", "hf:;x", "x" * 180]
    path = write_sample_export(tmp_path / "e.zip", frames=len(names), **COCO).path
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            number = re.search(r"_(\d{6})\.png", name)
            strange = f"images/{names[int(number[1]) // 6]}_{number[1]}.png" if number else name
            archive.writestr(strange, data)
    before = set(tmp_path.iterdir())
    engine.prepare([str(path)], str(tmp_path / "out"), Config(), HERE)
    assert set(tmp_path.iterdir()) - before == {tmp_path / "out"}
    written = [p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*")]
    assert all(re.fullmatch(r"[\w./-]+", name) for name in written)
    splits = datasets.load_from_disk(str(tmp_path / "out/hf"))
    plain = datasets.Image(decode=False)
    paths = [p["path"] for s in splits.values() for p in s.cast_column("image", plain)["image"]]
    assert sorted(p.rpartition("_")[0] for p in paths) == sorted(names)
