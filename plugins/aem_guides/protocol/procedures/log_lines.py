"""The lines of a job's log: each once and in order, however the endpoint pages."""

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
"""Lines per request. The product's own log window shows the latest 500."""

_PATIENCE = (1.0, 3.0, 10.0)
COMPARED_LINES = 20
"""This many last lines are assumed to be unique in the log, because most lines begin with a time in milliseconds."""


class LogPageError(AemGuidesError):
    """Consecutive pages of the log endpoint did not fit together, several times in a row."""


class PageReader:
    """Turns pages into new lines. It remembers the lines of the last page."""

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        self._last: LogPage | None = None
        self._end: tuple[str, ...] = ()

    def fresh_lines(self, page: LogPage) -> tuple[str, ...] | None:
        """The lines of the page requested at `offset` that were not emitted yet, or None if it is the wrong page.

        If the answer has an offset, it is used: an overlap is cut off, and a gap is a wrong page. Without an offset, a
        page is wrong if it repeats the previous page or its last line.
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
        """Whether the log ends here: its last lines are the lines that were emitted last."""
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

    If the pages and their fields contradict each other, the last lines of the log show whether all lines were read.
    Raises LogPageError if lines are missing even after another read, and what a call raises.
    """
    return (yield from read_on(talk, processing_id, PageReader(offset), page_lines))


def read_on(talk: Conversation, processing_id: str, reader: PageReader, page_lines: int = PAGE_LINES) -> Steps[int]:
    """As `read_log`, but from the position of the reader."""
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
    """Whether a page is the last one. A page that the instance shortened may wrongly claim that it is the last."""
    return page.has_more is False and page.limit == asked and len(page.lines) < asked


def stream_new_lines(talk: Conversation, processing_id: str, reader: PageReader, most: int) -> Steps[None]:
    """Emit the new lines of the log, at most `most`, in as few pages as possible, and never wait for it.

    A page that fails is not requested again here: the next look at the job does that. Raises what a call raises.
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
