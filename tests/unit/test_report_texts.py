import pytest

from engine.phrases import Turn
from engine.report_texts import kinds, kinds_of_classes, told_sentence
from engine.text_report import document, tally


def turns(kind, label, count):
    classes = (label,) if label else ()
    return [
        Turn(kind=kind, question="Where?", answer="Here.", classes=classes, yes=None,
             words=frozenset())
        for _ in range(count)
    ]  # fmt: skip


def texts_of(*rows):
    return document(tally(rows))


def test_kinds_are_sorted_by_frequency_and_share_all_turns():
    texts = texts_of(turns("count", "cat", 2), turns("segment", "cat", 5), turns("box", "dog", 1))
    found = kinds(texts)
    assert [(k.name, k.turns, k.share) for k in found] == [
        ("segment", 5, 0.625), ("count", 2, 0.25), ("box", 1, 0.125),
    ]  # fmt: skip
    assert [k.length for k in found] == [100, 40, 20]


def test_classes_have_a_cell_for_each_kind_and_no_class_is_none():
    texts = texts_of(turns("a", "cat", 3), turns("b", "cat", 1), turns("b", "", 2))
    rows, omitted = kinds_of_classes(texts)
    assert omitted == 0
    assert [kind.name for kind in kinds(texts)] == ["a", "b"]
    assert [(row.label, [c.turns for c in row.cells]) for row in rows] == [
        ("cat", [3, 1]), (None, [0, 2]),
    ]  # fmt: skip
    assert [[c.level for c in row.cells] for row in rows] == [[5, 3], [0, 5]]


def test_the_classes_asked_about_most_are_shown_and_the_others_counted():
    texts = texts_of(*(turns("a", f"c{i:02d}", i + 1) for i in range(40)))
    rows, omitted = kinds_of_classes(texts)
    assert [row.label for row in rows] == [f"c{39 - i:02d}" for i in range(14)]
    assert omitted == 26


def test_nothing_asked_is_nothing_shown():
    texts = texts_of()
    assert kinds(texts) == []
    assert kinds_of_classes(texts) == ([], 0)


@pytest.mark.parametrize(
    ("told", "chance", "sentence"),
    [
        (None, None, "There is one answer only"),
        (0.30, 0.28, "A question does not tell its answer: 0.30 bits"),
        (1.00, 0.10, "A question tells something of its answer"),
    ],
)
def test_whether_answers_are_given_away_is_said_beside_chance(told, chance, sentence):
    said = told_sentence({"mutual_information_bits": told, "by_chance_bits": chance})
    assert said.startswith(sentence)
    assert told is None or f"chance alone would give {chance:.2f}" in said
