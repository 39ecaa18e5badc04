"""Sentences by kind of turn: the built-in ones, or the user's in their place.

Trade-off: a user's file replaces whole kinds, question or answer by itself, and what it does not
name stays as built in. Each sentence is checked before anything is read: its slots, what trainers
would take for a control sequence, and that what the turn is about is not left out.
"""

import difflib
import string
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from engine.errors import ConfigError
from engine.label_text import forbidden_in
from engine.wording import ANSWERS, QUESTIONS

__all__ = ["ANSWER_SLOTS", "QUESTION_SLOTS", "Slots", "Templates"]

_SENTENCE_CHARS = 500


@dataclass(frozen=True, kw_only=True)
class Slots:
    """What a sentence of one kind may hold, and what it must.

    Args:
        known: names of slots that may stand in it.
        needed: of each of these sets at least one must.
    """

    known: frozenset[str]
    needed: tuple[frozenset[str], ...] = ()


def _slots(known: str, *needed: str) -> Slots:
    """Read names; those in `needed` are known as well."""
    sets = tuple(frozenset(names.split()) for names in needed)
    return Slots(known=frozenset(known.split()).union(*sets), needed=sets)


QUESTION_SLOTS: Mapping[str, Slots] = MappingProxyType(
    {
        "segment": _slots("where adjective", "target"),
        "segment_all": _slots("where adjective", "target"),
        "rest": _slots("where adjective", "target"),
        "continue": _slots("where adjective"),
        "mixed": _slots("where", "target"),
        "segment_box": _slots("where", "box"),
        "identify": _slots("where adjective", "target"),
        "classes": _slots("where adjective"),
        "locate": _slots("where is_are", "target"),
        "locate_all": _slots("where adjective", "target"),
        "locate_json": _slots("where", "target", "keys"),
        "count": _slots("where", "many"),
        "count_all": _slots("where adjective"),
        "exists": _slots("where are", "a one many"),
        "exists_tracked": _slots("where are", "a one many"),
        "box_to_label": _slots("where", "box"),
    }
)
"""Slots of questions by kind of turn."""

ANSWER_SLOTS: Mapping[str, Slots] = MappingProxyType(
    {
        "segment": _slots("is_are", "counted", "listing"),
        "segment_one": _slots("counted", "a", "listing"),
        "segment_all": _slots("is_are", "total summary", "listing"),
        "segment_box": _slots("a", "listing"),
        "identify": _slots("counted is_are", "listing"),
        "identify_all": _slots("total summary is_are", "listing"),
        "first_part": _slots("is_are", "total", "numbers", "listing"),
        "first_part_of_largest": _slots("", "total", "limit", "numbers", "listing"),
        "next_part": _slots("total", "numbers", "listing"),
        "classes": _slots("class_count", "names"),
        "locate": _slots("bare verb counted is_are", "boxes"),
        "locate_json": _slots("", "json"),
        "count": _slots("is_are", "counted"),
        "count_all": _slots("summary is_are", "total"),
        "count_many": _slots("is_are", "total"),
        "exists_yes": _slots("counted is_are boxes"),
        "exists_yes_many": _slots("counted is_are"),
        "exists_no": _slots("a one many bare verb"),
        "exists_tracked_no": _slots("a one many bare verb"),
        "denied": _slots("verb", "a one many bare"),
        "denied_tracked": _slots("verb", "a one many bare"),
        "box_to_label": _slots("", "a one"),
        "nothing": _slots("adjective"),
        "count_nothing": _slots("adjective"),
    }
)
"""Slots of answers by kind."""

_PARTS = MappingProxyType({"questions": QUESTION_SLOTS, "answers": ANSWER_SLOTS})


@dataclass(frozen=True, kw_only=True)
class Templates:
    """The sentences of a run.

    Args:
        questions: by kind, never empty.
        answers: by kind, never empty.
        own: kinds whose questions are the user's: nothing is added to these.
    """

    questions: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(QUESTIONS))
    answers: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(ANSWERS))
    own: frozenset[str] = frozenset()

    @classmethod
    def of(cls, table: Mapping[str, Any] | None) -> "Templates":
        """Read the table of a template file.

        Args:
            table: `questions` and `answers`, each a table of lists of sentences; None: built in.

        Raises:
            ConfigError: an unknown part, kind or slot, a slot left out, an empty list, or what a
                trainer would not take as text; with the place in the file.
        """
        given: dict[str, dict[str, tuple[str, ...]]] = {"questions": {}, "answers": {}}
        for part, kinds in (table or {}).items():
            _known(f"templates: {part}", part, _PARTS, "part")
            if not isinstance(kinds, Mapping):
                raise ConfigError(
                    f"templates: {part}", "is no table", expected="kinds with lists of sentences"
                )
            for kind, sentences in kinds.items():
                where = f"templates: {part}.{kind}"
                _known(where, kind, _PARTS[part], "kind")
                given[part][kind] = _checked(where, sentences, _PARTS[part][kind])
        return cls(
            questions=dict(QUESTIONS) | given["questions"],
            answers=dict(ANSWERS) | given["answers"],
            own=frozenset(given["questions"]),
        )


def _known(where: str, word: object, words: Collection[str], what: str) -> None:
    if word not in words:
        near = difflib.get_close_matches(str(word), words, n=1)
        raise ConfigError(
            where, f"no such {what}", got=repr(word), expected=" | ".join(sorted(words)),
            advice=f"did you mean {near[0]}?" if near else None,
        )  # fmt: skip


def _checked(where: str, sentences: object, slots: Slots) -> tuple[str, ...]:
    if not isinstance(sentences, list | tuple) or not sentences:
        raise ConfigError(
            where, "holds no sentences", got=repr(sentences)[:60], expected="a list of sentences"
        )
    for number, sentence in enumerate(sentences, start=1):
        _check_sentence(f"{where}, sentence {number}", sentence, slots)
    if len(set(sentences)) < len(sentences):
        raise ConfigError(where, "holds a sentence twice")
    return tuple(sentences)


def _check_sentence(where: str, sentence: object, slots: Slots) -> None:
    if not isinstance(sentence, str) or not sentence.strip() or sentence.strip() != sentence:
        raise ConfigError(
            where, "is no sentence", got=repr(sentence)[:80], expected="text, no blanks around it"
        )
    if len(sentence) > _SENTENCE_CHARS:
        raise ConfigError(where, f"is longer than {_SENTENCE_CHARS} characters")
    bad = forbidden_in(sentence)
    controls = [c for c in sentence if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs")]
    if bad or controls:
        raise ConfigError(
            where, "holds what trainers take for a control sequence", got=repr((bad or controls)[0])
        )
    used = _slots_in(where, sentence)
    for name in used:
        _known(where, name, slots.known, "slot")
    for names in slots.needed:
        if not names & used:
            wanted = " or ".join(f"{{{name}}}" for name in sorted(names))
            raise ConfigError(where, f"leaves out {wanted}", got=repr(sentence)[:80])


def _slots_in(where: str, sentence: str) -> set[str]:
    try:
        fields = list(string.Formatter().parse(sentence))
    except ValueError as error:
        raise ConfigError(
            where, f"cannot be read: {error}", got=repr(sentence)[:80],
            expected="slots such as {target}; a brace itself is written twice",
        ) from error  # fmt: skip
    for _, name, spec, conversion in fields:
        if name is not None and (spec or conversion):
            raise ConfigError(
                where, "a slot holds its name only", got=repr(sentence)[:80], expected=f"{{{name}}}"
            )
    return {name for _, name, _, _ in fields if name is not None}
