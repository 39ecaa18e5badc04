"""Frames to files: who is set aside, who goes to which split, and the shards they become.

What is found while the images are read (a bad CRC, a file that ends early) sets a frame aside after
the plan was made: its shard goes without it, and it joins the quarantine, written last. The
accounting is checked before anything is published: frames in = kept + set aside + left out +
repeated, and objects in = kept + hidden in kept frames + in frames set aside, left out, repeated.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine import text_report
from engine.balance import weights_document
from engine.config import SPLIT_NAMES, Config
from engine.content_links import group_of_video
from engine.division import Division, divide
from engine.errors import RunError
from engine.findings import CODES
from engine.formats import finish
from engine.frame_index import FrameIndex
from engine.hf_layout import finish_quarantine
from engine.intake import Intake
from engine.manifest import encode
from engine.near_duplicates import near_duplicates
from engine.policy import Policy
from engine.quality import Verdict, judge
from engine.records import Issue
from engine.samples import SplitParts
from engine.shard_writer import ShardWriter, parts_by_split, rows_of_splits
from engine.shards import ShardResult
from engine.storage import FileDigest, absolute, join, write_bytes
from engine.text_rules import text_rules
from engine.unfinished import forget_tasks
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
        return judge(
            index.table, issues, config.imbalance_ratio, extra,
            exports=len(intake.exports), label_keys=len(config.label_map),
            exhaustive=len(set(config.exhaustive)), policy=Policy.of(config),
        )  # fmt: skip


def _is_of_nothing_kept(issues: pa.Table, kept: FrameIndex) -> pa.ChunkedArray:
    """Which issues concern a whole video that is set aside, or an export without frames."""
    of_video = pc.and_(pc.is_valid(issues["video_id"]), pc.is_null(issues["frame_id"]))
    there = pc.is_in(issues["video_id"], value_set=pc.unique(kept.table["video_id"]))
    empty = pc.equal(issues["code"], "export_empty")
    return pc.or_(empty, pc.and_(of_video, pc.invert(there)))


def build(
    intake: Intake,
    staging: str,
    out: str,
    config: Config,
    work: Work,
    *,
    left_out: NDArray[np.int8] | None = None,
) -> Built:
    """Split the good frames and write all shards below `staging`.

    Args:
        intake: the checked frames.
        staging: where the folders of the dataset go.
        out: where they will be in the end.
        config: of the run.
        work: executes the tasks.
        left_out: int8 (n,), place in `division.EXCLUSIONS` of frames that an earlier split has left
            out and that have no image now, -1 for the others; None: there are none.

    Raises:
        UsageError: the frames cannot be split as asked.
        RunError: the run broke.
    """
    index, policy = intake.index, Policy.of(config)
    with work.timed("split"):
        division = division_of(intake, config, left_out)
    assignment = division.assignment.copy()
    writer = ShardWriter(
        index=index, division=division, staging=staging, out=absolute(out), config=config, work=work
    )
    texts = text_rules(config, index.where(assignment >= 0).table)
    shards, results = writer.write(assignment, SPLIT_NAMES, stage="write", texts=texts)
    rows = rows_of_splits(shards, results, len(index))
    assignment[rows < 0] = -1  # bad images were left out
    kept = assignment >= 0
    aside = ~kept & (division.excluded < 0)
    issues = [issue for result in results for issue in result.issues]
    files = [file for result in results for file in (result.index, *result.digests)]
    for name in config.formats:
        files += finish(name, staging, parts_by_split(name, shards, results), config)
    quarantine, found = _quarantine(intake.with_issues(issues), aside, writer, policy)
    files += quarantine + writer.write_excluded()
    for name, document in division.fold_documents(assignment, rows).items():
        path = join(staging, "folds", name)
        files.append(write_bytes(path, encode(document), name=f"folds/{name}"))
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
        accounting=_account(intake, writer, kept, aside, results),
        weights=_weights(index, assignment, rows),
    )


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
    good = ~_set_aside(intake, Policy.of(config)) & (gone < 0)
    videos = sorted({export.video_id for export in intake.exports})
    groups = group_of_video(videos, intake.links)
    division = divide(intake.index, good, config, groups)
    return replace(division, excluded=np.where(gone >= 0, gone, division.excluded))


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


def _set_aside(intake: Intake, policy: Policy) -> NDArray[np.bool_]:
    """Frames with an error finding: their own, their video's, or one seen beside other frames."""
    bad = intake.issues.filter(pc.is_in(intake.issues["code"], value_set=pa.array(policy.errors)))
    of_videos = [code for code, known in CODES.items() if known.unit == "video"]
    whole = bad.filter(pc.is_in(bad["code"], value_set=pa.array(of_videos)))
    index = intake.index.table
    found = pc.or_(
        pc.is_in(index["id"], value_set=pc.unique(bad["frame_id"].drop_null())),
        pc.is_in(index["video_id"], value_set=pc.unique(whole["video_id"].drop_null())),
    )
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)


def _quarantine(
    intake: Intake, aside: NDArray[np.bool_], writer: ShardWriter, policy: Policy
) -> tuple[list[FileDigest], list[Issue]]:
    """Write what was set aside as a dataset of its own, each row with its reasons.

    Its images are read here for the first time too: what is wrong with them is returned.
    """
    if not aside.any():
        return [], []
    _, results = writer.write(
        np.where(aside, 0, -1).astype(np.int8), ["quarantine"], stage="quarantine",
        reasons=_reasons(intake, aside, policy),
    )  # fmt: skip
    parts = SplitParts(
        split="quarantine",
        rows=int(aside.sum()),
        parts=tuple(result.parts["quarantine"] for result in results),
    )
    files = [file for result in results for file in result.files]
    files += finish_quarantine(writer.staging, parts)
    return files, [issue for result in results for issue in result.issues]


def _reasons(
    intake: Intake, aside: NDArray[np.bool_], policy: Policy
) -> dict[str, tuple[str, ...]]:
    """Say of each frame that is set aside why it is."""
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    of_video: defaultdict[str, list[str]] = defaultdict(list)
    bad = intake.issues.filter(pc.is_in(intake.issues["code"], value_set=pa.array(policy.errors)))
    for row in bad.to_pylist():
        why = f"{row['code']}: {row['message']}"
        if row["frame_id"] is not None:
            reasons[row["frame_id"]].append(why)
        elif CODES[row["code"]].unit == "video":
            of_video[row["video_id"]].append(why)
    frames = intake.index.where(aside).table.select(["id", "video_id"]).to_pylist()
    return {row["id"]: (*reasons[row["id"]], *of_video[row["video_id"]]) for row in frames}


def _account(
    intake: Intake,
    writer: ShardWriter,
    kept: NDArray[np.bool_],
    aside: NDArray[np.bool_],
    results: Sequence[ShardResult],
) -> dict[str, int]:
    """Check that no frame and no object was lost without a word.

    Of frames, what is kept is counted twice, in the plan and in the files; of objects in the files.

    Raises:
        RunError: the numbers do not close.
    """
    index = intake.index
    good, bad = index.where(kept), index.where(aside)
    excluded = {name: index.where(mask) for name, mask in writer.division.exclusions().items()}
    frames = {
        "kept": len(good), "quarantined": len(bad), "excluded_duplicates": index.duplicates,
    } | {f"excluded_{name}": len(part) for name, part in excluded.items()}  # fmt: skip
    objects = {
        "objects_kept": sum(result.objects for result in results),
        "objects_hidden": int(pc.sum(good.table["objects_hidden"]).as_py() or 0),
        "objects_quarantined": bad.objects,
        "objects_excluded_duplicates": index.duplicate_objects,
    } | {f"objects_excluded_{name}": part.objects for name, part in excluded.items()}
    accounting = {
        "frames_in": intake.frames_read, **frames, "objects_in": intake.objects_read, **objects,
    }  # fmt: skip
    written = sum(result.rows for result in results)
    lost = None
    if intake.frames_read != sum(frames.values()) or written != frames["kept"]:
        lost = f"frames were lost: {accounting}, {written} rows written"
    elif intake.objects_read != sum(objects.values()):
        lost = f"objects were lost: {accounting}"
    if lost is not None:
        forget_tasks(writer.staging)
        raise RunError("accounting", lost)
    return accounting
