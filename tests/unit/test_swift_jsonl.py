"""Boxes taken out of texts: each placeholder is the box that stood there, in image pixels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.box_text import BoxStyle, box_text
from engine.conversations import TextRules, VisibleObject, compose, dialogue
from engine.swift_jsonl import with_placeholders
from engine.wording import BOX_HINTS

WIDTH, HEIGHT = 640, 360


def style_of(name):
    return BoxStyle(name=name, max_pixels=200_000 if name == "qwen25" else None)


def turns_of(*texts):
    return [
        {"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(texts)
    ]


def test_boxes_become_placeholders_in_the_order_of_the_text():
    turns = turns_of("<image>\nWhere?", "cat [5, 6, 7, 8], dog [1, 2, 3, 4].", "And?", "2 animals.")
    messages, used = with_placeholders(turns, ["[1, 2, 3, 4]", "[5, 6, 7, 8]"], ())
    assert messages == [
        {"role": "user", "content": "<image>\nWhere?"},
        {"role": "assistant", "content": "cat <bbox>, dog <bbox>."},
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "2 animals."},
    ]
    assert used == [1, 0]


def test_a_box_in_a_question_is_one_too():
    turns = turns_of("<image>\nWhat is at [1, 2, 3, 4]?", "A dog.")
    messages, used = with_placeholders(turns, ["[1, 2, 3, 4]"], ())
    assert messages[0]["content"] == "<image>\nWhat is at <bbox>?"
    assert used == [0]


def test_boxes_written_alike_are_told_apart_by_their_order_in_a_turn():
    turns = turns_of("<image>\nq", "a [0, 0, 1, 1], b [0, 0, 1, 1].", "q", "a [0, 0, 1, 1].")
    _, used = with_placeholders(turns, ["[0, 0, 1, 1]", "[0, 0, 1, 1]"], ())
    assert used == [0, 1, 0]


def test_what_is_no_box_of_the_row_stays():
    turns = turns_of("<image>\nq", "version [1, 2, 3, 5], see [1, 2, 3, 4].")
    messages, used = with_placeholders(turns, ["[1, 2, 3, 4]"], ())
    assert messages[1]["content"] == "version [1, 2, 3, 5], see <bbox>."
    assert used == [0]
    messages, used = with_placeholders(turns, [], ())
    assert (messages[1]["content"], used) == (turns[1]["value"], [])


def test_other_notations_are_taken_as_they_are_written():
    written = ["<loc0001><loc0002><loc0003><loc0004>", "[0.120, 0.300, 0.500, 0.700]"]
    turns = turns_of("<image>\nq", f"a {written[1]}; b {written[0]}")
    messages, used = with_placeholders(turns, written, ())
    assert (messages[1]["content"], used) == ("a <bbox>; b <bbox>", [1, 0])


def test_a_box_of_tokens_in_json_leaves_its_quotes():
    """There it is a string, but ms-swift may put a list of numbers in its place."""
    box = "<loc0001><loc0002><loc0003><loc0004>"
    turns = turns_of("<image>\nq", f'[{{"label": "cat", "box": "{box}"}}]')
    messages, used = with_placeholders(turns, [box], ())
    assert (messages[1]["content"], used) == ('[{"label": "cat", "box": <bbox>}]', [0])


def test_a_hint_is_taken_off_the_end_of_a_question_only():
    hint = " Give boxes as [x, y]."
    turns = turns_of("<image>\nWhere?" + hint, "There." + hint)
    messages, _ = with_placeholders(turns, [], [hint])
    assert messages[0]["content"] == "<image>\nWhere?"
    assert messages[1]["content"] == "There." + hint


edges = st.tuples(
    st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.integers(1, WIDTH),
    st.integers(1, HEIGHT),
).map(lambda b: (b[0], b[1], min(b[2], WIDTH - b[0]), min(b[3], HEIGHT - b[1])))  # fmt: skip
objects = st.lists(
    st.builds(
        lambda label, box: VisibleObject(label=label, box=box, area=1), st.text(max_size=20), edges
    ),
    max_size=12,
)


@given(objects, st.sampled_from(sorted(BOX_HINTS)), st.integers(0, 50))
def test_filling_the_placeholders_gives_the_text_back(seen, style, seed):
    """Independent of which box was chosen for which place: the text must come back whole."""
    rules = TextRules(seed=seed, boxes=style_of(style))
    turns = dialogue(compose(rules, frame_id="v/000001", width=WIDTH, height=HEIGHT, objects=seen))
    written = [box_text(each.box, WIDTH, HEIGHT, style_of(style)) for each in seen]
    messages, used = with_placeholders(turns, written, BOX_HINTS[style])
    rest = iter(used)
    for turn, message in zip(turns, messages, strict=True):
        first, *others = message["content"].split("<bbox>")
        text = first + "".join(written[next(rest)] + other for other in others)
        turn["value"] = turn["value"].replace('"<loc', "<loc").replace('>"', ">")
        hints = ("", *BOX_HINTS[style]) if turn["from"] == "human" else ("",)
        assert any(text + hint == turn["value"] for hint in hints)
        assert not any(text in message["content"] for text in written)
    assert list(rest) == []


@pytest.mark.parametrize("style", sorted(BOX_HINTS))
def test_each_object_keeps_its_own_box_in_the_order_of_the_list(style):
    seen = [VisibleObject(label=f"kind {n}", box=(n * 10, n * 5, 20, 30), area=9) for n in range(4)]
    rules = TextRules(seed=3, boxes=style_of(style))
    turns = dialogue(compose(rules, frame_id="v/000002", width=WIDTH, height=HEIGHT, objects=seen))
    written = [box_text(each.box, WIDTH, HEIGHT, style_of(style)) for each in seen]
    messages, used = with_placeholders(turns, written, BOX_HINTS[style])
    assert set(used) <= set(range(4))
    said = "".join(turn["value"] for turn in turns)
    order = sorted(
        (at, n) for n in range(4) for at in range(len(said)) if said.startswith(written[n], at)
    )
    assert used == [n for _, n in order]
    assert sum(message["content"].count("<bbox>") for message in messages) == len(used)
