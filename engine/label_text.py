"""Labels as text that no trainer's loader mistakes for a picture, a role or a turn border.

Trade-off: a short list of what loaders of fine-tuning programs really split on or replace, not of
every chat template's tokens; labels lose more (angle and square brackets, control characters),
since they are the one part of a text that nobody here wrote.
"""

import re
import unicodedata
from functools import lru_cache

__all__ = ["clean_label", "forbidden_in"]

_LABEL_CHARS = 200
_FORBIDDEN = re.compile(
    r"<image>|<video>|<audio>|</s>|<\|im_end\|>|<bbox>|<ref-object>|\[/INST\]|USER:|ASSISTANT:"
    r"| ### |^\s*assistant",
    re.IGNORECASE | re.MULTILINE,
)
_PLACEHOLDER = re.compile(r"object ?\d*", re.IGNORECASE)
_UNSAFE = str.maketrans('[]{}_-"“”„', "()()  ''''", "<>「」")


def forbidden_in(text: str) -> list[str]:
    """Find what a trainer's loader would take for a picture, a role or a turn border.

    Args:
        text: a label or one turn's text; of a first question, what follows its `<image>` line.

    Returns:
        The strings found, in order; matched without regard to case, also in the text's
        compatibility form (NFKC), since some tokenizers normalise. Empty if the text is safe.
    """
    found = _FORBIDDEN.findall(text)
    return found or _FORBIDDEN.findall(unicodedata.normalize("NFKC", text))


@lru_cache(maxsize=4096)
def clean_label(label: str) -> str:
    """Give a label as text: one line, at most 200 characters, no controls, nothing forbidden.

    Brackets become round, since square ones mark boxes. Repeated until stable, because what is
    taken out can bring together what is forbidden (`<im<x>age>`).

    Returns:
        The text; empty if nobody named the object (`object_<id>`, or no letter or digit at all).
    """
    text, before = unicodedata.normalize("NFC", label), None
    while text != before:
        before = text
        if forbidden_in(text):
            text = unicodedata.normalize("NFKC", text)
        text = text.translate(_UNSAFE)
        text = "".join(" " if unicodedata.category(c) == "Cc" else c for c in text)
        text = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cs", "Co"))
        text = re.sub(r"(user|assistant)\s*:", r"\1", text, flags=re.IGNORECASE)
        text = re.sub("#{2,}", "#", text)
        text = " ".join(text.split())[:_LABEL_CHARS].strip()
    says = any(unicodedata.category(c)[0] in "LN" or unicodedata.category(c) == "So" for c in text)
    return text if says and not _PLACEHOLDER.fullmatch(text) else ""
