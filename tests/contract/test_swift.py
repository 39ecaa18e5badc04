"""ms-swift reads OUT/swift, OUT/llava and OUT/parquet: its own preprocessing and templates."""

import json
import re

import pytest

from tests.contract.venvs import ConsumerError

pytestmark = pytest.mark.long

PICTURE = "<|image|>"
BOX = re.compile(r"\[(\d+), (\d+), (\d+), (\d+)\]")
WRITTEN = re.compile(r"\[\((\d+),(\d+)\),\((\d+),(\d+)\)\]")
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def swift(consumer):
    return consumer("swift")


def lines(path):
    return [json.loads(line) for line in path.open()]


def checked(rows, found, texts):
    """Every row is there, its text and picture are what they should be, and no tag is left."""
    for row, seen, text in zip(rows, found, texts, strict=True):
        assert seen["text"] == text
        assert seen["sizes"] == [[row["width"], row["height"]]]
        assert seen["roles"] == ["user", "assistant"] * (len(seen["roles"]) // 2)
        assert seen["boxes_used"] == seen["boxes"]


@pytest.mark.parametrize("split", SPLITS)
def test_boxes_are_written_as_its_models_want_them(prepared, swift, split):
    """From the pixels in `objects`: whole numbers of 1000, as it rounds them."""
    rows = lines(prepared / "llava" / f"{split}.jsonl")
    given = lines(prepared / "swift" / f"{split}.jsonl")
    found = swift.call("ms_swift", "rendered", file=str(prepared / "swift" / f"{split}.jsonl"))
    texts = ["".join(message["content"] for message in line["messages"]) for line in given]
    texts = [text.replace("<image>", PICTURE) for text in texts]
    plain = [seen | {"text": WRITTEN.sub("<bbox>", seen["text"])} for seen in found]
    checked(rows, plain, texts)
    for row, seen in zip(rows, found, strict=True):
        ours = BOX.findall("".join(turn["value"] for turn in row["conversations"]))
        theirs = WRITTEN.findall(seen["text"])
        assert len(ours) == len(theirs) == seen["boxes"]
        # It rounds halves to even numbers, we round them up.
        for one, two in zip(ours, theirs, strict=True):
            assert all(abs(int(a) - int(b)) <= 1 for a, b in zip(one, two, strict=True))
    assert sum(seen["boxes"] for seen in found) > 2 * len(found)


def test_lines_for_llava_are_read_too(prepared, swift):
    rows = lines(prepared / "llava" / "train.jsonl")
    texts = ["".join(turn["value"] for turn in row["conversations"]) for row in rows]
    found = swift.call("ms_swift", "rendered", file=str(prepared / "llava" / "train.jsonl"))
    checked(rows, found, [text.replace("<image>", PICTURE) for text in texts])


def test_parquet_is_read_too(prepared, swift):
    (file,) = (prepared / "parquet").glob("test-*.parquet")
    rows = {row["id"]: row for row in lines(prepared / "llava" / "test.jsonl")}
    found = swift.call("ms_swift", "rendered", file=str(file), kind="parquet")
    expected = {
        "".join(turn["value"] for turn in row["conversations"]).replace("<image>\n", PICTURE): [
            [row["width"], row["height"]]
        ]
        for row in rows.values()
    }
    assert {seen["text"]: seen["sizes"] for seen in found} == expected


def spoiled(prepared, place, change):
    """Copy the test split, with its pictures by full path, and change its first row."""
    rows = lines(prepared / "swift" / "test.jsonl")
    for row in rows:
        row["images"] = [str(prepared / "swift" / image) for image in row["images"]]
    change(rows[0])
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(place)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [(lambda row: row["messages"][0].update(role="narrator"), "narrator"),
     (lambda row: row["messages"][1].update(content=None), "AssertionError"),
     (lambda row: row["objects"]["bbox"][0].pop(), "AssertionError"),
     (lambda row: row.update(images=["none.png"]), r"none\.png")],
    ids=["role", "null", "half a box", "no picture"],
)  # fmt: skip
def test_what_it_refuses(prepared, swift, tmp_path, change, complaint):
    path = spoiled(prepared, tmp_path / "rows.jsonl", change)
    with pytest.raises(ConsumerError, match=complaint):
        swift.call("ms_swift", "rendered", file=path)


def test_a_missing_box_shows(prepared, swift, tmp_path):
    path = spoiled(prepared, tmp_path / "rows.jsonl", lambda row: row["objects"]["bbox"].pop())
    first = swift.call("ms_swift", "rendered", file=path)[0]
    assert first["text"].count("<bbox>") == 1


def test_an_odd_row_is_dropped_unless_it_is_strict(prepared, swift, tmp_path):
    path = spoiled(
        prepared, tmp_path / "rows.jsonl", lambda row: row["messages"][1].update(role="narrator")
    )
    assert len(swift.call("ms_swift", "rendered", file=path, strict=False)) == 4
