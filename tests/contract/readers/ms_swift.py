"""ms-swift's own preprocessing of a file, and its rendering of boxes; Qwen's own resizing."""

import importlib.util
import os
import sys
import types
from pathlib import Path

import datasets
import transformers.integrations  # noqa: F401
from absent import stand_in

stand_in("accelerate", "av", "modelscope", "peft", "torch", "torchvision", "trl")

import modelscope.hub.utils.utils as modelscope_paths  # noqa: E402

modelscope_paths.get_cache_dir = lambda *_, **__: os.environ["MODELSCOPE_CACHE"]

# These two packages import every model that the program knows; only modules in them are wanted.
HOME = Path(importlib.util.find_spec("swift").submodule_search_locations[0])
for part in ("dataset", "template"):
    package = types.ModuleType(f"swift.{part}")
    package.__path__ = [str(HOME / part)]
    sys.modules[package.__name__] = package

from swift.template import base, utils  # noqa: E402

package.history_to_messages = utils.history_to_messages
package.MaxLengthError, package.Template = base.MaxLengthError, base.Template

from qwen_vl_utils.vision_process import smart_resize  # noqa: E402
from swift.dataset.preprocessor.core import AutoPreprocessor, RowPreprocessor  # noqa: E402
from swift.template.template_inputs import StdTemplateInputs  # noqa: E402


def preprocessed(file, kind="json", strict=True):
    """Give the rows that are left after preprocessing, as a training run gets them."""
    os.chdir(Path(file).parent)  # pictures are named relative to the folder one trains in
    rows = datasets.load_dataset(kind, data_files=file, split="train")
    preprocess = AutoPreprocessor()._get_preprocessor(rows)
    rows = preprocess(rows, strict=strict, load_from_cache_file=False, enable_auto_mapping=True)
    return RowPreprocessor.remove_useless_columns(rows)


def rendered(file, kind="json", strict=True, norm_bbox="norm1000"):
    """Give each row's texts with its boxes written in, its pictures' sizes and its tags left."""
    template = object.__new__(base.Template)
    template.__dict__ |= {
        "norm_bbox": norm_bbox, "mode": "train", "template_backend": "swift", "task_type": "lm",
        "image_placeholder": ["<|image|>"], "load_images": True, "root_image_dir": None,
    }  # fmt: skip
    found = []
    for row in preprocessed(file, kind, strict):
        inputs = StdTemplateInputs.from_dict(row)
        inputs.images = [template._load_image(image, True) for image in inputs.images]
        if inputs.objects:
            template._get_height_width(inputs)
        template._add_default_tags(inputs)
        turns = [message["content"] for message in inputs.messages]
        tokens, weights = template._split_special_tokens(turns, [1.0] * len(turns))
        texts, _ = template._pre_tokenize(tokens, weights, inputs)
        found.append({
            "id": row.get("id"), "text": "".join(texts),
            "sizes": [list(image.size) for image in inputs.images],
            "roles": [message["role"] for message in inputs.messages],
            "boxes_used": inputs.bbox_idx, "boxes": len(inputs.objects.get("bbox") or []),
        })  # fmt: skip
    return found


def resized(sizes, factor, max_pixels):
    """Give Qwen's own height and width for each (height, width)."""
    return [smart_resize(*size, factor=factor, max_pixels=max_pixels) for size in sizes]
