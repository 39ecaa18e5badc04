"""Ten corpora to split, drawn from seeds: what differs is what makes splitting hard.

A video has some of the classes; a class that it has comes and goes in runs of frames, as objects
do, so that neighbouring frames are alike. No pictures: a split is decided from names and counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.split_input import SplitInput

__all__ = ["Corpus", "corpora"]

_RUN_FRAMES = 30  # mean length of a stay in the picture


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpus:
    """One corpus.

    Args:
        name: what is special about it.
        data: its frames.
    """

    name: str
    data: SplitInput

    def facts(self) -> dict[str, Any]:
        """Give its figures as JSON types."""
        data = self.data
        instances = np.bincount(data.classes, weights=data.counts).astype(int)
        return {
            "frames": len(data.ids),
            "videos": len(data.video_names),
            "classes": len(data.class_names),
            "instances": int(instances.sum()),
            "smallest_class": int(instances[instances > 0].min()),
            "labels_per_frame": round(float(np.diff(data.indptr).mean()), 2),
        }


def corpora() -> Iterator[Corpus]:
    """Draw the ten corpora, one by one."""
    even = np.ones(12) / 4
    zipf = 1 / np.arange(1, 21)
    rng = np.random.default_rng(0)
    long_tail = np.clip(rng.lognormal(3.5, 1.2, 80).astype(int), 5, 1500)
    yield _draw("plain", 1, [80] * 50, even)
    yield _draw("one label a frame", 2, [80] * 50, even, one_label=True)
    yield _draw("skewed classes", 3, [80] * 50, zipf)
    yield _draw("classes that come together", 4, [80] * 50, even, cliques=4)
    yield _draw("rare classes", 5, [50] * 80, np.r_[[0.3] * 10, [0.01] * 8])
    yield _draw("80 classes", 6, [60] * 100, np.full(80, 0.08))
    yield _draw("two classes, 20 to 1", 7, [80] * 50, np.array([0.8, 0.04]))
    yield _draw("12 videos", 8, [350] * 12, even[:6])
    yield _draw("unequal videos", 9, long_tail.tolist(), even)
    yield _draw("classes bound to videos", 10, [60] * 80, np.full(25, 0.6), classes_per_video=3)


def _draw(
    name: str,
    seed: int,
    lengths: list[int],
    presence: NDArray[np.float64],
    *,
    one_label: bool = False,
    cliques: int = 0,
    classes_per_video: int = 0,
) -> Corpus:
    """Draw a corpus.

    Args:
        name: of it.
        seed: another one is another corpus.
        lengths: frames of each video.
        presence: share of frames that show each class, about.
        one_label: of the classes in a frame, only the first.
        cliques: so many classes in a row always come together; 0: each by itself.
        classes_per_video: so many classes a video, the others never; 0: any.
    """
    rng = np.random.default_rng([seed, 2024])
    width = len(presence)
    rows: list[NDArray[np.int64]] = []
    for length in lengths:
        lively = presence * rng.gamma(2.0, 0.5, width)  # some videos have more of a class
        if classes_per_video:
            held = rng.choice(width, classes_per_video, replace=False)
            lively *= np.isin(np.arange(width), held)
        counts = _stays(rng, length, np.clip(lively, 0, 0.95))
        if cliques:
            counts = np.repeat(counts[:, ::cliques], cliques, axis=1)[:, :width]
        if one_label:
            first = (counts > 0) & (np.cumsum(counts > 0, axis=1) == 1)
            counts = np.where(first, counts, 0)
        rows.append(counts)
    counts = np.concatenate(rows)
    frame, column = np.nonzero(counts)
    video = np.repeat(np.arange(len(lengths)), lengths)
    index = np.concatenate([np.arange(length) for length in lengths])
    return Corpus(
        name=name,
        data=SplitInput(
            ids=pa.array([f"v{v:04d}/{i:06d}" for v, i in zip(video, index, strict=True)]),
            video=video.astype(np.int32),
            video_names=tuple(f"v{v:04d}" for v in range(len(lengths))),
            frame_index=index.astype(np.int64),
            indptr=np.concatenate([[0], np.cumsum((counts > 0).sum(axis=1))]).astype(np.int64),
            classes=column.astype(np.int32),
            counts=counts[frame, column].astype(np.int32),
            class_names=tuple(f"class {c:02d}" for c in range(width)),
        ),
    )


def _stays(rng: np.random.Generator, length: int, share: NDArray[np.float64]) -> NDArray[np.int64]:
    """Instances of each class in each frame of a video: they enter, stay for a while, and leave."""
    leave = 1 / _RUN_FRAMES
    enter = np.minimum(1.0, leave * share / (1 - share))
    here = rng.random(len(share)) < share
    many = 1 + rng.poisson(0.3, len(share))
    counts = np.zeros((length, len(share)), dtype=np.int64)
    for moment in range(length):
        drawn = rng.random(len(share))
        here = np.where(here, drawn >= leave, drawn < enter)
        counts[moment] = here * many
    return counts
