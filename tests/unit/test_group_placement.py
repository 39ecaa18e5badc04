"""Whole groups: enumeration, search and integer program against brute force in plain fractions."""

import ctypes
import math
import sys
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine.group_program
from engine.group_objective import GroupGoal
from engine.group_placement import place_groups
from engine.group_program import prove_groups
from engine.group_search import enumerate_groups, search_groups
from engine.swaps import ClassTable

USUAL = (Fraction(8, 10), Fraction(1, 10), Fraction(1, 10))


def table_of(rows):
    """ClassTable of one list of counts a group."""
    amounts = np.array(rows, dtype=np.int64).reshape(len(rows), -1)
    unit, column = np.nonzero(amounts)
    indptr = np.concatenate(([0], np.cumsum(np.bincount(unit, minlength=len(rows)))))
    return ClassTable(
        indptr=indptr, columns=column.astype(np.int64), amounts=amounts[unit, column],
        width=amounts.shape[1],
    )  # fmt: skip


def judged(rows, frames, shares, codes, *, stratified):
    """The objective as its docstring has it, in fractions."""
    splits, total = range(len(shares)), sum(frames)
    wide_open = [s for s in splits if shares[s] > 0]
    size = [sum(f for f, c in zip(frames, codes, strict=True) if c == s) for s in splits]
    error = sum(abs(n - total * share) for n, share in zip(size, shares, strict=True))
    slack = 2 * (total // 200) if stratified else 0
    absences, rare, worst, off_sum = 0, 0, Fraction(0), Fraction(0)
    for column in range(len(rows[0])):
        held = [0] * len(shares)
        for row, code in zip(rows, codes, strict=True):
            held[code] += row[column]
        holders = sum(row[column] > 0 for row in rows)
        if not holders:
            continue
        missing = sum(held[s] == 0 for s in wide_open[:holders])
        absences += missing
        rare += missing * (stratified and holders <= 2 * len(wide_open))
        for split in splits:
            off = abs(Fraction(held[split], sum(held)) - shares[split])
            worst, off_sum = max(worst, off), off_sum + off
    return (
        sum(s not in codes for s in wide_open), max(Fraction(0), error - slack), rare,
        math.ceil(10_000 * worst), absences, 10_000 * off_sum, error,
    )  # fmt: skip


def same(value, expected):
    """Equal, sizes in millionths; a sum of rounded deviations may be a hundredth of a point off."""
    sizes = [1_000_000 * expected[1], 1_000_000 * expected[6]]
    return (
        (value[0], *value[2:5]) == (expected[0], *expected[2:5])
        and [value[1], value[6]] == [round(size) for size in sizes]
        and expected[5] - Fraction(1, 100) <= value[5] <= expected[5] + 1
    )


@st.composite
def corpora(draw, most=5):
    groups = draw(st.integers(3, most))
    width = draw(st.integers(1, 3))
    counts = st.lists(st.integers(0, 9), min_size=width, max_size=width)
    rows = draw(st.lists(counts, min_size=groups, max_size=groups))
    frames = draw(st.lists(st.integers(1, 120), min_size=groups, max_size=groups))
    shares = draw(
        st.sampled_from(
            [
                USUAL,
                (Fraction(1, 2), Fraction(3, 10), Fraction(1, 5)),
                (Fraction(9, 10), Fraction(1, 10), Fraction(0)),
            ]
        )
    )
    return rows, frames, shares


@given(corpus=corpora(), stratified=st.booleans())
@settings(max_examples=10, deadline=None)
def test_all_three_solvers_are_held_against_brute_force(corpus, stratified):
    rows, frames, shares = corpus
    ways = product(range(3), repeat=len(rows))
    judge = {
        way: judged(rows, frames, shares, way, stratified=stratified)
        for way in ways
        if all(shares[code] for code in way)
    }
    best = min(judge.values())
    goal = GroupGoal.of(
        table_of(rows), np.array(frames, dtype=np.int64), shares, stratified=stratified
    )
    tried = enumerate_groups(goal)
    assert same(goal.value(tried), judge[tuple(tried.tolist())])
    assert judge[tuple(tried.tolist())][:5] == best[:5]
    assert judge[tuple(tried.tolist())][5] <= best[5] + 1
    found, value = search_groups(goal, seeded_start=False)
    assert same(value, judge[tuple(found.tolist())])
    assert judge[tuple(found.tolist())] >= best
    proof = prove_groups(goal, value)
    assert proof.worst in (None, best[3])
    if proof.codes is not None:
        assert goal.value(proof.codes) == goal.value(tried)
    placed = place_groups(
        table_of(rows), np.array(frames, dtype=np.int64), shares, stratified=stratified
    )
    assert placed.solver["name"] == "enumeration"
    assert placed.codes.tolist() == tried.tolist()


def uneven(groups, classes, seed):
    """Groups of 20 to 200 frames, each with a mixture of classes of its own."""
    random = np.random.default_rng(seed)
    frames = random.integers(20, 200, groups)
    weights = 2 / np.arange(1, classes + 1)
    rows = [random.multinomial(2 * n, random.dirichlet(weights)).tolist() for n in frames]
    return rows, frames.astype(np.int64)


@pytest.mark.parametrize(("groups", "classes"), [(13, 3)])
@pytest.mark.parametrize("stratified", [True, False])
def test_beyond_a_dozen_the_program_finds_what_enumeration_would(groups, classes, stratified):
    rows, frames = uneven(groups, classes, groups + classes)
    goal = GroupGoal.of(table_of(rows), frames, USUAL, stratified=stratified)
    placed = place_groups(table_of(rows), frames, USUAL, stratified=stratified)
    assert placed.value == goal.value(placed.codes) == goal.value(enumerate_groups(goal))
    assert (placed.solver["name"], placed.solver["optimal"]) == ("milp", True)
    assert placed.solver["least_max_deviation_points"] == placed.value[3] / 100


@pytest.mark.parametrize("groups", [10, 14])
def test_presence_of_a_rare_class_comes_before_evenness_where_it_is_asked_for(groups):
    rows, frames = [[1]] * 4 + [[0]] * (groups - 4), np.full(groups, 10, dtype=np.int64)
    for stratified, held in ((True, [2, 1, 1]), (False, [3, 0, 1])):
        goal = GroupGoal.of(table_of(rows), frames, USUAL, stratified=stratified)
        _, value = search_groups(goal, seeded_start=False)
        proof = prove_groups(goal, value)
        for codes in (enumerate_groups(goal) if groups == 10 else proof.codes, proof.codes):
            assert sorted(np.bincount(codes[:4], minlength=3).tolist()) == sorted(held)


def test_the_program_agrees_with_enumeration_where_classes_are_absent():
    for seed in range(12):
        random = np.random.default_rng(seed)
        rows = random.integers(1, 6, (9, 4)) * (random.random((9, 4)) < 0.4)
        frames = random.integers(5, 9, 9).astype(np.int64)
        for stratified in (True, False):
            goal = GroupGoal.of(table_of(rows), frames, USUAL, stratified=stratified)
            _, value = search_groups(goal, seeded_start=False)
            best = goal.value(enumerate_groups(goal))
            assert value >= best
            proof = prove_groups(goal, value)
            assert proof.codes is not None
            assert goal.value(proof.codes) == best, (seed, stratified)


def test_the_program_can_better_the_search():
    rows, frames = uneven(16, 10, 26)
    goal = GroupGoal.of(table_of(rows), frames, USUAL, stratified=True)
    _, value = search_groups(goal, seeded_start=False)
    placed = place_groups(table_of(rows), frames, USUAL, stratified=True)
    assert placed.solver["name"] == "milp"
    assert placed.value < value


def test_what_is_not_proved_is_not_used(monkeypatch):
    rows, frames = uneven(30, 3, 33)
    goal = GroupGoal.of(table_of(rows), frames, USUAL, stratified=False)
    codes, value = search_groups(goal, seeded_start=False)
    monkeypatch.setattr(engine.group_program, "_NODE_ENTRIES", 0)
    monkeypatch.setattr("engine.group_placement.good_enough", lambda _value: False)
    placed = place_groups(table_of(rows), frames, USUAL, stratified=False)
    assert placed.solver["name"] == "search"
    assert placed.solver["optimal"] is False
    assert (placed.codes.tolist(), placed.value) == (codes.tolist(), value)


def test_what_the_solver_prints_stays_out_of_standard_output(capfd, monkeypatch):
    import scipy.optimize

    solve = scipy.optimize.milp

    def talkative(*args, **options):
        ctypes.CDLL(None).puts(b"tmpSolver.run();")
        return solve(*args, **options)

    monkeypatch.setattr(scipy.optimize, "milp", talkative)
    rows, frames = uneven(13, 3, 16)
    sys.stdout.write("before\n")
    placed = place_groups(table_of(rows), frames, USUAL, stratified=True)
    sys.stdout.write("after\n")
    ctypes.CDLL(None).fflush(None)
    assert placed.solver["name"] == "milp"
    assert capfd.readouterr().out == "before\nafter\n"


def test_sizes_that_cannot_be_better_need_no_proof(monkeypatch):
    monkeypatch.setattr("engine.group_placement.prove_groups", None)
    placed = place_groups(table_of([[]] * 20), np.full(20, 10), USUAL, stratified=False)
    assert placed.solver == {
        "name": "search", "optimal": True, "least_max_deviation_points": 0.0,
    }  # fmt: skip
    assert np.bincount(placed.codes).tolist() == [16, 2, 2]


@pytest.mark.parametrize("folds", [2, 5, 7])
def test_equal_groups_fall_into_equal_folds(folds):
    shares = (Fraction(1, folds),) * folds
    rows = [[2, group % 2] for group in range(6 * folds)]
    frames = np.full(6 * folds, 5, dtype=np.int64)
    placed = place_groups(table_of(rows), frames, shares, stratified=True)
    assert np.bincount(placed.codes, minlength=folds).tolist() == [6] * folds
    odd = np.bincount(placed.codes[1::2], minlength=folds).tolist()
    assert odd == [3] * folds


def test_the_slack_is_a_frame_in_two_hundred():
    # Exact sizes put all of the class into train; a frame more or less spreads it.
    frames = np.array([160, 20, 20, 159, 21, 20], dtype=np.int64)
    rows = [[10], [0], [0], [0], [1], [1]]
    shares = USUAL
    strict = place_groups(table_of(rows), frames, shares, stratified=False)
    loose = place_groups(table_of(rows), frames, shares, stratified=True)
    sizes = [[int(frames[each.codes == s].sum()) for s in range(3)] for each in (strict, loose)]
    off = [sum(abs(a - b) for a, b in zip(size, (320, 40, 40), strict=True)) for size in sizes]
    assert off[0] <= off[1] <= 2 * (400 // 200)
    assert loose.value[2:4] <= strict.value[2:4]
    assert loose.value[2] == 0
