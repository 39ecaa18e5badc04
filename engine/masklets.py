"""What an SA-V file says once for all frames: object ids, its frames, the images of these.

`masklet` is a list over annotated frames of a list over objects. By the dataset's README
(facebookresearch/sam2, sav_dataset) every 4th frame of a 24 fps video is annotated, so entry i is
frame 4 * i; the file does not write it down. A wrong guess here pairs masks with other frames
without any error, so the declared `video_frame_count` must agree with the number of entries, and
images are renumbered only where their numbers cannot be frame indices.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.errors import ExportError
from engine.frame_json import Masklets

__all__ = ["SAV_STEP", "find_step", "image_numbers", "read_masklets"]

SAV_STEP = 4
"""Video frames from one annotated frame to the next."""


def read_masklets(
    head: Mapping[str, Any], *, kind: str | None, label: str | None, step: int, where: str
) -> Masklets:
    """Read the objects' ids, which may stand behind the masks in the file.

    Args:
        head: the document without `masklet`.
        kind: "manual" or "auto", by the file's name.
        label: of all objects, if the user gave one.
        step: video frames from one entry to the next.
        where: for the error's text.

    Raises:
        ExportError: `masklet_id` is there and is no list of different whole numbers: no object
            could be followed from frame to frame.
    """
    written = head.get("masklet_id")
    ids: tuple[int, ...] | None = None
    if written is not None:
        # SA-V writes some whole numbers with a point.
        good = isinstance(written, list) and all(
            isinstance(i, int | float)
            and not isinstance(i, bool)
            and i == int(i)
            and abs(i) < 2**53
            for i in written
        )
        if not good or len(set(written)) != len(written):
            raise ExportError(
                f"{where}: masklet_id", "does not name the objects", got=repr(written)[:60],
                expected="a list of different whole numbers",
            )  # fmt: skip
        ids = tuple(int(i) for i in written)
    return Masklets(object_ids=ids, label=label, step=step, kind=kind)


def find_step(entries: int, video_frames: int | None, where: str) -> int:
    """Say how many video frames lie from one entry of `masklet` to the next.

    Args:
        entries: of `masklet`.
        video_frames: the declared `video_frame_count`; None: not declared.
        where: for the error's text.

    Returns:
        4, or 1 where there are as many entries as frames.

    Raises:
        ExportError: the numbers fit neither.
    """
    if video_frames is None:
        return SAV_STEP
    expected = -(-video_frames // SAV_STEP)
    if entries == expected:
        return SAV_STEP
    if entries == video_frames:
        return 1
    if abs(entries - expected) <= 1:  # decoders differ in a video's last frame
        return SAV_STEP
    raise ExportError(
        f"{where}: masklet", f"is not on every {SAV_STEP}th frame of the video",
        got=f"{entries} entries for {video_frames} frames", expected=f"{expected} entries",
        advice="correct video_frame_count, or download the file again",
    )  # fmt: skip


def image_numbers(
    numbers: Sequence[int], *, entries: int, step: int, video_frames: int | None
) -> tuple[dict[int, int], str] | None:
    """Say which frames images show whose numbers are not frame indices.

    Exactly the annotated frames, numbered one after the other, or the whole video numbered from 1,
    as ffmpeg does: taken as frame indices, these would pair masks with other frames.

    Args:
        numbers: in the images' names, ascending, each once.
        entries: of `masklet`.
        step: video frames from one entry to the next.
        video_frames: as declared; None: not declared.

    Returns:
        (frame index by number, why), or None where numbers are frame indices.
    """
    first = numbers[0] if numbers else 0
    if len(numbers) < 2 or first > 1 or numbers[-1] - first + 1 != len(numbers):
        return None
    span = f"images are numbered {first} to {numbers[-1]}"
    if len(numbers) == entries and (step > 1 or first == 1):
        by_number = {number: step * (number - first) for number in numbers}
        return by_number, f"{span}, one for each of the {entries} annotated frames"
    if first == 1 and len(numbers) == video_frames:
        by_number = {number: number - 1 for number in numbers}
        return by_number, f"{span}, one for each frame of the video; the first is frame 0"
    return None
