"""The lines of a log as a page shows them, wherever they come from: errors first, and what they say in short."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from aem_guides.archive.digest import LogDigest
from aem_guides.protocol.json import clean_text

LINES = 500
MOST_ERRORS = 100
LATEST = 10
LONGEST_LINE = 2_000


@dataclass(frozen=True)
class Line:
    """A line and its number, from 1."""

    number: int
    text: str
    is_error: bool


@dataclass(frozen=True)
class Entry:
    """A file of the archive; `size` in bytes, unpacked, as the archive says."""

    number: int
    name: str
    size: int


@dataclass(frozen=True)
class LogPage:
    """A page of a log. `errors` are the first of all errors, `latest` the last lines.

    Those and the digest are of the whole log, as far as it was read, and are there on the first page only. `cut`: only
    the beginning of the log was read; `goes_on`: the next look reads on. `said`: why there is no line, or no more.
    """

    entries: tuple[Entry, ...] = ()
    entry: Entry | None = None
    lines: tuple[Line, ...] = ()
    errors: tuple[Line, ...] = ()
    latest: tuple[Line, ...] = ()
    page: int = 1
    has_more: bool = False
    cut: bool = False
    goes_on: bool = False
    said: str = ""
    digest: LogDigest | None = None


def page_of(lines: Iterable[tuple[int, str]], page: int = 1, search: str | None = None) -> LogPage:
    """A page of `LINES` lines: all of them, or those that have the words, in any case of letters."""
    page = max(1, page)
    first, last = (page - 1) * LINES, page * LINES
    shown: list[Line] = []
    errors: list[Line] = []
    latest: deque[tuple[int, str, bool]] = deque(maxlen=LATEST)
    digest = LogDigest()
    matched = 0
    words = search.casefold() if search else None
    for number, text in lines:
        is_error = digest.take(number, text)
        latest.append((number, text, is_error))
        if is_error and len(errors) < MOST_ERRORS:
            errors.append(_line(number, text, is_error))
        if words is not None and words not in text.casefold():
            continue
        matched += 1
        if first < matched <= last:
            shown.append(_line(number, text, is_error))
        elif matched > last and page > 1:
            break
    if page > 1:
        return LogPage(lines=tuple(shown), page=page, has_more=matched > last)
    return LogPage(
        lines=tuple(shown),
        errors=tuple(errors),
        latest=tuple(_line(*line) for line in latest),
        has_more=matched > last,
        digest=digest,
    )


def _line(number: int, text: str, is_error: bool) -> Line:
    return Line(number, clean_text(text), is_error)
