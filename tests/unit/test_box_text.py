import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.box_text import BoxStyle, box_slack, box_text, read_boxes, smart_resize
from engine.choices import BOX_STYLES
from engine.errors import ConfigError


def qwen_resize(height, width, max_pixels, factor=28, min_pixels=56 * 56):
    """The rule as the model's image processor states it, height first."""
    h_bar, w_bar = round(height / factor) * factor, round(width / factor) * factor
    if h_bar * w_bar > max_pixels:
        beta = math.sqrt((height * width) / max_pixels)
        h_bar = math.floor(height / beta / factor) * factor
        w_bar = math.floor(width / beta / factor) * factor
    elif h_bar * w_bar < min_pixels:
        beta = math.sqrt(min_pixels / (height * width))
        h_bar = math.ceil(height * beta / factor) * factor
        w_bar = math.ceil(width * beta / factor) * factor
    return h_bar, w_bar


def every_style():
    return [
        *(BoxStyle(name=name) for name in BOX_STYLES if name != "qwen25"),
        BoxStyle(name="norm1", pad_square=True),
        BoxStyle(name="qwen25", max_pixels=3136),
        BoxStyle(name="qwen25", max_pixels=1280 * 28 * 28),
    ]


@pytest.mark.parametrize(
    ("style", "text"),
    [
        (BoxStyle(), "[100, 250, 500, 1000]"),
        (BoxStyle(name="xywh"), "[128, 180, 512, 540]"),
        (BoxStyle(name="xyxy"), "[128, 180, 640, 720]"),
        (BoxStyle(name="norm1"), "[0.100, 0.250, 0.500, 1.000]"),
        # 280 rows of padding above and below a 1280 x 720 image
        (BoxStyle(name="norm1", pad_square=True), "[0.100, 0.359, 0.500, 0.781]"),
        (BoxStyle(name="loc1024"), "<loc0256><loc0102><loc1023><loc0512>"),
    ],
)
def test_each_notation_on_one_box(style, text):
    assert box_text((128, 180, 512, 540), 1280, 720, style) == text


def test_qwen_boxes_are_pixels_of_the_resized_image():
    style = BoxStyle(name="qwen25", max_pixels=200 * 28 * 28)
    high, wide = qwen_resize(720, 1280, 200 * 28 * 28)
    assert (wide, high) == (504, 280)
    assert box_text((0, 0, 1280, 720), 1280, 720, style) == "[0, 0, 504, 280]"
    assert box_text((640, 360, 640, 360), 1280, 720, style) == "[252, 140, 504, 280]"


@settings(max_examples=400, deadline=None)
@given(
    width=st.integers(28, 5000), height=st.integers(28, 5000), most=st.integers(3136, 13_000_000)
)
def test_the_resized_size_is_the_models(width, height, most):
    expected = qwen_resize(height, width, most)
    if min(expected) >= 28:  # below, releases differ; ours is the later rule, at least one patch
        assert smart_resize(width, height, most) == expected[::-1]


@pytest.mark.parametrize("size", [(7, 4), (4, 7), (5, 5), (1280, 720), (33, 8)])
def test_padding_is_where_pillow_puts_it(size):
    width, height = size
    side = max(size)
    square = Image.new("L", (side, side))
    pasted = ((side - width) // 2, (side - height) // 2)
    square.paste(Image.new("L", size, 255), pasted)
    left, top, right, bottom = square.getbbox()
    text = box_text((0, 0, *size), *size, BoxStyle(name="norm1", pad_square=True))
    got = [Fraction(value) for value in text.strip("[]").split(", ")]
    for value, edge in zip(got, (left, top, right, bottom), strict=True):
        assert abs(value - Fraction(edge, side)) <= Fraction(1, 2000)


@pytest.mark.parametrize("style", every_style(), ids=str)
@settings(max_examples=150, deadline=None)
@given(data=st.data(), width=st.integers(1, 4000), height=st.integers(1, 4000))
def test_a_box_comes_back_within_a_step(style, data, width, height):
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    w, h = data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y))
    text = box_text((x, y, w, h), width, height, style)
    ((left, top, wide, high),) = read_boxes(f"car {text}, and so on", width, height, style)
    across, down = box_slack(width, height, style)
    assert abs(left - x) <= across + 1e-9
    assert abs(left + wide - x - w) <= across + 1e-9
    assert abs(top - y) <= down + 1e-9
    assert abs(top + high - y - h) <= down + 1e-9
    assert wide > 0
    assert high > 0


def test_a_small_box_is_never_empty_nor_outside():
    for x in range(3000):
        left, _, right, _ = read_boxes(
            box_text((x, 0, 1, 1), 3000, 9, BoxStyle()), 1000, 9, BoxStyle()
        )[0]
        assert (right, left) >= (1, 0)
        assert left + right <= 1000


def test_several_boxes_are_read_in_order_and_other_text_is_not():
    style = BoxStyle(name="loc1024")
    text = (
        "2 cars: <loc0001><loc0002><loc0003><loc0004>; <loc0000><loc0000><loc0512><loc1023>, [1, 2]"
    )
    assert read_boxes(text, 1024, 1024, style) == [(2, 1, 2, 2), (0, 0, 1023, 512)]
    assert read_boxes("a [1, 2, 3] and [0.1, 0.2, 0.3, 0.4]", 9, 9, BoxStyle()) == []


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"name": "norm1001"}, "did you mean norm1000"),
        ({"name": "norm1000", "pad_square": True}, "pad_square.*norm1"),
        ({"name": "xyxy", "max_pixels": 10**6}, "max_pixels.*qwen25"),
        ({"name": "qwen25"}, "max_pixels.*needs it"),
        ({"name": "qwen25", "max_pixels": 3135}, "3136 or more"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, complaint):
    with pytest.raises(ConfigError, match=complaint):
        BoxStyle(**options)


def test_a_box_that_leaves_the_image_is_refused():
    with pytest.raises(ValueError, match="leaves the image"):
        box_text((5, 0, 6, 1), 10, 10, BoxStyle())
