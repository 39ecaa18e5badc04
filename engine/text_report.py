"""What the texts of a dataset are worth as training data: how varied, and whether they give away.

Counted are sentences with labels, numbers and boxes masked and lists cut to one item, so that what
is left is wording. Workers tally their shards, tallies merge in any order to the same result.

Trade-off: memory is bounded without sampling. Of more distinct entries than a cap, those with the
smallest hashes are counted, exactly; the others only as their sum. Which these are does not depend
on the order of anything.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from engine.phrases import Turn
from engine.storage import read_bytes, write_bytes

__all__ = [
    "Counts", "TextTally", "document", "masked", "merge", "read_tally", "tally", "write_tally",
]  # fmt: skip

_PARTS = ("questions", "answers", "first_words", "kinds", "families", "polar")
_CAP = 10_000
_TOP = 10
_CLASSES = 100
_BOX = re.compile(r"\[\d+(?:\.\d+)?(?:, \d+(?:\.\d+)?){3}\]|(?:<loc\d{4}>){4}")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_ITEMS = tuple(
    re.compile(rf"({item})(?:(?:, |; |\n- |,\n | and ){item})+")
    for item in (
        r'\{"\w+": "LABEL", "\w+": "?BOX"?\}',
        "LABEL BOX", "N LABEL", "the LABEL", "LABEL", "BOX",
    )
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How often each entry came.

    Args:
        total: entries in all.
        known: count by entry; exact for each that is in it.
        bound: entries whose hash is above it are not in `known`; None: all are.
    """

    total: int = 0
    known: Mapping[str, int] = field(default_factory=dict)
    bound: int | None = None

    def settled(self) -> dict[str, int]:
        """Give at most 10,000 entries, the most frequent first, however they were merged."""
        kept = sorted(self.known, key=_hash)[:_CAP]
        return dict(sorted(((k, self.known[k]) for k in kept), key=lambda kv: (-kv[1], kv[0])))

    @property
    def complete(self) -> bool:
        """Whether no entry was left out."""
        return self.bound is None and len(self.known) <= _CAP


@dataclass(frozen=True, kw_only=True)
class TextTally:
    """What some conversations hold.

    Args:
        rows: conversations.
        parts: counts by what was counted: questions, answers, first_words (of questions), kinds,
            families ("class<TAB>kind"), polar ("yes<TAB>question").
    """

    rows: int = 0
    parts: Mapping[str, Counts] = field(default_factory=dict)


@lru_cache(maxsize=1 << 16)
def _hash(entry: str) -> int:
    digest = hashlib.blake2b(entry.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _counts(entries: Mapping[str, int], total: int, bound: int | None) -> Counts:
    """Keep the entries of the smallest hashes, at most twice the cap."""
    known = dict(entries)
    if bound is not None:
        known = {k: n for k, n in known.items() if _hash(k) <= bound}
    if len(known) > 2 * _CAP:
        kept = sorted(known, key=_hash)[:_CAP]
        bound = _hash(kept[-1])
        known = {k: known[k] for k in kept}
    return Counts(total=total, known=known, bound=bound)


@lru_cache(maxsize=4096)
def _word_pattern(words: frozenset[str]) -> re.Pattern[str]:
    longest = sorted(words, key=lambda word: (-len(word), word))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)")


def masked(text: str, words: frozenset[str]) -> str:
    """Give the wording of a text: labels, numbers and boxes masked, lists cut to one item.

    Args:
        text: a question or an answer.
        words: what the frame's classes are called in it.
    """
    text = _BOX.sub("BOX", text)
    if words:
        text = _word_pattern(words).sub("LABEL", text)
    return _one_item(_NUMBER.sub("N", text).replace("an LABEL", "a LABEL"))


@lru_cache(maxsize=1 << 14)
def _one_item(wording: str) -> str:
    """Cut lists to one item; what is masked already is mostly one of some hundred wordings."""
    for item in _ITEMS:
        wording = item.sub(r"\1", wording)
    return wording


def tally(rows: Iterable[Sequence[Turn]]) -> TextTally:
    """Count what conversations hold.

    Args:
        rows: what `compose` made, one a frame; read once, never held.
    """
    parts: dict[str, Counter[str]] = {name: Counter() for name in _PARTS}
    total = 0
    for turns in rows:
        total += 1
        for turn in turns:
            question = masked(turn.question, turn.words)
            parts["questions"][question] += 1
            parts["answers"][masked(turn.answer, turn.words)] += 1
            parts["first_words"][question.split()[0].strip(",.:;?!").lower()] += 1
            parts["kinds"][turn.kind] += 1
            parts["families"].update(f"{name}\t{turn.kind}" for name in turn.classes or ("",))
            if turn.yes is not None:
                parts["polar"][f"{'yes' if turn.yes else 'no'}\t{question}"] += 1
    return TextTally(
        rows=total,
        parts={name: _counts(each, each.total(), None) for name, each in parts.items()},
    )


def merge(tallies: Iterable[TextTally]) -> TextTally:
    """Sum tallies up; their order does not matter."""
    rows, parts = 0, dict[str, Counts]()
    for each in tallies:
        rows += each.rows
        for name, counts in each.parts.items():
            before = parts.get(name, Counts())
            entries = Counter(before.known)
            entries.update(counts.known)
            bounds = [b for b in (before.bound, counts.bound) if b is not None]
            parts[name] = _counts(
                entries, before.total + counts.total, min(bounds) if bounds else None
            )
    return TextTally(rows=rows, parts=parts)


def write_tally(path: str, texts: TextTally) -> None:
    """Write a tally to a file: those of a million rows would be a burden to the driver."""
    write_bytes(path, orjson.dumps(texts), durable=False)


def read_tally(path: str) -> TextTally:
    """Read what `write_tally` wrote."""
    found = orjson.loads(read_bytes(path))
    parts = {name: Counts(**counts) for name, counts in found["parts"].items()}
    return TextTally(rows=found["rows"], parts=parts)


def document(total: TextTally) -> dict[str, Any]:
    """Give the figures of a text report as JSON types.

    Returns:
        `rows`, `turns`; `questions`, `answers` and `first_words` with `distinct`, `top` (text,
        count, share), `entropy_normalised` (0 to 1; None for fewer than two) and `complete` (false
        where only a part of the distinct ones could be counted); `families`, turns by kind;
        `families_by_class`, turns by kind for the 100 most frequent classes, "" for turns about no
        class or about objects that nobody named; `yes_no`: answers, and by how many bits the
        question alone tells which, beside what chance alone would give.
    """
    parts = {name: total.parts.get(name, Counts()) for name in ("questions", "answers")}
    kinds = total.parts.get("kinds", Counts()).settled()
    classes: dict[str, Counter[str]] = {}
    for entry, count in total.parts.get("families", Counts()).settled().items():
        name, _, kind = entry.partition("\t")
        classes.setdefault(name, Counter())[kind] += count
    frequent = sorted(classes, key=lambda name: (-classes[name].total(), name))[:_CLASSES]
    return {
        "rows": total.rows,
        "turns": parts["questions"].total,
        **{name: _spread(counts) for name, counts in parts.items()},
        "first_words": _spread(total.parts.get("first_words", Counts())),
        "families": dict(sorted(kinds.items())),
        "families_by_class": {
            name: dict(sorted(classes[name].items())) for name in sorted(frequent)
        },
        "yes_no": _yes_no(total.parts.get("polar", Counts()).settled()),
    }


def _spread(counts: Counts) -> dict[str, Any]:
    """How evenly entries are spread."""
    known = counts.settled()
    seen = sum(known.values())
    entropy = -sum(n / seen * math.log2(n / seen) for n in known.values()) if seen else 0.0
    return {
        "distinct": len(known),
        "complete": counts.complete,
        "entropy_normalised": round(entropy / math.log2(len(known)), 4) if len(known) > 1 else None,
        "top": [
            {"text": text, "count": n, "share": round(n / counts.total, 4)}
            for text, n in list(known.items())[:_TOP]
        ],
    }


def _yes_no(known: Mapping[str, int]) -> dict[str, Any]:
    """What a question tells of its answer, without looking at the image."""
    table: dict[str, list[int]] = {}
    for entry, count in known.items():
        answer, _, question = entry.partition("\t")
        table.setdefault(question, [0, 0])[answer == "yes"] += count
    no, yes = (sum(row[at] for row in table.values()) for at in (0, 1))
    told = chance = None
    if yes and no:
        total, certain = yes + no, _bits(yes, no)
        left = sum(sum(row) / total * _bits(*row) for row in table.values())
        expected = sum(
            sum(row) / total * _expected_bits(sum(row), yes, no) for row in table.values()
        )
        told, chance = round(max(0.0, certain - left), 4), round(max(0.0, certain - expected), 4)
    return {
        "yes": yes,
        "no": no,
        "questions": len(table),
        "mutual_information_bits": told,
        "by_chance_bits": chance,
    }


def _bits(*counts: int) -> float:
    """Entropy of counts, bits."""
    total = sum(counts)
    return -sum(n / total * math.log2(n / total) for n in counts if n)


@lru_cache(maxsize=1024)
def _expected_bits(size: int, yes: int, no: int) -> float:
    """Entropy that `size` answers drawn at random from all would have, on average."""
    total = yes + no
    if size > 500:  # the exact sum's limit: each degree of freedom costs half a nat
        return _bits(yes, no) - (1 - size / total) / (2 * size * math.log(2))

    def log_choose(n: int, k: int) -> float:
        return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

    every = log_choose(total, size)
    return sum(
        math.exp(log_choose(yes, k) + log_choose(no, size - k) - every) * _bits(k, size - k)
        for k in range(max(0, size - no), min(size, yes) + 1)
    )
