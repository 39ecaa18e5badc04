"""Rows as workers hand them to the formats, with their pixels, for the tests of the formats."""

import io

import numpy as np
import pyarrow as pa
from PIL import Image
from pycocotools import mask as coco

from engine.config import Config
from engine.records import FRAME_SCHEMA
from engine.samples import ImageFile, Part, Samples, SplitParts

HEIGHT, WIDTH = 12, 20
TURNS = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A thing."}]


def blob(seed):
    """A mask of some rectangle; different for each seed."""
    generator = np.random.default_rng(seed)
    top, left = generator.integers(0, HEIGHT - 3), generator.integers(0, WIDTH - 3)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top : top + generator.integers(1, 4), left : left + generator.integers(1, 4)] = 1
    return mask


def rle(mask):
    encoded = coco.encode(np.asfortranarray(mask))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}


def image(seed, kind="PNG"):
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, kind)
    return sink.getvalue()


def frame(video, index, objects=()):
    """One row; `objects` are (label, object id, mask)."""
    masks = [rle(mask) for _, _, mask in objects]
    return {
        "id": f"{video}/{index:06d}", "video_id": video, "frame_index": index,
        "timestamp_sec": index / 4, "width": WIDTH, "height": HEIGHT, "masks": masks,
        "bounding_boxes": [[int(v) for v in coco.toBbox(mask)] for mask in masks],
        "labels": [label for label, _, _ in objects],
        "object_ids": [object_id for _, object_id, _ in objects],
        "areas": [int(mask.sum()) for _, _, mask in objects],
        "confidences": [None] * len(masks),
    }  # fmt: skip


def written(module, root, shards, *, split="train", kind="PNG", config=None, batch=2):
    """Write shards of one split as workers do, some rows at a time."""
    parts = []
    for number, rows in enumerate(shards):
        part = Part(
            staging=str(root), out="", split=split, number=number, config=config or Config()
        )
        with module.open_part(part) as write:
            for start in range(0, len(rows), batch):
                some = rows[start : start + batch]
                write(
                    Samples(
                        frames=pa.Table.from_pylist(some, schema=FRAME_SCHEMA),
                        images=[
                            ImageFile(data=image(row["frame_index"], kind), name="x.png")
                            for row in some
                        ],
                        conversations=[TURNS] * len(some),
                    )
                )
        parts.append(part.result())
    return SplitParts(split=split, rows=sum(map(len, shards)), parts=tuple(parts))


def nothing(split):
    """A split without rows."""
    return SplitParts(split=split, rows=0, parts=())
