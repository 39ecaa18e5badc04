"""The columns `messages`, `image` and `images`, as the trainers that take a dataset read them."""

import copy

import datasets
import pytest

from tests import message_rules as rules
from tests.trainer_rules import RefusedError

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module", params=["hf", "parquet"])
def loaded(request, prepared):
    if request.param == "hf":
        return datasets.load_from_disk(str(prepared / "hf"))
    return datasets.load_dataset(str(prepared))


@pytest.mark.parametrize("trainer", [rules.trl, rules.axolotl, rules.unsloth])
def test_every_row_trains(loaded, trainer):
    seen = 0
    for split in loaded.values():
        rules.features_of_blocks(split.features)
        for row in split:
            picture, texts = trainer(row)
            assert picture.size == (row["width"], row["height"])
            values = [turn["value"].removeprefix("<image>\n") for turn in row["conversations"]]
            assert texts == values
            seen += 1
    assert seen == 50


def message(row, number):
    return row["messages"][number]


SPOILED = {
    "role": lambda row: message(row, 0).update(role="human"),
    "system first": lambda row: row["messages"].insert(0, {
        "role": "system", "content": [{"type": "text", "text": "You see."}],
    }),
    "question last": lambda row: row["messages"].pop(),
    "two questions running": lambda row: row["messages"].insert(1, message(row, 0)),
    "empty answer": lambda row: message(row, 1)["content"][0].update(text=" "),
    "null text": lambda row: message(row, 1)["content"][0].update(text=None),
    "image token in an answer": lambda row: message(row, 1)["content"][0].update(text="a <image>"),
    "image token in the question": lambda row: message(row, 0)["content"][1].update(
        text="<image>\nWhat?"
    ),
    "a turn border": lambda row: message(row, 1)["content"][0].update(text="no</s>"),
    "a key image in a text": lambda row: message(row, 1)["content"][0].update(image=None),
    "no picture block": lambda row: message(row, 0)["content"].pop(0),
    "two picture blocks": lambda row: message(row, 0)["content"].insert(
        0, {"type": "image", "text": None}
    ),
    "content as text": lambda row: message(row, 1).update(content="yes"),
    "two pictures": lambda row: row.update(images=row["images"] * 2),
    "a path": lambda row: row.update(images=["images/a.png"]),
    "no images": lambda row: row.pop("images"),
    "a column of its own": lambda row: row.update(label=1),
}  # fmt: skip


@pytest.mark.parametrize("change", SPOILED.values(), ids=SPOILED)
def test_rules_refuse_what_trainers_spoil(prepared, change):
    (row,) = datasets.load_from_disk(str(prepared / "hf"))["test"].select([0])
    row = {name: row[name] for name in ("images", "messages")}
    rules.axolotl(row)
    row["messages"] = copy.deepcopy(row["messages"])
    change(row)
    with pytest.raises(RefusedError):
        rules.axolotl(row)


def test_blocks_with_an_image_key_are_seen_in_the_features(prepared):
    features = datasets.load_from_disk(str(prepared / "hf"))["test"].features.copy()
    rules.features_of_blocks(features)
    block = {"type": datasets.Value("string"), "image": datasets.Image()}
    features["messages"] = datasets.List({"content": datasets.List(block)})
    with pytest.raises(RefusedError, match="image key"):
        rules.features_of_blocks(features)
