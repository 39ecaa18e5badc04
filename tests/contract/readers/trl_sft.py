"""TRL's own collator for vision-language models, over rows of a dataset."""

from types import MappingProxyType

import datasets
import numpy as np
import transformers  # noqa: F401
from absent import stand_in

stand_in("accelerate", "peft", "torch")

from transformers import ProcessorMixin  # noqa: E402
from trl.trainer.sft_trainer import (  # noqa: E402
    DataCollatorForVisionLanguageModeling,
    SFTTrainer,
)

# That of Qwen2-VL. Note `'image' in part`: a block with such a key is a picture, whatever its type.
QWEN = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' or 'image' in part or 'image_url' in part %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
)


class Tensor(np.ndarray):
    """What the collator does with a tensor, an array can."""

    def clone(self):
        return self.copy()


class Tokenizer:
    """A character a token."""

    special_tokens_map = MappingProxyType({})
    bos_token = None


class Processor(ProcessorMixin):
    """The mixin's own handling of chat templates; text and pictures are kept as they come."""

    def __init__(self):
        self.tokenizer = Tokenizer()
        self.chat_template = QWEN
        self.calls = []

    def __call__(self, text=None, images=None, **_):
        self.calls += zip(text, images or [[]] * len(text), strict=True)
        longest = max(map(len, text))
        ids = [[*map(ord, each)] + [0] * (longest - len(each)) for each in text]
        ids = np.array(ids).view(Tensor)
        return {"input_ids": ids, "attention_mask": (ids != 0).astype(int)}


def collate(path, split):
    """Give what the collator makes of a split: per row its prompt, pictures and trained text."""
    rows = datasets.load_from_disk(path)[split]
    trainer = type("Trainer", (), {"_signature_columns": None, "_is_vision_dataset": True})()
    SFTTrainer._set_signature_columns_if_needed(trainer)
    # As the trainer does: what the collator does not know is taken away before.
    rows = rows.select_columns([c for c in rows.column_names if c in trainer._signature_columns])
    processor = Processor()
    collator = DataCollatorForVisionLanguageModeling(processor)
    trained = []
    for start in range(0, len(rows), 4):
        batch = collator([rows[i] for i in range(start, min(start + 4, len(rows)))])
        trained += ["".join(chr(i) for i in each if i > 0) for each in batch["labels"]]
    return {
        "columns": rows.column_names,
        "rows": [
            {"prompt": text, "sizes": [list(image.size) for image in images], "trained": labels}
            for (text, images), labels in zip(processor.calls, trained, strict=True)
        ],
    }
