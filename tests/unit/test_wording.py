import pytest

from engine.box_text import BoxStyle
from engine.choices import BOX_STYLES
from engine.templates import ANSWER_SLOTS, QUESTION_SLOTS, Templates
from engine.wording import ANSWERS, BOX_HINTS, QUESTIONS, WHERE


@pytest.mark.parametrize("table", [QUESTIONS, ANSWERS, BOX_HINTS])
def test_no_sentence_is_listed_twice(table):
    for kind, sentences in table.items():
        assert len(set(sentences)) == len(sentences), kind


def test_our_own_sentences_pass_the_check_for_the_users():
    """Slots known, none left out, nothing forbidden: the same rules for both."""
    assert set(QUESTIONS) == set(QUESTION_SLOTS)
    assert set(ANSWERS) == set(ANSWER_SLOTS)
    own = {"questions": dict(QUESTIONS), "answers": dict(ANSWERS)}
    assert Templates.of(own).questions == QUESTIONS
    assert Templates.of(None).answers == ANSWERS


def test_every_box_style_has_its_hints():
    assert set(BOX_HINTS) == set(BOX_STYLES)
    assert set(BOX_STYLES) - {"qwen25"} == {
        BoxStyle(name=name).name for name in BOX_STYLES if name != "qwen25"
    }


@pytest.mark.parametrize("kind", ["segment", "segment_all", "rest", "mixed", "segment_box"])
def test_questions_that_ask_to_segment_say_so(kind):
    assert all("segment" in sentence.lower() for sentence in QUESTIONS[kind])


def test_questions_end_as_questions_or_requests():
    for sentence in (text for texts in QUESTIONS.values() for text in texts):
        assert sentence[-1] in ".?"
    assert all(text == "" or text.startswith(" ") for text in WHERE)


@pytest.mark.parametrize("kind", ["exists", "exists_tracked", "mixed"])
def test_questions_about_existence_do_not_tell_the_answer(kind):
    for sentence in QUESTIONS[kind]:
        assert not any(slot in sentence for slot in ("{counted}", "{is_are}", "{bare}"))


def test_yes_and_no_answers_begin_so():
    for kind, sentences in ANSWERS.items():
        first = "Yes" if "yes" in kind else "No" if kind.endswith("_no") else ""
        assert all(sentence.startswith(first) for sentence in sentences)


def test_no_answer_begins_with_a_label():
    for sentences in ANSWERS.values():
        for sentence in sentences:
            assert not sentence.startswith(("{listing", "{boxes", "{a}", "{bare", "{names", "{one"))
