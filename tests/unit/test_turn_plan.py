from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.turn_plan import Group, Polar, plan_turns

COVER = {"segment", "segment_all", "mixed", "rest", "continue"}
NO_LIST = ("count", "count_all", "classes", "exists")


@settings(max_examples=500, deadline=None)
@given(
    classes=st.lists(st.integers(0, 12), min_size=1, max_size=70),
    unnamed=st.booleans(),
    dice=st.randoms(use_true_random=False),
    asked=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=2),
)
def test_every_object_is_segmented_once_in_at_most_five_turns(classes, unnamed, dice, asked):
    members: dict[int, list[int]] = {}
    for index, each in enumerate(classes):
        members.setdefault(each, []).append(index)
    groups = [
        Group(members=tuple(at), named=not (unnamed and each == 0)) for each, at in members.items()
    ]
    named = [at for at, group in enumerate(groups) if group.named]
    polar = [
        Polar(group=named[0], mixed=mixed and not place)
        if there and named
        else Polar(absent=place, mixed=mixed and not place)
        for place, (there, mixed) in enumerate(asked)
    ]
    areas = [dice.randrange(1, 9) for _ in classes]
    single = [at for at in range(len(classes)) if at % 3]
    steps = plan_turns(
        groups,
        areas,
        lambda _slot, count: dice.randrange(count),
        single=lambda: single,
        polar=polar,
    )
    assert 1 <= len(steps) <= 5
    shown = Counter(at for step in steps if step.kind in COVER for at in step.shown)
    assert set(shown.values()) == {1}
    assert len(shown) == min(50, len(classes))
    left_out = [areas[at] for at in range(len(areas)) if at not in shown]
    assert not left_out or max(left_out) <= min(areas[at] for at in shown)
    for before, step in zip([None, *steps], steps, strict=False):
        assert step.kind in COVER or step.listed <= 10 or step.kind in NO_LIST
        assert len(step.shown) <= 10
        assert list(step.shown) == sorted(step.shown)
        inside = {at for each in step.groups for at in groups[each].members}
        assert set(step.shown) <= inside
        assert (step.kind == "continue") == (step.first > 1)
        assert step.absent is None or step.kind in ("exists", "mixed")
        if step.kind == "continue":
            assert (before.groups, before.first + 10) == (step.groups, step.first)
        if step.kind in ("segment", "count", "locate", "mixed", "classes") and len(groups) > 1:
            assert all(groups[at].named for at in step.groups)
        if step.kind in ("segment_box", "box_to_label"):
            assert set(step.shown) <= set(single)
            assert step.kind == "segment_box" or groups[step.groups[0]].named
        else:
            assert step.size == len(inside)
    if len(classes) <= 20:
        assert sum(step.kind in ("exists", "mixed") for step in steps) == len(polar)


@pytest.mark.parametrize("there", [True, False])
def test_a_mixed_question_is_about_two_classes(there):
    groups = [Group(members=(0, 2), named=True), Group(members=(1,), named=True)]
    polar = [Polar(group=1, mixed=True) if there else Polar(absent=0, mixed=True)]
    for number in range(20):
        steps = plan_turns(groups, [1, 1, 1], lambda _s, n, k=number: k % n, polar=polar)
        (mixed,) = [step for step in steps if step.kind == "mixed"]
        if there:
            assert (mixed.groups, mixed.absent, mixed.shown) == ((0, 1), None, (0, 1, 2))
        else:
            assert len(mixed.groups) == 1
            assert mixed.absent == 0


def test_a_class_alone_cannot_be_mixed_and_is_asked_about_outright():
    alone = [Group(members=(0,), named=True)]
    steps = plan_turns(alone, [1], lambda _s, _n: 0, polar=[Polar(group=0, mixed=True)])
    assert [step.kind for step in steps if step.kind in ("mixed", "exists")] == ["exists"]


def test_existence_of_many_is_told_without_boxes():
    many = [Group(members=tuple(range(11)), named=True)]
    steps = plan_turns(many, [1] * 11, lambda _s, _n: 0, polar=[Polar(group=0)])
    (asked,) = [step for step in steps if step.kind == "exists"]
    assert (asked.shown, asked.size, asked.absent) == ((), 11, None)
