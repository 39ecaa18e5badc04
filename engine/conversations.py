"""The text of one frame: what a trainer reads beside the image.

Trade-off: the text is a pure function of the run's rules, frame id and objects, chosen by a keyed
hash slot by slot, so that any worker writes the same bytes in any order; variety comes from the
tables of `engine.wording` or of the user. The answers to "segment" name every visible object once
with its box (up to fifty; beyond that the largest, and the text says so), and there is always such
a turn.

What text may hold follows from the trainers' loaders: `<image>` once, at the start; strict turns;
no string that a loader takes for a turn border or a picture, whatever the labels are. Boxes are by
default 0 to 1000 of the image, since that is right under any resize a trainer does.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from types import MappingProxyType

from engine.box_text import Box, BoxStyle, box_text
from engine.class_words import class_nouns
from engine.english import Inflection, Noun
from engine.existence import Odds, deniable
from engine.label_text import clean_label
from engine.phrases import Absent, Scene, Turn, nothing, turn_of
from engine.templates import Templates
from engine.turn_plan import Group, Polar, plan_turns
from engine.wording import BOX_HINTS

__all__ = ["TextRules", "VisibleObject", "compose", "dialogue", "messages"]

_TOKEN = "<image>\n"
_ROLES = MappingProxyType({"human": "user", "gpt": "assistant"})
_MOST_POLAR = 2
_Dice = Callable[[str, int], int]


@dataclass(frozen=True, kw_only=True)
class VisibleObject:
    """One object that can be seen in the frame.

    Args:
        label: as exported, any text; empty or `object_<id>` means that nobody named it.
        box: x, y, width, height in image pixels; x and y of the first pixel, width and height >= 1.
        area: pixels of its mask, >= 1.

    Raises:
        ValueError: the object has no pixel, so it is not visible and no text may name it.
    """

    label: str
    box: tuple[int, int, int, int]
    area: int

    def __post_init__(self) -> None:
        if self.area < 1 or min(self.box[:2]) < 0 or min(self.box[2:]) < 1:
            raise ValueError(f"not visible: area {self.area}, box {self.box}")


@dataclass(frozen=True, kw_only=True)
class TextRules:
    """What holds for the texts of a whole run.

    Args:
        seed: another one chooses other words.
        boxes: how boxes are written.
        templates: the sentences.
        words: the user's plurals and articles, by name.
        exhaustive: labels of which every instance is annotated.
        odds: how often it is asked whether a class is there, by cleaned label; a class that is not
            in it is never asked about.
    """

    seed: int = 42
    boxes: BoxStyle = field(default_factory=BoxStyle)
    templates: Templates = field(default_factory=Templates)
    words: Mapping[str, Inflection] = field(default_factory=dict)
    exhaustive: tuple[str, ...] = ()
    odds: Mapping[str, Odds] = field(default_factory=dict)


def _dice(seed: int, frame_id: str) -> _Dice:
    """Give numbers that depend on seed, frame and what they are for, and on nothing else."""
    frame = frame_id.encode("utf-8", "surrogatepass")

    def pick(slot: str, count: int) -> int:
        key = b"%d|%b|%b" % (seed, slot.encode("utf-8", "surrogatepass"), frame)
        return int.from_bytes(blake2b(key, digest_size=8).digest(), "big") % count

    return pick


def compose(
    rules: TextRules,
    *,
    frame_id: str,
    width: int,
    height: int,
    objects: Sequence[VisibleObject],
    hidden: Sequence[str] = (),
) -> list[Turn]:
    """Write the turns about one frame.

    Args:
        rules: of the run.
        frame_id: unique name of the frame.
        width: of the image, pixels.
        height: of the image, pixels.
        objects: the objects visible in the frame, in the order of the row's masks. Empty if all are
            hidden: the text then claims nothing of the picture, and names no class.
        hidden: labels of the objects that are declared hidden in the frame; they are never
            mentioned but to say that they are not visible.

    Returns:
        One to five turns; at most ten objects an answer, in the given order.

    Raises:
        ValueError: a box that leaves the image.
    """
    pick = _dice(rules.seed, frame_id)
    boxes = tuple(box_text(each.box, width, height, rules.boxes) for each in objects)
    labels = [clean_label(each.label) for each in objects]
    asked = _asked(rules, labels, hidden, pick) if objects else []
    missing = [label for label in asked if label not in labels]
    counts = Counter(clean_label(label) for label in hidden)
    scene = _scene(rules, labels, boxes, {label: counts[label] or 1 for label in missing}, pick)
    polar = [
        Polar(
            group=scene.labels.index(label) if label in scene.labels else None,
            absent=missing.index(label) if label in missing else None,
            mixed=place == 0 and pick("mixed", 5) < 2,
        )
        for place, label in enumerate(asked)
    ]
    if not objects:
        return [nothing(scene)]
    steps = plan_turns(
        scene.groups, [each.area for each in objects], pick, polar=polar,
        single=partial(_alone_in_their_boxes, [each.box for each in objects], boxes),
    )  # fmt: skip
    return [turn_of(scene, turn, step) for turn, step in enumerate(steps)]


def dialogue(turns: Sequence[Turn]) -> list[dict[str, str]]:
    """Give turns as LLaVA and most others store them.

    Args:
        turns: what `compose` returned.

    Returns:
        `{"from": "human", "value": ...}` then `{"from": "gpt", ...}` for each turn; the first value
        begins with `<image>` and a line break, which stands nowhere else.
    """
    values = []
    for place, turn in enumerate(turns):
        values.append({"from": "human", "value": ("" if place else _TOKEN) + turn.question})
        values.append({"from": "gpt", "value": turn.answer})
    return values


def messages(
    turns: Sequence[Mapping[str, str]],
) -> list[dict[str, str | list[dict[str, str | None]]]]:
    """Turn a conversation into role/content blocks, as TRL, axolotl and unsloth read them.

    Args:
        turns: what `dialogue` returned.

    Returns:
        One message a turn, roles "user" and "assistant"; content is a list of `{"type", "text"}`
        blocks, the image's with text None in the place of `<image>`.
    """
    blocks: list[dict[str, str | list[dict[str, str | None]]]] = []
    for turn in turns:
        text = turn["value"].removeprefix(_TOKEN)
        content: list[dict[str, str | None]] = [{"type": "text", "text": text}]
        if text != turn["value"]:
            content.insert(0, {"type": "image", "text": None})
        blocks.append({"role": _ROLES[turn["from"]], "content": content})
    return blocks


def _alone_in_their_boxes(boxes: Sequence[Box], texts: Sequence[str]) -> list[int]:
    """Find the objects whose box no other is written as, and that have no other's middle in it."""
    same = Counter(texts)
    middles = [(2 * x + w, 2 * y + h) for x, y, w, h in boxes]
    return [
        at
        for at, (x, y, w, h) in enumerate(boxes)
        if same[texts[at]] == 1
        and not any(
            2 * x <= across <= 2 * (x + w) and 2 * y <= down <= 2 * (y + h)
            for other, (across, down) in enumerate(middles)
            if other != at
        )
    ]


def _asked(
    rules: TextRules, labels: Sequence[str], hidden: Sequence[str], pick: _Dice
) -> list[str]:
    """Choose the classes whose existence is asked about: each by its own odds, at most two."""
    if not rules.odds:
        return []
    chances = {label: rules.odds[label].visible for label in set(labels) if label in rules.odds} | {
        label: rules.odds[label].absent
        for label in deniable(hidden, labels, rules.exhaustive)
        if label in rules.odds
    }
    hit = [label for label in sorted(chances) if pick(f"exists {label}", 2**32) < chances[label]]
    hit.sort(key=lambda label: pick(f"exists first {label}", 2**32))
    return hit[:_MOST_POLAR]


def _scene(
    rules: TextRules,
    labels: Sequence[str],
    boxes: tuple[str, ...],
    missing: Mapping[str, int],
    pick: _Dice,
) -> Scene:
    """Group the objects by what their labels read as, and choose the frame's words."""
    members: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        members.setdefault(label, []).append(index)
    adjectives = ("annotated", "tracked", "marked", "labelled")
    # "labelled" would be untrue of an object that nobody named.
    adjective = adjectives[pick("adjective", 3 if "" in members else 4)]
    links = ("object labelled", "instance of", "object with the label")
    spoken = [label for label in members if label]
    nouns = class_nouns([*spoken, *missing], link=links[pick("link", 3)], words=rules.words)
    one = f"{'other ' if spoken else ''}{adjective} object"
    nouns[""] = Noun(
        name=f"{adjective} object", one=one, many=one + "s", bare_one=one, bare_many=one + "s"
    )
    exhaustive = {clean_label(label) for label in rules.exhaustive}
    order = list(members)
    return Scene(
        pick=pick,
        templates=rules.templates,
        adjective=adjective,
        tracked=("annotated", "tracked")[pick("tracked", 2)],
        hints=BOX_HINTS[rules.boxes.name],
        groups=tuple(Group(members=tuple(at), named=bool(x)) for x, at in members.items()),
        labels=tuple(order),
        nouns=tuple(nouns[label] for label in order),
        open=tuple(label in exhaustive for label in order),
        group_of=tuple(order.index(label) for label in labels),
        boxes=boxes,
        absent=tuple(
            Absent(noun=nouns[label], count=count, open=label in exhaustive)
            for label, count in missing.items()
        ),
        absent_labels=tuple(missing),
    )
