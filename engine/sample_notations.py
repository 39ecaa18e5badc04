"""Masks and documents of sample exports in the notations that real writers use.

Compressed counts are made by pycocotools, never by the engine's own code, so that a test of the
engine's reader is held against something else than itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.sample_spec import SampleSpec

__all__ = ["mask_record", "sav_between", "sav_document", "sav_keywords"]

_STEP = 4  # SA-V: every 4th frame of a 24 fps video is annotated
_FPS = 24


def mask_record(spec: SampleSpec, runs: list[int], *, truncated: bool, swapped: bool) -> object:
    """Write runs in the export's notation.

    Args:
        spec: the export.
        runs: run lengths of its cells, background first.
        truncated: leave the last third of the counts away.
        swapped: write the size as [width, height].
    """
    notation = spec.notation or ("text" if spec.dialect == "real" else "size+counts")
    counts: str | list[int] = runs
    if notation == "text":
        counts = " ".join(map(str, runs))
    elif notation in ("size+counts", "compressed"):
        from pycocotools import mask

        rle = mask.frPyObjects({"size": list(spec.cells), "counts": runs}, *spec.cells)
        counts = rle["counts"].decode("ascii")
    if truncated:
        counts = counts[: len(counts) * 2 // 3]
    if not notation.startswith("size"):
        return counts
    return {"size": list(spec.cells[::-1] if swapped else spec.cells), "counts": counts}


def sav_keywords(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in how SA-V lies on the disk: JPEGs `<video_id>/00004.jpg` beside the JSON file.

    Args:
        keywords: of `write_sample_export`; `filename` is the video's id.
    """
    video = keywords.get("filename") or f"sav_{keywords.get('seed', 0):06d}"
    usual = {
        "filename": video, "images_folder": video, "image_pattern": "%05d", "image_format": "jpg",
        "frame_step": _STEP, "metadata": False, "indent": None,
    }  # fmt: skip
    return usual | dict(keywords)


def sav_between(spec: SampleSpec, frame_index: int) -> range:
    """Give the frames after an annotated one that have an image and no masks."""
    return range(frame_index + 1, frame_index + _STEP if spec.sav_every_image else 0)


def sav_document(
    spec: SampleSpec, video: str, masks: Sequence[Sequence[NDArray[np.bool_] | None]]
) -> dict[str, object]:
    """Write a video's masklets as SA-V does: all sizes with a point, no labels, ids at the end.

    Args:
        spec: the export.
        video: its id.
        masks: by frame and object, bool (height, width); None where the object is not visible.
    """
    from pycocotools import mask

    nothing = np.zeros((spec.height, spec.width), dtype=np.bool_)

    def record(pixels: NDArray[np.bool_] | None) -> dict[str, object] | None:
        if pixels is None and spec.sav_null_hidden:
            return None
        rle = mask.encode(np.asfortranarray(nothing if pixels is None else pixels, dtype=np.uint8))
        return {"size": rle["size"], "counts": rle["counts"].decode("ascii")}

    total = spec.total_frames or spec.frames * spec.frame_step
    count = len(masks[0]) if masks else 0
    ids = spec.sav_ids or tuple(range(count))
    head: dict[str, object] = {
        "video_id": video,
        "video_duration": total / _FPS,
        "video_frame_count": float(total),
        "video_height": float(spec.height),
        "video_width": float(spec.width),
        "video_resolution": float(spec.height * spec.width),
        "video_environment": "Indoor",
        "video_split": "train",
    }
    body: dict[str, object] = {"masklet": [[record(pixels) for pixels in row] for row in masks]}
    tail: dict[str, object] = {
        "masklet_id": list(ids),
        "masklet_frame_count": [len(masks)] * count,
        "masklet_type": [spec.sav_kind] * count,
        "masklet_stability_score": [None] * count,
        "masklet_num": count,
    }
    document = {**body, **tail, **head} if spec.annotations_first else {**head, **body, **tail}
    return {key: value for key, value in document.items() if key not in spec.omit_keys}
