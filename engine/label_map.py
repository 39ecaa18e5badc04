"""The user's own names for labels: `object_0` becomes "kettle", two spellings become one.

Trade-off: keys are exact, case and blanks included, for a rename that reaches further than what
was written is found out only in training. A name may come with its plural and article, for the
words that rules get wrong.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.english import Inflection
from engine.errors import ConfigError
from engine.label_text import clean_label, forbidden_in

__all__ = ["LabelMap"]

_NAME_CHARS = 60
_EXPECTED = 'a name, or {name = "ox", plural = "oxen", article = "an"}'


@dataclass(frozen=True, kw_only=True)
class LabelMap:
    """Names by label.

    Args:
        names: by key, a label or "<video_id>/<label>".
        words: how a name is inflected, by name; only those that were given with one.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, Inflection] = field(default_factory=dict)

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> "LabelMap":
        """Read the table of a label map.

        Raises:
            ConfigError: a key or value that is none, with its place; or two ways to inflect a name.
        """
        names: dict[str, str] = {}
        words: dict[str, Inflection] = {}
        for key, value in table.items():
            where = f"label_map: {key}"
            if not isinstance(key, str) or not key.strip():
                raise ConfigError("label_map", "holds an empty key", got=repr(key))
            entry = {"name": value} if isinstance(value, str) else value
            _check_entry(where, entry)
            names[key] = entry["name"]
            if len(entry) > 1:
                word = Inflection(plural=entry.get("plural"), article=entry.get("article"))
                if words.setdefault(entry["name"], word) != word:
                    raise ConfigError(
                        where, f"{entry['name']!r} is inflected in two ways",
                        got=str(word), expected=str(words[entry["name"]]),
                        advice="say its plural and article once, or the same everywhere",
                    )  # fmt: skip
        return cls(names=names, words=words)

    def find(self, video_id: str, label: str) -> str | None:
        """Give the key that a label is renamed by: the video's own before the general one."""
        for key in (f"{video_id}/{label}", label):
            if key in self.names:
                return key
        return None


def _check_entry(where: str, entry: object) -> None:
    if not isinstance(entry, Mapping) or "name" not in entry:
        raise ConfigError(where, "is no name", got=repr(entry)[:80], expected=_EXPECTED)
    unknown = sorted(set(entry) - {"name", "plural", "article"})
    if unknown:
        raise ConfigError(where, f"holds {unknown[0]!r}", expected=_EXPECTED)
    for part in ("name", "plural"):
        _check_word(f"{where}.{part}" if len(entry) > 1 else where, entry.get(part, "word"))
    if entry.get("article", "a") not in ("a", "an"):
        raise ConfigError(
            f"{where}.article", "is no article", got=repr(entry["article"]), expected="a | an"
        )


def _check_word(where: str, word: object) -> None:
    good = isinstance(word, str) and word.strip() == word and 0 < len(word) <= _NAME_CHARS
    if not isinstance(word, str) or not good:
        raise ConfigError(
            where, "is no name", got=repr(word)[:80],
            expected=f"1 to {_NAME_CHARS} characters, without blanks around",
        )  # fmt: skip
    if forbidden_in(word) or any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in word):
        raise ConfigError(
            where, "holds what trainers take for a control sequence", got=repr(word)[:80]
        )
    if not clean_label(word):
        raise ConfigError(
            where, "names nothing", got=repr(word), expected="the name of a class, such as kettle"
        )
