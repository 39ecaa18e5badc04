"""The sentences of a frame's text: tables with named slots, filled by `engine.conversations`.

Trade-off: dozens of sentences in tables, not generated prose: each can be read and judged here, and
their bytes depend on nothing else. Every question that asks to segment holds the word "segment"; no
sentence begins with a label, so that none can look like a change of role ("assistant ..."). Exports
are not exhaustive, so answers speak of what is annotated, never of all that the picture shows.
"""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["ANSWERS", "BOX_HINTS", "QUESTIONS", "WHERE"]

WHERE = ("", "", " in this image", " in the image", " in this frame", " in this picture")
"""Where to look, at the end of a question; empty for none."""

BOX_HINTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "norm1000": (
            " Give boxes as [x1, y1, x2, y2], scaled to 0-1000.",
            " Write each box as [x1, y1, x2, y2] with coordinates from 0 to 1000.",
        ),
        "xyxy": (
            " Give boxes as [x1, y1, x2, y2] in pixels.",
            " Write each box as [x1, y1, x2, y2], in pixels of this image.",
        ),
        "xywh": (
            " Give boxes as [x, y, width, height] in pixels.",
            " Write each box as [x, y, width, height], in pixels of this image.",
        ),
    }
)
"""What a question may add about the boxes wanted, by box style."""

QUESTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "segment": (
            "Segment {target}{where}.",
            "Please segment {target}{where}.",
            "Find and segment {target}{where}.",
            "Can you segment {target}{where}?",
            "Could you segment {target}{where} for me?",
            "I need a segmentation of {target}{where}.",
            "Provide the segmentation of {target}{where}.",
            "Detect and segment {target}{where}.",
            "Which pixels show {target}{where}? Segment them.",
        ),
        "identify and segment": (
            "Identify and segment {target}{where}.",
            "Segment {target}{where}.",
            "Please find and segment {target}{where}.",
            "Can you segment {target}{where} and name each one?",
            "I would like a segmentation of {target}{where}.",
        ),
        "rest": (
            "Now segment {target}{where}.",
            "Next, segment {target}{where}.",
            "Please segment {target}{where} as well.",
            "Could you also segment {target}{where}?",
        ),
        "continue": (
            "Continue with the next ones.",
            "Go on with the segmentation.",
            "And the next ones?",
            "Please segment the next ones.",
        ),
        "identify": (
            "Identify {target}{where}.",
            "List {target}{where}.",
            "Please identify {target}{where} and say where each one is.",
            "Can you identify {target}{where}?",
            "What do you find when you look for {target}{where}?",
        ),
        "locate": (
            "Where {is_are} {target}{where}?",
            "Locate {target}{where}.",
            "Give the bounding box of {target}{where}.",
            "What are the coordinates of {target}{where}?",
            "Please tell me where {target} {is_are}{where}.",
            "Put a box around {target}{where}.",
        ),
        "locate all": (
            "Locate {target}{where}.",
            "Give a bounding box for each of {target}{where}.",
            "Where are {target}{where}?",
            "What are the coordinates of {target}{where}?",
        ),
        "count": (
            "How many {many} are annotated{where}?",
            "Count the {many} annotated{where}.",
            "What is the number of {many} annotated{where}?",
            "Of the annotated objects{where}, how many are {many}?",
        ),
        "count all": (
            "How many {adjective} objects are visible{where}?",
            "Count the {adjective} objects{where}.",
            "What is the number of {adjective} objects visible{where}?",
        ),
    }
)
"""Questions by kind of turn; the slots are named where `engine.conversations` fills them."""

ANSWERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "segment": (
            "{counted} segmented:{listing}",
            "I segmented {counted}:{listing}",
            "Sure, here {is_are} {counted}:{listing}",
            "I found and segmented {counted}:{listing}",
            "The segmentation covers {counted}:{listing}",
            "In this frame, {counted} {is_are} segmented:{listing}",
        ),
        "segment one": (
            "I segmented {a}, 1 in all:{listing}",
            "Here is {a}, 1 in all:{listing}",
        ),
        "segment all": (
            "{total} segmented: {summary}. Boxes:{listing}",
            "I segmented {total}, namely {summary}:{listing}",
            "Here {is_are} {summary}, {total} in all:{listing}",
            "The segmentation covers {total} ({summary}):{listing}",
            "I found and segmented {summary}. That makes {total}:{listing}",
        ),
        "identify": (
            "I can identify {counted}:{listing}",
            "{counted} {is_are} to be seen here:{listing}",
            "In this frame I find {counted}:{listing}",
        ),
        "identify all": (
            "I can identify {total}: {summary}. In detail:{listing}",
            "{total} {is_are} visible, namely {summary}:{listing}",
            "In this frame I find {summary}, {total} in all:{listing}",
        ),
        "first part": (
            "{total} {is_are} visible. Segmented first, {numbers}:{listing}",
            "I segmented {total}. Here are {numbers}:{listing}",
            "{total} segmented. The first part, {numbers}:{listing}",
        ),
        "first part of largest": (
            "{total} are visible. I segmented the {limit} largest, here {numbers}:{listing}",
            "The {limit} largest of {total} segmented. The first part, {numbers}:{listing}",
        ),
        "next part": (
            "Next, {numbers} of {total}:{listing}",
            "Of {total}, {numbers}:{listing}",
            "The next part, {numbers} of {total}:{listing}",
        ),
        "locate": (
            "The {bare} {verb} at {boxes}.",
            "{counted}, at {boxes}.",
            "I located {counted}, at {boxes}.",
            "Located {counted}: {boxes}.",
        ),
        "count": (
            "{counted}.",
            "{counted} {is_are} annotated.",
            "I count {counted}.",
            "There {is_are} {counted} in the annotation.",
            "The annotation holds {counted}.",
        ),
        "count all": (
            "{total} {is_are} visible: {summary}.",
            "I count {total}: {summary}.",
            "{summary}, so {total}.",
        ),
        "count many": (
            "{total} {is_are} visible.",
            "I count {total}.",
        ),
        "nothing": (
            "None of the {adjective} objects is visible in this frame.",
            "No {adjective} object is visible in this frame.",
            "There is nothing to segment: no {adjective} object can be seen in this frame.",
            "In this frame no {adjective} object can be seen.",
            "No {adjective} object is in view here, so there is no mask to give.",
        ),
        "count nothing": (
            "0 {adjective} objects are visible in this frame.",
            "None: no {adjective} object is visible in this frame.",
            "I count 0 {adjective} objects in view.",
        ),
    }
)
"""Answers by kind of turn; `listing` is a blank or a line break and names with their boxes."""
