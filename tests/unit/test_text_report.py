import random
import uuid

import pytest

from engine import text_report
from engine.phrases import Turn
from engine.text_report import (
    Counts,
    document,
    masked,
    merge,
    read_tally,
    tally,
    write_tally,
)

WORDS = frozenset({"car", "cars", "traffic light", "traffic lights", "umbrella"})


def turn(
    question, answer="1 car: car [1, 2, 3, 4].", *, yes=None, classes=("car",), kind="segment"
):
    return Turn(kind=kind, question=question, answer=answer, classes=classes, yes=yes, words=WORDS)


@pytest.mark.parametrize(
    ("text", "wording"),
    [
        ("Segment the cars and the traffic light.", "Segment the LABEL."),
        ("I segmented 2 cars and 1 umbrella: car [1, 2, 3, 4], car [0.100, 0.200, 0.300, 0.400].",
         "I segmented N LABEL: LABEL BOX."),
        ("Here:\n- car <loc0001><loc0002><loc0003><loc0004>\n- umbrella [1, 2, 3, 4]",
         "Here:\n- LABEL BOX"),
        ("It is an umbrella.", "It is a LABEL."),
        ("It is a car.", "It is a LABEL."),
        ('[{"a": "car", "b": [1, 2, 3, 4]},\n {"a": "umbrella", "b": [1, 2, 3, 4]}]',
         '[{"a": "LABEL", "b": BOX}]'),
        ("scarce carpet", "scarce carpet"),
    ],
)  # fmt: skip
def test_wording_is_what_is_left_of_a_text(text, wording):
    assert masked(text, WORDS) == wording
    assert masked("2 cars", frozenset()) == "N cars"


def test_figures_of_a_few_turns():
    rows = [
        [turn("Segment the car."), turn("Is there a car?", "Yes.", yes=True, kind="exists")],
        [turn("Segment the umbrella.", classes=("umbrella",))],
        [turn("Is there a car?", "No.", yes=False, kind="exists", classes=("car", "bus"))],
    ]
    found = document(tally(rows))
    assert (found["rows"], found["turns"]) == (3, 4)
    assert found["questions"]["distinct"] == 2
    assert found["questions"]["entropy_normalised"] == 1.0
    assert found["questions"]["top"][0] == {"text": "Is there a LABEL?", "count": 2, "share": 0.5}
    assert found["families"] == {"exists": 2, "segment": 2}
    assert found["families_by_class"] == {
        "bus": {"exists": 1}, "car": {"exists": 2, "segment": 1}, "umbrella": {"segment": 1},
    }  # fmt: skip
    assert found["first_words"]["distinct"] == 2
    assert found["yes_no"] == {
        "yes": 1, "no": 1, "questions": 1, "mutual_information_bits": 0.0, "by_chance_bits": 0.0,
    }  # fmt: skip


def test_nothing_is_no_number():
    found = document(tally([]))
    assert found["questions"]["entropy_normalised"] is None
    assert found["yes_no"]["mutual_information_bits"] is None
    assert document(merge([])) == found


def test_questions_that_tell_the_answer_are_seen():
    rows = [[turn("Is it?", yes=True)], [turn("Is it not?", yes=False)]] * 50
    found = document(tally(rows))["yes_no"]
    assert found["mutual_information_bits"] == 1.0
    assert found["by_chance_bits"] < 0.05


@pytest.mark.parametrize("size", [2, 7, 40])
def test_information_by_chance_is_that_of_shuffled_answers(size):
    dice = random.Random(4)
    questions = [f"{'x' * (at % size)}?" for at in range(120)]
    answers = [at < 50 for at in range(120)]
    told = []
    for _ in range(400):
        dice.shuffle(answers)
        rows = [[turn(q, yes=a)] for q, a in zip(questions, answers, strict=True)]
        found = document(tally(rows))["yes_no"]
        told.append(found["mutual_information_bits"])
    assert found["by_chance_bits"] == pytest.approx(sum(told) / len(told), rel=0.1)
    many = document(tally([[turn("x?", yes=bool(n % 3))] for n in range(1200)]))["yes_no"]
    assert many["by_chance_bits"] == 0.0


def test_tallies_merge_in_any_order_with_bounded_memory(monkeypatch):
    monkeypatch.setattr(text_report, "_CAP", 50)
    dice = random.Random(9)
    names = ["".join(dice.choices("abcdefgh", k=4)) for _ in range(900)]
    rows = [[turn(f"{name}?")] for name in names]
    parts = [tally(rows[start : start + 30]) for start in range(0, 900, 30)]
    whole = document(tally(rows))
    for number in range(5):
        dice.shuffle(parts)
        merged = merge([merge(parts[:number]), merge(parts[number:])])
        assert document(merged) == whole
        assert all(len(counts.known) <= 100 for counts in merged.parts.values())
        assert merged.parts["questions"].total == 900
    kept = merged.parts["questions"].settled()
    assert len(kept) == 50
    assert all(names.count(name.strip("?")) == count for name, count in kept.items())
    assert whole["questions"]["complete"] is False
    assert whole["answers"]["complete"] is True


@pytest.mark.parametrize("root", ["local", "memory"])
def test_a_tally_is_read_as_it_was_written(tmp_path, monkeypatch, root):
    monkeypatch.setattr(text_report, "_CAP", 2)
    path = str(tmp_path / "t.json") if root == "local" else f"memory://{uuid.uuid4().hex}/t.json"
    whole = tally([[turn(f"Is {name} é\n there?", "No.", yes=False)] for name in "abcdefgh"])
    assert whole.parts["questions"].bound is not None
    for each in (whole, tally([])):
        write_tally(path, each)
        assert read_tally(path) == each


def test_an_empty_count_is_complete():
    assert Counts().complete
