"""A prepared dataset read back, as if its exports had just been opened and checked.

What `prepare` knew when it divided the frames is in OUT: the index has the rows, `issues.jsonl` the
findings, `validation.json` and `exports.parquet` what was seen of each export. Only the exports'
ranges are gone, and the images of frames that the split left out.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from engine.content_links import find_links, looks_of_videos
from engine.division import EXCLUSIONS
from engine.export_file import read_looks
from engine.frame_index import FrameIndex, gather
from engine.intake import Intake
from engine.manifest import read_json, read_manifest
from engine.records import ISSUE_SCHEMA, OpenedExport, Video
from engine.storage import join, read_bytes
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
    index = _index(out, manifest, summary["accounting"])
    lines = read_bytes(join(out, "report/issues.jsonl")).splitlines()
    rows = [row for row in map(orjson.loads, lines) if row["code"] != "split_leakage"]
    columns = {name: [row[name] for row in rows] for name in ISSUE_SCHEMA.names}
    return Intake(
        exports=exports,
        index=index,
        issues=pa.table(columns, schema=ISSUE_SCHEMA),
        frames_read=summary["accounting"]["frames_in"],
        objects_read=summary["accounting"]["objects_in"],
        links=find_links(looks_of_videos(exports), index.table),
    )


def _exports(
    out: str, manifest: Mapping[str, Any], summary: Mapping[str, Any]
) -> tuple[OpenedExport, ...]:
    entries = read_json(join(out, "report/validation.json"))["exports"]
    return tuple(
        OpenedExport(
            source=given["path"],
            video=Video(**entry["video"]),
            video_id=entry["video_id"],
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
            looks=looks,
            evidence_image=picture,
        )
        for entry, held, given, (looks, picture) in zip(
            entries, manifest["inputs"], summary["inputs"], read_looks(out), strict=True
        )
    )


def _index(out: str, manifest: Mapping[str, Any], accounting: Mapping[str, int]) -> FrameIndex:
    files = [f["path"] for f in manifest["files"] if f["path"].startswith("index/")]
    index = gather([join(out, name) for name in sorted(files)])
    return FrameIndex(
        files=index.files,
        table=index.table,
        duplicates=accounting["excluded_duplicates"],
        duplicate_objects=accounting["objects_excluded_duplicates"],
    )


def left_out_before(index: FrameIndex) -> NDArray[np.int8]:
    """Say which frames have no image in the dataset, because its split left them out.

    Args:
        index: as `read_intake` gives it.

    Returns:
        int8 (n,), place in `division.EXCLUSIONS`; -1 for frames that are there.
    """
    of_file = np.full(len(index.files), -1, np.int8)
    for number, file in enumerate(index.files):
        # The rows of one file were left out for one reason, or none was.
        reason = read_table(file, ["excluded_because"])["excluded_because"].slice(0, 1).to_pylist()
        if reason and reason[0] is not None:
            of_file[number] = EXCLUSIONS.index(reason[0])
    return np.asarray(of_file[index.table["file"].to_numpy()], dtype=np.int8)
