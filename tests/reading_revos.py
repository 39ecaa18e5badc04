"""What Sa2VA's video dataset makes of our files: its rules, written anew from its description.

Rules of its loading code: expressions from `["videos"][video]["expressions"]`, in the text order of
their keys; frames in text order of their names; masks from `mask_dict[str(anno_id)]` by the place
of the frame; the masks of one expression united; the picture at `<folder>/<video>/<frame>.jpg`; an
expression with a question mark is the question, any other loses its full stops and capitals.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco


@dataclass(frozen=True)
class Sample:
    video: str
    question: str
    frames: list[str]
    masks: np.ndarray  # (frames, height, width), 0 or 1
    pictures: list[Image.Image]
    obj_id: list[int]


def read_revos(root, word="train"):
    """Every expression of every video, with all frames; fails where the loader would."""
    root = Path(root)
    with (root / f"meta_expressions_{word}_.json").open(encoding="ascii") as file:
        videos = json.load(file)["videos"]
    with (root / "mask_dict.json").open(encoding="ascii") as file:
        mask_dict = json.load(file)
    samples = []
    for video, entry in videos.items():
        frames = sorted(entry["frames"])
        pictures = []
        for name in frames:
            picture = Image.open(root / "JPEGImages" / video / (name + ".jpg"))
            assert picture.format == "JPEG"
            pictures.append(picture.convert("RGB"))
        for key in sorted(entry["expressions"]):
            expression = entry["expressions"][key]
            text = expression["exp"]
            question = text if "?" in text else text.replace(".", "").strip().lower()
            samples.append(
                Sample(
                    video, question, frames,
                    _united(expression["anno_id"], mask_dict, pictures), pictures,
                    expression["obj_id"],
                )
            )  # fmt: skip
    return samples, videos, mask_dict


def _united(anno_ids, mask_dict, pictures):
    height, width = pictures[0].size[1], pictures[0].size[0]
    found = []
    for place in range(len(pictures)):
        mask = np.zeros((height, width), np.uint8)
        for anno_id in anno_ids:
            rle = mask_dict[str(anno_id)][place]
            if rle is not None:
                mask = mask | coco.decode(rle)
        found.append(mask)
    assert anno_ids, "an expression without masks"
    return np.stack(found)
