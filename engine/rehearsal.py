"""`prepare --dry-run`: the resolved configuration and the plan, with nothing written to OUT.

The exports are read and checked as in a run, images by their headers, in a temporary folder that is
gone afterwards; then the frames are divided and the shards planned. What only the whole images can
tell (a bad CRC, a file that ends early) is not known before a real run.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pyarrow.compute as pc

from engine.arrivals import find_sources
from engine.config import SPLIT_NAMES, Config, Execution, records_of
from engine.dataset_build import division_of
from engine.division import Division
from engine.intake import Intake, take_in
from engine.locations import Location, location_of
from engine.manifest import OutState, state_of
from engine.plan import plan_shards
from engine.quality import Verdict
from engine.report import export_entry, finding_lines, validation_document
from engine.storage import remove, temporary_folder
from engine.work import Progress, start_work

__all__ = ["rehearse"]


def rehearse(
    sources: Location | Sequence[Location],
    out: Location,
    config: Config | None = None,
    execution: Execution | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Say what `prepare` would do.

    Args:
        sources: ZIPs, folders, globs or URLs of exports.
        out: where the dataset would go; only looked at.
        config: what to make; None: the defaults.
        execution: how to run it; None: the defaults.
        progress: told of every task that is done.

    Returns:
        The resolved configuration, what OUT holds, the exports, the status and findings that are
        known without reading whole images, and the plan: rows and shards of each split.

    Raises:
        UsageError: wrong usage, or the frames cannot be split as asked.
        ExportError: an export cannot be read.
        RunError: the run broke.
    """
    config, execution = records_of(config, execution)
    out = location_of(out, "out")
    exports = find_sources(sources)
    scratch = temporary_folder("sam2prep-")
    try:
        places = [scratch, config.frames]
        with start_work(execution, exports, progress, places=places) as work:
            intake = take_in(exports, scratch, config, work, check_images="header")
        verdict = intake.judge(config)
        division = division_of(intake, config)
    finally:
        remove(scratch)
    return _what_is_known(intake, verdict, config, out) | {
        "execution": asdict(execution),
        **_planned(intake, division, config),
    }


def _what_is_known(intake: Intake, verdict: Verdict, config: Config, out: str) -> dict[str, Any]:
    document = validation_document(intake.exports, verdict, config, images_checked="header")
    state = state_of(out)
    free = state in (OutState.EMPTY, OutState.FAILED, OutState.UNFINISHED)
    strict = verdict.status == "FAILED" and config.validation == "strict"
    return {
        "dry_run": True,
        "out": out,
        "out_holds": str(state),
        "would_write": "nothing" if not free else "a report" if strict else "a dataset",
        "config": config.to_json(),
        "exports": [export_entry(export) for export in intake.exports],
        "status": verdict.status,
        "findings": finding_lines(document),
        "frames": len(intake.index),
    }


def _planned(intake: Intake, division: Division, config: Config) -> dict[str, Any]:
    shards = plan_shards(
        intake.index, division.assignment, SPLIT_NAMES,
        rows_per_shard=config.rows_per_shard, shard_bytes=config.shard_bytes,
    )  # fmt: skip
    number = Counter(shard.split for shard in shards)
    kept = division.assignment >= 0
    sizes = intake.index.where(kept).table["image_bytes"]
    return {
        "set_aside": int((~kept & (division.excluded < 0)).sum()),
        "left_out": {name: int(mask.sum()) for name, mask in division.exclusions().items()},
        "splits": {
            name: {"rows": int((division.assignment == code).sum()), "shards": number[name]}
            for code, name in enumerate(SPLIT_NAMES)
        },
        "image_bytes": int(pc.sum(sizes).as_py() or 0),
    }
