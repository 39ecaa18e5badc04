"""The text of one frame: what a trainer reads beside the image.

Trade-off: the text is a pure function of seed, frame id and visible objects, chosen by a keyed hash
slot by slot, so that any worker writes the same bytes in any order; variety comes from the tables
of `engine.wording`. The answers to "segment" name every visible object once with its box (up to
fifty; beyond that the largest, and the text says so), and there is always such a turn.

What text may hold follows from the trainers' loaders: `<image>` once, at the start; strict turns;
no string that a loader takes for a turn border or a picture, whatever the labels are. Boxes are by
default 0 to 1000 of the image, since that is right under any resize a trainer does.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from engine.english import Noun, article, joined, noun
from engine.errors import ConfigError
from engine.turn_plan import Group, Kind, Step, plan_turns
from engine.wording import ANSWERS, BOX_HINTS, QUESTIONS, WHERE

__all__ = ["VisibleObject", "box_text", "clean_label", "converse", "forbidden_in", "messages"]

_TOKEN = "<image>\n"
_LABEL_CHARS = 60
_FORBIDDEN = re.compile(
    r"<image>|<video>|<audio>|</s>|<\|im_end\|>|<bbox>|<ref-object>|\[/INST\]|USER:|ASSISTANT:"
    r"| ### |^\s*assistant",
    re.IGNORECASE | re.MULTILINE,
)
_PLACEHOLDER = re.compile(r"object ?\d*", re.IGNORECASE)
_UNSAFE = str.maketrans('[]{}_-"“”„', "()()  ''''", "<>「」")


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
class _Scene:
    """A frame with its words chosen; `nouns` go with `groups`, `names` and `boxes` with objects."""

    pick: Callable[[str, int], int]
    adjective: str
    box_style: str
    groups: tuple[Group, ...]
    nouns: tuple[Noun, ...]
    names: tuple[str, ...]
    boxes: tuple[str, ...]

    def choose(self, slot: str, options: Sequence[str]) -> str:
        return options[self.pick(slot, len(options))]

    def objects(self, count: int) -> str:
        return f"{count} {self.adjective} object{'' if count == 1 else 's'}"

    def counted(self, group: int) -> str:
        return self.nouns[group].counted(len(self.groups[group].members))


def forbidden_in(text: str) -> list[str]:
    """Find what a trainer's loader would take for a picture, a role or a turn border.

    Args:
        text: a label or one turn's text; of a first question, what follows its `<image>` line.

    Returns:
        The strings found, in order; matched without regard to case, also in the text's
        compatibility form (NFKC), since some tokenizers normalise. Empty if the text is safe.
    """
    found = _FORBIDDEN.findall(text)
    return found or _FORBIDDEN.findall(unicodedata.normalize("NFKC", text))


def converse(
    *,
    seed: int,
    frame_id: str,
    width: int,
    height: int,
    objects: Sequence[VisibleObject],
    box_style: str = "norm1000",
) -> list[dict[str, str]]:
    """Write the conversation about one frame.

    Args:
        seed: of the run; another seed chooses other words.
        frame_id: unique name of the frame.
        width: of the image, pixels.
        height: of the image, pixels.
        objects: the objects visible in the frame, in the order of the row's masks; hidden ones must
            not be given. Empty if all are hidden: the text then claims nothing of the picture.
        box_style: boxes inside the text. "norm1000": `[x1, y1, x2, y2]`, integers 0 to 1000 of the
            image's width and height, rounded half up, x2 and y2 exclusive; at least 1 wide and
            high (of two edges that round to the same, the worse rounded is moved out by 1).
            "xyxy": the same in pixels, unrounded. "xywh": `[x, y, width, height]` in pixels.

    Returns:
        One to five pairs of turns, `{"from": "human", "value": ...}` then `{"from": "gpt", ...}`;
        the first begins with `<image>` and a line break, which stands nowhere else. At most ten
        objects an answer, in the given order.

    Raises:
        ConfigError: an unknown `box_style`.
        ValueError: a box that leaves the image.
    """
    if box_style not in BOX_HINTS:
        known = ", ".join(sorted(BOX_HINTS))
        raise ConfigError("box_style", "unknown", got=box_style, expected=f"one of {known}")

    boxes = tuple(box_text(each.box, width, height, box_style) for each in objects)

    def pick(slot: str, count: int) -> int:
        key = f"{seed}|{slot}|{frame_id}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") % count

    scene = _scene(objects, boxes, box_style, pick)
    if objects:
        steps = plan_turns(scene.groups, [each.area for each in objects], pick)
        pairs = [(_ask(scene, turn, it), _reply(scene, turn, it)) for turn, it in enumerate(steps)]
    else:
        pairs = [_nothing(scene)]
    turns = []
    for turn, (question, answer) in enumerate(pairs):
        turns.append({"from": "human", "value": question if turn else _TOKEN + question})
        turns.append({"from": "gpt", "value": answer})
    return turns


def messages(
    turns: Sequence[Mapping[str, str]],
) -> list[dict[str, str | list[dict[str, str | None]]]]:
    """Turn a conversation into role/content blocks, as TRL, axolotl and unsloth read them.

    Args:
        turns: what `converse` returned.

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


_ROLES = MappingProxyType({"human": "user", "gpt": "assistant"})


@lru_cache(maxsize=4096)
def clean_label(label: str) -> str:
    """Give the label as text: one line, no controls, nothing forbidden; empty if nobody named it.

    Brackets become round, since square ones mark boxes. Repeated until stable, because what is
    taken out can bring together what is forbidden (`<im<x>age>`).
    """
    text, before = unicodedata.normalize("NFC", label), None
    while text != before:
        before = text
        if forbidden_in(text):
            text = unicodedata.normalize("NFKC", text)
        text = text.translate(_UNSAFE)
        text = "".join(" " if unicodedata.category(c) == "Cc" else c for c in text)
        text = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cs", "Co"))
        text = re.sub(r"(user|assistant)\s*:", r"\1", text, flags=re.IGNORECASE)
        text = re.sub("#{2,}", "#", text)
        text = " ".join(text.split())[:_LABEL_CHARS].strip()
    says = any(unicodedata.category(c)[0] in "LN" or unicodedata.category(c) == "So" for c in text)
    return text if says and not _PLACEHOLDER.fullmatch(text) else ""


def box_text(box: tuple[int, int, int, int], width: int, height: int, style: str) -> str:
    """Write a box as texts do; arguments and styles are those of `converse`.

    Raises:
        ValueError: the box leaves the image.
    """
    x, y, w, h = box
    if x + w > width or y + h > height:
        raise ValueError(f"box {box} leaves the image of {width} x {height}")
    if style == "xywh":
        return f"[{x}, {y}, {w}, {h}]"
    if style == "norm1000":
        (x, right), (y, bottom) = _thousandths(x, x + w, width), _thousandths(y, y + h, height)
    else:
        right, bottom = x + w, y + h
    return f"[{x}, {y}, {right}, {bottom}]"


def _thousandths(start: int, stop: int, size: int) -> tuple[int, int]:
    low, high = ((2000 * edge + size) // (2 * size) for edge in (start, stop))
    if low == high:  # then the box lies within one unit, below or above the rounded edge
        return (low - 1, low) if 1000 * start < low * size else (low, low + 1)
    return low, high


def _scene(
    objects: Sequence[VisibleObject],
    boxes: tuple[str, ...],
    box_style: str,
    pick: Callable[[str, int], int],
) -> _Scene:
    """Group the objects by what their labels read as, and choose the frame's words."""
    labels = [clean_label(each.label) for each in objects]
    members: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        members.setdefault(label, []).append(index)
    adjectives = ("annotated", "tracked", "marked", "labelled")
    # "labelled" would be untrue of an object that nobody named.
    adjective = adjectives[pick("adjective", 3 if "" in members else 4)]
    links = ("object labelled", "instance of", "object with the label")
    nouns = _nouns([label for label in members if label], links[pick("link", 3)])
    one = f"{'other ' if nouns else ''}{adjective} object"
    nouns[""] = Noun(
        name=f"{adjective} object", one=one, many=one + "s", bare_one=one, bare_many=one + "s"
    )
    return _Scene(
        pick=pick,
        adjective=adjective,
        box_style=box_style,
        groups=tuple(Group(members=tuple(at), named=bool(x)) for x, at in members.items()),
        nouns=tuple(nouns[label] for label in members),
        names=tuple(nouns[label].name for label in labels),
        boxes=boxes,
    )


def _nouns(labels: Sequence[str], link: str) -> dict[str, Noun]:
    """Choose each label's noun; quotes where bare words would mislead.

    They would if a label could be read as a role ("user:"), or if two labels of one frame read the
    same in either number or but for capitals (car, cars, Car).
    """
    nouns = {x: noun(x, link=link, quote=bool(forbidden_in(x + ":"))) for x in labels}
    spoken = Counter(
        form for word in nouns.values() for form in {word.bare_one.lower(), word.bare_many.lower()}
    )
    for label, word in nouns.items():
        if max(spoken[word.bare_one.lower()], spoken[word.bare_many.lower()]) > 1:
            nouns[label] = noun(label, link=link, quote=True)
    return nouns


def _nothing(scene: _Scene) -> tuple[str, str]:
    """Question and answer where no object is visible; the question is one asked elsewhere too."""
    kind: Kind = "count all" if scene.pick("nothing", 3) == 0 else "identify and segment"
    step = Step(kind=kind, groups=(), size=0, shown=(), first=1, listed=0)
    answers = ANSWERS["count nothing" if kind == "count all" else "nothing"]
    answer = scene.choose("0 answer", answers).format(adjective=scene.adjective)
    return _ask(scene, 0, step), answer


def _ask(scene: _Scene, turn: int, step: Step) -> str:
    """The question of one turn."""
    question = scene.choose(f"{turn} question", QUESTIONS[step.kind])
    number = len(scene.groups[step.groups[0]].members) if step.groups else 0
    word = scene.nouns[step.groups[0]] if step.groups else None
    text = question.format(
        target=_target(scene, turn, step),
        where=scene.choose(f"{turn} where", WHERE),
        adjective=scene.adjective,
        many=word.many if word else "",
        is_are=word.verb(number) if word else "",
    )
    if turn or step.kind in ("count", "count all"):
        return text
    return text + scene.choose("hint", ("", "", "", *BOX_HINTS[scene.box_style]))


def _target(scene: _Scene, turn: int, step: Step) -> str:
    """What a question asks for: "the car", "all annotated objects", "cars and people"."""
    adjective = scene.adjective
    numbered = [(scene.nouns[at], len(scene.groups[at].members)) for at in step.groups]
    the = joined([f"the {word.bare(count)}" for word, count in numbered])
    several = joined([word.bare_many for word, _ in numbered])
    match step.kind:
        case "identify and segment" | "identify":
            forms = [f"all {adjective} objects", f"every {adjective} object"]
            forms += [f"the {adjective} objects", "all objects"]
        case "rest":
            forms = [f"the remaining {adjective} objects", f"all the other {adjective} objects"]
            forms += [f"the rest of the {adjective} objects"]
        case "locate all":
            forms = [f"the {adjective} objects"]
        case "locate":
            forms = [the]
        case _:
            word, count = numbered[0] if len(numbered) == 1 else (None, 0)
            forms = [the, the, several, f"all {several}"]
            forms += [f"every {word.one}", f"each {word.one}"] if word and count > 1 else []
    return scene.choose(f"{turn} target", forms)


def _reply(scene: _Scene, turn: int, step: Step) -> str:
    """The answer of one turn: labels, count and boxes; numbers only for a count."""
    single = step.groups[0] if len(step.groups) == 1 else None
    total = scene.objects(step.size) if single is None else scene.counted(single)
    last = step.first + len(step.shown) - 1
    slots = {
        "total": total,
        "counted": total,
        "limit": str(step.listed),
        "numbers": f"numbers {step.first} to {last}" if last > step.first else f"number {last}",
        "is_are": "is" if step.size == 1 else "are",
        "listing": _listing(scene, turn, step.shown),
        "boxes": joined([scene.boxes[at] for at in step.shown]),
    }
    if single is not None:
        word = scene.nouns[single]
        slots |= {"bare": word.bare(step.size), "verb": word.verb(step.size)}
        slots["a"] = f"{article(word.one)} {word.one}"
    elif len(step.groups) <= len(step.shown):
        slots["summary"] = joined([scene.counted(at) for at in step.groups])
    if step.listed < step.size and step.first > 1:
        slots["total"] = f"the {step.listed} largest of {total}"
    return scene.choose(f"{turn} answer", _answers(step, single is not None)).format(**slots)


def _answers(step: Step, single: bool) -> Sequence[str]:
    """The table of answers that suits a turn."""
    if step.kind.startswith("count"):
        # A summary of more classes than an answer lists objects would be no summary.
        several = "count all" if len(step.groups) <= len(step.shown) else "count many"
        return ANSWERS["count" if single else several]
    if step.first > 1:
        return ANSWERS["next part"]
    if step.listed > len(step.shown):
        return ANSWERS["first part" if step.listed == step.size else "first part of largest"]
    if step.kind in ("identify", "locate", "locate all"):
        kind = "locate" if step.kind.startswith("locate") else "identify"
        return ANSWERS[kind if single else "identify all"]
    alone = ANSWERS["segment"] + (ANSWERS["segment one"] if step.size == 1 else ())
    return alone if single else ANSWERS["segment all"]


def _listing(scene: _Scene, turn: int, shown: Sequence[int]) -> str:
    """Name and box of each object, in the given order: in a line, or one a line."""
    items = [f"{scene.names[at]} {scene.boxes[at]}" for at in shown]
    between = scene.choose(f"{turn} listing", (", ", "; ", "\n- "))
    return "\n- " + between.join(items) if "\n" in between else f" {between.join(items)}."
