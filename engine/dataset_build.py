"""Frames to files: who is set aside, who goes to which split, and the shards they become.

What is found while the images are read (a bad CRC, a file that ends early) sets a frame aside after
the plan was made: its shard goes without it, and it joins the quarantine, written last. The
accounting is checked before anything is published: frames in = kept + set aside + left out +
repeated, and objects in = kept + hidden in kept frames + in frames set aside, left out, repeated.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.config import SPLIT_NAMES, Config
from engine.division import EXCLUSIONS, Division, divide
from engine.errors import RunError
from engine.findings import CODES, Severity
from engine.hf_layout import COLUMNS, QUARANTINE_COLUMNS, write_dataset_dict, write_split_files
from engine.intake import Intake
from engine.manifest import encode
from engine.plan import Shard, plan_shards, rows_of
from engine.quality import Verdict, judge
from engine.records import Issue
from engine.stages import ShardResult, ShardTask, write_shard
from engine.storage import BackgroundSync, FileDigest, join, write_bytes
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
        aside: whether it was set aside; what is neither was left out by the split.
        issues: found while images were read.
        leaks: found in the split: of the dataset, not of the sources.
        accounting: frames in, kept, set aside, left out, counted once; objects likewise.
    """

    files: tuple[FileDigest, ...]
    split: dict[str, Any]
    samples: int
    kept: NDArray[np.bool_]
    aside: NDArray[np.bool_]
    issues: tuple[Issue, ...]
    leaks: tuple[Issue, ...]
    accounting: dict[str, int]

    def judge(self, intake: Intake, config: Config) -> Verdict:
        """Check what is published again, without what was set aside."""
        index = intake.index.where(self.kept)
        aside = intake.index.where(self.aside).table
        out = intake.index.where(~self.kept).table
        not_published = pc.is_in(intake.issues["frame_id"], value_set=pc.unique(out["id"]))
        issues = intake.issues.filter(pc.invert(not_published))
        extra = [
            Issue(
                code="quarantined", source="", video_id=row["video_id"], frame_id=row["id"],
                frame_index=row["frame_index"], message="set aside; its findings say why",
            )
            for row in aside.select(["id", "video_id", "frame_index"]).to_pylist()
        ]  # fmt: skip
        exports = len(intake.exports)
        return judge(index.table, issues, config.imbalance_ratio, extra, exports=exports)


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
    with work.timed("split"):
        division = divide(index, ~_set_aside(intake), config)
    assignment = division.assignment.copy()
    shards = plan_shards(
        index, assignment, SPLIT_NAMES,
        rows_per_shard=config.rows_per_shard, shard_bytes=config.shard_bytes,
    )  # fmt: skip
    results = _write(shards, intake, staging, config, work, stage="write")
    for shard, result in zip(shards, results, strict=True):
        assignment[shard.places[list(result.left_out)]] = -1
    kept = assignment >= 0
    aside = ~kept & (division.excluded < 0)
    issues = [issue for result in results for issue in result.issues]
    files = _layout(shards, results, staging)
    quarantine, found = _quarantine(intake.with_issues(issues), aside, staging, config, work)
    files += quarantine
    files.append(
        _write_index(intake, division, assignment, list(zip(shards, results, strict=True)), staging)
    )
    for name, document in division.fold_documents(assignment).items():
        path = join(staging, "folds", name)
        files.append(write_bytes(path, encode(document), name=f"folds/{name}"))
    return Built(
        files=tuple(files),
        split=division.document(assignment),
        samples=int(kept.sum()),
        kept=kept,
        aside=aside,
        issues=(*issues, *found),
        leaks=tuple(division.issues(assignment)),
        accounting=_account(intake, division, kept, aside, results),
    )


def _set_aside(intake: Intake) -> NDArray[np.bool_]:
    """Frames with an error finding: their own, or one that only showed beside other frames."""
    errors = [code for code, known in CODES.items() if known.severity is Severity.ERROR]
    bad = intake.issues.filter(pc.is_in(intake.issues["code"], value_set=pa.array(errors)))
    found = pc.is_in(intake.index.table["id"], value_set=pc.unique(bad["frame_id"].drop_null()))
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
    intake: Intake, aside: NDArray[np.bool_], staging: str, config: Config, work: Work
) -> tuple[list[FileDigest], list[Issue]]:
    """Write what was set aside as a dataset of its own, each row with its reasons.

    Its images are read here for the first time too: what is wrong with them is returned.
    """
    if not aside.any():
        return [], []
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for row in intake.issues.filter(pc.is_valid(intake.issues["frame_id"])).to_pylist():
        if CODES[row["code"]].severity is Severity.ERROR:
            reasons[row["frame_id"]].append(f"{row['code']}: {row['message']}")
    shards = plan_shards(
        intake.index, np.where(aside, 0, -1).astype(np.int8), ["quarantine"],
        rows_per_shard=config.rows_per_shard, shard_bytes=config.shard_bytes,
    )  # fmt: skip
    results = _write(
        shards, intake, staging, config, work, stage="quarantine",
        reasons={frame_id: tuple(why) for frame_id, why in reasons.items()},
    )  # fmt: skip
    digests = [result.digest for result in results]
    layout = write_split_files(
        join(staging, "quarantine"), "quarantine", digests, int(aside.sum()),
        QUARANTINE_COLUMNS, split=None,
    )  # fmt: skip
    return [*digests, *layout], [issue for result in results for issue in result.issues]


def _write_index(
    intake: Intake,
    division: Division,
    assignment: NDArray[np.int8],
    written: Sequence[tuple[Shard, ShardResult]],
    staging: str,
) -> FileDigest:
    """Write one row a frame: where it is in the dataset, and what tells it from others."""
    names = np.array([*SPLIT_NAMES, None], dtype=object)
    file = np.full(len(assignment), None, dtype=object)
    row = np.full(len(assignment), -1, np.int64)
    for shard, result in written:
        places = np.delete(shard.places, list(result.left_out))
        file[places] = result.digest.path
        row[places] = np.arange(len(places))
    table = intake.index.table
    columns = {
        name: table[name]
        for name in ("id", "video_id", "frame_index", "labels", "annotation_digest", "image_crc32")
    }
    left_out = np.array([*EXCLUSIONS, None], dtype=object)[division.excluded]
    status = np.where(division.excluded >= 0, "excluded", "quarantined")
    folds = np.where(assignment >= 0, division.folds, -1)
    columns |= {
        "split": pa.array(names[assignment], pa.string()),
        "shard": pa.array(file, pa.string()),
        "row": pa.array(row, pa.int64(), mask=row < 0),
        "status": pa.array(np.where(assignment >= 0, "kept", status).tolist(), pa.string()),
        "excluded_because": pa.array(left_out, pa.string()),
        "fold": pa.array(folds.astype(np.int8), pa.int8(), mask=folds < 0),
    }
    return write_table(
        join(staging, "index", "frames.parquet"), pa.table(columns), name="index/frames.parquet"
    )


def _account(
    intake: Intake,
    division: Division,
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
    excluded = {name: index.where(mask) for name, mask in division.exclusions().items()}
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
    if intake.frames_read != sum(frames.values()) or written != frames["kept"]:
        raise RunError("accounting", f"frames were lost: {accounting}, {written} rows written")
    if intake.objects_read != sum(objects.values()):
        raise RunError("accounting", f"objects were lost: {accounting}")
    return accounting
