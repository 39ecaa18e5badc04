"""The frames of an export that are looked at: which they are, their pixels, and their masks.

Trade-off: they are not spaced evenly but are those of which looks are taken (`engine.looks`), and a
few more. Both are spread over the video, and decoding an image is most of what opening costs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine import rle_text
from engine.dialect import SampleFrame, SampleMask, sample_indices
from engine.export import CutExport, sample_frames
from engine.frame_json import RawFrame
from engine.looks import choose_frames
from engine.members import Member, MemberError, read_member
from engine.pixels import decode_rgb, is_jpeg

__all__ = ["EvidenceImage", "choose_evidence", "evidence_images", "sample_masks"]

# Paint is all or nothing: 6 frames show it in every measured video.
_FOR_ORDER, _FOR_PAINT = 16, 6


@dataclass(frozen=True, kw_only=True)
class EvidenceImage:
    """A decoded image of the export.

    Args:
        pixels: uint8 (height, width, 3), RGB, as stored; None if they cannot be decoded.
        jpeg: it is a JPEG, which decodes to other pixels where a smaller size is asked for.
    """

    pixels: NDArray[np.uint8] | None = None
    jpeg: bool = False


def choose_evidence(cut: CutExport) -> list[RawFrame]:
    """Choose frames: fewer where records say their order, and only paint is left to be found."""
    ordinals = [cut.sampleable[index] for index in choose_frames(cut.sampleable, _FOR_ORDER)]
    frames = [frame for frame, _ in sample_frames(cut, ordinals)]
    if not any(item.size is not None for frame in frames[:1] for item in frame.objects):
        return frames
    looked = choose_frames(cut.sampleable)
    few = {looked[place] for place in sample_indices(len(looked), _FOR_PAINT)}
    return [frame for frame in frames if frame.frame_index in few]


def evidence_images(
    location: str, frames: Sequence[RawFrame], member_of: Mapping[int, Member]
) -> dict[int, EvidenceImage]:
    """Decode the export's own images of frames.

    Args:
        location: of the export.
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
    parse = {
        "decimal": rle_text.parse_decimal,
        "compressed": rle_text.parse_compressed,
        "counts": rle_text.parse_counts,
    }
    samples = []
    for frame in frames:
        pixels = images[frame.frame_index].pixels
        if pixels is None:
            continue
        good = []
        for position, item in enumerate(frame.objects):
            if item.notation is not None:
                runs = parse[item.notation]([item.counts]).runs.mask(0)
                if int(runs.sum()) == size[0] * size[1]:
                    good.append(SampleMask(counts=runs, position=position))
        samples.append(SampleFrame(frame_index=frame.frame_index, pixels=pixels, masks=tuple(good)))
    return samples
