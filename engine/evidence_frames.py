"""The frames of an export that are looked at: which they are, their pixels, and their masks.

Trade-off: decoding an image is most of what opening costs, so they are those of which looks are
taken anyway (`engine.looks`), and a few more where these leave wide gaps. Looks alone may lie
anywhere: that other exports choose the same goes before an even spacing there.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.dialect import SampleFrame, SampleMask, sample_indices
from engine.export import CutExport, sample_frames
from engine.frame_json import RawFrame, RawObject, parse_masks
from engine.looks import LOOKS, choose_frames
from engine.members import Member, MemberError, read_member
from engine.pixels import decode_rgb, is_jpeg

__all__ = [
    "FOR_PAINT",
    "EvidenceImage",
    "choose_evidence",
    "evidence_images",
    "fill_gaps",
    "first_size",
    "sample_masks",
    "with_image_sizes",
]

# Paint is all or nothing: 6 frames show it in every measured video.
FOR_PAINT = 6
_MOST = 16


@dataclass(frozen=True, kw_only=True)
class EvidenceImage:
    """A decoded image of a frame.

    Args:
        pixels: uint8 (height, width, 3), RGB, as stored; None if they cannot be decoded.
        jpeg: it is a JPEG, which decodes to other pixels where a smaller size is asked for.
    """

    pixels: NDArray[np.uint8] | None = None
    jpeg: bool = False

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) in px; None if it cannot be decoded."""
        return None if self.pixels is None else (self.pixels.shape[0], self.pixels.shape[1])


def choose_evidence(cut: CutExport) -> list[RawFrame]:
    """Choose frames: fewer where records say their order, and only paint is left to be found."""
    indices = sorted(cut.sampleable)
    looks = set(choose_frames(cut.pictured))
    looked = [place for place, index in enumerate(indices) if index in looks]
    places = fill_gaps(looked, len(indices), LOOKS, _MOST)
    frames = [f for f, _ in sample_frames(cut, [cut.sampleable[indices[p]] for p in places])]
    if not any(item.size is not None for frame in frames[:1] for item in frame.objects):
        return frames
    reach = len(indices) / (FOR_PAINT - 1) / 2
    few = set()
    for wish in sample_indices(len(indices), FOR_PAINT):
        near = [place for place in looked if abs(place - wish) <= reach]
        few.add(indices[_nearest(near or places, wish)])
    return [frame for frame in frames if frame.frame_index in few]


def _nearest(places: Sequence[int], wish: int) -> int:
    return min(places, key=lambda place: abs(place - wish))


def first_size(images: Iterable[EvidenceImage]) -> tuple[int, int] | None:
    """Give (height, width) of the first image that can be decoded."""
    return next((image.size for image in images if image.size is not None), None)


def fill_gaps(places: Sequence[int], n: int, least: int, most: int) -> list[int]:
    """Add places to those that are chosen, each in the middle of the widest gap.

    Args:
        places: of some of n things in a row; ascending, distinct, at most `most`.
        n: how many there are.
        least: how many shall be chosen, if there are as many.
        most: how many may be chosen where a gap is left that holds more than a fifth of them all:
            no even choice of `FOR_PAINT` leaves a wider one.

    Returns:
        Places in [0, n), ascending; the gaps before the first and behind the last count, too.
    """
    chosen = list(places)
    while len(chosen) < min(n, most):
        edges = [-1, *chosen, n]
        apart, at = max((edges[i + 1] - edges[i], -i) for i in range(len(edges) - 1))
        if len(chosen) >= least and (apart - 1) * (FOR_PAINT - 1) <= n:
            break
        chosen.insert(-at, edges[-at] + apart // 2)
    return chosen


def evidence_images(
    location: str, frames: Sequence[RawFrame], member_of: Mapping[int, Member]
) -> dict[int, EvidenceImage]:
    """Decode the images of frames.

    Args:
        location: of the export, or of the frames that are used instead of its own.
        frames: as chosen.
        member_of: image by frame index; a frame that is not in it has none.

    Returns:
        By frame index, for each frame.
    """
    found = {frame.frame_index: member_of.get(frame.frame_index) for frame in frames}
    return {index: _decoded(location, member) for index, member in found.items()}


def _decoded(location: str, member: Member | None) -> EvidenceImage:
    if member is None:
        return EvidenceImage()
    try:
        data = read_member(location, member)
    except MemberError:
        return EvidenceImage()  # the scan reports it; the evidence goes by the other frames
    return EvidenceImage(pixels=decode_rgb(data), jpeg=is_jpeg(data))


def sample_masks(
    frames: Sequence[RawFrame],
    images: Mapping[int, EvidenceImage],
    size: tuple[int, int],
) -> list[SampleFrame]:
    """Bring frames to what the forensics look at: pixels, and masks that fill the grid.

    Args:
        frames: as chosen.
        images: by frame index.
        size: (height, width) of the grid.
    """
    samples = []
    for frame in frames:
        pixels = images[frame.frame_index].pixels
        if pixels is None:
            continue
        good = []
        for position, item in enumerate(frame.objects):
            if item.notation is not None:
                runs = parse_masks(item.notation, [item.counts]).runs.mask(0)
                if int(runs.sum()) == size[0] * size[1]:
                    good.append(SampleMask(counts=runs, position=position))
        samples.append(SampleFrame(frame_index=frame.frame_index, pixels=pixels, masks=tuple(good)))
    return samples


def with_image_sizes(
    frames: Sequence[RawFrame], images: Mapping[int, EvidenceImage]
) -> list[tuple[RawObject, tuple[int, int] | None]]:
    """Give the objects of frames with the (height, width) of their images, if these are decoded.

    Args:
        frames: as chosen.
        images: by frame index.
    """
    return [(raw, images[frame.frame_index].size) for frame in frames for raw in frame.objects]
