"""The codes of findings: severity, sentence, advice. One table, the only place that words them.

A code is stable: people's scripts, the report and the gate hold on to it. The sentence counts what
the code's unit says (frames, objects, images, videos); the fraction is taken of all units of that
kind that were looked at. Sentences quoted by the specification appear here to the letter.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Literal

__all__ = ["CODES", "FindingCode", "Severity", "Unit", "sentence"]

Unit = Literal[
    "frame", "frame listed", "frame sound or not", "object", "export", "video", "class", "label",
    "key", "declared label",
]  # fmt: skip


class Severity(StrEnum):
    """What a finding does to the status: an error fails it, a warning marks it, a note does not."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class FindingCode:
    """One kind of finding.

    Args:
        severity: its severity unless a policy says otherwise.
        unit: what is counted.
        one: the sentence's predicate for one unit, with its subject ("frame has ...").
        many: the same for any other number.
        recommendation: what to do about it.
    """

    severity: Severity
    unit: Unit
    one: str
    many: str
    recommendation: str


_error = partial(FindingCode, Severity.ERROR)
_warning = partial(FindingCode, Severity.WARNING)
_note = partial(FindingCode, Severity.NOTE)

_SET_ASIDE = "Export the video again, or set such frames aside with --validation standard."

CODES: dict[str, FindingCode] = {
    "missing_annotations": _error(
        "frame",
        "frame ({percent}) has no annotations",
        "frames ({percent}) have no annotations",
        "Annotate these frames or leave them out of the export; --validation standard sets them "
        "aside.",
    ),
    "mask_malformed": _error(
        "object",
        "mask ({percent}) cannot be decoded",
        "masks ({percent}) cannot be decoded",
        _SET_ASIDE,
    ),
    "mask_size_mismatch": _error(
        "object",
        "mask ({percent}) does not have the size of its image",
        "masks ({percent}) do not have the size of their image",
        "Check that masks and images come from the same export. A mask is never resampled by "
        "guess. " + _SET_ASIDE,
    ),
    "mask_empty": _error(
        "object",
        "mask ({percent}) is empty",
        "masks ({percent}) are empty",
        "Remove these objects from the frames they are not visible in. " + _SET_ASIDE,
    ),
    "mask_area_mismatch": _error(
        "object",
        "mask ({percent}) does not have the area that is declared for it",
        "masks ({percent}) do not have the area that is declared for them",
        "The mask or the area was altered after the export. " + _SET_ASIDE,
    ),
    "bbox_mismatch": _warning(
        "object",
        "declared box ({percent}) is not the box of its mask",
        "declared boxes ({percent}) are not the boxes of their masks",
        "The dataset's boxes are computed from the masks; look at a few of these to see which of "
        "the two is wrong.",
    ),
    "object_malformed": _error(
        "object",
        "object record ({percent}) is not readable",
        "object records ({percent}) are not readable",
        "Every object needs a label, a mask and a whole-number object_id. " + _SET_ASIDE,
    ),
    "object_repeated": _warning(
        "object",
        "object record ({percent}) repeats another of its frame, or its object_id",
        "object records ({percent}) repeat another of their frame, or its object_id",
        "Both are kept, and texts count two objects: remove one, or give it an object_id of its "
        "own. --fail-on object_repeated --validation standard sets such frames aside.",
    ),
    "number_malformed": _warning(
        "frame",
        "frame ({percent}) has a timestamp_sec or a confidence that is no number",
        "frames ({percent}) have a timestamp_sec or a confidence that is no number",
        "It is left out (null); write a number, or null where there is none.",
    ),
    "export_empty": _error(
        "export",
        "export ({percent}) has neither frame records nor images",
        "exports ({percent}) have neither frame records nor images",
        "Export the video again, or leave this export out.",
    ),
    "export_crashed": _error(
        "export",
        "export ({percent}) crashes whoever opens it",
        "exports ({percent}) crash whoever opens them",
        "Try the export alone, on a machine with more memory; else export the video again. It was "
        "left out.",
    ),
    "frame_crashed": _error(
        "frame",
        "frame ({percent}) crashes whoever reads it",
        "frames ({percent}) crash whoever reads them",
        "The mask or the image ends the program that decodes it, or takes more memory than there "
        "is. Export the video again, or report the frame to the library's makers.",
    ),
    "frame_malformed": _error(
        "frame",
        "frame record ({percent}) is not readable",
        "frame records ({percent}) are not readable",
        "Every frame record needs a whole-number frame_index and a list of objects. " + _SET_ASIDE,
    ),
    "frame_conflict": _error(
        "frame",
        "frame ({percent}) comes more than once, with different annotations",
        "frames ({percent}) come more than once, with different annotations",
        "Remove the export whose annotations are out of date.",
    ),
    "frame_duplicate": _warning(
        "frame",
        "frame ({percent}) comes more than once, with the same annotations, and is counted once",
        "frames ({percent}) come more than once, with the same annotations, and are counted once",
        "Nothing needs to be done; naming each export once saves the time to read it twice.",
    ),
    "frame_all_hidden": _warning(
        "frame",
        "frame ({percent}) has only objects that are hidden in it",
        "frames ({percent}) have only objects that are hidden in them",
        "They are kept, with empty masks and a text that names nothing. Leave them out of the "
        "export if they are not wanted.",
    ),
    "frames_not_exported": _warning(
        "frame listed",
        "frame ({percent}) is listed in frame_indices and was not exported",
        "frames ({percent}) are listed in frame_indices and were not exported",
        "The exporter could not process these frames; export the video again if they matter.",
    ),
    "area_jump": _warning(
        "object",
        "mask ({percent}) changes its area at once, against the rest of its track",
        "masks ({percent}) change their area at once, against the rest of their track",
        "Look at these frames beside the ones before: the mask may have spilled over, or lost a "
        "part of the object.",
    ),
    "centroid_jump": _warning(
        "object",
        "mask ({percent}) changes its place at once, against the rest of its track",
        "masks ({percent}) change their place at once, against the rest of their track",
        "Look at these frames beside the ones before: the mask may have gone over to another "
        "object.",
    ),
    "object_flicker": _warning(
        "object",
        "object ({percent}) is missing between frames that have it at the same place",
        "objects ({percent}) are missing between frames that have them at the same place",
        "Add the object where it can be seen: a text of such a frame leaves out what is in the "
        "picture.",
    ),
    "label_change": _warning(
        "object",
        "object ({percent}) changes its label within its track",
        "objects ({percent}) change their label within their track",
        "Correct the label, or give another object an object_id of its own.",
    ),
    "mask_frozen": _warning(
        "object",
        "mask ({percent}) stays the same for several frames while its object moves",
        "masks ({percent}) stay the same for several frames while their object moves",
        "Look at these frames: the tracker may have stopped, and the masks lie beside the object.",
    ),
    "timestamp_mismatch": _warning(
        "frame",
        "frame ({percent}) has a timestamp that does not fit its frame_index",
        "frames ({percent}) have timestamps that do not fit their frame_index",
        "Check timestamp_sec and source_fps; a temporal split goes by frame_index, in any case.",
    ),
    "image_repeated": _warning(
        "frame",
        "frame ({percent}) has the same image as the frame before",
        "frames ({percent}) have the same image as the frame before",
        "The video stands still there, or the export wrote an image twice; leave such frames out "
        "if their masks differ.",
    ),
    "object_hidden": _warning(
        "object",
        "object ({percent}) is hidden in its frame",
        "objects ({percent}) are hidden in their frames",
        "They are left out of masks, texts and class counts of these frames. Nothing needs to be "
        "done.",
    ),
    "image_missing": _error(
        "frame",
        "annotated frame ({percent}) has no image",
        "annotated frames ({percent}) have no image",
        "Put the image into the export, or give a folder of frames with --frames; from a video: "
        "ffmpeg -i VIDEO -start_number 0 FRAMES/%05d.jpg. " + _SET_ASIDE,
    ),
    "image_ambiguous": _error(
        "frame",
        "frame ({percent}) has more than one image",
        "frames ({percent}) have more than one image",
        "Keep one image for a frame index. " + _SET_ASIDE,
    ),
    "image_unreadable": _error(
        "frame", "image ({percent}) cannot be read", "images ({percent}) cannot be read", _SET_ASIDE
    ),
    "image_truncated": _error(
        "frame", "image ({percent}) ends early", "images ({percent}) end early", _SET_ASIDE
    ),
    # Some readers turn such an image (datasets does), others do not: no mask can fit both.
    "image_orientation": _error(
        "frame",
        "image ({percent}) asks to be turned when it is shown (Exif orientation)",
        "images ({percent}) ask to be turned when they are shown (Exif orientation)",
        "Write the frames upright, without an orientation tag. " + _SET_ASIDE,
    ),
    # How the known exporter writes a frame that it could not read. A warning, because a scene may
    # really fade to black.
    "image_black": _warning(
        "frame",
        "image ({percent}) is all black",
        "images ({percent}) are all black",
        "The exporter writes a frame so that it could not read: export the video again, or give "
        "these frames with --frames.",
    ),
    # Pillow's convert("RGB"), which every trainer calls, clips such pixels: nearly all turn white.
    "image_bit_depth": _error(
        "frame",
        "image ({percent}) has grey values of more than 8 bits, which readers clip to white",
        "images ({percent}) have grey values of more than 8 bits, which readers clip to white",
        "Write the frames with 8 bits a channel. " + _SET_ASIDE,
    ),
    "image_mode": _warning(
        "frame",
        "image ({percent}) is in CMYK, whose colours every reader brings to RGB in its own way",
        "images ({percent}) are in CMYK, whose colours every reader brings to RGB in its own way",
        "Write the frames in RGB.",
    ),
    "image_animated": _warning(
        "frame",
        "image ({percent}) holds several pictures, of which readers see the first",
        "images ({percent}) hold several pictures, of which readers see the first",
        "Write one picture a file; look at a few of these to see that the masks fit the first one.",
    ),
    "image_extension_mismatch": _warning(
        "frame",
        "image ({percent}) is of another format than its name says",
        "images ({percent}) are of another format than their names say",
        "Readers go by the content, so nothing is lost; rename the files if other tools need them.",
    ),
    "image_size_mismatch": _error(
        "frame",
        "image ({percent}) does not have the size of its video",
        "images ({percent}) do not have the size of their video",
        "Masks and boxes hold for the video's size only. " + _SET_ASIDE,
    ),
    "images_paired_by_position": _warning(
        "video",
        "video ({percent}) has images without a frame index in their names; paired by position",
        "videos ({percent}) have images without a frame index in their names; paired by position",
        "Look at a few frames with their masks; name images by frame index (frame_000012.png).",
    ),
    "images_between_frames": _note(
        "video",
        "video ({percent}) has images between its annotated frames; they are not used",
        "videos ({percent}) have images between their annotated frames; they are not used",
        "Nothing needs to be done: SA-V annotates every 4th frame of a video, and a folder for "
        "--frames may hold them all.",
    ),
    "overlay_burned_in": _warning(
        "video",
        "video ({percent}) has its masks painted on the frames: a model would read the answer off "
        "the image",
        "videos ({percent}) have their masks painted on the frames: a model would read the answer "
        "off the image",
        "Give the clean frames with --frames DIR; they can be extracted from the original video.",
    ),
    "frames_differ": _warning(
        "video",
        "video ({percent}) has other pictures in the frames given with --frames than in its export",
        "videos ({percent}) have other pictures in the frames given with --frames than in their "
        "exports",
        "Give the frames of the video that was exported: its masks fit no other. They may be of "
        "another video, or numbered in another way.",
    ),
    "mask_order_unproven": _warning(
        "video",
        "video ({percent}) has masks whose order nothing proves; they were read column by column",
        "videos ({percent}) have masks whose order nothing proves; they were read column by column",
        "Run `sam2prep inspect` on the export, look at a mask, and say --mask-order row or column.",
    ),
    "mask_order_contradicted": _warning(
        "video",
        "video ({percent}) has images that contradict the order in which its masks were read",
        "videos ({percent}) have images that contradict the order in which their masks were read",
        "Run `sam2prep inspect`, look at a mask, and say the order that fits with --mask-order.",
    ),
    "exhaustive_unused": _warning(
        "declared label",
        "label ({percent}) declared exhaustive is that of no object",
        "labels ({percent}) declared exhaustive are those of no object",
        "Look at the classes in the report: --exhaustive takes a label as it reads after "
        "--label-map, case included; object_<id> names nothing that a text could deny.",
    ),
    "label_map_unused": _warning(
        "key",
        "key ({percent}) of the label map matches no label",
        "keys ({percent}) of the label map match no label",
        "Look at the classes in the report: keys are exact, case and blanks included; a key for "
        "one video is VIDEO_ID/LABEL.",
    ),
    "label_placeholder": _warning(
        "label",
        "label ({percent}) names nothing (such as object_<id>)",
        "labels ({percent}) name nothing (such as object_<id>)",
        "Name them with --label-map, or in the annotation tool: texts speak of a tracked object.",
    ),
    "label_variants": _warning(
        "label",
        "label ({percent}) reads as another does, but for case or blanks",
        "labels ({percent}) read as another does, but for case or blanks",
        "Use one spelling (--label-map); labels are kept apart, texts may take them for one class.",
    ),
    "class_imbalance": _warning(
        "class",
        "Severe class imbalance detected: {detail}",
        "Severe class imbalance detected: {detail}",
        "Collect or annotate more of the minority classes, or augment them (flips, crops, colour) "
        "and oversample their frames.",
    ),
    "conflict_resolved": _note(
        "frame",
        "frame ({percent}) came again with different annotations, and --on-conflict decided",
        "frames ({percent}) came again with different annotations, and --on-conflict decided",
        "Nothing needs to be done; issues.jsonl says which annotations hold.",
    ),
    "split_leakage": _note(
        "video",
        "video ({percent}) has neighbouring, equal or similar frames in more than one split",
        "videos ({percent}) have neighbouring, equal or similar frames in more than one split",
        "A score on such frames can flatter a model. Keep videos whole with --group-by "
        "video or --split temporal; one video can be cut in time with --temporal-segments.",
    ),
    "export_left_out": _warning(
        "export",
        "export ({percent}) was left out",
        "exports ({percent}) were left out",
        "The finding export_crashed says why; mend the export and add it.",
    ),
    "quarantined": _warning(
        "frame sound or not",
        "frame ({percent}) was set aside",
        "frames ({percent}) were set aside",
        "The reasons are in the folder quarantine; mend the export and add it again.",
    ),
}


def sentence(code: str, count: int, total: int, *, detail: str = "") -> str:
    """Word a finding.

    Args:
        code: a key of `CODES`.
        count: units concerned, at least 1.
        total: units of this kind in all; the percentage is of these.
        detail: what a sentence with a `{detail}` needs.
    """
    known = CODES[code]
    percent = f"{100 * count / total:.1f}%" if total else "0.0%"
    text = (known.one if count == 1 else known.many).format(percent=percent, detail=detail)
    return text if known.unit == "class" else f"{count} {text}"
