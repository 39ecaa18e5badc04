"""Which image belongs to which frame.

By exact frame index in the file's name, or by the name the frame record gives. By position only if
no index matches at all and the counts agree: names without an index are rare, and a pairing that is
off by one frame trains a model on shifted masks without anyone noticing.
"""

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from engine.members import Member

__all__ = ["IMAGE_SUFFIXES", "ImageIndex"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
# What real exports call the folder of their frames, best first.
_FRAME_FOLDERS = ("images", "frames", "data")
_LAST_NUMBER = re.compile(r"(\d+)(?!.*\d)")
_NUMBER = re.compile(r"([0-9]+)")


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """The images of one export, by frame index, by name and by position.

    Args:
        by_index: images whose name holds this frame index; more than one is a conflict.
        by_name: images by their name in the export, and by bare file name where that is unique.
        in_order: all images, sorted by name, numbers in it by their value: 9 comes before 10.
    """

    by_index: dict[int, tuple[Member, ...]]
    by_name: dict[str, Member]
    in_order: tuple[Member, ...]

    @classmethod
    def of(cls, members: Iterable[Member]) -> "ImageIndex":
        """Index the images among an export's members.

        Where several folders hold images, the frames are those of the folder called images, frames
        or data, else of the fullest one: thumbnails and mask pictures lie beside them.
        """
        images = sorted(
            (m for m in members if m.name.lower().endswith(IMAGE_SUFFIXES)), key=_place_in_order
        )
        folder = _frames_folder(images)
        frames = [image for image in images if posixpath.dirname(image.name) == folder]
        by_index: defaultdict[int, list[Member]] = defaultdict(list)
        for image in frames:
            number = _LAST_NUMBER.search(posixpath.splitext(posixpath.basename(image.name))[0])
            if number and len(number[1]) < 19:
                by_index[int(number[1])].append(image)
        times = Counter(posixpath.basename(image.name) for image in images)
        by_name = {
            posixpath.basename(image.name): image
            for image in images
            if times[posixpath.basename(image.name)] == 1
        }
        by_name |= {image.name: image for image in images}
        return cls({k: tuple(v) for k, v in by_index.items()}, by_name, tuple(frames))

    def find(self, frame_index: int | None, image_name: str | None) -> tuple[Member, ...]:
        """Give the images that claim a frame: none, one, or several that contradict each other.

        Args:
            frame_index: of the frame; None: not known.
            image_name: the image that its record names, if it names one.
        """
        if image_name is not None:
            named = image_name.replace("\\", "/").removeprefix("./")
            image = self.by_name.get(named) or self.by_name.get(posixpath.basename(named))
            if image is not None:
                return (image,)
        return () if frame_index is None else self.by_index.get(frame_index, ())


def _place_in_order(image: Member) -> tuple[list[tuple[int, str]], str]:
    """Sorts names as people do; every other part is a number, without the zeros in front."""
    parts = enumerate(_NUMBER.split(image.name))
    digits = ((part.lstrip("0"), n % 2) for n, part in parts)
    return [(len(part) * number, part) for part, number in digits], image.name


def _frames_folder(images: list[Member]) -> str:
    folders = Counter(posixpath.dirname(image.name) for image in images)

    def rank(folder: str) -> tuple[int, int, str]:
        last = posixpath.basename(folder).lower()
        known = _FRAME_FOLDERS.index(last) if last in _FRAME_FOLDERS else len(_FRAME_FOLDERS)
        return known, -folders[folder], folder

    return min(folders, key=rank, default="")
