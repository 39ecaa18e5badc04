"""Which turn of a frame's conversation asks about which objects; no words.

Trade-off: first a cover, then ornament. The cover is one to five turns that ask to segment and
together list every object once (one class and then the rest, several classes, or all at once);
only what is left of three turns goes to questions about names, places and numbers. So no mask of a
row is without text, however the dice fall. Questions about existence are counted out beforehand, to
balance yes and no, so they come on top.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

__all__ = ["Group", "Kind", "Polar", "Step", "plan_turns"]

Kind = Literal[
    "segment",
    "segment_all",
    "rest",
    "continue",
    "mixed",
    "segment_box",
    "identify",
    "classes",
    "locate",
    "locate_all",
    "locate_json",
    "count",
    "count_all",
    "exists",
    "box_to_label",
]

_PER_ANSWER = 10
_MOST_TURNS = 5
_USUAL_TURNS = 3


@dataclass(frozen=True, kw_only=True)
class Group:
    """The visible objects of one class.

    Args:
        members: their indices among the frame's objects, ascending, never empty.
        named: false for the objects that nobody named.
    """

    members: tuple[int, ...]
    named: bool


@dataclass(frozen=True, kw_only=True)
class Polar:
    """A class whose existence is to be asked about; exactly one of the two is given.

    Args:
        group: index of its group, if it is visible.
        absent: its index among the classes to be denied, if it is not.
        mixed: ask to segment it beside another class, if that can be; else ask outright.
    """

    group: int | None = None
    absent: int | None = None
    mixed: bool = False


@dataclass(frozen=True, kw_only=True)
class Step:
    """One question and its answer.

    Args:
        kind: what is asked.
        groups: indices of the groups asked about; their objects are in no other group.
        size: objects in these groups.
        shown: indices of the objects this answer lists, ascending, at most ten.
        first: number of the first one shown, from 1, in the list of all that is shown turn by turn.
        listed: length of that list; above ten it takes several turns, below `size` it is cut.
        absent: index of the class that the answer denies, if it denies one.
    """

    kind: Kind
    groups: tuple[int, ...]
    size: int
    shown: tuple[int, ...]
    first: int
    listed: int
    absent: int | None = None


_Planned = Callable[[], Step]


def plan_turns(
    groups: Sequence[Group],
    areas: Sequence[int],
    pick: Callable[[str, int], int],
    *,
    single: Callable[[], Sequence[int]] = tuple,
    polar: Sequence[Polar] = (),
) -> list[Step]:
    """Plan the turns about a frame's visible objects.

    Args:
        groups: at least one; every object is in exactly one.
        areas: one an object, pixels; beyond fifty objects the largest are listed, of equal ones the
            earlier.
        pick: chooses a number in [0, n) for the name of a choice and n.
        single: finds the objects that a box can stand for: it is no other's, and none other is
            inside. Called only where such a question may be asked.
        polar: questions about existence, at most two; at most one of them mixed.

    Returns:
        One to five steps; at least one segments; a "continue" directly follows what it continues.
    """
    if len(areas) > _PER_ANSWER * _MOST_TURNS:
        by_size = sorted(range(len(areas)), key=lambda at: (-areas[at], at))
        largest = sorted(by_size[: _PER_ANSWER * _MOST_TURNS])
        return _parts("segment_all", groups, range(len(groups)), largest)
    covers = [(_mixed(groups, each, pick), each) for each in polar if each.mixed]
    cover, mixed = next(((steps, each) for steps, each in covers if steps), (None, None))
    cover = cover or _cover(groups, pick)
    asked = [_ask_existence(groups, each) for each in polar if each is not mixed]
    asked = asked[: _MOST_TURNS - len(cover)]
    room = max(0, _USUAL_TURNS - len(cover) - len(asked))
    wanted = min(room, (0, 1, 1, 2)[pick("extras", 4)])
    whole = cover[0].kind == "segment_all"
    extras = _some(_extras(groups, pick, single, whole=whole), wanted, pick) if wanted else []
    chosen = asked + extras
    if len(chosen) > 1 and pick("extras turned", 2):
        chosen.reverse()
    split = pick("extras before", len(chosen) + 1)
    return [*chosen[:split], *cover, *chosen[split:]]


def _ask_existence(groups: Sequence[Group], asked: Polar) -> Step:
    """Give the step that asks outright whether a class is there."""
    if asked.group is not None:
        step = _parts("exists", groups, [asked.group])[0]
        return replace(step, shown=step.shown if step.listed <= _PER_ANSWER else ())
    return Step(kind="exists", groups=(), size=0, shown=(), first=1, listed=0, absent=asked.absent)


def _cover(groups: Sequence[Group], pick: Callable[[str, int], int]) -> list[Step]:
    """Turns that ask to segment and together list every object once."""
    every = range(len(groups))
    named = [at for at in every if groups[at].named]
    options = [_parts("segment_all", groups, every)]
    if len(groups) == 1:
        options.append(_parts("segment", groups, every))
        options.append(_parts("segment", groups, every))
    elif named:
        options.append(_some_then_rest("segment", groups, [named[pick("class", len(named))]]))
    if len(named) > 1:
        wanted = 2 + pick("several", min(2, len(named) - 1))
        start = pick("several from", len(named))
        some = sorted((named[start:] + named[:start])[:wanted])
        options.append(_some_then_rest("segment", groups, some))
    options = [steps for steps in options if len(steps) <= _MOST_TURNS]
    return options[pick("cover", len(options))]


def _mixed(
    groups: Sequence[Group], asked: Polar, pick: Callable[[str, int], int]
) -> list[Step] | None:
    """A cover that begins with the class asked about, there or not, beside one that is there."""
    others = [at for at, each in enumerate(groups) if each.named and at != asked.group]
    if not others:
        return None
    beside = others[pick("beside", len(others))]
    some = [beside] if asked.group is None else sorted([beside, asked.group])
    steps = _some_then_rest("mixed", groups, some)
    if steps[0].listed > _PER_ANSWER or len(steps) > _MOST_TURNS:
        return None
    return [replace(steps[0], absent=asked.absent), *steps[1:]]


def _some_then_rest(kind: Kind, groups: Sequence[Group], some: Sequence[int]) -> list[Step]:
    rest = [at for at in range(len(groups)) if at not in some]
    return _parts(kind, groups, some) + (_parts("rest", groups, rest) if rest else [])


def _extras(
    groups: Sequence[Group],
    pick: Callable[[str, int], int],
    single: Callable[[], Sequence[int]],
    *,
    whole: bool,
) -> list[_Planned]:
    """Every further question that suits the frame, each in one turn; most are never asked."""
    every = range(len(groups))
    named = [at for at in every if groups[at].named]
    asked: list[tuple[Kind, Sequence[int]]] = [("count_all", every), ("locate_all", every)]
    in_json = named[pick("json class", len(named) + 1) :][:1] or every
    asked.append(("locate_json", in_json))
    if named:
        asked.append(("count", [named[pick("count class", len(named))]]))
        asked.append(("locate", [named[pick("locate class", len(named))]]))
    if len(named) == len(groups) <= _PER_ANSWER:
        asked.append(("classes", every))
    if not whole:
        asked.append(("identify", every))
    no_list = ("count", "count_all", "classes")
    sizes = [len(each.members) for each in groups]
    fitting: list[_Planned] = [
        partial(_first_part, kind, groups, chosen)
        for kind, chosen in asked
        if kind in no_list or sum(sizes[at] for at in chosen) <= _PER_ANSWER
    ]
    return fitting + _by_box(groups, pick, single)


def _by_box(
    groups: Sequence[Group],
    pick: Callable[[str, int], int],
    single: Callable[[], Sequence[int]],
) -> list[_Planned]:
    """Questions that quote an object's box."""
    fitting = single()
    if not fitting:
        return []
    at = fitting[pick("by box", len(fitting))]
    group = next(place for place, each in enumerate(groups) if at in each.members)
    kinds: list[Kind] = ["segment_box", "box_to_label"] if groups[group].named else ["segment_box"]
    return [
        partial(Step, kind=kind, groups=(group,), size=1, shown=(at,), first=1, listed=1)
        for kind in kinds
    ]


def _some(steps: Sequence[_Planned], wanted: int, pick: Callable[[str, int], int]) -> list[Step]:
    """Choose different steps, each with the same chance."""
    left, chosen = list(steps), []
    for number in range(min(wanted, len(left))):
        chosen.append(left.pop(pick(f"extra {number}", len(left)))())
    return chosen


def _first_part(kind: Kind, groups: Sequence[Group], chosen: Sequence[int]) -> Step:
    return _parts(kind, groups, chosen)[0]


def _parts(
    kind: Kind,
    groups: Sequence[Group],
    chosen: Sequence[int],
    shown: Sequence[int] | None = None,
) -> list[Step]:
    """One step for ten objects of the chosen groups; `shown` is a selection, else all are shown."""
    inside = sorted(at for each in chosen for at in groups[each].members)
    listed = inside if shown is None else list(shown)
    return [
        Step(
            kind="continue" if start else kind,
            groups=tuple(chosen),
            size=len(inside),
            shown=tuple(listed[start : start + _PER_ANSWER]),
            first=start + 1,
            listed=len(listed),
        )
        for start in range(0, len(listed), _PER_ANSWER)
    ]
