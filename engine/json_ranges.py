"""Cutting an annotations file of any size into its frame records, in one pass and bounded memory.

Trade-off: a streaming JSON parser (ijson) builds every value in Python and is slower by an order of
magnitude; orjson is fast but wants the document whole, 500 MB of text and several times that as
objects. To cut it, quotes and brackets are enough, found by numpy (`engine.json_structure`); a
running sum of the brackets is the depth, and Python loops only over elements. What is inside an
element is left to `parse_json`.
"""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import orjson

from engine.caps import Caps
from engine.errors import ExportError
from engine.json_structure import Positions, find_structure, key_text, top_level_keys

__all__ = ["Cutter", "parse_json"]

_BLANK = b" \t\r\n"
_PIECE_BYTES = 4 * 2**20  # the working arrays take some four times as much
_OPEN_LIST = 0x5B
_BOMS = {
    b"\xff\xfe\x00\x00": "UTF-32", b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16",
}  # fmt: skip
_TOKEN = re.compile(rb'[ \t\r\n]++|,|"(?:[^"\\]++|\\.)*+"|[^ \t\r\n,"]++', re.DOTALL)
_KEY_AT_END = re.compile(rb'[{,][ \t\r\n]*("(?:[^"\\]|\\.)*")[ \t\r\n]*:[ \t\r\n]*$', re.DOTALL)
_KEY_WINDOW = 512  # bytes looked at before a list for its key; ours are shorter, blanks included
_NO_NUMBER = re.compile(rb"-?(?:NaN|Infinity)\b")  # as Python's json writes what JSON does not have


_DEFAULT_CAPS = Caps()


def parse_json(raw: bytes, where: str, *, starts: Sequence[tuple[int, int]] = ()) -> object:
    """Parse one JSON text.

    Args:
        raw: the text.
        where: the file, and what of it, for the error's text.
        starts: (byte of `raw`, byte of the file) from which on the two run alike, ascending; empty:
            `raw` is the whole file.

    Raises:
        ExportError: it is no JSON; the text says line, column and byte, of a part of a file the
            byte of the file.
    """
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        try:
            byte = len(raw.decode()[: error.pos].encode())
        except UnicodeDecodeError as wrong:
            what = f"is not UTF-8 at {_byte_of_file(wrong.start, starts)}"
            raise ExportError(where, what, got=f"0x{raw[wrong.start]:02x}") from error
        # orjson stops behind a minus sign, and says so of the character there.
        number = _NO_NUMBER.match(raw, max(byte - 1, 0)) or _NO_NUMBER.match(raw, byte)
        behind = byte - number.start() if number else 0
        place = _byte_of_file(byte - behind, starts)
        if not starts:
            place = f"line {error.lineno}, column {error.colno - behind} ({place})"
        what = f"is not JSON at {place}"
        if number is None:
            raise ExportError(where, what, got=error.msg) from error
        raise ExportError(
            where, what, got=number[0].decode(), expected="a number: JSON has no such value",
            advice="export null in its place; Python finds where it comes from with "
            "json.dumps(..., allow_nan=False)",
        ) from error  # fmt: skip


def _byte_of_file(byte: int, starts: Sequence[tuple[int, int]]) -> str:
    if not starts:
        return f"byte {byte}"
    own, of_file = max(pair for pair in starts if pair[0] <= byte)
    return f"byte {of_file + byte - own} of the file"


class Cutter:
    """Cuts a JSON object into the elements of its one big list and the rest.

    Use: feed the document's bytes in order, take the elements each call returns, then `finish`.

    Args:
        where: the file, for the text of errors. Offsets in them are bytes from its start.
        array_keys: names the list may have, at the top level; the first one met is cut.
        caps: limits; depth, element and head are looked at.
    """

    def __init__(
        self,
        *,
        where: str,
        array_keys: tuple[str, ...] = ("annotations", "frames", "masklet"),
        caps: Caps = _DEFAULT_CAPS,
    ) -> None:
        self.where = where
        self.array_keys = array_keys
        self.caps = caps
        self.key: str | None = None  # of the list, once it is met
        self.n_elements = 0
        self.starts: list[int] = []  # of the elements that `feed` gave last, in bytes of the file
        self.head_starts: list[tuple[int, int]] = []  # of the head, as `parse_json` takes them
        self._start = bytearray()  # the first bytes, until they show the encoding
        self._started = False
        self._base = 0  # offset of the piece at hand
        self._in_string = False
        self._escaped = False  # the next byte stands behind a backslash
        self._open = b""  # the brackets open so far
        self._done = False  # the top-level object is closed
        self._head = bytearray()
        self._in_list = False
        self._element: bytearray | None = None  # the element begun in an earlier piece
        self._element_start = 0
        self._gap = bytearray()  # text between elements from an earlier piece
        self._wants = "first"  # what may follow in the list: first, element, comma

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes; give the elements that end in them, in order.

        Args:
            chunk: of any length; characters, escapes and strings may be split by its borders.

        Returns:
            The elements' own bytes, without blanks around them: objects, lists or scalars. Where
            each begins in the file is in `starts`.

        Raises:
            ExportError: the text is no JSON object around one such list, or exceeds a cap.
        """
        self.starts = []
        if not self._started:
            self._start += chunk
            if len(self._start) < 4:
                return []
            chunk = self._begin()
        return self._cut_all(chunk)

    def finish(self) -> bytes:
        """End the document.

        Returns:
            The document with an empty list in the place of the one that was cut.

        Raises:
            ExportError: the text ends early, or holds no such list, or its key more than once.
        """
        if not self._started:
            self._cut_all(self._begin())
        if not self._open and not self._done:
            raise ExportError(self.where, "is empty", expected="a JSON object")
        if not self._done:
            inside = ""
            if self._in_list:
                at_comma = self._wants == "comma" and self._element is None
                place = "after" if at_comma else "inside"
                inside = f", {place} element {self.n_elements - at_comma} of `{self.key}`"
            advice = "the file was cut off; copy or export it again"
            raise ExportError(self.where, f"ends early, at byte {self._base}{inside}",
                              advice=advice)  # fmt: skip
        head = bytes(self._head)
        self._check_keys(head)
        return head

    def _error(self, what: str, offset: int, **more: object) -> ExportError:
        got, expected = more.get("got"), more.get("expected")
        return ExportError(self.where, f"{what} at byte {offset}", got=got, expected=expected)

    def _begin(self) -> bytes:
        self._started = True
        raw = bytes(self._start)
        for mark, encoding in _BOMS.items():
            if raw.startswith(mark):
                raise ExportError(self.where, f"is {encoding} text", expected="UTF-8")
        if b"\0" in raw:
            raise ExportError(self.where, "is UTF-16 or UTF-32 text", expected="UTF-8")
        if raw.startswith(b"\xef\xbb\xbf"):
            self._base = 3
            return raw[3:]
        return raw

    def _cut_all(self, chunk: bytes) -> list[bytes]:
        found: list[bytes] = []
        for start in range(0, len(chunk), _PIECE_BYTES):
            piece = chunk[start : start + _PIECE_BYTES]
            if not self._open and not self._done:
                rest = piece.lstrip(_BLANK)
                self._base += len(piece) - len(rest)
                piece = rest
                if piece and not piece.startswith(b"{"):
                    got = repr(piece[:1].decode("latin-1"))
                    raise self._error("no JSON object", self._base, got=got, expected="'{'")
                if piece:
                    self.head_starts = [(0, self._base)]
            if self._done:
                self._refuse_text(piece, 0)
            elif piece:
                self._cut(piece, found)
            self._base += len(piece)
        return found

    def _refuse_text(self, piece: bytes, start: int) -> None:
        rest = piece[start:].lstrip(_BLANK)
        if rest:
            offset = self._base + len(piece) - len(rest)
            raise self._error("text after the end", offset, got=repr(rest[:20])[1:])

    def _cut(self, piece: bytes, found: list[bytes]) -> None:
        """Cut one piece: loop over the few brackets that open or close something of the top."""
        data = np.frombuffer(piece, dtype=np.uint8)
        _, brackets, self._in_string, self._escaped = find_structure(
            data, self._in_string, self._escaped
        )
        brackets, levels = self._levels(data, brackets)
        top = np.flatnonzero(levels <= 3)
        kept = 0  # where the text begins that is not yet handed to anything
        for place, level in zip(brackets[top].tolist(), levels[top].tolist(), strict=True):
            opens = piece[place] in b"{["
            if not self._in_list:
                if opens and level == 2 and piece[place] == _OPEN_LIST:
                    self._extend_head(piece[kept : place + 1])
                    kept = place + 1
                    self._enter_list(place)
            elif level == 2:
                self._take_gap(piece[kept:place], kept, found, last=True)
                if self._wants == "element":
                    raise self._error("nothing between ',' and ']'", self._base + place)
                self._in_list = False
                self.head_starts.append((len(self._head), self._base + place))
                kept = place
            elif opens:
                self._take_gap(piece[kept:place], kept, found, last=True)
                if self._wants == "comma":
                    raise self._missing_comma(place)
                self._element = bytearray()
                self._element_start = self._base + place
                kept = place
            elif self._element is not None:
                found.append(bytes(self._element) + piece[kept : place + 1])
                self._check_element(len(found[-1]))
                self._element = None
                self.starts.append(self._element_start)
                self.n_elements += 1
                self._wants = "comma"
                kept = place + 1
        if self._done:
            end = int(brackets[-1]) + 1
            self._extend_head(piece[kept:end])
            self._refuse_text(piece, end)
        elif not self._in_list:
            self._extend_head(piece[kept:])
        elif self._element is not None:
            self._element += piece[kept:]
            self._check_element(len(self._element))
        else:
            self._take_gap(piece[kept:], kept, found, last=False)

    def _levels(
        self, data: npt.NDArray[np.uint8], brackets: Positions
    ) -> tuple[Positions, npt.NDArray[np.int64]]:
        """Give each bracket its depth, the top-level object's being 1; check that they match.

        Returns:
            The brackets' positions up to the end of the top-level object, and their levels.
        """
        kinds = np.concatenate([np.frombuffer(self._open, dtype=np.uint8), data[brackets]])
        n_before = len(self._open)
        opens = (kinds & 0x06) == 0x02  # of 5B 5D 7B 7D the bits 1 and 2 tell open from close
        depths = np.cumsum(np.where(opens, 1, -1))
        if len(depths) and depths.min() <= 0:
            end = int(np.argmax(depths <= 0)) + 1
            kinds, opens, depths = kinds[:end], opens[:end], depths[:end]
            brackets = brackets[: end - n_before]
            self._done = True
        levels = np.where(opens, depths, depths + 1)
        too_deep = np.flatnonzero(levels > self.caps.max_depth)
        if len(too_deep):
            offset = self._base + int(brackets[too_deep[0] - n_before])
            what = f"more than {self.caps.max_depth} brackets are open"
            raise self._error(what, offset)
        # Of one level, opening and closing brackets alternate: neighbours there are partners.
        order = np.argsort(levels.astype(np.uint16), kind="stable")
        partner = np.zeros(len(order), dtype=np.int64)
        partner[order[1:]] = order[:-1]
        wrong = np.flatnonzero(~opens & (kinds[partner] + 2 != kinds))
        if len(wrong):
            got, expected = chr(kinds[wrong[0]]), chr(kinds[partner[wrong[0]]] + 2)
            offset = self._base + int(brackets[wrong[0] - n_before])
            raise self._error("brackets do not match", offset, got=got, expected=expected)
        depth = int(depths[-1]) if len(depths) else 0
        last = np.searchsorted(levels[order], np.arange(1, depth + 1), side="right") - 1
        self._open = kinds[order[last]].tobytes()
        return brackets, levels[n_before:]

    def _enter_list(self, place: int) -> None:
        """Decide by the key before it whether the list that opens here is the one to cut."""
        match = _KEY_AT_END.search(bytes(self._head[-_KEY_WINDOW - 1 : -1]))
        key = key_text(match[1]) if match else None
        if key not in self.array_keys:
            return
        if self.key is not None:
            same = key == self.key
            what = f"`{key}` is there twice" if same else f"`{self.key}` and `{key}` are both lists"
            raise self._error(f"{what}, the second", self._base + place)
        self.key = key
        self._in_list = True

    def _take_gap(self, text: bytes, start: int, found: list[bytes], *, last: bool) -> None:
        """Read what stands between bracketed elements: a comma, rarely scalars.

        Args:
            text: of the piece at hand, from `start` in it.
            start: for offsets.
            found: takes the scalars.
            last: the text ends at a bracket; else the piece ended, and a token may go on.
        """
        if self._gap:
            start -= len(self._gap)
            text = bytes(self._gap) + text
            self._gap.clear()
        stripped = text.strip(_BLANK)
        if stripped == b"," and self._wants == "comma":
            self._wants = "element"
            return
        position = 0
        while stripped and position < len(text):
            match = _TOKEN.match(text, position)
            if match is None or (not last and match.end() == len(text) and match[0] != b","):
                break
            token = match[0].strip(_BLANK)
            if token == b",":
                if self._wants != "comma":
                    raise self._error("nothing before ','", self._base + start + position)
                self._wants = "element"
            elif token:
                if self._wants == "comma":
                    raise self._missing_comma(start + position)
                self._check_element(len(token))
                found.append(token)
                self.starts.append(self._base + start + position)
                self.n_elements += 1
                self._wants = "comma"
            position = match.end()
        if stripped:
            self._gap += text[position:]
            self._check_element(len(self._gap))

    def _missing_comma(self, place: int) -> ExportError:
        what = f"no comma before element {self.n_elements} of `{self.key}`"
        return self._error(what, self._base + place)

    def _check_element(self, n_bytes: int) -> None:
        if n_bytes > self.caps.max_element_bytes:
            what = f"element {self.n_elements} of `{self.key}` is too large"
            expected = f"at most {self.caps.max_element_bytes} bytes"
            raise ExportError(self.where, what, expected=expected)

    def _extend_head(self, text: bytes) -> None:
        self._head += text
        if len(self._head) > self.caps.max_head_bytes:
            keys = " or ".join(f"`{key}`" for key in self.array_keys)
            what = f"what stands outside of {keys} is too large"
            expected = f"at most {self.caps.max_head_bytes} bytes"
            raise ExportError(self.where, what, expected=expected)

    def _check_keys(self, head: bytes) -> None:
        keys = top_level_keys(head)
        ours = [key for key in keys if key in self.array_keys]
        if self.key is None and ours:
            raise ExportError(self.where, f"`{ours[0]}` is not a list")
        if self.key is None:
            shown = ", ".join(f"`{key}`" for key in keys[:10]) or "no keys"
            expected = " or ".join(f"`{key}`" for key in self.array_keys)
            raise ExportError(self.where, "no frame records", got=shown, expected=expected)
        if ours.count(self.key) != 1:
            raise ExportError(self.where, f"`{self.key}` is there {ours.count(self.key)} times")
