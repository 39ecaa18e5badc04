"""Mutated mask records, by seed, and what pycocotools and a slow parser make of them.

A record is drawn whole, then damaged: its text character by character, its list element by element,
its JSON fields by values of other types. About a third of the damage keeps the sum of the runs, or
an exact sum would hardly ever come out of it. The same seed gives the same record everywhere.
"""

import json
import random
import re

import numpy as np
import orjson
from pycocotools import mask as coco

SIZES = [(60, 80), (17, 23), (96, 64), (1, 40), (33, 1)]
_ALPHABET = "".join(map(chr, range(48, 112)))
_ODD_CHARACTERS = "~\u00e9\0\u0663-+.e_ \t\n\u00a0"
_ODD_VALUES = [
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**63, 2**64 - 1, -(2**63), 0.5, -0.0, 1e300, "",
    "0", "-1", "nan", "x" * 300, [], [[]], {}, {"size": None}, {"counts": None},
    {"size": [2, 2], "counts": "04"}, [0, 0, 0, 0], [1, 2, 3], [[1, 2, 3, 4]], [None] * 4,
    ["1", "2", "3", "4"], [1e300] * 4, "\u0000", "\U0001f600",
]  # fmt: skip


def drawn(rng, size):
    """A blob or two, noise, an empty or a full mask; bool (height, width)."""
    height, width = size
    rows, columns = np.indices(size)
    kind = rng.choice(["blob", "blob", "blob", "noise", "empty", "full"])
    if kind in ("empty", "full"):
        return np.full(size, kind == "full")
    if kind == "noise":
        return np.random.default_rng(rng.getrandbits(32)).random(size) < rng.choice([0.05, 0.5])
    mask = np.zeros(size, bool)
    for _ in range(rng.randint(1, 2)):
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        a, b = rng.uniform(1, 1 + height / 3), rng.uniform(1, 1 + width / 3)
        mask |= ((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 < 1
    return mask


def runs_of(mask):
    """Column-major run lengths, background first."""
    flat = mask.ravel(order="F")
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    runs = np.diff(ends, prepend=0).tolist()
    return [0, *runs] if flat[0] else runs


def box_of(mask):
    """[x, y, width, height]; zeros for a mask without pixels."""
    ys, xs = np.nonzero(mask)
    if not ys.size:
        return [0, 0, 0, 0]
    return [int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1]


def written(notation, runs, size):
    """Runs as decimal text, a list or compressed counts."""
    if notation == "decimal":
        return " ".join(map(str, runs))
    if notation == "counts":
        return list(runs)
    return coco.frPyObjects({"size": list(size), "counts": runs}, *size)["counts"].decode()


def same_sum(rng, runs):
    """Move pixels between runs, split one by an empty run, or put an empty pair somewhere."""
    runs = list(runs)
    at = rng.randrange(len(runs))
    match rng.randrange(3):
        case 0:
            moved = rng.randint(0, runs[at])
            runs[at] -= moved
            runs[rng.randrange(len(runs))] += moved
        case 1:
            left = rng.randint(0, runs[at])
            runs[at : at + 1] = [left, 0, runs[at] - left]
        case _:
            runs[at:at] = [0, 0]
    return runs


def mutated_sequence(rng, items, new):
    """Insert, delete, replace, swap, cut off, repeat or drop a stretch of a list of items."""
    items = list(items)
    at, to = sorted((rng.randint(0, len(items)), rng.randint(0, len(items))))
    match rng.randrange(8):
        case 0:
            items.insert(at, new())
        case 1:
            del items[at : at + 1]
        case 2 if at < len(items):
            items[at] = new()
        case 3 if to < len(items):
            items[at], items[to] = items[to], items[at]
        case 4:
            del items[at:]
        case 5:
            items[at:at] = items[at:to]
        case 6:
            del items[at:to]
        case _:
            items[at:to] = items[at:to][::-1]
    return items


def _new_character(rng):
    if rng.random() < 0.15:
        return rng.choice(_ODD_CHARACTERS)
    return rng.choice(rng.choice([_ALPHABET, "0123456789 "]))


def _new_run(rng):
    return rng.choice(_ODD_VALUES) if rng.random() < 0.3 else rng.randint(-3, 5000)


def _mutated_counts(rng, counts):
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        if isinstance(counts, str):
            counts = "".join(mutated_sequence(rng, counts, lambda: _new_character(rng)))
        else:
            counts = mutated_sequence(rng, counts, lambda: _new_run(rng))
    return counts


def _mutated_fields(rng, record):
    record = dict(record)
    for _ in range(rng.choice([1, 1, 2])):
        key = rng.choice(sorted(record) or ["label"])
        match rng.randrange(4):
            case 0:
                record.pop(key, None)
            case 1:
                alias = rng.choice(["segmentation", "mask", "rle", "class", "category", "size"])
                record[alias] = record.get(key)
            case 2 if isinstance(record.get("mask_rle"), dict):
                inner = dict(record["mask_rle"])
                inner[rng.choice(["size", "counts"])] = rng.choice(_ODD_VALUES)
                record["mask_rle"] = inner
            case _:
                record[key] = rng.choice(_ODD_VALUES)
    return record


def mutated_record(seed, size):
    """One damaged object record for an image of this (height, width): what JSON can hold."""
    rng = random.Random(f"mask record {seed}")
    mask = drawn(rng, size)
    notation, sized = rng.choice(["decimal", "counts", "compressed"]), rng.random() < 0.5
    kind = rng.choice(["sum kept", "sum kept", "counts", "counts", "counts", "fields"])
    runs = same_sum(rng, runs_of(mask)) if kind == "sum kept" else runs_of(mask)
    counts = written(notation, runs, size)
    if kind == "counts":
        counts = _mutated_counts(rng, counts)
    record = {
        "object_id": rng.randrange(3), "label": rng.choice(["dog", "th\u00e9i\u00e8re"]),
        "mask_rle": {"size": list(size), "counts": counts} if sized else counts,
    }  # fmt: skip
    if rng.random() < 0.3:
        record |= {"bbox": box_of(mask), "area": int(mask.sum())}
    if kind == "fields":
        record = _mutated_fields(rng, record)
    return rng.choice(_ODD_VALUES) if rng.random() < 0.01 else record


def is_json(record):
    """Whether a strict parser takes it: half a surrogate pair, for one, is in no UTF-8."""
    try:
        orjson.loads(json.dumps(record))
    except orjson.JSONDecodeError:
        return False
    return True


def slow_compressed(text):
    """Runs as `rleFrString` reads them, number by number; None for what means nothing."""
    runs, at = [], 0
    while at < len(text):
        value, k, more = 0, 0, True
        while more:
            if at == len(text) or not 48 <= ord(text[at]) <= 111 or k == 7:
                return None
            digit = ord(text[at]) - 48
            value |= (digit & 31) << 5 * k
            more = bool(digit & 32)
            at, k = at + 1, k + 1
            if not more and digit & 16:
                value |= -1 << 5 * k
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    return runs


def exact_runs(notation, counts, size):
    """The runs, if they are whole numbers from 0 whose sum is exactly height * width; or None."""
    runs = None
    if notation == "compressed":
        runs = slow_compressed(counts)
    elif notation == "decimal" and re.fullmatch(r"[0-9 \t\n\r\v\f]*", counts):
        runs = [int(word) if len(word) < 14 else -1 for word in counts.split()]
    elif notation == "counts" and all(type(run) is int for run in counts):
        runs = counts
    if not runs or min(runs) < 0 or sum(runs) != size[0] * size[1]:
        return None
    return runs


def disagreement(raw, size, outcome):  # noqa: PLR0911  # one return a difference
    """Say how the engine's outcome for a record differs from pycocotools' reading; None if not.

    pycocotools is only given what sums exactly: on anything else it reads memory that is not there.
    """
    runs = exact_runs(raw.notation, raw.counts, size) if raw.size in (None, size) else None
    codes = [code for code, _ in outcome.problems]
    if runs is None:
        return None if outcome.counts is None and codes else f"believed, not exact: {outcome}"
    if raw.notation == "compressed":
        rle = {"size": list(size), "counts": raw.counts}
    else:
        rle = coco.frPyObjects({"size": list(size), "counts": runs}, *size)
    expected = coco.decode(rle)
    if not expected.any():
        return None if codes == ["mask_empty"] else f"empty, but {outcome}"
    box, area = coco.toBbox(rle).tolist(), int(coco.area(rle))
    due = []
    if raw.area is not None and raw.area != area:
        due.append("mask_area_mismatch")
    if raw.bbox is not None and np.abs(np.array(raw.bbox) - box).max() > 1:
        due.append("bbox_mismatch")
    if codes != due:
        return f"codes {codes}, expected {due}"
    if (list(outcome.box), outcome.area) != (box, area):
        return f"box {outcome.box}, area {outcome.area}, expected {box}, {area}"
    if outcome.counts is None:
        return None if "mask_area_mismatch" in due else "refused without a reason"
    found = coco.decode({"size": list(size), "counts": outcome.counts})
    if not np.array_equal(found, expected):
        return "the pixels differ"
    canonical = coco.encode(np.asfortranarray(expected))["counts"].decode()
    return None if outcome.counts == canonical else "not pycocotools' own counts"
