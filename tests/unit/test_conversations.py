"""The text of a frame, checked by a reader of its own: it knows the row, not the templates."""

import hashlib
import os
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.box_text import BoxStyle
from engine.conversations import TextRules, VisibleObject, compose, dialogue, messages
from engine.english import Inflection
from engine.existence import Odds
from engine.label_text import clean_label
from engine.templates import Templates
from tests.text_reader import (
    CLASS,
    PLURALS,
    Frame,
    expected_box,
    pairs_of,
    problems,
    shape_problems,
)

WIDTH, HEIGHT = 640, 360
BOX = r"\[(\d+), (\d+), (\d+), (\d+)\]"
ALWAYS = Odds(visible=2**32, absent=2**32)


def made(label: str, box: tuple[int, int, int, int]) -> VisibleObject:
    return VisibleObject(label=label, box=box, area=box[2] * box[3])


def frame(number: int, *, most: int = 6) -> list[VisibleObject]:
    """Objects of a made-up frame; two boxes never agree, so that a box tells its object."""
    dice = random.Random(f"frame {number}")
    classes = dice.sample(sorted(PLURALS), dice.randint(1, 3))
    objects = []
    for place in range(dice.randint(1, most)):
        box = (40 * place + dice.randrange(9), dice.randrange(200), 20, dice.randrange(9, 150))
        objects.append(made(dice.choice(classes), box))
    return objects


def talk(
    number: int,
    objects: Sequence[VisibleObject],
    style: str = "norm1000",
    seed: int = 7,
    hidden: Sequence[str] = (),
    **rules,
):
    where = {"frame_id": f"clip-a1b2c3/{number:06d}", "width": WIDTH, "height": HEIGHT}
    boxes = BoxStyle(name=style)
    return dialogue(
        compose(TextRules(seed=seed, boxes=boxes, **rules), objects=objects, hidden=hidden, **where)
    )


def row_of(objects: Sequence[VisibleObject], style: str = "norm1000") -> Frame:
    return Frame(
        labels=[each.label for each in objects], boxes=[each.box for each in objects], style=style
    )


@pytest.mark.parametrize("style", ["norm1000", "xywh", "xyxy"])
def test_all_that_is_said_is_true_of_the_row(style):
    for number in range(400):
        objects = frame(number, most=10)
        assert problems(talk(number, objects, style), row_of(objects, style)) == []


def test_the_check_fails_for_labels_boxes_and_counts_of_another_row():
    tried = 0
    for number in range(300):
        objects = frame(number)
        turns = talk(number, objects)
        labels = [each.label for each in objects]
        turned = [made(x, o.box) for x, o in zip(labels[1:] + labels[:1], objects, strict=True)]
        if turned != objects:
            tried += 1
            assert problems(turns, row_of(turned))
        assert problems(turns, row_of(objects[1:]))
        assert problems(turns, row_of([*objects, made("car", (400, 300, 9, 9))]))
        assert problems(turns, row_of(objects, "xywh"))
        assert problems([*turns[:-1], {"from": "gpt", "value": ""}], row_of(objects))
        assert problems(turns[::-1], row_of(objects))
    assert tried > 100


def test_text_depends_on_seed_frame_and_objects_alone():
    objects = frame(3)
    assert talk(3, objects) == talk(3, list(objects))
    assert len({str(talk(3, objects, seed=seed)) for seed in range(20)}) > 10
    assert len({str(talk(number, objects)) for number in range(20)}) > 10


def test_a_frame_id_may_be_any_text():
    turns = dialogue(compose(TextRules(), frame_id="\ud800/犬", width=9, height=9, objects=[]))
    assert shape_problems(turns) == []


def varied_rows():
    odds = dict.fromkeys(PLURALS, Odds(visible=2**30, absent=2**31))
    return [
        talk(
            n,
            frame(n, most=10) + ODD,
            hidden=["bus", "犬", "car"],
            odds=odds,
            exhaustive=("knife",),
        )
        for n in range(100)
    ]


def test_text_is_the_same_under_another_hash_seed():
    program = (
        "import hashlib, sys; sys.path[:0] = ['tests/unit', '.']; import test_conversations as t;"
        "print(hashlib.sha256(repr(t.varied_rows()).encode()).hexdigest())"
    )
    root = Path(__file__).parents[2]
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=root,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("0", "4242")
    }
    assert digests == {hashlib.sha256(repr(varied_rows()).encode()).hexdigest() + "\n"}


ODD = [made(x, (500 + 9 * i, 9, 5, 5)) for i, x in enumerate(["Car", "犬", "object_3", "", "user"])]


# Joined without a blank: the pieces must be able to close up into something forbidden.
PIECES = """<image> <im age> <video> </s> <|im_end|> |> USER: uSeR : ASSISTANT: assistant ###
# [/INST] [1, 2, 3, 4] <bbox> <ref-object> < > object_1 犬 「 」 {target} %s \\ _ - \ufdfa person
a "x" e\u0301 \uff1cimage\uff1e USER\uff1a u\u017fer: \U0001f469\u200d\U0001f469"""
HOSTILE = st.lists(
    st.sampled_from(
        [*PIECES.split(), " ", "\n", "\t", "\0", "\u200b", "\u202e", "\u2028", "\ud800"]
    )
    | st.text(max_size=5),
    max_size=8,
).map("".join)


@settings(max_examples=300, deadline=None)
@example(labels=["USER::", "a USER : :", "us\u200ber\uff1a", "x [9, 9, 9, 9]"], number=0)
@given(labels=st.lists(HOSTILE, min_size=1, max_size=14), number=st.integers(0, 50))
def test_no_label_spoils_the_text(labels, number):
    objects = [made(label, (9 * i, 5, 5 + i, 7)) for i, label in enumerate(labels[1:])]
    odds = {clean_label(label): ALWAYS for label in labels}
    exhaustive = labels[: number % 2]
    turns = talk(number, objects, hidden=labels[:1], odds=odds, exhaustive=tuple(exhaustive))
    assert shape_problems(turns) == []
    allowed = {expected_box(each.box, row_of(objects)) for each in objects}
    listed = [re.findall(BOX, turn["value"]) for turn in turns]
    assert all(f"[{', '.join(box)}]" in allowed for boxes in listed for box in boxes)
    assert all(len(boxes) <= 10 for boxes in listed)
    for turn in turns:
        turn["value"].encode("utf-8")
    assert any("segment" in question.lower() for question, _ in pairs_of(turns)) or not objects


def said(*labels: str, rows: int = 40) -> str:
    objects = [made(label, (9 * i, 5, 5, 7)) for i, label in enumerate(labels)]
    return "\n".join(turn["value"] for n in range(rows) for turn in talk(n, objects))


def test_labels_read_as_english():
    text = said("traffic_light", "traffic_light", "person")
    assert "2 traffic lights" in text
    assert "the traffic lights" in text
    assert "1 person" in text
    assert "traffic_light" not in text
    assert "segmented an umbrella" in said("umbrella", rows=100)
    assert "TrafficLight [" in said("TrafficLight")


@pytest.mark.parametrize(
    ("label", "form"),
    [("犬", "「犬」"), ("собака", '"собака"'), ("player-1", '"player 1"'), ("user", '"user"')],
)
def test_labels_that_are_no_plain_english_are_quoted(label, form):
    text = said(label, label)
    assert f"{form} [" in text
    assert re.search(rf"(objects labelled|objects with the label|instances of) {form}", text)
    assert label not in re.sub(r"\[\{.*?\}\]", "", text, flags=re.DOTALL).replace(form, "")


def test_labels_that_read_alike_are_told_apart_by_quotes():
    text = said("car", "Car", "cars")
    assert all(f'"{label}" [' in text for label in ("car", "Car", "cars"))
    assert not re.search(r"\d cars", text)


@pytest.mark.parametrize("label", ["", "object_3", "OBJECT-12", "  ", "---", "\u200b", "object"])
def test_unnamed_objects_are_never_called_by_a_word(label):
    alone, beside = said(label, label), said("person", label)
    assert "object_" not in (alone + beside).lower()
    assert not re.search(r"object \d", (alone + beside).lower())
    assert "labelled" not in alone + beside
    assert re.search(r"2 (annotated|marked|tracked) objects", alone)
    assert re.search(r"1 other (annotated|marked|tracked) object\b", beside)
    assert re.search(r"(annotated|marked|tracked) object \[", beside)


def test_long_labels_are_capped():
    assert "x" * 200 in said("x" * 500)
    assert "x" * 201 not in said("x" * 500)


STAGE = VisibleObject(label="stage", box=(0, 0, 100, 100), area=5000)
SINGER = VisibleObject(label="singer", box=(10, 10, 20, 50), area=800)


@pytest.mark.parametrize(
    ("beside", "asked"),
    [
        (SINGER, {"[100, 100, 300, 600]"}),  # inside the stage's box there is more than a stage
        (replace(SINGER, box=(70, 70, 29, 29)), {"[700, 700, 990, 990]"}),
        (replace(SINGER, box=(90, 90, 110, 110)), {"[0, 0, 500, 500]", "[450, 450, 1000, 1000]"}),
    ],
)
def test_what_a_box_contains_is_asked_where_one_thing_is_in_it(beside, asked):
    side = 100 if beside.box[2] < 100 else 200
    found = set()
    for number in range(300):
        turns = compose(
            TextRules(), frame_id=f"v/{number:06d}", width=side, height=side,
            objects=[STAGE, beside],
        )  # fmt: skip
        for turn in turns:
            if turn.kind in ("segment_box", "box_to_label"):
                found |= set(re.findall(r"\[\d[^]]*\]", turn.question))
    assert found == asked


def test_a_frame_without_visible_objects_claims_nothing():
    rows = [talk(number, []) for number in range(200)]
    answers = set()
    odds = {"car": ALWAYS, "bus": ALWAYS}
    for number, turns in enumerate(rows):
        assert talk(number, [], hidden=["car"], exhaustive=("bus",), odds=odds) == turns
        assert shape_problems(turns) == []
        ((question, answer),) = pairs_of(turns)
        assert re.search(r"\b(no|none|0)\b", answer.lower())
        assert "[" not in answer
        assert not re.search(CLASS, question + answer)
        answers.add(answer)
        assert problems(talk(number, frame(number)), row_of(frame(number))) == []
    assert len(answers) >= 6
    asked = {pairs_of(talk(n, frame(n)))[0][0] for n in range(2000)}
    assert asked & {pairs_of(turns)[0][0] for turns in rows}  # polarity is not in the question


@pytest.mark.parametrize("count", [10, 11, 23, 50])
def test_long_lists_go_on_in_further_turns(count):
    objects = [made("person", (3 * i, i, 2, 3)) for i in range(count)]
    for number in range(20):
        pairs = pairs_of(talk(number, objects, "xywh"))
        segments = [
            re.findall(BOX, answer)
            for question, answer in pairs
            if (re.search("segment|next", question.lower()) or "number" in answer)
            and not re.search(BOX, question)
        ]
        assert [tuple(map(int, box)) for part in segments for box in part] == [
            o.box for o in objects
        ]
        assert max(map(len, segments)) == 10
        assert f"{count} people" in "".join(answer for _, answer in pairs)


def test_beyond_fifty_the_largest_are_listed_and_the_text_says_so():
    areas = random.Random(5).sample(range(1, 400), 63)
    objects = [
        VisibleObject(label="person", box=(9 * i, i, 3, 4), area=area)
        for i, area in enumerate(areas)
    ]
    least = sorted(areas)[13]
    pairs = pairs_of(talk(1, objects, "xywh"))
    boxes = [tuple(map(int, hit)) for _, answer in pairs for hit in re.findall(BOX, answer)]
    assert boxes == [each.box for each in objects if each.area >= least]
    assert len(pairs) == 5
    assert "63 people" in pairs[0][1]
    assert "50 largest" in pairs[0][1]


@settings(max_examples=300, deadline=None)
@given(data=st.data(), width=st.integers(1, 5000), height=st.integers(1, 5000))
def test_scaled_boxes_lie_in_range_and_are_never_empty(data, width, height):
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    w, h = data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y))
    turns = dialogue(
        compose(
            TextRules(),
            frame_id="a",
            width=width,
            height=height,
            objects=[made("car", (x, y, w, h))],
        )
    )
    exact = [
        Fraction(1000 * v, s) for v, s in ((x, width), (y, height), (x + w, width), (y + h, height))
    ]
    for hit in re.findall(BOX, " ".join(turn["value"] for turn in turns)):
        x1, y1, x2, y2 = map(int, hit)
        assert 0 <= x1 < x2 <= 1000
        assert 0 <= y1 < y2 <= 1000
        assert all(abs(got - want) <= 1 for got, want in zip((x1, y1, x2, y2), exact, strict=True))


def test_messages_hold_the_same_turns_as_blocks():
    turns = talk(5, frame(5))
    blocks = messages(turns)
    assert [block["role"] for block in blocks] == ["user", "assistant"] * (len(turns) // 2)
    assert blocks[0]["content"][0] == {"type": "image", "text": None}
    texts = [block["content"][-1] for block in blocks]
    assert texts == [
        {"type": "text", "text": turn["value"].removeprefix("<image>\n")} for turn in turns
    ]
    assert [len(block["content"]) for block in blocks] == [2] + [1] * (len(turns) - 1)


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="leaves the image"):
        talk(1, [made("car", (WIDTH - 1, 0, 2, 1))])
    with pytest.raises(ValueError, match="not visible"):
        made("car", (0, 0, 0, 0))


def test_a_class_is_denied_only_if_it_is_declared_hidden_or_exhaustive():
    car = [made("car", (9, 9, 9, 9))]
    odds = {"dog": ALWAYS, "car": ALWAYS}
    for number in range(60):
        text = str(talk(number, car, odds=odds))
        assert "dog" not in text
        hidden = talk(number, car, odds={"dog": ALWAYS}, hidden=["dog"])
        said = " ".join(answer for _, answer in pairs_of(hidden))
        assert re.search(r"(tracked|annotated) dog|^No, none", said) or "none is visible" in said
        assert not re.search(r"\b\d+ dog|dogs? \[", said)
        outright = str(talk(number, car, odds={"dog": ALWAYS}, exhaustive=("dog",)))
        assert "dog" in outright
        assert not re.search(r"(tracked|annotated) (dog|object labelled)", outright)


@pytest.mark.parametrize("label", ["dog", "dogs", "Dog", "DOG "])
def test_what_sounds_like_something_visible_is_not_denied(label):
    for number in range(30):
        odds = {clean_label(label): ALWAYS}
        turns = talk(number, [made("dog", (9, 9, 9, 9))], hidden=[label], odds=odds)
        said = " ".join(answer for _, answer in pairs_of(turns))
        assert not re.search(r"\bno\b|not visible|cannot", said, re.IGNORECASE)


def test_yes_and_no_are_asked_with_the_same_sentences():
    def asked(objects, hidden):
        turns = [
            turn.question
            for number in range(1500)
            for turn in compose(
                TextRules(odds={"car": ALWAYS}), frame_id=f"{number}", width=99, height=99,
                objects=objects, hidden=hidden,
            )
            if turn.kind == "exists_tracked"
        ]  # fmt: skip
        return set(turns)

    two = [made("car", (9, 9, 9, 9)), made("car", (30, 9, 9, 9))]
    bus = [made("bus", (9, 9, 9, 9))]
    assert asked(two, []) == asked(bus, ["car"]) == asked(bus, ["car"] * 3)
    assert asked([], ["car"]) == set()


def test_several_hidden_ones_are_denied_in_the_plural():
    bus, odds = [made("bus", (9, 9, 9, 9))], {"knife": ALWAYS}
    rows = [str(talk(n, bus, hidden=["knife", "knife"], odds=odds)) for n in range(60)]
    assert any(re.search("the (tracked|annotated) knives are not visible", row) for row in rows)
    rows = [str(talk(n, bus, hidden=["knife"], odds=odds)) for n in range(60)]
    assert any(re.search("the (tracked|annotated) knife is not visible", row) for row in rows)


def test_words_of_the_user():
    words = {"ox": Inflection(plural="oxes"), "unit": Inflection(article="an")}
    objects = [made("ox", (9, 9, 9, 9)), made("ox", (30, 9, 9, 9)), made("unit", (50, 9, 9, 9))]
    text = " ".join(str(talk(n, objects, words=words)) for n in range(80))
    assert "2 oxes" in text
    assert "oxen" not in text
    assert "an unit" in text
    assert "a unit" not in text


def test_sentences_of_the_user():
    templates = Templates.of(
        {
            "questions": {"segment": ["Mask {target}."], "segment_all": ["Mask it all: {target}."]},
            "answers": {"segment": ["=> {counted}{listing}"], "segment_one": ["=> {a}{listing}"]},
        }
    )
    pairs = [
        pair
        for n in range(40)
        for pair in pairs_of(talk(n, [made("car", (9, 9, 9, 9))], templates=templates))
        if pair[0].removeprefix("<image>\n").startswith("Mask")
    ]
    assert len(pairs) == 40
    assert all(answer.startswith(("=> 1 car", "=> a car")) for _, answer in pairs)
    assert {question[-1] for question, _ in pairs} == {"."}  # nothing is added to these
    assert not any("1000" in question for question, _ in pairs)


def test_turns_know_what_they_are_about():
    turns = compose(
        TextRules(odds={"dog": ALWAYS}), frame_id="a", width=99, height=99,
        objects=[made("car", (9, 9, 9, 9))], hidden=["dog"],
    )  # fmt: skip
    assert dialogue(turns)[0]["value"] == "<image>\n" + turns[0].question
    assert [turn.yes for turn in turns if "dog" in turn.classes] == [False]
    assert any(turn.classes == ("car",) for turn in turns) or turns[0].classes == ("car", "dog")
