import random
from collections import Counter

import pyarrow as pa
import pytest

from engine.existence import deniable, existence_odds, without_effect


def table(rows):
    return pa.table(
        {
            "labels": pa.array([seen for seen, _ in rows], pa.list_(pa.string())),
            "hidden_labels": pa.array([hidden for _, hidden in rows], pa.list_(pa.string())),
        }
    )


@pytest.mark.parametrize(
    ("hidden", "visible", "exhaustive", "expected"),
    [
        (["dog"], [], [], ("dog",)),
        (["dog"], ["dog"], [], ()),
        (["dogs", "Dog"], ["dog"], [], ()),
        (["object_3", ""], ["dog"], [], ()),
        ([], ["dog"], ["dog", "cat", "traffic_light"], ("cat", "traffic light")),
        ([], ["dog"], [], ()),
    ],
)
def test_what_may_be_denied(hidden, visible, exhaustive, expected):
    assert deniable(hidden, visible, exhaustive) == expected


def test_yes_and_no_are_equally_likely_for_each_class():
    dice = random.Random(5)
    rows = []
    for _ in range(3000):
        labels = dice.sample(["dog", "cat", "bus", "car"], 2)
        hidden = [x for x in labels if dice.random() < {"dog": 0.05, "cat": 0.7}.get(x, 0.3)]
        rows.append(([*(x for x in labels if x not in hidden), "tree"], hidden))
    odds = existence_odds(table(rows))
    seen, denied = Counter(), Counter()
    for visible, hidden in rows:
        seen.update(x for x in visible if x != "tree")
        denied.update(hidden)
    assert set(odds) == {"dog", "cat", "bus", "car"}
    for label, each in odds.items():
        assert each.visible * seen[label] == pytest.approx(each.absent * denied[label], rel=1e-6)
        assert 0 < each.visible <= 2**32
        assert 0 < each.absent <= 2**32
    asked = sum(o.visible * seen[x] + o.absent * denied[x] for x, o in odds.items()) / 2**32
    possible = 2 * sum(min(seen[label], denied[label]) for label in odds)
    assert asked == pytest.approx(min(1500, possible), rel=1e-3)


def test_few_denials_are_all_used():
    rows = [(["dog"], [])] * 98 + [(["cat"], ["dog"])] * 2 + [([], ["dog"])] * 3
    assert existence_odds(table(rows))["dog"].absent == 2**32


def test_a_class_with_one_answer_only_is_never_asked_about():
    rows = [(["dog"], ["cat"]), (["dog"], [])]
    assert existence_odds(table(rows)) == {}
    assert existence_odds(table(rows), ["bird"]) == {}
    assert set(existence_odds(table([*rows, (["bird"], [])]), ["bird"])) == {"bird"}


def test_the_order_of_frames_does_not_matter():
    rows = [(["dog", "cat"], []), (["cat"], ["dog"]), (["bus"], ["dog"]), (["dog"], ["cat"])]
    assert existence_odds(table(rows)) == existence_odds(table(rows[::-1]))
    assert existence_odds(table([])) == {}


def test_labels_declared_exhaustive_without_effect():
    """A hidden object's label counts; a placeholder denies nothing; letters' case matters."""
    frames = pa.table(
        {
            "labels": pa.array([["dog", "a  cat"], [], ["object_1"]], pa.list_(pa.string())),
            "hidden_labels": pa.array([[], ["cow"], None], pa.list_(pa.string())),
        }
    )
    given = ("dog", "Dog", "a cat", "cow", "object_1", "", "dogs", "dogs")
    assert without_effect(given, frames) == ["", "Dog", "dogs", "object_1"]
    assert without_effect((), frames) == []
    assert without_effect(("dog",), frames.slice(0, 0)) == ["dog"]
