"""Masks on runs against pycocotools, a dense oracle and a slow parser that goes by the letter."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from engine import masks, rle_text
from engine.rle_text import Runs, parse_compressed, parse_counts, parse_decimal
from tests.fuzz_masks import slow_compressed

ORDERS = ("column", "row")
LARGEST = 2**40
ALPHABET = "".join(map(chr, range(48, 112)))


def named_masks(height=9, width=7):
    rows, columns = np.indices((height, width))
    single = np.zeros((height, width), bool)
    single[4, 5] = True
    first = np.zeros((height, width), bool)
    first[0, 0] = True
    last = np.zeros((height, width), bool)
    last[-1, -1] = True
    return {
        "empty": np.zeros((height, width), bool),
        "full": np.ones((height, width), bool),
        "single": single,
        "first": first,
        "last": last,
        "checkerboard": (rows + columns) % 2 == 0,
        "other checkerboard": (rows + columns) % 2 == 1,
        "stripes across": rows % 2 == 0,
        "stripes down": columns % 2 == 1,
        "column to column": (columns * height + rows > 5) & (columns * height + rows < 22),
        "frame": (rows == 0) | (columns == 0) | (rows == height - 1) | (columns == width - 1),
    }


@st.composite
def pixels(draw, longest=13):
    height, width = draw(st.integers(1, longest)), draw(st.integers(1, longest))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["noise", "sparse", "block", "full", "empty"]))
    share = {"noise": 0.5, "sparse": 0.08, "full": 2.0, "empty": -1.0, "block": 0.0}[kind]
    mask = rng.random((height, width)) < share
    if kind == "block":
        top, left = rng.integers(0, height), rng.integers(0, width)
        mask[top : rng.integers(top, height) + 1, left : rng.integers(left, width) + 1] = True
    return mask


def encode(mask):
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))


def compressed(mask):
    return encode(mask)["counts"].decode("ascii")


def slow_runs(mask, order):
    """Run lengths by walking over the pixels one by one."""
    flat = mask.T.ravel() if order == "column" else mask.ravel()
    counts, value = [0], False
    for pixel in flat.tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def slow_parse(text):
    """Counts as rleFrString reads them, in Python's unbounded integers; None if refused."""
    counts = slow_compressed(text)
    if not counts or min(counts) < 0 or sum(counts) > LARGEST:
        return None
    return counts


def slow_boxes(mask):
    rows, columns = np.nonzero(mask)
    if not rows.size:
        return [0, 0, 0, 0]
    x, y = columns.min(), rows.min()
    return [x, y, columns.max() - x + 1, rows.max() - y + 1]


def slow_decode(counts, size, order):
    flat = [bool(j % 2) for j, count in enumerate(counts) for _ in range(count)]
    flat = np.array(flat, dtype=bool)
    return flat.reshape(size[::-1]).T if order == "column" else flat.reshape(size)


def as_lists(runs):
    return [runs.mask(i).tolist() for i in range(len(runs))]


def check_parsed(parsed, expected):
    """`expected`: one a text, a list of counts, or None where a problem is due."""
    assert len(parsed.problems) == len(parsed.runs) == len(expected)
    assert as_lists(parsed.runs) == [counts or [] for counts in expected]
    assert [problem is not None for problem in parsed.problems] == [c is None for c in expected]
    assert all(p is None or "expected" in p for p in parsed.problems)


@pytest.mark.parametrize("name", named_masks())
def test_named_masks_agree_with_pycocotools(name):
    mask = named_masks()[name]
    rle = encode(mask)
    parsed = parse_compressed([rle["counts"].decode()])
    check_parsed(parsed, [slow_runs(mask, "column")])
    runs = parsed.runs
    assert masks.sums(runs).tolist() == [mask.size]
    assert masks.areas(runs).tolist() == [int(coco.area(rle))]
    assert masks.boxes(runs, mask.shape).tolist() == [slow_boxes(mask)]
    assert masks.boxes(runs, mask.shape).tolist() == [coco.toBbox(rle).astype(int).tolist()]
    assert masks.compress(runs) == [rle["counts"].decode()]
    assert np.array_equal(masks.dense(runs.mask(0), mask.shape), coco.decode(rle).astype(bool))


@settings(deadline=None, max_examples=60)
@given(st.lists(pixels(), min_size=1, max_size=6))
def test_a_batch_of_sizes_agrees_with_pycocotools(batch):
    rles = [encode(mask) for mask in batch]
    texts = [rle["counts"].decode() for rle in rles]
    runs = parse_compressed(texts).runs
    sizes = np.array([mask.shape for mask in batch])
    assert as_lists(runs) == [slow_runs(mask, "column") for mask in batch]
    assert masks.areas(runs).tolist() == coco.area(rles).tolist()
    assert masks.boxes(runs, sizes).tolist() == coco.toBbox(rles).astype(int).tolist()
    assert masks.compress(runs) == texts


@pytest.mark.parametrize("order", ORDERS)
@settings(deadline=None, max_examples=60)
@given(st.lists(pixels(), min_size=1, max_size=6))
def test_every_notation_makes_the_round_trip(order, batch):
    written = [masks.from_dense(mask, order) for mask in batch]
    lists = [counts.tolist() for counts in written]
    assert lists == [slow_runs(mask, order) for mask in batch]
    texts = [" ".join(map(str, counts)) for counts in lists]
    strings = masks.compress(Runs.of(written))
    sizes = np.array([mask.shape for mask in batch])
    for parsed in (parse_decimal(texts), parse_counts(lists), parse_compressed(strings)):
        check_parsed(parsed, lists)
        assert masks.boxes(parsed.runs, sizes, order).tolist() == [slow_boxes(m) for m in batch]
        for i, mask in enumerate(batch):
            back = masks.dense(parsed.runs.mask(i), mask.shape, order)
            assert back.dtype == bool
            assert np.array_equal(back, mask)


def test_large_masks_need_several_characters_a_run():
    rng = np.random.default_rng(3)
    rows, columns = np.indices((720, 1280))
    batch = []
    for _ in range(6):
        y, x = rng.uniform(0, 720), rng.uniform(0, 1280)
        a, b = rng.uniform(20, 300), rng.uniform(20, 300)
        batch.append(((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 < 1)
    rles = [encode(mask) for mask in batch]
    texts = [rle["counts"].decode() for rle in rles]
    runs = parse_compressed(texts).runs
    assert masks.sums(runs).tolist() == [720 * 1280] * 6
    assert masks.areas(runs).tolist() == coco.area(rles).tolist()
    assert masks.boxes(runs, (720, 1280)).tolist() == coco.toBbox(rles).astype(int).tolist()
    assert masks.compress(runs) == texts
    across = Runs.of(masks.from_dense(mask, "row") for mask in batch)
    assert as_lists(masks.transpose_order(across, (720, 1280))) == as_lists(runs)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.text(ALPHABET, max_size=24), max_size=5))
def test_any_row_of_valid_characters_is_read_by_the_letter(texts):
    check_parsed(parse_compressed(texts), [slow_parse(text) for text in texts])


@settings(deadline=None, max_examples=200)
@given(st.lists(st.one_of(st.text(max_size=12), st.text(ALPHABET[:40] + " é\ud800", max_size=9))))
def test_garbage_is_a_problem_and_never_an_error(texts):
    check_parsed(parse_compressed(texts), [slow_parse(text) for text in texts])
    decimal = []
    for text in texts:
        numbers = [int(t) for t in text.split()] if re.fullmatch(r"[0-9 \t-\r]+", text) else []
        decimal.append(numbers or None)
    check_parsed(parse_decimal(texts), decimal)
    check_parsed(parse_counts(texts), [None] * len(texts))
    for runs in (parse_compressed(texts).runs, parse_decimal(texts).runs):
        present = runs.take(np.flatnonzero(runs.sizes > 0))
        assert masks.areas(runs).tolist() == [sum(c[1::2]) for c in as_lists(runs)]
        assert parse_compressed(masks.compress(present)).problems == (None,) * len(present)
        masks.boxes(runs, (5, 4))
        for i in range(len(runs)):
            if masks.sums(runs)[i] != 20:
                with pytest.raises(ValueError, match="expected 20"):
                    masks.dense(runs.mask(i), (5, 4))


@pytest.mark.parametrize("name", named_masks())
def test_no_truncation_keeps_the_sum(name):
    mask = np.kron(named_masks()[name], np.ones((5, 11), bool))
    text = compressed(mask)
    cut = [text[:n] for n in range(len(text))]
    parsed = parse_compressed(cut)
    whole = masks.sums(parsed.runs) == mask.size
    assert not np.any(whole)
    assert all(p is not None for p, s in zip(parsed.problems, cut, strict=True) if not s)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "counts are empty, expected at least one run"),
        ("12345 7", "counts hold the character ' ' at position 5, expected only '0' to 'o'"),
        ("5p", "counts hold the character 'p' at position 1, expected only '0' to 'o'"),
        ("5é", "counts hold the character 'é' at position 1, expected only '0' to 'o'"),
        ("5\u0130", "counts hold the character '\u0130' at position 1, expected only '0' to 'o'"),
        ("5P", "counts end inside a number, expected the rest of it"),
        ("5O", "run 1 is -1 pixels, expected 0 or more"),
        ("5" + "P" * 7 + "0", "counts hold a number of more than 7 characters at position 8"),
    ],
)
def test_compressed_problems_say_what_and_where(text, problem):
    for texts in ([text], ["54", text, "63"]):
        found = parse_compressed(texts)
        at = texts.index(text)
        assert found.problems[at].startswith(problem)
        assert found.problems[:at] == (None,) * at
        assert not found.runs.mask(at).size
        assert [found.runs.mask(i).tolist() for i in range(len(texts)) if i != at] == (
            [[5, 4], [6, 3]] if len(texts) == 3 else []
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("27248 5 247 14", [27248, 5, 247, 14]),
        ("0 9", [0, 9]),
        (" 3\t4\r\n5\v6\f7 ", [3, 4, 5, 6, 7]),
        ("007", [7]),
        (str(LARGEST), [LARGEST]),
        (str(LARGEST + 1), None),
        (f"{LARGEST} 1", None),
        ("00000000000001", None),
        ("9" * 400, None),
        ("", None),
        (" \n", None),
        ("-5 6", None),
        ("+5", None),
        ("5.0", None),
        ("1e3", None),
        ("0x10", None),
        ("1_000", None),
        ("5,6", None),
        ("5\u00a06", None),
        ("5\x1c6", None),
        ("5\x0e6", None),
        ("5\u01306", None),  # its low byte is that of "0"
        ("5\x086", None),
        ("\u0665 6", None),
        ("5\x006", None),
    ],
)
def test_decimal_text(text, expected):
    check_parsed(parse_decimal([text]), [expected])
    check_parsed(parse_decimal(["1 2", text, "3"]), [[1, 2], expected, [3]])


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([3, 4], [3, 4]),
        ((0, 9), [0, 9]),
        ([LARGEST], [LARGEST]),
        ([LARGEST, 1], None),
        ([2**200], None),
        ([-(2**200)], None),
        ([3, -1], None),
        ([True, 4], None),
        ([3, 4.0], None),
        ([3, "4"], None),
        ([3, None], None),
        ([3, [4]], None),
        ([], None),
        ("54", None),
        (None, None),
        ({"counts": [1]}, None),
    ],
)
def test_lists_of_counts(items, expected):
    check_parsed(parse_counts([items]), [expected])
    check_parsed(parse_counts([[1, 2], items, [3]]), [[1, 2], expected, [3]])


def test_sums_beyond_any_image_are_refused():
    run = "P" * 6 + "8"  # 2**33; from run 3 on a number is a difference to the run before last
    assert slow_parse(run) == [2**33]
    for text in ("5" + run * 2 + "00", run * 60, run * 60 + "0" * 400):
        check_parsed(parse_compressed(["54", text, "63"]), [[5, 4], slow_parse(text), [6, 3]])
    assert slow_parse(run * 60 + "0" * 400) is None


def test_a_sum_that_wraps_around_is_refused():
    climb = "oooooo?" * 126  # up to runs of 62 and 63 times 2**34 - 1, which '0' then repeats
    assert slow_parse("oooooo?" * 10)[-2:] == [4 * (2**34 - 1), 5 * (2**34 - 1)]
    repeats = 2**23 + 2**18
    wrapped = (repeats // 2 * (62 + 63) * (2**34 - 1)) % 2**64
    assert wrapped >= 2**63  # in int64 negative: no comparison with a limit would notice
    check_parsed(parse_compressed(["54", climb + "0" * repeats, "63"]), [[5, 4], None, [6, 3]])


def test_a_run_beyond_any_image_is_named():
    for parsed in (parse_decimal([f"3 {LARGEST + 1}"]), parse_counts([[3, LARGEST + 1]])):
        assert parsed.problems == (f"run 1 is beyond any image, expected 0 to {LARGEST} pixels",)


def test_long_batches_are_the_same_as_one_by_one():
    rng = np.random.default_rng(11)
    sizes = rng.integers(1, 40, (3000, 2))
    batch = [rng.random(tuple(size)) < 0.4 for size in sizes]
    texts = [compressed(mask) for mask in batch]
    for i in range(0, 3000, 7):
        texts[i] = ["", texts[i] + "P", "p" + texts[i], texts[i] + " "][i % 4]
    assert sum(map(len, texts)) > 3 << 16  # several pieces
    together = parse_compressed(texts)
    alone = [parse_compressed([text]) for text in texts]
    assert together.problems == tuple(one.problems[0] for one in alone)
    assert as_lists(together.runs) == [as_lists(one.runs)[0] for one in alone]
    assert sum(p is not None for p in together.problems) == 429
    ones = [one.runs for one in alone]
    assert masks.areas(together.runs).tolist() == [masks.areas(r).item() for r in ones]
    boxes = [masks.boxes(r, tuple(s)).tolist()[0] for r, s in zip(ones, sizes, strict=True)]
    assert masks.boxes(together.runs, sizes).tolist() == boxes
    assert masks.compress(together.runs) == [masks.compress(r)[0] for r in ones]
    assert as_lists(masks.canonical(together.runs)) == as_lists(together.runs)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.lists(st.sampled_from([0, 0, 0, 1, 2, 5]), min_size=1, max_size=9), max_size=5))
def test_canonical_is_what_encode_makes_of_the_pixels(lists):
    runs = Runs.of([np.array(counts, np.int64) for counts in lists])
    expected = []
    for counts in lists:
        mask = slow_decode(counts, (sum(counts), 1), "column")
        expected.append(slow_runs(mask, "column"))
        if sum(counts):
            assert masks.compress(Runs.of([np.array(expected[-1])])) == [compressed(mask)]
    found = masks.canonical(runs)
    assert as_lists(found) == expected
    assert masks.areas(found).tolist() == masks.areas(runs).tolist()
    assert masks.canonical(found) is found
    lines = np.array([[max(1, sum(c)), 1] for c in lists]).reshape(-1, 2)
    assert masks.boxes(runs, lines).tolist() == masks.boxes(found, lines).tolist()


def test_canonical_of_huge_masks_does_not_overflow():
    huge = Runs.of([np.array([0, 0, 2**61 - 1, 0, 0, 1])] * 6)  # end to end above 2**63
    assert as_lists(masks.canonical(huge)) == [[2**61 - 1, 1]] * 6


def check_stretch(batch, size, order):
    grid = batch[0].shape
    rows = np.arange(size[0]) * grid[0] // size[0]
    columns = np.arange(size[1]) * grid[1] // size[1]
    runs = Runs.of(masks.from_dense(mask, order) for mask in batch)
    found = masks.stretch(runs, grid, size, order=order)
    expected = [mask[rows][:, columns] for mask in batch]
    assert as_lists(found) == [slow_runs(mask, "column") for mask in expected]


@pytest.mark.parametrize("order", ORDERS)
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_stretch_is_nearest_neighbour(order, data):
    first = data.draw(pixels(11))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    batch = [first, ~first, rng.random(first.shape) < 0.5, np.zeros_like(first)]
    size = data.draw(st.tuples(st.integers(1, 29), st.integers(1, 29)))
    check_stretch(batch, size, order)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", named_masks())
def test_stretch_of_named_masks(name, order):
    mask = named_masks()[name]
    for size in (mask.shape, (18, 14), (23, 31), (4, 3), (1, 1), (30, 2), (2, 30)):
        check_stretch([mask, ~mask, mask], size, order)


@pytest.mark.parametrize("order", ORDERS)
def test_stretch_of_a_real_grid(order):
    rows, columns = np.indices((256, 256))
    blob = (rows - 100) ** 2 + 2 * (columns - 140) ** 2 < 3000
    noise = np.random.default_rng(5).random((256, 256)) < 0.5
    check_stretch([blob, noise], (720, 1280), order)
    check_stretch([blob, noise], (101, 77), order)


@settings(deadline=None, max_examples=100)
@given(pixels(20))
def test_transpose_order_keeps_the_pixels(mask):
    runs = Runs.of([masks.from_dense(m, "row") for m in (mask, ~mask)])
    found = masks.transpose_order(runs, mask.shape)
    assert masks.compress(found) == [compressed(mask), compressed(~mask)]


def test_zero_runs_inside_do_not_move_anything():
    split = Runs.of([np.array([2, 1, 0, 2, 0, 0, 7, 0])])
    whole = Runs.of([np.array([2, 3, 7])])
    for order in ORDERS:
        expected = as_lists(masks.stretch(whole, (3, 4), (7, 5), order=order))
        assert as_lists(masks.stretch(split, (3, 4), (7, 5), order=order)) == expected


@pytest.mark.parametrize("most", [1, 40, 5000])
def test_masks_are_compressed_alike_in_pieces(monkeypatch, most):
    rng = np.random.default_rng(9)
    batch = [rng.random((12, 10)) < share for share in rng.random(60)]
    runs = Runs.of(masks.from_dense(mask) for mask in batch)
    monkeypatch.setattr(masks, "_PIECE_RUNS", most)
    assert masks.compress(runs) == [compressed(mask) for mask in batch]


@pytest.mark.parametrize("most", [1, 900])  # a piece for each mask, and several masks a piece
def test_pieces_of_a_long_batch_join(monkeypatch, most):
    rng = np.random.default_rng(8)
    batch = [rng.random((12, 10)) < share for share in rng.random(60)]
    runs = Runs.of(masks.from_dense(mask, "row") for mask in batch)
    whole = as_lists(masks.stretch(runs, (12, 10), (25, 31), order="row"))
    monkeypatch.setattr(masks, "_PIECE_EDGES", most)
    assert as_lists(masks.stretch(runs, (12, 10), (25, 31), order="row")) == whole
    assert whole[3] == slow_runs(
        batch[3][np.arange(25) * 12 // 25][:, np.arange(31) * 10 // 31], "column"
    )


def test_unread_masks_stay_unread():
    runs = parse_decimal(["x", "4 2", "", "0 6", "y"]).runs
    for found in (
        masks.stretch(runs, (2, 3), (4, 6)),
        masks.transpose_order(runs, (2, 3)),
        masks.canonical(runs),
    ):
        assert (found.sizes > 0).tolist() == [False, True, False, True, False]
    assert masks.areas(runs).tolist() == [0, 2, 0, 6, 0]
    assert masks.boxes(runs, (2, 3)).tolist()[0] == [0, 0, 0, 0]
    assert masks.boxes(runs, (2, 3)).tolist()[1] == [2, 0, 1, 2]
    assert masks.compress(runs)[4] == ""
    none = parse_compressed([]).runs
    assert len(none) == len(masks.stretch(none, (2, 3), (4, 6))) == len(masks.canonical(none)) == 0
    assert masks.boxes(none, (2, 3)).shape == (0, 4)
    assert masks.compress(none) == []


@pytest.mark.parametrize("counts", [[5], [3, 4], [7, -1], [2**62, 2**62, 2**62, 2**62, 6], []])
def test_what_does_not_fit_is_refused_before_anything_is_allocated(counts):
    with pytest.raises(ValueError, match="expected 6"):
        masks.dense(np.array(counts, np.int64), (2, 3))
    if counts and min(counts) >= 0 and max(counts) < 2**40:
        with pytest.raises(ValueError, match="expected 6"):
            masks.stretch(Runs.of([np.array(counts)]), (2, 3), (4, 4))
        with pytest.raises(ValueError, match="expected 6"):
            masks.transpose_order(Runs.of([np.array(counts)]), (2, 3))


def test_wrong_sizes_are_refused():
    runs = Runs.of([np.array([6])])
    for size in ((0, 3), (2, -1), (2, 2**21)):
        with pytest.raises(ValueError, match="sides"):
            masks.stretch(runs, (2, 3), size)
    for size in ((0, 3), np.ones((2, 2), np.int64)):
        with pytest.raises(ValueError, match="height, width"):
            masks.boxes(runs, size)


@settings(deadline=None, max_examples=60)
@given(pixels())
def test_boundary(mask):
    height, width = mask.shape
    expected = np.zeros_like(mask)
    for y, x in np.argwhere(mask):
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= v < height and 0 <= u < width and not mask[v, u]:
                expected[y, x] = True
    assert np.array_equal(masks.boundary(mask), expected)


@pytest.mark.parametrize(
    ("text", "pixels_known", "expected"),
    [
        ("27248 5 247", None, True),
        ("5\n6", None, True),
        (" 65536 ", None, True),
        ("65536", None, True),
        ("65536", 65536, True),
        ("52203", None, True),
        ("52203", 5 + 2 + 2 + 2 + 3 + 0, True),  # neither sum fits: decimal
        ("52203", 5 + 2 + 2 + (0 + 2) + (3 + 2), False),
        ("05", 5, False),
        ("0", None, True),
        ("1" * 14, None, False),
        ("", None, False),
        (" ", None, False),
        ("5a", None, False),
        ("-5", None, False),
        ("\u0665", None, False),
        ("PPYo1", None, False),
    ],
)
def test_looks_decimal(text, pixels_known, expected):
    assert rle_text.looks_decimal(text, pixels_known) is expected


def test_no_digits_have_the_same_sum_in_both_notations():
    texts = [str(n) for n in range(10, 100_000)]
    assert not np.any(masks.sums(parse_compressed(texts).runs) == np.arange(10, 100_000))


@settings(deadline=None, max_examples=60)
@given(pixels())
def test_the_right_notation_is_found_by_the_sum(mask):
    counts = slow_runs(mask, "row")
    assert rle_text.looks_decimal(" ".join(map(str, counts)), mask.size)
    text = compressed(mask)
    if text.isdigit() and text != str(mask.size):
        assert not rle_text.looks_decimal(text, mask.size)


def test_runs_select_and_join():
    runs = Runs.of([np.array([1, 2]), np.array([3]), np.empty(0, np.int64), np.array([0, 4, 5])])
    assert as_lists(runs.take([3, 0, 3, 2])) == [[0, 4, 5], [1, 2], [0, 4, 5], []]
    assert as_lists(runs.take([])) == []
    assert as_lists(Runs.concat([runs, runs.take([1])])) == [*as_lists(runs), [3]]
    assert as_lists(Runs.concat([])) == []
    for wrong in (-1, 4):
        with pytest.raises(IndexError):
            runs.take([wrong])
        with pytest.raises(IndexError):
            runs.mask(wrong)


@pytest.mark.parametrize(
    ("counts", "offsets"),
    [([1, -2], [0, 2]), ([1], [0, 2]), ([1, 2], [0, 2, 1, 2]), ([1], [1]), ([], [])],
)
def test_runs_that_do_not_fit_together_are_refused(counts, offsets):
    with pytest.raises(ValueError, match="offsets"):
        Runs(counts=np.array(counts, np.int64), offsets=np.array(offsets, np.int64))
