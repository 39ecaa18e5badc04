"""Rows of an integer program, and HiGHS at work on them through scipy.

HiGHS gets a number of nodes, never a time, so that how far it comes is the same on every machine.
Only what it has proved to be the best counts: whoever asks checks it in whole numbers, since HiGHS
computes in floating point.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["NEAR", "NEAR_TOTAL", "Constraints"]

_Floats = npt.NDArray[np.float64]

NEAR = 1e-5
"""What a figure may be above its limit: ten times what HiGHS takes for feasible."""

NEAR_TOTAL = 1e-3
"""What a sum of rounded figures may be below their sum."""


@dataclass(kw_only=True, eq=False)
class Constraints:
    """Sums of variables, each with the least and the most that it may come to."""

    rows: list[_Floats] = field(default_factory=list)
    columns: list[_Floats] = field(default_factory=list)
    values: list[_Floats] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    def add(self, columns: Any, values: Any, low: float, high: float) -> None:
        """Add one: variables by number, what each is multiplied by, and the limits."""
        columns = np.asarray(columns, dtype=np.float64)
        self.rows.append(np.full(len(columns), len(self.low), dtype=np.float64))
        self.columns.append(columns)
        self.values.append(np.broadcast_to(np.asarray(values, dtype=np.float64), columns.shape))
        self.low.append(low)
        self.high.append(high)

    def lowest(
        self, cost: _Floats, *, upper: _Floats, whole: _Floats, node_entries: int
    ) -> _Floats | None:
        """Look for the values of the variables, none negative, that cost least.

        Args:
            cost: float64 (variables,), of one of each.
            upper: float64 (variables,), the most that each may be.
            whole: float64 (variables,), 1 where only whole numbers will do, else 0.
            node_entries: nodes times entries of the matrix that may be looked at.

        Returns:
            float64 (variables,), or None: nothing was proved to be the best.
        """
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import coo_array

        at = (np.concatenate(self.rows).astype(int), np.concatenate(self.columns).astype(int))
        shape = (len(self.low), len(cost))
        matrix = coo_array((np.concatenate(self.values), at), shape=shape).tocsc()
        with _silence():
            result = milp(
                cost,
                constraints=LinearConstraint(matrix, self.low, self.high),
                integrality=whole,
                bounds=Bounds(np.zeros(len(cost)), upper),
                options={"node_limit": max(1, node_entries // matrix.nnz), "mip_rel_gap": 0.0},
            )
        return result.x if result.status == 0 else None


@contextmanager
def _silence() -> Iterator[None]:
    """Keep standard output free of what HiGHS leaves there, with its log off too.

    It is written by C, behind Python's back, and a program may be reading our one JSON document.
    """
    libc = ctypes.CDLL(None)
    libc.fflush(None)
    with ExitStack() as undo:
        try:
            kept = os.dup(1)
        except OSError:  # no standard output: nothing to keep free
            yield
            return
        undo.callback(os.close, kept)
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        undo.callback(os.dup2, kept, 1)
        undo.callback(libc.fflush, None)
        yield
