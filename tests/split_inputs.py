"""Frames to be divided, as the splits take them, for the tests of the splits."""

import numpy as np
import pyarrow as pa

from engine.split_input import SplitInput


def made(rows, *, class_names=None, times=None):
    """SplitInput of (video, frame_index, {class: instances}) rows; times in seconds, None: none."""
    videos = tuple(dict.fromkeys(video for video, _, _ in rows))
    names = class_names or tuple(dict.fromkeys(name for _, _, row in rows for name in row))
    entries = [(names.index(name), count) for _, _, row in rows for name, count in row.items()]
    if times is not None:
        times = np.array([np.nan if time is None else time for time in times], dtype=np.float64)
    return SplitInput(
        ids=pa.array([f"{video}/{index:06d}" for video, index, _ in rows], pa.string()),
        video=np.array([videos.index(video) for video, _, _ in rows], dtype=np.int32),
        video_names=videos,
        frame_index=np.array([index for _, index, _ in rows], dtype=np.int64),
        indptr=np.cumsum([0] + [len(row) for _, _, row in rows], dtype=np.int64),
        classes=np.array([c for c, _ in entries], dtype=np.int32),
        counts=np.array([n for _, n in entries], dtype=np.int32),
        class_names=names,
        timestamps=times,
    )


def filmed(videos):
    """SplitInput of the frames of videos, given the times of each; None: no time."""
    rows = [(f"v{v:02d}", i, {}) for v, times in enumerate(videos) for i, _ in enumerate(times)]
    return made(rows, times=[time for times in videos for time in times])
