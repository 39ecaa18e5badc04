"""Geometry of masks, computed on their run lengths.

Area, box, order and size of a mask follow from its runs alone, far cheaper than from its pixels,
and without trusting a decoder with lengths that nobody checked. A change of order or size goes over
vertical edges: the places where, walking down a column, the mask begins or ends. There are few of
them (a blob has two a column), and both steps are exact in integers:

* The rows of a mask, one after the other, are a signal on a line; a pixel differs from the one
  above it where the signal differs from itself shifted by one row. So row-major runs give all
  vertical edges by merging two sorted lists, without a dense array.
* Nearest neighbour in the exporter's form (OpenCV's INTER_NEAREST: image row r shows grid row
  floor(r * gh / h)) moves an edge at grid row y to image row ceil(y * h / gh), and repeats columns.

The price is memory in proportion to the vertical edges: up to one a pixel for a mask of one-pixel
stripes, which is then what the result holds too. Batches are cut so that one piece stays small.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.rle_text import Runs, ranges

__all__ = [
    "LONGEST_SIDE",
    "Order",
    "areas",
    "boundary",
    "boxes",
    "canonical",
    "compress",
    "dense",
    "from_dense",
    "stretch",
    "sums",
    "transpose_order",
]

Order: TypeAlias = Literal["column", "row"]

_Ints: TypeAlias = NDArray[np.int64]

LONGEST_SIDE = 2**20  # px: with it every product below stays inside int64
_PIECE_RUNS = 1 << 15  # written at once: the arrays of a piece stay in the processor's cache
_PIECE_EDGES = 1 << 21  # vertical edges handled at once, at worst: 16 MiB an array


def sums(runs: Runs) -> _Ints:
    """Pixels each mask's runs cover, int64 (m,): height * width if the mask is whole."""
    return runs.segment_sums(runs.counts)


def areas(runs: Runs) -> _Ints:
    """Foreground pixels of each mask, int64 (m,); 0 for a mask without runs."""
    signed = runs.counts.copy()
    np.negative(signed[1::2], out=signed[1::2])
    surplus = runs.segment_sums(signed)  # background less foreground, or the reverse ...
    surplus[runs.offsets[:-1] & 1 == 1] *= -1  # ... where a mask starts at an odd position
    return (sums(runs) - surplus) // 2


def boxes(runs: Runs, size: tuple[int, int] | _Ints, order: Order = "column") -> _Ints:
    """Tight boxes of the foreground.

    Args:
        runs: m masks.
        size: (height, width) of all masks, or int64 (m, 2), one a mask.
        order: which way the runs go: down the columns (COCO) or along the rows.

    Returns:
        int64 (m, 4), x, y, width, height in px; [0, 0, 0, 0] for a mask without foreground. A mask
        whose sum is not height * width gets the box of the pixels it names, however far out.

    Raises:
        ValueError: a height or width below 1, or a `size` of another shape.
    """
    shapes = np.asarray(size, dtype=np.int64)
    if shapes.shape not in {(2,), (len(runs), 2)} or np.any(shapes < 1):
        raise ValueError(f"size {size}: expected (height, width) above 0, or one a mask")
    start, stop, edges = runs.foreground()
    lines = shapes[..., 0 if order == "column" else 1]
    line = np.repeat(lines, np.diff(edges)) if lines.ndim else lines
    first, final = start // line, (stop - 1) // line
    low, high = start - first * line, stop - 1 - final * line
    wraps = final > first  # such a run holds the end of one line and the start of the next
    low[wraps] = 0
    high[wraps] = (np.broadcast_to(line, high.shape) - 1)[wraps]
    seen = np.flatnonzero(edges[1:] > edges[:-1])
    found = np.zeros((len(runs), 4), dtype=np.int64)
    if not seen.size:
        return found
    begin = edges[seen]
    along, across = (1, 0) if order == "column" else (0, 1)
    found[seen, along] = np.minimum.reduceat(low, begin)
    found[seen, across] = first[begin]
    found[seen, along + 2] = np.maximum.reduceat(high, begin) - found[seen, along] + 1
    found[seen, across + 2] = final[edges[seen + 1] - 1] - first[begin] + 1
    return found


def canonical(runs: Runs) -> Runs:
    """The one way to write each mask: no run of 0 pixels but a first one before foreground.

    Masks of equal pixels get equal runs, those of pycocotools' ``encode``; a mask whose runs are
    all 0 becomes [0]; a mask without runs stays without.

    Args:
        runs: m masks.

    Returns:
        m masks; `runs` itself if nothing is to be done.
    """
    zero = np.flatnonzero(runs.counts == 0)
    begins = np.zeros(runs.counts.size + 1, dtype=bool)
    begins[runs.offsets[:-1]] = True
    if not np.any(~begins[zero]):
        return runs
    start, stop, edges = runs.foreground()
    span = int(sums(runs).max()) + 1  # room between masks, so that none touches the next
    if len(runs) > 1 and len(runs) * span > 2**62:
        middle = len(runs) // 2
        halves = np.arange(middle), np.arange(middle, len(runs))
        return Runs.concat([canonical(runs.take(half)) for half in halves])
    base = np.repeat(np.arange(len(runs)) * span, np.diff(edges))
    return _from_edges(_interleave(start + base, stop + base), sums(runs), span, runs.sizes > 0)


def compress(runs: Runs) -> list[str]:
    """COCO compressed counts, byte for byte those of pycocotools' ``rleToString``.

    Args:
        runs: m masks of any runs below 2**62; `canonical` first if equal masks are to give
            equal strings.

    Returns:
        m strings; "" for a mask without runs.
    """
    if runs.counts.size > _PIECE_RUNS and len(runs) > 1:
        halves = np.array_split(np.arange(len(runs)), 2)
        return [text for half in halves for text in compress(runs.take(half))]
    deltas = runs.counts.copy()
    deltas[2:] -= runs.counts[:-2]
    for j in range(3):  # the first three runs of a mask are written as they are
        first = runs.offsets[:-1][runs.sizes > j] + j
        deltas[first] = runs.counts[first]
    magnitude = deltas ^ (deltas >> 63)
    groups = np.ones(deltas.size, dtype=np.int64)
    larger = np.flatnonzero(magnitude >= 16)
    while larger.size:
        groups[larger] += 1
        larger = larger[(magnitude[larger] >> (5 * groups[larger] - 1)) > 0]
    edges = np.concatenate([[0], np.cumsum(groups)])
    text = np.empty(int(edges[-1]), dtype=np.uint8)
    text[edges[:-1]] = (deltas & 31) + 48 + 32 * (groups > 1)
    written, k = np.flatnonzero(groups > 1), 1
    while written.size:
        more = groups[written] > k + 1
        digit = (deltas[written] >> (5 * k)) & 31
        text[edges[written] + k] = digit + 48 + 32 * more
        written, k = written[more], k + 1
    joined, cuts = text.tobytes().decode("ascii"), edges[runs.offsets].tolist()
    return [joined[a:b] for a, b in pairwise(cuts)]


def dense(counts: _Ints, size: tuple[int, int], order: Order = "column") -> NDArray[np.bool_]:
    """The pixels of one mask.

    Args:
        counts: int64 (k,), run lengths, background first.
        size: (height, width); what is allocated is height * width bytes, and only if the sum fits.
        order: which way the runs go.

    Returns:
        bool (height, width); for "column" a transposed view (Fortran order).

    Raises:
        ValueError: a negative run, or a sum that is not height * width.
    """
    height, width = size
    pixels = height * width
    # A sum of float64 is exact up to 2**53 and cannot wrap around to the expected one.
    if min(size) < 0 or np.any(counts < 0) or counts.sum(dtype=np.float64) != pixels:
        raise ValueError(f"runs sum to {sum(counts.tolist())}: expected {pixels}, none negative")
    flat = np.repeat(np.arange(counts.size) & 1 == 1, counts)
    return flat.reshape(width, height).T if order == "column" else flat.reshape(height, width)


def from_dense(mask: NDArray[np.bool_], order: Order = "column") -> _Ints:
    """Canonical run lengths of one mask.

    Args:
        mask: bool (height, width).
        order: which way the runs shall go.

    Returns:
        int64 (k,), background first, sum height * width; [0] for a mask without pixels.
    """
    flat = mask.ravel(order="F" if order == "column" else "C")
    turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lead = [0, 0] if flat.size and flat[0] else [0]
    places = np.concatenate([lead, turns, [flat.size]]).astype(np.int64)
    return places[1:] - places[:-1]


def transpose_order(runs: Runs, size: tuple[int, int]) -> Runs:
    """Row-major runs to canonical column-major runs of the same pixels.

    Args:
        runs: m row-major masks, each of sum height * width or without runs.
        size: (height, width) of all of them.

    Returns:
        m column-major masks; one without runs stays without.

    Raises:
        ValueError: a sum that is not height * width, or a side not from 1 to 2**20.
    """
    return stretch(runs, size, size, order="row")


def stretch(
    runs: Runs, grid: tuple[int, int], size: tuple[int, int], *, order: Order = "column"
) -> Runs:
    """Masks on a grid to canonical column-major masks of an image, by nearest neighbour.

    Image pixel (r, c) shows grid pixel (floor(r * gh / h), floor(c * gw / w)), exactly; an image
    smaller than the grid skips rows and columns. Cost: in proportion to the vertical edges of the
    image's masks, some 40 us for a blob from 256x256 to 720x1280.

    Args:
        runs: m masks, each of sum gh * gw or without runs.
        grid: (gh, gw).
        size: (h, w) of the image.
        order: which way `runs` go. The result always goes down the columns.

    Returns:
        m masks of sum h * w; one without runs stays without.

    Raises:
        ValueError: a sum that is not gh * gw, or a side not from 1 to 2**20.
    """
    if min(*grid, *size) < 1 or max(*grid, *size) > LONGEST_SIDE:
        raise ValueError(f"sizes {grid}, {size}: expected sides of 1 to {LONGEST_SIDE}")
    wrong = np.flatnonzero((sums(runs) != grid[0] * grid[1]) & (runs.sizes > 0))
    if wrong.size:
        got = int(sums(runs)[wrong[0]])
        raise ValueError(f"mask {wrong[0]}: sum {got}, expected {grid[0] * grid[1]}")
    find = _edges_down if order == "column" else _edges_across
    parts = []
    for chosen in _pieces(runs, grid, size):
        present = chosen.sizes > 0
        turns = _stretched(find(chosen, grid), grid, size)
        pixels = size[0] * size[1]
        totals = np.full(len(chosen), pixels, dtype=np.int64)
        parts.append(_from_edges(turns, totals, pixels + 1, present))
    return Runs.concat(parts)


def boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the mask with background above, below, left or right of them.

    Beyond the frame lies nothing: a pixel at the frame's edge counts only if one of its neighbours
    inside the frame is background, for a mask that the frame cuts off has no contour there.

    Args:
        mask: bool (height, width).

    Returns:
        bool (height, width), a subset of `mask`.
    """
    open_side = np.zeros_like(mask)
    open_side[1:] |= ~mask[:-1]
    open_side[:-1] |= ~mask[1:]
    open_side[:, 1:] |= ~mask[:, :-1]
    open_side[:, :-1] |= ~mask[:, 1:]
    return open_side & mask


def _interleave(starts: _Ints, stops: _Ints) -> _Ints:
    both = np.empty(2 * starts.size, dtype=np.int64)
    both[0::2], both[1::2] = starts, stops
    return both


def _pieces(runs: Runs, grid: tuple[int, int], size: tuple[int, int]) -> Iterator[Runs]:
    """`runs` cut so that no piece can have more than _PIECE_EDGES edges, if more than one mask."""
    inside = areas(runs)
    fewer = np.minimum(inside, grid[0] * grid[1] - inside + grid[1])
    worst = 2 * fewer * max(1, -(-size[1] // grid[1])) + runs.sizes + 1
    edges = np.concatenate([[0], np.cumsum(worst)])
    done = 0
    while done < len(runs):
        stop = int(np.searchsorted(edges, edges[done] + _PIECE_EDGES, "right")) - 1
        stop = max(done + 1, stop)
        yield runs.take(np.arange(done, stop))
        done = stop


def _edges_down(runs: Runs, grid: tuple[int, int]) -> _Ints:
    """Vertical edges of column-major masks, sorted: ``(mask * gw + x) * (gh + 1) + y``.

    Every column is closed: a run that goes on into the next column ends at y = gh and begins anew
    at y = 0, so that a column can be moved or repeated by itself.
    """
    height, width = grid
    start, stop, edges = runs.foreground()
    first, final = start // height, (stop - 1) // height
    lengths = final - first + 1
    mask = np.repeat(np.arange(len(runs)), np.diff(edges))
    columns = ranges(mask * width + first, lengths)
    tops = np.zeros(columns.size, dtype=np.int64)
    bottoms = np.full(columns.size, height, dtype=np.int64)
    ends = np.cumsum(lengths)
    tops[ends - lengths] = start - first * height
    bottoms[ends - 1] = stop - final * height
    return _interleave(columns * (height + 1) + tops, columns * (height + 1) + bottoms)


def _edges_across(runs: Runs, grid: tuple[int, int]) -> _Ints:
    """Vertical edges of row-major masks, in the form of `_edges_down`.

    Each mask gets gh + 1 rows of a line, the last one empty: it takes what the shift pushes out.
    """
    height, width = grid
    start, stop, edges = runs.foreground()
    base = np.repeat(np.arange(len(runs)) * ((height + 1) * width), np.diff(edges))
    turns = _interleave(start + base, stop + base)
    # Sorted, equal stretches of adjacent rows drop out here already; unsorted they would be written
    # out pixel by pixel and cancel only at the end: the same masks, at the cost of their area.
    turns = np.sort(np.concatenate([turns, turns + width]))
    places = ranges(turns[0::2], turns[1::2] - turns[0::2])  # where a pixel differs from above
    rows = places // width
    masks = rows // (height + 1)
    columns = masks * width + places - rows * width
    return np.sort(columns * (height + 1) + rows - masks * (height + 1))


def _stretched(turns: _Ints, grid: tuple[int, int], size: tuple[int, int]) -> _Ints:
    """Edges on the grid to sorted edges ``mask * (h * w + 1) + x * h + y`` of the image."""
    (grid_height, grid_width), (height, width) = grid, size
    rows = -(-np.arange(grid_height + 1) * height // grid_height)
    lefts = -(-np.arange(grid_width + 1) * width // grid_width)
    column = turns // (grid_height + 1)
    moved = rows[turns - column * (grid_height + 1)]
    begin = np.flatnonzero(np.diff(column, prepend=-1))
    sizes = np.diff(begin, append=turns.size)
    mask = column[begin] // grid_width
    x = column[begin] - mask * grid_width
    times = lefts[x + 1] - lefts[x]
    # Twice unrolled: first each grid column into its image columns, then those into their edges.
    image_column = ranges(lefts[x], times)
    base = np.repeat(mask * (height * width + 1), times) + image_column * height
    sizes_out = np.repeat(sizes, times)
    found: _Ints = moved[ranges(np.repeat(begin, times), sizes_out)]
    return found + np.repeat(base, sizes_out)


def _from_edges(turns: _Ints, totals: _Ints, span: int, present: NDArray[np.bool_]) -> Runs:
    """Canonical runs from sorted places where masks turn, ``mask * span + place``.

    Args:
        turns: an even number a mask, place <= the mask's total < span; equal ones cancel in pairs.
        totals: (m,), pixels of each mask.
        span: the distance between masks.
        present: (m,), False for a mask that shall have no runs.
    """
    same = turns[1:] == turns[:-1]
    if same.any():
        begin = np.flatnonzero(np.concatenate([[True], ~same]))
        turns = turns[begin[np.diff(begin, append=turns.size) & 1 == 1]]
    bases = np.arange(totals.size) * span
    edges = np.searchsorted(turns, np.append(bases, totals.size * span))
    last = np.concatenate([[-1], turns])[edges[1:]]
    open_end = present & ~((last == bases + totals) & (np.diff(edges) > 0))
    turns = np.insert(turns, edges[1:][open_end], (bases + totals)[open_end])
    sizes = np.diff(edges) + open_end
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    counts = np.diff(turns, prepend=0)
    begin = offsets[:-1][sizes > 0]
    counts[begin] = turns[begin] - bases[sizes > 0]
    return Runs(counts=counts, offsets=offsets)
