"""The frames of a run divided: splits, folds, what is left out of both, and what is said of it.

A division is made before a byte of the dataset is written, and described after: frames whose images
turn out bad while they are written drop out in between. What was planned for such a frame stays in
split.json (`set_aside`), so that the file still fits when the same exports are prepared with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.apportion import exact_ratios
from engine.certificate import Account, certify, certify_folds
from engine.config import SPLIT_NAMES, Config
from engine.frame_index import FrameIndex, split_input
from engine.records import Issue
from engine.split_file import ASSIGNED, format_ranges, write_assignment
from engine.split_input import SplitInput
from engine.splits import Rule, Strategy, fold_shares

__all__ = ["EXCLUSIONS", "Division", "Wish"]

_Codes = NDArray[np.int8]
_Mask = NDArray[np.bool_]

EXCLUSIONS = ("temporal_gap", "split_file")
"""Why a good frame is in no split: it lies in a gap, or the split file says so."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is wanted of the splits.

    Args:
        strategy: `random`, `stratified` or `temporal`.
        group_by: what is never divided: none, video or content.
        gap_sec: of segments; None: videos are not cut.
        ratios: of train, validation and test.
        seed: decides between what is equally good.
    """

    strategy: Strategy
    group_by: str
    gap_sec: float | None
    ratios: tuple[float, float, float]
    seed: int

    @classmethod
    def of(cls, config: Config) -> "Wish":
        """Read it off the configuration, or off the split file that it holds."""
        file = config.split_file or {}
        ratios = file.get("ratios", dict(zip(SPLIT_NAMES, config.ratios, strict=True)))
        strategy = file.get("strategy", config.split)
        segments = file.get("temporal_segments", config.temporal_segments)
        usual = "video" if strategy == "temporal" and not segments else "none"
        return cls(
            strategy=strategy,
            group_by=file.get("group_by", config.group_by or usual),
            gap_sec=float(file.get("gap_sec") or 0 if file else config.gap_sec)
            if segments
            else None,
            ratios=tuple(float(ratios.get(name, 0.0)) for name in SPLIT_NAMES),  # type: ignore[arg-type]
            seed=file.get("seed", config.seed),
        )

    def rule(self, data: SplitInput, group_of_video: Mapping[str, str]) -> Rule:
        """Give the rule for some frames, with the groups of their videos."""
        groups = None
        if self.group_by == "video":
            groups = data.video_names
        elif self.group_by == "content":
            groups = tuple(group_of_video.get(name, name) for name in data.video_names)
        return Rule(strategy=self.strategy, groups=groups, gap_sec=self.gap_sec, seed=self.seed)


@dataclass(frozen=True, kw_only=True, eq=False)
class Division:
    """Every frame of the index, and what it fell to.

    Args:
        index: all frames of the run, those set aside too.
        assignment: int8 (n,), place in `SPLIT_NAMES`; -1: not in the dataset.
        excluded: int8 (n,), place in `EXCLUSIONS` of good frames that are left out; else -1.
        folds: int8 (n,), cross-validation fold; -1: in none.
        fold_count: number of folds; None: none were asked for.
        planned: as `assignment`, and of frames set aside what the split file says of them.
        wish: what was wanted.
        groups: name of the group of each video that is in one with others.
        solver: how the splits were found, and what is known of them.
        fold_solver: the same of the folds.
    """

    index: FrameIndex
    assignment: _Codes
    excluded: _Codes
    folds: _Codes
    fold_count: int | None
    planned: _Codes
    wish: Wish
    groups: Mapping[str, str]
    solver: dict[str, Any]
    fold_solver: dict[str, Any]

    def exclusions(self) -> dict[str, _Mask]:
        """Frames left out, by reason: bool (n,) each; reasons without a frame are left out."""
        masks = {name: self.excluded == code for code, name in enumerate(EXCLUSIONS)}
        return {name: mask for name, mask in masks.items() if mask.any()}

    def document(self, assignment: _Codes) -> dict[str, Any]:
        """Make split.json.

        Args:
            assignment: int8 (n,), as `self.assignment`, without frames that dropped out since.
        """
        wish, kept = self.wish, assignment >= 0
        sizes = np.bincount(assignment[kept], minlength=len(SPLIT_NAMES)).tolist()
        document: dict[str, Any] = {
            "strategy": wish.strategy,
            "group_by": wish.group_by,
            "temporal_segments": wish.gap_sec is not None,
            "gap_sec": wish.gap_sec,
            "ratios": dict(zip(SPLIT_NAMES, wish.ratios, strict=True)),
            "seed": wish.seed,
            "sizes": dict(zip(SPLIT_NAMES, sizes, strict=True)),
            "excluded": {name: int(mask.sum()) for name, mask in self.exclusions().items()},
        }
        if kept.any():
            account = self._account(assignment)
            row = {"strategy": wish.strategy, "group_by": wish.group_by, "seed": wish.seed}
            document["certificate"] = dict(sorted((certify(account) | row).items()))
            if self.fold_count is not None:
                document["folds"] = self._folds_document(assignment)
        shown = np.where(self.excluded >= 0, ASSIGNED.index("excluded"), assignment)
        document["assignment"] = self._table(shown.astype(np.int8))
        dropped = (self.planned >= 0) & ~kept & (self.excluded < 0)
        document["set_aside"] = self._table(np.where(dropped, self.planned, -1).astype(np.int8))
        return document

    def issues(self, assignment: _Codes) -> list[Issue]:
        """Name the videos with neighbouring frames in different splits, by `split_leakage`.

        Args:
            assignment: as in `document`.
        """
        if self.wish.gap_sec or not (assignment >= 0).any():
            return []
        places = np.flatnonzero((assignment >= 0) | (self.excluded >= 0))
        videos = self.index.video_ids[places]
        frames = self._frame_index()[places]
        codes = assignment[places]
        pair = (videos[1:] == videos[:-1]) & (codes[1:] >= 0) & (codes[:-1] >= 0)
        apart = pair & (codes[1:] != codes[:-1])
        issues = []
        names, of_pair = np.unique(videos[1:], return_inverse=True)
        pairs = np.bincount(of_pair[pair], minlength=len(names))
        found = np.bincount(of_pair[apart], minlength=len(names))
        nearest = np.full(len(names), np.iinfo(np.int64).max)
        np.minimum.at(nearest, of_pair[apart], np.diff(frames)[apart])
        for place in np.flatnonzero(found).tolist():
            distance = int(nearest[place])
            issues.append(
                Issue(
                    code="split_leakage", source="", video_id=str(names[place]),
                    message=f"{found[place]} of {pairs[place]} pairs of neighbouring frames lie in "
                    f"different splits, the nearest {distance} frame{'s' * (distance != 1)} apart",
                )
            )  # fmt: skip
        return issues

    def fold_documents(
        self, assignment: _Codes, row: NDArray[np.int64]
    ) -> dict[str, dict[str, Any]]:
        """Make the fold files: which frames, and which rows of the splits, a fold trains on.

        Args:
            assignment: as in `document`.
            row: int64 (n,), place of each frame in its split, as the dataset was written.

        Returns:
            By file name. `rows` are positions in train and in validation of the dataset.
        """
        if self.fold_count is None:
            return {}
        folds = np.where(assignment >= 0, self.folds, -1)
        documents = {}
        for fold in range(self.fold_count):
            sides = {"train": (folds >= 0) & (folds != fold), "validation": folds == fold}
            documents[f"fold-{fold}.json"] = {
                "fold": fold,
                "folds": self.fold_count,
                "sizes": {side: int(mask.sum()) for side, mask in sides.items()},
                "rows": {
                    side: {
                        name: format_ranges(np.sort(row[mask & (assignment == code)]))
                        for code, name in enumerate(SPLIT_NAMES[:2])
                    }
                    for side, mask in sides.items()
                },
                "assignment": self._table(
                    np.select([sides["train"], sides["validation"]], [0, 1], -1).astype(np.int8),
                    tuple(sides),
                ),
            }
        return documents

    def _account(self, assignment: _Codes) -> Account:
        kept = assignment >= 0
        data = split_input(self.index.where(kept))
        rule = self.wish.rule(data, self.groups)
        return Account(
            data=data, codes=assignment[kept], names=SPLIT_NAMES,
            shares=exact_ratios(self.wish.ratios),
            solver=self._known(assignment, self.solver),
            groups=_whole(rule.groups_of(data), data, assignment[kept]),
        )  # fmt: skip

    def _known(self, assignment: _Codes, solver: dict[str, Any]) -> dict[str, Any]:
        """What a solver proved holds for the frames it was given, and for no fewer."""
        if np.array_equal(assignment, self.assignment):
            return solver
        return solver | {"optimal": None, "least_max_deviation_points": None}

    def _folds_document(self, assignment: _Codes) -> dict[str, Any]:
        count = self.fold_count or 0
        folds = np.where(assignment >= 0, self.folds, -1).astype(np.int8)
        names = tuple(str(fold) for fold in range(count))
        data = split_input(self.index.where(folds >= 0))
        rule = self.wish.rule(data, self.groups)
        account = Account(
            data=data, codes=folds[folds >= 0], names=names, shares=fold_shares(count),
            solver=self._known(assignment, self.fold_solver),
            groups=_whole(rule.groups_of(data), data, folds[folds >= 0]),
        )  # fmt: skip
        return {
            "count": count,
            "of": list(SPLIT_NAMES[:2]),
            "certificate": certify_folds(account),
            "assignment": self._table(folds, names),
        }

    def _table(self, codes: _Codes, names: tuple[str, ...] = ASSIGNED) -> dict[str, dict[str, str]]:
        return write_assignment(self.index.video_ids, self._frame_index(), codes, names)

    def _frame_index(self) -> NDArray[np.int64]:
        filled = self.index.table["frame_index"].fill_null(-1)  # such frames are set aside
        return np.asarray(filled.to_numpy(), dtype=np.int64)


def _whole(
    groups: tuple[str, ...] | None, data: SplitInput, codes: _Codes
) -> tuple[str, ...] | None:
    """The groups, if none of them is divided: a split file may have been edited."""
    if groups is None:
        return None
    of_video = np.unique(np.array(groups, dtype=object), return_inverse=True)[1]
    cells = np.unique(of_video[data.video] * 128 + codes)
    return groups if len(np.unique(cells // 128)) == len(cells) else None
