"""From a planned step to its question and answer: which words go into which slot.

Trade-off: one place knows all slots and offers every one of them to every sentence; so a sentence
of the tables or of the user can be moved and changed without touching code. What a sentence does
not ask for is not worded: that would be most of it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from string import Formatter

from engine.english import Noun, article, joined
from engine.templates import Templates
from engine.turn_plan import Group, Step
from engine.wording import JSON_KEYS, WHERE

_Slot = str | Callable[[], str]

__all__ = ["Absent", "Scene", "Turn", "ask", "nothing", "reply", "turn_of"]


@dataclass(frozen=True, kw_only=True)
class Absent:
    """A class that a text may deny.

    Args:
        noun: how it is spoken of.
        count: instances declared hidden; 1 where none is.
        open: every instance of it is annotated, so that it may be denied outright.
    """

    noun: Noun
    count: int
    open: bool


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A question with its answer, and what they are about.

    Args:
        kind: of the question.
        question: text, without `<image>`.
        answer: text.
        classes: the cleaned labels asked about, "" for objects that nobody named.
        yes: the answer to a question about existence; None: it is none.
        words: all that the frame's classes are called in the text, for masking them.
    """

    kind: str
    question: str
    answer: str
    classes: tuple[str, ...]
    yes: bool | None
    words: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A frame with its words chosen.

    Args:
        pick: chooses a number in [0, n) for the name of a choice and n.
        templates: the sentences.
        adjective: what the frame's objects are called: annotated, tracked, marked or labelled.
        tracked: the same of objects that may be hidden: annotated or tracked.
        hints: what may be added about boxes.
        groups: the visible objects by class.
        labels: cleaned labels of the groups.
        nouns: of the groups.
        open: of the groups, whether every instance of the class is annotated.
        group_of: of each object, its group.
        boxes: of each object, as text.
        absent: classes that may be denied.
        absent_labels: their cleaned labels.
    """

    pick: Callable[[str, int], int]
    templates: Templates
    adjective: str
    tracked: str
    hints: tuple[str, ...]
    groups: tuple[Group, ...]
    labels: tuple[str, ...]
    nouns: tuple[Noun, ...]
    open: tuple[bool, ...]
    group_of: tuple[int, ...]
    boxes: tuple[str, ...]
    absent: tuple[Absent, ...] = ()
    absent_labels: tuple[str, ...] = ()

    def choose(self, slot: str, options: Sequence[str]) -> str:
        """Choose one of the options for the slot."""
        return options[self.pick(slot, len(options))]

    def counted(self, group: int) -> str:
        """Return "2 cars"."""
        return self.nouns[group].counted(len(self.groups[group].members))

    @cached_property
    def words(self) -> frozenset[str]:
        """Return all that the classes are called, quotes included."""
        nouns = [noun for noun, label in zip(self.nouns, self.labels, strict=True) if label]
        nouns += [each.noun for each in self.absent]
        return frozenset(
            form
            for noun in nouns
            for form in (noun.name, noun.one, noun.many, noun.bare_one, noun.bare_many)
        ) | frozenset(label for label in (*self.labels, *self.absent_labels) if label)


def turn_of(scene: Scene, turn: int, step: Step) -> Turn:
    """Put a step into words.

    Args:
        scene: the frame.
        turn: number of the turn, from 0.
        step: what is asked.
    """
    labels = [scene.labels[at] for at in step.groups]
    labels += [scene.absent_labels[step.absent]] if step.absent is not None else []
    return Turn(
        kind=_question_kind(scene, step),
        question=ask(scene, turn, step),
        answer=reply(scene, turn, step),
        classes=tuple(labels),
        yes=step.absent is None if step.kind in ("exists", "mixed") else None,
        words=scene.words,
    )


def nothing(scene: Scene) -> Turn:
    """Question and answer where no object is visible; the question is one asked elsewhere too."""
    kinds = ("count_all", "segment_all", "segment_all")
    kind = kinds[scene.pick("nothing", len(kinds))]
    step = Step(kind="segment_all", groups=(), size=0, shown=(), first=1, listed=0)
    if kind == "count_all":
        step = Step(kind="count_all", groups=(), size=0, shown=(), first=1, listed=0)
    answers = scene.templates.answers["count_nothing" if kind == "count_all" else "nothing"]
    return Turn(
        kind=kind,
        question=ask(scene, 0, step),
        answer=scene.choose("0 answer", answers).format(adjective=scene.adjective),
        classes=(),
        yes=None,
        words=scene.words,
    )


def _question_kind(scene: Scene, step: Step) -> str:
    if step.kind != "exists":
        return step.kind
    known = scene.open[step.groups[0]] if step.groups else scene.absent[step.absent or 0].open
    return "exists" if known else "exists_tracked"


def ask(scene: Scene, turn: int, step: Step) -> str:
    """Word the question of one turn."""
    kind = _question_kind(scene, step)
    question = scene.choose(f"{turn} question", scene.templates.questions[kind])
    slots: dict[str, _Slot] = {
        "target": partial(_target, scene, turn, step),
        "where": partial(scene.choose, f"{turn} where", WHERE),
        "adjective": scene.adjective,
        "keys": lambda: joined([f'"{key}"' for key in _keys(scene, turn)]),
        "box": scene.boxes[step.shown[0]] if step.shown else "",
    }
    if step.kind == "exists":
        noun = scene.nouns[step.groups[0]] if step.groups else scene.absent[step.absent or 0].noun
        slots |= _asked_for(scene, noun, tracked=kind == "exists_tracked")
    elif step.groups:
        noun, size = scene.nouns[step.groups[0]], len(scene.groups[step.groups[0]].members)
        slots |= {"many": noun.many, "is_are": noun.verb(size)}
        if len(step.groups) > 1:
            slots["is_are"] = "are"
    text = _filled(question, slots)
    plain = kind in ("count", "count_all", "classes", "exists", "exists_tracked", "box_to_label")
    if turn or plain or kind in scene.templates.own:
        return text
    return text + scene.choose("hint", ("", "", "", *scene.hints))


def _asked_for(scene: Scene, noun: Noun, *, tracked: bool) -> dict[str, str]:
    """Words for a class that may or may not be there; its number says nothing of either."""
    if not tracked:
        return {
            "a": noun.with_article, "one": noun.one, "many": noun.bare_many,
            "are": noun.verbs[1].capitalize(),
        }  # fmt: skip
    return {
        "a": f"{article(scene.tracked)} {scene.tracked} {noun.one}",
        "one": f"{scene.tracked} {noun.one}",
        "many": f"{scene.tracked} {noun.bare_many}",
        "are": noun.verbs[1].capitalize(),
    }


def _keys(scene: Scene, turn: int) -> tuple[str, str]:
    return JSON_KEYS[scene.pick(f"{turn} keys", len(JSON_KEYS))]


def _target(scene: Scene, turn: int, step: Step) -> str:
    """What a question asks for: "the car", "all annotated objects", "cars and people"."""
    adjective = scene.adjective
    numbered = [(scene.nouns[at], len(scene.groups[at].members)) for at in step.groups]
    the = joined([f"the {word.bare(count)}" for word, count in numbered])
    several = joined([word.bare_many for word, _ in numbered])
    match step.kind:
        case "segment_all" | "identify":
            forms = [f"all {adjective} objects", f"every {adjective} object"]
            forms += [f"the {adjective} objects", "all objects"]
        case "rest":
            forms = [f"the remaining {adjective} objects", f"all the other {adjective} objects"]
            forms += [f"the rest of the {adjective} objects"]
        case "locate_all":
            forms = [f"the {adjective} objects"]
        case "locate_json" if len(step.groups) == len(scene.groups):
            forms = [f"the {adjective} objects", f"all {adjective} objects"]
        case "locate" | "locate_json":
            forms = [the]
        case "mixed":
            forms = [_mixed_target(scene, turn, step)]
        case _:
            word, count = numbered[0] if len(numbered) == 1 else (None, 0)
            forms = [the, the, several, f"all {several}"]
            forms += [f"every {word.one}", f"each {word.one}"] if word and count > 1 else []
    return scene.choose(f"{turn} target", forms)


def _mixed_target(scene: Scene, turn: int, step: Step) -> str:
    """Return "cars and dogs", in an order and number that tell nothing of what is there."""
    nouns = [scene.nouns[at] for at in step.groups]
    nouns += [scene.absent[step.absent].noun] if step.absent is not None else []
    names = sorted(noun.bare_many for noun in nouns)
    if scene.pick(f"{turn} turned", 2):
        names.reverse()
    return joined(names)


def reply(scene: Scene, turn: int, step: Step) -> str:
    """Word the answer of one turn: labels, count and boxes; numbers only for a count."""
    kind = _answer_kind(scene, step)
    slots: dict[str, _Slot] = {}
    if step.absent is not None:
        slots |= _denial(scene, step)
    if step.groups:
        slots |= _listed(scene, turn, step, single=len(step.groups) == 1)
    answer = _filled(scene.choose(f"{turn} answer", _answers(scene, kind, step)), slots)
    if step.kind != "mixed" or step.absent is None:
        return answer
    known = scene.absent[step.absent].open
    table = scene.templates.answers["denied" if known else "denied_tracked"]
    denial = scene.choose(f"{turn} denial", table).format(**_denial(scene, step))
    last = scene.pick(f"{turn} denial last", 2) and "\n" not in answer
    return f"{answer} {denial}" if last else f"{denial} {answer}"


def _denial(scene: Scene, step: Step) -> dict[str, str]:
    """Words for the class that an answer denies."""
    absent = scene.absent[step.absent or 0]
    words = _asked_for(scene, absent.noun, tracked=not absent.open)
    bare = absent.noun.bare(absent.count)
    words["bare"] = bare if absent.open else f"{scene.tracked} {bare}"
    return words | {"verb": absent.noun.verb(absent.count)}


def _filled(sentence: str, slots: Mapping[str, _Slot]) -> str:
    """Word what a sentence asks for, and put it in."""
    given = {name: slots[name] for name in _names(sentence)}
    return sentence.format(**{k: v if isinstance(v, str) else v() for k, v in given.items()})


@lru_cache(maxsize=4096)
def _names(sentence: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in Formatter().parse(sentence) if name)


def _listed(scene: Scene, turn: int, step: Step, *, single: bool) -> dict[str, _Slot]:
    """Words for the objects that an answer is about."""
    total = scene.counted(step.groups[0]) if single else _objects(scene, step.size)
    last = step.first + len(step.shown) - 1
    slots: dict[str, _Slot] = {
        "total": total,
        "counted": total,
        "limit": str(step.listed),
        "numbers": f"numbers {step.first} to {last}" if last > step.first else f"number {last}",
        "is_are": "is" if step.size == 1 else "are",
        "listing": partial(_listing, scene, turn, step.shown),
        "boxes": lambda: joined([scene.boxes[at] for at in step.shown]),
        "json": partial(_json, scene, turn, step.shown),
        "names": lambda: joined([scene.nouns[at].name for at in step.groups]),
        "class_count": "1 class" if single else f"{len(step.groups)} classes",
        "summary": lambda: joined([scene.counted(at) for at in step.groups]),
    }
    word = scene.nouns[step.groups[0]]
    slots |= {"bare": word.bare(step.size), "verb": word.verb(step.size)}
    slots |= {"a": word.with_article, "one": word.one}
    if step.listed < step.size and step.first > 1:
        slots["total"] = f"the {step.listed} largest of {total}"
    return slots


def _objects(scene: Scene, count: int) -> str:
    return f"{count} {scene.adjective} object{'' if count == 1 else 's'}"


def _answer_kind(scene: Scene, step: Step) -> str:
    """The table of answers that suits a turn."""
    single = len(step.groups) == 1
    if step.kind == "exists":
        if step.absent is not None:
            return "exists_no" if scene.absent[step.absent].open else "exists_tracked_no"
        return "exists_yes" if step.shown else "exists_yes_many"
    if step.kind in ("classes", "locate_json", "segment_box", "box_to_label"):
        return step.kind
    if step.kind in ("count", "count_all"):
        # A summary of more classes than an answer lists objects would be no summary.
        several = "count_all" if len(step.groups) <= 10 else "count_many"
        named = single and bool(scene.labels[step.groups[0]])
        return "count" if named else "count_many" if single else several
    return _listing_kind(step, single=single)


def _listing_kind(step: Step, *, single: bool) -> str:
    """The table of answers that suits a list of objects."""
    if step.first > 1:
        return "next_part"
    if step.listed > len(step.shown):
        return "first_part" if step.listed == step.size else "first_part_of_largest"
    if step.kind in ("identify", "locate", "locate_all"):
        kind = "identify" if step.kind == "identify" else "locate"
        return kind if single else "identify_all"
    return "segment" if single else "segment_all"


def _answers(scene: Scene, kind: str, step: Step) -> Sequence[str]:
    answers = scene.templates.answers[kind]
    # Sentences with an article are for one object; the user's own table stands by itself.
    alone = kind == "segment" and step.size == 1
    return (*answers, *scene.templates.answers["segment_one"]) if alone else answers


def _listing(scene: Scene, turn: int, shown: Sequence[int]) -> str:
    """Name and box of each object, in the given order: in a line, or one a line."""
    items = [f"{scene.nouns[scene.group_of[at]].name} {scene.boxes[at]}" for at in shown]
    between = scene.choose(f"{turn} listing", (", ", "; ", "\n- "))
    return "\n- " + between.join(items) if "\n" in between else f" {between.join(items)}."


def _json(scene: Scene, turn: int, shown: Sequence[int]) -> str:
    """Name and box of each object as a JSON list, a box as its numbers or its tokens."""
    name_key, box_key = _keys(scene, turn)
    items = []
    for at in shown:
        group, box = scene.group_of[at], scene.boxes[at]
        name = json.dumps(scene.labels[group] or scene.nouns[group].name, ensure_ascii=False)
        value = box if box.startswith("[") else json.dumps(box)
        items.append(f'{{"{name_key}": {name}, "{box_key}": {value}}}')
    between = scene.choose(f"{turn} lines", (", ", ",\n "))
    return f"[{between.join(items)}]"
