"""Findings that no frame shows by itself: what only the way of an object through its video tells.

A change of label or a repeated image is a fact and needs no threshold. Jumps and frozen masks are
judged by each track's own behaviour (`engine.track_motion`), timestamps by the line they lie on
(`engine.frame_times`).

An object flickers if it is there, not there, and there again at nearly the same place and size, and
the time in between is too short for anything else: one exported frame without its record, or two
within half a second. An object whose mask the exporter writes as hidden is believed: that is
occlusion, and `object_hidden` says it, unless it lasts a frame or three of the video at most, in
which nothing can come before an object and go again. A frame in which any object cannot be read, or
there is no object at all, has errors of its own; it proves nothing about who is absent.
"""

from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.frame_times import unfitting_times
from engine.records import Issue
from engine.thresholds import Thresholds
from engine.track_motion import Track, area_jumps, centroid_jumps, frozen_runs

__all__ = ["TRACK_CODES", "TRACK_SCHEMA", "track_issues"]

TRACK_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("video_id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("frame_index", pa.int64()),
        pa.field("timestamp_sec", pa.float64()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("labels", pa.list_(pa.string())),
        pa.field("object_ids", pa.list_(pa.int64())),
        pa.field("areas", pa.list_(pa.int64())),
        pa.field("bounding_boxes", pa.list_(pa.list_(pa.int32()))),
        pa.field("centroids", pa.list_(pa.list_(pa.float64()))),
        pa.field("masks", pa.list_(pa.int64())),  # equal where the masks are
        pa.field("objects_declared", pa.int32()),
        pa.field("objects_hidden", pa.int32()),
        pa.field("hidden_object_ids", pa.list_(pa.int64())),
        pa.field("image", pa.string()),  # equal where the images are; null: not known
        pa.field("annotation_digest", pa.string()),
    ]
)

# Of each object one number or some: of long videos too many to be objects of Python.
_NUMBERS = {"areas": 1, "bounding_boxes": 4, "centroids": 2, "masks": 1}

TRACK_CODES = frozenset(
    {
        "area_jump", "centroid_jump", "image_repeated", "label_change", "mask_frozen",
        "object_flicker", "timestamp_mismatch",
    }
)  # fmt: skip
"""What only a whole video shows: such a finding may not hold when more of its frames are there."""

# Flicker, in frames of the export and of the video.
_ABSENT_FRAMES = 15  # from seen to seen again, if more than one frame of the export is without it
_HIDDEN_FRAMES = 4
_PLACE, _SIZE = 0.35, 1.6  # of the object's extent; factor of its area
_SPECK, _SPECK_PX = 1e-4, 16  # of the frame: a few cells of the exporter's grid come and go
_SLIVER = 0.03  # of the diagonal: what is left of an object that leaves or enters the frame

_Row = dict[str, Any]
_Numbers = dict[str, NDArray[Any]]

_THRESHOLDS = Thresholds()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """An object in one frame: the frame's place, and the object's place in the frame."""

    row: int
    place: int


def track_issues(
    frames: pa.Table,
    rate: float | None = None,
    export_rate: float | None = None,
    thresholds: Thresholds = _THRESHOLDS,
) -> list[Issue]:
    """Find what only the whole video shows.

    Args:
        frames: the frames of one video, of `TRACK_SCHEMA`, in any order.
        rate: frames a second of the video, as declared.
        export_rate: frames a second of the export, as declared.
        thresholds: from which a jump is one.

    Returns:
        Issues by frame index, then code, then object; all of them warnings.
    """
    numbers = {name: _flat(frames[name], width) for name, width in _NUMBERS.items()}
    rows = _unambiguous(frames)
    found = [*_repeated_images(rows), *_times(rows, rate, export_rate, thresholds)]
    for object_id, seen in _tracks(rows).items():
        found += _label_changes(rows, object_id, seen)
        found += _motion(rows, object_id, _track(rows, numbers, object_id, seen), thresholds)
    return sorted(found, key=lambda i: (i.frame_index or 0, i.code, i.object_id or 0))


def _flat(lists: pa.ChunkedArray, width: int) -> NDArray[Any]:
    """Give what all objects have of a column, one after the other: (n,) or (n, width)."""
    values = pc.list_flatten(lists)
    if width == 1:
        return np.asarray(values.to_numpy())
    return np.asarray(pc.list_flatten(values).to_numpy()).reshape(-1, width)


def _unambiguous(frames: pa.Table) -> list[_Row]:
    """Frames by index; one that comes with different annotations is left out: which is right?

    Instead of an object's numbers a row has `first`: where those of its objects begin.
    """
    counts = pc.list_value_length(frames["areas"]).to_numpy()
    frames = frames.drop_columns([*_NUMBERS]).append_column(
        "first", pa.array(np.cumsum(counts) - counts, pa.int64())
    )
    rows = [row for row in frames.to_pylist() if row["frame_index"] is not None]
    rows.sort(key=lambda row: (row["frame_index"], row["source"], row["annotation_digest"]))
    kept = []
    for _, group in groupby(rows, key=lambda row: row["frame_index"]):
        same = list(group)
        if len({row["annotation_digest"] for row in same}) == 1:
            kept.append(same[0])
    return kept


def _tracks(rows: list[_Row]) -> dict[int, list[_Seen]]:
    """Where each object is seen. Two records of one id in a frame are not one object's track."""
    tracks: defaultdict[int, list[_Seen]] = defaultdict(list)
    for number, row in enumerate(rows):
        ids = row["object_ids"]
        for place, object_id in enumerate(ids):
            if object_id is not None and ids.count(object_id) == 1:
                tracks[object_id].append(_Seen(row=number, place=place))
    return dict(sorted(tracks.items()))


def _issue(code: str, row: _Row, message: str, object_id: int | None = None) -> Issue:
    return Issue(
        code=code, source=row["source"], video_id=row["video_id"], frame_id=row["id"],
        frame_index=row["frame_index"], object_id=object_id, message=message,
    )  # fmt: skip


def _repeated_images(rows: list[_Row]) -> list[Issue]:
    return [
        _issue(
            "image_repeated", row,
            f"the image is that of frame {before['frame_index']} to the byte, expected another",
        )
        for before, row in pairwise(rows)
        if row["image"] is not None and row["image"] == before["image"]
    ]  # fmt: skip


def _times(
    rows: list[_Row], rate: float | None, export_rate: float | None, thresholds: Thresholds
) -> list[Issue]:
    timed = [row for row in rows if row["timestamp_sec"] is not None]
    frames = np.array([row["frame_index"] for row in timed], dtype=np.int64)
    times = np.array([row["timestamp_sec"] for row in timed], dtype=np.float64)
    return [
        _issue(
            "timestamp_mismatch", timed[place],
            f"timestamp_sec is {times[place]:.3f}, expected {expected:.3f} by {by}",
        )
        for place, expected, by in unfitting_times(
            frames, times, rate, export_rate, rounding_sec=thresholds.timestamp_sec
        )
    ]  # fmt: skip


def _label_changes(rows: list[_Row], object_id: int, seen: list[_Seen]) -> list[Issue]:
    """Report each stretch of another label once; the way back is no change."""
    labels = [rows[s.row]["labels"][s.place] for s in seen]
    pairs = zip(labels, (s.row for s in seen), strict=True)
    runs = [(label, list(group)) for label, group in groupby(pairs, key=lambda pair: pair[0])]
    found, settled = [], runs[0][0]
    if labels.count(labels[0]) == 1 and len(runs) > 1 and len(runs[1][1]) > 1:
        settled = runs[1][0]
    for place, (label, group) in enumerate(runs):
        if label == settled:
            continue
        frames = f"{len(group)} frame" + "s" * (len(group) != 1)
        found.append(
            _issue(
                "label_change", rows[group[0][1]],
                f"label is {label!r} from here on for {frames}, expected {settled!r} as in the "
                f"others of this object", object_id,
            )
        )  # fmt: skip
        returns = place + 1 < len(runs) and runs[place + 1][0] == settled
        settled = settled if returns or place == 0 else label
    return found


def _absence(row: _Row, object_id: int) -> str:
    """Whether an object without a visible mask in this frame is "absent", "hidden" or "unknown"."""
    if object_id in row["hidden_object_ids"]:
        return "hidden"
    readable = row["objects_hidden"] + len(row["object_ids"])
    certain = row["objects_declared"] == readable > 0 and object_id not in row["object_ids"]
    return "absent" if certain and None not in row["object_ids"] else "unknown"


def _motion(rows: list[_Row], object_id: int, track: Track, thresholds: Thresholds) -> list[Issue]:
    found = _flickers(rows, object_id, track, thresholds.flicker_frames)

    def other_picture(a: int, b: int) -> bool:
        images = rows[a]["image"], rows[b]["image"]
        return None not in images and images[0] != images[1]

    frozen = frozen_runs(track, other_picture, steps=thresholds.frozen_steps)
    for first, last in frozen:
        start, stop = (rows[int(track.row[p])] for p in (first, last))
        found.append(
            _issue(
                "mask_frozen", rows[int(track.row[first + 1])],
                f"the mask is that of frame {start['frame_index']} until frame "
                f"{stop['frame_index']}, expected it to change as before and after", object_id,
            )
        )  # fmt: skip
    # A frozen mask catches up at its end; over the time that took, this may be no jump.
    held = [np.arange(first + 1, last + 1) for first, last in frozen]
    track = track.without(np.concatenate([np.zeros(0, np.int64), *held]))
    found += _jumps(rows, object_id, track, thresholds)
    return found


def _jumps(rows: list[_Row], object_id: int, track: Track, thresholds: Thresholds) -> list[Issue]:
    found = []
    for point, other in area_jumps(
        track, factor=thresholds.area_jump_factor, times_normal=thresholds.area_jump_normal
    ):
        row, before = rows[int(track.row[point])], rows[int(track.row[other])]
        factor = track.area[point] / track.area[other]
        found.append(
            _issue(
                "area_jump", row,
                f"area is {track.area[point]:.0f} px, {factor:.2g} times the "
                f"{track.area[other]:.0f} px of frame {before['frame_index']}, expected a change "
                f"as between its other frames", object_id,
            )
        )  # fmt: skip
    for point, other in centroid_jumps(
        track, share=thresholds.centroid_jump_share, times_normal=thresholds.centroid_jump_normal
    ):
        row, before = rows[int(track.row[point])], rows[int(track.row[other])]
        (x, y), (x0, y0) = track.centre[point], track.centre[other]
        found.append(
            _issue(
                "centroid_jump", row,
                f"centroid is ({x:.0f}, {y:.0f}), {np.hypot(x - x0, y - y0):.0f} px from that of "
                f"frame {before['frame_index']}, ({x0:.0f}, {y0:.0f}), expected a step as between "
                f"its other frames", object_id,
            )
        )  # fmt: skip
    return found


def _track(rows: list[_Row], numbers: _Numbers, object_id: int, seen: list[_Seen]) -> Track:
    sizes = [(rows[s.row]["width"], rows[s.row]["height"]) for s in seen]
    usual = min(set(sizes), key=lambda size: (-sizes.count(size), size))
    seen = [s for s, size in zip(seen, sizes, strict=True) if size == usual]  # others are errors
    at = np.array([rows[s.row]["first"] + s.place for s in seen], dtype=np.int64)
    places = [s.row for s in seen]
    gone = [
        [k for k in range(a + 1, b) if _absence(rows[k], object_id) != "unknown"]
        for a, b in pairwise([-1, *places, len(rows)])
    ]
    near = [
        any(0 <= k < len(rows) and k not in (before, after) and _absence(rows[k], object_id)
            != "unknown" for k in (place - 1, place + 1))
        for before, place, after in zip([-1, *places[:-1]], places, [*places[1:], -1], strict=True)
    ]  # fmt: skip
    return Track(
        row=np.array(places, dtype=np.int64),
        frame=np.array([rows[k]["frame_index"] for k in places], dtype=np.int64),
        area=numbers["areas"][at].astype(np.float64),
        centre=numbers["centroids"][at].astype(np.float64),
        box=numbers["bounding_boxes"][at].astype(np.float64),
        size=np.array([usual] * len(seen), dtype=np.float64),
        mask=numbers["masks"][at].astype(np.int64),
        joined=np.array([not between for between in gone[1:-1]], dtype=bool),
        bordering=np.array(near, dtype=bool),
    )


def _flickers(rows: list[_Row], object_id: int, track: Track, most_rows: int) -> list[Issue]:
    steps = np.linalg.norm(np.diff(track.centre, axis=0), axis=1)
    usual = float(np.median(steps[track.joined])) if track.joined.any() else 0.0
    found = []
    for step, (a, b) in enumerate(pairwise(track.row.tolist())):
        between = rows[a + 1 : b]
        kinds = {_absence(row, object_id) for row in between}
        if not between or "unknown" in kinds or len(between) > most_rows:
            continue
        frames = int(track.frame[step + 1] - track.frame[step])
        if ("hidden" in kinds and frames > _HIDDEN_FRAMES) or (
            len(between) > 1 and frames > _ABSENT_FRAMES
        ):
            continue
        if _is_back(track, step, usual * (len(between) + 1)):
            found.append(
                _issue(
                    "object_flicker", between[0],
                    f"not there for {len(between)} frame" + "s" * (len(between) > 1) + ", expected "
                    f"it where it is in frames {rows[a]['frame_index']} and "
                    f"{rows[b]['frame_index']}", object_id,
                )
            )  # fmt: skip
    return found


def _is_back(track: Track, step: int, way_px: float) -> bool:
    """Whether the object after a step is at nearly the place and size of before it."""
    ends = slice(step, step + 2)
    extent = float(track.extent[ends].max())
    moved = float(np.linalg.norm(track.centre[step + 1] - track.centre[step]))
    if moved > max(_PLACE * extent, 2 * way_px):
        return False
    area = track.area[ends]
    speck = max(_SPECK_PX, _SPECK * track.size[step].prod())
    if area.max() > _SIZE * area.min() or area.min() < speck:
        return False
    thickness = track.box[ends, 2:].min(axis=1)
    sliver = thickness < np.maximum(_SLIVER * track.diagonal[ends], way_px)
    return not bool(np.any(sliver & track.cut_off[ends]))
