"""Which videos are one video: exported twice under two names, or cut in two.

Two kinds of evidence. Images that are equal by CRC-32 and size are found completely, for every
frame has these figures; plain images (a black frame is the same in every export) prove nothing and
are left out by their size a pixel. Sampled frames that look alike (`engine.looks`) find what was
painted or encoded anew; they are a sample, and near means near: the last frame of one part of a
video and the first of the next are neighbours, not equals.

Trade-off: a false link makes one group of two videos, which costs some freedom of the split, and
with many of them all of it; a missed one lets a video be in training and test. So a link needs more
than one frame. Rates of both errors are in CONTRIBUTING.md.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.black import may_be_black
from engine.looks import compare
from engine.records import Look, OpenedExport

__all__ = [
    "EqualImages", "Link", "Links", "equal_images", "find_links", "group_of_video",
    "looks_of_videos",
]  # fmt: skip

_Int: TypeAlias = NDArray[np.int64]
_Videos: TypeAlias = tuple[str, str]
_Pairs: TypeAlias = list[tuple[str, str]]

# Measured (CONTRIBUTING.md).
_HASH_BITS = 16  # of 64: paint on small pictures changes that many
_LEAST_EQUAL = 0.45  # of the cells
_LEAST_DETAIL = 2.0  # grey levels, over what is equal: black frames and walls have less
_LEAST_FRAMES = 2  # of each video
_NEIGHBOURS = 32  # of a look; and videos in a row that one image ties together pair by pair
_BLOCK = 64  # hashes compared with all others at once: 30 MB for 5,000 videos
_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """Two videos that are one, and why.

    Args:
        videos: their ids, ascending.
        equal_images: distinct images, none plain, that both hold byte for byte.
        images: distinct images of each; None where they hold none in common, or none was asked for.
        alike: sampled frames that look alike: of the video that has fewer of them.
        sampled: frames of each that were looked at.
        examples: ids of frames that are equal or look alike, at most 3 pairs, in the videos' order.
    """

    videos: _Videos
    equal_images: int
    images: tuple[int, int] | None
    alike: int
    sampled: tuple[int, int]
    examples: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """Give the record as JSON types."""
        return {
            "videos": list(self.videos),
            "equal_images": self.equal_images,
            "images": self.images and list(self.images),
            "alike_frames": self.alike,
            "sampled_frames": list(self.sampled),
            "examples": [list(pair) for pair in self.examples],
        }


@dataclass(frozen=True, kw_only=True)
class Links:
    """All links of a run, and the pairs of sampled frames behind them.

    Args:
        links: sorted by their videos.
        alike: ids of sampled frames of linked videos that look alike, each pair ascending, sorted.
        most_sampled: frames looked at in any one video, at most.
    """

    links: tuple[Link, ...] = ()
    alike: tuple[tuple[str, str], ...] = ()
    most_sampled: int = 0

    def to_json(self) -> list[dict[str, Any]]:
        """Give the links as JSON types."""
        return [link.to_json() for link in self.links]


@dataclass(frozen=True, kw_only=True, eq=False)
class EqualImages:
    """Frames whose image occurs more than once.

    Args:
        rows: int64 (n,), places in the table, by image and then as in the table.
        image: int64 (n,), number of each one's image, ascending from 0.
        plain: bool (n,), the file is so small that nothing may be on it.
    """

    rows: _Int
    image: _Int
    plain: NDArray[np.bool_]


def looks_of_videos(exports: Iterable[OpenedExport]) -> dict[str, tuple[Look, ...]]:
    """Gather the looks of each video; of a frame that several exports hold, the first one's.

    Args:
        exports: with their final ids, in an order that depends on their content alone.

    Returns:
        Looks by frame index, by video, videos sorted.
    """
    found: defaultdict[str, dict[int, Look]] = defaultdict(dict)
    for export in exports:
        for look in export.looks:
            found[export.video_id].setdefault(look.frame_index, look)
    return {
        video: tuple(look for _, look in sorted(looks.items()))
        for video, looks in sorted(found.items())
    }


def group_of_video(videos: Iterable[str], links: Links) -> dict[str, str]:
    """Name the group of each video: the smallest id among all that links tie to it.

    Args:
        videos: ids; those without a link are groups of their own.
        links: their links; videos that are not among `videos` still tie others together.

    Returns:
        Group by video, for `videos`, sorted.
    """
    above: dict[str, str] = {}

    def top(video: str) -> str:
        while (upper := above.get(video, video)) != video:
            above[video] = above.get(upper, upper)
            video = upper
        return video

    for link in links.links:
        low, high = sorted(top(video) for video in link.videos)
        above[high] = low
    return {video: top(video) for video in sorted(videos)}


def equal_images(frames: pa.Table) -> EqualImages:
    """Find frames whose images have the same CRC-32 and size: complete, in n log n.

    Args:
        frames: `image_crc32`, `image_bytes`, `width` and `height` of `FRAME_SCHEMA`; a frame
            without an image is equal to none.
    """
    return _equal(frames, *_numbered(frames))


def _equal(frames: pa.Table, there: _Int, number: _Int) -> EqualImages:
    order = np.argsort(number, kind="stable")
    order = order[np.bincount(number, minlength=1)[number[order]] > 1]
    rows = there[order]
    _, image = np.unique(number[order], return_inverse=True)
    columns = (
        pc.fill_null(frames[name].take(pa.array(rows)), 0).to_pylist()
        for name in ("image_bytes", "width", "height")
    )
    plain = [may_be_black(n, w, h) for n, w, h in zip(*columns, strict=True)]
    return EqualImages(rows=rows, image=image.astype(np.int64), plain=np.array(plain, dtype=bool))


def _numbered(frames: pa.Table) -> tuple[_Int, _Int]:
    """Rows that have an image, and a number for it, equal for images of equal CRC-32 and size."""
    there = np.flatnonzero(pc.is_valid(frames["image_crc32"]).to_numpy())
    crc, size = (
        pc.fill_null(frames[name], 0).to_numpy()[there].astype(np.uint64)
        for name in ("image_crc32", "image_bytes")
    )
    key = crc << np.uint64(32) | size & np.uint64(0xFFFFFFFF)
    _, number = np.unique(key, return_inverse=True)
    return there, number.astype(np.int64)


def find_links(looks: Mapping[str, Sequence[Look]], frames: pa.Table | None) -> Links:
    """Find the videos that are one.

    Args:
        looks: of each video, as `looks_of_videos` gives them.
        frames: of all videos: `id` and `video_id` beside what `equal_images` takes; None: by looks
            alone.

    Returns:
        Links, which do not depend on the order of anything. Of more than 32 videos with an equal
        image, or frames near one look, those next to each other by name are linked: groups come out
        the same.
    """
    equal = _equal_links(frames) if frames is not None and len(frames) else {}
    near = _near_links(looks)
    links = []
    for videos in sorted(equal.keys() | near.keys()):
        shared, images, by_image = equal.get(videos, (0, None, []))
        pairs = near.get(videos, [])
        links.append(
            Link(
                videos=videos,
                equal_images=shared,
                images=images,
                alike=_frames_of(pairs),
                sampled=(len(looks.get(videos[0], ())), len(looks.get(videos[1], ()))),
                examples=tuple([*by_image, *pairs][:_EXAMPLES]),
            )
        )
    return Links(
        links=tuple(links),
        alike=tuple(sorted(pair for pairs in near.values() for pair in pairs)),
        most_sampled=max(map(len, looks.values()), default=0),
    )


def _equal_links(frames: pa.Table) -> dict[_Videos, tuple[int, tuple[int, int], _Pairs]]:
    """By videos: images that both hold, images of each, examples."""
    names, video = _videos_in_order(frames)
    there, number = _numbered(frames)
    width = int(number.max(initial=0)) + 1
    images = np.bincount(np.unique(video[there] * width + number) // width, minlength=len(names))
    equal = _equal(frames, there, number)
    rows, image = equal.rows[~equal.plain], equal.image[~equal.plain]
    # Of each image one row a video, the first.
    cell, first = np.unique(image * len(names) + video[rows], return_index=True)
    rows = rows[first]
    left, right = _close_by(cell // len(names))
    pair = video[rows[left]] * len(names) + video[rows[right]]
    order = np.argsort(pair, kind="stable")
    pairs, start, shared = np.unique(pair[order], return_index=True, return_counts=True)
    found = {}
    for each, begin, count in zip(pairs.tolist(), start.tolist(), shared.tolist(), strict=True):
        a, b = divmod(each, len(names))
        own = int(images[a]), int(images[b])
        if count >= min(_LEAST_FRAMES, *own):
            some = order[begin : begin + min(count, _EXAMPLES)]
            one, other = (
                frames["id"].take(pa.array(rows[side[some]])).to_pylist() for side in (left, right)
            )
            found[names[a], names[b]] = count, own, list(zip(one, other, strict=True))
    return found


def _videos_in_order(frames: pa.Table) -> tuple[list[str], _Int]:
    """The videos' ids, ascending, and the place among them of each frame's video."""
    videos = pc.dictionary_encode(frames["video_id"]).combine_chunks()
    names = videos.dictionary.to_pylist()
    by_name = sorted(range(len(names)), key=names.__getitem__)
    rank = np.empty(len(names), dtype=np.int64)
    rank[by_name] = np.arange(len(names))
    return [names[i] for i in by_name], rank[videos.indices.to_numpy(zero_copy_only=False)]


def _close_by(group: _Int) -> tuple[_Int, _Int]:
    """Places of all pairs of one group less than so many places apart; `group` is ascending."""
    left, right = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for step in range(1, _NEIGHBOURS):
        same = np.flatnonzero(group[step:] == group[:-step])
        if not len(same):
            break
        left.append(same)
        right.append(same + step)
    return np.concatenate(left), np.concatenate(right)


def _near_links(looks: Mapping[str, Sequence[Look]]) -> dict[_Videos, _Pairs]:
    """By videos: the frames that look alike, where they are evidence enough, most alike first."""
    names = sorted(looks)
    flat = [(place, look) for place, name in enumerate(names) for look in looks[name]]
    video = np.array([place for place, _ in flat], dtype=np.int64)
    hashes = np.array([look.phash for _, look in flat], dtype=np.uint64)
    cells = np.frombuffer(b"".join(look.cells for _, look in flat), np.uint8).reshape(-1, 256, 3)
    left, right = _candidates(hashes, video)
    seen = compare(cells, left, right)
    good = (seen.equal >= _LEAST_EQUAL) & (seen.detail >= _LEAST_DETAIL)
    found: defaultdict[_Videos, list[tuple[float, int, int]]] = defaultdict(list)
    for i, j, equal in zip(left[good], right[good], seen.equal[good], strict=True):
        found[names[video[i]], names[video[j]]].append((-float(equal), int(i), int(j)))
    ids = [f"{names[place]}/{look.frame_index:06d}" for place, look in flat]
    return {
        videos: [(ids[i], ids[j]) for _, i, j in sorted(pairs)]
        for videos, pairs in found.items()
        if _frames_of(pairs) >= min(_LEAST_FRAMES, *(len(looks[video]) for video in videos))
    }


def _candidates(hashes: NDArray[np.uint64], video: _Int) -> tuple[_Int, _Int]:
    """Places of all pairs, of different videos, whose hashes are near; the first one smaller.

    Every hash is compared with every other, in blocks: 64 bits are one instruction, and bands that
    would find 16 differing bits of 64 hold most pairs anyway. Of more than 32 near ones a row, the
    nearest.
    """
    left, right = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for begin in range(0, len(hashes), _BLOCK):
        bits = np.bitwise_count(hashes[begin : begin + _BLOCK, None] ^ hashes[None, begin:])
        row, column = np.nonzero(bits <= _HASH_BITS)
        kept = (row < column) & (video[begin + row] != video[begin + column])
        row, column = row[kept], column[kept]
        if len(row) > _NEIGHBOURS:
            nearest = np.lexsort((column, bits[row, column], row))
            row, column = row[nearest], column[nearest]
            kept = np.arange(len(row)) - np.searchsorted(row, row) < _NEIGHBOURS
            row, column = row[kept], column[kept]
        left.append(row + begin)
        right.append(column + begin)
    return np.concatenate(left), np.concatenate(right)


def _frames_of(pairs: Sequence[tuple[Any, ...]]) -> int:
    """Frames in these pairs, of the video that has fewer of them there."""
    return min(len({pair[-2] for pair in pairs}), len({pair[-1] for pair in pairs}))
