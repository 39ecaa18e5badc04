"""The evidence for the order of masks as a picture: one frame, both readings side by side.

Whoever sees the outline lie on the object in one panel and across the frame in the other needs no
figures. The outline is drawn in dashes, white beside black: it shows on any scene, and what is
painted or seen beneath it shows between the dashes. Masks are stretched to the panel by the same
nearest-neighbour rule as everywhere else, so the picture is of what we decoded.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from engine import contours
from engine.dialect import Evidence, SampleFrame
from engine.mask_order import OrderDecision
from engine.masks import Order, dense

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

__all__ = ["draw_as_asked", "draw_evidence", "small_evidence", "telling_frame"]

_PANEL_PX, _SMALL_PX = 720, 420  # longer side of a panel
_READINGS: tuple[Order, Order] = ("row", "column")
_GAP_PX = 8
_DASH_PX = 5
_FONT_PX, _LINE_PX, _MARGIN_PX = 15, 21, 6
_QUALITIES = (75, 60, 45, 30, 15)
_LIGHT, _DARK, _PAPER, _INK, _CHOSEN = 255, 0, (255, 255, 255), (30, 30, 30), (0, 90, 50)


def draw_as_asked(
    kind: Literal["small", "full"],
    samples: Sequence[SampleFrame],
    grid: tuple[int, int],
    decision: OrderDecision,
    evidence: Evidence | None,
) -> bytes | None:
    """Draw the most telling frame of a sample.

    Args:
        kind: a small JPEG, or a PNG with the figures below it.
        samples: the frames that were looked at.
        grid: (height, width) of their masks.
        decision: the reading that was chosen, and why.
        evidence: what the frames show.

    Returns:
        The file; None if there is nothing to draw.
    """
    sample = telling_frame(samples, grid)
    if sample is None:
        return None
    if kind == "small":
        return small_evidence(sample, grid, order=decision.order)
    lines = [f"Frame {sample.frame_index}; {decision.sentence}."]
    if evidence is not None and evidence.frames_looked and decision.by != "paint":
        row, column = (100 * (s or 0.0) for s in (evidence.paint_row, evidence.paint_column))
        lines.append(
            f"In {evidence.frames_looked} frames, of the outline in the overlay's colour: "
            f"{row:.1f}% by row, {column:.1f}% by column."
        )
    return draw_evidence(sample, grid, order=decision.order, captions=lines)


def telling_frame(samples: Sequence[SampleFrame], grid: tuple[int, int]) -> SampleFrame | None:
    """Choose the frame to draw: the one whose masks cover most, so that there is much to see.

    Args:
        samples: frames with pixels; those without masks are passed over.
        grid: (height, width) of all masks.

    Returns:
        The frame, at a tie the one of smallest index; None if no frame has a mask to draw.
    """

    def covered(sample: SampleFrame) -> int:
        whole = grid[0] * grid[1]
        shares = (int(mask.counts[1::2].sum()) for mask in sample.masks)
        return sum(min(share, whole - share) for share in shares)  # a full mask has no outline

    useful = [sample for sample in samples if covered(sample)]
    return min(useful, key=lambda s: (-covered(s), s.frame_index)) if useful else None


def draw_evidence(
    sample: SampleFrame,
    grid: tuple[int, int],
    *,
    order: Order,
    captions: Sequence[str] = (),
) -> bytes:
    """Draw the outlines of a frame's masks, read row by row and column by column.

    Args:
        sample: the frame.
        grid: (height, width) of its masks.
        order: the reading that was chosen; its panel says so.
        captions: lines of text below the panels; of ours, not a user's.

    Returns:
        A PNG file; the same bytes for the same input.
    """
    picture = _panels(sample, grid, order, _PANEL_PX, captions)
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def small_evidence(
    sample: SampleFrame,
    grid: tuple[int, int],
    *,
    order: Order,
    most_bytes: int = 40 * 1024,
) -> bytes | None:
    """Draw the same smaller, as a JPEG for a page.

    Args:
        sample: the frame.
        grid: (height, width) of its masks.
        order: the reading that was chosen.
        most_bytes: of the file.

    Returns:
        A JPEG file of the best quality that fits; None if none does.
    """
    picture = _panels(sample, grid, order, _SMALL_PX, ())
    for quality in _QUALITIES:
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=quality, optimize=True)
        if stream.tell() <= most_bytes:
            return stream.getvalue()
    return None


def _panels(
    sample: SampleFrame,
    grid: tuple[int, int],
    order: Order,
    longer_px: int,
    captions: Sequence[str],
) -> "Image.Image":
    from PIL import Image, ImageDraw, ImageFont

    height, width = sample.pixels.shape[:2]
    scale = min(1.0, longer_px / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    frame = Image.fromarray(sample.pixels)
    pixels = np.asarray(frame.resize((size[1], size[0]), Image.Resampling.BOX))
    top = _LINE_PX + 2 * _MARGIN_PX
    bottom = len(captions) * _LINE_PX + (2 * _MARGIN_PX if captions else 0)
    canvas = Image.new("RGB", (2 * size[1] + _GAP_PX, top + size[0] + bottom), _PAPER)
    font = ImageFont.load_default(_FONT_PX)
    pen = ImageDraw.Draw(canvas)
    for place, reading in enumerate(_READINGS):
        left = place * (size[1] + _GAP_PX)
        canvas.paste(Image.fromarray(_outlined(pixels, sample, grid, reading)), (left, top))
        chosen = " (used)" if reading == order else ""
        ink = _CHOSEN if chosen else _INK
        title = f"read {reading} by {reading}{chosen}"
        _write(pen, font, (left + _MARGIN_PX, _MARGIN_PX), title, ink)
    for line, text in enumerate(captions):
        place_px = (_MARGIN_PX, top + size[0] + _MARGIN_PX + line * _LINE_PX)
        _write(pen, font, place_px, text, _INK)
    return canvas


def _write(
    pen: "ImageDraw.ImageDraw",
    font: "ImageFont.ImageFont | ImageFont.FreeTypeFont",
    place_px: tuple[int, int],
    text: str,
    ink: tuple[int, int, int],
) -> None:
    """Write one line; what the built-in font has no letters for becomes a question mark."""
    pen.text(place_px, text.encode("latin-1", "replace").decode("latin-1"), fill=ink, font=font)


def _outlined(
    pixels: NDArray[np.uint8], sample: SampleFrame, grid: tuple[int, int], reading: Order
) -> NDArray[np.uint8]:
    """Draw the outlines of all masks on a copy of the frame."""
    drawn = pixels.copy()
    height, width = pixels.shape[:2]
    for mask in sample.masks:
        at = contours.crossings(dense(mask.counts, grid, reading), (height, width))
        y, x = at[:, 0], at[:, 1]
        dash = (y // _DASH_PX + x // _DASH_PX) % 2 == 0
        y, x, step = y[dash], x[dash], at[dash, 2:]
        for away in (2, 1):
            out_y = np.clip(y + away * step[:, 0], 0, height - 1)
            drawn[out_y, np.clip(x + away * step[:, 1], 0, width - 1)] = _DARK
        drawn[y, x] = _LIGHT
    return drawn
