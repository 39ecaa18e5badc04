"""LLaMA-Factory's own loader, from `dataset_info.json` to token ids."""

import contextlib
from types import SimpleNamespace

import numpy as np
import transformers.models.mllama.processing_mllama
import transformers.video_utils  # noqa: F401
from absent import stand_in

stand_in("accelerate", "av", "peft", "torch", "torchaudio", "trl")

from llamafactory.data import loader  # noqa: E402
from llamafactory.data.parser import get_dataset_list  # noqa: E402
from llamafactory.data.template import TEMPLATES  # noqa: E402

PATCH = 14


class Tokenizer:
    """A character a token."""

    bos_token_id, eos_token_id, pad_token_id = 1, 2, 0
    bos_token, eos_token, pad_token = "\1", "\2", "\0"

    def encode(self, text, add_special_tokens=False):
        return [ord(character) for character in text]

    def convert_tokens_to_ids(self, token):
        return ord(token)


class ImageProcessor:
    """Gives every picture as 2 by 2 patches, and says how large it was."""

    merge_size = 1

    def __init__(self):
        self.sizes = []

    def __call__(self, images, return_tensors=None, **_):
        self.sizes += [list(image.size) for image in images]
        return {
            "pixel_values": [np.zeros((3, 2 * PATCH, 2 * PATCH)) for _ in images],
            "image_grid_thw": [np.array([1, 2, 2]) for _ in images],
        }


def arguments(folder):
    """Give the arguments that the loader looks at, as a training run would."""
    data = SimpleNamespace(
        dataset_dir=folder, media_dir=folder, dataset=None, eval_dataset=None, tokenized_path=None,
        streaming=False, max_samples=None, preprocessing_num_workers=None, overwrite_cache=True,
        data_shared_file_system=False, val_size=0.0, eval_on_each_dataset=False, packing=False,
        preprocessing_batch_size=1000, cutoff_len=100_000, mask_history=False,
        train_on_prompt=False, mix_strategy="concat",
    )  # fmt: skip
    training = SimpleNamespace(
        main_process_first=lambda **_: contextlib.nullcontext(), local_process_index=0, seed=42,
        should_log=False, should_save=False, predict_with_generate=False,
    )  # fmt: skip
    return SimpleNamespace(cache_dir=None, hf_hub_token=None), data, training


def aligned(folder, name):
    """Give the rows as the converter aligns them."""
    model, data, training = arguments(folder)
    (attributes,) = get_dataset_list([name], folder)
    rows = loader._load_single_dataset(attributes, model, data, training)
    return [{key: row[key] for key in ("_prompt", "_response", "_images")} for row in rows]


def tokenized(folder, name, template):
    """Give what would be trained on, with one of the program's own templates."""
    model, data, training = arguments(folder)
    data.dataset = [name]
    images = ImageProcessor()
    processor = SimpleNamespace(
        image_processor=images, patch_size=PATCH, num_additional_image_tokens=0,
        vision_feature_select_strategy="full",
    )  # fmt: skip
    module = loader.get_dataset(
        TEMPLATES[template], model, data, training, "sft", Tokenizer(), processor
    )
    return {
        "image_token": TEMPLATES[template].mm_plugin.image_token,
        "sizes": images.sizes,
        "rows": [
            {"prompt": text(row["input_ids"]), "trained": text(row["labels"])}
            for row in module["train_dataset"]
        ],
    }


def text(ids):
    return "".join(chr(i) for i in ids if i > 2)
