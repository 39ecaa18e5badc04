"""`OUT/swift`: JSON lines for ms-swift, with boxes as data instead of text.

ms-swift writes boxes as the model in training wants them: `<bbox>` in a text stands for the next
box of `objects.bbox`, given in image pixels (its documentation, "Custom Dataset", grounding). So
the texts are those of the other formats, with every box that they quote taken out again, and
without the sentence that asks for a certain notation. How a box was written is known exactly, and
labels hold no brackets, so nothing else can be taken for one.

Labels stay in the text: `<ref-object>` would only repeat them.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from engine.ascii_json import json_line
from engine.box_text import box_text
from engine.config import Config
from engine.image_files import write_images
from engine.line_files import first_without, joined_lines, open_piece, write_joined
from engine.samples import Part, Samples, SplitParts, Turns
from engine.storage import FileDigest
from engine.wording import BOX_HINTS

__all__ = ["finish", "open_part", "with_placeholders"]

_COLUMNS = ["id", "bounding_boxes", "height", "width"]
_LINES = "swift-lines"
_WITHOUT_OBJECTS = b'"bbox":[]'
_ROLES = {"human": "user", "gpt": "assistant"}


@contextmanager
def open_part(part: Part) -> Iterator[Callable[[Samples], None]]:
    """Write a shard's images and lines; what is yielded takes its rows."""
    with open_piece(part, _LINES) as lines:

        def write(samples: Samples) -> None:
            files = write_images(part, samples, "swift/images")
            rows = samples.frames.select(_COLUMNS).to_pylist()
            for row, turns, file in zip(rows, samples.conversations, files, strict=True):
                image = file.path.removeprefix("swift/")
                lines.write(json_line(_line(row, image, turns, part.config)))

        yield write


def finish(staging: str, splits: Sequence[SplitParts]) -> list[FileDigest]:
    """Join the shards' lines; a split without rows has no file.

    Args:
        staging: folder in which OUT grows.
        splits: all of them.
    """
    files = []
    for split in splits:
        if split.rows:
            pieces = split.pieces(_LINES)
            lines = joined_lines(pieces, first=first_without(pieces, _WITHOUT_OBJECTS))
            files.append(write_joined(staging, f"swift/{split.split}.jsonl", lines))
    return files


def _line(row: Mapping[str, Any], image: str, turns: Turns, config: Config) -> dict[str, Any]:
    boxes = [(x, y, w, h) for x, y, w, h in row["bounding_boxes"]]
    written = [box_text(box, row["width"], row["height"], config.boxes) for box in boxes]
    messages, used = with_placeholders(turns, written, BOX_HINTS.get(config.box_style, ()))
    corners = [[x, y, x + w, y + h] for x, y, w, h in (boxes[at] for at in used)]
    return {
        "id": row["id"],
        "messages": messages,
        "images": [image],
        "objects": {"ref": [], "bbox": corners},
    }


def with_placeholders(
    turns: Turns, written: Sequence[str], hints: Sequence[str]
) -> tuple[list[dict[str, str]], list[int]]:
    """Put `<bbox>` where a conversation quotes a box.

    Args:
        turns: a conversation.
        written: each object's box as the conversation writes it.
        hints: sentences about the notation of boxes, taken off the end of questions.

    Returns:
        The conversation as role and content; and of each `<bbox>` in it, in order, which object's
        box it stands for. Boxes that are written alike, which differ by less than a step of the
        notation, are told apart by their order in the turn alone.
    """
    objects: dict[str, list[int]] = {}
    for at, text in enumerate(written):
        objects.setdefault(text, []).append(at)
    spelled = "|".join(map(re.escape, sorted(objects)))
    # In JSON a box of tokens is a string, and what ms-swift writes in its place is none.
    pattern = re.compile(f'(?P<quote>"?)(?P<box>{spelled})(?P=quote)') if objects else None
    used: list[int] = []
    messages = []
    for turn in turns:
        text, said = turn["value"], Counter[str]()
        if turn["from"] == "human":
            for hint in hints:
                text = text.removesuffix(hint)

        def place(match: re.Match[str], said: Counter[str] = said) -> str:
            alike = objects[match["box"]]
            used.append(alike[said[match["box"]] % len(alike)])
            said[match["box"]] += 1
            return "<bbox>"

        content = pattern.sub(place, text) if pattern else text
        messages.append({"role": _ROLES[turn["from"]], "content": content})
    return messages, used
