"""The dialect of a video with its evidence: grid of the masks, order of their runs, paint."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from engine import dialect, masks, rle_text
from engine.declared_boxes import fit_boxes
from engine.evidence_frames import EvidenceImage, first_size, sample_masks, with_image_sizes
from engine.evidence_image import draw_as_asked
from engine.frame_json import Masklets, RawFrame, RawObject
from engine.mask_order import OrderDecision, decide_order

__all__ = ["VideoDialect", "find_dialect"]


@dataclass(frozen=True, kw_only=True)
class VideoDialect:
    """The dialect of a video, with its evidence.

    Args:
        grid: of its masks; None where no mask's sum is that of an image, a video or a known square.
        decision: the order of their runs.
        evidence: from the sampled frames; None if none can be looked at.
        notations: of the sampled masks, sorted.
        samples: what was looked at.
        samples_grid: (height, width) in which it was looked at; None if it was not.
        painted: masks are painted on the frames.
        masklets: of an SA-V file; None for any other.
    """

    grid: dialect.Grid | None
    decision: OrderDecision
    evidence: dialect.Evidence | None
    notations: tuple[str, ...]
    samples: tuple[dialect.SampleFrame, ...] = ()
    samples_grid: tuple[int, int] | None = None
    painted: bool = False
    masklets: Masklets | None = None

    def shows_paint(self, least: float) -> bool:
        """Say whether so much of the masks' boundaries carries the overlay's colour."""
        return self.evidence is not None and dialect.painted(self.evidence, least)

    def drawing(self, kind: Literal["none", "small", "full"]) -> bytes | None:
        """Draw both readings of a frame; None if that is not asked for or cannot be."""
        if kind == "none" or self.samples_grid is None:
            return None
        return draw_as_asked(kind, self.samples, self.samples_grid, self.decision, self.evidence)

    def to_json(self) -> dict[str, Any]:
        """Give what the report, `inspect` and later versions of a dataset hold on to."""
        sav = {"masklets": asdict(self.masklets)} if self.masklets else {}
        return sav | {
            "grid": list(self.grid.size) if self.grid else None,
            "grid_by": self.grid.by if self.grid else None,
            "order": self.decision.order,
            "order_by": self.decision.by,
            "order_sentence": self.decision.sentence,
            "painted": self.painted,
            "notations": list(self.notations),
            "evidence": asdict(self.evidence) if self.evidence else None,
        }


def find_dialect(
    frames: Sequence[RawFrame],
    images: Mapping[int, EvidenceImage],
    *,
    mask_order: Literal["auto", "row", "column"],
    box_px: float,
    video_size: tuple[int, int] | None,
    signature: bool,
) -> VideoDialect:
    """Find by evidence which grid the masks of a video are on, and in which order their runs go.

    Args:
        frames: that were chosen for it.
        images: theirs, by frame index.
        mask_order: the user's word, or "auto".
        box_px: a declared box may be off by so much on each side.
        video_size: (height, width) as declared; None where it is not.
        signature: the export bears that of the known exporter.
    """
    records = [item for frame in frames for item in frame.objects if item.notation]
    unsized = [r for r in records if r.size is None and r.notation == "decimal"]
    image_size = first_size(images.values())
    parsed = rle_text.parse_decimal([str(r.counts) for r in unsized])
    sums = [
        int(n) for n, bad in zip(masks.sums(parsed.runs), parsed.problems, strict=True) if not bad
    ]
    grid = dialect.find_grid(sums, image_size=image_size, video_size=video_size)
    size = grid.size if grid else image_size or video_size
    samples = sample_masks(frames, images, size) if size else []
    evidence = dialect.measure(samples, size) if size else None
    boxes = fit_boxes(with_image_sizes(frames, images), size, box_px) if size else None
    decision = decide_order(
        user=None if mask_order == "auto" else mask_order,
        declared_column=_declares_column(records),
        exporter_signature=signature and bool(unsized),
        evidence=evidence,
        boxes=boxes,
    )
    return VideoDialect(
        grid=grid,
        decision=decision,
        evidence=evidence,
        samples=tuple(samples),
        samples_grid=size,
        notations=tuple(sorted({f"{r.notation}{' with size' if r.size else ''}" for r in records})),
    )


def _declares_column(records: Sequence[RawObject]) -> bool:
    """Say whether a record is COCO's; decimal text with a wrong character in it is no such one."""
    bare = [str(r.counts) for r in records if r.notation == "compressed" and r.size is None]
    readable = (problem is None for problem in rle_text.parse_compressed(bare).problems)
    return any(readable) or any(r.size is not None for r in records)
