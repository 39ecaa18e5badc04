"""Mask run lengths in the notations they are written in: parsed totally, batch by batch.

Three notations occur: COCO compressed counts (``rleFrString`` of pycocotools' ``maskApi.c``: 5 bits
and a continuation bit a character, lowest group first, each run after the third as its difference
to the run before last), decimal text (the exporter) and JSON lists. The C code accepts whatever it
is given; here every character must mean something, and what does not is a sentence in
`Parsed.problems`, never an exception.

All masks of a batch lie end to end in one array, and each step is one numpy call over all of them.
The price is code less obvious than a loop over runs. Batches are cut into pieces that stay in the
processor's cache, which bounds the temporary memory too.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Parsed",
    "Runs",
    "looks_decimal",
    "parse_compressed",
    "parse_counts",
    "parse_decimal",
    "ranges",
]

_LARGEST = 2**40  # pixels of a mask: far above any image, far below what int64 overflows at
_MOST_DIGITS = 13  # decimal digits of _LARGEST
_MOST_GROUPS = 7  # 35 bits: a run that needs an eighth character is above 2**34 pixels
_PIECE = 1 << 16  # characters or runs handled at once: measured, larger pieces fall out of cache
_SURELY_SUMMABLE = 1 << 22  # this many runs of at most _LARGEST cannot overflow int64

_DIGITS_AND_SPACE = b"0123456789 \t\n\r\v\f"


@dataclass(frozen=True, kw_only=True, eq=False)
class Runs:
    """The run lengths of m masks, end to end.

    Args:
        counts: int64 (n,), pixels a run, >= 0, background first in each mask.
        offsets: int64 (m + 1,), mask i is ``counts[offsets[i]:offsets[i + 1]]``; a mask of no runs
            at all stands for one that could not be read.

    Raises:
        ValueError: the arrays do not fit together, or a run is negative.
    """

    counts: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.counts.dtype != np.int64 or self.offsets.dtype != np.int64:
            raise ValueError(f"dtypes {self.counts.dtype}, {self.offsets.dtype}: expected int64")
        if self.counts.ndim != 1 or self.offsets.ndim != 1 or not self.offsets.size:
            raise ValueError("counts and offsets must be flat, and offsets not empty")
        if self.offsets[0] != 0 or self.offsets[-1] != self.counts.size:
            raise ValueError(f"offsets must go from 0 to {self.counts.size}")
        if np.any(self.offsets[1:] < self.offsets[:-1]) or np.any(self.counts < 0):
            raise ValueError("offsets must not fall, and runs must not be negative")

    def __len__(self) -> int:
        return self.offsets.size - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Runs a mask, int64 (m,)."""
        return np.diff(self.offsets)

    def mask(self, i: int) -> NDArray[np.int64]:
        """Mask i's run lengths, a view of `counts`; raises IndexError outside ``[0, m)``."""
        if not 0 <= i < len(self):
            raise IndexError(f"mask {i}: expected 0 to {len(self) - 1}")
        return self.counts[self.offsets[i] : self.offsets[i + 1]]

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> "Runs":
        """The masks at `indices`, in that order; an index may occur twice; IndexError outside."""
        picked = np.asarray(indices, dtype=np.int64)
        if picked.size and not 0 <= picked.min() <= picked.max() < len(self):
            raise IndexError(f"masks {indices}: expected 0 to {len(self) - 1}")
        sizes = self.sizes[picked]
        return Runs(counts=self.counts[ranges(self.offsets[picked], sizes)], offsets=_edges(sizes))

    def segment_sums(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sum over each mask of `values`, int64 (n,) parallel to `counts`; int64 (m,).

        Differences of one running sum: it may wrap around, the differences are exact all the same
        as long as each mask's own sum fits into int64.
        """
        running = _edges(values)
        return running[self.offsets[1:]] - running[self.offsets[:-1]]

    def foreground(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Starts and stops (half-open, in pixels of its mask) of all foreground runs above 0 px.

        The third array is (m + 1,): the runs of mask i are those of ``[edges[i], edges[i + 1])``.
        """
        flip = np.repeat((self.offsets[:-1] & 1).astype(np.uint8), self.sizes)
        odd = np.zeros(self.counts.size, dtype=np.uint8)
        odd[1::2] = 1
        chosen = np.flatnonzero((odd ^ flip).view(bool) & (self.counts > 0))
        edges = np.searchsorted(chosen, self.offsets).astype(np.int64)
        running = _edges(self.counts)
        base = np.repeat(running[self.offsets[:-1]], np.diff(edges))
        return running[chosen] - base, running[chosen + 1] - base, edges

    @staticmethod
    def of(masks: Iterable[NDArray[np.int64]]) -> "Runs":
        """Runs from one int64 array of run lengths a mask."""
        listed = list(masks)
        sizes = np.fromiter(map(len, listed), np.int64, len(listed))
        counts = np.concatenate(listed) if listed else np.empty(0, np.int64)
        return Runs(counts=counts, offsets=_edges(sizes))

    @staticmethod
    def concat(parts: Sequence["Runs"]) -> "Runs":
        """All masks of all parts, in order; no parts give no masks."""
        if not parts:
            return Runs(counts=np.empty(0, np.int64), offsets=np.zeros(1, np.int64))
        return Runs(
            counts=np.concatenate([part.counts for part in parts]),
            offsets=_edges(np.concatenate([part.sizes for part in parts])),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Parsed:
    """What a batch of texts holds, mask by mask.

    Args:
        runs: the run lengths; a mask with a problem has no runs. Each mask's sum is at most 2**40.
        problems: one a mask: None, or what is wrong with it and what was expected.
    """

    runs: Runs
    problems: tuple[str | None, ...]


def ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The integers of ``[starts[i], starts[i] + lengths[i])``, one interval after the other.

    Args:
        starts: int64 (k,).
        lengths: int64 (k,), >= 0.

    Returns:
        int64 (sum of lengths,).
    """
    stops = np.cumsum(lengths)
    total = int(stops[-1]) if stops.size else 0
    return np.repeat(starts - stops + lengths, lengths) + np.arange(total, dtype=np.int64)


def looks_decimal(text: str, pixels: int | None = None) -> bool:
    """Whether a string is decimal run lengths rather than COCO compressed counts.

    Compressed counts never hold white space, and decimal text holds nothing but digits and ASCII
    white space, so only one unbroken row of digits can be either: an empty mask's single run, or
    one run a digit. A row that starts with 0 (other than "0", which reads the same both ways) or
    has more than 13 digits is no single run that anybody writes: compressed. Every other row is
    decimal, unless its value is not `pixels` and the compressed reading's sum is (they are never
    equal where the readings differ; 13 digits read as compressed counts cover 387 pixels at most).

    Args:
        text: the whole string of a mask.
        pixels: height * width of the grid the mask is known to be on, if it is known.

    Returns:
        True for `parse_decimal`, False for `parse_compressed`.
    """
    if not text.isascii() or text.encode("ascii").translate(None, _DIGITS_AND_SPACE):
        return False
    tokens = text.split()
    if not tokens or len(tokens) > 1 or tokens[0] != text:
        return bool(tokens)
    if len(text) > _MOST_DIGITS or (text[0] == "0" and len(text) > 1):
        return False
    if pixels is None or int(text) == pixels:
        return True
    return int(parse_compressed([text]).runs.counts.sum()) != pixels


def parse_compressed(strings: Sequence[str]) -> Parsed:
    """COCO compressed counts of many masks.

    Refused: an empty string, characters other than '0' to 'o', an end inside a number, numbers of
    more than 7 characters, negative runs, sums above 2**40 pixels. Cost: some 5 us a mask of 300
    runs.

    Args:
        strings: one compressed string a mask.

    Returns:
        Runs and problems, parallel to `strings`.
    """
    return _piecewise(strings, _compressed_piece)


def parse_decimal(texts: Sequence[str]) -> Parsed:
    """Decimal run lengths ("27248 5 247") of many masks.

    Refused: a text without a number, anything but ASCII digits and ASCII white space (signs,
    points, other scripts' digits), numbers of more than 13 digits, sums above 2**40 pixels.

    Args:
        texts: one text a mask.

    Returns:
        Runs and problems, parallel to `texts`.
    """
    return _piecewise(texts, _decimal_piece)


def parse_counts(lists: Sequence[Sequence[object]]) -> Parsed:
    """Run lengths of many masks as JSON integers.

    Refused: what is no list, an empty list, any element that is no int (a bool or 5.0 is none),
    negative runs, runs or sums above 2**40 pixels.

    Args:
        lists: one list a mask.

    Returns:
        Runs and problems, parallel to `lists`.
    """
    problems: dict[int, str] = {}
    for i, items in enumerate(lists):
        problem = _list_problem(items)
        if problem:
            problems[i] = problem
    good = [() if i in problems else items for i, items in enumerate(lists)]
    sizes = np.fromiter(map(len, good), np.int64, len(good))
    counts = np.fromiter(chain.from_iterable(good), np.int64, int(sizes.sum()))
    return _checked(counts, _edges(sizes), problems)


def _edges(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    edges = np.zeros(sizes.size + 1, dtype=np.int64)
    np.cumsum(sizes, out=edges[1:])
    return edges


def _piecewise(texts: Sequence[str], parse: Callable[[Sequence[str]], Parsed]) -> Parsed:
    """Parse `texts` in pieces of about _PIECE characters, never cutting a mask."""
    edges = _edges(np.fromiter(map(len, texts), np.int64, len(texts)))
    parts, done = [], 0
    while done < len(texts):
        stop = max(done + 1, int(np.searchsorted(edges, edges[done] + _PIECE, "right")) - 1)
        parts.append(parse(texts[done:stop]))
        done = stop
    return Parsed(
        runs=Runs.concat([part.runs for part in parts]),
        problems=tuple(chain.from_iterable(part.problems for part in parts)),
    )


def _codes(text: str) -> NDArray[np.uint8]:
    """One byte a character; 255 for every character that no notation holds anyway."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), dtype=np.uint8)
    wide: NDArray[np.uint32] = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    return np.minimum(wide, np.uint32(255)).astype(np.uint8)


def _first_in_each(
    positions: NDArray[np.int64], edges: NDArray[np.int64]
) -> Iterable[tuple[int, int]]:
    """(i, position - edges[i]) of the first of the rising `positions` in each interval i."""
    if not positions.size:
        return ()
    owners, first = np.unique(np.searchsorted(edges, positions, "right") - 1, return_index=True)
    return zip(owners.tolist(), (positions[first] - edges[owners]).tolist(), strict=True)


def _compressed_piece(strings: Sequence[str]) -> Parsed:
    digits = _codes("".join(strings)) - np.uint8(48)
    lengths = np.fromiter(map(len, strings), np.int64, len(strings))
    edges = _edges(lengths)
    problems: dict[int, str] = {}
    bad = np.flatnonzero(digits > 63)
    for i, at in _first_in_each(bad, edges):
        problems[i] = _bad_character(strings[i][at], at, "only '0' to 'o'")
    digits[bad] = 0
    final = (digits & 32) == 0
    last = edges[1:][lengths > 0] - 1
    for i, _ in _first_in_each(last[~final[last]], edges):
        problems.setdefault(i, "counts end inside a number, expected the rest of it")
    final[last] = True  # so that no number reaches into the next mask
    ends = np.flatnonzero(final)
    groups = np.diff(ends, prepend=-1)
    for i, at in _first_in_each(ends[groups > _MOST_GROUPS], edges):
        problems.setdefault(i, _long_number(at, "characters", _MOST_GROUPS))
    deltas = (digits[ends] & 31).astype(np.int64)
    deltas -= (deltas & 16) << 1  # the sign bit of the highest group counts negative
    later = np.flatnonzero(groups > 1)
    places, left = ends[later], groups[later]
    for k in range(1, _MOST_GROUPS):
        if not later.size:
            break
        deltas[later] = (deltas[later] << 5) | (digits[places - k] & 31)
        keep = left > k + 1
        later, places, left = later[keep], places[keep], left[keep]
    offsets = np.searchsorted(ends, edges)
    return _checked(_undelta(deltas, offsets), offsets, problems)


def _undelta(deltas: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Runs from differences: run j of a mask is relative to run j - 2 for j > 2.

    One running sum over all even and one over all odd flat positions, less what each held before
    the mask's own chain began: at run 1 and at run 2 (run 0 stands alone).
    """
    padded = np.zeros((deltas.size + 3) // 2 * 2, dtype=np.int64)
    padded[2 : 2 + deltas.size] = deltas
    running = np.cumsum(padded.reshape(-1, 2), axis=0).ravel()  # running[i + 2] is that of run i
    before = np.empty((offsets.size - 1, 2), dtype=np.int64)  # by parity of the flat position
    start, mask = offsets[:-1], np.arange(offsets.size - 1)
    opened = running[np.minimum(start + 2, running.size - 1)]
    before[mask, start & 1] = opened
    before[mask, 1 - (start & 1)] = running[start + 1]
    sizes = np.diff(offsets)
    parity = np.arange(deltas.size, dtype=np.int64) & 1
    counts: NDArray[np.int64] = running[2 : 2 + deltas.size]
    counts = counts - before.ravel()[np.repeat(2 * mask, sizes) + parity]
    counts[start[sizes > 0]] = deltas[start[sizes > 0]]
    return counts


def _decimal_piece(texts: Sequence[str]) -> Parsed:
    codes = _codes(" " + " ".join(texts) + " ")
    edges = 1 + _edges(np.fromiter(map(len, texts), np.int64, len(texts)) + 1)
    problems: dict[int, str] = {}
    digit = codes - np.uint8(48) < 10
    bad = np.flatnonzero(~(digit | (codes == 32) | (codes - np.uint8(9) < 5)))
    for i, at in _first_in_each(bad, edges):
        problems[i] = _bad_character(texts[i][at], at, "only digits and white space")
    turns = np.flatnonzero(digit[1:] != digit[:-1])
    starts, ends = turns[0::2] + 1, turns[1::2]
    lengths = ends - starts + 1
    for i, at in _first_in_each(starts[lengths > _MOST_DIGITS], edges):
        problems.setdefault(i, _long_number(at, "digits", _MOST_DIGITS))
    counts = (codes[ends] - np.uint8(48)).astype(np.int64)
    later = np.flatnonzero(lengths > 1)
    for k in range(1, _MOST_DIGITS):
        if not later.size:
            break
        counts[later] += (codes[ends[later] - k] - np.int64(48)) * 10**k
        later = later[lengths[later] > k + 1]
    return _checked(counts, np.searchsorted(starts, edges), problems)


def _list_problem(items: object) -> str | None:
    if not isinstance(items, list | tuple):
        return f"counts are of type {type(items).__name__}, expected a list of whole numbers"
    if set(map(type, items)) - {int}:
        at, item = next((j, item) for j, item in enumerate(items) if type(item) is not int)
        return f"run {at} is of type {type(item).__name__}, expected a whole number"
    if items and (max(items) > _LARGEST or min(items) < -_LARGEST):
        at = next(j for j, item in enumerate(items) if abs(item) > _LARGEST)
        return f"run {at} is beyond any image, expected 0 to {_LARGEST} pixels"
    return None


def _bad_character(character: str, at: int, expected: str) -> str:
    return f"counts hold the character {character!r} at position {at}, expected {expected}"


def _long_number(at: int, unit: str, most: int) -> str:
    return f"counts hold a number of more than {most} {unit} at position {at}, expected no such run"


def _checked(
    counts: NDArray[np.int64], offsets: NDArray[np.int64], problems: dict[int, str]
) -> Parsed:
    """Find empty, negative and absurd masks; give those with a problem no runs."""
    sizes = np.diff(offsets)
    for i in np.flatnonzero(sizes == 0).tolist():
        problems.setdefault(i, "counts are empty, expected at least one run")
    for i, at in _first_in_each(np.flatnonzero(counts < 0), offsets):
        got = counts[offsets[i] + at]
        problems.setdefault(i, f"run {at} is {got} pixels, expected 0 or more")
    for i, at in _first_in_each(np.flatnonzero(counts > _LARGEST), offsets):
        problems.setdefault(i, f"run {at} is beyond any image, expected 0 to {_LARGEST} pixels")
    keep = np.ones(sizes.size, dtype=bool)
    keep[list(problems)] = False
    if problems:
        counts, sizes = counts[np.repeat(keep, sizes)], sizes * keep
    runs = Runs(counts=counts, offsets=_edges(sizes))
    absurd = runs.segment_sums(counts) > _LARGEST
    for i in np.flatnonzero(sizes > _SURELY_SUMMABLE).tolist():
        absurd[i] = runs.mask(i).sum(dtype=np.float64) > _LARGEST
    if absurd.any():
        what = f"runs sum to more than {_LARGEST} pixels, expected an image's"
        found = dict.fromkeys(np.flatnonzero(absurd).tolist(), what)
        return _checked(counts, runs.offsets, problems | found)
    return Parsed(runs=runs, problems=tuple(map(problems.get, range(sizes.size))))
