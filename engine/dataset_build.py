"""Frames to files: who is set aside, who goes to which split, and the shards they become.

What is found while the images are read (a bad CRC, a file that ends early) sets a frame aside after
the plan was made: its shard goes without it, and it joins the quarantine, written last. The
accounting is checked before anything is published: frames in = kept + set aside + repeated, and
objects in = kept + hidden in kept frames + set aside + in repeated frames.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.balance import weights_document
from engine.config import SPLIT_NAMES, Config
from engine.errors import RunError
from engine.findings import CODES
from engine.frame_index import FrameIndex, split_input
from engine.hf_layout import COLUMNS, QUARANTINE_COLUMNS, write_dataset_dict, write_split_files
from engine.intake import Intake
from engine.plan import Shard, plan_shards, rows_of
from engine.policy import Policy
from engine.quality import Verdict, judge
from engine.records import Issue
from engine.splits import assign, certificate
from engine.stages import ShardResult, ShardTask, write_shard
from engine.storage import BackgroundSync, FileDigest, join
from engine.tables import write_table
from engine.tasks import Task
from engine.work import Work

__all__ = ["Built", "build"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Built:
    """A dataset in staging.

    Args:
        files: of the dataset, with digests.
        split: what split.json holds.
        samples: rows in all splits.
        kept: for each frame of the index, whether it is one of them.
        issues: found while images were read.
        accounting: frames in, kept, set aside, counted once; objects likewise.
        weights: of the rows of the train split, in their order.
    """

    files: tuple[FileDigest, ...]
    split: dict[str, Any]
    samples: int
    kept: NDArray[np.bool_]
    issues: tuple[Issue, ...]
    accounting: dict[str, int]
    weights: dict[str, Any]

    def judge(self, intake: Intake, config: Config) -> Verdict:
        """Check what is published again, without what was set aside."""
        index = intake.index.where(self.kept)
        aside = intake.index.where(~self.kept).table
        gone = pc.or_(
            pc.is_in(intake.issues["frame_id"], value_set=pc.unique(aside["id"])),
            _is_of_nothing_kept(intake.issues, index),
        )
        issues = intake.issues.filter(pc.invert(gone))
        extra = [
            Issue(
                code="quarantined", source="", video_id=row["video_id"], frame_id=row["id"],
                frame_index=row["frame_index"], message="set aside; its findings say why",
            )
            for row in aside.select(["id", "video_id", "frame_index"]).to_pylist()
        ]  # fmt: skip
        exports = len(intake.exports)
        return judge(
            index.table, issues, config.imbalance_ratio, extra, exports=exports,
            policy=Policy.of(config),
        )  # fmt: skip


def _is_of_nothing_kept(issues: pa.Table, kept: FrameIndex) -> pa.ChunkedArray:
    """Which issues concern a whole video that is set aside, or an export without frames."""
    of_video = pc.and_(pc.is_valid(issues["video_id"]), pc.is_null(issues["frame_id"]))
    there = pc.is_in(issues["video_id"], value_set=pc.unique(kept.table["video_id"]))
    empty = pc.equal(issues["code"], "export_empty")
    return pc.or_(empty, pc.and_(of_video, pc.invert(there)))


def build(intake: Intake, staging: str, config: Config, work: Work) -> Built:
    """Split the good frames and write all shards below `staging`.

    Args:
        intake: the checked frames.
        staging: where the folders of the dataset go.
        config: of the run.
        work: executes the tasks.

    Raises:
        UsageError: the frames cannot be split as asked.
        RunError: the run broke.
    """
    index = intake.index
    policy = Policy.of(config)
    kept = ~_set_aside(intake, policy)
    places = np.flatnonzero(kept)
    assignment = np.full(len(index), -1, np.int8)
    if len(places):
        with work.timed("split"):
            data = split_input(index.where(kept))
            assignment[places] = assign(config.split, data, ratios=config.ratios, seed=config.seed)
    shards = plan_shards(
        index, assignment, SPLIT_NAMES,
        rows_per_shard=config.rows_per_shard, shard_bytes=config.shard_bytes,
    )  # fmt: skip
    results = _write(shards, intake, staging, config, work, stage="write")
    for shard, result in zip(shards, results, strict=True):
        assignment[shard.places[list(result.left_out)]] = -1
    kept = assignment >= 0
    issues = [issue for result in results for issue in result.issues]
    files = _layout(shards, results, staging)
    aside, found = _quarantine(intake.with_issues(issues), kept, staging, config, work)
    files += aside
    issues += found
    files.append(_write_index(intake, assignment, shards, results, staging))
    return Built(
        files=tuple(files),
        split=_split_document(index.where(kept), assignment[kept], config),
        samples=int(kept.sum()),
        kept=kept,
        issues=tuple(issues),
        accounting=_account(intake, kept, results),
        weights=_weights(index, shards, results),
    )


def _weights(
    index: FrameIndex, shards: Sequence[Shard], results: Sequence[ShardResult]
) -> dict[str, Any]:
    """Weigh the rows of the train split, as they stand in its files."""
    train = SPLIT_NAMES[0]
    rows = [np.zeros(0, np.int64)] + [
        np.delete(shard.places, list(result.left_out))
        for shard, result in zip(shards, results, strict=True)
        if shard.folder == train
    ]
    labels = index.table["labels"].combine_chunks().take(pa.array(np.concatenate(rows)))
    return weights_document(labels, train)


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


def _write(
    shards: Sequence[Shard],
    intake: Intake,
    staging: str,
    config: Config,
    work: Work,
    *,
    stage: str,
    reasons: dict[str, tuple[str, ...]] | None = None,
) -> list[ShardResult]:
    tasks = []
    for shard in shards:
        folder = "quarantine" if reasons is not None else f"hf/{shard.folder}"
        why = None
        if reasons is not None:
            ids = intake.index.table["id"].take(pa.array(shard.places)).to_pylist()
            why = tuple(reasons[frame_id] for frame_id in ids)
        payload = ShardTask(
            path=join(staging, folder, shard.name), name=f"{folder}/{shard.name}",
            rows=rows_of(intake.index, shard.places), seed=config.seed,
            box_style=config.box_style, check_images=config.check_images, reasons=why,
        )  # fmt: skip
        tasks.append(Task(key=f"{folder}/{shard.name}", payload=payload))
    with BackgroundSync() as syncing:
        results: list[ShardResult] = work.run(
            write_shard, tasks, stage=stage,
            each=lambda result: syncing.add(join(staging, result.digest.path)),
        )  # fmt: skip
    return results


def _layout(
    shards: Sequence[Shard], results: Sequence[ShardResult], staging: str
) -> list[FileDigest]:
    """Write what makes the shards a `DatasetDict`."""
    files = [result.digest for result in results]
    present = []
    for split in SPLIT_NAMES:
        own = [r for s, r in zip(shards, results, strict=True) if s.folder == split]
        rows = sum(result.rows for result in own)
        if rows:
            present.append(split)
            files += write_split_files(
                join(staging, "hf", split), f"hf/{split}", [r.digest for r in own], rows, COLUMNS,
                split=split,
            )  # fmt: skip
    if present:
        files.append(write_dataset_dict(join(staging, "hf"), "hf", present))
    return files


def _quarantine(
    intake: Intake, kept: NDArray[np.bool_], staging: str, config: Config, work: Work
) -> tuple[list[FileDigest], list[Issue]]:
    """Write what was set aside as a dataset of its own, each row with its reasons.

    Its images are read here for the first time too: what is wrong with them is returned.
    """
    if kept.all():
        return [], []
    reasons = _reasons(intake, kept, Policy.of(config))
    shards = plan_shards(
        intake.index, np.where(kept, -1, 0).astype(np.int8), ["quarantine"],
        rows_per_shard=config.rows_per_shard, shard_bytes=config.shard_bytes,
    )  # fmt: skip
    results = _write(
        shards, intake, staging, config, work, stage="quarantine",
        reasons=reasons,
    )  # fmt: skip
    digests = [result.digest for result in results]
    layout = write_split_files(
        join(staging, "quarantine"), "quarantine", digests, int((~kept).sum()),
        QUARANTINE_COLUMNS, split=None,
    )  # fmt: skip
    return [*digests, *layout], [issue for result in results for issue in result.issues]


def _reasons(intake: Intake, kept: NDArray[np.bool_], policy: Policy) -> dict[str, tuple[str, ...]]:
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
    aside = intake.index.where(~kept).table.select(["id", "video_id"]).to_pylist()
    return {row["id"]: (*reasons[row["id"]], *of_video[row["video_id"]]) for row in aside}


def _write_index(
    intake: Intake,
    assignment: NDArray[np.int8],
    shards: Sequence[Shard],
    results: Sequence[ShardResult],
    staging: str,
) -> FileDigest:
    """Write one row a frame: where it is in the dataset, and what tells it from others."""
    names = np.array([*SPLIT_NAMES, None], dtype=object)
    file = np.full(len(assignment), None, dtype=object)
    row = np.full(len(assignment), -1, np.int64)
    for shard, result in zip(shards, results, strict=True):
        places = np.delete(shard.places, list(result.left_out))
        file[places] = result.digest.path
        row[places] = np.arange(len(places))
    table = intake.index.table
    columns = {
        name: table[name]
        for name in ("id", "video_id", "frame_index", "labels", "annotation_digest", "image_crc32")
    }
    columns |= {
        "split": pa.array(names[assignment], pa.string()),
        "shard": pa.array(file, pa.string()),
        "row": pa.array(row, pa.int64(), mask=row < 0),
        "status": pa.array(np.where(assignment >= 0, "kept", "quarantined").tolist(), pa.string()),
    }
    return write_table(
        join(staging, "index", "frames.parquet"), pa.table(columns), name="index/frames.parquet"
    )


def _split_document(
    index: FrameIndex, assignment: NDArray[np.int8], config: Config
) -> dict[str, Any]:
    sizes = np.bincount(assignment, minlength=len(SPLIT_NAMES))
    document = {
        "strategy": config.split,
        "ratios": dict(zip(SPLIT_NAMES, config.ratios, strict=True)),
        "seed": config.seed,
        "sizes": {name: int(n) for name, n in zip(SPLIT_NAMES, sizes, strict=True)},
    }
    if len(index):
        document["certificate"] = certificate(
            split_input(index), assignment,
            strategy=config.split, ratios=config.ratios, seed=config.seed,
        )  # fmt: skip
    return document


def _account(
    intake: Intake, kept: NDArray[np.bool_], results: Sequence[ShardResult]
) -> dict[str, int]:
    """Check that no frame and no object was lost without a word.

    Of frames, what is kept is counted twice, in the plan and in the files; of objects in the files.

    Raises:
        RunError: the numbers do not close.
    """
    index = intake.index
    good, aside = index.where(kept), index.where(~kept)
    frames = {
        "kept": len(good), "quarantined": len(aside), "excluded_duplicates": index.duplicates,
    }  # fmt: skip
    objects = {
        "objects_kept": sum(result.objects for result in results),
        "objects_hidden": int(pc.sum(good.table["objects_hidden"]).as_py() or 0),
        "objects_quarantined": aside.objects,
        "objects_excluded_duplicates": index.duplicate_objects,
    }
    accounting = {
        "frames_in": intake.frames_read, **frames, "objects_in": intake.objects_read, **objects,
    }  # fmt: skip
    written = sum(result.rows for result in results)
    if intake.frames_read != sum(frames.values()) or written != frames["kept"]:
        raise RunError("accounting", f"frames were lost: {accounting}, {written} rows written")
    if intake.objects_read != sum(objects.values()):
        raise RunError("accounting", f"objects were lost: {accounting}")
    return accounting
