"""Which timestamps do not fit: those off the straight line that frames and their times lie on.

The declared frame rate alone proves little: the known exporter writes 30 whatever the video is,
and a frame index may count the frames of the export as well as those of the video. So a declared
rate is the measure where most frames lie on its line, wherever that line begins; else the video's
own line is, and the declared rate is what does not fit if the two differ clearly. Times that wander
(a variable frame rate) or are rounded coarsely widen the tolerance by their own spread.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.thresholds import Thresholds

__all__ = ["unfitting_times"]

_Floats: TypeAlias = NDArray[np.float64]
_Ints: TypeAlias = NDArray[np.int64]

_NEAR = 0.5  # of the time between two frames
_ON_DECLARED_LINE = 0.4  # of the frames, and two at least
_OWN_LINE_FRAMES = 5
_SPREADS = 6.0  # standard deviations, by the median of the distances
_DRIFT_SPREADS = 3.0  # by the end of the video, or the times just wander
_RATE_DIFFERS = 0.02  # 24 and 25 differ, 29.97 and 30 do not


def unfitting_times(
    frames: _Ints,
    times: _Floats,
    rate: float | None,
    export_rate: float | None,
    *,
    rounding_sec: float = Thresholds.timestamp_sec,
) -> list[tuple[int, float, str]]:
    """Find timestamps that do not fit their frame index.

    Args:
        frames: int64 (n,), frame indices, rising.
        times: float64 (n,), seconds.
        rate: frames a second of the video, as declared.
        export_rate: frames a second of the export; counts where the export's frames are numbered
            one by one.
        rounding_sec: a time may be off by so much in any case.

    Returns:
        (place among the n, the time expected in seconds, by which rate), in order.
    """
    one_by_one = frames.size > 1 and np.median(np.diff(frames)) == 1
    declared = [rate, export_rate] if one_by_one else [rate]
    rates = [float(each) for each in declared if each is not None and each > 0]
    if not frames.size:
        return []
    exact = _resolution_sec(times, rounding_sec)
    for fps in rates:
        near = max(_NEAR / fps, exact)
        begin = _common_start(frames, times, 1 / fps, near)
        if begin is not None:
            line = begin + frames / fps
            return _named(np.abs(times - line) > near, line, f"{fps:g} frames/s")
    if frames.size < _OWN_LINE_FRAMES:
        return []
    half = frames.size // 2
    period = float(np.median((times[half:] - times[:-half]) / (frames[half:] - frames[:-half])))
    own = times - frames * period
    start = float(np.median(own))
    distances = np.abs(own - start)
    spread = _SPREADS * 1.4826 * float(np.median(distances))
    drift = abs(period - 1 / rates[0]) if rates else 0.0
    steady = drift * (frames[-1] - frames[0]) > _DRIFT_SPREADS * spread
    if rates and drift * rates[0] > _RATE_DIFFERS and steady:
        seen = f"{1 / period:.4g} frames/s" if period > 0 else "times that do not rise"
        line = times[0] + (frames - frames[0]) / rates[0]
        off = np.abs(times - line) > max(_NEAR / rates[0], exact)
        return _named(off, line, f"{rates[0]:g} frames/s as declared; the video has {seen}")
    off = distances > max(_NEAR * abs(period), exact, spread)
    return _named(off, start + frames * period, "the video's other frames")


def _resolution_sec(times: _Floats, least_sec: float) -> float:
    """How far a time may be off by the rounding that all of them have gone through."""
    for step in (1.0, 0.1, 0.01) if np.ptp(times) > 0 else ():
        if np.all(np.abs(times - np.round(times / step) * step) < 1e-6):
            return max(0.6 * step, least_sec)
    return least_sec


def _common_start(
    frames: _Ints, times: _Floats, period_sec: float, near_sec: float
) -> float | None:
    """The time of frame 0 that most frames agree on, None if too few do."""
    starts = np.sort(times - frames * period_sec)
    stops = np.searchsorted(starts, starts + 2 * near_sec, "right")
    agree = stops - np.arange(starts.size)
    if not agree.size or agree.max() < max(2.0, _ON_DECLARED_LINE * starts.size):
        return None
    first = int(np.argmax(agree))
    return float(np.median(starts[first : stops[first]]))


def _named(off: NDArray[np.bool_], line: NDArray[Any], by: str) -> list[tuple[int, float, str]]:
    return [(int(place), float(line[place]), by) for place in np.flatnonzero(off)]
