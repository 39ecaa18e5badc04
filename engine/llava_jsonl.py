"""`OUT/llava`: JSON lines, the same rows as JSON lists, images as files, and what trainers ask for.

The line is the one that LLaVA began and most trainers read (LLaVA 1.5 and NeXT, LLaMA-Factory,
InternVL, Qwen-VL, ms-swift). Some read lists only, some lines only: so there are both, of the same
rows. No key has a name that some trainer takes for its own ("system", "objects", "length", ...).

Paths are relative to `OUT/llava`: files depend on no machine, and trainers are started there or
told of the folder. InternVL and LLaVA-NeXT train on whatever their files name, so those name the
training split alone.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from engine.ascii_json import ascii_json, json_line
from engine.config import Config
from engine.image_files import write_images
from engine.line_files import first_without, joined_lines, open_piece, write_joined
from engine.manifest import encode
from engine.samples import Part, Samples, SplitParts
from engine.storage import FileDigest, join, write_bytes

__all__ = ["finish", "open_part"]

_COLUMNS = ["id", "masks", "bounding_boxes", "labels", "height", "width"]
_LINES, _ENTRIES = "llava-lines", "llava-samples"
_WITHOUT_OBJECTS = b'"masks":[]'  # cannot stand inside a value: its quotes would be escaped


@contextmanager
def open_part(part: Part) -> Iterator[Callable[[Samples], None]]:
    """Write a shard's images and lines; what is yielded takes its rows."""
    with open_piece(part, _LINES) as lines, open_piece(part, _ENTRIES) as entries:

        def write(samples: Samples) -> None:
            files = write_images(part, samples, "llava/images")
            rows = samples.frames.select(_COLUMNS).to_pylist()
            for row, turns, file in zip(rows, samples.conversations, files, strict=True):
                image = file.path.removeprefix("llava/")
                lines.write(json_line(_line(row, image, turns)))
                entry = {"id": row["id"], "image": image, "split": part.split}
                entries.write(json_line(entry | {"sha256": file.sha256}))

        yield write


def _line(row: dict[str, Any], image: str, turns: list[dict[str, str]]) -> dict[str, Any]:
    """A row as trainers read it; boxes are x, y, width, height in image pixels."""
    return {
        "id": row["id"],
        "image": image,
        "conversations": turns,
        "masks": [mask["counts"] for mask in row["masks"]],
        "bounding_boxes": row["bounding_boxes"],
        "labels": row["labels"],
        "height": row["height"],
        "width": row["width"],
    }


def finish(staging: str, splits: Sequence[SplitParts], config: Config) -> list[FileDigest]:
    """Join the shards' lines, and write what trainers and people find them by.

    Args:
        staging: folder in which OUT grows.
        splits: all of them; one without rows has no files, and the manifest says so.
        config: of the run.
    """
    present = [split for split in splits if split.rows]
    files: list[FileDigest] = []
    first: dict[str, int] = {}
    for split in present:
        pieces = split.pieces(_LINES)
        first[split.split] = at = first_without(pieces, _WITHOUT_OBJECTS)
        name = f"llava/{split.split}.json"
        files += [
            write_joined(staging, f"{name}l", joined_lines(pieces, first=at)),
            write_joined(
                staging, name, joined_lines(pieces, first=at),
                start=b"[\n", between=b",\n", end=b"\n]\n",
            ),
        ]  # fmt: skip
    files.append(_write_manifest(staging, splits, first, config))
    for name, content in _trainer_files(present).items():
        files.append(write_bytes(join(staging, "llava", name), content, name=f"llava/{name}"))
    return files


def _write_manifest(
    staging: str, splits: Sequence[SplitParts], first: dict[str, int], config: Config
) -> FileDigest:
    """Write the list of all samples, one a line."""
    head = {
        "format": "llava",
        "box_style": config.box_style,
        "max_pixels": config.max_pixels,
        "pad_square": config.pad_square,
        "image_format": config.image_format,
        "counts": {split.split: split.rows for split in splits},
        "empty_splits": [split.split for split in splits if not split.rows],
        "line_counts_from": 1,
    }
    start = json.dumps(head, indent=2).removesuffix("\n}") + ',\n  "samples": [\n'
    return write_joined(
        staging, "llava/manifest.json", _samples(splits, first),
        start=start.encode("ascii"), between=b",\n", end=b"\n  ]\n}\n",
    )  # fmt: skip


def _samples(splits: Sequence[SplitParts], first: dict[str, int]) -> Iterator[bytes]:
    for split in splits:
        if not split.rows:
            continue
        entries = joined_lines(split.pieces(_ENTRIES), first=first[split.split])
        for number, line in enumerate(entries, start=1):
            entry = json.loads(line)
            sha256 = entry.pop("sha256")
            numbered = entry | {"line": number, "sha256": sha256}
            yield b"    " + ascii_json(numbered)


def _trainer_files(present: Sequence[SplitParts]) -> dict[str, bytes]:
    """What trainers read beside the lines, by file name."""
    registered = {
        f"sam2prep_{split.split}": {
            "file_name": f"{split.split}.json",
            "formatting": "sharegpt",
            "columns": {"messages": "conversations", "images": "image"},
            "tags": {
                "role_tag": "from",
                "content_tag": "value",
                "user_tag": "human",
                "assistant_tag": "gpt",
            },
        }
        for split in present
    }
    files = {"dataset_info.json": encode(registered)}
    for split in present:
        if split.split == "train":
            entry = {
                "root": ".",
                "annotation": "train.jsonl",
                "data_augment": False,
                "repeat_time": 1,
                "length": split.rows,
            }
            files["internvl_meta.json"] = encode({"sam2prep_train": entry})
            files["llava_next.yaml"] = (
                b"datasets:\n  - json_path: train.json\n    sampling_strategy: all\n"
            )
    return files
