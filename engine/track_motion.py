"""What of an object's way through a video is no motion: jumps of area and place, frozen masks.

Every track is judged by its own normal behaviour, since one threshold cannot fit a parked car and
a tennis ball. A step is ordinary as far as it is small, or like the step before it or after it
(steady motion, its beginning and its end): what is left unexplained is compared with the median of
what is left on the same track, and with a floor that grows with the time between two exported
frames. What comes and goes at the frame's edge or behind something shrinks there: that is no jump.

The price of looking at neighbours: a jump that is repeated by the next step looks like motion.

The constants were chosen on simulated tracks (tests/simulated_tracks.py: nine kinds of motion, 24
to 60 frames/s, every frame to one a second, 12 to 149 frames, sharp outlines and noisy ones). Over
1,000 faults of each kind in other such tracks, found at the very frame: recall and precision of
area jumps (2.2 to 6 times) 0.96 and 0.97, of centroid jumps (a quarter of the diagonal, twice the
quick steps) 0.97 and 0.96, of frozen masks (3 to 8 steps) 0.96 and 0.99. In 600 videos of two
objects without a fault: 5 area jumps, no centroid jump, and 6 frozen masks, mostly of drawn objects
that stop for good. What is missed is mostly cut off by the frame's edge, or sampled once or twice a
second on a track that jumps about by nature. The real export has none of these findings.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Track", "area_jumps", "centroid_jumps", "frozen_runs"]

_Bools: TypeAlias = NDArray[np.bool_]
_Floats: TypeAlias = NDArray[np.float64]
_Ints: TypeAlias = NDArray[np.int64]

_POINTS_MIN = 5  # with fewer there is no normal behaviour to deviate from
_TIMES_STEP = 2.0  # and of its steps: turning round at full speed is no jump

# Area, as its natural logarithm: more is let pass for frames that lie apart.
_LOG_AREA_A_FRAME, _LOG_AREA_MORE = 0.008, 0.3
_AREA_SHARE, _AREA_PX = 1e-4, 16  # of the frame: less is a few cells of the exporter's grid

# How far a side may move that comes or goes: in the track's quick steps, at least in diagonals.
_EDGE_QUANTILE, _EDGE_STEPS, _EDGE_DIAGONAL = 0.9, 1.5, 0.02

# Place, in shares of the frame's diagonal, and in object sizes: a part of it may be covered.
_DIAGONAL_A_FRAME, _DIAGONAL_MORE = 0.004, 0.15
_OBJECT, _OBJECT_COVERED = 0.35, 0.5

# Equal masks, counted in steps. Masks stay equal where motion is slower than the grid they are on.
_EQUAL_STEPS_TO_END, _EQUAL_STEPS_STILL = 3, 5
_EQUAL_ELSEWHERE, _EQUAL_ELSEWHERE_STILL = 0.1, 0.02
_OTHER_STEPS, _OTHER_STEPS_STILL = 5, 20
_GRID = 256  # cells a side, the exporter's
_CELLS_A_STEP, _CELLS_MISSED = 0.5, 2.0
_STEPS_AROUND = 6
_DISTINCT = 0.9  # of the areas: such an outline is another one each time, standing or not
_STEPS_STRAIGHT, _STRAIGHT = 3, 0.6  # net way to path


@dataclass(frozen=True, kw_only=True, eq=False)
class Track:
    """The frames in which an object is visible, n of them, by rising frame index.

    Args:
        row: int64 (n,), the frame's place among the frames of the video.
        frame: int64 (n,), frame index.
        area: float64 (n,), px, above 0.
        centre: float64 (n, 2), x and y of the centroid in px.
        box: float64 (n, 4), x, y, width, height in px.
        size: float64 (n, 2), width and height of the image in px.
        mask: int64 (n,), equal where the masks are.
        joined: bool (n - 1,), False where the object is known not to be visible in between.
        bordering: bool (n,), the object is known not to be visible in the frame before or after.
    """

    row: _Ints
    frame: _Ints
    area: _Floats
    centre: _Floats
    box: _Floats
    size: _Floats
    mask: _Ints
    joined: _Bools
    bordering: _Bools

    def __len__(self) -> int:
        return self.row.size

    def without(self, points: _Ints) -> "Track":
        """Give the track without some of its points; what was joined over them stays so."""
        keep = np.setdiff1d(np.arange(len(self)), points)
        apart = np.concatenate([[0], np.cumsum(~self.joined)])[keep]
        columns = ("row", "frame", "area", "centre", "box", "size", "mask", "bordering")
        taken = {name: getattr(self, name)[keep] for name in columns}
        return Track(joined=np.diff(apart) == 0, **taken)

    @property
    def diagonal(self) -> _Floats:
        """Of the image, px, float64 (n,)."""
        return np.hypot(self.size[:, 0], self.size[:, 1])

    @property
    def extent(self) -> _Floats:
        """Of the object, px, float64 (n,): the side of a square with its box's diagonal."""
        side: _Floats = np.hypot(self.box[:, 2], self.box[:, 3]) / np.sqrt(2)
        return side

    @property
    def cut_off(self) -> _Bools:
        """Whether the object touches the frame's edge, bool (n,): part of it may be outside."""
        far = self.box[:, :2] + self.box[:, 2:]
        beyond: _Bools = (self.box[:, :2] <= 0) | (far >= self.size)
        return beyond[:, 0] | beyond[:, 1]

    @property
    def gaps(self) -> _Floats:
        """Time of each step in usual steps of the track, 1 or more, float64 (n - 1,)."""
        frames = np.diff(self.frame)
        return np.maximum(1.0, frames / np.median(frames)) if frames.size else frames.astype(float)


def area_jumps(track: Track, *, factor: float, times_normal: float) -> list[tuple[int, int]]:
    """Find where the area changes at once, against the track's own changes.

    Args:
        track: of an object.
        factor: a smaller change is none.
        times_normal: nor is one below so many times the median of the track's unexplained steps;
            areas wander less than places do.

    Returns:
        (point, the point to compare it with), one for each stretch that deviates: a change there
        and back again is one jump.
    """
    if len(track) < _POINTS_MIN:
        return []
    log = np.log(track.area)[:, None]
    ordinary = _comes_or_goes(track)
    left, normal = _unexplained(log, track, ~ordinary)
    frames = np.diff(track.frame)
    floor = np.log(factor) + np.minimum(_LOG_AREA_MORE, _LOG_AREA_A_FRAME * frames)
    pixels = np.maximum(track.size[:-1].prod(axis=1), track.size[1:].prod(axis=1))
    large = np.abs(np.diff(track.area)) > np.maximum(_AREA_PX, _AREA_SHARE * pixels)
    out = track.joined & large & ~ordinary & (left > np.maximum(floor, times_normal * normal))
    return _stretches(np.flatnonzero(out), log)


def centroid_jumps(track: Track, *, share: float, times_normal: float) -> list[tuple[int, int]]:
    """Find where the place changes at once, against the track's own motion.

    Args:
        track: of an object.
        share: of the frame's diagonal; a smaller step is no jump.
        times_normal: nor is one below so many times the median of the track's unexplained steps.

    Returns:
        As `area_jumps`.
    """
    if len(track) < _POINTS_MIN:
        return []
    cut = track.cut_off
    left, normal = _unexplained(track.centre, track, ~(cut[:-1] | cut[1:]))
    frames = np.diff(track.frame)
    shares = share + np.minimum(_DIAGONAL_MORE, _DIAGONAL_A_FRAME * frames)
    diagonal = np.maximum(track.diagonal[:-1], track.diagonal[1:])
    extent = np.maximum(track.extent[:-1], track.extent[1:])
    pair = np.stack([track.area[:-1], track.area[1:]])
    covered = 1.0 - pair.min(axis=0) / pair.max(axis=0)
    floor = np.maximum(shares * diagonal, (_OBJECT + _OBJECT_COVERED * covered) * extent)
    out = track.joined & (left > np.maximum(floor, times_normal * normal))
    return _stretches(np.flatnonzero(out), track.centre)


def _comes_or_goes(track: Track) -> _Bools:
    """Of each step, whether the object is smaller at one end for it is partly out of sight there.

    It is so next to a frame in which it cannot be seen at all, and at the edge of the frame, as far
    as the object's sides move no faster than it does elsewhere (or all of it is elsewhere at once,
    which is a jump of its place).
    """
    pair = np.stack([track.area[:-1], track.area[1:]])
    smaller = np.arange(len(track) - 1) + np.argmin(pair, axis=0)
    cut = track.cut_off
    way = np.linalg.norm(np.diff(track.centre, axis=0), axis=1)
    steps = way / track.gaps
    free = steps[track.joined & ~(cut[:-1] | cut[1:])]
    free = free if free.size >= _POINTS_MIN - 1 else steps
    usual = float(np.quantile(free, _EDGE_QUANTILE, method="lower"))
    room = np.maximum(_EDGE_STEPS * usual, _EDGE_DIAGONAL * track.diagonal[:-1]) * track.gaps
    sides = np.hstack([track.box[:, :2], track.box[:, :2] + track.box[:, 2:]])
    slow = np.abs(np.diff(sides, axis=0)).max(axis=1) <= room
    elsewhere = way > 0.5 * np.maximum(track.extent[:-1], track.extent[1:])
    found: _Bools = track.bordering[smaller] | (cut[smaller] & (slow | elsewhere))
    return found


def _unexplained(values: _Floats, track: Track, telling: _Bools) -> tuple[_Floats, float]:
    """Of each step, the length that neither its neighbours nor the time explain; and the usual one.

    Args:
        values: float64 (n, k).
        track: which steps are joined, and how much time they take.
        telling: bool (n - 1,), the steps that show what is usual; where there are too few, all do.
    """
    steps = np.diff(values, axis=0) / track.gaps[:, None]
    lengths = np.linalg.norm(steps, axis=1)
    change = np.linalg.norm(np.diff(steps, axis=0), axis=1)
    change[~(track.joined[1:] & track.joined[:-1])] = np.inf
    left = np.minimum(lengths, np.minimum(np.append(np.inf, change), np.append(change, np.inf)))
    telling = telling & track.joined
    telling = telling if telling.sum() >= _POINTS_MIN - 1 else track.joined
    normal = _median(left[telling])
    left[lengths <= _TIMES_STEP * _median(lengths[telling])] = 0.0
    return left, normal


def _median(values: _Floats) -> float:
    """The lower one: a deviation makes two of a short track's few steps unusual."""
    return float(np.quantile(values, 0.5, method="lower")) if values.size else 0.0


def _stretches(steps: _Ints, values: _Floats) -> list[tuple[int, int]]:
    """From unusual steps to what deviates: a step there and the step back are one."""

    def is_back(point: int, home: int, away: int) -> bool:
        there = values[away] - values[home]
        back = values[point] - values[point - 1]
        left = min(np.linalg.norm(values[point] - values[home]), np.linalg.norm(there + back))
        return bool(left < 0.5 * np.linalg.norm(there))

    found: list[tuple[int, int]] = []
    away: tuple[int, int] | None = None
    for number, step in enumerate(steps.tolist()):
        if away is not None and is_back(step + 1, away[1], away[0]):
            away = None
            continue
        away = (step + 1, step)
        later = steps[number + 1 :].tolist()
        odd_start = step == 0 and not any(is_back(each + 1, 0, 1) for each in later)
        found.append((0, 1) if odd_start else away)
    return found


def frozen_runs(
    track: Track, other_picture: Callable[[int, int], bool], *, steps: int
) -> list[tuple[int, int]]:
    """Find where a mask stays as it is while the object, by the rest of its track, moves on.

    A mask that catches up in one step afterwards was frozen; one that goes on at its pace had
    stopped, unless its outline never repeats elsewhere. Without an afterwards, or where the object
    hardly moves, only the length of the run and the rarity of equal masks elsewhere speak: a drawn
    object that stops for good is taken for frozen, a filmed one has no equal masks.

    Args:
        track: of an object.
        other_picture: whether the frames at two rows are known to have different images.
        steps: in which the mask stays the same, at least.

    Returns:
        (first, last) point of each run of equal masks.
    """
    equal = (np.diff(track.mask) == 0) & track.joined
    for i in np.flatnonzero(equal):
        equal[i] = other_picture(int(track.row[i]), int(track.row[i + 1]))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], equal, [False]]).astype(np.int8)))
    runs = [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    others = int((~equal & track.joined).sum())
    return [
        run
        for run in runs
        if run[1] - run[0] >= steps and _is_frozen(track, run, len(runs) - 1, others)
    ]


def _is_frozen(track: Track, run: tuple[int, int], other_runs: int, others: int) -> bool:
    """Judge the run of equal masks from point `run[0]` to point `run[1]`."""
    first, last = run
    length = last - first
    if others < _OTHER_STEPS or other_runs > _EQUAL_ELSEWHERE * others:
        return False
    moved = np.linalg.norm(np.diff(track.centre, axis=0), axis=1)
    moved = moved + np.abs(np.diff(np.sqrt(track.area)))
    moved = moved / np.maximum(1.0, track.size[:-1].max(axis=1) / _GRID)
    thaws = last < len(track) - 1 and bool(track.joined[last])
    before = moved[max(0, first - _STEPS_AROUND) : first]
    after = moved[last + 1 : last + 1 + _STEPS_AROUND]
    usual = float(np.median(np.concatenate([before, after]))) if before.size + after.size else 0.0
    if usual >= _CELLS_A_STEP and length * usual >= _CELLS_MISSED:
        if thaws and moved[last] >= min(1 + 0.2 * length, 1.8) * usual:
            return True
        areas = np.delete(track.area, np.arange(first, last))
        unsteady = np.unique(areas).size >= _DISTINCT * areas.size
        stopped = thaws and not unsteady and _is_straight(track, first, last)
        return not stopped and length >= _EQUAL_STEPS_TO_END
    rare = others >= _OTHER_STEPS_STILL and other_runs <= _EQUAL_ELSEWHERE_STILL * others
    return length >= _EQUAL_STEPS_STILL and rare


def _is_straight(track: Track, first: int, last: int) -> bool:
    """Whether the object comes and goes on a way, on which it may stop; a shake does not stop."""
    sides = track.centre[max(0, first - _STEPS_AROUND) : first + 1], track.centre[last:][1:]
    for way in (sides[0], sides[1][: _STEPS_AROUND + 1]):
        if len(way) > _STEPS_STRAIGHT:
            path = np.linalg.norm(np.diff(way, axis=0), axis=1).sum()
            if np.linalg.norm(way[-1] - way[0]) < _STRAIGHT * path:
                return False
    return True
