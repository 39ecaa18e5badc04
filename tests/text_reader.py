"""A reader of the texts, for the tests: it knows a frame and its boxes, not the templates.

It looks for boxes, labels, counts and denials in what is said, and lists everything that is not
true of the frame. Boxes are computed here anew, with fractions.
"""

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

Box = tuple[int, int, int, int]

PLURALS = {
    "person": "people", "car": "cars", "bus": "buses", "knife": "knives", "sheep": "sheep",
    "child": "children", "traffic light": "traffic lights", "umbrella": "umbrellas",
}  # fmt: skip
OWNERS = {form: one for one, many in PLURALS.items() for form in (one, many)}
CLASS = "|".join(sorted(OWNERS, key=len, reverse=True))
PLAIN_BOX = r"\[\d+(?:\.\d+)?(?:, \d+(?:\.\d+)?){3}\]"
BOX = rf"(?:{PLAIN_BOX}|(?:<loc\d{{4}}>){{4}})"
GENERIC = r"(\d+) (?:other )?(?:annotated|tracked|marked|labelled) object(s?)\b"
TRACKED = r"(?:tracked|annotated) "
DENIED = [
    rf"\bno ({TRACKED})?({CLASS})\b",
    rf"\bcannot see an? ({TRACKED})?({CLASS})\b",
    rf"\b[Tt]he ({TRACKED})?({CLASS}) (?:is|are) not visible",
    rf"\b[Tt]he ({TRACKED})?({CLASS}) cannot be seen",
]
BORDERS = ["<image>", "<video>", "<audio>", "</s>", "<|im_end|>", "user:", "assistant:"]
BORDERS += ["[/inst]", "<bbox>", "<ref-object>"]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What is true of a frame: visible objects in order, hidden labels, and the notation."""

    labels: Sequence[str]
    boxes: Sequence[Box]
    hidden: Sequence[str] = ()
    exhaustive: Sequence[str] = ()
    width: int = 640
    height: int = 360
    style: str = "norm1000"
    max_pixels: int | None = None
    pad_square: bool = False

    def texts(self) -> list[str]:
        """Every object's box as it must be quoted."""
        return [expected_box(box, self) for box in self.boxes]


def expected_box(box: Box, frame: Frame) -> str:
    x, y, w, h = box
    if frame.style == "xywh":
        return f"[{x}, {y}, {w}, {h}]"
    across, down, left, top = frame.width, frame.height, 0, 0
    if frame.pad_square:
        left = max(0, math.floor((down - across) / 2))
        top = max(0, math.floor((across - down) / 2))
        across = down = max(across, down)
    shares = [
        Fraction(edge + pad, size)
        for edge, pad, size in (
            (x, left, across), (y, top, down), (x + w, left, across), (y + h, top, down),
        )
    ]  # fmt: skip
    if frame.style == "loc1024":
        one, two, three, four = (min(1023, math.floor(s * 1024 + Fraction(1, 2))) for s in shares)
        return f"<loc{two:04d}><loc{one:04d}><loc{four:04d}><loc{three:04d}>"
    if frame.style in ("xyxy", "qwen25"):
        sides = (frame.width, frame.height)
        if frame.style == "qwen25":
            sides = qwen_size(frame.width, frame.height, frame.max_pixels)
        edges = [math.floor(s * sides[i % 2] + Fraction(1, 2)) for i, s in enumerate(shares)]
    else:
        edges = [math.floor(s * 1000 + Fraction(1, 2)) for s in shares]
    if frame.style == "norm1":
        return f"[{', '.join(f'{edge // 1000}.{edge % 1000:03d}' for edge in edges)}]"
    return f"[{', '.join(map(str, edges))}]"


def qwen_size(width: int, height: int, most: int) -> tuple[int, int]:
    wide, high = round(width / 28) * 28, round(height / 28) * 28
    if wide * high <= most:
        return wide, high
    scale = math.sqrt(most / (width * height))
    return math.floor(width * scale / 28) * 28, math.floor(height * scale / 28) * 28


def pairs_of(turns: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    values = [turn["value"] for turn in turns]
    return list(zip(values[::2], values[1::2], strict=True))


def shape_problems(turns: Sequence[Mapping[str, str]]) -> list[str]:
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
        if re.search(r"object_\d", value.lower()):
            found.append(f"a placeholder as a word: {value!r}")
    return found


def problems(turns: Sequence[Mapping[str, str]], frame: Frame) -> list[str]:
    """Everything in a conversation that is not true of the frame (at most ten objects)."""
    found = shape_problems(turns)
    boxes = frame.texts()
    segmented: set[str] = set()
    for question, answer in pairs_of(turns):
        both = f"{question} -> {answer}"
        quoted = re.findall(BOX, answer)
        if any(box not in boxes for box in quoted + re.findall(BOX, question)):
            found.append(f"a box that is none of the row's: {both}")
            continue
        if quoted != [box for box in boxes if box in quoted]:
            found.append(f"order, or a box twice: {both}")
        found += [f"{what}: {both}" for what in _names(question, answer, frame)]
        found += [f"{what}: {both}" for what in _counts(answer, frame, len(quoted))]
        found += [f"{what}: {both}" for what in _existence(question, answer, frame)]
        if "segment" in question.lower():
            listed = re.findall(rf"(?:{CLASS}|\w+ object) (?={BOX})", answer)
            if len(listed) != len(quoted):
                found.append(f"a box without its label: {both}")
            counted = re.search(rf"\b\d+ (?:{CLASS}|\w+ object)|\b1 in all", answer)
            if counted and len(listed) == len(quoted):
                segmented.update(quoted)
    if segmented != set(boxes):
        found.append("an object that no question asks to segment")
    return found


def _names(question: str, answer: str, frame: Frame) -> list[str]:
    """Labels beside boxes, in JSON, for a quoted box, and before a list of boxes."""
    label_at = dict(zip(frame.texts(), frame.labels, strict=True))
    found = []
    for name, box in re.findall(rf"({CLASS}) ({BOX})", answer):
        if label_at[box] != name:
            found.append(f"{name} at another's box")
    if answer.startswith("[{"):
        keys = re.findall(r'"(\w+)"', question)
        entries = json.loads(answer)
        for entry, box in zip(entries, re.findall(BOX, answer), strict=True):
            if list(entry) != keys or entry[keys[0]] != label_at[box]:
                found.append("JSON with other keys or labels")
            if isinstance(entry[keys[1]], list) and json.loads(box) != entry[keys[1]]:
                found.append("JSON with another box")
        asked = {OWNERS[form] for form in re.findall(rf"\b({CLASS})\b", question)}
        wanted = [x for x in frame.labels if x in asked] if asked else list(frame.labels)
        if [entry[keys[0]] for entry in entries] != wanted:
            found.append("JSON that leaves something out")
        return found
    asked_at = re.findall(BOX, question)
    said = re.findall(rf"\b({CLASS})\b", answer)
    if asked_at and "segment" not in question.lower() and said != [label_at[asked_at[0]]]:
        found.append("another label for a box")
    listed = re.findall(BOX, answer)
    if listed and len(said) == 1 and not re.search(rf"{CLASS} {BOX}", answer):
        right = [box for box, label in label_at.items() if label == OWNERS[said[0]]]
        if listed != right:
            found.append("not all boxes of a class, or others")
    if re.search(r"[Cc]lass|kinds", question) and not asked_at:
        names = re.findall(rf"\b({CLASS})\b", answer)
        if names != list(dict.fromkeys(frame.labels)):
            found.append("other classes")
    return found


def _counts(answer: str, frame: Frame, quoted: int) -> list[str]:
    sizes, found = Counter(frame.labels), []
    for number, form in re.findall(rf"\b(\d+) ({CLASS})\b", answer):
        owner = OWNERS[form]
        if int(number) != sizes[owner] or form != (owner if number == "1" else PLURALS[owner]):
            found.append(f"count of {owner}")
    for number, plural in re.findall(GENERIC, answer):
        if int(number) != (quoted or len(frame.labels)) or (number == "1") == bool(plural):
            found.append("count of objects")
    for number in re.findall(r"\b(\d+) class", answer):
        if int(number) != len(sizes):
            found.append("count of classes")
    return found


def _existence(question: str, answer: str, frame: Frame) -> list[str]:
    """What is said to be there is there; what is denied is not, and may be denied."""
    visible, found = set(frame.labels), []
    rest, denied = answer, set()
    for pattern in DENIED:
        for tracked, form in re.findall(pattern, answer, flags=re.IGNORECASE):
            owner = OWNERS[form]
            denied.add(owner)
            if not tracked and owner not in frame.exhaustive:
                found.append(f"{owner} is denied outright, though not exhaustive")
        rest = re.sub(pattern, "", rest, flags=re.IGNORECASE)
    asked = {OWNERS[form] for form in re.findall(rf"\b({CLASS})\b", question)}
    if re.match("No[,.]", answer) and asked:
        denied |= asked
        if not asked <= {*frame.exhaustive} and not re.search(TRACKED, question):
            found.append("an outright question about a class that is not exhaustive")
    if answer.startswith("Yes") and not asked <= visible:
        found.append("yes to what is not there")
    if denied & visible or not denied <= {*frame.hidden, *frame.exhaustive}:
        found.append("a denial that is not safe")
    if not (asked - denied) <= visible:
        found.append("asked for what is not there, and not denied")
    if not {OWNERS[form] for form in re.findall(rf"\b({CLASS})\b", rest)} <= visible:
        found.append("something hidden is mentioned")
    return found


def masked(text: str) -> str:
    """The sentence without its labels, numbers and the length of its lists."""
    text = re.sub(BOX, "B", text.removeprefix("<image>\n"))
    text = re.sub(rf"\ban? ({CLASS})\b", "a L", text)
    text = re.sub(rf"\b({CLASS})\b", "L", text)
    text = re.sub(r"\d+", "N", text)
    for item in (r'\{"\w+": "L", "\w+": "?B"?\}', "L B", "N L", "the L", "L", "B"):
        text = re.sub(rf"({item})((, |; |\n- |,\n | and ){item})+", r"\1", text)
    return text
