"""English for the text of a frame: plurals, articles and countable phrases.

Trade-off: rules and small tables instead of an inflection library. Labels are class names, short
and mostly regular, and a library's version would become part of the output's bytes. What the rules
cannot be sure of (digits, other scripts, whole sentences) is never bent: it is put in quotes behind
a neutral noun, `2 objects labelled "犬"`, and so are mass nouns and plural labels where they are
counted (`1 object labelled "water"`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Inflection", "Noun", "article", "joined", "noun", "plural"]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


def _table(pairs: str) -> dict[str, str]:
    return {one: many for one, _, many in (pair.partition(":") for pair in pairs.split())}


_IRREGULAR = _table(
    "ox:oxen die:dice louse:lice quiz:quizzes axis:axes nucleus:nuclei fungus:fungi "
    "larva:larvae vertebra:vertebrae bacterium:bacteria passerby:passersby scarf:scarves "
    "hoof:hooves "
    "potato:potatoes tomato:tomatoes hero:heroes echo:echoes mosquito:mosquitoes "
    "volcano:volcanoes mango:mangoes tornado:tornadoes torpedo:torpedoes buffalo:buffaloes "
    "domino:dominoes cargo:cargoes half:halves calf:calves thief:thieves life:lives "
    "stomach:stomachs monarch:monarchs human:humans german:germans roman:romans "
    "shaman:shamans talisman:talismans ottoman:ottomans caiman:caimans mongoose:mongooses "
    "omen:omens gas:gases"
)
_SUFFIXES = _table(
    "person:people man:men child:children mouse:mice foot:feet tooth:teeth goose:geese "
    "knife:knives wolf:wolves elf:elves loaf:loaves wife:wives leaf:leaves sis:ses"
)
_INVARIANT = re.compile(
    r"(?:.*(?:fish|sheep|deer|craft)|moose|bison|salmon|trout|shrimp|squid|swine|offspring|dice"
    r"|series|species|chassis|biceps|triceps|crossroads|headquarters)"
)
# Singular although they end like plurals; -ss and -us are known by their ending.
_SINGULAR_S = _set(
    "gas lens canvas atlas pancreas alias bias christmas iris axis ibis mantis trellis pelvis "
    "clematis tennis cosmos rhinoceros thermos asbestos"
)
_PLURALS = _set(
    "people men women children mice feet teeth geese oxen lice knives wolves police cattle menus "
    "emus gnus bacteria larvae nuclei fungi vertebrae passersby"
)
_PAIRS = _set(
    "scissors glasses sunglasses eyeglasses spectacles goggles binoculars pants trousers jeans "
    "shorts leggings tights pliers tweezers tongs headphones earphones"
)
_MASS = _set(
    "water sky grass snow sand mud ice smoke fog steam dust blood hair fur clothing furniture "
    "vegetation terrain luggage baggage traffic equipment jewelry jewellery rice bread butter "
    "cheese meat food milk coffee tea juice soup paper wood metal glassware cutlery trash garbage "
    "rubbish litter debris foliage sunlight tennis news gravel soil dirt pavement asphalt "
    "data money software hardware information art chess"
)
# Words that name no class: "the other" and "the unknown" read as something else.
_NO_CLASS = _set(
    "other others unknown misc none nothing null nan background undefined unlabeled unlabelled "
    "thing things stuff something objects label class all any it"
)
_ACRONYMS = _set("suv atv utv uav led lcd mri rv tv hdtv usb ufo pc atm agv ev id")
# What counts or denies: "the two dogs" of one object, "a no dog".
_DETERMINERS = _set(
    "a an the my your his her its our their this that these those no not some many several few "
    "every each both two three four five six seven eight nine ten"
)
_PREPOSITIONS = _set(
    "of in on with without at for from to by under over near behind beside against"
)
_PLAIN = re.compile(r"[A-Za-z']+(?: [A-Za-z']+){0,5}")
_A_VOWEL = re.compile(  # written with a vowel, spoken with a consonant
    r"uni(?!d|m|n)|us[aeiu]|ut[ei]|u(?:sb|fo|av|v|k|s)\b|uku|ura|uri|eu|ewe|(?:one|once)\b|onesie"
)
_AN_CONSONANT = re.compile(  # written with a consonant, spoken with a vowel
    r"hour|honest|hono|heir|[fhlmnrsx]\b|(?:suvs?|rv|led|lcd|mri|nba|nfl|fbi|mp|hdtv|xray)\b"
)
_EAST_ASIAN = re.compile(
    "[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)


def _lower_plural(word: str) -> str:
    """Plural of one lower-case word."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if _is_plural(word) or _INVARIANT.fullmatch(word):
        return word
    for one, many in _SUFFIXES.items():
        if word.endswith(one):
            return word.removesuffix(one) + many
    if re.search(r"(?:[^aeiou]|qu)y$", word):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")


def _is_plural(word: str) -> bool:
    """Whether one lower-case word is a plural already."""
    if word in _PLURALS or word in _PAIRS:
        return True
    if not word.endswith("s") or word in _SINGULAR_S or _INVARIANT.fullmatch(word):
        return word.endswith(("men", "people", "children")) and not word.endswith(
            ("imen", "domen", "amen", "cumen")
        )
    return len(word) > 2 and not word.endswith(("ss", "us", "sis"))


def _word_plural(word: str) -> str:
    """Plural of one word, its capitals kept: Person, People; BUS, BUSES; SUV, SUVs."""
    low = word.lower()
    many = _lower_plural(low)
    if word.isupper() and len(word) > 1:
        return word + "s" if low in _ACRONYMS else many.upper()
    same = next(
        (i for i, pair in enumerate(zip(low, many, strict=False)) if len(set(pair)) > 1), len(low)
    )
    return word[:same] + many[same:]


def _head(words: Sequence[str]) -> int:
    """Index of the word that carries the number: before a preposition, else the last."""
    for index, word in enumerate(words):
        if index and word.lower() in _PREPOSITIONS:
            return index - 1
    return len(words) - 1


def plural(phrase: str) -> str:
    """Plural of an English noun phrase.

    Args:
        phrase: words parted by single blanks, such as "traffic light" or "cup of tea".

    Returns:
        The phrase with its head word in the plural ("cups of tea"), capitals kept; a phrase that is
        plural already comes back unchanged.
    """
    words = phrase.split(" ")
    at = _head(words)
    words[at] = _word_plural(words[at])
    return " ".join(words)


def article(phrase: str) -> str:
    """Return "a" or "an", by the sound of the phrase's first word as far as its letters tell it."""
    low = phrase.lower()
    if _AN_CONSONANT.match(low):
        return "an"
    return "an" if low[:1] in "aeiou" and low[:1] and not _A_VOWEL.match(low) else "a"


def joined(parts: Sequence[str]) -> str:
    """Return "a", "a and b", or "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


@dataclass(frozen=True, kw_only=True)
class Inflection:
    """How the user inflects a name; None where the rules may.

    Args:
        plural: its plural.
        article: "a" or "an".
    """

    plural: str | None = None
    article: str | None = None


@dataclass(frozen=True, kw_only=True)
class Noun:
    """How a class is spoken of.

    Args:
        name: the label as it stands beside a box, in quotes where it is no plain English.
        one: countable singular, such as "car", "pair of scissors", 'object labelled "water"'.
        many: its plural.
        bare_one: what follows "the" for one object: "car", "scissors", "water".
        bare_many: what follows "the" for several.
        verbs: "is" or "are" after `bare_one` and after `bare_many`.
        article: "a" or "an" before `one`; None: by its sound.
    """

    name: str
    one: str
    many: str
    bare_one: str
    bare_many: str
    verbs: tuple[str, str] = ("is", "are")
    article: str | None = None

    @property
    def with_article(self) -> str:
        """The countable singular with its article: "a car", "an hour", "another object"."""
        if self.article is None and self.one.startswith("other "):
            return f"an{self.one}"
        return f"{self.article or article(self.one)} {self.one}"

    def counted(self, count: int) -> str:
        """Return "1 car", "2 cars"."""
        return f"{count} {self.one if count == 1 else self.many}"

    def bare(self, count: int) -> str:
        """Return what follows "the" for `count` objects."""
        return self.bare_one if count == 1 else self.bare_many

    def verb(self, count: int) -> str:
        """Return "is" or "are", as it agrees with `bare(count)`."""
        return self.verbs[count != 1]


@lru_cache(maxsize=4096)
def noun(
    label: str,
    *,
    link: str = "object labelled",
    quote: bool = False,
    user: Inflection | None = None,
) -> Noun:
    """Choose how a cleaned label is spoken of.

    Args:
        label: the label, cleaned, not empty.
        link: what stands before a label in quotes; its first word is regular and takes the plural.
        quote: put the label in quotes even if it reads as plain English.
        user: the user's own plural and article; a name with a plural stands without quotes.

    Returns:
        A plain noun if the label is plain English of at most six words, else one that quotes it.
    """
    if user and user.plural and not quote:
        return Noun(
            name=label, one=label, many=user.plural, bare_one=label, bare_many=user.plural,
            article=user.article,
        )  # fmt: skip
    quoted = f"「{label}」" if _EAST_ASIAN.search(label) else f'"{label}"'
    one, many = f"{link} {quoted}", f"{link.replace(' ', 's ', 1)} {quoted}"
    words = label.lower().split(" ")
    if quote or not _reads_as_noun(label, words):
        return Noun(name=quoted, one=one, many=many, bare_one=one, bare_many=many)
    head = words[_head(words)]
    if head in _PAIRS:
        one, many = f"pair of {label}", f"pairs of {label}"
    elif head not in _MASS and not _is_plural(head):
        many = plural(label)
        own = user.article if user else None
        return Noun(name=label, one=label, many=many, bare_one=label, bare_many=many, article=own)
    verbs = ("is", "is") if head in _MASS else ("are", "are")
    return Noun(name=label, one=one, many=many, bare_one=label, bare_many=label, verbs=verbs)


def _reads_as_noun(label: str, words: Sequence[str]) -> bool:
    """Whether a label can stand in an English sentence without quotes."""
    return (
        _PLAIN.fullmatch(label) is not None
        and "'" not in words[_head(words)]
        and not (len(words) == 1 and (words[0] in _NO_CLASS or len(label) == 1))
        and words[0] not in _DETERMINERS | _PREPOSITIONS
        and words[-1] not in _PREPOSITIONS
        and not {"and", "or", "is", "are", "object", "objects"} & set(words)
        and not any(word.endswith("ing") for word in words[1:-1])  # "person riding bike"
    )
