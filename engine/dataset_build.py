"""Frames to files: who is set aside, who goes to which split, and the shards they become.

What is found while the images are read (a bad CRC, a file that ends early) sets a frame aside after
the plan was made: its shard goes without it, and it joins the quarantine, written last. The
accounting is checked before anything is published. To a dataset that is there, shards are added;
those that it holds stay as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine import text_report
from engine.accounting import account
from engine.aside import reasons_aside, set_aside
from engine.balance import weights_document
from engine.config import SPLIT_NAMES, Config
from engine.content_links import group_of_video
from engine.dividing import Settled, divide, divide_more
from engine.division import Division
from engine.formats import finish
from engine.frame_index import FrameIndex
from engine.held_shards import HeldDataset
from engine.hf_layout import finish_quarantine
from engine.intake import Intake
from engine.manifest import encode
from engine.near_duplicates import near_duplicates
from engine.plan import Shard
from engine.policy import Policy
from engine.quality import Verdict, judge
from engine.records import Issue
from engine.samples import SplitParts
from engine.shard_writer import QUARANTINE, ShardWriter, parts_by_split, rows_of_splits
from engine.shards import ShardResult
from engine.storage import FileDigest, absolute, join, write_bytes
from engine.text_rules import text_rules
from engine.work import Work

__all__ = ["Built", "build", "division_of"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Built:
    """A dataset in staging.

    Args:
        files: of the dataset, with digests.
        split: what split.json holds.
        samples: rows in all splits.
        kept: for each frame of the index, whether it is one of them.
        aside: whether it was set aside; what is neither was left out by the split.
        issues: found while images were read.
        leaks: found in the split: of the dataset, not of the sources.
        texts: what the texts are worth, as summary.json holds it.
        accounting: frames in, kept, set aside, left out, counted once; objects likewise.
        weights: of the rows of the train split, in their order.
        joins: it holds shards of the dataset that is there.
    """

    files: tuple[FileDigest, ...]
    split: dict[str, Any]
    samples: int
    kept: NDArray[np.bool_]
    aside: NDArray[np.bool_]
    issues: tuple[Issue, ...]
    leaks: tuple[Issue, ...]
    texts: dict[str, Any]
    accounting: dict[str, int]
    weights: dict[str, Any]
    joins: bool

    def judge(self, intake: Intake, config: Config) -> Verdict:
        """Check what is published again, without what was set aside."""
        index = intake.index.where(self.kept)
        aside = intake.index.where(self.aside).table
        out = intake.index.where(~self.kept).table
        not_published = pc.or_(
            pc.is_in(intake.issues["frame_id"], value_set=pc.unique(out["id"])),
            _is_of_nothing_kept(intake.issues, index),
        )
        issues = intake.issues.filter(pc.invert(not_published))
        extra = [
            Issue(
                code="quarantined", source="", video_id=row["video_id"], frame_id=row["id"],
                frame_index=row["frame_index"], message="set aside; its findings say why",
            )
            for row in aside.select(["id", "video_id", "frame_index"]).to_pylist()
        ]  # fmt: skip
        crashed = intake.issues.filter(pc.equal(intake.issues["code"], "export_crashed"))
        extra += [
            Issue(code="export_left_out", source=name, message=f"{name}: export_crashed says why")
            for name in crashed["source"].to_pylist()
        ]
        return judge(
            index.table, issues, config.imbalance_ratio, extra,
            exports=len(intake.exports), label_keys=len(config.label_map),
            exhaustive=len(set(config.exhaustive)), policy=Policy.of(config),
        )  # fmt: skip


def _is_of_nothing_kept(issues: pa.Table, kept: FrameIndex) -> pa.ChunkedArray:
    """Which issues concern a whole video that is set aside, or an export without frames."""
    of_video = pc.and_(pc.is_valid(issues["video_id"]), pc.is_null(issues["frame_id"]))
    there = pc.is_in(issues["video_id"], value_set=pc.unique(kept.table["video_id"]))
    empty = pc.is_in(issues["code"], value_set=pa.array(["export_crashed", "export_empty"]))
    return pc.or_(empty, pc.and_(of_video, pc.invert(there)))


def build(
    intake: Intake,
    staging: str,
    out: str,
    config: Config,
    work: Work,
    *,
    left_out: NDArray[np.int8] | None = None,
    held: HeldDataset | None = None,
) -> Built:
    """Split the good frames and write all shards below `staging`.

    Args:
        intake: the checked frames.
        staging: where the folders of the dataset go.
        out: where they will be in the end.
        config: of the run.
        work: executes the tasks.
        left_out: int8 (n,), place in `division.EXCLUSIONS` of frames that have no image since an
            earlier split has left them out, -1 for the others; None: there are none.
        held: what stays of the dataset that is there; None: nothing, all is written.

    Raises:
        UsageError: the frames cannot be split as asked.
        RunError: the run broke.
    """
    with work.timed("split"):
        division = _division_beside(held, intake, config) if held is not None else division_of(
            intake, config, left_out
        )  # fmt: skip
    writer = ShardWriter(
        index=intake.index, division=division, staging=staging, out=absolute(out), config=config,
        work=work,
    )  # fmt: skip
    shards, results = _write_splits(writer, held)
    rows = rows_of_splits(shards, results, len(intake.index))
    assignment = np.where(rows < 0, -1, division.assignment).astype(np.int8)  # without bad images
    kept = assignment >= 0
    aside = ~kept & (division.excluded < 0)
    issues = [issue for result in results for issue in result.issues]
    files = [file for result in results for file in (result.index, *result.digests)]
    for name in config.formats:
        files += finish(name, staging, parts_by_split(name, shards, results), config)
    quarantine, found = _quarantine(intake.with_issues(issues), aside, writer, held)
    files += quarantine + writer.write_excluded(held)
    files += _write_folds(staging, division.fold_documents(assignment, rows))
    split, leaks = _described(intake, division, assignment)
    return Built(
        files=tuple(files),
        split=split,
        samples=int(kept.sum()),
        kept=kept,
        aside=aside,
        issues=(*issues, *found),
        leaks=leaks,
        texts=text_report.document(text_report.merge(r.texts for r in results)),
        accounting=account(intake, writer, kept=kept, aside=aside, results=results),
        weights=_weights(intake.index, assignment, rows),
        joins=held is not None,
    )


def _write_folds(staging: str, documents: Mapping[str, Any]) -> list[FileDigest]:
    """Write what each fold trains on, by file name."""
    return [
        write_bytes(join(staging, "folds", name), encode(document), name=f"folds/{name}")
        for name, document in documents.items()
    ]


def _write_splits(
    writer: ShardWriter, held: HeldDataset | None
) -> tuple[list[Shard], list[ShardResult]]:
    """Write the shards of all splits; what is held comes first, and is not written."""
    new = writer.division.assignment
    if held is not None:
        new = np.where(held.intact, -1, new).astype(np.int8)
    texts = text_rules(writer.config, writer.index.where(new >= 0).table)
    shards, results = writer.write(new, SPLIT_NAMES, stage="write", texts=texts, held=held)
    if held is None:
        return shards, results
    kept_shards, kept_results = writer.keep(held, SPLIT_NAMES)
    return [*kept_shards, *shards], [*kept_results, *results]


def division_of(
    intake: Intake, config: Config, left_out: NDArray[np.int8] | None = None
) -> Division:
    """Divide the frames that are good and not left out already.

    Args:
        intake: the checked frames.
        config: of the run.
        left_out: as in `build`.

    Raises:
        UsageError: the frames cannot be split as asked.
    """
    gone = np.full(len(intake.index), -1, np.int8) if left_out is None else left_out
    foreseen = config.split_file is not None  # the file need not name what is not there
    good = ~set_aside(intake, Policy.of(config), foreseen=foreseen) & (gone < 0)
    division = divide(intake.index, good, config, _groups(intake), gone=gone >= 0)
    return replace(division, excluded=np.where(gone >= 0, gone, division.excluded))


def _division_beside(held: HeldDataset, intake: Intake, config: Config) -> Division:
    """Divide what a dataset does not hold yet."""
    newcomers = held.newcomers & ~set_aside(intake, Policy.of(config))
    ids = intake.index.table["id"]
    place = pc.index_in(ids, value_set=pa.array(list(intake.planned), pa.string()))
    planned = np.append(np.array(list(intake.planned.values()), np.int8), np.int8(-1))
    settled = Settled(
        codes=held.codes, left_out=held.left_out, folds=held.folds,
        planned=planned[pc.fill_null(place, len(planned) - 1).to_numpy()],
    )  # fmt: skip
    return divide_more(intake.index, newcomers, settled, config, _groups(intake))


def _groups(intake: Intake) -> dict[str, str]:
    videos = sorted({export.video_id for export in intake.exports})
    return group_of_video(videos, intake.links)


def _described(
    intake: Intake, division: Division, assignment: NDArray[np.int8]
) -> tuple[dict[str, Any], tuple[Issue, ...]]:
    """Make split.json, and what is to be said of videos that lie in several splits."""
    document = division.document(assignment)
    table = intake.index.table
    copies, issues = near_duplicates(intake.links, table, assignment, SPLIT_NAMES)
    if "certificate" in document:
        document["certificate"]["near_duplicates"] = copies
    return document, (*division.issues(assignment), *issues)


def _weights(
    index: FrameIndex, assignment: NDArray[np.int8], rows: NDArray[np.int64]
) -> dict[str, Any]:
    """Weigh the rows of the train split, as they stand in its files."""
    places = np.flatnonzero(assignment == 0)
    in_order = places[np.argsort(rows[places], kind="stable")]
    labels = index.table["labels"].combine_chunks().take(pa.array(in_order))
    return weights_document(labels, SPLIT_NAMES[0])


def _quarantine(
    intake: Intake,
    aside: NDArray[np.bool_],
    writer: ShardWriter,
    held: HeldDataset | None,
) -> tuple[list[FileDigest], list[Issue]]:
    """Write what was set aside as a dataset of its own, each row with its reasons.

    Its images are read here for the first time too: what is wrong with them is returned.
    """
    if not aside.any():
        return [], []
    results = [] if held is None else writer.keep(held, [QUARANTINE])[1]
    new = aside if held is None else aside & ~held.intact
    if new.any():
        results += writer.write(
            np.where(new, 0, -1).astype(np.int8), [QUARANTINE], stage="quarantine",
            reasons=reasons_aside(intake, new, Policy.of(writer.config)), held=held,
        )[1]  # fmt: skip
    parts = SplitParts(
        split=QUARANTINE,
        rows=int(aside.sum()),
        parts=tuple(result.parts[QUARANTINE] for result in results),
    )
    files = [file for result in results for file in result.files]
    files += finish_quarantine(writer.staging, parts)
    return files, [issue for result in results for issue in result.issues]
