"""The texts of a corpus: true of its frames in every notation, varied, and without giveaways."""

import json
import math
import random
from collections import Counter

import pyarrow as pa
import pytest

from engine.box_text import BoxStyle
from engine.conversations import TextRules, VisibleObject, compose, dialogue
from engine.existence import existence_odds
from engine.text_report import document, tally
from tests.text_reader import PLURALS, Frame, masked, pairs_of, problems

FRAMES = 2000
STYLES = [
    BoxStyle(), BoxStyle(name="xywh"), BoxStyle(name="xyxy"), BoxStyle(name="norm1"),
    BoxStyle(name="norm1", pad_square=True), BoxStyle(name="loc1024"),
    BoxStyle(name="qwen25", max_pixels=10**6), BoxStyle(name="qwen25", max_pixels=100 * 28 * 28),
]  # fmt: skip


def made_frame(number: int, exhaustive: tuple[str, ...] = ()) -> Frame:
    """One to six objects of up to four classes, a fifth of them hidden; no two boxes alike."""
    dice = random.Random(f"text {number}")
    tracked = dice.sample(sorted(PLURALS), dice.randint(1, 4))
    labels, boxes, hidden = [], [], []
    for place in range(dice.randint(1, 6)):
        box = (40 * place + dice.randrange(9), dice.randrange(200), 20, dice.randrange(9, 150))
        label = dice.choice(tracked)
        if dice.random() < 0.2:
            hidden.append(label)
        else:
            labels.append(label)
            boxes.append(box)
    return Frame(labels=labels, boxes=boxes, hidden=hidden, exhaustive=exhaustive)


def rules_for(frames: list[Frame], boxes: BoxStyle, seed: int = 42) -> TextRules:
    table = pa.table(
        {
            "labels": pa.array([frame.labels for frame in frames], pa.list_(pa.string())),
            "hidden_labels": pa.array([frame.hidden for frame in frames], pa.list_(pa.string())),
        }
    )
    exhaustive = tuple(frames[0].exhaustive)
    odds = existence_odds(table, exhaustive)
    return TextRules(seed=seed, boxes=boxes, exhaustive=exhaustive, odds=odds)


def composed(frames: list[Frame], rules: TextRules):
    return [
        compose(
            rules, frame_id=f"clip-a1b2c3/{number:06d}", width=frame.width, height=frame.height,
            objects=[
                VisibleObject(label=label, box=box, area=box[2] * box[3])
                for label, box in zip(frame.labels, frame.boxes, strict=True)
            ],
            hidden=frame.hidden,
        )
        for number, frame in enumerate(frames)
    ]  # fmt: skip


@pytest.fixture(
    scope="module", params=[(), ("person", "car", "bus")], ids=["tracked", "exhaustive"]
)
def corpus(request):
    frames = [made_frame(number, request.param) for number in range(FRAMES)]
    rows = composed(frames, rules_for(frames, BoxStyle()))
    return frames, rows, [dialogue(turns) for turns in rows]


def said(talks):
    return [pair for turns in talks for pair in pairs_of(turns)]


def bits(counts) -> float:
    total = sum(counts)
    return -sum(n / total * math.log2(n / total) for n in counts if n)


def information(pairs) -> float:
    """Mutual information of the two sides, bits."""
    left, right = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    return bits(left.values()) + bits(right.values()) - bits(Counter(pairs).values())


def test_all_that_is_said_is_true(corpus):
    frames, _, talks = corpus
    for frame, turns in zip(frames, talks, strict=True):
        assert problems(turns, frame) == []


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_boxes_are_the_rows_in_every_notation(style):
    frames = [
        Frame(
            labels=f.labels, boxes=f.boxes, hidden=f.hidden, style=style.name,
            max_pixels=style.max_pixels, pad_square=style.pad_square,
        )
        for f in map(made_frame, range(300))
    ]  # fmt: skip
    rows = composed(frames, rules_for(frames, style))
    for frame, turns in zip(frames, rows, strict=True):
        assert problems(dialogue(turns), frame) == []
    wrong = [
        Frame(
            labels=f.labels,
            boxes=f.boxes,
            hidden=f.hidden,
            style="xywh" if style.name != "xywh" else "xyxy",
        )
        for f in frames
    ]
    caught = [bool(problems(dialogue(t), f)) for t, f in zip(rows, wrong, strict=True) if f.boxes]
    assert all(caught)


def test_labels_shuffled_between_samples_are_found(corpus):
    frames, _, talks = corpus
    pool = [label for frame in frames for label in frame.labels]
    random.Random(3).shuffle(pool)
    changed = 0
    for frame, turns in zip(frames, talks, strict=True):
        labels = [pool.pop() for _ in frame.labels]
        other = Frame(
            labels=labels, boxes=frame.boxes, hidden=frame.hidden, exhaustive=frame.exhaustive
        )
        if labels != frame.labels:
            changed += 1
            assert problems(turns, other)
    assert changed > FRAMES / 2


def test_hidden_classes_that_turn_up_are_found(corpus):
    """A denial is only true of the frame it was written for."""
    frames, rows, talks = corpus
    tried = 0
    for frame, turns, talk in zip(frames, rows, talks, strict=True):
        if any(turn.yes is False for turn in turns):
            tried += 1
            shown = Frame(labels=frame.labels, boxes=frame.boxes, hidden=())
            assert problems(talk, shown)
    assert tried > 100


def test_text_is_varied(corpus):
    _, _, talks = corpus
    pairs = said(talks)
    for side, most in ((0, 0.08), (1, 0.10)):
        counts = Counter(masked(pair[side]) for pair in pairs)
        assert len(counts) >= 40
        assert max(counts.values()) / counts.total() < most
        assert bits(counts.values()) / math.log2(len(counts)) >= 0.85
    first = {masked(question).split()[0].strip(",.:?!") for question, _ in pairs}
    assert len(first) >= 12


def test_questions_do_not_tell_yes_from_no(corpus):
    _, rows, talks = corpus
    polar = [(masked(q), a.split(",")[0].split(".")[0]) for q, a in said(talks)]
    polar = [(q, a) for q, a in polar if a in ("Yes", "No")]
    answers = Counter(a for _, a in polar)
    assert min(answers.values()) > 150
    assert 0.4 < answers["Yes"] / answers.total() < 0.6
    assert information(polar) < 0.15
    asked = [t for turns in rows for t in turns if t.kind.startswith("exists")]
    by_class = [(turn.classes[-1], turn.yes) for turn in asked]
    assert information(by_class) < 0.05  # nor does the class


def test_a_class_that_is_not_there_is_named_first_as_often_as_last(corpus):
    _, rows, _ = corpus
    last = []
    for turn in (turn for turns in rows for turn in turns):
        if turn.kind == "mixed" and turn.yes is False:
            there, absent = (turn.question.index(PLURALS[label]) for label in turn.classes)
            last.append(absent > there)
    assert len(last) > 80
    assert 0.35 < sum(last) / len(last) < 0.65


def test_yes_is_answered_with_the_boxes(corpus):
    frames, rows, _ = corpus
    for frame, turns in zip(frames, rows, strict=True):
        for turn in turns:
            if turn.kind.startswith("exists") and turn.yes:
                assert turn.answer.count("[") == frame.labels.count(turn.classes[0])


def test_there_are_ten_families_and_more(corpus):
    _, rows, _ = corpus
    kinds = Counter(turn.kind for turns in rows for turn in turns)
    assert len(kinds) >= 12
    assert min(kinds.values()) >= 50
    assert all(1 <= len(turns) <= 5 for turns in rows)


def test_the_report_says_what_the_reader_finds(corpus):
    _, rows, talks = corpus
    found = document(tally(rows))
    pairs = said(talks)
    assert (found["rows"], found["turns"]) == (FRAMES, len(pairs))
    for side, name in ((0, "questions"), (1, "answers")):
        counts = Counter(masked(pair[side]) for pair in pairs)
        assert found[name]["distinct"] == len(counts)
        assert found[name]["top"][0]["count"] == max(counts.values())
        entropy = bits(counts.values()) / math.log2(len(counts))
        assert found[name]["entropy_normalised"] == pytest.approx(entropy, abs=1e-4)
    polar = [(masked(t.question), t.yes) for turns in rows for t in turns if t.yes is not None]
    assert found["yes_no"]["mutual_information_bits"] == pytest.approx(information(polar), abs=1e-4)
    assert found["yes_no"]["by_chance_bits"] < 0.1
    assert set(found["families_by_class"]) == {"", *PLURALS}
    assert json.loads(json.dumps(found)) == found


def test_a_corpus_without_denials_asks_no_yes_or_no():
    frames = [Frame(labels=f.labels, boxes=f.boxes) for f in map(made_frame, range(200))]
    rows = composed(frames, rules_for(frames, BoxStyle()))
    assert all(turn.yes is None for turns in rows for turn in turns)
