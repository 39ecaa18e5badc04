"""Sample exports: what the demo prepares, and what a reader can be tried on.

Written in the dialects an export really comes in: as SAM2 Demo Export Tool 1.0.0 writes it ("real":
row-major runs on a 256x256 grid, the box of the wrong reading, paint on the frames), as the
specification asks ("coco": compressed COCO RLE in image pixels, clean frames), and as the SAM 2
dataset comes ("sav": masklets without labels, a folder of JPEGs beside them). Every other
keyword changes one thing, and one only, so that a reader can be shown one defect at a time.

The order of work is scene -> masks -> records -> files. Trade-off: masks are dense arrays here and
the truth is computed from them by numpy, slowly and plainly, without the engine's own run-length
code, so that the one can be held against the other.
"""

import functools
import hashlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.sample_files import SampleMember, macos_clutter, write_folder, write_zip
from engine.sample_masks import Drawn, moved, resized
from engine.sample_notations import mask_record, sav_between, sav_document, sav_keywords
from engine.sample_scene import Scene, encode_picture, jpeg_quality_for, paint_masks
from engine.sample_spec import (
    FrameTruth,
    ObjectTruth,
    PlannedFrame,
    SampleSpec,
    SampleTruth,
    cast_of,
    plan_frames,
)

__all__ = ["demo_exports", "write_sample_export"]

_SOURCE_FPS = 30.0
_REAL_EXPORTER = "SAM2 Demo Export Tool"
_TIMESTAMP = "2025-11-16T07:04:04.087130Z"


def write_sample_export(path: str | Path, **keywords: Any) -> SampleTruth:
    """Write one export, as a ZIP or a folder.

    The same keywords give the same bytes.

    Args:
        path: the ZIP, or with `as_folder` the folder; folders above it are made.
        **keywords: the fields of `SampleSpec`.

    Returns:
        The truth about what was written.

    Raises:
        UsageError: a position that is not in [0, frames), `image_numbers` of another length, or an
            `image_bytes` out of reach.
        TypeError: a keyword that `SampleSpec` does not have.
    """
    if keywords.get("dialect") == "sav":
        keywords = sav_keywords(keywords)
    plan = _Plan(SampleSpec(**keywords))
    spec, path = plan.spec, Path(path)
    if spec.as_folder:
        write_folder(path, _members(plan))
    else:
        write_zip(path, _members(plan), store=spec.compression == "store")
    return SampleTruth(
        path=path,
        filename=plan.filename,
        width=spec.width,
        height=spec.height,
        frame_indices=plan.frame_indices,
        frames=tuple(_truth(plan, f) for f in plan.exported) if spec.truth else None,
    )


def demo_exports(folder: str | Path) -> list[Path]:
    """Write the demo's input: three videos as the real exporter writes them.

    Their findings are warnings only: painted frames, objects hidden for a while.

    Args:
        folder: where the ZIPs go; made if it is not there.

    Returns:
        The three ZIPs, in order.
    """
    videos: list[tuple[str, dict[str, Any]]] = [
        ("street", {"class_counts": {"person": 42, "dog": 30, "car": 24}}),
        ("park", {"labels": ("person", "dog"), "hidden": dict.fromkeys(range(28, 33), (1,))}),
        ("kitchen", {"labels": ("person", "théière"), "hidden": dict.fromkeys(range(9, 13), (0,))}),
    ]
    return [
        write_sample_export(
            Path(folder) / f"{name}.zip",
            frames=42 if name == "street" else 40,
            width=640,
            height=360,
            seed=seed,
            truth=False,
            **keywords,
        ).path
        for seed, (name, keywords) in enumerate(videos, start=1)
    ]


class _Plan:
    """Everything that is settled before a byte is written."""

    def __init__(self, spec: SampleSpec) -> None:
        self.spec = spec
        self.labels, _ = cast_of(spec)
        digest = hashlib.sha256(f"sample export {spec.seed}".encode()).digest()[:16]
        self.filename = spec.filename or (
            f"session_{uuid.UUID(bytes=digest, version=4)}.mp4"
            if spec.dialect == "real"
            else f"clip_{spec.seed:04d}.mp4"
        )
        self.frames = tuple(plan_frames(spec))
        self.exported = [f for f in self.frames if f.position not in spec.frames_not_exported]
        self.frame_indices = tuple(frame.frame_index for frame in self.frames)
        # A JPEG of some size needs something to encode.
        grain = 2.0 if spec.image_bytes is None else 12.0
        self._scene = Scene(objects=len(self.labels), seed=spec.seed, grain=grain)
        kept = None if spec.distinct_images else 0
        self.drawn = functools.lru_cache(maxsize=kept)(self._draw)
        self.encoded = functools.lru_cache(maxsize=kept)(self._encode)

    def _draw(self, number: int, moment: int) -> Drawn:
        return Drawn(self._scene.mask(number, moment, *self.spec.cells), self.spec)

    def written(self, frame: PlannedFrame, number: int) -> Drawn:
        """One object as its record has it, with the defects of the frame."""
        spec, place, moment = self.spec, frame.position, frame.moment
        if number != frame.objects[0]:
            return self.drawn(number, moment)
        while place in spec.frozen_masks and place > 0:
            place -= 1
            moment = self.frames[place].moment
        drawn = self.drawn(number, moment)
        cells = drawn.cells
        if frame.position in (spec.area_jump or {}):
            cells = resized(cells, (spec.area_jump or {})[frame.position])
        if frame.position in (spec.centroid_jump or {}):
            cells = moved(cells, (spec.centroid_jump or {})[frame.position])
        return drawn if cells is drawn.cells else Drawn(cells, spec)

    def picture(
        self, moment: int, objects: tuple[int, ...], hidden: frozenset[int]
    ) -> NDArray[np.uint8]:
        """One frame as the exporter would write it, uint8 (height, width, 3)."""
        spec = self.spec
        masks = {k: self.drawn(k, moment).mask for k in objects if k not in hidden}
        pixels = self._scene.picture(moment, masks, (spec.height, spec.width))
        if not spec.painted:
            return pixels
        labels = [self.labels[k] for k in objects]
        return paint_masks(pixels, [masks.get(k) for k in objects], labels)

    def _encode(
        self,
        moment: int,
        objects: tuple[int, ...],
        hidden: frozenset[int],
        black: bool = False,
        half: bool = False,
    ) -> bytes:
        pixels = self.picture(moment, objects, hidden)
        if black:
            pixels = np.zeros_like(pixels)
        if half:
            pixels = np.ascontiguousarray(pixels[: pixels.shape[0] // 2, : pixels.shape[1] // 2])
        return encode_picture(pixels, self.spec.image_format, self._quality)

    @functools.cached_property
    def _quality(self) -> int:
        if self.spec.image_bytes is None:
            return 92
        everything = tuple(range(len(self.labels)))
        return jpeg_quality_for(self.picture(0, everything, frozenset()), self.spec.image_bytes)


def _truth(plan: _Plan, frame: PlannedFrame) -> FrameTruth:
    objects = []
    for number in frame.objects:
        drawn, visible = plan.drawn(number, frame.moment), number not in frame.hidden
        objects.append(
            ObjectTruth(
                object_id=number,
                label=plan.labels[number],
                visible=visible,
                mask=drawn.mask if visible else np.zeros_like(drawn.mask),
                bbox=drawn.bbox if visible else (0, 0, 0, 0),
                area=drawn.area if visible else 0,
            )
        )
    return FrameTruth(
        position=frame.position,
        frame_index=frame.frame_index,
        timestamp_sec=round(frame.frame_index / _SOURCE_FPS, 3),
        image=frame.image,
        objects=tuple(objects),
    )


def _object_record(plan: _Plan, frame: PlannedFrame, number: int) -> dict[str, object]:
    spec, place = plan.spec, frame.position
    struck = number == frame.objects[0]
    if number in frame.hidden or (struck and place in spec.mask_empty):
        runs, bbox = [spec.cells[0] * spec.cells[1]], [0, 0, 0, 0]
    else:
        drawn = plan.written(frame, number)
        runs, bbox = list(drawn.runs), list(drawn.written_bbox)
    area = sum(runs[1::2])
    if struck:
        runs[-1] += (spec.mask_sum_off_by or {}).get(place, 0)
        area += (spec.area_off or {}).get(place, 0)
        bbox[0] += (spec.bbox_off or {}).get(place, 0)
    return {
        "object_id": number,
        spec.label_key: (struck and (spec.label_change or {}).get(place)) or plan.labels[number],
        spec.mask_key: mask_record(
            spec,
            runs,
            truncated=struck and place in spec.mask_truncated,
            swapped=place in spec.size_swapped,
        ),
        "bbox": bbox,
        "area": area,
        "confidence": 0.95,
    }


def _frame_record(plan: _Plan, frame: PlannedFrame) -> dict[str, object]:
    spec = plan.spec
    late = (spec.timestamp_off or {}).get(frame.position, 0.0)
    record: dict[str, object] = {
        "frame_index": frame.frame_index,
        "timestamp_sec": round(frame.frame_index / _SOURCE_FPS + late, 3),
    }
    if spec.image_key and frame.image:
        whole = spec.image_key == "image_path"
        record[spec.image_key] = frame.image if whole else frame.image.rpartition("/")[2]
    there = frame.objects[frame.position in spec.flicker :]
    objects = [_object_record(plan, frame, number) for number in there]
    return {**record, "objects": [_without(o, spec) for o in objects]}


def _without(record: dict[str, object], spec: SampleSpec) -> dict[str, object]:
    return {key: value for key, value in record.items() if key not in spec.omit_keys}


def _sav_masks(plan: _Plan, frame: PlannedFrame) -> list[NDArray[np.bool_] | None]:
    """All objects of the video, with None for those that are not visible in the frame."""
    seen = set(frame.objects) - frame.hidden
    numbers = range(len(plan.labels))
    return [plan.drawn(k, frame.moment).mask if k in seen else None for k in numbers]


def _documents(plan: _Plan) -> Iterator[tuple[str, dict[str, object]]]:
    """The JSON files: name and content."""
    spec = plan.spec
    if spec.dialect == "sav":
        masks = [_sav_masks(plan, frame) for frame in plan.exported]
        yield f"{plan.filename}_{spec.sav_kind}.json", sav_document(spec, plan.filename, masks)
        return
    total = spec.total_frames or (spec.frames + spec.orphan_images) * spec.frame_step
    duration = total / _SOURCE_FPS if spec.duration_sec is None else spec.duration_sec
    video: dict[str, object] = {
        "filename": plan.filename,
        "width": spec.width,
        "height": spec.height,
    }
    config: dict[str, object] = {
        "target_fps": _SOURCE_FPS / spec.frame_step,
        "total_exported_frames": spec.frames,
        "frame_indices": list(plan.frame_indices),
    }
    span = {spec.fps_key: _SOURCE_FPS, "total_frames": total, "duration_sec": round(duration, 3)}
    head = {
        "video": _without({**video, **span}, spec),
        "export_config": {
            **config,
            "export_timestamp": _TIMESTAMP,
            "exporter_version": "1.0.0" if spec.dialect == "real" else "3.1",
        },
    }
    frames = [_without(_frame_record(plan, frame), spec) for frame in plan.exported]
    body = {spec.annotations_key: frames}
    yield "annotations.json", {**body, **head} if spec.annotations_first else {**head, **body}
    if not spec.metadata:
        return
    other = _REAL_EXPORTER if spec.dialect == "real" else "Video Annotation Export"
    seen = [number for frame in plan.exported for number in frame.objects]
    yield (
        "metadata.json",
        {
            "export_info": {
                "created_at": _TIMESTAMP,
                "format_version": "1.0",
                "exporter": spec.exporter or other,
            },
            "video": {
                **video,
                "fps": _SOURCE_FPS,
                "total_frames": total,
                "duration_sec": duration,
            },
            "export_config": {key: config[key] for key in ("target_fps", "frame_indices")},
            "statistics": {
                "total_frames": len(plan.exported),
                "total_objects": len(seen),
                "unique_objects": len(set(seen)),
                "objects_per_frame": len(seen) / len(plan.exported) if plan.exported else 0,
            },
        },
    )


def _images(plan: _Plan) -> Iterator[SampleMember]:
    """The image files, below the enclosing folder."""
    spec = plan.spec
    for frame in plan.exported:
        if frame.image is None:
            continue
        place = frame.position
        shown = frame
        while shown.position in spec.repeated_images and shown.position > 0:
            shown = plan.frames[shown.position - 1]
        data = plan.encoded(
            shown.moment,
            shown.objects,
            shown.hidden,
            place in spec.black_frames,
            place in spec.image_wrong_size,
        )
        if place in spec.image_truncated:
            data = data[: len(data) * 3 // 5]
        if place in spec.image_zero_bytes:
            data = b""
        yield SampleMember(frame.image, data, place in spec.image_crc_flip)
        for number in sav_between(spec, frame.frame_index):
            yield SampleMember(spec.image_name(number), data)
    everything = tuple(range(len(plan.labels)))
    for place in range(spec.frames, spec.frames + spec.orphan_images):
        data = plan.encoded(place, everything, frozenset())
        yield SampleMember(spec.image_name(place * spec.frame_step), data)


def _members(plan: _Plan) -> Iterator[SampleMember]:
    """All files in the archive's order."""
    spec = plan.spec
    folder = f"{spec.enclosing_folder}/" if spec.enclosing_folder else ""
    names = []
    for name, document in _documents(plan):
        names.append(folder + name)
        yield SampleMember(names[-1], json.dumps(document, indent=spec.indent).encode())
    for name, data, damaged in _images(plan):
        names.append(folder + name)
        yield SampleMember(names[-1], data, damaged)
    if spec.macosx:
        yield from macos_clutter(names, folder)
