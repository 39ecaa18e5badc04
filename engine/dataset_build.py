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

from engine.config import SPLIT_NAMES, Config
from engine.errors import RunError
from engine.findings import CODES, Severity
from engine.formats import finish
from engine.frame_index import FrameIndex, split_input
from engine.hf_layout import finish_quarantine
from engine.intake import Intake
from engine.plan import Shard, plan_shards, rows_of
from engine.quality import Verdict, judge
from engine.records import Issue
from engine.samples import SplitParts
from engine.shards import ShardResult, ShardTask, write_shard
from engine.splits import assign, certificate
from engine.storage import BackgroundSync, FileDigest, absolute, join
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
    """

    files: tuple[FileDigest, ...]
    split: dict[str, Any]
    samples: int
    kept: NDArray[np.bool_]
    issues: tuple[Issue, ...]
    accounting: dict[str, int]

    def judge(self, intake: Intake, config: Config) -> Verdict:
        """Check what is published again, without what was set aside."""
        index = intake.index.where(self.kept)
        aside = intake.index.where(~self.kept).table
        in_quarantine = pc.is_in(intake.issues["frame_id"], value_set=pc.unique(aside["id"]))
        issues = intake.issues.filter(pc.invert(in_quarantine))
        extra = [
            Issue(
                code="quarantined", source="", video_id=row["video_id"], frame_id=row["id"],
                frame_index=row["frame_index"], message="set aside; its findings say why",
            )
            for row in aside.select(["id", "video_id", "frame_index"]).to_pylist()
        ]  # fmt: skip
        exports = len(intake.exports)
        return judge(index.table, issues, config.imbalance_ratio, extra, exports=exports)


def build(intake: Intake, staging: str, out: str, config: Config, work: Work) -> Built:
    """Split the good frames and write all shards below `staging`.

    Args:
        intake: the checked frames.
        staging: where the folders of the dataset go.
        out: where they will be in the end.
        config: of the run.
        work: executes the tasks.

    Raises:
        UsageError: the frames cannot be split as asked.
        RunError: the run broke.
    """
    index = intake.index
    kept = ~_set_aside(intake)
    places = np.flatnonzero(kept)
    assignment = np.full(len(index), -1, np.int8)
    if len(places):
        with work.timed("split"):
            data = split_input(index.where(kept))
            assignment[places] = assign(config.split, data, ratios=config.ratios, seed=config.seed)
    writer = _Writer(index=index, staging=staging, out=absolute(out), config=config, work=work)
    shards, results = writer.write(assignment, SPLIT_NAMES, stage="write")
    for shard, result in zip(shards, results, strict=True):
        assignment[shard.places[list(result.left_out)]] = -1
    kept = assignment >= 0
    issues = [issue for result in results for issue in result.issues]
    files = [file for result in results for file in (result.index, *result.digests)]
    for name in config.formats:
        files += finish(name, staging, _by_split(name, shards, results), config)
    aside, found = _quarantine(intake.with_issues(issues), kept, writer)
    return Built(
        files=tuple(files + aside),
        split=_split_document(index.where(kept), assignment[kept], config),
        samples=int(kept.sum()),
        kept=kept,
        issues=(*issues, *found),
        accounting=_account(intake, kept, results),
    )


def _set_aside(intake: Intake) -> NDArray[np.bool_]:
    """Frames with an error finding: their own, or one that only showed beside other frames."""
    errors = [code for code, known in CODES.items() if known.severity is Severity.ERROR]
    bad = intake.issues.filter(pc.is_in(intake.issues["code"], value_set=pa.array(errors)))
    found = pc.is_in(intake.index.table["id"], value_set=pc.unique(bad["frame_id"].drop_null()))
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Writer:
    """Turns an assignment into files, in tasks."""

    index: FrameIndex
    staging: str
    out: str
    config: Config
    work: Work

    def write(
        self,
        assignment: NDArray[np.int8],
        splits: Sequence[str],
        *,
        stage: str,
        reasons: dict[str, tuple[str, ...]] | None = None,
    ) -> tuple[list[Shard], list[ShardResult]]:
        """Plan and write the shards of some splits; `reasons` are those of a quarantine, by id."""
        config = self.config
        shards = plan_shards(
            self.index, assignment, splits,
            rows_per_shard=config.rows_per_shard, shard_bytes=config.shard_bytes,
        )  # fmt: skip
        tasks = []
        for shard in shards:
            why = None
            if reasons is not None:
                ids = self.index.table["id"].take(pa.array(shard.places)).to_pylist()
                why = tuple(reasons[frame_id] for frame_id in ids)
            payload = ShardTask(
                staging=self.staging, out=self.out, split=shard.split, number=shard.number,
                rows=rows_of(self.index, shard.places), config=config, reasons=why,
            )  # fmt: skip
            tasks.append(Task(key=f"{shard.split}-{shard.number:05d}", payload=payload))
        with BackgroundSync() as syncing:

            def sync(result: ShardResult) -> None:
                if result.digests:  # beside them are thousands of images
                    syncing.add_all_below(self.staging)
                    return
                for file in result.files:
                    syncing.add(join(self.staging, file.path))

            return shards, self.work.run(write_shard, tasks, stage=stage, each=sync)


def _by_split(
    name: str, shards: Sequence[Shard], results: Sequence[ShardResult]
) -> list[SplitParts]:
    """Put one format's shares together, split by split."""
    return [
        SplitParts(
            split=split,
            rows=sum(r.rows for s, r in zip(shards, results, strict=True) if s.split == split),
            parts=tuple(
                r.parts[name] for s, r in zip(shards, results, strict=True) if s.split == split
            ),
        )
        for split in SPLIT_NAMES
    ]


def _quarantine(
    intake: Intake, kept: NDArray[np.bool_], writer: _Writer
) -> tuple[list[FileDigest], list[Issue]]:
    """Write what was set aside as a dataset of its own, each row with its reasons.

    Its images are read here for the first time too: what is wrong with them is returned.
    """
    if kept.all():
        return [], []
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for row in intake.issues.filter(pc.is_valid(intake.issues["frame_id"])).to_pylist():
        if CODES[row["code"]].severity is Severity.ERROR:
            reasons[row["frame_id"]].append(f"{row['code']}: {row['message']}")
    _, results = writer.write(
        np.where(kept, -1, 0).astype(np.int8), ["quarantine"], stage="quarantine",
        reasons={frame_id: tuple(why) for frame_id, why in reasons.items()},
    )  # fmt: skip
    parts = SplitParts(
        split="quarantine",
        rows=int((~kept).sum()),
        parts=tuple(result.parts["quarantine"] for result in results),
    )
    files = [file for result in results for file in result.files]
    files += finish_quarantine(writer.staging, parts)
    return files, [issue for result in results for issue in result.issues]


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
