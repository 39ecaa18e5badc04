"""Clean frames given by the user (`--frames`), to be used instead of those in an export."""

import posixpath

from engine.caps import Caps
from engine.errors import ExportError
from engine.members import with_crcs
from engine.opening import open_images
from engine.pairing import ImageIndex
from engine.sav_names import sav_video
from engine.storage import exists, file_name, join

__all__ = ["clean_frames", "export_stem"]


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
