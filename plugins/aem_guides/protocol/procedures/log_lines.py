"""The lines of a job's log: each once and in order, whatever the endpoint makes of paging."""

from __future__ import annotations

from dataclasses import replace

from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import AemGuidesError
from aem_guides.protocol.manners import Haste
from aem_guides.protocol.models import LogPage
from aem_guides.protocol.procedures.events import LogLines
from aem_guides.protocol.steps import Emit, Steps, Wait

PAGE_LINES = 500
"""Lines asked for at once: the product's own log window shows the latest 500."""

_PATIENCE = (1.0, 3.0, 10.0)
COMPARED_LINES = 20
"""So many lines at the end are taken to be unlike all others: most begin with a time in milliseconds."""


class LogPageError(AemGuidesError):
    """The log endpoint gave pages that do not follow each other, several times in a row."""


class PageReader:
    """Turns pages as they come into lines that are new; remembers what the last page held."""

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        self._last: LogPage | None = None
        self._end: tuple[str, ...] = ()

    def fresh_lines(self, page: LogPage) -> tuple[str, ...] | None:
        """The lines of a page asked for at `offset` that were not handed on yet; None if it is the wrong page.

        If the instance gives the offset of the page, it is used: what overlaps is cut off, a gap is a wrong page. One
        that gives no offset is caught when it repeats the same page, or the last line alone.
        """
        begins = self.offset if page.offset is None else page.offset
        if begins > self.offset and page.lines:
            return None
        if self._repeats(page):
            return None
        lines = page.lines[self.offset - begins :] if begins < self.offset else page.lines
        self.offset += len(lines)
        if page.lines:
            self._last = page
        self._end = (*self._end, *lines)[-COMPARED_LINES:]
        return lines

    def is_end(self, tail: LogPage) -> bool:
        """Whether the log ends where we are: its last lines are those that were handed on last."""
        return self._end[-len(tail.lines) :] == tail.lines if tail.lines else self.offset == 0

    def _repeats(self, page: LogPage) -> bool:
        last = self._last
        if last is None or not page.lines:
            return False
        if page.offset is None:
            return page.lines in (last.lines, last.lines[-1:])
        return page.offset == last.offset and page.lines == last.lines and len(page.lines) > 1


def read_log(talk: Conversation, processing_id: str, *, offset: int = 0, page_lines: int = PAGE_LINES) -> Steps[int]:
    """Emit all lines from `offset` on as `LogLines` and return the number of the line after the last.

    If the pages and their fields contradict each other, the last lines of the log show whether all lines came. Raises
    LogPageError where they have not, even when asked again, and what a call raises.
    """
    return (yield from read_on(talk, processing_id, PageReader(offset), page_lines))


def read_on(talk: Conversation, processing_id: str, reader: PageReader, page_lines: int = PAGE_LINES) -> Steps[int]:
    """As `read_log`, from where the reader is."""
    pauses = iter(_PATIENCE)
    promised: bool | None = None
    while True:
        page = yield from talk.call(contract.logs(processing_id, offset=reader.offset, limit=page_lines))
        lines = reader.fresh_lines(page)
        if lines:
            pauses, promised = iter(_PATIENCE), page.has_more
            yield Emit(LogLines(lines, reader.offset))
            if _is_last(page, page_lines):
                return reader.offset
            continue
        if lines is not None and not page.has_more and not promised:
            return reader.offset
        pause = next(pauses, None)
        if pause is None or lines is None:
            tail = yield from talk.call(contract.logs(processing_id, tail=COMPARED_LINES))
            if reader.is_end(tail):
                return reader.offset
        if pause is None:
            raise LogPageError(
                f"The log of job {processing_id} could not be read from line {reader.offset} on: the instance gave a "
                f"wrong page {len(_PATIENCE) + 1} times. The log archive has all lines."
            )
        yield Wait(
            pause, f"the instance says that the log of job {processing_id} has more lines, but does not send them yet"
        )


def _is_last(page: LogPage, asked: int) -> bool:
    """Whether a page says so of itself and may be believed: one that was capped may call itself the last, too."""
    return page.has_more is False and page.limit == asked and len(page.lines) < asked


def stream_new_lines(talk: Conversation, processing_id: str, reader: PageReader, most: int) -> Steps[None]:
    """Emit what the log has gained, at most `most` lines and as many pages as that takes, and never wait for it.

    A page that fails is not asked for again here: the next look at the job does so. Raises what a call raises.
    """
    haste = Haste.LOOK
    while most > 0:
        limit = min(PAGE_LINES, most)
        before = reader.offset
        call = replace(contract.logs(processing_id, offset=before, limit=limit), repeatable=False, haste=haste)
        page = yield from talk.call(call)
        lines = reader.fresh_lines(page)
        if not lines:
            return
        most, haste = most - len(lines), Haste.WORK
        yield Emit(LogLines(lines, reader.offset))
        if page.has_more is False or (page.has_more is None and len(lines) < limit):
            return
