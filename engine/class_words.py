"""How the classes of one frame are spoken of, so that no two of them sound the same.

Trade-off: a label that reads like another of its frame, in either number or but for capitals (car,
cars, Car), is put in quotes in that frame only, instead of following all classes of a corpus.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

from engine.english import Inflection, Noun, noun
from engine.label_text import forbidden_in

__all__ = ["class_nouns", "spoken_forms"]


@lru_cache(maxsize=4096)
def spoken_forms(label: str) -> frozenset[str]:
    """Give all that a cleaned label can sound like, in lower case: itself, "car" and "cars"."""
    word = noun(label)
    return frozenset({label.lower(), word.bare_one.lower(), word.bare_many.lower()})


def class_nouns(
    labels: Sequence[str], *, link: str, words: Mapping[str, Inflection]
) -> dict[str, Noun]:
    """Choose each label's noun; quotes where bare words would mislead.

    Args:
        labels: cleaned, not empty, each once.
        link: what stands before a label in quotes.
        words: the user's plurals and articles, by name.

    Returns:
        A noun by label. In quotes is what could be read as a role ("user:"), and labels that read
        the same as another.
    """
    nouns = {
        x: noun(x, link=link, quote=bool(forbidden_in(x + ":")), user=words.get(x)) for x in labels
    }
    spoken = Counter(
        form for word in nouns.values() for form in {word.bare_one.lower(), word.bare_many.lower()}
    )
    for label, word in nouns.items():
        if max(spoken[word.bare_one.lower()], spoken[word.bare_many.lower()]) > 1:
            nouns[label] = noun(label, link=link, quote=True)
    return nouns
