"""The sentences of a frame's text: tables with named slots, filled by `engine.phrases`.

Trade-off: sentences in tables, not generated prose: each can be read and judged here, and their
bytes depend on nothing else. Another language is another set of these tables and of
`engine.english`. Every question that asks to segment holds the word "segment"; no sentence begins
with a label, so that none can look like a change of role ("assistant ..."). Exports are not
exhaustive, so answers speak of what is annotated, never of all that the picture shows. Questions
about existence are the same whatever the answer: nothing in them tells yes from no.
"""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["ANSWERS", "BOX_HINTS", "JSON_KEYS", "QUESTIONS", "WHERE"]

WHERE = ("", "", " in this image", " in the image", " in this frame", " in this picture")
"""Where to look, at the end of a question; empty for none."""

JSON_KEYS = (("label", "box"), ("label", "bbox_2d"), ("name", "box"), ("class", "bbox"))
"""Keys of an object's name and box in JSON; the question says which."""

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
        "norm1": (
            " Give boxes as [x1, y1, x2, y2], scaled to 0-1.",
            " Write each box as [x1, y1, x2, y2] with coordinates from 0 to 1.",
        ),
        "qwen25": (
            " Give boxes as [x1, y1, x2, y2] in absolute coordinates.",
            " Write each box as [x1, y1, x2, y2], in pixels.",
        ),
        "loc1024": (
            " Give boxes as location tokens.",
            " Write each box as four location tokens.",
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
            "Trace {target}{where} with a segmentation mask.",
        ),
        "segment_all": (
            "Identify and segment {target}{where}.",
            "Segment {target}{where}.",
            "Identify {target}{where} and segment them.",
            "Please find and segment {target}{where}.",
            "Can you find and segment {target}{where}?",
            "I would like a segmentation of {target}{where}.",
            "Detect {target}{where} and segment each of them.",
            "Give me a segmentation of {target}{where}.",
        ),
        "rest": (
            "Now segment {target}{where}.",
            "Next, segment {target}{where}.",
            "Please segment {target}{where} as well.",
            "Could you also segment {target}{where}?",
            "And {target}{where}? Segment them too.",
            "What about {target}{where}? Please segment them.",
        ),
        "continue": (
            "Continue with the next ones.",
            "Go on with the segmentation.",
            "And the next ones?",
            "Please segment the next ones.",
        ),
        # No {where} here and in the next two: the more often a sentence comes with yes and with no,
        # the less it tells.
        "mixed": (
            "Segment any {target} in this image.",
            "Please segment {target}, as far as they are visible.",
            "Find and segment any {target} that you can see.",
            "If you can see {target} here, segment them.",
            "Segment {target}. If there are none of a kind, say so.",
            "Look for {target} in this frame, and segment what you find.",
            "Are there {target}? Segment them, and tell me what is missing.",
        ),
        "segment_box": (
            "Segment the object in the box {box}{where}.",
            "Please segment what lies inside {box}{where}.",
            "There is an object at {box}. Segment it.",
            "Can you segment the object at {box}{where}?",
            "Trace the object in the box {box} with a segmentation mask.",
        ),
        "identify": (
            "Identify {target}{where}.",
            "List {target}{where}.",
            "Please identify {target}{where} and say where each one is.",
            "Can you identify {target}{where}?",
            "What do you find when you look for {target}{where}?",
        ),
        "classes": (
            "Which classes are annotated{where}?",
            "Name the classes of the {adjective} objects{where}.",
            "What kinds of objects are annotated{where}?",
            "What are the {adjective} objects{where}? Their classes will do.",
        ),
        "locate": (
            "Where {is_are} {target}{where}?",
            "Locate {target}{where}.",
            "Give the bounding box of {target}{where}.",
            "What are the coordinates of {target}{where}?",
            "Please tell me where {target} {is_are}{where}.",
            "Put a box around {target}{where}.",
        ),
        "locate_all": (
            "Locate {target}{where}.",
            "Give a bounding box for each of {target}{where}.",
            "Where are {target}{where}?",
            "What are the coordinates of {target}{where}?",
        ),
        "locate_json": (
            "Locate {target}{where}. Answer in JSON, with the keys {keys}.",
            "Return the boxes of {target}{where} as a JSON list with the keys {keys}.",
            "Output {target}{where} as JSON: one entry each, with {keys}.",
            "Detect {target}{where} and write a JSON list of entries with {keys}.",
        ),
        "count": (
            "How many {many} are annotated{where}?",
            "Count the {many} annotated{where}.",
            "What is the number of {many} annotated{where}?",
            "Of the annotated objects{where}, how many are {many}?",
        ),
        "count_all": (
            "How many {adjective} objects are visible{where}?",
            "Count the {adjective} objects{where}.",
            "What is the number of {adjective} objects visible{where}?",
        ),
        "exists": (
            "Is there {a} in this image?",
            "{are} there any {many} here?",
            "Can you see {a}?",
            "Do you see any {many} in this picture?",
            "Does this image show {a}?",
            "Tell me whether there is {a} in the image.",
            "Check whether {a} can be seen.",
            "Would you say that there is {a} in this picture?",
            "Look for {a}. Is there one?",
            "Yes or no: is there {a} in this frame?",
        ),
        "exists_tracked": (
            "Is {a} visible in this frame?",
            "{are} any {many} visible here?",
            "Can {a} be seen in this image?",
            "Can you see any {many}?",
            "Does this frame show {a}?",
            "Tell me whether {a} is visible.",
            "Check whether {a} is in view.",
            "Do you see {a} in this picture?",
            "Look for {a}. Is one visible?",
            "Yes or no: is {a} in view?",
        ),
        "box_to_label": (
            "What is at {box}{where}?",
            "Which class does the object in the box {box} belong to?",
            "Name the object at {box}{where}.",
            "What does the box {box} contain?",
            "Label the object in the box {box}{where}.",
        ),
    }
)
"""Questions by kind of turn; `engine.templates` says which slots each may hold."""

ANSWERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "segment": (
            "{counted} segmented:{listing}",
            "I segmented {counted}:{listing}",
            "Sure, here {is_are} {counted}:{listing}",
            "I found and segmented {counted}:{listing}",
            "The segmentation covers {counted}:{listing}",
            "In this frame, {counted} {is_are} segmented:{listing}",
            "This is the segmentation of {counted}:{listing}",
            "Done, {counted} segmented:{listing}",
            "There {is_are} {counted}, segmented as follows:{listing}",
        ),
        "segment_one": (
            "I segmented {a}, 1 in all:{listing}",
            "Here is {a}, 1 in all:{listing}",
        ),
        "segment_all": (
            "{total} segmented: {summary}. Boxes:{listing}",
            "I segmented {total}, namely {summary}:{listing}",
            "Here {is_are} {summary}, {total} in all:{listing}",
            "The segmentation covers {total} ({summary}):{listing}",
            "I found and segmented {summary}. That makes {total}:{listing}",
        ),
        "segment_box": (
            "I segmented {a} there:{listing}",
            "That is {a}, segmented:{listing}",
            "Segmented:{listing}",
        ),
        "identify": (
            "I can identify {counted}:{listing}",
            "{counted} can be seen here:{listing}",
            "In this frame I find {counted}:{listing}",
        ),
        "identify_all": (
            "I can identify {total}: {summary}. In detail:{listing}",
            "{total} {is_are} visible, namely {summary}:{listing}",
            "In this frame I find {summary}, {total} in all:{listing}",
        ),
        "first_part": (
            "{total} {is_are} visible. Segmented first, {numbers}:{listing}",
            "I segmented {total}. Here are {numbers}:{listing}",
            "{total} segmented. The first part, {numbers}:{listing}",
        ),
        "first_part_of_largest": (
            "{total} are visible. I segmented the {limit} largest, here {numbers}:{listing}",
            "The {limit} largest of {total} segmented. The first part, {numbers}:{listing}",
        ),
        "next_part": (
            "Next, {numbers} of {total}:{listing}",
            "Of {total}, {numbers}:{listing}",
            "The next part, {numbers} of {total}:{listing}",
        ),
        "classes": (
            "The annotated classes: {names}.",
            "I see {class_count} annotated: {names}.",
            "Annotated here: {names}.",
        ),
        "locate": (
            "The {bare} {verb} at {boxes}.",
            "{counted}, at {boxes}.",
            "I located {counted}, at {boxes}.",
            "Located {counted}: {boxes}.",
        ),
        "locate_json": ("{json}",),
        "count": (
            "{counted}.",
            "{counted} {is_are} annotated.",
            "I count {counted}.",
            "There {is_are} {counted} in the annotation.",
            "The annotation holds {counted}.",
        ),
        "count_all": (
            "{total} {is_are} visible: {summary}.",
            "I count {total}: {summary}.",
            "{summary}, so {total}.",
        ),
        "count_many": (
            "{total} {is_are} visible.",
            "I count {total}.",
        ),
        "exists_yes": (
            "Yes, {counted}, at {boxes}.",
            "Yes, there {is_are} {counted}, at {boxes}.",
            "Yes, I can see {counted}: {boxes}.",
            "Yes. {counted} {is_are} visible, at {boxes}.",
        ),
        "exists_yes_many": (
            "Yes, there {is_are} {counted}.",
            "Yes, {counted} {is_are} visible.",
        ),
        "exists_no": (
            "No, there is no {one} in this image.",
            "No, no {one} is visible here.",
            "No, I cannot see {a}.",
            "No. There is no {one} in view.",
            "No, none.",
        ),
        "exists_tracked_no": (
            "No, no {one} is visible in this frame.",
            "No, the {bare} {verb} not visible in this frame.",
            "No. The {bare} cannot be seen here.",
            "No, there is no {one} in view.",
            "No, none is visible.",
        ),
        "denied": (
            "There is no {one} in this image.",
            "No {one} is visible here.",
            "I cannot see {a}.",
        ),
        "denied_tracked": (
            "No {one} is visible in this frame.",
            "The {bare} {verb} not visible here.",
            "There is no {one} in view.",
        ),
        "box_to_label": (
            "It is {a}.",
            "That is {a}.",
            "The box contains {a}.",
            "I see {a} there.",
            "The box holds {a}.",
        ),
        "nothing": (
            "None of the {adjective} objects is visible in this frame.",
            "No {adjective} object is visible in this frame.",
            "There is nothing to segment: no {adjective} object can be seen in this frame.",
            "In this frame no {adjective} object can be seen.",
            "No {adjective} object is in view here, so there is no mask to give.",
        ),
        "count_nothing": (
            "0 {adjective} objects are visible in this frame.",
            "None: no {adjective} object is visible in this frame.",
            "I count 0 {adjective} objects in view.",
        ),
    }
)
"""Answers by kind; `listing` is a blank or a line break and names with their boxes."""
