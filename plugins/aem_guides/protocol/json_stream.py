"""Read a JSON object as it comes. Each entry of its long list is passed on, and none is kept."""

from __future__ import annotations

import codecs
import enum
import re
from collections.abc import Collection, Mapping

from aem_guides.protocol.json import DECODER, LONGEST_TEXT, JsonError, charset_of, clean_text, cleaned, is_odd
from aem_guides.protocol.models import JsonValue

LONGEST_ENTRY = 256 * 1024
"""Characters of one entry of the list, or of another value of the object. An asset has about two hundred."""
_LONGEST_MARK = 4
"""Bytes of a byte order mark."""

_NEXT = re.compile(r"[^ \t\n\r]")
_NOT_JSON = "the answer is not JSON"


class _Place(enum.Enum):
    BEFORE = "the object"
    NAME = "a name"
    COLON = "a colon"
    VALUE = "a value"
    LIST = "an entry"
    COMMA = "a comma"
    AFTER = "nothing more"


class ObjectStream:
    """Reads one JSON object block by block, and returns the entries of its member `streamed` as they come.

    `members` gets the members that `kept` names. `has_list` says whether the streamed member came and is a list. Memory
    holds one block and one entry, however long the list is. All texts are cleaned as in `read_json`.
    """

    def __init__(self, headers: Mapping[str, str], *, streamed: str, kept: Collection[str]) -> None:
        self.members: dict[str, JsonValue] = {}
        self.has_list = False
        self._headers, self._streamed, self._kept = headers, streamed, kept
        self._first = b""
        self._decoder: codecs.IncrementalDecoder | None = None
        self._text, self._at, self._odd = "", 0, False
        self._place, self._name = _Place.BEFORE, ""

    def feed(self, block: bytes) -> list[JsonValue]:
        """The entries that are complete with this block. Raises JsonError."""
        return self._take(self._decoded(block, last=False))

    def finish(self) -> list[JsonValue]:
        """The last entries. Raises JsonError if the object is incomplete."""
        found = self._take(self._decoded(b"", last=True))
        if self._place is not _Place.AFTER:
            raise JsonError(f"{_NOT_JSON}: it ends where {self._place.value} is expected")
        return found

    def _decoded(self, block: bytes, *, last: bool) -> str:
        if self._decoder is None:
            self._first += block
            if len(self._first) < _LONGEST_MARK and not last:
                return ""
            mark, charset = charset_of(self._first, self._headers)
            self._decoder = codecs.getincrementaldecoder(charset)(errors="replace")
            block = self._first[mark:]
        return self._decoder.decode(block, last)

    def _take(self, fresh: str) -> list[JsonValue]:
        self._text, self._at = self._text[self._at :] + fresh, 0
        self._odd = is_odd(self._text)
        entries: list[JsonValue] = []
        try:
            while self._next() and self._step(entries):
                pass
        except RecursionError:
            raise JsonError("the answer is nested too deep") from None
        if len(self._text) - self._at > LONGEST_ENTRY:
            raise JsonError(f"{_NOT_JSON}: a value is longer than {LONGEST_ENTRY:,} characters")
        return entries

    def _next(self) -> bool:
        """Go to the next character that is not white space. False if it has not come yet."""
        found = _NEXT.search(self._text, self._at)
        self._at = found.start() if found else len(self._text)
        return found is not None

    def _step(self, entries: list[JsonValue]) -> bool:
        """Read the next element. False if it is not complete yet."""
        letter = self._text[self._at]
        match self._place, letter:
            case _Place.BEFORE, "{":
                self._go_on(_Place.NAME)
            case _Place.NAME | _Place.COMMA, "}":
                self._go_on(_Place.AFTER)
            case _Place.NAME, '"':
                return self._value()
            case _Place.COLON, ":":
                self._go_on(_Place.VALUE)
            case _Place.VALUE, "[" if self._name == self._streamed:
                self.has_list = True
                self._go_on(_Place.LIST)
            case _Place.VALUE, _:
                return self._value()
            case _Place.LIST, "]":
                self._go_on(_Place.COMMA)
            case _Place.LIST, _:
                return self._list(entries)
            case _Place.COMMA, ",":
                self._go_on(_Place.NAME)
            case _:
                raise JsonError(f"{_NOT_JSON}: {self._place.value} is expected, but something else came")
        return True

    def _go_on(self, place: _Place) -> None:
        self._at, self._place = self._at + 1, place

    def _value(self) -> bool:
        """A name, or the value of a member that is not streamed."""
        found = self._whole(self._at)
        if found is None:
            return False
        value, end = found
        if self._place is _Place.NAME:
            self._name, self._place = clean_text(str(value)), _Place.COLON
        else:
            if self._name in self._kept:
                self.members[self._name] = cleaned(value)
            self._place = _Place.COMMA
        self._at = end
        return True

    def _list(self, entries: list[JsonValue]) -> bool:
        """All complete entries. False if the next entry is incomplete."""
        text, search = self._text, _NEXT.search
        while (found := self._whole(self._at)) is not None:
            value, end = found
            entries.append(cleaned(value) if self._odd or end - self._at > LONGEST_TEXT else value)
            letter = text[end]
            if letter == "]":
                self._at, self._place = end + 1, _Place.COMMA
                return True
            if letter != ",":
                raise JsonError(f"{_NOT_JSON}: a comma is expected between two entries, but something else came")
            self._at = end + 1
            begin = search(text, self._at)
            if begin is None:
                return False
            self._at = begin.start()
        return False

    def _whole(self, at: int) -> tuple[JsonValue, int] | None:
        """The value that begins here, and the position after it. None if it has not come yet.

        A number is complete only if another character follows it.
        """
        try:
            value, end = DECODER.raw_decode(self._text, at)
        except ValueError:
            return None
        follows = _NEXT.search(self._text, end)
        if follows is None or follows[0] in ".eE":
            return None
        return value, follows.start()
