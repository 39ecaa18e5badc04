"""Boxes as text, in the notation a trainer expects, and back to pixels.

Trade-off: six fixed notations instead of a format string, since each is the convention of a model
family, with its own arithmetic. Rounding is done in whole numbers, half up, and a box never becomes
empty by it: of two edges that round to the same, the worse rounded is moved out by one.

Sources: `norm1000` and `qwen25` are Qwen2-VL's and Qwen2.5-VL's (`smart_resize`: both sides are
multiples of 28, the area is from 4 * 28 * 28 to `max_pixels`); `norm1` with `pad_square` is LLaVA
1.5's (`expand2square` pastes the image into the middle of a square, at half the difference, rounded
down); `loc1024` is PaliGemma's: y before x, four tokens of 1024 bins, the last of which also holds
the image's far edge.
"""

import difflib
import math
import re
from dataclasses import dataclass
from functools import lru_cache

from engine.errors import ConfigError

__all__ = ["Box", "BoxStyle", "box_slack", "box_text", "read_boxes", "smart_resize"]

Box = tuple[int, int, int, int]

_FACTOR = 28
_MIN_PIXELS = 4 * _FACTOR * _FACTOR
_BINS = 1024
_STYLES = ("norm1000", "xywh", "xyxy", "norm1", "qwen25", "loc1024")
_QUOTED = {
    "norm1": re.compile(r"\[(\d\.\d{3}), (\d\.\d{3}), (\d\.\d{3}), (\d\.\d{3})\]"),
    "loc1024": re.compile(r"<loc(\d{4})><loc(\d{4})><loc(\d{4})><loc(\d{4})>"),
}
_WHOLE = re.compile(r"\[(\d+), (\d+), (\d+), (\d+)\]")


@dataclass(frozen=True, kw_only=True)
class BoxStyle:
    """How texts write boxes.

    Args:
        name: "norm1000": `[x1, y1, x2, y2]`, whole numbers 0 to 1000 of the image's width and
            height. "xyxy": the same in pixels. "xywh": `[x, y, width, height]` in pixels. "norm1":
            as norm1000 from 0 to 1, three decimals. "qwen25": pixels of the image as Qwen2.5-VL
            resizes it. "loc1024": `<loc0123>` four times: y1, x1, y2, x2 in 1024ths. x2 and y2 are
            exclusive in all of them.
        max_pixels: of the resized image, for qwen25 alone, which needs it; 3136 or more.
        pad_square: norm1 is of the image padded to a square.

    Raises:
        ConfigError: an unknown name, or an option that does not fit it.
    """

    name: str = "norm1000"
    max_pixels: int | None = None
    pad_square: bool = False

    def __post_init__(self) -> None:
        if self.name not in _STYLES:
            near = difflib.get_close_matches(self.name, _STYLES, n=1)
            raise ConfigError(
                "box_style", "no such choice", got=repr(self.name), expected=" | ".join(_STYLES),
                advice=f"did you mean {near[0]}?" if near else None,
            )  # fmt: skip
        if self.pad_square and self.name != "norm1":
            raise ConfigError(
                "pad_square", "does not fit the box style", got=self.name, expected="norm1",
                advice="add --box-style norm1, or leave out --pad-square",
            )  # fmt: skip
        if self.max_pixels is not None and self.name != "qwen25":
            raise ConfigError(
                "max_pixels", "does not fit the box style", got=self.name, expected="qwen25",
                advice="add --box-style qwen25, or leave out --max-pixels",
            )  # fmt: skip
        if self.name == "qwen25" and (self.max_pixels or 0) < _MIN_PIXELS:
            raise ConfigError(
                "max_pixels", "the box style qwen25 needs it", got=repr(self.max_pixels),
                expected=f"{_MIN_PIXELS} or more, as the trainer is told",
                advice="for example --max-pixels 1003520 (1280 * 28 * 28)",
            )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """Image pixels to the numbers of a style: `(pixel + offset) * steps / size`, for each axis."""

    offset: tuple[int, int]
    size: tuple[int, int]
    steps: tuple[int, int]


@lru_cache(maxsize=1024)
def _scale(width: int, height: int, style: BoxStyle) -> _Scale:
    offset, size, steps = (0, 0), (width, height), (width, height)
    if style.name == "qwen25":
        steps = smart_resize(width, height, style.max_pixels or _MIN_PIXELS)
    elif style.name == "loc1024":
        steps = (_BINS, _BINS)
    elif style.name in ("norm1000", "norm1"):
        steps = (1000, 1000)
    if style.pad_square:
        side = max(width, height)
        offset, size = ((side - width) // 2, (side - height) // 2), (side, side)
    return _Scale(offset=offset, size=size, steps=steps)


def smart_resize(width: int, height: int, max_pixels: int) -> tuple[int, int]:
    """Give the size to which Qwen2.5-VL brings an image.

    Args:
        width: of the image, pixels.
        height: of the image, pixels.
        max_pixels: the trainer's limit.

    Returns:
        (width, height), multiples of 28, at least 28. A side exactly between two multiples goes to
        the even one, as Python's `round` does in the original.
    """
    wide, high = (max(_FACTOR, round(side / _FACTOR) * _FACTOR) for side in (width, height))
    if wide * high > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        wide, high = (
            max(_FACTOR, math.floor(side / shrink / _FACTOR) * _FACTOR) for side in (width, height)
        )
    elif wide * high < _MIN_PIXELS:
        grow = math.sqrt(_MIN_PIXELS / (width * height))
        wide, high = (math.ceil(side * grow / _FACTOR) * _FACTOR for side in (width, height))
    return wide, high


def _edges(start: int, stop: int, size: int, steps: int) -> tuple[int, int]:
    """Both edges in steps of the axis, rounded half up, never on one another."""
    low, high = ((2 * steps * edge + size) // (2 * size) for edge in (start, stop))
    if low == high:  # then the box lies within one step, below or above the rounded edge
        return (low - 1, low) if steps * start < low * size else (low, low + 1)
    return low, high


def _bins(low: int, high: int) -> tuple[int, int]:
    """Both edges as bins: there is none behind the last."""
    return min(low, _BINS - 2), min(high, _BINS - 1)


def box_text(box: Box, width: int, height: int, style: BoxStyle) -> str:
    """Write a box.

    Args:
        box: x, y, width, height in image pixels.
        width: of the image, pixels.
        height: of the image, pixels.
        style: the notation.

    Raises:
        ValueError: the box leaves the image.
    """
    x, y, w, h = box
    if x + w > width or y + h > height:
        raise ValueError(f"box {box} leaves the image of {width} x {height}")
    if style.name == "xywh":
        return f"[{x}, {y}, {w}, {h}]"
    if style.name == "xyxy":
        return f"[{x}, {y}, {x + w}, {y + h}]"
    to = _scale(width, height, style)
    (dx, dy), (wide, high), (across, down) = to.offset, to.size, to.steps
    left, right = _edges(x + dx, x + w + dx, wide, across)
    top, bottom = _edges(y + dy, y + h + dy, high, down)
    if style.name == "norm1":
        values = (f"{value / 1000:.3f}" for value in (left, top, right, bottom))
        return f"[{', '.join(values)}]"
    if style.name == "loc1024":
        (left, right), (top, bottom) = _bins(left, right), _bins(top, bottom)
        return "".join(f"<loc{value:04d}>" for value in (top, left, bottom, right))
    return f"[{left}, {top}, {right}, {bottom}]"


def read_boxes(
    text: str, width: int, height: int, style: BoxStyle
) -> list[tuple[float, float, float, float]]:
    """Read every box that a text quotes.

    Args:
        text: one turn or several.
        width: of the image, pixels.
        height: of the image, pixels.
        style: the notation.

    Returns:
        x, y, width, height in image pixels, in the order of the text; within `box_slack` of the
        box that was written.
    """
    pattern = _QUOTED.get(style.name, _WHOLE)
    to = _scale(width, height, style)
    found = []
    for hit in pattern.findall(text):
        first, second, third, fourth = (float(value) for value in hit)
        if style.name == "xywh":
            found.append((first, second, third, fourth))
            continue
        if style.name == "loc1024":
            first, second, third, fourth = second, first, fourth, third
        unit = 1000.0 if style.name == "norm1" else 1.0
        xs, ys = (
            [value * unit * to.size[axis] / to.steps[axis] - to.offset[axis] for value in pair]
            for axis, pair in enumerate(((first, third), (second, fourth)))
        )
        found.append((xs[0], ys[0], xs[1] - xs[0], ys[1] - ys[0]))
    return found


def box_slack(width: int, height: int, style: BoxStyle) -> tuple[float, float]:
    """Give how far an edge that was written and read again may be off, across and down, in pixels.

    One step of the notation: half of it by rounding, all of it for a box smaller than a step, and
    for the last of PaliGemma's bins; two where such a box is at the far edge.
    """
    if style.name in ("xywh", "xyxy"):
        return 0.0, 0.0
    to = _scale(width, height, style)
    steps = 2 if style.name == "loc1024" else 1
    return steps * to.size[0] / to.steps[0], steps * to.size[1] / to.steps[1]
