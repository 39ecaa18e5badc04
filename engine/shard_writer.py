"""Shards as tasks: an assignment of frames becomes a plan, the plan tasks, the results a whole."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.apart import more_careful
from engine.config import SPLIT_NAMES, Config
from engine.conversations import TextRules
from engine.division import Division
from engine.frame_index import FrameIndex
from engine.held_shards import HeldDataset, HeldShardTask, keep_files, keep_shard
from engine.index_files import ExcludedTask, write_excluded
from engine.pixels import UNREADABLE
from engine.plan import Shard, plan_shards, rows_of
from engine.samples import SplitParts
from engine.shards import ShardResult, ShardTask, write_shard
from engine.storage import BackgroundSync, FileDigest, join
from engine.tasks import Task
from engine.work import Work

__all__ = ["QUARANTINE", "ShardWriter", "parts_by_split", "rows_of_splits"]


QUARANTINE = "quarantine"
"""What the shards of frames that were set aside are called after, in place of a split."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardWriter:
    """Turns an assignment into files, in tasks.

    Args:
        index: all frames.
        division: what each of them fell to.
        staging: folder in which OUT grows.
        out: where it will be.
        config: of the run.
        work: executes the tasks.
    """

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
        held: HeldDataset | None = None,
    ) -> tuple[list[Shard], list[ShardResult]]:
        """Plan and write the shards of some splits.

        Args:
            assignment: int8 (n,), place in `splits` of each frame; anything else leaves it out.
            splits: their names.
            stage: names the work to people.
            texts: what holds for the texts; None: there are none.
            reasons: of a quarantine, by id of the frame; None: rows to train on.
            held: what is there already: numbers go on after it, and its rows keep their texts.

        Returns:
            The plan, and what came of each of its shards.
        """
        config = self.config
        shards = plan_shards(
            self.index, assignment, splits,
            rows_per_shard=config.rows_per_shard, shard_bytes=config.shard_bytes,
        )  # fmt: skip
        shards = _numbered_after(held, shards)
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
                keep_texts=held is not None,
            )  # fmt: skip
            key = f"{shard.split}-{shard.number:05d}"
            tasks.append(Task(key=key, payload=payload, about=self._videos(shard)))
        rescue = more_careful if config.validation == "standard" else None
        return shards, self._run(write_shard, tasks, stage, self._sync, rescue=rescue)

    def _videos(self, shard: Shard) -> str:
        """Name the first and the last video of a shard: rows are in the order of videos."""
        if not len(shard.places):  # every row of it has gone since
            return ""
        ids = self.index.table["video_id"]
        ends = [ids[int(place)].as_py() for place in (shard.places.min(), shard.places.max())]
        return " to ".join(dict.fromkeys(ends))

    def _sync(self, syncing: BackgroundSync, result: ShardResult) -> None:
        if result.digests:  # beside them are thousands of images
            syncing.add_all_below(self.staging)
        else:
            self._add(syncing, result.files)

    def keep(
        self, held: HeldDataset, splits: Sequence[str]
    ) -> tuple[list[Shard], list[ShardResult]]:
        """Take shards over that are there already.

        Args:
            held: what is there.
            splits: names of the splits whose shards are wanted.

        Returns:
            These shards, and what came of each.
        """
        shards = [shard for shard in held.shards if shard.split in splits]
        tasks = [
            Task(
                key=f"{shard.split}-{shard.number:05d}",
                about=self._videos(shard),
                payload=HeldShardTask.of(
                    shard, held, staging=self.staging, out=self.out, config=_of_shards(self.config)
                ),
            )
            for shard in shards
        ]
        return shards, self._run(keep_shard, tasks, "keep", self._sync, recorded=False)

    def write_excluded(self, held: HeldDataset | None = None) -> list[FileDigest]:
        """Write the rows that the split leaves out to the index, by reason.

        Args:
            held: what is there already and stays.
        """
        tasks = []
        kept = [] if held is None else list(held.excluded)
        keep_files(self.out, self.staging, [file.path for file in kept])
        for reason, mask in self.division.exclusions().items():
            new = mask if held is None else mask & ~held.intact
            planned = plan_shards(
                self.index, np.where(new, 0, -1).astype(np.int8), [f"excluded-{reason}"],
                rows_per_shard=self.config.rows_per_shard, shard_bytes=self.config.shard_bytes,
            )  # fmt: skip
            for shard in _numbered_after(held, planned):
                payload = ExcludedTask(
                    staging=self.staging, reason=reason, number=shard.number,
                    rows=rows_of(self.index, shard.places),
                )  # fmt: skip
                tasks.append(Task(key=f"{reason}-{shard.number:05d}", payload=payload))
        if not tasks:
            return kept
        files: list[FileDigest] = self._run(
            write_excluded, tasks, "excluded", lambda syncing, file: self._add(syncing, [file])
        )
        return kept + files

    def _add(self, syncing: BackgroundSync, files: Sequence[FileDigest]) -> None:
        for file in files:
            syncing.add(join(self.staging, file.path))

    def _folds(self, shard: Shard) -> NDArray[np.int8] | None:
        return None if self.division.fold_count is None else self.division.folds[shard.places]

    def _run(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Task],
        stage: str,
        sync: Callable[[BackgroundSync, Any], None],
        *,
        recorded: bool = True,
        rescue: Callable[[Any], Any] | None = None,
    ) -> list[Any]:
        """Run tasks, and bring what each has written to the disk while others run."""
        with BackgroundSync() as syncing:
            each = partial(sync, syncing)
            return self.work.run(
                function, tasks, stage=stage, each=each, recorded=recorded, rescue=rescue,
                unchanged=_all_readable if function is write_shard else None,
            )  # fmt: skip


def _all_readable(_task: ShardTask, result: ShardResult) -> bool:
    """Say whether every image of a shard could be read; such a one may be repaired since then."""
    return not any(issue.code == UNREADABLE for issue in result.issues)


def _numbered_after(held: HeldDataset | None, shards: list[Shard]) -> list[Shard]:
    """Number new shards after those that are there."""
    first = {} if held is None else held.next_number
    return [replace(shard, number=shard.number + first.get(shard.split, 0)) for shard in shards]


def _of_shards(config: Config) -> Config:
    """The configuration as shards need it: a split file may name every frame."""
    return replace(config, split_file=None)


def rows_of_splits(
    shards: Sequence[Shard], results: Sequence[ShardResult], frames: int
) -> NDArray[np.int64]:
    """Say where each frame has come to lie.

    Args:
        shards: the plan.
        results: what came of each of its shards.
        frames: number of frames in the index.

    Returns:
        int64 (frames,): row of each frame in its split; -1 for those in none.
    """
    rows = np.full(frames, -1, np.int64)
    written: Counter[str] = Counter()
    for shard, result in zip(shards, results, strict=True):
        places = np.delete(shard.places, list(result.left_out))
        rows[places] = written[shard.split] + np.arange(len(places))
        written[shard.split] += len(places)
    return rows


def parts_by_split(
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
