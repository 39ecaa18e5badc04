"""The text of a frame, checked by a reader of its own: it knows the row, not the templates."""

import hashlib
import os
import random
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.conversations import VisibleObject, converse, forbidden_in, messages
from engine.errors import ConfigError

WIDTH, HEIGHT = 640, 360
PLURALS = {"person": "people", "car": "cars", "bus": "buses", "knife": "knives", "sheep": "sheep"}
PLURALS |= {"child": "children", "traffic light": "traffic lights", "umbrella": "umbrellas"}
FORMS = sorted({*PLURALS, *PLURALS.values()}, key=len, reverse=True)
CLASS = "|".join(FORMS)
BOX = r"\[(\d+), (\d+), (\d+), (\d+)\]"
ITEM = rf"({CLASS}) (?={BOX})"
GENERIC = r"(\d+) (?:other )?(?:annotated|tracked|marked|labelled) object(s?)\b"
COUNT = rf"\b\d+ (?:{CLASS}|\w+ object)|\b1 in all"
BORDERS = ["<image>", "<video>", "<audio>", "</s>", "<|im_end|>", "user:", "assistant:"]
BORDERS += ["[/inst]", "<bbox>", "<ref-object>"]


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


def talk(number: int, objects: Sequence[VisibleObject], style: str = "norm1000", seed: int = 7):
    where = {"frame_id": f"clip-a1b2c3/{number:06d}", "width": WIDTH, "height": HEIGHT}
    return converse(seed=seed, objects=objects, box_style=style, **where)


def expected_box(each: VisibleObject, style: str) -> tuple[int, ...]:
    x, y, w, h = each.box
    if style == "xywh":
        return each.box
    if style == "xyxy":
        return (x, y, x + w, y + h)
    edges = [(x, WIDTH), (y, HEIGHT), (x + w, WIDTH), (y + h, HEIGHT)]
    return tuple(int(Fraction(1000 * edge, size) + Fraction(1, 2)) for edge, size in edges)


def pairs_of(turns) -> list[tuple[str, str]]:
    values = [turn["value"] for turn in turns]
    return list(zip(values[::2], values[1::2], strict=True))


def shape_problems(turns) -> list[str]:
    """What every conversation must hold, whatever it says."""
    values = [turn["value"] for turn in turns]
    found = []
    if [turn["from"] for turn in turns] != ["human", "gpt"] * (len(turns) // 2):
        found.append("turns do not alternate")
    if not 1 <= len(turns) // 2 <= 5:
        found.append("number of turns")
    if not values[0].startswith("<image>\n") or sum(v.count("<image>") for v in values) != 1:
        found.append("image token")
    for value in [values[0].removeprefix("<image>\n"), *values[1:]]:
        if not value.strip() or value != value.strip():
            found.append(f"empty or loose: {value!r}")
        for text in (value.lower(), unicodedata.normalize("NFKC", value).lower()):
            if any(border in text for border in BORDERS) or " ### " in text:
                found.append(f"forbidden: {value!r}")
            if any(line.strip().startswith("assistant") for line in text.split("\n")):
                found.append(f"reads as a role: {value!r}")
        if any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in value if c != "\n"):
            found.append(f"control characters: {value!r}")
    return found


def problems(turns, objects: Sequence[VisibleObject], style: str = "norm1000") -> list[str]:
    """Everything in a conversation that is not true of the row (at most ten objects)."""
    found = shape_problems(turns)
    boxes = [expected_box(each, style) for each in objects]
    sizes = Counter(each.label for each in objects)
    segmented: Counter[tuple[int, ...]] = Counter()
    for question, answer in pairs_of(turns):
        quoted = [tuple(map(int, hit)) for hit in re.findall(BOX, answer)]
        if any(box not in boxes for box in quoted):
            found.append(f"a box that is none of the row's: {answer}")
            continue
        if quoted != sorted(quoted, key=boxes.index):
            found.append(f"order: {answer}")
        items = re.findall(ITEM, answer)
        for name, *box in items:
            if objects[boxes.index(tuple(map(int, box)))].label != name:
                found.append(f"{name} at another's box: {answer}")
        for number, form in re.findall(rf"\b(\d+) ({CLASS})\b", answer):
            owner = next(one for one, many in PLURALS.items() if form in (one, many))
            right = owner if int(number) == 1 else PLURALS[owner]
            if int(number) != sizes[owner] or form != right:
                found.append(f"count of {owner}: {answer}")
        for number, plural in re.findall(GENERIC, answer):
            if int(number) != (len(quoted) or len(objects)) or (number == "1") == bool(plural):
                found.append(f"count of objects: {answer}")
        if "segment" in question.lower():
            segmented.update(quoted)
            if len(items) != len(quoted) or not re.search(COUNT, answer):
                found.append(f"no label or no count: {answer}")
    if segmented != Counter(boxes):
        found.append("a segmentation that lists an object twice or never")
    return found


@pytest.mark.parametrize("style", ["norm1000", "xywh", "xyxy"])
def test_all_that_is_said_is_true_of_the_row(style):
    for number in range(400):
        objects = frame(number, most=10)
        assert problems(talk(number, objects, style), objects, style) == []


def test_the_check_fails_for_labels_boxes_and_counts_of_another_row():
    tried = 0
    for number in range(300):
        objects = frame(number)
        turns = talk(number, objects)
        labels = [each.label for each in objects]
        turned = [made(x, o.box) for x, o in zip(labels[1:] + labels[:1], objects, strict=True)]
        if turned != objects:
            tried += 1
            assert problems(turns, turned)
        assert problems(turns, objects[1:])
        assert problems(turns, [*objects, made("car", (400, 300, 9, 9))])
        assert problems(turns, objects, "xywh")
        assert problems([*turns[:-1], {"from": "gpt", "value": ""}], objects)
        assert problems(turns[::-1], objects)
    assert tried > 100


def masked(text: str) -> str:
    """The sentence without its labels, numbers and the length of its lists."""
    text = re.sub(r"\[[^\]]*\]", "B", text.removeprefix("<image>\n"))
    text = re.sub(rf"\b({CLASS})\b", "L", text)
    text = re.sub(r"\b\d+\b", "N", text)
    for item in ("L B", "N L", "the L", "L", "B"):
        text = re.sub(rf"{item}((, |; |\n- | and ){item})+", item, text)
    return text


def family(question: str) -> str:
    text = masked(question).lower()
    if re.search("how many|count|number of", text):
        return "count"
    if re.search("other|remaining|rest of", text):
        return "rest"
    named = re.search(r"\bl\b", text)
    if "segment" in text:
        several = len(re.findall(rf"\b(?:{CLASS})\b", question)) > 1
        return ("several" if several else "class") if named else "all"
    return "locate" if named or re.search("where|locate|bounding|coordinates", text) else "identify"


def test_text_is_varied():
    questions, answers, families, rows = set(), set(), Counter(), Counter()
    for number in range(2000):
        pairs = pairs_of(talk(number, frame(number)))
        rows[len(pairs)] += 1
        for question, answer in pairs:
            questions.add(masked(question))
            answers.add(masked(answer))
            families[family(question)] += 1
    assert len(questions) >= 40
    assert len(answers) >= 20
    assert set(families) == {"count", "rest", "several", "class", "all", "locate", "identify"}
    assert max(families.values()) <= families.total() / 2
    assert set(rows) == {1, 2, 3}


def test_text_depends_on_seed_frame_and_objects_alone():
    objects = frame(3)
    assert talk(3, objects) == talk(3, list(objects))
    assert len({str(talk(3, objects, seed=seed)) for seed in range(20)}) > 10
    assert len({str(talk(number, objects)) for number in range(20)}) > 10


def test_a_frame_id_may_be_any_text():
    turns = converse(seed=1, frame_id="\ud800/犬", width=9, height=9, objects=[])
    assert shape_problems(turns) == []


def test_text_is_the_same_under_another_hash_seed():
    program = (
        "import hashlib, sys; sys.path[:0] = ['tests/unit', '.']; import test_conversations as t;"
        "rows = [t.talk(n, t.frame(n, most=10) + t.ODD) for n in range(100)];"
        "print(hashlib.sha256(repr(rows).encode()).hexdigest())"
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
    rows = [talk(n, frame(n, most=10) + ODD) for n in range(100)]
    assert digests == {hashlib.sha256(repr(rows).encode()).hexdigest() + "\n"}


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
    objects = [made(label, (9 * i, 5, 5 + i, 7)) for i, label in enumerate(labels)]
    turns = talk(number, objects)
    assert shape_problems(turns) == []
    allowed = {expected_box(each, "norm1000") for each in objects}
    listed = [re.findall(BOX, answer) for _, answer in pairs_of(turns)]
    assert all(tuple(map(int, box)) in allowed for boxes in listed for box in boxes)
    assert all(len(boxes) <= 10 for boxes in listed)
    for turn in turns:
        turn["value"].encode("utf-8")
    assert any("segment" in question.lower() for question, _ in pairs_of(turns))


@pytest.mark.parametrize("text", ["<IMAGE>", "x USER: y", "a ### b", "x\nAssistant", "<image>"])
def test_forbidden_strings_are_found(text):
    assert forbidden_in(text)


def test_plain_text_and_an_assistant_within_a_line_are_not_forbidden():
    assert forbidden_in("the assistant, the user and 3 cars: [1, 2, 3, 4]\n- a <b> ##") == []


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
    assert label not in text.replace(form, "")


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
    assert "x" * 60 in said("x" * 500)
    assert "x" * 61 not in said("x" * 500)


def test_a_frame_without_visible_objects_claims_nothing():
    rows = [talk(number, []) for number in range(200)]
    answers = set()
    for number, turns in enumerate(rows):
        assert shape_problems(turns) == []
        ((question, answer),) = pairs_of(turns)
        assert re.search(r"\b(no|none|0)\b", answer.lower())
        assert "[" not in answer
        assert not re.search(CLASS, question + answer)
        answers.add(answer)
        assert problems(talk(number, frame(number)), frame(number)) == []
    assert len(answers) >= 6
    asked = {pairs_of(talk(n, frame(n)))[0][0] for n in range(3000)}
    assert asked & {pairs_of(turns)[0][0] for turns in rows}  # polarity is not in the question


@pytest.mark.parametrize("count", [10, 11, 23, 50])
def test_long_lists_go_on_in_further_turns(count):
    objects = [made("person", (3 * i, i, 2, 3)) for i in range(count)]
    for number in range(20):
        pairs = pairs_of(talk(number, objects, "xywh"))
        segments = [
            re.findall(BOX, answer)
            for question, answer in pairs
            if re.search("segment|next", question.lower()) or "number" in answer
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
    turns = converse(
        seed=1, frame_id="a", width=width, height=height, objects=[made("car", (x, y, w, h))]
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
    with pytest.raises(ConfigError, match="norm1000"):
        talk(1, [], "norm1001")
    with pytest.raises(ValueError, match="leaves the image"):
        talk(1, [made("car", (WIDTH - 1, 0, 2, 1))])
    with pytest.raises(ValueError, match="not visible"):
        made("car", (0, 0, 0, 0))
