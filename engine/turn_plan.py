"""Which turn of a frame's conversation asks about which objects; no words.

Trade-off: first a cover, then ornament. The cover is one to five turns that ask to segment and
together list every object once (one class and then the rest, several classes, or all at once);
only what is left of three turns goes to questions about names, places and numbers. So no mask of a
row is without text, however the dice fall.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Group", "Kind", "Step", "plan_turns"]

Kind = Literal[
    "segment",
    "identify and segment",
    "rest",
    "continue",
    "identify",
    "locate",
    "locate all",
    "count",
    "count all",
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
class Step:
    """One question and its answer.

    Args:
        kind: what is asked.
        groups: indices of the groups asked about; their objects are in no other group.
        size: objects in these groups.
        shown: indices of the objects this answer lists, ascending, at most ten.
        first: number of the first one shown, from 1, in the list of all that is shown turn by turn.
        listed: length of that list; above ten it takes several turns, below `size` it is cut.
    """

    kind: Kind
    groups: tuple[int, ...]
    size: int
    shown: tuple[int, ...]
    first: int
    listed: int


def plan_turns(
    groups: Sequence[Group], areas: Sequence[int], pick: Callable[[str, int], int]
) -> list[Step]:
    """Plan the turns about a frame's visible objects.

    Args:
        groups: at least one; every object is in exactly one.
        areas: one an object, pixels; beyond fifty objects the largest are listed, of equal ones the
            earlier.
        pick: chooses a number in [0, n) for the name of a choice and n.

    Returns:
        One to five steps; at least one segments; a "continue" directly follows what it continues.
    """
    if len(areas) > _PER_ANSWER * _MOST_TURNS:
        by_size = sorted(range(len(areas)), key=lambda at: (-areas[at], at))
        largest = sorted(by_size[: _PER_ANSWER * _MOST_TURNS])
        return _parts("identify and segment", groups, range(len(groups)), largest)
    cover = _cover(groups, pick)
    room = max(0, _USUAL_TURNS - len(cover))
    extras = _extras(groups, pick, whole=cover[0].kind == "identify and segment")
    wanted = min(room, len(extras), (0, 1, 1, 2)[pick("extras", 4)])
    start = pick("extra", len(extras)) if extras else 0
    chosen = (extras[start:] + extras[:start])[:wanted]
    split = pick("extras before", len(chosen) + 1)
    return [*chosen[:split], *cover, *chosen[split:]]


def _cover(groups: Sequence[Group], pick: Callable[[str, int], int]) -> list[Step]:
    """Turns that ask to segment and together list every object once."""
    every = range(len(groups))
    named = [at for at in every if groups[at].named]
    options = [_parts("identify and segment", groups, every)]
    if len(groups) == 1:
        options.append(_parts("segment", groups, every))
    elif named:
        options.append(_some_then_rest(groups, [named[pick("class", len(named))]]))
    if len(named) > 1:
        wanted = 2 + pick("several", min(2, len(named) - 1))
        start = pick("several from", len(named))
        some = sorted((named[start:] + named[:start])[:wanted])
        options.append(_some_then_rest(groups, some))
    options = [steps for steps in options if len(steps) <= _MOST_TURNS]
    return options[pick("cover", len(options))]


def _some_then_rest(groups: Sequence[Group], some: Sequence[int]) -> list[Step]:
    rest = [at for at in range(len(groups)) if at not in some]
    return _parts("segment", groups, some) + (_parts("rest", groups, rest) if rest else [])


def _extras(groups: Sequence[Group], pick: Callable[[str, int], int], *, whole: bool) -> list[Step]:
    """Every further question that suits the frame, each in one turn."""
    every = range(len(groups))
    asked: list[tuple[Kind, Sequence[int]]] = [("count all", every), ("locate all", every)]
    named = [at for at in every if groups[at].named]
    if named:
        asked.append(("count", [named[pick("count class", len(named))]]))
        asked.append(("locate", [named[pick("locate class", len(named))]]))
    if not whole:
        asked.append(("identify", every))
    steps = [_parts(kind, groups, chosen) for kind, chosen in asked]
    return [parts[0] for parts in steps if len(parts) == 1 or parts[0].kind.startswith("count")]


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
