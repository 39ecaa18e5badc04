"""Clean frames given by the user (`--frames`), to be used instead of those in an export."""

import posixpath
from collections.abc import Collection
from dataclasses import replace

from engine.caps import Caps
from engine.errors import ExportError
from engine.members import with_crcs
from engine.opening import open_images
from engine.pairing import ImageIndex
from engine.sav_names import sav_video
from engine.storage import exists, file_name, join

__all__ = ["clean_frames", "export_stem", "from_zero"]


def export_stem(source: str) -> str:
    """Give the name of an export, or of a video file, without its place and extension."""
    name = file_name(source)
    return sav_video(name) or posixpath.splitext(name)[0]


def clean_frames(
    place: str, source: str, video_file: str | None, exports: int, *, caps: Caps
) -> tuple[ImageIndex, str]:
    """Find the frames that are to be used for one export.

    A folder of frames serves one export; for several, it holds one folder a video, called as the
    export or as its video file.

    Args:
        place: the folder, ZIP or URL that the user named.
        source: the export.
        video_file: name of its video file; None where it is not declared.
        exports: number of exports of the run.
        caps: limits beyond which the frames are refused.

    Returns:
        The images, and where they lie.

    Raises:
        ExportError: there are none for this export.
    """
    names = [export_stem(source)] + ([export_stem(video_file)] if video_file else [])
    for name in names:
        if exists(join(place, name)):
            place = join(place, name)
            break
    else:
        if exports > 1:
            raise ExportError(
                place, f"holds no frames for {file_name(source)}",
                expected=f"a folder {' or '.join(names)}",
            )  # fmt: skip
    listed = with_crcs(open_images(place, caps=caps))
    index = ImageIndex.of(listed.values())
    if not index.in_order:
        raise ExportError(place, "holds no images", advice="--frames takes a folder of frames")
    return index, listed.location


def from_zero(
    images: ImageIndex, frame_indices: Collection[int], video_frames: int | None
) -> tuple[ImageIndex, str] | None:
    """Number frames from 0 that are numbered from 1, as ffmpeg does unless it is told otherwise.

    Taken as frame indices, their numbers would pair each mask with the frame before its own. That
    they are none is proven where they are exactly 1 to the number of frames of the video: the last
    one would lie behind its end.

    Args:
        images: by the numbers in their names.
        frame_indices: of the records; only a first frame 0 says that these count from 0.
        video_frames: as declared; None: not declared.

    Returns:
        The images by frame index, and by no name (a record may give the name that another frame has
        here), and why; None where the numbers are taken as they are.
    """
    numbers = images.by_index
    if video_frames is None or not 2 <= video_frames == len(numbers) == len(images.in_order):
        return None
    if min(numbers) != 1 or max(numbers) != video_frames:
        return None
    if 0 not in frame_indices or max(frame_indices) >= video_frames:
        return None
    moved = {number - 1: found for number, found in numbers.items()}
    why = (
        f"images are numbered 1 to {video_frames}, one for each frame of the video; the first is "
        "frame 0"
    )
    return replace(images, by_index=moved, by_name={}), why
