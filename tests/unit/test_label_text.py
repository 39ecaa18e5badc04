import pytest

from engine.label_text import clean_label, forbidden_in


@pytest.mark.parametrize("text", ["<IMAGE>", "x USER: y", "a ### b", "x\nAssistant", "<image>"])
def test_forbidden_strings_are_found(text):
    assert forbidden_in(text)


def test_plain_text_and_an_assistant_within_a_line_are_not_forbidden():
    assert forbidden_in("the assistant, the user and 3 cars: [1, 2, 3, 4]\n- a <b> ##") == []


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("traffic_light", "traffic light"),
        ("<im<x>age>", "imxage"),
        ("[9, 9, 9, 9]", "(9, 9, 9, 9)"),
        ("a\nb\tc", "a b c"),
        ("user: x", "user x"),
        ("object_12", ""),
        ("OBJECT", ""),
        ("---", ""),
        ("\u200b", ""),
        ("object_3d", "object 3d"),
    ],
)
def test_labels_are_cleaned(label, text):
    assert clean_label(label) == text
    assert clean_label(text) == text
