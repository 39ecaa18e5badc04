"""LLaMA-Factory reads OUT/llava as it is: its own loader, converter and templates."""

import json
import shutil

import pytest

from tests.contract.venvs import ConsumerError

pytestmark = pytest.mark.long

SPLITS = ("train", "validation", "test")
SIDES = {"human": "user", "gpt": "assistant"}
END = {"llava": "", "qwen2_vl": "<|im_end|>\n"}  # what a template adds to an answer


def lines(folder, split):
    return [json.loads(line) for line in (folder / f"{split}.jsonl").open()]


@pytest.fixture(scope="module")
def factory(consumer):
    return consumer("llamafactory")


@pytest.mark.parametrize("split", SPLITS)
def test_no_row_is_dropped_emptied_or_without_its_picture(prepared, factory, split):
    folder = prepared / "llava"
    found = factory.call("llama_factory", "aligned", folder=str(folder), name=f"sam2prep_{split}")
    rows = json.loads((folder / f"{split}.json").read_text())
    for row, seen in zip(rows, found, strict=True):
        turns = [{"role": SIDES[t["from"]], "content": t["value"]} for t in row["conversations"]]
        assert seen["_prompt"] + seen["_response"] == turns
        assert len(seen["_response"]) == 1
        assert seen["_images"] == [str(folder / row["image"])], "found, so a full path"


@pytest.mark.parametrize("template", END)
def test_what_is_trained_on_are_the_answers(prepared, factory, template):
    folder = prepared / "llava"
    found = factory.call(
        "llama_factory", "tokenized", folder=str(folder), name="sam2prep_train", template=template
    )
    rows = lines(folder, "train")
    assert found["sizes"] == [[row["width"], row["height"]] for row in rows]
    for row, seen in zip(rows, found["rows"], strict=True):
        answers = [turn["value"] for turn in row["conversations"][1::2]]
        assert seen["trained"] == "".join(answer + END[template] for answer in answers)
        assert seen["prompt"].count(found["image_token"]) == 4, "one picture of 2 by 2 patches"
        places = [seen["prompt"].index(turn["value"]) for turn in row["conversations"][1:]]
        assert places == sorted(places)


def spoiled(prepared, place, *changes):
    """Copy the dataset with a change to each of the first rows of the test split."""
    shutil.copytree(prepared / "llava", place)
    rows = json.loads((place / "test.json").read_text())
    for row, change in zip(rows, changes, strict=False):
        change(row)
    (place / "test.json").write_text(json.dumps(rows))
    return {"folder": str(place), "name": "sam2prep_test"}


def test_rows_that_it_drops_in_silence_show(prepared, factory, tmp_path):
    where = spoiled(
        prepared, tmp_path / "llava",
        lambda row: row["conversations"][1].update({"from": "assistant"}),
        lambda row: row["conversations"].pop(),
        lambda row: row["conversations"].insert(0, row["conversations"][1]),
    )  # fmt: skip
    rows = factory.call("llama_factory", "aligned", **where)
    assert [row["_prompt"] + row["_response"] == [] for row in rows] == [True] * 3 + [False] * 2
    found = factory.call("llama_factory", "tokenized", template="llava", **where)
    assert len(found["rows"]) == 2


@pytest.mark.parametrize(
    "change",
    [lambda row: row["conversations"][1].update(value="see <image>"),
     lambda row: row["conversations"][0].update(value="no picture")],
    ids=["in an answer", "none"],
)  # fmt: skip
def test_a_wrong_number_of_image_tokens_is_refused(prepared, factory, tmp_path, change):
    where = spoiled(prepared, tmp_path / "llava", change)
    with pytest.raises(ConsumerError, match="number of images does not match"):
        factory.call("llama_factory", "tokenized", template="llava", **where)


def test_a_picture_that_is_not_there_shows(prepared, factory, tmp_path):
    where = spoiled(prepared, tmp_path / "llava", lambda row: row.update(image="images/none.png"))
    first = factory.call("llama_factory", "aligned", **where)[0]
    assert first["_images"] == ["images/none.png"], "left as it is, so not found"
    with pytest.raises(ConsumerError, match=r"No such file.*none\.png"):
        factory.call("llama_factory", "tokenized", template="llava", **where)
