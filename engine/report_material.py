"""What the page shows beside the report's document: figures, timelines, pictures, all bounded.

Plain records between those who collect it (tasks and the driver) and the page that draws it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.frame_tally import Tally

__all__ = ["Mark", "Material", "Picture", "Timeline", "Together", "Track"]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One thumbnail, or why there is none.

    Args:
        frame_id: of the frame.
        kind: "case"; "before": the frame to compare the next one with; "bare": nothing is drawn.
        object_ids: outlined strongly.
        data: WebP; None where nothing can be shown.
        width: of the thumbnail, px.
        height: of the thumbnail, px.
        missing: why there is nothing to show; None if there is.
    """

    frame_id: str
    kind: str
    object_ids: tuple[int, ...]
    data: bytes | None
    width: int
    height: int
    missing: str | None


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Findings in one column of a timeline.

    Args:
        column: from 0.
        severity: of the worst of them.
        codes: of all of them, sorted, each with its number.
        objects: ids of the objects they are about, sorted.
    """

    column: int
    severity: str
    codes: tuple[tuple[str, int], ...]
    objects: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Track:
    """When one object is visible.

    Args:
        object_id: of the object.
        label: its label here; an object whose label changes has a track for each.
        whole: [start, stop) columns in all of whose frames it is visible, sorted.
        partly: [start, stop) columns in some of whose frames it is.
        frames: in which it is visible.
    """

    object_id: int
    label: str
    whole: tuple[tuple[int, int], ...]
    partly: tuple[tuple[int, int], ...]
    frames: int


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """One video: which object is visible when, and where findings are.

    Args:
        video_id: of the video.
        frames: of the video, those set aside too.
        indices: for each column, its first and last frame index; None where frames have none.
        tracks: those with findings and the longest, by object id.
        tracks_omitted: how many are not shown.
        marks: by column.
        findings: in this video, those without a frame too.
    """

    video_id: str
    frames: int
    indices: tuple[tuple[int | None, int | None], ...]
    tracks: tuple[Track, ...]
    tracks_omitted: int
    marks: tuple[Mark, ...]
    findings: int


@dataclass(frozen=True, kw_only=True)
class Together:
    """Which classes are in one frame together.

    Args:
        labels: the classes with the most instances, largest first.
        omitted: how many classes are not shown.
        frames: frames[i][j]: frames that hold class i and class j; frames[i][i]: that hold class i.
    """

    labels: tuple[str, ...]
    omitted: int
    frames: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Material:
    """All of it.

    Args:
        tally: of areas and boxes in the frames that the report's figures are about.
        frames_by_video: (video id, frames), most frames first.
        objects_per_frame: frames by the number of objects visible in them, from 0.
        together: classes in one frame.
        timelines: of the videos with the most findings.
        timelines_omitted: videos that have none here.
        pictures: by code of finding, in the order to be shown.
        places: for a frame id with a finding in a video with a timeline, its (timeline, column).
        evidence_images: by video id, a picture (PNG, JPEG or WebP) that shows how its masks are
            read; the page shows some of them.
    """

    tally: Tally
    frames_by_video: tuple[tuple[str, int], ...]
    objects_per_frame: tuple[int, ...]
    together: Together
    timelines: tuple[Timeline, ...]
    timelines_omitted: int
    pictures: Mapping[str, tuple[Picture, ...]]
    places: Mapping[str, tuple[int, int]]
    evidence_images: Mapping[str, bytes] = field(default_factory=dict)
