r"""User text made visible and harmless: for terminals, Markdown, XML and JSON on a terminal.

Labels and file names are text of users, and so of whoever sends them an export. Three things in it
do harm outside of a web page: control characters (a terminal obeys escape sequences), marks that
turn the direction of what follows, and the markup of where it is put. Control characters and marks
are written as their escapes (`\x1b`, `\u202e`), which a person can read; nothing is left out.

The tables are of fixed code points, not of `unicodedata`, whose answers change with the Python
version, and files must not. Joiners (U+200C, U+200D) stay: emoji and Persian need them.
"""

import re

__all__ = ["json_for_terminal", "markdown", "visible", "xml_text"]

# C0, DEL, C1, separators of lines, everything that sets a direction or is not seen, tags,
# surrogates and non-characters.
_HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
_ON_A_TERMINAL = re.compile(
    "[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)
# A colon before a blank and an underscore inside a word are no markup, and read better as they are.
_MARKUP = re.compile(
    r"[\\`*\[\]<>#|~$&@]|:(?=\S)|(?<![^\W_])_|_(?![^\W_])|(?<=www)\.", re.IGNORECASE
)


def visible(text: object, limit: int | None = None) -> str:
    r"""Write a text in one line without anything that acts.

    Args:
        text: anything; its `str` is taken.
        limit: characters of the result at most; None: as many as it needs.

    Returns:
        The text with control characters as their escapes, and an ellipsis for what was cut off.
    """
    found = str(text)
    cut = limit is not None and len(found) > limit
    found = _HARMFUL.sub(_escape, found[:limit])
    if limit is None or (len(found) <= limit and not cut):
        return found
    return found[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    named = {9: "\\t", 10: "\\n", 13: "\\r"}.get(code)
    if named:
        return named
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def markdown(text: object, limit: int = 80) -> str:
    """Write user text for Markdown: no markup, no HTML, no link, no mention of anybody.

    Punctuation that could be markup becomes a numeric entity, which CommonMark never takes for
    structure, also inside a table. After `@` and `#` goes a zero-width space, or GitHub would call
    the user or link the issue of that name, which it does after entities were resolved.

    Args:
        text: of a user.
        limit: characters at most, before entities are put in.
    """
    return _MARKUP.sub(_entity, visible(text, limit))


def _entity(match: re.Match[str]) -> str:
    mark = match.group()
    return f"&#{ord(mark)};" + ("&#8203;" if mark in "@#" else "")


def xml_text(text: object, limit: int | None = None) -> str:
    """Write user text for XML 1.0, for an element or an attribute in double quotes.

    What XML cannot hold even as an entity (most control characters, surrogates) is written as its
    escape already.
    """
    found = visible(text, limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return found.replace('"', "&quot;")


def json_for_terminal(text: str) -> str:
    r"""Write what acts on a terminal as JSON escapes; the document stays the same document.

    Args:
        text: JSON. Control characters below U+0020 are escapes in it already.
    """
    return _ON_A_TERMINAL.sub(
        lambda match: "".join(
            f"\\u{unit:04x}" for unit in _utf16(match.group())
        ),
        text,
    )  # fmt: skip


def _utf16(mark: str) -> list[int]:
    data = mark.encode("utf-16-be")
    return [data[i] << 8 | data[i + 1] for i in range(0, len(data), 2)]
