"""The books of a run: frames in and frames out, objects in and objects out.

frames in = kept + set aside + left out + repeated + replaced, and objects in = kept + hidden in
kept frames + in frames set aside, left out, repeated or replaced.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.errors import RunError
from engine.intake import Intake
from engine.shard_writer import ShardWriter
from engine.shards import ShardResult
from engine.unfinished import forget_tasks

__all__ = ["account"]


def account(
    intake: Intake,
    writer: ShardWriter,
    *,
    kept: NDArray[np.bool_],
    aside: NDArray[np.bool_],
    results: Sequence[ShardResult],
) -> dict[str, int]:
    """Check that no frame and no object was lost without a word.

    Of frames, what is kept is counted twice, in the plan and in the files; of objects in the files.

    Args:
        intake: all that was read.
        writer: of the shards; what it has written is not taken over where the numbers do not close.
        kept: bool (frames,), those in a split.
        aside: likewise, those in the quarantine.
        results: of the shards that hold what is kept.

    Returns:
        Counts, as summary.json holds them.

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
    if index.replaced:
        frames["excluded_replaced"] = index.replaced
        objects["objects_excluded_replaced"] = index.replaced_objects
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
