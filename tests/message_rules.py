"""What the trainers on `messages` accept, as functions from rows to what is trained on.

For TRL, axolotl and unsloth, which take a dataset of `datasets`, as `tests/trainer_rules.py` is for
those that take files. Each refuses loudly also what the trainer would spoil in silence. None of
them uses the engine.
"""

import json

from PIL import Image

from tests.trainer_rules import FORBIDDEN_KEYS, IMAGE, check_text, require

ROLES = ("user", "assistant")


def blocks_of(row):
    """The messages of a row: strict pairs of blocks, one picture before the first question.

    Gives the text of each message.
    """
    require(not FORBIDDEN_KEYS & set(row), "columns", FORBIDDEN_KEYS & set(row))
    texts = []
    for number, message in enumerate(row["messages"]):
        require(set(message) == {"role", "content"}, "keys", sorted(message))
        require(isinstance(message["content"], list), "content is", message["content"])
        kinds = [block["type"] for block in message["content"]]
        require(kinds == (["text"] if number else ["image", "text"]), "blocks", kinds, "in", number)
        for block in message["content"]:
            # Chat templates ask `'image' in block`: a key is enough to make a text a picture.
            require(set(block) == {"type", "text"}, "keys", sorted(block))
        texts.append(message["content"][-1]["text"])
        require(isinstance(texts[-1], str), "text is", texts[-1])
        require(IMAGE not in texts[-1], "an image token in message", number)
    turns = [
        {"role": message["role"], "text": text if number else IMAGE + text}
        for number, (message, text) in enumerate(zip(row["messages"], texts, strict=True))
    ]
    check_text(turns, "role", "text", ROLES)
    return texts


def one_picture(images):
    """A list of one decoded picture."""
    require(isinstance(images, list), "images is", type(images).__name__)
    require(len(images) == 1, len(images), "images")
    require(isinstance(images[0], Image.Image), "the image is", type(images[0]).__name__)
    return images[0]


def trl(row):
    """TRL, `SFTTrainer`: `image` or `images`, decoded; the number of placeholders has to agree."""
    require("image" in row or "images" in row, "no picture")
    picture = one_picture([row["image"]] if "image" in row else row["images"])
    return picture, blocks_of(row)


def axolotl(row):
    """Axolotl, multimodal: `images` alone is looked for, and filled into the blocks in order."""
    require("images" in row, "no column images")
    return one_picture(row["images"]), blocks_of(row)


def unsloth(row):
    """Unsloth, `UnslothVisionDataCollator`: as axolotl; and no system message before the first."""
    return axolotl(row)


def features_of_blocks(features):
    """No key in the blocks but type and text, or each row gets it as null."""
    written = json.dumps(features.to_dict()["messages"])
    require('"image"' not in written, "an image key in", written)
