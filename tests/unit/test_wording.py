import string

import pytest

from engine.wording import ANSWERS, BOX_HINTS, QUESTIONS, WHERE


def slots(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("table", [QUESTIONS, ANSWERS, BOX_HINTS])
def test_no_sentence_is_listed_twice(table):
    for kind, sentences in table.items():
        assert len(set(sentences)) == len(sentences) > 1, kind


@pytest.mark.parametrize("kind", ["segment", "identify and segment", "rest"])
def test_questions_that_ask_to_segment_say_so(kind):
    assert all("segment" in sentence.lower() for sentence in QUESTIONS[kind])


def test_questions_end_as_questions_or_requests():
    for sentence in (text for texts in QUESTIONS.values() for text in texts):
        assert sentence[-1] in ".?"
        assert slots(sentence) <= {"target", "where", "is_are", "many", "adjective"}
    assert all(text == "" or text.startswith(" ") for text in WHERE)


@pytest.mark.parametrize("kind", [kind for kind in ANSWERS if "segment" in kind or "part" in kind])
def test_answers_to_segment_give_count_and_listing(kind):
    for sentence in ANSWERS[kind]:
        assert "listing" in slots(sentence)
        assert slots(sentence) & {"counted", "total", "a"}
        assert not sentence.startswith(("{listing", "{boxes", "{a}", "{bare"))
