"""Frames that come more than once: counted once if equal, told if they contradict each other.

In a first run nobody can say which of two contradicting records is right, so both stay and the
frame is set aside or fails the run. To a dataset that is there already, records come later, and the
user says which one holds. What was set aside is not in the dataset: another record of such a frame
takes its place without a word, for that is how a repaired export comes back. So does the same
record where the image could not be read: a damaged image and a whole one have one declared CRC.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.frame_index import FrameIndex
from engine.records import Issue

__all__ = ["REPLACED", "Held", "Merged", "OnConflict", "merge_repeated"]

OnConflict = Literal["fail", "keep", "replace"]

REPLACED = "its annotations replace those before"
"""What is said of a frame of a dataset whose record a later one has replaced."""

_COLUMNS = [
    "id", "video_id", "frame_index", "annotation_digest", "image_crc32", "errors", "file", "row",
    "export",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Held:
    """Which row files are those of a dataset that is there already.

    Args:
        files: how many; they come first.
        aside: which of them hold frames that were set aside.
        damaged: ids of frames that were, because their images could not be read.
        first: of equal records the one that is there stays; else the first by export.
        on_conflict: what holds where a later record contradicts one that is there.
        sources: names of the exports, by place.
        label_keys: of the label map that the dataset was made with.
    """

    files: int = 0
    aside: Collection[int] = ()
    damaged: Collection[str] = ()
    first: bool = True
    on_conflict: OnConflict = "fail"
    sources: Sequence[str] = ()
    label_keys: Collection[str] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Merged:
    """Frames, each once unless its records contradict each other.

    Args:
        index: the rows that stay.
        left_out: columns `id` and `file` of those that do not.
        issues: `frame_duplicate`, `frame_conflict`, `conflict_resolved`.
        contradictions: frames of the dataset that a later record contradicts, undecided.
        made_room: ids of frames of the dataset whose record another one has replaced, and the row
            files that held them.
    """

    index: FrameIndex
    left_out: pa.Table
    issues: tuple[Issue, ...]
    contradictions: int
    made_room: Mapping[str, str]


def merge_repeated(index: FrameIndex, held: Held | None = None) -> Merged:
    """Count frames that come more than once only once, and name those that contradict each other.

    Args:
        index: rows sorted by frame, then by export.
        held: what was there before; None: nothing.
    """
    held = held or Held()
    ids = index.table["id"].combine_chunks()
    same = pc.equal(ids.slice(1), ids.slice(0, max(len(ids) - 1, 0)))
    again = np.flatnonzero(same.to_numpy(zero_copy_only=False)) + 1
    places = np.union1d(again, again - 1)
    found = ids.take(pa.array(places)).to_numpy(zero_copy_only=False)
    cuts = np.flatnonzero(found[1:] != found[:-1]) + 1
    sums = _Sums(held)
    if len(places):
        rows = index.table.select(_COLUMNS).take(pa.array(places)).to_pylist()
        for group in np.split(np.arange(len(places)), cuts):
            sums.take([rows[int(at)] | {"place": int(places[at])} for at in group])
    equal, other = (np.array(sorted(each), np.int64) for each in (sums.equal, sums.replaced))
    gone = np.concatenate([equal, other])
    keep = np.ones(len(index), bool)
    keep[gone] = False
    declared = index.table["objects_declared"]
    lost = [pc.sum(declared.take(pa.array(each))).as_py() or 0 for each in (equal, other)]
    return Merged(
        index=replace(
            index.where(keep),
            duplicates=index.duplicates + len(equal),
            duplicate_objects=index.duplicate_objects + lost[0],
            replaced=index.replaced + len(other),
            replaced_objects=index.replaced_objects + lost[1],
        ),
        left_out=index.table.select(["id", "file"]).take(pa.array(gone)),
        issues=tuple(sums.issues),
        contradictions=sums.contradictions,
        made_room={name: index.files[file] for name, file in sums.made_room.items()},
    )


class _Sums:
    """What the records of one frame after the other came to.

    Args:
        held: what was there before.
    """

    def __init__(self, held: Held) -> None:
        self._held = held
        self.equal: list[int] = []
        self.replaced: list[int] = []
        self.issues: list[Issue] = []
        self.contradictions = 0
        self.made_room: dict[str, int] = {}

    def take(self, rows: list[dict[str, Any]]) -> None:
        """Take all records of one frame, two at least."""
        old = [row for row in rows if row["file"] < self._held.files]
        new = [row for row in rows if row["file"] >= self._held.files]
        if not old:
            self._among_themselves(rows)
        elif new:
            self._beside_held(old, new)

    def _among_themselves(self, rows: list[dict[str, Any]]) -> None:
        for before, row in pairwise(rows):
            if row["annotation_digest"] == before["annotation_digest"]:
                self._leave_out_equal(row)
            else:
                self._tell("frame_conflict", row, _AGAIN + "other annotations")

    def _beside_held(self, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
        settled = [row for row in old if row["file"] not in self._held.aside]
        if not settled:
            known = {
                (row["annotation_digest"], row["image_crc32"])
                for row in old
                if row["id"] not in self._held.damaged
            }
            repaired = [r for r in new if (r["annotation_digest"], r["image_crc32"]) not in known]
            for row in new:
                if row not in repaired:
                    self._leave_out_equal(row)
            if repaired:
                self._replace(old)
                self._among_themselves(repaired)
            return
        there, others = settled[0], []
        for row in new:
            if row["annotation_digest"] != there["annotation_digest"]:
                others.append(row)
            elif self._held.first or there["export"] <= row["export"]:
                self._leave_out_equal(row)
            else:  # made anew: as if both had come at once
                self._leave_out_equal(there)
                there = row
        if others:
            self._decide(there, others)

    def _decide(self, there: dict[str, Any], others: list[dict[str, Any]]) -> None:
        """A frame of the dataset, and records that contradict it; one with errors replaces none."""
        if self._held.on_conflict == "fail":
            self.contradictions += 1
            for row in others:
                self._tell("frame_conflict", row, _AGAIN + "other annotations")
            return
        sound = [row for row in others if not row["errors"]]
        take = sound if self._held.on_conflict == "replace" else []
        for row in others:
            if row not in take:
                self.replaced.append(row["place"])
                self._tell("conflict_resolved", row, "the annotations that were there are kept")
        if len({row["annotation_digest"] for row in take}) > 1:  # nobody said which of these holds
            self.contradictions += 1
            for row in take:
                self._tell("frame_conflict", row, _AGAIN + "other annotations")
        elif take:
            self._replace([there])
            self._tell("conflict_resolved", take[0], REPLACED)
            self._among_themselves(take)

    def _replace(self, old: list[dict[str, Any]]) -> None:
        self.replaced += [row["place"] for row in old]
        self.made_room |= {row["id"]: row["file"] for row in old}

    def _leave_out_equal(self, row: dict[str, Any]) -> None:
        self.equal.append(row["place"])
        self._tell("frame_duplicate", row, _AGAIN + "the same annotations")

    def _tell(self, code: str, row: dict[str, Any], message: str) -> None:
        named = 0 <= row["export"] < len(self._held.sources)
        self.issues.append(
            Issue(
                code=code, source=self._held.sources[row["export"]] if named else "",
                video_id=row["video_id"], frame_id=row["id"], frame_index=row["frame_index"],
                message=message,
            )
        )  # fmt: skip


_AGAIN = "a record of this frame is there already, with "
