"""What the report page shows of classes, splits and frames, bounded and ready to draw.

The page is one file that is mailed and opened on phones, so nothing in it may grow with the corpus:
of many classes the largest and the smallest are shown (the smallest are the ones to act upon), of
long texts both ends. The price is that the page is no archive; validation.json has everything.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

__all__ = [
    "Bar",
    "ClassChart",
    "ClassRow",
    "SplitRow",
    "bytes_text",
    "class_chart",
    "count_text",
    "frames_by_video",
    "percent_text",
    "points_text",
    "shorten",
    "split_rows",
]

_LARGEST, _SMALLEST = 40, 10  # classes shown
_LEAST_LENGTH = 0.6  # of 100: what is there at all can be seen

# Line breaks and other controls would vanish or break the line: their pictures are shown instead.
_PICTURES = {code: 0x2400 + code for code in range(32)} | {127: 0x2421}
_UNENCODABLE = re.compile("[\x80-\x9f\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar of the class chart.

    Args:
        count: instances of the class.
        share: of all instances of the column, 0 to 1.
        length: of the bar, 0 to 100; the longest of all columns has 100.
    """

    count: int
    share: float
    length: float


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """One class of the chart.

    Args:
        label: as annotated, however long.
        bars: one for each of the chart's columns.
        deviation_points: largest deviation from the ratio in any split, in percentage points.
        too_rare: why it cannot be within the certificate's bound; None if nothing is known
            against that.
    """

    label: str
    bars: tuple[Bar, ...]
    deviation_points: float | None
    too_rare: str | None


@dataclass(frozen=True, kw_only=True)
class ClassChart:
    """Classes and their bars, the same classes in every column.

    Args:
        columns: "all", then the splits in the order of the ratios, if there are any.
        totals: instances in each column, of the classes that are not shown, too.
        largest: the classes with the most instances, largest first.
        omitted: how many follow that are not shown.
        smallest: the classes with the fewest, largest first; empty where none was omitted.
    """

    columns: tuple[str, ...]
    totals: tuple[int, ...]
    largest: tuple[ClassRow, ...]
    omitted: int
    smallest: tuple[ClassRow, ...]


@dataclass(frozen=True, kw_only=True)
class SplitRow:
    """One split of the split table.

    Args:
        name: of the split.
        target: frames it should have.
        target_share: its ratio, 0 to 1.
        achieved: frames it has.
        achieved_share: of all frames, 0 to 1.
        videos: videos with a frame in it.
        frames_without_class: frames in it in which nothing is visible.
        deviation_class: the class that deviates most in it; None without classes.
        deviation_points: how far, signed, in percentage points.
        empty_because: why it has no frame; None if it has.
    """

    name: str
    target: int
    target_share: float
    achieved: int
    achieved_share: float
    videos: int
    frames_without_class: int
    deviation_class: str | None
    deviation_points: float | None
    empty_because: str | None


def class_chart(
    class_counts: Mapping[str, int], certificate: Mapping[str, Any] | None, splits: Sequence[str]
) -> ClassChart:
    """Lay out the class distribution, overall and by split.

    Args:
        class_counts: instances by label.
        certificate: as `certificate.certify` makes it; None where nothing was split.
        splits: names of the splits in the order of the columns.
    """
    rows = certificate["classes"] if certificate else {}
    names = tuple(splits) if certificate else ()
    none_at_all = dict.fromkeys(names, 0)
    counts = {
        label: (count, *(rows.get(label, {}).get("instances", none_at_all)[name] for name in names))
        for label, count in class_counts.items()
    }
    totals = tuple(map(sum, zip(*counts.values(), strict=True))) or (0,) * (1 + len(names))
    longest = max((_shares(row, totals) for row in counts.values()), key=max, default=(1.0,))
    order = sorted(counts, key=lambda label: (-counts[label][0], label))
    omitted = max(0, len(order) - _LARGEST - _SMALLEST)
    largest, smallest = (order[:_LARGEST], order[-_SMALLEST:]) if omitted else (order, [])

    def row(label: str) -> ClassRow:
        found = rows.get(label, {})
        return ClassRow(
            label=label,
            bars=tuple(
                Bar(count=n, share=share, length=_length(share, max(longest)))
                for n, share in zip(counts[label], _shares(counts[label], totals), strict=True)
            ),
            deviation_points=found.get("max_deviation_points"),
            too_rare=found.get("too_rare"),
        )

    return ClassChart(
        columns=("all", *names),
        totals=totals,
        largest=tuple(map(row, largest)),
        omitted=omitted,
        smallest=tuple(map(row, smallest)),
    )


def _shares(counts: Iterable[int], totals: Iterable[int]) -> tuple[float, ...]:
    return tuple(n / total if total else 0.0 for n, total in zip(counts, totals, strict=True))


def _length(share: float, longest: float) -> float:
    return round(max(100 * share / longest, _LEAST_LENGTH), 1) if share else 0.0


def split_rows(certificate: Mapping[str, Any], splits: Sequence[str]) -> list[SplitRow]:
    """Lay out the split table.

    Args:
        certificate: as `certificate.certify` makes it.
        splits: names of the splits in the order of the rows.
    """
    rows = []
    for name in splits:
        off = {
            label: row["deviation_points"][name] for label, row in certificate["classes"].items()
        }
        worst = min(off, key=lambda label: (-abs(off[label]), label), default=None)
        rows.append(
            SplitRow(
                name=name,
                **certificate["sizes"][name],
                videos=certificate["videos"][name],
                frames_without_class=certificate["frames_without_class"][name],
                deviation_class=worst,
                deviation_points=None if worst is None else off[worst],
                empty_because=certificate["empty_splits"].get(name),
            )
        )
    return rows


def frames_by_video(frame_ids: Sequence[str], limit: int) -> list[tuple[str, list[str]]]:
    """Group the first frame ids by their video, so that its name is read once.

    Args:
        frame_ids: "<video_id>/<frame_index:06d>", sorted.
        limit: how many are taken.

    Returns:
        Video ids, each with its frames' indices as they stand in the ids.
    """
    parts = [frame_id.rpartition("/") for frame_id in frame_ids[:limit]]
    return [
        (video, [index for _, _, index in group])
        for video, group in groupby(parts, key=lambda part: part[0])
    ]


def shorten(text: str, limit: int = 80) -> str:
    """Bring user text to a form that fits a page: both ends of it, in one line.

    Args:
        text: of any length, with any characters.
        limit: characters of the result, at most.

    Returns:
        The text, with pictures in place of control characters and U+FFFD in place of what UTF-8
        cannot hold; "…" stands for what was left out of its middle.
    """
    if len(text) > limit:
        tail = limit // 4
        text = f"{text[: limit - tail - 1]}…{text[len(text) - tail :]}"
    return _UNENCODABLE.sub("\ufffd", text.translate(_PICTURES))


def count_text(count: int) -> str:
    """Write a count with its thousands set apart: 3,120."""
    return f"{count:,}"


def percent_text(share: float) -> str:
    """Write a share of 0 to 1 in percent; neither 0% nor 100% is said of what is only near it."""
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{share:.0%}" if share in (0, 1) else f"{100 * share:.1f}%"


def points_text(points: float) -> str:
    """Write a deviation in percentage points, with its sign."""
    text = f"{abs(points):.1f}"
    sign = "" if text == "0.0" else "\N{MINUS SIGN}" if points < 0 else "+"
    return sign + text


def bytes_text(size: int) -> str:
    """Write a number of bytes in decimal units: 11.1 MB."""
    value, units = float(size), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.95 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} B" if units[0] == "B" else f"{value:,.1f} {units[0]}"
