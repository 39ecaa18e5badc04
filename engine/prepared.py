"""A prepared dataset read back, as if its exports had just been opened and checked.

What `prepare` knew when it divided the frames is in OUT: the index has the rows, `issues.jsonl` the
findings, `validation.json` and `exports.parquet` what was seen of each export. Only the exports'
ranges are gone, and the images of frames that the split left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.content_links import find_links, looks_of_videos
from engine.division import EXCLUSIONS
from engine.export_file import read_exports
from engine.frame_index import FrameIndex, gather
from engine.frame_json import Masklets
from engine.intake import Intake, in_order
from engine.manifest import read_issues, read_json, read_manifest
from engine.records import ISSUE_SCHEMA, OpenedExport, Video
from engine.split_file import read_assignment
from engine.storage import join
from engine.tables import read_table

__all__ = ["left_out_before", "read_intake"]


def read_intake(out: str) -> Intake:
    """Read back what a dataset was made from.

    Args:
        out: a finished dataset.

    Returns:
        Exports without ranges; all frames of the index, set aside and left out ones too; the
        issues of the sources, without what was found in the split.

    Raises:
        RunError: a file is missing or cannot be read.
    """
    manifest, summary = read_manifest(out), read_json(join(out, "summary.json"))
    exports = _exports(out, manifest, summary)
    index = _index(out, manifest, exports, summary["accounting"])
    rows = [row for row in read_issues(out) if row["code"] != "split_leakage"]
    columns = {name: [row[name] for row in rows] for name in ISSUE_SCHEMA.names}
    return Intake(
        exports=exports,
        index=index,
        issues=in_order([pa.table(columns, schema=ISSUE_SCHEMA)]),
        frames_read=summary["accounting"]["frames_in"],
        objects_read=summary["accounting"]["objects_in"],
        links=find_links(looks_of_videos(exports), index.table),
        planned=_planned(read_json(join(out, "split.json"))),
    )


def _exports(
    out: str, manifest: Mapping[str, Any], summary: Mapping[str, Any]
) -> tuple[OpenedExport, ...]:
    entries = read_json(join(out, "report/validation.json"))["exports"]
    return tuple(
        OpenedExport(
            source=given["path"],
            video=Video(**entry["video"], target_fps_declared=kept["target_fps_declared"]),
            video_id=entry["video_id"],
            named_id=kept["named_id"],
            content_digest=held["content_digest"],
            exporter_signature=entry["known_exporter"],
            frame_records=entry["frame_records"],
            ranges=(),
            grid=entry["dialect"]["grid"] and tuple(entry["dialect"]["grid"]),
            order=entry["dialect"]["order"],
            dialect=entry["dialect"],
            issues=(),
            images=entry["images"],
            image_bytes=entry["image_bytes"],
            masklets=_masklets(entry["dialect"].get("masklets")),
            looks=kept["looks"],
            evidence_image=kept["evidence_image"],
        )
        for entry, held, given, kept in zip(
            entries, manifest["inputs"], summary["inputs"], read_exports(out), strict=True
        )
    )


def _planned(split: Mapping[str, Any]) -> dict[str, int]:
    """Where frames would be whose images turned out bad when they were written."""
    return {
        f"{video}/{frame:06d}": code
        for video, (frames, codes) in read_assignment([split["set_aside"]]).items()
        for frame, code in zip(frames.tolist(), codes.tolist(), strict=True)
    }


def _masklets(kept: Mapping[str, Any] | None) -> Masklets | None:
    if kept is None:
        return None
    ids = kept["object_ids"]
    return Masklets(**{**kept, "object_ids": None if ids is None else tuple(ids)})


def _index(
    out: str,
    manifest: Mapping[str, Any],
    exports: Sequence[OpenedExport],
    accounting: Mapping[str, int],
) -> FrameIndex:
    files = [f["path"] for f in manifest["files"] if f["path"].startswith("index/")]
    return replace(
        gather([join(out, name) for name in sorted(files)], [e.content_digest for e in exports]),
        duplicates=accounting["excluded_duplicates"],
        duplicate_objects=accounting["objects_excluded_duplicates"],
        replaced=accounting.get("excluded_replaced", 0),
        replaced_objects=accounting.get("objects_excluded_replaced", 0),
    )


def left_out_before(index: FrameIndex, files: int | None = None) -> NDArray[np.int8]:
    """Say which frames have no image in the dataset, because its split left them out.

    Args:
        index: as `read_intake` gives it.
        files: of it are the dataset's, the first ones; None: all.

    Returns:
        int8 (n,), place in `division.EXCLUSIONS`; -1 for frames that are there.
    """
    of_file = np.full(len(index.files), -1, np.int8)
    for number, file in enumerate(index.files[:files]):
        # The rows of one file were left out for one reason, or none was.
        reason = read_table(file, ["excluded_because"])["excluded_because"].slice(0, 1).to_pylist()
        if reason and reason[0] is not None:
            of_file[number] = EXCLUSIONS.index(reason[0])
    return np.asarray(of_file[index.table["file"].to_numpy()], dtype=np.int8)
