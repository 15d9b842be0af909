"""Read a log to its end: every line once, whatever the fields of the pages say, or an error that names the place."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs

import pytest

from aem_guides.protocol.models import JsonObject, JsonValue, LogPage
from aem_guides.protocol.procedures.events import LogLines
from aem_guides.protocol.procedures.log_lines import LogPageError, PageReader, read_log, stream_new_lines
from aem_guides.protocol.steps import HttpRequest, Reply
from tests.unit.protocol.driving import World, reply

LINES = [f"2026-02-26 08:59:10:{number:03}: INFO: line {number}" for number in range(1234)]
Page = Callable[[int, int], JsonObject]


def a_page(lines: list[str], **reported: JsonValue) -> JsonObject:
    return {"lines": list(lines), **reported}


class Log:
    """A log whose pages come from `page` (by offset and limit), and whose tail is `tail`."""

    def __init__(self, page: Page, tail: list[str] | None = None) -> None:
        self.world = World(self.respond)
        self._page = page
        self._tail = LINES if tail is None else tail

    def respond(self, request: HttpRequest) -> Reply:
        query = {name: values[0] for name, values in parse_qs(request.target.partition("?")[2]).items()}
        if "tail" in query:
            return reply(200, a_page(self._tail[-int(query["tail"]) :]))
        return reply(200, self._page(int(query["offset"]), int(query["limit"])))

    def read(self) -> int:
        return self.world.run(read_log(self.world.conversation(), "p"))

    @property
    def lines(self) -> list[str]:
        return [line for item in self.world.emitted if isinstance(item, LogLines) for line in item.lines]


def test_a_short_log_with_complete_page_fields_costs_one_request() -> None:
    log = Log(lambda o, n: a_page(LINES[:7][o : o + n], offset=o, limit=n, hasMore=False))
    assert log.read() == 7
    assert len(log.world.sent) == 1


@pytest.mark.parametrize("reported", [{}, {"limit": 100}])
def test_a_capped_page_that_calls_itself_the_last_does_not_end_the_log(reported: JsonObject) -> None:
    log = Log(lambda o, n: a_page(LINES[o : o + 100], hasMore=False, **reported))
    assert log.read() == len(LINES)
    assert log.lines == LINES
    assert log.world.waits == []


def test_a_full_page_that_calls_itself_the_last_is_asked_on_from() -> None:
    log = Log(lambda o, n: a_page(LINES[o : o + n], limit=n, hasMore=False))
    log.read()
    assert log.lines == LINES


def test_lines_that_are_promised_and_never_come_are_an_error_and_no_end() -> None:
    log = Log(lambda o, n: a_page(LINES[o : o + n] if o < 500 else [], offset=o, hasMore=True))
    with pytest.raises(LogPageError, match="could not be read from line 500 on"):
        log.read()


def test_lines_that_are_promised_and_come_late_are_read() -> None:
    def page(offset: int, most: int) -> JsonObject:
        late = offset >= 500 and log.world.clock < 1_750_000_003
        return a_page([] if late else LINES[offset : offset + most], hasMore=offset + most < len(LINES))

    log = Log(page)
    log.read()
    assert log.lines == LINES


def test_a_page_that_comes_empty_once_though_more_was_promised_does_not_end_the_log() -> None:
    asked: list[int] = []

    def page(offset: int, most: int) -> JsonObject:
        asked.append(offset)
        if asked == [0, 500]:
            return a_page([], offset=offset, limit=most, hasMore=False)
        return a_page(LINES[offset : offset + most], offset=offset, limit=most, hasMore=offset + most < len(LINES))

    log = Log(page)
    log.read()
    assert log.lines == LINES


def test_a_log_that_promises_more_for_ever_ends_where_its_last_lines_are() -> None:
    log = Log(lambda o, n: a_page(LINES[o : o + n], hasMore=True))
    assert log.read() == len(LINES)
    assert log.lines == LINES


def test_a_log_of_one_line_whose_offset_is_ignored_is_read_once() -> None:
    log = Log(lambda _o, _n: a_page(["only line"]), tail=["only line"])
    assert log.read() == 1
    assert log.lines == ["only line"]
    assert log.world.waits == []


@pytest.mark.parametrize("reported", [{}, {"hasMore": False}])
def test_a_last_line_that_comes_for_every_offset_beyond_the_end_is_read_once(reported: JsonObject) -> None:
    log = Log(lambda o, n: a_page(LINES[o : o + n] or LINES[-1:], **reported))
    assert log.read() == len(LINES)
    assert log.lines == LINES


def test_a_last_line_that_comes_again_while_the_job_runs_is_shown_once_and_what_follows_it_is_shown() -> None:
    length = [1]
    log = Log(lambda o, n: a_page(LINES[: length[0]][o : o + n] or LINES[: length[0]][-1:]))
    reader, talk = PageReader(), log.world.conversation()
    for length[0] in (1, 1, 1, 3, 3, 4):
        log.world.run(stream_new_lines(talk, "p", reader, 100))
    assert log.lines == LINES[:4]


def test_an_empty_log_ends_at_once() -> None:
    log = Log(lambda o, n: a_page([], offset=o, limit=n, hasMore=False))
    assert log.read() == 0
    assert len(log.world.sent) == 1


def stream(page: Page, most: int = 100, *, offset: int = 0) -> tuple[Log, PageReader]:
    log, reader = Log(page), PageReader(offset)
    log.world.run(stream_new_lines(log.world.conversation(), "p", reader, most))
    return log, reader


@pytest.mark.parametrize(
    ("has_more", "capped_at", "most", "asked"),
    [
        (True, 400, 1200, [(0, 500), (400, 500), (800, 400)]),
        (True, 400, 500, [(0, 500), (400, 100)]),
        (None, 500, 1000, [(0, 500), (500, 500)]),
        (None, 400, 1000, [(0, 500)]),
        (False, 500, 1000, [(0, 500)]),
    ],
)
def test_new_lines_are_requested_as_long_as_there_may_be_more(
    has_more: bool | None, capped_at: int, most: int, asked: list[tuple[int, int]]
) -> None:
    pages: list[tuple[int, int]] = []

    def page(offset: int, limit: int) -> JsonObject:
        pages.append((offset, limit))
        return a_page(LINES[offset : offset + min(limit, capped_at)], hasMore=has_more)

    log, reader = stream(page, most)
    assert pages == asked
    assert log.lines == LINES[: reader.offset]
    assert reader.offset == sum(min(limit, capped_at) for _, limit in asked)


def test_overlaps_are_cut_off_and_a_gap_adds_no_lines() -> None:
    log, reader = stream(lambda o, n: a_page(LINES[o - 3 : o + 4], offset=o - 3, hasMore=False), offset=10)
    assert (log.lines, reader.offset) == (LINES[10:14], 14)
    log, reader = stream(lambda o, n: a_page(LINES[o + 1 : o + 4], offset=o + 1, hasMore=False), offset=10)
    assert (log.lines, reader.offset) == ([], 10)


def test_the_same_line_twice_in_a_row_is_shown_twice_if_pages_have_offsets() -> None:
    lines = ["waiting", "waiting", "waiting"]
    log = Log(lambda o, n: a_page(lines[o : o + 1], offset=o, hasMore=o < 2))
    reader, talk = PageReader(), log.world.conversation()
    log.world.run(stream_new_lines(talk, "p", reader, 100))
    assert log.lines == lines


def test_a_page_that_an_instance_repeats_at_the_offset_it_shows_does_not_count_as_new() -> None:
    reader = PageReader()
    first = LogPage(("a", "b"), 0, 500, True)
    assert reader.fresh_lines(first) == ("a", "b")
    assert reader.fresh_lines(first) is None
    assert reader.fresh_lines(LogPage(("b", "c"), 1, 500, True)) == ("c",)
    assert reader.offset == 3


def test_a_page_that_grew_since_it_was_last_read_gives_what_is_new() -> None:
    reader = PageReader()
    assert reader.fresh_lines(LogPage(("a", "b"), 0, 500, True)) == ("a", "b")
    assert reader.fresh_lines(LogPage(("a", "b", "c"), 0, 500, True)) == ("c",)
