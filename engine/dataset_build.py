"""Frames to files: who is set aside, who goes to which split, and the shards they become.

What is found while the images are read (a bad CRC, a file that ends early) sets a frame aside after
the plan was made: its shard goes without it, and it joins the quarantine, written last. The
accounting is checked before anything is published: frames in = kept + set aside + left out +
repeated, and objects in = kept + hidden in kept frames + in frames set aside, left out, repeated.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine import text_report
from engine.config import SPLIT_NAMES, Config
from engine.conversations import TextRules
from engine.division import Division, divide
from engine.errors import RunError
from engine.findings import CODES, Severity
from engine.formats import finish
from engine.frame_index import FrameIndex
from engine.hf_layout import finish_quarantine
from engine.index_files import ExcludedTask, write_excluded
from engine.intake import Intake
from engine.manifest import encode
from engine.plan import Shard, plan_shards, rows_of
from engine.quality import Verdict, judge
from engine.records import Issue
from engine.samples import SplitParts
from engine.shards import ShardResult, ShardTask, write_shard
from engine.storage import BackgroundSync, FileDigest, absolute, join, write_bytes
from engine.tasks import Task
from engine.text_rules import text_rules
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
        texts: what the texts are worth, as summary.json holds it.
        accounting: frames in, kept, set aside, left out, counted once; objects likewise.
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
        return judge(
            index.table, issues, config.imbalance_ratio, extra,
            exports=len(intake.exports), label_keys=len(config.label_map),
        )  # fmt: skip


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
    with work.timed("split"):
        division = divide(index, ~_set_aside(intake), config)
    assignment = division.assignment.copy()
    writer = _Writer(
        index=index, division=division, staging=staging, out=absolute(out), config=config, work=work
    )
    texts = text_rules(config, index.where(assignment >= 0).table)
    shards, results = writer.write(assignment, SPLIT_NAMES, stage="write", texts=texts)
    rows = _rows_of_splits(shards, results, len(index))
    assignment[rows < 0] = -1  # bad images were left out
    kept = assignment >= 0
    aside = ~kept & (division.excluded < 0)
    issues = [issue for result in results for issue in result.issues]
    files = [file for result in results for file in (result.index, *result.digests)]
    for name in config.formats:
        files += finish(name, staging, _by_split(name, shards, results), config)
    quarantine, found = _quarantine(intake.with_issues(issues), aside, writer)
    files += quarantine + writer.write_excluded()
    for name, document in division.fold_documents(assignment, rows).items():
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
        texts=text_report.document(text_report.merge(r.texts for r in results)),
        accounting=_account(intake, division, kept, aside, results),
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
    division: Division
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
        texts: TextRules | None = None,
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
                rows=rows_of(self.index, shard.places), config=_of_shards(config),
                texts=texts or TextRules(), reasons=why,
                folds=self._folds(shard) if reasons is None else None,
            )  # fmt: skip
            tasks.append(Task(key=f"{shard.split}-{shard.number:05d}", payload=payload))
        return shards, self._run(write_shard, tasks, stage, lambda result: result.files)

    def write_excluded(self) -> list[FileDigest]:
        """Write the rows that the split leaves out to the index, by reason."""
        tasks = []
        for reason, mask in self.division.exclusions().items():
            for shard in plan_shards(
                self.index, np.where(mask, 0, -1).astype(np.int8), [reason],
                rows_per_shard=self.config.rows_per_shard, shard_bytes=self.config.shard_bytes,
            ):  # fmt: skip
                payload = ExcludedTask(
                    staging=self.staging, reason=reason, number=shard.number,
                    rows=rows_of(self.index, shard.places),
                )  # fmt: skip
                tasks.append(Task(key=f"{reason}-{shard.number:05d}", payload=payload))
        if not tasks:
            return []
        files: list[FileDigest] = self._run(write_excluded, tasks, "excluded", lambda file: [file])
        return files

    def _folds(self, shard: Shard) -> NDArray[np.int8] | None:
        return None if self.division.fold_count is None else self.division.folds[shard.places]

    def _run(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Task],
        stage: str,
        files_of: Callable[[Any], Sequence[FileDigest]],
    ) -> list[Any]:
        """Run tasks, and bring what each has written to the disk while others run."""
        with BackgroundSync() as syncing:

            def sync(result: Any) -> None:
                if getattr(result, "digests", ()):  # beside them are thousands of images
                    syncing.add_all_below(self.staging)
                    return
                for file in files_of(result):
                    syncing.add(join(self.staging, file.path))

            return self.work.run(function, tasks, stage=stage, each=sync)


def _of_shards(config: Config) -> Config:
    """The configuration as shards need it: a split file may name every frame."""
    return replace(config, split_file=None)


def _rows_of_splits(
    shards: Sequence[Shard], results: Sequence[ShardResult], frames: int
) -> NDArray[np.int64]:
    """The row of each frame in its split: int64 (frames,); -1 for those in none."""
    rows = np.full(frames, -1, np.int64)
    written: Counter[str] = Counter()
    for shard, result in zip(shards, results, strict=True):
        places = np.delete(shard.places, list(result.left_out))
        rows[places] = written[shard.split] + np.arange(len(places))
        written[shard.split] += len(places)
    return rows


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
    intake: Intake, aside: NDArray[np.bool_], writer: _Writer
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
    _, results = writer.write(
        np.where(aside, 0, -1).astype(np.int8), ["quarantine"], stage="quarantine",
        reasons={frame_id: tuple(why) for frame_id, why in reasons.items()},
    )  # fmt: skip
    parts = SplitParts(
        split="quarantine",
        rows=int(aside.sum()),
        parts=tuple(result.parts["quarantine"] for result in results),
    )
    files = [file for result in results for file in result.files]
    files += finish_quarantine(writer.staging, parts)
    return files, [issue for result in results for issue in result.issues]


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
