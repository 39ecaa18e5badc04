"""The peer: what an experienced user of `datasets` writes when there is no engine.

One plain script, written to be fast where that costs nothing: two processes for reading and for
writing, each opening its ZIPs once; image bytes taken over without decoding; masks decoded one at a
time by pycocotools and never kept. It checks what such a script checks (member CRCs through
`zipfile`, image size, mask size, area and box) and makes the columns the engine makes. It finds no
dialect, writes no report and no digests, and whatever is wrong stops it.
"""

import glob
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import click
import numpy as np
from pycocotools import mask as coco

__all__ = ["build", "main"]

_TURN_TEXT = "Segment all objects in the image."


def build(
    exports: Sequence[str], out: str, cache: str, *, processes: int = 2, seed: int = 42
) -> int:
    """Read exports and save a stratified `DatasetDict`.

    Args:
        exports: ZIPs with COCO RLE masks in image pixels.
        out: folder for the dataset; not there yet.
        cache: empty folder for the files `datasets` works with.
        processes: of reading, and again of writing.
        seed: of the split.

    Returns:
        Rows written.

    Raises:
        ValueError: a frame or a mask is not as declared, or a class is too small to be split.
    """
    from datasets import Dataset, DatasetDict

    data = Dataset.from_generator(
        _frames,
        gen_kwargs={"exports": list(exports)},
        features=_features(),
        num_proc=min(processes, len(exports)),
        cache_dir=cache,
    )
    stratum = "main_class"
    first = data.train_test_split(test_size=0.2, stratify_by_column=stratum, seed=seed)
    second = first["test"].train_test_split(test_size=0.5, stratify_by_column=stratum, seed=seed)
    splits = DatasetDict(
        train=first["train"], validation=second["train"], test=second["test"]
    ).remove_columns(stratum)
    splits.save_to_disk(out, num_proc=processes)
    return sum(len(split) for split in splits.values())


def _features() -> Any:
    from datasets import ClassLabel, Features, Image, List, Value

    return Features(
        {
            "id": Value("string"),
            "image": Image(),
            "conversations": List({"from": Value("string"), "value": Value("string")}),
            "messages": List(
                {
                    "role": Value("string"),
                    "content": List({"type": Value("string"), "text": Value("string")}),
                }
            ),
            "masks": List({"size": List(Value("int32")), "counts": Value("string")}),
            "bounding_boxes": List(List(Value("int32"))),
            "labels": List(Value("string")),
            "object_ids": List(Value("int64")),
            "areas": List(Value("int64")),
            "confidences": List(Value("float64")),
            "video_id": Value("string"),
            "frame_index": Value("int64"),
            "timestamp_sec": Value("float64"),
            "width": Value("int32"),
            "height": Value("int32"),
            "main_class": ClassLabel(names=["person", "dog", "car"]),
        }
    )


def _frames(exports: list[str]) -> Iterator[dict[str, Any]]:
    for export in exports:
        with zipfile.ZipFile(export) as archive:
            document = json.loads(archive.read("annotations.json"))
            images = {
                int(PurePosixPath(name).stem.removeprefix("frame_")): name
                for name in archive.namelist()
                if name.startswith("images/")
            }
            for frame in document["annotations"]:
                name = images[frame["frame_index"]]
                yield _row(document["video"], frame, name, archive.read(name))


def _row(video: dict[str, Any], frame: dict[str, Any], name: str, data: bytes) -> dict[str, Any]:
    from PIL import Image

    width, height = video["width"], video["height"]
    video_id = PurePosixPath(video["filename"]).stem
    frame_id = f"{video_id}/{frame['frame_index']:06d}"
    with Image.open(io.BytesIO(data)) as image:  # reads the header only
        if image.size != (width, height):
            raise ValueError(f"{frame_id}: image is {image.size}, video {(width, height)}")
    objects = frame["objects"]
    if not objects:
        raise ValueError(f"{frame_id}: no objects")
    for item in objects:
        _check_mask(frame_id, item, height, width)
    labels = [item["label"] for item in objects]
    areas = [item["area"] for item in objects]
    answer = _answer(objects, width, height)
    return {
        "id": frame_id,
        "image": {"bytes": data, "path": name.rpartition("/")[2]},
        "conversations": [
            {"from": "human", "value": f"<image>\n{_TURN_TEXT}"},
            {"from": "gpt", "value": answer},
        ],
        "messages": [
            {
                "role": "user",
                "content": [{"type": "image", "text": None}, {"type": "text", "text": _TURN_TEXT}],
            },
            {"role": "assistant", "content": [{"type": "text", "text": answer}]},
        ],
        "masks": [item["mask_rle"] for item in objects],
        "bounding_boxes": [item["bbox"] for item in objects],
        "labels": labels,
        "object_ids": [item["object_id"] for item in objects],
        "areas": areas,
        "confidences": [item["confidence"] for item in objects],
        "video_id": video_id,
        "frame_index": frame["frame_index"],
        "timestamp_sec": frame["timestamp_sec"],
        "width": width,
        "height": height,
        "main_class": labels[areas.index(max(areas))],
    }


def _check_mask(frame_id: str, item: dict[str, Any], height: int, width: int) -> None:
    rle = item["mask_rle"]
    if rle["size"] != [height, width]:
        raise ValueError(f"{frame_id}: mask is {rle['size']}, image {[height, width]}")
    area = np.count_nonzero(coco.decode(rle))
    if area == 0 or area != item["area"]:
        raise ValueError(f"{frame_id}: mask has {area} pixels, {item['area']} declared")
    if coco.toBbox(rle).tolist() != item["bbox"]:
        raise ValueError(f"{frame_id}: box {item['bbox']} is not the mask's")


def _answer(objects: Sequence[dict[str, Any]], width: int, height: int) -> str:
    parts = []
    for item in objects:
        x, y, w, h = item["bbox"]
        box = [
            round(1000 * value)
            for value in (x / width, y / height, (x + w) / width, (y + h) / height)
        ]
        parts.append(f"{item['label']} at {box}")
    return f"The image shows {', '.join(parts)}."


@click.command()
@click.argument("pattern")
@click.option("--out", required=True, help="Folder for the dataset.")
@click.option("--cache", required=True, help="Empty folder for the files datasets works with.")
@click.option("--num-proc", default=2, show_default=True, help="Processes.")
def main(pattern: str, out: str, cache: str, num_proc: int) -> None:
    """Make a dataset of the exports that PATTERN matches, without the engine."""
    exports = sorted(glob.glob(pattern))  # noqa: PTH207 (an absolute pattern)
    rows = build(exports, out, cache, processes=num_proc)
    click.echo(json.dumps({"rows": rows, "out": Path(out).name}))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.datasets_script")
