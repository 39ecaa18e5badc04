"""Scan tasks over sample exports, for the tests of what workers do."""

from engine.config import Config
from engine.mask_check import MaskReading
from engine.stages import ScanTask
from engine.survey import OpenTask, open_export

SMALL = {"frames": 6, "width": 160, "height": 96, "dialect": "coco"}


def scans(tmp_path, truth, *, check_images="header", **cutting):
    task = OpenTask.of(str(truth.path), str(tmp_path / "ranges"), Config(), 1, **cutting)
    export = open_export(task)
    reading = MaskReading(
        grid=export.grid, order=export.order, known_exporter=export.exporter_signature
    )
    return [
        ScanTask(
            range=file, source=export.name, export_digest=export.content_digest,
            video_id=export.video_id, video_size=export.video.size,
            reading=reading, check_images=check_images,
            rows_path=str(tmp_path / f"rows-{number}.parquet"),
            issues_path=str(tmp_path / f"issues-{number}.parquet"),
        )
        for number, file in enumerate(export.ranges)
    ]  # fmt: skip
