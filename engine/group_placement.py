"""Placing whole groups (videos, or videos of one content): which solver, and how good it was.

Up to `3 ** 12` placements are all tried. Beyond that a search gives a placement; where it is not
within a point everywhere, an integer program tries, up to some hundred groups, to find the best one
and prove it. All three go by one objective, `group_objective`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.group_objective import GroupGoal, Value, good_enough
from engine.group_program import prove_groups
from engine.group_search import enumerate_groups, search_groups
from engine.swaps import ClassTable, Load

__all__ = ["GroupPlacement", "place_groups"]

_ENUMERATED = 3**12  # 531,441 placements: a dozen groups in three splits, eight in five folds


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupPlacement:
    """Where the groups are, and what is known of that.

    Args:
        codes: int8 (groups,), the split of each group.
        value: what the objective says of it.
        solver: JSON types: its name; whether the placement is the best there is; and the smallest
            possible largest deviation of a class at such sizes, in points, if that was proved.
    """

    codes: npt.NDArray[np.int8]
    value: Value
    solver: dict[str, Any]


def place_groups(
    table: ClassTable,
    frames: npt.NDArray[np.int64],
    shares: Sequence[Fraction],
    *,
    stratified: bool,
    seeded_start: bool = False,
    load: Load | None = None,
) -> GroupPlacement:
    """Give every group a split.

    Args:
        table: instances of each class in each group, in seeded order.
        frames: int64 (groups,), frames of each.
        shares: wanted share of each split, summing to 1.
        stratified: sizes may be off by a frame in 200 before they count, for evener classes.
        seeded_start: begin a search with the groups in their order, not with the largest.
        load: what the splits hold already; the objective judges it and the groups together.

    Returns:
        The placement; every split with a positive share has a group, as far as there are groups.
    """
    goal = GroupGoal.of(table, frames, shares, stratified=stratified, load=load)
    if len(goal.open) ** len(frames) <= _ENUMERATED:
        codes = enumerate_groups(goal)
        value = goal.value(codes)
        return _result("enumeration", codes, value, optimal=True, worst=value[3])
    codes, value = search_groups(goal, seeded_start=seeded_start)
    if value == goal.least:
        return _result("search", codes, value, optimal=True, worst=0)
    if good_enough(value) and table.width:
        return _result("search", codes, value, optimal=False, worst=None)
    proof = prove_groups(goal, value)
    if proof.codes is not None:
        return _result(
            "milp", proof.codes, goal.value(proof.codes), optimal=True, worst=proof.worst
        )
    comparable = value[:3] == proof.before
    return _result("search", codes, value, optimal=False, worst=proof.worst if comparable else None)


def _result(
    name: str, codes: npt.NDArray[np.int8], value: Value, *, optimal: bool, worst: int | None
) -> GroupPlacement:
    solver = {
        "name": name,
        "optimal": optimal,
        "least_max_deviation_points": None if worst is None else worst / 100,
    }
    return GroupPlacement(codes=codes, value=value, solver=solver)
