"""Exports of a few small frames, for the tests that care for what becomes of them."""

from engine.sample_export import write_sample_export

SMALL = {"frames": 12, "width": 64, "height": 48, "truth": False}

FOUR_VIDEOS = (
    {"hidden": {0: [0, 1], 3: [1]}, "seed": 1},
    {"mask_truncated": [2], "seed": 2, "dialect": "coco"},
    {"frames_without_image": [1], "seed": 3, "image_format": "jpg"},
    {"seed": 4, "paint": False, "labels": ("cat", "object_1")},
)
"""Hidden objects, and frames that are set aside for masks and for images."""


def write_videos(place, several):
    """Write one export for each description of a video: paths, in order."""
    paths = []
    for number, more in enumerate(several):
        path = place / f"v{number}.zip"
        write_sample_export(path, filename=f"v{number}.mp4", **SMALL | more)
        paths.append(str(path))
    return paths
