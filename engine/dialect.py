"""How an export writes its masks: on which grid, painted on the frames or not, in which order.

Decimal runs say neither their size nor their order, and the known exporter writes them row-major on
a low-resolution grid while every reader expects column-major on the image. Nothing in the JSON
contradicts the wrong reading, so the frames have to: the exporter paints each mask's contour on the
image, and where the frames are clean the object's own edge is there to be found.

The order is judged by contested pixels only, those on the boundary of one reading but not of the
other: a mask that equals its transpose says nothing. Each frame votes, so that one that happens to
fool a reading is outvoted. The price: paint on a scene of precisely its own colour is not reported,
though its one free side still tells the order. Measured error rates stand at the thresholds.
What follows from the evidence is decided in `engine.mask_order`.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine import contours
from engine.masks import Order, dense
from engine.thresholds import Thresholds

__all__ = [
    "PALETTE",
    "Evidence",
    "Grid",
    "SampleFrame",
    "SampleMask",
    "find_grid",
    "measure",
    "painted",
    "sample_indices",
]

PALETTE: tuple[tuple[int, int, int], ...] = (
    (0, 255, 0), (0, 0, 255), (255, 0, 0), (0, 255, 255),
    (255, 0, 255), (255, 255, 0), (0, 255, 128), (0, 128, 255),
)  # fmt: skip
"""The exporter's overlay colours, RGB, in the order of the frame's object list, cycling."""

_SQUARES = (64, 128, 144, 256, 288, 512, 1024)  # px: low-resolution grids of SAM 2 and its forks

_LEAST_PROFILES = 40  # without which an object has no say on whether it is painted

# Drawn videos (4 sizes, 8 backgrounds, PNG and JPEG 75 and 90): of 8,800 clean frames none has 0.25
# of an object's boundary on lines, though an object that is a line of its palette colour has up to
# 0.5; of 294 painted ones on scenes of other colours 95 % have 0.35, all PNG; the real export 0.85.
# The same videos: of 1,008 painted ones all orders right, of as many clean ones none wrong.
_LINE_SHARE, _SIDE_SHARE = 0.15, 0.4  # a frame's vote by lines, or by lines free on one side only
_DECISIVE = 2.0  # and so many times the other reading's share
_EDGE_SHARE, _NO_EDGE_SHARE = 0.5, 0.25  # on the object's worst side

_Pair: TypeAlias = tuple[int, contours.Look, contours.Look]  # position, row, column reading
_Seen: TypeAlias = tuple[int, contours.Look, float]  # position, one reading, the frame's mean step


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The grid that a video's size-less runs are on.

    Args:
        size: (height, width) in grid pixels.
        by: what it was recognised by: the image's size, the video's, or a known square.
    """

    size: tuple[int, int]
    by: Literal["image", "video", "square"]


@dataclass(frozen=True, kw_only=True)
class SampleMask:
    """One mask of a sampled frame.

    Args:
        counts: int64 run lengths, background first, whose sum is the grid's height * width.
        position: 0-based place in the frame's object list; it chooses the overlay's colour.
    """

    counts: NDArray[np.int64]
    position: int


@dataclass(frozen=True, kw_only=True)
class SampleFrame:
    """One sampled frame.

    Args:
        frame_index: the frame's index in the video.
        pixels: uint8 (height, width, 3), RGB, of the image in the export, as stored.
        masks: its masks, all on the video's grid.
    """

    frame_index: int
    pixels: NDArray[np.uint8]
    masks: tuple[SampleMask, ...]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the sampled frames show under either reading; all fields are JSON types.

    Shares are 0 to 1, rounded to 4 places; None where there was no boundary to look at.

    Args:
        frames_looked: frames with at least one boundary.
        boundary_row, boundary_column: boundary pixels looked at.
        contested_row, contested_column: those of them not on the other reading's boundary.
        paint_row, paint_column: share of `boundary_*` in the object's palette colour.
        line_row, line_column: share of profiles that cross a line of that colour, not a region;
            of the object position where it is largest, over all frames.
        frames_for_row, frames_for_column: frames whose contested pixels show paint decisively.
        gradient_row, gradient_column: mean colour step across the boundary, over the frame's mean.
        edge_frames_for_row, edge_frames_for_column: frames in which the edges of objects follow
            one reading on all sides, and not the other.
    """

    frames_looked: int
    boundary_row: int
    boundary_column: int
    contested_row: int
    contested_column: int
    paint_row: float | None
    paint_column: float | None
    line_row: float | None
    line_column: float | None
    frames_for_row: int
    frames_for_column: int
    gradient_row: float | None
    gradient_column: float | None
    edge_frames_for_row: int
    edge_frames_for_column: int


def find_grid(
    sums: Sequence[int],
    *,
    image_size: tuple[int, int] | None,
    video_size: tuple[int, int] | None,
) -> Grid | None:
    """The one grid of a video whose runs carry no size.

    The grid that most records are on; at a tie the image's before the video's before a square, then
    the larger. Records on another one are mismatches, for the caller to report.

    Args:
        sums: what each record's runs sum to, in pixels.
        image_size: (height, width) of the frame images, if known.
        video_size: (height, width) as declared, if declared.

    Returns:
        The grid, or None where no sum is that of an image, a video or a known square.
    """
    grids: dict[int, Grid] = {
        side * side: Grid(size=(side, side), by="square") for side in _SQUARES
    }
    if video_size is not None:
        grids[video_size[0] * video_size[1]] = Grid(size=video_size, by="video")
    if image_size is not None:
        grids[image_size[0] * image_size[1]] = Grid(size=image_size, by="image")
    rank = {"image": 2, "video": 1, "square": 0}
    found = [(n, rank[grids[s].by], s) for s, n in Counter(sums).items() if s > 0 and s in grids]
    return grids[max(found)[2]] if found else None


def sample_indices(frames: int, limit: int) -> list[int]:
    """Evenly spaced places in a list of frames, first and last among them.

    Args:
        frames: how many frames there are to choose from.
        limit: how many to choose at most.

    Returns:
        Ascending distinct indices in [0, frames).
    """
    take = min(frames, limit)
    if take < 2:
        return list(range(max(take, 0)))
    return [i * (frames - 1) // (take - 1) for i in range(take)]


def measure(samples: Sequence[SampleFrame], grid: tuple[int, int]) -> Evidence:
    """Look at the mask boundaries of some frames, read row-major and column-major.

    About 4 ms a mask and 1280x720 frame.

    Args:
        samples: the frames; their images may differ in size, masks are stretched to each.
        grid: (height, width) of all masks.

    Returns:
        The evidence, the same for any order of the samples.

    Raises:
        ValueError: a mask whose runs do not sum to the grid's pixels.
    """
    rows: list[_Seen] = []
    columns: list[_Seen] = []
    votes: Counter[tuple[str, Order | None]] = Counter()
    for sample in samples:
        pairs = _looks(sample, grid)
        mean = max(contours.mean_step(sample.pixels), 1.0)  # a flat frame has no gradient
        rows += [(position, row, mean) for position, row, _ in pairs]
        columns += [(position, column, mean) for position, _, column in pairs]
        votes["looked", None] += any(row.boundary or column.boundary for _, row, column in pairs)
        votes["paint", _paint_vote(pairs)] += 1
        votes["edge", _edge_vote(pairs)] += 1
    boundary_row, contested_row, paint_row, line_row, gradient_row = _tally(rows)
    boundary_column, contested_column, paint_column, line_column, gradient_column = _tally(columns)
    return Evidence(
        frames_looked=votes["looked", None],
        boundary_row=boundary_row,
        boundary_column=boundary_column,
        contested_row=contested_row,
        contested_column=contested_column,
        paint_row=paint_row,
        paint_column=paint_column,
        line_row=line_row,
        line_column=line_column,
        frames_for_row=votes["paint", "row"],
        frames_for_column=votes["paint", "column"],
        gradient_row=gradient_row,
        gradient_column=gradient_column,
        edge_frames_for_row=votes["edge", "row"],
        edge_frames_for_column=votes["edge", "column"],
    )


def painted(evidence: Evidence, share: float = Thresholds.painted_share) -> bool:
    """Whether the masks are painted on the frames, whichever way their runs go.

    Args:
        evidence: what the frames show.
        share: of an object's boundary that is a line of its palette colour, at least.

    Returns:
        True if it is so for some object; measured rates stand at the votes' shares.
    """
    return max(evidence.line_row or 0.0, evidence.line_column or 0.0) >= share


def _looks(sample: SampleFrame, grid: tuple[int, int]) -> list[_Pair]:
    """Both readings of each mask of a frame."""
    height, width = sample.pixels.shape[:2]
    found = []
    for mask in sample.masks:
        row = contours.crossings(dense(mask.counts, grid, "row"), (height, width))
        column = contours.crossings(dense(mask.counts, grid, "column"), (height, width))
        on_row, on_column = np.zeros((2, height * width), dtype=np.bool_)
        row_at, column_at = (c[:, 0] * width + c[:, 1] for c in (row, column))
        on_row[row_at] = on_column[column_at] = True
        colour = PALETTE[mask.position % len(PALETTE)]
        seen_row = contours.look(sample.pixels, row, ~on_column[row_at], colour)
        seen_column = contours.look(sample.pixels, column, ~on_row[column_at], colour)
        found.append((mask.position, seen_row, seen_column))
    return found


def _paint_vote(pairs: Sequence[_Pair]) -> Order | None:
    """What a frame's paint says: its clearest object's lines, else those free on one side."""
    by_line = [(row.line_share, column.line_share) for _, row, column in pairs]
    by_side = [(row.side_share, column.side_share) for _, row, column in pairs]
    for shares, least in ((by_line, _LINE_SHARE), (by_side, _SIDE_SHARE)):
        row, column = max(shares, key=lambda s: (abs(s[0] - s[1]), s), default=(0.0, 0.0))
        if max(row, column) >= max(least, _DECISIVE * min(row, column)):
            return "row" if row > column else "column"
    return None


def _edge_vote(pairs: Sequence[_Pair]) -> Order | None:
    """What the edges in a frame say, if its objects do not contradict each other."""
    votes: set[Order] = set()
    for _, row, column in pairs:
        if row.edge_share is None or column.edge_share is None:
            continue
        if row.edge_share >= _EDGE_SHARE and column.edge_share <= _NO_EDGE_SHARE:
            votes.add("row")
        elif column.edge_share >= _EDGE_SHARE and row.edge_share <= _NO_EDGE_SHARE:
            votes.add("column")
    return votes.pop() if len(votes) == 1 else None


def _tally(
    seen: Sequence[_Seen],
) -> tuple[int, int, float | None, float | None, float | None]:
    """Boundary, contested, paint, line and gradient of one reading, as in `Evidence`."""
    boundary = sum(look.boundary for _, look, _ in seen)
    paint = sum(look.coloured for _, look, _ in seen)
    gradient = math.fsum(look.step * look.boundary / mean for _, look, mean in seen)
    lines: Counter[int] = Counter()
    looked: Counter[int] = Counter()
    for position, look, _ in seen:
        lines[position] += look.lines
        looked[position] += look.boundary
    shares = [lines[k] / looked[k] for k in looked if looked[k] >= _LEAST_PROFILES]
    return (
        boundary,
        sum(look.contested for _, look, _ in seen),
        round(paint / boundary, 4) if boundary else None,
        round(max(shares), 4) if shares else None,
        round(gradient / boundary, 4) if boundary else None,
    )
