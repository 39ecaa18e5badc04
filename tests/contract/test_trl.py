"""TRL trains on OUT/hf as it is: its own collator, with a processor that keeps what it is given."""

import datasets
import pytest

from tests.contract.venvs import ConsumerError

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("own_cache")]

PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"
ROLES = {"human": "user", "gpt": "assistant"}


def rendered(turns):
    """The prompt that Qwen2-VL's chat template makes, from the other notation of the same text."""
    texts = [turn["value"].replace("<image>\n", PICTURE) for turn in turns]
    return "".join(
        f"<|im_start|>{ROLES[turn['from']]}\n{text}<|im_end|>\n"
        for turn, text in zip(turns, texts, strict=True)
    )


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_row_is_trained_on_with_its_picture(prepared, consumer, split):
    rows = datasets.load_from_disk(str(prepared / "hf"))[split]
    found = consumer("trl").call("trl_sft", "collate", path=str(prepared / "hf"), split=split)
    assert found["columns"] == ["image", "images", "messages"], "the rest is taken away"
    for row, seen in zip(rows, found["rows"], strict=True):
        assert seen["prompt"] == seen["trained"] == rendered(row["conversations"])
        assert seen["sizes"] == [[row["width"], row["height"]]]
        assert seen["prompt"].count(PICTURE) == 1


def spoiled(prepared, place, change, without=()):
    """Save some rows with a change to their messages."""
    rows = datasets.load_from_disk(str(prepared / "hf"))["test"].remove_columns(["image", *without])
    if change:
        rows = [{**row, "messages": change(row["messages"])} for row in rows]
        rows = datasets.Dataset.from_list(rows)
    datasets.DatasetDict({"test": rows}).save_to_disk(str(place))
    return str(place)


def roles_of_llava(messages):
    return [{**m, "role": {"user": "human", "assistant": "gpt"}[m["role"]]} for m in messages]


def image_key_in_every_block(messages):
    return [{**m, "content": [{**b, "image": None} for b in m["content"]]} for m in messages]


def second_image(messages):
    return [{**m, "content": [{"type": "image", "text": None}, *m["content"]]} for m in messages]


def without_image(messages):
    blocks = [[b for b in m["content"] if b["type"] == "text"] for m in messages]
    return [{**m, "content": b} for m, b in zip(messages, blocks, strict=True)]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [(roles_of_llava, "Invalid role in message: human"),
     (image_key_in_every_block, "does not match number of image placeholders"),
     (second_image, "does not match number of image placeholders"),
     (without_image, "does not match number of image placeholders")],
)  # fmt: skip
def test_what_it_refuses(prepared, consumer, tmp_path, change, complaint):
    path = spoiled(prepared, tmp_path / "spoiled", change)
    with pytest.raises(ConsumerError, match=complaint):
        consumer("trl").call("trl_sft", "collate", path=path, split="test")


def test_conversations_alone_do_not_train(prepared, consumer, tmp_path):
    path = spoiled(prepared, tmp_path / "spoiled", None, without=["messages"])
    with pytest.raises(ConsumerError, match="Unexpected input keys"):
        consumer("trl").call("trl_sft", "collate", path=path, split="test")
