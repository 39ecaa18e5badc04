"""Splits against brute force, scikit-learn and the numbers of the specification."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import apportion
from engine.apportion import exact_ratios, largest_remainder, seeded_order
from engine.certificate import Account, certify
from engine.errors import ConfigError, RunError, UsageError
from engine.placement import best_possible_points
from engine.split_input import SplitInput
from engine.splits import Rule, assign, divide_frames
from tests.split_inputs import made

SPLIT_NAMES = ("train", "validation", "test")

USUAL = (0.8, 0.1, 0.1)
UNKNOWN = {"name": "given", "optimal": None, "least_max_deviation_points": None}


def certificate(data, codes, *, strategy, ratios, seed, groups=None, solver=UNKNOWN):
    """The certificate of an assignment to the three splits."""
    rule = Rule(strategy=strategy, groups=groups, seed=seed)
    return certify(
        Account(
            data=data,
            codes=codes,
            names=SPLIT_NAMES,
            shares=exact_ratios(ratios),
            groups=rule.groups_of(data),
            solver=solver,
        )
    )


def corpus(n, classes, videos, *, seed=0, most=4):
    """Rows of a multi-label corpus with several instances a frame and a long tail of classes."""
    random = np.random.default_rng(seed)
    weight = 1 / np.arange(1, classes + 1)
    rows = []
    for index in range(n):
        drawn = random.choice(classes, random.integers(0, most), p=weight / weight.sum())
        row = {f"c{c}": k * int(random.integers(1, 4)) for c, k in Counter(drawn.tolist()).items()}
        rows.append((f"v{int(random.integers(videos)):03d}", index, row))
    return rows


def single(*counts):
    labels = [f"c{c}" for c, count in enumerate(counts) for _ in range(count)]
    return [(f"v{i % 7}", i, {label: 1}) for i, label in enumerate(labels)]


def by_id(data, assignment):
    return dict(zip(data.ids.to_pylist(), assignment.tolist(), strict=True))


def sizes(assignment):
    return np.bincount(assignment, minlength=3).tolist()


def shares_off(rows, assignment, ratios):
    """Largest deviation of each class in points, recomputed in plain Python."""
    held = {}
    for (_, _, row), split in zip(rows, assignment, strict=True):
        for name, count in row.items():
            held.setdefault(name, [0, 0, 0])[split] += count
    return {
        name: max(abs(100 * k / sum(splits) - 100 * r) for k, r in zip(splits, ratios, strict=True))
        for name, splits in held.items()
        if sum(splits)
    }


def presence(rows, assignment):
    found = {}
    for (_, _, row), split in zip(rows, assignment.tolist(), strict=True):
        for name in row:
            found.setdefault(name, []).append(split)
    return found


rows_of_frames = st.lists(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 5), max_size=4),
    min_size=1,
    max_size=60,
)
ratio_choices = st.sampled_from(
    [
        USUAL,
        (0.7, 0.15, 0.15),
        (1 / 3, 1 / 3, 1 / 3),
        (0.9, 0.1, 0.0),
        (0.0, 0.0, 1.0),
        (0.5, 0.3, 0.2),
    ]
)


# -- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["stratified", "random"])
def test_1500_frames_are_1200_150_150(strategy):
    rows = corpus(1500, 12, 9)
    assert sizes(assign(strategy, made(rows), ratios=USUAL, seed=42)) == [1200, 150, 150]


def best_sizes(n, ratios):
    """All size triples with the smallest possible largest deviation, by trying them all."""
    exact = [Fraction(repr(r)) / sum(Fraction(repr(r)) for r in ratios) for r in ratios]
    ways = [(a, b, n - a - b) for a in range(n + 1) for b in range(n + 1 - a)]
    cost = [max(abs(k - n * r) for k, r in zip(way, exact, strict=True)) for way in ways]
    return [list(way) for way, c in zip(ways, cost, strict=True) if c == min(cost)]


@given(n=st.integers(3, 40), ratios=ratio_choices, seed=st.integers(0, 3))
@settings(max_examples=12, deadline=None)
def test_sizes_are_the_nearest_there_are(n, ratios, seed):
    rows = corpus(n, 4, 3, seed=seed)
    for strategy in ("random", "stratified"):
        assert sizes(assign(strategy, made(rows), ratios=ratios, seed=seed)) in best_sizes(
            n, ratios
        )


@pytest.mark.parametrize(
    ("n", "ratios", "expected"),
    [
        (5, USUAL, [4, 1, 0]),  # two halves left over: the first of the tied splits has it
        (1, (0.1, 0.1, 0.8), [1, 0, 0]),  # one frame is for training, whatever the ratios say
        (2, (0.1, 0.1, 0.8), [1, 0, 1]),
        (1, (0.0, 0.5, 0.5), [0, 1, 0]),
        (10, (0.0, 0.5, 0.5), [0, 5, 5]),
        (100, (0.29, 0.57, 0.14), [29, 57, 14]),  # 0.29 * 100 is 28.999999999999996 in binary
        (0, USUAL, [0, 0, 0]),
    ],
)
def test_small_and_odd_sizes(n, ratios, expected):
    rows = corpus(n, 3, 2)
    for strategy in ("random", "stratified"):
        assert sizes(assign(strategy, made(rows), ratios=ratios, seed=0)) == expected


@pytest.mark.parametrize(
    "ratios",
    [
        (0.8, 0.1, 0.2),
        (0.8, 0.1, 0.1 - 1e-8),
        (1.1, -0.1, 0.0),
        (float("nan"), 0.5, 0.5),
        (0.5, 0.5),
    ],
)
def test_ratios_that_are_no_shares_are_refused(ratios):
    for strategy in ("stratified", "temporal", "random"):
        with pytest.raises(ConfigError):
            assign(strategy, made(corpus(10, 2, 4)), ratios=ratios, seed=0)


def test_ratios_off_by_rounding_are_taken():
    rows = corpus(30, 2, 4)
    assert sizes(assign("random", made(rows), ratios=(0.8, 0.1, 0.1 - 1e-10), seed=0)) == [24, 3, 3]


# -- what an assignment may depend on ------------------------------------------------------------


@given(frames=rows_of_frames, seed=st.integers(0, 5), shuffle=st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_order_of_frames_videos_and_classes_does_not_matter(frames, seed, shuffle):
    rows = [(f"v{i % 5}", i, row) for i, row in enumerate(frames)]
    mixed = [(v, i, dict(shuffle.sample(list(row.items()), len(row)))) for v, i, row in rows]
    shuffle.shuffle(mixed)
    names = tuple(shuffle.sample("abcdef", 6))
    for strategy in ("stratified", "random", *(("temporal",) if len(rows) >= 3 else ())):
        straight, crooked = made(rows, class_names=tuple("abcdef")), made(mixed, class_names=names)
        first = assign(strategy, straight, ratios=USUAL, seed=seed)
        second = assign(strategy, crooked, ratios=USUAL, seed=seed)
        assert by_id(straight, first) == by_id(crooked, second)
        papers = [
            certificate(d, a, strategy=strategy, ratios=USUAL, seed=seed)
            for d, a in ((straight, first), (crooked, second))
        ]
        assert json.dumps(papers[0]) == json.dumps(papers[1])


def test_many_videos_in_another_order_are_split_the_same():
    rows = corpus(400, 5, 30)
    straight, crooked = made(rows), made(rows[::-1])
    first = assign("temporal", straight, ratios=USUAL, seed=3)
    assert by_id(straight, first) == by_id(
        crooked, assign("temporal", crooked, ratios=USUAL, seed=3)
    )


def test_repeated_and_zero_entries_mean_what_they_add_up_to():
    rows = corpus(80, 4, 5)
    plain = made(rows, class_names=("c0", "c1", "c2", "c3"))
    frame = np.repeat(np.arange(80), np.diff(plain.indptr))
    frame = np.concatenate((frame, frame, np.arange(80)))
    order = np.argsort(frame, kind="stable")
    entries = len(plain.classes)
    torn = SplitInput(
        ids=plain.ids,
        video=plain.video,
        video_names=plain.video_names,
        frame_index=plain.frame_index,
        indptr=np.searchsorted(frame[order], np.arange(81)).astype(np.int64),
        classes=np.concatenate((plain.classes, plain.classes, np.zeros(80, np.int32)))[order],
        counts=np.concatenate((plain.counts - 1, np.ones(entries), np.zeros(80)))[order].astype(
            "i4"
        ),
        class_names=plain.class_names,
    )
    for strategy in ("stratified", "temporal"):
        one, two = (assign(strategy, d, ratios=USUAL, seed=1) for d in (plain, torn))
        assert one.tolist() == two.tolist()
        assert certificate(plain, one, strategy=strategy, ratios=USUAL, seed=1) == certificate(
            torn, two, strategy=strategy, ratios=USUAL, seed=1
        )


def test_seeds_differ_and_repeat():
    # Videos that differ have one best placement, whatever the seed: these do not.
    rows = [(f"v{i % 20:02d}", i, {"a": 1}) for i in range(300)]
    for strategy in ("stratified", "random", "temporal"):
        data = made(rows if strategy == "temporal" else corpus(300, 5, 20))
        results = [assign(strategy, data, ratios=USUAL, seed=seed).tolist() for seed in (1, 2, 1)]
        assert results[0] == results[2] != results[1]


def test_another_process_with_another_hash_seed_agrees():
    program = (
        "import sys; sys.path.insert(0, 'tests/unit')\n"
        "from test_splits import *\n"
        "for strategy in ('stratified', 'random', 'temporal'):\n"
        "    print(assign(strategy, made(corpus(300, 6, 20)), ratios=USUAL, seed=5).tolist())\n"
    )
    root = Path(__file__).parents[2]
    printed = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)}
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
        printed.add(done.stdout)
    data = made(corpus(300, 6, 20))
    here = [
        str(assign(s, data, ratios=USUAL, seed=5).tolist())
        for s in ("stratified", "random", "temporal")
    ]
    assert [text.splitlines() for text in printed] == [here]


def test_order_of_names_is_that_of_their_keyed_digests():
    import hashlib

    names = [f"v/{i:06d}" for i in range(200)] + ["ü", "\udc80"]

    def digest(name):
        salted = b"7\0" + name.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(salted, digest_size=16).digest()

    expected = sorted(range(len(names)), key=lambda i: digest(names[i]))
    assert seeded_order(names, 7).tolist() == expected
    arrow, expected = pa.array(names[:-1]), [i for i in expected if i < len(names) - 1]
    assert seeded_order(arrow, 7).tolist() == expected


def test_an_order_of_many_names_is_that_of_all_their_digests(monkeypatch):
    names = pa.array([f"v/{i:06d}" for i in range(50)])
    whole = seeded_order(names, 7).tolist()
    monkeypatch.setattr(apportion, "_AT_ONCE", 7)
    assert seeded_order(names, 7).tolist() == whole == seeded_order(names.to_pylist(), 7).tolist()


# -- stratified ----------------------------------------------------------------------------------


def test_60_30_10_single_labels_are_exactly_proportional():
    rows = single(900, 450, 150)
    got = presence(rows, assign("stratified", made(rows), ratios=USUAL, seed=42))
    counts = {name: [Counter(splits)[s] for s in range(3)] for name, splits in got.items()}
    assert counts == {"c0": [720, 90, 90], "c1": [360, 45, 45], "c2": [120, 15, 15]}


@pytest.mark.parametrize("seed", range(20))
def test_single_labels_are_no_worse_than_scikit_learn(seed):
    from sklearn.model_selection import StratifiedShuffleSplit

    random = np.random.default_rng(seed)
    counts = random.integers(10, 60, random.integers(2, 7)).tolist()
    rows = single(*counts)
    ours = assign("stratified", made(rows), ratios=USUAL, seed=seed)
    labels = np.array([next(iter(row)) for _, _, row in rows])
    n, held = len(rows), sizes(ours)
    theirs = np.zeros(n, dtype=int)
    first = StratifiedShuffleSplit(1, test_size=held[1] + held[2], random_state=seed)
    _, rest = next(first.split(np.zeros(n), labels))
    second = StratifiedShuffleSplit(1, test_size=held[2], random_state=seed)
    left, right = next(second.split(np.zeros(len(rest)), labels[rest]))
    theirs[rest[left]], theirs[rest[right]] = 1, 2
    assert sizes(theirs) == held
    worst = [max(shares_off(rows, a, USUAL).values()) for a in (ours, theirs)]
    assert worst[0] <= worst[1] + 1e-9


@given(
    frames=st.lists(
        st.dictionaries(st.sampled_from("abc"), st.integers(1, 3), max_size=3),
        min_size=6,
        max_size=8,
    ),
    ratios=st.sampled_from([(0.5, 0.25, 0.25), (0.6, 0.2, 0.2)]),
)
@settings(max_examples=12, deadline=None)
def test_small_corpora_get_the_best_of_all_assignments(frames, ratios):
    rows = [("v", i, row) for i, row in enumerate(frames)]
    n, names = len(rows), sorted({name for row in frames for name in row})
    ours = assign("stratified", made(rows), ratios=ratios, seed=0)
    ways = np.array(list(product(range(3), repeat=n)))
    members = np.stack([ways == split for split in range(3)])
    keep = (sizes(ours) == members.sum(axis=2).T).all(axis=1)
    ways, members = ways[keep], members[:, keep]
    missing, worst = np.zeros(len(ways)), np.zeros(len(ways))
    blank = np.array([not row for row in frames], dtype=float)
    columns = [np.array([row.get(name, 0) for row in frames], dtype=float) for name in names]
    for column in [*columns, blank]:
        if not column.any():
            continue
        needed = min(3, int(np.count_nonzero(column)))
        for split in range(3):
            off = np.abs(members[split] @ column / column.sum() - ratios[split])
            if column is not blank:
                worst = np.maximum(worst, 100 * off)
            missing += (split < needed) * (members[split] @ (column > 0) == 0)
    mine = (ways == ours).all(axis=1)
    # A class is absent only where it must be, and so is "no class". What is best is best for the
    # classes: frames without one are dealt out as evenly as that allows.
    assert missing[mine][0] == missing.min()
    assert worst[mine][0] <= max(worst[missing == missing.min()].min(), 1) + 0.01


@pytest.mark.parametrize(("n", "classes", "seed"), [(1500, 12, 0), (1500, 30, 1), (4000, 20, 2)])
def test_multi_label_corpora_keep_within_the_goal_where_possible(n, classes, seed):
    rows = corpus(n, classes, 9, seed=seed)
    data = made(rows)
    got = assign("stratified", data, ratios=USUAL, seed=42)
    paper = certificate(data, got, strategy="stratified", ratios=USUAL, seed=42)
    off = shares_off(rows, got, USUAL)
    assert paper["bound"]["holds"]
    assert max(off.values()) <= 5
    for name, points in off.items():
        one = 100 / paper["classes"][name]["instances_total"]
        assert points <= max(1, one) + 1e-6
    plain = assign("random", data, ratios=USUAL, seed=42)
    assert max(shares_off(rows, plain, USUAL).values()) > 2 * max(off.values())


def test_frames_without_a_class_are_a_stratum_of_their_own():
    rows = [("v", i, {"cat": 1} if i % 3 else {}) for i in range(300)]
    got = assign("stratified", made(rows), ratios=USUAL, seed=0)
    assert sizes(got[::3]) == [80, 10, 10]


def test_a_rare_class_is_in_as_many_splits_as_it_has_frames():
    rows = [("v", i, {"common": 1}) for i in range(200)]
    for k, name in enumerate(("one", "two", "three", "four"), start=1):
        for _ in range(k):
            rows[7 * len(presence(rows, np.zeros(200, int))) + 20 * k + _][2][name] = 5
    for seed in range(5):
        got = presence(rows, assign("stratified", made(rows), ratios=USUAL, seed=seed))
        assert {name: sorted(got[name]) for name in ("one", "two", "three", "four")} == {
            "one": [0],
            "two": [0, 1],
            "three": [0, 1, 2],
            "four": [0, 0, 1, 2],
        }


def test_more_rare_classes_than_places_still_give_exact_sizes():
    rows = [("v", i, {f"c{i // 2}": 1}) for i in range(40)]
    got = assign("stratified", made(rows), ratios=USUAL, seed=0)
    assert sizes(got) == [32, 4, 4]


@given(frames=rows_of_frames, ratios=ratio_choices, seed=st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_the_certificate_says_what_is_so(frames, ratios, seed):
    rows = [(f"v{i % 4}", i, row) for i, row in enumerate(frames)]
    data = made(rows)
    got = assign("stratified", data, ratios=ratios, seed=seed)
    paper = certificate(data, got, strategy="stratified", ratios=ratios, seed=seed)
    assert json.loads(json.dumps(paper, sort_keys=True)) == paper
    assert json.dumps(paper) == json.dumps(paper, sort_keys=True)
    off = shares_off(rows, got, ratios)
    assert off.keys() == paper["classes"].keys()
    for name, row in paper["classes"].items():
        assert row["max_deviation_points"] == pytest.approx(off[name], abs=1e-5)
        assert sum(row["instances"].values()) == row["instances_total"]
    assert paper["bound"]["classes_off"] == sorted(n for n in off if off[n] > 5 + 1e-9)
    assert paper["goal"]["holds"] == (max(off.values(), default=0) <= 1 + 1e-9)
    for s, name in enumerate(SPLIT_NAMES):
        assert paper["sizes"][name]["achieved"] == sizes(got)[s] == paper["sizes"][name]["target"]
        assert (name in paper["empty_splits"]) == (sizes(got)[s] == 0)
        assert paper["videos"][name] == len(
            {r[0] for r, a in zip(rows, got, strict=True) if a == s}
        )


# -- temporal ------------------------------------------------------------------------------------


def filmed(*lengths, seed=0):
    random = np.random.default_rng(seed)
    return [
        (f"video_{v:02d}", i, {f"c{c}": 1 for c in random.choice(5, random.integers(0, 3))})
        for v, length in enumerate(lengths)
        for i in range(length)
    ]


def test_900_frames_of_three_equal_videos_are_one_video_each():
    rows = filmed(300, 300, 300)
    got = assign("temporal", made(rows), ratios=USUAL, seed=42)
    assert sizes(got) == [300, 300, 300]
    assert sizes(got[::300]) == [1, 1, 1]


@pytest.mark.parametrize("videos", [1, 2])
def test_fewer_videos_than_splits_name_the_option(videos):
    with pytest.raises(UsageError) as caught:
        assign("temporal", made(filmed(*[50] * videos)), ratios=USUAL, seed=0)
    assert "--temporal-segments" in str(caught.value)
    assert f"got {videos} video" in str(caught.value)
    assert "at least 3" in str(caught.value)
    assert caught.value.exit_code == 2
    assert type(caught.value) is UsageError


def test_as_many_videos_as_positive_ratios_are_enough():
    assert sizes(assign("temporal", made(filmed(80, 20)), ratios=(0.8, 0.0, 0.2), seed=0)) == [
        80,
        0,
        20,
    ]
    assert sizes(assign("temporal", made(filmed(5)), ratios=(0.0, 1.0, 0.0), seed=0)) == [0, 5, 0]


@given(
    lengths=st.lists(st.integers(1, 30), min_size=3, max_size=8),
    ratios=ratio_choices,
    seed=st.integers(0, 3),
)
@settings(max_examples=20, deadline=None)
def test_few_videos_are_split_as_nearly_as_possible(lengths, ratios, seed):
    rows = filmed(*lengths, seed=seed)
    got = assign("temporal", made(rows), ratios=ratios, seed=seed)
    exact = [Fraction(repr(r)) / sum(Fraction(repr(r)) for r in ratios) for r in ratios]
    positive = [s for s in range(3) if ratios[s]]

    def off(totals):
        return sum(abs(k - sum(lengths) * r) for k, r in zip(totals, exact, strict=True))

    best = None
    for way in product(positive, repeat=len(lengths)):
        if len(set(way)) == len(positive):
            totals = [0, 0, 0]
            for split, length in zip(way, lengths, strict=True):
                totals[split] += length
            best = off(totals) if best is None else min(best, off(totals))
    if 1 / 3 in ratios:  # thirds have no exact decimals: compare as floats
        assert float(off(sizes(got))) == pytest.approx(float(best), abs=1e-3)
    else:
        assert off(sizes(got)) == best
    splits_of = {}
    for (video, _, _), split in zip(rows, got.tolist(), strict=True):
        splits_of.setdefault(video, set()).add(split)
    assert all(len(splits) == 1 for splits in splits_of.values())
    assert {s for splits in splits_of.values() for s in splits} == set(positive)


def test_among_equal_sizes_the_classes_decide():
    # Six equal videos; only one of the ways puts both classes in all three splits.
    rows = [(f"v{v}", i, {"a": 1} if v % 2 else {"b": 1}) for v in range(6) for i in range(10)]
    for seed in range(4):
        got = assign("temporal", made(rows), ratios=(1 / 3, 1 / 3, 1 / 3), seed=seed)
        assert max(shares_off(rows, got, (1 / 3, 1 / 3, 1 / 3)).values()) < 1e-6


@pytest.mark.parametrize("count", [13, 30, 120])
def test_many_videos_stay_whole_and_near_the_ratios(count):
    random = np.random.default_rng(count)
    rows = filmed(*random.integers(5, 60, count).tolist())
    data = made(rows)
    got = assign("temporal", data, ratios=USUAL, seed=1)
    paper = certificate(data, got, strategy="temporal", ratios=USUAL, seed=1)
    assert paper["videos_in_several_splits"] == 0
    assert paper["neighbours"] is None
    assert min(paper["videos"].values()) >= 1
    off = max(abs(k - len(rows) * r) for k, r in zip(sizes(got), USUAL, strict=True))
    assert off <= (3 if count > 13 else 8)


def test_thirteen_videos_are_within_a_frame_or_two_of_the_best():
    lengths = np.random.default_rng(5).integers(10, 60, 13)
    got = assign("temporal", made(filmed(*lengths.tolist())), ratios=USUAL, seed=0)
    codes = np.arange(3**13)
    totals = np.zeros((3, len(codes)), dtype=np.int64)
    for video, length in enumerate(lengths.tolist()):
        for split in range(3):
            totals[split] += length * (codes // 3**video % 3 == split)
    targets = lengths.sum() * np.array(USUAL)
    off = np.abs(totals - targets[:, None]).sum(axis=0)
    best = off[(totals > 0).all(axis=0)].min()
    assert np.abs(np.array(sizes(got)) - targets).sum() <= best + 2


def test_one_giant_among_many_videos_leaves_no_split_empty():
    for ratios in (USUAL, (0.98, 0.01, 0.01)):
        got = assign("temporal", made(filmed(3000, *[3] * 15)), ratios=ratios, seed=0)
        assert min(sizes(got)) >= 3
        assert len(set(got[:3000].tolist())) == 1


def test_ties_between_videos_are_decided_by_the_seed():
    rows = [(f"v{v}", i, {"a": 1}) for v in range(3) for i in range(10)]
    firsts = {
        assign("temporal", made(rows), ratios=USUAL, seed=seed)[::10].tolist().index(0)
        for seed in range(30)
    }
    assert firsts == {0, 1, 2}


# -- groups --------------------------------------------------------------------------------------


def grouped(data, size):
    """Name of each video's group, so many videos to a group."""
    first = {name: i // size for i, name in enumerate(sorted(data.video_names))}
    return tuple(f"g{first[name]:02d}" for name in data.video_names)


def groups_apart(rows, assignment, size):
    names = sorted({video for video, _, _ in rows})
    found = {}
    for (video, _, _), split in zip(rows, assignment.tolist(), strict=True):
        found.setdefault(names.index(video) // size, set()).add(split)
    return found


@given(
    lengths=st.lists(st.integers(1, 40), min_size=6, max_size=12),
    size=st.integers(1, 2),
    ratios=ratio_choices,
    seed=st.integers(0, 3),
    shuffle=st.randoms(use_true_random=False),
)
@settings(max_examples=15, deadline=None)
def test_no_group_is_ever_divided_and_the_order_of_the_input_does_not_matter(
    lengths, size, ratios, seed, shuffle
):
    rows = filmed(*lengths, seed=seed)
    mixed = shuffle.sample(rows, len(rows))
    straight, crooked = made(rows), made(mixed)
    for strategy in ("stratified", "random", "temporal"):
        first = assign(strategy, straight, ratios=ratios, seed=seed, groups=grouped(straight, size))
        second = assign(strategy, crooked, ratios=ratios, seed=seed, groups=grouped(crooked, size))
        assert by_id(straight, first) == by_id(crooked, second)
        found = groups_apart(rows, first, size)
        assert all(len(splits) == 1 for splits in found.values())
        assert set().union(*found.values()) == {s for s in range(3) if ratios[s]}


@given(
    lengths=st.lists(st.integers(1, 60), min_size=3, max_size=7),
    strategy=st.sampled_from(["stratified", "random", "temporal"]),
)
@settings(max_examples=30, deadline=None)
def test_sizes_of_groups_are_the_best_there_are(lengths, strategy):
    rows = filmed(*lengths)
    data = made(rows)
    got = assign(strategy, data, ratios=USUAL, seed=0, groups=data.video_names)

    def off(totals):
        return sum(abs(10 * k - sum(lengths) * r) for k, r in zip(totals, (8, 1, 1), strict=True))

    ways = (way for way in product(range(3), repeat=len(lengths)) if len(set(way)) == 3)
    best = min(
        off([sum(n for n, w in zip(lengths, way, strict=True) if w == s) for s in range(3)])
        for way in ways
    )
    # stratified: a frame in 200 may lie on the wrong side for evener classes, and counts twice.
    slack = 20 * (len(rows) // 200) if strategy == "stratified" else 0
    assert best <= off(sizes(got)) <= max(best, slack)


def test_60_30_10_comes_out_of_whole_videos_too():
    random = np.random.default_rng(7)
    rows = []
    for video in range(40):
        length = int(random.integers(20, 60))
        labels = random.choice(["person", "dog", "car"], length, p=random.dirichlet((6, 3, 1)))
        rows += [(f"v{video:02d}", i, {str(label): 1}) for i, label in enumerate(labels)]
    data = made(rows)
    got = assign("stratified", data, ratios=USUAL, seed=0, groups=data.video_names)
    for split in range(3):
        held = Counter()
        for (_, _, row), code in zip(rows, got.tolist(), strict=True):
            held.update(row if code == split else {})
        everything = Counter(next(iter(row)) for _, _, row in rows)
        for label, count in everything.items():
            share = held[label] / held.total()
            assert abs(share - count / len(rows)) <= 0.01, (split, label, held)
    assert all(len(s) == 1 for s in groups_apart(rows, got, 1).values())


@pytest.mark.parametrize("holders", [1, 2, 3, 4, 6])
def test_a_rare_class_is_in_as_many_splits_as_it_has_groups_for(holders):
    for seed in range(2):
        rows = [(f"v{video:02d}", i, {"common": 1}) for video in range(30) for i in range(10)]
        for video in range(holders):
            rows[10 * video + 3][2]["rare"] = 1
        data = made(rows)
        got = assign("stratified", data, ratios=USUAL, seed=seed, groups=data.video_names)
        assert set(presence(rows, got)["rare"]) == set(range(min(holders, 3)))
        assert sizes(got) == [240, 30, 30]


def test_the_integer_program_does_not_see_the_order_of_the_input():
    random = np.random.default_rng(3)
    rows = []
    for video in range(14):
        chances = random.dirichlet((2, 1, 0.7))
        labels = random.choice(["a", "b", "c"], int(random.integers(10, 90)), p=chances)
        rows += [(f"v{video:02d}", i, {str(label): 1}) for i, label in enumerate(labels)]
    shares, found = exact_ratios(USUAL), []
    for turn in range(3):
        data = made([rows[i] for i in random.permutation(len(rows))] if turn else rows)
        rule = Rule(strategy="stratified", groups=data.video_names, seed=0)
        divided = divide_frames(data, shares, rule)
        assert (divided.solver["name"], divided.solver["optimal"]) == ("milp", True)
        found.append(by_id(data, divided.codes))
    assert found[0] == found[1] == found[2]


def test_seeds_decide_between_equal_groups():
    rows = [(f"v{v:02d}", i, {"a": 1}) for v in range(20) for i in range(5)]
    data = made(rows)
    for strategy in ("stratified", "random"):
        got = {
            tuple(assign(strategy, data, ratios=USUAL, seed=s, groups=data.video_names))
            for s in (1, 2, 1)
        }
        assert len(got) == 2


def test_fewer_groups_than_splits_are_refused():
    data = made(filmed(10, 10, 10, 10))
    groups = tuple("ab"[int(name[-1]) % 2] for name in data.video_names)
    for strategy, option in (("stratified", "--group-by"), ("temporal", "--split temporal")):
        with pytest.raises(UsageError, match=f"{option}: .*got 2 groups, expected at least 3"):
            assign(strategy, data, ratios=USUAL, seed=0, groups=groups)
    assert sizes(assign("random", data, ratios=(0.5, 0.0, 0.5), seed=0, groups=groups)) == [
        20, 0, 20,
    ]  # fmt: skip


def test_the_certificate_of_groups_says_what_is_so():
    rows = filmed(30, 20, 25, 40, 5, 12, 60, seed=3)
    data = made(rows)
    groups = grouped(data, 2)
    divided = divide_frames(
        data, exact_ratios(USUAL), Rule(strategy="stratified", groups=groups, seed=0)
    )
    paper = certificate(
        data, divided.codes, strategy="stratified", ratios=USUAL, seed=0, groups=groups,
        solver=divided.solver,
    )  # fmt: skip
    found = groups_apart(rows, divided.codes, 2)
    counted = Counter(split for splits in found.values() for split in splits)
    assert paper["groups"] == {name: counted[s] for s, name in sorted(
        enumerate(SPLIT_NAMES), key=lambda each: each[1])}  # fmt: skip
    assert paper["groups_in_several_splits"] == paper["videos_in_several_splits"] == 0
    assert paper["neighbours"] is paper["smallest_distance_frames"] is None
    assert paper["solver"] == {"gap_points": 0.0, "name": "enumeration", "optimal": True}
    for name, row in paper["classes"].items():
        assert row["max_deviation_points"] >= row["best_possible_points"] - 1e-6, name
    # Dealt out frame by frame, the same groups lie in several splits.
    single = assign("random", data, ratios=USUAL, seed=0)
    paper = certificate(data, single, strategy="random", ratios=USUAL, seed=0)
    videos = groups_apart(rows, single, 1)
    assert paper["groups_in_several_splits"] == sum(len(each) > 1 for each in videos.values())
    assert paper["smallest_distance_frames"] == 1


# -- certificate ---------------------------------------------------------------------------------


def test_rare_classes_are_named_with_the_best_possible():
    rows = [("v", i, {"common": 1}) for i in range(100)]
    rows[3][2]["once"] = 1
    rows[50][2]["twice"] = rows[60][2]["twice"] = 1
    data = made(rows)
    got = assign("stratified", data, ratios=USUAL, seed=0)
    paper = certificate(data, got, strategy="stratified", ratios=USUAL, seed=0)
    assert paper["classes"]["once"]["max_deviation_points"] == 20.0
    assert paper["classes"]["once"]["best_possible_points"] == 20.0
    assert paper["classes"]["twice"]["max_deviation_points"] == 40.0
    assert paper["classes"]["twice"]["too_rare"] == (
        "2 instances in 2 frames: no assignment comes nearer than 20.0 points, "
        "and no assignment with it in 2 splits comes nearer than 40.0 points"
    )
    assert paper["classes"]["common"]["too_rare"] is None
    assert paper["bound"] == {
        "classes_off": ["once", "twice"],
        "classes_that_cannot": ["once", "twice"],
        "holds": False,
        "holds_where_possible": True,
        "points": 5.0,
        "reason": "2 of 2 classes that are off cannot come within 5 points, however single frames "
        "are dealt out (best_possible_points: nearer than that none comes, taken alone)",
    }


def test_a_class_that_could_be_nearer_is_not_said_to_be_as_near_as_can_be():
    # 16 instances can fall into 13, 2 and 1, 3.75 points off; here they fall into 12, 4 and 0.
    rows = [("v", i, {"c": count} if count else {"other": 1})
            for i, count in enumerate([2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1] + [0] * 9)]  # fmt: skip
    codes = np.array([0] * 4 + [1] * 3 + [0] * 4 + [0] * 8 + [2], dtype=np.int8)
    paper = certificate(made(rows), codes, strategy="stratified", ratios=USUAL, seed=0)
    row, goal = paper["classes"]["c"], paper["goal"]
    assert (row["best_possible_points"], row["max_deviation_points"]) == (3.75, 15.0)
    assert row["too_rare"] is None
    assert paper["solver"]["gap_points"] > 5
    assert goal["classes_off"] == goal["classes_that_cannot"] == ["c", "other"]
    assert goal["reason"] == (
        "2 of 2 classes that are off cannot come within 1 point, however single frames are dealt "
        "out (best_possible_points: nearer than that none comes, taken alone)"
    )


@given(
    amounts=st.lists(st.integers(1, 9), min_size=9, max_size=10),
    ratios=st.sampled_from([USUAL, (0.6, 0.2, 0.2)]),
)
@settings(max_examples=15, deadline=None)
def test_best_possible_is_never_more_than_what_some_assignment_reaches(amounts, ratios):
    exact = [Fraction(repr(r)) for r in ratios]
    ways = np.array(list(product(range(3), repeat=len(amounts))), dtype=np.int8)
    held = np.stack([(ways == split) @ np.array(amounts) for split in range(3)])
    off = np.abs(100 * held / sum(amounts) - 100 * np.array(ratios)[:, None]).max(axis=0).min()
    assert float(best_possible_points(np.array(amounts), exact, (0, 1, 2))) <= off + 1e-9
    few = amounts[:5]
    held = np.stack([(ways[:, :5] == split) @ np.array(few) for split in range(3)])
    off = np.abs(100 * held / sum(few) - 100 * np.array(ratios)[:, None]).max(axis=0)
    for present, exactly in ((False, off.min()), (True, off[(held > 0).all(axis=0)].min())):
        got = best_possible_points(np.array(few), exact, (0, 1, 2), present=present)
        assert float(got) == pytest.approx(exactly, abs=1e-9)


@given(
    videos=st.lists(
        st.lists(st.sampled_from(["", "a", "b", "ab", "aab"]), min_size=1, max_size=4),
        min_size=3,
        max_size=6,
    ),
    strategy=st.sampled_from(["stratified", "temporal", "random"]),
    ratios=st.sampled_from([USUAL, (0.96, 0.02, 0.02), (0.95, 0.05, 0.0), (0.4, 0.3, 0.3)]),
    whole=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_what_the_certificate_calls_impossible_is(videos, strategy, ratios, whole):
    rows = [
        (f"v{v}", i, dict(Counter(text))) for v, video in enumerate(videos)
        for i, text in enumerate(video)
    ]  # fmt: skip
    data = made(rows)
    whole = whole or strategy == "temporal"
    if not whole and len(rows) > 8:
        return
    groups = data.video_names if whole else None
    shares = exact_ratios(ratios)
    rule = Rule(strategy=strategy, groups=groups, seed=0)
    divided = divide_frames(data, shares, rule)
    paper = certify(Account(
        data=data, codes=divided.codes, names=("train", "validation", "test"), shares=shares,
        groups=groups, solver=divided.solver,
    ))  # fmt: skip
    units = videos if whole else [[text] for video in videos for text in video]
    amounts = {
        label: np.array([sum(text.count(label) for text in unit) for unit in units])
        for label in paper["classes"]
    }
    # Single frames have exact sizes, so a split that is too small for a frame stays empty.
    may_hold = np.array(ratios) if whole else largest_remainder(len(rows), shares)
    ways = np.array(list(product(np.flatnonzero(may_hold), repeat=len(units))), dtype=np.int8)
    off = {}
    for label, counts in amounts.items():
        held = np.stack([(ways == split) @ counts for split in range(3)], axis=1)
        off[label] = np.abs(100 * held / counts.sum() - 100 * np.array(ratios)).max(axis=1)
    sizes_of = np.array([len(unit) for unit in units])
    size = np.stack([(ways == split) @ sizes_of for split in range(3)], axis=1)
    wrong = np.abs(size - len(rows) * np.array(ratios)).sum(axis=1)
    mine = np.abs(np.bincount(divided.codes, minlength=3) - len(rows) * np.array(ratios)).sum()
    filled = np.all([(ways == split).any(axis=1) for split in np.flatnonzero(may_hold)], axis=0)
    for points in (paper["bound"], paper["goal"]):
        for label in points["classes_that_cannot"]:
            assert off[label].min() > points["points"]
        assert (points["reason"] is None) == points["holds"]
    for label, row in paper["classes"].items():
        assert off[label].min() == pytest.approx(row["best_possible_points"], abs=1e-5)
    claim = re.search(r"the best is off by ([\d.]+) points", paper["goal"]["reason"] or "")
    if claim:
        every = np.max(list(off.values()), axis=0)
        as_good = every[filled & (wrong <= mine + 1e-9)]
        if strategy == "temporal":  # no presence is asked for
            assert as_good.min() >= float(claim[1])
        assert every[filled].min() <= paper["max_deviation_points"] + 1e-5


def test_neighbours_on_different_sides_are_counted():
    rows = [("v", i, {"a": 1}) for i in (0, 5, 7, 20)] + [("w", i, {"a": 1}) for i in (1, 2)]
    data = made(rows[::-1])
    assignment = np.array([1, 1, 2, 0, 2, 0], dtype=np.int8)  # w2 w1 v20 v7 v5 v0
    paper = certificate(data, assignment, strategy="random", ratios=USUAL, seed=0)
    assert paper["neighbours"] == {
        "pairs": 4,
        "pairs_on_different_sides": 3,
        "smallest_distance_frames": 2,
    }
    assert paper["videos"] == {"test": 1, "train": 1, "validation": 1}
    assert paper["videos_in_several_splits"] == 1
    whole = certificate(data, np.zeros(6, np.int8), strategy="random", ratios=USUAL, seed=0)
    assert whole["neighbours"]["smallest_distance_frames"] is None


def test_empty_splits_are_named_with_their_reason():
    def reasons(rows, ratios):
        data = made(rows)
        got = assign("stratified", data, ratios=ratios, seed=0)
        paper = certificate(data, got, strategy="stratified", ratios=ratios, seed=0)
        return paper["empty_splits"]

    one = [("v", 0, {"a": 1})]
    assert reasons(one, (0.9, 0.1, 0.0)) == {
        "test": "its ratio is 0",
        "validation": "1 frame at a ratio of 0.1 leaves none for it",
    }
    assert set(reasons([], USUAL)) == set(SPLIT_NAMES)


def test_a_corpus_without_any_class_is_certified():
    data = made([("v", i, {}) for i in range(20)])
    got = assign("stratified", data, ratios=USUAL, seed=0)
    paper = certificate(data, got, strategy="stratified", ratios=USUAL, seed=0)
    assert sizes(got) == [16, 2, 2]
    assert paper["frames_without_class"] == {"test": 2, "train": 16, "validation": 2}
    assert paper["max_deviation_points"] is None
    assert paper["bound"]["holds"]


def test_input_that_does_not_fit_is_refused():
    data = made(corpus(5, 2, 2))
    fields = {name: getattr(data, name) for name in data.__dataclass_fields__}
    twice = pa.array(["same"] * 5)
    for change in ({"ids": twice}, {"video": data.video[:-1]}, {"counts": data.counts[:-1]}):
        with pytest.raises(RunError):
            SplitInput(**{**fields, **change})


def test_largest_remainder_gives_ties_to_the_first():
    half = Fraction(1, 2)
    assert largest_remainder(3, (half, half)).tolist() == [2, 1]
    third = Fraction(1, 3)
    assert largest_remainder(5, (third, third, third)).tolist() == [2, 2, 1]
