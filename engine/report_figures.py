"""The page's figures in the units of their drawings: bars, cells, links and pictures as text.

Shapes are in SVG, stretched to the space there is; words are in HTML, so that they keep their size
on a phone and can be searched. Everything is bounded by what `report_material` holds, or here.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from engine.frame_tally import AREA_EDGES, GRID, Tally
from engine.report_material import Material, Picture, Timeline, Together

__all__ = [
    "Column",
    "EvidenceImage",
    "HeatMap",
    "Histogram",
    "Pair",
    "Places",
    "Row",
    "area_histogram",
    "evidence",
    "example_parts",
    "heat_map",
    "objects_histogram",
    "pairs",
    "picture_address",
    "places",
    "stretches_path",
    "track_marks",
    "video_rows",
]

_LEVELS = 5
_OBJECT_BINS = 25
_VIDEOS_LARGEST, _VIDEOS_SMALLEST = 9, 3
_EVIDENCE_IMAGES, _EVIDENCE_BYTES = 8, 900_000
_KINDS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a histogram.

    Args:
        name: what it holds, for people.
        tick: written below it; empty where only some columns have one.
        count: of frames or instances.
        share: of all, 0 to 1.
        height: 0 to 100; the highest has 100.
    """

    name: str
    tick: str
    count: int
    share: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Columns side by side.

    Args:
        columns: without a gap, from left to right.
        total: all counts.
        sentence: what it shows, in words.
    """

    columns: tuple[Column, ...]
    total: int
    sentence: str


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """Where box centres lie.

    Args:
        levels: SVG paths in cells of GRID, faintest first.
        size: (rows, columns) of the cells.
        aspect: width of the drawn image for a height of 1.
        most: instances in the fullest cell.
        middle_share: of instances in the middle ninth of the image, 0 to 1.
    """

    levels: tuple[str, ...]
    size: tuple[int, int]
    aspect: float
    most: int
    middle_share: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """One video in the list of videos; `video_id` is None where some are left out.

    Args:
        video_id: of the video.
        frames: of the video, or of all that are left out.
        videos: how many it stands for.
        length: of its bar, 0 to 100.
    """

    video_id: str | None
    frames: int
    videos: int
    length: float


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two classes in one frame.

    Args:
        frames: that hold both.
        share: of the frames that hold the rarer one, 0 to 1.
        level: of its tint, 0 to 5.
    """

    frames: int
    share: float
    level: int


@dataclass(frozen=True, kw_only=True)
class EvidenceImage:
    """A picture of how a video's masks are read.

    Args:
        video_id: of the video.
        address: of the picture, as data.
    """

    video_id: str
    address: str


Places = Mapping[str, str]
"""For a frame id, the fragment of the page that shows it."""


def objects_histogram(frames: Sequence[int]) -> Histogram:
    """Lay out objects per frame.

    Args:
        frames: by the number of objects visible in them, from 0.
    """
    # A column for 0 to 7 at least: two columns as wide as the page are no figure.
    frames = [*frames, *[0] * (8 - len(frames))]
    step = max(1, ceil(len(frames) / _OBJECT_BINS))
    counts = [sum(frames[i : i + step]) for i in range(0, len(frames), step)]
    each = max(1, ceil(len(counts) / 13))
    total = sum(frames)
    objects = sum(i * n for i, n in enumerate(frames))
    empty = frames[0] if frames else 0
    words = [f"{objects / total:.1f} on average" if total else ""]
    words.append(f"{empty:,} frame{'' if empty == 1 else 's'} without any" if empty else "")
    return _histogram(
        counts,
        [str(i * step) if step == 1 else f"{i * step} to {(i + 1) * step - 1}"
         for i in range(len(counts))],
        [str(i * step) if i % each == 0 else "" for i in range(len(counts))],
        ", ".join(filter(None, words)),
    )  # fmt: skip


def area_histogram(tally: Tally) -> Histogram:
    """Lay out the areas of masks as shares of their image."""
    counts = tally.areas.tolist()
    edges = [_percent(edge) for edge in AREA_EDGES]
    names = [f"below {edges[0]}", *(f"{a} to {b}" for a, b in pairwise(edges))]
    ticks = [""] * len(counts)
    for place, edge in enumerate(edges[:-1]):
        ticks[place + 1] = edge if place % 4 == 0 else ""
    sentence = ""
    if tally.instances:
        half = int(np.searchsorted(np.cumsum(tally.areas), tally.instances / 2))
        tiny = int(tally.areas[: AREA_EDGES.index(10.0**-3) + 1].sum())
        sentence = f"the median is {names[half]} of the image; {tiny:,} below 0.1%"
    return _histogram(counts, names, ticks, sentence)


def _percent(share: float) -> str:
    return f"{float(f'{100 * share:.2g}'):.10f}".rstrip("0").rstrip(".") + "%"


def _histogram(
    counts: Sequence[int], names: Sequence[str], ticks: Sequence[str], sentence: str
) -> Histogram:
    total, most = sum(counts), max(counts, default=0)
    columns = tuple(
        Column(
            name=name, tick=tick, count=n, share=n / total if total else 0.0,
            height=round(max(100 * n / most, 1.5), 1) if n else 0.0,
        )
        for n, name, tick in zip(counts, names, ticks, strict=True)
    )  # fmt: skip
    return Histogram(columns=columns, total=total, sentence=sentence)


def heat_map(tally: Tally) -> HeatMap:
    """Lay out the map of box centres of one instance or more.

    The tint grows with the root of the count: with the count itself one full cell hides the rest.
    """
    most = max(1, int(tally.centres.max()))
    tint = np.ceil(_LEVELS * np.sqrt(tally.centres / most)).astype(np.int64)
    rows, columns = GRID
    middle = tally.centres[rows // 3 : rows - rows // 3, columns // 3 : columns - columns // 3]
    aspect = tally.width_px / tally.height_px if tally.height_px else 1.0
    return HeatMap(
        levels=tuple(_cells(tint == level) for level in range(1, _LEVELS + 1)),
        size=GRID,
        aspect=round(min(max(aspect, 0.5), 2.4), 3),
        most=most,
        middle_share=float(middle.sum() / max(1, tally.instances)),
    )


def _cells(chosen: NDArray[np.bool_]) -> str:
    """Draw chosen cells as one path, each row's neighbours as one piece."""
    parts = []
    for row, cells in enumerate(chosen):
        turns = np.flatnonzero(np.diff(cells.astype(np.int8), prepend=0, append=0)).tolist()
        parts += [
            f"M{start} {row}h{stop - start}v1H{start}z"
            for start, stop in zip(turns[::2], turns[1::2], strict=True)
        ]
    return "".join(parts)


def video_rows(frames_by_video: Sequence[tuple[str, int]]) -> list[Row]:
    """Lay out frames per video: all of a few, of many the largest and the smallest.

    Args:
        frames_by_video: (video id, frames), most frames first.
    """
    most = max((frames for _, frames in frames_by_video), default=0)
    rows = [
        Row(video_id=video, frames=n, videos=1, length=round(max(100 * n / most, 0.6), 1))
        for video, n in frames_by_video
    ]
    if len(rows) <= _VIDEOS_LARGEST + _VIDEOS_SMALLEST:
        return rows
    hidden = rows[_VIDEOS_LARGEST:-_VIDEOS_SMALLEST]
    rest = Row(video_id=None, frames=sum(r.frames for r in hidden), videos=len(hidden), length=0)
    return [*rows[:_VIDEOS_LARGEST], rest, *rows[-_VIDEOS_SMALLEST:]]


def pairs(together: Together) -> list[list[Pair]]:
    """Lay out classes in one frame: for each class, those before it and itself."""
    frames = together.frames
    return [
        [_pair(frames[i][j], min(frames[i][i], frames[j][j]), i == j) for j in range(i + 1)]
        for i in range(len(frames))
    ]


def _pair(both: int, rarer: int, itself: bool) -> Pair:
    share = both / rarer if rarer else 0.0
    return Pair(frames=both, share=share, level=0 if itself else ceil(_LEVELS * sqrt(share)))


def stretches_path(stretches: Sequence[tuple[int, int]]) -> str:
    """Draw half-open stretches of columns as an SVG path one unit high."""
    return "".join(f"M{start} 0H{stop}V1H{start}z" for start, stop in stretches)


def track_marks(timeline: Timeline, object_id: int) -> list[tuple[str, str]]:
    """Draw where one object has findings: (severity, SVG path), errors last, on top."""
    found: dict[str, list[tuple[int, int]]] = {"warning": [], "error": []}
    for mark in timeline.marks:
        if object_id in mark.objects:
            found[mark.severity].append((mark.column, mark.column + 1))
    return [(severity, stretches_path(where)) for severity, where in found.items() if where]


def places(material: Material | None) -> dict[str, str]:
    """Say which fragment of the page shows a frame: its picture, or its place in a timeline."""
    if material is None:
        return {}
    marked = [{mark.column for mark in t.marks} for t in material.timelines]
    found = {
        i: f"m{video}-{column}" if column in marked[video] else f"v{video}"
        for i, (video, column) in material.places.items()
    }
    first: dict[str, str] = {}
    for code, pictures in material.pictures.items():
        for number, picture in enumerate(pictures):
            if picture.data is not None:
                first.setdefault(picture.frame_id, f"p-{code}-{number}")
    return found | first


def example_parts(example: str, known: Places) -> tuple[str | None, str]:
    """Part an example into the frame id it begins with, if the page shows that frame, and the rest.

    Args:
        example: "<frame id>[, object <id>]: <message>".
        known: as `places` gives it.
    """
    for separator in (", object ", ": "):
        frame_id, found, _ = example.partition(separator)
        if found and frame_id in known:
            return frame_id, example[len(frame_id) :]
    return None, example


def picture_address(picture: Picture) -> str:
    """Write a thumbnail as an address that holds it."""
    return "data:image/webp;base64," + b64encode(picture.data or b"").decode()


def evidence(material: Material | None) -> tuple[list[EvidenceImage], int]:
    """Choose the pictures of evidence that the page has room for.

    Returns:
        The first ones, and how many are left out.
    """
    images = sorted(material.evidence_images.items()) if material else []
    shown: list[EvidenceImage] = []
    room = _EVIDENCE_BYTES
    for video_id, data in images:
        kind = next((name for magic, name in _KINDS.items() if data.startswith(magic)), None)
        if kind is None or len(data) > room or len(shown) == _EVIDENCE_IMAGES:
            continue
        room -= len(data)
        address = f"data:image/{kind};base64,{b64encode(data).decode()}"
        shown.append(EvidenceImage(video_id=video_id, address=address))
    return shown, len(images) - len(shown)
