"""What the loaders of trainers accept, as functions from files to what is trained on.

Each follows one trainer's own loading code, and refuses loudly also what the trainer would drop or
spoil in silence (an odd turn masks the loss, a row is skipped, the next sample's picture is used).
None of them uses the engine.
"""

import json
import re
from pathlib import Path

import datasets
import yaml
from PIL import Image

IMAGE = "<image>"
FORBIDDEN_KEYS = {
    "video", "videos", "audio", "system", "label", "channel", "tools", "solution", "length",
    "num_tokens", "data_path", "prompt", "completion", "chosen", "rejected", "text", "query",
    "response",
}  # fmt: skip
FORBIDDEN_TEXT = (
    "<video>", "<audio>", "</s>", "<|im_end|>", "USER:", "ASSISTANT:", " ### ", "[/INST]",
)  # fmt: skip


class RefusedError(ValueError):
    """A trainer would refuse this, or train on something else than what is meant."""


def require(fact, *why):
    """Refuse unless the fact holds."""
    if not fact:
        raise RefusedError(" ".join(map(str, why)))


def shape_of(value):
    """The type of a JSON value with the types of all it holds; None where nothing tells."""
    if isinstance(value, dict):
        return {key: shape_of(inner) for key, inner in value.items()}
    if isinstance(value, list):
        shape = None
        for inner in value:
            shape = merged(shape, shape_of(inner))
        return [shape]
    require(value is not None, "a null")
    return type(value).__name__


def merged(one, other):
    """The type of two values; refused if they have none in common."""
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, list) and isinstance(other, list):
        return [merged(one[0], other[0])]
    if isinstance(one, dict) and isinstance(other, dict):
        require(list(one) == list(other), "keys", list(one), "and", list(other))
        return {key: merged(one[key], other[key]) for key in one}
    require(one == other, "types", one, "and", other)
    return one


def read_lines(path):
    """JSON lines as `datasets` and others read them: ASCII, one type a key, the first row full."""
    data = Path(path).read_bytes()
    require(data.isascii(), path, "is not ASCII")
    require(data.endswith(b"\n"), path, "does not end with a line break")
    rows = [json.loads(line) for line in data.decode("ascii").split("\n")[:-1]]
    shape = None
    for row in rows:
        shape = merged(shape, shape_of(row))
        require(not FORBIDDEN_KEYS & set(row), "keys", FORBIDDEN_KEYS & set(row))
    return rows


def check_text(turns, role, content, roles, *, placeholders=()):
    """Strict pairs of non-empty turns, one image token at the very start, nothing forbidden."""
    require(len(turns) > 0 and len(turns) % 2 == 0, "an odd number of turns:", len(turns))
    for number, turn in enumerate(turns):
        require(turn[role] == roles[number % 2], "turn", number, "is", turn[role])
        text = turn[content]
        require(text.strip(), "turn", number, "is empty")
        if number == 0:
            require(text.startswith(IMAGE), "the first turn does not begin with the image")
            text = text.removeprefix(IMAGE)
        require(IMAGE not in text, "an image token in turn", number)
        for token in (*FORBIDDEN_TEXT, *({"<bbox>", "<ref-object>"} - set(placeholders))):
            require(token not in text, token, "in turn", number)
        require(not re.search(r"(?m)^\s*assistant", text), "a line starting with assistant")


def open_image(path):
    """Decode a picture as RGB."""
    require(Path(path).is_file(), path, "is no file")
    with Image.open(path) as image:
        return image.convert("RGB")


def llava_15(data_path, image_folder):
    """LLaVA 1.5, `LazySupervisedDataset`: one JSON list; gives (image size, turns) a row."""
    with Path(data_path).open() as file:
        rows = json.load(file)
    require(isinstance(rows, list), data_path, "is no list")
    found = []
    for row in rows:
        require(isinstance(row["image"], str), "image is no name")
        check_text(row["conversations"], "from", "value", ("human", "gpt"))
        count = sum(turn["value"].count(IMAGE) for turn in row["conversations"])
        require(count == 1, count, "image tokens")
        picture = open_image(Path(image_folder, row["image"]))
        found.append((picture.size, row["conversations"]))
    return found


def llava_next(yaml_path, image_folder):
    """LLaVA-NeXT: a YAML list of files; paths are relative to the working folder."""
    with Path(yaml_path).open() as file:
        listed = yaml.safe_load(file)["datasets"]
    rows = []
    for entry in listed:
        require(entry.get("sampling_strategy", "all") == "all", entry)
        path = entry["json_path"]
        if path.endswith(".jsonl"):
            rows += read_lines(path)
        else:
            require(path.endswith(".json"), "unsupported file", path)
            rows += json.loads(Path(path).read_text("ascii"))
    for row in rows:
        images = row["image"] if isinstance(row["image"], list) else [row["image"]]
        count = sum(turn["value"].count(IMAGE) for turn in row["conversations"])
        require(count == len(images), count, "image tokens for", len(images))
        for image in images:
            open_image(Path(image_folder, image))
    return rows


def llama_factory(dataset_dir, name):
    """LLaMA-Factory: `dataset_info.json`, loading by `datasets`, the sharegpt converter."""
    described = json.loads(Path(dataset_dir, "dataset_info.json").read_text("utf-8"))[name]
    require(described["formatting"] == "sharegpt", described)
    columns, tags = described["columns"], described["tags"]
    path = Path(dataset_dir, described["file_name"])
    kind = {".json": "json", ".jsonl": "json"}[Path(path).suffix]
    rows = datasets.load_dataset(kind, data_files=str(path), split="train")
    sides = {tags["user_tag"]: "user", tags["assistant_tag"]: "assistant"}
    found = []
    for row in rows:
        turns = row[columns["messages"]]
        check_text(
            turns, tags["role_tag"], tags["content_tag"], (tags["user_tag"], tags["assistant_tag"])
        )
        images = row[columns["images"]]
        images = images if isinstance(images, list) else [images]
        paths = [Path(dataset_dir, image) for image in images]
        require(all(path.exists() for path in paths), "not found:", paths)
        count = sum(turn[tags["content_tag"]].count(IMAGE) for turn in turns)
        require(count == len(images), count, "image tokens for", len(images))
        found.append(
            [
                {"role": sides[turn[tags["role_tag"]]], "content": turn[tags["content_tag"]]}
                for turn in turns
            ]
        )
    return found


def internvl(meta_path):
    """InternVL: a meta file; annotations are lines only, relative to the working folder."""
    meta = json.loads(Path(meta_path).read_text("utf-8"))
    found = []
    for entry in meta.values():
        require(entry["annotation"].endswith(".jsonl"), "annotation must be jsonl")
        require(entry["repeat_time"] == 1 and entry["data_augment"] is False, entry)
        with Path(entry["annotation"]).open() as file:
            rows = [json.loads(line) for line in file.readlines()]
        require(entry["length"] == len(rows), entry["length"], "lines are", len(rows))
        for row in rows:
            require("image" in row and len(row["image"]) > 0, "no image")
            check_text(row["conversations"], "from", "value", ("human", "gpt"))
            open_image(Path(entry["root"], row["image"]))
        found += rows
    return found


def qwen_vl(annotation_path, data_path):
    """Qwen-VL's own fine-tuning: every image is used by exactly one token, in order."""
    if str(annotation_path).endswith(".jsonl"):
        rows = read_lines(annotation_path)
    else:
        rows = json.loads(Path(annotation_path).read_text("utf-8"))
    found = []
    for row in rows:
        images = row["image"] if isinstance(row["image"], list) else [row["image"]]
        pool = [Path(data_path, image) for image in images]
        messages = []
        for turn in row["conversations"]:
            role = "user" if turn["from"] == "human" else "assistant"
            content = []
            for piece in re.split(f"({IMAGE})", turn["value"]):
                if piece == IMAGE:
                    require(pool, "more tokens than images")
                    content.append({"type": "image", "image": pool.pop(0)})
                elif piece.strip():
                    content.append({"type": "text", "text": piece.strip()})
            messages.append({"role": role, "content": content})
        require(not pool, "images without a token:", pool)
        found.append(messages)
    return found


def ms_swift(path, folder):
    """ms-swift: messages, images relative to the working folder, a box for each placeholder.

    Gives (image size, messages, boxes) a row; boxes in the order in which they are filled in.
    """
    found = []
    for row in read_lines(path):
        allowed = {"id", "messages", "images", "objects"}
        require(set(row) == allowed, "keys", set(row) ^ allowed)
        check_text(
            row["messages"], "role", "content", ("user", "assistant"), placeholders=["<bbox>"]
        )
        texts = [turn["content"] for turn in row["messages"]]
        require(sum(text.count(IMAGE) for text in texts) == len(row["images"]), "image tokens")
        boxes, refs = row["objects"]["bbox"], row["objects"]["ref"]
        require(sum(text.count("<bbox>") for text in texts) == len(boxes), "box tokens")
        require(sum(text.count("<ref-object>") for text in texts) == len(refs), "ref tokens")
        (image,) = row["images"]
        width, height = open_image(Path(folder, image)).size
        for x1, y1, x2, y2 in boxes:
            require(0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height, "box", (x1, y1, x2, y2))
        found.append(((width, height), row["messages"], boxes))
    return found
