"""What a split separates that is one and the same: equal images, and two names of one video.

Equal images are counted completely, by CRC-32 and size, within videos as well (a scene stands
still). Frames that merely look alike are known of a sample only, and counted for linked videos
alone: within a video neighbours always do, which the certificate says elsewhere.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.content_links import EqualImages, Link, Links, equal_images
from engine.records import Issue

__all__ = ["near_duplicates"]

_Int: TypeAlias = NDArray[np.int64]

_EXAMPLES = 10


def near_duplicates(
    links: Links, frames: pa.Table, assignment: NDArray[np.int8], names: Sequence[str]
) -> tuple[dict[str, Any], list[Issue]]:
    """Count what is equal or alike across splits.

    Args:
        links: of the videos, as `find_links` gives them.
        frames: `id`, `video_id` and the image columns of `FRAME_SCHEMA`, in the order of the index.
        assignment: int8 (n,), the split of each frame as a place in `names`; -1: in none.
        names: of the splits.

    Returns:
        A JSON document and notes, one for each pair of linked videos with frames in different
        splits, and for each other video with an image that is in another split too. In the document
        `exact_pairs` and `near_pairs` are unordered pairs of frames of different splits. Of the
        equal images, plain ones are in `exact_pairs_plain` only, and `exact_pairs_within_videos`
        says how many of the others are of one video. Cost: n log n.
    """
    held = np.flatnonzero(assignment >= 0)
    frames, split = frames.take(pa.array(held)), assignment[held].astype(np.int64)
    video = pc.dictionary_encode(frames["video_id"]).combine_chunks().indices
    of_video = video.to_numpy(zero_copy_only=False).astype(np.int64)
    equal = equal_images(frames)
    told, plain = _only(equal, ~equal.plain), _only(equal, equal.plain)
    image_in_video = told.image * (int(of_video.max(initial=0)) + 1) + of_video[told.rows]
    near = _near_pairs(links, frames, split)
    document = {
        "exact_basis": "complete",
        "exact_pairs": _across(told.image, split[told.rows]),
        "exact_pairs_plain": _across(plain.image, split[plain.rows]),
        "exact_pairs_within_videos": _across(image_in_video, split[told.rows]),
        "examples": [
            {"by": by, "frames": list(ids), "splits": [names[i] for i in sides]}
            for by, ids, sides in [*_examples(told, frames, split), *near][:_EXAMPLES]
        ],
        "near_basis": f"sampled, at most {_counted(links.most_sampled, 'frame')} a video",
        "near_pairs": len(near),
    }
    notes = list(_issues(links, frames, split, names))
    explained = {video for _, videos in notes for video in videos}
    return document, [
        *(issue for issue, _ in notes),
        *_equal_issues(told, frames, split, names, explained),
    ]


_Example: TypeAlias = tuple[str, tuple[str, str], tuple[int, int]]


def _only(equal: EqualImages, keep: NDArray[np.bool_]) -> EqualImages:
    return EqualImages(rows=equal.rows[keep], image=equal.image[keep], plain=equal.plain[keep])


def _across(group: _Int, split: _Int) -> int:
    """Pairs of one group and different splits: all pairs of a group less those within a split."""
    cells = np.unique(group * (int(split.max(initial=0)) + 1) + split, return_counts=True)[1]
    wholes = np.unique(group, return_counts=True)[1]
    pairs: int = sum(n * n for n in wholes.tolist()) - sum(n * n for n in cells.tolist())
    return pairs // 2


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _examples(equal: EqualImages, frames: pa.Table, split: _Int) -> Iterator[_Example]:
    """Of the first images that are in several splits, the first frame of two of them."""
    side = split[equal.rows]
    apart = np.flatnonzero((np.diff(equal.image) == 0) & (np.diff(side) != 0))
    _, first = np.unique(equal.image[apart], return_index=True)
    for place in apart[first][:_EXAMPLES]:
        two = equal.rows[place : place + 2]
        one, other = frames["id"].take(pa.array(two)).to_pylist()
        yield "equal image", (one, other), (int(side[place]), int(side[place + 1]))


def _near_pairs(links: Links, frames: pa.Table, split: _Int) -> list[_Example]:
    ids = pa.array(sorted({frame_id for pair in links.alike for frame_id in pair}), pa.string())
    rows = np.flatnonzero(pc.is_in(frames["id"], value_set=ids).to_numpy())
    side = dict(zip(frames["id"].take(pa.array(rows)).to_pylist(), split[rows], strict=True))
    return [
        ("looks alike", pair, (int(side[pair[0]]), int(side[pair[1]])))
        for pair in links.alike
        if pair[0] in side and pair[1] in side and side[pair[0]] != side[pair[1]]
    ]


def _equal_issues(
    equal: EqualImages, frames: pa.Table, split: _Int, names: Sequence[str], explained: set[str]
) -> Iterator[Issue]:
    """A note for each video with an image in another split too, unless a note of a link says it."""
    if not len(equal.rows):
        return
    side = split[equal.rows]
    _, first, image = np.unique(equal.image, return_index=True, return_inverse=True)
    apart = np.minimum.reduceat(side, first) != np.maximum.reduceat(side, first)
    places = np.flatnonzero(apart[image])
    videos = frames["video_id"].take(pa.array(equal.rows[places])).to_pylist()
    frames_of = Counter(videos)
    for video, place in sorted(dict(zip(videos[::-1], places[::-1].tolist(), strict=True)).items()):
        if video in explained:
            continue
        begin = int(first[image[place]])
        other = begin + int(np.argmax(side[begin:] != side[place]))
        one, two = frames["id"].take(pa.array(equal.rows[[place, other]])).to_pylist()
        count, sides = frames_of[video], [names[int(side[i])] for i in (place, other)]
        yield Issue(
            code="split_leakage", source="", video_id=video, frame_id=one,
            message=f"{_counted(count, 'frame')} {'has' if count == 1 else 'have'} an image that "
            f"is in another split too, equal byte for byte, such as {one} ({sides[0]}) "
            f"and {two} ({sides[1]})",
        )  # fmt: skip


def _issues(
    links: Links, frames: pa.Table, split: _Int, names: Sequence[str]
) -> Iterator[tuple[Issue, tuple[str, str]]]:
    """A note for each pair of linked videos in different splits, and the two."""
    linked = {video for link in links.links for video in link.videos}
    rows = np.flatnonzero(
        pc.is_in(frames["video_id"], value_set=pa.array(sorted(linked), pa.string())).to_numpy()
    )
    sizes = Counter(
        zip(frames["video_id"].take(pa.array(rows)).to_pylist(), split[rows].tolist(), strict=True)
    )
    for link in links.links:
        held = [
            [f"{names[i]} ({sizes[video, i]})" for i in range(len(names)) if sizes[video, i]]
            for video in link.videos
        ]
        sides = {i for video in link.videos for i in range(len(names)) if sizes[video, i]}
        if all(held) and len(sides) > 1:
            one, other = link.videos
            note = Issue(
                code="split_leakage", source="", video_id=one, frame_id=link.examples[0][0],
                message=f"shows the same video as {other} ({_why(link)}), but its frames are in "
                f"{', '.join(held[0])}, the other's in {', '.join(held[1])}",
            )  # fmt: skip
            yield note, link.videos


def _why(link: Link) -> str:
    """The evidence in words, with figures."""
    reasons = []
    if link.equal_images:
        reasons.append(f"{_counted(link.equal_images, 'image')} equal byte for byte")
    if link.alike:
        looked = min(link.sampled)
        reasons.append(f"{link.alike} of {looked} sampled frames alike")
    return f"{' and '.join(reasons)}, such as {' and '.join(link.examples[0])}"
