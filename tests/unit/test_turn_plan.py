from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.turn_plan import Group, plan_turns

SEGMENTS = {"segment", "identify and segment", "rest", "continue"}


@settings(max_examples=400, deadline=None)
@given(
    classes=st.lists(st.integers(0, 12), min_size=1, max_size=70),
    unnamed=st.booleans(),
    dice=st.randoms(use_true_random=False),
)
def test_every_object_is_segmented_once_in_at_most_five_turns(classes, unnamed, dice):
    members: dict[int, list[int]] = {}
    for index, each in enumerate(classes):
        members.setdefault(each, []).append(index)
    groups = [
        Group(members=tuple(at), named=not (unnamed and each == 0)) for each, at in members.items()
    ]
    areas = [dice.randrange(1, 9) for _ in classes]
    steps = plan_turns(groups, areas, lambda _slot, count: dice.randrange(count))
    assert 1 <= len(steps) <= 5
    shown = Counter(at for step in steps if step.kind in SEGMENTS for at in step.shown)
    assert set(shown.values()) == {1}
    assert len(shown) == min(50, len(classes))
    left_out = [areas[at] for at in range(len(areas)) if at not in shown]
    assert not left_out or max(left_out) <= min(areas[at] for at in shown)
    for before, step in zip([None, *steps], steps, strict=False):
        assert step.kind in SEGMENTS or step.listed <= 10 or step.kind.startswith("count")
        assert len(step.shown) <= 10
        assert list(step.shown) == sorted(step.shown)
        assert step.size == sum(len(groups[at].members) for at in step.groups)
        assert set(step.shown) <= {at for each in step.groups for at in groups[each].members}
        assert (step.kind == "continue") == (step.first > 1)
        if step.kind == "continue":
            assert (before.groups, before.first + 10) == (step.groups, step.first)
        if step.kind in ("segment", "count", "locate") and len(groups) > 1:
            assert all(groups[at].named for at in step.groups)
